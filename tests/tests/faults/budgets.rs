//! Full buffers, and tenants that flood.

use std::collections::BTreeSet;

use millrace_tests::{Fleet, FleetOptions, PATIENCE, SALES, SalesRun, reconcile};
use serde_json::json;

use crate::lane::attempts;

#[tokio::test(flavor = "multi_thread")]
async fn f27_a_full_output_buffer_halts_the_batch_until_a_pull_and_loses_nothing() {
    const CHUNKS: usize = 400;
    let fleet = Fleet::sales(FleetOptions::workers(1).small_groups()).await.unwrap();
    let run = SalesRun::open_with(&fleet, json!({"max_output_in_mb": 0.02})).await.unwrap();
    run.push_all(CHUNKS).await.unwrap().unwrap();
    let blocked = run.until("it is blocked", |status| status["pipeline_status"] == "blocked").await.unwrap();
    assert!(blocked["chunks_completed"].as_u64() < Some(CHUNKS as u64), "{blocked}");
    reconcile(&fleet, run.batch()).await.unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
    // Held back, not sent round and round: what was given back to the lane was still started once.
    let attempts = attempts(&fleet).await;
    assert!(attempts.iter().all(|(_, attempts)| *attempts <= 1), "{attempts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f28_a_flood_is_refused_whole_push_by_whole_push() {
    const PUSHES: usize = 30;
    const TOGETHER: usize = 10;
    let mut fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    // Room for about a third of them.
    let room = SalesRun::body(0..TOGETHER).to_string().len() * PUSHES / 3;
    #[expect(clippy::cast_precision_loss, reason = "a few kilobytes")]
    let run = SalesRun::open_with(&fleet, json!({"max_input_in_mb": room as f64 / 1e6})).await.unwrap();
    let pushes: Vec<_> = (0..PUSHES)
        .map(|index| {
            let run = run.clone();
            let chunks = index * TOGETHER..(index + 1) * TOGETHER;
            tokio::spawn(async move { (chunks.clone(), run.push(chunks).await.unwrap()) })
        })
        .collect();
    let mut taken = BTreeSet::new();
    for push in pushes {
        let (chunks, answer) = push.await.unwrap();
        match answer.status {
            200 => taken.extend(chunks),
            429 => {
                assert_eq!(answer.code(), Some("INPUT_BUFFER_FULL"), "{}", answer.describe());
                assert!(answer.header("retry-after").is_some() && answer.header("x-retry-after").is_some());
                let details = &answer.body["error"]["details"];
                assert!(
                    details["needed_bytes"].as_u64() > details["free_bytes"].as_u64(),
                    "{}",
                    answer.describe()
                );
            }
            _ => panic!("{}", answer.describe()),
        }
    }
    assert!(!taken.is_empty() && taken.len() < PUSHES * TOGETHER, "{} were taken", taken.len());
    let status = run.status().await.unwrap();
    assert_eq!(status["chunks_submitted"], json!(taken.len()), "{status}");
    assert!(status["input_buffer_used_bytes"].as_u64() <= Some(room as u64), "{status}");
    reconcile(&fleet, run.batch()).await.unwrap();
    // Whoever keeps trying gets in as room comes free, and those who were in already count once.
    fleet.start_worker().await.unwrap();
    run.push_all(PUSHES * TOGETHER).await.unwrap().unwrap();
    run.finish(&fleet, PUSHES * TOGETHER).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_a_tenant_that_floods_does_not_keep_others_waiting() {
    const FLOOD: usize = 600;
    let mut fleet = Fleet::sales(FleetOptions::workers(0).set("worker.slots", 2)).await.unwrap();
    let flood = SalesRun::open(&fleet).await.unwrap();
    flood.push_all(FLOOD).await.unwrap().unwrap();
    let key = fleet.create_tenant("beta").await.unwrap();
    let beta = fleet.client().as_tenant("beta", &key);
    let (folder, service) = SALES.split_once('/').unwrap();
    beta.create_folder(folder).await.unwrap().success().unwrap();
    let workbook = millrace_tests::sales_workbook().unwrap();
    beta.upload_and_publish(folder, service, "sales.xlsx", &workbook).await.unwrap();
    fleet.start_failing_worker("evaluate=sleep:20").await.unwrap();
    flood.until_completed(20).await.unwrap();
    let batch = beta.open_batch(&json!({"service": SALES, "unique_record_key": "id"})).await.unwrap();
    // Each of these waits for the one before it, and the flood goes on.
    for index in 0..3 {
        beta.push(&batch, &SalesRun::body(index..index + 1)).await.unwrap().success().unwrap();
        beta.pull_all(&batch, 1, PATIENCE).await.unwrap();
    }
    let status = flood.status().await.unwrap();
    assert!(
        status["chunks_completed"].as_u64() < Some(FLOOD as u64 * 9 / 10),
        "beta waited for the flood: {status}"
    );
    beta.patch(&batch, "closed").await.unwrap().success().unwrap();
    beta.wait_for_status(&batch, "completed", PATIENCE).await.unwrap();
    reconcile(&fleet, &batch).await.unwrap();
    flood.finish(&fleet, FLOOD).await.unwrap();
}
