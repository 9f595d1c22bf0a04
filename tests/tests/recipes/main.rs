//! Recipes on real processes: created, run, counted, whatever happens to the workers meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod calls;
mod chains;
mod faults;
mod graphs;
mod http;
mod lists;
mod pauses;
mod requests;
mod retention;
mod setup;
mod singles;
mod table;
mod upgrade;

use millrace_tests::{Fleet, FleetOptions};
use serde_json::json;

use crate::setup::{Setup, job, recipe};

#[tokio::test]
async fn a_chain_runs_to_its_end_and_its_counters_are_exact() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    let add = setup.job_type("add", &["x"], &[("y", "x + 1", true)]).await.unwrap();
    let double = setup.job_type("double", &["y"], &[("z", "y * 2", true)]).await.unwrap();
    let definition = json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {
            "a": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
            "b": job(&double, &["a"], json!({"y": {"type": "dependency", "node": "a", "output": "y"}})),
            "c": job(&add, &["b"], json!({"x": {"type": "dependency", "node": "b", "output": "z"}})),
        }
    });
    let recipe_type = setup.recipe_type("chain", &definition).await.unwrap();
    let members: Vec<_> = (0..1_500).map(|x| json!({"json": {"x": x}})).collect();
    let batch = setup.batch(recipe_type, &members, json!({})).await.unwrap();
    setup.wait_until_completed(batch, 1_500).await.unwrap();
    setup.assert_exact().await.unwrap();
    for (member, output) in setup.outputs(batch, "c").await.unwrap() {
        let x = member["json"]["x"].as_i64().unwrap();
        assert_eq!(output["json"]["y"], json!((x + 1) * 2 + 1), "{x}");
    }
    let counts = setup.counts(batch).await.unwrap();
    assert_eq!((counts.completed, counts.recipes_total, counts.recipes_completed), (4_500, 1_500, 1_500));
}

#[tokio::test]
async fn a_sub_recipe_holds_up_what_depends_on_it() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    let add = setup.job_type("add", &["x"], &[("y", "x + 1", true)]).await.unwrap();
    let inner = json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {
            "in": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
        }
    });
    setup.recipe_type("inner", &inner).await.unwrap();
    let outer = json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {
            "first": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
            "sub": recipe("inner", &["first"], json!({"x": {"type": "dependency", "node": "first", "output": "y"}})),
            "last": job(&add, &["sub", "first"], json!({"x": {"type": "dependency", "node": "first", "output": "y"}})),
        }
    });
    let recipe_type = setup.recipe_type("outer", &outer).await.unwrap();
    let members: Vec<_> = (0..20).map(|x| json!({"json": {"x": x}})).collect();
    let batch = setup.batch(recipe_type, &members, json!({})).await.unwrap();
    setup.wait_until_completed(batch, 40).await.unwrap();
    setup.assert_exact().await.unwrap();
    let counts = setup.counts(batch).await.unwrap();
    assert_eq!((counts.completed, counts.recipes_total, counts.recipes_completed), (60, 40, 40));
}

#[tokio::test]
async fn a_failed_job_blocks_what_is_behind_it_and_nothing_else() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let setup = Setup::new(&fleet).await.unwrap();
    let invert = setup.job_type("invert", &["x"], &[("y", "1 / x", true)]).await.unwrap();
    let add = setup.job_type("add", &["x"], &[("y", "x + 1", true)]).await.unwrap();
    let definition = json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {
            "a": job(&invert, &[], json!({"x": {"type": "recipe", "input": "x"}})),
            "b": job(&add, &["a"], json!({"x": {"type": "dependency", "node": "a", "output": "y"}})),
            "c": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
        }
    });
    let recipe_type = setup.recipe_type("fork", &definition).await.unwrap();
    let members: Vec<_> = (0..10).map(|x| json!({"json": {"x": x % 5}})).collect();
    let batch = setup.batch(recipe_type, &members, json!({})).await.unwrap();
    setup.wait_until_completed(batch, 8).await.unwrap();
    setup.wait_until_at_rest().await.unwrap();
    setup.assert_exact().await.unwrap();
    let counts = setup.counts(batch).await.unwrap();
    assert_eq!((counts.completed, counts.failed, counts.blocked), (26, 2, 2));
    let errors = setup.errors(batch, "a").await.unwrap();
    assert_eq!(errors.len(), 2);
    for (name, detail) in errors {
        assert_eq!(name, "output-error");
        assert!(detail.contains("`y`") && detail.contains("#DIV/0!"), "{detail}");
    }
}
