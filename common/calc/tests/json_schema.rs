//! JSON Schemas: of formula documents, committed for editors, and of what services take.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use millrace_calc::document;
use millrace_calc::limits::Limits;
use millrace_calc::schema::of_service;
use millrace_calc::service::{Service, SourceKind};
use rust_xlsxwriter::{DataValidation, DataValidationRule, Formula, Workbook};
use serde_json::{Value, json};

fn of(service: &Service) -> Value {
    of_service(service.interface(), service.kind(), "urn:x", "f/s[0.1.0]")
}

#[test]
fn the_committed_schema_is_what_the_code_has() {
    let text = serde_json::to_string_pretty(&document::schema()).unwrap() + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/formula-document.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == text,
        "formula-document.schema.json is out of date: UPDATE_SCHEMA=1 cargo test -p millrace-calc --test json_schema"
    );
}

/// Every key that the schema lists is read, and no other: the reader and the schema share their lists, this is the proof.
#[test]
fn the_reader_takes_the_keys_of_the_schema_and_no_others() {
    let schema = document::schema();
    let keys = |definition: &Value| -> Vec<String> {
        definition["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let base = json!({
        "inputs": [{"name": "x", "type": "number"}],
        "tables": [{"name": "t", "columns": ["a"], "rows": [[1]]}],
        "formulas": [{"name": "f", "formula": "x"}],
        "outputs": [{"name": "o", "formula": "f"}]
    });
    let load = |document: &Value| {
        Service::load(SourceKind::FormulaDocument, document.to_string().as_bytes(), &Limits::default())
    };
    for (pointer, definition) in [
        ("", &schema),
        ("/inputs/0", &schema["$defs"]["input"]),
        ("/tables/0", &schema["$defs"]["table"]),
        ("/formulas/0", &schema["$defs"]["formula"]),
        ("/outputs/0", &schema["$defs"]["output"]),
    ] {
        assert_eq!(definition["additionalProperties"], false);
        let required = definition["required"].as_array().unwrap();
        for key in keys(definition) {
            let mut document = base.clone();
            let object = document.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            if required.contains(&json!(key)) {
                object.remove(&key);
                assert!(
                    load(&document).unwrap_err().to_string().contains(&key),
                    "{pointer} {key} is required"
                );
            } else {
                object.insert(key.clone(), Value::Null);
                // Without its tables or formulas the base does not hold together; the key itself is known.
                let told = load(&document).err().map(|error| error.to_string()).unwrap_or_default();
                assert!(!told.contains("unknown key"), "{pointer} {key}: {told}");
            }
        }
        let mut document = base.clone();
        document.pointer_mut(pointer).unwrap()["surprise"] = json!(1);
        let told = load(&document).unwrap_err().to_string();
        for key in keys(definition) {
            assert!(told.contains(&key), "{told} lists {key}");
        }
    }
    for kind in schema["$defs"]["input"]["properties"]["type"]["enum"].as_array().unwrap() {
        let mut document = base.clone();
        document["inputs"][0]["type"] = kind.clone();
        load(&document).unwrap();
    }
}

#[test]
fn a_document_tells_types_bounds_and_defaults() {
    let service = support::document(&json!({
        "description": "All kinds",
        "inputs": [
            {"name": "age", "type": "integer", "default": 40, "minimum": 18, "maximum": 99, "description": "In years"},
            {"name": "share", "type": "number", "maximum": 1},
            {"name": "plan", "type": "text", "default": "basic", "options": ["basic", "plus"]},
            {"name": "code", "type": "text", "maximum_length": 8, "error": "At most 8."},
            {"name": "start", "type": "date", "default": "2026-01-31", "minimum": "2026-01-01"},
            {"name": "smoker", "type": "boolean"}
        ],
        "outputs": [{"name": "x", "formula": "age", "description": "The age"}, {"name": "t", "formula": "plan"}]
    }));
    let schema = of(&service);
    assert_eq!((&schema["$id"], &schema["title"]), (&json!("urn:x"), &json!("f/s[0.1.0]")));
    assert_eq!((&schema["type"], &schema["description"]), (&json!("object"), &json!("All kinds")));
    let property = |name: &str| {
        let mut property = schema["properties"][name].clone();
        property.as_object_mut().unwrap().remove("x-validation");
        property
    };
    assert_eq!(
        property("age"),
        json!({"type": ["integer", "null"], "minimum": 18.0, "maximum": 99.0, "default": 40.0, "description": "In years"})
    );
    assert_eq!(property("share"), json!({"type": ["number", "null"], "maximum": 1.0}));
    assert_eq!(property("plan"), json!({"enum": ["basic", "plus", null], "default": "basic"}));
    assert_eq!(property("code"), json!({"type": ["string", "null"], "maxLength": 8}));
    assert_eq!(
        property("start"),
        json!({"type": ["string", "null"], "format": "date", "default": "2026-01-31"})
    );
    assert_eq!(property("smoker"), json!({"type": ["boolean", "null"]}));
    assert_eq!(schema["properties"]["code"]["x-validation"]["error"], "At most 8.");
    assert_eq!(schema["properties"]["start"]["x-validation"]["minimum"], "2026-01-01");
    let outputs = &schema["$defs"]["outputs"]["properties"];
    assert_eq!(outputs["x"], json!({"type": ["number", "string", "null"], "description": "The age"}));
    assert_eq!(outputs["t"]["type"], json!(["string", "null"]));
}

#[test]
fn a_workbook_tells_its_data_validation() {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    let rules = [
        DataValidation::new().allow_whole_number(DataValidationRule::Between(1, 9)),
        DataValidation::new().allow_decimal_number(DataValidationRule::GreaterThan(0.5)).ignore_blank(false),
        DataValidation::new().allow_decimal_number(DataValidationRule::NotBetween(2.0, 3.0)),
        DataValidation::new().allow_list_strings(&["a", "b"]).unwrap(),
        DataValidation::new().allow_text_length(DataValidationRule::LessThan(4)),
        DataValidation::new().allow_list_formula(Formula::new("=$D$1:$D$2")),
        DataValidation::new()
            .allow_whole_number_formula(DataValidationRule::LessThanOrEqualTo(Formula::new("=$B$1"))),
        DataValidation::new().allow_decimal_number(DataValidationRule::EqualTo(7.0)),
    ];
    for (row, rule) in rules.iter().enumerate() {
        let row = u32::try_from(row).unwrap();
        sheet.write(row, 1, 5).unwrap().add_data_validation(row, 1, row, 1, rule).unwrap();
    }
    sheet.write(0, 3, "x").unwrap().write(1, 3, "y").unwrap();
    sheet
        .write(20, 0, "Name")
        .unwrap()
        .write(20, 1, "Sum")
        .unwrap()
        .write(21, 0, "n")
        .unwrap()
        .write(21, 1, 1)
        .unwrap();
    sheet.write_formula(30, 1, Formula::new("=B1").set_result("5")).unwrap();
    for row in 1..=9 {
        book.define_name(format!("Xinput_r{row}"), &format!("=Sheet1!$B${row}")).unwrap();
    }
    book.define_name("Xinput_lines", "=Sheet1!$A$21:$B$23").unwrap();
    book.define_name("Xoutput_o", "=Sheet1!$B$31").unwrap();
    let service = support::workbook(book);
    assert_eq!(service.report().warnings, Vec::<String>::new());
    let schema = of(&service);
    let property = |name: &str| {
        let mut property = schema["properties"][name].clone();
        property.as_object_mut().unwrap().remove("x-validation");
        property.as_object_mut().unwrap().remove("default");
        property
    };
    assert_eq!(property("r1"), json!({"type": ["integer", "null"], "minimum": 1.0, "maximum": 9.0}));
    assert_eq!(property("r2"), json!({"type": "number", "exclusiveMinimum": 0.5}), "a blank is not allowed");
    assert_eq!(
        property("r3"),
        json!({"anyOf": [{"type": "number", "not": {"minimum": 2.0, "maximum": 3.0}}, {"type": "null"}]})
    );
    assert_eq!(property("r4"), json!({"enum": ["a", "b", null]}));
    assert_eq!(property("r5"), json!({"type": ["string", "null"], "maxLength": 3}));
    assert_eq!(property("r6"), json!({"enum": ["x", "y", null]}), "from cells");
    assert_eq!(property("r7"), json!({"type": ["integer", "null"]}), "its bound is another input");
    assert_eq!(schema["properties"]["r7"]["x-validation"]["depends_on"], json!(["r1"]));
    assert_eq!(property("r8"), json!({"anyOf": [{"type": "number", "const": 7.0}, {"type": "null"}]}));
    assert_eq!(property("r9"), json!({}), "saved blank: any value");
    let lines = property("lines");
    assert_eq!(lines["anyOf"][0]["items"]["properties"], json!({"Name": {}, "Sum": {}}));
    assert_eq!((&lines["anyOf"][0]["maxItems"], &lines["anyOf"][1]["maxItems"]), (&json!(2), &json!(3)));
}
