//! Transactions that are run again, counters that drift, chunks whose message is gone.

use std::time::Duration;

use millrace_common::metrics::{self, Process};
use millrace_common::model::BatchState;
use millrace_common::store::{
    Admission, Claim, Consequence, CounterRepair, Heartbeat, Outcome, StoreError, Suspect,
};
use uuid::Uuid;

use super::fixture::{Database, push, queued};

/// Fails so many inserts into a table, then none; a sequence does not take part in transactions.
fn failing(table: &str, code: &str, times: u32) -> String {
    format!(
        "CREATE SEQUENCE IF NOT EXISTS failures; ALTER SEQUENCE failures RESTART;
         CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF nextval('failures') <= {times} THEN RAISE EXCEPTION 'in the way' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$;
         CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fail();"
    )
}

fn retries(operation: &str) -> f64 {
    let series = format!("millrace_transaction_retries_total{{operation=\"{operation}\"}} ");
    let text = metrics::render(&[]);
    text.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok()).unwrap_or(0.0)
}

#[tokio::test]
async fn f24_a_transaction_that_was_in_the_way_of_another_is_run_again_with_a_limit() {
    metrics::install(Process::Api);
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    for (code, id) in [("40P01", "a"), ("40001", "b")] {
        let before = retries("admit");
        database.run(&failing("chunks", code, 3)).await;
        let admitted = database.admit(push(&batch, &[id])).await;
        assert!(matches!(admitted, Admission::Admitted { .. }), "{admitted:?}");
        assert!(retries("admit") >= before + 3.0);
    }
    assert_eq!(database.counters(&batch).await.chunks_submitted, 2);
    database.run(&failing("chunks", "40P01", 1_000)).await;
    let refused = database.store.admit(&[push(&batch, &["c"])]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    // Anything else is told at once.
    let before = retries("admit");
    database.run(&failing("chunks", "23514", 1)).await;
    let refused = database.store.admit(&[push(&batch, &["c"])]).await;
    assert!(matches!(refused, Err(StoreError::Database(_))), "{refused:?}");
    assert!(retries("admit") < before + 1.0);
    database.run("DROP TRIGGER fail ON chunks").await;

    let chunks = database.queued(&batch, &["c"]).await;
    database.run(&failing("results", "40P01", 2)).await;
    database.finish(&batch, &chunks, Outcome::Completed).await;
    assert_eq!(database.counters(&batch).await.chunks_completed, 1);
    database.run(&failing("batches", "40001", 2)).await;
    database.batch(1_000, 1_000).await;
}

#[tokio::test]
async fn f24_two_transactions_in_each_others_way_both_succeed() {
    let database = Database::new().await;
    let batch = database.batch(1_000_000, 1_000_000).await;
    // The other locks the batch's slots from the end, which no writer of Millrace does.
    let other = database.connect().await;
    for round in 0..3 {
        other
            .batch_execute(&format!(
                "BEGIN; SELECT FROM batch_counters WHERE batch_id = '{}' AND slot = 1 FOR UPDATE",
                batch.id
            ))
            .await
            .unwrap();
        let store = database.store.clone();
        let id = batch.id;
        let changing = tokio::spawn(async move { store.settle_batch(id).await });
        // It holds the row and slot 0, and waits for slot 1.
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
        let watch = database.connect().await;
        while watch.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Whoever of the two the database chooses, Millrace's transaction succeeds.
        let slot =
            format!("SELECT FROM batch_counters WHERE batch_id = '{}' AND slot = 0 FOR UPDATE", batch.id);
        let _ = other.batch_execute(&slot).await;
        other.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(changing.await.unwrap().unwrap(), Consequence::None, "round {round}");
    }
}

#[tokio::test]
async fn f42_drifted_counters_are_found_and_repaired_once() {
    let database = Database::new().await;
    let (batch, good) = (database.batch(100_000, 100_000).await, database.batch(100_000, 100_000).await);
    let chunks = database.queued(&batch, &["a", "b", "c"]).await;
    database.queued(&good, &["a"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    database.finish(&batch, &chunks[1..2], Outcome::Failed).await;
    database.admit(push(&batch, &["unconfirmed"])).await;
    assert_eq!(database.store.recount_batches(60.0).await.unwrap(), []);
    let before = database.counters(&batch).await;
    let columns = [
        "chunks_submitted",
        "records_submitted",
        "chunks_queued",
        "chunks_completed",
        "chunks_failed",
        "records_completed",
        "chunks_pulled",
        "records_pulled",
        "input_bytes",
        "output_bytes",
    ];
    for (by, column) in (1_i64..).zip(columns) {
        let by = if by % 2 == 0 { -by } else { by };
        database
            .run(&format!(
                "UPDATE batch_counters SET {column} = {column} + {by} WHERE batch_id = '{}' AND slot = 3",
                batch.id
            ))
            .await;
        let repairs = database.store.recount_batches(60.0).await.unwrap();
        let [CounterRepair { batch_id, counter, counted, found }] = repairs.as_slice() else {
            panic!("{column}: {repairs:?}")
        };
        assert_eq!((*batch_id, counter.as_str(), counted - found), (batch.id, column, by));
        assert_eq!(database.counters(&batch).await, before);
    }
    assert_eq!(database.store.recount_batches(60.0).await.unwrap(), []);
    assert_eq!(database.store.counter_repairs(batch.id).await.unwrap().len(), columns.len());
    assert_eq!(database.store.counter_repairs(good.id).await.unwrap(), []);
    // How many records of good chunks had errors is in no row; what rows exclude is set right.
    database
        .run(&format!(
            "UPDATE batch_counters SET records_failed = 99 WHERE batch_id = '{}' AND slot = 3",
            batch.id
        ))
        .await;
    assert_eq!(database.store.recount_batches(60.0).await.unwrap().len(), 1);
    assert_eq!(database.counters(&batch).await.records_failed, 20);

    // A cancelled batch holds no budget, whatever its rows are; one whose day is gone has no rows to compare with.
    database.store.change_batch(batch.id, millrace_common::model::Transition::Cancel).await.unwrap().unwrap();
    assert_eq!(database.store.recount_batches(60.0).await.unwrap(), []);
    database
        .run(&format!(
            "UPDATE batch_counters SET input_bytes = 5 WHERE batch_id = '{}' AND slot = 3",
            batch.id
        ))
        .await;
    assert_eq!(database.store.recount_batches(60.0).await.unwrap().len(), 1);
    database.run(&format!("UPDATE batches SET day = '2020-01-01' WHERE id = '{}'", batch.id)).await;
    assert_eq!(database.store.recount_batches(60.0).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_nothing_is_repaired_while_writers_are_at_work() {
    let database = Database::new().await;
    let batch = database.batch(100_000_000, 100_000_000).await;
    let (store, of) = (database.store.clone(), batch.clone());
    let pulling = tokio::spawn(async move {
        let mut pulled = 0;
        while pulled < 200 {
            match store.claim_results(of.id, of.day, 7, 1_000_000).await.unwrap().0 {
                Claim::Results(results) => pulled += results.len(),
                other => panic!("{other:?}"),
            }
        }
    });
    let recounting = async {
        while !pulling.is_finished() {
            assert_eq!(database.store.recount_batches(60.0).await.unwrap(), []);
        }
    };
    let working = async {
        for round in 0..20 {
            let ids: Vec<String> = (0..10).map(|chunk| format!("{round}-{chunk}")).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let Admission::Admitted { publish, .. } = database.admit(push(&batch, &ids)).await else {
                panic!()
            };
            // Some are finished before their confirm is in.
            database.finish(&batch, &publish[..3], Outcome::Failed).await;
            database.store.mark_queued(&[queued(&batch, &publish)]).await.unwrap();
            database.finish(&batch, &publish, Outcome::Completed).await;
        }
    };
    tokio::join!(recounting, working);
    pulling.await.unwrap();
}

fn beat(worker_id: Uuid, held: &[(Uuid, u32)]) -> Heartbeat {
    Heartbeat {
        worker_id,
        name: "w".into(),
        version: "0".into(),
        slots: 1,
        draining: false,
        busy: [].into(),
        held: held.iter().copied().collect(),
        clock: chrono::Utc::now(),
    }
}

#[tokio::test]
async fn f07_chunks_are_lost_when_their_lane_is_empty_and_nobody_holds_them_for_long() {
    let database = Database::new().await;
    let store = &database.store;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["done", "gone"]).await;
    database.finish(&batch, &chunks[..1], Outcome::Completed).await;
    // Not confirmed: those are the withdrawal's.
    database.admit(push(&batch, &["accepted"])).await;
    let suspect = Suspect { batch_id: batch.id, day: batch.day, lane_id: batch.lane_id.unwrap() };
    assert_eq!(store.suspected_batches().await.unwrap(), [suspect]);

    // A worker that holds some, and one of before that does not say.
    let worker = Uuid::new_v4();
    store.heartbeat(&beat(worker, &[(batch.id, 1)])).await.unwrap();
    assert_eq!(store.suspected_batches().await.unwrap(), []);
    store.heartbeat(&beat(worker, &[])).await.unwrap();
    assert_eq!(store.suspected_batches().await.unwrap(), [suspect]);
    database.run("UPDATE workers SET held = NULL").await;
    assert_eq!(store.suspected_batches().await.unwrap(), []);
    store.heartbeat(&beat(worker, &[])).await.unwrap();

    // Only what lasts counts, and it begins anew when the lane had something meanwhile.
    assert_eq!(store.note_empty_lanes(&[suspect], 60.0).await.unwrap(), []);
    let older = "UPDATE batches SET lane_empty_since = lane_empty_since - interval '2 minutes'";
    database.run(older).await;
    assert_eq!(store.note_empty_lanes(&[], 60.0).await.unwrap(), []);
    assert_eq!(store.note_empty_lanes(&[suspect], 60.0).await.unwrap(), []);
    // What was queued after that is not concerned.
    database.run(older).await;
    assert_eq!(store.note_empty_lanes(&[suspect], 60.0).await.unwrap(), [suspect]);
    assert_eq!(store.fail_lost_chunks(suspect).await.unwrap(), 0);
    database.run("UPDATE chunks SET queued_at = queued_at - interval '1 hour'").await;
    // Somebody took it in the last moment; either way the time begins anew.
    let last_again = async || {
        assert_eq!(store.note_empty_lanes(&[suspect], 60.0).await.unwrap(), []);
        database.run(older).await;
        assert_eq!(store.note_empty_lanes(&[suspect], 60.0).await.unwrap(), [suspect]);
    };
    last_again().await;
    store.heartbeat(&beat(worker, &[(batch.id, 1)])).await.unwrap();
    assert_eq!(store.fail_lost_chunks(suspect).await.unwrap(), 0);
    store.heartbeat(&beat(worker, &[])).await.unwrap();
    last_again().await;
    let (one, two) = tokio::join!(store.fail_lost_chunks(suspect), store.fail_lost_chunks(suspect));
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    assert_eq!(store.suspected_batches().await.unwrap(), []);

    let counters = database.counters(&batch).await;
    assert_eq!((counters.chunks_completed, counters.chunks_failed), (1, 1));
    assert_eq!((counters.records_completed, counters.records_failed), (20, 11));
    assert_eq!(store.recount_batches(60.0).await.unwrap(), []);
    // A delivery that comes after all stores nothing.
    database.finish(&batch, &chunks[1..], Outcome::Completed).await;
    assert_eq!(database.counters(&batch).await.chunks_completed, 1);
    let Claim::Results(results) = store.claim_results(batch.id, batch.day, 10, 1_000_000).await.unwrap().0
    else {
        panic!()
    };
    let lost: serde_json::Value = serde_json::from_slice(&results[1].body).unwrap();
    assert_eq!((&lost["id"], &lost["status"]), (&"gone".into(), &"failed".into()), "{lost}");
    assert_eq!(lost["errors"][0]["error_type"], "error.BODY_LOST", "{lost}");

    // Of a batch that has ended nothing is lost any more.
    store.change_batch(batch.id, millrace_common::model::Transition::Cancel).await.unwrap().unwrap();
    assert_eq!(store.fail_lost_chunks(suspect).await.unwrap(), 0);
    assert_eq!(database.view(&batch).await.batch.state, BatchState::Cancelled);
}

/// Its batch would never have ended: the lane stayed empty, so the time since when it was counted for older chunks alone.
#[tokio::test]
async fn f07_a_chunk_that_is_lost_after_its_lane_was_seen_empty_is_looked_for_anew() {
    let database = Database::new().await;
    let store = &database.store;
    let batch = database.batch(100_000, 100_000).await;
    database.queued(&batch, &["first"]).await;
    let suspect = Suspect { batch_id: batch.id, day: batch.day, lane_id: batch.lane_id.unwrap() };
    let look = async || store.note_empty_lanes(&[suspect], 60.0).await.unwrap();
    let older = "UPDATE batches SET lane_empty_since = lane_empty_since - interval '2 minutes';
                 UPDATE chunks SET queued_at = queued_at - interval '2 minutes'";
    assert_eq!(look().await, []);
    // It comes and is lost between two looks.
    database.queued(&batch, &["second"]).await;
    database.run(older).await;
    assert_eq!(look().await, [suspect]);
    assert_eq!(store.fail_lost_chunks(suspect).await.unwrap(), 1);
    assert_eq!(store.fail_lost_chunks(suspect).await.unwrap(), 0);
    assert_eq!(store.suspected_batches().await.unwrap(), [suspect]);
    // It has all the time that the first one had.
    assert_eq!(look().await, []);
    database.run(older).await;
    assert_eq!(look().await, [suspect]);
    assert_eq!(store.fail_lost_chunks(suspect).await.unwrap(), 1);
    assert_eq!(store.suspected_batches().await.unwrap(), []);
    assert_eq!(database.counters(&batch).await.chunks_failed, 2);
}
