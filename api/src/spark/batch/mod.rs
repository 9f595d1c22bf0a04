//! The batch endpoints (contract section 1): wire types and thin handlers.

mod access;
mod budget;
mod change;
mod create;
mod cursor;
mod deliveries;
mod events;
mod export;
mod failures;
mod fields;
mod overview;
mod pull;
mod push;
mod read;
mod reconciliation;
mod redrive;
mod totals;
mod upload;
pub mod wire;

use std::sync::Arc;

use millrace_common::broker::{Publisher, Topology};
use millrace_common::config::Config;
use millrace_common::store::Store;
use tokio::sync::Notify;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::ApiError;
use crate::memory::MemoryBudget;
use crate::push::Pushes;
use crate::state::AppState;

use access::KnownBatches;
use budget::Budgets;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use cursor::check_cursor;

/// What the batch endpoints share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Batches {
    /// Takes pushes.
    pub(crate) pushes: Pushes,
    /// Whose batches are whose.
    known: KnownBatches,
    /// How fast buffers empty.
    budgets: Budgets,
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
            budgets: Budgets::default(),
            pulls: MemoryBudget::new(config.limits.pull_bytes.saturating_mul(pull::PAGES_AT_ONCE)),
            redrives: Arc::default(),
        }
    }
}

/// The routes. `/batch/status` and `/batch/events` are literals and win over `/batch/{id}`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(create::create))
        .routes(routes!(overview::overview))
        .routes(routes!(events::list::list))
        .routes(routes!(read::info, change::change))
        .routes(routes!(read::status))
        .routes(routes!(events::one::one))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::redeliver))
        .routes(routes!(push::push))
        .routes(routes!(pull::pull))
        .routes(routes!(pull::chunk))
        .routes(routes!(pull::results::results))
        .routes(routes!(pull::results::acknowledge))
        .routes(routes!(export::export))
        .routes(routes!(upload::upload))
        .routes(routes!(failures::failures))
        .routes(routes!(redrive::redrive))
        .routes(routes!(reconciliation::reconciliation))
}

/// Carries work to its end even when the client goes away and the handler is dropped.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    use tracing::Instrument;
    let task = tokio::spawn(crate::middleware::scope(crate::middleware::current(), work).in_current_span());
    task.await.map_err(|error| ApiError::internal(&error))?
}
