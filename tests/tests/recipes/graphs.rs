//! Diamonds, conditions, and reprocessing.

use millrace_tests::{Fleet, FleetOptions};
use serde_json::{Value, json};

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
