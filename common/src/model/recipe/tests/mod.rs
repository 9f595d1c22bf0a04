#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admissions;
mod counts;
mod datasets;
mod diffs;
mod echoes;
mod evaluations;
mod graphs;
mod hostile;
mod lives;
mod manifests;
mod motion;
mod requests;
mod revisions;
mod running;
mod samples;
mod unlocking;
