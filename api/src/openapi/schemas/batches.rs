//! Batches: what is asked for, and what is pulled (contract sections 1 and 2).

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{any_object, records, texts};
use crate::spark::batch::wire::StatusBody;

/// A batch to be created (contract 1.1). `service` or `version_id` is needed; null is as good as absent.
#[derive(Debug, ToSchema)]
pub struct CreateBatch {
    /// `folder/service`, `folder/service[1.2.3]`, or an id. Empty text is as good as absent.
    #[schema(example = "sales/SalesExample")]
    pub service: Option<String>,
    /// Another name of `service`.
    pub service_id: Option<String>,
    /// Another name of `service`.
    pub service_uri: Option<String>,
    /// The version; wins over `service`.
    pub version_id: Option<Uuid>,
    /// The version that was in force at this time, where `service` names none exactly.
    #[schema(example = "2026-11-21T16:19:03")]
    pub version_by_timestamp: Option<String>,
    /// Which outputs: names, patterns with `*` and `?`, or regular expressions. All when absent.
    #[schema(schema_with = texts)]
    pub output: Option<Value>,
    /// Which subservices. The default one when absent.
    #[schema(schema_with = texts)]
    pub subservice: Option<Value>,
    /// Columns of the records that are copied into the outputs.
    #[schema(schema_with = texts)]
    pub unique_record_key: Option<Value>,
    /// What the batch is for.
    #[schema(default = "Async Batch Execution")]
    pub call_purpose: Option<String>,
    /// Echoed.
    pub source_system: Option<String>,
    /// Echoed.
    pub correlation_id: Option<String>,
    /// Slots that the batch gets first, where there is room.
    #[schema(minimum = 1)]
    pub initial_workers: Option<i32>,
    /// Most slots that the batch gets; at most what the tenant has.
    #[schema(minimum = 1)]
    pub max_workers: Option<i32>,
    /// Chunks that a worker takes at a time. Also `chunks_per_thread`.
    #[schema(minimum = 1, default = 1)]
    pub chunks_per_request: Option<i32>,
    /// Threads of a worker.
    #[schema(minimum = 1, default = 1)]
    pub runner_thread_count: Option<i32>,
    /// Size of the input buffer in units of 1,000,000 bytes; at most what the tenant allows. Also `max_input_size_in_mb`,
    /// `max_input_size`.
    #[schema(exclusive_minimum = 0, default = 70)]
    pub max_input_in_mb: Option<f64>,
    /// Size of the output buffer, likewise. Also `max_output_size_in_mb`, `max_output_size`.
    #[schema(exclusive_minimum = 0, default = 80)]
    pub max_output_in_mb: Option<f64>,
    /// Share of failed chunks that is tolerated, in per cent.
    #[schema(minimum = 0, maximum = 100, default = 0)]
    pub acceptable_error_percentage: Option<f64>,
    /// Share of failed records that is tolerated, in per cent. Failed records do not matter when absent.
    #[schema(minimum = 0, maximum = 100)]
    pub acceptable_record_error_percentage: Option<f64>,
    /// Whether the batch stops as soon as it is certain to fail.
    #[schema(default = false)]
    pub early_stop: Option<bool>,
    /// Lower goes first among the tenant's batches.
    #[schema(default = 0)]
    pub priority: Option<i32>,
    /// Told when the batch ends, if the tenant has a secret for it.
    pub webhook_url: Option<String>,
    /// Outputs of which statistics are kept over the whole batch: names, or objects with `output_name` and `quantiles`.
    #[schema(schema_with = totals)]
    pub summary_total: Option<Value>,
}

fn totals() -> utoipa::openapi::schema::Schema {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
    let share = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).maximum(Some(1));
    let entry = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("output_name", super::text())
        .required("output_name")
        .property("quantiles", ArrayBuilder::new().items(share).max_items(Some(64)));
    let entry = OneOfBuilder::new().item(super::text()).item(entry);
    ArrayBuilder::new().items(entry).max_items(Some(64)).build().into()
}

/// A change of a batch (contract 1.5): at least one field, all or none of which come to pass. Unknown fields are refused.
#[derive(Debug, ToSchema)]
pub struct ChangeBatch {
    /// `closed` or `cancelled`.
    #[schema(pattern = "^(closed|cancelled)$", example = "closed")]
    pub batch_status: Option<String>,
    /// Share of failed chunks that is tolerated, in per cent.
    #[schema(minimum = 0, maximum = 100, nullable = false)]
    pub acceptable_error_percentage: Option<f64>,
    /// Share of failed records that is tolerated, in per cent; null takes the limit away.
    #[schema(minimum = 0, maximum = 100)]
    pub acceptable_record_error_percentage: Option<f64>,
    /// Whether the batch stops as soon as it is certain to fail.
    #[schema(nullable = false)]
    pub early_stop: Option<bool>,
    /// Most slots that the batch gets.
    #[schema(minimum = 1, nullable = false)]
    pub max_workers: Option<i32>,
    /// Slots that the batch gets first, where there is room.
    #[schema(minimum = 1, nullable = false)]
    pub initial_workers: Option<i32>,
    /// Lower goes first among the tenant's batches.
    #[schema(nullable = false)]
    pub priority: Option<i32>,
    /// `true` pauses the batch: it takes chunks and gives results, and nothing of it is evaluated. `false` resumes it.
    #[schema(nullable = false)]
    pub paused: Option<bool>,
}

/// Chunks to be pushed (contract 1.2): all of them are taken, or none. A bare list of chunks is taken as well.
#[derive(Debug, ToSchema)]
pub struct PushChunks {
    /// The chunks; none is fine.
    pub chunks: Vec<Chunk>,
}

/// A chunk.
#[derive(Debug, ToSchema)]
pub struct Chunk {
    /// Unique inside the batch; made up when absent. The same id with the same content counts once.
    #[schema(min_length = 1, max_length = 128, example = "c1")]
    pub id: Option<String>,
    /// Not used: records are counted.
    pub size: Option<i64>,
    /// The records, and what goes for all of them.
    pub data: ChunkData,
}

/// What is in a chunk (contract 2).
#[derive(Debug, ToSchema)]
pub struct ChunkData {
    /// The records.
    #[schema(schema_with = records)]
    pub inputs: Value,
    /// Inputs of all records that do not give their own.
    #[schema(schema_with = any_object)]
    pub parameters: Option<Value>,
    /// Aggregation over the chunk.
    pub summary: Option<Summary>,
}

/// Aggregation over a chunk (contract 2.6).
#[derive(Debug, ToSchema)]
#[schema(as = ChunkSummary)]
pub struct Summary {
    /// Whether records with errors are left out.
    pub ignore_error: Option<bool>,
    /// Whether all outputs are returned beside the aggregates.
    pub return_all_records: Option<bool>,
    /// What is aggregated.
    pub aggregation: Option<Vec<Aggregation>>,
}

/// One aggregate.
#[derive(Debug, ToSchema)]
pub struct Aggregation {
    /// The output.
    #[schema(example = "total")]
    pub output_name: String,
    /// `SUM`, `AVERAGE`, `MIN`, `MAX`, `COUNT`, `COUNTA` or `PRODUCT`.
    #[schema(example = "SUM")]
    pub operator: String,
}

/// Finished chunks, and the status after they were taken: as an object, and once more field by field (contract 1.3).
#[derive(Debug, ToSchema)]
pub struct Page {
    /// Finished chunks, in the order of their completion.
    pub data: Vec<ChunkOutcome>,
    /// The status.
    pub status: StatusBody,
    /// Where cursors are used: what to give as `after` next, and to acknowledge.
    pub next_cursor: Option<String>,
    /// Where cursors are used: whether there are more right now.
    pub has_more: Option<bool>,
    /// The status again.
    #[serde(flatten)]
    pub flat: StatusBody,
}

/// What came of a chunk (contract 1.3, 2.3).
#[derive(Debug, ToSchema)]
pub struct ChunkOutcome {
    /// The id that it was pushed with.
    pub id: String,
    /// The outputs in the form of the inputs: a row of names and rows of values, or objects.
    #[schema(schema_with = records)]
    pub outputs: Value,
    /// Aggregates; null for a failed chunk.
    pub summary_output: Option<Vec<Value>>,
    /// What went wrong with aggregates.
    pub summary_errors: Option<Vec<Value>>,
    /// By record: null, or what to know about it.
    pub warnings: Vec<Value>,
    /// By record: null, or its errors. For a failed chunk: why it failed.
    pub errors: Vec<Value>,
    /// By record: milliseconds.
    pub process_time: Vec<i64>,
    /// `completed` or `failed`.
    #[schema(pattern = "^(completed|failed)$")]
    pub status: String,
    /// How many records it has.
    #[schema(minimum = 0)]
    pub size: i64,
}

/// What failed, a page at a time.
#[derive(Debug, ToSchema)]
pub struct FailurePage {
    /// Failed chunks and failed records.
    pub data: Vec<Failure>,
    /// The batch.
    pub id: Uuid,
    /// What to give as `after` next.
    pub next_cursor: String,
    /// Whether there are more right now.
    pub has_more: bool,
}

/// A failed chunk, or a failed record.
#[derive(Debug, ToSchema)]
pub struct Failure {
    /// `chunk` or `record`.
    #[schema(pattern = "^(chunk|record)$")]
    pub kind: String,
    /// The chunk.
    pub chunk_id: String,
    /// Of a record: its number within the chunk, from 0 on.
    pub record: Option<i32>,
    /// Of a chunk: its records.
    pub records: Option<i32>,
    /// Of a record: the values of the columns in `unique_record_key`.
    #[schema(schema_with = any_object)]
    pub unique_record_key: Option<Value>,
    /// Why it failed.
    pub errors: Vec<Value>,
    /// Whether the input is there to be done again.
    pub input_kept: bool,
}

/// What is to be done again, and how. The terms of a new batch may be given as well; those of the source hold for the others.
#[derive(Debug, ToSchema)]
pub struct RedriveBatch {
    /// `chunks`, `records` or `all`, which is meant when it is absent.
    #[schema(pattern = "^(chunks|records|all)$")]
    pub kind: Option<String>,
    /// Whether the new batch is closed when everything is in.
    #[schema(default = true)]
    pub close: Option<bool>,
    /// The id of the new batch: with it the call may be repeated, and only one redrive begins.
    pub batch_id: Option<Uuid>,
}

/// What is acknowledged.
#[derive(Debug, ToSchema)]
pub struct Acknowledge {
    /// `next_cursor` of a page that is safe.
    pub cursor: String,
}
