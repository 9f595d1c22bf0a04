//! Jobs behind a bundle's, evaluated at once: their inputs are known here as soon as the bundle's outputs are. Should a job be
//! queued by the bundle's commit, its output is there already, and neither its queueing nor its message is ever written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_calc::service::Scratch;
use millrace_common::model::recipe::running::Revision;
use millrace_common::model::recipe::{Data, NodeIndex, NodeType};
use millrace_common::store::recipes::{Bundle, Foreseen, JobOutcome, JobResult};
use tokio::runtime::Handle;

use super::WorkloadTerms;
use super::evaluate::{attempt, prepare, refusal};
use crate::Worker;

/// No longer than this is looked ahead: others wait for the thread, and what took long should be stored soon.
const BUDGET: Duration = Duration::from_millis(100);

/// A recipe whose outputs are known so far.
#[derive(Debug)]
pub struct Known<'a> {
    /// The recipe.
    pub recipe_id: i64,
    /// Its input.
    pub input: &'a Data,
    /// The outputs by node.
    pub outputs: BTreeMap<NodeIndex, Arc<Data>>,
}

/// Where jobs are evaluated.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The worker.
    pub worker: &'a Worker,
    /// The jobs' workload.
    pub terms: &'a WorkloadTerms,
    /// What evaluations use and leave behind.
    pub scratch: &'a mut Scratch,
    /// Runs what has to wait.
    pub runtime: &'a Handle,
}

/// Evaluates what follows from these results, as far as nothing else is waited for.
pub fn foresee(bench: &mut Bench<'_>, bundle: &Bundle, results: &[JobResult]) -> Vec<Foreseen> {
    let Some((revision, node)) = &bundle.node else { return Vec::new() };
    let own = revision.graph.node(*node);
    let mut known = Vec::new();
    for (job, result) in bundle.jobs.iter().zip(results) {
        if let (Some(recipe_id), JobOutcome::Completed(output)) = (job.recipe_id, &result.outcome) {
            let mut outputs = job.outputs.clone();
            outputs.insert(*node, Arc::clone(output));
            known.push(Known { recipe_id, input: &job.recipe_input, outputs });
        }
    }
    let done = own.ancestors.iter().chain([*node]).collect();
    follow(bench, revision, own.descendants.iter(), done, known)
}

/// Evaluates these nodes of recipes, in their order, as far as nothing but nodes that are done is waited for. What fails, and
/// what takes too long, is done again in its own time.
pub fn follow(
    bench: &mut Bench<'_>,
    revision: &Revision,
    nodes: impl Iterator<Item = NodeIndex>,
    mut done: BTreeSet<NodeIndex>,
    mut known: Vec<Known<'_>>,
) -> Vec<Foreseen> {
    let began = Instant::now();
    let graph = &revision.graph;
    let mut foreseen = Vec::new();
    for next in nodes {
        let own = graph.node(next);
        let follows = own.kind.node_type() == NodeType::Job
            && own.requirements.is_empty()
            && own.parents.iter().all(|parent| done.contains(&parent.node));
        if !follows || known.is_empty() {
            continue;
        }
        let Some(refers) = revision.jobs.get(&next).filter(|refers| !refers.is_paused) else { continue };
        let program = bench.runtime.block_on(bench.worker.store.job_type_program(refers.job_type_rev_id));
        let Ok(program) = program else { break };
        let Ok(prepared) = prepare(bench.worker, bench.terms, &program, bench.runtime) else { continue };
        let mut inputs: Vec<Data> = Vec::with_capacity(known.len());
        // What is refused, is so in its own time.
        known.retain(|recipe| {
            let input =
                graph.node_input(next, recipe.input, |from| recipe.outputs.get(&from).map(Arc::as_ref));
            let fits = refusal(&program, &input).is_none();
            if fits {
                inputs.push(input);
            }
            fits
        });
        if inputs.is_empty() {
            continue;
        }
        let inputs: Vec<&Data> = inputs.iter().collect();
        let Some(left) = BUDGET.checked_sub(began.elapsed()) else { break };
        let evaluating = Instant::now();
        let Ok(outcomes) = attempt(&prepared, &program, &inputs, left, bench.scratch) else { break };
        let shares = i64::try_from(inputs.len()).unwrap_or(i64::MAX);
        let micros = i64::try_from(evaluating.elapsed().as_micros()).unwrap_or(i64::MAX) / shares;
        known = known
            .into_iter()
            .zip(outcomes)
            .filter_map(|(mut recipe, outcome)| {
                let JobOutcome::Completed(output) = outcome else { return None };
                foreseen.push(((recipe.recipe_id, next), Arc::clone(&output), micros));
                recipe.outputs.insert(next, output);
                Some(recipe)
            })
            .collect();
        done.insert(next);
    }
    foreseen
}
