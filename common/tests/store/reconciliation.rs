//! The reconciliation of a batch: its rows against its counters.

use millrace_common::model::Transition;
use millrace_common::store::{Batch, FinishedChunk, Reconciliation, WorkerSlot};
use uuid::Uuid;

use super::failures::{failing, good};
use super::fixture::{Database, push};

async fn report(database: &Database, batch: &Batch, digests: bool) -> Reconciliation {
    database.store.reconcile(batch.id, batch.day, digests).await.unwrap().unwrap()
}

/// Pushes and finishes chunks of these ids, in this order; `b` has failed records.
async fn run(database: &Database, batch: &Batch, ids: &[&str]) {
    let chunks = database.queued(batch, ids).await;
    let finished: Vec<FinishedChunk> = chunks
        .iter()
        .map(
            |(id, number)| {
                if id == "b" { failing(batch, id, *number, false) } else { good(batch, id, *number) }
            },
        )
        .collect();
    database.store.commit(WorkerSlot::of(Uuid::nil()), &finished).await.unwrap();
}

#[tokio::test]
async fn every_chunk_and_record_is_accounted_for_and_drift_shows() {
    let database = Database::new().await;
    let store = &database.store;
    let batch = database.batch(100_000, 100_000).await;
    let empty = report(&database, &batch, true).await;
    assert!(empty.is_balanced(), "{empty:?}");

    // Ten records each: completed, completed with two failed records, failed, waiting, withdrawn.
    run(&database, &batch, &["a", "b"]).await;
    let failed = database.queued(&batch, &["c"]).await;
    store.commit(WorkerSlot::of(Uuid::nil()), &[failing(&batch, "c", failed[0].1, true)]).await.unwrap();
    database.queued(&batch, &["d"]).await;
    database.admit(push(&batch, &["e"])).await;
    database
        .run(
            "UPDATE chunks SET accepted_at = now() - interval '1 day';
              UPDATE batch_counters SET touched_at = now() - interval '1 day'",
        )
        .await;
    assert_eq!(store.withdraw_accepted(60.0).await.unwrap(), 1);
    store.claim_results(batch.id, batch.day, 1, 1_000).await.unwrap();

    let found = report(&database, &batch, true).await;
    assert!(found.is_balanced(), "{found:?}");
    let (chunks, records) = (found.chunks, found.records);
    assert_eq!((chunks.submitted, chunks.completed, chunks.failed), (5, 2, 1));
    assert_eq!((chunks.withdrawn, chunks.waiting, chunks.pulled, chunks.unpulled), (1, 1, 1, 2));
    assert_eq!((records.submitted, records.completed, records.failed), (50, 18, 12));
    assert_eq!((records.withdrawn, records.waiting, records.pulled, records.unpulled), (10, 10, 10, 20));
    assert_eq!((found.input_bytes, found.output_bytes, found.doubles), (1_000, 1_200, 0));

    database.run("UPDATE batch_counters SET output_bytes = output_bytes + 7 WHERE slot = 4").await;
    let found = report(&database, &batch, false).await;
    assert!(!found.is_balanced() && found.digests.is_none());
    assert_eq!(found.counted_output_bytes - found.output_bytes, 7);
    store.change_batch(batch.id, Transition::Cancel).await.unwrap().unwrap();
    let found = report(&database, &batch, false).await;
    assert!(found.is_balanced() && found.is_dropped, "{found:?}");
    assert_eq!((found.chunks.waiting, found.input_bytes, found.output_bytes), (1, 0, 0));

    for sabotage in [
        "UPDATE batch_counters SET records_failed = records_failed + 1 WHERE slot = 2",
        "UPDATE batch_counters SET records_failed = records_failed - 1, chunks_submitted = chunks_submitted + 1 WHERE slot = 2",
        "UPDATE batch_counters SET chunks_submitted = chunks_submitted - 1 WHERE slot = 2;
         INSERT INTO results (day, chunk_no, batch_id, chunk_id, outcome, records, bytes, compressed, body)
         SELECT day, 999999, batch_id, chunk_id, outcome, records, bytes, compressed, body FROM results WHERE chunk_id = 'a'",
    ] {
        database.run(sabotage).await;
        assert!(!report(&database, &batch, false).await.is_balanced(), "{sabotage}");
    }
    assert_eq!(report(&database, &batch, false).await.doubles, 1);
    let gone = Uuid::new_v4();
    assert!(store.reconcile(gone, batch.day, false).await.is_err());
    let day = "2020-01-01".parse().unwrap();
    assert_eq!(store.reconcile(batch.id, day, false).await.unwrap(), None);
}

#[tokio::test]
async fn two_runs_of_the_same_chunks_have_the_same_digests_in_any_order() {
    let database = Database::new().await;
    let (one, two, three) = (
        database.batch(100_000, 100_000).await,
        database.batch(100_000, 100_000).await,
        database.batch(100_000, 100_000).await,
    );
    run(&database, &one, &["a", "b", "Z", "ä"]).await;
    run(&database, &two, &["ä", "Z"]).await;
    run(&database, &two, &["b", "a"]).await;
    run(&database, &three, &["a", "b", "Z"]).await;
    let first = report(&database, &one, true).await;
    assert!(first.is_balanced(), "{first:?}");
    let digests = first.digests.unwrap();
    assert_eq!(report(&database, &two, true).await.digests.unwrap(), digests);
    assert_ne!(report(&database, &three, true).await.digests.unwrap().0, digests.0);
    // A result that has changed shows, and one that cannot be read is told.
    database
        .run(&format!(
            "UPDATE results SET body = '{{\"id\":\"a\",\"outputs\":[]}}' WHERE batch_id = '{}' AND chunk_id = 'a'",
            two.id
        ))
        .await;
    let changed = report(&database, &two, true).await;
    assert_eq!(changed.digests.as_ref().unwrap().0, digests.0);
    assert_ne!(changed.digests.as_ref().unwrap().1, digests.1);
    database.run(&format!("UPDATE results SET body = '{{' WHERE batch_id = '{}'", two.id)).await;
    let broken = report(&database, &two, true).await;
    assert_eq!((broken.unreadable, broken.is_balanced()), (4, false));
}

#[tokio::test]
async fn partitions_stay_while_a_report_is_made() {
    let database = Database::new().await;
    let partition = |table: &str| {
        format!(
            "CREATE TABLE {table}_p20200101 PARTITION OF {table} FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
        )
    };
    database.store.ensure_partitions().await.unwrap();
    database.run(&["chunks", "results", "failed_work"].map(partition).join("; ")).await;
    let mut other = database.connect().await;
    let report = other.transaction().await.unwrap();
    report.execute("SELECT pg_advisory_xact_lock_shared(hashtext('millrace.reports'))", &[]).await.unwrap();
    assert!(database.store.drop_expired_partitions(0.0).await.unwrap().is_empty());
    report.commit().await.unwrap();
    assert_eq!(database.store.drop_expired_partitions(0.0).await.unwrap().len(), 1);
}
