//! Folders of services (control plane, contract 4.2).

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::audit::Change;
use super::{Store, StoreError};
use crate::model::Action;

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its id.
    pub id: Uuid,
    /// The name in locators; unique in its tenant without regard to case.
    pub name: String,
    /// Free text.
    pub description: String,
    /// A category's key.
    pub category: String,
    /// Free text such as `Design`.
    pub status: String,
    /// As its maker says.
    pub start_date: DateTime<Utc>,
    /// As its maker says.
    pub launch_date: DateTime<Utc>,
    /// The document of the cover image.
    pub cover_image: Option<Uuid>,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// How many services it holds.
    pub services: i64,
}

/// What a new folder is made from.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of `Folder`")]
pub struct NewFolder {
    pub tenant_id: Uuid,
    pub name: String,
    pub description: String,
    pub category: String,
    pub status: String,
    pub start_date: DateTime<Utc>,
    pub launch_date: DateTime<Utc>,
    pub created_by: String,
}

/// Which folders to list: each part that is given must match without regard to case, names by containment.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of `Folder`")]
pub struct FolderFilter {
    pub id: Option<Uuid>,
    pub name: Option<String>,
    pub category: Option<String>,
    pub status: Option<String>,
}

/// What to change in a folder; `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of `Folder`")]
pub struct FolderUpdate {
    pub description: Option<String>,
    pub category: Option<String>,
    pub status: Option<String>,
    pub start_date: Option<DateTime<Utc>>,
    pub launch_date: Option<DateTime<Utc>>,
    pub cover_image: Option<Uuid>,
}

impl Store {
    /// Makes a folder; [`StoreError::Conflict`] when the name is taken.
    pub async fn create_folder(&self, new: &NewFolder) -> Result<Folder, StoreError> {
        let mut tx = self.control.begin().await?;
        let folder = sqlx::query_as!(
            Folder,
            r#"INSERT INTO folders
                 (id, tenant_id, name, description, category, status, start_date, launch_date, created_by)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
               RETURNING id, name, description, category, status, start_date, launch_date, cover_image, created_by,
                   created_at, updated_at, 0::bigint AS "services!""#,
            Uuid::now_v7(),
            new.tenant_id,
            new.name,
            new.description,
            new.category,
            new.status,
            new.start_date,
            new.launch_date,
            new.created_by,
        )
        .fetch_one(&mut *tx)
        .await?;
        let details = json!({"name": folder.name, "category": folder.category, "status": folder.status});
        self.audit(&mut tx, new.tenant_id, Change::new(Action::FolderCreate, folder.id, details)).await?;
        tx.commit().await?;
        Ok(folder)
    }

    /// The tenant's folder of this name.
    pub async fn folder(&self, tenant_id: Uuid, name: &str) -> Result<Option<Folder>, StoreError> {
        Ok(sqlx::query_as!(
            Folder,
            r#"SELECT id, name, description, category, status, start_date, launch_date, cover_image, created_by,
                   created_at, updated_at,
                   (SELECT count(*) FROM services s WHERE s.folder_id = f.id AND s.deleted_at IS NULL) AS "services!"
               FROM folders f
               WHERE tenant_id = $1 AND lower(name) = lower($2) AND deleted_at IS NULL"#,
            tenant_id,
            name
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// One page of the tenant's folders, those changed last first unless `oldest_first`, and how many match in all.
    pub async fn folders(
        &self,
        tenant_id: Uuid,
        filter: &FolderFilter,
        oldest_first: bool,
        offset: i64,
        limit: i64,
    ) -> Result<(Vec<Folder>, i64), StoreError> {
        let name = filter.name.as_deref().map(|name| format!("%{}%", escape_like(name)));
        let total = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM folders f
               WHERE tenant_id = $1 AND deleted_at IS NULL
                 AND ($2::uuid IS NULL OR id = $2)
                 AND ($3::text IS NULL OR name ILIKE $3)
                 AND ($4::text IS NULL OR lower(category) = lower($4))
                 AND ($5::text IS NULL OR lower(status) = lower($5))"#,
            tenant_id,
            filter.id,
            name,
            filter.category,
            filter.status
        )
        .fetch_one(&self.control)
        .await?;
        let folders = sqlx::query_as!(
            Folder,
            r#"SELECT id, name, description, category, status, start_date, launch_date, cover_image, created_by,
                   created_at, updated_at,
                   (SELECT count(*) FROM services s WHERE s.folder_id = f.id AND s.deleted_at IS NULL) AS "services!"
               FROM folders f
               WHERE tenant_id = $1 AND deleted_at IS NULL
                 AND ($2::uuid IS NULL OR id = $2)
                 AND ($3::text IS NULL OR name ILIKE $3)
                 AND ($4::text IS NULL OR lower(category) = lower($4))
                 AND ($5::text IS NULL OR lower(status) = lower($5))
               ORDER BY CASE WHEN $6 THEN updated_at END ASC, updated_at DESC, id
               OFFSET $7 LIMIT $8"#,
            tenant_id,
            filter.id,
            name,
            filter.category,
            filter.status,
            oldest_first,
            offset,
            limit
        )
        .fetch_all(&self.control)
        .await?;
        Ok((folders, total))
    }

    /// Changes a folder. False when the tenant has no such folder.
    pub async fn update_folder(
        &self,
        tenant_id: Uuid,
        id: Uuid,
        update: &FolderUpdate,
    ) -> Result<bool, StoreError> {
        let mut tx = self.control.begin().await?;
        let updated = sqlx::query!(
            "UPDATE folders SET updated_at = now(),
                 description = coalesce($3, description), category = coalesce($4, category),
                 status = coalesce($5, status), start_date = coalesce($6, start_date),
                 launch_date = coalesce($7, launch_date), cover_image = coalesce($8, cover_image)
             WHERE id = $2 AND tenant_id = $1 AND deleted_at IS NULL",
            tenant_id,
            id,
            update.description,
            update.category,
            update.status,
            update.start_date,
            update.launch_date,
            update.cover_image,
        )
        .execute(&mut *tx)
        .await?;
        if updated.rows_affected() == 0 {
            return Ok(false);
        }
        let details = json!({
            "description": update.description.is_some(), "category": update.category, "status": update.status,
            "start_date": update.start_date, "launch_date": update.launch_date, "cover_image": update.cover_image,
        });
        self.audit(&mut tx, tenant_id, Change::new(Action::FolderUpdate, id, details)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Deletes a folder with its services; batches that run on them go on. False when the tenant has no such folder.
    pub async fn delete_folder(&self, tenant_id: Uuid, id: Uuid) -> Result<bool, StoreError> {
        let mut tx = self.control.begin().await?;
        let name = sqlx::query_scalar!(
            "UPDATE folders SET deleted_at = now() WHERE id = $2 AND tenant_id = $1 AND deleted_at IS NULL RETURNING name",
            tenant_id,
            id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(name) = name else { return Ok(false) };
        let services = sqlx::query!(
            "UPDATE services SET deleted_at = now() WHERE folder_id = $1 AND deleted_at IS NULL",
            id
        )
        .execute(&mut *tx)
        .await?;
        let details = json!({"name": name, "services": services.rows_affected()});
        self.audit(&mut tx, tenant_id, Change::new(Action::FolderDelete, id, details)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The categories that the tenant's folders use, by name.
    pub async fn folder_categories(&self, tenant_id: Uuid) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar!(
            "SELECT DISTINCT category FROM folders WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY category",
            tenant_id
        )
        .fetch_all(&self.control)
        .await?)
    }
}

/// Makes a text match only itself inside a LIKE pattern.
pub(super) fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
