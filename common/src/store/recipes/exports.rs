//! Recipes of a batch with their inputs and the outputs of their nodes, a few at a time (control plane).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::{Store, StoreError};
use super::graphs::Graphs;
use crate::model::recipe::{Graph, JobTypeRef, MAX_NESTING, NodeKind, RecipeTypes};

/// Recipes that are looked at for one page.
const PAGE: i64 = 200;
/// Bytes of inputs and outputs in one page, but for its first recipe.
const PAGE_BYTES: i64 = 2_000_000;
/// The most columns of nodes: recipes in recipes multiply them.
const COLUMNS: usize = 4_000;

/// What the recipes of a batch have for inputs and outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeColumns {
    /// The inputs of the recipe, files included.
    pub inputs: Vec<String>,
    /// The job nodes at any depth, in their order.
    pub nodes: Vec<NodeColumns>,
}

/// A job node and its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeColumns {
    /// Its name; of one in a sub-recipe, after the name of the node that this is, with a dot between.
    pub path: String,
    /// Its outputs.
    pub outputs: Vec<String>,
}

/// Which recipes are exported. What is `None` does not matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportFilter {
    /// Whether they are completed.
    pub is_completed: Option<bool>,
    /// Whether a newer one took their place.
    pub is_superseded: Option<bool>,
}

/// A recipe with what came of its nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportedRecipe {
    /// Its id.
    pub id: i64,
    /// The dataset member that it was made from.
    pub member_id: Option<i64>,
    /// Whether every node is done.
    pub is_completed: bool,
    /// Whether a newer recipe took its place.
    pub is_superseded: bool,
    /// `{files, json}`.
    pub input: Option<Value>,
    /// Its jobs, by the path of their node.
    pub nodes: BTreeMap<String, ExportedNode>,
}

/// What came of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedNode {
    /// The status of the job.
    pub status: String,
    /// `{files, json}`, once it is completed.
    pub output: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A batch whose recipes are exported.
#[derive(Debug, Clone)]
pub struct RecipeExport {
    tenant_id: Uuid,
    batch_id: i64,
    filter: ExportFilter,
    /// The columns.
    pub columns: RecipeColumns,
    after: i64,
}

/// Why a batch cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its sub-recipes have more outputs than a table has columns.
    #[error("the recipes have more than {COLUMNS} outputs")]
    TooManyColumns,
}

impl Store {
    /// Begins to export the recipes of a batch; `None` when the tenant has no such batch.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub async fn recipe_export(
        &self,
        tenant_id: Uuid,
        batch_id: i64,
        filter: ExportFilter,
    ) -> Result<Option<RecipeExport>, ExportError> {
        let mut connection = self.control.acquire().await.map_err(StoreError::from)?;
        let revision = sqlx::query_scalar!(
            "SELECT recipe_type_rev_id FROM recipe_batches WHERE tenant_id = $1 AND id = $2 AND removed IS NULL",
            tenant_id,
            batch_id
        )
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::from)?;
        let Some(revision) = revision else { return Ok(None) };
        let columns = columns(&mut connection, revision).await?;
        Ok(Some(RecipeExport { tenant_id, batch_id, filter, columns, after: 0 }))
    }

    /// The next recipes of an export, top-level ones by id; none at the end. Each page is of one moment.
    ///
    /// # Errors
    ///
    /// What the database says.
    pub async fn exported_recipes(
        &self,
        export: &mut RecipeExport,
    ) -> Result<Vec<ExportedRecipe>, StoreError> {
        let mut tx = self.control.begin().await?;
        sqlx::query!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut *tx).await?;
        let sizes = sqlx::query!(
            r#"SELECT r.id, coalesce(octet_length(r.input::text), 0)
                   + coalesce((SELECT sum(octet_length(j.output::text)) FROM jobs j WHERE j.recipe_id = r.id), 0) AS "bytes!"
               FROM recipes r
               WHERE r.tenant_id = $1 AND (r.batch_id, r.id) > ($2, $3) AND r.batch_id <= $2 AND r.parent_recipe_id IS NULL
                 AND ($4::bool IS NULL OR r.is_completed = $4) AND ($5::bool IS NULL OR r.is_superseded = $5)
               ORDER BY r.batch_id, r.id LIMIT $6"#,
            export.tenant_id,
            export.batch_id,
            export.after,
            export.filter.is_completed,
            export.filter.is_superseded,
            PAGE
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut bytes = 0;
        let mut fits = |size: i64| {
            let first = bytes == 0;
            bytes += size.max(1);
            first || bytes <= PAGE_BYTES
        };
        let ids: Vec<i64> = sizes.iter().take_while(|row| fits(row.bytes)).map(|row| row.id).collect();
        let Some(last) = ids.last().copied() else { return Ok(Vec::new()) };
        let rows = sqlx::query!(
            "SELECT id, recipe_type_rev_id, member_id, is_completed, is_superseded, input FROM recipes
             WHERE id = ANY($1) ORDER BY id",
            &ids
        )
        .fetch_all(&mut *tx)
        .await?;
        let tops: Vec<(i64, i64)> = rows.iter().map(|row| (row.id, row.recipe_type_rev_id)).collect();
        let mut nodes = nodes(&mut tx, &tops).await?;
        tx.commit().await?;
        export.after = last;
        let recipes = rows.into_iter().map(|row| ExportedRecipe {
            nodes: nodes.remove(&row.id).unwrap_or_default(),
            id: row.id,
            member_id: row.member_id,
            is_completed: row.is_completed,
            is_superseded: row.is_superseded,
            input: row.input,
        });
        Ok(recipes.collect())
    }
}

/// The columns of a revision's recipes.
async fn columns(connection: &mut PgConnection, revision: i64) -> Result<RecipeColumns, ExportError> {
    let graphs = Graphs::load(&mut *connection, &[revision]).await?;
    let graph = Arc::clone(graphs.revision(revision)?);
    let mut outputs: HashMap<JobTypeRef, Vec<String>> = HashMap::new();
    let rows = sqlx::query!(
        r#"WITH RECURSIVE needed (id) AS (
               SELECT $1::bigint
               UNION
               SELECT s.sub_revision_id FROM needed n JOIN recipe_type_recipes s ON s.revision_id = n.id
           )
           SELECT DISTINCT t.name, t.version, r.revision_num, r.manifest #> '{job,interface,outputs,json}' AS outputs
           FROM needed n JOIN recipe_type_jobs j ON j.revision_id = n.id
           JOIN job_type_revisions r ON r.id = j.job_type_rev_id JOIN job_types t ON t.id = r.job_type_id"#,
        revision
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::from)?;
    for row in rows {
        let names = row.outputs.as_ref().and_then(Value::as_array).into_iter().flatten();
        let names = names.filter_map(|output| output["name"].as_str().map(str::to_owned)).collect();
        let reference =
            JobTypeRef { name: row.name, version: row.version, revision: row.revision_num.into() };
        outputs.insert(reference, names);
    }
    let inputs = graph.input().parameters.keys().cloned().collect();
    let mut found = Vec::new();
    let mut left = COLUMNS;
    collect(&graph, &graphs.types, &outputs, "", MAX_NESTING, &mut left, &mut found)?;
    Ok(RecipeColumns { inputs, nodes: found })
}

/// Gathers the job nodes of a graph, and of those in it.
fn collect(
    graph: &Graph,
    types: &RecipeTypes,
    outputs: &HashMap<JobTypeRef, Vec<String>>,
    before: &str,
    depth: usize,
    left: &mut usize,
    found: &mut Vec<NodeColumns>,
) -> Result<(), ExportError> {
    let Some(depth) = depth.checked_sub(1) else { return Ok(()) };
    for (_, node) in graph.nodes() {
        let path = format!("{before}{}", node.name);
        match &node.kind {
            NodeKind::Job(job) => {
                let outputs = outputs.get(job).cloned().unwrap_or_default();
                *left = left.checked_sub(outputs.len() + 1).ok_or(ExportError::TooManyColumns)?;
                found.push(NodeColumns { path, outputs });
            }
            NodeKind::Recipe(reference) => {
                if let Some(inner) = types.get(reference) {
                    collect(inner, types, outputs, &format!("{path}."), depth, left, found)?;
                }
            }
            NodeKind::Condition(_) => {}
        }
    }
    Ok(())
}

/// The jobs of these recipes (id, revision) by the path of their node, those of sub-recipes included.
async fn nodes(
    connection: &mut PgConnection,
    tops: &[(i64, i64)],
) -> Result<HashMap<i64, BTreeMap<String, ExportedNode>>, StoreError> {
    let mut revisions: Vec<i64> = tops.iter().map(|(_, revision)| *revision).collect();
    revisions.sort_unstable();
    revisions.dedup();
    let mut graphs = Graphs::load(&mut *connection, &revisions).await?;
    let mut found: HashMap<i64, BTreeMap<String, ExportedNode>> = HashMap::new();
    // Recipes of one depth: id, revision, the recipe at the top, the path before. One may be in several.
    let mut level: Vec<(i64, i64, i64, String)> =
        tops.iter().map(|(id, revision)| (*id, *revision, *id, String::new())).collect();
    for _ in 0..MAX_NESTING {
        if level.is_empty() {
            break;
        }
        let ids: Vec<i64> = level.iter().map(|(id, ..)| *id).collect();
        let jobs = sqlx::query!(
            r#"SELECT recipe_id AS "recipe_id!", node AS "node!", status AS "status!", output, error_detail FROM (
                   SELECT recipe_id, node, status, output, error_detail FROM jobs WHERE recipe_id = ANY($1)
                   UNION ALL
                   SELECT l.recipe_id, l.node, o.status, o.output, o.error_detail FROM recipe_links l
                   JOIN jobs o ON o.id = l.job_id WHERE l.recipe_id = ANY($1)
               ) j"#,
            &ids
        )
        .fetch_all(&mut *connection)
        .await?;
        let inside = sqlx::query!(
            r#"SELECT holder AS "holder!", node AS "node!", id AS "id!", recipe_type_rev_id AS "revision!" FROM (
                   SELECT parent_recipe_id AS holder, parent_node AS node, id, recipe_type_rev_id FROM recipes
                   WHERE parent_recipe_id = ANY($1)
                   UNION ALL
                   SELECT l.recipe_id, l.node, r.id, r.recipe_type_rev_id FROM recipe_links l
                   JOIN recipes r ON r.id = l.sub_recipe_id WHERE l.recipe_id = ANY($1)
               ) s"#,
            &ids
        )
        .fetch_all(&mut *connection)
        .await?;
        let mut jobs_of: HashMap<i64, Vec<(i16, ExportedNode)>> = HashMap::new();
        for row in jobs {
            let node = ExportedNode { status: row.status, output: row.output, error: row.error_detail };
            jobs_of.entry(row.recipe_id).or_default().push((row.node, node));
        }
        let mut inside_of: HashMap<i64, Vec<(i16, i64, i64)>> = HashMap::new();
        for row in inside {
            inside_of.entry(row.holder).or_default().push((row.node, row.id, row.revision));
        }
        let unknown: Vec<i64> = level.iter().map(|(_, revision, ..)| *revision).collect();
        graphs.load_more(&mut *connection, &unknown).await?;
        let mut next = Vec::new();
        for (id, revision, top, before) in level {
            let graph = graphs.revision(revision)?;
            let path =
                |number: i16| graph.by_number(number).map(|at| format!("{before}{}", graph.node(at).name));
            let jobs = jobs_of.get(&id).into_iter().flatten();
            let jobs = jobs.filter_map(|(number, node)| Some((path(*number)?, node.clone())));
            found.entry(top).or_default().extend(jobs);
            for (number, sub, revision) in inside_of.get(&id).into_iter().flatten() {
                if let Some(path) = path(*number) {
                    next.push((*sub, *revision, top, format!("{path}.")));
                }
            }
        }
        level = next;
    }
    Ok(found)
}
