//! The fault suite: what can break is broken for real, on real processes. The table in `tests/README.md` says which test shows
//! what. Every test ends in the same check: nothing lost, nothing doubled, counters and budgets exact.
//!
//! The binaries must be built with failpoints: `cargo build --workspace --bins --features millrace-common/test-failpoints`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod api;
mod broker;
mod broker_links;
mod broker_refusals;
mod budgets;
mod clocks;
mod database;
mod database_outcomes;
mod lane;
mod pauses;
mod pulls;
mod races;
mod repairs;
mod table;
mod worker;
mod worker_poison;
