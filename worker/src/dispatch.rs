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

use crate::held::{Held, HeldCount};

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
    /// Whether it was stopped early: its chunks are written off, not evaluated.
    pub stopped: bool,
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
}

impl<R> Batch<R> {
    fn may_run(&self) -> bool {
        self.running < self.share
            && !self.blocked
            && !self.waiting.is_empty()
            && (self.terms.stopped || !matches!(self.calculation, Calculation::Loading))
    }

    fn calculation(&self) -> Calculation {
        if self.terms.stopped { Calculation::Stopped } else { self.calculation.clone() }
    }
}

#[derive(Debug)]
struct Inner<R> {
    batches: BTreeMap<Uuid, Batch<R>>,
    /// The batch that had the last turn.
    last: Option<Uuid>,
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
        let inner = Inner { batches: BTreeMap::new(), last: None, closed: false };
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
        if batch.share == 0 && !batch.blocked {
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
                held: HeldCount::default(),
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
    pub fn forget(&self, batch_id: Uuid) -> Vec<R> {
        let mut inner = self.inner.lock();
        inner.batches.remove(&batch_id).map_or_else(Vec::new, |batch| receipts(batch.waiting))
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
            (*id, Load { waiting, running: batch.running, blocked: batch.blocked, held })
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
    /// Whether the batch is held back.
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
        Some(Turn { batch_id: id, day: batch.terms.day, calculation: batch.calculation(), tasks })
    }
}

fn receipts<R>(tasks: VecDeque<Task<R>>) -> Vec<R> {
    tasks.into_iter().map(|task| task.receipt).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const EPOCH: i64 = 7;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    fn task(batch: u128, receipt: u32) -> Task<u32> {
        let message = ChunkMessage {
            batch_id: id(batch),
            chunk_no: i64::from(receipt),
            chunk_id: receipt.to_string(),
            epoch: EPOCH,
            records: 1,
            charged_bytes: 1,
            scan: None,
            compressed: false,
            body: Bytes::new(),
        };
        Task { message, receipt, redelivered: false, held: Held::default() }
    }

    fn terms(batch: u128, chunks_per_request: u32) -> BatchTerms {
        BatchTerms {
            batch_id: id(batch),
            day: NaiveDate::default(),
            lane: Some((LaneId(1), EPOCH)),
            chunks_per_request,
            stopped: false,
        }
    }

    /// A dispatcher with ready batches 1..=n and these shares.
    fn dispatcher(shares: &[u32]) -> Dispatcher<u32> {
        let dispatcher = Dispatcher::default();
        let mut planned = BTreeMap::new();
        for (batch, share) in (1..).zip(shares) {
            assert!(dispatcher.learn(terms(batch, 1)));
            dispatcher.set_calculation(id(batch), Calculation::Broken("a test".into()));
            planned.insert(id(batch), *share);
        }
        dispatcher.set_shares(&planned);
        dispatcher
    }

    fn turn(dispatcher: &Dispatcher<u32>) -> Option<Turn<u32>> {
        dispatcher.inner.lock().take_turn()
    }

    #[test]
    fn a_batch_never_runs_more_than_its_share() {
        let dispatcher = dispatcher(&[2]);
        for receipt in 0..5 {
            assert!(matches!(dispatcher.enqueue(task(1, receipt)), Enqueued::Waiting));
        }
        assert!(turn(&dispatcher).is_some() && turn(&dispatcher).is_some());
        assert!(turn(&dispatcher).is_none());
        dispatcher.end_turn(id(1));
        assert_eq!(turn(&dispatcher).unwrap().tasks[0].receipt, 2);
    }

    #[test]
    fn batches_take_turns() {
        let dispatcher = dispatcher(&[9, 9, 9]);
        for receipt in 0..9 {
            dispatcher.enqueue(task(u128::from(receipt % 3) + 1, receipt));
        }
        let order: Vec<Uuid> = std::iter::from_fn(|| turn(&dispatcher)).map(|turn| turn.batch_id).collect();
        assert_eq!(order, [1, 2, 3, 1, 2, 3, 1, 2, 3].map(id));
    }

    #[test]
    fn blocked_loading_and_shareless_batches_wait() {
        let dispatcher = dispatcher(&[1, 0]);
        dispatcher.set_blocked(id(1), true);
        dispatcher.enqueue(task(1, 1));
        assert!(matches!(dispatcher.enqueue(task(2, 2)), Enqueued::NeedsShare));
        dispatcher.learn(terms(3, 1));
        dispatcher.set_shares(&[(id(1), 1), (id(3), 1)].into());
        assert!(matches!(dispatcher.enqueue(task(3, 3)), Enqueued::Waiting));
        assert!(turn(&dispatcher).is_none());
        dispatcher.set_blocked(id(1), false);
        assert_eq!(turn(&dispatcher).unwrap().batch_id, id(1));
        dispatcher.set_calculation(id(3), Calculation::Broken("a test".into()));
        assert_eq!(turn(&dispatcher).unwrap().batch_id, id(3));
    }

    #[test]
    fn chunks_of_a_stopped_batch_are_written_off_whether_its_program_is_there_or_not() {
        let dispatcher = Dispatcher::default();
        dispatcher.learn(terms(1, 1));
        dispatcher.set_shares(&[(id(1), 1)].into());
        dispatcher.enqueue(task(1, 1));
        assert!(turn(&dispatcher).is_none());
        dispatcher.learn(BatchTerms { stopped: true, ..terms(1, 1) });
        assert!(matches!(turn(&dispatcher).unwrap().calculation, Calculation::Stopped));
    }

    #[test]
    fn chunks_of_unknown_batches_and_older_leases_are_handed_back() {
        let dispatcher = dispatcher(&[1]);
        assert!(matches!(dispatcher.enqueue(task(9, 1)), Enqueued::Unknown(_)));
        let mut old = task(1, 2);
        old.message.epoch = EPOCH - 1;
        assert!(matches!(dispatcher.enqueue(old), Enqueued::Unknown(_)));
    }

    #[test]
    fn closing_returns_what_was_not_started_and_ends_the_threads() {
        let dispatcher = Arc::new(dispatcher(&[1]));
        for receipt in 0..3 {
            dispatcher.enqueue(task(1, receipt));
        }
        assert_eq!(dispatcher.next_turn().unwrap().tasks[0].receipt, 0);
        let waiting = {
            let dispatcher = Arc::clone(&dispatcher);
            std::thread::spawn(move || dispatcher.next_turn().is_none())
        };
        assert_eq!(dispatcher.close(), [1, 2]);
        assert!(waiting.join().unwrap());
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn every_chunk_leaves_exactly_once(
            operations in prop::collection::vec((0_u8..6, 1_u128..4), 1..200),
            chunks_per_request in 1_u32..4,
        ) {
            let dispatcher = dispatcher(&[2, 1, 3]);
            for batch in 1..4 {
                dispatcher.learn(terms(batch, chunks_per_request));
            }
            let (mut put, mut out, mut running) = (0_u32, Vec::new(), Vec::new());
            for (operation, batch) in operations {
                match operation {
                    0 | 1 => {
                        dispatcher.enqueue(task(batch, put));
                        put += 1;
                    }
                    2 => if let Some(turn) = turn(&dispatcher) {
                        prop_assert!(!turn.tasks.is_empty() && turn.tasks.len() <= chunks_per_request as usize);
                        out.extend(turn.tasks.iter().map(|task| task.receipt));
                        running.push(turn.batch_id);
                    },
                    3 => if let Some(batch) = running.pop() { dispatcher.end_turn(batch) },
                    4 => out.extend(dispatcher.surrender(id(batch))),
                    _ => dispatcher.set_blocked(id(batch), put.is_multiple_of(2)),
                }
                let load = dispatcher.load();
                prop_assert!(load[&id(1)].running <= 2 && load[&id(2)].running <= 1 && load[&id(3)].running <= 3);
            }
            out.extend(dispatcher.close());
            out.sort_unstable();
            prop_assert_eq!(out, (0..put).collect::<Vec<_>>());
        }
    }
}
