//! Evaluation of a bundle, on an evaluation thread: its jobs as one table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_calc::service::{Prepared, Scratch};
use millrace_common::failpoint;
use millrace_common::metrics::EVALUATION_SECONDS;
use millrace_common::model::recipe::running::WorkerName;
use millrace_common::model::recipe::{Data, Place};
use millrace_common::programs::ProgramError;
use millrace_common::store::StoreError;
use millrace_common::store::recipes::{Bundle, FinishedBundle, JobOutcome, JobProgram, JobResult};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::commit::{Done, Sender};
use super::foresee::{self, Bench};
use super::{WorkloadTerms, table};
use crate::Worker;
use crate::dispatch::{Calculation, Task};
use crate::fleet::worker_name;
use crate::quarantine::{Presence, is_suspect};
use crate::traced;

/// Jobs of a bundle that takes longer are noted as RUNNING; the others go from QUEUED to their end, which saves a write.
const RUNNING_AFTER: Duration = Duration::from_secs(1);

/// Takes a bundle from its delivery to the committer. False when there is no committer any more.
pub fn run(
    worker: &Worker,
    calculation: &Calculation,
    task: Task,
    scratch: &mut Scratch,
    finished: &Sender,
    runtime: &Handle,
) -> bool {
    let Calculation::Jobs(terms) = calculation else {
        // A batch that is no workload has no bundles.
        runtime.block_on(worker.consumers.ack(&[task.receipt]));
        return true;
    };
    let id = task.message.chunk_no;
    let loaded = admit(worker, id, task.redelivered, runtime).and_then(|presence| {
        let bundle = runtime.block_on(worker.store.load_bundle(id, task.redelivered))?;
        Ok(bundle.map(|bundle| (bundle, presence)))
    });
    let (bundle, presence) = match loaded {
        Ok(Some(loaded)) => loaded,
        Ok(None) => {
            runtime.block_on(worker.consumers.ack(&[task.receipt]));
            return true;
        }
        Err(error) => {
            tracing::warn!(workload.id = %terms.id, %error, "giving a bundle back");
            runtime.block_on(async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                worker.consumers.requeue(&[task.receipt]).await;
            });
            return true;
        }
    };
    let span = traced::evaluation(&task.message, &task.receipt, task.redelivered);
    let lost = bundle.attempts > worker.config.worker.max_attempts;
    if lost {
        // Whichever of its jobs kills workers stands alone in the end.
        match runtime.block_on(worker.store.split_bundle(bundle.id)) {
            Ok(false) => {}
            Ok(true) => {
                runtime.block_on(worker.consumers.ack(&[task.receipt]));
                return true;
            }
            Err(error) => {
                tracing::warn!(%error, "giving a bundle back");
                runtime.block_on(worker.consumers.requeue(&[task.receipt]));
                return true;
            }
        }
    }
    // Dropped when the bundle is evaluated.
    let noting = note_running(worker, &bundle, runtime);
    failpoint::reach("bundles.evaluate", "");
    let began = Instant::now();
    let mut foreseen = Vec::new();
    let results = if lost {
        let detail = format!("the job was started {} times and never finished", bundle.attempts);
        fail_all(&bundle, "worker-lost", &detail, true)
    } else {
        let results = evaluate(worker, terms, &bundle, scratch, runtime);
        foreseen = foresee::foresee(&mut Bench { worker, terms, scratch, runtime }, &bundle, &results);
        results
    };
    EVALUATION_SECONDS.record(began.elapsed().as_secs_f64());
    drop(noting);
    let trace = span.map(|mut span| {
        span.count("millrace.jobs", results.len());
        span.context()
    });
    let bundle =
        FinishedBundle { id: bundle.id, worker: name(worker), started: bundle.at, results, foreseen };
    finished.blocking_send(Done { bundle, receipt: task.receipt, presence, held: task.held, trace }).is_ok()
}

/// Lets a bundle in: beside others, or alone when starts of it were counted before. Like a chunk, it is counted when it is alone:
/// what kills the worker while it waits is not its doing.
fn admit(worker: &Worker, id: i64, redelivered: bool, runtime: &Handle) -> Result<Presence, StoreError> {
    if redelivered {
        let before = runtime.block_on(worker.store.bundle_starts(id))?;
        if is_suspect(before + 1, worker.config.worker.max_attempts) {
            return Ok(runtime.block_on(worker.quarantine.alone()));
        }
    }
    let together = worker.quarantine.try_together();
    Ok(together.unwrap_or_else(|| runtime.block_on(worker.quarantine.together())))
}

/// This worker, as rows name it.
pub(super) fn name(worker: &Worker) -> WorkerName {
    WorkerName { id: worker.id, name: worker_name().into() }
}

/// Has the jobs noted as RUNNING, should the bundle take long. What is returned keeps an eye on that until it is dropped.
fn note_running(worker: &Worker, bundle: &Bundle, runtime: &Handle) -> oneshot::Sender<()> {
    let (watched, evaluated) = oneshot::channel();
    let (store, slot, name) = (worker.store.clone(), worker.counter_slot, name(worker));
    let (id, started) = (bundle.id, bundle.at);
    let jobs: Vec<(i64, i32)> = bundle.jobs.iter().map(|job| (job.job_id, job.exe_num)).collect();
    runtime.spawn(async move {
        if tokio::time::timeout(RUNNING_AFTER, evaluated).await.is_ok() {
            return;
        }
        if let Err(error) = store.start_bundle(slot, id, &jobs, &name, started).await {
            tracing::debug!(%error, "jobs are not noted as running");
        }
    });
    watched
}

fn evaluate(
    worker: &Worker,
    terms: &WorkloadTerms,
    bundle: &Bundle,
    scratch: &mut Scratch,
    runtime: &Handle,
) -> Vec<JobResult> {
    let prepared = match prepare(worker, terms, &bundle.program, runtime) {
        Ok(prepared) => prepared,
        Err(reason) => return fail_all(bundle, "program-unavailable", &reason, false),
    };
    let refused: Vec<Option<String>> =
        bundle.jobs.iter().map(|job| refusal(&bundle.program, &job.input)).collect();
    if failpoint::is_armed("bundles.job") {
        bundle.jobs.iter().for_each(|job| failpoint::reach("bundles.job", &job.job_id.to_string()));
    }
    let valid = bundle.jobs.iter().zip(&refused).filter(|(_, refused)| refused.is_none());
    let inputs: Vec<&Data> = valid.map(|(job, _)| &job.input).collect();
    let (outcomes, seed_micros) = outcomes(worker, &prepared, &bundle.program, &inputs, scratch);
    let mut outcomes = outcomes.into_iter();
    let results = bundle.jobs.iter().zip(refused);
    results
        .map_while(|(job, refused)| {
            let outcome = match refused {
                Some(why) => JobOutcome::Refused(why),
                None => outcomes.next()?,
            };
            Some(JobResult { job_id: job.job_id, exe_num: job.exe_num, outcome, seed_micros })
        })
        .collect()
}

/// What keeps an input from being one of the program. What was checked with the definition always fits, but for values that are
/// taken from a condition which did not accept them.
pub(super) fn refusal(program: &JobProgram, input: &Data) -> Option<String> {
    let findings = input.check(&program.manifest.inputs, Place::root("input"));
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// A program that is ready, or why it cannot be.
pub(super) fn prepare(
    worker: &Worker,
    terms: &WorkloadTerms,
    program: &JobProgram,
    runtime: &Handle,
) -> Result<Arc<Prepared>, String> {
    let mut tries = 0;
    loop {
        match runtime.block_on(worker.preparations.get(worker, terms, program)) {
            Ok(prepared) => return Ok(prepared),
            Err(ProgramError::Store(error)) if tries < 100 => {
                tries += 1;
                tracing::warn!(%error, "the program cannot be read yet");
                runtime.block_on(tokio::time::sleep(Duration::from_millis(100)));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Runs jobs as one table; each alone when that takes too long or goes wrong, so that only one pays for it. Returns what came
/// out, and a job's share of the time in microseconds.
fn outcomes(
    worker: &Worker,
    prepared: &Prepared,
    program: &JobProgram,
    inputs: &[&Data],
    scratch: &mut Scratch,
) -> (Vec<JobOutcome>, i64) {
    if inputs.is_empty() {
        return (Vec::new(), 0);
    }
    let began = Instant::now();
    let limit = u64::try_from(program.manifest.timeout).unwrap_or(1);
    let limit = Duration::from_millis(worker.config.worker.chunk_timeout_ms).min(Duration::from_secs(limit));
    let whole = attempt(prepared, program, inputs, limit, scratch);
    let outcomes = match whole {
        Ok(outcomes) => outcomes,
        Err(outcome) if inputs.len() == 1 => vec![outcome],
        Err(_) => inputs
            .iter()
            .flat_map(|input| {
                attempt(prepared, program, &[*input], limit, scratch).unwrap_or_else(|outcome| vec![outcome])
            })
            .collect(),
    };
    let shares = i64::try_from(inputs.len().max(1)).unwrap_or(i64::MAX);
    let micros = i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
    (outcomes, micros / shares)
}

/// One evaluation of some jobs, or how it failed as a whole.
pub(super) fn attempt(
    prepared: &Prepared,
    program: &JobProgram,
    inputs: &[&Data],
    limit: Duration,
    scratch: &mut Scratch,
) -> Result<Vec<JobOutcome>, JobOutcome> {
    let deadline = Instant::now() + limit;
    let data = table::write(inputs);
    let failed = |error: &'static str, detail: String| JobOutcome::Failed { error, detail, retryable: false };
    let evaluated = catch_unwind(AssertUnwindSafe(|| prepared.evaluate(&data, Some(deadline), scratch)))
        .map_err(|_| {
            *scratch = Scratch::default();
            failed("evaluation", "the evaluation ended unexpectedly".to_owned())
        })?;
    match evaluated {
        Ok(result) => table::read(&result, &program.manifest, inputs.len())
            .ok_or_else(|| failed("evaluation", "the calculation gave no table".to_owned())),
        Err(_) if Instant::now() >= deadline => {
            Err(failed("timeout", format!("the evaluation took longer than {} ms", limit.as_millis())))
        }
        Err(error) => Err(failed("record", error.to_string())),
    }
}

fn fail_all(bundle: &Bundle, error: &'static str, detail: &str, retryable: bool) -> Vec<JobResult> {
    let failed = |job: &millrace_common::store::recipes::BundleJob| JobResult {
        job_id: job.job_id,
        exe_num: job.exe_num,
        outcome: JobOutcome::Failed { error, detail: detail.to_owned(), retryable },
        seed_micros: 0,
    };
    bundle.jobs.iter().map(failed).collect()
}
