//! What recipe definitions refer to (control plane, scale-v6 5.2).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::model::recipe::{
    Catalog, Graph, JobTypeEntry, JobTypeRef, Manifest, NodeKind, Place, RecipeDefinition, RecipeTypeEntry,
    RecipeTypeRef,
};
use crate::store::{Store, StoreError};

/// The revisions that a definition refers to, as far as they exist.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// What must be known of them to check the definition.
    pub catalog: Catalog,
    job_types: BTreeMap<JobTypeRef, i64>,
    recipe_types: BTreeMap<RecipeTypeRef, i64>,
}

/// A recipe definition as it is stored.
pub(super) fn stored_definition(definition: &Json) -> Result<RecipeDefinition, StoreError> {
    RecipeDefinition::parse(definition, Place::root("definition")).map_err(|findings| {
        let first = findings.first().map(ToString::to_string).unwrap_or_default();
        StoreError::Corrupt(format!("a recipe type's definition: {first}"))
    })
}

/// A manifest as it is stored.
pub(super) fn stored_manifest(manifest: &Json) -> Result<Manifest, StoreError> {
    Manifest::parse(manifest, Place::root("manifest")).map_err(|findings| {
        let first = findings.first().map(ToString::to_string).unwrap_or_default();
        StoreError::Corrupt(format!("a job type's manifest: {first}"))
    })
}

impl Store {
    /// Looks up what a definition refers to among the tenant's types.
    pub async fn references(
        &self,
        tenant_id: Uuid,
        definition: &RecipeDefinition,
    ) -> Result<References, StoreError> {
        let mut connection = self.control.acquire().await?;
        find(&mut connection, tenant_id, definition).await
    }
}

/// As [`Store::references`], within a transaction.
pub(super) async fn find(
    connection: &mut PgConnection,
    tenant_id: Uuid,
    definition: &RecipeDefinition,
) -> Result<References, StoreError> {
    let mut references = References::default();
    let wanted = definition.job_types();
    let names: Vec<String> = wanted.iter().map(|job| job.name.clone()).collect();
    let versions: Vec<String> = wanted.iter().map(|job| job.version.clone()).collect();
    let numbers: Vec<i64> = wanted.iter().map(|job| job.revision).collect();
    let rows = sqlx::query!(
        "SELECT r.id, j.name, j.version, r.revision_num, r.manifest, j.is_active
         FROM unnest($2::text[], $3::text[], $4::bigint[]) AS w (name, version, revision)
         JOIN job_types j ON j.tenant_id = $1 AND j.name = w.name AND j.version = w.version
         JOIN job_type_revisions r ON r.job_type_id = j.id AND r.revision_num = w.revision",
        tenant_id,
        &names,
        &versions,
        &numbers
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        let manifest = stored_manifest(&row.manifest)?;
        let reference =
            JobTypeRef { name: row.name, version: row.version, revision: row.revision_num.into() };
        let entry =
            JobTypeEntry { inputs: manifest.inputs, outputs: manifest.outputs, deprecated: !row.is_active };
        references.catalog.job_types.insert(reference.clone(), entry);
        references.job_types.insert(reference, row.id);
    }

    let wanted = definition.recipe_types();
    let names: Vec<String> = wanted.iter().map(|recipe| recipe.name.clone()).collect();
    let numbers: Vec<i64> = wanted.iter().map(|recipe| recipe.revision).collect();
    let rows = sqlx::query!(
        "SELECT r.id, t.name, r.revision_num, r.definition, t.is_active
         FROM unnest($2::text[], $3::bigint[]) AS w (name, revision)
         JOIN recipe_types t ON t.tenant_id = $1 AND t.name = w.name
         JOIN recipe_type_revisions r ON r.recipe_type_id = t.id AND r.revision_num = w.revision",
        tenant_id,
        &names,
        &numbers
    )
    .fetch_all(&mut *connection)
    .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut contained = contained(&mut *connection, &ids).await?;
    for row in rows {
        let inner = stored_definition(&row.definition)?;
        let reference = RecipeTypeRef { name: row.name, revision: row.revision_num.into() };
        let entry = RecipeTypeEntry {
            inputs: inner.input,
            contains: contained.remove(&row.id).unwrap_or_default(),
            deprecated: !row.is_active,
        };
        references.catalog.recipe_types.insert(reference.clone(), entry);
        references.recipe_types.insert(reference, row.id);
    }
    Ok(references)
}

/// The names of all recipe types in these revisions, at any depth.
async fn contained(
    connection: &mut PgConnection,
    revisions: &[i64],
) -> Result<BTreeMap<i64, BTreeSet<String>>, StoreError> {
    let mut contained: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
    if revisions.is_empty() {
        return Ok(contained);
    }
    let rows = sqlx::query!(
        r#"WITH RECURSIVE inside (top, revision_id) AS (
               SELECT s.revision_id, s.sub_revision_id FROM recipe_type_recipes s WHERE s.revision_id = ANY($1)
               UNION
               SELECT i.top, s.sub_revision_id FROM inside i JOIN recipe_type_recipes s ON s.revision_id = i.revision_id)
           SELECT DISTINCT i.top AS "top!", t.name AS "name!" FROM inside i
           JOIN recipe_type_revisions r ON r.id = i.revision_id JOIN recipe_types t ON t.id = r.recipe_type_id"#,
        revisions
    )
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        contained.entry(row.top).or_default().insert(row.name);
    }
    Ok(contained)
}

/// Writes a revision of a recipe type with what its nodes refer to, which must be in `references`; its id.
pub(super) async fn insert_revision(
    tx: &mut PgConnection,
    recipe_type_id: i64,
    revision_num: i32,
    document: &Json,
    definition: &RecipeDefinition,
    references: &References,
) -> Result<i64, StoreError> {
    let graph = Graph::compile(definition).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let id = sqlx::query_scalar!(
        "INSERT INTO recipe_type_revisions (recipe_type_id, revision_num, definition) VALUES ($1, $2, $3) RETURNING id",
        recipe_type_id,
        revision_num,
        document
    )
    .fetch_one(&mut *tx)
    .await?;
    let (mut jobs, mut recipes) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for ((_, node), number) in graph.nodes().zip(0_i16..) {
        let unknown = || StoreError::NotFound("a type that the definition refers to");
        match &node.kind {
            NodeKind::Job(job) => {
                jobs.0.push(number);
                jobs.1.push(*references.job_types.get(job).ok_or_else(unknown)?);
            }
            NodeKind::Recipe(recipe) => {
                recipes.0.push(number);
                recipes.1.push(*references.recipe_types.get(recipe).ok_or_else(unknown)?);
            }
            NodeKind::Condition(_) => {}
        }
    }
    sqlx::query!(
        "INSERT INTO recipe_type_jobs (revision_id, node, job_type_rev_id)
         SELECT $1, n.node, n.id FROM unnest($2::smallint[], $3::bigint[]) AS n (node, id)",
        id,
        &jobs.0,
        &jobs.1
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "INSERT INTO recipe_type_recipes (revision_id, node, sub_revision_id)
         SELECT $1, n.node, n.id FROM unnest($2::smallint[], $3::bigint[]) AS n (node, id)",
        id,
        &recipes.0,
        &recipes.1
    )
    .execute(&mut *tx)
    .await?;
    Ok(id)
}
