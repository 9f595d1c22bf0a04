//! Group commits of bundles: stored together, the next bundles published, then acknowledged.

use std::sync::Arc;
use std::time::Duration;

use millrace_common::broker::Receipt;
use millrace_common::failpoint;
use millrace_common::metrics::COMMITS_HELD;
use millrace_common::startup::Backoff;
use millrace_common::store::StoreError;
use millrace_common::store::recipes::{FinishedBundle, Settled};
use millrace_common::trace::{Span, TraceContext};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::publish::publish;
use crate::Worker;
use crate::held::Held;
use crate::quarantine::Presence;
use crate::traced;

/// The most bundles of one commit.
const GROUP: usize = 4;

/// Commits that run at once.
const COMMITS: usize = 3;

/// A bundle that was evaluated.
#[derive(Debug)]
pub struct Done {
    /// What came out.
    pub bundle: FinishedBundle,
    /// The delivery.
    pub receipt: Receipt,
    /// Dropped when it is settled.
    pub presence: Presence,
    /// Counts it as held until it is settled.
    pub held: Held,
    /// The span of its evaluation, when its trace is sampled.
    pub trace: Option<TraceContext>,
}

/// Where evaluation threads put finished bundles.
pub type Sender = mpsc::Sender<Done>;

/// The way from evaluation to commit. When it is full, evaluation waits.
pub fn channel() -> (Sender, mpsc::Receiver<Done>) {
    mpsc::channel(GROUP * 2)
}

/// Commits until every sender is gone.
pub async fn run(worker: Arc<Worker>, mut finished: mpsc::Receiver<Done>) {
    let commits = Arc::new(Semaphore::new(COMMITS));
    let tasks = TaskTracker::new();
    loop {
        let Ok(permit) = Arc::clone(&commits).acquire_owned().await else { break };
        let mut group = Vec::with_capacity(GROUP);
        if finished.recv_many(&mut group, GROUP).await == 0 {
            break;
        }
        let worker = Arc::clone(&worker);
        tasks.spawn(async move {
            commit_group(&worker, group).await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn commit_group(worker: &Worker, group: Vec<Done>) {
    let (mut bundles, mut receipts, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    let mut traces = Vec::new();
    for done in group {
        traces.extend(done.trace);
        bundles.push(done.bundle);
        receipts.push(done.receipt);
        settled.push((done.presence, done.held));
    }
    let mut spans = traced::commits(&traces, bundles.len());
    failpoint::reach("bundles.begin", "");
    match store(worker, &bundles).await {
        Ok(next) => {
            // What follows belongs to the trace of what it follows from.
            let trace = spans.first().map(Span::context);
            publish(worker, &next.bundles, trace).await;
            failpoint::reach("bundles.committed", "");
            worker.consumers.ack(&receipts).await;
        }
        Err(error) => {
            spans.iter_mut().for_each(|span| span.fail(error.kind()));
            tracing::error!(%error, bundles = bundles.len(), "results of jobs cannot be stored");
            worker.consumers.requeue(&receipts).await;
        }
    }
    drop((settled, spans));
}

/// Holds the group until the database is back. Only errors that waiting cannot mend are returned.
async fn store(worker: &Worker, bundles: &[FinishedBundle]) -> Result<Settled, StoreError> {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
    loop {
        match worker.store.finish_bundles(worker.counter_slot, bundles).await {
            Err(StoreError::Unavailable(reason) | StoreError::Contended(reason)) => {
                let wait = backoff.next_wait();
                COMMITS_HELD.add(1);
                tracing::warn!(reason, wait_ms = wait.as_millis(), "holding finished jobs");
                tokio::time::sleep(wait).await;
            }
            done => return done,
        }
    }
}
