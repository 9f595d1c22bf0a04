//! Pulls: finished chunks are claimed, their budget freed, their bytes handed out (data plane; design section 2, step 7).

use chrono::NaiveDate;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::batches::PULL_SLOT;
use super::data::pipelined;
use super::retry::retrying;
use super::views::{BatchView, VIEWS, read_view};
use super::{Store, StoreError};
use crate::failpoint;
use crate::metrics::{PULLED_BYTES, PULLED_CHUNKS};
use crate::model::BatchState;

/// The result of one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResult {
    /// The caller's id.
    pub chunk_id: String,
    /// Its place in the order of completion.
    pub ordinal: i64,
    /// Size of the body before compression, in bytes.
    pub bytes: i32,
    /// Whether the body is compressed with zstd.
    pub compressed: bool,
    /// The result object of contract 1.3 as JSON.
    pub body: Vec<u8>,
}

/// The answer to a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// No such batch.
    NotFound,
    /// The batch was cancelled: nothing of it is pulled any more.
    Cancelled,
    /// Claimed results in order of completion; none when nothing is available.
    Results(Vec<StoredResult>),
}

/// The answer to a pull of one chunk by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkClaim {
    /// No such batch.
    NotFound,
    /// The batch was cancelled.
    Cancelled,
    /// The batch has no such chunk.
    UnknownChunk,
    /// The chunk has no outcome yet.
    Unfinished,
    /// It was pulled, longer ago than results are handed out again, or was dropped.
    Gone,
    /// Its result; claimed now, or pulled before.
    Result(StoredResult),
}

const LOCK: &str = "
-- claims: lock
SELECT batch_id FROM batch_counters WHERE batch_id = $1 AND slot = $2 FOR UPDATE";

pub(super) const STATE: &str = "
-- claims: state
SELECT state FROM batches WHERE id = $1";

const CLAIM: &str = "
-- claims: claim
WITH ready AS (
    SELECT chunk_no, bytes, sum(bytes::bigint) OVER (ORDER BY ordinal) - bytes AS before
    FROM (
        SELECT chunk_no, ordinal, bytes FROM results
        WHERE day = $2 AND batch_id = $1 AND pulled_at IS NULL
          AND EXISTS (SELECT FROM batches WHERE id = $1 AND state <> 'cancelled' AND dropped_at IS NULL)
        ORDER BY ordinal LIMIT $3
        FOR UPDATE SKIP LOCKED
    ) locked
), claimed AS (
    UPDATE results r SET pulled_at = clock_timestamp()
    WHERE r.day = $2
      AND r.chunk_no = ANY(ARRAY(SELECT chunk_no FROM ready WHERE before = 0 OR before + bytes <= $4::int8))
    RETURNING r.ordinal, r.chunk_id, r.records, r.bytes, r.compressed, r.body
), counted AS (
    UPDATE batch_counters SET
        chunks_pulled = chunks_pulled + (SELECT count(*) FROM claimed),
        records_pulled = records_pulled + (SELECT coalesce(sum(records), 0) FROM claimed),
        output_bytes = output_bytes - (SELECT coalesce(sum(bytes), 0) FROM claimed),
        touched_at = clock_timestamp()
    WHERE batch_id = $1 AND slot = $5
)
SELECT chunk_id, ordinal, bytes, compressed, body FROM claimed ORDER BY ordinal";

/// One chunk, whether it was pulled or not. Only a claim changes anything; a pulled row keeps the time of its first pull.
const CLAIM_CHUNK: &str = "
-- claims: claim chunk
WITH chunk AS (
    SELECT chunk_no FROM chunks WHERE day = $2 AND batch_id = $1 AND chunk_id = $3 LIMIT 1
), found AS (
    SELECT r.* FROM results r WHERE r.day = $2 AND r.chunk_no = (SELECT chunk_no FROM chunk) FOR UPDATE
), live AS (
    SELECT FROM batches WHERE id = $1 AND state <> 'cancelled' AND dropped_at IS NULL
), claimed AS (
    UPDATE results r SET pulled_at = clock_timestamp()
    WHERE r.day = $2 AND r.pulled_at IS NULL AND EXISTS (SELECT FROM live)
      AND r.chunk_no = (SELECT chunk_no FROM found)
    RETURNING r.records, r.bytes
), counted AS (
    UPDATE batch_counters SET
        chunks_pulled = chunks_pulled + 1,
        records_pulled = records_pulled + claimed.records,
        output_bytes = output_bytes - claimed.bytes,
        touched_at = clock_timestamp()
    FROM claimed WHERE batch_id = $1 AND slot = $5
)
SELECT f.chunk_id, f.ordinal, f.bytes, f.compressed, f.body, f.chunk_no IS NULL,
       EXISTS (SELECT FROM live)
           AND (f.pulled_at IS NULL OR f.pulled_at > clock_timestamp() - make_interval(secs => $4)),
       EXISTS (SELECT FROM claimed)
FROM chunk LEFT JOIN found f ON true";

impl Store {
    /// Claims finished chunks of a batch: at most `max_chunks`, and at most `max_bytes` (but always at least one). Concurrent
    /// claims get disjoint sets. With it comes the batch as it is after the claim, where there is one.
    pub async fn claim_results(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        max_chunks: i64,
        max_bytes: i64,
    ) -> Result<(Claim, Option<BatchView>), StoreError> {
        retrying("pull", || self.claim_results_once(batch_id, day, max_chunks, max_bytes)).await
    }

    async fn claim_results_once(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        max_chunks: i64,
        max_bytes: i64,
    ) -> Result<(Claim, Option<BatchView>), StoreError> {
        let client = self.data_client().await?;
        let (lock, claim, view) = tokio::try_join!(
            client.prepare_cached(LOCK),
            client.prepare_cached(CLAIM),
            client.prepare_cached(VIEWS)
        )?;
        let locked: [&(dyn ToSql + Sync); 2] = [&batch_id, &PULL_SLOT];
        let ids = [batch_id];
        let of_batch: [&(dyn ToSql + Sync); 1] = [&ids.as_slice()];
        let claimed: [&(dyn ToSql + Sync); 5] = [&batch_id, &day, &max_chunks, &max_bytes, &PULL_SLOT];
        let (rows, view) = pipelined(&client, "pull.marked", async {
            let (_, rows, view) = tokio::try_join!(
                biased;
                client.query(&lock, &locked),
                client.query(&claim, &claimed),
                client.query_opt(&view, &of_batch)
            )?;
            Ok((rows, view))
        })
        .await?;
        failpoint::reach("pull.claimed", "");
        let Some(view) = view else { return Ok((Claim::NotFound, None)) };
        let view = read_view(&view)?;
        if view.batch.state == BatchState::Cancelled {
            return Ok((Claim::Cancelled, Some(view)));
        }
        let results = rows.iter().map(read_result).collect::<Result<Vec<_>, StoreError>>()?;
        record_pulled(results.len(), results.iter().map(|result| i64::from(result.bytes)).sum());
        Ok((Claim::Results(results), Some(view)))
    }

    /// Claims one chunk by its id; one that was pulled within the last `grace_seconds` is handed out again and counts no second
    /// time. With it comes the batch as it is after the claim, where there is one.
    pub async fn claim_chunk(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        chunk_id: &str,
        grace_seconds: f64,
    ) -> Result<(ChunkClaim, Option<BatchView>), StoreError> {
        retrying("pull", || self.claim_chunk_once(batch_id, day, chunk_id, grace_seconds)).await
    }

    async fn claim_chunk_once(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        chunk_id: &str,
        grace_seconds: f64,
    ) -> Result<(ChunkClaim, Option<BatchView>), StoreError> {
        let client = self.data_client().await?;
        let (lock, claim, view) = tokio::try_join!(
            client.prepare_cached(LOCK),
            client.prepare_cached(CLAIM_CHUNK),
            client.prepare_cached(VIEWS)
        )?;
        let locked: [&(dyn ToSql + Sync); 2] = [&batch_id, &PULL_SLOT];
        let ids = [batch_id];
        let of_batch: [&(dyn ToSql + Sync); 1] = [&ids.as_slice()];
        let claimed: [&(dyn ToSql + Sync); 5] = [&batch_id, &day, &chunk_id, &grace_seconds, &PULL_SLOT];
        let (row, view) = pipelined(&client, "pull.marked", async {
            let (_, row, view) = tokio::try_join!(
                biased;
                client.query(&lock, &locked),
                client.query_opt(&claim, &claimed),
                client.query_opt(&view, &of_batch)
            )?;
            Ok((row, view))
        })
        .await?;
        let Some(view) = view else { return Ok((ChunkClaim::NotFound, None)) };
        let view = read_view(&view)?;
        if view.batch.state == BatchState::Cancelled {
            return Ok((ChunkClaim::Cancelled, Some(view)));
        }
        let claim = row.map_or(Ok(ChunkClaim::UnknownChunk), |row| read_chunk_claim(&row))?;
        Ok((claim, Some(view)))
    }
}

/// Reads a row of [`CLAIM_CHUNK`].
fn read_chunk_claim(row: &Row) -> Result<ChunkClaim, StoreError> {
    let (unfinished, given): (bool, bool) =
        (row.try_get(5)?, row.try_get::<_, Option<bool>>(6)? == Some(true));
    Ok(match (unfinished, given) {
        (true, _) => ChunkClaim::Unfinished,
        (false, false) => ChunkClaim::Gone,
        (false, true) => {
            let result = read_result(row)?;
            if row.try_get(7)? {
                record_pulled(1, result.bytes.into());
            }
            ChunkClaim::Result(result)
        }
    })
}

/// Whether a row of [`STATE`] is that of a cancelled batch.
pub(super) fn is_cancelled(row: &Row) -> Result<bool, StoreError> {
    Ok(row.try_get::<_, &str>(0)? == "cancelled")
}

/// Counts results that were pulled for the first time.
pub(super) fn record_pulled(chunks: usize, bytes: i64) {
    PULLED_CHUNKS.add(chunks as u64);
    PULLED_BYTES.add(bytes.unsigned_abs());
}

/// Reads `chunk_id, ordinal, bytes, compressed, body`.
pub(super) fn read_result(row: &Row) -> Result<StoredResult, StoreError> {
    Ok(StoredResult {
        chunk_id: row.try_get(0)?,
        ordinal: row.try_get(1)?,
        bytes: row.try_get(2)?,
        compressed: row.try_get(3)?,
        body: row.try_get(4)?,
    })
}
