//! `jobs_*` and `sub_recipes_*` of recipes (contract 4.8), counted when they are asked for: no job that changes touches a recipe.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::super::StoreError;
use crate::model::recipe::{JobCounts, RecipeCounts};

/// The counts of these recipes: their own jobs and sub-recipes, those that they share with the ones that they superseded, and
/// the same of every recipe in them.
pub(super) async fn of(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<HashMap<i64, RecipeCounts>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH RECURSIVE tree (top, id) AS (
               SELECT id, id FROM unnest($1::bigint[]) AS id
               UNION ALL
               SELECT t.top, s.id FROM tree t CROSS JOIN LATERAL (
                   SELECT r.id FROM recipes r WHERE r.parent_recipe_id = t.id
                   UNION ALL
                   SELECT l.sub_recipe_id FROM recipe_links l WHERE l.recipe_id = t.id AND l.sub_recipe_id IS NOT NULL
               ) s
           ), job_counts AS (
               SELECT t.top, count(*) FILTER (WHERE j.status = 'PENDING') AS pending,
                   count(*) FILTER (WHERE j.status = 'BLOCKED') AS blocked, count(*) FILTER (WHERE j.status = 'QUEUED') AS queued,
                   count(*) FILTER (WHERE j.status = 'RUNNING') AS running, count(*) FILTER (WHERE j.status = 'FAILED') AS failed,
                   count(*) FILTER (WHERE j.status = 'COMPLETED') AS completed,
                   count(*) FILTER (WHERE j.status = 'CANCELED') AS canceled
               FROM tree t CROSS JOIN LATERAL (
                   SELECT o.status FROM jobs o WHERE o.recipe_id = t.id
                   UNION ALL
                   SELECT o.status FROM recipe_links l JOIN jobs o ON o.id = l.job_id WHERE l.recipe_id = t.id
               ) j
               GROUP BY t.top
           ), sub_recipes AS (
               SELECT t.top, count(*) AS total, count(*) FILTER (WHERE r.is_completed) AS completed
               FROM tree t CROSS JOIN LATERAL (SELECT o.is_completed FROM recipes o WHERE o.id = t.id OFFSET 0) r
               WHERE t.id <> t.top GROUP BY t.top
           )
           SELECT i.id AS "id!", coalesce(j.pending, 0) AS "pending!", coalesce(j.blocked, 0) AS "blocked!",
               coalesce(j.queued, 0) AS "queued!", coalesce(j.running, 0) AS "running!", coalesce(j.failed, 0) AS "failed!",
               coalesce(j.completed, 0) AS "completed!", coalesce(j.canceled, 0) AS "canceled!",
               coalesce(s.total, 0) AS "sub_recipes!", coalesce(s.completed, 0) AS "sub_recipes_completed!"
           FROM unnest($1::bigint[]) AS i (id)
           LEFT JOIN job_counts j ON j.top = i.id
           LEFT JOIN sub_recipes s ON s.top = i.id"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    let counts = rows.into_iter().map(|row| {
        let jobs = JobCounts {
            pending: row.pending,
            blocked: row.blocked,
            queued: row.queued,
            running: row.running,
            failed: row.failed,
            completed: row.completed,
            canceled: row.canceled,
        };
        let counts = RecipeCounts {
            jobs,
            sub_recipes_total: row.sub_recipes,
            sub_recipes_completed: row.sub_recipes_completed,
        };
        (row.id, counts)
    });
    Ok(counts.collect())
}
