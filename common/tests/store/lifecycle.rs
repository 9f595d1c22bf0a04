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
    let pulled = database.store.claim_results(batch.id, batch.day, 50, 1_000).await.unwrap().0;
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

/// However many batches others have: the overview has a limit, and those of its reader are within it.
#[tokio::test]
async fn the_overview_of_an_owner_has_nobody_elses_batches_in_it() {
    let database = Database::new().await;
    let mine = database.batch(10_000, 20_000).await;
    database
        .run(&format!(
            "INSERT INTO batches SELECT (jsonb_populate_record(b, jsonb_build_object('id', gen_random_uuid(),
                 'created_by', 'others', 'state', 'completed', 'lane_id', NULL, 'released_at', now(), 'updated_at', now()))).*
             FROM batches b, generate_series(1, 1100) WHERE b.id = '{}';
             INSERT INTO batch_counters (batch_id, slot) SELECT id, 0 FROM batches WHERE created_by = 'others'",
            mine.id
        ))
        .await;
    let store = &database.store;
    let own = store.tenant_overview(database.tenant_id, Some("me")).await.unwrap();
    assert_eq!(own.batches.iter().map(|view| view.batch.id).collect::<Vec<_>>(), [mine.id]);
    let all = store.tenant_overview(database.tenant_id, None).await.unwrap();
    assert_eq!((all.batches.len(), all.batches[0].batch.id), (1_000, mine.id), "live ones first");
    assert_eq!(own.reserved_input_bytes, all.reserved_input_bytes);
}

#[tokio::test]
async fn the_overview_shows_reserved_and_used_bytes() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 20_000).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    let cancelled = database.batch(1_000, 1_000).await;
    database.store.change_batch(cancelled.id, Transition::Cancel).await.unwrap().unwrap();
    let overview = database.store.tenant_overview(database.tenant_id, None).await.unwrap();
    assert_eq!((overview.reserved_input_bytes, overview.reserved_output_bytes), (10_000, 20_000));
    assert_eq!((overview.used_input_bytes, overview.used_output_bytes), (1_000, 600));
    assert_eq!(overview.batches.len(), 2);
}

#[tokio::test]
async fn both_planes_read_the_same_view() {
    let database = Database::new().await;
    let asked = millrace_common::store::NewBatch {
        totals: super::totals::requests(),
        output_filter: vec!["a".into(), "b".into()],
        unique_record_key: Some("id".into()),
        acceptable_record_error_percentage: Some(12.5),
        webhook_url: Some("https://example.com/".into()),
        ..database.new_batch(1_000_000, 1_000_000)
    };
    let batch = database.store.create_batch(&asked).await.unwrap().batch;
    database.queued(&batch, &["1", "2"]).await;
    // Every column that may be empty has something in it, and every counter a value of its own.
    database
        .run(&format!(
            "UPDATE batches SET started_at = now(), closed_at = now(), finished_at = now(), released_at = now(), dropped_at = now(),
                 stopped_at = now(), source_system = 's', correlation_id = 'c', state = 'failed' WHERE id = '{id}';
             UPDATE batch_counters SET chunks_completed = 3, chunks_failed = 4, records_completed = 5, records_failed = 6,
                 chunks_retried = 7, records_retried = 8, chunks_pulled = 9, records_pulled = 10, output_bytes = 11,
                 output_total = 12, compute_ms = 13 WHERE batch_id = '{id}' AND slot = 1",
            id = batch.id
        ))
        .await;
    let (one, mut other) =
        (database.view(&batch).await, database.store.glance(batch.id).await.unwrap().unwrap());
    assert!(other.now >= one.now);
    other.now = one.now;
    assert_eq!(other, one);
    assert_eq!(database.store.glance(uuid::Uuid::new_v4()).await.unwrap(), None);
}
