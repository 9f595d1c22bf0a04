//! Rows of revisions, recipes and jobs, as far as running them needs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::model::recipe::data::{Data, InputHash};
use crate::model::recipe::graph::Graph;
use crate::model::recipe::job::{Job, JobStatus};
use crate::model::recipe::node_set::{NodeIndex, NodeSet};

/// A node of a recipe.
pub type Placed = (i64, NodeIndex);

/// A revision of a recipe type with what its nodes refer to.
#[derive(Debug)]
pub struct Revision {
    /// Its id.
    pub id: i64,
    /// The recipe type.
    pub recipe_type_id: i64,
    /// Its nodes.
    pub graph: Arc<Graph>,
    /// The job types of job nodes.
    pub jobs: BTreeMap<NodeIndex, JobNode>,
    /// The revisions of recipe nodes.
    pub recipes: BTreeMap<NodeIndex, i64>,
}

impl Revision {
    /// Whether running a recipe needs its data here, since there are conditions to decide or sub-recipes to start.
    pub fn needs_data(&self) -> bool {
        self.jobs.len() < self.graph.len()
    }
}

/// What a job node refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobNode {
    /// The job type.
    pub job_type_id: i64,
    /// Its revision.
    pub job_type_rev_id: i64,
    /// How many executions there may be.
    pub max_tries: i32,
    /// Of the job type's configuration.
    pub priority: Option<i64>,
    /// Whether jobs of the job type stay QUEUED and go to no worker.
    pub is_paused: bool,
}

/// What is at a node of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Nothing yet, or ever.
    Absent,
    /// A job, which may be that of an older recipe.
    Job(i64),
    /// A sub-recipe, which may be that of an older recipe.
    Recipe(i64),
    /// A condition.
    Condition {
        /// What it came to.
        outcome: Option<bool>,
        /// Whether there is a row of it.
        stored: bool,
        /// Whether the outcome is new.
        changed: bool,
    },
}

/// A recipe.
#[derive(Debug, Clone)]
pub struct RecipeRow {
    /// Its id.
    pub id: i64,
    /// The tenant.
    pub tenant_id: Uuid,
    /// The batch.
    pub batch_id: Option<i64>,
    /// Why it was created.
    pub event_id: i64,
    /// What it runs.
    pub revision: Arc<Revision>,
    /// The dataset member that it was made from.
    pub member_id: Option<i64>,
    /// The recipe of the batch before that it was made from.
    pub source_recipe_id: Option<i64>,
    /// Of a sub-recipe: where it is.
    pub parent: Option<Placed>,
    /// Of a sub-recipe: the recipe at the top.
    pub root_id: Option<i64>,
    /// The recipe that it superseded.
    pub superseded_recipe_id: Option<i64>,
    /// The first of its family.
    pub root_superseded_recipe_id: Option<i64>,
    /// Its input, where it is needed.
    pub input: Option<Data>,
    /// The hash of a top-level recipe's input.
    pub input_hash: Option<InputHash>,
    /// Whether it has its input.
    pub has_input: bool,
    /// Whether something before it blocks.
    pub is_blocked: bool,
    /// Whether it is completed.
    pub is_completed: bool,
    /// Whether it is superseded.
    pub is_superseded: bool,
    /// What is at its nodes.
    pub slots: Vec<Slot>,
    /// Nodes whose job or sub-recipe is that of an older recipe.
    pub linked: NodeSet,
    /// Recipes that link it as a sub-recipe.
    pub holders: Vec<Placed>,
    /// Whether there is a row of it.
    pub stored: bool,
    /// Whether its row is to be written.
    pub changed: bool,
    /// Whether it was completed before.
    pub was_completed: bool,
    /// Whether it was superseded before.
    pub was_superseded: bool,
    /// Whether it had its input before.
    pub had_input: bool,
}

/// A job outside recipes that is to be made.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Why.
    pub event_id: i64,
    /// What it runs.
    pub node: JobNode,
    /// What it is computed from.
    pub input: Arc<Data>,
}

/// A top-level recipe that is to be made.
#[derive(Debug, Clone)]
pub struct NewRecipe {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The batch.
    pub batch_id: Option<i64>,
    /// Why.
    pub event_id: i64,
    /// What it runs.
    pub revision: Arc<Revision>,
    /// The dataset member that it is made from.
    pub member_id: Option<i64>,
    /// The recipe of the batch before that it is made from.
    pub source_recipe_id: Option<i64>,
    /// Its input.
    pub input: Data,
    /// The input's hash.
    pub input_hash: InputHash,
}

/// A worker as rows name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerName {
    /// The process.
    pub id: Uuid,
    /// For people.
    pub name: Arc<str>,
}

/// How an execution went.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What came out, of one that succeeded.
    pub output: Option<Arc<Data>>,
    /// Why it failed: the error's id, and details for people.
    pub error: Option<(i64, String)>,
    /// When the worker began.
    pub started: Option<DateTime<Utc>>,
    /// The evaluation alone, in microseconds.
    pub seed_micros: Option<i64>,
    /// The worker.
    pub worker: Option<WorkerName>,
}

/// What is to be written of a job that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JobWrite {
    /// Nothing.
    #[default]
    Nothing,
    /// Its status, with what goes with it.
    Move,
    /// That it is on the queue, and nothing of an execution.
    Queue,
    /// An execution's end.
    Finish,
}

/// A job.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub id: i64,
    /// The tenant.
    pub tenant_id: Uuid,
    /// The batch.
    pub batch_id: Option<i64>,
    /// Why it was created.
    pub event_id: i64,
    /// Where it is; none for a job outside recipes.
    pub place: Option<Placed>,
    /// Recipes that link it.
    pub links: Vec<Placed>,
    /// What it runs, and what its job type says.
    pub node: JobNode,
    /// What decides on its transitions.
    pub job: Job,
    /// With which it was queued now.
    pub priority: Option<i64>,
    /// The priority that a requeue asks for.
    pub asked_priority: Option<i64>,
    /// The job that it takes the place of.
    pub superseded_job_id: Option<i64>,
    /// The input of a new job outside recipes.
    pub input: Option<Arc<Data>>,
    /// Its output, where it is needed or new.
    pub output: Option<Arc<Data>>,
    /// How its execution went, or what is kept of it.
    pub report: Report,
    /// When it ended, where that is known.
    pub ended: Option<DateTime<Utc>>,
    /// The status that is stored; none for a new one.
    pub before: Option<JobStatus>,
    /// What is to be written.
    pub write: JobWrite,
    /// Whether it is put on the queue now.
    pub queued_now: bool,
    /// Whether it became superseded now.
    pub superseded_now: bool,
    /// The number of the execution that is put by, when another begins.
    pub put_by: Option<PutBy>,
}

/// An execution that is put by because another begins.
#[derive(Debug, Clone)]
pub enum PutBy {
    /// It stands in the job's row as it was.
    AsStored,
    /// It just failed.
    Failed {
        /// Its number.
        exe_num: i32,
        /// How it went.
        report: Report,
    },
}
