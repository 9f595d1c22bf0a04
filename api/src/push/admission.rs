//! The two transactions of a push, each shared by the pushes that come together.

use std::time::Instant;

use millrace_common::metrics::{ADMISSION_GROUP_PUSHES, ADMISSION_SECONDS};
use millrace_common::store::{Admission, Marked, Push, QueuedPush, Store, StoreError};

use super::group::Work;

/// Measures a transaction for a group of so many pushes.
async fn measured<T>(
    step: &'static str,
    pushes: usize,
    transaction: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let began = Instant::now();
    let done = transaction.await;
    ADMISSION_SECONDS.with(step).record(began.elapsed().as_secs_f64());
    ADMISSION_GROUP_PUSHES.with(step).record(u32::try_from(pushes).unwrap_or(u32::MAX).into());
    done
}

/// The most chunks in one transaction; one push above it goes alone.
const GROUP_CHUNKS: u64 = 5_000;
/// An owner asks for little while all that it pushes at once is no more than so many chunks.
const LIGHT_CHUNKS: u64 = 32;
/// The most chunks in one transaction of owners that ask for much, while they rest after each.
const RESTING_CHUNKS: u64 = 64;

/// Admits pushes.
pub(super) struct Admit(pub Store);

impl Work for Admit {
    type Item = Push;
    type Answer = Admission;
    const LIMIT: u64 = GROUP_CHUNKS;
    const LIGHT: u64 = LIGHT_CHUNKS;
    const RESTING: Option<u64> = Some(RESTING_CHUNKS);

    fn weight(push: &Push) -> u64 {
        push.chunks.len() as u64
    }

    async fn run(&self, pushes: &[Push]) -> Result<Vec<Admission>, StoreError> {
        measured("admit", pushes.len(), self.0.admit(pushes)).await
    }
}

/// Marks confirmed chunks as queued.
pub(super) struct MarkQueued(pub Store);

impl Work for MarkQueued {
    type Item = QueuedPush;
    type Answer = Marked;
    const LIMIT: u64 = GROUP_CHUNKS;
    const LIGHT: u64 = LIGHT_CHUNKS;
    // What is published goes on its way: whoever rests does so before.
    const RESTING: Option<u64> = None;

    fn weight(push: &QueuedPush) -> u64 {
        push.chunks.len() as u64
    }

    async fn run(&self, pushes: &[QueuedPush]) -> Result<Vec<Marked>, StoreError> {
        measured("mark_queued", pushes.len(), self.0.mark_queued(pushes)).await
    }
}
