//! Faults made for real, on real processes: nothing is lost, nothing doubled.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_tests::{Client, Fleet, FleetOptions, PATIENCE, SALES};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Long enough for thousands of chunks on a busy machine.
const DEADLINE: Duration = Duration::from_secs(240);

const RECORDS: usize = 4;

fn chunk(index: usize) -> Value {
    let rows = (0..RECORDS).map(|row| json!([index * RECORDS + row, index + 1, row + 1, 0.1]));
    let inputs: Vec<Value> = std::iter::once(json!(["id", "price", "quantity", "tax"])).chain(rows).collect();
    json!({"id": format!("c{index}"), "data": {"inputs": inputs}})
}

/// What record `row` of chunk `index` must come to; these products have one decimal, so this is exact.
fn total(index: usize, row: usize) -> f64 {
    ((index + 1) * (row + 1) * 11) as f64 / 10.0
}

/// Pushes chunks in requests of fifty, each until it is answered with success: what a caller does who wants all of them in.
fn push_all(client: Client, batch: String, chunks: usize) -> JoinHandle<()> {
    tokio::spawn(async move {
        for first in (0..chunks).step_by(50) {
            let body = json!({"chunks": (first..chunks.min(first + 50)).map(chunk).collect::<Vec<_>>()});
            let deadline = tokio::time::Instant::now() + DEADLINE;
            loop {
                match client.push(&batch, &body).await {
                    Ok(answer) if answer.status == 200 => break,
                    Ok(answer) => assert!(matches!(answer.status, 429 | 503), "{answer:?}"),
                    Err(_) => {}
                }
                assert!(tokio::time::Instant::now() < deadline, "the push never succeeded");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    })
}

async fn records_completed(client: &Client, batch: &str) -> i64 {
    client.status(batch).await.unwrap().body["records_completed"].as_i64().unwrap()
}

async fn until_completed(client: &Client, batch: &str, records: i64) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while records_completed(client, batch).await < records {
        assert!(tokio::time::Instant::now() < deadline, "stuck below {records} records");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every chunk once, every total right, all counters and buffers as they must be at rest.
async fn all_is_well(client: &Client, batch: &str, chunks: usize) {
    let pulled = client.pull_all(batch, chunks, DEADLINE).await.unwrap();
    let mut seen = BTreeMap::new();
    for result in pulled {
        assert_eq!(result["status"], "completed", "{result}");
        let id = result["id"].as_str().unwrap().to_owned();
        assert!(seen.insert(id.clone(), result["outputs"].clone()).is_none(), "chunk {id} came twice");
    }
    assert_eq!(seen.len(), chunks);
    for index in 0..chunks {
        let rows = seen[&format!("c{index}")].as_array().unwrap();
        assert_eq!(rows.len(), RECORDS + 1);
        for row in 0..RECORDS {
            assert_eq!(rows[row + 1], json!([index * RECORDS + row, total(index, row)]));
        }
    }
    assert!(client.pull(batch, 100).await.unwrap().body["data"].as_array().unwrap().is_empty());
    client.patch(batch, "closed").await.unwrap();
    let status = client.wait_for_status(batch, "completed", PATIENCE).await.unwrap().body;
    let expected = i64::try_from(chunks).unwrap();
    for (field, value) in [
        ("chunks_submitted", expected),
        ("chunks_completed", expected),
        ("chunks_failed", 0),
        ("chunks_available", 0),
        ("record_submitted", expected * RECORDS as i64),
        ("records_completed", expected * RECORDS as i64),
        ("input_buffer_used_bytes", 0),
        ("output_buffer_used_bytes", 0),
    ] {
        assert_eq!(status[field], value, "{field} of {status}");
    }
}

async fn sales_batch(fleet: &Fleet) -> (Client, String) {
    let client = fleet.client().clone();
    let batch = client.open_batch(&json!({"service": SALES, "unique_record_key": "id"})).await.unwrap();
    (client, batch)
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_of_a_worker_in_the_middle_of_5000_chunks_loses_and_doubles_nothing() {
    const CHUNKS: usize = 5_000;
    let mut fleet = Fleet::sales(FleetOptions::workers(2)).await.unwrap();
    let (client, batch) = sales_batch(&fleet).await;
    let pushing = push_all(client.clone(), batch.clone(), CHUNKS);
    // One worker dies early, the other later; a third takes over in between.
    until_completed(&client, &batch, 2_000).await;
    fleet.kill_worker(0).unwrap();
    until_completed(&client, &batch, 6_000).await;
    fleet.start_worker().await.unwrap();
    fleet.kill_worker(1).unwrap();
    pushing.await.unwrap();
    all_is_well(&client, &batch, CHUNKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f34_sigkill_of_the_api_in_the_middle_of_pushes_loses_and_doubles_nothing() {
    const CHUNKS: usize = 600;
    let mut fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let (client, batch) = sales_batch(&fleet).await;
    for first in (0..CHUNKS).step_by(200) {
        // The API dies while these are on their way; whatever it had answered or not, the same ids are pushed again.
        let pushes = (first..first + 200).step_by(20).map(|at| {
            let (client, batch) = (client.at(&fleet.url()), batch.clone());
            tokio::spawn(async move {
                let body = json!({"chunks": (at..at + 20).map(chunk).collect::<Vec<_>>()});
                client.push(&batch, &body).await.is_ok_and(|answer| answer.status == 200)
            })
        });
        let pushes: Vec<_> = pushes.collect();
        tokio::time::sleep(Duration::from_millis(15)).await;
        fleet.kill_api().unwrap();
        for push in pushes {
            let _ = push.await.unwrap();
        }
        fleet.start_api().await.unwrap();
    }
    let client = client.at(&fleet.url());
    push_all(client.clone(), batch.clone(), CHUNKS).await.unwrap();
    all_is_well(&client, &batch, CHUNKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f39_sigterm_ends_a_worker_cleanly_in_the_middle_of_its_work() {
    const CHUNKS: usize = 1_500;
    let mut fleet = Fleet::sales(FleetOptions::workers(2)).await.unwrap();
    let (client, batch) = sales_batch(&fleet).await;
    let pushing = push_all(client.clone(), batch.clone(), CHUNKS);
    until_completed(&client, &batch, 800).await;
    fleet.terminate_worker(0, PATIENCE).await.unwrap();
    pushing.await.unwrap();
    all_is_well(&client, &batch, CHUNKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_a_worker_that_wakes_up_after_others_did_its_work_changes_nothing() {
    const CHUNKS: usize = 800;
    let options = FleetOptions::workers(2).set("broker.heartbeat_seconds", 2);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let (client, batch) = sales_batch(&fleet).await;
    let pushing = push_all(client.clone(), batch.clone(), CHUNKS);
    until_completed(&client, &batch, 400).await;
    fleet.stop_worker(0).unwrap();
    pushing.await.unwrap();
    // The broker misses the heartbeats of the frozen worker and gives its chunks to the other one.
    until_completed(&client, &batch, (CHUNKS * RECORDS) as i64).await;
    fleet.continue_worker(0).unwrap();
    all_is_well(&client, &batch, CHUNKS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f27_a_full_output_buffer_halts_the_batch_until_a_pull_and_loses_nothing() {
    const CHUNKS: usize = 400;
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client().clone();
    let batch = client
        .open_batch(&json!({"service": SALES, "unique_record_key": "id", "max_output_in_mb": 0.02}))
        .await
        .unwrap();
    push_all(client.clone(), batch.clone(), CHUNKS).await.unwrap();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let blocked = loop {
        let status = client.status(&batch).await.unwrap().body;
        if status["pipeline_status"] == "blocked" {
            break status;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(blocked["chunks_completed"].as_i64().unwrap() < i64::try_from(CHUNKS).unwrap(), "{blocked}");
    all_is_well(&client, &batch, CHUNKS).await;
}
