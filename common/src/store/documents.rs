//! Uploaded files and what the compiler said about them (control plane, contract 4.3).

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::audit::Change;
use super::{Store, StoreError};
use crate::model::Action;

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its id.
    pub id: Uuid,
    /// The name that it was uploaded with.
    pub file_name: String,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// An upload: a file and the compiler's verdict.
#[derive(Debug, Clone)]
pub struct NewUpload<'a> {
    /// Whose it is.
    pub tenant_id: Uuid,
    /// The folder that it was uploaded to.
    pub folder: &'a str,
    /// The service that it is to become.
    pub service: &'a str,
    /// That service's id, if it exists already.
    pub service_id: Option<Uuid>,
    /// The name of the file.
    pub file_name: &'a str,
    /// Its media type.
    pub media_type: &'a str,
    /// Its bytes. Stored only when it compiled.
    pub content: &'a [u8],
    /// `workbook` or `formula_document`.
    pub kind: &'a str,
    /// Interface and report, or why the file is no service.
    pub outcome: Result<(Json, Json), String>,
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq)]
pub struct Compilation {
    /// Its id: the job id on the wire.
    pub id: Uuid,
    /// The folder that it was uploaded to.
    pub folder: String,
    /// The service that it is to become.
    pub service: String,
    /// The id of the service.
    pub service_id: Uuid,
    /// The id of the version that publishing makes.
    pub version_id: Uuid,
    /// The id of the file.
    pub document_id: Uuid,
    /// `workbook` or `formula_document`.
    pub kind: String,
    /// Why the file is no service.
    pub error: Option<String>,
    /// When it was uploaded.
    pub created_at: DateTime<Utc>,
}

/// What a program is loaded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSource {
    /// The version, or the program of a job type's revision.
    pub version_id: Uuid,
    /// Whose it is.
    pub tenant_id: Uuid,
    /// `workbook` or `formula_document`.
    pub kind: String,
    /// The file, byte for byte.
    pub content: Vec<u8>,
}

/// Uploads that nobody published are forgotten after this many hours.
const UNPUBLISHED_HOURS: i32 = 7 * 24;

impl Store {
    /// Stores a file on its own, such as a cover image, and returns its id.
    pub async fn create_document(
        &self,
        tenant_id: Uuid,
        file_name: &str,
        media_type: &str,
        content: &[u8],
    ) -> Result<Uuid, StoreError> {
        let id = Uuid::now_v7();
        let sha256 = Sha256::digest(content);
        sqlx::query!(
            "INSERT INTO documents (id, tenant_id, file_name, media_type, sha256, content)
             VALUES ($1, $2, $3, $4, $5, $6)",
            id,
            tenant_id,
            file_name,
            media_type,
            sha256.as_slice(),
            content,
        )
        .execute(&self.control)
        .await?;
        Ok(id)
    }

    /// A file of the tenant.
    pub async fn document(&self, tenant_id: Uuid, id: Uuid) -> Result<Option<Document>, StoreError> {
        Ok(sqlx::query_as!(
            Document,
            "SELECT id, file_name, media_type, content FROM documents WHERE id = $2 AND tenant_id = $1",
            tenant_id,
            id
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// Stores an upload: the verdict always, the file when it compiled. Also forgets some old uploads that were never
    /// published.
    pub async fn create_upload(&self, upload: &NewUpload<'_>) -> Result<Compilation, StoreError> {
        let mut tx = self.control.begin().await?;
        let document_id = Uuid::now_v7();
        if upload.outcome.is_ok() {
            let sha256 = Sha256::digest(upload.content);
            sqlx::query!(
                "INSERT INTO documents (id, tenant_id, file_name, media_type, sha256, content)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                document_id,
                upload.tenant_id,
                upload.file_name,
                upload.media_type,
                sha256.as_slice(),
                upload.content,
            )
            .execute(&mut *tx)
            .await?;
        }
        let (interface, report, error) = match &upload.outcome {
            Ok((interface, report)) => (Some(interface), Some(report), None),
            Err(error) => (None, None, Some(error.as_str())),
        };
        let compilation = sqlx::query_as!(
            Compilation,
            "INSERT INTO compilations
                 (id, tenant_id, folder, service, service_id, version_id, document_id, kind, error, interface, report)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             RETURNING id, folder, service, service_id, version_id, document_id, kind, error, created_at",
            Uuid::now_v7(),
            upload.tenant_id,
            upload.folder,
            upload.service,
            upload.service_id.unwrap_or_else(Uuid::now_v7),
            Uuid::now_v7(),
            document_id,
            upload.kind,
            error,
            interface,
            report,
        )
        .fetch_one(&mut *tx)
        .await?;
        let details = json!({
            "folder": upload.folder, "service": upload.service, "kind": upload.kind, "bytes": upload.content.len(),
            "compiled": upload.outcome.is_ok(),
        });
        self.audit(&mut tx, upload.tenant_id, Change::new(Action::ServiceUpload, compilation.id, details))
            .await?;
        tx.commit().await?;
        self.forget_unpublished().await?;
        Ok(compilation)
    }

    /// An upload by the job id of its compilation.
    pub async fn compilation(&self, tenant_id: Uuid, id: Uuid) -> Result<Option<Compilation>, StoreError> {
        Ok(sqlx::query_as!(
            Compilation,
            "SELECT id, folder, service, service_id, version_id, document_id, kind, error, created_at
             FROM compilations WHERE id = $2 AND tenant_id = $1",
            tenant_id,
            id
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// The file of a published version, or of a job type's revision, for whoever evaluates it; deleted services included,
    /// because their batches go on.
    pub async fn service_source(&self, version_id: Uuid) -> Result<Option<ServiceSource>, StoreError> {
        Ok(sqlx::query_as!(
            ServiceSource,
            r#"SELECT v.id AS "version_id!", v.tenant_id AS "tenant_id!", v.kind AS "kind!", d.content AS "content!"
               FROM service_versions v JOIN documents d ON d.id = v.document_id WHERE v.id = $1
               UNION ALL
               SELECT r.program_id, d.tenant_id, 'formula_document', d.content
               FROM job_type_revisions r JOIN documents d ON d.id = r.document_id WHERE r.program_id = $1
               LIMIT 1"#,
            version_id
        )
        .fetch_optional(&self.control)
        .await?)
    }

    async fn forget_unpublished(&self) -> Result<(), StoreError> {
        sqlx::query!(
            "WITH old AS (
                 SELECT id FROM compilations WHERE created_at < now() - make_interval(hours => $1)
                 ORDER BY created_at LIMIT 20 FOR UPDATE SKIP LOCKED),
             gone AS (DELETE FROM compilations c USING old WHERE c.id = old.id RETURNING c.document_id)
             DELETE FROM documents d USING gone
             WHERE d.id = gone.document_id
               AND NOT EXISTS (SELECT FROM service_versions v WHERE v.document_id = d.id)",
            UNPUBLISHED_HOURS
        )
        .execute(&self.control)
        .await?;
        Ok(())
    }
}
