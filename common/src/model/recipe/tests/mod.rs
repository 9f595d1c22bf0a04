#![allow(clippy::unwrap_used, clippy::expect_used)]

mod datasets;
mod echoes;
mod manifests;
mod requests;
