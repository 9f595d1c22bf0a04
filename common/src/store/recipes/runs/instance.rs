//! One recipe with its nodes, as far as they exist (contract 5.5).

use std::collections::BTreeMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::super::super::{Store, StoreError};
use super::super::graphs::Graphs;
use super::super::jobs::job_types;
use super::super::{JobTypeBase, RecipeTypeBase};
use super::{Recipe, counts, recipes};
use crate::model::recipe::{Graph, NodeKind, RecipeCounts};

/// A recipe, its nodes, and what they run.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeInstance {
    /// The recipe.
    pub recipe: Recipe,
    /// The nodes that exist, by name.
    pub nodes: BTreeMap<String, InstanceNode>,
    /// The job types of its revision.
    pub job_types: Vec<JobTypeBase>,
    /// The recipe types of its revision.
    pub sub_recipe_types: Vec<RecipeTypeBase>,
}

/// A node of a recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceNode {
    /// The nodes that go before it.
    pub dependencies: Vec<String>,
    /// What it does, and how far that is.
    pub instance: NodeInstance,
}

/// What a node of a recipe does, and how far that is.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the keys are those of the contract (5.5)")]
pub enum NodeInstance {
    /// A job.
    Job {
        job_type_name: String,
        job_type_version: String,
        job_type_revision: i64,
        job_id: i64,
        status: String,
    },
    /// A sub-recipe.
    Recipe {
        recipe_type_name: String,
        recipe_type_revision: i64,
        recipe_id: i64,
        is_completed: bool,
        counts: RecipeCounts,
    },
    /// A condition.
    Condition { condition_id: i64, is_processed: bool, is_accepted: bool },
}

impl Store {
    /// One recipe with its nodes.
    pub async fn recipe_instance(
        &self,
        tenant_id: Uuid,
        id: i64,
    ) -> Result<Option<RecipeInstance>, StoreError> {
        let mut tx = self.control.begin().await?;
        // One snapshot: the counts are those of the nodes.
        sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *tx).await?;
        let Some(recipe) = recipes(&mut tx, tenant_id, &[id]).await?.pop() else { return Ok(None) };
        let graphs = Graphs::load(&mut tx, &[recipe.revision.id]).await?;
        let graph = graphs.revision(recipe.revision.id)?;
        let nodes = nodes(&mut tx, &recipe, graph).await?;
        let used = sqlx::query_scalar!(
            "SELECT DISTINCT r.job_type_id FROM recipe_type_jobs j JOIN job_type_revisions r ON r.id = j.job_type_rev_id
             WHERE j.revision_id = $1",
            recipe.revision.id
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut job_types: Vec<JobTypeBase> =
            job_types(&mut tx, tenant_id, &used).await?.into_values().collect();
        job_types.sort_by_key(|job_type| job_type.id);
        let sub_recipe_types = sqlx::query_as!(
            RecipeTypeBase,
            "SELECT t.id, t.name, t.title, t.description, t.revision_num FROM recipe_types t
             WHERE t.tenant_id = $1 AND t.id IN (SELECT v.recipe_type_id FROM recipe_type_recipes s
                 JOIN recipe_type_revisions v ON v.id = s.sub_revision_id WHERE s.revision_id = $2)
             ORDER BY t.id",
            tenant_id,
            recipe.revision.id
        )
        .fetch_all(&mut *tx)
        .await?;
        Ok(Some(RecipeInstance { recipe, nodes, job_types, sub_recipe_types }))
    }
}

async fn nodes(
    connection: &mut PgConnection,
    recipe: &Recipe,
    graph: &Graph,
) -> Result<BTreeMap<String, InstanceNode>, StoreError> {
    let mut found: BTreeMap<i16, NodeInstance> = BTreeMap::new();
    let jobs = sqlx::query!(
        r#"SELECT j.node AS "node!", j.id AS "id!", j.status AS "status!", t.name, t.version, v.revision_num
           FROM (
               SELECT node, id, status, job_type_rev_id FROM jobs WHERE recipe_id = $1
               UNION ALL
               SELECT l.node, o.id, o.status, o.job_type_rev_id FROM recipe_links l JOIN jobs o ON o.id = l.job_id
               WHERE l.recipe_id = $1
           ) j
           JOIN job_type_revisions v ON v.id = j.job_type_rev_id JOIN job_types t ON t.id = v.job_type_id"#,
        recipe.id
    )
    .fetch_all(&mut *connection)
    .await?;
    found.extend(jobs.into_iter().map(|row| {
        let job = NodeInstance::Job {
            job_type_name: row.name,
            job_type_version: row.version,
            job_type_revision: row.revision_num.into(),
            job_id: row.id,
            status: row.status,
        };
        (row.node, job)
    }));
    let conditions =
        sqlx::query!("SELECT node, id, outcome FROM recipe_conditions WHERE recipe_id = $1", recipe.id)
            .fetch_all(&mut *connection)
            .await?;
    found.extend(conditions.into_iter().map(|row| {
        let condition = NodeInstance::Condition {
            condition_id: row.id,
            is_processed: row.outcome.is_some(),
            is_accepted: row.outcome.unwrap_or_default(),
        };
        (row.node, condition)
    }));
    let inside = sqlx::query!(
        r#"SELECT s.node AS "node!", s.id AS "id!", s.is_completed AS "is_completed!", t.name, v.revision_num
           FROM (
               SELECT parent_node AS node, id, is_completed, recipe_type_rev_id FROM recipes WHERE parent_recipe_id = $1
               UNION ALL
               SELECT l.node, r.id, r.is_completed, r.recipe_type_rev_id FROM recipe_links l
               JOIN recipes r ON r.id = l.sub_recipe_id WHERE l.recipe_id = $1
           ) s
           JOIN recipe_type_revisions v ON v.id = s.recipe_type_rev_id JOIN recipe_types t ON t.id = v.recipe_type_id"#,
        recipe.id
    )
    .fetch_all(&mut *connection)
    .await?;
    let ids: Vec<i64> = inside.iter().map(|row| row.id).collect();
    let mut counts = counts::of(connection, &ids).await?;
    found.extend(inside.into_iter().map(|row| {
        let sub_recipe = NodeInstance::Recipe {
            recipe_type_name: row.name,
            recipe_type_revision: row.revision_num.into(),
            recipe_id: row.id,
            is_completed: row.is_completed,
            counts: counts.remove(&row.id).unwrap_or_default(),
        };
        (row.node, sub_recipe)
    }));

    let mut nodes = BTreeMap::new();
    for (number, instance) in found {
        let index = graph.by_number(number).ok_or_else(|| {
            StoreError::Corrupt(format!("recipe {}: its revision has no node {number}", recipe.id))
        })?;
        let node = graph.node(index);
        let fits = matches!(
            (&node.kind, &instance),
            (NodeKind::Job(_), NodeInstance::Job { .. })
                | (NodeKind::Recipe(_), NodeInstance::Recipe { .. })
                | (NodeKind::Condition(_), NodeInstance::Condition { .. })
        );
        if !fits {
            return Err(StoreError::Corrupt(format!(
                "recipe {}: node {number} is of another kind",
                recipe.id
            )));
        }
        let dependencies =
            node.parents.iter().map(|parent| graph.node(parent.node).name.to_string()).collect();
        nodes.insert(node.name.to_string(), InstanceNode { dependencies, instance });
    }
    Ok(nodes)
}
