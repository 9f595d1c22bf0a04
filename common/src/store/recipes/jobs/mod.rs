//! Jobs: listed and shown (control plane; contract 5.6).

mod details;
mod requests;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::super::{Store, StoreError};
use super::batches::sort_fields;
use super::counted::{Counted, Rows};
use super::pages::{Listed, Page};
use super::{BatchBase, Event, JobTypeBase, Modified, RecipeTypeBase, Revision, Sort, Window};
use crate::model::recipe::JobStatus;

pub use details::{JobDetails, JobExecution};
pub use requests::{JobRequest, JobRequestFilter, JobRequestKind, JobTypeName};

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: i64,
    /// What it runs.
    pub job_type: JobTypeBase,
    /// The revision of it.
    pub revision: Revision,
    /// Why it was created.
    pub event: Event,
    /// The recipe that it was created in, and the type of that.
    pub recipe: Option<(i64, RecipeTypeBase)>,
    /// Its node in that recipe.
    pub node: Option<i16>,
    /// The batch that it was created for.
    pub batch: Option<BatchBase>,
    /// Whether a newer job does its work.
    pub is_superseded: bool,
    /// The job whose work it does again.
    pub superseded_job_id: Option<i64>,
    /// Where it stands.
    pub status: String,
    /// Lower goes first; of the last time that it was queued.
    pub priority: Option<i64>,
    /// Who worked on it last.
    pub worker: Option<Worker>,
    /// Why it failed.
    pub error: Option<JobFailure>,
    /// How many executions it may have.
    pub max_tries: i32,
    /// How many executions it had, the current one included.
    pub num_exes: i32,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// When it was queued last.
    pub queued: Option<DateTime<Utc>>,
    /// When a worker began.
    pub started: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// How long the evaluation alone took, in microseconds.
    pub seed_micros: Option<i64>,
    /// When the status changed last.
    pub last_status_change: DateTime<Utc>,
    /// When it was superseded.
    pub superseded: Option<DateTime<Utc>>,
    /// When it changed last.
    pub last_modified: DateTime<Utc>,
}

/// Who worked on a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// The worker.
    pub id: Uuid,
    /// Its name.
    pub name: Option<String>,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFailure {
    /// The kind of error.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: String,
    /// The job type whose manifest names it; built-in ones have none.
    pub job_type_name: Option<String>,
    /// `SYSTEM`, `DATA` or `ALGORITHM`.
    pub category: String,
    /// Whether another try can help.
    pub should_be_retried: bool,
    /// What happened this time.
    pub detail: Option<String>,
}

/// Which jobs to list. What is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// When they changed last.
    pub modified: Modified,
    /// With any of these.
    pub statuses: Option<Vec<JobStatus>>,
    /// Any of these.
    pub ids: Option<Vec<i64>>,
    /// Of any of these types.
    pub job_type_ids: Option<Vec<i64>>,
    /// Of types with any of these names, in all versions.
    pub job_type_names: Option<Vec<String>>,
    /// Created for any of these batches.
    pub batch_ids: Option<Vec<i64>>,
    /// Created in any of these recipes.
    pub recipe_ids: Option<Vec<i64>>,
    /// With an error of any of these categories.
    pub error_categories: Option<Vec<String>>,
    /// With any of these errors.
    pub error_ids: Option<Vec<i64>>,
    /// Whether a newer job does their work.
    pub is_superseded: Option<bool>,
}

sort_fields! {
    /// What jobs can be sorted by.
    JobField {
        Id = "id", "j.id";
        JobType = "job_type", "(SELECT lower(name) FROM job_types WHERE id = j.job_type_id)";
        JobTypeId = "job_type_id", "j.job_type_id";
        JobTypeRev = "job_type_rev", "j.job_type_rev_id";
        JobTypeRevId = "job_type_rev_id", "j.job_type_rev_id";
        Event = "event", "j.event_id";
        EventId = "event_id", "j.event_id";
        Recipe = "recipe", "j.recipe_id";
        RecipeId = "recipe_id", "j.recipe_id";
        Batch = "batch", "j.batch_id";
        BatchId = "batch_id", "j.batch_id";
        Status = "status", "j.status";
        Priority = "priority", "j.priority";
        Node = "node", "j.worker_name";
        Error = "error", "j.error_id";
        ErrorId = "error_id", "j.error_id";
        MaxTries = "max_tries", "j.max_tries";
        NumExes = "num_exes", "j.num_exes";
        IsSuperseded = "is_superseded", "j.is_superseded";
        SupersededJob = "superseded_job", "j.superseded_job_id";
        SupersededJobId = "superseded_job_id", "j.superseded_job_id";
        Created = "created", "j.created";
        Queued = "queued", "j.queued";
        Started = "started", "j.started";
        Ended = "ended", "j.ended";
        Duration = "duration", "j.ended - j.started";
        LastStatusChange = "last_status_change", "j.last_status_change";
        Superseded = "superseded", "j.superseded";
        LastModified = "last_modified", "j.last_modified";
    }
}

impl Listed for JobFilter {
    type Field = JobField;
    const TABLE: &'static str = "jobs";
    const ALIAS: &'static str = "j";
    const ID: JobField = JobField::Id;
    const DEFAULT: JobField = JobField::LastModified;

    fn batch_ids(&self) -> Option<&[i64]> {
        self.batch_ids.as_deref()
    }

    fn modified(&self) -> &Modified {
        &self.modified
    }

    fn counted(&self) -> Option<Counted<'_>> {
        let Self {
            modified,
            statuses,
            ids: None,
            job_type_ids: None,
            job_type_names: None,
            batch_ids,
            recipe_ids: None,
            error_categories: None,
            error_ids: None,
            is_superseded: None,
        } = self
        else {
            return None;
        };
        (*modified == Modified::default())
            .then_some(Counted { batch_ids: batch_ids.as_deref(), rows: Rows::Jobs(statuses.as_deref()) })
    }

    fn push(&self, tenant_id: Uuid, query: &mut QueryBuilder<Postgres>) {
        if let Some(statuses) = &self.statuses {
            let names: Vec<&'static str> = statuses.iter().map(|status| status.as_str()).collect();
            query.push(" AND j.status = ANY(").push_bind(names).push(")");
        }
        for (column, ids) in [
            ("j.id", &self.ids),
            ("j.job_type_id", &self.job_type_ids),
            ("j.recipe_id", &self.recipe_ids),
            ("j.error_id", &self.error_ids),
        ] {
            if let Some(ids) = ids {
                query.push(" AND ").push(column).push(" = ANY(").push_bind(ids.clone()).push(")");
            }
        }
        if let Some(names) = &self.job_type_names {
            query.push(" AND j.job_type_id IN (SELECT id FROM job_types WHERE tenant_id = ");
            query.push_bind(tenant_id).push(" AND name = ANY(").push_bind(names.clone()).push("))");
        }
        if let Some(categories) = &self.error_categories {
            query.push(" AND j.error_id IN (SELECT id FROM job_errors WHERE category = ANY(");
            query.push_bind(categories.clone()).push("))");
        }
        if let Some(superseded) = self.is_superseded {
            query.push(" AND j.is_superseded = ").push_bind(superseded);
        }
    }
}

impl Store {
    /// How many jobs the filter lets through, and those of the part that `window` says of that number. By default those that changed
    /// longest ago come first. Both are of one moment.
    ///
    /// # Errors
    ///
    /// What `window` says, or the database.
    pub async fn job_list<E: From<StoreError>>(
        &self,
        tenant_id: Uuid,
        filter: &JobFilter,
        order: &[Sort<JobField>],
        window: impl FnOnce(i64) -> Result<Window, E>,
    ) -> Result<(i64, Vec<Job>), E> {
        let mut page = Page::begin(&self.control, tenant_id, filter).await?;
        let count = page.count().await?;
        let window = window(count)?;
        if count == 0 {
            return Ok((0, Vec::new()));
        }
        let ids = page.ids(order, window).await?;
        Ok((count, jobs(&mut page.tx, tenant_id, &ids).await?))
    }
}

/// The tenant's job types with these ids.
pub(super) async fn job_types(
    connection: &mut PgConnection,
    tenant_id: Uuid,
    ids: &[i64],
) -> Result<HashMap<i64, JobTypeBase>, StoreError> {
    let rows = sqlx::query_as!(
        JobTypeBase,
        "SELECT id, name, version, title, description, is_active, is_paused, is_published, icon_code
         FROM job_types WHERE tenant_id = $1 AND id = ANY($2)",
        tenant_id,
        ids
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|job_type| (job_type.id, job_type)).collect())
}

/// The tenant's jobs with these ids, in their order.
async fn jobs(connection: &mut PgConnection, tenant_id: Uuid, ids: &[i64]) -> Result<Vec<Job>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT j.id, j.job_type_id, j.job_type_rev_id, v.revision_num, j.event_id, e.type AS event_type,
               e.description AS event_description, e.occurred, r.id AS "recipe_id?", rt.id AS "recipe_type_id?",
               rt.name AS "recipe_type_name?", rt.title AS "recipe_type_title?",
               rt.description AS "recipe_type_description?", rt.revision_num AS "recipe_type_revision?", j.node,
               b.id AS "batch_id?", b.title AS "batch_title?", b.description AS "batch_description?",
               b.created AS "batch_created?", j.is_superseded,
               (SELECT o.id FROM jobs o LEFT JOIN recipe_batches h ON h.id = o.batch_id
                WHERE o.id = j.superseded_job_id AND h.removed IS NULL) AS superseded_job_id, j.status, j.priority, j.worker_id,
               j.worker_name, f.id AS "error_id?", f.name AS "error_name?", f.title AS "error_title?",
               f.description AS "error_description?", f.category AS "error_category?",
               f.should_be_retried AS "error_retried?", ft.name AS "error_job_type?", j.error_detail, j.max_tries,
               j.num_exes, j.created, j.queued, j.started, j.ended, j.seed_micros, j.last_status_change, j.superseded,
               j.last_modified
           FROM jobs j
           JOIN job_type_revisions v ON v.id = j.job_type_rev_id
           JOIN events e ON e.id = j.event_id
           LEFT JOIN recipes r ON r.id = j.recipe_id
           LEFT JOIN recipe_types rt ON rt.id = r.recipe_type_id
           LEFT JOIN recipe_batches b ON b.id = j.batch_id
           LEFT JOIN job_errors f ON f.id = j.error_id
           LEFT JOIN job_types ft ON ft.id = f.job_type_id
           WHERE j.tenant_id = $1 AND j.id = ANY($2) AND b.removed IS NULL
           ORDER BY array_position($2, j.id)"#,
        tenant_id,
        ids
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut used: Vec<i64> = rows.iter().map(|row| row.job_type_id).collect();
    used.sort_unstable();
    used.dedup();
    let types = job_types(connection, tenant_id, &used).await?;
    let jobs = rows.into_iter().map(|row| {
        let recipe_type = match (row.recipe_type_id, row.recipe_type_name, row.recipe_type_title) {
            (Some(id), Some(name), Some(title)) => Some(RecipeTypeBase {
                id,
                name,
                title,
                description: row.recipe_type_description,
                revision_num: row.recipe_type_revision.unwrap_or_default(),
            }),
            _ => None,
        };
        let error = match (row.error_id, row.error_name, row.error_category) {
            (Some(id), Some(name), Some(category)) => Some(JobFailure {
                id,
                name,
                title: row.error_title.unwrap_or_default(),
                description: row.error_description.unwrap_or_default(),
                job_type_name: row.error_job_type,
                category,
                should_be_retried: row.error_retried.unwrap_or_default(),
                detail: row.error_detail,
            }),
            _ => None,
        };
        let job_type = types.get(&row.job_type_id).cloned().ok_or(StoreError::NotFound("job type"))?;
        Ok(Job {
            id: row.id,
            revision: Revision {
                id: row.job_type_rev_id,
                type_id: row.job_type_id,
                revision_num: row.revision_num,
            },
            job_type,
            event: Event {
                id: row.event_id,
                kind: row.event_type,
                description: row.event_description,
                occurred: row.occurred,
            },
            recipe: row.recipe_id.zip(recipe_type),
            node: row.node,
            batch: row.batch_id.zip(row.batch_created).map(|(id, created)| BatchBase {
                id,
                title: row.batch_title,
                description: row.batch_description,
                created,
            }),
            is_superseded: row.is_superseded,
            superseded_job_id: row.superseded_job_id,
            status: row.status,
            priority: row.priority,
            worker: row.worker_id.map(|id| Worker { id, name: row.worker_name }),
            error,
            max_tries: row.max_tries,
            num_exes: row.num_exes,
            created: row.created,
            queued: row.queued,
            started: row.started,
            ended: row.ended,
            seed_micros: row.seed_micros,
            last_status_change: row.last_status_change,
            superseded: row.superseded,
            last_modified: row.last_modified,
        })
    });
    jobs.collect()
}
