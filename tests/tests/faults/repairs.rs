//! What the reaper sets right: counters that drifted, messages that are gone, lanes that somebody deleted.

use millrace_tests::{Fleet, FleetOptions, PATIENCE, SalesRun, Scrape, reconcile, released, wait_until};
use serde_json::json;

use crate::lane::{Lane, count, until_ready};

async fn worker_metrics(fleet: &mut Fleet, worker: usize) -> Scrape {
    let address = fleet.worker(worker).unwrap().address().await.unwrap();
    Scrape::of(&format!("http://{address}"), None).await.unwrap()
}

/// Waits until the reaper of the fleet's first worker did so many more rounds.
async fn rounds(fleet: &mut Fleet, more: f64) {
    const ROUNDS: &str = "millrace_reaper_rounds_total{outcome=\"well\"}";
    let address = fleet.worker(0).unwrap().address().await.unwrap();
    let url = format!("http://{address}");
    let before = Scrape::of(&url, None).await.unwrap().value(ROUNDS);
    wait_until("the reaper does its rounds", PATIENCE, || async {
        Ok((Scrape::of(&url, None).await?.value(ROUNDS) >= before + more).then_some(()))
    })
    .await
    .unwrap();
}

fn patient_with_nobody() -> FleetOptions {
    FleetOptions::workers(0)
        .set("clocks.lost_seconds", 2)
        .set("clocks.reaper_ms", 100)
        .set("worker.heartbeat_ms", 200)
        .set("worker.silent_after_ms", 1_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_chunks_whose_message_is_gone_end_as_failed_ones() {
    const CHUNKS: usize = 8;
    let mut fleet = Fleet::sales(patient_with_nobody()).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    until_ready(&fleet, CHUNKS as u32).await;
    let lane = Lane::of(&fleet).await;
    let mut taken = lane.take().await;
    let lost = taken.split_off(5);
    for message in taken {
        lane.put(message.properties, &message.data).await;
    }
    fleet.start_worker().await.unwrap();
    run.until_completed(CHUNKS).await.unwrap();
    let metrics = worker_metrics(&mut fleet, 0).await;
    assert_eq!(metrics.value("millrace_reaper_actions_total{action=\"chunk_lost\"}"), 3.0);
    assert_eq!(count(&fleet, "SELECT count(*) FROM results WHERE outcome = 'failed' AND convert_from(body, 'UTF8') LIKE '%error.BODY_LOST%'").await, 3);
    // A delivery that comes after all changes nothing.
    for message in lost {
        lane.put(message.properties, &message.data).await;
    }
    run.finish_with_failed(&fleet, CHUNKS, &[5, 6, 7]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_a_lane_that_is_deleted_with_a_backlog_costs_its_chunks_and_no_more() {
    const CHUNKS: usize = 20;
    let mut fleet = Fleet::sales(patient_with_nobody()).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    until_ready(&fleet, CHUNKS as u32).await;
    Lane::of(&fleet).await.delete().await;
    fleet.start_worker().await.unwrap();
    run.until_completed(CHUNKS).await.unwrap();
    // The lane is there again: what is pushed now is evaluated.
    run.push_until_taken(CHUNKS..CHUNKS + 10).await.unwrap();
    let lost: Vec<usize> = (0..CHUNKS).collect();
    run.finish_with_failed(&fleet, CHUNKS + 10, &lost).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_chunks_that_wait_in_a_worker_are_not_taken_for_lost() {
    const CHUNKS: usize = 100;
    let mut fleet = Fleet::sales(patient_with_nobody().small_groups()).await.unwrap();
    let run = SalesRun::open_with(&fleet, json!({"max_output_in_mb": 0.002})).await.unwrap();
    fleet.start_worker().await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    run.until("it is blocked", |status| status["pipeline_status"] == "blocked").await.unwrap();
    // The worker holds what is left, and nothing is in the lane, for longer than lost chunks are given.
    until_ready(&fleet, 0).await;
    rounds(&mut fleet, 60.0).await;
    assert_eq!(count(&fleet, "SELECT count(*) FROM results WHERE outcome = 'failed'").await, 0);
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f07_a_deleted_lane_of_an_ended_batch_goes_back_to_the_pool() {
    let mut fleet = Fleet::sales(patient_with_nobody()).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..5).await.unwrap();
    Lane::of(&fleet).await.delete().await;
    run.client().patch(run.batch(), "cancelled").await.unwrap().success().unwrap();
    fleet.start_worker().await.unwrap();
    released(&fleet, run.batch()).await.unwrap();
    // The next batch leases it, declared anew.
    let next = SalesRun::open(&fleet).await.unwrap();
    assert_eq!(count(&fleet, "SELECT count(*) FROM lanes").await, 1);
    next.push_until_taken(0..5).await.unwrap();
    next.finish(&fleet, 5).await.unwrap();
}

/// They would have stayed in the lane until another batch leases it.
#[tokio::test(flavor = "multi_thread")]
async fn f11_what_comes_back_to_a_free_lane_is_purged() {
    let options = FleetOptions::workers(0).set("clocks.purge_seconds", 60).set("clocks.reaper_ms", 50);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..5).await.unwrap();
    until_ready(&fleet, 5).await;
    let dead = Lane::of(&fleet).await.hold(3).await;
    run.client().patch(run.batch(), "cancelled").await.unwrap().success().unwrap();
    fleet.start_worker().await.unwrap();
    released(&fleet, run.batch()).await.unwrap();
    until_ready(&fleet, 0).await;
    // The purge of the lane did not reach them.
    dead.hang_up().await;
    let url = format!("http://{}", fleet.worker(0).unwrap().address().await.unwrap());
    wait_until("what came back is purged", PATIENCE, || async {
        let metrics = Scrape::of(&url, None).await?;
        Ok((metrics.value("millrace_reaper_actions_total{action=\"lane_purged\"}") >= 1.0).then_some(()))
    })
    .await
    .unwrap();
    until_ready(&fleet, 0).await;
    // The lane is as good as any.
    let next = SalesRun::open(&fleet).await.unwrap();
    next.push_until_taken(0..5).await.unwrap();
    next.finish(&fleet, 5).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_counters_that_drifted_are_set_right_and_said_so() {
    const CHUNKS: usize = 40;
    let mut fleet = Fleet::sales(FleetOptions::workers(1).set("clocks.recount_seconds", 1)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS / 2).await.unwrap();
    run.until_completed(CHUNKS / 2).await.unwrap();
    reconcile(&fleet, run.batch()).await.unwrap();
    let database = fleet.database().connect().await.unwrap();
    database
        .batch_execute(
            "UPDATE batch_counters SET input_bytes = input_bytes + 700, chunks_pulled = chunks_pulled + 3,
                 output_bytes = output_bytes - 5 WHERE slot = 0",
        )
        .await
        .unwrap();
    // Work goes on meanwhile.
    run.push_until_taken(CHUNKS / 2..CHUNKS).await.unwrap();
    reconcile(&fleet, run.batch()).await.unwrap();
    let repairs = database
        .query("SELECT counter, counted - found FROM counter_repairs ORDER BY counter", &[])
        .await
        .unwrap();
    let repairs: Vec<(String, i64)> = repairs.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected = [("chunks_pulled", 3), ("input_bytes", 700), ("output_bytes", -5)];
    assert_eq!(repairs, expected.map(|(counter, by)| (counter.to_owned(), by)));
    let metrics = worker_metrics(&mut fleet, 0).await;
    for (counter, times) in [("chunks_pulled", 1.0), ("input_bytes", 1.0), ("chunks_submitted", 0.0)] {
        let series = format!("millrace_counter_repairs_total{{counter=\"{counter}\"}}");
        assert_eq!(metrics.value(&series), times, "{series}");
    }
    let log = std::fs::read_to_string(fleet.folder().join("worker-0.log")).unwrap();
    assert_eq!(log.matches("a counter had drifted and was set right").count(), 3, "{log}");
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_reaper_that_fails_keeps_no_other_from_its_work() {
    let mut fleet = Fleet::sales(FleetOptions::workers(1).set("clocks.reaper_ms", 100)).await.unwrap();
    let database = fleet.database().connect().await.unwrap();
    // Nothing can be added up any more.
    database.batch_execute("ALTER TABLE chunk_totals RENAME TO away").await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..5).await.unwrap();
    // The lane comes back in a later step of the same round.
    run.finish(&fleet, 5).await.unwrap();
    let metrics = worker_metrics(&mut fleet, 0).await;
    assert!(metrics.value("millrace_reaper_rounds_total{outcome=\"failed\"}") >= 1.0, "{}", metrics.text());
}
