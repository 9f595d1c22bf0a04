//! Superseded batches of recipes. Their recipes go before them: see [`super::recipes`].

use super::super::{Store, StoreError};
use super::{SETTLED, days_of};

/// Recipes that are looked at in one statement.
const LOOKED_AT: i64 = 2_000;

/// Whether recipes of other batches, or of none, share jobs with a batch, as far as it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedJobs {
    /// Some do.
    Some,
    /// None does.
    None,
    /// None up to this recipe.
    NoneSoFar(i64),
}

impl Store {
    /// The first batch behind `after` that was superseded `days` ago and has been at rest since. It is neither the first of its
    /// chain, whose id stands for the chain, nor the newest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn superseded_recipe_batch(&self, days: u32, after: i64) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar!(
            "SELECT b.id FROM recipe_batches b
             CROSS JOIN LATERAL (
                 SELECT coalesce(sum(jobs_queued + jobs_running), 0) AS under_way, max(touched_at) AS touched
                 FROM recipe_batch_counters WHERE batch_id = b.id) c
             WHERE b.superseded < now() - make_interval(days => $1) AND b.id > $2 AND b.id <> b.root_batch_id
               AND b.is_superseded AND b.is_creation_done AND b.removed IS NULL
               AND c.under_way = 0 AND coalesce(c.touched < now() - make_interval(days => $1), true)
               AND NOT EXISTS (SELECT FROM recipe_batches n WHERE n.superseded_batch_id = b.id AND NOT n.is_creation_done)
             ORDER BY b.id LIMIT 1",
            days_of(days),
            after
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// Whether recipes of others share jobs of this batch, or sub-recipes: the next of its recipes behind `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn jobs_shared_with(&self, batch_id: i64, after: i64) -> Result<SharedJobs, StoreError> {
        let found = sqlx::query!(
            r#"WITH looked AS (
                   SELECT id FROM recipes WHERE (batch_id, id) > ($1, $2) AND batch_id <= $1 ORDER BY batch_id, id LIMIT $3)
               SELECT max(id) AS last, count(*) = $3 AS "more!",
                   EXISTS (SELECT FROM looked s JOIN jobs j ON j.recipe_id = s.id JOIN recipe_links l ON l.job_id = j.id
                       JOIN recipes h ON h.id = l.recipe_id WHERE h.batch_id IS DISTINCT FROM $1)
                   OR EXISTS (SELECT FROM looked s JOIN recipe_links l ON l.sub_recipe_id = s.id
                       JOIN recipes h ON h.id = l.recipe_id WHERE h.batch_id IS DISTINCT FROM $1) AS "shared!"
               FROM looked"#,
            batch_id,
            after,
            LOOKED_AT
        )
        .fetch_one(&self.control)
        .await?;
        Ok(match (found.shared, found.last) {
            (true, _) => SharedJobs::Some,
            (false, Some(last)) if found.more => SharedJobs::NoneSoFar(last),
            (false, _) => SharedJobs::None,
        })
    }

    /// Hides a batch; `false` when it is no longer one that may go.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn hide_recipe_batch(&self, batch_id: i64) -> Result<bool, StoreError> {
        let hidden = sqlx::query!(
            "UPDATE recipe_batches b SET removed = clock_timestamp()
             WHERE b.id = $1 AND b.removed IS NULL AND b.is_superseded AND b.is_creation_done AND b.id <> b.root_batch_id
               AND NOT EXISTS (SELECT FROM recipe_batches n WHERE n.superseded_batch_id = b.id AND NOT n.is_creation_done)
               AND NOT EXISTS (SELECT FROM workloads w JOIN job_bundles j ON j.workload_id = w.id WHERE w.batch_id = b.id)",
            batch_id
        )
        .execute(&self.control)
        .await?;
        Ok(hidden.rows_affected() == 1)
    }

    /// Shows a batch again of which nothing was removed yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn show_recipe_batch(&self, batch_id: i64) -> Result<(), StoreError> {
        sqlx::query!("UPDATE recipe_batches SET removed = NULL WHERE id = $1", batch_id)
            .execute(&self.control)
            .await?;
        Ok(())
    }

    /// The first batch behind `after` that was hidden a while ago.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn hidden_recipe_batch(&self, after: i64) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar!(
            "SELECT id FROM recipe_batches
             WHERE removed < clock_timestamp() - make_interval(secs => $1) AND id > $2 ORDER BY id LIMIT 1",
            SETTLED,
            after
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// Removes a hidden batch of which no recipe is left, and which has no lane; whether it did.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn remove_hidden_recipe_batch(&self, batch_id: i64) -> Result<bool, StoreError> {
        let mut tx = self.control.begin().await?;
        let event = sqlx::query_scalar!(
            "SELECT event_id FROM recipe_batches b
             WHERE id = $1 AND removed IS NOT NULL
               AND NOT EXISTS (SELECT FROM recipes WHERE batch_id = $1)
               AND NOT EXISTS (SELECT FROM jobs WHERE batch_id = $1)
               AND NOT EXISTS (SELECT FROM workloads w WHERE w.batch_id = $1
                   AND (w.lane_id IS NOT NULL OR EXISTS (SELECT FROM job_bundles j WHERE j.workload_id = w.id)))
             FOR UPDATE SKIP LOCKED",
            batch_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(event) = event else { return Ok(false) };
        for statement in [
            sqlx::query!("DELETE FROM workloads WHERE batch_id = $1 AND lane_id IS NULL", batch_id),
            sqlx::query!("DELETE FROM recipe_batch_nodes WHERE batch_id = $1", batch_id),
            sqlx::query!("DELETE FROM recipe_batch_counters WHERE batch_id = $1", batch_id),
            sqlx::query!(
                "UPDATE recipe_batches SET superseded_batch_id = NULL WHERE superseded_batch_id = $1",
                batch_id
            ),
            sqlx::query!("DELETE FROM recipe_batches WHERE id = $1", batch_id),
            sqlx::query!("DELETE FROM events WHERE id = $1", event),
        ] {
            statement.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}
