use millrace_common::model::{BatchState, BatchStatus, PipelineStatus, Transition, Verdict};
use millrace_common::store::{Admission, Consequence, Outcome};

use super::fixture::Database;

#[tokio::test]
async fn a_closed_batch_completes_when_its_last_chunk_does() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    assert_eq!(database.view(&batch).await.status(), BatchStatus::Created);
    let chunks = database.queued(&batch, &["a", "b"]).await;
    assert_eq!(database.view(&batch).await.status(), BatchStatus::Pending);
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    assert_eq!(database.view(&batch).await.status(), BatchStatus::InProgress);
    let verdict = database.store.change_batch(batch.id, Transition::Close).await.unwrap();
    assert_eq!(verdict, Ok(Verdict::Become(BatchState::Closed)));
    assert_eq!(database.store.settle_batch(batch.id).await.unwrap(), Consequence::None);
    database.finish(&batch, &chunks[1..], Outcome::Completed).await;
    assert_eq!(
        database.store.settle_batch(batch.id).await.unwrap(),
        Consequence::Settled(BatchState::Completed)
    );
    let view = database.view(&batch).await;
    assert_eq!((view.status(), view.pipeline()), (BatchStatus::Completed, PipelineStatus::Closed));
    // The reservation stays for the cool-off, results stay to be pulled.
    assert!(view.batch.finished_at.is_some() && view.batch.released_at.is_none());
    assert_eq!(view.available(), (2, 20));
    assert_eq!(database.store.settle_batch(batch.id).await.unwrap(), Consequence::None);
}

#[tokio::test]
async fn a_closed_batch_without_chunks_completes_at_once() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    assert_eq!(database.view(&batch).await.batch.state, BatchState::Completed);
}

#[tokio::test]
async fn one_failed_chunk_fails_a_batch_that_tolerates_none() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    database.finish(&batch, &chunks[1..], Outcome::Failed).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    assert_eq!(database.view(&batch).await.batch.state, BatchState::Failed);
    assert_eq!(
        database.store.change_batch(batch.id, Transition::Close).await.unwrap(),
        Ok(Verdict::Unchanged)
    );
}

#[tokio::test]
async fn an_equal_share_of_failed_chunks_passes() {
    let database = Database::new().await;
    let mut new = database.new_batch(10_000, 10_000);
    new.acceptable_error_percentage = 50.0;
    let batch = database.store.create_batch(&new).await.unwrap().batch;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    database.finish(&batch, &chunks[1..], Outcome::Failed).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    assert_eq!(database.view(&batch).await.batch.state, BatchState::Completed);
}

#[tokio::test]
async fn cancelling_a_completed_batch_drops_its_results_and_keeps_its_state() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a"]).await;
    database.finish(&batch, &chunks, Outcome::Completed).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    let verdict = database.store.change_batch(batch.id, Transition::Cancel).await.unwrap();
    assert_eq!(verdict, Ok(Verdict::DropResults));
    let view = database.view(&batch).await;
    assert_eq!(view.batch.state, BatchState::Completed);
    assert_eq!((view.available(), view.counters.output_bytes), ((0, 0), 0));
    let pulled = database.store.claim_results(batch.id, batch.day, 50, 1_000).await.unwrap();
    assert_eq!(pulled, millrace_common::store::Claim::Results(vec![]));
}

#[tokio::test]
async fn f30_a_close_that_races_pushes_loses_none_of_them() {
    let database = Database::new().await;
    for _ in 0..1_000 {
        let batch = database.batch(100_000, 100_000).await;
        let pushes: Vec<_> = (0..4)
            .map(|i| {
                // Two pushes of one batch in one transaction: its slot is updated twice.
                let store = database.store.clone();
                let pushes = ["a", "b"].map(|j| super::fixture::push(&batch, &[&format!("c{i}{j}")]));
                tokio::spawn(async move { store.admit(&pushes).await.unwrap() })
            })
            .collect();
        database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
        let mut admitted = 0;
        for push in pushes {
            let answers = push.await.unwrap();
            let taken = answers.iter().filter(|answer| matches!(answer, Admission::Admitted { .. })).count();
            admitted += i64::try_from(taken).unwrap();
        }
        let view = database.view(&batch).await;
        assert_eq!(view.counters.chunks_submitted, admitted);
        let expected = if admitted == 0 { BatchState::Completed } else { BatchState::Closed };
        assert_eq!(view.batch.state, expected);
    }
}

#[tokio::test]
async fn the_overview_shows_reserved_and_used_bytes() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 20_000).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    let cancelled = database.batch(1_000, 1_000).await;
    database.store.change_batch(cancelled.id, Transition::Cancel).await.unwrap().unwrap();
    let overview = database.store.tenant_overview(database.tenant_id).await.unwrap();
    assert_eq!((overview.reserved_input_bytes, overview.reserved_output_bytes), (10_000, 20_000));
    assert_eq!((overview.used_input_bytes, overview.used_output_bytes), (1_000, 600));
    assert_eq!(overview.batches.len(), 2);
}
