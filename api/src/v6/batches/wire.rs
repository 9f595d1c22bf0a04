//! Batches as they are answered (scale-v6 2.1, 2.2, 2.5, 2.6).

use std::collections::BTreeMap;

use millrace_common::model::recipe::{NodeMetrics, echo};
use millrace_common::store::recipes::{BatchDetails, RecipeBatch};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::v6::http::{datetime, duration};
use crate::v6::wire::{
    EventAnswer, JobCounters, RecipeBatchBase, RecipeTypeAnswerBase, RecipeTypeRevision, event_details,
};

/// A batch of recipes.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeBatchAnswer {
    /// The batch.
    pub id: i64,
    /// For people.
    pub title: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// What it runs.
    pub recipe_type: RecipeTypeAnswerBase,
    /// The revision of it, fixed at creation.
    pub recipe_type_rev: RecipeTypeRevision,
    /// Why it was created.
    pub event: EventAnswer,
    /// Whether it has a successor.
    pub is_superseded: bool,
    /// The first batch of its chain.
    pub root_batch: RecipeBatchBase,
    /// The batch before it.
    pub superseded_batch: Option<RecipeBatchBase>,
    /// Whether all of its top-level recipes exist.
    pub is_creation_done: bool,
    /// Whether it is paused: its jobs stay QUEUED.
    pub is_paused: bool,
    /// Jobs by status.
    #[serde(flatten)]
    pub jobs: JobCounters,
    /// How many recipes it would have, sub-recipes included.
    pub recipes_estimated: i64,
    /// How many it has.
    pub recipes_total: i64,
    /// How many of them are completed.
    pub recipes_completed: i64,
    /// When it was created.
    #[schema(format = DateTime)]
    pub created: String,
    /// When it got a successor.
    #[schema(format = DateTime)]
    pub superseded: Option<String>,
    /// When it was paused.
    #[schema(format = DateTime)]
    pub paused: Option<String>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// When it, or one of its counters, changed last.
    #[schema(format = DateTime)]
    pub last_modified: String,
}

impl From<RecipeBatch> for RecipeBatchAnswer {
    fn from(batch: RecipeBatch) -> Self {
        Self {
            id: batch.base.id,
            title: batch.base.title,
            description: batch.base.description,
            recipe_type: batch.recipe_type.into(),
            recipe_type_rev: batch.revision.into(),
            event: (&batch.event).into(),
            is_superseded: batch.is_superseded,
            root_batch: batch.root.into(),
            superseded_batch: batch.previous.map(Into::into),
            is_creation_done: batch.is_creation_done,
            is_paused: batch.paused.is_some(),
            jobs: batch.counts.jobs.into(),
            recipes_estimated: batch.recipes_estimated,
            recipes_total: batch.counts.recipes_total,
            recipes_completed: batch.counts.recipes_completed,
            created: datetime(batch.base.created),
            superseded: batch.superseded.map(datetime),
            paused: batch.paused.map(datetime),
            paused_by: batch.paused_by,
            last_modified: datetime(batch.last_modified),
        }
    }
}

/// `job_metrics` of a node: jobs by status, and how long completed ones took.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeMetricsAnswer {
    /// Jobs by status.
    #[serde(flatten)]
    pub jobs: JobCounters,
    /// The shortest evaluation, as an ISO-8601 duration.
    pub min_seed_duration: Option<String>,
    /// The mean of evaluations.
    pub avg_seed_duration: Option<String>,
    /// The longest evaluation.
    pub max_seed_duration: Option<String>,
    /// The shortest time from dispatch to completion.
    pub min_job_duration: Option<String>,
    /// The mean of times from dispatch to completion.
    pub avg_job_duration: Option<String>,
    /// The longest time from dispatch to completion.
    pub max_job_duration: Option<String>,
}

impl From<NodeMetrics> for NodeMetricsAnswer {
    fn from(metrics: NodeMetrics) -> Self {
        Self {
            jobs: metrics.jobs.into(),
            min_seed_duration: metrics.seed.shortest().map(duration),
            avg_seed_duration: metrics.seed.mean().map(duration),
            max_seed_duration: metrics.seed.longest().map(duration),
            min_job_duration: metrics.job.shortest().map(duration),
            avg_job_duration: metrics.job.mean().map(duration),
            max_job_duration: metrics.job.longest().map(duration),
        }
    }
}

/// A batch with what is only told of one: the definition that it runs (in `recipe_type_rev`), who made it (in `event`), and metrics.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecipeBatchDetails {
    /// As in lists; `recipe_type_rev` has `definition` and `created` as well, `event` has `description`.
    #[serde(flatten)]
    pub batch: RecipeBatchAnswer,
    /// As submitted.
    #[schema(value_type = Object)]
    pub definition: Value,
    /// As submitted.
    #[schema(value_type = Object)]
    pub configuration: Value,
    /// Every job node of the revision.
    pub job_metrics: BTreeMap<String, NodeMetricsAnswer>,
}

/// The details of a batch.
pub(super) fn details(found: BatchDetails) -> Value {
    let event = event_details(&found.batch.event);
    let definition = found.batch.definition.clone();
    let configuration = found.batch.configuration.clone();
    let nodes = found.nodes.into_iter().map(|(name, metrics)| (name, metrics.into()));
    let answer = RecipeBatchDetails {
        batch: found.batch.into(),
        definition,
        configuration,
        job_metrics: nodes.collect(),
    };
    let mut answer = json!(answer);
    answer["event"] = event;
    answer["recipe_type_rev"]["definition"] = echo::recipe_definition(&found.recipe_definition);
    answer["recipe_type_rev"]["created"] = json!(datetime(found.revision_created));
    answer
}
