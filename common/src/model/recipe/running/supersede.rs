//! Reprocessing (contract 4.4, 4.5): a recipe takes the place of an older one.

use std::sync::Arc;

use super::rows::{NewRecipe, Report, Slot};
use super::{Running, RunningError};
use crate::model::recipe::job::JobEvent;
use crate::model::recipe::node_set::NodeSet;
use crate::model::recipe::reprocess::ReprocessPlan;

impl Running {
    /// Makes a recipe that takes the place of `old`, which is loaded with everything in it. Its jobs are in `old`'s state
    /// where the plan copies them.
    pub fn reprocess(&mut self, old: i64, new: NewRecipe, plan: &ReprocessPlan) -> Result<i64, RunningError> {
        let id = self.create(new)?;
        self.take_over(old, id, plan)?;
        Ok(id)
    }

    /// Carries a plan out: links what is copied, and supersedes the rest.
    pub(super) fn take_over(&mut self, old: i64, new: i64, plan: &ReprocessPlan) -> Result<(), RunningError> {
        let before = self.recipe(old)?;
        let slots = before.slots.clone();
        let first = before.root_superseded_recipe_id.unwrap_or(old);
        let recipe = self.recipe_mut(new)?;
        recipe.superseded_recipe_id = Some(old);
        recipe.root_superseded_recipe_id = Some(first);
        for copied in &plan.copies {
            let place = (new, copied.new);
            let slot = match slots[copied.prev.at()] {
                Slot::Condition { outcome, .. } => Slot::Condition { outcome, stored: false, changed: true },
                slot => slot,
            };
            match slot {
                Slot::Job(job) => {
                    self.jobs.get_mut(&job).ok_or(RunningError::NoJob(job))?.links.push(place);
                    self.recipe_mut(new)?.linked.insert(copied.new);
                }
                Slot::Recipe(sub) => {
                    self.recipe_mut(sub)?.holders.push(place);
                    self.recipe_mut(new)?.linked.insert(copied.new);
                }
                Slot::Condition { .. } | Slot::Absent => {}
            }
            self.recipe_mut(new)?.slots[copied.new.at()] = slot;
        }
        for redone in &plan.redone {
            let Some(prev) = redone.prev else { continue };
            match (slots[prev.at()], &redone.inside) {
                (Slot::Job(job), _) => {
                    self.replaces.insert((new, redone.new), job);
                }
                (Slot::Recipe(sub), Some(inside)) => {
                    self.inside.insert((new, redone.new), (sub, Arc::clone(inside)));
                }
                _ => {}
            }
        }
        self.supersede(old, Some(plan))
    }

    /// Supersedes a recipe with everything in it that no plan copies.
    fn supersede(&mut self, id: i64, plan: Option<&ReprocessPlan>) -> Result<(), RunningError> {
        let recipe = self.recipe_mut(id)?;
        if !recipe.is_superseded {
            recipe.is_superseded = true;
            recipe.changed = true;
        }
        let slots = recipe.slots.clone();
        let nodes: Vec<_> = recipe.revision.graph.nodes().map(|(node, _)| node).collect();
        let kept: NodeSet =
            plan.into_iter().flat_map(|plan| &plan.copies).map(|copied| copied.prev).collect();
        for (node, slot) in nodes.into_iter().zip(slots).filter(|(node, _)| !kept.contains(*node)) {
            match slot {
                Slot::Job(job) => {
                    let row = self.jobs.get_mut(&job).ok_or(RunningError::NoJob(job))?;
                    if !row.job.superseded {
                        row.job.superseded = true;
                        row.superseded_now = true;
                    }
                    self.happen_if_unfinished(job)?;
                }
                Slot::Recipe(sub) => {
                    let inside = plan
                        .into_iter()
                        .flat_map(|plan| &plan.redone)
                        .find(|redone| redone.prev == Some(node))
                        .and_then(|redone| redone.inside.clone());
                    self.supersede(sub, inside.as_deref())?;
                }
                Slot::Condition { .. } | Slot::Absent => {}
            }
        }
        Ok(())
    }

    /// An unfinished job is canceled; one that failed keeps its error.
    fn happen_if_unfinished(&mut self, job: i64) -> Result<(), RunningError> {
        use crate::model::recipe::job::JobStatus as S;
        let status = self.job(job)?.job.status;
        if matches!(status, S::Pending | S::Blocked | S::Queued | S::Running) {
            self.happen(job, JobEvent::Cancel, Report::default())?;
        }
        Ok(())
    }
}
