//! The whole way over HTTP: job types, a recipe type, a dataset, a batch, and a batch that does it again.

use millrace_tests::{Fleet, FleetOptions};
use serde_json::{Value, json};

use crate::calls::{self, Calls, at, counters, of, own};
use crate::setup::Setup;

/// Members 0 to 9, of which seven pass the condition.
const MEMBERS: i64 = 10;
const PASSING: i64 = 7;

/// `twice` doubles `x`; where that is above 5, `more` goes on, in a revision of its job type.
pub fn choice(revision: i64) -> Value {
    calls::definition(json!({
        "twice": calls::job("double", 1, &[], own()),
        "enough": {
            "dependencies": [{"name": "twice"}],
            "input": {"y": of("twice")},
            "node_type": {
                "node_type": "condition", "interface": {"json": [{"name": "y", "type": "number"}]},
                "data_filter": {"filters": [{"name": "y", "type": "number", "condition": ">", "values": [5]}]},
            },
        },
        "more": calls::job("add", revision, &["enough", "twice"], of("twice")),
    }))
}

/// Waits until all recipes of a batch are completed, and returns it.
async fn completed(calls: &Calls, batch: i64) -> Value {
    let batch = calls.completed(batch).await;
    assert_eq!(batch["recipes_total"], json!(MEMBERS));
    batch
}

/// Input and output of the jobs of a type that a batch made, in their order.
async fn values(calls: &Calls, batch: &Value, job_type: &str) -> Vec<(f64, f64)> {
    let path = format!("/v6/jobs/?batch_id={}&job_type_name={job_type}", batch["id"]);
    let mut values = Vec::new();
    for job in calls.get(&path).await["results"].as_array().unwrap() {
        let job = calls.get(&format!("/v6/jobs/{}/", job["id"])).await;
        assert_eq!((&job["status"], &job["execution"]["exe_num"]), (&json!("COMPLETED"), &json!(1)), "{job}");
        let number =
            |place: &str| job[place]["json"][if place == "input" { "x" } else { "y" }].as_f64().unwrap();
        values.push((number("input"), number("output")));
    }
    values.sort_by(|one, other| one.0.total_cmp(&other.0));
    values
}

/// The rows of an export of a batch, as JSON Lines.
async fn exported(calls: &Calls, batch: &Value, more: &str) -> Vec<Value> {
    let path = format!("/v6/batches/{}/export/?format=jsonl{more}", batch["id"]);
    let answer = calls.0.get(&path).await.unwrap().success().unwrap();
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let text = String::from_utf8(answer.bytes.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether an export has every member with what comes of it: twice `x`, and that and `more` where it is above 5.
fn assert_exported(rows: &[Value], more: f64) {
    assert_eq!(rows.len(), usize::try_from(MEMBERS).unwrap());
    let mut found: Vec<f64> = Vec::new();
    for row in rows {
        let x = row["input.x"].as_f64().unwrap();
        found.push(x);
        let passes = 2.0 * x > 5.0;
        assert_eq!(
            (row["twice.y"].as_f64(), &row["twice.status"]),
            (Some(2.0 * x), &json!("COMPLETED")),
            "{row}"
        );
        assert_eq!(row["more.y"].as_f64(), passes.then_some(2.0 * x + more), "{row}");
        assert_eq!(row["more.status"].is_null(), !passes, "{row}");
        assert_eq!((&row["is_completed"], &row["errors"]), (&json!(true), &Value::Null));
    }
    found.sort_by(f64::total_cmp);
    assert_eq!(found, (0..10).map(f64::from).collect::<Vec<_>>());
}

/// The other formats and filters of exports, and what is refused.
async fn assert_export_formats(calls: &Calls, batch: &Value) {
    let path = format!("/v6/batches/{}/export/", batch["id"]);
    let csv = calls.0.get(&path).await.unwrap().success().unwrap();
    let name = format!("attachment; filename=\"batch-{}.csv\"", batch["id"]);
    assert_eq!(csv.header("content-disposition"), Some(name.as_str()));
    let text = String::from_utf8(csv.bytes.to_vec()).unwrap();
    let heading = "recipe_id,member_id,is_completed,is_superseded,input.x,twice.status,twice.y,more.status,more.y,errors";
    assert_eq!((text.lines().next(), text.lines().count()), (Some(heading), 11));
    let none = calls.0.get(&format!("{path}?is_completed=false")).await.unwrap().success().unwrap();
    assert_eq!(none.bytes, format!("{heading}\n").as_bytes());
    let parquet = calls.0.get(&format!("{path}?format=parquet")).await.unwrap().success().unwrap();
    assert!(parquet.bytes.starts_with(b"PAR1") && parquet.bytes.ends_with(b"PAR1"));
    for (path, status) in [
        (format!("{path}?format=xls"), 400),
        (format!("{path}?is_completed=perhaps"), 400),
        ("/v6/batches/99999999/export/".to_owned(), 404),
    ] {
        assert_eq!(calls.0.get(&path).await.unwrap().status, status, "{path}");
    }
}

#[tokio::test]
async fn batches_run_and_are_done_again_over_http() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let calls = Calls::to(&fleet);
    calls.job_type("double", "2 * x").await;
    calls.job_type("add", "x + 10").await;
    let recipe_type = calls.recipe_type("Prices", &choice(1)).await;
    let dataset = calls.dataset([0]).await;
    let members: Vec<Value> = (1..MEMBERS).map(|x| json!({"json": {"x": x}})).collect();
    calls.post(&format!("/v6/datasets/{dataset}/"), &json!({"data": members})).await;

    let first = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    let first = completed(&calls, first).await;
    let all = MEMBERS + PASSING;
    assert_eq!(counters(&first), [all, 0, 0, 0, 0, 0, all, 0]);
    let metrics = &first["job_metrics"];
    assert_eq!(metrics["twice"]["jobs_completed"], json!(MEMBERS));
    assert_eq!(counters(&metrics["more"]), [PASSING, 0, 0, 0, 0, 0, PASSING, 0]);
    assert!(metrics["more"]["avg_seed_duration"].is_string(), "{metrics}");
    let doubled: Vec<(f64, f64)> = (0..10).map(|x| (f64::from(x), f64::from(2 * x))).collect();
    assert_eq!(values(&calls, &first, "double").await, doubled);
    let added = |more: i32| -> Vec<(f64, f64)> {
        (3..10).map(|x| (f64::from(2 * x), f64::from(2 * x + more))).collect()
    };
    assert_eq!(values(&calls, &first, "add").await, added(10));
    assert_exported(&exported(&calls, &first, "&is_superseded=false").await, 10.0);
    assert_export_formats(&calls, &first).await;

    // A new revision of one node: the other is not done again.
    calls
        .patch(
            "/v6/job-types/add/1.0.0/",
            &json!({"model": {"formulas": {"y": "x + 20"}}, "auto_update": false}),
        )
        .await;
    calls.patch("/v6/recipe-types/prices/", &json!({"definition": choice(2)})).await;
    let second = json!({"previous_batch": {"root_batch_id": first["id"]}});
    let second = calls.batch(recipe_type, second).await;
    let second = completed(&calls, second).await;
    assert_eq!(counters(&second), [all, 0, 0, 0, 0, 0, all, 0]);
    assert_eq!(values(&calls, &second, "double").await, []);
    assert_eq!(values(&calls, &second, "add").await, added(20));
    // What was copied from the batch before is in both.
    assert_exported(&exported(&calls, &second, "").await, 20.0);
    assert_exported(&exported(&calls, &first, "&is_superseded=true").await, 10.0);
    assert_eq!(exported(&calls, &first, "&is_superseded=false").await, Vec::<Value>::new());
    let recipes = calls.get(&format!("/v6/recipes/?batch_id={}", second["id"])).await;
    assert_eq!(recipes["count"], json!(MEMBERS));
    for recipe in recipes["results"].as_array().unwrap() {
        let recipe = calls.get(&format!("/v6/recipes/{}/", recipe["id"])).await;
        let old = calls.get(&format!("/v6/recipes/{}/", recipe["superseded_recipe"]["id"])).await;
        assert_eq!(
            (&recipe["is_completed"], &old["is_superseded"]),
            (&json!(true), &json!(true)),
            "{recipe}"
        );
        let job = |recipe: &Value, node: &str| at(recipe, node)["job_id"].clone();
        assert_eq!(job(&recipe, "twice"), job(&old, "twice"));
        assert_eq!(job(&recipe, "more").is_null(), job(&old, "more").is_null());
        assert!(job(&recipe, "more").is_null() || job(&recipe, "more") != job(&old, "more"), "{recipe}");
    }

    let compared = calls.get(&format!("/v6/batches/comparison/{}/", first["id"])).await;
    let metrics = &compared["metrics"];
    assert_eq!(metrics["recipes_completed"], json!([MEMBERS, MEMBERS]));
    assert_eq!(metrics["jobs_completed"], json!([all, all]));
    assert_eq!(metrics["job_metrics"]["more"]["jobs_completed"], json!([PASSING, PASSING]));
    Setup::new(&fleet).await.unwrap().assert_exact().await.unwrap();
}

#[tokio::test]
async fn jobs_of_a_paused_type_stay_queued_until_it_is_resumed() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("double", "2 * x").await;
    calls.job_type("add", "x + 10").await;
    let recipe_type = calls.recipe_type("Prices", &choice(1)).await;
    let dataset = calls.dataset(0..MEMBERS).await;
    calls.patch("/v6/job-types/add/1.0.0/", &json!({"is_paused": true})).await;
    let batch = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    setup.wait_until_held_back(batch, PASSING).await.unwrap();
    let held = calls.get(&format!("/v6/batches/{batch}/")).await;
    assert_eq!(counters(&held["job_metrics"]["more"]), [PASSING, 0, 0, PASSING, 0, 0, 0, 0]);
    assert_eq!(held["jobs_completed"], json!(MEMBERS));
    setup.assert_exact().await.unwrap();
    calls.patch("/v6/job-types/add/1.0.0/", &json!({"is_paused": false})).await;
    completed(&calls, batch).await;
    setup.assert_exact().await.unwrap();
}
