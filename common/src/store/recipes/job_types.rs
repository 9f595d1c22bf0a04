//! Job types and their revisions (control plane, scale-v6 5.1 and 12).

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Window;
use super::revise::{self, Changed, Consequences};
use crate::model::Action;
use crate::model::recipe::{JobError, JobTypeRef};
use crate::store::audit::Change;
use crate::store::folders::escape_like;
use crate::store::{Store, StoreError};

/// A job type with its newest revision.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the other fields are those of the contract")]
pub struct JobType {
    pub id: i64,
    pub name: String,
    pub version: String,
    pub title: Option<String>,
    pub description: Option<String>,
    /// The newest revision's number.
    pub revision_num: i32,
    pub is_active: bool,
    pub is_paused: bool,
    pub is_system: bool,
    pub is_published: bool,
    pub icon_code: Option<String>,
    pub docker_image: Option<String>,
    pub max_scheduled: Option<i32>,
    pub max_tries: i32,
    pub configuration: Json,
    pub created: DateTime<Utc>,
    pub deprecated: Option<DateTime<Utc>>,
    pub paused: Option<DateTime<Utc>>,
    pub last_modified: DateTime<Utc>,
    /// Of the newest revision.
    pub manifest: Json,
    /// Of the newest revision, as submitted.
    pub model: Json,
}

/// A revision of a job type.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of the contract")]
pub struct JobTypeRevisionRow {
    pub id: i64,
    pub revision_num: i32,
    pub manifest: Json,
    pub model: Json,
    pub docker_image: Option<String>,
    pub created: DateTime<Utc>,
}

/// Which job types to list.
#[derive(Debug, Clone, Default)]
pub struct JobTypeFilter {
    /// Only versions of this one.
    pub name: Option<String>,
    /// Any of these in name, title or description.
    pub keywords: Option<Vec<String>>,
    /// Any of these.
    pub ids: Option<Vec<i64>>,
    /// Whether it is not deprecated.
    pub is_active: Option<bool>,
    /// Whether it belongs to the system.
    pub is_system: Option<bool>,
}

/// What a revision computes with.
#[derive(Debug, Clone)]
pub struct Program {
    /// What workers load: a service version, or the document below.
    pub id: Uuid,
    /// The formula document that was made from `formulas`.
    pub document: Option<Vec<u8>>,
}

/// A revision to make.
#[derive(Debug, Clone)]
pub struct NewJobTypeRevision {
    /// The manifest, as submitted.
    pub manifest: Json,
    /// The model, as submitted.
    pub model: Json,
    /// What the model was compiled to.
    pub program: Program,
    /// For people, from the manifest.
    pub title: String,
    /// For people, from the manifest.
    pub description: String,
    /// Errors that the manifest declares.
    pub errors: Vec<JobError>,
}

/// What callers may set beside manifest and model; `None` leaves things as they are, or at their defaults.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of `JobType`")]
pub struct JobTypeSettings {
    pub configuration: Option<Json>,
    pub docker_image: Option<String>,
    pub icon_code: Option<String>,
    pub is_published: Option<bool>,
    pub is_active: Option<bool>,
    pub is_paused: Option<bool>,
    pub max_scheduled: Option<i32>,
    pub max_tries: Option<i32>,
}

/// Job types with their newest revisions, narrowed by the given tail.
macro_rules! select_job_types {
    ($tail:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            JobType,
            r#"SELECT j.id, j.name, j.version, j.title, j.description, j.revision_num, j.is_active, j.is_paused, j.is_system,
                   j.is_published, j.icon_code, j.docker_image, j.max_scheduled, j.max_tries, j.configuration, j.created,
                   j.deprecated, j.paused, j.last_modified, r.manifest, r.model
               FROM job_types j
               JOIN job_type_revisions r ON r.job_type_id = j.id AND r.revision_num = j.revision_num
               WHERE j.tenant_id = $1 AND "# + $tail,
            $($argument),*
        )
    };
}

/// Texts as patterns that find them anywhere.
pub(super) fn patterns(keywords: Option<&[String]>) -> Option<Vec<String>> {
    keywords.map(|all| all.iter().map(|keyword| format!("%{}%", escape_like(keyword))).collect())
}

impl Store {
    /// A job type of the tenant.
    pub async fn job_type(
        &self,
        tenant_id: Uuid,
        name: &str,
        version: &str,
    ) -> Result<Option<JobType>, StoreError> {
        let found = select_job_types!("j.name = $2 AND j.version = $3", tenant_id, name, version);
        Ok(found.fetch_optional(&self.control).await?)
    }

    /// The tenant's job types of these ids.
    pub async fn job_types_by_id(&self, tenant_id: Uuid, ids: &[i64]) -> Result<Vec<JobType>, StoreError> {
        Ok(select_job_types!("j.id = ANY($2) ORDER BY j.id", tenant_id, ids).fetch_all(&self.control).await?)
    }

    /// How many job types match.
    pub async fn count_job_types(&self, tenant_id: Uuid, filter: &JobTypeFilter) -> Result<i64, StoreError> {
        let keywords = patterns(filter.keywords.as_deref());
        Ok(sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM job_types j
               WHERE j.tenant_id = $1 AND ($2::text IS NULL OR j.name = $2)
                 AND ($3::text[] IS NULL OR j.name ILIKE ANY($3) OR j.title ILIKE ANY($3) OR j.description ILIKE ANY($3))
                 AND ($4::bigint[] IS NULL OR j.id = ANY($4))
                 AND ($5::boolean IS NULL OR j.is_active = $5) AND ($6::boolean IS NULL OR j.is_system = $6)"#,
            tenant_id,
            filter.name,
            keywords.as_deref(),
            filter.ids.as_deref(),
            filter.is_active,
            filter.is_system
        )
        .fetch_one(&self.control)
        .await?)
    }

    /// Job types that match, by name and then newest first.
    pub async fn job_types(
        &self,
        tenant_id: Uuid,
        filter: &JobTypeFilter,
        window: Window,
    ) -> Result<Vec<JobType>, StoreError> {
        let keywords = patterns(filter.keywords.as_deref());
        let found = select_job_types!(
            "($2::text IS NULL OR j.name = $2)
             AND ($3::text[] IS NULL OR j.name ILIKE ANY($3) OR j.title ILIKE ANY($3) OR j.description ILIKE ANY($3))
             AND ($4::bigint[] IS NULL OR j.id = ANY($4))
             AND ($5::boolean IS NULL OR j.is_active = $5) AND ($6::boolean IS NULL OR j.is_system = $6)
             ORDER BY j.name, j.id DESC OFFSET $7 LIMIT $8",
            tenant_id,
            filter.name,
            keywords.as_deref(),
            filter.ids.as_deref(),
            filter.is_active,
            filter.is_system,
            window.offset,
            window.limit
        );
        Ok(found.fetch_all(&self.control).await?)
    }

    /// The revisions of a job type, newest first.
    pub async fn job_type_revisions(
        &self,
        job_type_id: i64,
        window: Window,
    ) -> Result<Vec<JobTypeRevisionRow>, StoreError> {
        Ok(sqlx::query_as!(
            JobTypeRevisionRow,
            "SELECT id, revision_num, manifest, model, docker_image, created FROM job_type_revisions
             WHERE job_type_id = $1 ORDER BY revision_num DESC OFFSET $2 LIMIT $3",
            job_type_id,
            window.offset,
            window.limit
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// One revision of a job type.
    pub async fn job_type_revision(
        &self,
        job_type_id: i64,
        revision_num: i32,
    ) -> Result<Option<JobTypeRevisionRow>, StoreError> {
        Ok(sqlx::query_as!(
            JobTypeRevisionRow,
            "SELECT id, revision_num, manifest, model, docker_image, created FROM job_type_revisions
             WHERE job_type_id = $1 AND revision_num = $2",
            job_type_id,
            revision_num
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// Makes a job type with its first revision; [`StoreError::Conflict`] when there is one of this name and version.
    pub async fn create_job_type(
        &self,
        tenant_id: Uuid,
        name: &str,
        version: &str,
        revision: &NewJobTypeRevision,
        settings: &JobTypeSettings,
    ) -> Result<JobType, StoreError> {
        let mut tx = self.control.begin().await?;
        revise::take_turns(&mut tx, tenant_id).await?;
        let id = sqlx::query_scalar!(
            "INSERT INTO job_types (tenant_id, name, version, title, description, is_active, is_paused, is_published,
                 icon_code, docker_image, max_scheduled, max_tries, configuration, deprecated, paused)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
                 CASE WHEN NOT $6 THEN clock_timestamp() END, CASE WHEN $7 THEN clock_timestamp() END)
             RETURNING id",
            tenant_id,
            name,
            version,
            revision.title,
            revision.description,
            settings.is_active.unwrap_or(true),
            settings.is_paused.unwrap_or(false),
            settings.is_published.unwrap_or(false),
            settings.icon_code,
            settings.docker_image,
            settings.max_scheduled,
            settings.max_tries.unwrap_or(3),
            settings.configuration.clone().unwrap_or_else(|| json!({})),
        )
        .fetch_one(&mut *tx)
        .await?;
        insert_revision(&mut tx, tenant_id, id, 1, revision, settings.docker_image.as_deref()).await?;
        let made = select_job_types!("j.id = $2", tenant_id, id).fetch_one(&mut *tx).await?;
        let details = json!({"name": name, "version": version});
        self.audit(&mut tx, tenant_id, Change::new(Action::JobTypeCreate, id, details)).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Changes a job type; with a revision, that becomes the newest one, and with `auto_update` recipe types that contain the
    /// job type get revisions with it. A job type that is deprecated takes those recipe types with it. `None` when there is no
    /// such job type.
    pub async fn edit_job_type(
        &self,
        tenant_id: Uuid,
        name: &str,
        version: &str,
        revision: Option<&NewJobTypeRevision>,
        settings: &JobTypeSettings,
        auto_update: bool,
    ) -> Result<Option<Consequences>, StoreError> {
        let mut tx = self.control.begin().await?;
        revise::take_turns(&mut tx, tenant_id).await?;
        let row = sqlx::query!(
            "SELECT id, revision_num, is_active FROM job_types WHERE tenant_id = $1 AND name = $2 AND version = $3
             FOR UPDATE",
            tenant_id,
            name,
            version
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let revision_num = row.revision_num + i32::from(revision.is_some());
        sqlx::query!(
            "UPDATE job_types SET last_modified = clock_timestamp(), revision_num = $2,
                 title = coalesce($3, title), description = coalesce($4, description),
                 is_active = coalesce($5, is_active), is_paused = coalesce($6, is_paused),
                 is_published = coalesce($7, is_published), icon_code = coalesce($8, icon_code),
                 docker_image = coalesce($9, docker_image), max_scheduled = coalesce($10, max_scheduled),
                 max_tries = coalesce($11, max_tries), configuration = coalesce($12, configuration),
                 deprecated = CASE WHEN coalesce($5, is_active) THEN NULL ELSE coalesce(deprecated, clock_timestamp()) END,
                 paused = CASE WHEN coalesce($6, is_paused) THEN coalesce(paused, clock_timestamp()) END
             WHERE id = $1",
            row.id,
            revision_num,
            revision.map(|revision| revision.title.as_str()),
            revision.map(|revision| revision.description.as_str()),
            settings.is_active,
            settings.is_paused,
            settings.is_published,
            settings.icon_code,
            settings.docker_image,
            settings.max_scheduled,
            settings.max_tries,
            settings.configuration,
        )
        .execute(&mut *tx)
        .await?;
        let mut consequences = Consequences::default();
        if let Some(revision) = revision {
            let image = settings.docker_image.as_deref();
            insert_revision(&mut tx, tenant_id, row.id, revision_num, revision, image).await?;
            if auto_update {
                let reference = JobTypeRef {
                    name: name.to_owned(),
                    version: version.to_owned(),
                    revision: revision_num.into(),
                };
                let changed = Changed::JobType { id: row.id, reference };
                consequences = revise::update_containing(&mut tx, tenant_id, changed).await?;
            }
        }
        if row.is_active && settings.is_active == Some(false) {
            consequences.deprecated = revise::deprecate(&mut tx, tenant_id, Some(row.id), None).await?;
        }
        let details = json!({
            "name": name, "version": version, "revision": revision_num, "recipe_types_updated": consequences.updated,
            "recipe_types_deprecated": consequences.deprecated,
        });
        self.audit(&mut tx, tenant_id, Change::new(Action::JobTypeUpdate, row.id, details)).await?;
        tx.commit().await?;
        Ok(Some(consequences))
    }

    /// The recipe types whose newest revision contains the job type.
    pub async fn recipe_types_with_job_type(&self, job_type_id: i64) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar!(
            "SELECT t.name FROM recipe_types t
             JOIN recipe_type_revisions r ON r.recipe_type_id = t.id AND r.revision_num = t.revision_num
             WHERE EXISTS (SELECT FROM recipe_type_jobs n JOIN job_type_revisions j ON j.id = n.job_type_rev_id
                           WHERE n.revision_id = r.id AND j.job_type_id = $1)
             ORDER BY t.name",
            job_type_id
        )
        .fetch_all(&self.control)
        .await?)
    }
}

async fn insert_revision(
    tx: &mut PgConnection,
    tenant_id: Uuid,
    job_type_id: i64,
    revision_num: i32,
    new: &NewJobTypeRevision,
    docker_image: Option<&str>,
) -> Result<(), StoreError> {
    let document_id = new.program.document.as_ref().map(|_| Uuid::now_v7());
    if let (Some(id), Some(content)) = (document_id, &new.program.document) {
        let sha256 = Sha256::digest(content);
        sqlx::query!(
            "INSERT INTO documents (id, tenant_id, file_name, media_type, sha256, content)
             VALUES ($1, $2, 'formulas.json', 'application/json', $3, $4)",
            id,
            tenant_id,
            sha256.as_slice(),
            content
        )
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query!(
        "INSERT INTO job_type_revisions (job_type_id, revision_num, manifest, model, program_id, document_id, docker_image)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        job_type_id,
        revision_num,
        new.manifest,
        new.model,
        new.program.id,
        document_id,
        docker_image
    )
    .execute(&mut *tx)
    .await?;
    for error in &new.errors {
        sqlx::query!(
            "INSERT INTO job_errors (job_type_id, name, title, description, category, should_be_retried)
             VALUES ($1, $2, $3, $4, $5, false)
             ON CONFLICT (job_type_id, name) DO UPDATE SET title = excluded.title, description = excluded.description,
                 category = excluded.category, last_modified = clock_timestamp()",
            job_type_id,
            error.name,
            error.title.as_deref().unwrap_or(&error.name),
            error.description.as_deref().unwrap_or_default(),
            if error.is_data { "DATA" } else { "ALGORITHM" }
        )
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}
