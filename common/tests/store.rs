//! Admission, commits, claims and the reaper's steps against a real Postgres.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod store {
    pub mod fixture;

    mod admission;
    mod failures;
    mod lifecycle;
    mod model;
    mod outcomes;
    mod pauses;
    mod quotas;
    mod reads;
    mod reaping;
    mod reconciliation;
    mod redrives;
    mod repairs;
    mod retention;
    mod terms;
    mod totals;
    mod webhooks;
}
