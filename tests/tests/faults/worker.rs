//! Workers that die, freeze or are told to stop.

use std::time::Duration;

use millrace_tests::proxy::{Direction, Proxy};
use millrace_tests::{Fleet, FleetOptions, PATIENCE, SalesRun, Services};

use crate::lane::{Lane, attempts, count, until_ready};

/// The broker misses the heartbeats of a dead peer after two of these.
const HEARTBEAT: (&str, u16) = ("broker.heartbeat_seconds", 2);

async fn idle_fleet() -> Fleet {
    Fleet::sales(FleetOptions::workers(0).set(HEARTBEAT.0, HEARTBEAT.1)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_chunks_of_a_worker_killed_before_its_commit_are_redone_once() {
    const CHUNKS: usize = 20;
    let mut fleet = idle_fleet().await;
    for point in ["evaluate", "commit.begin", "commit.inserted"] {
        let run = SalesRun::open(&fleet).await.unwrap();
        run.push_until_taken(0..CHUNKS).await.unwrap();
        let victim = fleet.start_failing_worker(&format!("{point}=kill")).await.unwrap();
        fleet.worker(victim).unwrap().wait(PATIENCE).await.unwrap();
        assert_eq!(count(&fleet, "SELECT count(*) FROM results WHERE pulled_at IS NULL").await, 0, "{point}");
        let heir = fleet.start_worker().await.unwrap();
        run.finish(&fleet, CHUNKS).await.unwrap();
        fleet.terminate_worker(heir, PATIENCE).await.unwrap();
    }
    // The victims held every chunk, so each was delivered again, and started again once.
    let attempts = attempts(&fleet).await;
    assert!(attempts.iter().all(|(_, attempts)| *attempts == 1), "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f01_sigkill_of_workers_in_the_middle_of_5000_chunks_loses_and_doubles_nothing() {
    const CHUNKS: usize = 5_000;
    let mut fleet = Fleet::sales(FleetOptions::workers(2)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    let pushing = run.push_all(CHUNKS);
    // One worker dies early, the other later; a third takes over in between.
    run.until_completed(500).await.unwrap();
    fleet.kill_worker(0).unwrap();
    run.until_completed(1_500).await.unwrap();
    fleet.start_worker().await.unwrap();
    fleet.kill_worker(1).unwrap();
    pushing.await.unwrap().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f02_chunks_of_a_worker_killed_after_its_commit_are_not_redone() {
    const CHUNKS: usize = 20;
    let mut fleet = idle_fleet().await;
    for point in ["commit.stored", "commit.acked"] {
        let run = SalesRun::open(&fleet).await.unwrap();
        run.push_until_taken(0..CHUNKS).await.unwrap();
        let victim = fleet.start_failing_worker(&format!("{point}=kill")).await.unwrap();
        fleet.worker(victim).unwrap().wait(PATIENCE).await.unwrap();
        let stored = count(&fleet, "SELECT count(*) FROM results WHERE pulled_at IS NULL").await;
        assert!(stored > 0, "{point}");
        let heir = fleet.start_worker().await.unwrap();
        run.finish(&fleet, CHUNKS).await.unwrap();
        fleet.terminate_worker(heir, PATIENCE).await.unwrap();
        // Whatever was stored was not started again.
        let again = attempts(&fleet).await.iter().filter(|(_, attempts)| *attempts > 0).count();
        let started = i64::try_from(again).unwrap();
        assert!(
            started <= i64::try_from(CHUNKS).unwrap() - stored || point != "commit.stored",
            "{started}, {stored}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f03_a_lost_acknowledgement_costs_nothing_but_a_look() {
    const CHUNKS: usize = 20;
    let broker = Proxy::start(Services::from_env().unwrap().broker_address().unwrap()).await.unwrap();
    let options = FleetOptions::workers(0).worker_broker_at(broker.address()).set(HEARTBEAT.0, HEARTBEAT.1);
    // Some are stored when it freezes, never all: a batch that is through before the broker notices the cut gives its lane back
    // too soon for this test.
    let mut fleet = Fleet::sales(options.small_groups()).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    let worker = fleet.start_failing_worker("commit.stored=stop@1").await.unwrap();
    fleet.worker(worker).unwrap().wait_frozen(PATIENCE).await.unwrap();
    let stored = count(&fleet, "SELECT count(*) FROM results").await;
    assert!(stored > 0);
    // Its next words to the broker are the acknowledgements; they never arrive.
    broker.cut_after(Direction::ToServer, 0);
    fleet.continue_worker(worker).unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
    let again = attempts(&fleet).await.iter().filter(|(_, attempts)| *attempts > 0).count();
    assert!(
        i64::try_from(again).unwrap() <= i64::try_from(CHUNKS).unwrap() - stored,
        "{again} started again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_a_worker_that_wakes_up_after_others_did_its_work_changes_nothing() {
    const CHUNKS: usize = 40;
    let mut fleet = idle_fleet().await;
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    // Frozen with evaluated chunks in its hands, in front of their commit.
    let sleeper = fleet.start_failing_worker("commit.begin=stop@1").await.unwrap();
    fleet.worker(sleeper).unwrap().wait_frozen(PATIENCE).await.unwrap();
    fleet.start_worker().await.unwrap();
    // The broker misses the sleeper's heartbeats and gives its chunks to the other one.
    run.until_completed(CHUNKS).await.unwrap();
    fleet.continue_worker(sleeper).unwrap();
    // The sleeper has tried to store what it held once it works on further chunks.
    run.push_until_taken(CHUNKS..CHUNKS + 40).await.unwrap();
    run.until_completed(CHUNKS + 40).await.unwrap();
    run.finish(&fleet, CHUNKS + 40).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_workers_frozen_in_the_middle_of_a_load_change_nothing_when_they_wake_up() {
    const CHUNKS: usize = 800;
    let mut fleet = Fleet::sales(FleetOptions::workers(2).set(HEARTBEAT.0, HEARTBEAT.1)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    let pushing = run.push_all(CHUNKS);
    run.until_completed(100).await.unwrap();
    fleet.stop_worker(0).unwrap();
    pushing.await.unwrap().unwrap();
    run.until_completed(CHUNKS).await.unwrap();
    fleet.continue_worker(0).unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f05_a_chunk_that_two_workers_hold_at_once_has_one_result() {
    const CHUNKS: usize = 12;
    let mut fleet = idle_fleet().await;
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    until_ready(&fleet, 12).await;
    let lane = Lane::of(&fleet).await;
    // Each chunk three times, the copies far enough apart for two workers to have one each.
    let messages = lane.take().await;
    for _ in 0..3 {
        for message in &messages {
            lane.put(message.properties.clone(), &message.data).await;
        }
    }
    for _ in 0..2 {
        fleet.start_failing_worker("evaluate=sleep:30").await.unwrap();
    }
    run.until_completed(CHUNKS).await.unwrap();
    until_ready(&fleet, 0).await;
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes: the broker looks for overdue deliveries once a minute"]
async fn f06_a_consumer_timeout_is_survived() {
    let private = millrace_tests::PrivateServices::start().await.unwrap();
    private
        .rabbitmqctl(&["-q", "eval", "application:set_env(rabbit, consumer_timeout, 60000)."])
        .await
        .unwrap();
    let options = FleetOptions::workers(0).set("worker.slots", 1);
    let mut fleet = Fleet::start_on(&private, options).await.unwrap();
    fleet.publish_sales().await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..1).await.unwrap();
    let slow = fleet.start_failing_worker("evaluate(c0)=sleep:150000@1").await.unwrap();
    let slow = fleet.worker(slow).unwrap();
    slow.wait_says("a failpoint is reached", 1, PATIENCE).await.unwrap();
    slow.wait_says("consuming is interrupted", 1, Duration::from_secs(140)).await.unwrap();
    // The lane is consumed again: by a consumer that gets the chunk a second time.
    let consuming = slow.log().matches("consuming").count();
    slow.wait_says("consuming", consuming + 1, Duration::from_secs(10)).await.unwrap();
    fleet.start_worker().await.unwrap();
    run.until_completed(1).await.unwrap();
    run.push_until_taken(1..20).await.unwrap();
    run.finish(&fleet, 20).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f39_sigterm_lets_started_chunks_end_and_gives_the_others_back() {
    const CHUNKS: usize = 60;
    let mut fleet = Fleet::sales(FleetOptions::workers(0).set("worker.slots", 1)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    let worker = fleet.start_failing_worker("evaluate=sleep:200").await.unwrap();
    let leaving = fleet.worker(worker).unwrap();
    leaving.wait_says("a failpoint is reached", 3, PATIENCE).await.unwrap();
    // In the middle of a chunk; every other one is prefetched.
    let began = leaving.log().matches("a failpoint is reached").count();
    fleet.terminate_worker(worker, PATIENCE).await.unwrap();
    let stored = usize::try_from(count(&fleet, "SELECT count(*) FROM results").await).unwrap();
    assert!(stored >= began, "{began} chunks were started, {stored} have results");
    assert!(stored < CHUNKS);
    until_ready(&fleet, u32::try_from(CHUNKS - stored).unwrap()).await;
    fleet.start_worker().await.unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
    // Nothing was charged for lying in the prefetch of a worker that left: the heir's start is the first one counted.
    assert!(attempts(&fleet).await.iter().all(|(_, attempts)| *attempts <= 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn f39_sigterm_in_the_middle_of_a_load_loses_nothing() {
    const CHUNKS: usize = 1_500;
    let mut fleet = Fleet::sales(FleetOptions::workers(2)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    let pushing = run.push_all(CHUNKS);
    run.until_completed(200).await.unwrap();
    fleet.terminate_worker(0, PATIENCE).await.unwrap();
    pushing.await.unwrap().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}
