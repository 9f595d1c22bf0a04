//! Batches of recipes, and requests about jobs.

use serde_json::Value;
use utoipa::ToSchema;

use super::V6Finding;
use crate::v6::wire::{DataDocument, RecipeBatchBase, RecipeTypeAnswerBase, RecipeTypeRevision};

/// A batch that is wanted. Unknown fields are ignored.
#[derive(Debug, ToSchema)]
pub struct CreateRecipeBatch {
    /// For people, at most 255 characters.
    #[schema(max_length = 255)]
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// What it runs.
    pub recipe_type_id: i64,
    /// `dataset` or `previous_batch`, `forced_nodes`, `supersedes`.
    #[schema(value_type = Object)]
    pub definition: Value,
    /// `priority` (lower runs first), `inputMap`.
    pub configuration: Option<Value>,
    /// Whether existing recipes are superseded; `definition.supersedes` goes first.
    pub supersedes: Option<bool>,
}

/// What a check of a batch found.
#[derive(Debug, ToSchema)]
pub struct RecipeBatchValidation {
    /// Whether the same request would create a batch.
    pub is_valid: bool,
    /// Those of the first stage that failed.
    pub errors: Vec<V6Finding>,
    /// What is worth knowing.
    pub warnings: Vec<V6Finding>,
    /// How many recipes it would have; null when a document cannot be read, 0 when a check failed.
    pub recipes_estimated: Option<i64>,
    /// What it would run; null when a document cannot be read.
    pub recipe_type: Option<RecipeTypeAnswerBase>,
    /// The batch before. Absent when there is none.
    #[schema(required = false)]
    pub prev_batch: Option<PreviousRecipeBatch>,
}

/// The batch before one that is wanted.
#[derive(Debug, ToSchema)]
pub struct PreviousRecipeBatch {
    /// What it ran.
    pub recipe_type_rev: RecipeTypeRevision,
    /// The Recipe Diff document; absent where it was not computed.
    #[schema(required = false, value_type = Object)]
    pub diff: Option<Value>,
}

/// What is to change of a batch; null leaves a field as it is. Unknown fields are ignored.
#[derive(Debug, ToSchema)]
pub struct ChangeRecipeBatch {
    /// For people, at most 255 characters.
    #[schema(max_length = 255)]
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// In place of the stored one; `{}` leaves it as it is.
    pub configuration: Option<Value>,
    /// `true` pauses the batch: its jobs stay QUEUED. `false` resumes it.
    pub is_paused: Option<bool>,
}

/// The batches of a chain side by side: the n-th number of every list belongs to the n-th batch.
#[derive(Debug, ToSchema)]
pub struct RecipeBatchComparison {
    /// The batches, oldest first.
    pub batches: Vec<RecipeBatchBase>,
    /// `jobs_*` and `recipes_*`, a list each; and `job_metrics`: for each node `jobs_*` and durations, a list each, with null where
    /// a batch has no such node.
    #[schema(value_type = Object)]
    pub metrics: Value,
}

/// Which jobs are meant: those that every given filter lets through. There must be one; unknown fields are ignored.
#[derive(Debug, ToSchema)]
pub struct JobsToCancel {
    /// Changed no earlier: a datetime with a zone, or a duration back from now.
    pub started: Option<String>,
    /// Changed no later: a datetime with a zone, or a duration back from now.
    pub ended: Option<String>,
    /// With any of these statuses.
    pub status: Option<Vec<String>>,
    /// Any of these.
    pub job_ids: Option<Vec<i64>>,
    /// Of any of these types.
    pub job_type_ids: Option<Vec<i64>>,
    /// `{name, version}` each: of any of these types, which must exist.
    pub job_types: Option<Vec<Value>>,
    /// Of types with any of these names.
    pub job_type_names: Option<Vec<String>>,
    /// Created for any of these batches.
    pub batch_ids: Option<Vec<i64>>,
    /// Created in any of these recipes.
    pub recipe_ids: Option<Vec<i64>>,
    /// With an error of any of these categories: `SYSTEM`, `DATA`, `ALGORITHM`.
    pub error_categories: Option<Vec<String>>,
    /// With any of these errors.
    pub error_ids: Option<Vec<i64>>,
    /// Whether a newer job does their work.
    pub is_superseded: Option<bool>,
}

/// Which jobs are meant, and with what priority they are queued.
#[derive(Debug, ToSchema)]
pub struct JobsToRequeue {
    /// Which jobs.
    #[serde(flatten)]
    pub filter: JobsToCancel,
    /// Lower goes first; without it, that of the batch or the job type.
    pub priority: Option<i64>,
}

/// A recipe that is wanted outside of batches. Unknown fields are ignored.
#[derive(Debug, ToSchema)]
pub struct CreateRecipe {
    /// What it is a run of.
    pub recipe_type_id: i64,
    /// Values of the recipe's inputs; others are dropped.
    #[schema(value_type = DataDocument)]
    pub input: Value,
    /// Taken and not used.
    pub configuration: Option<Value>,
}

/// A job that is wanted outside of recipes. Unknown fields are ignored.
#[derive(Debug, ToSchema)]
pub struct CreateJob {
    /// What it runs, in its newest revision.
    pub job_type_id: i64,
    /// Values of the manifest's inputs; others are dropped.
    #[schema(value_type = DataDocument)]
    pub input: Value,
    /// Taken and not used.
    pub configuration: Option<Value>,
}

/// How a recipe is done again. Unknown fields are ignored.
#[derive(Debug, ToSchema)]
pub struct ReprocessRecipe {
    /// `all`, `nodes`, `sub_recipes`: what is made anew though nothing changed. Every name must be one of the revision.
    #[schema(value_type = Object)]
    pub forced_nodes: Value,
    /// The revision of its type; the newest when absent.
    pub revision_num: Option<i64>,
}
