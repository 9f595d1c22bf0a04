//! Documents as they are given back: as submitted, without `version` at any level (contract 1.6), which belongs to the
//! documents' own levels only. A node, an input or a value may well be called `version`.

use serde_json::Value;

/// A batch's definition. `supersedes` is added when it is false and only the request beside the document said so
/// (contract 3.1).
pub fn batch_definition(document: &Value, supersedes_of_request: Option<bool>) -> Value {
    let mut echo = without_version(document);
    each(&mut echo, "forced_nodes", forced_nodes);
    each(&mut echo, "previous_batch", |previous| each(previous, "forced_nodes", forced_nodes));
    if let (Some(map), Some(false)) = (echo.as_object_mut(), supersedes_of_request)
        && map.get("supersedes").is_none_or(Value::is_null)
    {
        map.insert("supersedes".to_owned(), Value::Bool(false));
    }
    echo
}

/// A document of one level: a configuration, or data.
pub fn flat(document: &Value) -> Value {
    without_version(document)
}

/// A dataset's definition.
pub fn dataset_definition(document: &Value) -> Value {
    let mut echo = without_version(document);
    for key in ["parameters", "global_parameters", "global_data"] {
        each(&mut echo, key, strip);
    }
    echo
}

/// A recipe definition, with the acceptance of every dependency filled in (contract 5.2).
pub fn recipe_definition(document: &Value) -> Value {
    let mut echo = without_version(document);
    each(&mut echo, "input", strip);
    let nodes = echo.get_mut("nodes").and_then(Value::as_object_mut);
    for node in nodes.into_iter().flat_map(|nodes| nodes.values_mut()) {
        strip(node);
        let dependencies = node.get_mut("dependencies").and_then(Value::as_array_mut);
        for dependency in dependencies.into_iter().flatten() {
            strip(dependency);
            if let Some(map) = dependency.as_object_mut()
                && map.get("acceptance").is_none_or(Value::is_null)
            {
                map.insert("acceptance".to_owned(), Value::Bool(true));
            }
        }
        let connections = node.get_mut("input").and_then(Value::as_object_mut);
        connections.into_iter().flat_map(|connections| connections.values_mut()).for_each(strip);
        each(node, "node_type", |node_type| {
            strip(node_type);
            each(node_type, "interface", strip);
            each(node_type, "data_filter", strip);
        });
    }
    echo
}

fn without_version(document: &Value) -> Value {
    let mut echo = document.clone();
    strip(&mut echo);
    echo
}

fn strip(document: &mut Value) {
    if let Some(map) = document.as_object_mut() {
        map.remove("version");
    }
}

fn each(document: &mut Value, key: &str, then: impl FnOnce(&mut Value)) {
    if let Some(value) = document.get_mut(key) {
        then(value);
    }
}

fn forced_nodes(document: &mut Value) {
    strip(document);
    let inner = document.get_mut("sub_recipes").and_then(Value::as_object_mut);
    inner.into_iter().flat_map(|inner| inner.values_mut()).for_each(forced_nodes);
}
