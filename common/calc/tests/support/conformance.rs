//! The conformance table: how its files are read, and the book that its formulas stand in.
//!
//! A line is `formula => result`, or `formula => result ## source` where the source differs from that of the lines before it
//! (`@ source`). `~` before a number allows a relative difference of 1e-9, `~1e-6` another one (results that their source quotes
//! with fewer digits). Text that looks like something else has an apostrophe before it. `& H1 = 1,2;3,'x` puts cells on the
//! sheet Data, for the whole file: commas between columns, semicolons between rows. `//` starts a remark.
//! `! 1904` puts the whole file into the 1904 date system.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use millrace_calc::book::{Book, Cell, DateSystem, DefinedName, Range, Sheet, Table};
use millrace_calc::value::{ErrorValue, Value};

/// A formula and what Excel shows for it.
#[derive(Debug, Clone)]
pub struct Case {
    pub file: String,
    pub line: usize,
    pub formula: String,
    pub expected: Value,
    /// Relative difference that is allowed.
    pub tolerance: f64,
    pub source: String,
}

/// One file of the table.
#[derive(Debug)]
pub struct Family {
    pub cases: Vec<Case>,
    /// Cells besides those that every formula may read.
    pub cells: Vec<((u32, u32), Value)>,
    pub dates: DateSystem,
}

/// The volatile values that the table assumes.
pub const NOW: f64 = 45_000.75;

/// Every file of the table, sorted by name.
pub fn families() -> Vec<Family> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/conformance");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths.iter().map(|path| family(path)).collect()
}

fn family(path: &std::path::Path) -> Family {
    let file = path.file_name().unwrap().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).unwrap();
    let (mut cases, mut cells, mut source) = (Vec::new(), Vec::new(), String::new());
    let mut dates = DateSystem::From1900;
    for (i, line) in text.lines().enumerate() {
        let place = format!("{file}:{}", i + 1);
        if line.trim().is_empty() || line.starts_with("//") {
            continue;
        }
        if line == "! 1904" {
            dates = DateSystem::From1904;
            continue;
        }
        if let Some(rest) = line.strip_prefix("@ ") {
            source = rest.trim().to_owned();
            continue;
        }
        if let Some(rest) = line.strip_prefix("& ") {
            let (corner, values) = rest.split_once(" = ").unwrap_or_else(|| panic!("{place}: no cells"));
            let (row, column) = address(corner.trim());
            for (r, row_text) in values.split(';').enumerate() {
                for (c, text) in row_text.split(',').enumerate() {
                    if !text.is_empty() {
                        cells.push(((row + r as u32, column + c as u32), parse(text)));
                    }
                }
            }
            continue;
        }
        let (formula, rest) =
            line.rsplit_once(" => ").unwrap_or_else(|| panic!("{place}: no expectation: {line}"));
        let (expected, own) = rest.split_once(" ## ").map_or((rest, None), |(e, s)| (e, Some(s)));
        let expected = expected.trim_end();
        let (expected, tolerance) = match expected.strip_prefix('~') {
            None => (expected, 0.0),
            Some(rest) => {
                let (digits, value) = rest.split_once(' ').unwrap_or_else(|| panic!("{place}: no value"));
                (value, if digits.is_empty() { 1e-9 } else { digits.parse().unwrap() })
            }
        };
        cases.push(Case {
            file: file.clone(),
            line: i + 1,
            formula: formula.trim().to_owned(),
            expected: parse(expected),
            tolerance,
            source: own.map_or_else(|| source.clone(), |own| own.trim().to_owned()),
        });
    }
    Family { cases, cells, dates }
}

/// `B3` as zero-based row and column.
fn address(text: &str) -> (u32, u32) {
    let letters = text.chars().take_while(char::is_ascii_alphabetic).count();
    let column = text[..letters].bytes().fold(0, |sum, b| sum * 26 + u32::from(b - b'A') + 1) - 1;
    (text[letters..].parse::<u32>().unwrap() - 1, column)
}

/// A value as the table writes it: a number, TRUE or FALSE, an error, or text (after `'` where it would be something else).
pub fn parse(text: &str) -> Value {
    if let Some(rest) = text.strip_prefix('\'') {
        return Value::from(rest);
    }
    match text {
        "TRUE" => Value::Boolean(true),
        "FALSE" => Value::Boolean(false),
        _ => ErrorValue::parse(text)
            .map(Value::Error)
            .or_else(|| text.parse::<f64>().ok().map(Value::Number))
            .unwrap_or_else(|| Value::from(text)),
    }
}

/// Whether a value is the expected one.
pub fn same(actual: &Value, expected: &Value, tolerance: f64) -> bool {
    match (actual, expected) {
        (Value::Number(a), Value::Number(b)) => (a - b).abs() <= tolerance * b.abs().max(f64::MIN_POSITIVE),
        (a, b) => a == b,
    }
}

/// The book of a case: its formula in Calc!B3, and the sheet Data that all may read.
///
/// Data, rows 1 to 8, columns A to F: 1 apple 10 TRUE 2 x / 2 Banana 20 FALSE (blank) y / 3 cherry 30 text #N/A z /
/// 5 date 50 '7 4 x / 8 elder 80 (blank) 1 y / 13 fig 130 '' 9 x / 21 grape 210 0 -3 z / 34 apple 340 1.5 0.5 y.
/// Names: price = Data!$C$1, Rate = 0.25, twice_price = price*2, numbers = Data!$A$1:$A$8, local = 1, and 2 on sheet Calc.
/// Table Fruit = Data!A1:C8 with its headings in the first row.
pub fn book(formula: &str, cells: &[((u32, u32), Value)]) -> Book {
    let mut data = Sheet { name: "Data".into(), ..Sheet::default() };
    let rows: [[&str; 6]; 8] = [
        ["1", "apple", "10", "TRUE", "2", "x"],
        ["2", "Banana", "20", "FALSE", "", "y"],
        ["3", "cherry", "30", "text", "#N/A", "z"],
        ["5", "date", "50", "'7", "4", "x"],
        ["8", "elder", "80", "", "1", "y"],
        ["13", "fig", "130", "'", "9", "x"],
        ["21", "grape", "210", "0", "-3", "z"],
        ["34", "apple", "340", "1.5", "0.5", "y"],
    ];
    for (r, row) in rows.iter().enumerate() {
        for (c, text) in row.iter().enumerate() {
            if !text.is_empty() {
                data.cells.insert((r as u32, c as u32), Cell { value: parse(text), formula: None });
            }
        }
    }
    for (at, value) in cells {
        data.cells.insert(*at, Cell { value: value.clone(), formula: None });
    }
    let mut calc = Sheet { name: "Calc".into(), ..Sheet::default() };
    calc.cells.insert((2, 1), Cell { value: Value::Blank, formula: Some(formula.to_owned()) });
    let name = |name: &str, definition: &str, sheet: Option<u32>| DefinedName {
        name: name.into(),
        sheet,
        definition: definition.into(),
        comment: None,
    };
    Book {
        sheets: vec![data, calc],
        names: vec![
            name("price", "Data!$C$1", None),
            name("Rate", "0.25", None),
            name("twice_price", "price*2", None),
            name("numbers", "Data!$A$1:$A$8", None),
            name("local", "1", None),
            name("LOCAL", "2", Some(1)),
        ],
        tables: vec![Table {
            name: "Fruit".into(),
            range: Range { sheet: 0, first_row: 0, first_column: 0, last_row: 7, last_column: 2 },
            columns: vec!["1".into(), "apple".into(), "10".into()],
            header_rows: 1,
            totals_rows: 0,
        }],
        ..Book::default()
    }
}

/// The formula with every literal outside array constants replaced by one that is only known at run time:
/// `IF(Calc!$H$1=1,literal,0)`. Its value and its kind (no reference) stay the same.
pub fn hoisted(formula: &str) -> String {
    let bytes = formula.as_bytes();
    let mut out = String::new();
    let mut i = 0;
    let hidden = |literal: &str| format!("IF(Calc!$H$1=1,{literal},0)");
    while i < bytes.len() {
        let start = i;
        match bytes[i] {
            b'"' => {
                i += 1;
                while i < bytes.len() {
                    if bytes[i] == b'"' {
                        i += 1;
                        if bytes.get(i) != Some(&b'"') {
                            break;
                        }
                    }
                    i += 1;
                }
                out.push_str(&hidden(&formula[start..i]));
                continue;
            }
            b'{' | b'[' | b'\'' => {
                let close = match bytes[i] {
                    b'{' => b'}',
                    b'[' => b']',
                    _ => b'\'',
                };
                let (open, mut depth) = (bytes[i], 0);
                while i < bytes.len() {
                    if bytes[i] == close && (depth == 1 || open == b'\'') && i > start {
                        break;
                    }
                    match bytes[i] {
                        b if b == open => depth += 1,
                        b if b == close => depth -= 1,
                        _ => {}
                    }
                    i += 1;
                }
                i += 1;
            }
            b'#' => {
                i += 1;
                while i < bytes.len() && matches!(bytes[i], b'A'..=b'Z' | b'/' | b'0'..=b'9' | b'!' | b'?') {
                    i += 1;
                }
            }
            b'0'..=b'9' | b'.' => {
                while i < bytes.len() && matches!(bytes[i], b'0'..=b'9' | b'.') {
                    i += 1;
                }
                if i < bytes.len() && matches!(bytes[i], b'E' | b'e') {
                    i += 2;
                    while i < bytes.len() && bytes[i].is_ascii_digit() {
                        i += 1;
                    }
                }
                if bytes.get(i) != Some(&b':') {
                    out.push_str(&hidden(&formula[start..i]));
                    continue;
                }
                while i < bytes.len() && matches!(bytes[i], b':' | b'0'..=b'9') {
                    i += 1;
                }
            }
            b if b.is_ascii_alphabetic() || matches!(b, b'_' | b'$') => {
                while i < bytes.len()
                    && (bytes[i].is_ascii_alphanumeric()
                        || matches!(bytes[i], b'_' | b'$' | b'.' | b'!' | b':'))
                {
                    i += 1;
                }
                let word = &formula[start..i];
                if matches!(word, "TRUE" | "FALSE") && bytes.get(i) != Some(&b'(') {
                    out.push_str(&hidden(word));
                    continue;
                }
            }
            _ => {
                i += 1;
                while !formula.is_char_boundary(i) {
                    i += 1;
                }
            }
        }
        out.push_str(&formula[start..i.min(bytes.len())]);
    }
    out
}
