//! Cancels, requeues, retries and priorities (contract 4.9, 5.6, 6.1).

use millrace_tests::{Fleet, FleetOptions};
use serde_json::{Value, json};

use crate::calls::{self, Calls, counters, definition, of, own};
use crate::setup::Setup;

/// `a` before `b`, and `c` beside them; `a` runs a job type that is paused.
async fn held_back(calls: &Calls, setup: &Setup, members: i64) -> i64 {
    calls.job_type("slow", "x + 1").await;
    calls.job_type("add", "x + 1").await;
    calls.patch("/v6/job-types/slow/1.0.0/", &json!({"is_paused": true})).await;
    let fork = definition(json!({
        "a": calls::job("slow", 1, &[], own()),
        "b": calls::job("add", 1, &["a"], of("a")),
        "c": calls::job("add", 1, &[], own()),
    }));
    let recipe_type = calls.recipe_type("Fork", &fork).await;
    let dataset = calls.dataset(0..members).await;
    let batch = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    setup.wait_until_held_back(batch, members).await.unwrap();
    batch
}

async fn resume(calls: &Calls) {
    calls.patch("/v6/job-types/slow/1.0.0/", &json!({"is_paused": false})).await;
}

/// More jobs than one bit of a request.
#[tokio::test]
async fn canceled_jobs_block_what_is_behind_them_until_they_are_requeued() {
    const MEMBERS: i64 = 600;
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let batch = held_back(&calls, &setup, MEMBERS).await;
    calls
        .batch_until(batch, "what is beside it is done", |batch| batch["jobs_completed"] == json!(MEMBERS))
        .await;
    // What is COMPLETED stays so; stray fields do no harm.
    calls.ask("cancel", &json!({"batch_ids": [batch], "status": ["QUEUED", "COMPLETED"], "url": "/x"})).await;
    let canceled = calls
        .batch_until(batch, "the jobs are canceled", |batch| batch["jobs_canceled"] == json!(MEMBERS))
        .await;
    assert_eq!(counters(&canceled), [3 * MEMBERS, 0, MEMBERS, 0, 0, 0, MEMBERS, MEMBERS]);
    setup.assert_exact().await.unwrap();
    // What was canceled on the queue is not run when it is resumed.
    resume(&calls).await;
    setup.wait_until_at_rest().await.unwrap();
    let still = calls.get(&format!("/v6/batches/{batch}/")).await;
    assert_eq!(counters(&still), counters(&canceled));

    calls.ask("requeue", &json!({"batch_ids": [batch], "status": ["CANCELED"], "priority": 7})).await;
    let done = calls.completed(batch).await;
    assert_eq!(counters(&done), [3 * MEMBERS, 0, 0, 0, 0, 0, 3 * MEMBERS, 0]);
    setup.assert_exact().await.unwrap();
    let query = format!("/v6/jobs/?batch_id={batch}&job_type_name=slow&page_size=1");
    let job = calls.get(&query).await["results"][0].clone();
    let job = calls.get(&format!("/v6/jobs/{}/", job["id"])).await;
    assert_eq!((&job["num_exes"], &job["max_tries"]), (&json!(2), &json!(4)), "{job}");
    assert_eq!(job["configuration"]["priority"], json!(7));
    let executions = calls.get(&format!("/v6/jobs/{}/executions/", job["id"])).await;
    let seen: Vec<(&Value, &Value)> = executions["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|execution| (&execution["exe_num"], &execution["status"]))
        .collect();
    assert_eq!(seen, [(&json!(2), &json!("COMPLETED")), (&json!(1), &json!("CANCELED"))]);
}

#[tokio::test]
async fn what_was_never_queued_is_pending_again_after_a_requeue() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let batch = held_back(&calls, &setup, 3).await;
    let behind = calls.jobs(&format!("batch_id={batch}&status=PENDING")).await;
    let ids: Vec<i64> = behind.iter().map(|job| job["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 3);
    calls.ask("cancel", &json!({"job_ids": ids})).await;
    for id in &ids {
        let job = calls.job_until(*id, "CANCELED").await;
        assert_eq!(
            (&job["num_exes"], &job["queued"], &job["error"]),
            (&json!(0), &Value::Null, &Value::Null)
        );
    }
    calls.ask("requeue", &json!({"job_ids": ids})).await;
    for id in &ids {
        assert_eq!(calls.job_until(*id, "PENDING").await["num_exes"], json!(0));
    }
    // Canceled while what is before it completes, it waits for nobody when it is requeued.
    calls.ask("cancel", &json!({"job_ids": [ids[0]]})).await;
    calls.job_until(ids[0], "CANCELED").await;
    resume(&calls).await;
    for id in &ids[1..] {
        calls.job_until(*id, "COMPLETED").await;
    }
    let held_up = calls.get(&format!("/v6/batches/{batch}/")).await;
    assert_eq!((&held_up["recipes_completed"], &held_up["jobs_canceled"]), (&json!(2), &json!(1)));
    calls.ask("requeue", &json!({"job_ids": [ids[0]]})).await;
    let job = calls.job_until(ids[0], "COMPLETED").await;
    assert_eq!(job["num_exes"], json!(1));
    calls.completed(batch).await;
    setup.assert_exact().await.unwrap();
}

#[tokio::test]
async fn failed_jobs_run_again_when_that_is_asked_for_and_what_is_behind_them_waits() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("invert", "1 / x").await;
    let invert = definition(json!({
        "a": calls::job("invert", 1, &[], own()), "b": calls::job("invert", 1, &["a"], of("a")),
    }));
    let recipe_type = calls.recipe_type("Invert", &invert).await;
    let dataset = calls.dataset([0, 1]).await;
    let batch = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    let failed = calls.batch_until(batch, "one job fails", |batch| batch["jobs_failed"] == json!(1)).await;
    assert_eq!(counters(&failed), [4, 0, 1, 0, 0, 1, 2, 0]);
    let query = format!("batch_id={batch}&status=FAILED");
    let job = calls.jobs(&query).await[0].clone();
    let id = job["id"].as_i64().unwrap();
    assert_eq!((&job["error"]["category"], &job["num_exes"]), (&json!("DATA"), &json!(1)), "not retried");
    calls.ask("requeue", &json!({"error_categories": ["DATA"], "job_type_names": ["invert"]})).await;
    let path = format!("/v6/jobs/{id}/");
    let again = calls
        .until(&path, "it fails again", |job| job["num_exes"] == json!(2) && job["status"] == json!("FAILED"))
        .await;
    assert_eq!(again["max_tries"], json!(4), "one execution and three tries more");
    let counted = calls.get(&format!("/v6/batches/{batch}/")).await;
    assert_eq!(counters(&counted), counters(&failed));
    let first = calls.get(&format!("{path}executions/1/")).await;
    assert_eq!((&first["status"], &first["error"]["name"]), (&json!("FAILED"), &json!("output-error")));
    setup.assert_exact().await.unwrap();
}

/// A worker is at the jobs: what it reports afterwards is of no use to anybody.
#[tokio::test]
async fn a_cancel_wins_over_the_worker_that_has_the_jobs() {
    let mut fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    fleet.start_failing_worker("bundles.evaluate=sleep:4000@1").await.unwrap();
    calls.job_type("add", "x + 1").await;
    let chain = definition(json!({
        "a": calls::job("add", 1, &[], own()), "b": calls::job("add", 1, &["a"], of("a")),
    }));
    let recipe_type = calls.recipe_type("Chain", &chain).await;
    let dataset = calls.dataset(0..5).await;
    let batch = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    let running =
        calls.batch_until(batch, "a worker is at them", |batch| batch["jobs_running"] == json!(5)).await;
    assert_eq!(counters(&running), [10, 5, 0, 0, 5, 0, 0, 0]);
    calls.ask("cancel", &json!({"batch_ids": [batch]})).await;
    let canceled =
        calls.batch_until(batch, "all are canceled", |batch| batch["jobs_canceled"] == json!(10)).await;
    setup.wait_until_at_rest().await.unwrap();
    let after = calls.get(&format!("/v6/batches/{batch}/")).await;
    assert_eq!(counters(&after), counters(&canceled));
    let job = calls.jobs(&format!("batch_id={batch}")).await[0].clone();
    assert_eq!((&job["node"], &job["error"]), (&Value::Null, &Value::Null), "{job}");
    setup.assert_exact().await.unwrap();
    calls.ask("requeue", &json!({"batch_ids": [batch]})).await;
    calls.completed(batch).await;
    setup.assert_exact().await.unwrap();
}

/// What is asked for goes first, then the batch's, then the job type's; those that wait on the queue keep theirs.
#[tokio::test]
async fn priorities_are_resolved_when_jobs_are_queued() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("plain", "x + 1").await;
    let mut own_priority = calls::job_type("slow", "x + 1");
    own_priority["configuration"] = json!({"priority": 40});
    own_priority["is_paused"] = json!(true);
    calls.post("/v6/job-types/", &own_priority).await;
    let pair = definition(json!({
        "a": calls::job("plain", 1, &[], own()), "b": calls::job("slow", 1, &[], own()),
    }));
    let recipe_type = calls.recipe_type("Pair", &pair).await;
    let dataset = calls.dataset([1]).await;
    let batch = async |configuration: Value| {
        let body = json!({
            "recipe_type_id": recipe_type, "definition": {"dataset": dataset, "supersedes": false},
            "configuration": configuration,
        });
        let batch = calls.post("/v6/batches/", &body).await["id"].as_i64().unwrap();
        setup.wait_until_held_back(batch, 1).await.unwrap();
        batch
    };
    let priorities = async |batch: i64| {
        let mut found = Vec::new();
        for name in ["plain", "slow"] {
            let job = calls.jobs(&format!("batch_id={batch}&job_type_name={name}")).await[0].clone();
            let job = calls.get(&format!("/v6/jobs/{}/", job["id"])).await;
            found.push(job["configuration"]["priority"].as_i64());
        }
        found
    };
    let plain = batch(json!({})).await;
    assert_eq!(priorities(plain).await, [Some(100), Some(40)]);
    let zero = batch(json!({"priority": 0})).await;
    assert_eq!(priorities(zero).await, [Some(100), Some(40)], "0 is like none");
    let first = batch(json!({"priority": 5})).await;
    assert_eq!(priorities(first).await, [Some(5), Some(5)]);
    calls.patch(&format!("/v6/batches/{first}/"), &json!({"configuration": {"priority": 9}})).await;
    assert_eq!(priorities(first).await, [Some(5), Some(5)], "what waits keeps its own");
    calls.ask("cancel", &json!({"batch_ids": [first]})).await;
    calls.batch_until(first, "its job is canceled", |batch| batch["jobs_canceled"] == json!(1)).await;
    calls.ask("requeue", &json!({"batch_ids": [first]})).await;
    calls.batch_until(first, "its job waits again", |batch| batch["jobs_queued"] == json!(1)).await;
    assert_eq!(priorities(first).await, [Some(5), Some(9)]);
    setup.assert_exact().await.unwrap();
}
