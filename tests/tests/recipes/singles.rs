//! Jobs and recipes that callers ask for one at a time.

use millrace_tests::proxy::Proxy;
use millrace_tests::{Fleet, FleetOptions, Services};
use serde_json::{Value, json};

use crate::calls::{Calls, at};
use crate::http::choice;
use crate::setup::Setup;

#[tokio::test]
async fn single_jobs_and_recipes_run_and_are_done_again() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let calls = Calls::to(&fleet);
    calls.job_type("double", "2 * x").await;
    let add = calls.job_type("add", "x + 10").await;
    let job = json!({"job_type_id": add["id"], "input": {"json": {"x": 4, "undeclared": 1}}});
    let job = calls.post("/v6/jobs/", &job).await;
    assert_eq!((&job["input"]["json"], &job["recipe"]), (&json!({"x": 4}), &Value::Null), "{job}");
    let job = calls.job_until(job["id"].as_i64().unwrap(), "COMPLETED").await;
    assert_eq!(job["output"]["json"]["y"].as_f64(), Some(14.0), "{job}");
    for (body, status) in [
        (json!({"job_type_id": add["id"], "input": {"json": {}}}), 400),
        (json!({"job_type_id": add["id"]}), 400),
        (json!({"job_type_id": 9_999, "input": {"json": {"x": 1}}}), 404),
    ] {
        assert_eq!(calls.refused("/v6/jobs/", &body).await.0, status, "{body}");
    }

    let recipe_type = calls.recipe_type("Prices", &choice(1)).await;
    let body = json!({"recipe_type_id": recipe_type, "input": {"json": {"x": 7}}});
    let first = calls.post("/v6/recipes/", &body).await["id"].as_i64().unwrap();
    let first = calls.recipe_completed(first).await;
    assert_eq!((&first["jobs_total"], &first["jobs_completed"]), (&json!(2), &json!(2)), "{first}");
    let again = json!({"forced_nodes": {"all": false, "nodes": ["more"]}});
    let path = format!("/v6/recipes/{}/", first["id"]);
    let answer = calls.0.post(&format!("{path}reprocess/"), &again).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.describe());
    let old = calls.get(&path).await;
    let second = calls.recipe_completed(old["superseded_by_recipe"]["id"].as_i64().unwrap()).await;
    let job = |recipe: &Value, node: &str| at(recipe, node)["job_id"].clone();
    assert_eq!(job(&second, "twice"), job(&first, "twice"));
    assert_ne!(job(&second, "more"), job(&first, "more"));
    assert_eq!(calls.refused(&format!("{path}reprocess/"), &again).await.0, 400);
}

/// Nobody but the API is there: it does not leave the first jobs to the reaper.
#[tokio::test]
async fn first_jobs_are_on_their_lane_before_the_answer() {
    let mut fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("double", "2 * x").await;
    let add = calls.job_type("add", "x + 10").await;
    let job = json!({"job_type_id": add["id"], "input": {"json": {"x": 4}}});
    let job = calls.post("/v6/jobs/", &job).await["id"].as_i64().unwrap();
    assert_eq!(setup.published_bundles().await.unwrap(), (1, 1));
    let recipe_type = calls.recipe_type("Prices", &choice(1)).await;
    let recipe = json!({"recipe_type_id": recipe_type, "input": {"json": {"x": 7}}});
    let recipe = calls.post("/v6/recipes/", &recipe).await["id"].as_i64().unwrap();
    assert_eq!(setup.published_bundles().await.unwrap(), (2, 2));
    let again = json!({"forced_nodes": {"all": true}});
    let path = format!("/v6/recipes/{recipe}/");
    let answer = calls.0.post(&format!("{path}reprocess/"), &again).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.describe());
    assert_eq!(setup.published_bundles().await.unwrap(), (3, 3));
    fleet.start_worker().await.unwrap();
    calls.job_until(job, "COMPLETED").await;
    let old = calls.get(&path).await;
    calls.recipe_completed(old["superseded_by_recipe"]["id"].as_i64().unwrap()).await;
    let superseded = calls.get(&format!("/v6/jobs/{}/", at(&old, "twice")["job_id"])).await;
    assert_eq!((&superseded["status"], &superseded["is_superseded"]), (&json!("CANCELED"), &json!(true)));
}

/// What is asked for is stored, and published when there is a broker again. Before, every call waited a second for one.
#[tokio::test]
async fn nobody_waits_for_a_broker_that_is_away() {
    let broker = Proxy::start(Services::from_env().unwrap().broker_address().unwrap()).await.unwrap();
    let fleet = Fleet::start(FleetOptions::workers(1).api_broker_at(broker.address())).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let add = calls.job_type("add", "x + 10").await;
    let job = json!({"job_type_id": add["id"], "input": {"json": {"x": 4}}});
    let first = calls.post("/v6/jobs/", &job).await["id"].as_i64().unwrap();
    calls.job_until(first, "COMPLETED").await;
    broker.down();
    calls.until_ready(503).await;
    let began = std::time::Instant::now();
    let mut asked = Vec::new();
    for _ in 0..6 {
        asked.push(calls.post("/v6/jobs/", &job).await["id"].as_i64().unwrap());
    }
    let took = began.elapsed();
    assert!(took < std::time::Duration::from_secs(4), "six answers took {took:?}");
    // The reaper of a worker that has a broker publishes them.
    for job in asked {
        calls.job_until(job, "COMPLETED").await;
    }
    setup.wait_until_at_rest().await.unwrap();
    broker.pass();
    calls.until_ready(200).await;
    let last = calls.post("/v6/jobs/", &job).await["id"].as_i64().unwrap();
    calls.job_until(last, "COMPLETED").await;
}
