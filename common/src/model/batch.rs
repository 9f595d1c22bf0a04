//! The life of a batch (contract section 3), as pure functions.
//!
//! What is stored is the [`BatchState`]; `created`, `pending` and `in_progress` of the contract are three views of one stored
//! state, `open`, told apart by facts that only ever become true: whether anything was submitted, and whether a worker
//! started.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::pause::is_paused;
use super::tolerance::Tolerance;

/// The stored state of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchState {
    /// Takes chunks.
    Open,
    /// Closed by its owner; what was pushed is still evaluated.
    Closed,
    /// Closed because nothing happened for the inactivity time.
    ClosedByTimeout,
    /// Closed, finished, within tolerance.
    Completed,
    /// Closed by timeout, finished, within tolerance.
    CompletedByTimeout,
    /// Finished with more failed chunks than tolerated.
    Failed,
    /// Cancelled: nothing is evaluated or pulled any more.
    Cancelled,
}

/// `batch_status` of the contract (3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Nothing was pushed yet.
    Created,
    /// Chunks are stored, no worker has started.
    Pending,
    /// A worker has started; more chunks may come.
    InProgress,
    /// See [`BatchState::Closed`].
    Closed,
    /// See [`BatchState::ClosedByTimeout`].
    ClosedByTimeout,
    /// See [`BatchState::Completed`].
    Completed,
    /// See [`BatchState::CompletedByTimeout`].
    CompletedByTimeout,
    /// See [`BatchState::Failed`].
    Failed,
    /// See [`BatchState::Cancelled`].
    Cancelled,
}

/// `pipeline_status` of the contract (3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineStatus {
    /// Nothing is queued or running.
    Idle,
    /// Chunks are queued or running.
    Running,
    /// The output buffer is full; a pull makes room.
    Blocked,
    /// It is paused: nothing is evaluated until it is resumed.
    Paused,
    /// The batch is terminal, or closed and drained.
    Closed,
}

/// A batch's sums, as read from its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchProgress {
    /// Chunks pushed and counted once.
    pub chunks_submitted: i64,
    /// Chunks evaluated.
    pub chunks_completed: i64,
    /// Chunks that could not be processed.
    pub chunks_failed: i64,
    /// Records pushed and counted once.
    pub records_submitted: i64,
    /// Records of failed chunks, and records with errors.
    pub records_failed: i64,
    /// Bytes of finished results that were not pulled.
    pub output_used: i64,
    /// The output buffer's size in bytes.
    pub output_allocated: i64,
}

impl BatchProgress {
    /// Chunks with an outcome.
    pub const fn chunks_finished(&self) -> i64 {
        self.chunks_completed + self.chunks_failed
    }

    /// Whether every submitted chunk has an outcome.
    pub const fn is_drained(&self) -> bool {
        self.chunks_finished() >= self.chunks_submitted
    }

    /// Whether workers must wait for a pull (contract 3.6). An empty buffer is never full, so that a single result larger
    /// than the whole buffer gets through.
    pub const fn is_output_full(&self) -> bool {
        self.output_used > 0 && self.output_used >= self.output_allocated
    }
}

/// What can happen to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// `PATCH closed`.
    Close,
    /// `PATCH cancelled`.
    Cancel,
    /// The inactivity time is over. A closed batch is timed out as well, when its output buffer is full and nobody pulls: it
    /// would never end (contract 3.3).
    TimeOut,
    /// The batch is certain to fail and wants to stop then ([`is_certain_to_fail`]): it takes no more chunks, and those without
    /// an outcome end as failed ones. It settles when they have.
    Stop,
    /// Every chunk of a closed batch has an outcome.
    Settle {
        /// Whether the share of failed chunks is tolerated.
        within_tolerance: bool,
    },
}

/// What a transition does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The batch goes to this state.
    Become(BatchState),
    /// The request is met already.
    Unchanged,
    /// A finished batch is cancelled (contract 1.5): its state stays, what was not pulled is dropped.
    DropResults,
}

/// A transition that the state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the batch is {state}")]
pub struct TransitionError {
    /// The state that forbids it.
    pub state: BatchState,
}

impl BatchState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Open,
        Self::Closed,
        Self::ClosedByTimeout,
        Self::Completed,
        Self::CompletedByTimeout,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The stored spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::ClosedByTimeout => "closed_by_timeout",
            Self::Completed => "completed",
            Self::CompletedByTimeout => "completed_by_timeout",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the state never changes again.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::CompletedByTimeout | Self::Failed | Self::Cancelled)
    }

    /// Whether chunks of the batch are evaluated and their results stored.
    pub const fn is_live(self) -> bool {
        !self.is_terminal()
    }
}

impl fmt::Display for BatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BatchState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no batch state"))
    }
}

/// What happens to a batch in `state`.
pub const fn transition(state: BatchState, event: Transition) -> Result<Verdict, TransitionError> {
    use BatchState as S;
    let refused = Err(TransitionError { state });
    match (event, state) {
        (Transition::Close, S::Open) => Ok(Verdict::Become(S::Closed)),
        (Transition::Close, S::Cancelled) => refused,
        (Transition::Close, _) => Ok(Verdict::Unchanged),

        (Transition::Cancel, S::Open | S::Closed | S::ClosedByTimeout) => Ok(Verdict::Become(S::Cancelled)),
        (Transition::Cancel, S::Cancelled) => Ok(Verdict::Unchanged),
        (Transition::Cancel, S::Completed | S::CompletedByTimeout | S::Failed) => Ok(Verdict::DropResults),

        (Transition::TimeOut, S::Open | S::Closed) => Ok(Verdict::Become(S::ClosedByTimeout)),
        (Transition::TimeOut, _) => Ok(Verdict::Unchanged),

        (Transition::Stop, S::Open) => Ok(Verdict::Become(S::Closed)),
        (Transition::Stop, _) => Ok(Verdict::Unchanged),

        (Transition::Settle { within_tolerance }, S::Closed) => {
            Ok(Verdict::Become(if within_tolerance { S::Completed } else { S::Failed }))
        }
        (Transition::Settle { within_tolerance }, S::ClosedByTimeout) => {
            Ok(Verdict::Become(if within_tolerance { S::CompletedByTimeout } else { S::Failed }))
        }
        (Transition::Settle { .. }, S::Open) => refused,
        (Transition::Settle { .. }, _) => Ok(Verdict::Unchanged),
    }
}

/// Whether the batch fails whatever still comes. Of a closed batch every chunk is known, and failures never go away: it is
/// certain once more has failed than is tolerated of everything submitted. An open one may get any number of good chunks yet,
/// so only where nothing at all is tolerated a failure makes it certain.
pub fn is_certain_to_fail(state: BatchState, progress: &BatchProgress, tolerance: &Tolerance) -> bool {
    match state {
        BatchState::Closed | BatchState::ClosedByTimeout => !tolerance.permits(progress),
        BatchState::Open => !tolerance.may_still_permit(progress),
        BatchState::Completed
        | BatchState::CompletedByTimeout
        | BatchState::Failed
        | BatchState::Cancelled => false,
    }
}

/// Whether evaluation waits for a pull. A batch that was closed by timeout is evaluated to its end even though nobody pulls: its
/// input buffer bounds what that can cost. What is left of a stopped batch is only written off, which waits for nobody.
pub const fn is_held_back(state: BatchState, stopped: bool, progress: &BatchProgress) -> bool {
    !matches!(state, BatchState::ClosedByTimeout) && !stopped && progress.is_output_full()
}

/// `batch_status` of a batch (contract 3.1).
pub const fn batch_status(state: BatchState, submitted: bool, started: bool) -> BatchStatus {
    match state {
        BatchState::Open if started => BatchStatus::InProgress,
        BatchState::Open if submitted => BatchStatus::Pending,
        BatchState::Open => BatchStatus::Created,
        BatchState::Closed => BatchStatus::Closed,
        BatchState::ClosedByTimeout => BatchStatus::ClosedByTimeout,
        BatchState::Completed => BatchStatus::Completed,
        BatchState::CompletedByTimeout => BatchStatus::CompletedByTimeout,
        BatchState::Failed => BatchStatus::Failed,
        BatchState::Cancelled => BatchStatus::Cancelled,
    }
}

/// `pipeline_status` of a batch (contract 3.2). `paused` is whether a pause is noted.
pub const fn pipeline_status(
    state: BatchState,
    stopped: bool,
    paused: bool,
    progress: &BatchProgress,
) -> PipelineStatus {
    if state.is_terminal() || (progress.is_drained() && !matches!(state, BatchState::Open)) {
        PipelineStatus::Closed
    } else if is_paused(state, stopped, paused) {
        PipelineStatus::Paused
    } else if progress.is_drained() {
        PipelineStatus::Idle
    } else if is_held_back(state, stopped, progress) {
        PipelineStatus::Blocked
    } else {
        PipelineStatus::Running
    }
}

#[cfg(test)]
mod tests;
