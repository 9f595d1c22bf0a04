//! Recipes in motion: the rows of some recipes in memory, what happens to them, and what is to be written.
//!
//! A transaction loads the recipes that something happens to, with everything in them and everything that holds them, and
//! locks them; it reports what happened to jobs, lets [`Running::settle`] carry out what [`evaluate`](super::evaluate())
//! says until there is nothing more to do, and writes every row that changed. New recipes, sub-recipes, reprocessing, results,
//! cancels and requeues all go this one way, and every status through [`job_step`](super::job_step).
//!
//! Conditions and sub-recipes need no worker: they are decided and started here.

mod advance;
mod counts;
mod rows;
mod supersede;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use counts::Counted;
pub use rows::{
    JobNode, JobRow, JobWrite, NewJob, NewRecipe, Placed, PutBy, RecipeRow, Report, Revision, Slot,
    WorkerName,
};

use super::node_set::NodeIndex;
use super::reprocess::ReprocessPlan;

/// What keeps recipes from being moved. Each is an error of the caller, who loads too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunningError {
    /// A recipe that another one refers to is not there.
    #[error("recipe {0} was not loaded")]
    NoRecipe(i64),
    /// A job that a recipe refers to is not there.
    #[error("job {0} was not loaded")]
    NoJob(i64),
    /// A revision that a recipe node refers to is not there.
    #[error("revision {0} of a recipe type was not loaded")]
    NoRevision(i64),
    /// A node of a revision has no job type.
    #[error("node {node} of revision {revision} has no job type")]
    NoJobType {
        /// The revision.
        revision: i64,
        /// The node's number.
        node: i16,
    },
    /// There are fewer numbers for new rows than rows.
    #[error("there are not enough numbers for new rows")]
    NoNumber,
}

/// Recipes and jobs in memory.
#[derive(Debug, Default)]
pub struct Running {
    at: DateTime<Utc>,
    /// Recipes by id.
    pub recipes: BTreeMap<i64, RecipeRow>,
    /// Jobs by id.
    pub jobs: HashMap<i64, JobRow>,
    /// Revisions that recipe nodes refer to.
    pub revisions: HashMap<i64, Arc<Revision>>,
    /// The configured priority of batches.
    pub batch_priorities: HashMap<i64, Option<i64>>,
    /// Numbers for new recipes.
    pub recipe_ids: VecDeque<i64>,
    /// Numbers for new jobs.
    pub job_ids: VecDeque<i64>,
    /// What is known of jobs that were evaluated before they were queued: taken as soon as they are.
    pub foreseen: HashMap<Placed, Report>,
    /// Results that were taken from `foreseen`.
    pub taken: u64,
    dirty: BTreeSet<i64>,
    /// What a node takes the place of, until it is created.
    replaces: HashMap<Placed, i64>,
    inside: HashMap<Placed, (i64, Arc<ReprocessPlan>)>,
}

impl Running {
    /// Nothing yet; things happen `at` this time.
    pub fn new(at: DateTime<Utc>) -> Self {
        Self { at, ..Self::default() }
    }

    /// When things happen.
    pub const fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// How many rows of jobs and recipes may be created at most, if everything that can exist is made.
    pub fn most_new_rows(&self) -> (usize, usize) {
        let mut most = (0, 0);
        for recipe in self.recipes.values().filter(|recipe| !recipe.is_superseded) {
            self.absent_rows(recipe, &mut most);
        }
        most
    }

    fn absent_rows(&self, recipe: &RecipeRow, most: &mut (usize, usize)) {
        for (slot, (node, _)) in recipe.slots.iter().zip(recipe.revision.graph.nodes()) {
            if matches!(slot, Slot::Absent) {
                self.node_rows(&recipe.revision, node, most);
            }
        }
    }

    fn node_rows(&self, revision: &Revision, node: NodeIndex, most: &mut (usize, usize)) {
        if revision.jobs.contains_key(&node) {
            most.0 += 1;
        } else if let Some(sub) = revision.recipes.get(&node) {
            most.1 += 1;
            if let Some(sub) = self.revisions.get(sub) {
                for (node, _) in sub.graph.nodes() {
                    self.node_rows(sub, node, most);
                }
            }
        }
    }

    /// A recipe is to be looked at.
    pub fn touch(&mut self, recipe: i64) {
        self.dirty.insert(recipe);
    }

    fn recipe(&self, id: i64) -> Result<&RecipeRow, RunningError> {
        self.recipes.get(&id).ok_or(RunningError::NoRecipe(id))
    }

    fn recipe_mut(&mut self, id: i64) -> Result<&mut RecipeRow, RunningError> {
        self.recipes.get_mut(&id).ok_or(RunningError::NoRecipe(id))
    }

    fn job(&self, id: i64) -> Result<&JobRow, RunningError> {
        self.jobs.get(&id).ok_or(RunningError::NoJob(id))
    }
}
