//! Data validation of inputs, contract 4.5 and 5.5.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "support/raw.rs"]
mod raw;
mod support;

use millrace_calc::service::{Options, Service};
use millrace_calc::validation::by_input;
use proptest::prelude::*;
use raw::Parts;
use serde_json::{Value, json};
use support::{document, load, outputs};

static SERVICE: std::sync::OnceLock<Service> = std::sync::OnceLock::new();

/// Rows, names and validations of a small quote.
fn quote() -> Service {
    load(&parts().zip()).unwrap()
}

fn parts() -> Parts {
    let text = |at: &str, text: &str| format!(r#"<c r="{at}" t="inlineStr"><is><t>{text}</t></is></c>"#);
    let number = |at: &str, value: f64| format!(r#"<c r="{at}"><v>{value}</v></c>"#);
    let rows = [
        format!(
            r#"{}<c r="B1"><f>A1*2</f><v>80</v></c>{}{}{}"#,
            number("A1", 40.0),
            number("C1", 99.0),
            text("D1", "Paris"),
            text("E1", "Boston")
        ),
        format!(
            r#"{}<c r="B2" t="str"><f>IF(A1&gt;A2*100,"too old for this rate","")</f><v></v></c><c r="C2"><f>A1+10</f><v>50</v></c>{}{}"#,
            number("A2", 0.5),
            text("D2", "Rome"),
            text("E2", "Denver")
        ),
        format!("{}{}", text("A3", "basic"), text("D3", "Berlin")),
        text("A4", "EU"),
        text("A5", "Paris"),
        number("A6", 46_000.0),
        number("A7", 0.5),
        text("A8", "abc"),
        number("A9", 4.0),
        text("A10", "Rome"),
        number("A11", 45.0),
        text("A12", "Paris"),
    ];
    let rows: String = rows
        .iter()
        .enumerate()
        .map(|(row, cells)| format!(r#"<row r="{}">{cells}</row>"#, row + 1))
        .collect();
    let mut parts = Parts::new(&rows);
    let inputs =
        ["age", "rate", "plan", "country", "city", "start", "noon", "code", "even", "town", "until", "place"];
    parts.names = inputs
        .iter()
        .enumerate()
        .map(|(row, name)| format!(r#"<definedName name="Xinput_{name}">S!$A${}</definedName>"#, row + 1))
        .chain([
            r#"<definedName name="Xoutput_b">S!$B$1</definedName>"#.to_owned(),
            r#"<definedName name="Xvalidate_age">S!$B$2</definedName>"#.to_owned(),
            r#"<definedName name="EU">S!$D$1:$D$3</definedName><definedName name="US">S!$E$1:$E$2</definedName>"#.to_owned(),
        ])
        .collect();
    let validations = r#"<dataValidations>
        <dataValidation type="whole" allowBlank="1" showErrorMessage="1" errorTitle="Age" error="Give an age from 18 to 99."
            promptTitle="Age" prompt="In years" sqref="A1"><formula1>18</formula1><formula2>$C$1</formula2></dataValidation>
        <dataValidation type="decimal" operator="lessThanOrEqual" sqref="A2"><formula1>1</formula1></dataValidation>
        <dataValidation type="list" allowBlank="1" sqref="A3"><formula1>"basic, plus"</formula1></dataValidation>
        <dataValidation type="list" allowBlank="1" sqref="A5"><formula1>INDIRECT($A$4)</formula1></dataValidation>
        <dataValidation type="date" operator="greaterThan" allowBlank="1" sqref="A6"><formula1>45658</formula1></dataValidation>
        <dataValidation type="time" allowBlank="1" sqref="A7"><formula1>0.375</formula1><formula2>0.75</formula2></dataValidation>
        <dataValidation type="textLength" operator="equal" allowBlank="1" sqref="A8"><formula1>3</formula1></dataValidation>
        <dataValidation type="custom" errorStyle="warning" allowBlank="1" sqref="A9:A10"><formula1>OR(ISTEXT(A9),MOD(A9,2)=0)</formula1></dataValidation>
        <dataValidation type="whole" allowBlank="1" sqref="A11"><formula1>$A$1</formula1><formula2>$C$2</formula2></dataValidation>
        <dataValidation type="list" allowBlank="1" sqref="A12"><formula1>IF($A$4="EU",$D$1:$D$3,$E$1:$E$2)</formula1></dataValidation>
        </dataValidations>"#;
    // Excel writes a list on another sheet, or with other new features, into the extensions.
    let extension = r#"<extLst><ext><x14:dataValidations xmlns:x14="a" xmlns:xm="b"><x14:dataValidation type="list" allowBlank="1">
        <x14:formula1><xm:f>S!$D$1:$D$3</xm:f></x14:formula1><xm:sqref>A4:A4 Z9</xm:sqref></x14:dataValidation></x14:dataValidations></ext></extLst>"#;
    // The country's list is replaced below by one of its own.
    let extension = extension.replace("S!$D$1:$D$3", "S!$G$1:$G$2");
    parts.sheet = parts.sheet.replace("</sheetData>", &format!("</sheetData>{validations}{extension}"));
    let countries = format!("{}</row>", text("G1", "EU"));
    parts.sheet = parts.sheet.replacen("</row>", &countries, 1);
    let countries = format!("{}</row>", text("G2", "US"));
    let second = parts.sheet.find("<row r=\"2\">").unwrap();
    let end = second + parts.sheet[second..].find("</row>").unwrap();
    parts.sheet.replace_range(end..end + "</row>".len(), &countries);
    parts
}

/// Input and message of what a record does not obey.
fn faults(service: &Service, record: &Value) -> Vec<(String, String)> {
    let prepared = service.prepare(&Options::default());
    let violations = prepared.violations(record.to_string().as_bytes()).unwrap();
    violations.into_iter().map(|violation| (violation.input, violation.message)).collect()
}

fn names(service: &Service, record: &Value) -> Vec<String> {
    faults(service, record).into_iter().map(|(input, _)| input).collect()
}

#[test]
fn every_rule_of_the_workbook_is_read() {
    let service = quote();
    assert_eq!(service.report().warnings, Vec::<String>::new());
    let answers = by_input(service.prepare(&Options::default()).validations(None).unwrap()).unwrap();
    let age = &answers["age"];
    assert_eq!(
        (&age["validation_allow"], &age["validation_type"], &age["min"], &age["max"], &age["ignore_blank"]),
        (&json!("Whole number"), &json!("static"), &json!(18.0), &json!(99.0), &json!(true))
    );
    assert_eq!(
        (&age["error_style"], &age["error_title"], &age["error_message"]),
        (&json!("stop"), &json!("Age"), &json!("Give an age from 18 to 99."))
    );
    assert_eq!((&age["input_message_title"], &age["input_message"]), (&json!("Age"), &json!("In years")));
    assert_eq!((&age["default_value"], &age["operator"]), (&json!(40.0), &json!("between")));
    // Where others depend on an input it says so, and they say on what.
    assert_eq!(age["dependent_inputs"], json!(["until"]));
    assert_eq!(answers["until"]["depends_on"], json!(["age"]));
    assert_eq!(
        (&answers["until"]["validation_type"], &answers["until"]["min"], &answers["until"]["max"]),
        (&json!("dynamic"), &json!(40.0), &json!(50.0))
    );
    assert_eq!(
        (&answers["rate"]["min"], &answers["rate"]["max"], &answers["rate"]["ignore_blank"]),
        (&json!(null), &json!(1.0), &json!(false))
    );
    assert_eq!(answers["plan"]["options"], json!(["basic", "plus"]));
    assert_eq!(answers["country"]["options"], json!(["EU", "US"]), "from the extensions");
    assert_eq!(answers["country"]["dependent_inputs"], json!(["city", "place"]));
    for city in ["city", "place"] {
        assert_eq!(answers[city]["options"], json!(["Paris", "Rome", "Berlin"]), "{city}");
        assert_eq!(answers[city]["depends_on"], json!(["country"]), "{city}");
        assert_eq!(answers[city]["validation_type"], "dynamic", "{city}");
    }
    assert_eq!((&answers["start"]["min"], &answers["start"]["max"]), (&json!("2025-01-01"), &json!(null)));
    assert_eq!((&answers["noon"]["min"], &answers["noon"]["max"]), (&json!("09:00:00"), &json!("18:00:00")));
    assert_eq!((&answers["code"]["min"], &answers["code"]["max"]), (&json!(3.0), &json!(3.0)));
    assert_eq!(
        (
            &answers["even"]["validation_allow"],
            &answers["even"]["validation_type"],
            &answers["even"]["error_style"]
        ),
        (&json!("Custom"), &json!("static"), &json!("warning"))
    );
    // The same, as published versions keep it.
    let interface = service.interface();
    let field = |name: &str| interface.inputs.iter().find(|field| field.place.name == name).unwrap();
    let kept = field("until").validation.as_ref().unwrap();
    assert_eq!(
        (&kept.minimum, &kept.maximum, &kept.depends_on[0]),
        (&Some(json!(40.0)), &Some(json!(50.0)), &"age".to_owned())
    );
    assert_eq!(field("city").validation.as_ref().unwrap().options.as_ref().unwrap().len(), 3);
}

#[test]
fn values_obey_or_are_told_why_not() {
    let service = quote();
    assert_eq!(names(&service, &json!({})), Vec::<String>::new(), "defaults are the author's");
    assert_eq!(
        faults(&service, &json!({"AGE": 17})),
        [("age".to_owned(), "Give an age from 18 to 99.".to_owned())]
    );
    assert_eq!(
        names(&service, &json!({"age": 18, "rate": 1, "plan": "plus", "even": 8, "code": "xyz"})),
        Vec::<String>::new()
    );
    for (record, message) in [
        (json!({"rate": 1.0001}), "rate must be a number at most 1"),
        (json!({"rate": "much"}), "rate must be a number at most 1"),
        (json!({"rate": true}), "rate must be a number at most 1"),
        (json!({"plan": "Basic"}), "plan must be one of basic, plus"),
        (json!({"country": "FR"}), "country must be one of EU, US"),
        (json!({"start": "2025-01-01"}), "start must be a date greater than 2025-01-01"),
        (json!({"start": "soon"}), "start must be a date greater than 2025-01-01"),
        (json!({"noon": "08:59"}), "noon must be a time from 09:00:00 to 18:00:00"),
        (json!({"code": "abcd"}), "the length of code must be equal to 3"),
        (json!({"code": 12}), "the length of code must be equal to 3"),
        (json!({"even": 3}), "even is not a value that the workbook accepts"),
        (json!({"until": 39}), "until must be a whole number from 40 to 50"),
        (json!({"until": 40.5}), "until must be a whole number from 40 to 50"),
        (json!({"city": "Boston"}), "city must be one of Paris, Rome, Berlin"),
        (json!({"country": "US", "city": "Paris"}), "city must be one of Boston, Denver"),
        (json!({"country": "US", "place": "Paris"}), "place must be one of Boston, Denver"),
        (json!({"country": "us", "city": "Paris", "age": 20}), "city must be one of Boston, Denver"),
    ] {
        let mut found = faults(&service, &record);
        // A formula with a broken value may be an error, and the cell of `Xvalidate_age` says so as well.
        found.retain(|(_, message)| !message.starts_with("Xvalidate_"));
        assert_eq!(
            found.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>(),
            [message],
            "{record}"
        );
    }
    for record in [
        json!({"until": "45", "rate": "0.5", "start": "2026-05-01", "noon": "12:00", "code": 123}),
        json!({"age": null, "plan": "", "city": null, "start": null, "even": null}),
        json!({"country": "us", "city": "boston"}),
        json!({"country": "US", "place": "DENVER"}),
        json!({"age": 20, "until": 30}),
        json!({"town": "12", "even": "12"}),
        json!({"nothing": 5}),
    ] {
        assert_eq!(faults(&service, &record), [], "{record}");
    }
    let blank = faults(&service, &json!({"rate": null}));
    assert_eq!(blank[0], ("rate".to_owned(), "rate must not be blank".to_owned()));
    let country = names(&service, &json!({"country": "FR", "city": "Paris"}));
    assert_eq!(country, ["country", "city"], "no list of that name: nothing is allowed");
}

#[test]
fn relative_formulas_move_with_the_cell() {
    // The rule of A9:A10 is written for A9; on A10 it asks about A10.
    assert_eq!(names(&quote(), &json!({"town": 5})), ["town"]);
    assert_eq!(names(&quote(), &json!({"town": 6})), Vec::<String>::new());
}

#[test]
fn messages_come_from_cells() {
    let service = quote();
    assert_eq!(
        faults(&service, &json!({"age": 60})),
        [("age".to_owned(), "too old for this rate".to_owned())]
    );
    assert_eq!(names(&service, &json!({"age": 60, "rate": 0.9})), Vec::<String>::new());
    let two = faults(&service, &json!({"age": 120, "rate": 0.9}));
    assert_eq!(two.len(), 2, "the rule and the cell: {two:?}");
}

#[test]
fn dynamic_answers_are_those_that_a_record_changes() {
    let service = quote();
    let changed = |record: Value| {
        let prepared = service.prepare(&Options::default());
        by_input(prepared.changed_validations(record.to_string().as_bytes()).unwrap()).unwrap()
    };
    assert!(changed(json!({})).is_empty());
    assert!(changed(json!({"country": "EU", "plan": "plus"})).is_empty());
    let us = changed(json!({"country": "US"}));
    assert_eq!(us.keys().collect::<Vec<_>>(), ["city", "place"]);
    assert_eq!(us["city"]["options"], json!(["Boston", "Denver"]));
    assert_eq!(us["place"]["options"], json!(["Boston", "Denver"]));
    assert_eq!(changed(json!({"age": 30}))["until"]["max"], 40.0);
}

#[test]
fn rules_change_no_result_of_a_batch() {
    let service = quote();
    assert_eq!(
        outputs(&service, json!({"inputs": [["age", "rate"], [17, 5], ["x", null]]})),
        json!([["b"], [34.0], ["#VALUE!"]])
    );
}

#[test]
fn rules_that_cannot_be_evaluated_are_told_at_upload() {
    let mut parts = Parts::new(r#"<row r="1"><c r="A1"><v>1</v></c><c r="B1"><f>A1</f><v>1</v></c></row>"#);
    parts.names += r#"<definedName name="Xvalidate_a">S!$B$1:$C$1</definedName><definedName name="Xvalidate_b">S!#REF!</definedName>
        <definedName name="Xvalidate_c">S!$D$1</definedName>"#;
    parts.sheet = parts.sheet.replace("</row>", r#"<c r="D1"><f>NOSUCH(1)</f></c></row>"#).replace(
        "</sheetData>",
        r#"</sheetData><dataValidations><dataValidation type="custom" sqref="A1"><formula1>NOSUCH(A1)</formula1></dataValidation></dataValidations>"#,
    );
    let service = load(&parts.zip()).unwrap();
    let warnings = service.report().warnings.join("\n");
    for part in [
        "the input a is not enforced",
        "Xvalidate_a must mark one cell",
        "Xvalidate_b",
        "Xvalidate_c is not evaluated",
        "NOSUCH",
    ] {
        assert!(warnings.contains(part), "{part}: {warnings}");
    }
    assert_eq!(faults(&service, &json!({"a": 5})), []);
    assert!(service.interface().inputs[0].validation.is_some(), "it is still told");
}

#[test]
fn documents_behave_the_same() {
    let service = document(&json!({
        "inputs": [
            {"name": "age", "type": "integer", "default": 40, "minimum": 18, "maximum": 99},
            {"name": "share", "type": "number", "maximum": 1},
            {"name": "amount", "type": "number"},
            {"name": "plan", "type": "text", "options": ["basic", "plus"]},
            {"name": "start", "type": "date", "minimum": "2026-01-01"},
            {"name": "smoker", "type": "boolean"},
            {"name": "note", "type": "text"}
        ],
        "outputs": [{"name": "x", "formula": "age"}]
    }));
    for (record, message) in [
        (json!({"age": 17}), "age must be a whole number from 18 to 99"),
        (json!({"age": 20.5}), "age must be a whole number from 18 to 99"),
        (json!({"share": 1.5}), "share must be a number at most 1"),
        (json!({"amount": "many"}), "amount must be a number"),
        (json!({"plan": "gold"}), "plan must be one of basic, plus"),
        (json!({"start": "2025-12-31"}), "start must be a date at least 2026-01-01"),
        (json!({"smoker": 5}), "smoker must be true or false"),
    ] {
        assert_eq!(
            faults(&service, &record).iter().map(|(_, m)| m.as_str()).collect::<Vec<_>>(),
            [message],
            "{record}"
        );
    }
    let sound = json!({"age": "20", "share": 1, "amount": -5, "plan": "plus", "start": "2026-01-01", "smoker": "true", "note": 5});
    assert_eq!(faults(&service, &sound), []);
    assert_eq!(faults(&service, &json!({"age": null, "plan": "", "start": null, "smoker": null})), []);
    let answers = by_input(service.prepare(&Options::default()).validations(None).unwrap()).unwrap();
    assert_eq!(
        (&answers["start"]["min"], &answers["start"]["validation_allow"]),
        (&json!("2026-01-01"), &json!("Date"))
    );
    assert_eq!(
        (&answers["note"]["validation_type"], &answers["note"]["validation_allow"]),
        (&json!("none"), &json!("Any value"))
    );
    assert_eq!(answers["plan"]["options"], json!(["basic", "plus"]));
}

#[test]
fn records_that_are_none_are_refused() {
    let prepared = quote().prepare(&Options::default());
    for record in ["", "[]", "{", "{\"age\":}", "{} {}"] {
        assert!(prepared.violations(record.as_bytes()).is_err(), "{record}");
    }
}

proptest! {
    #![proptest_config(support::properties::config(256))]

    #[test]
    fn any_record_is_judged_without_a_panic(
        name in prop::sample::select(vec!["age", "rate", "plan", "country", "city", "start", "noon", "code", "even", "until", "place"]),
        value in prop_oneof![
            any::<f64>().prop_map(|x| json!(x)),
            "[ -~]{0,12}".prop_map(|text| json!(text)),
            any::<bool>().prop_map(|x| json!(x)),
            Just(json!(null)),
            Just(json!([1, {"a": 2}])),
        ],
        country in "(EU|US|)",
    ) {
        let service = SERVICE.get_or_init(quote);
        let prepared = service.prepare(&Options::default());
        let record = json!({(name): value, "country": country}).to_string();
        prop_assert!(prepared.violations(record.as_bytes()).is_ok());
        prop_assert!(prepared.changed_validations(record.as_bytes()).is_ok());
    }
}
