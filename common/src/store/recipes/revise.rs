//! What changes of types do to the recipe types that contain them (control plane, scale-v6 5.1 and 5.2).

use std::collections::VecDeque;

use serde_json::Value as Json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::references::{self, stored_definition};
use crate::model::recipe::{JobTypeRef, Place, RecipeTypeRef, with_job_type, with_recipe_type};
use crate::store::StoreError;

/// The most revisions that one change makes of recipe types that contain what changed.
const MOST: usize = 1_000;

/// A type that got a new revision.
#[derive(Debug, Clone)]
pub(super) enum Changed {
    JobType { id: i64, reference: JobTypeRef },
    RecipeType { id: i64, reference: RecipeTypeRef },
}

/// What a change did beyond what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consequences {
    /// Recipe types that got a revision with what changed.
    pub updated: Vec<String>,
    /// Recipe types that stay as they are, because such a revision would be invalid, each with the reason.
    pub not_updated: Vec<(String, String)>,
    /// Recipe types that were deprecated because they contain what was.
    pub deprecated: Vec<String>,
}

/// Makes changes of the tenant's types take turns: each looks at what the others made.
pub(super) async fn take_turns(tx: &mut PgConnection, tenant_id: Uuid) -> Result<(), StoreError> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock(hashtext('millrace.catalogue'), hashtext($1::uuid::text))",
        tenant_id
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// A recipe type whose newest revision contains what changed.
struct Container {
    id: i64,
    name: String,
    revision_num: i32,
    definition: Json,
}

/// Gives recipe types that contain what changed a revision with it, and those that contain these, and so on. One that would be
/// invalid is left alone.
pub(super) async fn update_containing(
    tx: &mut PgConnection,
    tenant_id: Uuid,
    changed: Changed,
) -> Result<Consequences, StoreError> {
    let mut consequences = Consequences::default();
    let mut waiting = VecDeque::from([changed]);
    while let Some(changed) = waiting.pop_front() {
        for container in containers(tx, tenant_id, &changed).await? {
            let revised = match &changed {
                Changed::JobType { reference, .. } => with_job_type(&container.definition, reference),
                Changed::RecipeType { reference, .. } => with_recipe_type(&container.definition, reference),
            };
            let Some(document) = revised else { continue };
            if consequences.updated.len() >= MOST {
                let reason = format!("more than {MOST} recipe types would have to be revised");
                tracing::warn!(recipe_type = container.name, reason, "a recipe type was not revised");
                consequences.not_updated.push((container.name, reason));
                continue;
            }
            let definition = stored_definition(&document)?;
            let found = references::find(tx, tenant_id, &definition).await?;
            let checked = definition.check(Some(&container.name), &found.catalog, Place::root("definition"));
            if let Some(error) = checked.errors.first() {
                let reason = error.to_string();
                tracing::warn!(recipe_type = container.name, reason, "a recipe type was not revised");
                consequences.not_updated.push((container.name, reason));
                continue;
            }
            let revision_num = container.revision_num + 1;
            references::insert_revision(tx, container.id, revision_num, &document, &definition, &found)
                .await?;
            sqlx::query!(
                "UPDATE recipe_types SET revision_num = $2, last_modified = clock_timestamp() WHERE id = $1",
                container.id,
                revision_num
            )
            .execute(&mut *tx)
            .await?;
            let reference = RecipeTypeRef { name: container.name.clone(), revision: revision_num.into() };
            waiting.push_back(Changed::RecipeType { id: container.id, reference });
            consequences.updated.push(container.name);
        }
    }
    Ok(consequences)
}

async fn containers(
    tx: &mut PgConnection,
    tenant_id: Uuid,
    changed: &Changed,
) -> Result<Vec<Container>, StoreError> {
    Ok(match changed {
        Changed::JobType { id, .. } => {
            sqlx::query_as!(
                Container,
                "SELECT t.id, t.name, t.revision_num, r.definition FROM recipe_types t
                 JOIN recipe_type_revisions r ON r.recipe_type_id = t.id AND r.revision_num = t.revision_num
                 WHERE t.tenant_id = $1 AND EXISTS (
                     SELECT FROM recipe_type_jobs n JOIN job_type_revisions j ON j.id = n.job_type_rev_id
                     WHERE n.revision_id = r.id AND j.job_type_id = $2)
                 ORDER BY t.id",
                tenant_id,
                id
            )
            .fetch_all(tx)
            .await?
        }
        Changed::RecipeType { id, .. } => {
            sqlx::query_as!(
                Container,
                "SELECT t.id, t.name, t.revision_num, r.definition FROM recipe_types t
                 JOIN recipe_type_revisions r ON r.recipe_type_id = t.id AND r.revision_num = t.revision_num
                 WHERE t.tenant_id = $1 AND EXISTS (
                     SELECT FROM recipe_type_recipes n JOIN recipe_type_revisions s ON s.id = n.sub_revision_id
                     WHERE n.revision_id = r.id AND s.recipe_type_id = $2)
                 ORDER BY t.id",
                tenant_id,
                id
            )
            .fetch_all(tx)
            .await?
        }
    })
}

/// Deprecates the recipe types whose newest revision contains the job type or the recipe type, at any depth; their names.
pub(super) async fn deprecate(
    tx: &mut PgConnection,
    tenant_id: Uuid,
    job_type_id: Option<i64>,
    recipe_type_id: Option<i64>,
) -> Result<Vec<String>, StoreError> {
    let mut names = sqlx::query_scalar!(
        "WITH RECURSIVE newest AS (
             SELECT t.id AS type_id, r.id AS revision_id FROM recipe_types t
             JOIN recipe_type_revisions r ON r.recipe_type_id = t.id AND r.revision_num = t.revision_num
             WHERE t.tenant_id = $1),
         hit (type_id) AS (
             SELECT c.type_id FROM newest c JOIN recipe_type_jobs n ON n.revision_id = c.revision_id
             JOIN job_type_revisions j ON j.id = n.job_type_rev_id WHERE j.job_type_id = $2
             UNION
             SELECT c.type_id FROM newest c JOIN recipe_type_recipes n ON n.revision_id = c.revision_id
             JOIN recipe_type_revisions s ON s.id = n.sub_revision_id WHERE s.recipe_type_id = $3
             UNION
             SELECT c.type_id FROM hit h JOIN recipe_type_revisions s ON s.recipe_type_id = h.type_id
             JOIN recipe_type_recipes n ON n.sub_revision_id = s.id JOIN newest c ON c.revision_id = n.revision_id)
         UPDATE recipe_types SET is_active = false, deprecated = clock_timestamp(), last_modified = clock_timestamp()
         WHERE id IN (SELECT type_id FROM hit) AND is_active RETURNING name",
        tenant_id,
        job_type_id,
        recipe_type_id
    )
    .fetch_all(tx)
    .await?;
    names.sort_unstable();
    Ok(names)
}
