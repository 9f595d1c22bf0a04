//! Services and their versions (control plane, contract 4.3, 4.5 and 5.4).

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::audit::Change;
use super::folders::escape_like;
use super::{Store, StoreError};
use crate::model::Action;

/// A published version. Immutable but for whether it is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceVersion {
    /// Its id.
    pub id: Uuid,
    /// The service.
    pub service_id: Uuid,
    /// The name of the service's folder.
    pub folder: String,
    /// The name of the service.
    pub service: String,
    /// Of `major.minor.patch`.
    pub major: i32,
    /// Of `major.minor.patch`.
    pub minor: i32,
    /// Of `major.minor.patch`.
    pub patch: i32,
    /// The file.
    pub document_id: Uuid,
    /// The name that the file was uploaded with.
    pub file_name: String,
    /// `workbook` or `formula_document`.
    pub kind: String,
    /// The compiler that accepted it.
    pub compiler_version: String,
    /// SHA-256 of the file, in hexadecimal.
    pub source_hash: String,
    /// From when on it may be called without naming it.
    pub effective_start: DateTime<Utc>,
    /// Until when it may be called without naming it.
    pub effective_end: DateTime<Utc>,
    /// Free text.
    pub label: Option<String>,
    /// Free text.
    pub release_note: Option<String>,
    /// A comma list.
    pub tags: Option<String>,
    /// Whether it may be called.
    pub is_active: bool,
    /// Who published it.
    pub created_by: String,
    /// When it was published.
    pub created_at: DateTime<Utc>,
}

impl ServiceVersion {
    /// `major.minor.patch`.
    pub fn number(&self) -> String {
        format!("{}.{}.{}", self.major, self.minor, self.patch)
    }

    /// `folder/service[major.minor.patch]`.
    pub fn uri(&self) -> String {
        format!("{}/{}[{}]", self.folder, self.service, self.number())
    }
}

/// How the next version number follows from the latest (contract 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionBump {
    /// 1.4.3 → 2.0.0; the first is 1.0.0.
    Major,
    /// 1.4.3 → 1.5.0; the first is 0.1.0.
    Minor,
    /// 1.4.3 → 1.4.4; the first is 0.0.1.
    Patch,
}

impl VersionBump {
    /// The number after `latest`; `None` when the numbers are used up.
    pub fn after(self, latest: Option<(i32, i32, i32)>) -> Option<(i32, i32, i32)> {
        let (major, minor, patch) = latest.unwrap_or((0, 0, 0));
        Some(match self {
            Self::Major => (major.checked_add(1)?, 0, 0),
            Self::Minor => (major, minor.checked_add(1)?, 0),
            Self::Patch => (major, minor, patch.checked_add(1)?),
        })
    }
}

/// Which version of a service is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionSelector {
    /// The newest in force.
    Latest,
    /// The newest of this major number in force.
    Major(i32),
    /// The newest of these major and minor numbers in force.
    Minor(i32, i32),
    /// This one, whether in force or not.
    Exact(i32, i32, i32),
}

/// A publication of an uploaded file.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Whose it is.
    pub tenant_id: Uuid,
    /// The folder's name.
    pub folder: String,
    /// The service's name.
    pub service: String,
    /// The uploaded file.
    pub document_id: Uuid,
    /// How the number follows from the latest.
    pub bump: VersionBump,
    /// See [`ServiceVersion`].
    pub effective_start: DateTime<Utc>,
    /// See [`ServiceVersion`].
    pub effective_end: DateTime<Utc>,
    /// See [`ServiceVersion`].
    pub label: Option<String>,
    /// See [`ServiceVersion`].
    pub release_note: Option<String>,
    /// See [`ServiceVersion`].
    pub tags: Option<String>,
    /// See [`ServiceVersion`].
    pub compiler_version: String,
    /// Who publishes.
    pub created_by: String,
}

/// Why an upload could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The tenant has no such folder.
    #[error("there is no folder {0:?}")]
    NoFolder(String),
    /// The tenant has no such upload, or it was forgotten.
    #[error("there is no uploaded file {0}")]
    NoUpload(Uuid),
    /// The file was uploaded to another service.
    #[error("the file was uploaded to {folder}/{service}")]
    OtherService {
        /// The folder that it was uploaded to.
        folder: String,
        /// The service that it was uploaded to.
        service: String,
    },
    /// The file did not compile.
    #[error("the uploaded file is not a valid service: {0}")]
    NotCompiled(String),
    /// The service has the largest version number that there is.
    #[error("the version numbers of the service are used up")]
    NoNumber,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for PublishError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A service in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceListing {
    /// Its id.
    pub id: Uuid,
    /// Its folder.
    pub folder: String,
    /// Its name.
    pub name: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last published.
    pub updated_at: DateTime<Utc>,
    /// The latest version's id.
    pub version_id: Uuid,
    /// The latest version's number.
    pub version: String,
}

/// Published versions of services and folders that exist, narrowed by the given tail.
macro_rules! select_versions {
    ($tail:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            ServiceVersion,
            r#"SELECT v.id, v.service_id, f.name AS folder, s.name AS service, v.major, v.minor, v.patch, v.document_id,
                   d.file_name, v.kind, v.compiler_version, v.source_hash, v.effective_start, v.effective_end, v.label,
                   v.release_note, v.tags, v.is_active, v.created_by, v.created_at
               FROM service_versions v
               JOIN services s ON s.id = v.service_id
               JOIN folders f ON f.id = s.folder_id
               JOIN documents d ON d.id = v.document_id
               WHERE s.deleted_at IS NULL AND "# + $tail,
            $($argument),*
        )
    };
}

impl Store {
    /// The id of the service `folder/service`; `None` when it does not exist.
    pub async fn service_id(
        &self,
        tenant_id: Uuid,
        folder: &str,
        service: &str,
    ) -> Result<Option<Uuid>, StoreError> {
        Ok(sqlx::query_scalar!(
            "SELECT s.id FROM services s JOIN folders f ON f.id = s.folder_id
             WHERE s.tenant_id = $1 AND lower(f.name) = lower($2) AND lower(s.name) = lower($3)
               AND s.deleted_at IS NULL AND f.deleted_at IS NULL",
            tenant_id,
            folder,
            service
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// Publishes an upload. Publishing the same upload again answers the version that it became.
    pub async fn publish_service(&self, new: &Publication) -> Result<ServiceVersion, PublishError> {
        let mut tx = self.control.begin().await?;
        // The folder's row makes publications in one folder take turns.
        let folder_id = sqlx::query_scalar!(
            "SELECT id FROM folders WHERE tenant_id = $1 AND lower(name) = lower($2) AND deleted_at IS NULL
             FOR UPDATE",
            new.tenant_id,
            new.folder
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| PublishError::NoFolder(new.folder.clone()))?;
        let upload = sqlx::query!(
            "SELECT folder, service, service_id, version_id, error FROM compilations
             WHERE tenant_id = $1 AND document_id = $2 FOR UPDATE",
            new.tenant_id,
            new.document_id
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or(PublishError::NoUpload(new.document_id))?;
        if let Some(error) = upload.error {
            return Err(PublishError::NotCompiled(error));
        }
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        if !same(&upload.folder, &new.folder) || !same(&upload.service, &new.service) {
            return Err(PublishError::OtherService { folder: upload.folder, service: upload.service });
        }
        let published = select_versions!("v.id = $1", upload.version_id).fetch_optional(&mut *tx).await?;
        if let Some(version) = published {
            return Ok(version);
        }
        let service_id = service_for(&mut tx, folder_id, upload.service_id, new).await?;
        let latest = sqlx::query!(
            "SELECT major, minor, patch FROM service_versions WHERE service_id = $1
             ORDER BY major DESC, minor DESC, patch DESC LIMIT 1",
            service_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let (major, minor, patch) = new
            .bump
            .after(latest.map(|row| (row.major, row.minor, row.patch)))
            .ok_or(PublishError::NoNumber)?;
        sqlx::query!(
            "INSERT INTO service_versions
                 (id, tenant_id, service_id, major, minor, patch, document_id, kind, interface, report,
                  compiler_version, source_hash, effective_start, effective_end, label, release_note, tags, created_by)
             SELECT c.version_id, c.tenant_id, $2, $3, $4, $5, c.document_id, c.kind, c.interface, c.report,
                  $6, encode(d.sha256, 'hex'), $7, $8, $9, $10, $11, $12
             FROM compilations c JOIN documents d ON d.id = c.document_id
             WHERE c.document_id = $1",
            new.document_id,
            service_id,
            major,
            minor,
            patch,
            new.compiler_version,
            new.effective_start,
            new.effective_end,
            new.label,
            new.release_note,
            new.tags,
            new.created_by,
        )
        .execute(&mut *tx)
        .await?;
        let version = select_versions!("v.id = $1", upload.version_id).fetch_one(&mut *tx).await?;
        let details =
            json!({"service": version.uri(), "service_id": service_id, "source_hash": version.source_hash});
        self.audit(&mut tx, new.tenant_id, Change::new(Action::VersionPublish, version.id, details)).await?;
        tx.commit().await?;
        Ok(version)
    }

    /// The version of this id, of a service that exists.
    pub async fn version(
        &self,
        tenant_id: Uuid,
        version_id: Uuid,
    ) -> Result<Option<ServiceVersion>, StoreError> {
        Ok(select_versions!("v.tenant_id = $1 AND v.id = $2", tenant_id, version_id)
            .fetch_optional(&self.control)
            .await?)
    }

    /// The version of a service that is meant. An exact number is found whether in force or not; otherwise it is the
    /// newest whose effective window contains `at` (the database's clock when `None`).
    pub async fn select_version(
        &self,
        tenant_id: Uuid,
        service_id: Uuid,
        selector: VersionSelector,
        at: Option<DateTime<Utc>>,
    ) -> Result<Option<ServiceVersion>, StoreError> {
        let (major, minor, patch) = match selector {
            VersionSelector::Latest => (None, None, None),
            VersionSelector::Major(major) => (Some(major), None, None),
            VersionSelector::Minor(major, minor) => (Some(major), Some(minor), None),
            VersionSelector::Exact(major, minor, patch) => (Some(major), Some(minor), Some(patch)),
        };
        Ok(select_versions!(
            "v.tenant_id = $1 AND v.service_id = $2 AND v.is_active
               AND ($3::int IS NULL OR v.major = $3) AND ($4::int IS NULL OR v.minor = $4)
               AND ($5::int IS NULL OR v.patch = $5)
               AND ($5::int IS NOT NULL OR (v.effective_start <= coalesce($6::timestamptz, now())
                    AND v.effective_end > coalesce($6::timestamptz, now())))
             ORDER BY v.major DESC, v.minor DESC, v.patch DESC LIMIT 1",
            tenant_id,
            service_id,
            major,
            minor,
            patch,
            at
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// All versions of a service, newest first.
    pub async fn versions(
        &self,
        tenant_id: Uuid,
        service_id: Uuid,
    ) -> Result<Vec<ServiceVersion>, StoreError> {
        Ok(select_versions!(
            "v.tenant_id = $1 AND v.service_id = $2 ORDER BY v.major DESC, v.minor DESC, v.patch DESC",
            tenant_id,
            service_id
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// The interface and the report that the compiler wrote about a version.
    pub async fn version_interface(&self, version_id: Uuid) -> Result<(Json, Json), StoreError> {
        let row = sqlx::query!("SELECT interface, report FROM service_versions WHERE id = $1", version_id)
            .fetch_optional(&self.control)
            .await?
            .ok_or(StoreError::NotFound("service version"))?;
        Ok((row.interface, row.report))
    }

    /// Deletes a service with its versions; batches that run on them go on. False when it does not exist.
    pub async fn delete_service(&self, tenant_id: Uuid, service_id: Uuid) -> Result<bool, StoreError> {
        let mut tx = self.control.begin().await?;
        let name = sqlx::query_scalar!(
            "UPDATE services SET deleted_at = now() WHERE id = $2 AND tenant_id = $1 AND deleted_at IS NULL RETURNING name",
            tenant_id,
            service_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(name) = name else { return Ok(false) };
        let details = json!({"name": name});
        self.audit(&mut tx, tenant_id, Change::new(Action::ServiceDelete, service_id, details)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// One page of the tenant's services, those published last first, and how many match in all. `folder` must be equal
    /// without regard to case, `name` must be contained.
    pub async fn services(
        &self,
        tenant_id: Uuid,
        folder: Option<&str>,
        name: Option<&str>,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<ServiceListing>, i64), StoreError> {
        let name = name.map(|name| format!("%{}%", escape_like(name)));
        let rows = sqlx::query!(
            r#"SELECT s.id, f.name AS folder, s.name, s.created_by, s.created_at, s.updated_at, v.id AS version_id,
                   v.major, v.minor, v.patch, count(*) OVER () AS "total!"
               FROM services s
               JOIN folders f ON f.id = s.folder_id
               JOIN LATERAL (SELECT id, major, minor, patch FROM service_versions WHERE service_id = s.id
                             ORDER BY major DESC, minor DESC, patch DESC LIMIT 1) v ON true
               WHERE s.tenant_id = $1 AND s.deleted_at IS NULL
                 AND ($2::text IS NULL OR lower(f.name) = lower($2)) AND ($3::text IS NULL OR s.name ILIKE $3)
               ORDER BY s.updated_at DESC, s.id
               OFFSET $4 LIMIT $5"#,
            tenant_id,
            folder,
            name,
            offset,
            limit
        )
        .fetch_all(&self.control)
        .await?;
        let total = rows.first().map_or(0, |row| row.total);
        let services = rows
            .into_iter()
            .map(|row| ServiceListing {
                id: row.id,
                folder: row.folder,
                name: row.name,
                created_by: row.created_by,
                created_at: row.created_at,
                updated_at: row.updated_at,
                version_id: row.version_id,
                version: format!("{}.{}.{}", row.major, row.minor, row.patch),
            })
            .collect();
        Ok((services, total))
    }
}

/// The service's row: found by name, or made. The caller holds the folder's row.
async fn service_for(
    tx: &mut Transaction<'_, Postgres>,
    folder_id: Uuid,
    proposed: Uuid,
    new: &Publication,
) -> Result<Uuid, StoreError> {
    let found = sqlx::query_scalar!(
        "UPDATE services SET updated_at = now()
         WHERE folder_id = $1 AND lower(name) = lower($2) AND deleted_at IS NULL RETURNING id",
        folder_id,
        new.service
    )
    .fetch_optional(&mut **tx)
    .await?;
    if let Some(id) = found {
        return Ok(id);
    }
    // The proposed id belongs to a deleted service when that went between upload and publication.
    let taken = sqlx::query_scalar!("SELECT id FROM services WHERE id = $1", proposed)
        .fetch_optional(&mut **tx)
        .await?
        .is_some();
    let id = if taken { Uuid::now_v7() } else { proposed };
    sqlx::query!(
        "INSERT INTO services (id, tenant_id, folder_id, name, created_by) VALUES ($1, $2, $3, $4, $5)",
        id,
        new.tenant_id,
        folder_id,
        new.service,
        new.created_by
    )
    .execute(&mut **tx)
    .await?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_bump() {
        assert_eq!(VersionBump::Minor.after(None), Some((0, 1, 0)));
        assert_eq!(VersionBump::Patch.after(None), Some((0, 0, 1)));
        assert_eq!(VersionBump::Major.after(None), Some((1, 0, 0)));
        assert_eq!(VersionBump::Major.after(Some((1, 4, 3))), Some((2, 0, 0)));
        assert_eq!(VersionBump::Minor.after(Some((1, 4, 3))), Some((1, 5, 0)));
        assert_eq!(VersionBump::Patch.after(Some((1, 4, 3))), Some((1, 4, 4)));
        assert_eq!(VersionBump::Patch.after(Some((0, 0, i32::MAX))), None);
    }
}
