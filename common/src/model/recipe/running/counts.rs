//! What the counters of batches gain (contract 4.8).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Running;
use super::advance::above;
use super::rows::{JobRow, Placed, Slot};
use crate::model::recipe::job::JobStatus;
use crate::model::recipe::metrics::{BatchCounts, JobCounts, NodeMetrics, Took};

/// Changes of counters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    /// By batch.
    pub batches: BTreeMap<i64, BatchCounts>,
    /// By batch and name of a job node.
    pub nodes: BTreeMap<(i64, Arc<str>), NodeMetrics>,
}

impl Running {
    /// What changed since everything was loaded.
    pub fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        for row in self.jobs.values().filter(|row| row.before != Some(row.job.status)) {
            let mut tops = BTreeSet::new();
            for (recipe, node) in row.place.iter().chain(&row.links) {
                self.tops(*recipe, &mut tops);
                if self.recipes.get(recipe).is_some_and(|recipe| recipe.parent.is_none() && recipe.stored) {
                    self.count_node((*recipe, *node), row, row.before, &mut counted);
                }
            }
            for top in tops {
                // What a new recipe holds is counted as a whole.
                let Some(recipe) = self.recipes.get(&top).filter(|recipe| recipe.stored) else { continue };
                if let Some(batch) = recipe.batch_id {
                    counted.batches.entry(batch).or_default().jobs += change(row.before, row.job.status);
                }
            }
        }
        for recipe in self.recipes.values() {
            if recipe.parent.is_none() && !recipe.stored {
                let Some(batch) = recipe.batch_id else { continue };
                let mut counts = BatchCounts::default();
                self.count_whole(recipe.id, &mut counts);
                *counted.batches.entry(batch).or_default() += counts;
                for (slot, (node, _)) in recipe.slots.iter().zip(recipe.revision.graph.nodes()) {
                    if let Slot::Job(job) = slot
                        && let Some(row) = self.jobs.get(job)
                    {
                        self.count_node((recipe.id, node), row, None, &mut counted);
                    }
                }
                continue;
            }
            let counts = BatchCounts {
                recipes_total: i64::from(!recipe.stored),
                recipes_completed: i64::from(recipe.is_completed && !recipe.was_completed),
                ..BatchCounts::default()
            };
            if counts == BatchCounts::default() {
                continue;
            }
            let mut tops = BTreeSet::new();
            self.tops(recipe.id, &mut tops);
            for top in tops {
                let Some(recipe) = self.recipes.get(&top).filter(|recipe| recipe.stored) else { continue };
                if let Some(batch) = recipe.batch_id {
                    *counted.batches.entry(batch).or_default() += counts;
                }
            }
        }
        counted.batches.retain(|_, counts| *counts != BatchCounts::default());
        counted.nodes.retain(|_, metrics| *metrics != NodeMetrics::default());
        counted
    }

    /// The top-level recipes that a recipe is in.
    fn tops(&self, id: i64, tops: &mut BTreeSet<i64>) {
        let Some(recipe) = self.recipes.get(&id) else { return };
        if recipe.parent.is_none() {
            tops.insert(id);
        }
        for recipe in above(recipe) {
            self.tops(recipe, tops);
        }
    }

    fn count_whole(&self, id: i64, counts: &mut BatchCounts) {
        let Some(recipe) = self.recipes.get(&id) else { return };
        counts.recipes_total += 1;
        counts.recipes_completed += i64::from(recipe.is_completed);
        for slot in &recipe.slots {
            match slot {
                Slot::Job(job) => {
                    if let Some(row) = self.jobs.get(job) {
                        counts.jobs += JobCounts::one(row.job.status);
                    }
                }
                Slot::Recipe(sub) => self.count_whole(*sub, counts),
                Slot::Condition { .. } | Slot::Absent => {}
            }
        }
    }

    fn count_node(
        &self,
        (recipe, node): Placed,
        row: &JobRow,
        before: Option<JobStatus>,
        counted: &mut Counted,
    ) {
        let Some(recipe) = self.recipes.get(&recipe) else { return };
        let Some(batch) = recipe.batch_id else { return };
        let name = &recipe.revision.graph.node(node).name;
        let took = Took {
            job: row.report.started.zip(row.ended).and_then(|(from, to)| (to - from).num_microseconds()),
            seed: row.report.seed_micros,
        };
        let metrics = match before {
            None => NodeMetrics::job_linked(row.job.status, took),
            Some(before) => NodeMetrics::job_moved(before, row.job.status, took),
        };
        *counted.nodes.entry((batch, Arc::clone(name))).or_default() += metrics;
    }
}

fn change(before: Option<JobStatus>, after: JobStatus) -> JobCounts {
    match before {
        None => JobCounts::one(after),
        Some(before) => JobCounts::moved(before, after),
    }
}
