//! What waits for an evaluation thread, and which batch goes next.
//!
//! A batch runs at most its planned share of evaluations here. Where more may run than there are threads, tenants get evaluation
//! time by their weights (`turns`), chunk by chunk, and the batches of a tenant take turns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use millrace_calc::service::Prepared;
use millrace_common::broker::{ChunkMessage, LaneId, Receipt};
use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

use crate::held::{Held, HeldCount};
use crate::recipes::WorkloadTerms;
use crate::turns::{Advance, Turns};

/// A chunk on its way through the worker. `R` is a receipt; the queue's rules do not depend on what that is.
#[derive(Debug)]
pub struct Task<R = Receipt> {
    /// The chunk.
    pub message: ChunkMessage,
    /// What the delivery is settled with.
    pub receipt: R,
    /// Whether the broker may have delivered it before.
    pub redelivered: bool,
    /// Counts it as held here, from its arrival in the queue until it is settled.
    pub held: Held,
}

/// How the records of a batch are evaluated.
#[derive(Debug, Clone)]
pub enum Calculation {
    /// The program is not loaded yet.
    Loading,
    /// Ready to run.
    Ready(Arc<Prepared>),
    /// The service cannot be loaded; every chunk fails with this text.
    Broken(Arc<str>),
    /// The batch was stopped early; every chunk without an outcome fails.
    Stopped,
    /// It is a workload: each bundle of jobs says itself what it runs.
    Jobs(Arc<WorkloadTerms>),
}

/// What the worker knows of a live batch.
#[derive(Debug, Clone)]
pub struct BatchTerms {
    /// The batch.
    pub batch_id: Uuid,
    /// Its owner.
    pub tenant_id: Uuid,
    /// Its day.
    pub day: NaiveDate,
    /// Its lane and the number of its lease.
    pub lane: Option<(LaneId, i64)>,
    /// Chunks that one evaluation thread takes at a time.
    pub chunks_per_request: u32,
    /// Whether it was stopped early: its chunks are written off, not evaluated.
    pub stopped: bool,
    /// Whether it is paused: nothing of it is started.
    pub paused: bool,
}

#[derive(Debug)]
struct Batch<R> {
    terms: BatchTerms,
    calculation: Calculation,
    waiting: VecDeque<Task<R>>,
    running: u32,
    share: u32,
    blocked: bool,
    held: HeldCount,
    /// The number of its last turn.
    last_turn: u64,
}

impl<R> Batch<R> {
    fn may_run(&self) -> bool {
        self.running < self.share
            && !self.is_held()
            && !self.waiting.is_empty()
            && (self.terms.stopped || !matches!(self.calculation, Calculation::Loading))
    }

    /// Whether its chunks wait, whatever its share: for a pull, or for the end of a pause.
    fn is_held(&self) -> bool {
        self.blocked || self.terms.paused
    }

    fn calculation(&self) -> Calculation {
        if self.terms.stopped { Calculation::Stopped } else { self.calculation.clone() }
    }
}

#[derive(Debug)]
struct Inner<R> {
    batches: BTreeMap<Uuid, Batch<R>>,
    turns: Turns,
    /// The number of the last turn.
    last_turn: u64,
    closed: bool,
}

/// What an evaluation thread takes: chunks of one batch, and what to do with them.
#[derive(Debug)]
pub struct Turn<R = Receipt> {
    /// The batch.
    pub batch_id: Uuid,
    /// Its day.
    pub day: NaiveDate,
    /// How to evaluate; never [`Calculation::Loading`].
    pub calculation: Calculation,
    /// The chunks.
    pub tasks: Vec<Task<R>>,
    /// What its tenant was charged for it.
    pub advance: Advance,
}

/// What became of a delivery.
#[derive(Debug)]
pub enum Enqueued<R = Receipt> {
    /// It waits for a thread.
    Waiting,
    /// It waits, but the plan gives its batch no share here yet.
    NeedsShare,
    /// The batch is not known here, or leases another lane by now.
    Unknown(Task<R>),
}

/// The queue between deliveries and evaluation threads.
#[derive(Debug)]
pub struct Dispatcher<R = Receipt> {
    inner: Mutex<Inner<R>>,
    ready: Condvar,
}

impl<R> Default for Dispatcher<R> {
    fn default() -> Self {
        let inner = Inner { batches: BTreeMap::new(), turns: Turns::default(), last_turn: 0, closed: false };
        Self { inner: Mutex::new(inner), ready: Condvar::new() }
    }
}

impl<R> Dispatcher<R> {
    /// Adds a chunk of a known batch.
    pub fn enqueue(&self, mut task: Task<R>) -> Enqueued<R> {
        let mut inner = self.inner.lock();
        let Some(batch) = inner.batches.get_mut(&task.message.batch_id) else {
            return Enqueued::Unknown(task);
        };
        if batch.terms.lane.is_none_or(|(_, epoch)| epoch != task.message.epoch) {
            return Enqueued::Unknown(task);
        }
        task.held = batch.held.hold();
        batch.waiting.push_back(task);
        if batch.share == 0 && !batch.is_held() {
            return Enqueued::NeedsShare;
        }
        if batch.may_run() {
            self.ready.notify_one();
        }
        Enqueued::Waiting
    }

    /// Waits for the next turn; `None` when the worker stops.
    pub fn next_turn(&self) -> Option<Turn<R>> {
        let mut inner = self.inner.lock();
        loop {
            if inner.closed {
                return None;
            }
            if let Some(turn) = inner.take_turn() {
                return Some(turn);
            }
            self.ready.wait(&mut inner);
        }
    }

    /// Ends a turn, whose evaluations took this long together.
    pub fn end_turn(&self, batch_id: Uuid, advance: Advance, took: Duration) {
        let mut inner = self.inner.lock();
        inner.turns.end(advance, took);
        if let Some(batch) = inner.batches.get_mut(&batch_id) {
            batch.running = batch.running.saturating_sub(1);
            if batch.may_run() {
                self.ready.notify_one();
            }
        }
    }

    /// Adds a batch, or brings its terms up to date. Returns whether its program must be loaded.
    pub fn learn(&self, terms: BatchTerms) -> bool {
        let mut inner = self.inner.lock();
        let mut new = false;
        let batch = inner.batches.entry(terms.batch_id).or_insert_with(|| {
            new = true;
            Batch {
                terms: terms.clone(),
                calculation: Calculation::Loading,
                waiting: VecDeque::new(),
                running: 0,
                share: 0,
                blocked: false,
                held: HeldCount::default(),
                last_turn: 0,
            }
        });
        let resumed = batch.terms.paused && !terms.paused;
        batch.terms = terms;
        if resumed {
            self.ready.notify_all();
        }
        new
    }

    /// Sets how a batch is evaluated.
    pub fn set_calculation(&self, batch_id: Uuid, calculation: Calculation) {
        let mut inner = self.inner.lock();
        if let Some(batch) = inner.batches.get_mut(&batch_id) {
            batch.calculation = calculation;
            self.ready.notify_all();
        }
    }

    /// Holds a batch back, or lets it go on: its output buffer is full, or has room again.
    pub fn set_blocked(&self, batch_id: Uuid, blocked: bool) {
        let mut inner = self.inner.lock();
        if let Some(batch) = inner.batches.get_mut(&batch_id)
            && batch.blocked != blocked
        {
            batch.blocked = blocked;
            self.ready.notify_all();
        }
    }

    /// Sets the shares of this worker; batches that are not named have none.
    pub fn set_shares(&self, shares: &BTreeMap<Uuid, u32>) {
        let mut inner = self.inner.lock();
        for (id, batch) in &mut inner.batches {
            batch.share = shares.get(id).copied().unwrap_or(0);
        }
        self.ready.notify_all();
    }

    /// Sets the weights of the tenants with live batches.
    pub fn set_weights(&self, weights: &BTreeMap<Uuid, u32>) {
        self.inner.lock().turns.set_weights(weights);
    }

    /// Forgets a batch that is no longer live. Returns the receipts of its unstarted chunks: acknowledge them, nothing of them
    /// is wanted any more.
    pub fn forget(&self, batch_id: Uuid) -> Vec<R> {
        let mut inner = self.inner.lock();
        inner.batches.remove(&batch_id).map_or_else(Vec::new, |batch| receipts(batch.waiting))
    }

    /// Whether a batch is known.
    pub fn knows(&self, batch_id: Uuid) -> bool {
        self.inner.lock().batches.contains_key(&batch_id)
    }

    /// The batches that are known.
    pub fn known(&self) -> Vec<Uuid> {
        self.inner.lock().batches.keys().copied().collect()
    }

    /// Takes the unstarted chunks of a batch away, for other workers to have.
    pub fn surrender(&self, batch_id: Uuid) -> Vec<R> {
        let mut inner = self.inner.lock();
        inner
            .batches
            .get_mut(&batch_id)
            .map_or_else(Vec::new, |batch| receipts(std::mem::take(&mut batch.waiting)))
    }

    /// Chunks that wait here, and evaluations that run, per batch.
    pub fn load(&self) -> BTreeMap<Uuid, Load> {
        let inner = self.inner.lock();
        let loads = inner.batches.iter().map(|(id, batch)| {
            let (waiting, held) = (batch.waiting.len(), batch.held.get());
            (*id, Load { waiting, running: batch.running, blocked: batch.is_held(), held })
        });
        loads.collect()
    }

    /// The same over all batches, for people.
    pub fn totals(&self) -> Totals {
        let inner = self.inner.lock();
        let mut totals = Totals::default();
        for batch in inner.batches.values() {
            totals.waiting += u32::try_from(batch.waiting.len()).unwrap_or(u32::MAX);
            totals.running += batch.running;
            totals.share += batch.share;
        }
        totals
    }

    /// Starts nothing any more. Returns the receipts of everything unstarted.
    pub fn close(&self) -> Vec<R> {
        let mut inner = self.inner.lock();
        inner.closed = true;
        self.ready.notify_all();
        inner.batches.values_mut().flat_map(|batch| receipts(std::mem::take(&mut batch.waiting))).collect()
    }
}

/// What of a batch is in this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Chunks that wait for a thread.
    pub waiting: usize,
    /// Evaluations that run.
    pub running: u32,
    /// Whether the batch is held back, or paused.
    pub blocked: bool,
    /// Deliveries that are not settled: those that wait, run, or are being stored.
    pub held: u32,
}

/// What is in this worker over all batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Chunks that wait for a thread.
    pub waiting: u32,
    /// Evaluations that run.
    pub running: u32,
    /// Slots that the plan gives to batches here.
    pub share: u32,
}

impl<R> Inner<R> {
    fn take_turn(&mut self) -> Option<Turn<R>> {
        let (_, _, id) = self
            .batches
            .iter()
            .filter(|(_, batch)| batch.may_run())
            .map(|(id, batch)| (self.turns.place(batch.terms.tenant_id), batch.last_turn, *id))
            .min()?;
        let batch = self.batches.get_mut(&id)?;
        self.last_turn += 1;
        batch.last_turn = self.last_turn;
        batch.running += 1;
        let take = (batch.terms.chunks_per_request.max(1) as usize).min(batch.waiting.len());
        let tasks = batch.waiting.drain(..take).collect();
        let advance = self.turns.start(batch.terms.tenant_id, take);
        Some(Turn { batch_id: id, day: batch.terms.day, calculation: batch.calculation(), tasks, advance })
    }
}

fn receipts<R>(tasks: VecDeque<Task<R>>) -> Vec<R> {
    tasks.into_iter().map(|task| task.receipt).collect()
}

#[cfg(test)]
mod tests;
