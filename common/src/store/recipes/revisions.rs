//! Revisions of recipe types as they are run (control plane).

use serde_json::Value as Json;
use uuid::Uuid;

use crate::store::{Store, StoreError};

/// A revision of a recipe type, and what its nodes refer to.
#[derive(Debug, Clone, PartialEq)]
pub struct RevisionSource {
    /// Whose it is.
    pub tenant_id: Uuid,
    /// The recipe type.
    pub recipe_type_id: i64,
    /// Its name.
    pub name: String,
    /// Of the recipe type.
    pub revision_num: i32,
    /// As it is given back.
    pub definition: Json,
    /// The job nodes.
    pub jobs: Vec<JobNode>,
    /// The sub-recipe nodes' numbers and revisions.
    pub sub_recipes: Vec<(i16, i64)>,
}

/// What a job node runs.
#[derive(Debug, Clone, PartialEq)]
pub struct JobNode {
    /// The node's number.
    pub node: i16,
    /// The revision of the job type.
    pub job_type_rev_id: i64,
    /// The job type.
    pub job_type_id: i64,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The number of the revision.
    pub revision_num: i32,
    /// What workers load.
    pub program_id: Uuid,
    /// The revision's manifest.
    pub manifest: Json,
}

impl Store {
    /// A revision of a recipe type with what its nodes refer to.
    pub async fn revision_source(&self, revision_id: i64) -> Result<Option<RevisionSource>, StoreError> {
        let row = sqlx::query!(
            "SELECT t.tenant_id, t.id, t.name, r.revision_num, r.definition
             FROM recipe_type_revisions r JOIN recipe_types t ON t.id = r.recipe_type_id WHERE r.id = $1",
            revision_id
        )
        .fetch_optional(&self.control)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let jobs = sqlx::query_as!(
            JobNode,
            "SELECT n.node, n.job_type_rev_id, v.job_type_id, j.name, j.version, v.revision_num, v.program_id, v.manifest
             FROM recipe_type_jobs n JOIN job_type_revisions v ON v.id = n.job_type_rev_id
             JOIN job_types j ON j.id = v.job_type_id WHERE n.revision_id = $1 ORDER BY n.node",
            revision_id
        )
        .fetch_all(&self.control)
        .await?;
        let sub_recipes = sqlx::query!(
            "SELECT node, sub_revision_id FROM recipe_type_recipes WHERE revision_id = $1 ORDER BY node",
            revision_id
        )
        .fetch_all(&self.control)
        .await?;
        Ok(Some(RevisionSource {
            tenant_id: row.tenant_id,
            recipe_type_id: row.id,
            name: row.name,
            revision_num: row.revision_num,
            definition: row.definition,
            jobs,
            sub_recipes: sub_recipes.into_iter().map(|row| (row.node, row.sub_revision_id)).collect(),
        }))
    }

    /// A revision of a job type by its id, as [`JobNode`] of no recipe (its node is 0).
    pub async fn job_type_revision_by_id(&self, id: i64) -> Result<Option<JobNode>, StoreError> {
        Ok(sqlx::query_as!(
            JobNode,
            r#"SELECT 0::smallint AS "node!", v.id AS job_type_rev_id, v.job_type_id, j.name, j.version, v.revision_num,
                   v.program_id, v.manifest
               FROM job_type_revisions v JOIN job_types j ON j.id = v.job_type_id WHERE v.id = $1"#,
            id
        )
        .fetch_optional(&self.control)
        .await?)
    }
}
