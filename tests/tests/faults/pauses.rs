//! Batches that are paused and resumed in the middle of work, while what carries it out dies.

use std::time::Duration;

use millrace_tests::{Fleet, FleetOptions, PATIENCE, PrivateServices, SalesRun, ServiceAction, wait_until};
use serde_json::{Value, json};

use crate::lane::{attempts, count, until_ready};

/// Every chunk takes a worker so long.
const SLOW: &str = "evaluate=sleep:25";

/// Workers that take a while for each chunk, so that there is a middle of the work.
async fn slow_fleet(workers: usize, options: FleetOptions) -> Fleet {
    let options = options.set("worker.slots", 2).set("tenants.capacity_bytes", 9_000_000_000_u64);
    let mut fleet = Fleet::sales(options).await.unwrap();
    for _ in 0..workers {
        fleet.start_failing_worker(SLOW).await.unwrap();
    }
    fleet
}

/// Pauses a batch and waits until it stands still; returns how many of its chunks have an outcome then.
///
/// Another batch is opened after the pause, and finished. Who evaluates it has seen the pause, since both are in one snapshot; after that
/// only chunks end that had been started before.
async fn stand_still(fleet: &Fleet, run: &SalesRun) -> u64 {
    run.pause(true).await.unwrap();
    meanwhile(fleet).await;
    // Chunks that were started before have their results, or are on their way; workers say when nothing runs any more.
    let database = fleet.database().connect().await.unwrap();
    wait_until("nothing of the batch runs", PATIENCE, || async {
        let busy = "SELECT count(*) FROM workers WHERE busy ? $1";
        let busy: i64 = database.query_one(busy, &[&run.batch()]).await?.get(0);
        anyhow::ensure!(busy == 0, "{busy} workers are busy with it");
        Ok(Some(()))
    })
    .await
    .unwrap();
    meanwhile(fleet).await;
    let status = run.status().await.unwrap();
    assert_eq!((&status["paused"], &status["pipeline_status"]), (&json!(true), &json!("paused")), "{status}");
    status["chunks_completed"].as_u64().unwrap()
}

/// Another batch of the same tenant is opened, evaluated by every worker, and finished.
async fn meanwhile(fleet: &Fleet) {
    let other = SalesRun::open(fleet).await.unwrap();
    other.push_until_taken(0..40).await.unwrap();
    other.finish(fleet, 40).await.unwrap();
}

async fn completed(run: &SalesRun) -> u64 {
    run.status().await.unwrap()["chunks_completed"].as_u64().unwrap()
}

/// The broker's limit of deliveries judged nothing, and no chunk was started more than once beyond its first delivery.
async fn nothing_went_round(fleet: &Fleet) {
    let attempts = attempts(fleet).await;
    assert!(attempts.iter().all(|(_, attempts)| *attempts <= 1), "{attempts:?}");
    let broker = millrace_tests::broker(fleet);
    assert_eq!(broker.dead_depth().await.unwrap().ready, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f46_a_pause_in_the_middle_of_a_load_halts_it_and_nothing_else() {
    const CHUNKS: usize = 600;
    let fleet = slow_fleet(2, FleetOptions::workers(0)).await;
    let run = SalesRun::open(&fleet).await.unwrap();
    let pushing = run.push_all(CHUNKS);
    run.until_completed(50).await.unwrap();
    let halted = stand_still(&fleet, &run).await;
    assert!(halted < CHUNKS as u64, "{halted}");
    // It takes chunks, and gives results.
    pushing.await.unwrap().unwrap();
    let pulled = run.client().pull(run.batch(), 1).await.unwrap().success().unwrap();
    assert_eq!(pulled.list("/data").unwrap().len(), 1);
    meanwhile(&fleet).await;
    assert_eq!(completed(&run).await, halted, "nothing was evaluated while it was paused");
    // Asking again is fine.
    run.pause(true).await.unwrap();
    for _ in 0..2 {
        run.pause(false).await.unwrap();
    }
    // One result was pulled already.
    let rest = run.client().pull_all(run.batch(), CHUNKS - 1, PATIENCE).await.unwrap();
    let mut results = pulled.list("/data").unwrap().to_vec();
    results.extend(rest);
    run.check_results(&results, &(0..CHUNKS).collect(), &Default::default()).unwrap();
    run.client().patch(run.batch(), "closed").await.unwrap().success().unwrap();
    run.client().wait_for_status(run.batch(), "completed", PATIENCE).await.unwrap();
    millrace_tests::reconcile(&fleet, run.batch()).await.unwrap();
    millrace_tests::released(&fleet, run.batch()).await.unwrap();
    nothing_went_round(&fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f46_a_pause_outlives_workers_the_api_and_the_broker() {
    const CHUNKS: usize = 300;
    let private = PrivateServices::start().await.unwrap();
    let options = FleetOptions::workers(0)
        .set("worker.slots", 2)
        .set("broker.heartbeat_seconds", 2)
        .set("tenants.capacity_bytes", 9_000_000_000_u64);
    let mut fleet = Fleet::start_on(&private, options).await.unwrap();
    fleet.publish_sales().await.unwrap();
    let victim = fleet.start_failing_worker(SLOW).await.unwrap();
    let mut run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    run.until_completed(20).await.unwrap();
    let halted = stand_still(&fleet, &run).await;

    fleet.kill_worker(victim).unwrap();
    fleet.start_failing_worker(SLOW).await.unwrap();
    meanwhile(&fleet).await;
    fleet.kill_api().unwrap();
    fleet.start_api().await.unwrap();
    run.follow(&fleet);
    meanwhile(&fleet).await;
    private.act(ServiceAction::KillBroker).await.unwrap();
    private.act(ServiceAction::StartBroker).await.unwrap();
    meanwhile(&fleet).await;
    let status = run.status().await.unwrap();
    assert_eq!((&status["paused"], &status["chunks_completed"]), (&json!(true), &json!(halted)), "{status}");

    run.pause(false).await.unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
    assert_eq!(count(&fleet, "SELECT count(*) FROM chunks WHERE attempts > 1").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f46_chunks_of_a_paused_batch_go_back_to_their_lane_once() {
    const CHUNKS: usize = 200;
    let options = FleetOptions::workers(0).set("worker.paused_hold_ms", 0).set("clocks.lost_seconds", 2);
    let mut fleet = slow_fleet(2, options).await;
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    run.until_completed(2).await.unwrap();
    let halted = stand_still(&fleet, &run).await;
    // Nobody holds any, and none is taken for lost.
    until_ready(&fleet, u32::try_from(CHUNKS).unwrap() - u32::try_from(halted).unwrap()).await;
    let looks = "SELECT count(*) FROM workers WHERE held ? (SELECT id::text FROM batches WHERE paused_at IS NOT NULL)";
    wait_until("workers hold nothing of it", PATIENCE, || async {
        anyhow::ensure!(count(&fleet, looks).await == 0);
        Ok(Some(()))
    })
    .await
    .unwrap();
    meanwhile(&fleet).await;
    // What is pushed now is not even looked at: it stays in the lane.
    run.push_until_taken(CHUNKS..CHUNKS + 20).await.unwrap();
    meanwhile(&fleet).await;
    until_ready(&fleet, u32::try_from(CHUNKS + 20).unwrap() - u32::try_from(halted).unwrap()).await;
    let heir = fleet.start_worker().await.unwrap();
    meanwhile(&fleet).await;
    assert_eq!(completed(&run).await, halted);
    run.pause(false).await.unwrap();
    run.finish(&fleet, CHUNKS + 20).await.unwrap();
    nothing_went_round(&fleet).await;
    fleet.terminate_worker(heir, PATIENCE).await.unwrap();
}

/// As many changes as the broker counts deliveries before it gives a message up, and more.
#[tokio::test(flavor = "multi_thread")]
async fn f46_a_batch_that_is_paused_and_resumed_again_and_again_ends_exactly_once() {
    const CHUNKS: usize = 400;
    const CHANGES: usize = 40;
    let fleet = slow_fleet(2, FleetOptions::workers(0)).await;
    let run = SalesRun::open(&fleet).await.unwrap();
    let pushing = run.push_all(CHUNKS);
    run.until_completed(10).await.unwrap();
    for change in 0..CHANGES {
        let status = run.pause(change % 2 == 0).await.unwrap();
        assert_eq!(status["paused"], json!(change % 2 == 0));
    }
    pushing.await.unwrap().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
    nothing_went_round(&fleet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f46_a_cancel_of_a_paused_batch_is_final_and_a_closed_one_ends_when_it_is_resumed() {
    const CHUNKS: usize = 200;
    let fleet = slow_fleet(1, FleetOptions::workers(0)).await;
    let (cancelled, closed) = (SalesRun::open(&fleet).await.unwrap(), SalesRun::open(&fleet).await.unwrap());
    for run in [&cancelled, &closed] {
        run.push_until_taken(0..CHUNKS).await.unwrap();
        run.until_completed(5).await.unwrap();
        run.pause(true).await.unwrap();
    }
    stand_still(&fleet, &cancelled).await;
    let halted = stand_still(&fleet, &closed).await;
    cancelled.client().patch(cancelled.batch(), "cancelled").await.unwrap().success().unwrap();
    let status = closed.client().patch(closed.batch(), "closed").await.unwrap().success().unwrap().body;
    assert_eq!((&status["batch_status"], &status["paused"]), (&json!("closed"), &json!(true)), "{status}");
    millrace_tests::released(&fleet, cancelled.batch()).await.unwrap();
    let status = cancelled.status().await.unwrap();
    assert_eq!(
        (&status["batch_status"], &status["paused"]),
        (&json!("cancelled"), &json!(false)),
        "{status}"
    );
    let again = cancelled.pause(true).await.unwrap_err().to_string();
    assert!(again.contains("BATCH_CANCELLED"), "{again}");
    // A closed one does not settle by itself: its chunks have no outcome.
    meanwhile(&fleet).await;
    let status = closed.status().await.unwrap();
    assert_eq!((&status["batch_status"], &status["chunks_completed"]), (&json!("closed"), &json!(halted)));
    closed.pause(false).await.unwrap();
    closed.client().wait_for_status(closed.batch(), "completed", PATIENCE).await.unwrap();
    closed.finish(&fleet, CHUNKS).await.unwrap();
    let again = closed.pause(true).await.unwrap_err().to_string();
    assert!(again.contains("BATCH_FINISHED"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f46_a_pause_that_nobody_ends_ends_by_itself_and_times_the_batch_out() {
    const CHUNKS: usize = 300;
    let options = FleetOptions::workers(0)
        .set("clocks.inactivity_seconds", 2)
        .set("clocks.paused_seconds", 6)
        .set("clocks.reaper_ms", 100);
    let fleet = slow_fleet(2, options).await;
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    run.until_completed(2).await.unwrap();
    let paused = run.pause(true).await.unwrap();
    let time = |field: &str| paused[field].as_str().unwrap().to_owned();
    let (end, since) = (time("expires_at"), time("paused_timestamp"));
    let seconds = format!("SELECT extract(epoch FROM '{end}'::timestamptz - '{since}'::timestamptz)::bigint");
    assert_eq!(count(&fleet, &seconds).await, 6);
    // Longer than it takes any other batch to be closed for inactivity.
    let other = SalesRun::open(&fleet).await.unwrap();
    other.client().wait_for_status(other.batch(), "completed_by_timeout", PATIENCE).await.unwrap();
    let status = run.status().await.unwrap();
    assert_eq!(
        (&status["batch_status"], &status["paused"]),
        (&json!("in_progress"), &json!(true)),
        "{status}"
    );
    run.client().wait_for_status(run.batch(), "completed_by_timeout", PATIENCE).await.unwrap();
    let results = run.client().pull_all(run.batch(), CHUNKS, Duration::from_secs(60)).await.unwrap();
    run.check_results(&results, &(0..CHUNKS).collect(), &Default::default()).unwrap();
    let status: Value = run.status().await.unwrap();
    assert_eq!((&status["paused"], &status["paused_by"]), (&json!(false), &Value::Null), "{status}");
    millrace_tests::reconcile(&fleet, run.batch()).await.unwrap();
    millrace_tests::released(&fleet, run.batch()).await.unwrap();
    let logs = ["worker-0", "worker-1"]
        .map(|worker| std::fs::read_to_string(fleet.folder().join(format!("{worker}.log"))).unwrap());
    assert_eq!(logs.concat().matches("its pause has lasted too long").count(), 1);
}
