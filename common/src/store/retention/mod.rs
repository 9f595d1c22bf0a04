//! Removing what has ended and is over its time, a file per subject (control plane).
//!
//! Everything here is a step of the reaper: bounded, conditional, decided by the database's clock, and of no effect when it is done
//! again. Rows are locked with `SKIP LOCKED`, so it waits for nobody; and nobody waits for it longer than the removal of some
//! hundred rows takes that nobody else works on.
//!
//! What is too large for one transaction, a batch of recipes or a dataset, is *hidden* first: for callers it is gone at once. Whoever
//! read it before may still be about to refer to it, so nothing of it is removed until [`SETTLED`] later; if something does refer to
//! it by then, it is shown again.

mod batches;
mod datasets;
mod recipe_batches;
mod recipes;
mod requests;

pub use datasets::{HiddenDatasets, RemovedDataset};
pub use recipe_batches::SharedJobs;
pub use recipes::{Outside, RemovedRecipes};

/// What was hidden for so many seconds is seen by no transaction any more: longer than any may last.
const SETTLED: f64 = 600.0;

/// Days as the database takes them.
fn days_of(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}
