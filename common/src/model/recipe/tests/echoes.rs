//! Documents as they are given back.

use serde_json::json;

use crate::model::recipe::echo;

#[test]
fn a_batch_definition_comes_back_as_submitted_without_versions() {
    let document = json!({"version": "6", "dataset": 1,
        "forced_nodes": {"version": "6", "all": false, "nodes": ["b", "a"], "sub_recipes": {"version": {"version": "7", "all": true}}},
        "previous_batch": {"root_batch_id": 1, "forced_nodes": {"version": "6", "all": true}}});
    let expected = json!({"dataset": 1,
        "forced_nodes": {"all": false, "nodes": ["b", "a"], "sub_recipes": {"version": {"all": true}}},
        "previous_batch": {"root_batch_id": 1, "forced_nodes": {"all": true}}});
    assert_eq!(echo::batch_definition(&document, None), expected);
    assert_eq!(echo::batch_definition(&document, Some(true)), expected);
    let mut said = expected;
    said["supersedes"] = json!(false);
    assert_eq!(echo::batch_definition(&document, Some(false)), said);
    let own = json!({"supersedes": true});
    assert_eq!(echo::batch_definition(&own, Some(false)), own, "the document says before the request");
}

#[test]
fn values_that_are_called_version_stay() {
    let document = json!({"version": "7", "parameters": {"version": "6", "json": [{"name": "version", "type": "string"}]},
                          "global_data": {"version": "6", "json": {"version": "3"}}});
    let expected = json!({"parameters": {"json": [{"name": "version", "type": "string"}]},
                          "global_data": {"json": {"version": "3"}}});
    assert_eq!(echo::dataset_definition(&document), expected);
    assert_eq!(echo::flat(&json!({"version": "6", "json": {"version": 1}})), json!({"json": {"version": 1}}));
}

#[test]
fn a_recipe_definition_has_its_acceptances_filled_in() {
    let document = json!({"version": "6", "input": {"version": "6", "json": []}, "nodes": {"version": {
        "dependencies": [{"name": "a"}, {"name": "b", "acceptance": false}, {"name": "c", "acceptance": null}],
        "input": {"version": {"type": "recipe", "input": "version"}},
        "node_type": {"node_type": "condition", "interface": {"version": "6"}, "data_filter": {"version": "6", "all": true}}}}});
    let expected = json!({"input": {"json": []}, "nodes": {"version": {
        "dependencies": [{"name": "a", "acceptance": true}, {"name": "b", "acceptance": false}, {"name": "c", "acceptance": true}],
        "input": {"version": {"type": "recipe", "input": "version"}},
        "node_type": {"node_type": "condition", "interface": {}, "data_filter": {"all": true}}}}});
    assert_eq!(echo::recipe_definition(&document), expected);
    assert_eq!(echo::recipe_definition(&expected), expected);
}
