use millrace_common::model::BatchState;
use millrace_common::store::{Admission, Consequence, Outcome};
use uuid::Uuid;

use super::fixture::{Database, finished, push, queued};

#[tokio::test]
async fn f31_an_inactive_batch_is_closed_by_timeout_once() {
    let database = Database::new().await;
    let (idle, busy) = (database.batch(10_000, 10_000).await, database.batch(10_000, 10_000).await);
    let chunks = database.queued(&idle, &["a"]).await;
    database
        .run(&format!(
            "UPDATE batches SET updated_at = now() - interval '1 hour';
             UPDATE batch_counters SET touched_at = now() - interval '1 hour';
             UPDATE batch_counters SET touched_at = now() WHERE batch_id = '{}' AND slot = 1",
            busy.id
        ))
        .await;
    assert_eq!(database.store.time_out_batches(1_800.0).await.unwrap(), [idle.id]);
    assert_eq!(database.store.time_out_batches(1_800.0).await.unwrap(), Vec::<Uuid>::new());
    assert_eq!(database.view(&idle).await.batch.state, BatchState::ClosedByTimeout);
    database.finish(&idle, &chunks, Outcome::Completed).await;
    assert_eq!(
        database.store.settle_batches().await.unwrap(),
        [(idle.id, Consequence::Settled(BatchState::CompletedByTimeout))]
    );
    assert_eq!(database.view(&idle).await.batch.state, BatchState::CompletedByTimeout);
    assert_eq!(database.view(&busy).await.batch.state, BatchState::Open);
}

#[tokio::test]
async fn f34_stale_accepted_chunks_are_withdrawn_with_their_budget_and_their_ids_are_free_again() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let Admission::Admitted { publish, .. } = database.admit(push(&batch, &["lost", "late", "fresh"])).await
    else {
        panic!()
    };
    database.store.mark_queued(&[queued(&batch, &publish[2..])]).await.unwrap();
    // One of the unconfirmed chunks reached the broker after all and was evaluated.
    database.finish(&batch, &publish[1..2], Outcome::Completed).await;
    database
        .run(
            "UPDATE chunks SET accepted_at = now() - interval '1 hour';
             UPDATE batch_counters SET touched_at = now() - interval '1 hour'",
        )
        .await;
    assert_eq!(database.store.withdraw_accepted(600.0).await.unwrap(), 1);
    assert_eq!(database.store.withdraw_accepted(600.0).await.unwrap(), 0);
    let counters = database.counters(&batch).await;
    assert_eq!((counters.chunks_submitted, counters.chunks_queued, counters.records_submitted), (2, 2, 20));
    assert_eq!(counters.input_bytes, 1_000);

    // A delivery of the withdrawn chunk that comes now stores nothing; the id can be pushed anew.
    database
        .store
        .commit(
            millrace_common::store::WorkerSlot::of(Uuid::nil()),
            &[finished(&batch, "lost", publish[0].1, Outcome::Completed)],
        )
        .await
        .unwrap();
    assert_eq!(database.counters(&batch).await.chunks_completed, 1);
    let Admission::Admitted { publish: again, .. } = database.admit(push(&batch, &["lost"])).await else {
        panic!()
    };
    assert_ne!(again[0].1, publish[0].1);
}

#[tokio::test]
async fn f32_two_reapers_share_one_lease_and_each_step_acts_once() {
    let database = Database::new().await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    assert!(database.store.hold_lease("reaper", one, 60.0).await.unwrap());
    assert!(database.store.hold_lease("reaper", one, 60.0).await.unwrap());
    assert!(!database.store.hold_lease("reaper", two, 60.0).await.unwrap());
    database.store.drop_lease("reaper", one).await.unwrap();
    assert!(database.store.hold_lease("reaper", two, 60.0).await.unwrap());

    let batch = database.batch(10_000, 10_000).await;
    database.admit(push(&batch, &["a"])).await;
    database.run("UPDATE chunks SET accepted_at = now() - interval '1 day'; UPDATE batch_counters SET touched_at = now() - interval '1 day'; UPDATE batches SET updated_at = now() - interval '1 day'").await;
    let (first, second) =
        tokio::join!(database.store.withdraw_accepted(60.0), database.store.withdraw_accepted(60.0));
    assert_eq!(first.unwrap() + second.unwrap(), 1);
    let (first, second) =
        tokio::join!(database.store.time_out_batches(60.0), database.store.time_out_batches(60.0));
    assert_eq!(first.unwrap().len() + second.unwrap().len(), 1);
    assert_eq!(database.view(&batch).await.batch.state, BatchState::CompletedByTimeout);
}

#[tokio::test]
async fn reservations_come_back_after_the_cool_off() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    database.store.change_batch(batch.id, millrace_common::model::Transition::Close).await.unwrap().unwrap();
    assert_eq!(database.store.release_reservations(120.0).await.unwrap(), 0);
    database.run("UPDATE batches SET finished_at = now() - interval '3 minutes'").await;
    assert_eq!(database.store.release_reservations(120.0).await.unwrap(), 1);
    assert_eq!(database.store.tenant_overview(database.tenant_id).await.unwrap().reserved_input_bytes, 0);
}

#[tokio::test]
async fn silent_workers_are_removed_and_no_longer_count_as_busy() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a", "b", "c"]).await;
    let beat = millrace_common::store::Heartbeat {
        worker_id: Uuid::new_v4(),
        name: "w".into(),
        version: "0".into(),
        slots: 4,
        draining: false,
        busy: [(batch.id, 2)].into(),
        held: [(batch.id, 3)].into(),
        clock: chrono::Utc::now(),
    };
    database.store.heartbeat(&beat).await.unwrap();
    let view = database.view(&batch).await;
    assert_eq!((view.workers_in_use, view.running(), view.waiting()), (2, 2, 1));
    // The heartbeat lags behind the commits: no more slots are in use than there are chunks to evaluate.
    database.finish(&batch, &chunks[..2], millrace_common::store::Outcome::Completed).await;
    assert_eq!(database.view(&batch).await.running(), 1);
    assert_eq!(database.store.tenant_overview(database.tenant_id).await.unwrap().workers_in_use, 1);
    assert_eq!(database.store.lane_gauges().await.unwrap()[0].workers_in_use, 1);
    assert_eq!(database.store.fleet_snapshot(10.0).await.unwrap().workers.len(), 1);
    database.run("UPDATE workers SET seen_at = now() - interval '1 minute'").await;
    assert!(database.store.fleet_snapshot(10.0).await.unwrap().workers.is_empty());
    assert_eq!(database.store.remove_silent_workers(10.0).await.unwrap(), [beat.worker_id]);
    assert_eq!(database.view(&batch).await.workers_in_use, 0);
}

#[tokio::test]
async fn partitions_exist_ahead_and_old_ones_go_when_nothing_in_them_is_kept() {
    let database = Database::new().await;
    database.store.ensure_partitions().await.unwrap();
    let batch = database.batch(10_000, 10_000).await;
    let chunks = database.queued(&batch, &["a"]).await;
    database.finish(&batch, &chunks, Outcome::Completed).await;
    assert!(database.store.drop_expired_partitions(0.0).await.unwrap().is_empty(), "today's are kept");
    database
        .run(
            "CREATE TABLE chunks_p20200101 PARTITION OF chunks FOR VALUES FROM ('2020-01-01') TO ('2020-01-02');
             CREATE TABLE results_p20200101 PARTITION OF results FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')",
        )
        .await;
    database.run(&format!("UPDATE batches SET day = '2020-01-01' WHERE id = '{}'", batch.id)).await;
    assert!(
        database.store.drop_expired_partitions(86_400.0).await.unwrap().is_empty(),
        "a live batch keeps its day"
    );
    database.run("UPDATE batches SET state = 'completed', finished_at = now() - interval '2 days'").await;
    assert_eq!(database.store.drop_expired_partitions(86_400.0).await.unwrap().len(), 1);
    let view = database.view(&batch).await;
    assert!(view.batch.dropped_at.is_some());
    // What is gone takes no room.
    assert_eq!((view.counters.input_bytes, view.counters.output_bytes, view.available()), (0, 0, (0, 0)));
}
