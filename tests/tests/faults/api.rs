//! An API that dies in the middle of a push, and callers who repeat themselves.

use millrace_tests::{Fleet, FleetOptions, PATIENCE, SALES, SalesRun, wait_until};
use serde_json::json;

use crate::lane::{count, until_ready};

#[tokio::test(flavor = "multi_thread")]
async fn f34_an_api_killed_anywhere_in_a_push_loses_nothing_that_is_pushed_again() {
    const CHUNKS: usize = 20;
    let mut fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let mut run = SalesRun::open(&fleet).await.unwrap();
    let points =
        ["push.inserted", "push.admitted", "push.written", "push.confirmed", "push.marked", "push.queued"];
    for (round, point) in points.into_iter().enumerate() {
        let chunks = round * CHUNKS..(round + 1) * CHUNKS;
        fleet.start_failing_api(&format!("{point}=kill@1")).await.unwrap();
        run.follow(&fleet);
        assert!(run.push(chunks.clone()).await.is_err(), "{point}: the API did not die");
        fleet.start_api().await.unwrap();
        run.follow(&fleet);
        let before = run.status().await.unwrap()["chunks_submitted"].as_u64().unwrap();
        let admitted = if point == "push.inserted" { chunks.start } else { chunks.end };
        assert_eq!(before, admitted as u64, "{point}");
        run.push(chunks.clone()).await.unwrap().success().unwrap();
        assert_eq!(run.status().await.unwrap()["chunks_submitted"], json!(chunks.end), "{point}");
    }
    run.finish(&fleet, points.len() * CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f34_chunks_that_nobody_pushes_again_are_withdrawn_with_their_budget() {
    let options = FleetOptions::workers(1)
        .set("broker.confirm_timeout_ms", 1_000)
        .set("clocks.accepted_seconds", 3)
        .set("clocks.reaper_ms", 200);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let mut run = SalesRun::open(&fleet).await.unwrap();
    fleet.start_failing_api("push.admitted=kill@1").await.unwrap();
    run.follow(&fleet);
    assert!(run.push(0..10).await.is_err());
    fleet.start_api().await.unwrap();
    run.follow(&fleet);
    let status = run.status().await.unwrap();
    assert!(status["input_buffer_used_bytes"].as_u64() > Some(0), "{status}");
    let withdrawn = |status: &serde_json::Value| status["chunks_submitted"] == 0;
    let status = run.until("the chunks are withdrawn", withdrawn).await.unwrap();
    assert_eq!(status["input_buffer_used_bytes"], 0, "{status}");
    // Their ids are free again.
    run.push_until_taken(0..10).await.unwrap();
    run.finish(&fleet, 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f34_sigkill_of_the_api_in_the_middle_of_pushes_loses_and_doubles_nothing() {
    const CHUNKS: usize = 600;
    let mut fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let mut run = SalesRun::open(&fleet).await.unwrap();
    for first in (0..CHUNKS).step_by(200) {
        // The API dies while these are on their way; whatever it had answered or not, the same ids are pushed again.
        let pushes: Vec<_> = (first..first + 200)
            .step_by(20)
            .map(|at| {
                let run = run.clone();
                tokio::spawn(async move { run.push(at..at + 20).await.is_ok() })
            })
            .collect();
        wait_until("some are in", PATIENCE, || async {
            let rows = count(&fleet, "SELECT count(*) FROM chunks").await;
            Ok((rows > i64::try_from(first).unwrap()).then_some(()))
        })
        .await
        .unwrap();
        fleet.kill_api().unwrap();
        for push in pushes {
            push.await.unwrap();
        }
        fleet.start_api().await.unwrap();
        run.follow(&fleet);
    }
    run.push_all(CHUNKS).await.unwrap().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f34_an_api_killed_while_it_opens_a_batch_leaves_one_that_works() {
    let mut fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    fleet.start_failing_api("create.stored=kill").await.unwrap();
    let wanted = json!({"service": SALES, "unique_record_key": "id"});
    assert!(fleet.client().open_batch(&wanted).await.is_err());
    fleet.start_api().await.unwrap();
    // Its caller does not know it, the overview does. Its lane was never declared, and is with the first push.
    let overview = fleet.client().overview().await.unwrap().success().unwrap();
    let lost = overview
        .text("/in_progress_batches/0/data/id")
        .or_else(|_| overview.text("/in_progress_batches/0/id"));
    let lost = lost.unwrap().to_owned();
    fleet.client().push(&lost, &SalesRun::body(0..3)).await.unwrap().success().unwrap();
    fleet.client().pull_all(&lost, 3, PATIENCE).await.unwrap();
    fleet.client().patch(&lost, "closed").await.unwrap().success().unwrap();
    fleet.client().wait_for_status(&lost, "completed", PATIENCE).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..10).await.unwrap();
    run.finish(&fleet, 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f35_the_same_id_counts_once_and_with_other_content_is_a_conflict() {
    const CHUNKS: usize = 10;
    let mut fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    // Ten callers at once with the same chunks.
    let pushes: Vec<_> = (0..10)
        .map(|_| {
            let run = run.clone();
            tokio::spawn(async move { run.push(0..CHUNKS).await.unwrap().success().unwrap() })
        })
        .collect();
    for push in pushes {
        push.await.unwrap();
    }
    let status = run.status().await.unwrap();
    assert_eq!(status["chunks_submitted"], json!(CHUNKS), "{status}");
    // New chunks beside one whose id is taken: none of them is stored.
    let mut other = SalesRun::body(CHUNKS..CHUNKS + 5);
    let mut changed = SalesRun::chunk(77);
    changed["id"] = json!("c3");
    other["chunks"].as_array_mut().unwrap().push(changed);
    let answer = run.client().push(run.batch(), &other).await.unwrap();
    assert_eq!((answer.status, answer.code()), (409, Some("CHUNK_ID_CONFLICT")), "{}", answer.describe());
    assert_eq!(answer.body["error"]["details"]["chunk_ids"], json!(["c3"]), "{}", answer.describe());
    let after = run.status().await.unwrap();
    for field in ["chunks_submitted", "record_submitted", "input_buffer_used_bytes"] {
        assert_eq!(after[field], status[field], "{field}");
    }
    fleet.start_worker().await.unwrap();
    run.until_completed(CHUNKS).await.unwrap();
    // Also once they have results.
    run.push(0..CHUNKS).await.unwrap().success().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
    until_ready(&fleet, 0).await;
}
