//! Cancels and requeues by filter that were carried out.

use super::super::{Store, StoreError};
use super::days_of;

/// The most of a statement.
const REQUESTS: i64 = 500;

impl Store {
    /// Removes requests for jobs that were carried out `days` ago, at most 500, and returns how many.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn remove_finished_job_requests(&self, days: u32) -> Result<u64, StoreError> {
        let gone = sqlx::query!(
            "DELETE FROM job_requests WHERE id IN (
                 SELECT id FROM job_requests WHERE finished < now() - make_interval(days => $1)
                 ORDER BY finished LIMIT $2 FOR UPDATE SKIP LOCKED)",
            days_of(days),
            REQUESTS
        )
        .execute(&self.control)
        .await?;
        Ok(gone.rows_affected())
    }
}
