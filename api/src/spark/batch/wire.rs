//! The answers of the batch endpoints, field by field.

use chrono::{DateTime, TimeDelta, Utc};
use millrace_common::config::ClocksConfig;
use millrace_common::model::{BatchStatus, PipelineStatus};
use millrace_common::store::{Batch, BatchView};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::spark::time;

/// A point in time as the contract writes it: ISO 8601, UTC, milliseconds, `Z` (contract 0.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(pub DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time::timestamp(self.0))
    }
}

/// The status fields (contract 1.4), flattened into most answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusFields {
    /// When the request arrived.
    pub request_timestamp: Timestamp,
    /// When the numbers were read.
    pub response_timestamp: Timestamp,
    /// Contract 3.1.
    pub batch_status: BatchStatus,
    /// Contract 3.2.
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
    /// While open: when the batch is closed unless something happens. Once finished: until when results are kept.
    pub expires_at: Option<Timestamp>,
    /// Chunks being evaluated.
    pub chunks_in_progress: i64,
    /// Chunks that wait for a worker.
    pub chunks_pending: i64,
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
            chunks_in_progress: view.running(),
            chunks_pending: view.waiting(),
        }
    }
}

/// When something happens to the batch by itself (contract 3.3): its closing while it is open, the end of its results once it
/// is finished, unless they were dropped.
fn expires_at(view: &BatchView, clocks: &ClocksConfig) -> Option<DateTime<Utc>> {
    let after = |time: DateTime<Utc>, seconds: u64| {
        time.checked_add_signed(TimeDelta::try_seconds(i64::try_from(seconds).ok()?)?)
    };
    match view.batch.finished_at {
        Some(_) if view.batch.dropped_at.is_some() => None,
        Some(finished) => after(finished, clocks.results_seconds),
        None if view.batch.closed_at.is_some() => None,
        None => after(view.batch.updated_at.max(view.counters.touched_at), clocks.inactivity_seconds),
    }
}

/// The status response (contract 1.4).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusBody {
    /// The batch.
    pub id: Uuid,
    /// Its status.
    #[serde(flatten)]
    pub status: StatusFields,
}

/// The answer to a push (contract 1.2): the status, and the ids that were accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PushBody {
    /// The status, this push included.
    #[serde(flatten)]
    pub status: StatusBody,
    /// The id of every chunk of the push, in its order; made up for chunks without one.
    pub chunk_ids: Vec<String>,
}

/// What a batch is (contract 1.1).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchData {
    /// The service.
    pub service_id: Uuid,
    /// The version, frozen at creation.
    pub version_id: Uuid,
    /// Its number.
    pub version: String,
    /// The compiler that accepted it.
    pub compiler_version: String,
    /// As given at creation.
    pub correlation_id: Option<String>,
    /// As given at creation.
    pub source_system: Option<String>,
    /// As given at creation; several keys joined with commas.
    pub unique_record_key: Option<String>,
    /// When the numbers were read.
    pub response_timestamp: Timestamp,
    /// Contract 3.1.
    pub batch_status: BatchStatus,
    /// Who created the batch.
    pub created_by: String,
    /// When.
    pub created_timestamp: Timestamp,
    /// When something last happened to it.
    pub updated_timestamp: Timestamp,
    /// `folder/service[0.1.0]`
    pub service_uri: String,
}

impl BatchData {
    /// The description of a batch.
    pub fn new(view: &BatchView) -> Self {
        let batch = &view.batch;
        Self {
            service_id: batch.service_id,
            version_id: batch.version_id,
            version: batch.version.clone(),
            compiler_version: batch.compiler_version.clone(),
            correlation_id: batch.correlation_id.clone(),
            source_system: batch.source_system.clone(),
            unique_record_key: batch.unique_record_key.clone(),
            response_timestamp: Timestamp(view.now),
            batch_status: view.status(),
            created_by: batch.created_by.clone(),
            created_timestamp: Timestamp(batch.created_at),
            updated_timestamp: Timestamp(updated_at(view)),
            service_uri: batch.service_uri.clone(),
        }
    }
}

/// Pushes and pulls count as changes until the batch is finished.
fn updated_at(view: &BatchView) -> DateTime<Utc> {
    if view.batch.state.is_terminal() {
        view.batch.updated_at
    } else {
        view.batch.updated_at.max(view.counters.touched_at)
    }
}

/// The answer to a creation (contract 1.1) and to a change (contract 1.5).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchBody {
    /// `batch`
    pub object: &'static str,
    /// The batch.
    pub id: Uuid,
    /// What it is.
    pub data: BatchData,
    /// The same again in the answer to a change, where some clients look for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<BatchData>,
    /// Its status.
    #[serde(flatten)]
    pub status: StatusFields,
}

/// Sums (contract 1.6). Unlike in the status, what is completed excludes what failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Chunks pushed.
    pub chunks_submitted: i64,
    /// Starts beyond the first of a chunk.
    pub chunks_retried: i64,
    /// Chunks that were processed.
    pub chunks_completed: i64,
    /// Chunks that could not be processed.
    pub chunks_failed: i64,
    /// Records in retried chunks.
    pub records_retried: i64,
    /// All bytes pushed.
    pub input_size_bytes: i64,
    /// All bytes of results.
    pub output_size_bytes: i64,
    /// Process time per finished record, in milliseconds.
    pub avg_compute_time_ms: i64,
    /// Records pushed.
    pub records_submitted: i64,
    /// Records of failed chunks, and records with errors.
    pub records_failed: i64,
    /// Records that finished well.
    pub records_completed: i64,
    /// Sum of the records' process times, in milliseconds.
    pub compute_time_ms: i64,
    /// From creation to the end, or until now, in milliseconds.
    pub batch_time_ms: i64,
}

impl Summary {
    /// The sums of a batch.
    pub fn new(view: &BatchView) -> Self {
        let counters = &view.counters;
        Self {
            chunks_submitted: counters.chunks_submitted,
            chunks_retried: counters.chunks_retried,
            chunks_completed: counters.chunks_completed,
            chunks_failed: counters.chunks_failed,
            records_retried: counters.records_retried,
            input_size_bytes: counters.input_total,
            output_size_bytes: counters.output_total,
            avg_compute_time_ms: counters.compute_ms.checked_div(counters.records_completed).unwrap_or(0),
            records_submitted: counters.records_submitted,
            records_failed: counters.records_failed,
            records_completed: counters.records_completed - counters.records_failed,
            compute_time_ms: counters.compute_ms,
            batch_time_ms: batch_time_ms(view),
        }
    }
}

fn batch_time_ms(view: &BatchView) -> i64 {
    (view.batch.finished_at.unwrap_or(view.now) - view.batch.created_at).num_milliseconds().max(0)
}

/// What is in force for a batch, after clamping (contract 1.6).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Configuration {
    /// Slots that the batch gets first, where there is room.
    pub initial_workers: i32,
    /// Chunks that one worker takes at a time.
    pub chunks_per_request: i32,
    /// The same under its older name.
    pub chunks_per_thread: i32,
    /// Threads of one worker.
    pub runner_thread_count: i32,
    /// Share of failed chunks that is tolerated, in per cent.
    pub acceptable_error_percentage: f64,
    /// Size of the input buffer.
    pub input_buffer_allocated_bytes: i64,
    /// Size of the output buffer.
    pub output_buffer_allocated_bytes: i64,
    /// Most slots that the batch gets.
    pub max_workers: i32,
    /// Size of the input buffer, in units of 1,000,000 bytes.
    pub max_input_in_mb: f64,
    /// Size of the output buffer, in units of 1,000,000 bytes.
    pub max_output_in_mb: f64,
    /// Which outputs are wanted; none means all.
    pub output: Vec<String>,
    /// Which subservices are evaluated; none means the default.
    pub subservice: Vec<String>,
    /// At which time the version was looked up.
    pub version_by_timestamp: Option<Timestamp>,
    /// As given at creation.
    pub call_purpose: String,
}

/// Bytes in one MB of the contract (0.6).
pub const MEGABYTE: f64 = 1_000_000.0;

impl Configuration {
    /// The configuration of a batch.
    pub fn new(batch: &Batch) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "buffers are far below 2^53 bytes")]
        let megabytes = |bytes: i64| bytes as f64 / MEGABYTE;
        Self {
            initial_workers: batch.initial_workers,
            chunks_per_request: batch.chunks_per_request,
            chunks_per_thread: batch.chunks_per_request,
            runner_thread_count: batch.runner_thread_count,
            acceptable_error_percentage: batch.acceptable_error_percentage,
            input_buffer_allocated_bytes: batch.input_allocated,
            output_buffer_allocated_bytes: batch.output_allocated,
            max_workers: batch.max_workers,
            max_input_in_mb: megabytes(batch.input_allocated),
            max_output_in_mb: megabytes(batch.output_allocated),
            output: batch.output_filter.clone(),
            subservice: batch.subservices.clone(),
            version_by_timestamp: batch.version_by_timestamp.map(Timestamp),
            call_purpose: batch.call_purpose.clone(),
        }
    }
}

/// Batch information (contract 1.6).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InfoBody {
    /// `batch`
    pub object: &'static str,
    /// The batch.
    pub id: Uuid,
    /// All about it.
    pub data: InfoData,
}

/// What batch information holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InfoData {
    /// What the batch is.
    #[serde(flatten)]
    pub batch: BatchData,
    /// Sums.
    pub summary: Summary,
    /// Statistics over all completed chunks; `null` for a batch that was created without `summary_total`.
    pub summary_total: Option<serde_json::Value>,
    /// What is in force.
    pub configuration: Configuration,
}

/// The name of the type in `object`.
pub const OBJECT: &str = "batch";

impl InfoBody {
    /// All about a batch, and its totals if it keeps any.
    pub fn new(view: &BatchView, summary_total: Option<serde_json::Value>) -> Self {
        Self {
            object: OBJECT,
            id: view.batch.id,
            data: InfoData {
                batch: BatchData::new(view),
                summary: Summary::new(view),
                summary_total,
                configuration: Configuration::new(&view.batch),
            },
        }
    }
}

/// The tenant overview (contract 1.7).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverviewBody {
    /// Batches that are not finished, newest first.
    pub in_progress_batches: Vec<OverviewBatch>,
    /// Batches that finished within the last hour, newest first.
    pub recent_batches: Vec<OverviewBatch>,
    /// The whole tenant.
    pub tenant: OverviewTenant,
    /// Unstable by the contract's own word.
    pub environment: Environment,
}

/// Something that changes when the installation is updated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Environment {
    /// The revision of this contract's implementation.
    pub update: u32,
}

/// One batch of the overview.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverviewBatch {
    /// `batch`
    pub object: &'static str,
    /// The batch.
    pub id: Uuid,
    /// What there is to see.
    pub data: OverviewData,
}

/// A batch of the overview, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverviewData {
    /// Contract 3.2.
    pub pipeline_status: PipelineStatus,
    /// Sums.
    pub summary: OverviewSummary,
    /// When the numbers were read.
    pub response_timestamp: Timestamp,
    /// Contract 3.1.
    pub batch_status: BatchStatus,
    /// Who created the batch.
    pub created_by: String,
    /// When.
    pub created_timestamp: Timestamp,
    /// When something last happened to it.
    pub updated_timestamp: Timestamp,
    /// `folder/service[0.1.0]`
    pub service_uri: String,
}

/// The sums of a batch of the overview; completed excludes failed, as in [`Summary`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverviewSummary {
    /// Records pushed.
    pub records_submitted: i64,
    /// Records of failed chunks, and records with errors.
    pub records_failed: i64,
    /// Records that finished well.
    pub records_completed: i64,
    /// Sum of the records' process times, in milliseconds.
    pub compute_time_ms: i64,
    /// From creation to the end, or until now, in milliseconds.
    pub batch_time_ms: i64,
}

impl OverviewBatch {
    /// A batch in short.
    pub fn new(view: &BatchView) -> Self {
        let Summary {
            records_submitted,
            records_failed,
            records_completed,
            compute_time_ms,
            batch_time_ms,
            ..
        } = Summary::new(view);
        Self {
            object: OBJECT,
            id: view.batch.id,
            data: OverviewData {
                pipeline_status: view.pipeline(),
                summary: OverviewSummary {
                    records_submitted,
                    records_failed,
                    records_completed,
                    compute_time_ms,
                    batch_time_ms,
                },
                response_timestamp: Timestamp(view.now),
                batch_status: view.status(),
                created_by: view.batch.created_by.clone(),
                created_timestamp: Timestamp(view.batch.created_at),
                updated_timestamp: Timestamp(updated_at(view)),
                service_uri: view.batch.service_uri.clone(),
            },
        }
    }
}

/// A tenant's capacity and its use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OverviewTenant {
    /// What there is.
    pub configuration: TenantConfiguration,
    /// What is used of it.
    pub status: TenantStatus,
}

/// What a tenant has. Input and output buffers share one capacity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TenantConfiguration {
    /// The capacity, for input.
    pub input_buffer_allocated_bytes: i64,
    /// The capacity, for output.
    pub output_buffer_allocated_bytes: i64,
    /// Most slots of all batches together.
    pub max_workers: i32,
}

/// What a tenant's live batches have reserved; allocated = used + remaining.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TenantStatus {
    /// Reserved for input.
    pub input_buffer_used_bytes: i64,
    /// The rest.
    pub input_buffer_remaining_bytes: i64,
    /// Reserved for output.
    pub output_buffer_used_bytes: i64,
    /// The rest.
    pub output_buffer_remaining_bytes: i64,
    /// Busy slots.
    pub workers_in_use: i64,
}

#[cfg(test)]
#[path = "wire_tests.rs"]
pub(super) mod tests;
