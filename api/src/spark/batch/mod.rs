//! The batch endpoints (contract section 1): wire types and thin handlers.

mod access;
mod change;
mod create;
mod cursor;
mod deliveries;
mod events;
mod failures;
mod fields;
mod overview;
mod pull;
mod push;
mod read;
mod reconciliation;
mod redrive;
mod totals;
pub mod wire;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use millrace_common::broker::{Publisher, Topology};
use millrace_common::config::Config;
use millrace_common::store::Store;
use tokio::sync::Notify;

use crate::error::ApiError;
use crate::memory::MemoryBudget;
use crate::push::Pushes;
use crate::state::AppState;

use access::KnownBatches;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use cursor::check_cursor;

/// What the batch endpoints share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batches {
    /// Takes pushes.
    pub(crate) pushes: Pushes,
    /// Whose batches are whose.
    known: KnownBatches,
    /// Claimed results that are not sent yet.
    pulls: MemoryBudget,
    /// Wakes whoever pushes the inputs of redrives.
    pub(crate) redrives: Arc<Notify>,
}

impl Batches {
    /// Starts the tasks of pushes; to be called within a runtime.
    pub fn start(config: &Config, store: &Store, publisher: Publisher, topology: Topology) -> Self {
        Self {
            pushes: Pushes::start(config, store, publisher, topology),
            known: KnownBatches::default(),
            pulls: MemoryBudget::new(config.limits.pull_bytes.saturating_mul(pull::PAGES_AT_ONCE)),
            redrives: Arc::default(),
        }
    }
}

/// The routes. `/batch/status` and `/batch/events` are literals and win over `/batch/{id}`.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/{tenant}/api/v4/batch", post(create::create))
        .route("/{tenant}/api/v4/batch/status", get(overview::overview))
        .route("/{tenant}/api/v4/batch/events", get(events::list))
        .route("/{tenant}/api/v4/batch/{id}", get(read::info).patch(change::change))
        .route("/{tenant}/api/v4/batch/{id}/status", get(read::status))
        .route("/{tenant}/api/v4/batch/{id}/events", get(events::one))
        .route("/{tenant}/api/v4/batch/{id}/deliveries", get(deliveries::list))
        .route("/{tenant}/api/v4/batch/{id}/deliveries/{delivery}/redeliver", post(deliveries::redeliver))
        .route("/{tenant}/api/v4/batch/{id}/chunks", post(push::push))
        .route("/{tenant}/api/v4/batch/{id}/chunkresults", get(pull::pull))
        .route("/{tenant}/api/v4/batch/{id}/chunkresults/{chunk_id}", get(pull::chunk))
        .route("/{tenant}/api/v4/batch/{id}/results", get(pull::results))
        .route("/{tenant}/api/v4/batch/{id}/results/ack", post(pull::acknowledge))
        .route("/{tenant}/api/v4/batch/{id}/failures", get(failures::failures))
        .route("/{tenant}/api/v4/batch/{id}/redrive", post(redrive::redrive))
        .route("/{tenant}/api/v4/batch/{id}/reconciliation", get(reconciliation::reconciliation))
}

/// Carries work to its end even when the client goes away and the handler is dropped.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    use tracing::Instrument;
    let task = tokio::spawn(work.in_current_span());
    task.await.map_err(|error| ApiError::internal(&error))?
}
