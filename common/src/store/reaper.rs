//! The reaper's steps: each an idempotent, conditional, bounded update, decided by the database's clock (design section 5).

use chrono::NaiveDate;
use uuid::Uuid;

use super::batches::ADMISSION_SLOT;
use super::lifecycle::lock_slots;
use super::{Consequence, PauseEnd, Store, StoreError};

/// The most rows that one step touches.
const STEP: i64 = 500;

/// What was found when a lane was purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purged {
    /// The queue is empty now.
    Empty,
    /// There is no such queue: somebody deleted it. It is declared when a batch leases the lane again.
    Missing,
}

/// A lane whose batch has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedLane {
    /// The lane.
    pub lane_id: i32,
    /// The batch that leased it.
    pub batch_id: Uuid,
}

impl Store {
    /// Takes or renews the named lease for `seconds`; `false` while somebody else holds it. It merely saves double work.
    pub async fn hold_lease(&self, name: &str, holder: Uuid, seconds: f64) -> Result<bool, StoreError> {
        let held = sqlx::query!(
            "INSERT INTO leases (name, holder, expires_at) VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
             WHERE leases.holder = excluded.holder OR leases.expires_at < clock_timestamp()",
            name,
            holder,
            seconds
        )
        .execute(&self.control)
        .await?;
        Ok(held.rows_affected() == 1)
    }

    /// Gives the lease back.
    pub async fn drop_lease(&self, name: &str, holder: Uuid) -> Result<(), StoreError> {
        sqlx::query!("DELETE FROM leases WHERE name = $1 AND holder = $2", name, holder)
            .execute(&self.control)
            .await?;
        Ok(())
    }

    /// Closes batches without push, pull or status change for `seconds` by timeout: open ones, and closed ones whose full output
    /// buffer nobody empties; but no paused ones. Returns them.
    pub async fn time_out_batches(&self, seconds: f64) -> Result<Vec<Uuid>, StoreError> {
        let idle = sqlx::query_scalar!(
            r#"SELECT id AS "id!" FROM batches JOIN batch_sums ON batch_id = id
               WHERE greatest(updated_at, touched_at) < clock_timestamp() - make_interval(secs => $1)
                 AND paused_at IS NULL AND (state = 'open' OR (state = 'closed' AND output_bytes >= output_allocated
                     AND chunks_completed + chunks_failed < chunks_submitted))
               LIMIT $2"#,
            seconds,
            STEP
        )
        .fetch_all(&self.control)
        .await?;
        let mut closed = Vec::new();
        for id in idle {
            if self.time_out_batch(id, seconds).await? {
                closed.push(id);
            }
        }
        Ok(closed)
    }

    /// Ends pauses that began `seconds` ago, and times their batches out. Returns them.
    pub async fn time_out_pauses(&self, seconds: f64) -> Result<Vec<(Uuid, PauseEnd)>, StoreError> {
        let due = sqlx::query_scalar!(
            "SELECT id FROM batches
             WHERE state IN ('open', 'closed', 'closed_by_timeout') AND stopped_at IS NULL
               AND paused_at < clock_timestamp() - make_interval(secs => $1)
             LIMIT $2",
            seconds,
            STEP
        )
        .fetch_all(&self.control)
        .await?;
        let mut ended = Vec::new();
        for id in due {
            ended.extend(self.time_out_pause(id, seconds).await?.map(|end| (id, end)));
        }
        Ok(ended)
    }

    /// Settles closed batches that have drained, and stops those that want to be stopped early and are certain to fail. The workers
    /// do both at once as a rule; this is for those that could not. Returns what it did.
    pub async fn settle_batches(&self) -> Result<Vec<(Uuid, Consequence)>, StoreError> {
        let due = sqlx::query_scalar!(
            r#"SELECT id AS "id!" FROM batches JOIN batch_sums ON batch_id = id
               WHERE (state IN ('closed', 'closed_by_timeout') AND chunks_completed + chunks_failed >= chunks_submitted)
                  OR (state IN ('open', 'closed', 'closed_by_timeout') AND early_stop AND stopped_at IS NULL
                      AND chunks_failed + records_failed > 0)
               LIMIT $1"#,
            STEP
        )
        .fetch_all(&self.control)
        .await?;
        let mut done = Vec::new();
        for id in due {
            match self.settle_batch(id).await? {
                Consequence::None => {}
                consequence => done.push((id, consequence)),
            }
        }
        Ok(done)
    }

    /// Gives reservations back `seconds` after their batches ended.
    pub async fn release_reservations(&self, seconds: f64) -> Result<u64, StoreError> {
        let released = sqlx::query!(
            "UPDATE batches SET released_at = clock_timestamp()
             WHERE id IN (SELECT id FROM batches
                 WHERE released_at IS NULL AND finished_at <= clock_timestamp() - make_interval(secs => $1)
                 LIMIT $2 FOR UPDATE SKIP LOCKED)",
            seconds,
            STEP
        )
        .execute(&self.control)
        .await?;
        Ok(released.rows_affected())
    }

    /// Withdraws chunks that stayed `accepted` for `seconds`: their push was never answered with success, and nobody tried
    /// again. Returns how many went.
    pub async fn withdraw_accepted(&self, seconds: f64) -> Result<u64, StoreError> {
        let batches = sqlx::query!(
            r#"SELECT id AS "id!", day AS "day!" FROM batches JOIN batch_sums ON batch_id = id
               WHERE state IN ('open', 'closed', 'closed_by_timeout') AND chunks_queued < chunks_submitted
                 AND touched_at < clock_timestamp() - make_interval(secs => 1)
               LIMIT $1"#,
            STEP
        )
        .fetch_all(&self.control)
        .await?;
        let mut withdrawn = 0;
        for batch in batches {
            withdrawn += self.withdraw_from(batch.id, batch.day, seconds).await?;
        }
        Ok(withdrawn)
    }

    async fn withdraw_from(&self, batch_id: Uuid, day: NaiveDate, seconds: f64) -> Result<u64, StoreError> {
        let mut tx = self.control.begin().await?;
        lock_slots(&mut tx, batch_id).await?;
        // The tombstone keeps a late delivery from storing a result. A chunk that has one was delivered after all.
        let gone = sqlx::query!(
            r#"WITH stale AS (
                SELECT chunk_no, chunk_id, records, bytes FROM chunks
                WHERE day = $1 AND batch_id = $2 AND queued_at IS NULL
                  AND accepted_at < clock_timestamp() - make_interval(secs => $3)
                LIMIT $4
            ), tombstones AS (
                INSERT INTO results (day, chunk_no, batch_id, chunk_id, outcome, records, bytes, compressed, body, pulled_at)
                SELECT $1, chunk_no, $2, chunk_id, 'withdrawn', records, 0, false, '', clock_timestamp() FROM stale
                ON CONFLICT DO NOTHING
                RETURNING chunk_no
            ), removed AS (
                DELETE FROM chunks WHERE day = $1 AND batch_id = $2
                    AND chunk_id IN (SELECT chunk_id FROM stale JOIN tombstones USING (chunk_no))
            ), delivered AS (
                UPDATE chunks SET queued_at = clock_timestamp() WHERE day = $1 AND batch_id = $2
                    AND chunk_id IN (SELECT chunk_id FROM stale WHERE chunk_no NOT IN (SELECT chunk_no FROM tombstones))
                RETURNING chunk_no
            )
            SELECT count(t.chunk_no) AS "chunks!", coalesce(sum(s.records) FILTER (WHERE t.chunk_no IS NOT NULL), 0)::bigint AS "records!",
                   coalesce(sum(s.bytes) FILTER (WHERE t.chunk_no IS NOT NULL), 0)::bigint AS "bytes!",
                   (SELECT count(*) FROM delivered) AS "delivered!"
            FROM stale s LEFT JOIN tombstones t USING (chunk_no)"#,
            day,
            batch_id,
            seconds,
            STEP
        )
        .fetch_one(&mut *tx)
        .await?;
        sqlx::query!(
            "UPDATE batch_counters SET chunks_submitted = chunks_submitted - $2, records_submitted = records_submitted - $3,
                 input_bytes = input_bytes - $4, chunks_queued = chunks_queued + $5
             WHERE batch_id = $1 AND slot = $6",
            batch_id,
            gone.chunks,
            gone.records,
            gone.bytes,
            gone.delivered,
            ADMISSION_SLOT
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(gone.chunks.unsigned_abs())
    }

    /// Lanes whose batches ended, to be given to [`Store::free_lane`].
    pub async fn finished_lanes(&self) -> Result<Vec<FinishedLane>, StoreError> {
        Ok(sqlx::query_as!(
            FinishedLane,
            r#"SELECT l.id AS lane_id, b.id AS batch_id FROM lanes l JOIN batches b ON b.id = l.batch_id
               WHERE b.finished_at IS NOT NULL LIMIT $1"#,
            STEP
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// Purges a lane and puts it back into the pool. The lane's row stays locked while `purge` runs, so that no other reaper
    /// frees it and no batch leases it in between: a late purge would take a new batch's chunks. Returns whether it was freed.
    pub async fn free_lane<E>(
        &self,
        lane: FinishedLane,
        purge: impl Future<Output = Result<Purged, E>>,
    ) -> Result<Result<bool, E>, StoreError> {
        let mut tx = self.control.begin().await?;
        let mine = sqlx::query_scalar!(
            "SELECT id FROM lanes WHERE id = $1 AND batch_id = $2 FOR UPDATE SKIP LOCKED",
            lane.lane_id,
            lane.batch_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        if mine.is_none() {
            return Ok(Ok(false));
        }
        let purged = match purge.await {
            Ok(purged) => purged,
            Err(error) => {
                // A transaction that is merely dropped keeps its lock until the connection is used again.
                tx.rollback().await?;
                return Ok(Err(error));
            }
        };
        sqlx::query!(
            "UPDATE lanes SET batch_id = NULL, declared = declared AND $2, freed_at = clock_timestamp() WHERE id = $1",
            lane.lane_id,
            purged == Purged::Empty
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!("UPDATE batches SET lane_id = NULL WHERE id = $1", lane.batch_id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Ok(true))
    }

    /// Free lanes that were freed within the last `seconds`, to be given to [`Store::purge_free_lane`]: what a connection held that
    /// died, or a consumer that the broker gave up, comes back to them.
    pub async fn freed_lanes(&self, seconds: f64) -> Result<Vec<i32>, StoreError> {
        Ok(sqlx::query_scalar!(
            "SELECT id FROM lanes
             WHERE batch_id IS NULL AND declared AND freed_at > clock_timestamp() - make_interval(secs => $1)
             ORDER BY freed_at LIMIT $2",
            seconds,
            STEP
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// Purges a lane that is free. No batch leases it while `purge` runs. Returns what that says, or `None` when the lane is no
    /// longer free.
    pub async fn purge_free_lane<T, E>(
        &self,
        lane_id: i32,
        purge: impl Future<Output = Result<T, E>>,
    ) -> Result<Result<Option<T>, E>, StoreError> {
        let mut tx = self.control.begin().await?;
        let free = sqlx::query_scalar!(
            "SELECT id FROM lanes WHERE id = $1 AND batch_id IS NULL FOR UPDATE SKIP LOCKED",
            lane_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let purged = if free.is_some() { purge.await.map(Some) } else { Ok(None) };
        tx.rollback().await?;
        Ok(purged)
    }

    /// Removes workers without a heartbeat for `seconds`. Returns them.
    pub async fn remove_silent_workers(&self, seconds: f64) -> Result<Vec<Uuid>, StoreError> {
        Ok(sqlx::query_scalar!(
            "DELETE FROM workers WHERE seen_at < clock_timestamp() - make_interval(secs => $1) RETURNING id",
            seconds
        )
        .fetch_all(&self.control)
        .await?)
    }
}
