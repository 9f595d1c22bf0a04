//! Batches as they are read: the row, the sums of its counters, and what follows from both.

use chrono::{DateTime, NaiveDate, Utc};
use millrace_calc::totals::TotalRequest;
use uuid::Uuid;

use super::StoreError;
use crate::model::{BatchProgress, BatchState, BatchStatus, PipelineStatus, batch_status, pipeline_status};

/// A row of `batches`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
pub struct Batch {
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub version_id: Uuid,
    pub service_id: Uuid,
    pub service_uri: String,
    pub version: String,
    pub compiler_version: String,
    pub created_by: String,
    pub day: NaiveDate,
    pub state: BatchState,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub closed_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub released_at: Option<DateTime<Utc>>,
    pub dropped_at: Option<DateTime<Utc>>,
    pub lane_id: Option<i32>,
    pub lane_epoch: Option<i64>,
    pub unique_record_key: Option<String>,
    pub output_filter: Vec<String>,
    pub subservices: Vec<String>,
    pub version_by_timestamp: Option<DateTime<Utc>>,
    pub call_purpose: String,
    pub source_system: Option<String>,
    pub correlation_id: Option<String>,
    pub initial_workers: i32,
    pub max_workers: i32,
    pub chunks_per_request: i32,
    pub runner_thread_count: i32,
    pub acceptable_error_percentage: f64,
    pub input_allocated: i64,
    pub output_allocated: i64,
    pub priority: i32,
    pub seed: i64,
    /// Totals that are kept over the whole batch.
    pub totals: Vec<TotalRequest>,
}

/// The sums of a batch's counters.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the columns are documented in the schema")]
pub struct Counters {
    pub chunks_submitted: i64,
    pub records_submitted: i64,
    pub chunks_queued: i64,
    pub chunks_completed: i64,
    pub chunks_failed: i64,
    pub records_completed: i64,
    pub records_failed: i64,
    pub chunks_retried: i64,
    pub records_retried: i64,
    pub chunks_pulled: i64,
    pub records_pulled: i64,
    pub input_bytes: i64,
    pub output_bytes: i64,
    pub input_total: i64,
    pub output_total: i64,
    pub largest_chunk: i32,
    pub compute_ms: i64,
    pub touched_at: DateTime<Utc>,
}

/// A batch with its counters, read at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchView {
    /// The row.
    pub batch: Batch,
    /// The sums.
    pub counters: Counters,
    /// Busy slots, as the workers report them.
    pub workers_in_use: i64,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

impl BatchView {
    /// The numbers that decide the batch's life.
    pub fn progress(&self) -> BatchProgress {
        BatchProgress {
            chunks_submitted: self.counters.chunks_submitted,
            chunks_completed: self.counters.chunks_completed,
            chunks_failed: self.counters.chunks_failed,
            output_used: self.counters.output_bytes,
            output_allocated: self.batch.output_allocated,
        }
    }

    /// `batch_status` (contract 3.1).
    pub fn status(&self) -> BatchStatus {
        let started = self.batch.started_at.is_some() || self.progress().chunks_finished() > 0;
        batch_status(self.batch.state, self.counters.chunks_submitted > 0, started)
    }

    /// `pipeline_status` (contract 3.2).
    pub fn pipeline(&self) -> PipelineStatus {
        pipeline_status(self.batch.state, &self.progress())
    }

    /// Chunks being evaluated. Heartbeats lag behind commits, so the report is bounded by what can be running.
    pub fn running(&self) -> i64 {
        if self.batch.state.is_terminal() {
            return 0;
        }
        let unfinished = self.counters.chunks_submitted - self.progress().chunks_finished();
        self.workers_in_use.clamp(0, unfinished.max(0))
    }

    /// Finished chunks that a pull can still get, and their records.
    pub fn available(&self) -> (i64, i64) {
        if self.batch.dropped_at.is_some() {
            return (0, 0);
        }
        (
            self.progress().chunks_finished() - self.counters.chunks_pulled,
            self.counters.records_completed - self.counters.records_pulled,
        )
    }

    /// Chunks that wait for a worker: submitted = completed + failed + waiting + running.
    pub fn waiting(&self) -> i64 {
        self.counters.chunks_submitted - self.progress().chunks_finished() - self.running()
    }
}

/// A row of the view `batch_views`.
pub(super) struct ViewRow {
    pub(super) id: Uuid,
    pub(super) tenant_id: Uuid,
    pub(super) version_id: Uuid,
    pub(super) service_id: Uuid,
    pub(super) service_uri: String,
    pub(super) version: String,
    pub(super) compiler_version: String,
    pub(super) created_by: String,
    pub(super) day: NaiveDate,
    pub(super) state: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) closed_at: Option<DateTime<Utc>>,
    pub(super) finished_at: Option<DateTime<Utc>>,
    pub(super) released_at: Option<DateTime<Utc>>,
    pub(super) dropped_at: Option<DateTime<Utc>>,
    pub(super) lane_id: Option<i32>,
    pub(super) lane_epoch: Option<i64>,
    pub(super) unique_record_key: Option<String>,
    pub(super) output_filter: Vec<String>,
    pub(super) subservices: Vec<String>,
    pub(super) version_by_timestamp: Option<DateTime<Utc>>,
    pub(super) call_purpose: String,
    pub(super) source_system: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) initial_workers: i32,
    pub(super) max_workers: i32,
    pub(super) chunks_per_request: i32,
    pub(super) runner_thread_count: i32,
    pub(super) acceptable_error_percentage: f64,
    pub(super) input_allocated: i64,
    pub(super) output_allocated: i64,
    pub(super) priority: i32,
    pub(super) seed: i64,
    pub(super) totals: Option<serde_json::Value>,
    pub(super) chunks_submitted: i64,
    pub(super) records_submitted: i64,
    pub(super) chunks_queued: i64,
    pub(super) chunks_completed: i64,
    pub(super) chunks_failed: i64,
    pub(super) records_completed: i64,
    pub(super) records_failed: i64,
    pub(super) chunks_retried: i64,
    pub(super) records_retried: i64,
    pub(super) chunks_pulled: i64,
    pub(super) records_pulled: i64,
    pub(super) input_bytes: i64,
    pub(super) output_bytes: i64,
    pub(super) input_total: i64,
    pub(super) output_total: i64,
    pub(super) largest_chunk: i32,
    pub(super) compute_ms: i64,
    pub(super) touched_at: DateTime<Utc>,
    pub(super) workers_in_use: i64,
    pub(super) observed_at: DateTime<Utc>,
}

/// `SELECT … FROM batch_views` with the given tail: one list of columns for every query.
macro_rules! select_views {
    ($tail:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::store::views::ViewRow,
            r#"SELECT id AS "id!", tenant_id AS "tenant_id!", version_id AS "version_id!", service_id AS "service_id!",
                service_uri AS "service_uri!", version AS "version!", compiler_version AS "compiler_version!",
                created_by AS "created_by!", day AS "day!", state AS "state!", created_at AS "created_at!",
                updated_at AS "updated_at!", started_at, closed_at, finished_at, released_at, dropped_at, lane_id, lane_epoch,
                unique_record_key, output_filter AS "output_filter!", subservices AS "subservices!",
                version_by_timestamp, call_purpose AS "call_purpose!", source_system, correlation_id,
                initial_workers AS "initial_workers!", max_workers AS "max_workers!",
                chunks_per_request AS "chunks_per_request!", runner_thread_count AS "runner_thread_count!",
                acceptable_error_percentage AS "acceptable_error_percentage!", input_allocated AS "input_allocated!",
                output_allocated AS "output_allocated!", priority AS "priority!", seed AS "seed!", totals,
                chunks_submitted AS "chunks_submitted!", records_submitted AS "records_submitted!",
                chunks_queued AS "chunks_queued!", chunks_completed AS "chunks_completed!",
                chunks_failed AS "chunks_failed!", records_completed AS "records_completed!",
                records_failed AS "records_failed!", chunks_retried AS "chunks_retried!",
                records_retried AS "records_retried!", chunks_pulled AS "chunks_pulled!",
                records_pulled AS "records_pulled!", input_bytes AS "input_bytes!", output_bytes AS "output_bytes!",
                input_total AS "input_total!", output_total AS "output_total!", largest_chunk AS "largest_chunk!",
                compute_ms AS "compute_ms!", touched_at AS "touched_at!", workers_in_use AS "workers_in_use!",
                observed_at AS "observed_at!"
            FROM batch_views "# + $tail
            $(, $argument)*
        )
    };
}
pub(super) use select_views;

impl TryFrom<ViewRow> for BatchView {
    type Error = StoreError;

    fn try_from(row: ViewRow) -> Result<Self, StoreError> {
        Ok(Self {
            batch: Batch {
                id: row.id,
                tenant_id: row.tenant_id,
                version_id: row.version_id,
                service_id: row.service_id,
                service_uri: row.service_uri,
                version: row.version,
                compiler_version: row.compiler_version,
                created_by: row.created_by,
                day: row.day,
                state: row.state.parse().map_err(StoreError::Corrupt)?,
                created_at: row.created_at,
                updated_at: row.updated_at,
                started_at: row.started_at,
                closed_at: row.closed_at,
                finished_at: row.finished_at,
                released_at: row.released_at,
                dropped_at: row.dropped_at,
                lane_id: row.lane_id,
                lane_epoch: row.lane_epoch,
                unique_record_key: row.unique_record_key,
                output_filter: row.output_filter,
                subservices: row.subservices,
                version_by_timestamp: row.version_by_timestamp,
                call_purpose: row.call_purpose,
                source_system: row.source_system,
                correlation_id: row.correlation_id,
                initial_workers: row.initial_workers,
                max_workers: row.max_workers,
                chunks_per_request: row.chunks_per_request,
                runner_thread_count: row.runner_thread_count,
                acceptable_error_percentage: row.acceptable_error_percentage,
                input_allocated: row.input_allocated,
                output_allocated: row.output_allocated,
                priority: row.priority,
                seed: row.seed,
                totals: match row.totals {
                    Some(totals) => serde_json::from_value(totals)
                        .map_err(|error| StoreError::Corrupt(error.to_string()))?,
                    None => Vec::new(),
                },
            },
            counters: Counters {
                chunks_submitted: row.chunks_submitted,
                records_submitted: row.records_submitted,
                chunks_queued: row.chunks_queued,
                chunks_completed: row.chunks_completed,
                chunks_failed: row.chunks_failed,
                records_completed: row.records_completed,
                records_failed: row.records_failed,
                chunks_retried: row.chunks_retried,
                records_retried: row.records_retried,
                chunks_pulled: row.chunks_pulled,
                records_pulled: row.records_pulled,
                input_bytes: row.input_bytes,
                output_bytes: row.output_bytes,
                input_total: row.input_total,
                output_total: row.output_total,
                largest_chunk: row.largest_chunk,
                compute_ms: row.compute_ms,
                touched_at: row.touched_at,
            },
            workers_in_use: row.workers_in_use,
            now: row.observed_at,
        })
    }
}
