//! Batches that follow batches, over HTTP: what becomes of the recipes that were there (contract 4.3–4.5).

use std::collections::BTreeMap;

use millrace_tests::{Fleet, FleetOptions};
use serde_json::{Value, json};

use crate::calls::{self, Calls, at, counters, definition, of, own};
use crate::setup::Setup;

/// The top-level recipes of a batch, with their details.
async fn recipes(calls: &Calls, batch: i64) -> Vec<Value> {
    let page = calls.get(&format!("/v6/recipes/?page_size=1000&order=id&batch_id={batch}")).await;
    let mut found = Vec::new();
    for recipe in page["results"].as_array().unwrap() {
        if recipe["recipe"].is_null() {
            found.push(calls.get(&format!("/v6/recipes/{}/", recipe["id"])).await);
        }
    }
    found
}

/// A chain `a`, `b`, which is run over the values of a dataset.
async fn chain(calls: &Calls, values: impl IntoIterator<Item = i64>) -> (i64, i64) {
    calls.job_type("add", "x + 1").await;
    let chain = definition(json!({
        "a": calls::job("add", 1, &[], own()), "b": calls::job("add", 1, &["a"], of("a")),
    }));
    (calls.recipe_type("Chain", &chain).await, calls.dataset(values).await)
}

fn previous(root: i64) -> Value {
    json!({"previous_batch": {"root_batch_id": root}})
}

/// A row of the matrix (4.4) after another, each over what the rows before it left.
#[tokio::test]
async fn the_matrix_of_supersedes_holds_over_http() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let (recipe_type, dataset) = chain(&calls, 0..5).await;
    let forced = json!({"all": false, "nodes": ["b"]});
    let first = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    calls.completed(first).await;

    // Dataset, true: those of the same input are superseded; what is not forced is shared. That makes no chain of batches.
    let second = calls.batch(recipe_type, json!({"dataset": dataset, "forced_nodes": forced})).await;
    let counted = calls.completed(second).await;
    assert_eq!(counters(&counted), [10, 0, 0, 0, 0, 0, 10, 0], "what is shared is counted");
    assert_eq!((&counted["superseded_batch"], &counted["root_batch"]["id"]), (&Value::Null, &json!(second)));
    assert_eq!(calls.jobs(&format!("batch_id={second}")).await.len(), 5, "`b` alone is new");
    let old: BTreeMap<i64, Value> = recipes(&calls, first)
        .await
        .into_iter()
        .map(|recipe| (recipe["id"].as_i64().unwrap(), recipe))
        .collect();
    for recipe in recipes(&calls, second).await {
        let old = &old[&recipe["superseded_recipe"]["id"].as_i64().unwrap()];
        assert_eq!((&old["is_superseded"], &old["input"]), (&json!(true), &recipe["input"]));
        assert_eq!(at(old, "a")["job_id"], at(&recipe, "a")["job_id"]);
        let redone = calls.get(&format!("/v6/jobs/{}/", at(&recipe, "b")["job_id"])).await;
        assert_eq!(redone["superseded_job"]["id"], at(old, "b")["job_id"]);
    }
    let untouched = calls.get(&format!("/v6/batches/{first}/")).await;
    assert_eq!(untouched["is_superseded"], json!(false));

    // Dataset, false: all is new, and nothing is superseded.
    let third = calls.batch(recipe_type, json!({"dataset": dataset, "supersedes": false})).await;
    calls.completed(third).await;
    assert_eq!(calls.jobs(&format!("batch_id={third}")).await.len(), 10);
    for recipe in recipes(&calls, third).await.iter().chain(&recipes(&calls, second).await) {
        assert_eq!(
            (&recipe["is_superseded"], recipe["batch"]["id"] == json!(third)),
            (&json!(false), recipe["superseded_recipe"].is_null())
        );
    }

    // Previous batch, true: every recipe of it is done again.
    let fourth = calls.batch(recipe_type, previous(second)).await;
    let counted = calls.completed(fourth).await;
    assert_eq!(counted["superseded_batch"]["id"], json!(second));
    assert_eq!((&counted["recipes_estimated"], &counted["recipes_total"]), (&json!(5), &json!(5)));
    assert_eq!(calls.jobs(&format!("batch_id={fourth}")).await.len(), 0, "nothing changed: all is shared");
    for recipe in recipes(&calls, second).await {
        assert_eq!(recipe["is_superseded"], json!(true));
    }

    // Previous batch, false: the chain goes on, its recipes do not.
    let mut apart = previous(second);
    apart["supersedes"] = json!(false);
    let fifth = calls.batch(recipe_type, apart).await;
    let counted = calls.completed(fifth).await;
    assert_eq!(
        (&counted["superseded_batch"]["id"], &counted["root_batch"]["id"]),
        (&json!(fourth), &json!(second))
    );
    assert_eq!(calls.jobs(&format!("batch_id={fifth}")).await.len(), 10);
    let left = calls.get(&format!("/v6/batches/{fourth}/")).await;
    assert_eq!(left["is_superseded"], json!(true));
    let inputs = |recipes: &[Value]| {
        let mut inputs: Vec<String> = recipes.iter().map(|recipe| recipe["input"].to_string()).collect();
        inputs.sort();
        inputs
    };
    let (before, after) = (recipes(&calls, fourth).await, recipes(&calls, fifth).await);
    assert_eq!(inputs(&before), inputs(&after));
    assert!(before.iter().all(|recipe| recipe["is_superseded"] == json!(false)));
    assert!(after.iter().all(|recipe| recipe["superseded_recipe"].is_null()));
    setup.assert_exact().await.unwrap();
}

#[tokio::test]
async fn of_members_of_equal_input_each_supersedes_one_recipe() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let (recipe_type, dataset) = chain(&calls, [7, 7]).await;
    let first = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    calls.completed(first).await;
    let more = calls.dataset([7, 7, 7]).await;
    let second = calls.batch(recipe_type, json!({"dataset": more})).await;
    calls.completed(second).await;
    let mut superseded: Vec<Option<i64>> = recipes(&calls, second)
        .await
        .iter()
        .map(|recipe| recipe["superseded_recipe"]["id"].as_i64())
        .collect();
    superseded.sort_unstable();
    let mut old: Vec<Option<i64>> =
        recipes(&calls, first).await.iter().map(|recipe| recipe["id"].as_i64()).collect();
    old.insert(0, None);
    assert_eq!(superseded, old, "two take the places of two, the third is new");
    setup.assert_exact().await.unwrap();
}

/// Whoever wants to follow the same batch at the same time gets his turn or is told to wait, while workers create.
#[tokio::test]
async fn a_chain_stays_a_chain_whoever_wants_to_follow_it_at_once() {
    let fleet = Fleet::start(FleetOptions::workers(2)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    let (recipe_type, dataset) = chain(&calls, 0..20).await;
    let root = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    calls.completed(root).await;
    let body = json!({"recipe_type_id": recipe_type, "definition": {
        "previous_batch": {"root_batch_id": root, "forced_nodes": {"all": true}},
    }});
    let mut batches = vec![root];
    for _ in 0..3 {
        let answers =
            futures_util::future::join_all((0..8).map(|_| calls.0.post("/v6/batches/", &body))).await;
        for answer in answers {
            let answer = answer.unwrap();
            match answer.status {
                201 => batches.push(answer.body["id"].as_i64().unwrap()),
                _ => assert_eq!(
                    answer.body["name"],
                    json!("PREV_BATCH_STILL_CREATING"),
                    "{}",
                    answer.describe()
                ),
            }
        }
        let last = *batches.iter().max().unwrap();
        calls.batch_until(last, "the last batch is created", |_| true).await;
    }
    batches.sort_unstable();
    assert!(batches.len() >= 4, "one of each round at least: {batches:?}");
    let compared = calls.get(&format!("/v6/batches/comparison/{root}/")).await;
    let listed: Vec<i64> =
        compared["batches"].as_array().unwrap().iter().map(|batch| batch["id"].as_i64().unwrap()).collect();
    assert_eq!(listed, batches);
    for (at, batch) in batches.iter().enumerate() {
        let batch = calls.get(&format!("/v6/batches/{batch}/")).await;
        let before = at.checked_sub(1).map_or(Value::Null, |before| json!(batches[before]));
        assert_eq!(batch["superseded_batch"].get("id").cloned().unwrap_or_default(), before);
        assert_eq!(batch["is_superseded"], json!(at + 1 < batches.len()));
        assert_eq!(batch["recipes_total"], json!(20));
    }
    calls.completed(*batches.last().unwrap()).await;
    setup.wait_until_at_rest().await.unwrap();
    setup.assert_exact().await.unwrap();
    let current = calls.get("/v6/recipes/?is_superseded=false&page_size=1").await;
    assert_eq!(current["count"], json!(20), "each family has one recipe that is current");
}

/// The batch before is at work still, and a part of it failed.
#[tokio::test]
async fn what_is_unfinished_is_canceled_and_what_failed_stays_failed_unless_it_is_forced() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("invert", "1 / x").await;
    calls.job_type("slow", "x + 1").await;
    calls.patch("/v6/job-types/slow/1.0.0/", &json!({"is_paused": true})).await;
    let fork = definition(json!({
        "a": calls::job("invert", 1, &[], own()), "b": calls::job("invert", 1, &["a"], of("a")),
        "s": calls::job("slow", 1, &[], own()),
    }));
    let recipe_type = calls.recipe_type("Fork", &fork).await;
    let dataset = calls.dataset([0, 1]).await;
    let first = calls.batch(recipe_type, json!({"dataset": dataset})).await;
    calls
        .batch_until(first, "all but what is held back is done", |batch| {
            counters(batch) == [6, 0, 1, 2, 0, 1, 2, 0]
        })
        .await;
    let again = |nodes: Value| json!({"previous_batch": {"root_batch_id": first, "forced_nodes": {"all": false, "nodes": nodes}}});
    let second = calls.batch(recipe_type, again(json!(["b", "s"]))).await;
    calls
        .batch_until(second, "what is done again is under way", |batch| {
            counters(batch) == [6, 0, 1, 2, 0, 1, 2, 0]
        })
        .await;
    let before = calls.get(&format!("/v6/batches/{first}/")).await;
    assert_eq!(counters(&before), [6, 0, 0, 0, 0, 1, 2, 3], "its `s`, and the `b` that was blocked");
    let failed = calls.jobs("status=FAILED").await;
    assert_eq!(failed.len(), 1, "it is shared");
    assert_eq!(failed[0]["batch"]["id"], json!(first), "and keeps its batch");
    let third = calls.batch(recipe_type, again(json!(["a"]))).await;
    calls
        .batch_until(third, "what failed is done again", |batch| counters(batch) == [6, 0, 1, 2, 0, 1, 2, 0])
        .await;
    let failed = calls.jobs("status=FAILED&order=id").await;
    assert_eq!(failed.len(), 2);
    assert_eq!(failed[1]["superseded_job"]["id"], failed[0]["id"]);
    setup.assert_exact().await.unwrap();
}

/// Contract 4.5: `A` = job `x` → recipe `D`; {`x`, `D`} → recipe `B` → recipe `E`. `B` = `b_x` → `b_y`; `b_x` → recipe `C` → `b_z`.
/// In `C`, `c_z` depends on `c_x` and `c_y`, and `c_y` gets a new revision, which reaches `B` and `A`; inside `B`, `b_y` is forced.
#[tokio::test]
async fn the_reference_scenario_of_forced_nodes_over_http() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let (calls, setup) = (Calls::to(&fleet), Setup::new(&fleet).await.unwrap());
    calls.job_type("plain", "x + 1").await;
    calls.job_type("mended", "x + 1").await;
    let plain = |parents: &[&str]| calls::job("plain", 1, parents, own());
    let c = |revision: i64| {
        definition(json!({
            "c_x": plain(&[]), "c_y": calls::job("mended", revision, &[], own()), "c_z": plain(&["c_x", "c_y"]),
        }))
    };
    calls.recipe_type("C", &c(1)).await;
    let b = json!({
        "b_x": plain(&[]), "b_y": plain(&["b_x"]), "C": calls::recipe("c", 1, &["b_x"], own()), "b_z": plain(&["C"]),
    });
    calls.recipe_type("B", &definition(b)).await;
    calls.recipe_type("D", &definition(json!({"d": plain(&[])}))).await;
    calls.recipe_type("E", &definition(json!({"e": plain(&[])}))).await;
    let a = json!({
        "x": plain(&[]), "D": calls::recipe("d", 1, &["x"], own()), "B": calls::recipe("b", 1, &["x", "D"], own()),
        "E": calls::recipe("e", 1, &["B"], own()),
    });
    let a = calls.recipe_type("A", &definition(a)).await;
    let dataset = calls.dataset([1, 2]).await;
    let first = calls.batch(a, json!({"dataset": dataset})).await;
    let counted = calls.completed(first).await;
    assert_eq!((&counted["recipes_estimated"], &counted["recipes_total"]), (&json!(10), &json!(10)));
    assert_eq!(counted["jobs_completed"], json!(18));

    let mended = json!({"model": {"formulas": {"y": "x + 2"}}, "auto_update": false});
    calls.patch("/v6/job-types/mended/1.0.0/", &mended).await;
    calls.patch("/v6/recipe-types/c/", &json!({"definition": c(2)})).await;
    let forced = json!({"all": false, "sub_recipes": {"B": {"all": false, "nodes": ["b_y"]}}});
    let again = json!({"previous_batch": {"root_batch_id": first, "forced_nodes": forced}});
    let checked =
        calls.post("/v6/batches/validation/", &json!({"recipe_type_id": a, "definition": again})).await;
    let diff = &checked["prev_batch"]["diff"];
    let told = |node: &str| {
        let node = &diff["nodes"][node];
        (node["status"].as_str().unwrap(), node["reprocess_new_node"].as_bool().unwrap())
    };
    assert_eq!(
        [told("x"), told("D"), told("B"), told("E")],
        [("UNCHANGED", false), ("UNCHANGED", false), ("CHANGED", true), ("CHANGED", true)],
        "{checked}"
    );
    assert_eq!(
        (&diff["can_be_reprocessed"], &diff["nodes"]["B"]["changes"][0]["name"]),
        (&json!(true), &json!("RECIPE_TYPE_REVISION_CHANGE"))
    );
    let second = calls.batch(a, again).await;
    calls.completed(second).await;
    setup.assert_exact().await.unwrap();
    let inside = async |recipe: &Value, node: &str| {
        calls.get(&format!("/v6/recipes/{}/", at(recipe, node)["recipe_id"])).await
    };
    for new in recipes(&calls, second).await {
        let old = calls.get(&format!("/v6/recipes/{}/", new["superseded_recipe"]["id"])).await;
        let job = |recipe: &Value, node: &str| at(recipe, node)["job_id"].as_i64().unwrap();
        let sub = |recipe: &Value, node: &str| at(recipe, node)["recipe_id"].as_i64().unwrap();
        assert_eq!((job(&new, "x"), sub(&new, "D")), (job(&old, "x"), sub(&old, "D")), "copied");
        assert!(sub(&new, "B") != sub(&old, "B") && sub(&new, "E") != sub(&old, "E"), "made anew");
        let (new_b, old_b) = (inside(&new, "B").await, inside(&old, "B").await);
        assert_eq!(new_b["superseded_recipe"]["id"], old_b["id"]);
        assert_eq!(job(&new_b, "b_x"), job(&old_b, "b_x"));
        assert!(job(&new_b, "b_y") != job(&old_b, "b_y") && job(&new_b, "b_z") != job(&old_b, "b_z"));
        let (new_c, old_c) = (inside(&new_b, "C").await, inside(&old_b, "C").await);
        assert_ne!(new_c["id"], old_c["id"]);
        assert_eq!(job(&new_c, "c_x"), job(&old_c, "c_x"));
        assert!(job(&new_c, "c_y") != job(&old_c, "c_y") && job(&new_c, "c_z") != job(&old_c, "c_z"));
        let (new_e, old_e) = (inside(&new, "E").await, inside(&old, "E").await);
        assert_ne!(job(&new_e, "e"), job(&old_e, "e"));
    }
    let counted = calls.get(&format!("/v6/batches/{second}/")).await;
    let own_jobs = calls.jobs(&format!("batch_id={second}")).await.len();
    assert_eq!((counters(&counted)[0], own_jobs), (18, 2 * 5), "b_y, b_z, c_y, c_z and e");
}
