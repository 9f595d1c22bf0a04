//! Pauses: what is noted, what a pause outlives, and how it ends by itself.

use millrace_common::model::{
    Actor, BatchState, PauseError, PipelineStatus, Transition, TransitionError, Verdict,
};
use millrace_common::store::{
    Admission, AlterError, AuditFilter, Batch, Claim, Consequence, Outcome, PauseEnd, TermsChange,
};
use uuid::Uuid;

use super::fixture::{Database, push};

const PAUSE: TermsChange = wish(true);
const RESUME: TermsChange = wish(false);

const fn wish(paused: bool) -> TermsChange {
    TermsChange {
        acceptable_error_percentage: None,
        acceptable_record_error_percentage: None,
        early_stop: None,
        max_workers: None,
        initial_workers: None,
        priority: None,
        paused: Some(paused),
    }
}

async fn alter(database: &Database, batch: &Batch, terms: &TermsChange) -> Result<Verdict, AlterError> {
    database.store.alter_batch(batch.id, terms, None).await.unwrap()
}

/// Everything that happened to batches happened an hour earlier.
async fn an_hour_passes(database: &Database) {
    database
        .run(
            "UPDATE batches SET updated_at = updated_at - interval '1 hour', paused_at = paused_at - interval '1 hour';
             UPDATE batch_counters SET touched_at = touched_at - interval '1 hour'",
        )
        .await;
}

#[tokio::test]
async fn a_paused_batch_takes_chunks_and_gives_results_and_says_who_paused_it() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    let ann = Actor { name: "ann".to_owned(), request_id: Some("r-7".to_owned()), ..Actor::system("key 1") };
    let acting = database.store.acting(ann);
    assert_eq!(acting.alter_batch(batch.id, &PAUSE, None).await.unwrap(), Ok(Verdict::Unchanged));
    let paused = database.view(&batch).await;
    let (since, by) = paused.paused().unwrap();
    assert_eq!(
        (by, paused.pipeline(), paused.batch.state),
        ("ann", PipelineStatus::Paused, BatchState::Open)
    );
    assert!(since <= paused.now && since == paused.batch.updated_at);

    // Again is no change, and no activity.
    assert_eq!(alter(&database, &batch, &PAUSE).await, Ok(Verdict::Unchanged));
    assert_eq!(database.view(&batch).await.batch, paused.batch);
    assert!(matches!(database.admit(push(&batch, &["c"])).await, Admission::Admitted { .. }));
    let claim = database.store.claim_results(batch.id, batch.day, 10, 1_000_000).await.unwrap().0;
    assert!(matches!(claim, Claim::Results(results) if results.len() == 1));
    // What was started ends.
    database.finish(&batch, &chunks[1..], Outcome::Completed).await;
    assert_eq!(database.view(&batch).await.available().0, 1);

    assert_eq!(alter(&database, &batch, &RESUME).await, Ok(Verdict::Unchanged));
    assert_eq!(alter(&database, &batch, &RESUME).await, Ok(Verdict::Unchanged));
    let resumed = database.view(&batch).await;
    assert_eq!((resumed.paused(), resumed.pipeline()), (None, PipelineStatus::Running));
    let filter = AuditFilter { action: Some("batch".to_owned()), ..AuditFilter::default() };
    let entries = database.store.audit_entries(&filter, 10).await.unwrap();
    let noted: Vec<_> = entries[1..]
        .iter()
        .map(|entry| (entry.action.as_str(), entry.actor.as_str(), entry.request_id.as_deref()))
        .collect();
    assert_eq!(noted, [("batch.pause", "ann", Some("r-7")), ("batch.resume", "system", None)]);
    assert!(entries.iter().all(|entry| entry.outcome == "done" && entry.object == batch.id.to_string()));
}

#[tokio::test]
async fn pauses_terms_and_states_change_together_or_not_at_all() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    database.queued(&batch, &["a"]).await;
    let both = TermsChange { max_workers: Some(4), ..PAUSE };
    let closed = database.store.alter_batch(batch.id, &both, Some(Transition::Close)).await.unwrap();
    assert_eq!(closed, Ok(Verdict::Become(BatchState::Closed)));
    let view = database.view(&batch).await;
    assert_eq!(
        (view.batch.max_workers, view.batch.state, view.paused().is_some()),
        (4, BatchState::Closed, true)
    );

    // Nothing of what is refused comes to pass, and it is noted.
    let cancelled = database.batch(100_000, 100_000).await;
    database.store.change_batch(cancelled.id, Transition::Cancel).await.unwrap().unwrap();
    let state = BatchState::Cancelled;
    assert_eq!(alter(&database, &cancelled, &PAUSE).await, Err(PauseError::Finished(state).into()));
    assert_eq!(alter(&database, &cancelled, &RESUME).await, Err(PauseError::Finished(state).into()));
    let reopened = database.store.alter_batch(cancelled.id, &PAUSE, Some(Transition::Close)).await.unwrap();
    assert_eq!(reopened, Err(TransitionError { state }.into()));
    assert_eq!(database.view(&cancelled).await.batch.paused_at, None);
    let filter = AuditFilter { action: Some("batch.pause".to_owned()), ..AuditFilter::default() };
    let entries = database.store.audit_entries(&filter, 10).await.unwrap();
    let outcomes: Vec<_> = entries.iter().map(|entry| entry.outcome.as_str()).collect();
    assert_eq!(outcomes, ["done", "refused", "refused"]);
}

#[tokio::test]
async fn a_paused_closed_batch_settles_when_its_last_started_chunk_has_ended_and_not_before() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    alter(&database, &batch, &PAUSE).await.unwrap();
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    assert_eq!(database.store.settle_batches().await.unwrap(), []);
    assert!(database.view(&batch).await.paused().is_some());
    database.finish(&batch, &chunks[1..], Outcome::Completed).await;
    let settled = [(batch.id, Consequence::Settled(BatchState::Completed))];
    assert_eq!(database.store.settle_batches().await.unwrap(), settled);
    let view = database.view(&batch).await;
    assert_eq!((view.paused(), view.batch.paused_at, &view.batch.paused_by), (None, None, &None));
}

#[tokio::test]
async fn a_cancel_of_a_paused_batch_is_final_at_once() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    alter(&database, &batch, &PAUSE).await.unwrap();
    let cancelled = database.store.change_batch(batch.id, Transition::Cancel).await.unwrap();
    assert_eq!(cancelled, Ok(Verdict::Become(BatchState::Cancelled)));
    database.finish(&batch, &chunks[1..], Outcome::Completed).await;
    let view = database.view(&batch).await;
    assert_eq!((view.paused(), view.counters.chunks_completed, view.available()), (None, 1, (0, 0)));
    assert_eq!((view.counters.input_bytes, view.counters.output_bytes), (0, 0));
}

#[tokio::test]
async fn an_early_stop_ends_the_pause_since_nothing_is_evaluated_any_more() {
    let database = Database::new().await;
    let mut new = database.new_batch(100_000, 100_000);
    new.early_stop = true;
    let batch = database.store.create_batch(&new).await.unwrap().batch;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    alter(&database, &batch, &PAUSE).await.unwrap();
    database.finish(&batch, &chunks[..1], Outcome::Failed).await;
    assert_eq!(database.store.settle_batch(batch.id).await.unwrap(), Consequence::Stopped);
    let view = database.view(&batch).await;
    assert_eq!((view.paused(), view.pipeline()), (None, PipelineStatus::Running));
    assert_eq!(alter(&database, &batch, &PAUSE).await, Err(PauseError::Stopped.into()));
    database.finish(&batch, &chunks[1..], Outcome::Failed).await;
    let settled = database.store.settle_batch(batch.id).await.unwrap();
    assert_eq!(settled, Consequence::Settled(BatchState::Failed));
}

#[tokio::test]
async fn a_pause_has_a_clock_of_its_own_and_both_ends_of_it_are_activity() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    database.queued(&batch, &["a"]).await;
    alter(&database, &batch, &PAUSE).await.unwrap();
    an_hour_passes(&database).await;
    assert_eq!(database.store.time_out_batches(1_800.0).await.unwrap(), Vec::<Uuid>::new());
    assert_eq!(database.store.time_out_pauses(7_200.0).await.unwrap(), []);
    alter(&database, &batch, &RESUME).await.unwrap();
    assert_eq!(database.store.time_out_batches(1_800.0).await.unwrap(), Vec::<Uuid>::new());
    alter(&database, &batch, &PAUSE).await.unwrap();
    assert_eq!(database.store.time_out_pauses(1_800.0).await.unwrap(), []);
    an_hour_passes(&database).await;
    let (one, two) =
        tokio::join!(database.store.time_out_pauses(1_800.0), database.store.time_out_pauses(1_800.0));
    assert_eq!([one.unwrap(), two.unwrap()].concat(), [(batch.id, PauseEnd::TimedOut)]);
    let view = database.view(&batch).await;
    assert_eq!((view.batch.state, view.paused()), (BatchState::ClosedByTimeout, None));
}

#[tokio::test]
async fn a_pause_of_a_batch_that_was_timed_out_before_ends_too() {
    let database = Database::new().await;
    // Room for one result, and a bit: the batch is closed and held back.
    let batch = database.batch(10_000, 600).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    an_hour_passes(&database).await;
    assert_eq!(database.store.time_out_batches(1_800.0).await.unwrap(), [batch.id]);
    alter(&database, &batch, &PAUSE).await.unwrap();
    let paused = database.view(&batch).await;
    assert_eq!(
        (paused.batch.state, paused.pipeline()),
        (BatchState::ClosedByTimeout, PipelineStatus::Paused)
    );
    an_hour_passes(&database).await;
    assert_eq!(database.store.time_out_pauses(1_800.0).await.unwrap(), [(batch.id, PauseEnd::Resumed)]);
    assert_eq!(database.store.time_out_pauses(1_800.0).await.unwrap(), []);
    let view = database.view(&batch).await;
    assert_eq!((view.batch.state, view.pipeline()), (BatchState::ClosedByTimeout, PipelineStatus::Running));
    let filter = AuditFilter { action: Some("batch.resume".to_owned()), ..AuditFilter::default() };
    let entries = database.store.audit_entries(&filter, 10).await.unwrap();
    assert_eq!((entries.len(), &entries[0].details["reason"]), (1, &"clocks.paused_seconds".into()));
}

/// A binary of before ends batches and leaves what it does not know.
#[tokio::test]
async fn a_pause_that_an_older_worker_left_on_an_ended_batch_means_nothing() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    alter(&database, &batch, &PAUSE).await.unwrap();
    database.run("UPDATE batches SET state = 'completed_by_timeout', finished_at = now()").await;
    an_hour_passes(&database).await;
    assert_eq!(database.view(&batch).await.paused(), None);
    assert_eq!(database.store.time_out_pauses(60.0).await.unwrap(), []);
    assert!(database.store.lane_gauges().await.unwrap().is_empty());
}
