//! What reads foreign bytes, as functions that take any bytes and panic when a promise is broken. The programs of
//! `fuzz_targets` hand them to libFuzzer, `tests/fuzz_corpora.rs` gives them the corpora.

use std::io::{Cursor, Write};
use std::sync::LazyLock;

use millrace_calc::book::{Book, Cell, Range, Sheet};
use millrace_calc::chunk::scan;
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, Program, Volatile};
use millrace_calc::service::{Options, Prepared, Scratch, Service, SourceKind};
use millrace_calc::validation::{ValidationType, by_input};
use millrace_calc::value::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Longer formulas take the fuzzer's time and show nothing else.
const FORMULA_BYTES: usize = 400;
const KIND: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
/// One record without inputs, and one chunk of it.
const DEFAULTS: &[u8] = br#"{"inputs":[{}]}"#;

/// A workbook: the parts that are always the same, and these.
fn archive(sheet: &[u8], names: &str) -> Option<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut put = |name: &str, bytes: &[u8]| {
        zip.start_file(name, SimpleFileOptions::default()).ok()?;
        zip.write_all(bytes).ok()
    };
    let link = |kind: &str, target: &str| {
        format!(
            r#"<Relationships><Relationship Id="r1" Type="{KIND}/{kind}" Target="{target}"/></Relationships>"#
        )
    };
    put("[Content_Types].xml", b"<Types/>")?;
    put("_rels/.rels", link("officeDocument", "xl/workbook.xml").as_bytes())?;
    let book = format!(
        r#"<workbook><sheets><sheet name="S" id="r1"/></sheets><definedNames>{names}</definedNames></workbook>"#
    );
    put("xl/workbook.xml", book.as_bytes())?;
    put("xl/_rels/workbook.xml.rels", link("worksheet", "sheet.xml").as_bytes())?;
    put("xl/sheet.xml", sheet)?;
    zip.finish().ok().map(Cursor::into_inner)
}

fn name(name: &str, cell: &str) -> String {
    format!(r#"<definedName name="{name}">S!{cell}</definedName>"#)
}

/// A service is loaded or refused; one that is loaded evaluates its own defaults to JSON.
fn load(kind: SourceKind, bytes: &[u8]) {
    let Ok(service) = Service::load(kind, bytes, &Limits::default()) else { return };
    let prepared = service.prepare(&Options::default());
    if let Ok(result) = prepared.evaluate(DEFAULTS, None, &mut Scratch::default()) {
        assert_eq!(result.records, 1);
        let mut out = Vec::new();
        result.write_json("c", &mut out);
        assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok(), "{}", out.escape_ascii());
    }
}

/// A workbook: a whole archive, or else a worksheet part inside a sound archive, which gets behind the checksums.
pub fn workbook(bytes: &[u8]) {
    let names = [name("Xinput_a", "$A$1"), name("Xoutput_b", "$B$1")].concat();
    let whole = if bytes.starts_with(b"PK") { Some(bytes.to_vec()) } else { archive(bytes, &names) };
    if let Some(whole) = whole {
        load(SourceKind::Workbook, &whole);
    }
}

/// A formula document.
pub fn document(bytes: &[u8]) {
    load(SourceKind::FormulaDocument, bytes);
}

/// A formula: what compiles runs, and columns come to the same as record after record.
pub fn formula(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.len() > FORMULA_BYTES {
        return;
    }
    let mut sheet = Sheet { name: "S".into(), ..Sheet::default() };
    for row in 0..6_u32 {
        sheet.cells.insert((row, 2), Cell { value: Value::from(f64::from(row) * 1.5), formula: None });
    }
    sheet.cells.insert((0, 1), Cell { value: Value::Blank, formula: Some(text.to_owned()) });
    let book = Book { sheets: vec![sheet], ..Book::default() };
    let inputs = Range { sheet: 0, first_row: 0, first_column: 0, last_row: 3, last_column: 0 };
    let compiled = Program::compile(&book, &[inputs], &[Range::cell(0, 0, 1)], &Limits::default());
    let Ok(program) = compiled else { return };
    let records = [
        [Value::from(1.0), Value::from(-2.5), Value::from(3.0), Value::from(0.0)],
        [Value::from("x"), Value::Blank, Value::Boolean(true), Value::from("12")],
    ];
    let columns: Vec<Column> = (0..4)
        .map(|i| Column::from_values(records.iter().map(|record| record[i].clone()).collect()))
        .collect();
    let volatile = Volatile { now: 45_000.5, seed: 1 };
    let scratches =
        [millrace_calc::program::Scratch::default(), millrace_calc::program::Scratch::record_by_record()];
    let results = scratches.map(|mut scratch| {
        let mut outputs = Vec::new();
        program.run(&columns, 2, &volatile, 0, &mut scratch, &mut outputs);
        [outputs[0].get(0), outputs[0].get(1)]
    });
    assert_eq!(results[0], results[1], "{text}");
}

static PREPARED: LazyLock<Prepared> = LazyLock::new(|| {
    let document = br#"{"inputs":[{"name":"a","type":"number","default":3},{"name":"b","type":"text","default":"x"},{"name":"z","type":"number"}],
        "outputs":[{"name":"sum","formula":"a+z"},{"name":"text","formula":"b&a"},{"name":"ratio","formula":"IF(z>a,a/z,b)"}]}"#;
    let service =
        Service::load(SourceKind::FormulaDocument, document, &Limits::default()).expect("a sound document");
    service.prepare(&Options { unique_record_key: vec!["k".into()], ..Options::default() })
});

/// The body of a push: what the scan lets pass evaluates, to as many records, and the result is text.
pub fn body(bytes: &[u8]) {
    let scanned = scan(bytes);
    let result = PREPARED.evaluate(bytes, None, &mut Scratch::default());
    if let (Ok(scanned), Ok(result)) = (&scanned, &result) {
        assert_eq!(scanned.records, result.records);
        let mut out = Vec::new();
        result.write_json("c", &mut out);
        assert!(std::str::from_utf8(&out).is_ok());
    }
}

/// Data validations as a worksheet has them, and behind the last line feed a record. What inputs allow is said once for each;
/// what a record changes is dynamic; what it violates are inputs of the service, or its checks.
pub fn validation(bytes: &[u8]) {
    let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') else { return };
    let (rules, record) = (&bytes[..at], &bytes[at + 1..]);
    let cells = br#"<worksheet><sheetData><row r="1"><c r="A1"><v>40</v></c><c r="B1"><f>A1*2</f></c><c r="C1"><v>9</v></c></row><row r="2"><c r="A2" t="str"><v>Paris</v></c><c r="B2" t="str"><f>IF(A1&gt;C1,"too much","")</f></c><c r="C2" t="str"><v>Paris</v></c></row><row r="3"><c r="A3"><v>46000</v></c><c r="C3" t="str"><v>Rome</v></c></row></sheetData><dataValidations>"#;
    let sheet = [cells, rules, b"</dataValidations></worksheet>"].concat();
    let names = [
        ("Xinput_a", "$A$1"),
        ("Xinput_t", "$A$2"),
        ("Xinput_d", "$A$3"),
        ("Xoutput_b", "$B$1"),
        ("Xvalidate_c", "$B$2"),
    ];
    let names: String = names.map(|(label, cell)| name(label, cell)).concat();
    let Some(book) = archive(&sheet, &names) else { return };
    let Ok(service) = Service::load(SourceKind::Workbook, &book, &Limits::default()) else { return };
    let prepared = service.prepare(&Options::default());
    let usual = prepared.validations(None).expect("the defaults are a record");
    let named = by_input(usual.clone()).expect("plain data");
    assert_eq!(named.len(), usual.len(), "each input once");
    let now = prepared.validations(Some(record));
    let changed = prepared.changed_validations(record);
    assert_eq!(now.is_ok(), changed.is_ok());
    if let (Ok(now), Ok(changed)) = (now, changed) {
        for answer in &changed {
            assert!(
                answer.validation_type == ValidationType::Dynamic
                    && now.contains(answer)
                    && !usual.contains(answer)
            );
        }
    }
    for violation in prepared.violations(record).unwrap_or_default() {
        assert!(["a", "t", "d", "c"].contains(&violation.input.as_str()), "{violation:?}");
        assert!(!violation.message.is_empty() || violation.title.is_some(), "{violation:?}");
    }
}
