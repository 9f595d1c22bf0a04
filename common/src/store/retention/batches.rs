//! Ended batches: the row, counters, totals, repairs, the redrive that they were made for.

use super::super::retry::retrying;
use super::super::{Store, StoreError};
use super::days_of;

/// The most batches of a transaction.
const BATCHES: i64 = 100;

impl Store {
    /// Removes batches that ended `days` ago, at most a hundred, and returns how many. One stays while anything refers to it: results
    /// of its day, a lane, a webhook message, the batch of a redrive of its failed work, its own redrive while that runs.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn remove_ended_batches(&self, days: u32) -> Result<u64, StoreError> {
        retrying("remove", || self.remove_some_batches(days_of(days))).await
    }

    async fn remove_some_batches(&self, days: i32) -> Result<u64, StoreError> {
        let mut tx = self.control.begin().await?;
        // `now()`, unlike `clock_timestamp()`, lets the index find them.
        let ids = sqlx::query_scalar!(
            "SELECT id FROM batches b
             WHERE b.finished_at < now() - make_interval(days => $1) AND b.lane_id IS NULL AND b.released_at IS NOT NULL
               AND to_regclass('results_p' || to_char(b.day, 'YYYYMMDD')) IS NULL
               AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.batch_id = b.id)
               AND NOT EXISTS (SELECT FROM redrives r WHERE r.source_id = b.id)
               AND NOT EXISTS (SELECT FROM redrives r WHERE r.batch_id = b.id AND r.state = 'running')
             ORDER BY b.finished_at LIMIT $2 FOR UPDATE OF b SKIP LOCKED",
            days,
            BATCHES
        )
        .fetch_all(&mut *tx)
        .await?;
        if ids.is_empty() {
            return Ok(0);
        }
        for statement in [
            sqlx::query!("DELETE FROM redrives WHERE batch_id = ANY($1)", &ids),
            sqlx::query!("DELETE FROM batch_totals WHERE batch_id = ANY($1)", &ids),
            sqlx::query!("DELETE FROM chunk_totals WHERE batch_id = ANY($1)", &ids),
            sqlx::query!("DELETE FROM counter_repairs WHERE batch_id = ANY($1)", &ids),
            sqlx::query!("DELETE FROM batch_counters WHERE batch_id = ANY($1)", &ids),
        ] {
            statement.execute(&mut *tx).await?;
        }
        // Whatever came to refer to one of them meanwhile keeps all of them until the next time.
        let removed = sqlx::query!("DELETE FROM batches WHERE id = ANY($1)", &ids).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(removed.rows_affected())
    }
}
