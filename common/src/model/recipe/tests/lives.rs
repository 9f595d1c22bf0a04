//! The state machines of jobs, recipes and batches, row by row.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use crate::model::recipe::{
    Column, Effects, Idle, Job, JobEvent, JobStatus as S, JobStep, RecipeBatchEvent, RecipeBatchState,
    RecipeEvent, RecipeState, TransitionActor, job_step, recipe_batch_step, recipe_step,
};

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn job(status: S, num_exes: i32) -> Job {
    Job { status, num_exes, max_tries: 3, superseded: false, last_status_change: at(0) }
}

fn events(exe_num: i32) -> Vec<(&'static str, JobEvent)> {
    vec![
        ("block", JobEvent::Block),
        ("release", JobEvent::Release),
        ("queue", JobEvent::Queue),
        ("refuse input", JobEvent::RefuseInput { exe_num }),
        ("start", JobEvent::Start { exe_num }),
        ("succeed", JobEvent::Succeed { exe_num }),
        ("fail, retryable", JobEvent::Fail { exe_num, retryable: true }),
        ("fail", JobEvent::Fail { exe_num, retryable: false }),
        ("cancel", JobEvent::Cancel),
        ("requeue", JobEvent::Requeue { max_tries: 5 }),
    ]
}

fn next(job: &Job, event: JobEvent) -> Option<(S, i32, i32)> {
    match job_step(job, event, at(1)) {
        JobStep::Become(job, _) => Some((job.status, job.num_exes, job.max_tries)),
        JobStep::Unchanged(_) => None,
    }
}

/// Every row of the contract's table (6.1): from, event, to. Whatever is not here changes nothing. What was never
/// queued is PENDING, BLOCKED or CANCELED; what was, is none of the first two. An input is refused where it is put together:
/// at a worker, after the job was queued.
const NEVER_QUEUED: [(S, &str, S); 9] = [
    (S::Pending, "block", S::Blocked),
    (S::Pending, "queue", S::Queued),
    (S::Pending, "refuse input", S::Canceled),
    (S::Pending, "cancel", S::Canceled),
    (S::Blocked, "release", S::Pending),
    (S::Blocked, "queue", S::Queued),
    (S::Blocked, "refuse input", S::Canceled),
    (S::Blocked, "cancel", S::Canceled),
    (S::Canceled, "requeue", S::Pending),
];
const QUEUED_BEFORE: [(S, &str, S); 14] = [
    (S::Queued, "start", S::Running),
    (S::Queued, "refuse input", S::Canceled),
    (S::Running, "refuse input", S::Canceled),
    (S::Queued, "succeed", S::Completed),
    (S::Queued, "fail, retryable", S::Queued),
    (S::Queued, "fail", S::Failed),
    (S::Queued, "cancel", S::Canceled),
    (S::Running, "succeed", S::Completed),
    (S::Running, "fail, retryable", S::Queued),
    (S::Running, "fail", S::Failed),
    (S::Running, "cancel", S::Canceled),
    (S::Failed, "cancel", S::Canceled),
    (S::Failed, "requeue", S::Queued),
    (S::Canceled, "requeue", S::Queued),
];

#[test]
fn jobs_follow_the_table() {
    let never = ([S::Pending, S::Blocked, S::Canceled].as_slice(), NEVER_QUEUED.as_slice(), 0);
    let before = [S::Queued, S::Running, S::Failed, S::Completed, S::Canceled];
    for (statuses, rows, num_exes) in [never, (&before, &QUEUED_BEFORE, 1)] {
        for from in statuses {
            let job = job(*from, num_exes);
            for (name, event) in events(num_exes) {
                let row = rows.iter().find(|row| (row.0, row.1) == (*from, name));
                let to = next(&job, event).map(|(status, ..)| status);
                assert_eq!(to, row.map(|row| row.2), "{from} after {num_exes} executions, {name}");
            }
        }
    }
}

#[test]
fn tries_are_counted() {
    let retry =
        |num_exes| next(&job(S::Running, num_exes), JobEvent::Fail { exe_num: num_exes, retryable: true });
    assert_eq!(retry(1), Some((S::Queued, 2, 3)));
    assert_eq!(retry(2), Some((S::Queued, 3, 3)));
    assert_eq!(retry(3), Some((S::Failed, 3, 3)), "no tries are left");
    assert_eq!(next(&job(S::Failed, 3), JobEvent::Requeue { max_tries: 5 }), Some((S::Queued, 4, 8)));
    assert_eq!(next(&job(S::Pending, 0), JobEvent::Queue), Some((S::Queued, 1, 3)));
    assert_eq!(next(&job(S::Canceled, 0), JobEvent::Requeue { max_tries: 5 }), Some((S::Pending, 0, 3)));
}

#[test]
fn reports_of_other_executions_are_stale() {
    for exe_num in [1, 3] {
        for event in [
            JobEvent::RefuseInput { exe_num },
            JobEvent::Start { exe_num },
            JobEvent::Succeed { exe_num },
            JobEvent::Fail { exe_num, retryable: true },
        ] {
            for status in S::ALL {
                assert_eq!(job_step(&job(status, 2), event, at(1)), JobStep::Unchanged(Idle::Stale));
            }
        }
    }
    let late = job_step(&job(S::Pending, 0), JobEvent::Block, at(-1));
    assert_eq!(late, JobStep::Unchanged(Idle::Stale), "older than the last change");
    assert_eq!(job_step(&job(S::Blocked, 0), JobEvent::Release, at(-1)), JobStep::Unchanged(Idle::Stale));
}

#[test]
fn superseded_jobs_are_never_queued() {
    let superseded = |status, num_exes| Job { superseded: true, ..job(status, num_exes) };
    let idle = JobStep::Unchanged(Idle::Superseded);
    assert_eq!(job_step(&superseded(S::Pending, 0), JobEvent::Queue, at(1)), idle);
    assert_eq!(job_step(&superseded(S::Failed, 1), JobEvent::Requeue { max_tries: 1 }, at(1)), idle);
    assert_eq!(job_step(&superseded(S::Canceled, 0), JobEvent::Requeue { max_tries: 1 }, at(1)), idle);
    let failed = next(&superseded(S::Running, 1), JobEvent::Fail { exe_num: 1, retryable: true });
    assert_eq!(failed, Some((S::Failed, 1, 3)), "nor tried again");
    assert_eq!(
        next(&superseded(S::Running, 1), JobEvent::Succeed { exe_num: 1 }),
        Some((S::Completed, 1, 3))
    );
}

#[test]
fn transitions_write_what_they_should() {
    let effects = |job: &Job, event| match job_step(job, event, at(1)) {
        JobStep::Become(job, effects) => {
            assert_eq!(job.last_status_change, at(1));
            effects
        }
        JobStep::Unchanged(idle) => panic!("{idle}"),
    };
    let queued = Effects {
        queued: Column::Set,
        started: Column::Clear,
        ended: Column::Clear,
        worker: Column::Clear,
        error: Column::Clear,
        output: Column::Clear,
        publish: true,
        evaluate: false,
    };
    assert_eq!(effects(&job(S::Pending, 0), JobEvent::Queue), queued);
    assert_eq!(effects(&job(S::Running, 1), JobEvent::Fail { exe_num: 1, retryable: true }), queued);
    let requeued = effects(&job(S::Failed, 1), JobEvent::Requeue { max_tries: 1 });
    assert_eq!(requeued, Effects { evaluate: true, ..queued }, "what it blocked is released");
    let started = effects(&job(S::Queued, 1), JobEvent::Start { exe_num: 1 });
    assert_eq!((started.started, started.worker, started.evaluate), (Column::Set, Column::Set, false));
    let completed = effects(&job(S::Running, 1), JobEvent::Succeed { exe_num: 1 });
    assert_eq!(
        (completed.ended, completed.output, completed.error),
        (Column::Set, Column::Set, Column::Clear)
    );
    let failed = effects(&job(S::Running, 1), JobEvent::Fail { exe_num: 1, retryable: false });
    assert_eq!((failed.ended, failed.error, failed.output), (Column::Set, Column::Set, Column::Keep));
    let canceled = effects(&job(S::Running, 1), JobEvent::Cancel);
    assert_eq!((canceled.worker, canceled.error), (Column::Clear, Column::Clear));
    let refused = effects(&job(S::Pending, 0), JobEvent::RefuseInput { exe_num: 0 });
    assert_eq!((refused.error, refused.worker), (Column::Set, Column::Clear));
    assert!(
        [completed, failed, canceled, refused].iter().all(|effects| effects.evaluate && !effects.publish)
    );
    assert_eq!(effects(&job(S::Pending, 0), JobEvent::Block), Effects::default());
}

#[test]
fn every_event_has_its_actors() {
    use TransitionActor as A;
    let expected: [&[A]; 10] = [
        &[A::Recipe],
        &[A::Recipe],
        &[A::Recipe],
        &[A::Recipe, A::Worker],
        &[A::Worker],
        &[A::Worker],
        &[A::Worker, A::Reaper],
        &[A::Worker, A::Reaper],
        &[A::Caller, A::Creation],
        &[A::Caller],
    ];
    for ((name, event), expected) in events(1).into_iter().zip(expected) {
        assert_eq!(event.actors(), expected, "{name}");
    }
    assert_eq!(RecipeEvent::GiveInput.actors(), [A::Recipe]);
    assert_eq!(RecipeEvent::Complete.actors(), [A::Recipe]);
    assert_eq!(RecipeEvent::Supersede.actors(), [A::Creation]);
    assert_eq!(RecipeBatchEvent::FinishCreation.actors(), [A::Creation]);
    assert_eq!(RecipeBatchEvent::Supersede.actors(), [A::Caller]);
}

#[test]
fn names_of_statuses_round_trip() {
    for status in S::ALL {
        assert_eq!(status.as_str().parse::<S>().unwrap(), status);
    }
    assert!("DONE".parse::<S>().is_err());
}

#[test]
fn recipes_and_batches_only_move_forward() {
    let flags = [false, true];
    for (has_input, is_completed, is_superseded) in
        flags.into_iter().flat_map(|a| flags.into_iter().flat_map(move |b| flags.map(|c| (a, b, c))))
    {
        let state = RecipeState { has_input, is_completed, is_superseded };
        for (event, expected) in [
            (RecipeEvent::GiveInput, (!has_input).then_some(RecipeState { has_input: true, ..state })),
            (
                RecipeEvent::Complete,
                (has_input && !is_completed).then_some(RecipeState { is_completed: true, ..state }),
            ),
            (
                RecipeEvent::Supersede,
                (!is_superseded).then_some(RecipeState { is_superseded: true, ..state }),
            ),
        ] {
            assert_eq!(recipe_step(state, event), expected, "{state:?} {event:?}");
        }
    }
    for (is_creation_done, is_superseded) in flags.into_iter().flat_map(|a| flags.map(|b| (a, b))) {
        let state = RecipeBatchState { is_creation_done, is_superseded };
        let done = (!is_creation_done).then_some(RecipeBatchState { is_creation_done: true, ..state });
        assert_eq!(recipe_batch_step(state, RecipeBatchEvent::FinishCreation), done);
        let superseded =
            (is_creation_done && !is_superseded).then_some(RecipeBatchState { is_superseded: true, ..state });
        assert_eq!(recipe_batch_step(state, RecipeBatchEvent::Supersede), superseded);
    }
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    /// In any order of events: COMPLETED is final, executions are counted upwards one by one, and what was never
    /// queued was never run.
    #[test]
    fn jobs_live_by_the_rules(steps in prop::collection::vec((0..10_usize, -1..1_i32), 0..60), superseded_at in 0..60_usize) {
        let mut now = job(S::Pending, 0);
        for (count, (which, shift)) in steps.into_iter().enumerate() {
            now.superseded |= count == superseded_at;
            let event = events(now.num_exes + shift)[which].1;
            let JobStep::Become(next, effects) = job_step(&now, event, at(1)) else { continue };
            prop_assert_ne!(now.status, S::Completed);
            prop_assert!(next.num_exes == now.num_exes || next.num_exes == now.num_exes + 1);
            prop_assert_eq!(next.num_exes > now.num_exes, next.status == S::Queued);
            prop_assert_eq!(effects.publish, next.status == S::Queued);
            prop_assert!(!(next.superseded && next.status == S::Queued));
            prop_assert!(next.num_exes <= next.max_tries.max(1));
            if matches!(next.status, S::Queued | S::Running | S::Failed | S::Completed) { prop_assert!(next.num_exes > 0); }
            if matches!(next.status, S::Pending | S::Blocked) { prop_assert_eq!(next.num_exes, 0); }
            now = next;
        }
    }
}
