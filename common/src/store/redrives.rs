//! Redrives: failed work of one batch, pushed anew into another (control plane; the inputs themselves come over the data plane).
//! A row says what is left, so any server can go on where another one stopped; pushing a portion twice does no harm.

use chrono::NaiveDate;
use serde_json::json;
use sqlx::{Postgres, Transaction};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::audit::Change;
use super::failures::FailureKinds;
use super::{CreateBatchError, CreatedBatch, NewBatch, Store, StoreError};
use crate::metrics::{BATCHES_CREATED, REDRIVEN_CHUNKS, REDRIVEN_PORTIONS, REDRIVES_ENDED};
use crate::model::Action;

/// Ids that are listed of work that cannot be done again.
const LISTED: i64 = 100;
/// The most redrives of one batch that are listed.
const REDRIVES: i64 = 1_000;

/// What a redrive of a batch could do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedrivePlan {
    /// Chunks that failed or have failed records.
    pub failed: i64,
    /// Of these, chunks whose inputs are there.
    pub possible: i64,
    /// The largest of these inputs, in bytes.
    pub largest: i32,
    /// The first ids of chunks whose inputs are not there.
    pub impossible: Vec<String>,
}

/// A redrive that is to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRedrive {
    /// The id of the batch that is created for it.
    pub batch_id: Uuid,
    /// The batch whose work failed.
    pub source_id: Uuid,
    /// Its day.
    pub source_day: NaiveDate,
    /// Which of its work.
    pub kinds: FailureKinds,
    /// Whether the new batch is closed when everything is in.
    pub close: bool,
    /// Chunks to push.
    pub chunks: i64,
    /// The largest of them, in bytes.
    pub largest: i32,
}

/// Why a redrive does not begin. Nothing is stored.
#[derive(Debug, thiserror::Error)]
pub enum CreateRedriveError {
    /// The new batch cannot be created.
    #[error(transparent)]
    Batch(#[from] CreateBatchError),
    /// The id of the new batch belongs to another one.
    #[error("the id is taken by another batch")]
    IdTaken,
    /// The results of the first batch have expired or were dropped.
    #[error("the results of the batch have expired or were dropped")]
    Expired,
    /// A chunk is larger than the new batch's input buffer, which is bounded by the tenant's cap.
    #[error("the largest chunk has {needed} bytes, the whole input buffer {allocated}")]
    TooLarge {
        /// Size of the chunk.
        needed: i64,
        /// Size of the buffer.
        allocated: i64,
    },
}

impl From<StoreError> for CreateRedriveError {
    fn from(error: StoreError) -> Self {
        Self::Batch(error.into())
    }
}

/// A redrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    /// The batch that does the work again.
    pub batch_id: Uuid,
    /// That batch's day.
    pub day: NaiveDate,
    /// The size of its input buffer, in bytes.
    pub input_allocated: i64,
    /// The batch whose work failed.
    pub source_id: Uuid,
    /// Its day.
    pub source_day: NaiveDate,
    /// `chunks`, `records` or `all`.
    pub kind: String,
    /// `running`, `done` or `stopped`.
    pub state: String,
    /// Why it stopped, or what was left out.
    pub reason: Option<String>,
    /// Whether the new batch is closed when everything is in.
    pub close: bool,
    /// Chunks to push.
    pub chunks_total: i64,
    /// Chunks that were pushed.
    pub chunks_done: i64,
    /// The number from which on inputs are left.
    pub next_no: i64,
}

/// The redrives that a batch has to do with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedriveLinks {
    /// The redrive that the batch was made for.
    pub own: Option<Redrive>,
    /// The batches that did failed work of this one again, oldest first; at most 1,000.
    pub redriven_by: Vec<Uuid>,
}

/// The input of failed work.
#[derive(Clone, PartialEq, Eq)]
pub struct FailedInput {
    /// Number of the chunk that failed.
    pub chunk_no: i64,
    /// Its id, which the new chunk keeps.
    pub chunk_id: String,
    /// Size of the data before compression.
    pub bytes: i32,
    /// The `data` object, compressed with zstd.
    pub input: Vec<u8>,
}

/// Never shows the input.
impl std::fmt::Debug for FailedInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FailedInput")
            .field("chunk_no", &self.chunk_no)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// A [`Redrive`] by a statement that joins `redrives r` with its batch `b`.
macro_rules! query_redrive {
    ($before:literal, $after:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            Redrive,
            $before
                + " r.batch_id, b.day, b.input_allocated, r.source_id, r.source_day, r.kind, r.state, r.reason, r.close,
                    r.chunks_total, r.chunks_done, r.next_no "
                + $after
            $(, $argument)*
        )
    };
}

const PLAN: &str = "
-- redrives: plan
WITH work AS (
    SELECT r.chunk_no, r.chunk_id, w.input IS NOT NULL AS kept, w.bytes
    FROM results r LEFT JOIN failed_work w ON w.day = $1 AND w.chunk_no = r.chunk_no
    WHERE $3::bool AND r.day = $1 AND r.batch_id = $2 AND r.outcome = 'failed' AND r.outcome <> 'completed'
    UNION ALL
    SELECT r.chunk_no, r.chunk_id, w.input IS NOT NULL, w.bytes
    FROM failed_work w JOIN results r ON r.day = $1 AND r.chunk_no = w.chunk_no
    WHERE $4::bool AND w.day = $1 AND w.batch_id = $2 AND w.kind = 'records'
)
SELECT count(*), count(*) FILTER (WHERE kept), coalesce(max(bytes) FILTER (WHERE kept), 0),
       ARRAY(SELECT chunk_id FROM work WHERE NOT kept ORDER BY chunk_no LIMIT $5)
FROM work";

const INPUTS: &str = "
-- redrives: inputs
WITH sized AS (
    SELECT chunk_no, bytes, sum(bytes::bigint) OVER (ORDER BY chunk_no) - bytes AS before FROM (
        SELECT chunk_no, bytes FROM failed_work
        WHERE day = $1 AND batch_id = $2 AND chunk_no >= $3 AND input IS NOT NULL
          AND (($4::bool AND kind = 'chunk') OR ($5::bool AND kind = 'records'))
        ORDER BY chunk_no LIMIT $6
    ) first
)
SELECT w.chunk_no, r.chunk_id, w.bytes, w.input
FROM sized s JOIN failed_work w ON w.day = $1 AND w.chunk_no = s.chunk_no
JOIN results r ON r.day = $1 AND r.chunk_no = s.chunk_no
WHERE s.before = 0 OR s.before + s.bytes <= $7::int8
ORDER BY w.chunk_no";

impl Store {
    /// What a redrive of the batch could do now.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn plan_redrive(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        kinds: FailureKinds,
    ) -> Result<RedrivePlan, StoreError> {
        let client = self.data_client().await?;
        let plan = client.prepare_cached(PLAN).await?;
        let of_batch: [&(dyn ToSql + Sync); 5] = [&day, &batch_id, &kinds.chunks, &kinds.records, &LISTED];
        let row = client.in_time(async { Ok(client.query_one(&plan, &of_batch).await?) }).await?;
        Ok(RedrivePlan {
            failed: row.try_get(0)?,
            possible: row.try_get(1)?,
            largest: row.try_get(2)?,
            impossible: row.try_get(3)?,
        })
    }

    /// Begins a redrive: creates its batch and the row that says what is to be pushed into it, both or neither.
    ///
    /// # Errors
    ///
    /// See [`CreateRedriveError`].
    pub async fn create_redrive(
        &self,
        batch: &NewBatch,
        redrive: &NewRedrive,
    ) -> Result<CreatedBatch, CreateRedriveError> {
        self.ensure_partitions().await?;
        let mut tx = self.control.begin().await.map_err(StoreError::from)?;
        if !hold_results(&mut tx, redrive.source_id).await? {
            return Err(CreateRedriveError::Expired);
        }
        let (created, entry) = match self.create_in(&mut tx, redrive.batch_id, batch).await {
            Ok(created) => created,
            Err(CreateBatchError::Store(StoreError::Conflict(_))) => return Err(CreateRedriveError::IdTaken),
            Err(error) => return Err(error.into()),
        };
        let (needed, allocated) = (i64::from(redrive.largest), created.batch.input_allocated);
        if needed > allocated {
            return Err(CreateRedriveError::TooLarge { needed, allocated });
        }
        sqlx::query!(
            "INSERT INTO redrives (batch_id, source_id, source_day, kind, close, chunks_total)
             VALUES ($1, $2, $3, $4, $5, $6)",
            redrive.batch_id,
            redrive.source_id,
            redrive.source_day,
            redrive.kinds.as_str(),
            redrive.close,
            redrive.chunks,
        )
        .execute(&mut *tx)
        .await
        .map_err(StoreError::from)?;
        let details =
            json!({"batch": redrive.batch_id, "kind": redrive.kinds.as_str(), "chunks": redrive.chunks});
        self.audit(&mut tx, batch.tenant_id, entry).await?;
        let entry = Change::new(Action::BatchRedrive, redrive.source_id, details);
        self.audit(&mut tx, batch.tenant_id, entry).await?;
        tx.commit().await.map_err(StoreError::from)?;
        BATCHES_CREATED.add(1);
        Ok(created)
    }

    /// Takes a running redrive that nobody works on, for `seconds`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn claim_redrive(&self, seconds: f64) -> Result<Option<Redrive>, StoreError> {
        let claimed = query_redrive!(
            "UPDATE redrives r SET leased_until = clock_timestamp() + make_interval(secs => $1)
             FROM batches b
             WHERE b.id = r.batch_id AND r.batch_id = (
                 SELECT batch_id FROM redrives WHERE state = 'running' AND leased_until < clock_timestamp()
                 ORDER BY leased_until LIMIT 1 FOR UPDATE SKIP LOCKED)
             RETURNING",
            "",
            seconds
        );
        Ok(claimed.fetch_optional(&self.control).await?)
    }

    /// The redrive that a batch was made for, and those that were made for it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn redrive_links(&self, batch_id: Uuid) -> Result<RedriveLinks, StoreError> {
        let redrives = query_redrive!(
            "SELECT",
            "FROM redrives r JOIN batches b ON b.id = r.batch_id WHERE r.batch_id = $1 OR r.source_id = $1
             ORDER BY r.created_at LIMIT $2",
            batch_id,
            REDRIVES + 1
        )
        .fetch_all(&self.control)
        .await?;
        let mut links = RedriveLinks::default();
        for redrive in redrives {
            if redrive.batch_id == batch_id {
                links.own = Some(redrive);
            } else {
                links.redriven_by.push(redrive.batch_id);
            }
        }
        Ok(links)
    }

    /// The next inputs of a redrive: at most `max_chunks`, and at most `max_bytes` before compression (but always at least one).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn redrive_inputs(
        &self,
        redrive: &Redrive,
        max_chunks: i64,
        max_bytes: i64,
    ) -> Result<Vec<FailedInput>, StoreError> {
        let client = self.data_client().await?;
        let inputs = client.prepare_cached(INPUTS).await?;
        let Redrive { source_day, source_id, next_no, kind, .. } = redrive;
        let kinds = FailureKinds::parse(kind).ok_or_else(|| StoreError::Corrupt(kind.clone()))?;
        let wanted: [&(dyn ToSql + Sync); 7] =
            [source_day, source_id, next_no, &kinds.chunks, &kinds.records, &max_chunks, &max_bytes];
        let rows = client.in_time(async { Ok(client.query(&inputs, &wanted).await?) }).await?;
        let read = |row: &Row| {
            Ok(FailedInput {
                chunk_no: row.try_get(0)?,
                chunk_id: row.try_get(1)?,
                bytes: row.try_get(2)?,
                input: row.try_get(3)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Notes that `chunks` of a portion went in, which ended before the number `next_no`, and gives the redrive back. Only the first
    /// of several servers with the same portion counts it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn advance_redrive(
        &self,
        redrive: &Redrive,
        next_no: i64,
        chunks: i64,
    ) -> Result<(), StoreError> {
        let noted = sqlx::query!(
            "UPDATE redrives SET next_no = $3, chunks_done = chunks_done + $4, leased_until = clock_timestamp(),
                 updated_at = clock_timestamp()
             WHERE batch_id = $1 AND next_no = $2 AND state = 'running'",
            redrive.batch_id,
            redrive.next_no,
            next_no,
            chunks
        )
        .execute(&self.control)
        .await?;
        if noted.rows_affected() == 1 {
            REDRIVEN_PORTIONS.add(1);
            REDRIVEN_CHUNKS.add(chunks.unsigned_abs());
        }
        Ok(())
    }

    /// Gives a redrive back, to be taken again after `seconds`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn postpone_redrive(&self, batch_id: Uuid, seconds: f64) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE redrives SET leased_until = clock_timestamp() + make_interval(secs => $2)
             WHERE batch_id = $1 AND state = 'running'",
            batch_id,
            seconds
        )
        .execute(&self.control)
        .await?;
        Ok(())
    }

    /// Ends a redrive: as done, with what was left out if anything was; or as stopped, for a reason. One that has ended stays so.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn end_redrive(
        &self,
        batch_id: Uuid,
        is_done: bool,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let state = if is_done { "done" } else { "stopped" };
        let ended = sqlx::query!(
            "UPDATE redrives SET state = $2, reason = $3, updated_at = clock_timestamp()
             WHERE batch_id = $1 AND state = 'running'",
            batch_id,
            state,
            reason
        )
        .execute(&self.control)
        .await?;
        REDRIVES_ENDED.with(state).add(ended.rows_affected());
        Ok(())
    }
}

/// Keeps the results of a batch from being dropped until the transaction ends; `false` when they are gone already. (A redrive
/// that runs holds their day: see `drop_expired_partitions`.)
async fn hold_results(tx: &mut Transaction<'_, Postgres>, batch_id: Uuid) -> Result<bool, StoreError> {
    let there = sqlx::query_scalar!(
        r#"SELECT dropped_at IS NULL AND state <> 'cancelled' AS "there!" FROM batches WHERE id = $1 FOR SHARE"#,
        batch_id
    )
    .fetch_optional(&mut **tx)
    .await?;
    there.ok_or(StoreError::NotFound("batch"))
}
