//! Jobs behind a bundle's, evaluated at once: their inputs are known here as soon as the bundle's outputs are. Should a job be
//! queued by the bundle's commit, its output is there already, and neither its queueing nor its message is ever written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_calc::service::Scratch;
use millrace_common::model::recipe::running::Placed;
use millrace_common::model::recipe::{Data, NodeIndex, NodeType};
use millrace_common::store::recipes::{Bundle, BundleJob, JobOutcome, JobResult};
use tokio::runtime::Handle;

use super::WorkloadTerms;
use super::evaluate::{outcomes, prepare};
use crate::Worker;

/// No longer than this is looked ahead: others wait for the thread, and what took long should be stored soon.
const BUDGET: Duration = Duration::from_millis(100);

/// A recipe whose outputs are known so far: its id, its job of the bundle, and the outputs by node.
type Known<'a> = (i64, &'a BundleJob, BTreeMap<NodeIndex, Arc<Data>>);

/// Evaluates what follows from these results, as far as nothing else is waited for.
pub fn foresee(
    worker: &Worker,
    terms: &WorkloadTerms,
    bundle: &Bundle,
    results: &[JobResult],
    scratch: &mut Scratch,
    runtime: &Handle,
) -> Vec<(Placed, Arc<Data>, i64)> {
    let began = Instant::now();
    let mut foreseen = Vec::new();
    let Some((revision, node)) = &bundle.node else { return foreseen };
    let graph = &revision.graph;
    let mut known: Vec<Known<'_>> = Vec::new();
    for (job, result) in bundle.jobs.iter().zip(results) {
        if let (Some(recipe), JobOutcome::Completed(output)) = (job.recipe_id, &result.outcome) {
            let mut outputs = job.outputs.clone();
            outputs.insert(*node, Arc::clone(output));
            known.push((recipe, job, outputs));
        }
    }
    let mut done: BTreeSet<NodeIndex> = graph.node(*node).ancestors.iter().chain([*node]).collect();
    for next in graph.node(*node).descendants.iter() {
        let own = graph.node(next);
        let follows = own.kind.node_type() == NodeType::Job
            && own.requirements.is_empty()
            && own.parents.iter().all(|parent| done.contains(&parent.node));
        if !follows || known.is_empty() {
            continue;
        }
        let Some(refers) = revision.jobs.get(&next).filter(|refers| !refers.is_paused) else { continue };
        let program = runtime.block_on(worker.store.job_type_program(refers.job_type_rev_id));
        let Ok(program) = program else { break };
        let Ok(prepared) = prepare(worker, terms, &program, runtime) else { continue };
        if began.elapsed() > BUDGET {
            break;
        }
        let inputs: Vec<Data> = known
            .iter()
            .map(|(_, job, outputs)| {
                graph.node_input(next, &job.recipe_input, |from| outputs.get(&from).map(Arc::as_ref))
            })
            .collect();
        let inputs: Vec<&Data> = inputs.iter().collect();
        let (outcomes, seed_micros) = outcomes(worker, &prepared, &program, &inputs, scratch);
        // What fails is done again in its own time, and fails there.
        known = known
            .into_iter()
            .zip(outcomes)
            .filter_map(|((recipe, job, mut outputs), outcome)| {
                let JobOutcome::Completed(output) = outcome else { return None };
                foreseen.push(((recipe, next), Arc::clone(&output), seed_micros));
                outputs.insert(next, output);
                Some((recipe, job, outputs))
            })
            .collect();
        done.insert(next);
    }
    foreseen
}
