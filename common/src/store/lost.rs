//! Chunks whose message is gone: their lane was deleted or purged by hand, or the broker lost its body (control plane).
//!
//! Nothing says so; it shows in what does not happen. A batch is suspected while chunks of it are queued, its lane is empty, and
//! no worker holds any. When that lasts, these chunks end as failed ones, with that reason. A delivery that still comes later
//! finds the outcome and is dropped.

use chrono::NaiveDate;
use millrace_calc::chunk::write_failed;
use uuid::Uuid;

use super::batches::ADMISSION_SLOT;
use super::lifecycle::lock_batch;
use super::{Store, StoreError};
use crate::model::BatchState;

/// The most batches that are looked at in one round.
const SUSPECTS: i64 = 200;
/// The most chunks that are ended in one transaction.
const CHUNKS: i64 = 500;

/// A batch with queued chunks that no worker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// The batch.
    pub batch_id: Uuid,
    /// Its day.
    pub day: NaiveDate,
    /// Its lane, where its chunks should be.
    pub lane_id: i32,
}

impl Store {
    /// Live batches with queued chunks of which no worker holds any, by the workers' own word. None while there is a worker that
    /// does not say what it holds, being of an older version.
    pub async fn suspected_batches(&self) -> Result<Vec<Suspect>, StoreError> {
        Ok(sqlx::query_as!(
            Suspect,
            r#"SELECT b.id AS "batch_id!", b.day AS "day!", b.lane_id AS "lane_id!"
               FROM batches b JOIN batch_sums s ON s.batch_id = b.id
               WHERE b.state IN ('open', 'closed', 'closed_by_timeout') AND b.lane_id IS NOT NULL
                 AND s.chunks_queued > s.chunks_completed + s.chunks_failed
                 AND NOT EXISTS (SELECT FROM workers w WHERE w.held IS NULL OR w.held ? b.id::text)
               ORDER BY b.lane_empty_since NULLS LAST, b.id LIMIT $1"#,
            SUSPECTS
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// Notes that the lanes of these suspects are empty, and that those of all other batches are not. Returns the suspects for which
    /// this has been so for `seconds`.
    pub async fn note_empty_lanes(
        &self,
        empty: &[Suspect],
        seconds: f64,
    ) -> Result<Vec<Suspect>, StoreError> {
        let ids: Vec<Uuid> = empty.iter().map(|suspect| suspect.batch_id).collect();
        let mut tx = self.control.begin().await?;
        sqlx::query!(
            "UPDATE batches SET lane_empty_since = NULL WHERE lane_empty_since IS NOT NULL AND NOT id = ANY($1)",
            &ids
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "UPDATE batches SET lane_empty_since = clock_timestamp() WHERE id = ANY($1) AND lane_empty_since IS NULL",
            &ids
        )
        .execute(&mut *tx)
        .await?;
        let lasting = sqlx::query_scalar!(
            r#"SELECT id AS "id!" FROM batches
               WHERE id = ANY($1) AND lane_empty_since < clock_timestamp() - make_interval(secs => $2)"#,
            &ids,
            seconds
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(empty.iter().copied().filter(|suspect| lasting.contains(&suspect.batch_id)).collect())
    }

    /// Ends chunks of the batch that were queued before its lane was first seen empty, and have no outcome, as failed ones.
    /// Returns how many; call it again while there are some. When there are none, the lane counts as empty from the next look on:
    /// chunks that were queued later, and lost as well, are ended in their turn.
    pub async fn fail_lost_chunks(&self, suspect: Suspect) -> Result<u64, StoreError> {
        let Suspect { batch_id, day, .. } = suspect;
        let mut tx = self.control.begin().await?;
        let state: BatchState = lock_batch(&mut tx, batch_id).await?;
        if !state.is_live() {
            return Ok(0);
        }
        let lost = sqlx::query!(
            r#"SELECT c.chunk_no, c.chunk_id, c.records, c.bytes FROM chunks c JOIN batches b ON b.id = c.batch_id
               WHERE c.day = $1 AND c.batch_id = $2 AND c.queued_at < b.lane_empty_since
                 AND NOT EXISTS (SELECT FROM workers w WHERE w.held IS NULL OR w.held ? b.id::text)
                 AND NOT EXISTS (SELECT FROM results r WHERE r.day = $1 AND r.chunk_no = c.chunk_no)
               LIMIT $3"#,
            day,
            batch_id,
            CHUNKS
        )
        .fetch_all(&mut *tx)
        .await?;
        if lost.is_empty() {
            // What was queued after the first look has its own time, from the next look on.
            sqlx::query!("UPDATE batches SET lane_empty_since = NULL WHERE id = $1", batch_id)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            return Ok(0);
        }
        let reason = "the message with the records of this chunk is gone from its lane: push the records again under another id";
        let bodies: Vec<Vec<u8>> = lost
            .iter()
            .map(|chunk| {
                let mut body = Vec::new();
                let records = chunk.records.unsigned_abs();
                write_failed(&chunk.chunk_id, records, "runtime", "error.BODY_LOST", None, reason, &mut body);
                body
            })
            .collect();
        let numbers: Vec<i64> = lost.iter().map(|chunk| chunk.chunk_no).collect();
        let ids: Vec<String> = lost.iter().map(|chunk| chunk.chunk_id.clone()).collect();
        let records: Vec<i32> = lost.iter().map(|chunk| chunk.records).collect();
        let charged: Vec<i32> = lost.iter().map(|chunk| chunk.bytes).collect();
        sqlx::query!(
            "WITH lost AS (
                 SELECT * FROM unnest($3::int8[], $4::text[], $5::int4[], $6::int4[], $7::bytea[])
                     AS t (chunk_no, chunk_id, records, charged, body)
             ), failed AS (
                 INSERT INTO results (day, chunk_no, batch_id, chunk_id, outcome, records, bytes, compressed, body)
                 SELECT $1, chunk_no, $2, chunk_id, 'failed', records, octet_length(body), false, body FROM lost
                 ON CONFLICT DO NOTHING
                 RETURNING chunk_no
             ), sums AS (
                 SELECT count(*) AS chunks, coalesce(sum(records), 0) AS records, coalesce(sum(charged), 0) AS charged,
                        coalesce(sum(octet_length(body)), 0) AS bytes
                 FROM lost JOIN failed USING (chunk_no)
             )
             UPDATE batch_counters c SET chunks_failed = c.chunks_failed + s.chunks,
                 records_completed = c.records_completed + s.records, records_failed = c.records_failed + s.records,
                 input_bytes = c.input_bytes - s.charged, output_bytes = c.output_bytes + s.bytes,
                 output_total = c.output_total + s.bytes
             FROM sums s WHERE c.batch_id = $2 AND c.slot = $8",
            day,
            batch_id,
            &numbers,
            &ids,
            &records,
            &charged,
            &bodies,
            ADMISSION_SLOT
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(lost.len() as u64)
    }
}
