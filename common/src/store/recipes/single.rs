//! One recipe or one job at a time, as callers ask for them (contract 5.5, 5.6; data plane).

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::creation::recipe_types;
use super::known::JobProgram;
use super::publication::BundleRef;
use super::transaction::transaction;
use crate::model::recipe::running::{JobNode, NewJob, NewRecipe};
use crate::model::recipe::{Data, ForcedNodes, ReprocessPlan};
use crate::store::data::DataClient;
use crate::store::retry::retrying;
use crate::store::{Store, StoreError, WorkerSlot};

/// Why a recipe is not reprocessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReprocessRefusal {
    /// There is no such recipe at the top of that tenant.
    #[error("there is no such recipe")]
    NotFound,
    /// A newer one has taken its place.
    #[error("the recipe is superseded")]
    Superseded,
    /// The revision does not take its input.
    #[error("the revision does not take the recipe's input")]
    Input,
}

/// The newest revision of a job type, for jobs outside recipes.
#[derive(Debug, Clone)]
pub struct SingleJobType {
    /// Whether it was not deprecated.
    pub is_active: bool,
    /// What it runs.
    pub program: Arc<JobProgram>,
    node: JobNode,
}

/// A recipe or a job that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its id.
    pub id: i64,
    /// Its first jobs, to be published; the reaper does it otherwise, later.
    pub bundles: Vec<BundleRef>,
}

const JOB_TYPE: &str = "
-- single: job type
SELECT t.is_active, r.id, t.max_tries, (t.configuration ->> 'priority')::bigint, t.is_paused
FROM job_types t JOIN job_type_revisions r ON r.job_type_id = t.id AND r.revision_num = t.revision_num
WHERE t.tenant_id = $1 AND t.id = $2";

const EVENT: &str = "
-- single: event
INSERT INTO events (tenant_id, description) VALUES ($1, $2::text::jsonb) RETURNING id";

impl Store {
    /// What a job outside recipes of this type would run.
    pub async fn single_job_type(
        &self,
        tenant_id: Uuid,
        job_type_id: i64,
    ) -> Result<Option<SingleJobType>, StoreError> {
        let client = self.data_client().await?;
        let read = async {
            let statement = client.prepare_cached(JOB_TYPE).await?;
            let Some(row) = client.query_opt(&statement, &[&tenant_id, &job_type_id]).await? else {
                return Ok(None);
            };
            let node = JobNode {
                job_type_id,
                job_type_rev_id: row.try_get(1)?,
                max_tries: row.try_get(2)?,
                priority: row.try_get(3)?,
                is_paused: row.try_get(4)?,
            };
            let program = self.job_program(&client, node.job_type_rev_id).await?;
            Ok(Some(SingleJobType { is_active: row.try_get(0)?, program, node }))
        };
        client.in_time(read).await
    }

    /// Makes a job outside of recipes, whose input fits the manifest. The caller publishes it.
    pub async fn create_job(
        &self,
        tenant_id: Uuid,
        job_type: &SingleJobType,
        input: Data,
        event: &Value,
    ) -> Result<Made, StoreError> {
        let input = Arc::new(input);
        retrying("create_recipes", || async {
            let client = self.data_client().await?;
            let work = async {
                let event_id = write_event(&client, tenant_id, event).await?;
                let mut running = self.load_nothing(&client).await?;
                self.reserve_job(&client, &mut running).await?;
                let (node, input) = (job_type.node, Arc::clone(&input));
                let id = running.create_job(NewJob { tenant_id, event_id, node, input })?;
                let settled = Box::pin(self.settle(&client, WorkerSlot::of(Uuid::new_v4()), running)).await?;
                Ok(Made { id, bundles: settled.bundles })
            };
            transaction(&client, "single.commit", work).await
        })
        .await
    }

    /// Makes a recipe outside of batches, whose input fits the revision. The caller publishes its first
    /// jobs.
    pub async fn create_recipe(
        &self,
        tenant_id: Uuid,
        revision_id: i64,
        input: &Data,
        event: &Value,
    ) -> Result<Made, StoreError> {
        retrying("create_recipes", || async {
            let client = self.data_client().await?;
            let work = async {
                let event_id = write_event(&client, tenant_id, event).await?;
                let mut running = self.load_nothing(&client).await?;
                running.revisions = self.revisions(&client, [revision_id]).await?;
                self.reserve_recipes(&client, &mut running, 1).await?;
                let id = running.create(NewRecipe {
                    tenant_id,
                    batch_id: None,
                    event_id,
                    revision: self.revision(&client, revision_id).await?,
                    member_id: None,
                    source_recipe_id: None,
                    input: input.clone(),
                    input_hash: input.hash(),
                })?;
                let settled = Box::pin(self.settle(&client, WorkerSlot::of(Uuid::new_v4()), running)).await?;
                Ok(Made { id, bundles: settled.bundles })
            };
            transaction(&client, "single.commit", work).await
        })
        .await
    }

    /// Does a recipe again under this revision. The caller publishes the new one's first jobs.
    pub async fn reprocess_recipe(
        &self,
        tenant_id: Uuid,
        recipe_id: i64,
        revision_id: i64,
        forced: &ForcedNodes,
        event: &Value,
    ) -> Result<Result<Made, ReprocessRefusal>, StoreError> {
        retrying("create_recipes", || async {
            let client = self.data_client().await?;
            let work = self.reprocess_one(&client, tenant_id, recipe_id, revision_id, forced, event);
            transaction(&client, "single.commit", work).await
        })
        .await
    }

    async fn reprocess_one(
        &self,
        client: &DataClient,
        tenant_id: Uuid,
        recipe_id: i64,
        revision_id: i64,
        forced: &ForcedNodes,
        event: &Value,
    ) -> Result<Result<Made, ReprocessRefusal>, StoreError> {
        let mut running = Box::pin(self.load_of_recipes(client, &[recipe_id])).await?;
        running.revisions.extend(self.revisions(client, [revision_id]).await?);
        let Some(old) = running.recipes.get(&recipe_id) else { return Ok(Err(ReprocessRefusal::NotFound)) };
        if old.tenant_id != tenant_id || old.parent.is_some() {
            return Ok(Err(ReprocessRefusal::NotFound));
        }
        if old.is_superseded {
            return Ok(Err(ReprocessRefusal::Superseded));
        }
        let revision = self.revision(client, revision_id).await?;
        let types = recipe_types(running.revisions.values());
        let Ok(plan) = ReprocessPlan::build(&old.revision.graph, &revision.graph, forced, &types) else {
            return Ok(Err(ReprocessRefusal::Input));
        };
        let (input, batch_id) = (old.input.clone().unwrap_or_default(), old.batch_id);
        let event_id = write_event(client, tenant_id, event).await?;
        self.reserve_recipes(client, &mut running, 1).await?;
        let input_hash = input.hash();
        let new = NewRecipe {
            tenant_id,
            batch_id,
            event_id,
            revision,
            member_id: None,
            source_recipe_id: None,
            input,
            input_hash,
        };
        let id = running.reprocess(recipe_id, new, &plan)?;
        let settled = Box::pin(self.settle(client, WorkerSlot::of(Uuid::new_v4()), running)).await?;
        Ok(Ok(Made { id, bundles: settled.bundles }))
    }
}

async fn write_event(client: &DataClient, tenant_id: Uuid, event: &Value) -> Result<i64, StoreError> {
    let statement = client.prepare_cached(EVENT).await?;
    Ok(client.query_one(&statement, &[&tenant_id, &event.to_string()]).await?.try_get(0)?)
}
