//! Workbooks: the interface they mark (contract 5), what is read from them, and ([`refused`]) the files that are not taken.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../support/raw.rs"]
mod raw;
mod refused;
#[path = "../support/mod.rs"]
mod support;

use millrace_calc::interface::DataType;
use millrace_calc::load::LoadError;
use millrace_calc::service::{Options, Service};
use raw::Parts;
use rust_xlsxwriter::{
    DataValidation, DataValidationRule, DocProperties, Formula, Table, TableColumn, Workbook,
};
use serde_json::json;
use support::{answer, filtered, load, outputs, sales_workbook, workbook};

const CELLS: &str = r#"<row r="1"><c r="A1"><v>2</v></c><c r="B1"><f>A1*2</f><v>4</v></c></row>"#;

fn refused(parts: &Parts) -> LoadError {
    load(&parts.zip()).unwrap_err()
}

#[test]
fn rule_5_1_the_sales_workbook_is_a_service() {
    let service = workbook(sales_workbook());
    let interface = service.interface();
    let inputs: Vec<_> = interface
        .inputs
        .iter()
        .map(|field| {
            (field.place.name.as_str(), field.place.address.as_str(), field.default.clone(), field.data_type)
        })
        .collect();
    assert_eq!(
        inputs,
        [
            ("price", "B1", json!(20.0), DataType::Number),
            ("quantity", "B2", json!(65.0), DataType::Number),
            ("tax", "B3", json!(0.1), DataType::Number),
        ]
    );
    assert_eq!(interface.outputs[0].place.name, "total");
    assert_eq!(interface.outputs[0].value, json!(1430.0));
    assert_eq!(
        (interface.counts.sheets, interface.counts.formulas, interface.counts.cells_with_data),
        (1, 1, 8)
    );
    assert_eq!(service.report().functions, ["ROUND"]);
    assert_eq!(service.report().warnings, Vec::<String>::new());
    assert_eq!(service.report().source_hash.len(), 64);
    assert_eq!(
        outputs(&service, json!({"inputs": [["price"], [20], [1]]})),
        json!([["total"], [1430.0], [71.5]])
    );
}

#[test]
fn rule_5_2_comments_validation_and_properties_are_reported() {
    let mut book = sales_workbook();
    book.set_properties(&DocProperties::new().set_title("Sales").set_author("Ada"));
    let rule = DataValidation::new().allow_decimal_number(DataValidationRule::Between(0.0, 1.0));
    let rule = rule.set_error_title("Tax").unwrap().set_error_message("a share").unwrap();
    book.worksheet_from_index(0).unwrap().add_data_validation(2, 1, 2, 1, &rule).unwrap();
    let service = workbook(book);
    let interface = service.interface();
    assert_eq!(interface.properties.title.as_deref(), Some("Sales"));
    assert_eq!(interface.properties.creator.as_deref(), Some("Ada"));
    assert_eq!(interface.properties.sheets, ["Sheet1"]);
    let validation = interface.inputs[2].validation.as_ref().unwrap();
    assert_eq!(
        (validation.kind.as_str(), validation.first.as_deref(), validation.second.as_deref()),
        ("decimal", Some("0"), Some("1"))
    );
    assert_eq!(validation.error.as_deref(), Some("a share"));

    let mut parts = Parts::new(CELLS);
    parts.names = r#"<definedName name="Xinput_a" comment="How &lt;many&gt;">S!$A$1</definedName><definedName name="Xoutput_b">S!$B$1</definedName>"#.into();
    let service = load(&parts.zip()).unwrap();
    assert_eq!(service.interface().inputs[0].place.description.as_deref(), Some("How <many>"));
}

#[test]
fn rule_5_2_a_formula_in_an_input_cell_gives_the_default() {
    let saved = r#"<row r="1"><c r="A1"><f>1+1</f><v>2</v></c><c r="B1"><f>A1*2</f><v>4</v></c></row>"#;
    let unsaved = r#"<row r="1"><c r="A1"><f>1+1</f></c><c r="B1"><f>A1*2</f></c></row>"#;
    for rows in [saved, unsaved] {
        let service = load(&Parts::new(rows).zip()).unwrap();
        assert_eq!(service.interface().inputs[0].default, json!(2.0));
        assert_eq!(service.interface().outputs[0].value, json!(4.0));
        assert_eq!(outputs(&service, json!({"inputs": [["a"], [5], []]})), json!([["b"], [10.0], [4.0]]));
    }
}

#[test]
fn rule_5_3_subservices_choose_inputs_and_outputs() {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (row, value) in [1, 10, 100].into_iter().enumerate() {
        sheet.write(u32::try_from(row).unwrap(), 0, value).unwrap();
    }
    sheet.write_formula(0, 1, Formula::new("=A1+A2+A3").set_result("111")).unwrap();
    sheet.write_formula(1, 1, Formula::new("=A2*2").set_result("20")).unwrap();
    for (name, cell) in [
        ("Xinput_all", "A$1"),
        ("Xinput_life.x", "A$2"),
        ("Xinput_fire.x", "A$3"),
        ("Xoutput_sum", "B$1"),
        ("Xoutput_life.y", "B$2"),
    ] {
        book.define_name(name, &format!("=Sheet1!${cell}")).unwrap();
    }
    let service = workbook(book);
    assert_eq!(service.interface().inputs[1].place.subservice.as_deref(), Some("life"));
    let data = json!({"inputs": [["all", "life.x", "fire.x"], [2, 20, 200]]});
    let run = |subservices: &[&str]| {
        let subservices = subservices.iter().map(ToString::to_string).collect();
        answer(&service, &Options { subservices, ..Options::default() }, &data)
    };
    assert_eq!(run(&[])["outputs"], json!([["sum", "life.y"], [222.0, 40.0]]));
    assert_eq!(run(&["LIFE"])["outputs"], json!([["life.y"], [40.0]]));
    assert_eq!(
        run(&["#Default#"])["outputs"],
        json!([["sum"], [112.0]]),
        "inputs of other subservices keep their defaults"
    );
    assert_eq!(run(&["life,#default#"])["outputs"], json!([["sum", "life.y"], [122.0, 40.0]]));
    let unknown = run(&["nope"]);
    assert_eq!(unknown["outputs"], json!([[], []]));
    assert!(unknown["warnings"][0][0]["message"].as_str().unwrap().contains("nope"));
    assert_eq!(
        answer(&service, &filtered(&["y"]), &data)["outputs"],
        json!([["life.y"], [40.0]]),
        "filters match without the prefix"
    );
    let short = Options { subservices: vec!["life".into()], ..Options::default() };
    let answer_short = answer(&service, &short, &json!({"inputs": [["x"], [3]]}));
    assert_eq!(answer_short["outputs"], json!([["life.y"], [6.0]]));
    let plain = answer(
        &support::sales(),
        &Options { subservices: vec!["nope".into()], ..Options::default() },
        &json!({"inputs": [["price"], [1]]}),
    );
    assert_eq!(
        plain["outputs"],
        json!([["total"], [71.5]]),
        "without subservices a given name has no effect"
    );
    assert_eq!(plain["warnings"], json!([null]));
}

/// Items with amount and price; the output table doubles the amounts.
fn table_service() -> Service {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for (row, values) in [["Amount", "Price"], ["1", "10"], ["2", "20"], ["3", "30"]].iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            let at = (u32::try_from(row).unwrap(), u16::try_from(column).unwrap());
            match value.parse::<f64>() {
                Ok(number) => sheet.write(at.0, at.1, number).unwrap(),
                Err(_) => sheet.write(at.0, at.1, *value).unwrap(),
            };
        }
    }
    sheet.write_formula(0, 3, Formula::new("=SUMPRODUCT(A2:A4,B2:B4)").set_result("140")).unwrap();
    sheet.write(0, 5, "Twice").unwrap().write(0, 6, "Text").unwrap();
    for row in 1..4 {
        sheet
            .write_formula(
                row,
                5,
                Formula::new(format!("=A{}*2", row + 1)).set_result(format!("{}", row * 2)),
            )
            .unwrap();
        sheet
            .write_formula(row, 6, Formula::new(format!("=\"n\"&A{}", row + 1)).set_result(format!("n{row}")))
            .unwrap();
    }
    for (name, area) in
        [("Xinput_items", "$A$1:$B$4"), ("Xoutput_worth", "$D$1"), ("Xoutput_list", "$F$1:$G$4")]
    {
        book.define_name(name, &format!("=Sheet1!{area}")).unwrap();
    }
    workbook(book)
}

#[test]
fn rule_2_1_tables_come_as_objects_or_as_rows_with_headings() {
    let service = table_service();
    assert_eq!(service.interface().inputs[0].data_type, DataType::Table);
    assert_eq!(service.interface().inputs[0].place.headings, ["Amount", "Price"]);
    assert_eq!(service.interface().inputs[0].default[1], json!({"Amount": 2.0, "Price": 20.0}));
    assert_eq!(service.report().warnings, Vec::<String>::new());
    let data = json!({"inputs": [
        ["items"],
        [[{"amount": 5, "PRICE": 2}]],
        [[["Price", "Amount"], [2, 5], [1, 1]]],
        [null],
        [],
    ]});
    let result = answer(&service, &filtered(&["worth"]), &data);
    assert_eq!(result["outputs"], json!([["worth"], [10.0], [11.0], [0.0], [140.0]]));
    let by_parameter = json!({"inputs": [["x"], [1]], "parameters": {"items": [{"Amount": 1, "Price": 7}]}});
    assert_eq!(answer(&service, &filtered(&["worth"]), &by_parameter)["outputs"], json!([["worth"], [7.0]]));
}

#[test]
fn rule_2_1_a_table_that_is_too_long_is_cut_and_a_wrong_one_is_an_error_of_the_record() {
    let service = table_service();
    let long: Vec<_> = (0..5).map(|_| json!({"Amount": 1, "Price": 1})).collect();
    let data =
        json!({"inputs": [["items"], [long], [[{"Nope": 1}]], ["text"], [[["Amount"], {"Amount": 1}]]]});
    let result = answer(&service, &filtered(&["worth"]), &data);
    assert_eq!(result["outputs"], json!([["worth"], [3.0], ["#VALUE!"], ["#VALUE!"], ["#VALUE!"]]));
    assert_eq!(result["warnings"][0][0]["source_path"], "inputs.items");
    assert_eq!(result["errors"][0], json!(null));
    assert_eq!(result["errors"][1][0]["error_category"], "validation_error");
    assert!(result["errors"][1][0]["message"].as_str().unwrap().contains("Nope"));
    assert!(result["errors"][2].is_array() && result["errors"][3].is_array());
    assert_eq!(support::run(&service, &Options::default(), &data).unwrap().records_failed, 3);
}

#[test]
fn rule_2_3_table_outputs_are_lists_of_objects() {
    let result = outputs(&table_service(), json!({"inputs": [["items"], []]}));
    assert_eq!(
        result[1][1],
        json!([{"Twice": 2.0, "Text": "n1"}, {"Twice": 4.0, "Text": "n2"}, {"Twice": 6.0, "Text": "n3"}])
    );
}

#[test]
fn rule_5_2_headings_are_required_and_unique() {
    for (first, second) in [("A", "a"), ("A", " ")] {
        let mut book = Workbook::new();
        let sheet = book.add_worksheet();
        sheet.write(0, 0, first).unwrap().write(0, 1, second).unwrap().write(1, 0, 1).unwrap();
        book.define_name("Xinput_t", "=Sheet1!$A$1:$B$2").unwrap();
        match load(&book.save_to_buffer().unwrap()).unwrap_err() {
            LoadError::Name { name, message } => {
                assert!(name == "Xinput_t" && message.contains("B1"), "{message}")
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn tables_and_shared_formulas_are_read() {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.set_name("It's data").unwrap();
    sheet.write_column(1, 0, [1, 2, 3]).unwrap();
    sheet.write_column(1, 1, [10, 20, 30]).unwrap();
    let table = Table::new()
        .set_name("Rates")
        .set_columns(&[TableColumn::new().set_header("Key"), TableColumn::new().set_header("Rate")]);
    sheet.add_table(0, 0, 3, 1, &table).unwrap();
    sheet.write(0, 4, 2).unwrap();
    sheet
        .write_formula(1, 4, Formula::new("=INDEX(Rates[Rate],MATCH(E1,Rates[Key],0))").set_result("20"))
        .unwrap();
    book.define_name("Xinput_k", "='It''s data'!$E$1").unwrap();
    book.define_name("Xoutput_r", "='It''s data'!$E$2").unwrap();
    let service = workbook(book);
    assert_eq!(service.report().warnings, Vec::<String>::new());
    assert_eq!(outputs(&service, json!({"inputs": [["k"], [3], [9]]})), json!([["r"], [30.0], ["#N/A"]]));

    let shared = r#"<row r="1"><c r="A1"><v>2</v></c><c r="B1"><f>C3</f><v>8</v></c></row>
        <row r="2"><c r="C2"><f t="shared" ref="C2:C3" si="4000000000">$A1*2</f><v>4</v></c></row>
        <row r="3"><c r="A2"><v>4</v></c><c r="C3"><f t="shared" si="4000000000"/><v>8</v></c></row>"#;
    let service = load(&Parts::new(shared).zip()).unwrap();
    assert_eq!(service.interface().outputs[0].value, json!(8.0));
    assert_eq!(service.report().warnings, Vec::<String>::new());
}

#[test]
fn values_of_every_type_are_read() {
    let rows = r#"<row r="1"><c r="A1" t="inlineStr"><is><t>a_x000D_</t><r><t>b</t></r><rPh><t>no</t></rPh></is></c><c r="B1"><f>A1</f></c></row>
        <row><c t="b"><v>1</v></c><c t="e"><v>#N/A</v></c><c t="s"><v>1</v></c><c t="d"><v>2026-01-31</v></c><c t="str"><v>x&amp;&#233;</v></c></row>"#;
    let mut parts = Parts::new(rows);
    let names: String = [("a", "A1"), ("b", "A2"), ("e", "B2"), ("s", "C2"), ("d", "D2"), ("t", "E2")]
        .map(|(name, cell)| format!(r#"<definedName name="Xinput_{name}">S!{cell}</definedName>"#))
        .concat();
    parts.names = names;
    parts.extra.push((
        "xl/sharedStrings.xml".into(),
        br#"<sst uniqueCount="99999999999999"><si/><si><t>two</t></si></sst>"#.to_vec(),
    ));
    let service = load(&parts.zip()).unwrap();
    let defaults: Vec<_> = service.interface().inputs.iter().map(|field| field.default.clone()).collect();
    assert_eq!(
        defaults,
        [json!("a\rb"), json!(true), json!("#N/A"), json!("two"), json!(46053.0), json!("x&é")]
    );
}

#[test]
fn saved_results_that_differ_are_reported() {
    let rows = r#"<row r="1"><c r="A1"><v>2</v></c><c r="B1"><f>A1*2</f><v>5</v></c></row>"#;
    let service = load(&Parts::new(rows).zip()).unwrap();
    assert_eq!(service.report().mismatches.len(), 1);
    assert!(service.report().warnings[0].contains("S!B1"), "{:?}", service.report().warnings);
}

#[test]
fn other_markers_are_warned_about() {
    let mut parts = Parts::new(CELLS);
    parts.names.push_str(r#"<definedName name="Xsolve_x">S!$A$1</definedName><definedName name="Xcircular_switch">S!$A$1</definedName>"#);
    let service = load(&parts.zip()).unwrap();
    let warnings = service.report().warnings.join("\n");
    for name in ["Xsolve_x", "Xcircular_switch"] {
        assert!(warnings.contains(name), "{warnings}");
    }
}

#[test]
fn names_that_mark_nothing_usable_are_refused_by_name() {
    for (name, definition, part) in [
        ("Xinput_", "S!$A$1", "nothing follows"),
        ("Xinput_a.b.c", "S!$A$1", "dot"),
        ("Xinput_.b", "S!$A$1", "dot"),
        ("Xinput_x", "S!#REF!", "deleted"),
        ("Xinput_x", "[1]S!$A$1", "this workbook"),
        ("Xinput_x", "Nope!$A$1", "Nope"),
        ("Xinput_x", "S!$A:$A", "bounded"),
        ("Xinput_x", "5", "must refer"),
        ("Xinput_x", "S!$A$1:$B$1", "heading"),
        ("XINPUT_A", "S!$C$1", "twice"),
        ("Xinput_c", "S!$A$1", "shares the cell S!A1"),
    ] {
        let mut parts = Parts::new(CELLS);
        parts.names.push_str(&format!(r#"<definedName name="{name}">{definition}</definedName>"#));
        match refused(&parts) {
            LoadError::Name { message, .. } => assert!(message.contains(part), "{name}: {message}"),
            other => panic!("{name}: {other}"),
        }
    }
    let mut parts = Parts::new(CELLS);
    parts.names = r#"<definedName name="other">S!$A$1</definedName>"#.into();
    assert_eq!(refused(&parts), LoadError::NoInterface);
}

#[test]
fn what_if_tables_are_refused_where_an_output_needs_them() {
    let needed = r#"<row r="1"><c r="A1"><v>2</v></c><c r="B1"><f>C1</f></c><c r="C1"><f t="dataTable" ref="C1:C2">SUM(A1:A2)</f><v>2</v></c></row>"#;
    match refused(&Parts::new(needed)) {
        LoadError::ArrayFormula { place, .. } => assert_eq!(place, "S!C1"),
        other => panic!("{other}"),
    }
    let idle = needed.replace("<f>C1</f>", "<f>A1</f>");
    assert!(load(&Parts::new(&idle).zip()).is_ok(), "a table that no output needs");
}

/// A sheet whose A1 is the input, with 3 and 4 below; B1 is the output, C1 and below hold an array formula.
fn array_sheet(attributes: &str, formula: &str, output: &str) -> Parts {
    Parts::new(&format!(
        r#"<row r="1"><c r="A1"><v>2</v></c><c r="B1"><f>{output}</f></c><c r="C1"{attributes}>{formula}</f><v>2</v></c></row>
           <row r="2"><c r="A2"><v>3</v></c><c r="C2"><v>3</v></c></row><row r="3"><c r="A3"><v>4</v></c><c r="C3"><v>4</v></c></row>"#
    ))
}

#[test]
fn array_formulas_are_compiled_where_the_size_of_the_result_is_that_of_their_cells() {
    let (one, three) = (r#"><f t="array" ref="C1""#, r#"><f t="array" ref="C1:C3""#);
    for (attributes, formula, output, expected) in [
        // One cell: the first item.
        (one, "SUM((A1:A3&gt;2)*A1:A3)", "C1", 12.0),
        (one, "A1:A3*2", "C1", 10.0),
        (one, "SUM(_xlfn._xlws.FILTER(A1:A3,A1:A3&gt;2))", "C1", 12.0),
        (one, "_xlfn._xlws.FILTER(A1:A3,A1:A3&gt;3)", "C1", 5.0),
        // Three cells: each its item, single values repeated, #N/A beyond the end.
        (three, "A1:A3*2", "SUM(C1:C3)", 24.0),
        (three, "MAX(A1:A3)", "SUM(C1:C3)", 15.0),
        (three, "A2:A3", "IFNA(C3,C1)", 3.0),
        // Of a row that is repeated, each row has the same item.
        (three, "TRANSPOSE(A1:A3)", "C3", 5.0),
    ] {
        let service = load(&array_sheet(attributes, formula, output).zip())
            .unwrap_or_else(|error| panic!("{formula}: {error}"));
        let answer = outputs(&service, json!({"inputs": [["a"], [5]]}));
        assert_eq!(answer, json!([["b"], [expected]]), "{formula}");
    }
    let several = array_sheet(three, "_xlfn._xlws.FILTER(A1:A3,A1:A3&gt;3)", "SUM(C1:C3)");
    let message = refused(&several).to_string();
    assert!(message.contains("S!C1") && message.contains("array formula"), "{message}");
}

#[test]
fn links_to_other_workbooks_are_refused_where_an_output_needs_them() {
    let rows = r#"<row r="1"><c r="A1"><v>2</v></c><c r="B1"><f>[1]Other!$A$1+A1</f><v>4</v></c></row>"#;
    match refused(&Parts::new(rows)) {
        LoadError::ExternalLink { place, .. } => assert_eq!(place, "S!B1"),
        other => panic!("{other}"),
    }
}

#[test]
fn unsupported_formulas_and_circles_are_refused_with_the_cell() {
    for (formula, part) in [("NOSUCHFUNCTION(A1)", "NOSUCHFUNCTION"), ("B1+1", "B1"), ("A1+", "B1")] {
        let rows =
            format!(r#"<row r="1"><c r="A1"><v>2</v></c><c r="B1"><f>{formula}</f><v>4</v></c></row>"#);
        let message = refused(&Parts::new(&rows)).to_string();
        assert!(message.contains("S!B1") && message.contains(part), "{message}");
    }
}

#[test]
fn dates_count_from_1904_where_the_workbook_says_so() {
    let mut parts = Parts::new(CELLS);
    parts.workbook_attributes = r#"date1904="1""#.into();
    parts.sheet =
        parts.sheet.replace("A1*2", r#"TEXT(A1+&quot;2024-01-30&quot;,&quot;yyyy-mm-dd&quot;)&amp;YEAR(A1)"#);
    let data = json!({"inputs": [["a"], [1], [366]]});
    let service = load(&parts.zip()).unwrap();
    assert_eq!(outputs(&service, data.clone()), json!([["b"], ["2024-01-311904"], ["2025-01-301905"]]));
    // The same thread evaluates another workbook afterwards.
    parts.workbook_attributes = String::new();
    let service = load(&parts.zip()).unwrap();
    assert_eq!(outputs(&service, data), json!([["b"], ["2024-01-311900"], ["2025-01-301900"]]));
}
