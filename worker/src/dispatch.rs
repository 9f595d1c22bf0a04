//! What waits for an evaluation thread, and which batch goes next.
//!
//! A batch runs at most its planned share of evaluations here. Batches that may run take turns, so that none is starved when
//! the plan gives a worker more shares than it has threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::NaiveDate;
use millrace_calc::service::Prepared;
use millrace_common::broker::{ChunkMessage, LaneId, Receipt};
use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

/// A chunk on its way through the worker.
#[derive(Debug)]
pub struct Task {
    /// The chunk.
    pub message: ChunkMessage,
    /// What the delivery is settled with.
    pub receipt: Receipt,
    /// Whether the broker may have delivered it before.
    pub redelivered: bool,
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
}

/// What the worker knows of a live batch.
#[derive(Debug, Clone)]
pub struct BatchTerms {
    /// The batch.
    pub batch_id: Uuid,
    /// Its day.
    pub day: NaiveDate,
    /// Its lane and the number of its lease.
    pub lane: Option<(LaneId, i64)>,
    /// Chunks that one evaluation thread takes at a time.
    pub chunks_per_request: u32,
}

#[derive(Debug)]
struct Batch {
    terms: BatchTerms,
    calculation: Calculation,
    waiting: VecDeque<Task>,
    running: u32,
    share: u32,
    blocked: bool,
}

impl Batch {
    fn may_run(&self) -> bool {
        self.running < self.share
            && !self.blocked
            && !self.waiting.is_empty()
            && !matches!(self.calculation, Calculation::Loading)
    }
}

#[derive(Debug, Default)]
struct Inner {
    batches: BTreeMap<Uuid, Batch>,
    /// The batch that had the last turn.
    last: Option<Uuid>,
    closed: bool,
}

/// What an evaluation thread takes: chunks of one batch, and what to do with them.
#[derive(Debug)]
pub struct Turn {
    /// The batch.
    pub batch_id: Uuid,
    /// Its day.
    pub day: NaiveDate,
    /// How to evaluate; never [`Calculation::Loading`].
    pub calculation: Calculation,
    /// The chunks.
    pub tasks: Vec<Task>,
}

/// What became of a delivery.
#[derive(Debug)]
pub enum Enqueued {
    /// It waits for a thread.
    Waiting,
    /// It waits, but the plan gives its batch no share here yet.
    NeedsShare,
    /// The batch is not known here, or leases another lane by now.
    Unknown(Task),
}

/// The queue between deliveries and evaluation threads.
#[derive(Debug, Default)]
pub struct Dispatcher {
    inner: Mutex<Inner>,
    ready: Condvar,
}

impl Dispatcher {
    /// Adds a chunk of a known batch.
    pub fn enqueue(&self, task: Task) -> Enqueued {
        let mut inner = self.inner.lock();
        let Some(batch) = inner.batches.get_mut(&task.message.batch_id) else {
            return Enqueued::Unknown(task);
        };
        if batch.terms.lane.is_none_or(|(_, epoch)| epoch != task.message.epoch) {
            return Enqueued::Unknown(task);
        }
        batch.waiting.push_back(task);
        if batch.share == 0 && !batch.blocked {
            return Enqueued::NeedsShare;
        }
        if batch.may_run() {
            self.ready.notify_one();
        }
        Enqueued::Waiting
    }

    /// Waits for the next turn; `None` when the worker stops.
    pub fn next_turn(&self) -> Option<Turn> {
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

    /// Ends a turn.
    pub fn end_turn(&self, batch_id: Uuid) {
        let mut inner = self.inner.lock();
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
            }
        });
        batch.terms = terms;
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

    /// Forgets a batch that is no longer live. Returns the receipts of its unstarted chunks: acknowledge them, nothing of them
    /// is wanted any more.
    pub fn forget(&self, batch_id: Uuid) -> Vec<Receipt> {
        let mut inner = self.inner.lock();
        inner.batches.remove(&batch_id).map_or_else(Vec::new, |batch| receipts(batch.waiting))
    }

    /// The batches that are known.
    pub fn known(&self) -> Vec<Uuid> {
        self.inner.lock().batches.keys().copied().collect()
    }

    /// Takes the unstarted chunks of a batch away, for other workers to have.
    pub fn surrender(&self, batch_id: Uuid) -> Vec<Receipt> {
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
            (*id, Load { waiting: batch.waiting.len(), running: batch.running, blocked: batch.blocked })
        });
        loads.collect()
    }

    /// Starts nothing any more. Returns the receipts of everything unstarted.
    pub fn close(&self) -> Vec<Receipt> {
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
    /// Whether the batch is held back.
    pub blocked: bool,
}

impl Inner {
    fn take_turn(&mut self) -> Option<Turn> {
        let after = self.last.unwrap_or(Uuid::nil());
        let id = self
            .batches
            .range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
            .chain(self.batches.range(..=after))
            .find_map(|(id, batch)| batch.may_run().then_some(*id))?;
        self.last = Some(id);
        let batch = self.batches.get_mut(&id)?;
        batch.running += 1;
        let take = (batch.terms.chunks_per_request.max(1) as usize).min(batch.waiting.len());
        let tasks = batch.waiting.drain(..take).collect();
        Some(Turn { batch_id: id, day: batch.terms.day, calculation: batch.calculation.clone(), tasks })
    }
}

fn receipts(tasks: VecDeque<Task>) -> Vec<Receipt> {
    tasks.into_iter().map(|task| task.receipt).collect()
}
