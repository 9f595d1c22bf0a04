//! Shapes that batches, recipes and jobs share (scale-v6 sections 2 and 5). Every key is always there.

use std::collections::BTreeMap;

use millrace_common::model::recipe::{JobCounts, RecipeCounts};
use millrace_common::store::recipes::{BatchBase, Event, JobTypeBase, Modified, RecipeTypeBase, Revision};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::http::{Query, datetime};
use crate::error::ApiError;

/// `{id}`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct Id {
    /// The id.
    pub id: i64,
}

/// A data document: the values of an interface's parameters. A key without values may be absent.
#[derive(Debug, ToSchema)]

pub struct DataDocument {
    /// Ids of files by parameter.
    #[schema(required = false)]
    pub files: BTreeMap<String, Vec<i64>>,
    /// JSON values by parameter.
    #[schema(required = false, example = json!({"x": 1}))]
    pub json: BTreeMap<String, Value>,
}

/// A recipe type.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeTypeAnswerBase {
    /// The recipe type.
    pub id: i64,
    /// Its name, unique within the tenant.
    pub name: String,
    /// For people.
    pub title: String,
    /// For people.
    pub description: Option<String>,
    /// Its newest revision, which need not be the one that is run.
    pub revision_num: i32,
}

impl From<RecipeTypeBase> for RecipeTypeAnswerBase {
    fn from(base: RecipeTypeBase) -> Self {
        let RecipeTypeBase { id, name, title, description, revision_num } = base;
        Self { id, name, title, description, revision_num }
    }
}

/// A revision of a recipe type.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeTypeRevision {
    /// The revision.
    pub id: i64,
    /// Whose it is.
    pub recipe_type: Id,
    /// Its number, from 1.
    pub revision_num: i32,
}

impl From<Revision> for RecipeTypeRevision {
    fn from(revision: Revision) -> Self {
        Self {
            id: revision.id,
            recipe_type: Id { id: revision.type_id },
            revision_num: revision.revision_num,
        }
    }
}

/// A revision of a job type.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobTypeRevisionBase {
    /// The revision.
    pub id: i64,
    /// Whose it is.
    pub job_type: Id,
    /// Its number, from 1.
    pub revision_num: i32,
}

impl From<Revision> for JobTypeRevisionBase {
    fn from(revision: Revision) -> Self {
        Self { id: revision.id, job_type: Id { id: revision.type_id }, revision_num: revision.revision_num }
    }
}

/// A job type.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs, reason = "the keys are those of the contract (5.1)")]
pub struct JobTypeAnswerBase {
    pub id: i64,
    pub name: String,
    pub version: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub is_active: bool,
    pub is_paused: bool,
    pub is_published: bool,
    pub icon_code: Option<String>,
}

impl From<JobTypeBase> for JobTypeAnswerBase {
    fn from(base: JobTypeBase) -> Self {
        Self {
            id: base.id,
            name: base.name,
            version: base.version,
            title: base.title,
            description: base.description,
            is_active: base.is_active,
            is_paused: base.is_paused,
            is_published: base.is_published,
            icon_code: base.icon_code,
        }
    }
}

/// Why something was created.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventAnswer {
    /// The event.
    pub id: i64,
    /// `USER`
    #[serde(rename = "type")]
    pub kind: String,
    /// Always null.
    pub rule: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub occurred: String,
}

impl From<&Event> for EventAnswer {
    fn from(event: &Event) -> Self {
        Self { id: event.id, kind: event.kind.clone(), rule: None, occurred: datetime(event.occurred) }
    }
}

/// An event with its description.
pub fn event_details(event: &Event) -> Value {
    let mut details = json!(EventAnswer::from(event));
    details["description"] = event.description.clone();
    details
}

/// A batch.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeBatchBase {
    /// The batch.
    pub id: i64,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// When.
    #[schema(format = DateTime)]
    pub created: String,
}

impl From<BatchBase> for RecipeBatchBase {
    fn from(base: BatchBase) -> Self {
        let BatchBase { id, title, description, created } = base;
        Self { id, title, description, created: datetime(created) }
    }
}

/// Jobs by status.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub struct JobCounters {
    pub jobs_total: i64,
    pub jobs_pending: i64,
    pub jobs_blocked: i64,
    pub jobs_queued: i64,
    pub jobs_running: i64,
    pub jobs_failed: i64,
    pub jobs_completed: i64,
    pub jobs_canceled: i64,
}

impl From<JobCounts> for JobCounters {
    fn from(counts: JobCounts) -> Self {
        Self {
            jobs_total: counts.total(),
            jobs_pending: counts.pending,
            jobs_blocked: counts.blocked,
            jobs_queued: counts.queued,
            jobs_running: counts.running,
            jobs_failed: counts.failed,
            jobs_completed: counts.completed,
            jobs_canceled: counts.canceled,
        }
    }
}

/// Jobs and sub-recipes of a recipe, those at any depth included.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeCounters {
    /// Jobs by status.
    #[serde(flatten)]
    pub jobs: JobCounters,
    /// Sub-recipes.
    pub sub_recipes_total: i64,
    /// Sub-recipes that are completed.
    pub sub_recipes_completed: i64,
}

impl From<RecipeCounts> for RecipeCounters {
    fn from(counts: RecipeCounts) -> Self {
        Self {
            jobs: counts.jobs.into(),
            sub_recipes_total: counts.sub_recipes_total,
            sub_recipes_completed: counts.sub_recipes_completed,
        }
    }
}

/// `started` and `ended` of a list, which filter by the last modification.
pub fn modified(query: &Query) -> Result<Modified, ApiError> {
    let range = query.range()?;
    Ok(Modified { started: range.started, ended: range.ended })
}
