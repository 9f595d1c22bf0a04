//! `job_metrics` of batches, and chains of batches side by side (contract 2.2, 2.5, 4.8).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::super::{Store, StoreError};
use super::{RecipeBatch, batches};
use crate::model::recipe::{Durations, JobCounts, NodeMetrics};

/// The batches of a chain, oldest first, each with the metrics of its nodes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// The batches.
    pub batches: Vec<RecipeBatch>,
    /// `job_metrics` of each.
    pub nodes: Vec<BTreeMap<String, NodeMetrics>>,
}

/// A batch with what is only told of one.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchDetails {
    /// The batch.
    pub batch: RecipeBatch,
    /// The definition of the revision that it runs.
    pub recipe_definition: Value,
    /// When that revision was made.
    pub revision_created: DateTime<Utc>,
    /// `job_metrics`: every job node of its revision.
    pub nodes: BTreeMap<String, NodeMetrics>,
}

impl Store {
    /// One batch, with the definition that it runs and the metrics of its nodes.
    pub async fn recipe_batch_details(
        &self,
        tenant_id: Uuid,
        id: i64,
    ) -> Result<Option<BatchDetails>, StoreError> {
        let mut connection = self.control.acquire().await?;
        let Some(batch) = batches(&mut connection, tenant_id, &[id]).await?.pop() else { return Ok(None) };
        let revision = sqlx::query!(
            "SELECT definition, created FROM recipe_type_revisions WHERE id = $1",
            batch.revision.id
        )
        .fetch_one(&mut *connection)
        .await?;
        let nodes = nodes(&mut connection, &[id]).await?.remove(&id).unwrap_or_default();
        Ok(Some(BatchDetails {
            batch,
            recipe_definition: revision.definition,
            revision_created: revision.created,
            nodes,
        }))
    }

    /// The chain that begins with this batch; empty where none does.
    pub async fn recipe_batch_chain(
        &self,
        tenant_id: Uuid,
        root_batch_id: i64,
    ) -> Result<Comparison, StoreError> {
        let mut connection = self.control.acquire().await?;
        let ids = sqlx::query_scalar!(
            "SELECT id FROM recipe_batches WHERE tenant_id = $1 AND root_batch_id = $2 ORDER BY id",
            tenant_id,
            root_batch_id
        )
        .fetch_all(&mut *connection)
        .await?;
        let mut by_batch = nodes(&mut connection, &ids).await?;
        let batches = batches(&mut connection, tenant_id, &ids).await?;
        let nodes = batches.iter().map(|batch| by_batch.remove(&batch.base.id).unwrap_or_default()).collect();
        Ok(Comparison { batches, nodes })
    }
}

async fn nodes(
    connection: &mut PgConnection,
    ids: &[i64],
) -> Result<BTreeMap<i64, BTreeMap<String, NodeMetrics>>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT batch_id, node_name, sum(jobs_pending)::bigint AS "pending!", sum(jobs_blocked)::bigint AS "blocked!",
               sum(jobs_queued)::bigint AS "queued!", sum(jobs_running)::bigint AS "running!",
               sum(jobs_failed)::bigint AS "failed!", sum(jobs_completed)::bigint AS "completed!",
               sum(jobs_canceled)::bigint AS "canceled!", sum(job_count)::bigint AS "job_count!",
               sum(job_sum)::bigint AS "job_sum!", coalesce(min(job_min), 0) AS "job_min!",
               coalesce(max(job_max), 0) AS "job_max!", sum(seed_count)::bigint AS "seed_count!",
               sum(seed_sum)::bigint AS "seed_sum!", coalesce(min(seed_min), 0) AS "seed_min!",
               coalesce(max(seed_max), 0) AS "seed_max!"
           FROM recipe_batch_nodes WHERE batch_id = ANY($1) GROUP BY batch_id, node_name"#,
        ids
    )
    .fetch_all(connection)
    .await?;
    let mut by_batch: BTreeMap<i64, BTreeMap<String, NodeMetrics>> = BTreeMap::new();
    for row in rows {
        let metrics = NodeMetrics {
            jobs: JobCounts {
                pending: row.pending,
                blocked: row.blocked,
                queued: row.queued,
                running: row.running,
                failed: row.failed,
                completed: row.completed,
                canceled: row.canceled,
            },
            job: Durations { count: row.job_count, sum: row.job_sum, min: row.job_min, max: row.job_max },
            seed: Durations {
                count: row.seed_count,
                sum: row.seed_sum,
                min: row.seed_min,
                max: row.seed_max,
            },
        };
        by_batch.entry(row.batch_id).or_default().insert(row.node_name, metrics);
    }
    Ok(by_batch)
}
