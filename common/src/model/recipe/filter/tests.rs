#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::recipe::data::Data;
use crate::model::recipe::interface::Parameter;

fn parse(document: Value) -> Result<DataFilter, Vec<Finding<FilterError>>> {
    DataFilter::parse(&document, Place::root("data_filter"))
}

fn filter(kind: &str, condition: &str, values: Value) -> DataFilter {
    parse(json!({"filters": [{"name": "x", "type": kind, "condition": condition, "values": values}]}))
        .unwrap()
}

fn data(value: Value) -> Data {
    Data { json: [("x".to_owned(), value)].into(), ..Data::default() }
}

#[test]
fn every_error_is_told_with_its_place() {
    let numbers = Interface::of([("x".to_owned(), Parameter::json(JsonType::Number, true))]);
    let cases = [
        (json!([]), FilterError::InvalidDataFilter, "data_filter"),
        (json!({"filters": {}}), FilterError::InvalidDataFilter, "data_filter.filters"),
        (json!({"any": true}), FilterError::InvalidDataFilter, "data_filter.any"),
        (json!({"version": "5"}), FilterError::InvalidDataFilter, "data_filter.version"),
        (
            json!({"filters": [{"type": "string", "condition": "==", "values": ["a"]}]}),
            FilterError::MissingName,
            "data_filter.filters[0].name",
        ),
        (
            json!({"filters": [{"name": "x", "condition": "==", "values": ["a"]}]}),
            FilterError::MissingType,
            "data_filter.filters[0].type",
        ),
        (
            json!({"filters": [{"name": "x", "type": "string", "values": ["a"]}]}),
            FilterError::MissingCondition,
            "data_filter.filters[0].condition",
        ),
        (
            json!({"filters": [{"name": "x", "type": "string", "condition": "=="}]}),
            FilterError::MissingValues,
            "data_filter.filters[0].values",
        ),
        (
            json!({"filters": [{"name": "x", "type": "string", "condition": "<", "values": ["a"]}]}),
            FilterError::InvalidCondition,
            "data_filter.filters[0].condition",
        ),
        (
            json!({"filters": [{"name": "x", "type": "string", "condition": "is", "values": ["a"]}]}),
            FilterError::InvalidCondition,
            "data_filter.filters[0].condition",
        ),
        (
            json!({"filters": [{"name": "x", "type": "object", "condition": "superset of", "values": [[1], [2]],
                                "fields": [["a"]]}]}),
            FilterError::InvalidFields,
            "data_filter.filters[0].fields",
        ),
        (
            json!({"filters": [{"name": "x", "type": "object", "condition": "<", "values": [1],
                                "fields": [["a"]]}]}),
            FilterError::InvalidFields,
            "data_filter.filters[0].values[0]",
        ),
        (
            json!({"filters": [{"name": "x", "type": "number", "condition": "<", "values": [1],
                                "fields": [["a"]]}]}),
            FilterError::InvalidFields,
            "data_filter.filters[0].fields",
        ),
        (
            json!({"filters": [{"name": "x", "type": "meta-data", "condition": "==", "values": [1]}]}),
            FilterError::InvalidType,
            "data_filter.filters[0].type",
        ),
        (
            json!({"filters": [{"name": "x", "type": "number", "condition": "==", "values": [1, "one"]}]}),
            FilterError::ValueError,
            "data_filter.filters[0].values[1]",
        ),
        (
            json!({"filters": [{"name": "x", "type": "integer", "condition": "==", "values": [1.5]}]}),
            FilterError::ValueError,
            "data_filter.filters[0].values[0]",
        ),
        (
            json!({"filters": [{"name": "x", "type": "string", "condition": "==", "values": ["1"]}]}),
            FilterError::MismatchedType,
            "data_filter.filters[0]",
        ),
    ];
    let mut told = BTreeSet::new();
    for (document, name, place) in cases {
        let errors = match parse(document.clone()) {
            Ok(filter) => filter.check(&numbers, Place::root("data_filter")).errors,
            Err(errors) => errors,
        };
        let found: Vec<_> = errors.iter().map(|error| (error.name, error.place.as_str())).collect();
        assert_eq!(found, [(name, place)], "{document}");
        told.insert(name);
    }
    assert_eq!(told, FilterError::all().into_iter().collect());
}

#[test]
fn all_errors_of_a_document_are_collected() {
    let errors =
        parse(json!({"all": 1, "filters": [{"values": []}, {"name": "x", "type": "file"}]})).unwrap_err();
    let names: Vec<&str> = errors.iter().map(|error| error.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "INVALID_DATA_FILTER",
            "MISSING_NAME",
            "MISSING_TYPE",
            "MISSING_CONDITION",
            "MISSING_CONDITION",
            "MISSING_VALUES",
            "INVALID_TYPE",
        ]
    );
}

#[test]
fn types_of_parameters_and_filters_must_fit() {
    let fits = |json_type: JsonType, kind: FilterKind| match json_type {
        JsonType::Array => false,
        JsonType::Integer | JsonType::Number => matches!(kind, FilterKind::Integer | FilterKind::Number),
        other => other.as_str() == kind.as_str(),
    };
    for json_type in JsonType::ALL {
        for kind in FilterKind::ALL {
            let operator = if kind == FilterKind::Object { "subset of" } else { "==" };
            let interface = Interface::of([("x".to_owned(), Parameter::json(json_type, true))]);
            let found = filter(kind.as_str(), operator, json!([1])).check(&interface, Place::root(""));
            assert_eq!(found.is_valid(), fits(json_type, kind), "{json_type} looked at by {kind}");
        }
    }
    let files = ParameterKind::File { media_types: vec![], multiple: false };
    let interface = Interface::of([("x".to_owned(), Parameter { required: true, kind: files })]);
    let found = filter("string", "==", json!([1])).check(&interface, Place::root(""));
    assert_eq!(found.errors[0].name, FilterError::MismatchedType);
}

#[test]
fn what_no_filter_or_no_parameter_matches_is_warned_of() {
    let interface = Interface::of([("y".to_owned(), Parameter::json(JsonType::Number, true))]);
    let found = filter("number", "<", json!([1])).check(&interface, Place::root("data_filter"));
    let warnings: Vec<_> =
        found.warnings.iter().map(|warning| (warning.name, warning.place.as_str())).collect();
    assert_eq!(
        warnings,
        [
            (DefinitionWarning::UnmatchedFilter, "data_filter.filters[0]"),
            (DefinitionWarning::UnmatchedParameters, "data_filter"),
        ]
    );
    assert!(found.is_valid());
}

#[test]
fn operators_are_those_of_the_contract() {
    let allowed = [
        (FilterKind::String, vec!["==", "!=", "in", "not in", "contains"]),
        (FilterKind::Integer, vec!["<", "<=", ">", ">=", "==", "!=", "between", "in", "not in"]),
        (FilterKind::Number, vec!["<", "<=", ">", ">=", "==", "!=", "between", "in", "not in"]),
        (FilterKind::Boolean, vec!["==", "!="]),
        (FilterKind::Object, vec!["subset of", "superset of"]),
    ];
    for (kind, allowed) in allowed {
        for operator in Operator::ALL {
            let document = json!({"filters": [
                {"name": "x", "type": kind.as_str(), "condition": operator.as_str(), "values": []}]});
            assert_eq!(parse(document).is_ok(), allowed.contains(&operator.as_str()), "{kind} {operator}");
        }
    }
    for operator in Operator::ALL {
        let document = json!({"filters": [{"name": "x", "type": "object", "condition": operator.as_str(),
                                           "values": [[1]], "fields": [["a"]]}]});
        assert!(parse(document).is_ok(), "{operator} with fields");
    }
}

#[test]
fn operators_compare() {
    let cases = [
        ("number", "<", json!([2]), json!(1), true),
        ("number", "<", json!([2]), json!(2.0), false),
        ("number", "<=", json!([2]), json!(2.0), true),
        ("number", ">", json!(["2.5"]), json!(3), true),
        ("number", ">", json!([2.5]), json!("3"), false),
        ("number", ">=", json!([3]), json!(3), true),
        ("integer", "==", json!(["3"]), json!(3.0), true),
        ("integer", "!=", json!([3]), json!(4), true),
        ("integer", "==", json!([9_007_199_254_740_993_i64]), json!(9_007_199_254_740_992_i64), false),
        ("number", "between", json!([1, 3]), json!(1), true),
        ("number", "between", json!([1, 3]), json!(3), true),
        ("number", "between", json!([1, 3]), json!(3.1), false),
        ("number", "between", json!([1]), json!(2), false),
        ("number", "<", json!([]), json!(2), false),
        ("number", "!=", json!([]), json!(2), false),
        ("number", "in", json!([1, 2.0]), json!(2), true),
        ("number", "in", json!([]), json!(2), false),
        ("number", "not in", json!([1, 3]), json!(2), true),
        ("string", "in", json!(["abc"]), json!("b"), false),
        ("string", "in", json!(["abc", "b"]), json!("b"), true),
        ("string", "not in", json!(["abc"]), json!("b"), true),
        ("string", "contains", json!(["x", "bc"]), json!("abcd"), true),
        ("string", "contains", json!(["x", 1]), json!("abcd"), false),
        ("string", "==", json!(["1"]), json!(1), false),
        ("boolean", "==", json!([true]), json!(true), true),
        ("boolean", "==", json!([1]), json!(true), false),
        ("boolean", "!=", json!([true]), json!(false), true),
        ("object", "subset of", json!([{"a": 1, "b": 2}]), json!({"a": 1.0}), true),
        ("object", "subset of", json!([{"a": 1}]), json!({"a": 2}), false),
        ("object", "superset of", json!([{"a": 1}]), json!({"a": 1, "b": [1]}), true),
        ("object", "superset of", json!([{"a": 1}]), json!({"b": 1}), false),
        ("object", "subset of", json!(["a"]), json!({}), false),
        ("object", "subset of", json!([]), json!({}), false),
        ("object", "subset of", json!([{}]), json!([]), false),
    ];
    for (kind, condition, values, value, accepted) in cases {
        let text = format!("{value} {condition} {values}");
        assert_eq!(filter(kind, condition, values).accepts(&data(value)), accepted, "{text}");
    }
}

#[test]
fn fields_are_tested_each_with_its_own_values() {
    let document = |all_fields: bool| {
        json!({"filters": [{"name": "x", "type": "object", "condition": ">", "values": [[1], [10]],
                            "fields": [["a"], ["b", "c"]], "all_fields": all_fields, "all_files": true}]})
    };
    let (all, one) = (parse(document(true)).unwrap(), parse(document(false)).unwrap());
    for (value, by_all, by_one) in [
        (json!({"a": 2, "b": {"c": 11}}), true, true),
        (json!({"a": 2, "b": {"c": 10}}), false, true),
        (json!({"a": 2}), false, true),
        (json!({"a": 1, "b": {"c": 1}}), false, false),
        (json!({}), false, false),
    ] {
        assert_eq!(all.accepts(&data(value.clone())), by_all, "all fields of {value}");
        assert_eq!(one.accepts(&data(value.clone())), by_one, "one field of {value}");
    }
    let contains = parse(json!({"filters": [{"name": "x", "type": "object", "condition": "contains",
                                             "values": [["a"], [2]], "fields": [[], ["list"]]}]}))
    .unwrap();
    assert!(contains.accepts(&data(json!({"a": 1, "list": [1, 2]}))));
    assert!(!contains.accepts(&data(json!({"list": [1, 2]}))));
}

#[test]
fn filters_are_combined() {
    let document = |all: bool| {
        json!({"all": all, "filters": [
            {"name": "x", "type": "number", "condition": ">", "values": [0]},
            {"name": "y", "type": "number", "condition": ">", "values": [0]}]})
    };
    let (all, one) = (parse(document(true)).unwrap(), parse(document(false)).unwrap());
    assert!(!all.accepts(&data(json!(1))), "an absent value fails its filter");
    assert!(one.accepts(&data(json!(1))));
    assert!(!one.accepts(&data(json!(0))));
    for all in [true, false] {
        let empty = parse(json!({"filters": [], "all": all})).unwrap();
        assert!(empty.accepts(&Data::default()), "no filters accept everything");
    }
}

#[test]
fn a_filtered_parameter_is_required_behind_the_condition() {
    let optional = Parameter::json(JsonType::Number, false);
    let interface = Interface::of([("x".to_owned(), optional.clone()), ("y".to_owned(), optional)]);
    let mut filter = filter("number", ">", json!([0]));
    assert!(filter.outputs(&interface).get("x").unwrap().required);
    assert!(!filter.outputs(&interface).get("y").unwrap().required);
    filter.all = false;
    assert!(!filter.outputs(&interface).get("x").unwrap().required);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    #[test]
    fn any_document_is_read_or_refused(document in json_value(), item in json_value()) {
        let _ = parse(document.clone());
        let _ = parse(json!({"filters": [item, {"name": document, "type": "object", "fields": [["a"]]}]}));
    }

    #[test]
    fn any_values_are_compared(
        operator in prop::sample::select(Operator::ALL.to_vec()),
        values in prop::collection::vec(json_value(), 0..3),
        value in json_value(),
    ) {
        let own = [value.clone()];
        let filter = |operator, values: &[Value]| Filter {
            name: "x".to_owned(), kind: FilterKind::Object, operator, values: values.to_vec(), fields: vec![],
            all_fields: true,
        };
        let holds = |operator, values: &[Value]| {
            DataFilter { filters: vec![filter(operator, values)], all: true }.accepts(&data(value.clone()))
        };
        holds(operator, &values);
        prop_assert!(holds(Operator::Equal, &own));
        prop_assert!(!holds(Operator::NotEqual, &own));
        prop_assert!(holds(Operator::In, &values) != holds(Operator::NotIn, &values));
        prop_assert_eq!(holds(Operator::SubsetOf, &own), value.is_object());
        if holds(Operator::Less, &values) {
            prop_assert!(!holds(Operator::GreaterOrEqual, &values));
        }
    }
}
