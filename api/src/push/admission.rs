//! The two transactions of a push, each shared by the pushes that come together.

use millrace_common::store::{Admission, Push, QueuedPush, Store, StoreError};

use super::group::Work;

/// The most chunks in one transaction; one push above it goes alone.
const GROUP_CHUNKS: usize = 5_000;

/// Admits pushes.
pub(super) struct Admit(pub Store);

impl Work for Admit {
    type Item = Push;
    type Answer = Admission;
    const LIMIT: usize = GROUP_CHUNKS;

    fn weight(push: &Push) -> usize {
        push.chunks.len().max(1)
    }

    async fn run(&self, pushes: &[Push]) -> Result<Vec<Admission>, StoreError> {
        self.0.admit(pushes).await
    }
}

/// Marks confirmed chunks as queued.
pub(super) struct MarkQueued(pub Store);

impl Work for MarkQueued {
    type Item = QueuedPush;
    /// Ids of chunks that were withdrawn.
    type Answer = Vec<String>;
    const LIMIT: usize = GROUP_CHUNKS;

    fn weight(push: &QueuedPush) -> usize {
        push.chunks.len().max(1)
    }

    async fn run(&self, pushes: &[QueuedPush]) -> Result<Vec<Vec<String>>, StoreError> {
        self.0.mark_queued(pushes).await
    }
}
