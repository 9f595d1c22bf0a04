//! Totals of whole batches: each chunk counts once, whoever folds and whoever reads.

use millrace_calc::totals::{TotalRequest, Totals};
use millrace_common::model::Transition;
use millrace_common::store::{Batch, FinishedChunk, Outcome, WorkerSlot};
use uuid::Uuid;

use super::fixture::{Database, finished};

pub fn requests() -> Vec<TotalRequest> {
    vec![TotalRequest { output_name: "total".into(), quantiles: vec![0.5] }]
}

/// A completed chunk with totals of its own ten records.
fn with_totals(batch: &Batch, chunk: &(String, i64)) -> FinishedChunk {
    let totals = Some(Totals::of_chunk(&requests(), 10).encode());
    FinishedChunk { totals, ..finished(batch, &chunk.0, chunk.1, Outcome::Completed) }
}

async fn asking(database: &Database) -> Batch {
    let new =
        millrace_common::store::NewBatch { totals: requests(), ..database.new_batch(1_000_000, 1_000_000) };
    database.store.create_batch(&new).await.unwrap().batch
}

async fn counted(database: &Database, batch: &Batch) -> (u64, u64) {
    let totals = database.store.batch_totals(batch.id).await.unwrap();
    (totals.chunks(), totals.records())
}

#[tokio::test]
async fn a_chunk_counts_once_however_often_it_is_computed_and_folded() {
    let database = Database::new().await;
    let batch = asking(&database).await;
    assert_eq!(database.view(&batch).await.batch.totals, requests());
    let chunks = database.queued(&batch, &["a", "b", "c"]).await;
    let (first, second) = (WorkerSlot::of(Uuid::nil()), WorkerSlot::of(Uuid::from_u128(1)));
    let a = with_totals(&batch, &chunks[0]);
    // Twice in one group, and again by another worker.
    database.store.commit(first, &[a.clone(), a.clone()]).await.unwrap();
    database.store.commit(second, std::slice::from_ref(&a)).await.unwrap();
    assert_eq!(counted(&database, &batch).await, (1, 10));
    let (folded, broken) = database.store.fold_totals().await.unwrap();
    assert_eq!((folded, broken.len()), (1, 0));
    assert_eq!(counted(&database, &batch).await, (1, 10));
    // Once more after its state was folded away.
    database.store.commit(second, &[a]).await.unwrap();
    // A failed chunk adds nothing, also in one group with others.
    let group = [with_totals(&batch, &chunks[1]), finished(&batch, "c", chunks[2].1, Outcome::Failed)];
    database.store.commit(first, &group).await.unwrap();
    assert_eq!(counted(&database, &batch).await, (2, 20));
    assert_eq!(database.store.fold_totals().await.unwrap().0, 1);
    assert_eq!(database.store.fold_totals().await.unwrap().0, 0);
    assert_eq!(counted(&database, &batch).await, (2, 20));
}

#[tokio::test]
async fn folders_and_readers_never_lose_or_double_a_chunk() {
    let database = Database::new().await;
    let batch = asking(&database).await;
    let ids: Vec<String> = (0..60).map(|i| i.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for ids in ids.chunks(20) {
        let pushed = database.queued(&batch, ids).await;
        let group: Vec<_> = pushed.iter().map(|chunk| with_totals(&batch, chunk)).collect();
        let read = async {
            let mut last = 0;
            for _ in 0..10 {
                let (now, _) = counted(&database, &batch).await;
                assert!(now >= last, "{now} after {last}");
                last = now;
            }
        };
        let (stored, one, two, ()) = tokio::join!(
            database.store.commit(WorkerSlot::of(Uuid::nil()), &group),
            database.store.fold_totals(),
            database.store.fold_totals(),
            read
        );
        stored.unwrap();
        assert!(one.unwrap().1.is_empty() && two.unwrap().1.is_empty());
    }
    assert_eq!(counted(&database, &batch).await, (60, 600));
    database.store.fold_totals().await.unwrap();
    assert_eq!(counted(&database, &batch).await, (60, 600));
}

#[tokio::test]
async fn totals_outlive_results_and_stop_at_a_cancel() {
    let database = Database::new().await;
    let batch = asking(&database).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    let slot = WorkerSlot::of(Uuid::nil());
    database.store.commit(slot, &[with_totals(&batch, &chunks[0])]).await.unwrap();
    database.store.change_batch(batch.id, Transition::Cancel).await.unwrap().unwrap();
    database.store.commit(slot, &[with_totals(&batch, &chunks[1])]).await.unwrap();
    assert_eq!(counted(&database, &batch).await, (1, 10), "nothing counts after a cancel");
    database.run("DELETE FROM results").await;
    assert_eq!(counted(&database, &batch).await, (1, 10));
}

#[tokio::test]
async fn a_broken_state_stops_its_own_batch_only() {
    let database = Database::new().await;
    let (sound, broken) = (asking(&database).await, asking(&database).await);
    for batch in [&sound, &broken] {
        let chunks = database.queued(batch, &["a"]).await;
        database.store.commit(WorkerSlot::of(Uuid::nil()), &[with_totals(batch, &chunks[0])]).await.unwrap();
    }
    database.run(&format!("UPDATE chunk_totals SET state = '\\x07' WHERE batch_id = '{}'", broken.id)).await;
    let (folded, failed) = database.store.fold_totals().await.unwrap();
    assert_eq!((folded, failed.len(), failed[0].0), (1, 1, broken.id));
    assert_eq!(counted(&database, &sound).await, (1, 10));
    assert!(database.store.batch_totals(broken.id).await.is_err());
}
