//! Pauses of a batch, as pure functions. A pause is no state of its own: beside it a batch is open or closed as ever, takes chunks as
//! long as its input buffer has room, and gives results. Nothing of it is evaluated meanwhile.

use super::batch::BatchState;

/// A pause, or its end, that the batch does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PauseError {
    /// The batch has ended.
    #[error("the batch is {0}: there is nothing to pause or to resume")]
    Finished(BatchState),
    /// It was stopped early: nothing of it is evaluated any more, and what is left is written off at once.
    #[error("the batch was stopped early: there is nothing to pause or to resume")]
    Stopped,
}

/// Whether a batch that was paused (`noted`) still is. The end and an early stop end a pause, also where nobody took the note back.
pub const fn is_paused(state: BatchState, stopped: bool, noted: bool) -> bool {
    noted && state.is_live() && !stopped
}

/// What a request to pause the batch (`wanted`), or to resume it, changes: whether anything.
///
/// # Errors
///
/// [`PauseError`] where nothing could be evaluated anyway.
pub const fn change_pause(
    state: BatchState,
    stopped: bool,
    noted: bool,
    wanted: bool,
) -> Result<bool, PauseError> {
    if state.is_terminal() {
        Err(PauseError::Finished(state))
    } else if stopped {
        Err(PauseError::Stopped)
    } else {
        Ok(noted != wanted)
    }
}

/// Whether a pause goes on when the batch becomes `next`. It ends with the batch, and when the batch is timed out, so that nobody's
/// oversight keeps buffers for ever.
pub const fn outlives(next: BatchState) -> bool {
    matches!(next, BatchState::Open | BatchState::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lives_can_be_paused_and_resumed_any_number_of_times() {
        for state in BatchState::ALL.into_iter().filter(|state| state.is_live()) {
            for noted in [false, true] {
                assert_eq!(change_pause(state, false, noted, noted), Ok(false), "{state}");
                assert_eq!(change_pause(state, false, noted, !noted), Ok(true), "{state}");
                assert_eq!(is_paused(state, false, noted), noted);
            }
        }
    }

    #[test]
    fn what_has_ended_or_was_stopped_is_neither_paused_nor_resumed() {
        for state in BatchState::ALL {
            for (noted, wanted) in [(false, false), (false, true), (true, false), (true, true)] {
                let stopped = change_pause(state, true, noted, wanted);
                let expected =
                    if state.is_terminal() { PauseError::Finished(state) } else { PauseError::Stopped };
                assert_eq!(stopped, Err(expected));
                if state.is_terminal() {
                    assert_eq!(change_pause(state, false, noted, wanted), Err(PauseError::Finished(state)));
                }
            }
            assert!(!is_paused(state, true, true), "{state}");
            assert_eq!(is_paused(state, false, true), state.is_live(), "{state}");
        }
    }

    #[test]
    fn a_pause_ends_with_the_batch_and_with_its_time() {
        for state in BatchState::ALL {
            assert_eq!(outlives(state), matches!(state, BatchState::Open | BatchState::Closed), "{state}");
        }
    }
}
