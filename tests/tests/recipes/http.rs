//! The whole way over HTTP: job types, a recipe type, a dataset, a batch, and a batch that does it again.

use std::time::Duration;

use millrace_tests::{Client, Fleet, FleetOptions, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::setup::Setup;

const LONG: Duration = Duration::from_secs(120);

/// Members 0 to 9, of which seven pass the condition.
const MEMBERS: i64 = 10;
const PASSING: i64 = 7;

async fn post(client: &Client, path: &str, body: &Value) -> Value {
    client.post(path, body).await.unwrap().success().unwrap().body
}

async fn get(client: &Client, path: &str) -> Value {
    client.get(path).await.unwrap().success().unwrap().body
}

async fn patch(client: &Client, path: &str, body: &Value) -> Value {
    let request = client.request(Method::PATCH, path).json(body);
    client.send(request).await.unwrap().success().unwrap().body
}

/// A job type `y = formula` over the number `x`.
async fn job_type(client: &Client, name: &str, formula: &str) {
    let manifest = json!({"seedVersion": "1.0.0", "job": {
        "name": name, "jobVersion": "1.0.0", "packageVersion": "1.0.0", "title": name, "description": "For tests",
        "timeout": 60,
        "interface": {
            "inputs": {"json": [{"name": "x", "type": "number"}]}, "outputs": {"json": [{"name": "y", "type": "number"}]},
        },
    }});
    let body = json!({"manifest": manifest, "model": {"formulas": {"y": formula}}, "configuration": {}});
    post(client, "/v6/job-types/", &body).await;
}

fn node(job_type: &str, revision: i64, dependencies: &Value, input: &Value) -> Value {
    json!({
        "dependencies": dependencies, "input": {"x": input},
        "node_type": {
            "node_type": "job", "job_type_name": job_type, "job_type_version": "1.0.0", "job_type_revision": revision,
        },
    })
}

/// `twice` doubles `x`; where that is above 5, `more` goes on, in a revision of its job type.
fn definition(revision: i64) -> Value {
    let doubled = json!({"type": "dependency", "node": "twice", "output": "y"});
    json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {
            "twice": node("double", 1, &json!([]), &json!({"type": "recipe", "input": "x"})),
            "enough": {
                "dependencies": [{"name": "twice"}],
                "input": {"y": doubled},
                "node_type": {
                    "node_type": "condition", "interface": {"json": [{"name": "y", "type": "number"}]},
                    "data_filter": {"filters": [{"name": "y", "type": "number", "condition": ">", "values": [5]}]},
                },
            },
            "more": node("add", revision, &json!([{"name": "enough"}, {"name": "twice"}]), &doubled),
        },
    })
}

/// Waits until all recipes of a batch are completed, and returns it.
async fn completed(client: &Client, batch: &Value) -> Value {
    let path = format!("/v6/batches/{}/", batch["id"]);
    wait_until("the batch is completed", LONG, || async {
        let batch = client.get(&path).await?.success()?.body;
        let done = batch["is_creation_done"] == json!(true)
            && batch["recipes_completed"] == batch["recipes_total"]
            && batch["recipes_total"] == json!(MEMBERS);
        anyhow::ensure!(done, "{batch}");
        Ok(Some(batch))
    })
    .await
    .unwrap()
}

fn counters(batch: &Value) -> [i64; 8] {
    ["total", "pending", "blocked", "queued", "running", "failed", "completed", "canceled"]
        .map(|name| batch[format!("jobs_{name}")].as_i64().unwrap())
}

/// Input and output of the jobs of a type that a batch made, in their order.
async fn values(client: &Client, batch: &Value, job_type: &str) -> Vec<(f64, f64)> {
    let path = format!("/v6/jobs/?batch_id={}&job_type_name={job_type}", batch["id"]);
    let mut values = Vec::new();
    for job in get(client, &path).await["results"].as_array().unwrap() {
        let job = get(client, &format!("/v6/jobs/{}/", job["id"])).await;
        assert_eq!((&job["status"], &job["execution"]["exe_num"]), (&json!("COMPLETED"), &json!(1)), "{job}");
        let number =
            |place: &str| job[place]["json"][if place == "input" { "x" } else { "y" }].as_f64().unwrap();
        values.push((number("input"), number("output")));
    }
    values.sort_by(|one, other| one.0.total_cmp(&other.0));
    values
}

#[tokio::test]
async fn batches_run_and_are_done_again_over_http() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    job_type(client, "double", "2 * x").await;
    job_type(client, "add", "x + 10").await;
    let recipe_type =
        post(client, "/v6/recipe-types/", &json!({"title": "Prices", "definition": definition(1)})).await;
    let member = |x: i64| json!({"json": {"x": x}});
    let dataset = json!({
        "title": "Numbers", "definition": {"parameters": {"json": [{"name": "x", "type": "number"}]}},
        "data": member(0),
    });
    let dataset = post(client, "/v6/datasets/", &dataset).await;
    let members: Vec<Value> = (1..MEMBERS).map(member).collect();
    post(client, &format!("/v6/datasets/{}/", dataset["id"]), &json!({"data": members})).await;

    let first = json!({
        "title": "one", "recipe_type_id": recipe_type["id"], "definition": {"dataset": dataset["id"]},
    });
    let first = post(client, "/v6/batches/", &first).await;
    let first = completed(client, &first).await;
    let all = MEMBERS + PASSING;
    assert_eq!(counters(&first), [all, 0, 0, 0, 0, 0, all, 0]);
    let metrics = &first["job_metrics"];
    assert_eq!(metrics["twice"]["jobs_completed"], json!(MEMBERS));
    assert_eq!(counters(&metrics["more"]), [PASSING, 0, 0, 0, 0, 0, PASSING, 0]);
    assert!(metrics["more"]["avg_seed_duration"].is_string(), "{metrics}");
    let doubled: Vec<(f64, f64)> = (0..10).map(|x| (f64::from(x), f64::from(2 * x))).collect();
    assert_eq!(values(client, &first, "double").await, doubled);
    let added = |more: i32| -> Vec<(f64, f64)> {
        (3..10).map(|x| (f64::from(2 * x), f64::from(2 * x + more))).collect()
    };
    assert_eq!(values(client, &first, "add").await, added(10));

    // A new revision of one node: the other is not done again.
    patch(
        client,
        "/v6/job-types/add/1.0.0/",
        &json!({"model": {"formulas": {"y": "x + 20"}}, "auto_update": false}),
    )
    .await;
    let path = format!("/v6/recipe-types/{}/", recipe_type["name"].as_str().unwrap());
    patch(client, &path, &json!({"definition": definition(2)})).await;
    let second = json!({
        "title": "two", "recipe_type_id": recipe_type["id"],
        "definition": {"previous_batch": {"root_batch_id": first["id"]}},
    });
    let second = post(client, "/v6/batches/", &second).await;
    let second = completed(client, &second).await;
    assert_eq!(counters(&second), [all, 0, 0, 0, 0, 0, all, 0]);
    assert_eq!(values(client, &second, "double").await, []);
    assert_eq!(values(client, &second, "add").await, added(20));
    let recipes = get(client, &format!("/v6/recipes/?batch_id={}", second["id"])).await;
    assert_eq!(recipes["count"], json!(MEMBERS));
    for recipe in recipes["results"].as_array().unwrap() {
        let recipe = get(client, &format!("/v6/recipes/{}/", recipe["id"])).await;
        let old = get(client, &format!("/v6/recipes/{}/", recipe["superseded_recipe"]["id"])).await;
        assert_eq!(
            (&recipe["is_completed"], &old["is_superseded"]),
            (&json!(true), &json!(true)),
            "{recipe}"
        );
        let job =
            |recipe: &Value, node: &str| recipe["details"]["nodes"][node]["node_type"]["job_id"].clone();
        assert_eq!(job(&recipe, "twice"), job(&old, "twice"));
        assert_eq!(job(&recipe, "more").is_null(), job(&old, "more").is_null());
        assert!(job(&recipe, "more").is_null() || job(&recipe, "more") != job(&old, "more"), "{recipe}");
    }

    let compared = get(client, &format!("/v6/batches/comparison/{}/", first["id"])).await;
    let metrics = &compared["metrics"];
    assert_eq!(metrics["recipes_completed"], json!([MEMBERS, MEMBERS]));
    assert_eq!(metrics["jobs_completed"], json!([all, all]));
    assert_eq!(metrics["job_metrics"]["more"]["jobs_completed"], json!([PASSING, PASSING]));
    Setup::new(&fleet).await.unwrap().assert_exact().await.unwrap();
}

#[tokio::test]
async fn jobs_of_a_paused_type_stay_queued_until_it_is_resumed() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (client, setup) = (fleet.client(), Setup::new(&fleet).await.unwrap());
    job_type(client, "double", "2 * x").await;
    job_type(client, "add", "x + 10").await;
    let recipe_type =
        post(client, "/v6/recipe-types/", &json!({"title": "Prices", "definition": definition(1)})).await;
    let members: Vec<Value> = (0..MEMBERS).map(|x| json!({"json": {"x": x}})).collect();
    let dataset = json!({
        "title": "Numbers", "definition": {"parameters": {"json": [{"name": "x", "type": "number"}]}}, "data": members[0],
    });
    let dataset = post(client, "/v6/datasets/", &dataset).await;
    post(client, &format!("/v6/datasets/{}/", dataset["id"]), &json!({"data": members[1..]})).await;
    patch(client, "/v6/job-types/add/1.0.0/", &json!({"is_paused": true})).await;
    let batch = json!({"recipe_type_id": recipe_type["id"], "definition": {"dataset": dataset["id"]}});
    let batch = post(client, "/v6/batches/", &batch).await;
    setup.wait_until_held_back(batch["id"].as_i64().unwrap(), PASSING).await.unwrap();
    let held = get(client, &format!("/v6/batches/{}/", batch["id"])).await;
    assert_eq!(counters(&held["job_metrics"]["more"]), [PASSING, 0, 0, PASSING, 0, 0, 0, 0]);
    assert_eq!(held["jobs_completed"], json!(MEMBERS));
    setup.assert_exact().await.unwrap();
    patch(client, "/v6/job-types/add/1.0.0/", &json!({"is_paused": false})).await;
    completed(client, &batch).await;
    setup.assert_exact().await.unwrap();
}

#[tokio::test]
async fn single_jobs_and_recipes_run_and_are_done_again() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    job_type(client, "double", "2 * x").await;
    job_type(client, "add", "x + 10").await;
    let add = get(client, "/v6/job-types/add/1.0.0/").await;
    let job = json!({"job_type_id": add["id"], "input": {"json": {"x": 4, "undeclared": 1}}});
    let job = post(client, "/v6/jobs/", &job).await;
    assert_eq!((&job["input"]["json"], &job["recipe"]), (&json!({"x": 4}), &Value::Null), "{job}");
    let job = wait_until("the job is completed", LONG, || async {
        let job = client.get(&format!("/v6/jobs/{}/", job["id"])).await?.success()?.body;
        Ok((job["status"] == "COMPLETED").then_some(job))
    })
    .await
    .unwrap();
    assert_eq!(job["output"]["json"]["y"].as_f64(), Some(14.0), "{job}");
    for (body, status) in [
        (json!({"job_type_id": add["id"], "input": {"json": {}}}), 400),
        (json!({"job_type_id": add["id"]}), 400),
        (json!({"job_type_id": 9_999, "input": {"json": {"x": 1}}}), 404),
    ] {
        assert_eq!(client.post("/v6/jobs/", &body).await.unwrap().status, status, "{body}");
    }

    let recipe_type =
        post(client, "/v6/recipe-types/", &json!({"title": "Prices", "definition": definition(1)})).await;
    let body = json!({"recipe_type_id": recipe_type["id"], "input": {"json": {"x": 7}}});
    let first = post(client, "/v6/recipes/", &body).await;
    let whole = async |id: &Value| {
        wait_until("the recipe is completed", LONG, || async {
            let recipe = client.get(&format!("/v6/recipes/{id}/")).await?.success()?.body;
            Ok((recipe["is_completed"] == true).then_some(recipe))
        })
        .await
        .unwrap()
    };
    let first = whole(&first["id"]).await;
    assert_eq!((&first["jobs_total"], &first["jobs_completed"]), (&json!(2), &json!(2)), "{first}");
    let again = json!({"forced_nodes": {"all": false, "nodes": ["more"]}});
    let answer = client.post(&format!("/v6/recipes/{}/reprocess/", first["id"]), &again).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.describe());
    let old = get(client, &format!("/v6/recipes/{}/", first["id"])).await;
    let second = whole(&old["superseded_by_recipe"]["id"]).await;
    let node = |recipe: &Value, node: &str| recipe["details"]["nodes"][node]["node_type"]["job_id"].clone();
    assert_eq!(node(&second, "twice"), node(&first, "twice"));
    assert_ne!(node(&second, "more"), node(&first, "more"));
    assert_eq!(
        client.post(&format!("/v6/recipes/{}/reprocess/", first["id"]), &again).await.unwrap().status,
        400
    );
}
