use millrace_common::model::{BatchState, Transition};
use millrace_common::store::{Claim, Outcome, StoredResult, WorkerSlot};
use uuid::Uuid;

use super::fixture::{CHUNK, Database, finished};

async fn pull(
    database: &Database,
    batch: &millrace_common::store::Batch,
    max: i64,
    bytes: i64,
) -> Vec<StoredResult> {
    match database.store.claim_results(batch.id, batch.day, max, bytes).await.unwrap().0 {
        Claim::Results(results) => results,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_commit_moves_bytes_from_the_input_to_the_output_budget_and_counts_once() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    let slot = WorkerSlot::of(Uuid::nil());
    // Twice in one group, once more in the next: three deliveries, one result.
    let a = finished(&batch, "a", chunks[0].1, Outcome::Completed);
    database.store.commit(slot, &[a.clone(), a.clone()]).await.unwrap();
    let committed = database.store.commit(WorkerSlot::of(Uuid::from_u128(1)), &[a]).await.unwrap();
    assert_eq!(committed[0].progress.chunks_finished(), 1);
    let counters = database.counters(&batch).await;
    assert_eq!((counters.chunks_completed, counters.records_completed, counters.records_failed), (1, 10, 1));
    assert_eq!(
        (counters.input_bytes, counters.output_bytes, counters.compute_ms),
        (i64::from(CHUNK), 600, 3)
    );

    database.finish(&batch, &chunks[1..], Outcome::Failed).await;
    let view = database.view(&batch).await;
    assert_eq!(
        (view.counters.chunks_failed, view.counters.records_failed, view.counters.input_bytes),
        (1, 11, 0)
    );
    assert_eq!((view.available(), view.waiting(), view.running()), ((2, 20), 0, 0));
}

#[tokio::test]
async fn results_come_in_order_of_completion_exactly_once() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a", "b", "c"]).await;
    for i in [2, 0, 1] {
        database.finish(&batch, &chunks[i..=i], Outcome::Completed).await;
    }
    let first = pull(&database, &batch, 2, 1_000_000).await;
    assert_eq!(first.iter().map(|result| result.chunk_id.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    assert_eq!(first[0].body, b"{\"id\":\"c\"}");
    let second = pull(&database, &batch, 50, 1_000_000).await;
    assert_eq!(second.iter().map(|result| result.chunk_id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(pull(&database, &batch, 50, 1_000_000).await.is_empty());
    let counters = database.counters(&batch).await;
    assert_eq!((counters.output_bytes, counters.chunks_pulled, counters.records_pulled), (0, 3, 30));
}

#[tokio::test]
async fn a_pull_is_bounded_by_bytes_but_never_empty_handed() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a", "b", "c"]).await;
    database.finish(&batch, &chunks, Outcome::Completed).await;
    assert_eq!(pull(&database, &batch, 50, 1).await.len(), 1);
    assert_eq!(pull(&database, &batch, 50, 1_200).await.len(), 2);
}

#[tokio::test]
async fn f37_two_pulls_at_once_get_disjoint_sets() {
    let database = Database::new().await;
    let batch = database.batch(200_000, 200_000).await;
    let ids: Vec<String> = (0..100).map(|i| format!("c{i}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let chunks = database.queued(&batch, &ids).await;
    database.finish(&batch, &chunks, Outcome::Completed).await;
    let pulls = (0..20).map(|_| {
        let (store, batch) = (database.store.clone(), batch.clone());
        tokio::spawn(async move { store.claim_results(batch.id, batch.day, 7, 1_000_000).await.unwrap().0 })
    });
    let mut seen = std::collections::BTreeSet::new();
    for pull in pulls.collect::<Vec<_>>() {
        let Claim::Results(results) = pull.await.unwrap() else { panic!() };
        for result in results {
            assert!(seen.insert(result.chunk_id));
        }
    }
    assert_eq!(seen.len(), 100);
}

#[tokio::test]
async fn f29_nothing_is_stored_or_pulled_after_a_cancel() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    database.store.change_batch(batch.id, Transition::Cancel).await.unwrap().unwrap();
    database.finish(&batch, &chunks[1..], Outcome::Completed).await;
    assert_eq!(
        database.store.claim_results(batch.id, batch.day, 50, 1_000).await.unwrap().0,
        Claim::Cancelled
    );
    let view = database.view(&batch).await;
    assert_eq!(view.batch.state, BatchState::Cancelled);
    assert_eq!(
        (view.counters.chunks_completed, view.counters.input_bytes, view.counters.output_bytes),
        (1, 0, 0)
    );
    assert!(view.batch.released_at.is_some());
}

#[tokio::test]
async fn f29_a_cancel_that_races_commits_leaves_one_terminal_state_and_empty_budgets() {
    let database = Database::new().await;
    for round in 0..1_000 {
        let batch = database.batch(100_000, 100_000).await;
        let chunks = database.queued(&batch, &["a", "b", "c"]).await;
        let commits = chunks.into_iter().map(|(id, no)| {
            let (store, chunk) = (database.store.clone(), finished(&batch, &id, no, Outcome::Completed));
            let slot = WorkerSlot::of(Uuid::from_u128(no.unsigned_abs().into()));
            tokio::spawn(async move { store.commit(slot, &[chunk]).await.unwrap() })
        });
        let commits: Vec<_> = commits.collect();
        let cancelled = database.store.change_batch(batch.id, Transition::Cancel).await.unwrap();
        for commit in commits {
            commit.await.unwrap();
        }
        cancelled.unwrap();
        let view = database.view(&batch).await;
        assert_eq!(view.batch.state, BatchState::Cancelled, "round {round}");
        assert_eq!((view.counters.input_bytes, view.counters.output_bytes), (0, 0), "round {round}");
    }
}

#[tokio::test]
async fn attempts_are_counted_only_while_there_is_no_result() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a"]).await;
    let slot = WorkerSlot::of(Uuid::nil());
    for attempt in 1..=2 {
        assert_eq!(
            database.store.claim_attempt(slot, batch.day, batch.id, "a", chunks[0].1).await.unwrap(),
            Some(attempt)
        );
    }
    assert_eq!(database.store.attempts(batch.day, batch.id, "a", chunks[0].1).await.unwrap(), Some(2));
    let counters = database.counters(&batch).await;
    assert_eq!((counters.chunks_retried, counters.records_retried), (2, 20));
    database.finish(&batch, &chunks, Outcome::Completed).await;
    assert_eq!(
        database.store.claim_attempt(slot, batch.day, batch.id, "a", chunks[0].1).await.unwrap(),
        None
    );
    assert_eq!(database.store.attempts(batch.day, batch.id, "a", chunks[0].1).await.unwrap(), None);
    assert_eq!(
        database.store.claim_attempt(slot, batch.day, batch.id, "never pushed", 1).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_commit_waits_for_nobody_but_sees_the_state() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a"]).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    let finished = [finished(&batch, "a", chunks[0].1, Outcome::Completed)];
    let committed = database.store.commit(WorkerSlot::of(Uuid::nil()), &finished).await.unwrap();
    assert_eq!(committed[0].state, BatchState::Closed);
    assert!(committed[0].progress.is_drained());
}
