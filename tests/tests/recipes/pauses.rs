//! Batches of recipes that are paused and resumed.

use millrace_tests::{Fleet, FleetOptions, wait_until};
use serde_json::{Value, json};

use crate::calls::{self, Calls, LONG, counters, definition, of, own};
use crate::setup::Setup;

/// A chain `a`, `b`; its recipe type.
async fn chain(calls: &Calls) -> i64 {
    calls.job_type("add", "x + 1").await;
    let chain = definition(json!({
        "a": calls::job("add", 1, &[], own()), "b": calls::job("add", 1, &["a"], of("a")),
    }));
    calls.recipe_type("Chain", &chain).await
}

async fn pause(calls: &Calls, batch: i64, paused: bool) -> Value {
    let path = format!("/v6/batches/{batch}/");
    calls.patch(&path, &json!({"is_paused": paused})).await;
    let shown = calls.get(&path).await;
    let told = (shown["is_paused"].as_bool(), shown["paused"].is_string(), shown["paused_by"].is_string());
    assert_eq!(told, (Some(paused), paused, paused), "{shown}");
    shown
}

/// Another batch runs to its end: whoever evaluates it has seen every pause before it.
async fn meanwhile(calls: &Calls, recipe_type: i64) {
    let dataset = calls.dataset(0..50).await;
    let other = calls.batch(recipe_type, json!({"dataset": dataset, "supersedes": false})).await;
    calls.completed(other).await;
}

/// Until no worker evaluates anything of it.
async fn until_idle(fleet: &Fleet, batch: i64) {
    let database = fleet.database().connect().await.unwrap();
    let busy = "SELECT count(*) FROM workers k JOIN workloads w ON k.busy ? w.id::text WHERE w.batch_id = $1";
    wait_until("nothing of the batch runs", LONG, || async {
        let busy: i64 = database.query_one(busy, &[&batch]).await?.get(0);
        anyhow::ensure!(busy == 0, "{busy} workers are busy with it");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// With more than one page, so that creation would look ahead.
#[tokio::test]
async fn jobs_of_a_paused_batch_stay_queued_and_nothing_is_looked_ahead_at() {
    let mut fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let recipe_type = chain(&calls).await;
    let dataset = calls.dataset(0..2_500).await;
    let batch = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    let modified = pause(&calls, batch, true).await["last_modified"].clone();
    assert_eq!(pause(&calls, batch, true).await["last_modified"], modified, "again is no change");
    fleet.start_worker().await.unwrap();
    let waiting = [5_000, 2_500, 0, 2_500, 0, 0, 0, 0];
    calls.batch_until(batch, "all recipes exist and wait", |batch| counters(batch) == waiting).await;
    meanwhile(&calls, recipe_type).await;
    let shown = calls.get(&format!("/v6/batches/{batch}/")).await;
    assert_eq!(counters(&shown), waiting, "nothing was evaluated");
    setup.assert_exact().await.unwrap();
    // Another worker looks at it as this one does.
    fleet.start_worker().await.unwrap();
    meanwhile(&calls, recipe_type).await;
    pause(&calls, batch, false).await;
    let ended = calls.completed(batch).await;
    assert_eq!(counters(&ended), [5_000, 0, 0, 0, 0, 0, 5_000, 0]);
    setup.assert_exact().await.unwrap();
    let audit = calls.get("/{tenant}/api/v4/audit?action=recipe_batch").await;
    let actions: Vec<&str> =
        audit["data"].as_array().unwrap().iter().filter_map(|entry| entry["action"].as_str()).collect();
    let pauses: Vec<&&str> = actions.iter().filter(|action| !action.ends_with(".create")).collect();
    assert_eq!(pauses, [&"recipe_batch.pause", &"recipe_batch.resume"]);
}

#[tokio::test]
async fn a_pause_in_the_middle_of_recipes_halts_them_also_when_a_worker_dies() {
    const SLOW: &str = "bundles.evaluate=sleep:40";
    let options = FleetOptions::workers(0).set("clocks.lost_seconds", 2).set("worker.paused_hold_ms", 0);
    let mut fleet = Fleet::start(options).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let recipe_type = chain(&calls).await;
    let dataset = calls.dataset(0..20_000).await;
    let victim = fleet.start_failing_worker(SLOW).await.unwrap();
    let batch = calls.batch(recipe_type, json!({"dataset": dataset, "supersedes": false})).await;
    let path = format!("/v6/batches/{batch}/");
    calls.until(&path, "some jobs are done", |batch| batch["jobs_completed"].as_i64() > Some(0)).await;
    pause(&calls, batch, true).await;
    meanwhile(&calls, recipe_type).await;
    until_idle(&fleet, batch).await;
    meanwhile(&calls, recipe_type).await;
    let done = |batch: &Value| (batch["jobs_completed"].clone(), batch["jobs_total"].clone());
    let halted = calls.batch_until(batch, "all recipes exist", |_| true).await;
    assert!(halted["jobs_completed"].as_i64() < halted["jobs_total"].as_i64(), "{halted}");
    fleet.kill_worker(victim).unwrap();
    fleet.start_failing_worker(SLOW).await.unwrap();
    meanwhile(&calls, recipe_type).await;
    assert_eq!(done(&calls.get(&path).await), done(&halted));
    setup.assert_exact().await.unwrap();
    pause(&calls, batch, false).await;
    let ended = calls.completed(batch).await;
    assert_eq!(counters(&ended), [40_000, 0, 0, 0, 0, 0, 40_000, 0]);
    setup.assert_exact().await.unwrap();
}

#[tokio::test]
async fn jobs_of_a_paused_batch_can_be_canceled_and_requeued_and_run_when_it_is_resumed() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let recipe_type = chain(&calls).await;
    let dataset = calls.dataset(0..30).await;
    calls.patch("/v6/job-types/add/1.0.0/", &json!({"is_paused": true})).await;
    let batch = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    setup.wait_until_held_back(batch, 30).await.unwrap();
    pause(&calls, batch, true).await;
    // Both pauses must end before something runs.
    calls.patch("/v6/job-types/add/1.0.0/", &json!({"is_paused": false})).await;
    meanwhile(&calls, recipe_type).await;
    let queued = calls.get(&format!("/v6/batches/{batch}/")).await;
    assert_eq!(counters(&queued), [60, 30, 0, 30, 0, 0, 0, 0]);
    calls.ask("cancel", &json!({"batch_ids": [batch]})).await;
    calls.batch_until(batch, "all are canceled", |batch| batch["jobs_canceled"] == json!(60)).await;
    calls.ask("requeue", &json!({"batch_ids": [batch]})).await;
    let again = |batch: &Value| counters(batch) == [60, 30, 0, 30, 0, 0, 0, 0];
    calls.batch_until(batch, "they wait again", again).await;
    meanwhile(&calls, recipe_type).await;
    setup.assert_exact().await.unwrap();
    pause(&calls, batch, false).await;
    calls.completed(batch).await;
    setup.assert_exact().await.unwrap();
}

#[tokio::test]
async fn a_successor_takes_over_what_a_paused_batch_has_left() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let recipe_type = chain(&calls).await;
    let dataset = calls.dataset(0..30).await;
    calls.patch("/v6/job-types/add/1.0.0/", &json!({"is_paused": true})).await;
    let first = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    setup.wait_until_held_back(first, 30).await.unwrap();
    pause(&calls, first, true).await;
    calls.patch("/v6/job-types/add/1.0.0/", &json!({"is_paused": false})).await;
    meanwhile(&calls, recipe_type).await;
    let next = calls.batch(recipe_type, json!({"previous_batch": {"root_batch_id": first}})).await;
    let ended = calls.completed(next).await;
    assert_eq!(counters(&ended), [60, 0, 0, 0, 0, 0, 60, 0]);
    let path = format!("/v6/batches/{first}/");
    let shown = calls.get(&path).await;
    assert_eq!((&shown["is_paused"], &shown["is_superseded"]), (&json!(false), &json!(true)));
    for paused in [true, false] {
        let refused = calls.change(&path, &json!({"is_paused": paused, "title": "no"})).await;
        assert_eq!((refused.status, refused.body["name"].as_str()), (400, Some("SUPERSEDED_BATCH")));
    }
    assert_eq!(calls.get(&path).await, shown, "nothing of it came to pass");
    setup.assert_exact().await.unwrap();
}
