//! Cancels and requeues by filter, as workers carry them out bit by bit (contract 5.6).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::super::super::audit::Change;
use super::super::super::retry::retrying;
use super::super::super::{Store, StoreError};
use crate::model::Action;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobRequestKind {
    /// Jobs are canceled.
    Cancel,
    /// Jobs run again, with this priority.
    Requeue {
        /// Lower goes first; `None` for that of the batch or the job type.
        priority: Option<i64>,
    },
}

/// A version of a job type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTypeName {
    /// The job type.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// Which jobs are meant: those that everything here lets through. This is the form in which `job_requests.filter` has it; what
/// does not matter is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRequestFilter {
    /// Changed no earlier than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
    /// Changed no later than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<DateTime<Utc>>,
    /// With any of these statuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Vec<String>>,
    /// Any of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_ids: Option<Vec<i64>>,
    /// Of any of these types. [`Store::request_jobs`] adds those of `job_types`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_type_ids: Option<Vec<i64>>,
    /// Of types with any of these names, in all versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_type_names: Option<Vec<String>>,
    /// Created for any of these batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_ids: Option<Vec<i64>>,
    /// Created in any of these recipes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe_ids: Option<Vec<i64>>,
    /// With an error of any of these categories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_categories: Option<Vec<String>>,
    /// With any of these errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_ids: Option<Vec<i64>>,
    /// Whether a newer job does their work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_superseded: Option<bool>,
}

/// A cancel or a requeue that is wanted.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// Whose jobs.
    pub tenant_id: Uuid,
    /// What.
    pub kind: JobRequestKind,
    /// Which jobs.
    pub filter: JobRequestFilter,
    /// Versions of job types, which must exist; any of them, and each must be among `filter.job_type_ids` where both are given.
    pub job_types: Option<Vec<JobTypeName>>,
    /// Who wants it.
    pub created_by: String,
}

impl JobRequestFilter {
    /// Whether it lets every job through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Store {
    /// Notes a cancel or a requeue for workers, of jobs that exist now. Of a job type that does not exist, its name comes back, and
    /// nothing is noted.
    pub async fn request_jobs(&self, request: &JobRequest) -> Result<Result<i64, JobTypeName>, StoreError> {
        retrying("request_jobs", || self.request_jobs_once(request)).await
    }

    async fn request_jobs_once(&self, request: &JobRequest) -> Result<Result<i64, JobTypeName>, StoreError> {
        let mut tx = self.control.begin().await?;
        let mut filter = request.filter.clone();
        if let Some(wanted) = &request.job_types {
            let (names, versions): (Vec<String>, Vec<String>) =
                wanted.iter().map(|wanted| (wanted.name.clone(), wanted.version.clone())).unzip();
            let found = sqlx::query!(
                r#"SELECT w.name AS "name!", w.version AS "version!", t.id AS "id?"
                   FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS w (name, version, at)
                   LEFT JOIN job_types t ON t.tenant_id = $1 AND t.name = w.name AND t.version = w.version
                   ORDER BY w.at"#,
                request.tenant_id,
                &names,
                &versions
            )
            .fetch_all(&mut *tx)
            .await?;
            let mut ids = Vec::with_capacity(found.len());
            for row in found {
                match row.id {
                    Some(id) => ids.push(id),
                    None => return Ok(Err(JobTypeName { name: row.name, version: row.version })),
                }
            }
            // Filters combine with AND.
            if let Some(own) = &filter.job_type_ids {
                ids.retain(|id| own.contains(id));
            }
            filter.job_type_ids = Some(ids);
        }
        let (kind, priority) = match request.kind {
            JobRequestKind::Cancel => ("cancel", None),
            JobRequestKind::Requeue { priority } => ("requeue", priority),
        };
        let filter = serde_json::to_value(&filter).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let id = sqlx::query_scalar!(
            "INSERT INTO job_requests (tenant_id, kind, filter, priority, last_job_id, created_by)
             VALUES ($1, $2, $3, $4, (SELECT coalesce(max(id), 0) FROM jobs WHERE tenant_id = $1), $5) RETURNING id",
            request.tenant_id,
            kind,
            filter,
            priority,
            request.created_by
        )
        .fetch_one(&mut *tx)
        .await?;
        let action = match request.kind {
            JobRequestKind::Cancel => Action::JobsCancel,
            JobRequestKind::Requeue { .. } => Action::JobsRequeue,
        };
        let entry = Change::new(action, id, json!({"filter": filter, "priority": priority}));
        self.audit(&mut tx, request.tenant_id, entry).await?;
        tx.commit().await?;
        Ok(Ok(id))
    }
}
