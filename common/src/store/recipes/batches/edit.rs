//! What callers may change of a batch (contract 2.4).

use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::super::super::audit::Change;
use super::super::super::retry::retrying;
use super::super::super::{Store, StoreError};
use super::super::graphs::Graphs;
use super::create::{dataset, plan_priority};
use crate::model::Action;
use crate::model::recipe::names::BatchError;
use crate::model::recipe::{
    BatchConfiguration, BatchDefinition, DatasetFacts, Finding, Place, check_edited_map,
};

/// What is to change; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct BatchEdit {
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// In place of the stored one, and as it is given back.
    pub configuration: Option<(BatchConfiguration, Value)>,
    /// Whether nothing of it is evaluated for now.
    pub paused: Option<bool>,
}

/// What became of an edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditedBatch {
    /// It is done.
    Done,
    /// The input map does not fit the batch; nothing changed.
    Refused(Vec<Finding<BatchError>>),
    /// It has a successor, which does what is left of it: it is not to be paused or resumed any more. Nothing changed.
    Superseded,
}

impl Store {
    /// Changes a batch: all that is wanted, or nothing. `None` when the tenant has no such batch. A new priority applies to
    /// jobs that are queued from now on, and to the batch's place among others.
    pub async fn edit_recipe_batch(
        &self,
        tenant_id: Uuid,
        id: i64,
        edit: &BatchEdit,
    ) -> Result<Option<EditedBatch>, StoreError> {
        retrying("edit_recipe_batch", || self.edit_recipe_batch_once(tenant_id, id, edit)).await
    }

    async fn edit_recipe_batch_once(
        &self,
        tenant_id: Uuid,
        id: i64,
        edit: &BatchEdit,
    ) -> Result<Option<EditedBatch>, StoreError> {
        let mut tx = self.control.begin().await?;
        let stored = sqlx::query!(
            "SELECT definition, recipe_type_rev_id, is_superseded FROM recipe_batches
             WHERE id = $1 AND tenant_id = $2 AND removed IS NULL FOR NO KEY UPDATE",
            id,
            tenant_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(stored) = stored else { return Ok(None) };
        if edit.paused.is_some() && stored.is_superseded {
            return Ok(Some(EditedBatch::Superseded));
        }
        if let Some((configuration, json)) = &edit.configuration {
            let definition = BatchDefinition::parse(&stored.definition, Place::root("definition"))
                .map_err(|_| StoreError::Corrupt(format!("batch {id}: its definition cannot be read")))?;
            let dataset = match definition.dataset {
                Some(dataset_id) => dataset(&mut tx, tenant_id, dataset_id).await?,
                None => None,
            };
            let graphs = Graphs::load(&mut tx, &[stored.recipe_type_rev_id]).await?;
            let facts = dataset
                .as_ref()
                .map(|(definition, members, _)| DatasetFacts { definition, members: *members });
            let graph = graphs.revision(stored.recipe_type_rev_id)?;
            let findings = check_edited_map(&configuration.input_map, graph, facts);
            if !findings.is_empty() {
                return Ok(Some(EditedBatch::Refused(findings)));
            }
            sqlx::query!(
                "UPDATE recipe_batches SET configuration = $2, priority = $3 WHERE id = $1",
                id,
                json,
                configuration.priority
            )
            .execute(&mut *tx)
            .await?;
            sqlx::query!(
                "UPDATE workloads SET priority = $2 WHERE batch_id = $1",
                id,
                plan_priority(configuration)
            )
            .execute(&mut *tx)
            .await?;
        }
        let mut fields = Vec::new();
        fields.extend(edit.title.as_ref().map(|_| "title"));
        fields.extend(edit.description.as_ref().map(|_| "description"));
        fields.extend(edit.configuration.as_ref().map(|_| "configuration"));
        let paused = match edit.paused {
            Some(paused) => self.note_recipe_pause(&mut tx, id, paused).await?,
            None => None,
        };
        if fields.is_empty() && paused.is_none() {
            return Ok(Some(EditedBatch::Done));
        }
        sqlx::query!(
            "UPDATE recipe_batches SET title = coalesce($2, title), description = coalesce($3, description),
                 last_modified = clock_timestamp() WHERE id = $1",
            id,
            edit.title,
            edit.description
        )
        .execute(&mut *tx)
        .await?;
        if !fields.is_empty() {
            let entry = Change::new(Action::RecipeBatchUpdate, id, json!({"fields": fields}));
            self.audit(&mut tx, tenant_id, entry).await?;
        }
        if let Some(action) = paused {
            self.audit(&mut tx, tenant_id, Change::new(action, id, json!({}))).await?;
        }
        tx.commit().await?;
        Ok(Some(EditedBatch::Done))
    }

    /// Notes a pause of the batch, or takes the note back. Returns what that is called, if it changes anything.
    async fn note_recipe_pause(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        id: i64,
        paused: bool,
    ) -> Result<Option<Action>, StoreError> {
        let changed = sqlx::query!(
            "UPDATE workloads SET paused_at = CASE WHEN $2 THEN clock_timestamp() END, paused_by = CASE WHEN $2 THEN $3 END
             WHERE batch_id = $1 AND (paused_at IS NOT NULL) <> $2",
            id,
            paused,
            self.actor.name
        )
        .execute(&mut **tx)
        .await?;
        let action = if paused { Action::RecipeBatchPause } else { Action::RecipeBatchResume };
        Ok((changed.rows_affected() > 0).then_some(action))
    }
}
