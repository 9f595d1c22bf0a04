//! Terms that change while a batch runs, and the early stop.

use std::sync::Arc;

use millrace_common::model::{BatchState, PipelineStatus, Transition, Verdict};
use millrace_common::store::{Admission, AlterError, Batch, Consequence, Outcome, TermsChange, WorkerSlot};
use uuid::Uuid;

use super::fixture::{Database, finished, push};

const NONE: TermsChange = TermsChange {
    acceptable_error_percentage: None,
    acceptable_record_error_percentage: None,
    early_stop: None,
    max_workers: None,
    initial_workers: None,
    priority: None,
    paused: None,
};

async fn tolerant(database: &Database, chunks: f64, records: Option<f64>, early_stop: bool) -> Batch {
    let mut new = database.new_batch(1_000_000, 1_000_000);
    new.acceptable_error_percentage = chunks;
    new.acceptable_record_error_percentage = records;
    new.early_stop = early_stop;
    database.store.create_batch(&new).await.unwrap().batch
}

async fn close(database: &Database, batch: &Batch) -> BatchState {
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    database.view(batch).await.batch.state
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number}")).collect()
}

async fn queue(database: &Database, batch: &Batch, count: usize) -> Vec<(String, i64)> {
    let ids = ids(count);
    database.queued(batch, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// Every record of the fixture's completed chunks but nine of ten is good: 10 % of the records fail, no chunk does.
#[tokio::test]
async fn records_have_a_tolerance_of_their_own() {
    let database = Database::new().await;
    for (records, expected) in [
        (None, BatchState::Completed),
        (Some(10.0), BatchState::Completed),
        (Some(9.999_999_999), BatchState::Failed),
        (Some(0.0), BatchState::Failed),
    ] {
        let batch = tolerant(&database, 0.0, records, false).await;
        let chunks = queue(&database, &batch, 3).await;
        database.finish(&batch, &chunks, Outcome::Completed).await;
        assert_eq!(close(&database, &batch).await, expected, "{records:?}");
    }
}

#[tokio::test]
async fn fractional_tolerances_are_settled_exactly() {
    let database = Database::new().await;
    for (failed, expected) in [(333, BatchState::Completed), (334, BatchState::Failed)] {
        let batch = tolerant(&database, 33.3, None, false).await;
        let chunks = queue(&database, &batch, 1_000).await;
        database.finish(&batch, &chunks[..failed], Outcome::Failed).await;
        database.finish(&batch, &chunks[failed..], Outcome::Completed).await;
        assert_eq!(close(&database, &batch).await, expected, "{failed} of 1000");
    }
}

#[tokio::test]
async fn a_closed_batch_stops_early_once_too_much_has_failed_and_its_books_stay_true() {
    let database = Database::new().await;
    let batch = tolerant(&database, 20.0, None, true).await;
    let chunks = queue(&database, &batch, 10).await;
    close(&database, &batch).await;
    database.finish(&batch, &chunks[..2], Outcome::Failed).await;
    assert_eq!(database.store.settle_batch(batch.id).await.unwrap(), Consequence::None);
    database.finish(&batch, &chunks[2..3], Outcome::Failed).await;
    assert_eq!(database.store.settle_batch(batch.id).await.unwrap(), Consequence::Stopped);
    assert_eq!(database.store.settle_batch(batch.id).await.unwrap(), Consequence::None);
    let view = database.view(&batch).await;
    assert_eq!((view.batch.state, view.pipeline()), (BatchState::Closed, PipelineStatus::Running));
    assert_eq!((view.waiting(), view.progress().chunks_finished()), (7, 3));
    // Terms are final now; what was tolerated cannot rescue it.
    let rescue = TermsChange { acceptable_error_percentage: Some(100.0), ..NONE };
    assert_eq!(database.store.alter_batch(batch.id, &rescue, None).await.unwrap(), Err(AlterError::Stopped));

    // What has no outcome ends as failed chunks, what was being evaluated as what it is.
    database.finish(&batch, &chunks[3..4], Outcome::Completed).await;
    database.finish(&batch, &chunks[4..], Outcome::Failed).await;
    assert_eq!(
        database.store.settle_batch(batch.id).await.unwrap(),
        Consequence::Settled(BatchState::Failed)
    );
    let view = database.view(&batch).await;
    let progress = view.progress();
    assert_eq!((progress.chunks_completed, progress.chunks_failed, view.waiting()), (1, 9, 0));
    assert_eq!((view.counters.input_bytes, view.available().0), (0, 10));
}

#[tokio::test]
async fn an_open_batch_stops_early_only_where_nothing_is_tolerated() {
    let database = Database::new().await;
    let lenient = tolerant(&database, 0.1, None, true).await;
    let strict = tolerant(&database, 0.0, None, true).await;
    let records = tolerant(&database, 100.0, Some(0.0), true).await;
    for batch in [&lenient, &strict, &records] {
        let chunks = queue(&database, batch, 3).await;
        database.finish(batch, &chunks[..1], Outcome::Failed).await;
    }
    assert_eq!(database.store.settle_batch(lenient.id).await.unwrap(), Consequence::None);
    let mut stopped = database.store.settle_batches().await.unwrap();
    stopped.sort_by_key(|(id, _)| *id != strict.id);
    assert_eq!(stopped, [(strict.id, Consequence::Stopped), (records.id, Consequence::Stopped)]);
    assert_eq!(database.admit(push(&strict, &["late"])).await, Admission::NotOpen(BatchState::Closed));
    assert!(matches!(database.admit(push(&lenient, &["more"])).await, Admission::Admitted { .. }));
}

#[tokio::test]
async fn many_workers_that_fail_a_batch_at_once_stop_it_once() {
    let database = Arc::new(Database::new().await);
    for round in 0..5 {
        let batch = tolerant(&database, 10.0, None, true).await;
        let chunks = queue(&database, &batch, 41).await;
        close(&database, &batch).await;
        let (last, others) = chunks.split_last().unwrap();
        let workers = others.chunks(4).map(|share| {
            let (database, batch, share) = (Arc::clone(&database), batch.clone(), share.to_vec());
            tokio::spawn(async move {
                let slot = WorkerSlot::of(Uuid::new_v4());
                let mut consequences = Vec::new();
                for (id, number) in share {
                    let chunk = finished(&batch, &id, number, Outcome::Failed);
                    let committed = database.store.commit(slot, &[chunk]).await.unwrap();
                    if committed[0].has_consequence() {
                        consequences.push(database.store.settle_batch(batch.id).await.unwrap());
                    }
                }
                consequences
            })
        });
        let mut consequences = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            consequences.extend(worker.await.unwrap());
        }
        consequences.retain(|consequence| *consequence != Consequence::None);
        assert_eq!(consequences, [Consequence::Stopped], "round {round}");

        database.finish(&batch, std::slice::from_ref(last), Outcome::Failed).await;
        let settling = (0..10).map(|_| {
            let (database, id) = (Arc::clone(&database), batch.id);
            tokio::spawn(async move { database.store.settle_batch(id).await.unwrap() })
        });
        let mut settled = 0;
        for consequence in settling.collect::<Vec<_>>() {
            settled += usize::from(consequence.await.unwrap() != Consequence::None);
        }
        assert_eq!(settled, 1, "round {round}");
        let view = database.view(&batch).await;
        assert_eq!((view.batch.state, view.progress().chunks_failed), (BatchState::Failed, 41));
        assert!(view.batch.stopped_at.is_some());
    }
}

#[tokio::test]
async fn terms_and_state_change_together_or_not_at_all() {
    let database = Database::new().await;
    let batch = tolerant(&database, 0.0, None, false).await;
    let chunks = queue(&database, &batch, 2).await;
    database.finish(&batch, &chunks[..1], Outcome::Failed).await;
    database.finish(&batch, &chunks[1..], Outcome::Completed).await;
    let terms = TermsChange {
        acceptable_error_percentage: Some(50.0),
        acceptable_record_error_percentage: Some(Some(55.0)),
        early_stop: Some(true),
        max_workers: Some(1_000_000),
        initial_workers: Some(1_000_000),
        priority: Some(-3),
        paused: None,
    };
    assert_eq!(database.store.alter_batch(batch.id, &terms, None).await.unwrap(), Ok(Verdict::Unchanged));
    let changed = database.view(&batch).await.batch;
    assert_eq!((changed.max_workers, changed.initial_workers, changed.priority), (3_000, 3_000, -3));
    assert_eq!(changed.acceptable_record_error_percentage, Some(55.0));
    let fewer = TermsChange { max_workers: Some(5), acceptable_record_error_percentage: Some(None), ..NONE };
    assert_eq!(
        database.store.alter_batch(batch.id, &fewer, Some(Transition::Close)).await.unwrap(),
        Ok(Verdict::Become(BatchState::Closed))
    );
    let done = database.view(&batch).await.batch;
    assert_eq!((done.state, done.max_workers, done.initial_workers), (BatchState::Completed, 5, 5));
    assert_eq!((done.acceptable_error_percentage, done.acceptable_record_error_percentage), (50.0, None));

    assert_eq!(
        database.store.alter_batch(batch.id, &fewer, None).await.unwrap(),
        Err(AlterError::Finished(BatchState::Completed))
    );
    let cancelled = tolerant(&database, 0.0, None, false).await;
    database.store.change_batch(cancelled.id, Transition::Cancel).await.unwrap().unwrap();
    let refused = database.store.alter_batch(cancelled.id, &NONE, Some(Transition::Close)).await.unwrap();
    assert!(matches!(refused, Err(AlterError::Transition(_))));
}

#[tokio::test]
async fn a_lower_tolerance_stops_a_running_batch_in_the_same_change() {
    let database = Database::new().await;
    let batch = tolerant(&database, 100.0, None, true).await;
    let chunks = queue(&database, &batch, 10).await;
    database.finish(&batch, &chunks[..2], Outcome::Failed).await;
    close(&database, &batch).await;
    let terms = TermsChange { acceptable_error_percentage: Some(10.0), ..NONE };
    assert_eq!(
        database.store.alter_batch(batch.id, &terms, None).await.unwrap(),
        Ok(Verdict::Become(BatchState::Closed))
    );
    assert!(database.view(&batch).await.batch.stopped_at.is_some());
}

#[tokio::test]
async fn a_closed_batch_that_nobody_pulls_is_timed_out_when_its_output_buffer_is_full() {
    let database = Database::new().await;
    // Room for one result of the fixture, and a bit.
    let full = database.batch(10_000, 600).await;
    let waiting = database.batch(10_000, 10_000).await;
    for batch in [&full, &waiting] {
        let chunks = database.queued(batch, &["a", "b"]).await;
        database.finish(batch, &chunks[..1], Outcome::Completed).await;
        close(&database, batch).await;
    }
    database
        .run(
            "UPDATE batches SET updated_at = now() - interval '1 hour';
             UPDATE batch_counters SET touched_at = now() - interval '1 hour'",
        )
        .await;
    assert!(database.view(&full).await.is_held_back());
    assert_eq!(database.store.time_out_batches(1_800.0).await.unwrap(), [full.id]);
    assert_eq!(database.store.time_out_batches(1_800.0).await.unwrap(), Vec::<Uuid>::new());
    let view = database.view(&full).await;
    assert_eq!((view.batch.state, view.is_held_back()), (BatchState::ClosedByTimeout, false));
    assert_eq!(database.view(&waiting).await.batch.state, BatchState::Closed);
}
