//! Properties of the chunk path under generated input.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use millrace_calc::chunk::scan;
use millrace_calc::service::{Options, Scratch, Service};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn service() -> Service {
    support::document(&json!({
        "inputs": [
            {"name": "a", "type": "number", "default": 3},
            {"name": "b", "type": "text", "default": "x"},
            {"name": "z", "type": "number"}
        ],
        "outputs": [
            {"name": "sum", "formula": "a+z"},
            {"name": "text", "formula": "b&a"},
            {"name": "ratio", "formula": "IF(z>a,a/z,b)"}
        ]
    }))
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i32>().prop_map(|x| json!(x)),
        (-1e6..1e6f64).prop_map(|x| json!(x)),
        Just(json!(0)),
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        "[a-z0-9 \\\\\"é%.]{0,12}".prop_map(Value::String),
        Just(json!([1, {"x": 2}])),
    ]
}

proptest! {
    #![proptest_config(support::properties::config(64))]

    #[test]
    fn rows_and_objects_give_the_same_values(
        rows in proptest::collection::vec(proptest::collection::vec(scalar(), 4), 1..300),
        pretty in any::<bool>(),
    ) {
        let service = service();
        let prepared = service.prepare(&Options { unique_record_key: vec!["k".into()], ..Options::default() });
        let names = ["k", "A", "b", "z"];
        let mut table = vec![json!(names)];
        table.extend(rows.iter().map(|row| json!(row)));
        let objects: Vec<Value> = rows.iter().enumerate().map(|(index, row)| {
            let mut pairs: Vec<(String, Value)> = names.iter().zip(row).map(|(name, value)| (name.to_string(), value.clone())).collect();
            pairs.rotate_left(index % 3);
            Value::Object(pairs.into_iter().collect::<Map<_, _>>())
        }).collect();
        let write = |inputs: Value| {
            let data = json!({"inputs": inputs});
            if pretty { serde_json::to_vec_pretty(&data).unwrap() } else { serde_json::to_vec(&data).unwrap() }
        };
        let mut scratch = Scratch::default();
        let by_rows = prepared.evaluate(&write(json!(table)), None, &mut scratch).unwrap();
        let by_objects = prepared.evaluate(&write(json!(objects)), None, &mut scratch).unwrap();
        let by_rows_outputs: Vec<Vec<Value>> = serde_json::from_slice(&by_rows.outputs).unwrap();
        let by_objects_outputs: Vec<Map<String, Value>> = serde_json::from_slice(&by_objects.outputs).unwrap();
        prop_assert_eq!(by_rows_outputs.len(), by_objects_outputs.len() + 1);
        let header: Vec<&str> = by_rows_outputs[0].iter().map(|name| name.as_str().unwrap()).collect();
        prop_assert_eq!(&header, &["k", "sum", "text", "ratio"]);
        for ((row, object), given) in by_rows_outputs[1..].iter().zip(&by_objects_outputs).zip(&rows) {
            for (name, value) in header.iter().zip(row) {
                prop_assert_eq!(value, &object[*name]);
            }
            prop_assert_eq!(&row[0], &given[0], "the key is untouched");
        }
        prop_assert_eq!(by_rows.warnings, by_objects.warnings);
        prop_assert_eq!(scan(&write(json!(table))).unwrap().records as usize, rows.len());
    }

    #[test]
    fn blocks_do_not_matter(rows in proptest::collection::vec(proptest::collection::vec(scalar(), 3), 1..300)) {
        let service = service();
        let prepared = service.prepare(&Options::default());
        let mut scratch = Scratch::default();
        let mut whole = vec![json!(["a", "b", "z"])];
        whole.extend(rows.iter().map(|row| json!(row)));
        let together = prepared.evaluate(json!({"inputs": whole}).to_string().as_bytes(), None, &mut scratch).unwrap();
        let together: Vec<Value> = serde_json::from_slice(&together.outputs).unwrap();
        for (row, expected) in rows.iter().zip(&together[1..]).take(20) {
            let alone = json!({"inputs": [["a", "b", "z"], row]}).to_string();
            let alone = prepared.evaluate(alone.as_bytes(), None, &mut scratch).unwrap();
            let alone: Vec<Value> = serde_json::from_slice(&alone.outputs).unwrap();
            prop_assert_eq!(&alone[1], expected);
        }
    }

    #[test]
    fn damaged_chunks_never_panic_and_agree_with_the_scan(
        rows in proptest::collection::vec(proptest::collection::vec(scalar(), 3), 1..8),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut whole = vec![json!(["a", "b", "z"])];
        whole.extend(rows.iter().map(|row| json!(row)));
        let mut data = json!({"inputs": whole, "parameters": {"a": 1}, "summary": null}).to_string().into_bytes();
        let place = at.index(data.len());
        if cut { data.truncate(place) } else { data[place] = byte }
        let result = service().prepare(&Options::default()).evaluate(&data, None, &mut Scratch::default());
        prop_assert_eq!(scan(&data).is_ok(), result.is_ok());
        if scan(&data).is_ok() {
            let parsed = serde_json::from_slice::<Value>(&data);
            prop_assert!(parsed.is_ok() || parsed.is_err_and(|error| error.to_string().contains("out of range")));
        }
    }
}
