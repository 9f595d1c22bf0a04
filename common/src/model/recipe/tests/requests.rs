//! Batch definitions, configurations and forced nodes.

use serde_json::{Value, json};

use crate::model::recipe::names::{BatchError, ForcedNodesError};
use crate::model::recipe::{
    BatchConfiguration, BatchDefinition, Finding, ForcedNodes, InputMapEntry, Place, PreviousBatchRef,
    priority,
};

fn definition(document: &Value) -> Result<BatchDefinition, Vec<Finding<BatchError>>> {
    BatchDefinition::parse(document, Place::root("definition"))
}

fn configuration(document: &Value) -> Result<BatchConfiguration, Vec<Finding<BatchError>>> {
    BatchConfiguration::parse(document, Place::root("configuration"))
}

fn forced(all: bool, nodes: &[&str]) -> ForcedNodes {
    ForcedNodes {
        all,
        nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
        ..ForcedNodes::default()
    }
}

#[test]
fn a_definition_is_read() {
    let read = definition(&json!({"version": "6", "dataset": 4, "supersedes": false,
        "forced_nodes": {"version": "7", "all": false, "nodes": ["a"], "sub_recipes": {"s": {"all": true, "nodes": ["x"]}}},
        "previous_batch": {"root_batch_id": 12, "forced_nodes": {"all": true}}}))
    .unwrap();
    assert_eq!(read.dataset, Some(4));
    let previous = PreviousBatchRef { root_batch_id: 12, forced_nodes: Some(ForcedNodes::everything()) };
    assert_eq!(read.previous_batch, Some(previous));
    assert_eq!(read.forced(), Some(&ForcedNodes::everything()), "those of the previous batch go first");
    let top = read.forced_nodes.unwrap();
    assert_eq!(top.inside("s"), ForcedNodes::everything(), "names do not count beside `all`");
    assert_eq!(top.named().collect::<Vec<_>>(), ["a", "s"]);
    assert!(top.names("s") && top.names("a") && !top.names("b"));

    let read = definition(&json!({"forced_nodes": {"all": false, "nodes": ["a", "a"]},
                                  "previous_batch": {"root_batch_id": 12}}))
    .unwrap();
    assert_eq!(read.forced(), Some(&forced(false, &["a"])));
    assert_eq!(definition(&json!({})).unwrap(), BatchDefinition::default());
    assert_eq!(
        definition(&json!({"dataset": null, "forced_nodes": null})).unwrap(),
        BatchDefinition::default()
    );
}

#[test]
fn the_document_says_before_the_request_whether_it_supersedes() {
    let own = |supersedes: Option<bool>| BatchDefinition {
        own_supersedes: supersedes,
        ..BatchDefinition::default()
    };
    for (document, request, supersedes) in [
        (None, None, true),
        (None, Some(false), false),
        (Some(true), Some(false), true),
        (Some(false), Some(true), false),
        (Some(false), None, false),
    ] {
        assert_eq!(own(document).supersedes(request), supersedes, "{document:?} {request:?}");
    }
}

#[test]
fn a_bad_definition_is_refused_with_the_place() {
    let cases = [
        (json!([]), "definition"),
        (json!({"data_set": 1}), "definition.data_set"),
        (json!({"version": "5"}), "definition.version"),
        (json!({"dataset": true}), "definition.dataset"),
        (json!({"dataset": 1.0}), "definition.dataset"),
        (json!({"dataset": "1"}), "definition.dataset"),
        (json!({"supersedes": 1}), "definition.supersedes"),
        (json!({"previous_batch": 1}), "definition.previous_batch"),
        (json!({"previous_batch": {}}), "definition.previous_batch.root_batch_id"),
        (json!({"previous_batch": {"root_batch_id": "1"}}), "definition.previous_batch.root_batch_id"),
        (json!({"previous_batch": {"root_batch_id": 1, "id": 1}}), "definition.previous_batch.id"),
        (
            json!({"previous_batch": {"root_batch_id": 1, "version": "6"}}),
            "definition.previous_batch.version",
        ),
        (json!({"forced_nodes": {}}), "definition.forced_nodes.all"),
        (json!({"forced_nodes": {"all": "no"}}), "definition.forced_nodes.all"),
        (json!({"forced_nodes": {"all": false, "nodes": [1]}}), "definition.forced_nodes.nodes[0]"),
        (json!({"forced_nodes": {"all": false, "jobs": []}}), "definition.forced_nodes.jobs"),
        (
            json!({"previous_batch": {"root_batch_id": 1,
                   "forced_nodes": {"all": false, "sub_recipes": {"s": {"nodes": []}}}}}),
            "definition.previous_batch.forced_nodes.sub_recipes.s.all",
        ),
    ];
    for (document, place) in cases {
        let errors = definition(&document).unwrap_err();
        let told: Vec<_> = errors.iter().map(|error| (error.name, error.place.as_str())).collect();
        assert_eq!(told, [(BatchError::InvalidBatchDefinition, place)], "{document}");
    }
    let errors = definition(&json!({"dataset": "1", "forced_nodes": {"all": 1}, "more": 1})).unwrap_err();
    assert_eq!(errors.len(), 3, "everything that is wrong is told");
}

#[test]
fn a_configuration_is_read() {
    let read = configuration(&json!({"priority": 5, "inputMap": [
        {"input": "a", "datasetParameter": "x", "comment": "tolerated"}]}))
    .unwrap();
    assert_eq!(read.priority, Some(5));
    let entry = InputMapEntry { input: "a".to_owned(), parameter: "x".to_owned() };
    assert_eq!(read.input_map.entries, [entry]);
    let unset = configuration(&json!({"priority": null, "version": "6"})).unwrap();
    assert_eq!(unset, BatchConfiguration::default());
}

#[test]
fn a_bad_configuration_is_refused_with_the_place() {
    let cases = [
        (json!(5), "configuration"),
        (json!({"weight": 1}), "configuration.weight"),
        (json!({"priority": ""}), "configuration.priority"),
        (json!({"priority": 1.5}), "configuration.priority"),
        (json!({"inputMap": {}}), "configuration.inputMap"),
        (json!({"inputMap": []}), "configuration.inputMap"),
        (json!({"inputMap": ["a"]}), "configuration.inputMap[0]"),
        (json!({"inputMap": [{"input": "a"}]}), "configuration.inputMap[0].datasetParameter"),
        (json!({"inputMap": [{"datasetParameter": "a"}]}), "configuration.inputMap[0].input"),
        (json!({"inputMap": [{"datasetParameter": "a", "input": 1}]}), "configuration.inputMap[0].input"),
    ];
    for (document, place) in cases {
        let errors = configuration(&document).unwrap_err();
        let told: Vec<_> = errors.iter().map(|error| (error.name, error.place.as_str())).collect();
        assert_eq!(told, [(BatchError::InvalidBatchConfiguration, place)], "{document}");
    }
}

#[test]
fn forced_nodes_of_one_recipe_have_their_own_name() {
    let errors = ForcedNodes::parse(&json!({"nodes": []}), Place::root("forced_nodes")).unwrap_err();
    assert_eq!(
        (errors[0].name, errors[0].place.as_str()),
        (ForcedNodesError::InvalidForcedNodes, "forced_nodes.all")
    );
    assert_eq!(
        ForcedNodes::parse(&json!({"all": true, "sub_recipes": {}}), Place::root("")),
        Ok(forced(true, &[]))
    );
    assert!(forced(false, &[]).is_empty() && !forced(true, &[]).is_empty());
}

#[test]
fn priorities_are_resolved_in_their_order() {
    assert_eq!(priority(Some(1), Some(2), Some(3), Some(4)), 1);
    assert_eq!(priority(None, Some(2), Some(3), Some(4)), 2);
    assert_eq!(priority(None, Some(0), Some(3), Some(4)), 3, "0 of a batch counts as none");
    assert_eq!(priority(None, None, None, Some(4)), 4);
    assert_eq!(priority(None, None, None, None), 100);
    assert_eq!(priority(Some(0), Some(2), None, None), 0);
}
