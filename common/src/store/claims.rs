//! Pulls: finished chunks are claimed, their budget freed, their bytes handed out (data plane; design section 2, step 7).

use chrono::NaiveDate;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::admission::pipelined;
use super::batches::PULL_SLOT;
use super::{Store, StoreError};

/// The result of one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredResult {
    /// The caller's id.
    pub chunk_id: String,
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

const LOCK: &str = "
-- claims: lock
SELECT batch_id FROM batch_counters WHERE batch_id = $1 AND slot = $2 FOR UPDATE";

const STATE: &str = "
-- claims: state
SELECT state FROM batches WHERE id = $1";

const CLAIM: &str = "
-- claims: claim
WITH ready AS (
    SELECT chunk_no, sum(bytes::bigint) OVER (ORDER BY ordinal) - bytes AS before
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
      AND r.chunk_no = ANY(ARRAY(SELECT chunk_no FROM ready WHERE before = 0 OR before < $4::int8))
    RETURNING r.ordinal, r.chunk_id, r.records, r.bytes, r.compressed, r.body
), counted AS (
    UPDATE batch_counters SET
        chunks_pulled = chunks_pulled + (SELECT count(*) FROM claimed),
        records_pulled = records_pulled + (SELECT coalesce(sum(records), 0) FROM claimed),
        output_bytes = output_bytes - (SELECT coalesce(sum(bytes), 0) FROM claimed),
        touched_at = clock_timestamp()
    WHERE batch_id = $1 AND slot = $5
)
SELECT chunk_id, bytes, compressed, body FROM claimed ORDER BY ordinal";

impl Store {
    /// Claims finished chunks of a batch: at most `max_chunks`, and no more once `max_bytes` are exceeded (but always at least
    /// one). Concurrent claims get disjoint sets.
    pub async fn claim_results(
        &self,
        batch_id: Uuid,
        day: NaiveDate,
        max_chunks: i64,
        max_bytes: i64,
    ) -> Result<Claim, StoreError> {
        let client = self.data.get().await?;
        let (lock, state, claim) = tokio::try_join!(
            client.prepare_cached(LOCK),
            client.prepare_cached(STATE),
            client.prepare_cached(CLAIM)
        )?;
        let locked: [&(dyn ToSql + Sync); 2] = [&batch_id, &PULL_SLOT];
        let of_batch: [&(dyn ToSql + Sync); 1] = [&batch_id];
        let claimed: [&(dyn ToSql + Sync); 5] = [&batch_id, &day, &max_chunks, &max_bytes, &PULL_SLOT];
        let (state, rows) = pipelined(&client, async {
            let (_, state, rows) = tokio::try_join!(
                client.query(&lock, &locked),
                client.query_opt(&state, &of_batch),
                client.query(&claim, &claimed)
            )?;
            Ok((state, rows))
        })
        .await?;
        let Some(state) = state else { return Ok(Claim::NotFound) };
        if state.try_get::<_, &str>(0)? == "cancelled" {
            return Ok(Claim::Cancelled);
        }
        let results = rows.iter().map(|row| {
            Ok(StoredResult {
                chunk_id: row.try_get(0)?,
                bytes: row.try_get(1)?,
                compressed: row.try_get(2)?,
                body: row.try_get(3)?,
            })
        });
        Ok(Claim::Results(results.collect::<Result<_, StoreError>>()?))
    }
}
