//! Shapes of the Scale v6 batch services.

use serde_json::Value;
use utoipa::ToSchema;

/// What a check found.
#[derive(Debug, ToSchema)]
pub struct V6Validation {
    /// Whether there are no errors.
    pub is_valid: bool,
    /// What makes it invalid.
    pub errors: Vec<V6Finding>,
    /// What is worth knowing.
    pub warnings: Vec<V6Finding>,
}

/// The same, with the difference to the newest revision.
#[derive(Debug, ToSchema)]
pub struct V6DiffValidation {
    /// Whether there are no errors.
    pub is_valid: bool,
    /// What makes it invalid.
    pub errors: Vec<V6Finding>,
    /// What is worth knowing.
    pub warnings: Vec<V6Finding>,
    /// The Recipe Diff document; empty when there is nothing to compare with.
    #[schema(value_type = Object)]
    pub diff: Value,
}

/// An error or a warning.
#[derive(Debug, ToSchema)]
pub struct V6Finding {
    /// Stable, for programs.
    #[schema(example = "NODE_INTERFACE")]
    pub name: String,
    /// For people; begins with the place.
    pub description: String,
}

/// A job type, or what is to change of it.
#[derive(Debug, ToSchema)]
pub struct JobTypeRequest {
    /// A Seed manifest; required for a new job type.
    #[schema(value_type = Option<Object>)]
    pub manifest: Option<Value>,
    /// `{"service": "folder/name[1.0.0]"}` or `{"formulas": {output: formula}}`; required for a new job type.
    #[schema(value_type = Option<Object>)]
    pub model: Option<Value>,
    /// `priority` and `settings`.
    #[schema(value_type = Option<Object>)]
    pub configuration: Option<Value>,
    /// Free text.
    pub docker_image: Option<String>,
    /// Free text.
    pub icon_code: Option<String>,
    /// For people.
    pub is_published: Option<bool>,
    /// False deprecates it, and the recipe types that contain it.
    pub is_active: Option<bool>,
    /// True keeps its jobs QUEUED.
    pub is_paused: Option<bool>,
    /// For people.
    pub max_scheduled: Option<i64>,
    /// How often a job is tried.
    pub max_tries: Option<i64>,
    /// Whether recipe types that contain it get revisions with a new revision.
    pub auto_update: Option<bool>,
}

/// A recipe type to make.
#[derive(Debug, ToSchema)]
pub struct CreateRecipeType {
    /// For people; the name is made of it.
    pub title: String,
    /// For people.
    pub description: Option<String>,
    /// Inputs and nodes.
    #[schema(value_type = Object)]
    pub definition: Value,
}

/// What is to change of a recipe type.
#[derive(Debug, ToSchema)]
pub struct ChangeRecipeType {
    /// For people; the name stays.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Makes a revision.
    #[schema(value_type = Option<Object>)]
    pub definition: Option<Value>,
    /// False deprecates it, and the recipe types that contain it.
    pub is_active: Option<bool>,
    /// Whether recipe types that contain it get revisions with the new one.
    pub auto_update: Option<bool>,
}

/// A recipe definition to check.
#[derive(Debug, ToSchema)]
pub struct ValidateRecipeType {
    /// The recipe type that it would be a revision of.
    pub name: Option<String>,
    /// Inputs and nodes.
    #[schema(value_type = Object)]
    pub definition: Value,
}

/// A dataset to make.
#[derive(Debug, ToSchema)]
pub struct CreateDataset {
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// Parameters, global parameters and their data.
    #[schema(value_type = Object)]
    pub definition: Value,
    /// One member, or a list of them.
    pub data: Option<Value>,
}

/// Members to add to a dataset.
#[derive(Debug, ToSchema)]
pub struct AddDatasetMembers {
    /// The members.
    pub data: Vec<Value>,
    /// Whether they are only checked.
    pub dry_run: Option<bool>,
}

/// A dataset definition to check.
#[derive(Debug, ToSchema)]
pub struct ValidateDataset {
    /// Parameters, global parameters and their data.
    #[schema(value_type = Object)]
    pub definition: Value,
}
