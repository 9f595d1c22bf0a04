//! Datasets, members, and what recipes get from them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model::recipe::names::{DataError, DatasetError};
use crate::model::recipe::{
    Data, DataValue, DatasetDefinition, Finding, InputMap, InputMapEntry, Interface, JsonType, MAX_FINDINGS,
    Mismatch, MismatchKind, Parameter, ParameterKind, Place, Widening,
};

fn dataset(document: &Value) -> Result<DatasetDefinition, Vec<Finding<DatasetError>>> {
    DatasetDefinition::parse(document, Place::root("definition"))
}

fn data(document: &Value) -> Data {
    Data::parse(document, Place::root("data")).unwrap()
}

fn map(entries: &[(&str, &str)]) -> InputMap {
    let entry = |(input, parameter): &(&str, &str)| InputMapEntry {
        input: (*input).to_owned(),
        parameter: (*parameter).to_owned(),
    };
    InputMap { entries: entries.iter().map(entry).collect() }
}

/// A number `x`, perhaps text `note`, one `scan`, perhaps several `pages`; globally a number `rate`.
fn scans() -> Value {
    json!({"parameters": {"json": [{"name": "x", "type": "number"}, {"name": "note", "type": "string", "required": false}],
                          "files": [{"name": "scan"}, {"name": "pages", "multiple": true, "required": false}]},
           "global_parameters": {"json": [{"name": "rate", "type": "number"}]},
           "global_data": {"json": {"rate": 2, "unknown": 1}}})
}

#[test]
fn a_dataset_is_read_and_gives_members() {
    let dataset = dataset(&scans()).unwrap();
    assert_eq!(dataset.global_data, data(&json!({"json": {"rate": 2}})), "what is not declared is dropped");
    let members = dataset
        .members(
            &json!([{"json": {"x": 1, "y": 2}, "files": {"scan": [7]}, "version": "6"},
                    {"json": {"x": 1.5, "note": "n"}, "files": {"scan": [7], "pages": [8, 9]}}]),
            Place::root("data"),
        )
        .unwrap();
    assert_eq!(members[0], data(&json!({"json": {"x": 1}, "files": {"scan": [7]}})));
    assert_eq!(members[1].get("pages"), Some(DataValue::Files(&[8, 9])));
    let single =
        dataset.members(&json!({"json": {"x": 1}, "files": {"scan": [7]}}), Place::root("data")).unwrap();
    assert_eq!(single, members[..1]);
    assert!(
        dataset.has_parameter("rate") && dataset.has_parameter("scan") && !dataset.has_parameter("unknown")
    );
}

#[test]
fn every_error_of_a_definition_is_told_with_its_place() {
    use DatasetError as E;
    let number = |name: &str| json!({"json": [{"name": name, "type": "number"}]});
    let cases = [
        (json!({"version": "4"}), vec![(E::InvalidVersion, "definition.version")]),
        (json!({"parameters": {"version": 6}}), vec![(E::InvalidVersion, "definition.parameters.version")]),
        (json!(1), vec![(E::InvalidDatasetDefinition, "definition")]),
        (json!({"members": []}), vec![(E::InvalidDatasetDefinition, "definition.members")]),
        (json!({"parameters": []}), vec![(E::InvalidDatasetDefinition, "definition.parameters")]),
        (
            json!({"parameters": {"json": [{"name": "a b", "type": "number"}, {"name": "c", "type": "any"}]}}),
            vec![
                (E::InvalidDatasetDefinition, "definition.parameters.json[0].name"),
                (E::InvalidDatasetDefinition, "definition.parameters.json[1].type"),
            ],
        ),
        (
            json!({"parameters": {"files": [{"name": "a"}], "json": [{"name": "a", "type": "number"}]}}),
            vec![(E::DuplicateParameter, "definition.parameters.json[0].name")],
        ),
        (
            json!({"parameters": number("a"), "global_parameters": number("a"), "global_data": {"json": {"a": 1}}}),
            vec![(E::NameCollision, "definition.global_parameters")],
        ),
        (json!({"global_parameters": number("a")}), vec![(E::MissingGlobalData, "definition.global_data")]),
        (
            json!({"global_parameters": number("a"), "global_data": {"json": {"a": "1"}}}),
            vec![(E::InvalidGlobalData, "definition.global_data.a")],
        ),
        (
            json!({"global_parameters": number("a"), "global_data": []}),
            vec![(E::InvalidGlobalData, "definition.global_data")],
        ),
    ];
    let mut told = BTreeSet::new();
    for (document, expected) in cases {
        let errors = dataset(&document).unwrap_err();
        let found: Vec<_> = errors.iter().map(|error| (error.name, error.place.as_str())).collect();
        assert_eq!(found, expected, "{document}");
        told.extend(expected.iter().map(|(name, _)| *name));
    }
    assert_eq!(told, E::all().into_iter().collect());

    let errors = dataset(&json!({"global_parameters": number("a"), "global_data": {}})).unwrap_err();
    assert_eq!(errors[0].text, "is required (PARAM_REQUIRED)", "the error of the data is named");
    let optional = json!({"json": [{"name": "a", "type": "number", "required": false}]});
    assert!(dataset(&json!({"global_parameters": optional})).is_ok());
}

#[test]
fn every_error_of_a_member_is_told_with_its_place() {
    use DataError as E;
    let dataset = dataset(&scans()).unwrap();
    let good = json!({"json": {"x": 1}, "files": {"scan": [1]}});
    let with = |change: &dyn Fn(&mut Value)| {
        let mut member = good.clone();
        change(&mut member);
        member
    };
    let cases = [
        (json!("x"), E::InvalidData, "data[1]"),
        (json!({"values": {}}), E::InvalidData, "data[1].values"),
        (with(&|member| member["files"]["scan"] = json!(1)), E::InvalidData, "data[1].files.scan"),
        (with(&|member| member["files"]["scan"] = json!(["1"])), E::InvalidData, "data[1].files.scan"),
        (with(&|member| member["json"]["scan"] = json!(1)), E::InvalidData, "data[1].json.scan"),
        (with(&|member| member["json"] = json!({})), E::ParamRequired, "data[1].x"),
        (with(&|member| member["json"] = json!(null)), E::ParamRequired, "data[1].x"),
        (with(&|member| member["json"]["pages"] = json!(1)), E::MismatchedParamType, "data[1].pages"),
        (with(&|member| member["files"]["note"] = json!([1])), E::MismatchedParamType, "data[1].note"),
        (with(&|member| member["json"]["x"] = json!(true)), E::InvalidJsonType, "data[1].x"),
        (with(&|member| member["json"]["note"] = json!(null)), E::InvalidJsonType, "data[1].note"),
        (with(&|member| member["files"]["scan"] = json!([])), E::NoFiles, "data[1].files.scan"),
        (with(&|member| member["files"]["scan"] = json!([1, 2])), E::MultipleFiles, "data[1].scan"),
    ];
    let mut told = BTreeSet::new();
    for (member, name, place) in cases {
        let errors = dataset.members(&json!([good, member]), Place::root("data")).unwrap_err();
        let found: Vec<_> = errors.iter().map(|error| (error.name, error.place.as_str())).collect();
        assert_eq!(found, [(name, place)], "{member}");
        told.insert(name);
    }
    assert_eq!(told, E::all().into_iter().collect());

    let many = vec![json!({}); MAX_FINDINGS];
    assert_eq!(dataset.members(&Value::from(many), Place::root("data")).unwrap_err().len(), MAX_FINDINGS);
    let empty =
        Data { files: [("scan".to_owned(), vec![])].into(), json: [("x".to_owned(), json!(1))].into() };
    assert_eq!(empty.check(&dataset.parameters, Place::root(""))[0].name, E::NoFiles);
}

#[test]
fn types_hold_their_values() {
    let values = [
        (json!([]), vec![JsonType::Array]),
        (json!(true), vec![JsonType::Boolean]),
        (json!(1), vec![JsonType::Integer, JsonType::Number]),
        (json!(u64::MAX), vec![JsonType::Integer, JsonType::Number]),
        (json!(1.0), vec![JsonType::Number]),
        (json!({}), vec![JsonType::Object]),
        (json!("1"), vec![JsonType::String]),
        (json!(null), vec![]),
    ];
    for (value, types) in values {
        let held: Vec<JsonType> =
            JsonType::ALL.into_iter().filter(|json_type| json_type.holds(&value)).collect();
        assert_eq!(held, types, "{value}");
    }
}

#[test]
fn a_member_over_global_data_becomes_a_recipe_input() {
    let number = |required| Parameter::json(JsonType::Number, required);
    let inputs = Interface::of([
        ("a".to_owned(), number(true)),
        ("rate".to_owned(), number(true)),
        ("b".to_owned(), number(false)),
        ("z".to_owned(), number(false)),
    ]);
    let member = data(&json!({"json": {"x": 1, "rate": 5, "b": 3, "c": 4, "z": 9}}));
    let global = data(&json!({"json": {"rate": 2, "y": 7}}));
    let input = map(&[("a", "x"), ("z", "y")]).sources(&inputs).recipe_input(&member, &global);
    assert_eq!(input, data(&json!({"json": {"a": 1, "rate": 5, "b": 3, "z": 7}})));
    let unmapped = InputMap::default().sources(&inputs).recipe_input(&member, &global);
    assert_eq!(unmapped, data(&json!({"json": {"rate": 5, "b": 3, "z": 9}})));
    assert_eq!(unmapped.check(&inputs, Place::root("input"))[0].name, DataError::ParamRequired);
    // A parameter that is mapped away does not keep its own name, and a mapped input takes nothing else.
    let moved = map(&[("a", "b")]).sources(&inputs).recipe_input(&member, &Data::default());
    assert_eq!(moved, data(&json!({"json": {"a": 3, "rate": 5, "z": 9}})));
    let absent = map(&[("b", "missing")]).sources(&inputs).recipe_input(&member, &Data::default());
    assert_eq!(absent, data(&json!({"json": {"rate": 5, "z": 9}})));
    let files = data(&json!({"files": {"scan": [1]}, "json": {"a": 1}}));
    let file =
        Parameter { required: true, kind: ParameterKind::File { media_types: vec![], multiple: false } };
    let inputs = Interface::of([("a".to_owned(), file)]);
    let one = map(&[("a", "scan")]).sources(&inputs).recipe_input(&files, &Data::default());
    assert_eq!(one, data(&json!({"files": {"a": [1]}})));
}

#[test]
fn interfaces_feed_each_other() {
    let json = |json_type, required| Parameter::json(json_type, required);
    let file = |media_types: &[&str], multiple| Parameter {
        required: true,
        kind: ParameterKind::File {
            media_types: media_types.iter().map(|text| (*text).to_owned()).collect(),
            multiple,
        },
    };
    let number = || json(JsonType::Number, true);
    let different = || MismatchKind::JsonType { takes: JsonType::Number, given: JsonType::Integer };
    let cases = [
        (number(), Some(number()), Widening::Exact, vec![]),
        (number(), Some(json(JsonType::Integer, true)), Widening::IntegerToNumber, vec![]),
        (number(), Some(json(JsonType::Integer, true)), Widening::Exact, vec![different()]),
        (
            json(JsonType::Integer, true),
            Some(number()),
            Widening::IntegerToNumber,
            vec![MismatchKind::JsonType { takes: JsonType::Integer, given: JsonType::Number }],
        ),
        (number(), None, Widening::Exact, vec![MismatchKind::Missing]),
        (json(JsonType::Number, false), None, Widening::Exact, vec![]),
        (
            number(),
            Some(json(JsonType::Number, false)),
            Widening::Exact,
            vec![MismatchKind::OptionalToRequired],
        ),
        (json(JsonType::Number, false), Some(json(JsonType::Number, false)), Widening::Exact, vec![]),
        (number(), Some(file(&[], false)), Widening::Exact, vec![MismatchKind::FileToJson]),
        (file(&[], false), Some(number()), Widening::Exact, vec![MismatchKind::JsonToFile]),
        (file(&[], false), Some(file(&[], true)), Widening::Exact, vec![MismatchKind::MultipleToSingle]),
        (file(&[], true), Some(file(&["image/png"], false)), Widening::Exact, vec![]),
        (
            file(&["image/png"], true),
            Some(file(&["image/png", "image/gif"], true)),
            Widening::Exact,
            vec![MismatchKind::MediaTypes(vec!["image/gif".to_owned()])],
        ),
    ];
    for (takes, given, widening, expected) in cases {
        let target = Interface::of([("x".to_owned(), takes)]);
        let source = Interface::of(
            given.map(|given| ("x".to_owned(), given)).into_iter().chain([("y".to_owned(), number())]),
        );
        let expected: Vec<Mismatch> =
            expected.into_iter().map(|kind| Mismatch { parameter: "x".to_owned(), kind }).collect();
        assert_eq!(target.mismatches(&source, widening), expected, "{target:?} fed by {source:?}");
    }
    assert!(MismatchKind::MediaTypes(vec![]).is_warning() && !MismatchKind::Missing.is_warning());
}

#[test]
fn effective_parameters_have_the_names_of_inputs() {
    let dataset = dataset(&scans()).unwrap();
    let names = |map: &InputMap| dataset.effective_parameters(map).parameters.into_keys().collect::<Vec<_>>();
    assert_eq!(names(&InputMap::default()), ["note", "pages", "rate", "scan", "x"]);
    assert_eq!(
        names(&map(&[("a", "x"), ("factor", "rate"), ("b", "x")])),
        ["a", "b", "factor", "note", "pages", "scan"]
    );
}

#[test]
fn equal_inputs_have_equal_hashes() {
    let hash = |text: &str| data(&serde_json::from_str(text).unwrap()).hash();
    let same = hash(r#"{"json": {"a": 1, "b": {"x": [1, 2], "y": null}}, "files": {"f": [1]}}"#);
    assert_eq!(hash(r#"{"files": {"f": [1]}, "json": {"b": {"y": null, "x": [1.0, 2e0]}, "a": 1.0}}"#), same);
    for other in [
        r#"{"json": {"a": 1, "b": {"x": [2, 1], "y": null}}, "files": {"f": [1]}}"#,
        r#"{"json": {"a": 1, "b": {"x": [1, 2]}}, "files": {"f": [1]}}"#,
        r#"{"json": {"a": 1.5, "b": {"x": [1, 2], "y": null}}, "files": {"f": [1]}}"#,
        r#"{"json": {"a": "1", "b": {"x": [1, 2], "y": null}}, "files": {"f": [1]}}"#,
        r#"{"json": {"a": 1, "b": {"x": [1, 2], "y": null}, "f": [1]}}"#,
        r#"{"json": {"a": 1, "b": {"x": [1, 2], "y": null}}, "files": {"f": [2]}}"#,
    ] {
        assert_ne!(hash(other), same, "{other}");
    }
    assert_eq!(hash(r#"{"json": {"a": -0.0}}"#), hash(r#"{"json": {"a": 0}}"#));
    assert_ne!(hash(r#"{"json": {"a": 9007199254740993}}"#), hash(r#"{"json": {"a": 9007199254740992}}"#));
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    /// Equal hashes for equal values, and only for those.
    #[test]
    fn hashes_tell_inputs_apart(left in values(), right in values()) {
        let of = |values: &[(String, i64)]| Data {
            json: values.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
            ..Data::default()
        };
        let (left, right) = (of(&left), of(&right));
        prop_assert_eq!(left.hash() == right.hash(), left == right);
    }

    /// A mapped input is what its parameter is, and nothing is there that is no input.
    #[test]
    fn inputs_come_from_where_the_map_says(
        member in values(), global in values(),
        entries in prop::collection::btree_map("[a-d]", "[a-d]", 0..3), inputs in prop::collection::btree_set("[a-d]", 0..4),
    ) {
        let of = |values: &[(String, i64)]| Data {
            json: values.iter().map(|(name, value)| (name.clone(), json!(value))).collect(),
            ..Data::default()
        };
        let (member, global) = (of(&member), of(&global));
        let map = InputMap {
            entries: entries.iter().map(|(input, parameter)| InputMapEntry { input: input.clone(), parameter: parameter.clone() }).collect(),
        };
        let interface = Interface::of(inputs.iter().map(|name| (name.clone(), Parameter::json(JsonType::Integer, false))));
        let made = map.sources(&interface).recipe_input(&member, &global);
        for name in ["a", "b", "c", "d"] {
            let taken = entries.values().any(|parameter| parameter == name);
            let from = entries.get(name).map(String::as_str).or((!taken).then_some(name)).filter(|_| inputs.contains(name));
            let expected = from.and_then(|from| member.json.get(from).or_else(|| global.json.get(from)));
            prop_assert_eq!(made.json.get(name), expected, "{}", name);
        }
    }
}

fn values() -> impl Strategy<Value = Vec<(String, i64)>> {
    prop::collection::btree_map("[a-d]", 0..3_i64, 0..4).prop_map(|map| map.into_iter().collect())
}
