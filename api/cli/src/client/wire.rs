//! The parts of requests and answers that the command line writes and reads (contract sections 1 and 4).

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Body of `POST /batch`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NewBatch {
    /// Service locator.
    pub service: String,
    /// Echoed columns, comma-joined as the SDK does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unique_record_key: Option<Vec<String>>,
    /// Output names or patterns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output: Vec<String>,
    /// Percentage of chunks that may fail.
    pub acceptable_error_percentage: f64,
    /// Input buffer, in MB of 1,000,000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_input_in_mb: Option<f64>,
    /// Output buffer, in MB of 1,000,000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_in_mb: Option<f64>,
    /// Most slots for this batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_workers: Option<u32>,
    /// Shown in overviews.
    pub call_purpose: &'static str,
    /// Shown in overviews.
    pub source_system: &'static str,
}

/// Answer of `POST /batch`.
#[derive(Debug, Clone, Deserialize)]
pub struct Created {
    /// The batch's id.
    pub id: String,
    /// What was resolved.
    #[serde(default)]
    pub data: CreatedData,
}

/// What the server resolved at creation.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct CreatedData {
    /// `folder/service[version]`.
    pub service_uri: Option<String>,
}

/// The status of contract 1.4, as far as it is used here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct BatchStatusAnswer {
    /// Contract 3.1.
    pub batch_status: String,
    /// Contract 3.2.
    pub pipeline_status: String,
    /// Chunks accepted.
    pub chunks_submitted: u64,
    /// Chunks finished, good or failed.
    pub chunks_completed: u64,
    /// Chunks finished and not pulled.
    pub chunks_available: u64,
    /// Failed chunks.
    pub chunks_failed: u64,
    /// Records accepted.
    pub record_submitted: u64,
    /// Records finished, good or failed.
    pub records_completed: u64,
    /// Records finished and not pulled.
    pub records_available: u64,
    /// Failed records.
    pub records_failed: u64,
    /// Sum of the time per record, in milliseconds.
    pub compute_time_ms: u64,
    /// Bytes waiting to be evaluated.
    pub input_buffer_used_bytes: u64,
    /// Room for more.
    pub input_buffer_remaining_bytes: u64,
    /// Bytes waiting to be pulled.
    pub output_buffer_used_bytes: u64,
    /// Room for more.
    pub output_buffer_remaining_bytes: u64,
    /// Busy slots.
    pub workers_in_use: u64,
    /// Whether it is paused.
    pub paused: bool,
    /// Since when.
    pub paused_timestamp: Option<String>,
    /// Who paused it.
    pub paused_by: Option<String>,
}

impl BatchStatusAnswer {
    /// Whether the batch takes chunks.
    pub fn is_open(&self) -> bool {
        matches!(self.batch_status.as_str(), "created" | "pending" | "in_progress")
    }

    /// Whether the state can never change again.
    pub fn is_terminal(&self) -> bool {
        matches!(self.batch_status.as_str(), "completed" | "completed_by_timeout" | "failed" | "cancelled")
    }

    /// Whether every accepted chunk is finished and pulled.
    pub const fn is_drained(&self) -> bool {
        self.chunks_completed >= self.chunks_submitted && self.chunks_available == 0
    }
}

/// Answer of `GET /batch/{id}/results`.
#[derive(Debug, Deserialize)]
pub struct ReadAnswer<'a> {
    /// Finished chunks, in completion order.
    #[serde(borrow)]
    pub data: Vec<ChunkResult<'a>>,
    /// What to go on from, and to acknowledge.
    pub next_cursor: String,
    /// Whether the server holds something back that may come at any moment, or the page was too small.
    pub has_more: bool,
    /// The situation before this page was read.
    #[serde(default)]
    pub status: BatchStatusAnswer,
}

/// The result of one chunk (contract 1.3 and 2.3). Values stay as the server wrote them.
#[derive(Debug, Deserialize)]
pub struct ChunkResult<'a> {
    /// The id that the chunk was pushed with.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// A row of names, then a row for each record.
    #[serde(borrow, default)]
    pub outputs: Vec<Vec<&'a RawValue>>,
    /// For each record `null` or a list.
    #[serde(default)]
    pub warnings: Option<Vec<serde_json::Value>>,
    /// For each record `null` or a list; of a failed chunk, a list of errors.
    #[serde(default)]
    pub errors: Option<Vec<serde_json::Value>>,
    /// `completed` or `failed`.
    #[serde(default)]
    pub status: Option<Cow<'a, str>>,
    /// Number of its records.
    #[serde(default)]
    pub size: Option<u64>,
}

/// Answer of `GET /batch/status`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Overview {
    /// Live batches.
    pub in_progress_batches: Vec<BatchOverview>,
    /// Batches that ended within the last hour.
    pub recent_batches: Vec<BatchOverview>,
}

/// One batch of an overview.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BatchOverview {
    /// The batch's id.
    pub id: String,
    /// What is known about it.
    pub data: BatchOverviewData,
}

/// What an overview says about a batch.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BatchOverviewData {
    /// Contract 3.1.
    pub batch_status: String,
    /// Contract 3.2.
    pub pipeline_status: String,
    /// `folder/service[version]`.
    pub service_uri: String,
    /// Who created it.
    pub created_by: String,
    /// When.
    pub created_timestamp: String,
    /// Counts.
    pub summary: BatchOverviewSummary,
}

/// Counts in an overview.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BatchOverviewSummary {
    /// Records accepted.
    pub records_submitted: u64,
    /// Records that failed.
    pub records_failed: u64,
    /// Records that completed.
    pub records_completed: u64,
}

/// Answer of an upload (contract 4.3, step 1).
#[derive(Debug, Clone, Deserialize)]
pub struct Uploaded {
    /// What to poll and what to publish.
    pub response_data: UploadedData,
}

/// The part of an upload's answer that the next steps need.
#[derive(Debug, Clone, Deserialize)]
pub struct UploadedData {
    /// What to poll.
    pub nodegen_compilation_jobid: String,
    /// What to publish.
    pub original_file_documentid: String,
    /// What to publish.
    pub engine_file_documentid: String,
    /// Number of inputs found.
    #[serde(default)]
    pub no_of_inputs: Option<u64>,
    /// Number of outputs found.
    #[serde(default)]
    pub no_of_outputs: Option<u64>,
    /// What the compiler found odd.
    #[serde(default)]
    pub warnings: Option<Vec<serde_json::Value>>,
}

/// Answer of a publish (contract 4.3, step 3).
#[derive(Debug, Clone, Deserialize)]
pub struct Published {
    /// The new version.
    pub response_data: PublishedData,
}

/// The new version.
#[derive(Debug, Clone, Deserialize)]
pub struct PublishedData {
    /// Its id.
    pub version_id: String,
    /// Its number.
    #[serde(default)]
    pub version: Option<String>,
}
