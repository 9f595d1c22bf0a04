#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::super::tolerance::{Percentage, Tolerance};
use super::*;

fn state() -> impl Strategy<Value = BatchState> {
    prop::sample::select(BatchState::ALL.to_vec())
}

fn event() -> impl Strategy<Value = Transition> {
    prop_oneof![
        Just(Transition::Close),
        Just(Transition::Cancel),
        Just(Transition::TimeOut),
        Just(Transition::Stop),
        any::<bool>().prop_map(|within_tolerance| Transition::Settle { within_tolerance }),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Chunk {
    records: i32,
    records_failed: i32,
    failed: bool,
}

fn chunks(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Chunk>> {
    let chunk =
        (0..1_000_i32, 0..1_000_i32, prop::bool::weighted(0.2)).prop_map(|(records, wrong, failed)| {
            let records_failed = if failed { records } else { wrong % (records + 1) };
            Chunk { records, records_failed, failed }
        });
    prop::collection::vec(chunk, count)
}

fn tolerance() -> impl Strategy<Value = Tolerance> {
    let percentage =
        prop_oneof![Just(0.0), Just(100.0), 0.0..=100.0, (0..=1_000_i32).prop_map(|p| f64::from(p) / 10.0)];
    let percentage = percentage.prop_map(|number| Percentage::new(number).unwrap());
    (percentage.clone(), prop::option::of(percentage))
        .prop_map(|(chunks, records)| Tolerance { chunks, records })
}

fn submit(progress: &mut BatchProgress, chunks: &[Chunk]) {
    for chunk in chunks {
        progress.chunks_submitted += 1;
        progress.records_submitted += i64::from(chunk.records);
    }
}

fn finish(progress: &mut BatchProgress, chunk: &Chunk) {
    progress.chunks_failed += i64::from(chunk.failed);
    progress.chunks_completed += i64::from(!chunk.failed);
    progress.records_failed += i64::from(chunk.records_failed);
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
    fn a_batch_that_is_certain_to_fail_fails_whatever_still_comes(
        open in any::<bool>(),
        first in chunks(0..40),
        later in chunks(0..400),
        tolerance in tolerance(),
    ) {
        let mut progress = BatchProgress::default();
        submit(&mut progress, &first);
        // Of the submitted chunks some have no outcome yet.
        for chunk in first.iter().take(first.len() / 2) {
            finish(&mut progress, chunk);
        }
        let state = if open { BatchState::Open } else { BatchState::Closed };
        let certain = is_certain_to_fail(state, &progress, &tolerance);
        // Everything that an adversary could still do: only an open batch gets more chunks.
        if open {
            submit(&mut progress, &later);
            for chunk in &later {
                finish(&mut progress, chunk);
            }
        }
        for chunk in first.iter().skip(first.len() / 2) {
            finish(&mut progress, chunk);
        }
        prop_assert!(progress.is_drained());
        if certain {
            prop_assert!(!tolerance.permits(&progress));
        }
    }

    #[test]
    fn no_batch_stops_that_could_still_complete(
        open in any::<bool>(),
        pushed in chunks(1..40),
        done in any::<prop::sample::Index>(),
        tolerance in tolerance(),
    ) {
        let mut progress = BatchProgress::default();
        submit(&mut progress, &pushed);
        let done = done.index(pushed.len() + 1);
        for chunk in &pushed[..done] {
            finish(&mut progress, chunk);
        }
        let state = if open { BatchState::Open } else { BatchState::Closed };
        if !is_certain_to_fail(state, &progress, &tolerance) {
            // The best that can come: the rest succeeds, and an open batch gets as many good chunks as it takes.
            for chunk in &pushed[done..] {
                finish(&mut progress, &Chunk { failed: false, records_failed: 0, ..*chunk });
            }
            if open {
                progress.chunks_submitted += 1_000_000_000_000_000;
                progress.chunks_completed += 1_000_000_000_000_000;
                progress.records_submitted += 1_000_000_000_000_000_000;
            }
            prop_assert!(tolerance.permits(&progress), "{progress:?}");
        }
    }

    /// The whole life under any order of events: one terminal state, a stopped batch never completes.
    #[test]
    fn a_stopped_batch_ends_failed_or_cancelled(
        events in prop::collection::vec(event(), 0..30),
        at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(events.len() + 1);
        let (mut state, mut stopped) = (BatchState::Open, false);
        for (place, event) in events.into_iter().enumerate() {
            if place == at && !state.is_terminal() {
                stopped = true;
                if let Ok(Verdict::Become(next)) = transition(state, Transition::Stop) {
                    state = next;
                }
                prop_assert!(matches!(state, BatchState::Closed | BatchState::ClosedByTimeout));
            }
            let event = match event {
                // As the store does it.
                Transition::Settle { within_tolerance } => Transition::Settle { within_tolerance: within_tolerance && !stopped },
                Transition::Stop => continue,
                other => other,
            };
            if let Ok(Verdict::Become(next)) = transition(state, event) {
                state = next;
            }
        }
        if stopped && state.is_terminal() {
            prop_assert!(matches!(state, BatchState::Failed | BatchState::Cancelled));
        }
    }
}

/// The table of contract 3.1 with 1.5, and of ours the stop and the closed batch that nobody pulls; nothing else is possible.
#[test]
fn batches_follow_the_table() {
    use BatchState::*;
    let events = [
        Transition::Close,
        Transition::Cancel,
        Transition::TimeOut,
        Transition::Stop,
        Transition::Settle { within_tolerance: true },
        Transition::Settle { within_tolerance: false },
    ];
    let to = |state| Some(Ok(Verdict::Become(state)));
    let same = Some(Ok(Verdict::Unchanged));
    let drop = Some(Ok(Verdict::DropResults));
    for (state, verdicts) in [
        (Open, [to(Closed), to(Cancelled), to(ClosedByTimeout), to(Closed), None, None]),
        (Closed, [same, to(Cancelled), to(ClosedByTimeout), same, to(Completed), to(Failed)]),
        (ClosedByTimeout, [same, to(Cancelled), same, same, to(CompletedByTimeout), to(Failed)]),
        (Completed, [same, drop, same, same, same, same]),
        (CompletedByTimeout, [same, drop, same, same, same, same]),
        (Failed, [same, drop, same, same, same, same]),
        (Cancelled, [None, same, same, same, same, same]),
    ] {
        for (event, verdict) in events.into_iter().zip(verdicts) {
            let verdict = verdict.unwrap_or(Err(TransitionError { state }));
            assert_eq!(transition(state, event), verdict, "{event:?} of {state}");
        }
        assert_eq!(state.is_terminal(), matches!(state, Completed | CompletedByTimeout | Failed | Cancelled));
    }
}

/// `batch_status` and `pipeline_status` are spelt as on the wire (contract 3.1, 3.2).
#[test]
fn states_are_spelt_as_on_the_wire() {
    let spelt = |status: BatchStatus| serde_json::to_value(status).unwrap();
    let shown: Vec<_> = [(false, false), (true, false), (true, true)]
        .map(|(submitted, started)| spelt(batch_status(BatchState::Open, submitted, started)))
        .into_iter()
        .chain(BatchState::ALL.into_iter().skip(1).map(|state| spelt(batch_status(state, true, true))))
        .collect();
    assert_eq!(
        shown,
        [
            "created",
            "pending",
            "in_progress",
            "closed",
            "closed_by_timeout",
            "completed",
            "completed_by_timeout",
            "failed",
            "cancelled"
        ]
    );
    let pipelines =
        [PipelineStatus::Idle, PipelineStatus::Running, PipelineStatus::Blocked, PipelineStatus::Closed];
    let pipelines = pipelines.map(|status| serde_json::to_value(status).unwrap());
    assert_eq!(pipelines, ["idle", "running", "blocked", "closed"]);
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
    let progress =
        BatchProgress { chunks_submitted: 3, chunks_completed: 2, chunks_failed: 1, ..Default::default() };
    assert_eq!(batch_status(BatchState::Open, true, true), BatchStatus::InProgress);
    assert_eq!(pipeline_status(BatchState::Open, false, false, &progress), PipelineStatus::Idle);
    assert_eq!(pipeline_status(BatchState::Closed, false, false, &progress), PipelineStatus::Closed);
}

#[test]
fn a_full_output_buffer_blocks_but_an_empty_one_never_does() {
    let waiting = BatchProgress { chunks_submitted: 1, output_allocated: 10, ..Default::default() };
    assert_eq!(pipeline_status(BatchState::Open, false, false, &waiting), PipelineStatus::Running);
    let full = BatchProgress { output_used: 10, ..waiting };
    assert_eq!(pipeline_status(BatchState::Open, false, false, &full), PipelineStatus::Blocked);
    let tiny = BatchProgress { output_allocated: 0, ..waiting };
    assert!(!tiny.is_output_full());
}

#[test]
fn a_paused_batch_says_so_while_there_is_something_to_pause() {
    let waiting =
        BatchProgress { chunks_submitted: 1, output_used: 10, output_allocated: 10, ..Default::default() };
    let idle = BatchProgress { chunks_submitted: 0, ..waiting };
    let told = |state, stopped, progress| pipeline_status(state, stopped, true, progress);
    assert_eq!(told(BatchState::Open, false, &waiting), PipelineStatus::Paused);
    assert_eq!(told(BatchState::Open, false, &idle), PipelineStatus::Paused);
    assert_eq!(told(BatchState::ClosedByTimeout, false, &waiting), PipelineStatus::Paused);
    assert_eq!(told(BatchState::Closed, false, &idle), PipelineStatus::Closed);
    assert_eq!(told(BatchState::Closed, true, &waiting), PipelineStatus::Running);
    assert_eq!(told(BatchState::Cancelled, false, &waiting), PipelineStatus::Closed);
}

#[test]
fn the_states_of_an_open_batch_follow_the_facts() {
    assert_eq!(batch_status(BatchState::Open, false, false), BatchStatus::Created);
    assert_eq!(batch_status(BatchState::Open, true, false), BatchStatus::Pending);
}

#[test]
fn abandoned_and_stopped_batches_wait_for_no_pull() {
    let full =
        BatchProgress { chunks_submitted: 1, output_used: 10, output_allocated: 10, ..Default::default() };
    assert!(is_held_back(BatchState::Open, false, &full) && is_held_back(BatchState::Closed, false, &full));
    assert!(!is_held_back(BatchState::ClosedByTimeout, false, &full));
    assert!(!is_held_back(BatchState::Closed, true, &full));
    assert_eq!(pipeline_status(BatchState::ClosedByTimeout, false, false, &full), PipelineStatus::Running);
}

#[test]
fn a_closed_batch_stops_at_the_first_failure_too_many() {
    let tolerance = Tolerance { chunks: Percentage::new(33.3).unwrap(), records: None };
    let progress =
        |failed| BatchProgress { chunks_submitted: 1_000, chunks_failed: failed, ..Default::default() };
    assert!(!is_certain_to_fail(BatchState::Closed, &progress(333), &tolerance));
    assert!(is_certain_to_fail(BatchState::Closed, &progress(334), &tolerance));
    assert!(!is_certain_to_fail(BatchState::Open, &progress(334), &tolerance));
    assert!(is_certain_to_fail(BatchState::Open, &progress(1), &Tolerance::default()));
    assert!(!is_certain_to_fail(BatchState::Failed, &progress(999), &tolerance));
}
