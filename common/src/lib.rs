//! What the Millrace API and workers share.

pub mod config;
