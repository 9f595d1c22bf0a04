//! Metrics (contract 4.8) as counters that are kept by adding changes, so that no read counts jobs.
//!
//! A change at a job travels upwards as a [`Delta`]: to every recipe that links the job (its own, and those that
//! copied it), from each of these unchanged to the recipe above, and from a top-level recipe to its batch. Deltas add
//! up: a group of changes is one update for each recipe and batch. Nothing is ever unlinked, and COMPLETED is final,
//! so that durations only grow in number.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, AddAssign};

use super::job::JobStatus;

/// Jobs by status; or, in a delta, how the numbers change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JobCounts {
    /// PENDING.
    pub pending: i64,
    /// BLOCKED.
    pub blocked: i64,
    /// QUEUED.
    pub queued: i64,
    /// RUNNING.
    pub running: i64,
    /// FAILED.
    pub failed: i64,
    /// COMPLETED.
    pub completed: i64,
    /// CANCELED.
    pub canceled: i64,
}

impl JobCounts {
    /// One job with this status.
    pub fn one(status: JobStatus) -> Self {
        let mut counts = Self::default();
        *counts.of_mut(status) = 1;
        counts
    }

    /// A job that goes from one status to another.
    pub fn moved(from: JobStatus, to: JobStatus) -> Self {
        let mut counts = Self::default();
        *counts.of_mut(from) -= 1;
        *counts.of_mut(to) += 1;
        counts
    }

    /// How many have this status.
    pub const fn of(&self, status: JobStatus) -> i64 {
        match status {
            JobStatus::Pending => self.pending,
            JobStatus::Blocked => self.blocked,
            JobStatus::Queued => self.queued,
            JobStatus::Running => self.running,
            JobStatus::Failed => self.failed,
            JobStatus::Completed => self.completed,
            JobStatus::Canceled => self.canceled,
        }
    }

    const fn of_mut(&mut self, status: JobStatus) -> &mut i64 {
        match status {
            JobStatus::Pending => &mut self.pending,
            JobStatus::Blocked => &mut self.blocked,
            JobStatus::Queued => &mut self.queued,
            JobStatus::Running => &mut self.running,
            JobStatus::Failed => &mut self.failed,
            JobStatus::Completed => &mut self.completed,
            JobStatus::Canceled => &mut self.canceled,
        }
    }

    /// `jobs_total`: all of them.
    pub fn total(&self) -> i64 {
        JobStatus::ALL.into_iter().map(|status| self.of(status)).sum()
    }

    /// Whether a job here makes what depends on its recipe BLOCKED (6.2 rule 1).
    pub const fn has_failures(&self) -> bool {
        self.failed > 0 || self.canceled > 0
    }
}

impl AddAssign for JobCounts {
    fn add_assign(&mut self, other: Self) {
        for status in JobStatus::ALL {
            *self.of_mut(status) += other.of(status);
        }
    }
}

impl Add for JobCounts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// A recipe's counters: its own jobs and sub-recipes, and theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecipeCounts {
    /// `jobs_*`.
    pub jobs: JobCounts,
    /// `sub_recipes_total`.
    pub sub_recipes_total: i64,
    /// `sub_recipes_completed`.
    pub sub_recipes_completed: i64,
}

/// How a recipe's counters change, and with them those of every recipe above.
pub type Delta = RecipeCounts;

impl RecipeCounts {
    /// A job becomes part of the recipe: it is created, or copied with whatever status it has.
    pub fn job_linked(status: JobStatus) -> Delta {
        Delta { jobs: JobCounts::one(status), ..Delta::default() }
    }

    /// A linked job goes from one status to another.
    pub fn job_moved(from: JobStatus, to: JobStatus) -> Delta {
        Delta { jobs: JobCounts::moved(from, to), ..Delta::default() }
    }

    /// A sub-recipe becomes part of the recipe: it is created, or copied with whatever it counts.
    pub fn sub_recipe_linked(counts: &Self, is_completed: bool) -> Delta {
        Delta {
            jobs: counts.jobs,
            sub_recipes_total: counts.sub_recipes_total + 1,
            sub_recipes_completed: counts.sub_recipes_completed + i64::from(is_completed),
        }
    }

    /// A linked sub-recipe completes.
    pub fn sub_recipe_completed() -> Delta {
        Delta { sub_recipes_completed: 1, ..Delta::default() }
    }
}

impl AddAssign for RecipeCounts {
    fn add_assign(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.sub_recipes_total += other.sub_recipes_total;
        self.sub_recipes_completed += other.sub_recipes_completed;
    }
}

impl Add for RecipeCounts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// A batch's counters. Superseded recipes count as well: they keep their batch (4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchCounts {
    /// `jobs_*`.
    pub jobs: JobCounts,
    /// `recipes_total`, sub-recipes included.
    pub recipes_total: i64,
    /// `recipes_completed`, sub-recipes included.
    pub recipes_completed: i64,
}

impl BatchCounts {
    /// A top-level recipe is created in the batch, with what it already counts.
    pub fn recipe_created(counts: &RecipeCounts, is_completed: bool) -> Self {
        let whole = RecipeCounts::sub_recipe_linked(counts, is_completed);
        Self {
            jobs: whole.jobs,
            recipes_total: whole.sub_recipes_total,
            recipes_completed: whole.sub_recipes_completed,
        }
    }

    /// A top-level recipe's counters change.
    pub const fn recipe_changed(delta: &Delta) -> Self {
        Self {
            jobs: delta.jobs,
            recipes_total: delta.sub_recipes_total,
            recipes_completed: delta.sub_recipes_completed,
        }
    }

    /// A top-level recipe completes.
    pub fn recipe_completed() -> Self {
        Self { recipes_completed: 1, ..Self::default() }
    }
}

impl AddAssign for BatchCounts {
    fn add_assign(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.recipes_total += other.recipes_total;
        self.recipes_completed += other.recipes_completed;
    }
}

/// Durations of COMPLETED jobs, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// How many.
    pub count: i64,
    /// Their sum.
    pub sum: i64,
    /// The shortest; meaningless without any.
    pub min: i64,
    /// The longest; meaningless without any.
    pub max: i64,
}

impl Durations {
    /// One duration, in microseconds. A clock that went back counts as 0.
    pub fn one(micros: i64) -> Self {
        let micros = micros.max(0);
        Self { count: 1, sum: micros, min: micros, max: micros }
    }

    /// The mean, rounded half up; none without any.
    pub fn mean(&self) -> Option<i64> {
        (self.count > 0).then(|| self.sum.saturating_add(self.count / 2) / self.count)
    }

    /// The shortest; none without any.
    pub fn shortest(&self) -> Option<i64> {
        (self.count > 0).then_some(self.min)
    }

    /// The longest; none without any.
    pub fn longest(&self) -> Option<i64> {
        (self.count > 0).then_some(self.max)
    }
}

impl AddAssign for Durations {
    fn add_assign(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        *self = if self.count == 0 {
            other
        } else {
            Self {
                count: self.count + other.count,
                sum: self.sum.saturating_add(other.sum),
                min: self.min.min(other.min),
                max: self.max.max(other.max),
            }
        };
    }
}

/// `job_metrics` of one node of a batch: the jobs of its top-level recipes under this name, copied ones included,
/// inner jobs of sub-recipes never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeMetrics {
    /// `jobs_*`.
    pub jobs: JobCounts,
    /// From dispatch to commit, waiting on the queue excluded.
    pub job: Durations,
    /// The evaluation alone, of the last execution.
    pub seed: Durations,
}

/// How long a COMPLETED job took, in microseconds. What is not known is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Took {
    /// `ended - started`.
    pub job: Option<i64>,
    /// The evaluation alone.
    pub seed: Option<i64>,
}

impl NodeMetrics {
    /// A job is linked under the node with this status. `took` counts of a COMPLETED one only.
    pub fn job_linked(status: JobStatus, took: Took) -> Self {
        Self { jobs: JobCounts::one(status), ..Self::took(status, took) }
    }

    /// A linked job goes from one status to another.
    pub fn job_moved(from: JobStatus, to: JobStatus, took: Took) -> Self {
        Self { jobs: JobCounts::moved(from, to), ..Self::took(to, took) }
    }

    fn took(status: JobStatus, took: Took) -> Self {
        let counted = |micros: Option<i64>| match micros {
            Some(micros) if status == JobStatus::Completed => Durations::one(micros),
            _ => Durations::default(),
        };
        Self { jobs: JobCounts::default(), job: counted(took.job), seed: counted(took.seed) }
    }
}

impl AddAssign for NodeMetrics {
    fn add_assign(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.job += other.job;
        self.seed += other.seed;
    }
}

/// `job_metrics` of a chain of batches side by side (contract 2.5): every node that a batch has, with one entry for
/// each batch, none where it has no such node.
pub fn side_by_side(batches: &[BTreeMap<String, NodeMetrics>]) -> BTreeMap<&str, Vec<Option<NodeMetrics>>> {
    let names: BTreeSet<&str> = batches.iter().flat_map(|batch| batch.keys().map(String::as_str)).collect();
    let entries = |name: &str| batches.iter().map(|batch| batch.get(name).copied()).collect();
    names.into_iter().map(|name| (name, entries(name))).collect()
}
