//! Diamonds, conditions, and reprocessing.

use millrace_tests::{Fleet, FleetOptions};
use serde_json::{Value, json};

use crate::calls::{self, Calls, at, counters, definition, of, own};
use crate::setup::{Setup, job};

fn numbers() -> Value {
    json!({"json": [{"name": "x", "type": "number"}]})
}

#[tokio::test]
async fn a_diamond_waits_for_both_of_its_sides() {
    let fleet = Fleet::start(FleetOptions::workers(2)).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    let add = setup.job_type("add", &["x"], &[("y", "x + 1", true)]).await.unwrap();
    let sum = setup.job_type("sum", &["left", "right"], &[("y", "left + right", true)]).await.unwrap();
    let of = |node: &str| json!({"type": "dependency", "node": node, "output": "y"});
    let definition = json!({
        "input": numbers(),
        "nodes": {
            "a": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
            "l": job(&add, &["a"], json!({"x": of("a")})),
            "r": job(&add, &["a"], json!({"x": of("a")})),
            "z": job(&sum, &["l", "r"], json!({"left": of("l"), "right": of("r")})),
        }
    });
    let recipe_type = setup.recipe_type("diamond", &definition).await.unwrap();
    let members: Vec<_> = (0..600).map(|x| json!({"json": {"x": x}})).collect();
    let batch = setup.batch(recipe_type, &members, json!({})).await.unwrap();
    setup.wait_until_completed(batch, 600).await.unwrap();
    setup.assert_exact().await.unwrap();
    let outputs = setup.outputs(batch, "z").await.unwrap();
    assert_eq!(outputs.len(), 600);
    for (member, output) in outputs {
        assert_eq!(output["json"]["y"], json!(2 * (member["json"]["x"].as_i64().unwrap() + 2)));
    }
}

#[tokio::test]
async fn conditions_decide_what_runs() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    let add = setup.job_type("add", &["x"], &[("y", "x + 1", true)]).await.unwrap();
    let of = |node: &str, output: &str| json!({"type": "dependency", "node": node, "output": output});
    let mut low = job(&add, &["big"], json!({"x": of("big", "y")}));
    low["dependencies"][0]["acceptance"] = json!(false);
    let definition = json!({
        "input": numbers(),
        "nodes": {
            "a": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
            "big": {
                "dependencies": [{"name": "a"}],
                "input": {"y": of("a", "y")},
                "node_type": {
                    "node_type": "condition",
                    "interface": {"files": [], "json": [{"name": "y", "type": "number"}]},
                    "data_filter": {"filters": [{"name": "y", "type": "number", "condition": ">", "values": [5]}]}
                }
            },
            "high": job(&add, &["big"], json!({"x": of("big", "y")})),
            "low": low,
        }
    });
    let recipe_type = setup.recipe_type("choice", &definition).await.unwrap();
    let members: Vec<_> = (0..10).map(|x| json!({"json": {"x": x}})).collect();
    let batch = setup.batch(recipe_type, &members, json!({})).await.unwrap();
    setup.wait_until_completed(batch, 10).await.unwrap();
    setup.assert_exact().await.unwrap();
    let xs = |outputs: Vec<(Value, Value)>| {
        let mut xs: Vec<i64> =
            outputs.iter().map(|(member, _)| member["json"]["x"].as_i64().unwrap()).collect();
        xs.sort_unstable();
        xs
    };
    assert_eq!(xs(setup.outputs(batch, "high").await.unwrap()), [5, 6, 7, 8, 9]);
    assert_eq!(xs(setup.outputs(batch, "low").await.unwrap()), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_second_run_of_a_dataset_copies_what_did_not_change() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    let add = setup.job_type("add", &["x"], &[("y", "x + 1", true)]).await.unwrap();
    let of = |node: &str| json!({"type": "dependency", "node": node, "output": "y"});
    let definition = json!({
        "input": numbers(),
        "nodes": {
            "a": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
            "b": job(&add, &["a"], json!({"x": of("a")})),
            "c": job(&add, &["b"], json!({"x": of("b")})),
        }
    });
    let recipe_type = setup.recipe_type("again", &definition).await.unwrap();
    let members: Vec<_> = (0..50).map(|x| json!({"json": {"x": x}})).collect();
    let first = setup.batch(recipe_type, &members, json!({})).await.unwrap();
    setup.wait_until_completed(first, 50).await.unwrap();
    let forced = json!({"forced_nodes": {"all": false, "nodes": ["b"]}});
    let second = setup.next_batch(first, forced).await.unwrap();
    setup.wait_until_completed(second, 50).await.unwrap();
    setup.assert_exact().await.unwrap();
    let counts = setup.counts(second).await.unwrap();
    assert_eq!((counts.completed, counts.recipes_total), (150, 50));
    assert_eq!(setup.own_jobs(second).await.unwrap(), 100, "a is shared, b and c are new");
    assert_eq!(setup.superseded(first).await.unwrap(), (50, 100), "recipes, and their b and c");
    assert_eq!(setup.counts(first).await.unwrap().completed, 150, "the first batch still counts what it had");
}

/// Behind a condition that did not accept them, values may be missing that the condition promises.
#[tokio::test]
async fn an_input_that_does_not_fit_cancels_its_job() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("add", "x + 1").await;
    let mut low = calls::job("add", 1, &["big"], of("big"));
    low["dependencies"][0]["acceptance"] = json!(false);
    let interface = |required: bool| json!({"json": [{"name": "y", "type": "number", "required": required}]});
    let choice = json!({
        "input": interface(false),
        "nodes": {
            "big": {
                "dependencies": [], "input": {"y": {"type": "recipe", "input": "y"}},
                "node_type": {
                    "node_type": "condition", "interface": interface(false),
                    "data_filter": {"filters": [{"name": "y", "type": "number", "condition": ">", "values": [5]}]},
                },
            },
            "high": calls::job("add", 1, &["big"], of("big")),
            "low": low,
            "behind": calls::job("add", 1, &["low"], of("low")),
        },
    });
    let recipe_type = calls.recipe_type("Choice", &choice).await;
    let run = async |json: Value| {
        let body = json!({"recipe_type_id": recipe_type, "input": {"json": json}});
        calls.post("/v6/recipes/", &body).await["id"].as_i64().unwrap()
    };
    let (high, low, none) = (run(json!({"y": 9})).await, run(json!({"y": 3})).await, run(json!({})).await);
    assert_eq!(counters(&calls.recipe_completed(high).await), [1, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(counters(&calls.recipe_completed(low).await), [2, 0, 0, 0, 0, 0, 2, 0]);
    let path = format!("/v6/recipes/{none}/");
    let stuck = calls
        .until(&path, "its job is canceled", |recipe| counters(recipe) == [2, 0, 1, 0, 0, 0, 0, 1])
        .await;
    assert_eq!(stuck["is_completed"], json!(false));
    let job = at(&stuck, "low")["job_id"].as_i64().unwrap();
    let job = calls.job_until(job, "CANCELED").await;
    assert_eq!((&job["error"]["name"], &job["error"]["category"]), (&json!("invalid-input"), &json!("DATA")));
    let detail = job["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("input.json.x") || detail.contains("input.x"), "{detail}");
    assert_eq!(job["ended"], Value::Null);
    // Nothing is another in a second try.
    calls.ask("requeue", &json!({"job_ids": [job["id"]]})).await;
    let path = format!("/v6/jobs/{}/", job["id"]);
    calls
        .until(&path, "it is canceled again", |job| {
            job["num_exes"] == json!(2) && job["status"] == json!("CANCELED")
        })
        .await;
    setup.assert_exact().await.unwrap();
}

#[tokio::test]
async fn a_recipe_with_nothing_to_do_is_completed_at_once() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("add", "x + 1").await;
    let empty = calls.recipe_type("Empty", &definition(json!({}))).await;
    let condition = json!({
        "dependencies": [], "input": {"x": own()},
        "node_type": {
            "node_type": "condition", "interface": {"json": [{"name": "x", "type": "number"}]},
            "data_filter": {"filters": [{"name": "x", "type": "number", "condition": "<", "values": [0]}]},
        },
    });
    let skipped = definition(json!({
        "below": condition, "a": calls::job("add", 1, &["below"], own()), "b": calls::job("add", 1, &["a"], of("a")),
    }));
    let skipped = calls.recipe_type("Skipped", &skipped).await;
    let dataset = calls.dataset(0..4).await;
    for recipe_type in [empty, skipped] {
        let batch = calls.batch(recipe_type, json!({"dataset": dataset})).await;
        let batch = calls.completed(batch).await;
        assert_eq!((&batch["recipes_completed"], counters(&batch)), (&json!(4), [0; 8]));
    }
    setup.assert_exact().await.unwrap();
}

/// `a`, a sub-recipe of two jobs behind it, and a job behind that.
#[tokio::test]
async fn what_is_in_a_sub_recipe_is_blocked_and_released_with_it() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("slow", "x + 1").await;
    calls.job_type("invert", "1 / x").await;
    calls.patch("/v6/job-types/slow/1.0.0/", &json!({"is_paused": true})).await;
    let inner = definition(json!({
        "one": calls::job("invert", 1, &[], own()), "two": calls::job("invert", 1, &["one"], of("one")),
    }));
    calls.recipe_type("Inner", &inner).await;
    let outer = definition(json!({
        "a": calls::job("slow", 1, &[], own()), "sub": calls::recipe("inner", 1, &["a"], own()),
        "last": calls::job("invert", 1, &["sub"], of("a")),
    }));
    let outer = calls.recipe_type("Outer", &outer).await;
    let dataset = calls.dataset([0, 1]).await;
    let batch = calls.batch(outer, json!({"dataset": dataset})).await;
    setup.wait_until_held_back(batch, 2).await.unwrap();
    let held = calls.get(&format!("/v6/batches/{batch}/")).await;
    assert_eq!(counters(&held), [8, 6, 0, 2, 0, 0, 0, 0], "all exist, and wait");
    calls.ask("cancel", &json!({"batch_ids": [batch], "job_type_names": ["slow"]})).await;
    calls
        .batch_until(batch, "all behind it is blocked", |batch| counters(batch) == [8, 0, 6, 0, 0, 0, 0, 2])
        .await;
    setup.assert_exact().await.unwrap();
    calls.patch("/v6/job-types/slow/1.0.0/", &json!({"is_paused": false})).await;
    calls.ask("requeue", &json!({"batch_ids": [batch], "status": ["CANCELED"]})).await;
    // Of member 0 the sub-recipe's first job fails: the second is blocked, and the job behind the sub-recipe.
    let ended = calls
        .batch_until(batch, "what can run has run", |batch| counters(batch) == [8, 0, 2, 0, 0, 1, 5, 0])
        .await;
    assert_eq!((&ended["recipes_completed"], &ended["recipes_total"]), (&json!(2), &json!(4)));
    setup.assert_exact().await.unwrap();
}

/// Every input is there twice, and the second run has more than a page of them.
#[tokio::test]
async fn the_same_members_again_supersede_each_recipe_of_the_same_input_once() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    let add = setup.job_type("add", &["x"], &[("y", "x + 1", true)]).await.unwrap();
    let definition = json!({
        "input": numbers(),
        "nodes": {
            "a": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
            "b": job(&add, &["a"], json!({"x": {"type": "dependency", "node": "a", "output": "y"}})),
        }
    });
    let recipe_type = setup.recipe_type("twice", &definition).await.unwrap();
    let members: Vec<_> = (0..1_200).map(|x| json!({"json": {"x": x % 600}})).collect();
    let first = setup.batch(recipe_type, &members, json!({})).await.unwrap();
    setup.wait_until_completed(first, 1_200).await.unwrap();
    let second = setup.batch(recipe_type, &members, json!({})).await.unwrap();
    setup.wait_until_completed(second, 1_200).await.unwrap();
    setup.assert_exact().await.unwrap();
    let counts = setup.counts(second).await.unwrap();
    assert_eq!((counts.completed, counts.recipes_total), (2_400, 1_200));
    assert_eq!(setup.own_jobs(second).await.unwrap(), 0, "all jobs are shared");
    assert_eq!(setup.superseded(first).await.unwrap(), (1_200, 0), "each recipe once, and no job");
}
