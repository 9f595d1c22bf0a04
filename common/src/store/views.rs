//! Batches as they are read: the row, the sums of its counters, and what follows from both.

use chrono::{DateTime, NaiveDate, Utc};
use millrace_calc::totals::TotalRequest;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::data::DataClient;
use super::{Store, StoreError};

use crate::model::{
    BatchProgress, BatchState, BatchStatus, Percentage, PipelineStatus, Tolerance, batch_status,
    is_held_back, is_paused, pipeline_status,
};

/// Every column of `batches` and every counter that is read: name, type, SQL. This list makes the structs and the query, so a new
/// column is one line here and one where batches are created.
macro_rules! view_columns {
    ([$($macro:tt)+] $($argument:tt)*) => {
        $($macro)+! {
            [$($argument)*]
            batch {
                id: Uuid = "b.id",
                tenant_id: Uuid = "b.tenant_id",
                version_id: Uuid = "b.version_id",
                service_id: Uuid = "b.service_id",
                service_uri: String = "b.service_uri",
                version: String = "b.version",
                compiler_version: String = "b.compiler_version",
                created_by: String = "b.created_by",
                day: NaiveDate = "b.day",
                state: BatchState = r#"b.state AS "state: crate::store::views::StoredState""#,
                created_at: DateTime<Utc> = "b.created_at",
                updated_at: DateTime<Utc> = "b.updated_at",
                started_at: Option<DateTime<Utc>> = "b.started_at",
                closed_at: Option<DateTime<Utc>> = "b.closed_at",
                finished_at: Option<DateTime<Utc>> = "b.finished_at",
                released_at: Option<DateTime<Utc>> = "b.released_at",
                dropped_at: Option<DateTime<Utc>> = "b.dropped_at",
                lane_id: Option<i32> = "b.lane_id",
                lane_epoch: Option<i64> = "b.lane_epoch",
                unique_record_key: Option<String> = "b.unique_record_key",
                output_filter: Vec<String> = "b.output_filter",
                subservices: Vec<String> = "b.subservices",
                version_by_timestamp: Option<DateTime<Utc>> = "b.version_by_timestamp",
                call_purpose: String = "b.call_purpose",
                source_system: Option<String> = "b.source_system",
                correlation_id: Option<String> = "b.correlation_id",
                initial_workers: i32 = "b.initial_workers",
                max_workers: i32 = "b.max_workers",
                chunks_per_request: i32 = "b.chunks_per_request",
                runner_thread_count: i32 = "b.runner_thread_count",
                acceptable_error_percentage: f64 = "b.acceptable_error_percentage",
                acceptable_record_error_percentage: Option<f64> = "b.acceptable_record_error_percentage",
                early_stop: bool = "b.early_stop",
                /// When an early stop ended what had no outcome.
                stopped_at: Option<DateTime<Utc>> = "b.stopped_at",
                /// Since when a pause is noted; [`BatchView::paused`] says whether it counts.
                paused_at: Option<DateTime<Utc>> = "b.paused_at",
                paused_by: Option<String> = "b.paused_by",
                input_allocated: i64 = "b.input_allocated",
                output_allocated: i64 = "b.output_allocated",
                priority: i32 = "b.priority",
                seed: i64 = "b.seed",
                /// Totals that are kept over the whole batch.
                totals: Vec<TotalRequest> = r#"coalesce(b.totals, '[]') AS "totals!: crate::store::views::StoredTotals""#,
                webhook_url: Option<String> = "b.webhook_url",
            }
            counters {
                chunks_submitted: i64 = r#"s.chunks_submitted AS "chunks_submitted!""#,
                records_submitted: i64 = r#"s.records_submitted AS "records_submitted!""#,
                chunks_queued: i64 = r#"s.chunks_queued AS "chunks_queued!""#,
                chunks_completed: i64 = r#"s.chunks_completed AS "chunks_completed!""#,
                chunks_failed: i64 = r#"s.chunks_failed AS "chunks_failed!""#,
                records_completed: i64 = r#"s.records_completed AS "records_completed!""#,
                records_failed: i64 = r#"s.records_failed AS "records_failed!""#,
                chunks_retried: i64 = r#"s.chunks_retried AS "chunks_retried!""#,
                records_retried: i64 = r#"s.records_retried AS "records_retried!""#,
                chunks_pulled: i64 = r#"s.chunks_pulled AS "chunks_pulled!""#,
                records_pulled: i64 = r#"s.records_pulled AS "records_pulled!""#,
                input_bytes: i64 = r#"s.input_bytes AS "input_bytes!""#,
                output_bytes: i64 = r#"s.output_bytes AS "output_bytes!""#,
                input_total: i64 = r#"s.input_total AS "input_total!""#,
                output_total: i64 = r#"s.output_total AS "output_total!""#,
                largest_chunk: i32 = r#"s.largest_chunk AS "largest_chunk!""#,
                compute_ms: i64 = r#"s.compute_ms AS "compute_ms!""#,
                touched_at: DateTime<Utc> = r#"s.touched_at AS "touched_at!""#,
            }
        }
    };
}
pub(super) use view_columns;

macro_rules! define_structs {
    (
        []
        batch { $($(#[$about:meta])* $field:ident: $type:ty = $sql:literal,)* }
        counters { $($counter:ident: $counter_type:ty = $counter_sql:literal,)* }
    ) => {
        /// A row of `batches`.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the columns are documented in the schema")]
        pub struct Batch {
            $($(#[$about])* pub $field: $type,)*
        }

        /// The sums of a batch's counters.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "the columns are documented in the schema")]
        pub struct Counters {
            $(pub $counter: $counter_type,)*
        }

        /// A row of `batches` joined with `batch_sums`, flat.
        pub(super) struct ViewRow {
            $(pub(super) $field: $type,)*
            $(pub(super) $counter: $counter_type,)*
            pub(super) workers_in_use: i64,
            pub(super) observed_at: DateTime<Utc>,
        }

        impl From<ViewRow> for BatchView {
            fn from(row: ViewRow) -> Self {
                Self {
                    batch: Batch { $($field: row.$field,)* },
                    counters: Counters { $($counter: row.$counter,)* },
                    workers_in_use: row.workers_in_use,
                    now: row.observed_at,
                }
            }
        }
    };
}
view_columns!([define_structs]);

/// The same for the data plane, where a view rides in a transaction that changes what it shows.
macro_rules! define_reading {
    (
        []
        batch { $($(#[$about:meta])* $field:ident: $type:ty = $sql:literal,)* }
        counters { $($counter:ident: $counter_type:ty = $counter_sql:literal,)* }
    ) => {
        /// Reads the views of some batches.
        pub(super) const VIEWS: &str = concat!(
            "\n-- views: batches\nSELECT s.workers_in_use, clock_timestamp()",
            $(", ", $sql,)*
            $(", ", $counter_sql,)*
            "\nFROM batches b JOIN batch_sums s ON s.batch_id = b.id WHERE b.id = ANY($1)"
        );

        /// Reads a row of [`VIEWS`].
        pub(super) fn read_view(row: &Row) -> Result<BatchView, StoreError> {
            let mut columns = Columns { row, next: 0 };
            Ok(BatchView {
                workers_in_use: columns.read()?,
                now: columns.read()?,
                batch: Batch { $($field: columns.read()?,)* },
                counters: Counters { $($counter: columns.read()?,)* },
            })
        }
    };
}
view_columns!([define_reading]);

/// Reads the columns of a row one after the other.
struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl Columns<'_> {
    fn read<T: Column>(&mut self) -> Result<T, StoreError> {
        let at = self.next;
        self.next += 1;
        T::read(self.row, at)
    }
}

/// A type of [`view_columns`], as the data plane reads it.
trait Column: Sized {
    fn read(row: &Row, at: usize) -> Result<Self, StoreError>;
}

macro_rules! plain_columns {
    ($($type:ty),+) => {
        $(impl Column for $type {
            fn read(row: &Row, at: usize) -> Result<Self, StoreError> {
                Ok(row.try_get(at)?)
            }
        })+
    };
}
plain_columns!(Uuid, String, NaiveDate, DateTime<Utc>, bool, i32, i64, f64, Vec<String>);
plain_columns!(Option<String>, Option<DateTime<Utc>>, Option<i32>, Option<i64>, Option<f64>);

impl Column for BatchState {
    fn read(row: &Row, at: usize) -> Result<Self, StoreError> {
        row.try_get::<_, &str>(at)?.parse().map_err(StoreError::Corrupt)
    }
}

impl Column for Vec<TotalRequest> {
    fn read(row: &Row, at: usize) -> Result<Self, StoreError> {
        Ok(row.try_get::<_, Json<Self>>(at)?.0)
    }
}

impl Store {
    /// A batch as it is now, whoever owns it, over a connection of the data plane: for calls that are made again and again. It
    /// costs one round trip, where the control plane also asks the connection for signs of life.
    pub async fn glance(&self, id: Uuid) -> Result<Option<BatchView>, StoreError> {
        let client: DataClient = self.data_client().await?;
        let views = client.prepare_cached(VIEWS).await?;
        let ids = [id];
        let of_batch: [&(dyn ToSql + Sync); 1] = [&ids.as_slice()];
        let row = client.in_time(async { Ok(client.query_opt(&views, &of_batch).await?) }).await?;
        row.as_ref().map(read_view).transpose()
    }
}

/// A query for [`BatchView`]s with the given tail. Columns of `batches` and `batch_sums` have distinct names.
macro_rules! select_views {
    ($tail:literal $($argument:tt)*) => {
        $crate::store::views::view_columns!([$crate::store::views::query_views] $tail $($argument)*)
    };
}
pub(super) use select_views;

macro_rules! query_views {
    (
        [$tail:literal $($argument:tt)*]
        batch { $($(#[$about:meta])* $field:ident: $type:ty = $sql:literal,)* }
        counters { $($counter:ident: $counter_type:ty = $counter_sql:literal,)* }
    ) => {
        sqlx::query_as!(
            $crate::store::views::ViewRow,
            r#"SELECT s.workers_in_use AS "workers_in_use!", clock_timestamp() AS "observed_at!""#
            $(+ ", " + $sql)*
            $(+ ", " + $counter_sql)*
            + " FROM batches b JOIN batch_sums s ON s.batch_id = b.id "
            + $tail
            $($argument)*
        )
    };
}
pub(super) use query_views;

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

impl Batch {
    /// What may fail before the batch does.
    pub fn tolerance(&self) -> Tolerance {
        tolerance(self.acceptable_error_percentage, self.acceptable_record_error_percentage)
    }
}

/// A stored tolerance; the schema holds both numbers between 0 and 100.
pub(super) fn tolerance(chunks: f64, records: Option<f64>) -> Tolerance {
    Tolerance {
        chunks: Percentage::new(chunks).unwrap_or_default(),
        records: records.map(|records| Percentage::new(records).unwrap_or_default()),
    }
}

impl BatchView {
    /// The numbers that decide the batch's life.
    pub fn progress(&self) -> BatchProgress {
        BatchProgress {
            chunks_submitted: self.counters.chunks_submitted,
            chunks_completed: self.counters.chunks_completed,
            chunks_failed: self.counters.chunks_failed,
            records_submitted: self.counters.records_submitted,
            records_failed: self.counters.records_failed,
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
        let Batch { state, stopped_at, paused_at, .. } = &self.batch;
        pipeline_status(*state, stopped_at.is_some(), paused_at.is_some(), &self.progress())
    }

    /// Whether evaluation waits for a pull ([`is_held_back`]).
    pub fn is_held_back(&self) -> bool {
        is_held_back(self.batch.state, self.batch.stopped_at.is_some(), &self.progress())
    }

    /// Since when the batch is paused, and who paused it ([`is_paused`]).
    pub fn paused(&self) -> Option<(DateTime<Utc>, &str)> {
        let Batch { state, stopped_at, paused_at, paused_by, .. } = &self.batch;
        is_paused(*state, stopped_at.is_some(), paused_at.is_some())
            .then_some(paused_at.zip(Some(paused_by.as_deref().unwrap_or_default())))
            .flatten()
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

/// A state in its stored spelling.
pub(super) struct StoredState(BatchState);

impl sqlx::Type<sqlx::Postgres> for StoredState {
    fn type_info() -> sqlx::postgres::PgTypeInfo {
        <str as sqlx::Type<sqlx::Postgres>>::type_info()
    }

    fn compatible(stored: &sqlx::postgres::PgTypeInfo) -> bool {
        <str as sqlx::Type<sqlx::Postgres>>::compatible(stored)
    }
}

impl<'r> sqlx::Decode<'r, sqlx::Postgres> for StoredState {
    fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        Ok(Self(<&str as sqlx::Decode<'r, sqlx::Postgres>>::decode(value)?.parse()?))
    }
}

impl From<StoredState> for BatchState {
    fn from(stored: StoredState) -> Self {
        stored.0
    }
}

/// Requested totals as JSON.
#[derive(sqlx::Type)]
#[sqlx(transparent)]
pub(super) struct StoredTotals(sqlx::types::Json<Vec<TotalRequest>>);

impl From<StoredTotals> for Vec<TotalRequest> {
    fn from(stored: StoredTotals) -> Self {
        stored.0.0
    }
}
