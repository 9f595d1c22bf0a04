//! Group commits: finished chunks are stored together in one transaction, then acknowledged together. [`crate::groups`]
//! decides which.

use std::collections::HashMap;
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
use millrace_common::trace::TraceContext;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Worker;
use crate::groups::{Group, Groups};
use crate::held::Held;
use crate::quarantine::Presence;
use crate::traced;

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
    /// The span of its evaluation, when its trace is sampled.
    pub trace: Option<TraceContext>,
}

/// Where evaluation threads put finished chunks.
pub type Sender = mpsc::Sender<Finished>;

/// The way from evaluation to commit. When it is full, evaluation waits.
pub fn channel(config: &WorkerConfig) -> (Sender, mpsc::Receiver<Finished>) {
    mpsc::channel(config.group_chunks.max(1) * 2)
}

/// Commits until every sender is gone.
pub async fn run(worker: Arc<Worker>, mut finished: mpsc::Receiver<Finished>) {
    let config = &worker.config.worker;
    let wait = Duration::from_millis(config.group_wait_ms);
    let mut groups = Groups::new(config.group_chunks, config.commits);
    let mut commits = JoinSet::new();
    let mut tickets = HashMap::new();
    let mut arrived: Vec<Finished> = Vec::new();
    let mut open = true;
    let mut gathers_until = None;
    loop {
        while let Some(Group { chunks, ticket }) = groups.next(!open) {
            let worker = Arc::clone(&worker);
            let commit = commits.spawn(async move { commit_group(&worker, chunks).await });
            tickets.insert(commit.id(), ticket);
        }
        if !open && commits.is_empty() {
            return;
        }
        gathers_until =
            groups.gathers().then(|| gathers_until.unwrap_or_else(|| tokio::time::Instant::now() + wait));
        let gathered = tokio::time::sleep_until(gathers_until.unwrap_or_else(tokio::time::Instant::now));
        let room = groups.room();
        tokio::select! {
            count = finished.recv_many(&mut arrived, room), if open && room > 0 => {
                open = count > 0;
                for chunk in arrived.drain(..) {
                    groups.add(chunk.chunk.batch_id, chunk.chunk.body.len(), chunk);
                }
            }
            Some(ended) = commits.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => {
                        tracing::error!(%error, "a commit ended unexpectedly");
                        error.id()
                    }
                };
                if let Some(ticket) = tickets.remove(&id) {
                    groups.ended(ticket);
                }
            }
            () = gathered, if gathers_until.is_some() => groups.gathered(),
        }
    }
}

/// Stores a group, acknowledges it, and passes on what the database said of its batches.
async fn commit_group(worker: &Worker, group: Vec<Finished>) {
    let (mut chunks, mut receipts, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    let mut traces = Vec::new();
    for finished in group {
        traces.extend(finished.trace);
        chunks.push(finished.chunk);
        receipts.push(finished.receipt);
        settled.push((finished.presence, finished.held));
    }
    let mut spans = traced::commits(&traces, chunks.len());
    failpoint::reach("commit.begin", "");
    match store(worker, &chunks).await {
        Ok(committed) => settle_and_ack(worker, &committed, &receipts).await,
        Err(error) if chunks.len() == 1 => {
            spans.iter_mut().for_each(|span| span.fail(error.kind()));
            give_back(worker, &chunks[0], &receipts, &error).await;
        }
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
    drop(spans);
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
