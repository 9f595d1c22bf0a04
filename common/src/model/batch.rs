//! The life of a batch (contract section 3), as pure functions.
//!
//! What is stored is the [`BatchState`]; `created`, `pending` and `in_progress` of the contract are three views of one stored
//! state, `open`, told apart by facts that only ever become true: whether anything was submitted, and whether a worker
//! started.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
    /// The inactivity time is over.
    TimeOut,
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

        (Transition::TimeOut, S::Open) => Ok(Verdict::Become(S::ClosedByTimeout)),
        (Transition::TimeOut, _) => Ok(Verdict::Unchanged),

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

/// Whether a finished batch passes: failed chunks, in per cent of all, may equal the tolerance (contract 3.4).
pub fn within_tolerance(progress: &BatchProgress, acceptable_error_percentage: f64) -> bool {
    // Chunk counts stay far below 2^53, so both products are exact for whole percentages.
    #[expect(clippy::cast_precision_loss, reason = "chunk counts stay far below 2^53")]
    let (failed, total) = (progress.chunks_failed as f64, progress.chunks_submitted as f64);
    failed * 100.0 <= acceptable_error_percentage * total
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

/// `pipeline_status` of a batch (contract 3.2).
pub const fn pipeline_status(state: BatchState, progress: &BatchProgress) -> PipelineStatus {
    if state.is_terminal() {
        PipelineStatus::Closed
    } else if progress.is_drained() {
        match state {
            BatchState::Open => PipelineStatus::Idle,
            _ => PipelineStatus::Closed,
        }
    } else if progress.is_output_full() {
        PipelineStatus::Blocked
    } else {
        PipelineStatus::Running
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn state() -> impl Strategy<Value = BatchState> {
        prop::sample::select(BatchState::ALL.to_vec())
    }

    fn event() -> impl Strategy<Value = Transition> {
        prop_oneof![
            Just(Transition::Close),
            Just(Transition::Cancel),
            Just(Transition::TimeOut),
            any::<bool>().prop_map(|within_tolerance| Transition::Settle { within_tolerance }),
        ]
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn terminal_states_never_change(events in prop::collection::vec(event(), 1..40)) {
            let mut state = BatchState::Open;
            for event in events {
                let verdict = transition(state, event);
                if state.is_terminal() {
                    prop_assert!(!matches!(verdict, Ok(Verdict::Become(_))));
                }
                if let Ok(Verdict::Become(next)) = verdict {
                    prop_assert_ne!(next, BatchState::Open);
                    state = next;
                }
            }
        }

        #[test]
        fn requests_are_idempotent(state in state(), event in event()) {
            if let Ok(Verdict::Become(next)) = transition(state, event) {
                let again = transition(next, event);
                prop_assert!(matches!(again, Ok(Verdict::Unchanged | Verdict::DropResults)), "{again:?}");
            }
        }

        #[test]
        fn the_stored_spelling_round_trips(state in state()) {
            prop_assert_eq!(state.as_str().parse::<BatchState>().unwrap(), state);
        }

        #[test]
        fn tolerance_equals_the_contract(failed in 0_i64..500, more in 0_i64..500, tolerance in 0_i64..=100) {
            let total = failed + more;
            let progress = BatchProgress { chunks_submitted: total, chunks_failed: failed, chunks_completed: more, ..Default::default() };
            prop_assert_eq!(within_tolerance(&progress, tolerance as f64), failed * 100 <= tolerance * total);
        }
    }

    #[test]
    fn closing_a_cancelled_batch_is_refused() {
        assert_eq!(
            transition(BatchState::Cancelled, Transition::Close),
            Err(TransitionError { state: BatchState::Cancelled })
        );
        assert_eq!(transition(BatchState::Failed, Transition::Close), Ok(Verdict::Unchanged));
        assert_eq!(transition(BatchState::Completed, Transition::Cancel), Ok(Verdict::DropResults));
    }

    #[test]
    fn an_open_drained_batch_is_in_progress_and_idle() {
        let progress = BatchProgress {
            chunks_submitted: 3,
            chunks_completed: 2,
            chunks_failed: 1,
            ..Default::default()
        };
        assert_eq!(batch_status(BatchState::Open, true, true), BatchStatus::InProgress);
        assert_eq!(pipeline_status(BatchState::Open, &progress), PipelineStatus::Idle);
        assert_eq!(pipeline_status(BatchState::Closed, &progress), PipelineStatus::Closed);
    }

    #[test]
    fn a_full_output_buffer_blocks_but_an_empty_one_never_does() {
        let waiting = BatchProgress { chunks_submitted: 1, output_allocated: 10, ..Default::default() };
        assert_eq!(pipeline_status(BatchState::Open, &waiting), PipelineStatus::Running);
        let full = BatchProgress { output_used: 10, ..waiting };
        assert_eq!(pipeline_status(BatchState::Open, &full), PipelineStatus::Blocked);
        let tiny = BatchProgress { output_allocated: 0, ..waiting };
        assert!(!tiny.is_output_full());
    }

    #[test]
    fn the_states_of_an_open_batch_follow_the_facts() {
        assert_eq!(batch_status(BatchState::Open, false, false), BatchStatus::Created);
        assert_eq!(batch_status(BatchState::Open, true, false), BatchStatus::Pending);
    }
}
