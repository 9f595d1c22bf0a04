//! What is told about one batch (contract 1.1, 1.5, 1.6).

use chrono::{DateTime, Utc};
use millrace_common::model::BatchStatus;
use millrace_common::store::{Batch, BatchView, Redrive, RedriveLinks};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{StatusFields, Timestamp};
use crate::openapi::schemas::batch_status;

/// What a batch is (contract 1.1).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
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
    #[schema(schema_with = batch_status)]
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
pub fn updated_at(view: &BatchView) -> DateTime<Utc> {
    if view.batch.state.is_terminal() {
        view.batch.updated_at
    } else {
        view.batch.updated_at.max(view.counters.touched_at)
    }
}

/// The answer to a creation (contract 1.1) and to a change (contract 1.5).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
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
    /// Share of failed records that is tolerated, in per cent; `null` where failed records do not matter.
    pub acceptable_record_error_percentage: Option<f64>,
    /// Whether the batch stops as soon as it is certain to fail.
    pub early_stop: bool,
    /// Lower goes first among the tenant's batches.
    pub priority: i32,
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
    /// Told when the batch ends.
    pub webhook_url: Option<String>,
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
            acceptable_record_error_percentage: batch.acceptable_record_error_percentage,
            early_stop: batch.early_stop,
            priority: batch.priority,
            input_buffer_allocated_bytes: batch.input_allocated,
            output_buffer_allocated_bytes: batch.output_allocated,
            max_workers: batch.max_workers,
            max_input_in_mb: megabytes(batch.input_allocated),
            max_output_in_mb: megabytes(batch.output_allocated),
            output: batch.output_filter.clone(),
            subservice: batch.subservices.clone(),
            version_by_timestamp: batch.version_by_timestamp.map(Timestamp),
            call_purpose: batch.call_purpose.clone(),
            webhook_url: batch.webhook_url.clone(),
        }
    }
}

/// Batch information (contract 1.6).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct InfoBody {
    /// `batch`
    pub object: &'static str,
    /// The batch.
    pub id: Uuid,
    /// All about it.
    pub data: InfoData,
}

/// What batch information holds.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct InfoData {
    /// What the batch is.
    #[serde(flatten)]
    pub batch: BatchData,
    /// Sums.
    pub summary: Summary,
    /// When the batch was stopped early; `null` for most.
    pub stopped_timestamp: Option<Timestamp>,
    /// Whether the batch is paused: nothing of it is evaluated.
    pub paused: bool,
    /// Since when.
    pub paused_timestamp: Option<Timestamp>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Statistics over all completed chunks; `null` for a batch that was created without `summary_total`.
    pub summary_total: Option<serde_json::Value>,
    /// What is in force.
    pub configuration: Configuration,
    /// The batch whose failed work this one does again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrive_of: Option<Uuid>,
    /// How far that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redrive: Option<RedriveData>,
    /// The batches that did failed work of this one again, oldest first; at most 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redriven_by: Vec<Uuid>,
}

/// How far a redrive is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RedriveData {
    /// `chunks`, `records` or `all`.
    pub kind: String,
    /// `running`, `done` or `stopped`.
    pub state: String,
    /// Why it stopped, or what was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Chunks to push.
    pub chunks_total: i64,
    /// Chunks that were pushed.
    pub chunks_pushed: i64,
}

impl From<Redrive> for RedriveData {
    fn from(redrive: Redrive) -> Self {
        Self {
            kind: redrive.kind,
            state: redrive.state,
            reason: redrive.reason,
            chunks_total: redrive.chunks_total,
            chunks_pushed: redrive.chunks_done,
        }
    }
}

/// The name of the type in `object`.
pub const OBJECT: &str = "batch";

impl InfoBody {
    /// All about a batch, its totals if it keeps any, and the redrives that it has to do with.
    pub fn new(view: &BatchView, summary_total: Option<serde_json::Value>, redrives: RedriveLinks) -> Self {
        Self {
            object: OBJECT,
            id: view.batch.id,
            data: InfoData {
                batch: BatchData::new(view),
                summary: Summary::new(view),
                stopped_timestamp: view.batch.stopped_at.map(Timestamp),
                paused: view.paused().is_some(),
                paused_timestamp: view.paused().map(|(since, _)| Timestamp(since)),
                paused_by: view.paused().map(|(_, by)| by.to_owned()),
                summary_total,
                configuration: Configuration::new(&view.batch),
                redrive_of: redrives.own.as_ref().map(|redrive| redrive.source_id),
                redrive: redrives.own.map(RedriveData::from),
                redriven_by: redrives.redriven_by,
            },
        }
    }
}
