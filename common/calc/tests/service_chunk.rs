//! The data semantics of contract section 2, rule by rule.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::time::{Duration, Instant};

use millrace_calc::chunk::ChunkError;
use millrace_calc::service::{Options, Scratch, Service};
use serde_json::{Value, json};
use support::{answer, answer_text, document, filtered, keyed, outputs, run, run_text, sales};

/// `a` and `b` are numbers by default, `t` text; outputs show a value, arithmetic, an error, text and a boolean.
fn mixed() -> Service {
    document(&json!({
        "inputs": [
            {"name": "a", "type": "number", "default": 1},
            {"name": "b", "type": "number"},
            {"name": "t", "type": "text", "default": "x"}
        ],
        "outputs": [
            {"name": "sum", "formula": "a+b"},
            {"name": "ratio", "formula": "a/b"},
            {"name": "shout", "formula": "UPPER(t)"},
            {"name": "positive", "formula": "a>0"},
            {"name": "doubled", "formula": "t*2"}
        ]
    }))
}

fn one(service: &Service, output: &str, data: Value) -> Value {
    answer(service, &filtered(&[output]), &data)["outputs"][1][0].take()
}

#[test]
fn rule_2_3_rows_in_rows_out_exactly_as_the_sample() {
    let result = run(
        &sales(),
        &keyed(&["sales_id"]),
        &json!({"inputs": [
            ["sales_id", "price", "quantity", "tax"], [1, 20, 65, 0.1], [2, 55.02, 100, 0.08]
        ]}),
    );
    let mut out = Vec::new();
    result.unwrap().write_json("0001", &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"id":"0001","outputs":[["sales_id","total"],[1,1430.0],[2,5942.16]],"summary_output":[[]],"summary_errors":[[]],"warnings":[null,null],"errors":[null,null],"process_time":[1,1],"status":"completed","size":2}"#
    );
}

#[test]
fn rule_2_3_objects_in_objects_out() {
    let data = json!({"inputs": [{"price": 20, "id": "x"}, {"quantity": 1, "PRICE": 2}, {}]});
    assert_eq!(
        outputs(&sales(), data.clone()),
        json!([{"total": 1430.0}, {"total": 2.2}, {"total": 1430.0}])
    );
    let keyed = answer(&sales(), &keyed(&["id"]), &data);
    assert_eq!(
        keyed["outputs"],
        json!([{"id": "x", "total": 1430.0}, {"id": null, "total": 2.2}, {"id": null, "total": 1430.0}])
    );
}

#[test]
fn rule_2_1_column_names_match_without_case_and_prefixed_names_are_unknown() {
    let data = json!({"inputs": [["PRICE", "Quantity", "Xinput_tax"], [1, 1, 5]]});
    assert_eq!(outputs(&sales(), data), json!([["total"], [1.1]]));
}

#[test]
fn rule_2_1_unknown_columns_are_ignored() {
    let data = json!({"inputs": [["nope", "price", "other"], [{"x": [1]}, 1, "y"]]});
    assert_eq!(outputs(&sales(), data), json!([["total"], [71.5]]));
}

#[test]
fn rule_2_1_of_duplicate_columns_the_last_value_wins() {
    let data = json!({"inputs": [["price", "Price"], [1, 2], [1], ["x", 2], [2, "x"]]});
    assert_eq!(outputs(&sales(), data), json!([["total"], [143.0], [71.5], [143.0], ["#VALUE!"]]));
    let twice =
        answer_text(&sales(), &Options::default(), r#"{"inputs":[{"price":"a","price":"b","PRICE":2}]}"#);
    assert_eq!(twice["outputs"], json!([{"total": 143.0}]));
}

#[test]
fn rule_2_1_null_and_number_column_names_are_ignored() {
    let data = json!({"inputs": [[null, 5, "price", true, ["price"]], [7, 7, 1, 7, 7]]});
    assert_eq!(outputs(&sales(), data), json!([["total"], [71.5]]));
}

#[test]
fn rule_2_1_short_long_and_null_rows() {
    let data = json!({"inputs": [["price", "quantity"], [1], [1, 1, 99, 99], null, []]});
    assert_eq!(outputs(&sales(), data), json!([["total"], [71.5], [1.1], [1430.0], [1430.0]]));
}

#[test]
fn rule_2_1_a_row_of_another_kind_fails_the_chunk_and_is_named() {
    for (inputs, path) in [
        (json!([["price"], [1], 5]), "data.inputs[2]"),
        (json!([["price"], {"price": 1}]), "data.inputs[1]"),
        (json!([{"price": 1}, [1]]), "data.inputs[1]"),
        (json!([]), "data.inputs"),
    ] {
        match run(&sales(), &Options::default(), &json!({"inputs": inputs})) {
            Err(ChunkError::Shape(error)) => assert_eq!(error.path, path),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn rule_2_1_an_input_that_is_not_given_takes_the_default_silently_in_batches() {
    let answer = answer(&sales(), &Options::default(), &json!({"inputs": [["price"], [1]]}));
    assert_eq!(answer["outputs"], json!([["total"], [71.5]]));
    assert_eq!(answer["warnings"], json!([null]));
}

#[test]
fn rule_2_1_sync_calls_warn_about_every_default() {
    let options = Options { default_warnings: true, ..Options::default() };
    let data = json!({"inputs": [["price", "tax"], [1], [1, 0]], "parameters": {"quantity": 2}});
    let answer = answer(&sales(), &options, &data);
    assert_eq!(answer["outputs"], json!([["total"], [2.2], [2.0]]));
    assert_eq!(answer["warnings"][0][0]["source_path"], "Default Values");
    assert!(answer["warnings"][0][0]["message"].as_str().unwrap().contains("tax"));
    assert_eq!(answer["warnings"][0].as_array().unwrap().len(), 1);
    assert_eq!(answer["warnings"][1], Value::Null);
}

#[test]
fn rule_2_1_numeric_text_is_coerced_in_arithmetic() {
    let service = support::workbook(support::sales_workbook());
    for (text, total) in [("2", 143.0), (" 2 ", 143.0), ("1e2", 7150.0), ("50%", 35.75), ("1,000", 71500.0)] {
        let data = json!({"inputs": [["price", "quantity", "tax"], [text, "65", "0.1"]]});
        assert_eq!(outputs(&service, data), json!([["total"], [total]]), "{text:?}");
    }
    let data = json!({"inputs": [["price"], ["two"], [true], [null]]});
    assert_eq!(outputs(&service, data), json!([["total"], ["#VALUE!"], [71.5], [0.0]]));
}

#[test]
fn rule_2_1_values_of_every_json_type() {
    let service = mixed();
    for (value, sum) in [
        (json!(2), json!(2.0)),
        (json!("2"), json!(2.0)),
        (json!(true), json!(1.0)),
        (json!(null), json!(0.0)),
        (json!("no"), json!("#VALUE!")),
        (json!(""), json!("#VALUE!")),
        (json!([1]), json!("#VALUE!")),
        (json!({"x": 1}), json!("#VALUE!")),
    ] {
        let data = json!({"inputs": [["a", "b"], [value, 0]]});
        assert_eq!(one(&service, "sum", data), sum, "{value}");
        let object = answer(&service, &filtered(&["sum"]), &json!({"inputs": [{"a": value, "b": 0}]}));
        assert_eq!(object["outputs"][0]["sum"], sum, "{value} in an object");
    }
    assert_eq!(one(&service, "shout", json!({"inputs": [["t"], ["a\u{e9}\"\\\n"]]})), json!("A\u{c9}\"\\\n"));
    assert_eq!(one(&service, "doubled", json!({"inputs": [["t"], ["21"]]})), json!(42.0));
    assert_eq!(one(&service, "positive", json!({"inputs": [["a"], [-1]]})), json!(false));
}

#[test]
fn rule_2_1_empty_text_gets_a_warning_that_advises_null() {
    let answer = answer(&sales(), &Options::default(), &json!({"inputs": [["price"], [1], [""], [1]]}));
    assert_eq!(answer["outputs"], json!([["total"], [71.5], ["#VALUE!"], [71.5]]));
    assert_eq!(answer["warnings"][0], Value::Null);
    assert_eq!(answer["warnings"][1][0]["source_path"], "inputs.price");
    assert!(answer["warnings"][1][0]["message"].as_str().unwrap().contains("null"));
    assert_eq!(
        answer["warnings"][1].as_array().unwrap().len(),
        2,
        "the empty text and the error in the result"
    );
    assert_eq!(answer["warnings"][2], Value::Null);
}

#[test]
fn rule_2_2_record_over_parameter_over_default() {
    let data = json!({"inputs": [["price", "quantity"], [1, 1], [1], [null, 2]],
        "parameters": {"QUANTITY": 10, "tax": 0, "price": 5, "unknown": [1]}});
    assert_eq!(outputs(&sales(), data), json!([["total"], [1.0], [10.0], [0.0]]));
    for ignored in [json!(null), json!([1, 2]), json!({})] {
        let data = json!({"inputs": [["price"], [1]], "parameters": ignored});
        assert_eq!(outputs(&sales(), data), json!([["total"], [71.5]]));
    }
}

#[test]
fn rule_2_3_header_only_chunks_answer_empty_lists() {
    for data in [json!({"inputs": [["price"]]}), json!({"inputs": [[]]})] {
        let answer = answer(&sales(), &keyed(&["id"]), &data);
        for part in ["outputs", "warnings", "errors", "process_time"] {
            assert_eq!(answer[part], json!([]), "{part}");
        }
        assert_eq!(answer["summary_output"], json!([[]]));
        assert_eq!(answer["size"], 0);
    }
}

#[test]
fn rule_2_3_excel_errors_are_text_with_a_warning_and_no_failure() {
    let result =
        run(&mixed(), &Options::default(), &json!({"inputs": [["a", "b"], [1, 1], [1, 0]]})).unwrap();
    assert_eq!((result.records, result.records_failed), (2, 0));
    let answer = answer(
        &mixed(),
        &filtered(&["sum", "ratio", "doubled"]),
        &json!({"inputs": [["a", "b"], [1, 1], [1, 0]]}),
    );
    assert_eq!(answer["outputs"][2], json!([1.0, "#DIV/0!", "#VALUE!"]));
    assert_eq!(answer["errors"], json!([null, null]));
    let message = answer["warnings"][1][0]["message"].as_str().unwrap();
    assert!(message.contains("ratio (#DIV/0!)") && message.contains("doubled (#VALUE!)"), "{message}");
    assert!(!message.contains("sum"), "{message}");
    assert!(answer["warnings"][1][0].get("source_path").is_none());
}

#[test]
fn rule_2_3_record_order_is_kept_over_many_blocks() {
    let mut inputs = vec![json!(["id", "price", "quantity", "tax"])];
    for id in 0..1000 {
        inputs.push(json!([id, id, 1, 0]));
    }
    let result = run(&sales(), &keyed(&["id"]), &json!({"inputs": inputs})).unwrap();
    let outputs: Vec<Value> = serde_json::from_slice(&result.outputs).unwrap();
    assert_eq!(outputs.len(), 1001);
    for (id, row) in outputs[1..].iter().enumerate() {
        assert_eq!(*row, json!([id, f64::from(u32::try_from(id).unwrap())]));
    }
    for companion in [&result.warnings, &result.errors] {
        assert_eq!(serde_json::from_slice::<Vec<Value>>(companion).unwrap(), vec![Value::Null; 1000]);
    }
    let times: Vec<u64> = serde_json::from_slice(&result.process_time).unwrap();
    assert_eq!(times.len(), 1000);
    assert!(times.iter().all(|time| *time >= 1));
    assert_eq!(times.iter().sum::<u64>(), result.compute_time_ms);
}

#[test]
fn rule_2_3_text_in_one_block_does_not_change_the_next() {
    let mut inputs = vec![json!(["price", "quantity", "tax"])];
    for record in 0..300 {
        inputs.push(if record == 5 {
            json!(["x", 1, 0])
        } else if record == 200 {
            json!([null, 1, 0])
        } else {
            json!([record, 1, 0])
        });
    }
    let outputs = outputs(&sales(), json!({"inputs": inputs}));
    for record in 0..300_usize {
        let expected = match record {
            5 => json!("#VALUE!"),
            200 => json!(0.0),
            _ => json!(f64::from(u32::try_from(record).unwrap())),
        };
        assert_eq!(outputs[record + 1][0], expected, "{record}");
    }
}

#[test]
fn rule_2_4_key_values_are_copied_untouched_as_first_columns() {
    let data = r#"{"inputs":[["price","ID"],[1,12345678901234567890.10],[1,"a\u00e9\/"],[1,null],[1,{"x": [1, 2.50]}],[1]]}"#;
    let result = run_text(&sales(), &keyed(&["Id"]), data).unwrap();
    assert_eq!(
        String::from_utf8(result.outputs).unwrap(),
        r#"[["Id","total"],[12345678901234567890.10,71.5],["a\u00e9\/",71.5],[null,71.5],[{"x": [1, 2.50]},71.5],[null,71.5]]"#
    );
}

#[test]
fn rule_2_4_a_key_may_be_an_input_and_there_may_be_several() {
    let data = json!({"inputs": [["id", "price", "a,b"], [7, 1, 8]]});
    let both = answer(&sales(), &keyed(&["price", "id"]), &data);
    assert_eq!(both["outputs"], json!([["price", "id", "total"], [1, 7, 71.5]]));
    let comma = answer(&sales(), &keyed(&["id, price"]), &data);
    assert_eq!(comma["outputs"], json!([["id", "price", "total"], [7, 1, 71.5]]));
    let whole = answer(&sales(), &keyed(&["a,b"]), &data);
    assert_eq!(whole["outputs"], json!([["a,b", "total"], [8, 71.5]]));
    let same = answer(&sales(), &keyed(&["id", "ID"]), &data);
    assert_eq!(same["outputs"], json!([["id", "ID", "total"], [7, 7, 71.5]]));
    let duplicate = answer(&sales(), &keyed(&["id"]), &json!({"inputs": [["id", "ID", "price"], [1, 2, 1]]}));
    assert_eq!(duplicate["outputs"], json!([["id", "total"], [2, 71.5]]));
}

#[test]
fn rule_2_4_a_missing_key_fails_the_chunk_and_is_named() {
    for data in [json!({"inputs": [["price"], [1]]}), json!({"inputs": [{"price": 1}, {"price": 2}]})] {
        let error = run(&sales(), &keyed(&["price", "sales_id"]), &data).unwrap_err();
        assert_eq!(error, ChunkError::KeyMissing { key: "sales_id".into() });
        let mut out = Vec::new();
        error.write_json("7", 2, &mut out);
        let answer: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(answer["status"], "failed");
        assert_eq!(answer["id"], "7");
        assert_eq!(answer["size"], 2);
        for part in ["outputs", "warnings", "process_time"] {
            assert_eq!(answer[part], json!([]));
        }
        assert_eq!(answer["summary_output"], Value::Null);
        let keys: Vec<&String> = answer["errors"][0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["additional_details", "error_category", "error_type", "message", "source_path"]);
        assert!(answer["errors"][0]["message"].as_str().unwrap().contains("sales_id"));
    }
}

#[test]
fn rule_2_5_filters_select_whole_names() {
    let service = mixed();
    let data = json!({"inputs": [["a", "b"], [1, 1]]});
    let header = |options: &[&str]| answer(&service, &filtered(options), &data)["outputs"][0].clone();
    assert_eq!(header(&[]), json!(["sum", "ratio", "shout", "positive", "doubled"]));
    assert_eq!(header(&["SUM"]), json!(["sum"]));
    assert_eq!(header(&["ratio,sum"]), json!(["sum", "ratio"]), "workbook order");
    assert_eq!(header(&["s*"]), json!(["sum", "shout"]));
    assert_eq!(header(&["(sum|ratio)"]), json!(["sum", "ratio"]));
    assert_eq!(header(&["um"]), json!([]));
}

#[test]
fn rule_2_5_no_match_gives_empty_rows_and_one_warning() {
    let data = json!({"inputs": [["id", "price"], [1, 1], [2, 1]]});
    let none = answer(&sales(), &filtered(&["nope"]), &data);
    assert_eq!(none["outputs"], json!([[], [], []]));
    assert!(none["warnings"][0][0]["message"].as_str().unwrap().contains("nope"));
    assert_eq!(none["warnings"][1], Value::Null);
    let options = Options { unique_record_key: vec!["id".into()], ..filtered(&["nope"]) };
    assert_eq!(answer(&sales(), &options, &data)["outputs"], json!([["id"], [1], [2]]));
    let objects = answer(&sales(), &filtered(&["nope"]), &json!({"inputs": [{"price": 1}]}));
    assert_eq!(objects["outputs"], json!([{}]));
}

/// One block of records takes seconds here, and far longer in the largest services.
#[test]
fn a_deadline_is_kept_within_a_block_of_records() {
    let formula = |place: usize| format!(r#"LEN(SUBSTITUTE(REPT("ab",15000+a+{place}),"a","b"))"#);
    let outputs: Vec<Value> =
        (0..100).map(|place| json!({"name": format!("out_{place}"), "formula": formula(place)})).collect();
    let service =
        document(&json!({"inputs": [{"name": "a", "type": "number", "default": 1}], "outputs": outputs}));
    let prepared = service.prepare(&Options::default());
    let records: Vec<Value> = (0..100).map(|a| json!({"a": a})).collect();
    let data = json!({"inputs": records}).to_string();
    let mut scratch = Scratch::default();
    let soon = Instant::now() + Duration::from_millis(10);
    let error = prepared.evaluate(data.as_bytes(), Some(soon), &mut scratch).unwrap_err();
    assert_eq!(error, ChunkError::Timeout { done: 0, records: 100 });
    // The memory that it left is good for the next chunk.
    let written = |scratch: &mut Scratch| {
        let mut out = Vec::new();
        prepared
            .evaluate(br#"{"inputs":[{"a":7},{"a":8}]}"#, None, scratch)
            .unwrap()
            .write_json("c", &mut out);
        let mut result: Value = serde_json::from_slice(&out).unwrap();
        result["process_time"].take();
        result
    };
    let (after, fresh) = (written(&mut scratch), written(&mut Scratch::default()));
    assert_eq!(after, fresh);
    assert_eq!(after["outputs"][0]["out_3"], json!(f64::from(2 * (15_000 + 7 + 3))));
}

#[test]
fn a_deadline_that_has_passed_fails_the_chunk() {
    let past = Instant::now().checked_sub(Duration::from_secs(1));
    let prepared = sales().prepare(&Options::default());
    let error =
        prepared.evaluate(br#"{"inputs":[["price"],[1],[2]]}"#, past, &mut Scratch::default()).unwrap_err();
    assert_eq!(error, ChunkError::Timeout { done: 0, records: 2 });
    assert!(error.to_string().contains("0 of 2"));
    let later = Some(Instant::now() + Duration::from_secs(60));
    assert!(prepared.evaluate(br#"{"inputs":[["price"],[1]]}"#, later, &mut Scratch::default()).is_ok());
}

#[test]
fn volatile_functions_are_fixed_by_the_options() {
    let service = document(
        &json!({"outputs": [{"name": "now", "formula": "NOW()"}, {"name": "random", "formula": "RAND()"}]}),
    );
    let mut options = Options::default();
    options.volatile.now = 46000.5;
    options.volatile.seed = 7;
    let data = json!({"inputs": [["x"], [1], [2]]});
    let first = answer(&service, &options, &data)["outputs"].clone();
    assert_eq!(first[1][0], json!(46000.5));
    assert_ne!(first[1][1], first[2][1], "records differ");
    assert_eq!(answer(&service, &options, &data)["outputs"], first, "computing again gives the same");
    let other = answer(&service, &options, &json!({"inputs": [["x"], [3], [4]]}))["outputs"].clone();
    assert_ne!(other[1][1], first[1][1], "chunks differ");
    assert_eq!(service.report().volatile_functions, ["NOW", "RAND"]);
}

#[test]
fn a_result_that_exceeds_the_doubles_is_an_error_value() {
    assert_eq!(one(&mixed(), "sum", json!({"inputs": [["a", "b"], [1.7e308, 1.7e308]]})), json!("#NUM!"));
    let huge = answer_text(&mixed(), &filtered(&["sum"]), r#"{"inputs":[["a","b"],[1e999,0]]}"#);
    assert_eq!(huge["outputs"][1][0], "#NUM!");
}

#[test]
fn very_wide_chunks_cost_no_more_than_their_bytes() {
    let started = Instant::now();
    let header = format!("[{}\"price\"]", "\"id\",".repeat(200_000));
    let row = format!("[{}1]", "5,".repeat(200_000));
    let data = format!("{{\"inputs\":[{header},{row},{row}]}}");
    let result = run_text(&sales(), &keyed(&["id"]), &data).unwrap();
    assert_eq!(String::from_utf8(result.outputs).unwrap(), r#"[["id","total"],[5,71.5],[5,71.5]]"#);
    let keys: String = (0..100_000).map(|index| format!("\"k{index}\":1,")).collect();
    let data = format!("{{\"inputs\":[{{{keys}\"price\":1}},{{\"price\":1,{}\"x\":0}}]}}", keys);
    let result = run_text(&sales(), &Options::default(), &data).unwrap();
    assert_eq!(String::from_utf8(result.outputs).unwrap(), r#"[{"total":71.5},{"total":71.5}]"#);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
