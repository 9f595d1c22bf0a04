//! Recipe types on the wire.

use millrace_common::store::recipes::{Contents, RecipeType, RecipeTypeRevisionRow};
use millrace_common::store::{Store, StoreError};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::v6::http::datetime;
use crate::v6::job_types::JobTypeDetails;
use crate::v6::wire::RecipeTypeAnswerBase;

/// A recipe type inside of others.
pub(super) fn base(recipe_type: &RecipeType) -> RecipeTypeAnswerBase {
    RecipeTypeAnswerBase {
        id: recipe_type.id,
        name: recipe_type.name.clone(),
        title: recipe_type.title.clone(),
        description: recipe_type.description.clone(),
        revision_num: recipe_type.revision_num,
    }
}

/// A recipe type without what is in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeTypeSummary {
    /// What others show of it.
    #[serde(flatten)]
    pub base: RecipeTypeAnswerBase,
    /// Whether it was not deprecated.
    pub is_active: bool,
    /// Whether it belongs to the system.
    pub is_system: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it was deprecated.
    #[schema(format = DateTime)]
    pub deprecated: Option<String>,
    /// When it changed last.
    #[schema(format = DateTime)]
    pub last_modified: String,
}

impl From<&RecipeType> for RecipeTypeSummary {
    fn from(recipe_type: &RecipeType) -> Self {
        Self {
            base: base(recipe_type),
            is_active: recipe_type.is_active,
            is_system: recipe_type.is_system,
            created: datetime(recipe_type.created),
            deprecated: recipe_type.deprecated.map(datetime),
            last_modified: datetime(recipe_type.last_modified),
        }
    }
}

/// Name and version of a job type.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub struct JobTypeKey {
    pub name: String,
    pub version: String,
}

/// A recipe type in lists.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeTypeAnswer {
    /// The recipe type.
    #[serde(flatten)]
    pub recipe_type: RecipeTypeSummary,
    /// The job types in its newest revision.
    pub job_types: Vec<JobTypeKey>,
    /// The names of the recipe types in its newest revision.
    pub sub_recipe_types: Vec<String>,
}

impl RecipeTypeAnswer {
    pub(super) fn new(recipe_type: &RecipeType, contents: Option<&Contents>) -> Self {
        let Contents { job_types, recipe_types } = contents.cloned().unwrap_or_default();
        let job_types = job_types.into_iter().map(|(name, version)| JobTypeKey { name, version });
        Self {
            recipe_type: recipe_type.into(),
            job_types: job_types.collect(),
            sub_recipe_types: recipe_types,
        }
    }
}

/// A recipe type with its definition and what it contains.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeTypeDetails {
    /// The recipe type.
    #[serde(flatten)]
    pub recipe_type: RecipeTypeSummary,
    /// Inputs and nodes of the newest revision.
    #[schema(value_type = Object)]
    pub definition: Value,
    /// The job types in it.
    pub job_types: Vec<JobTypeDetails>,
    /// The recipe types in it.
    pub sub_recipe_types: Vec<RecipeTypeSummary>,
    /// The recipe types that it is in.
    pub super_recipe_types: Vec<RecipeTypeSummary>,
}

/// The details of a recipe type.
pub(super) async fn details(
    store: &Store,
    tenant_id: Uuid,
    recipe_type: &RecipeType,
) -> Result<RecipeTypeDetails, StoreError> {
    let jobs = store.job_type_ids_of(recipe_type.revision_id).await?;
    let jobs = store.job_types_by_id(tenant_id, &jobs).await?;
    let inner = store.sub_recipe_types(tenant_id, recipe_type.revision_id).await?;
    let outer = store.super_recipe_types(tenant_id, recipe_type.id).await?;
    Ok(RecipeTypeDetails {
        recipe_type: recipe_type.into(),
        definition: recipe_type.definition.clone(),
        job_types: jobs.iter().map(|job_type| JobTypeDetails::new(job_type, Vec::new())).collect(),
        sub_recipe_types: inner.iter().map(Into::into).collect(),
        super_recipe_types: outer.iter().map(Into::into).collect(),
    })
}

/// A revision of a recipe type in lists.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeTypeRevisionAnswer {
    /// The revision.
    pub id: i64,
    /// Whose it is.
    pub recipe_type: RecipeTypeAnswerBase,
    /// Its number, from 1.
    pub revision_num: i32,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
}

impl RecipeTypeRevisionAnswer {
    pub(super) fn new(recipe_type: &RecipeType, row: &RecipeTypeRevisionRow) -> Self {
        Self {
            id: row.id,
            recipe_type: base(recipe_type),
            revision_num: row.revision_num,
            created: datetime(row.created),
        }
    }
}

/// A revision of a recipe type with its definition.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeTypeRevisionDetails {
    /// The revision.
    pub id: i64,
    /// Whose it is.
    pub recipe_type: RecipeTypeSummary,
    /// Its number, from 1.
    pub revision_num: i32,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created: String,
    /// Inputs and nodes.
    #[schema(value_type = Object)]
    pub definition: Value,
}

impl RecipeTypeRevisionDetails {
    pub(super) fn new(recipe_type: &RecipeType, row: RecipeTypeRevisionRow) -> Self {
        Self {
            id: row.id,
            recipe_type: recipe_type.into(),
            revision_num: row.revision_num,
            created: datetime(row.created),
            definition: row.definition,
        }
    }
}
