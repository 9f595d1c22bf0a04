//! Recipes as they are answered (scale-v6 5.5).

use millrace_common::store::recipes::{InstanceNode, NodeInstance, Recipe, RecipeInstance};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::v6::http::datetime;
use crate::v6::wire::{
    DataDocument, EventAnswer, Id, JobTypeAnswerBase, RecipeBatchBase, RecipeCounters, RecipeTypeAnswerBase,
    RecipeTypeRevision, event_details,
};

/// A recipe, as others refer to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeBase {
    /// The recipe.
    pub id: i64,
    /// What it is a run of.
    pub recipe_type: RecipeTypeAnswerBase,
}

/// A recipe.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeAnswer {
    /// The recipe.
    pub id: i64,
    /// What it is a run of.
    pub recipe_type: RecipeTypeAnswerBase,
    /// The revision of it.
    pub recipe_type_rev: RecipeTypeRevision,
    /// Why it was created.
    pub event: EventAnswer,
    /// The batch that it was created for.
    pub batch: Option<RecipeBatchBase>,
    /// Of a sub-recipe: the recipe that it is in.
    pub recipe: Option<RecipeBase>,
    /// Of a sub-recipe: the recipe at the top.
    pub root_recipe: Option<Id>,
    /// Whether a newer recipe took its place.
    pub is_superseded: bool,
    /// The recipe whose place it took.
    pub superseded_recipe: Option<Id>,
    /// Always null.
    pub input_file_size: Option<f64>,
    /// Always null.
    pub source_started: Option<String>,
    /// Always null.
    pub source_ended: Option<String>,
    /// Always null.
    pub source_sensor_class: Option<String>,
    /// Always null.
    pub source_sensor: Option<String>,
    /// Always null.
    pub source_collection: Option<String>,
    /// Always null.
    pub source_task: Option<String>,
    /// Always null.
    pub ingest_event: Option<String>,
    /// Jobs by status, and sub-recipes.
    #[serde(flatten)]
    pub counters: RecipeCounters,
    /// Whether every node is done.
    pub is_completed: bool,
    /// When it was created.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it completed.
    #[schema(format = DateTime)]
    pub completed: Option<String>,
    /// When it was superseded.
    #[schema(format = DateTime)]
    pub superseded: Option<String>,
    /// When it changed last.
    #[schema(format = DateTime)]
    pub last_modified: String,
}

impl From<Recipe> for RecipeAnswer {
    fn from(recipe: Recipe) -> Self {
        Self {
            id: recipe.id,
            recipe_type: recipe.recipe_type.into(),
            recipe_type_rev: recipe.revision.into(),
            event: (&recipe.event).into(),
            batch: recipe.batch.map(Into::into),
            recipe: recipe.parent.map(|(id, recipe_type)| RecipeBase { id, recipe_type: recipe_type.into() }),
            root_recipe: recipe.root_recipe_id.map(|id| Id { id }),
            is_superseded: recipe.is_superseded,
            superseded_recipe: recipe.superseded_recipe_id.map(|id| Id { id }),
            input_file_size: None,
            source_started: None,
            source_ended: None,
            source_sensor_class: None,
            source_sensor: None,
            source_collection: None,
            source_task: None,
            ingest_event: None,
            counters: recipe.counts.into(),
            is_completed: recipe.is_completed,
            created: datetime(recipe.created),
            completed: recipe.completed.map(datetime),
            superseded: recipe.superseded.map(datetime),
            last_modified: datetime(recipe.last_modified),
        }
    }
}

/// A recipe with its nodes.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeDetails {
    /// As in lists; `event` has `description` as well.
    #[serde(flatten)]
    pub recipe: RecipeAnswer,
    /// Null for a sub-recipe that waits for it.
    #[schema(value_type = Option<DataDocument>)]
    pub input: Option<Value>,
    /// `nodes`: those that exist, by name, each with `dependencies` and `node_type`.
    #[schema(value_type = Object)]
    pub details: Value,
    /// The recipe that took its place.
    pub superseded_by_recipe: Option<Id>,
    /// The job types of its revision.
    pub job_types: Vec<JobTypeAnswerBase>,
    /// The recipe types of its revision.
    pub sub_recipe_types: Vec<RecipeTypeAnswerBase>,
}

/// The details of a recipe.
pub(super) fn details(found: RecipeInstance) -> Value {
    let RecipeInstance { recipe, nodes, job_types, sub_recipe_types } = found;
    let event = event_details(&recipe.event);
    let nodes: Map<String, Value> = nodes.into_iter().map(|(name, found)| (name, node(found))).collect();
    let mut answer = json!(RecipeDetails {
        input: recipe.input.clone(),
        details: json!({"nodes": nodes}),
        superseded_by_recipe: recipe.superseded_by_recipe_id.map(|id| Id { id }),
        job_types: job_types.into_iter().map(Into::into).collect(),
        sub_recipe_types: sub_recipe_types.into_iter().map(Into::into).collect(),
        recipe: recipe.into(),
    });
    answer["event"] = event;
    answer
}

/// One node of the recipe instance document.
fn node(node: InstanceNode) -> Value {
    let node_type = match node.instance {
        NodeInstance::Job { job_type_name, job_type_version, job_type_revision, job_id, status } => json!({
            "node_type": "job", "job_type_name": job_type_name, "job_type_version": job_type_version,
            "job_type_revision": job_type_revision, "job_id": job_id, "status": status,
        }),
        NodeInstance::Recipe { recipe_type_name, recipe_type_revision, recipe_id, is_completed, counts } => {
            let mut node_type = json!(RecipeCounters::from(counts));
            node_type["node_type"] = json!("recipe");
            node_type["recipe_type_name"] = json!(recipe_type_name);
            node_type["recipe_type_revision"] = json!(recipe_type_revision);
            node_type["recipe_id"] = json!(recipe_id);
            node_type["is_completed"] = json!(is_completed);
            node_type
        }
        NodeInstance::Condition { condition_id, is_processed, is_accepted } => json!({
            "node_type": "condition", "condition_id": condition_id, "is_processed": is_processed,
            "is_accepted": is_accepted,
        }),
    };
    let dependencies: Vec<Value> = node.dependencies.into_iter().map(|name| json!({"name": name})).collect();
    json!({"dependencies": dependencies, "node_type": node_type})
}
