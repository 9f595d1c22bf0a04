//! What goes when its time is over, what stays, and that nothing is left of what went.

use std::collections::BTreeMap;

use millrace_common::model::Transition;
use millrace_common::store::{Batch, FailureKinds, FinishedLane, NewRedrive, Purged, WorkerSlot};
use uuid::Uuid;

use super::failures::failing;
use super::fixture::Database;

/// Long after everything: batches have ended 91 days ago, in days that were dropped.
const LONG_AFTER: &str = "
UPDATE batches SET finished_at = finished_at - interval '91 days', day = day - 91;
DELETE FROM chunks; DELETE FROM results; DELETE FROM failed_work";

impl Database {
    /// How many rows each table has; the audit trail outlives what it tells of, and lanes are a pool.
    async fn census(&self) -> BTreeMap<String, i64> {
        let client = self.connect().await;
        let tables = client
            .query(
                "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
                     AND NOT relispartition AND relname NOT IN ('audit_log', 'lanes', '_sqlx_migrations')",
                &[],
            )
            .await
            .unwrap();
        let mut census = BTreeMap::new();
        for row in tables {
            let table: String = row.get(0);
            let rows = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0);
            census.insert(table, rows);
        }
        census
    }

    /// A batch that ended, with a failed chunk, totals, a repaired counter, and no lane.
    async fn ended(&self) -> Batch {
        let batch = self.batch(10_000, 10_000).await;
        let chunks = self.queued(&batch, &["a"]).await;
        self.store
            .commit(WorkerSlot::of(Uuid::nil()), &[failing(&batch, "a", chunks[0].1, true)])
            .await
            .unwrap();
        self.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
        self.run(&format!(
            "INSERT INTO batch_totals VALUES ('{0}', ''); INSERT INTO chunk_totals VALUES ('{0}', 1, '');
             INSERT INTO counter_repairs VALUES ('{0}', 'chunks_failed', 1, 2)",
            batch.id
        ))
        .await;
        batch
    }

    async fn free(&self, batch: &Batch) {
        let lane = FinishedLane { lane_id: batch.lane_id.unwrap(), batch_id: batch.id };
        let freed = self.store.free_lane(lane, async { Ok::<_, ()>(Purged::Empty) }).await.unwrap();
        assert_eq!(freed, Ok(true));
        self.store.release_reservations(0.0).await.unwrap();
    }

    async fn exists(&self, batch: &Batch) -> bool {
        self.store.batch_view(self.tenant_id, batch.id).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_batch_that_ended_long_ago() {
    let database = Database::new().await;
    database.store.ensure_partitions().await.unwrap();
    let before = database.census().await;
    let batch = database.ended().await;
    database.free(&batch).await;
    assert_ne!(database.census().await, before);
    database.run(LONG_AFTER).await;
    assert_eq!(database.store.remove_ended_batches(92).await.unwrap(), 0, "a day too early");
    let (one, two) =
        tokio::join!(database.store.remove_ended_batches(90), database.store.remove_ended_batches(90));
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert!(!database.exists(&batch).await);
    assert_eq!(database.census().await, before);
    assert_eq!(database.store.remove_ended_batches(90).await.unwrap(), 0);
}

#[tokio::test]
async fn a_batch_stays_while_anything_refers_to_it() {
    let database = Database::new().await;
    let store = &database.store;
    let live = database.batch(10_000, 10_000).await;
    let leasing = database.ended().await;
    let told = database.ended().await;
    let source = database.ended().await;
    for batch in [&told, &source] {
        database.free(batch).await;
    }
    let redrive = NewRedrive {
        batch_id: Uuid::new_v4(),
        source_id: source.id,
        source_day: source.day,
        kinds: FailureKinds::ALL,
        close: true,
        chunks: 1,
        largest: 1,
    };
    let again = store.create_redrive(&database.new_batch(10_000, 10_000), &redrive).await.unwrap().batch;
    database
        .run(&format!(
            "INSERT INTO webhook_deliveries (id, tenant_id, batch_id, event, body, host)
             VALUES (gen_random_uuid(), '{}', '{}', 'batch.completed', '', 'h')",
            database.tenant_id, told.id
        ))
        .await;
    // One batch of each day that is still there.
    let kept = database.ended().await;
    database.free(&kept).await;
    database.run(LONG_AFTER).await;
    database
        .run(&format!("UPDATE batches SET day = (now() AT TIME ZONE 'UTC')::date WHERE id = '{}'", kept.id))
        .await;
    assert_eq!(store.remove_ended_batches(1).await.unwrap(), 0);

    database.free(&leasing).await;
    assert_eq!(store.remove_ended_batches(1).await.unwrap(), 1, "its lane is back");
    database.run("DELETE FROM webhook_deliveries").await;
    assert_eq!(store.remove_ended_batches(1).await.unwrap(), 1, "its messages are gone");
    assert!(!database.exists(&told).await);

    // The batch that did failed work again goes first, and not before its redrive has ended.
    store.change_batch(again.id, Transition::Close).await.unwrap().unwrap();
    database.free(&again).await;
    database
        .run(&format!(
            "UPDATE batches SET finished_at = now() - interval '91 days', day = day - 91 WHERE id = '{}'",
            again.id
        ))
        .await;
    assert_eq!(store.remove_ended_batches(1).await.unwrap(), 0, "its redrive runs");
    store.end_redrive(again.id, true, None).await.unwrap();
    assert_eq!(store.remove_ended_batches(1).await.unwrap(), 1);
    assert!(database.exists(&source).await && !database.exists(&again).await);
    assert!(store.redrive_links(source.id).await.unwrap().redriven_by.is_empty());
    assert_eq!(store.remove_ended_batches(1).await.unwrap(), 1);
    assert!(database.exists(&live).await && database.exists(&kept).await && !database.exists(&source).await);
}

/// A worker that was cut off for months still holds a chunk of it.
#[tokio::test]
async fn a_late_result_of_a_removed_batch_is_dropped_and_keeps_nobody_from_theirs() {
    let database = Database::new().await;
    let (old, new) = (database.batch(10_000, 10_000).await, database.batch(10_000, 10_000).await);
    let late = database.queued(&old, &["late"]).await;
    database.store.change_batch(old.id, Transition::Cancel).await.unwrap().unwrap();
    database.free(&old).await;
    let chunks = database.queued(&new, &["a"]).await;
    database
        .run(&format!(
            "UPDATE batches SET finished_at = now() - interval '91 days', day = day - 91 WHERE id = '{}'",
            old.id
        ))
        .await;
    assert_eq!(database.store.remove_ended_batches(90).await.unwrap(), 1);
    let group = [failing(&old, "late", late[0].1, true), failing(&new, "a", chunks[0].1, true)];
    let committed = database.store.commit(WorkerSlot::of(Uuid::nil()), &group).await.unwrap();
    assert_eq!(committed.iter().map(|one| one.batch_id).collect::<Vec<_>>(), [new.id]);
    assert_eq!(database.counters(&new).await.chunks_failed, 1);
    let count = "SELECT count(*) FROM results";
    assert_eq!(database.connect().await.query_one(count, &[]).await.unwrap().get::<_, i64>(0), 1);
    let slot = WorkerSlot::of(Uuid::nil());
    assert_eq!(database.store.claim_attempt(slot, old.day, old.id, "late", late[0].1).await.unwrap(), None);
}
