//! Job types on the wire.

use millrace_common::model::recipe::echo;
use millrace_common::store::recipes::{JobType, JobTypeRevisionRow};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::v6::http::datetime;
use crate::v6::wire::JobTypeAnswerBase;

/// A job type in lists and inside of others.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobTypeAnswer {
    /// What others show of it.
    #[serde(flatten)]
    pub base: JobTypeAnswerBase,
    /// Whether it belongs to the system.
    pub is_system: bool,
    /// Free, for people.
    pub max_scheduled: Option<i32>,
    /// How often a job is tried.
    pub max_tries: i32,
    /// The newest revision's number.
    pub revision_num: i32,
    /// Free text.
    pub docker_image: Option<String>,
    /// Always null.
    pub unmet_resources: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it was deprecated.
    #[schema(format = DateTime)]
    pub deprecated: Option<String>,
    /// When it was paused.
    #[schema(format = DateTime)]
    pub paused: Option<String>,
    /// When it changed last.
    #[schema(format = DateTime)]
    pub last_modified: String,
}

impl From<&JobType> for JobTypeAnswer {
    fn from(job_type: &JobType) -> Self {
        Self {
            base: JobTypeAnswerBase {
                id: job_type.id,
                name: job_type.name.clone(),
                version: job_type.version.clone(),
                title: job_type.title.clone(),
                description: job_type.description.clone(),
                is_active: job_type.is_active,
                is_paused: job_type.is_paused,
                is_published: job_type.is_published,
                icon_code: job_type.icon_code.clone(),
            },
            is_system: job_type.is_system,
            max_scheduled: job_type.max_scheduled,
            max_tries: job_type.max_tries,
            revision_num: job_type.revision_num,
            docker_image: job_type.docker_image.clone(),
            unmet_resources: None,
            created: datetime(job_type.created),
            deprecated: job_type.deprecated.map(datetime),
            paused: job_type.paused.map(datetime),
            last_modified: datetime(job_type.last_modified),
        }
    }
}

/// The name of a recipe type.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeTypeName {
    /// Its name.
    pub name: String,
}

/// A job type with its documents.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobTypeDetails {
    /// As in lists.
    #[serde(flatten)]
    pub job_type: JobTypeAnswer,
    /// The Seed manifest of the newest revision, as submitted.
    #[schema(value_type = Object)]
    pub manifest: Value,
    /// `priority` and `settings`.
    #[schema(value_type = Object)]
    pub configuration: Value,
    /// What the newest revision computes with, as submitted.
    #[schema(value_type = Object)]
    pub model: Value,
    /// The recipe types that contain it; inside of a recipe type none are told.
    pub recipe_types: Vec<RecipeTypeName>,
}

impl JobTypeDetails {
    pub(in crate::v6) fn new(job_type: &JobType, recipe_types: Vec<String>) -> Self {
        Self {
            job_type: job_type.into(),
            manifest: job_type.manifest.clone(),
            configuration: echo::flat(&job_type.configuration),
            model: job_type.model.clone(),
            recipe_types: recipe_types.into_iter().map(|name| RecipeTypeName { name }).collect(),
        }
    }
}

/// A revision of a job type in lists.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobTypeRevisionAnswer {
    /// The revision.
    pub id: i64,
    /// Whose it is.
    pub job_type: JobTypeAnswer,
    /// Its number, from 1.
    pub revision_num: i32,
    /// Free text.
    pub docker_image: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
}

impl JobTypeRevisionAnswer {
    pub(super) fn new(job_type: &JobType, row: &JobTypeRevisionRow) -> Self {
        Self {
            id: row.id,
            job_type: job_type.into(),
            revision_num: row.revision_num,
            docker_image: row.docker_image.clone(),
            created: datetime(row.created),
        }
    }
}

/// A revision of a job type with its documents.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobTypeRevisionDetails {
    /// As in lists.
    #[serde(flatten)]
    pub revision: JobTypeRevisionAnswer,
    /// The Seed manifest, as submitted.
    #[schema(value_type = Object)]
    pub manifest: Value,
    /// What it computes with, as submitted.
    #[schema(value_type = Object)]
    pub model: Value,
}
