//! Every name of an error and a warning (scale-v6 2.3, 2.7), by creation and by validation.

use serde_json::{Value, json};

use super::world::{
    CHAIN, DEPRECATED, EMPTY, FILES, IMAGES, NUMBERS, OTHERS, OUTER, TEXTS, chain, create, created_recipes,
    number, revise_chain, start,
};
use crate::server::Server;

/// Rows that a creation makes.
async fn rows(server: &Server) -> i64 {
    let query = "SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM recipe_batches)
        + (SELECT count(*) FROM recipe_batch_counters) + (SELECT count(*) FROM recipe_batch_nodes) + (SELECT count(*) FROM workloads)
        + (SELECT count(*) FROM recipe_batches WHERE is_superseded)";
    number(server, query).await
}

/// Asks for a batch, which is refused by this name at this place, and for its validation, which says the same.
async fn refused(server: &Server, body: &Value, name: &str, place: &str) -> Value {
    let before = rows(server).await;
    let answer = server.post("/v6/batches/", body).await;
    let said = answer.json();
    assert_eq!((answer.status, said["name"].as_str()), (400, Some(name)), "{body} {said}");
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.starts_with(&format!("{place}: ")), "{body} {detail}");

    let found = server.post("/v6/batches/validation/", body).await.ok();
    assert_eq!(found["is_valid"], false, "{body} {found}");
    assert_eq!(found["errors"][0]["name"], name, "{body} {found}");
    let description = found["errors"][0]["description"].as_str().unwrap();
    assert!(detail.starts_with(description), "{detail} {description}");
    assert_eq!(rows(server).await, before, "{body} changed something");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_are_missing_or_wrong_are_400_and_change_nothing() {
    let Some(server) = start().await else { return };
    let before = rows(&server).await;
    let valid = json!({"recipe_type_id": CHAIN, "definition": {"dataset": NUMBERS}});
    for (changes, detail) in [
        (json!({"recipe_type_id": null}), "Missing required parameter: \"recipe_type_id\""),
        (json!({"definition": null}), "Missing required parameter: \"definition\""),
        (json!({"recipe_type_id": "x"}), "recipe_type_id"),
        (json!({"recipe_type_id": 1.5}), "recipe_type_id"),
        (json!({"recipe_type_id": [1]}), "recipe_type_id"),
        (json!({"recipe_type_id": {}}), "recipe_type_id"),
        (json!({"recipe_type_id": 999}), "recipe_type_id"),
        (json!({"definition": []}), "definition"),
        (json!({"definition": "x"}), "definition"),
    ] {
        let mut body = valid.clone();
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        for path in ["/v6/batches/", "/v6/batches/validation/"] {
            let answer = server.post(path, &body).await;
            let said = answer.json();
            assert_eq!(answer.status, 400, "{path} {body} {said}");
            assert!(said["detail"].as_str().unwrap().starts_with(detail), "{path} {body} {said}");
        }
    }
    // Beside the documents: refused by a creation, so not valid.
    for (field, value) in [
        ("title", json!(7)),
        ("title", json!("x".repeat(256))),
        ("description", json!([])),
        ("supersedes", json!("maybe")),
    ] {
        let mut body = valid.clone();
        body[field] = value;
        let answer = server.post("/v6/batches/", &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["detail"].as_str().unwrap().starts_with(field), "{body}");
        let found = server.post("/v6/batches/validation/", &body).await.ok();
        assert_eq!((&found["is_valid"], &found["recipe_type"]), (&json!(false), &Value::Null), "{body}");
    }
    assert_eq!(rows(&server).await, before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_that_violate_their_schema_are_refused_at_the_place() {
    let Some(server) = start().await else { return };
    let invalid = "INVALID_BATCH_DEFINITION";
    for (definition, place) in [
        (json!({"datasets": 1}), "definition.datasets"),
        (json!({"dataset": true}), "definition.dataset"),
        (json!({"dataset": 1.0}), "definition.dataset"),
        (json!({"dataset": "1"}), "definition.dataset"),
        (json!({"version": "5", "dataset": 1}), "definition.version"),
        (json!({"dataset": 1, "supersedes": "yes"}), "definition.supersedes"),
        (json!({"previous_batch": {}}), "definition.previous_batch.root_batch_id"),
        (json!({"previous_batch": {"root_batch_id": "1"}}), "definition.previous_batch.root_batch_id"),
        (json!({"previous_batch": {"root_batch_id": 1, "x": 1}}), "definition.previous_batch.x"),
        (json!({"dataset": 1, "forced_nodes": {}}), "definition.forced_nodes.all"),
        (json!({"dataset": 1, "forced_nodes": {"all": true, "x": 1}}), "definition.forced_nodes.x"),
        (
            json!({"dataset": 1, "forced_nodes": {"all": false, "nodes": "a"}}),
            "definition.forced_nodes.nodes",
        ),
    ] {
        let body = json!({"recipe_type_id": CHAIN, "definition": definition});
        let found = refused(&server, &body, invalid, place).await;
        assert_eq!((&found["recipes_estimated"], &found["recipe_type"]), (&Value::Null, &Value::Null));
    }
    for (configuration, place) in [
        (json!([]), "configuration"),
        (json!("x"), "configuration"),
        (json!({"x": 1}), "configuration.x"),
        (json!({"priority": "5"}), "configuration.priority"),
        (json!({"priority": ""}), "configuration.priority"),
        (json!({"priority": 1.5}), "configuration.priority"),
        (json!({"inputMap": []}), "configuration.inputMap"),
        (json!({"inputMap": [{"input": "x"}]}), "configuration.inputMap[0].datasetParameter"),
        (json!({"inputMap": [{"datasetParameter": "x"}]}), "configuration.inputMap[0].input"),
    ] {
        let body = json!({"recipe_type_id": CHAIN, "definition": {"dataset": NUMBERS}, "configuration": configuration});
        refused(&server, &body, "INVALID_BATCH_CONFIGURATION", place).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datasets_that_do_not_fit_are_refused_by_name() {
    let Some(server) = start().await else { return };
    let map = |input: &str, parameter: &str| json!({"input": input, "datasetParameter": parameter});
    for (recipe_type, definition, map, name, place) in [
        (DEPRECATED, json!({"dataset": NUMBERS}), json!(null), "INACTIVE_RECIPE_TYPE", "recipe_type_id"),
        (CHAIN, json!({}), json!(null), "NO_RECIPES", "definition"),
        (CHAIN, json!({"supersedes": false}), json!(null), "NO_RECIPES", "definition"),
        (CHAIN, json!({"dataset": 999}), json!(null), "DATASET_NOT_FOUND", "definition.dataset"),
        (CHAIN, json!({"dataset": EMPTY}), json!(null), "NO_RECIPES", "definition"),
        (CHAIN, json!({"dataset": TEXTS}), json!(null), "MISMATCHED_PARAMS", "definition.dataset"),
        (CHAIN, json!({"dataset": OTHERS}), json!(null), "MISMATCHED_PARAMS", "definition.dataset"),
        (
            CHAIN,
            json!({"dataset": OTHERS}),
            json!([map("x", "w")]),
            "INVALID_INPUT_MAP",
            "configuration.inputMap[0].datasetParameter",
        ),
        (
            CHAIN,
            json!({"dataset": OTHERS}),
            json!([map("y", "v")]),
            "INVALID_INPUT_MAP",
            "configuration.inputMap[0].input",
        ),
        (
            CHAIN,
            json!({"dataset": OTHERS}),
            json!([map("x", "v"), map("x", "g")]),
            "INVALID_INPUT_MAP",
            "configuration.inputMap[1].input",
        ),
    ] {
        let configuration = if map.is_null() { json!({}) } else { json!({"inputMap": map}) };
        let body =
            json!({"recipe_type_id": recipe_type, "definition": definition, "configuration": configuration});
        let found = refused(&server, &body, name, place).await;
        assert_eq!(
            (&found["recipes_estimated"], &found["recipe_type"]["id"]),
            (&json!(0), &json!(recipe_type))
        );
    }
    // Of another tenant there is nothing.
    server
        .sql("UPDATE datasets SET tenant_id = (SELECT id FROM tenants WHERE name = 'other') WHERE id = 1")
        .await;
    let body = json!({"recipe_type_id": CHAIN, "definition": {"dataset": NUMBERS}});
    refused(&server, &body, "DATASET_NOT_FOUND", "definition.dataset").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn previous_batches_that_cannot_be_followed_are_refused_by_name() {
    let Some(server) = start().await else { return };
    let first = create(&server, &json!({"recipe_type_id": CHAIN, "definition": {"dataset": NUMBERS}})).await;
    let follow = |recipe_type: i64, root: i64| json!({"recipe_type_id": recipe_type, "definition": {"previous_batch": {"root_batch_id": root}}});
    let (place, root) = ("definition.previous_batch", "definition.previous_batch.root_batch_id");
    let found = refused(&server, &follow(CHAIN, 999), "PREV_BATCH_NOT_FOUND", root).await;
    assert!(found.get("prev_batch").is_none(), "{found}");
    let found = refused(&server, &follow(CHAIN, first), "PREV_BATCH_STILL_CREATING", root).await;
    assert_eq!(
        found["prev_batch"],
        json!({"recipe_type_rev": {"id": 11, "recipe_type": {"id": 1}, "revision_num": 1}})
    );
    let found = refused(&server, &follow(OUTER, first), "MISMATCHED_RECIPE_TYPE", root).await;
    assert!(found["prev_batch"].get("diff").is_none(), "{found}");

    created_recipes(&server, first, 0).await;
    let found = refused(&server, &follow(CHAIN, first), "NO_RECIPES", "definition").await;
    assert_eq!(found["prev_batch"]["diff"]["can_be_reprocessed"], true, "{found}");

    created_recipes(&server, first, 3).await;
    revise_chain(
        &server,
        2,
        &chain(&json!([{"name": "x", "type": "number"}, {"name": "k", "type": "number"}])),
    )
    .await;
    let found = refused(&server, &follow(CHAIN, first), "PREV_BATCH_NO_REPROCESS", place).await;
    assert_eq!(found["prev_batch"]["diff"]["reasons"][0]["name"], "INPUT_CHANGE", "{found}");
    assert_eq!(found["prev_batch"]["recipe_type_rev"]["revision_num"], 1);

    revise_chain(&server, 3, &chain(&json!([{"name": "x", "type": "number"}]))).await;
    let second = create(&server, &follow(CHAIN, first)).await;
    created_recipes(&server, second, 3).await;
    // A later batch of a chain is no root.
    refused(&server, &follow(CHAIN, second), "PREV_BATCH_NOT_FOUND", root).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_do_not_make_a_batch_invalid() {
    let Some(server) = start().await else { return };
    let first = create(&server, &json!({"recipe_type_id": OUTER, "definition": {"dataset": NUMBERS}})).await;
    created_recipes(&server, first, 6).await;
    let previous = |forced: Value| {
        let mut definition = json!({"previous_batch": {"root_batch_id": first}});
        if !forced.is_null() {
            definition["forced_nodes"] = forced;
        }
        json!({"recipe_type_id": OUTER, "definition": definition})
    };
    for (body, name, place) in [
        (
            json!({"recipe_type_id": IMAGES, "definition": {"dataset": FILES}}),
            "MISMATCHED_MEDIA_TYPES",
            "definition.dataset",
        ),
        (
            json!({"recipe_type_id": CHAIN, "definition": {"dataset": NUMBERS, "forced_nodes": {"all": false, "nodes": ["z"]}}}),
            "UNKNOWN_FORCED_NODE",
            "definition.forced_nodes",
        ),
        (
            previous(json!({"all": false, "nodes": ["inner"]})),
            "FORCED_SUB_RECIPE_EMPTY",
            "definition.forced_nodes",
        ),
        (previous(Value::Null), "NOTHING_TO_REPROCESS", "definition.previous_batch"),
    ] {
        let before = rows(&server).await;
        let found = server.post("/v6/batches/validation/", &body).await.ok();
        assert_eq!((&found["is_valid"], &found["errors"]), (&json!(true), &json!([])), "{body} {found}");
        assert_eq!(found["warnings"][0]["name"], name, "{body} {found}");
        let description = found["warnings"][0]["description"].as_str().unwrap();
        assert!(description.starts_with(&format!("{place}: ")), "{body} {found}");
        assert!(found["recipes_estimated"].as_i64().unwrap() > 0, "{body} {found}");
        assert_eq!(rows(&server).await, before, "a validation changes nothing");
    }
    server.stop().await;
}
