//! Terms of batches: what is tolerated, the early stop, workers. What follows from them, and how they change.

use millrace_common::model::{BatchState, PauseError, Transition, TransitionError, Verdict};
use millrace_common::store::{AlterError, BatchView, Consequence, TermsChange};

use super::oracle::Batch;
use super::tenant::Tenant;
use super::world::{Fault, World, same};

/// What a batch is created with, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Tolerated failed chunks, in per cent.
    pub chunks: u8,
    /// Tolerated failed records; `None` for any number.
    pub records: Option<u8>,
    pub early_stop: bool,
    pub max_workers: i32,
    pub initial_workers: i32,
    pub priority: i32,
}

impl Terms {
    /// Those of a batch that says only what it tolerates.
    pub const fn tolerant(chunks: u8, records: Option<u8>, early_stop: bool) -> Self {
        let (max_workers, initial_workers) = (Tenant::WORKERS, 1);
        Self { chunks, records, early_stop, max_workers, initial_workers, priority: 0 }
    }
}

/// Terms to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    pub chunks: Option<u8>,
    pub records: Option<Option<u8>>,
    pub early_stop: Option<bool>,
    pub max_workers: Option<i32>,
    pub initial_workers: Option<i32>,
    pub priority: Option<i32>,
    pub paused: Option<bool>,
}

impl Change {
    fn for_the_store(self) -> TermsChange {
        TermsChange {
            acceptable_error_percentage: self.chunks.map(f64::from),
            acceptable_record_error_percentage: self.records.map(|records| records.map(f64::from)),
            early_stop: self.early_stop,
            max_workers: self.max_workers,
            initial_workers: self.initial_workers,
            priority: self.priority,
            paused: self.paused,
        }
    }
}

impl Batch {
    fn permits(&self) -> bool {
        let sums = self.sums();
        let within = |limit: u8, failed: i64, all: i64| failed * 100 <= i64::from(limit) * all;
        let records = self.terms.records;
        within(self.terms.chunks, sums.chunks_failed, sums.chunks_submitted)
            && records.is_none_or(|limit| within(limit, sums.records_failed, sums.records_submitted))
    }

    /// Whether it fails, whatever is still to come.
    fn is_lost(&self) -> bool {
        let sums = self.sums();
        match self.state {
            BatchState::Closed | BatchState::ClosedByTimeout => !self.permits(),
            BatchState::Open => {
                (self.terms.chunks == 0 && sums.chunks_failed > 0)
                    || (self.terms.records == Some(0) && sums.records_failed > 0)
            }
            _ => false,
        }
    }

    /// Whether it is to be settled or stopped.
    pub fn has_consequence(&self) -> bool {
        let closed = matches!(self.state, BatchState::Closed | BatchState::ClosedByTimeout);
        (closed && self.is_drained()) || (self.terms.early_stop && !self.stopped && self.is_lost())
    }

    /// Whether its work waits for a pull.
    pub fn is_held_back(&self) -> bool {
        let used = self.sums().output_bytes;
        self.state != BatchState::ClosedByTimeout
            && !self.stopped
            && used > 0
            && used >= self.output_allocated
    }

    /// What follows from its counters and terms.
    pub fn reconsider(&mut self, now: i64) -> Consequence {
        let timed_out = self.state == BatchState::ClosedByTimeout;
        if (timed_out || self.state == BatchState::Closed) && self.is_drained() {
            let next = match () {
                () if self.stopped || !self.permits() => BatchState::Failed,
                () if timed_out => BatchState::CompletedByTimeout,
                () => BatchState::Completed,
            };
            self.become_state(next, now);
            return Consequence::Settled(next);
        }
        if !self.has_consequence() {
            return Consequence::None;
        }
        if self.state == BatchState::Open {
            self.become_state(BatchState::Closed, now);
        }
        self.stopped = true;
        self.paused = None;
        self.updated_at = now;
        match self.reconsider(now) {
            Consequence::None => Consequence::Stopped,
            settled => settled,
        }
    }

    fn alter(&mut self, change: Change, close: bool, now: i64) -> Result<Verdict, AlterError> {
        let state = self.state;
        if close && state == BatchState::Cancelled {
            return Err(AlterError::Transition(TransitionError { state }));
        }
        if let Some(paused) = change.paused {
            match () {
                () if !self.is_live() => return Err(AlterError::Pause(PauseError::Finished(state))),
                () if self.stopped => return Err(AlterError::Pause(PauseError::Stopped)),
                () if paused != self.paused.is_some() => {
                    self.paused = paused.then_some(now);
                    self.updated_at = now;
                }
                () => {}
            }
        }
        if (Change { paused: None, ..change }) != Change::default() {
            if !self.is_live() {
                return Err(AlterError::Finished(state));
            }
            if self.stopped {
                return Err(AlterError::Stopped);
            }
            let terms = &mut self.terms;
            terms.chunks = change.chunks.unwrap_or(terms.chunks);
            terms.records = change.records.unwrap_or(terms.records);
            terms.early_stop = change.early_stop.unwrap_or(terms.early_stop);
            terms.priority = change.priority.unwrap_or(terms.priority);
            terms.max_workers = change.max_workers.unwrap_or(terms.max_workers).min(Tenant::WORKERS);
            terms.initial_workers =
                change.initial_workers.unwrap_or(terms.initial_workers).min(terms.max_workers);
            self.updated_at = now;
        }
        if close && state == BatchState::Open {
            self.close(now);
            return Ok(Verdict::Become(BatchState::Closed));
        }
        Ok(match self.reconsider(now) {
            _ if close => Verdict::Unchanged,
            Consequence::None => Verdict::Unchanged,
            Consequence::Stopped => Verdict::Become(BatchState::Closed),
            Consequence::Settled(next) => Verdict::Become(next),
        })
    }
}

impl World<'_> {
    /// The owner changes terms, and closes the batch with it or does not.
    pub(super) async fn alter(&mut self, batch: usize, change: Change, close: bool) -> Result<(), Fault> {
        let event = close.then_some(Transition::Close);
        let terms = change.for_the_store();
        let found = self.tenant.store().alter_batch(self.rows[batch].id, &terms, event).await;
        let expected = self.oracle[batch].alter(change, close, self.now);
        same("a change of terms", &found.map_err(|error| error.to_string())?, &expected)?;
        self.look(batch).await
    }
}

impl World<'_> {
    /// The owner pauses the batch, or resumes it.
    pub(super) async fn pause(&mut self, batch: usize, paused: bool) -> Result<(), Fault> {
        let before = self.oracle[batch].paused;
        self.alter(batch, Change { paused: Some(paused), ..Change::default() }, false).await?;
        if self.oracle[batch].paused == before {
            return Ok(());
        }
        // The inactivity time begins anew, which the reaper alone would rarely be late to show.
        let view = self.tenant.view(self.rows[batch].id).await?;
        let idle = (view.now - view.batch.updated_at).num_seconds() >= 50;
        same("a batch that was just paused or resumed is idle", &idle, &false)
    }
}

/// What readers see of the terms.
pub fn seen(view: &BatchView) -> (f64, Option<f64>, bool, [i32; 3]) {
    let batch = &view.batch;
    (
        batch.acceptable_error_percentage,
        batch.acceptable_record_error_percentage,
        batch.early_stop,
        [batch.max_workers, batch.initial_workers, batch.priority],
    )
}

/// The same of the oracle's.
pub fn meant(terms: &Terms) -> (f64, Option<f64>, bool, [i32; 3]) {
    let workers = [terms.max_workers, terms.initial_workers, terms.priority];
    (terms.chunks.into(), terms.records.map(f64::from), terms.early_stop, workers)
}
