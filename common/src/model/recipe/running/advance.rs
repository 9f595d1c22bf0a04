//! What happens to jobs, and what follows from it.

use std::sync::Arc;

use uuid::Uuid;

use super::rows::{JobNode, JobRow, JobWrite, NewJob, NewRecipe, Placed, PutBy, RecipeRow, Report, Slot};
use super::{Running, RunningError};
use crate::model::recipe::data::Data;
use crate::model::recipe::definition::NodeKind;
use crate::model::recipe::evaluate::{Evaluation, NodeState, Surroundings, evaluate};
use crate::model::recipe::job::{Job, JobEvent, JobStatus, JobStep, step};
use crate::model::recipe::node_set::{NodeIndex, NodeSet};
use crate::model::recipe::request::priority;

impl Running {
    /// Adds a top-level recipe, to be looked at.
    pub fn create(&mut self, new: NewRecipe) -> Result<i64, RunningError> {
        let id = self.recipe_ids.pop_front().ok_or(RunningError::NoNumber)?;
        let slots = vec![Slot::Absent; new.revision.graph.len()];
        self.recipes.insert(
            id,
            RecipeRow {
                id,
                tenant_id: new.tenant_id,
                batch_id: new.batch_id,
                event_id: new.event_id,
                revision: new.revision,
                member_id: new.member_id,
                source_recipe_id: new.source_recipe_id,
                parent: None,
                root_id: None,
                superseded_recipe_id: None,
                root_superseded_recipe_id: None,
                input: Some(new.input),
                input_hash: Some(new.input_hash),
                has_input: true,
                is_blocked: false,
                is_completed: false,
                is_superseded: false,
                slots,
                linked: NodeSet::default(),
                holders: Vec::new(),
                stored: false,
                changed: true,
                was_completed: false,
                was_superseded: false,
                had_input: false,
            },
        );
        self.touch(id);
        Ok(id)
    }

    /// Adds a job outside recipes, which is queued at once: it waits for nothing.
    pub fn create_job(&mut self, new: NewJob) -> Result<i64, RunningError> {
        let id = self.job_ids.pop_front().ok_or(RunningError::NoNumber)?;
        let row = JobRow {
            input: Some(new.input),
            ..self.new_job(id, new.tenant_id, None, new.event_id, new.node)
        };
        self.jobs.insert(id, row);
        self.happen(id, JobEvent::Queue, Report::default())?;
        Ok(id)
    }

    fn new_job(
        &self,
        id: i64,
        tenant_id: Uuid,
        batch_id: Option<i64>,
        event_id: i64,
        node: JobNode,
    ) -> JobRow {
        JobRow {
            id,
            tenant_id,
            batch_id,
            event_id,
            place: None,
            links: Vec::new(),
            node,
            job: Job {
                status: JobStatus::Pending,
                num_exes: 0,
                max_tries: node.max_tries,
                superseded: false,
                last_status_change: self.at,
            },
            priority: None,
            asked_priority: None,
            superseded_job_id: None,
            input: None,
            output: None,
            report: Report::default(),
            ended: None,
            before: None,
            write: JobWrite::Nothing,
            queued_now: false,
            superseded_now: false,
            put_by: None,
        }
    }

    /// Lets something happen to a job. Returns whether it did: a stale report, or one that the status does not allow, changes
    /// nothing.
    pub fn happen(&mut self, job_id: i64, event: JobEvent, report: Report) -> Result<bool, RunningError> {
        let at = self.at;
        let batch_priority = |batches: &std::collections::HashMap<i64, Option<i64>>,
                              batch: Option<i64>|
         -> Option<i64> { batches.get(&batch?).copied().flatten() };
        let batches = &self.batch_priorities;
        let row = self.jobs.get_mut(&job_id).ok_or(RunningError::NoJob(job_id))?;
        let JobStep::Become(next, effects) = step(&row.job, event, at) else { return Ok(false) };
        let from = row.job;
        row.job = next;
        match event {
            JobEvent::Succeed { .. } => {
                row.output.clone_from(&report.output);
                row.ended = Some(at);
                row.report = report;
                row.write = JobWrite::Finish;
            }
            JobEvent::Fail { exe_num, .. } if next.status == JobStatus::Queued => {
                row.put_by = Some(PutBy::Failed { exe_num, report });
            }
            JobEvent::Fail { .. } => {
                row.ended = Some(at);
                row.report = report;
                row.write = JobWrite::Finish;
            }
            JobEvent::Requeue { .. } if next.status == JobStatus::Queued => {
                row.put_by = Some(PutBy::AsStored);
            }
            JobEvent::Start { .. } => {
                row.report = report;
                row.write = JobWrite::Move;
            }
            _ => {
                row.report = report;
                row.write = JobWrite::Move;
            }
        }
        if effects.publish {
            row.priority = Some(priority(
                row.asked_priority,
                batch_priority(batches, row.batch_id),
                None,
                row.node.priority,
            ));
            row.queued_now = true;
            row.ended = None;
            row.report = Report::default();
            row.write = JobWrite::Queue;
        } else if next.status != JobStatus::Queued && row.write != JobWrite::Finish {
            row.queued_now = false;
        }
        let to = next.status;
        let held: Vec<i64> = row.place.iter().chain(&row.links).map(|(recipe, _)| *recipe).collect();
        if effects.evaluate {
            for recipe in held {
                // What fails, and what no longer does, blocks or releases what is behind its recipe, however far up.
                let far = to != JobStatus::Completed || is_failure(from.status);
                self.touch_upwards(recipe, far);
            }
        }
        Ok(true)
    }

    fn touch_upwards(&mut self, recipe: i64, far: bool) {
        if !self.recipes.contains_key(&recipe) {
            return;
        }
        self.touch(recipe);
        if far {
            let above: Vec<i64> = self.recipes.get(&recipe).map(above).unwrap_or_default();
            for recipe in above {
                self.touch_upwards(recipe, far);
            }
        }
    }

    /// Carries out what follows, until nothing does.
    pub fn settle(&mut self) -> Result<(), RunningError> {
        while let Some(id) = self.dirty.pop_first() {
            let evaluation = self.look(id)?;
            if evaluation.completed && !self.recipe(id)?.is_completed {
                let recipe = self.recipe_mut(id)?;
                recipe.is_completed = true;
                recipe.changed = true;
                for recipe in above(self.recipe(id)?) {
                    self.touch(recipe);
                }
            }
            if evaluation.is_idle() {
                continue;
            }
            for node in &evaluation.create {
                self.create_node((id, *node))?;
            }
            for node in &evaluation.block {
                self.shut((id, *node), true)?;
            }
            for node in &evaluation.release {
                self.shut((id, *node), false)?;
            }
            for node in &evaluation.start {
                self.start((id, *node))?;
            }
            self.touch(id);
        }
        Ok(())
    }

    fn look(&self, id: i64) -> Result<Evaluation, RunningError> {
        let recipe = self.recipe(id)?;
        let surroundings = Surroundings {
            has_input: recipe.has_input,
            blocked: recipe.is_blocked,
            superseded: recipe.is_superseded,
        };
        Ok(evaluate(&recipe.revision.graph, surroundings, |node| self.state(recipe, node)))
    }

    fn state(&self, recipe: &RecipeRow, node: NodeIndex) -> NodeState {
        match recipe.slots.get(node.at()) {
            Some(Slot::Job(id)) => match self.jobs.get(id) {
                Some(JobRow { job, .. }) => NodeState::Job {
                    status: job.status,
                    was_queued: job.num_exes > 0,
                    superseded: job.superseded,
                },
                None => NodeState::Absent,
            },
            Some(Slot::Recipe(id)) => match self.recipes.get(id) {
                Some(sub) => NodeState::Recipe {
                    started: sub.has_input,
                    completed: sub.is_completed,
                    failed: self.has_failure(*id),
                    blocked: sub.is_blocked,
                    superseded: sub.is_superseded,
                },
                None => NodeState::Absent,
            },
            Some(Slot::Condition { outcome, .. }) => NodeState::Condition { outcome: *outcome },
            Some(Slot::Absent) | None => NodeState::Absent,
        }
    }

    /// Whether a job in it, at any depth, is FAILED or CANCELED.
    fn has_failure(&self, id: i64) -> bool {
        self.recipes.get(&id).is_some_and(|recipe| {
            recipe.slots.iter().any(|slot| match slot {
                Slot::Job(id) => self.jobs.get(id).is_some_and(|row| is_failure(row.job.status)),
                Slot::Recipe(id) => self.has_failure(*id),
                Slot::Condition { .. } | Slot::Absent => false,
            })
        })
    }

    fn create_node(&mut self, place: Placed) -> Result<(), RunningError> {
        let (id, node) = place;
        let recipe = self.recipe(id)?;
        let revision = Arc::clone(&recipe.revision);
        let (tenant_id, batch_id, event_id) = (recipe.tenant_id, recipe.batch_id, recipe.event_id);
        let root_id = recipe.root_id.or(Some(id));
        let slot = match &revision.graph.node(node).kind {
            NodeKind::Condition(_) => Slot::Condition { outcome: None, stored: false, changed: true },
            NodeKind::Job(_) => {
                let missing = RunningError::NoJobType { revision: revision.id, node: node.number() };
                let refers = *revision.jobs.get(&node).ok_or(missing)?;
                let job_id = self.job_ids.pop_front().ok_or(RunningError::NoNumber)?;
                let row = JobRow {
                    place: Some(place),
                    superseded_job_id: self.replaces.remove(&place),
                    ..self.new_job(job_id, tenant_id, batch_id, event_id, refers)
                };
                self.jobs.insert(job_id, row);
                Slot::Job(job_id)
            }
            NodeKind::Recipe(_) => {
                let missing = RunningError::NoJobType { revision: revision.id, node: node.number() };
                let sub = *revision.recipes.get(&node).ok_or(missing)?;
                let sub = self.revisions.get(&sub).cloned().ok_or(RunningError::NoRevision(sub))?;
                let sub_id = self.recipe_ids.pop_front().ok_or(RunningError::NoNumber)?;
                let slots = vec![Slot::Absent; sub.graph.len()];
                self.recipes.insert(
                    sub_id,
                    RecipeRow {
                        id: sub_id,
                        tenant_id,
                        batch_id,
                        event_id,
                        revision: sub,
                        member_id: None,
                        source_recipe_id: None,
                        parent: Some(place),
                        root_id,
                        superseded_recipe_id: None,
                        root_superseded_recipe_id: None,
                        input: None,
                        input_hash: None,
                        has_input: false,
                        is_blocked: false,
                        is_completed: false,
                        is_superseded: false,
                        slots,
                        linked: NodeSet::default(),
                        holders: Vec::new(),
                        stored: false,
                        changed: true,
                        was_completed: false,
                        was_superseded: false,
                        had_input: false,
                    },
                );
                if let Some((old, plan)) = self.inside.remove(&place) {
                    self.take_over(old, sub_id, &plan)?;
                }
                self.touch(sub_id);
                Slot::Recipe(sub_id)
            }
        };
        self.recipe_mut(id)?.slots[node.at()] = slot;
        Ok(())
    }

    /// Blocks or releases a node's job, or the jobs of its sub-recipe.
    fn shut(&mut self, (id, node): Placed, blocked: bool) -> Result<(), RunningError> {
        match self.recipe(id)?.slots[node.at()] {
            Slot::Job(job) => {
                let event = if blocked { JobEvent::Block } else { JobEvent::Release };
                self.happen(job, event, Report::default())?;
            }
            Slot::Recipe(sub) => {
                let recipe = self.recipe_mut(sub)?;
                recipe.is_blocked = blocked;
                recipe.changed = true;
                self.touch(sub);
            }
            Slot::Condition { .. } | Slot::Absent => {}
        }
        Ok(())
    }

    /// Gives a node its input.
    fn start(&mut self, place: Placed) -> Result<(), RunningError> {
        let (id, node) = place;
        match self.recipe(id)?.slots[node.at()] {
            Slot::Job(job) => {
                self.happen(job, JobEvent::Queue, Report::default())?;
                if let Some(report) = self.foreseen.remove(&place) {
                    let row = self.job(job)?;
                    let exe_num = row.job.num_exes;
                    if exe_num == 1 && !row.node.is_paused {
                        self.taken += 1;
                        self.happen(job, JobEvent::Succeed { exe_num }, report)?;
                    }
                }
            }
            Slot::Recipe(sub) => {
                let input = self.node_input(place)?;
                let recipe = self.recipe_mut(sub)?;
                recipe.input = Some(input);
                recipe.has_input = true;
                recipe.changed = true;
                self.touch(sub);
            }
            Slot::Condition { stored, .. } => {
                let input = self.node_input(place)?;
                let recipe = self.recipe_mut(id)?;
                let outcome = match &recipe.revision.graph.node(node).kind {
                    NodeKind::Condition(condition) => Some(condition.filter.accepts(&input)),
                    NodeKind::Job(_) | NodeKind::Recipe(_) => None,
                };
                recipe.slots[node.at()] = Slot::Condition { outcome, stored, changed: true };
            }
            Slot::Absent => {}
        }
        Ok(())
    }

    fn node_input(&self, (id, node): Placed) -> Result<Data, RunningError> {
        let recipe = self.recipe(id)?;
        let nothing = Data::default();
        let input = recipe.input.as_ref().unwrap_or(&nothing);
        Ok(recipe.revision.graph.node_input(node, input, |parent| match recipe.slots.get(parent.at()) {
            Some(Slot::Job(job)) => self.jobs.get(job).and_then(|row| row.output.as_deref()),
            _ => None,
        }))
    }
}

/// The recipes that hold one as a sub-recipe.
pub(super) fn above(recipe: &RecipeRow) -> Vec<i64> {
    recipe.parent.iter().chain(&recipe.holders).map(|(recipe, _)| *recipe).collect()
}

const fn is_failure(status: JobStatus) -> bool {
    matches!(status, JobStatus::Failed | JobStatus::Canceled)
}
