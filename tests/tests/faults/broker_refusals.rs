//! The broker is there and does not take messages.

use std::time::{Duration, Instant};

use millrace_tests::{Answer, Fleet, FleetOptions, PrivateServices, SalesRun};
use serde_json::json;

use crate::lane::until_ready;

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, Some(code)), "{}", answer.describe());
    for header in ["retry-after", "x-retry-after"] {
        assert!(answer.header(header).is_some(), "without {header}: {}", answer.describe());
    }
}

/// Raises an alarm over a backlog: pushes are refused in time, the backlog is worked off, and pushes pass once it is over.
async fn alarm(raise: &[&str], lower: &[&str]) {
    const BACKLOG: usize = 300;
    let private = PrivateServices::start().await.unwrap();
    let options = FleetOptions::workers(0).set("broker.confirm_timeout_ms", 2_000);
    let mut fleet = Fleet::start_on(&private, options).await.unwrap();
    fleet.publish_sales().await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..BACKLOG).await.unwrap();
    fleet.start_failing_worker("evaluate=sleep:5").await.unwrap();
    private.rabbitmqctl(raise).await.unwrap();
    for _ in 0..3 {
        let began = Instant::now();
        let answer = run.push(BACKLOG..BACKLOG + 10).await.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.describe());
        assert!(answer.header("retry-after").is_some() && answer.header("x-retry-after").is_some());
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    // Consumers still acknowledge: otherwise their prefetch would be the last that they get.
    run.until_completed(BACKLOG).await.unwrap();
    until_ready(&fleet, 0).await;
    private.rabbitmqctl(lower).await.unwrap();
    run.push_until_taken(BACKLOG..BACKLOG + 10).await.unwrap();
    run.finish(&fleet, BACKLOG + 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f13_at_a_memory_alarm_pushes_are_refused_and_the_backlog_is_worked_off() {
    let lower = "vm_memory_monitor:set_vm_memory_high_watermark(0.9).";
    alarm(&["-q", "set_vm_memory_high_watermark", "absolute", "1MB"], &["-q", "eval", lower]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_at_a_disk_alarm_pushes_are_refused_and_the_backlog_is_worked_off() {
    alarm(&["-q", "set_disk_free_limit", "900000GB"], &["-q", "set_disk_free_limit", "1MB"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f15_chunks_that_a_full_queue_refuses_are_not_taken_for_sent() {
    const CHUNKS: usize = 20;
    let mut fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    let policy = format!("{}-tiny", fleet.prefix());
    let pattern = format!("^{}[.]lane", fleet.prefix());
    let services = fleet.services().clone();
    let definition = json!({"max-length": 3}).to_string();
    services
        .rabbitmqctl(&["-q", "set_policy", "--apply-to", "queues", &policy, &pattern, &definition])
        .await
        .unwrap();
    // The limit is kept a little late, and one push at a time is in the lane before the next one.
    let mut taken = 0;
    let answer = loop {
        let answer = run.push(taken..taken + 1).await.unwrap();
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
        assert!(taken < CHUNKS, "the queue takes everything");
    };
    refused(&answer, 503, "BROKER_UNAVAILABLE");
    refused(&run.push(taken..CHUNKS).await.unwrap(), 503, "BROKER_UNAVAILABLE");
    // Charged once, though some are in the lane twice or not at all.
    let status = run.status().await.unwrap();
    assert_eq!(status["chunks_submitted"], 20, "{status}");
    millrace_tests::reconcile(&fleet, run.batch()).await.unwrap();
    services.rabbitmqctl(&["-q", "clear_policy", &policy]).await.unwrap();
    fleet.start_worker().await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_a_body_above_the_limit_is_refused_before_the_broker_sees_it() {
    let options =
        FleetOptions::workers(1).set_api("limits.body_bytes", 200_000).set_api("limits.chunk_bytes", 100_000);
    let fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    let filler =
        |bytes: usize| json!({"chunks": [{"id": "big", "data": {"inputs": [["id"], ["x".repeat(bytes)]]}}]});
    for (bytes, status, code) in [(300_000, 422, "BODY_TOO_LARGE"), (150_000, 422, "CHUNK_TOO_LARGE")] {
        let answer = run.client().push(run.batch(), &filler(bytes)).await.unwrap();
        assert_eq!((answer.status, answer.code()), (status, Some(code)), "{}", answer.describe());
    }
    let status = run.status().await.unwrap();
    assert_eq!((&status["chunks_submitted"], &status["input_buffer_used_bytes"]), (&0.into(), &0.into()));
    run.push_until_taken(0..10).await.unwrap();
    run.finish(&fleet, 10).await.unwrap();
}
