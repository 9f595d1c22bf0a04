//! Batches that are wanted: checked, or created in one transaction (contract 2.3, 2.6, 4.1, 4.3).

use serde_json::{Value, json};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::super::super::audit::Change;
use super::super::super::retry::retrying;
use super::super::super::{Store, StoreError};
use super::super::graphs::Graphs;
use super::super::{RecipeTypeBase, Revision};
use super::{RECIPE_BATCH_SLOTS, RecipeBatch, batches};
use crate::model::Action;
use crate::model::recipe::{
    BatchCheck, BatchConfiguration, BatchDefinition, BatchFacts, DatasetDefinition, DatasetFacts, Place,
    PreviousFacts, RecipeBatchEvent, RecipeBatchState, check_batch, priority, recipe_batch_step,
};

/// A batch that is wanted.
#[derive(Debug, Clone)]
pub struct BatchRequest {
    /// Whose it will be.
    pub tenant_id: Uuid,
    /// What it runs.
    pub recipe_type_id: i64,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// The definition.
    pub definition: BatchDefinition,
    /// The definition as it is given back.
    pub definition_json: Value,
    /// The configuration.
    pub configuration: BatchConfiguration,
    /// The configuration as it is given back.
    pub configuration_json: Value,
    /// `supersedes` beside the definition.
    pub supersedes: Option<bool>,
    /// Who wants it.
    pub created_by: String,
}

/// What a check of a wanted batch found.
#[derive(Debug, Clone)]
pub struct BatchAdmission {
    /// Errors, warnings, the estimate, the difference from the previous batch.
    pub check: BatchCheck,
    /// The recipe type.
    pub recipe_type: RecipeTypeBase,
    /// The revision that the previous batch runs, if there is one.
    pub previous: Option<Revision>,
}

/// What was found about a wanted batch.
struct Admitted {
    admission: BatchAdmission,
    revision_id: i64,
    /// The job nodes of the revision.
    job_nodes: Vec<String>,
    previous: Option<Previous>,
    last_member_id: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Previous {
    id: i64,
    revision: Revision,
    is_creation_done: bool,
    recipes_total: i64,
}

impl Store {
    /// A recipe type.
    pub async fn recipe_type_base(
        &self,
        tenant_id: Uuid,
        id: i64,
    ) -> Result<Option<RecipeTypeBase>, StoreError> {
        Ok(sqlx::query_as!(
            RecipeTypeBase,
            "SELECT id, name, title, description, revision_num FROM recipe_types WHERE tenant_id = $1 AND id = $2",
            tenant_id,
            id
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// Checks a wanted batch, and changes nothing. It is valid if creating it now would succeed.
    pub async fn check_recipe_batch(&self, request: &BatchRequest) -> Result<BatchAdmission, StoreError> {
        let mut tx = self.control.begin().await?;
        // One snapshot for all that is read.
        sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *tx).await?;
        Ok(admit(&mut tx, request).await?.admission)
    }

    /// Creates a batch, or says why not. Its recipes are made by workers.
    ///
    /// The root of the chain is locked first: of two callers that want to follow the same batch, one waits, and then finds the
    /// other's batch.
    pub async fn create_recipe_batch(
        &self,
        request: &BatchRequest,
    ) -> Result<Result<RecipeBatch, BatchAdmission>, StoreError> {
        retrying("create_recipe_batch", || self.create_recipe_batch_once(request)).await
    }

    async fn create_recipe_batch_once(
        &self,
        request: &BatchRequest,
    ) -> Result<Result<RecipeBatch, BatchAdmission>, StoreError> {
        let mut tx = self.control.begin().await?;
        if let Some(previous) = &request.definition.previous_batch {
            sqlx::query!(
                "SELECT id FROM recipe_batches WHERE id = $1 AND tenant_id = $2 FOR NO KEY UPDATE",
                previous.root_batch_id,
                request.tenant_id
            )
            .fetch_optional(&mut *tx)
            .await?;
        }
        let admitted = admit(&mut tx, request).await?;
        if !admitted.admission.check.found.is_valid() {
            return Ok(Err(admitted.admission));
        }
        let id = insert(&mut tx, request, &admitted).await?;
        let batch = batches(&mut tx, request.tenant_id, &[id]).await?.pop();
        let batch = batch.ok_or(StoreError::NotFound("batch"))?;
        let details = json!({
            "recipe_type": admitted.admission.recipe_type.name, "recipes_estimated": batch.recipes_estimated,
            "superseded_batch": batch.previous.as_ref().map(|previous| previous.id),
        });
        let entry = Change::new(Action::RecipeBatchCreate, id, details);
        self.audit(&mut tx, request.tenant_id, entry).await?;
        tx.commit().await?;
        Ok(Ok(batch))
    }
}

/// Reads what decides, and checks.
async fn admit(connection: &mut PgConnection, request: &BatchRequest) -> Result<Admitted, StoreError> {
    let previous = match &request.definition.previous_batch {
        Some(wanted) => previous(connection, request.tenant_id, wanted.root_batch_id).await?,
        None => None,
    };
    let found = sqlx::query!(
        "SELECT t.id, t.name, t.title, t.description, t.revision_num, t.is_active, r.id AS revision_id
         FROM recipe_types t JOIN recipe_type_revisions r ON r.recipe_type_id = t.id AND r.revision_num = t.revision_num
         WHERE t.tenant_id = $1 AND t.id = $2",
        request.tenant_id,
        request.recipe_type_id
    )
    .fetch_optional(&mut *connection)
    .await?
    .ok_or(StoreError::NotFound("recipe type"))?;
    let dataset = match request.definition.dataset {
        Some(id) => dataset(connection, request.tenant_id, id).await?,
        None => None,
    };

    let mut revisions = vec![found.revision_id];
    revisions.extend(previous.map(|previous| previous.revision.id));
    let graphs = Graphs::load(connection, &revisions).await?;
    let graph = graphs.revision(found.revision_id)?;
    let previous_facts = match previous {
        None => None,
        Some(previous) => Some(PreviousFacts {
            recipe_type_id: previous.revision.type_id,
            is_creation_done: previous.is_creation_done,
            recipes_total: previous.recipes_total,
            graph: graphs.revision(previous.revision.id)?,
        }),
    };
    let facts = BatchFacts {
        recipe_type_id: found.id,
        is_active: found.is_active,
        graph,
        types: &graphs.types,
        dataset: dataset
            .as_ref()
            .map(|(definition, members, _)| DatasetFacts { definition, members: *members }),
        previous: previous_facts,
    };
    let supersedes = request.definition.supersedes(request.supersedes);
    let check = check_batch(&request.definition, &request.configuration, supersedes, &facts)
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let job_nodes = graph.job_nodes().map(|(_, node)| node.name.to_string()).collect();
    let admission = BatchAdmission {
        check,
        recipe_type: RecipeTypeBase {
            id: found.id,
            name: found.name,
            title: found.title,
            description: found.description,
            revision_num: found.revision_num,
        },
        previous: previous.map(|previous| previous.revision),
    };
    let last_member_id = dataset.and_then(|(_, _, last)| last);
    Ok(Admitted { admission, revision_id: found.revision_id, job_nodes, previous, last_member_id })
}

/// The current batch of a chain.
async fn previous(
    connection: &mut PgConnection,
    tenant_id: Uuid,
    root_batch_id: i64,
) -> Result<Option<Previous>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT b.id, b.recipe_type_id, b.recipe_type_rev_id, r.revision_num, b.is_creation_done,
               (SELECT coalesce(sum(recipes_total), 0)::bigint FROM recipe_batch_counters WHERE batch_id = b.id)
                   AS "recipes_total!"
           FROM recipe_batches b JOIN recipe_type_revisions r ON r.id = b.recipe_type_rev_id
           WHERE b.tenant_id = $1 AND b.root_batch_id = $2 AND NOT b.is_superseded"#,
        tenant_id,
        root_batch_id
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Previous {
        id: row.id,
        revision: Revision {
            id: row.recipe_type_rev_id,
            type_id: row.recipe_type_id,
            revision_num: row.revision_num,
        },
        is_creation_done: row.is_creation_done,
        recipes_total: row.recipes_total,
    }))
}

/// A dataset's definition, how many members it has now, and the last of them.
pub(super) async fn dataset(
    connection: &mut PgConnection,
    tenant_id: Uuid,
    id: i64,
) -> Result<Option<(DatasetDefinition, i64, Option<i64>)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT d.definition, m.members AS "members!", m.last
           FROM datasets d
           CROSS JOIN LATERAL (SELECT count(*) AS members, max(id) AS last FROM dataset_members WHERE dataset_id = d.id) m
           WHERE d.tenant_id = $1 AND d.id = $2 AND d.removed IS NULL"#,
        tenant_id,
        id
    )
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let definition = DatasetDefinition::parse(&row.definition, Place::root("definition"))
        .map_err(|_| StoreError::Corrupt(format!("dataset {id}: its definition cannot be read")))?;
    Ok(Some((definition, row.members, row.last)))
}

/// A workload's priority in the plan: 0 for a batch that has none, so that lower ones go before such batches.
pub(super) fn plan_priority(configuration: &BatchConfiguration) -> i32 {
    let none = priority(None, None, None, None);
    let wanted = priority(None, configuration.priority, None, None);
    let beside = wanted.saturating_sub(none);
    i32::try_from(beside).unwrap_or(if beside < 0 { i32::MIN } else { i32::MAX })
}

/// Writes all rows of a batch that was admitted, and returns its id.
async fn insert(
    tx: &mut Transaction<'_, Postgres>,
    request: &BatchRequest,
    admitted: &Admitted,
) -> Result<i64, StoreError> {
    let event_id = sqlx::query_scalar!(
        "INSERT INTO events (tenant_id, description) VALUES ($1, $2) RETURNING id",
        request.tenant_id,
        json!({"user": request.created_by})
    )
    .fetch_one(&mut **tx)
    .await?;
    if let Some(previous) = admitted.previous {
        let before = RecipeBatchState { is_creation_done: previous.is_creation_done, is_superseded: false };
        if recipe_batch_step(before, RecipeBatchEvent::Supersede).is_none() {
            return Err(StoreError::Contended("the previous batch cannot be followed".to_owned()));
        }
        let superseded = sqlx::query!(
            "UPDATE recipe_batches SET is_superseded = true, superseded = clock_timestamp(), last_modified = clock_timestamp()
             WHERE id = $1 AND NOT is_superseded AND is_creation_done",
            previous.id
        )
        .execute(&mut **tx)
        .await?;
        if superseded.rows_affected() != 1 {
            return Err(StoreError::Contended("the previous batch has another successor".to_owned()));
        }
        // Jobs that the new batch takes over wait in the lane of the old one.
        sqlx::query!(
            "UPDATE workloads SET paused_at = NULL, paused_by = NULL WHERE batch_id = $1",
            previous.id
        )
        .execute(&mut **tx)
        .await?;
    }
    let root = request.definition.previous_batch.as_ref().map(|previous| previous.root_batch_id);
    // A dataset beside a previous batch only names parameters (contract 3.1).
    let source = request.definition.dataset.filter(|_| admitted.previous.is_none());
    let id = sqlx::query_scalar!(
        r#"WITH next AS (SELECT nextval(pg_get_serial_sequence('recipe_batches', 'id')) AS id)
           INSERT INTO recipe_batches (id, tenant_id, title, description, recipe_type_id, recipe_type_rev_id, event_id,
               definition, configuration, supersedes, dataset_id, last_member_id, priority, root_batch_id,
               superseded_batch_id, recipes_estimated, created_by)
           OVERRIDING SYSTEM VALUE
           SELECT next.id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, coalesce($13, next.id), $14, $15, $16 FROM next
           RETURNING id"#,
        request.tenant_id,
        request.title,
        request.description,
        admitted.admission.recipe_type.id,
        admitted.revision_id,
        event_id,
        request.definition_json,
        request.configuration_json,
        request.definition.supersedes(request.supersedes),
        source,
        admitted.last_member_id.filter(|_| source.is_some()),
        request.configuration.priority,
        root,
        admitted.previous.map(|previous| previous.id),
        admitted.admission.check.recipes_estimated,
        request.created_by,
    )
    .fetch_one(&mut **tx)
    .await?;
    let last_slot = i32::from(RECIPE_BATCH_SLOTS - 1);
    sqlx::query!(
        "INSERT INTO recipe_batch_counters (batch_id, slot) SELECT $1, slot FROM generate_series(0, $2::int) AS slot",
        id,
        last_slot
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "INSERT INTO recipe_batch_nodes (batch_id, node_name, slot)
         SELECT $1, node, slot FROM unnest($3::text[]) AS node, generate_series(0, $2::int) AS slot",
        id,
        last_slot,
        &admitted.job_nodes
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "INSERT INTO workloads (id, tenant_id, batch_id, priority, initial_workers, max_workers, seed)
         SELECT $1, id, $3, $4, least(initial_workers, max_workers), max_workers, $5 FROM tenants WHERE id = $2",
        Uuid::now_v7(),
        request.tenant_id,
        id,
        plan_priority(&request.configuration),
        rand::random::<i64>()
    )
    .execute(&mut **tx)
    .await?;
    Ok(id)
}
