//! Recipes with everything in them, and jobs outside of recipes.

use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::super::retry::retrying;
use super::super::{Store, StoreError};
use super::days_of;

/// The most recipes at the top, and the most jobs outside of recipes, that are looked at in one transaction.
const LOOKED_AT: u32 = 500;

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovedRecipes<C> {
    /// Recipes, those in others included.
    pub recipes: u64,
    /// Jobs.
    pub jobs: u64,
    /// Where to go on; none at the end.
    pub next: Option<C>,
}

/// A place among what is outside of batches: a tenant, and a recipe or a job of it.
pub type Outside = (Uuid, i64);

impl Store {
    /// Removes recipes outside of batches, and all that is in them, that did not change for `days`; looks at 500 behind `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn remove_outside_recipes(
        &self,
        days: u32,
        after: Outside,
    ) -> Result<RemovedRecipes<Outside>, StoreError> {
        retrying("remove", || self.remove_some_recipes(days_of(days), after)).await
    }

    async fn remove_some_recipes(
        &self,
        days: i32,
        (tenant, recipe): Outside,
    ) -> Result<RemovedRecipes<Outside>, StoreError> {
        let looked_at = sqlx::query!(
            r#"SELECT tenant_id, id, parent_recipe_id IS NULL AND last_modified < now() - make_interval(days => $3) AS "due!"
               FROM recipes WHERE batch_id IS NULL AND (tenant_id, id) > ($1, $2) ORDER BY tenant_id, id LIMIT $4"#,
            tenant,
            recipe,
            days,
            i64::from(LOOKED_AT)
        )
        .fetch_all(&self.control)
        .await?;
        let full = looked_at.len() == LOOKED_AT as usize;
        let next = looked_at.last().filter(|_| full).map(|row| (row.tenant_id, row.id));
        let due: Vec<i64> = looked_at.iter().filter(|row| row.due).map(|row| row.id).collect();
        let mut removed = RemovedRecipes { recipes: 0, jobs: 0, next };
        if due.is_empty() {
            return Ok(removed);
        }
        let mut tx = self.control.begin().await?;
        let held = sqlx::query_scalar!(
            "SELECT id FROM recipes WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED",
            &due
        )
        .fetch_all(&mut *tx)
        .await?;
        (removed.recipes, removed.jobs) = remove(&mut tx, &held, days, None).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// As [`Store::remove_outside_recipes`], of jobs that are in no recipe.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn remove_outside_jobs(
        &self,
        days: u32,
        (tenant, job): Outside,
    ) -> Result<RemovedRecipes<Outside>, StoreError> {
        let days = days_of(days);
        let looked_at = sqlx::query!(
            "SELECT tenant_id, id FROM jobs WHERE batch_id IS NULL AND (tenant_id, id) > ($1, $2)
             ORDER BY tenant_id, id LIMIT $3",
            tenant,
            job,
            i64::from(LOOKED_AT)
        )
        .fetch_all(&self.control)
        .await?;
        let full = looked_at.len() == LOOKED_AT as usize;
        let next = looked_at.last().filter(|_| full).map(|row| (row.tenant_id, row.id));
        let ids: Vec<i64> = looked_at.iter().map(|row| row.id).collect();
        let mut tx = self.control.begin().await?;
        let gone = sqlx::query!(
            "DELETE FROM jobs WHERE id IN (
                 SELECT id FROM jobs WHERE id = ANY($1) AND recipe_id IS NULL AND status NOT IN ('QUEUED', 'RUNNING')
                     AND last_modified < now() - make_interval(days => $2)
                 FOR UPDATE SKIP LOCKED)
             RETURNING id, event_id",
            &ids,
            days
        )
        .fetch_all(&mut *tx)
        .await?;
        let (jobs, events): (Vec<i64>, Vec<i64>) = gone.iter().map(|row| (row.id, row.event_id)).unzip();
        if !jobs.is_empty() {
            sqlx::query!("DELETE FROM job_executions WHERE job_id = ANY($1)", &jobs)
                .execute(&mut *tx)
                .await?;
            sqlx::query!("DELETE FROM events WHERE id = ANY($1)", &events).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(RemovedRecipes { recipes: 0, jobs: jobs.len() as u64, next })
    }

    /// Removes recipes at the top of a hidden batch, and all that is in them, the newest first; looks at 500 before `before`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], or what the database says.
    pub async fn remove_recipes_of_batch(
        &self,
        batch_id: i64,
        before: i64,
    ) -> Result<RemovedRecipes<i64>, StoreError> {
        retrying("remove", || self.remove_some_of_batch(batch_id, before)).await
    }

    async fn remove_some_of_batch(
        &self,
        batch_id: i64,
        before: i64,
    ) -> Result<RemovedRecipes<i64>, StoreError> {
        let mut tx = self.control.begin().await?;
        let event = sqlx::query_scalar!(
            "SELECT event_id FROM recipe_batches WHERE id = $1 AND removed IS NOT NULL FOR NO KEY UPDATE",
            batch_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let looked_at = match event {
            None => Vec::new(),
            Some(_) => {
                sqlx::query_scalar!(
                    "SELECT id FROM recipes
                     WHERE (batch_id, id) < ($1, $2) AND batch_id >= $1 AND parent_recipe_id IS NULL
                     ORDER BY batch_id DESC, id DESC LIMIT $3",
                    batch_id,
                    before,
                    i64::from(LOOKED_AT)
                )
                .fetch_all(&mut *tx)
                .await?
            }
        };
        let held = sqlx::query_scalar!(
            "SELECT id FROM recipes WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED",
            &looked_at
        )
        .fetch_all(&mut *tx)
        .await?;
        // Whatever its jobs did last: the batch was looked at as a whole.
        let (recipes, jobs) = remove(&mut tx, &held, 0, event).await?;
        tx.commit().await?;
        Ok(RemovedRecipes { recipes, jobs, next: looked_at.last().copied() })
    }
}

/// Removes those of these recipes, whose rows are held, that may go, with everything in them: how many recipes and jobs. A recipe
/// stays while another one shares its jobs or what is in it, while a job of it waits or runs, and while one changed within `days`.
/// The event of their batch stays as well.
async fn remove(
    tx: &mut Transaction<'_, Postgres>,
    tops: &[i64],
    days: i32,
    event_of_batch: Option<i64>,
) -> Result<(u64, u64), StoreError> {
    if tops.is_empty() {
        return Ok((0, 0));
    }
    let free = sqlx::query!(
        r#"WITH tree (top, id) AS (
               SELECT id, id FROM recipes WHERE id = ANY($1)
               UNION ALL SELECT root_recipe_id, id FROM recipes WHERE root_recipe_id = ANY($1)
           ), kept AS (
               SELECT t.top FROM tree t JOIN jobs j ON j.recipe_id = t.id
               WHERE j.status IN ('QUEUED', 'RUNNING') OR j.last_modified >= now() - make_interval(days => $2)
               UNION ALL
               SELECT t.top FROM tree t JOIN jobs j ON j.recipe_id = t.id JOIN recipe_links l ON l.job_id = j.id
               UNION ALL
               SELECT t.top FROM tree t JOIN recipe_links l ON l.sub_recipe_id = t.id
           )
           SELECT t.id AS "id!", r.event_id FROM tree t JOIN recipes r ON r.id = t.id
           WHERE t.top NOT IN (SELECT top FROM kept)"#,
        tops,
        days
    )
    .fetch_all(&mut **tx)
    .await?;
    let recipes: Vec<i64> = free.iter().map(|row| row.id).collect();
    let mut events: Vec<i64> = free.iter().map(|row| row.event_id).collect();
    events.sort_unstable();
    events.dedup();
    events.retain(|event| Some(*event) != event_of_batch);
    let jobs = sqlx::query_scalar!("DELETE FROM jobs WHERE recipe_id = ANY($1) RETURNING id", &recipes)
        .fetch_all(&mut **tx)
        .await?;
    for statement in [
        sqlx::query!("DELETE FROM job_executions WHERE job_id = ANY($1)", &jobs),
        sqlx::query!("DELETE FROM recipe_links WHERE recipe_id = ANY($1)", &recipes),
        sqlx::query!("DELETE FROM recipe_conditions WHERE recipe_id = ANY($1)", &recipes),
        sqlx::query!("DELETE FROM recipes WHERE id = ANY($1)", &recipes),
        sqlx::query!("DELETE FROM events WHERE id = ANY($1)", &events),
    ] {
        statement.execute(&mut **tx).await?;
    }
    Ok((recipes.len() as u64, jobs.len() as u64))
}
