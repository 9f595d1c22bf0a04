//! Aggregation per chunk, contract 2.6.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use millrace_calc::service::{Options, Service};
use millrace_calc::totals::{TotalRequest, Totals};
use serde_json::{Value, json};
use support::{answer, document, filtered, keyed, run, sales};

fn ask(aggregation: Value) -> Value {
    json!({"inputs": [["id", "price", "quantity", "tax"], [1, 20, 65, 0.1], [2, 55.02, 100, 0.08]], "summary": {"aggregation": aggregation}})
}

fn sum() -> Value {
    json!([{"output_name": "total", "operator": "sum"}])
}

/// `q` is an error for 0, text for a negative number.
fn fragile() -> Service {
    document(&json!({
        "inputs": [{"name": "x", "type": "number"}],
        "outputs": [{"name": "q", "formula": "IF(x<0,\"minus\",1/x)"}, {"name": "s", "formula": "x"}]
    }))
}

fn aggregate(values: &[f64], operator: &str, ignore_error: bool) -> Value {
    let mut inputs = vec![json!(["x"])];
    inputs.extend(values.iter().map(|value| json!([value])));
    let summary =
        json!({"ignore_error": ignore_error, "aggregation": [{"output_name": "q", "operator": operator}]});
    answer(&fragile(), &Options::default(), &json!({"inputs": inputs, "summary": summary}))
}

#[test]
fn no_summary_and_no_aggregation_give_empty_lists() {
    for summary in [json!(null), json!({}), json!({"aggregation": []}), json!({"aggregation": null})] {
        let answer =
            answer(&sales(), &Options::default(), &json!({"inputs": [["price"], [1]], "summary": summary}));
        assert_eq!(
            (&answer["summary_output"], &answer["summary_errors"]),
            (&json!([[]]), &json!([[]])),
            "{summary}"
        );
        assert_eq!(answer["outputs"], json!([["total"], [71.5]]));
    }
}

#[test]
fn sums_in_row_order_under_the_name_as_written() {
    let answer = answer(
        &sales(),
        &Options::default(),
        &ask(json!([
            {"output_name": "Total", "operator": "sum"}, {"output_name": "total", "operator": "Count"}
        ])),
    );
    assert_eq!(answer["summary_output"], json!([[["Total_SUM", "total_COUNT"], [7372.16, 2.0]]]));
    assert_eq!(answer["summary_errors"], json!([[]]));
}

#[test]
fn seven_operators() {
    for (operator, result) in [
        ("SUM", 1.75),
        ("AVERAGE", 1.75 / 3.0),
        ("MIN", 0.25),
        ("MAX", 1.0),
        ("COUNT", 3.0),
        ("COUNTA", 4.0),
        ("PRODUCT", 0.125),
    ] {
        let answer = aggregate(&[1.0, 2.0, -5.0, 4.0], operator, false);
        assert_eq!(answer["summary_output"][0][1][0], json!(result), "{operator}");
    }
    for operator in ["MEAN", "AVG", "STDEV", "VAR", "MEDIAN"] {
        let answer = aggregate(&[1.0], operator, false);
        assert_eq!(answer["summary_output"], json!([[]]));
        assert!(answer["summary_errors"][0][0].as_str().unwrap().contains(operator), "{operator}");
        assert_eq!(answer["outputs"].as_array().unwrap().len(), 2, "a mistake leaves the records in full");
    }
}

#[test]
fn which_records_are_returned_beside_aggregates() {
    let outputs = |options: &Options| answer(&sales(), options, &ask(sum()))["outputs"].clone();
    assert_eq!(outputs(&Options::default()), json!([]));
    assert_eq!(outputs(&keyed(&["id"])), json!([["id"], [1], [2]]));
    assert_eq!(outputs(&filtered(&["total"])), json!([["total"], [1430.0], [5942.16]]));
    let mut all = ask(sum());
    all["summary"]["return_all_records"] = json!(true);
    assert_eq!(
        answer(&sales(), &keyed(&["id"]), &all)["outputs"],
        json!([["id", "total"], [1, 1430.0], [2, 5942.16]])
    );
    let silent = answer(&sales(), &Options::default(), &ask(sum()));
    assert_eq!(silent["warnings"], json!([null, null]), "companions keep one entry per record");
    assert_eq!(silent["process_time"].as_array().unwrap().len(), 2);
}

#[test]
fn aggregates_cover_outputs_that_the_filter_hides() {
    let data = json!({"inputs": [["x"], [1], [2]], "summary": {"aggregation": [{"output_name": "q", "operator": "SUM"}]}});
    let answer = answer(&fragile(), &filtered(&["s"]), &data);
    assert_eq!(answer["outputs"], json!([["s"], [1.0], [2.0]]));
    assert_eq!(answer["summary_output"], json!([[["q_SUM"], [1.5]]]));
}

#[test]
fn an_error_becomes_the_value_or_is_skipped() {
    let strict = aggregate(&[1.0, 0.0, 2.0], "SUM", false);
    assert_eq!(strict["summary_output"], json!([[["q_SUM"], ["#DIV/0!"]]]));
    assert!(strict["summary_errors"][0][0].as_str().unwrap().contains("q_SUM"));
    assert!(
        strict["warnings"][1][0]["message"].as_str().unwrap().contains("q (#DIV/0!)"),
        "the record keeps its warning"
    );
    let lenient = aggregate(&[1.0, 0.0, 2.0], "SUM", true);
    assert_eq!(lenient["summary_output"], json!([[["q_SUM"], [1.5]]]));
    assert_eq!(lenient["summary_errors"], json!([[]]));
    assert_eq!(aggregate(&[0.0, 0.0], "SUM", true)["summary_output"], json!([[["q_SUM"], [null]]]));
    assert_eq!(
        aggregate(&[-1.0], "SUM", false)["summary_output"],
        json!([[["q_SUM"], [0.0]]]),
        "text is ignored"
    );
}

#[test]
fn mistakes_are_told_and_leave_the_records_alone() {
    for (summary, part) in [
        (json!({"ignore_error": true}), "aggregation"),
        (json!({"aggregation": {}}), "list"),
        (json!({"aggregation": [{"output_name": "total"}]}), "aggregation[0]"),
        (
            json!({"aggregation": [{"output_name": "total", "operator": "SUM"}, {"operator": "SUM"}]}),
            "aggregation[1]",
        ),
        (json!({"aggregation": [5]}), "aggregation[0]"),
        (json!({"aggregation": [], "ignore_error": "yes"}), "ignore_error"),
    ] {
        let mut data = ask(json!(null));
        data["summary"] = summary.clone();
        let answer = answer(&sales(), &Options::default(), &data);
        assert_eq!(answer["summary_output"], json!([[]]), "{summary}");
        assert!(
            answer["summary_errors"][0][0].as_str().unwrap().contains(part),
            "{summary}: {}",
            answer["summary_errors"]
        );
        assert_eq!(answer["outputs"], json!([["total"], [1430.0], [5942.16]]), "{summary}");
    }
}

#[test]
fn an_unknown_output_is_not_available() {
    let answer =
        answer(&sales(), &Options::default(), &ask(json!([{"output_name": "nope", "operator": "SUM"}])));
    assert_eq!(answer["summary_output"], json!([[["nope_SUM"], ["#N/A"]]]));
    assert_eq!(answer["summary_errors"][0][0]["output_name"], "nope_SUM");
    assert!(answer["summary_errors"][0][0]["error"].is_string());
}

#[test]
fn a_header_only_chunk_has_nothing_to_aggregate() {
    let data = json!({"inputs": [["price"]], "summary": {"aggregation": sum()}});
    let answer = answer(&sales(), &Options::default(), &data);
    assert_eq!((&answer["outputs"], &answer["summary_output"]), (&json!([]), &json!([[]])));
}

#[test]
fn results_that_are_no_numbers_say_why() {
    let none = aggregate(&[-1.0], "AVERAGE", false);
    assert_eq!(none["summary_output"], json!([[["q_AVERAGE"], ["#DIV/0!"]]]));
    assert_eq!(none["summary_errors"], json!([["q_AVERAGE: no record has a number"]]));
    let large = aggregate(&[1e-200, 1e-200], "PRODUCT", false);
    assert_eq!(large["summary_output"], json!([[["q_PRODUCT"], ["#NUM!"]]]));
    assert!(large["summary_errors"][0][0].as_str().unwrap().contains("too large"));
    for (operator, value) in [("MIN", 0.0), ("MAX", 0.0), ("COUNT", 0.0), ("COUNTA", 1.0), ("PRODUCT", 0.0)] {
        assert_eq!(
            aggregate(&[-1.0], operator, false)["summary_output"][0][1][0],
            value,
            "{operator}, as Excel has it"
        );
    }
    for operator in ["AVERAGE", "MIN", "MAX", "COUNT", "COUNTA", "PRODUCT"] {
        assert_eq!(aggregate(&[0.0], operator, true)["summary_output"][0][1], json!([null]), "{operator}");
        assert_eq!(
            aggregate(&[0.0], operator, false)["summary_output"][0][1],
            json!(["#DIV/0!"]),
            "{operator}"
        );
        assert_eq!(aggregate(&[2.0, 0.0], operator, true)["summary_errors"], json!([[]]), "{operator}");
    }
}

#[test]
fn the_other_spelling_is_there_when_it_says_something() {
    let asked = answer(&sales(), &Options::default(), &ask(sum()));
    assert_eq!(asked["summary_outputs"], asked["summary_output"]);
    let silent = answer(&sales(), &Options::default(), &ask(json!([])));
    assert!(silent.get("summary_outputs").is_none());
}

#[test]
fn totals_cover_hidden_outputs_and_leave_the_answer_alone() {
    let requests = vec![
        TotalRequest { output_name: "Q".into(), quantiles: vec![0.5] },
        TotalRequest { output_name: "nope".into(), ..TotalRequest::default() },
    ];
    let data = json!({"inputs": [["x"], [1], [2], [0], [-1], [4]]});
    let plain = run(&fragile(), &filtered(&["s"]), &data).unwrap();
    let options = Options { totals: requests.clone(), ..filtered(&["s"]) };
    let asked = run(&fragile(), &options, &data).unwrap();
    assert_eq!((plain.totals, &plain.outputs, &plain.warnings), (None, &asked.outputs, &asked.warnings));
    let report = Totals::decode(&asked.totals.unwrap()).unwrap().report(&requests);
    assert_eq!((&report["chunks"], &report["records"]), (&json!(1), &json!(5)));
    let q = &report["outputs"][0];
    assert_eq!((&q["count"], &q["errors"], &q["non_numeric"]), (&json!(3), &json!(1), &json!(1)));
    assert_eq!((&q["sum"], &q["min"], &q["max"]), (&json!(1.75), &json!(0.25), &json!(1.0)));
    assert_eq!(report["outputs"][1]["count"], 0);
}

#[test]
fn totals_do_not_depend_on_how_records_are_cut() {
    let requests = vec![TotalRequest { output_name: "q".into(), quantiles: vec![0.1, 0.99] }];
    let options = Options { totals: requests.clone(), ..Options::default() };
    let of = |rows: std::ops::Range<i32>| {
        let mut inputs = vec![json!(["x"])];
        inputs.extend(rows.map(|row| json!([f64::from(row) * 0.37])));
        run(&fragile(), &options, &json!({"inputs": inputs})).unwrap().totals
    };
    let whole = Totals::decode(&of(0..700).unwrap()).unwrap().report(&requests);
    let mut cut = Totals::default();
    for rows in [300..301, 0..300, 690..700, 301..690] {
        cut.merge(&Totals::decode(&of(rows).unwrap()).unwrap()).unwrap();
    }
    let cut = cut.report(&requests);
    assert_eq!(whole["outputs"], cut["outputs"]);
    assert_eq!((&cut["chunks"], &cut["records"]), (&json!(4), &json!(700)));
    assert!(of(0..0).is_none(), "a header alone has no records to count");
}
