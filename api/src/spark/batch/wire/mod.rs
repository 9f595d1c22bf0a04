//! The answers of the batch endpoints, field by field.

mod info;
mod overview;

use chrono::{DateTime, TimeDelta, Utc};
use millrace_common::config::ClocksConfig;
use millrace_common::model::{BatchStatus, PipelineStatus};
use millrace_common::store::BatchView;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

pub use info::{
    BatchBody, BatchData, Configuration, InfoBody, InfoData, MEGABYTE, OBJECT, RedriveData, Summary,
    updated_at,
};
use millrace_common::model::time;
pub use overview::{
    Environment, OverviewBatch, OverviewBody, OverviewData, OverviewSummary, OverviewTenant,
    TenantConfiguration, TenantStatus,
};

use crate::openapi::schemas::{batch_status, pipeline_status};

/// A point in time as the contract writes it: ISO 8601, UTC, milliseconds, `Z` (contract 0.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub struct Timestamp(pub DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time::timestamp(self.0))
    }
}

/// The status fields (contract 1.4), flattened into most answers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StatusFields {
    /// When the request arrived.
    pub request_timestamp: Timestamp,
    /// When the numbers were read.
    pub response_timestamp: Timestamp,
    /// Contract 3.1.
    #[schema(schema_with = batch_status)]
    pub batch_status: BatchStatus,
    /// Contract 3.2.
    #[schema(schema_with = pipeline_status)]
    pub pipeline_status: PipelineStatus,
    /// Chunks pushed.
    pub chunks_submitted: i64,
    /// Chunks that finished, good or failed.
    pub chunks_completed: i64,
    /// Finished chunks that were not pulled.
    pub chunks_available: i64,
    /// Records pushed; singular, as clients read it.
    pub record_submitted: i64,
    /// The same under its expected name.
    pub records_submitted: i64,
    /// Records that finished, good or failed.
    pub records_completed: i64,
    /// Records in available chunks.
    pub records_available: i64,
    /// Sum of the records' process times, in milliseconds.
    pub compute_time_ms: i64,
    /// Bytes of chunks that are not finished.
    pub input_buffer_used_bytes: i64,
    /// The rest of the allocation.
    pub input_buffer_remaining_bytes: i64,
    /// Bytes of results that were not pulled.
    pub output_buffer_used_bytes: i64,
    /// The rest of the allocation.
    pub output_buffer_remaining_bytes: i64,
    /// Slots that are busy with the batch.
    pub workers_in_use: i64,
    /// Chunks that could not be processed.
    pub chunks_failed: i64,
    /// Records of failed chunks, and records with errors.
    pub records_failed: i64,
    /// While open: when the batch is closed unless something happens. While paused: when the pause ends, and the batch is closed. Once finished: until when results are kept.
    pub expires_at: Option<Timestamp>,
    /// Once finished: when its buffers are given back to the tenant; `null` before that and when they are.
    pub reserved_until: Option<Timestamp>,
    /// Chunks being evaluated.
    pub chunks_in_progress: i64,
    /// Chunks that wait for a worker.
    pub chunks_pending: i64,
    /// Whether the batch is paused: nothing of it is evaluated.
    pub paused: bool,
    /// Since when.
    pub paused_timestamp: Option<Timestamp>,
    /// Who paused it.
    pub paused_by: Option<String>,
}

impl StatusFields {
    /// The status of a batch at the time it was read.
    pub fn new(view: &BatchView, requested: DateTime<Utc>, clocks: &ClocksConfig) -> Self {
        let (counters, batch) = (&view.counters, &view.batch);
        let (chunks_available, records_available) = view.available();
        let rest = |allocated: i64, used: i64| (allocated - used).max(0);
        Self {
            request_timestamp: Timestamp(requested),
            response_timestamp: Timestamp(view.now.max(requested)),
            batch_status: view.status(),
            pipeline_status: view.pipeline(),
            chunks_submitted: counters.chunks_submitted,
            chunks_completed: counters.chunks_completed + counters.chunks_failed,
            chunks_available,
            record_submitted: counters.records_submitted,
            records_submitted: counters.records_submitted,
            records_completed: counters.records_completed,
            records_available,
            compute_time_ms: counters.compute_ms,
            input_buffer_used_bytes: counters.input_bytes,
            input_buffer_remaining_bytes: rest(batch.input_allocated, counters.input_bytes),
            output_buffer_used_bytes: counters.output_bytes,
            output_buffer_remaining_bytes: rest(batch.output_allocated, counters.output_bytes),
            workers_in_use: view.running(),
            chunks_failed: counters.chunks_failed,
            records_failed: counters.records_failed,
            expires_at: expires_at(view, clocks).map(Timestamp),
            reserved_until: reserved_until(view, clocks).map(Timestamp),
            chunks_in_progress: view.running(),
            chunks_pending: view.waiting(),
            paused: view.paused().is_some(),
            paused_timestamp: view.paused().map(|(since, _)| Timestamp(since)),
            paused_by: view.paused().map(|(_, by)| by.to_owned()),
        }
    }
}

/// When something happens to the batch by itself (contract 3.3): its closing by timeout while it is open, or closed and waiting for
/// a pull; the end of its pause; the end of its results once it is finished, unless they were dropped.
fn expires_at(view: &BatchView, clocks: &ClocksConfig) -> Option<DateTime<Utc>> {
    match view.batch.finished_at {
        Some(_) if view.batch.dropped_at.is_some() => None,
        Some(finished) => after(finished, clocks.results_seconds),
        None if let Some((since, _)) = view.paused() => after(since, clocks.paused_seconds),
        None if view.batch.closed_at.is_some() && !view.is_held_back() => None,
        None => after(view.batch.updated_at.max(view.counters.touched_at), clocks.inactivity_seconds),
    }
}

/// When the reservation of a finished batch ends (contract 3.3), unless it has ended already.
fn reserved_until(view: &BatchView, clocks: &ClocksConfig) -> Option<DateTime<Utc>> {
    let finished = view.batch.finished_at.filter(|_| view.batch.released_at.is_none())?;
    after(finished, clocks.cool_off_seconds)
}

fn after(time: DateTime<Utc>, seconds: u64) -> Option<DateTime<Utc>> {
    time.checked_add_signed(TimeDelta::try_seconds(i64::try_from(seconds).ok()?)?)
}

/// The status response (contract 1.4).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StatusBody {
    /// The batch.
    pub id: Uuid,
    /// Its status.
    #[serde(flatten)]
    pub status: StatusFields,
}

/// The answer to a push (contract 1.2): the status, and the ids that were accepted.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PushBody {
    /// The status, this push included.
    #[serde(flatten)]
    pub status: StatusBody,
    /// The id of every chunk of the push, in its order; made up for chunks without one.
    pub chunk_ids: Vec<String>,
}

#[cfg(test)]
pub(super) mod tests;
