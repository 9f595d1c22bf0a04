//! Formula documents: what they compute, and how faults are told.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use millrace_calc::interface::DataType;
use millrace_calc::limits::Limits;
use millrace_calc::load::LoadError;
use millrace_calc::service::{Service, SourceKind};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{document, document_error, outputs};

fn premium() -> Value {
    json!({
        "millrace": "formula-document/1",
        "name": "Premium",
        "inputs": [
            {"name": "age", "type": "integer", "default": 40, "minimum": 18, "maximum": 99},
            {"name": "sum_insured", "type": "number", "default": 100000, "description": "In euros"},
            {"name": "smoker", "type": "boolean", "default": false},
            {"name": "plan", "type": "text", "default": "basic", "options": ["basic", "plus"]},
            {"name": "start", "type": "date", "default": "2026-01-31"}
        ],
        "tables": [
            {"name": "rates", "columns": ["age", "rate"], "rows": [[18, 0.01], [40, 0.02], [65, 0.04]]},
            {"name": "plans", "columns": ["plan", "factor"], "rows": [["basic", 1], ["plus", 1.5]]}
        ],
        "formulas": [
            {"name": "rate", "formula": "=VLOOKUP(age, rates, 2, TRUE)"},
            {"name": "factor", "formula": "INDEX(plans[factor], MATCH(plan, plans[plan], 0)) * IF(smoker, 2, 1)"}
        ],
        "outputs": [
            {"name": "premium", "formula": "ROUND(sum_insured * rate * factor, 2)", "description": "Per year"},
            {"name": "monthly", "formula": "ROUND(premium / 12, 2)"},
            {"name": "year", "formula": "YEAR(start)"}
        ]
    })
}

#[test]
fn computes_with_tables_named_formulas_and_other_outputs() {
    let service = document(&premium());
    let data = json!({"inputs": [
        ["AGE", "smoker", "plan", "start"],
        [40, false, "basic", "2027-06-01"],
        ["66", "true", "PLUS", "2024-02-29"],
        [18, true, "none"],
    ]});
    assert_eq!(
        outputs(&service, data),
        json!([
            ["premium", "monthly", "year"],
            [2000.0, 166.67, 2027.0],
            [12000.0, 1000.0, 2024.0],
            ["#N/A", "#N/A", 2026.0]
        ])
    );
}

#[test]
fn the_interface_says_what_the_document_says() {
    let service = document(&premium());
    let interface = service.interface();
    assert_eq!(interface.properties.title.as_deref(), Some("Premium"));
    let kinds: Vec<DataType> = interface.inputs.iter().map(|field| field.data_type).collect();
    assert_eq!(
        kinds,
        [DataType::Integer, DataType::Number, DataType::Boolean, DataType::Text, DataType::Date]
    );
    let age = interface.inputs[0].validation.as_ref().unwrap();
    assert_eq!(
        (age.kind.as_str(), age.first.as_deref(), age.second.as_deref()),
        ("whole", Some("18"), Some("99"))
    );
    assert_eq!(
        interface.inputs[3].validation.as_ref().unwrap().options,
        Some(vec![json!("basic"), json!("plus")])
    );
    assert_eq!(interface.inputs[4].default, json!("2026-01-31"));
    assert_eq!(interface.inputs[1].place.description.as_deref(), Some("In euros"));
    assert_eq!(interface.outputs[0].place.description.as_deref(), Some("Per year"));
    assert_eq!(interface.outputs[0].value, json!(2000.0));
    assert_eq!((interface.counts.inputs, interface.counts.outputs, interface.counts.formulas), (5, 3, 5));
}

#[test]
fn declared_types_read_text() {
    let service = document(&json!({
        "inputs": [{"name": "n", "type": "number"}, {"name": "t", "type": "text"}, {"name": "b", "type": "boolean"}, {"name": "d", "type": "date"}],
        "outputs": [
            {"name": "sum", "formula": "SUM(n,1)"}, {"name": "text", "formula": "t&\"!\""},
            {"name": "both", "formula": "AND(b,TRUE)"}, {"name": "month", "formula": "MONTH(d)"}
        ]
    }));
    let data = json!({"inputs": [["n", "t", "b", "d"], ["20", "20", "TRUE", "2026-03-04"], [20, 20, true, 46085], [null, null, null, null]]});
    let result = outputs(&service, data);
    assert_eq!(result[1], json!([21.0, "20!", true, 3.0]));
    assert_eq!(result[2], json!([21.0, "20!", true, 3.0]));
    assert_eq!(result[3][1], json!("!"));
}

#[test]
fn faults_are_told_with_their_place() {
    let with = |pointer: &str, value: Value| {
        let mut document = premium();
        *document.pointer_mut(pointer).unwrap() = value;
        document_error(&document)
    };
    for (pointer, value, start) in [
        ("/millrace", json!("formula-document/2"), "millrace:"),
        ("/name", json!(5), "name: must be text"),
        ("/inputs", json!({}), "inputs: must be a list"),
        ("/inputs/1", json!(5), "inputs[1]: must be an object"),
        ("/inputs/1/name", json!(null), "inputs[1].name: is missing"),
        ("/inputs/1/name", json!("A1"), "inputs[1].name: \"A1\" is a cell reference"),
        ("/inputs/1/name", json!("R1C1"), "inputs[1].name:"),
        ("/inputs/1/name", json!("TRUE"), "inputs[1].name:"),
        ("/inputs/1/name", json!("AGE"), "inputs[1].name: \"AGE\" is already the name of inputs[0]"),
        ("/inputs/0/type", json!("float"), "inputs[0].type: \"float\" is none of"),
        ("/inputs/0/default", json!(1.5), "inputs[0].default: must be a whole number"),
        ("/inputs/0/default", json!(10), "inputs[0].default: is below minimum"),
        ("/inputs/0/minimum", json!(100), "inputs[0].maximum: is less than minimum"),
        ("/inputs/3/default", json!("gold"), "inputs[3].default: is none of the options"),
        ("/inputs/3/options/1", json!(5), "inputs[3].options[1]: must be text"),
        ("/inputs/4/default", json!("31.1.2026"), "inputs[4].default:"),
        ("/tables/0/columns/1", json!("AGE"), "tables[0].columns[1]: repeats"),
        ("/tables/0/columns", json!([]), "tables[0].columns:"),
        ("/tables/0/rows", json!([]), "tables[0].rows:"),
        ("/tables/0/rows/2", json!([1]), "tables[0].rows[2]: has 1 values for 2 columns"),
        ("/tables/0/rows/2/1", json!([]), "tables[0].rows[2][1]:"),
        ("/formulas/0/formula", json!(" = "), "formulas[0].formula: is empty"),
        ("/formulas/0/formula", json!("VLOOKUP(age,"), "formulas[0].formula:"),
        ("/formulas/0/formula", json!("NOSUCH(age)"), "formulas[0].formula:"),
        (
            "/formulas/0/formula",
            json!("premium"),
            "outputs[0].formula: circular reference: premium → rate → premium",
        ),
        ("/outputs/1/formula", json!("nope+1"), "outputs[1].formula:"),
        ("/outputs", json!([]), "outputs: is missing"),
    ] {
        let message = with(pointer, value);
        assert!(message.starts_with(start), "{pointer}: {message}");
    }
    let mut unknown = premium();
    unknown["inputs"][2]["dafault"] = json!(true);
    assert!(
        document_error(&unknown).starts_with("inputs[2].dafault: unknown key"),
        "{}",
        document_error(&unknown)
    );
    unknown["extra"] = json!(1);
    assert!(document_error(&unknown).starts_with("extra: unknown key"));
    assert!(document_error(&json!([])).starts_with("document: must be an object"));
}

#[test]
fn rules_of_texts_and_messages_are_checked() {
    let with = |key: &str, value: Value| {
        let mut document = premium();
        document["inputs"][3].as_object_mut().unwrap().remove("options");
        document["inputs"][3][key] = value;
        document
    };
    let plan = |key: &str, value: Value| {
        let service = document(&with(key, value));
        service.interface().inputs[3].validation.clone()
    };
    let length = plan("maximum_length", json!(8)).unwrap();
    assert_eq!(
        (length.kind.as_str(), length.operator.as_deref(), length.maximum),
        ("textLength", Some("lessThanOrEqual"), Some(json!(8.0)))
    );
    assert_eq!(plan("maximum_length", json!(null)), None);
    assert_eq!(plan("error", json!("No such plan.")).unwrap().error.as_deref(), Some("No such plan."));
    for (key, value, start) in [
        ("maximum_length", json!(0), "inputs[3].maximum_length: must be a whole number from 1"),
        ("maximum_length", json!("8"), "inputs[3].maximum_length: must be a whole number"),
        ("maximum_length", json!(4), "inputs[3].default: is longer than maximum_length"),
        ("error", json!(5), "inputs[3].error: must be text"),
        ("minimum", json!("a"), "inputs[3].minimum: only numbers"),
    ] {
        let message = document_error(&with(key, value));
        assert!(message.starts_with(start), "{message}");
    }
    let mut both = premium();
    both["inputs"][3]["maximum_length"] = json!(9);
    assert!(document_error(&both).starts_with("inputs[3].maximum_length: says nothing beside options"));
    both["inputs"][3]["maximum_length"] = json!(null);
    both["inputs"][0]["maximum_length"] = json!(9);
    assert!(document_error(&both).starts_with("inputs[0].maximum_length: only text has a length"));
    let mut described = premium();
    described["$schema"] = json!("x");
    described["tables"][0]["description"] = json!("By age");
    described["formulas"][0]["description"] = json!("By age");
    document(&described);
    described["tables"][0]["description"] = json!(1);
    assert!(document_error(&described).starts_with("tables[0].description: must be text"));
}

#[test]
fn the_example_of_the_format_is_what_it_says() {
    let text = include_str!("../FORMULAS.md");
    let example = text.split("```json").nth(1).unwrap().split("```").next().unwrap();
    let service = document(&serde_json::from_str(example).unwrap());
    let answer = outputs(&service, json!({"inputs": [{}, {"age": "66", "plan": "PLUS"}]}));
    assert_eq!(answer[0], json!({"premium": 1900.0, "first_year": 2026.0}));
    assert_eq!(answer[1]["premium"], 6450.0);
}

#[test]
fn limits_hold() {
    let text = premium().to_string();
    let base = Limits::default();
    for limits in [
        Limits { file_bytes: 100, ..base.clone() },
        Limits { cells: 10, ..base.clone() },
        Limits { formulas: 2, ..base.clone() },
        Limits { sheets: 4, ..base.clone() },
        Limits { names: 3, ..base.clone() },
        Limits { formula_length: 5, ..base },
    ] {
        let error = Service::load(SourceKind::FormulaDocument, text.as_bytes(), &limits).unwrap_err();
        assert!(matches!(error, LoadError::TooLarge { .. }), "{limits:?}: {error}");
    }
    let error = Service::load(SourceKind::FormulaDocument, b"{\"outputs\":", &Limits::default()).unwrap_err();
    assert!(error.to_string().contains("invalid JSON"));
}

proptest! {
    #![proptest_config(support::properties::config(256))]

    #[test]
    fn damaged_documents_never_panic(at in any::<prop::sample::Index>(), text in "[\\[\\]{}:,\"a-z0-9()+&= ]{0,4}") {
        let mut document: Vec<char> = premium().to_string().chars().collect();
        let place = at.index(document.len());
        document.splice(place..(place + 1).min(document.len()), text.chars());
        let document: String = document.into_iter().collect();
        let _ = Service::load(SourceKind::FormulaDocument, document.as_bytes(), &Limits::default());
    }
}
