//! Group commits: finished chunks are stored together in one transaction, then acknowledged together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_common::broker::{ControlEvent, Receipt};
use millrace_common::config::WorkerConfig;
use millrace_common::failpoint;
use millrace_common::metrics::{
    CHUNKS_FINISHED, COMMIT_GROUP_CHUNKS, COMMIT_SECONDS, COMMITS_HELD, RECORDS_FINISHED,
};
use millrace_common::startup::Backoff;
use millrace_common::store::{Committed, Consequence, FinishedChunk, Outcome, StoreError};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::Worker;
use crate::held::Held;
use crate::quarantine::Presence;

/// A chunk that was evaluated.
#[derive(Debug)]
pub struct Finished {
    /// Its result.
    pub chunk: FinishedChunk,
    /// The delivery.
    pub receipt: Receipt,
    /// Dropped when it is settled; `None` for a chunk that was not evaluated.
    pub presence: Option<Presence>,
    /// Counts it as held until it is settled.
    pub held: Held,
}

/// Where evaluation threads put finished chunks.
pub type Sender = mpsc::Sender<Finished>;

/// From this many chunks on, a group is a sign of load, and the next one waits a little for company.
const BUSY_GROUP: usize = 4;

/// The way from evaluation to commit. When it is full, evaluation waits.
pub fn channel(config: &WorkerConfig) -> (Sender, mpsc::Receiver<Finished>) {
    mpsc::channel(config.group_chunks.max(1) * 2)
}

/// Commits until every sender is gone.
pub async fn run(worker: Arc<Worker>, mut finished: mpsc::Receiver<Finished>) {
    let config = &worker.config.worker;
    let limit = config.group_chunks.max(1);
    let wait = Duration::from_millis(config.group_wait_ms);
    let commits = Arc::new(Semaphore::new(config.commits.max(1)));
    let tasks = TaskTracker::new();
    let mut busy = false;
    loop {
        // While all commits are under way, finished chunks gather in the channel: the group grows with the load.
        let Ok(permit) = Arc::clone(&commits).acquire_owned().await else { break };
        let mut group = Vec::with_capacity(limit.min(64));
        if finished.recv_many(&mut group, limit).await == 0 {
            break;
        }
        if busy && group.len() < limit {
            gather(&mut finished, &mut group, limit, wait).await;
        }
        busy = group.len() >= BUSY_GROUP;
        let worker = Arc::clone(&worker);
        tasks.spawn(async move {
            commit_group(&worker, group).await;
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// Waits a little for more chunks.
async fn gather(
    finished: &mut mpsc::Receiver<Finished>,
    group: &mut Vec<Finished>,
    limit: usize,
    wait: Duration,
) {
    let deadline = tokio::time::Instant::now() + wait;
    while group.len() < limit {
        let room = limit - group.len();
        match tokio::time::timeout_at(deadline, finished.recv_many(group, room)).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Stores a group, acknowledges it, and passes on what the database said of its batches.
async fn commit_group(worker: &Worker, group: Vec<Finished>) {
    let (mut chunks, mut receipts, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    for finished in group {
        chunks.push(finished.chunk);
        receipts.push(finished.receipt);
        settled.push((finished.presence, finished.held));
    }
    failpoint::reach("commit.begin", "");
    match store(worker, &chunks).await {
        Ok(committed) => settle_and_ack(worker, &committed, &receipts).await,
        Err(error) if chunks.len() == 1 => give_back(worker, &chunks[0], &receipts, &error).await,
        // Something in the group cannot be stored: each on its own, so that only that one is affected.
        Err(_) => {
            for (chunk, receipt) in chunks.iter().zip(receipts) {
                let receipt = [receipt];
                match store(worker, std::slice::from_ref(chunk)).await {
                    Ok(committed) => settle_and_ack(worker, &committed, &receipt).await,
                    Err(error) => give_back(worker, chunk, &receipt, &error).await,
                }
            }
        }
    }
    // Now a suspect may start, and the deliveries are held no longer.
    drop(settled);
}

/// Holds the group until the database is back. Only errors that waiting cannot mend are returned.
async fn store(worker: &Worker, chunks: &[FinishedChunk]) -> Result<Vec<Committed>, StoreError> {
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
    loop {
        let began = Instant::now();
        let stored = worker.store.commit(worker.counter_slot, chunks).await;
        COMMIT_SECONDS.record(began.elapsed().as_secs_f64());
        match stored {
            Err(StoreError::Unavailable(reason) | StoreError::Contended(reason)) => {
                let wait = backoff.next_wait();
                COMMITS_HELD.add(1);
                tracing::warn!(
                    reason,
                    chunks = chunks.len(),
                    wait_ms = wait.as_millis(),
                    "holding finished chunks"
                );
                tokio::time::sleep(wait).await;
            }
            Ok(committed) => {
                record(chunks);
                return Ok(committed);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Counts a group that was stored.
fn record(chunks: &[FinishedChunk]) {
    let (mut failed, mut records) = (0, 0);
    for chunk in chunks {
        failed += u64::from(chunk.outcome == Outcome::Failed);
        records += u64::from(chunk.records.unsigned_abs());
    }
    COMMIT_GROUP_CHUNKS.record(u32::try_from(chunks.len()).unwrap_or(u32::MAX).into());
    CHUNKS_FINISHED.with("completed").add(chunks.len() as u64 - failed);
    CHUNKS_FINISHED.with("failed").add(failed);
    RECORDS_FINISHED.add(records);
}

async fn settle_and_ack(worker: &Worker, committed: &[Committed], receipts: &[Receipt]) {
    failpoint::reach("commit.stored", "");
    worker.consumers.ack(receipts).await;
    failpoint::reach("commit.acked", "");
    for batch in committed {
        worker.dispatcher.set_blocked(batch.batch_id, batch.is_held_back());
        if batch.has_consequence() {
            match worker.store.in_time(worker.store.settle_batch(batch.batch_id)).await {
                Ok(consequence) => tell(worker, batch.batch_id, consequence),
                Err(error) => {
                    tracing::warn!(batch.id = %batch.batch_id, %error, "the reaper will settle this batch")
                }
            }
        }
    }
}

/// Logs what became of a batch, and tells everybody who must know at once.
pub fn tell(worker: &Worker, batch_id: Uuid, consequence: Consequence) {
    match consequence {
        Consequence::None => {}
        Consequence::Settled(state) => {
            tracing::info!(batch.id = %batch_id, %state, "batch finished");
            worker.control.send(ControlEvent::BatchFinished { batch_id });
        }
        Consequence::Stopped => {
            tracing::info!(batch.id = %batch_id, "batch stopped early: it is certain to fail");
            worker.control.send(ControlEvent::BatchClosed { batch_id });
        }
    }
}

async fn give_back(worker: &Worker, chunk: &FinishedChunk, receipts: &[Receipt], error: &StoreError) {
    tracing::error!(batch.id = %chunk.batch_id, chunk.id = chunk.chunk_id, %error, "a result cannot be stored");
    worker.consumers.requeue(receipts).await;
}
