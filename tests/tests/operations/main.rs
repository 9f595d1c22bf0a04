//! What operators rely on, on real services that are healthy or broken for real: `millrace doctor`, traces.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod doctor;
mod traces;
