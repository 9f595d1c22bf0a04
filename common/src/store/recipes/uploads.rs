//! Files that become members of a dataset, all or nothing (control plane).

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::Window;
use super::datasets::{insert_members, lock_dataset};
use crate::model::Action;
use crate::store::audit::Change;
use crate::store::{Store, StoreError};

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetUpload {
    /// Its id.
    pub id: i64,
    /// The dataset.
    pub dataset_id: i64,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// Bytes read of the file.
    pub bytes: i64,
    /// Members read. They show in the dataset when all are in.
    pub members: i64,
    /// When it began.
    pub created: DateTime<Utc>,
    /// When it ended.
    pub finished: Option<DateTime<Utc>>,
}

/// An upload under way: its members are in a transaction that nobody sees yet. Dropped without an end, they are gone.
#[derive(Debug)]
pub struct OpenUpload {
    store: Store,
    tenant_id: Uuid,
    /// Its id.
    pub id: i64,
    /// The dataset.
    pub dataset_id: i64,
    tx: Transaction<'static, Postgres>,
    members: i64,
}

impl Store {
    /// Begins an upload; `None` when the tenant has no such dataset. Others that add members to it wait for its end.
    pub async fn begin_dataset_upload(
        &self,
        tenant_id: Uuid,
        dataset_id: i64,
    ) -> Result<Option<OpenUpload>, StoreError> {
        let mut tx = self.control.begin().await?;
        if !lock_dataset(&mut tx, tenant_id, dataset_id).await? {
            return Ok(None);
        }
        // Whoever looks whether this upload still runs looks for this lock (see `mend_dataset_uploads`).
        sqlx::query!(
            "SELECT pg_advisory_xact_lock(hashtextextended('millrace.dataset_uploads', $1))",
            dataset_id
        )
        .execute(&mut *tx)
        .await?;
        // Nobody else is at it: what still runs by its row was left by a process that died.
        sqlx::query!(
            "UPDATE dataset_uploads SET state = 'failed', reason = 'the upload broke off', finished = clock_timestamp()
             WHERE dataset_id = $1 AND state = 'running'",
            dataset_id
        )
        .execute(&self.control)
        .await?;
        // Seen by others from now on, whatever becomes of the members.
        let id = sqlx::query_scalar!(
            "INSERT INTO dataset_uploads (tenant_id, dataset_id) VALUES ($1, $2) RETURNING id",
            tenant_id,
            dataset_id
        )
        .fetch_one(&self.control)
        .await?;
        Ok(Some(OpenUpload { store: self.clone(), tenant_id, id, dataset_id, tx, members: 0 }))
    }

    /// Uploads whose process died are said to have failed. An upload holds a lock of its dataset as long as its transaction
    /// lasts, and writes its end down in it; so where the lock is free, what is `running` by its row is not. The row is read
    /// again under the lock, should it have ended meanwhile.
    async fn mend_dataset_uploads(&self, dataset_id: i64) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE dataset_uploads SET state = 'failed', reason = 'the upload broke off', finished = clock_timestamp()
             WHERE dataset_id = $1 AND state = 'running'
               AND pg_try_advisory_xact_lock(hashtextextended('millrace.dataset_uploads', $1))",
            dataset_id
        )
        .execute(&self.control)
        .await?;
        Ok(())
    }

    /// Uploads to a dataset of the tenant, newest first.
    pub async fn dataset_uploads(
        &self,
        tenant_id: Uuid,
        dataset_id: i64,
        window: Window,
    ) -> Result<Vec<DatasetUpload>, StoreError> {
        self.mend_dataset_uploads(dataset_id).await?;
        Ok(sqlx::query_as!(
            DatasetUpload,
            "SELECT id, dataset_id, state, reason, bytes, members, created, finished FROM dataset_uploads
             WHERE tenant_id = $1 AND dataset_id = $2 ORDER BY id DESC OFFSET $3 LIMIT $4",
            tenant_id,
            dataset_id,
            window.offset,
            window.limit
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// How many uploads to a dataset there are.
    pub async fn count_dataset_uploads(&self, tenant_id: Uuid, dataset_id: i64) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM dataset_uploads WHERE tenant_id = $1 AND dataset_id = $2"#,
            tenant_id,
            dataset_id
        )
        .fetch_one(&self.control)
        .await?)
    }

    /// One upload to a dataset of the tenant.
    pub async fn dataset_upload(
        &self,
        tenant_id: Uuid,
        dataset_id: i64,
        id: i64,
    ) -> Result<Option<DatasetUpload>, StoreError> {
        self.mend_dataset_uploads(dataset_id).await?;
        Ok(sqlx::query_as!(
            DatasetUpload,
            "SELECT id, dataset_id, state, reason, bytes, members, created, finished FROM dataset_uploads
             WHERE tenant_id = $1 AND dataset_id = $2 AND id = $3",
            tenant_id,
            dataset_id,
            id
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// Says why an upload failed; its members were never seen.
    pub async fn fail_dataset_upload(&self, id: i64, reason: &str) -> Result<(), StoreError> {
        sqlx::query!(
            "UPDATE dataset_uploads SET state = 'failed', reason = $2, finished = clock_timestamp()
             WHERE id = $1 AND state = 'running'",
            id,
            reason
        )
        .execute(&self.control)
        .await?;
        Ok(())
    }
}

impl OpenUpload {
    /// Takes more members, as JSON texts, and says how many bytes of the file were read for all so far. Without members it keeps
    /// the transaction alive.
    pub async fn add(&mut self, members: &[String], bytes: i64) -> Result<(), StoreError> {
        if members.is_empty() {
            sqlx::query_scalar!("SELECT 1").fetch_one(&mut *self.tx).await?;
        }
        insert_members(&mut self.tx, self.dataset_id, members).await?;
        self.members += i64::try_from(members.len()).unwrap_or(i64::MAX);
        sqlx::query!(
            "UPDATE dataset_uploads SET bytes = $2, members = $3 WHERE id = $1",
            self.id,
            bytes,
            self.members
        )
        .execute(&self.store.control)
        .await?;
        Ok(())
    }

    /// Makes the members show.
    pub async fn finish(mut self, bytes: i64) -> Result<DatasetUpload, StoreError> {
        let done = sqlx::query_as!(
            DatasetUpload,
            "UPDATE dataset_uploads SET state = 'done', bytes = $2, members = $3, finished = clock_timestamp() WHERE id = $1
             RETURNING id, dataset_id, state, reason, bytes, members, created, finished",
            self.id,
            bytes,
            self.members
        )
        .fetch_one(&mut *self.tx)
        .await?;
        let details = json!({"members": self.members, "upload": self.id});
        let change = Change::new(Action::DatasetExtend, self.dataset_id, details);
        self.store.audit(&mut self.tx, self.tenant_id, change).await?;
        self.tx.commit().await?;
        Ok(done)
    }
}
