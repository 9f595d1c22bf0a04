//! Recipes in motion: random graphs, whatever happens to their jobs, and reprocessing. Counters that are kept by adding changes
//! must be those that counting anew gives, and nothing may be left to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use proptest::prelude::*;
use uuid::Uuid;

use super::samples::{assemble, forced_names, job_type, node, recipe_ref, revisions};
use crate::model::recipe::running::{JobNode, JobWrite, NewRecipe, Report, Revision, Running, Slot};
use crate::model::recipe::{
    BatchCounts, Data, ForcedNodes, Graph, JobCounts, JobEvent, JobStatus, NodeKind, RecipeDefinition,
    RecipeTypes, ReprocessPlan,
};

const SUB: i64 = 100;

fn revision(id: i64, definition: &RecipeDefinition) -> Arc<Revision> {
    let graph = Arc::new(Graph::compile(definition).unwrap());
    let (mut jobs, mut recipes) = (BTreeMap::new(), BTreeMap::new());
    for (index, node) in graph.nodes() {
        match &node.kind {
            NodeKind::Job(job) => {
                let refers = JobNode {
                    job_type_id: 1,
                    job_type_rev_id: job.revision,
                    max_tries: 2,
                    priority: None,
                    is_paused: false,
                };
                jobs.insert(index, refers);
            }
            NodeKind::Recipe(recipe) => {
                recipes.insert(index, SUB + recipe.revision);
            }
            NodeKind::Condition(_) => {}
        }
    }
    Arc::new(Revision { id, recipe_type_id: 1, graph, jobs, recipes })
}

/// A recipe type of two jobs, the second of which is of another job type in each revision.
fn sub(number: i64) -> Arc<Revision> {
    let nodes = [("i", node(job_type("job", 1), &[])), ("j", node(job_type("job", number), &["i"]))];
    revision(SUB + number, &super::samples::definition(nodes))
}

fn running(revisions: &[&Arc<Revision>]) -> (Running, RecipeTypes) {
    let mut running = Running::new(DateTime::UNIX_EPOCH);
    running.recipe_ids = (1..10_000).collect();
    running.job_ids = (1..10_000).collect();
    let mut types = RecipeTypes::new();
    for number in [1, 2] {
        let sub = sub(number);
        types.insert(recipe_ref("sub", number), Arc::clone(&sub.graph));
        running.revisions.insert(sub.id, sub);
    }
    for revision in revisions {
        running.revisions.insert(revision.id, Arc::clone(revision));
    }
    (running, types)
}

fn new_recipe(batch: i64, revision: &Arc<Revision>) -> NewRecipe {
    let input = Data::default();
    NewRecipe {
        tenant_id: Uuid::nil(),
        batch_id: Some(batch),
        event_id: 1,
        revision: Arc::clone(revision),
        member_id: None,
        source_recipe_id: None,
        input_hash: input.hash(),
        input,
    }
}

/// As if everything had been written and loaded again. Returns what the counters gained.
fn store(running: &mut Running, counters: &mut BTreeMap<i64, BatchCounts>) {
    for (batch, counts) in running.counted().batches {
        *counters.entry(batch).or_default() += counts;
    }
    for recipe in running.recipes.values_mut() {
        recipe.stored = true;
        recipe.changed = false;
        recipe.was_completed = recipe.is_completed;
        recipe.was_superseded = recipe.is_superseded;
        recipe.had_input = recipe.has_input;
        for slot in &mut recipe.slots {
            if let Slot::Condition { stored, changed, .. } = slot {
                (*stored, *changed) = (true, false);
            }
        }
    }
    for row in running.jobs.values_mut() {
        row.before = Some(row.job.status);
        row.write = JobWrite::Nothing;
        (row.queued_now, row.superseded_now) = (false, false);
        row.put_by = None;
    }
}

fn count(running: &Running, id: i64, counts: &mut BatchCounts) {
    let recipe = &running.recipes[&id];
    counts.recipes_total += 1;
    counts.recipes_completed += i64::from(recipe.is_completed);
    for slot in &recipe.slots {
        match slot {
            Slot::Job(job) => counts.jobs += JobCounts::one(running.jobs[job].job.status),
            Slot::Recipe(sub) => count(running, *sub, counts),
            Slot::Condition { .. } | Slot::Absent => {}
        }
    }
}

fn counted_anew(running: &Running) -> BTreeMap<i64, BatchCounts> {
    let mut counted: BTreeMap<i64, BatchCounts> = BTreeMap::new();
    for recipe in running.recipes.values().filter(|recipe| recipe.parent.is_none()) {
        let counts = counted.entry(recipe.batch_id.unwrap()).or_default();
        count(running, recipe.id, counts);
    }
    counted
}

fn statuses(running: &Running) -> BTreeMap<i64, JobStatus> {
    running.jobs.iter().map(|(id, row)| (*id, row.job.status)).collect()
}

/// Lets something happen to one of the jobs, by a random number.
fn happen(running: &mut Running, choice: u32) {
    let mut ids: Vec<i64> = running.jobs.keys().copied().collect();
    ids.sort_unstable();
    if ids.is_empty() {
        return;
    }
    let id = ids[choice as usize % ids.len()];
    let exe_num = running.jobs[&id].job.num_exes;
    let event = match choice >> 16 & 7 {
        0..=3 => JobEvent::Succeed { exe_num },
        4 => JobEvent::Fail { exe_num, retryable: choice & 1 == 0 },
        5 => JobEvent::Cancel,
        6 => JobEvent::Requeue { max_tries: 2 },
        _ => JobEvent::Start { exe_num },
    };
    let report = Report { output: Some(Arc::default()), ..Report::default() };
    running.happen(id, event, report).unwrap();
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    #[test]
    fn counters_are_what_counting_anew_gives_and_nothing_is_left_to_do(
        (old, new) in revisions(),
        forced in forced_names(),
        choices in prop::collection::vec(any::<u32>(), 0..60),
        again in 0..60_usize,
    ) {
        let (old, new) = (revision(1, &assemble(&old)), revision(2, &assemble(&new)));
        let (mut running, types) = running(&[&old, &new]);
        let mut counters = BTreeMap::new();
        let mut current = running.create(new_recipe(1, &old)).unwrap();
        running.settle().unwrap();
        store(&mut running, &mut counters);
        for (at, choice) in choices.into_iter().enumerate() {
            if at == again {
                let plan = ReprocessPlan::build(&old.graph, &new.graph, &forced, &types).unwrap();
                current = running.reprocess(current, new_recipe(2, &new), &plan).unwrap();
            } else {
                happen(&mut running, choice);
            }
            running.settle().unwrap();
            store(&mut running, &mut counters);
            prop_assert_eq!(&counters, &counted_anew(&running));
            let before = statuses(&running);
            let all: Vec<i64> = running.recipes.keys().copied().collect();
            all.into_iter().for_each(|recipe| running.touch(recipe));
            running.settle().unwrap();
            prop_assert_eq!(before, statuses(&running));
            prop_assert!(running.counted().batches.is_empty());
        }
        // Whatever succeeds in the end completes the recipe.
        for _ in 0..200 {
            let open: Vec<_> = running.jobs.values().filter(|row| !row.job.superseded).map(|row| row.id).collect();
            let mut moved = false;
            for id in open {
                let job = running.jobs[&id].job;
                let event = match job.status {
                    JobStatus::Queued | JobStatus::Running => JobEvent::Succeed { exe_num: job.num_exes },
                    JobStatus::Failed | JobStatus::Canceled => JobEvent::Requeue { max_tries: 2 },
                    _ => continue,
                };
                let report = Report { output: Some(Arc::default()), ..Report::default() };
                moved |= running.happen(id, event, report).unwrap();
            }
            running.settle().unwrap();
            store(&mut running, &mut counters);
            if !moved {
                break;
            }
        }
        prop_assert!(running.recipes[&current].is_completed);
        prop_assert_eq!(&counters, &counted_anew(&running));
    }
}

#[test]
fn what_was_foreseen_is_taken_when_its_job_is_queued() {
    let nodes = [("a", node(job_type("job", 1), &[])), ("b", node(job_type("job", 1), &["a"]))];
    let chain = revision(1, &super::samples::definition(nodes));
    let (mut running, _) = running(&[&chain]);
    let mut counters = BTreeMap::new();
    let id = running.create(new_recipe(1, &chain)).unwrap();
    running.settle().unwrap();
    store(&mut running, &mut counters);
    let (a, b) = (chain.graph.find("a").unwrap(), chain.graph.find("b").unwrap());
    let report = Report { output: Some(Arc::default()), ..Report::default() };
    running.foreseen.insert((id, b), report.clone());
    let Slot::Job(first) = running.recipes[&id].slots[a.at()] else { panic!("no job") };
    running.happen(first, JobEvent::Succeed { exe_num: 1 }, report).unwrap();
    running.settle().unwrap();
    store(&mut running, &mut counters);
    assert!(running.recipes[&id].is_completed);
    assert_eq!(running.taken, 1);
    assert_eq!(counters[&1].jobs, JobCounts { completed: 2, ..JobCounts::default() });
}

#[test]
fn a_plan_that_forces_nothing_copies_everything() {
    let nodes = [("a", node(job_type("job", 1), &[])), ("b", node(job_type("job", 1), &["a"]))];
    let chain = revision(1, &super::samples::definition(nodes));
    let (mut running, types) = running(&[&chain]);
    let mut counters = BTreeMap::new();
    let id = running.create(new_recipe(1, &chain)).unwrap();
    running.settle().unwrap();
    store(&mut running, &mut counters);
    let plan = ReprocessPlan::build(&chain.graph, &chain.graph, &ForcedNodes::default(), &types).unwrap();
    let next = running.reprocess(id, new_recipe(2, &chain), &plan).unwrap();
    running.settle().unwrap();
    store(&mut running, &mut counters);
    assert_eq!(running.jobs.len(), 2);
    assert_eq!(running.recipes[&next].superseded_recipe_id, Some(id));
    assert_eq!(counters[&1].jobs, counters[&2].jobs);
    assert!(running.jobs.values().all(|row| !row.job.superseded));
}
