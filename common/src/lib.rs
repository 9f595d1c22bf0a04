//! What the Millrace API and workers share.

pub mod broker;
pub mod bundles;
pub mod config;
pub mod failpoint;
pub mod https;
pub mod isolate;
pub mod metrics;
pub mod model;
pub mod programs;
#[cfg(test)]
mod properties;
pub mod recipes;
pub mod shutdown;
pub mod startup;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod trace;
