//! Workers die in the middle of recipes.

use millrace_tests::{Fleet, FleetOptions};
use serde_json::json;

use crate::calls::{self, Calls, LONG, definition, of, own};
use crate::setup::{Setup, job};

async fn chain(setup: &Setup, members: i64) -> i64 {
    let add = setup.job_type("add", &["x"], &[("y", "x + 1", true)]).await.unwrap();
    let of = |node: &str| json!({"type": "dependency", "node": node, "output": "y"});
    let definition = json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {
            "a": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
            "b": job(&add, &["a"], json!({"x": of("a")})),
            "c": job(&add, &["b"], json!({"x": of("b")})),
        }
    });
    let recipe_type = setup.recipe_type("chain", &definition).await.unwrap();
    let members: Vec<_> = (0..members).map(|x| json!({"json": {"x": x}})).collect();
    setup.batch(recipe_type, &members, json!({})).await.unwrap()
}

/// A worker that ends at each of these places leaves its work to the next one.
#[tokio::test]
async fn a_worker_killed_anywhere_leaves_each_recipe_to_be_completed_once() {
    let options = FleetOptions::workers(0).set("clocks.lost_seconds", 1);
    let mut fleet = Fleet::start(options).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    for (name, point, recipes) in [
        ("creation", "creation.commit", 500),
        ("ahead", "creation.ahead", 2_500),
        ("publish", "bundles.publish", 500),
        ("evaluate", "bundles.evaluate", 500),
        ("begin", "bundles.begin", 500),
        ("commit", "bundles.commit", 500),
        ("committed", "bundles.committed", 500),
    ] {
        let setup = setup.called(name);
        let doomed = fleet.start_failing_worker(&format!("{point}=kill")).await.unwrap();
        let batch = chain(&setup, recipes).await;
        setup.wait_until_gone(fleet.worker(doomed).unwrap()).await.unwrap();
        let worker = fleet.start_worker().await.unwrap();
        setup.wait_until_completed(batch, recipes).await.unwrap();
        setup.assert_exact().await.unwrap();
        fleet.kill_worker(worker).unwrap();
    }
}

/// What takes long is seen to run, and ends as if nobody had looked.
#[tokio::test]
async fn jobs_that_take_long_are_running() {
    let mut fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    fleet.start_failing_worker("bundles.evaluate=sleep:10000@1").await.unwrap();
    let batch = chain(&setup, 20).await;
    setup.wait_until_running(batch, 20).await.unwrap();
    setup.assert_exact().await.unwrap();
    setup.wait_until_completed(batch, 20).await.unwrap();
    setup.assert_exact().await.unwrap();
}

#[tokio::test]
async fn sigkill_of_workers_in_the_middle_of_2000_recipes_loses_and_doubles_nothing() {
    let options = FleetOptions::workers(2).set("clocks.lost_seconds", 1);
    let mut fleet = Fleet::start(options).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    let recipes = std::env::var("MRT_RECIPES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let batch = chain(&setup, recipes).await;
    for index in 0..2 {
        let goal = recipes * (index + 1) / 4;
        setup.wait_until_at_least(batch, goal).await.unwrap();
        fleet.kill_worker(usize::try_from(index).unwrap()).unwrap();
        fleet.start_worker().await.unwrap();
    }
    setup.wait_until_completed(batch, recipes).await.unwrap();
    setup.assert_exact().await.unwrap();
}

/// The bundle is split until the job stands alone; it is tried as often as its job type allows, and fails with what is known.
#[tokio::test]
async fn a_job_that_kills_its_workers_fails_alone_after_its_tries() {
    // Workers that died are soon known to be gone.
    let options = FleetOptions::workers(1)
        .set("clocks.lost_seconds", 1)
        .set("worker.max_attempts", 1)
        .set("worker.heartbeat_ms", 200)
        .set("worker.silent_after_ms", 1_000);
    let mut fleet = Fleet::start(options).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let mut poison = calls::job_type("poison", "x + 1");
    (poison["is_paused"], poison["max_tries"]) = (json!(true), json!(2));
    calls.post("/v6/job-types/", &poison).await;
    let chain = definition(json!({
        "a": calls::job("poison", 1, &[], own()), "b": calls::job("poison", 1, &["a"], of("a")),
    }));
    let recipe_type = calls.recipe_type("Chain", &chain).await;
    let dataset = calls.dataset(0..2).await;
    let batch = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    setup.wait_until_held_back(batch, 2).await.unwrap();
    let queued = calls.jobs(&format!("batch_id={batch}&status=QUEUED")).await;
    let victim = queued[1]["id"].as_i64().unwrap();
    fleet.kill_worker(0).unwrap();
    calls.patch("/v6/job-types/poison/1.0.0/", &json!({"is_paused": false})).await;
    let failpoint = format!("bundles.job({victim})=kill");
    let (mut worker, mut deaths) = (fleet.start_failing_worker(&failpoint).await.unwrap(), 0);
    let began = std::time::Instant::now();
    let failed = loop {
        let job = calls.get(&format!("/v6/jobs/{victim}/")).await;
        if job["status"] == json!("FAILED") {
            break job;
        }
        assert!(began.elapsed() < LONG && deaths < 20, "{deaths} workers died: {job}");
        if fleet.worker(worker).unwrap().runs() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        } else {
            deaths += 1;
            worker = fleet.start_failing_worker(&failpoint).await.unwrap();
        }
    };
    assert_eq!(
        (&failed["num_exes"], &failed["error"]["name"]),
        (&json!(2), &json!("worker-lost")),
        "{failed}"
    );
    assert_eq!(failed["error"]["should_be_retried"], json!(true));
    let executions = calls.get(&format!("/v6/jobs/{victim}/executions/")).await;
    assert_eq!(executions["count"], json!(2));
    assert!(
        executions["results"].as_array().unwrap().iter().all(|execution| {
            execution["status"] == json!("FAILED") && execution["error"]["name"] == json!("worker-lost")
        }),
        "{executions}"
    );
    let ended = calls
        .batch_until(batch, "the others run to their end", |batch| {
            calls::counters(batch) == [4, 0, 1, 0, 0, 1, 2, 0]
        })
        .await;
    assert_eq!(ended["recipes_completed"], json!(1));
    setup.assert_exact().await.unwrap();
}
