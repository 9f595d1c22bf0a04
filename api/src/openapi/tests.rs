//! The document is true of the router, whole, and the one in the repository.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::auth::DEMANDS;

/// What to do about a document that does not fit.
const MEND: &str = "Describe the handler by #[utoipa::path(method, path, tag, operation_id, responses)], register it by \
    OpenApiRouter::routes(routes!(handler)), state what it demands in auth/demands.rs, and write the document anew: \
    cargo run -p millrace-api -- openapi > target/openapi.json && cp target/openapi.json api/openapi.json (a failing test \
    writes target/openapi.json as well).";

fn json() -> Value {
    serde_json::from_str(&text().unwrap()).unwrap()
}

/// Every operation: method, path, what the document says.
fn all(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter();
            operations.map(|(method, operation)| (method.to_uppercase(), path.clone(), operation))
        })
        .collect()
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let mut guarded = crate::guarded_routes();
    let mut described = BTreeSet::new();
    for (path, item) in &mut guarded.get_openapi_mut().paths.paths {
        for (method, _) in operations(item) {
            described.insert(format!("{method} {path}"));
        }
    }
    let stated: BTreeSet<String> =
        DEMANDS.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let missing: Vec<_> = stated.difference(&described).collect();
    assert!(missing.is_empty(), "in auth/demands.rs, but in no OpenAPI document: {missing:#?}\n{MEND}");
    let unguarded: Vec<_> = described.difference(&stated).collect();
    assert!(unguarded.is_empty(), "described, but not in auth/demands.rs: {unguarded:#?}\n{MEND}");
}

#[test]
fn the_document_in_the_repository_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let generated = text().unwrap();
    if kept != generated {
        let fresh = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/openapi.json");
        std::fs::write(fresh, &generated).unwrap();
    }
    let differs = kept.lines().zip(generated.lines()).position(|(kept, generated)| kept != generated);
    assert!(
        kept == generated,
        "api/openapi.json is not what the code generates; first at line {}.\n{MEND}",
        differs.map_or(kept.lines().count(), |line| line + 1)
    );
}

#[test]
fn every_operation_is_described_as_a_whole() {
    let document = json();
    let tags: Vec<&Value> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
    let mut ids = BTreeMap::new();
    for (method, path, operation) in all(&document) {
        let at = format!("{method} {path}");
        let id = operation["operationId"].as_str().expect(&at);
        if let Some(other) = ids.insert(id, at.clone()) {
            panic!("{at} and {other} are both named {id}");
        }
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{at}: no summary");
        let own: Vec<&Value> = operation["tags"].as_array().expect(&at).iter().collect();
        assert!(
            own.len() == 1 && tags.contains(&own[0]),
            "{at}: the tag {own:?} is not in openapi/complete.rs"
        );
        let given = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let given = given.iter().filter(|given| given["in"] == "path");
        let given: BTreeSet<&str> = given.map(|given| given["name"].as_str().unwrap()).collect();
        let wanted: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(
            given, wanted,
            "{at}: describe the variables of the path by params((\"name\" = String, Path, description = …))"
        );
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status.starts_with('2')), "{at}: no good answer");
        for (status, response) in responses {
            let reference = response["$ref"].as_str();
            assert!(
                reference.is_some() || !response["description"].as_str().unwrap_or_default().is_empty(),
                "{at}: say what {status} means"
            );
            let location = reference.map(|reference| reference.trim_start_matches('#'));
            let response = location.map_or(response, |location| document.pointer(location).expect(&at));
            assert!(response["headers"]["x-request-id"].is_object(), "{at}: {status} without x-request-id");
        }
    }
}

#[test]
fn references_lead_somewhere() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let found = reference.strip_prefix('#').and_then(|place| document.pointer(place));
                    assert!(found.is_some(), "{reference} leads nowhere");
                }
                fields.values().for_each(|value| walk(value, document));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, document)),
            _ => {}
        }
    }
    let document = json();
    assert_eq!(document["openapi"], "3.1.0");
    walk(&document, &document);
}
