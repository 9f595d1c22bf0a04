//! Ends that race what is still under way. (The same races, a thousand rounds each, run against the store in
//! `common/tests/store`.)

use std::collections::BTreeSet;

use millrace_tests::{Fleet, FleetOptions, SalesRun, reconcile, released};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn f29_a_cancel_that_races_completion_is_final() {
    const ROUNDS: usize = 25;
    const CHUNKS: usize = 40;
    let fleet = Fleet::sales(FleetOptions::workers(2).set("tenants.capacity_bytes", 9_000_000_000_u64))
        .await
        .unwrap();
    for round in 0..ROUNDS {
        let run = SalesRun::open(&fleet).await.unwrap();
        run.push_until_taken(0..CHUNKS).await.unwrap();
        run.until_completed(round * CHUNKS / ROUNDS).await.unwrap();
        let closing = run.client().patch(run.batch(), "closed");
        let pulling = run.client().pull(run.batch(), 100);
        let cancelling = run.client().patch(run.batch(), "cancelled");
        let (_, pulled, cancelled) = tokio::join!(closing, pulling, cancelling);
        let (pulled, cancelled) = (pulled.unwrap(), cancelled.unwrap());
        assert!(matches!(pulled.status, 200 | 409), "{}", pulled.describe());
        assert_eq!(cancelled.status, 200, "{}", cancelled.describe());
        // From the answer on nothing can be pulled, nothing pushed, and the state stays.
        let end = cancelled.text("/batch_status").unwrap().to_owned();
        assert!(["cancelled", "completed"].contains(&end.as_str()), "{end}");
        let late = run.client().pull(run.batch(), 100).await.unwrap();
        match end.as_str() {
            "cancelled" => assert_eq!(late.code(), Some("BATCH_CANCELLED"), "{}", late.describe()),
            _ => assert_eq!(late.body["data"], json!([]), "{}", late.describe()),
        }
        assert_eq!(run.push(CHUNKS..CHUNKS + 1).await.unwrap().status, 409);
        let status = run.status().await.unwrap();
        for (field, expected) in [
            ("batch_status", json!(end)),
            ("input_buffer_used_bytes", json!(0)),
            ("output_buffer_used_bytes", json!(0)),
        ] {
            assert_eq!(status[field], expected, "{status}");
        }
        reconcile(&fleet, run.batch()).await.unwrap();
        released(&fleet, run.batch()).await.unwrap();
        assert_eq!(run.status().await.unwrap()["batch_status"], end);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f30_a_close_that_races_pushes_counts_or_refuses_each() {
    const ROUNDS: usize = 25;
    const PUSHES: usize = 8;
    const TOGETHER: usize = 5;
    let fleet = Fleet::sales(FleetOptions::workers(1).set("tenants.capacity_bytes", 9_000_000_000_u64))
        .await
        .unwrap();
    for round in 0..ROUNDS {
        let run = SalesRun::open(&fleet).await.unwrap();
        let pushes: Vec<_> = (0..PUSHES)
            .map(|index| {
                let run = run.clone();
                let chunks = index * TOGETHER..(index + 1) * TOGETHER;
                tokio::spawn(async move { (chunks.clone(), run.push(chunks).await.unwrap()) })
            })
            .collect();
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let closed = run.client().patch(run.batch(), "closed").await.unwrap();
        assert_eq!(closed.status, 200, "{}", closed.describe());
        let mut taken = BTreeSet::new();
        for push in pushes {
            let (chunks, answer) = push.await.unwrap();
            match answer.status {
                200 => taken.extend(chunks),
                _ => assert_eq!(
                    (answer.status, answer.code()),
                    (409, Some("BATCH_NOT_OPEN")),
                    "{}",
                    answer.describe()
                ),
            }
        }
        let status =
            run.client().wait_for_status(run.batch(), "completed", millrace_tests::PATIENCE).await.unwrap();
        assert_eq!(status.body["chunks_submitted"], json!(taken.len()), "{}", status.describe());
        let results =
            run.client().pull_all(run.batch(), taken.len(), millrace_tests::PATIENCE).await.unwrap();
        run.check_results(&results, &taken, &BTreeSet::new()).unwrap();
        reconcile(&fleet, run.batch()).await.unwrap();
        released(&fleet, run.batch()).await.unwrap();
    }
}
