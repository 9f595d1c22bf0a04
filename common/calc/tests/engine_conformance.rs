//! Known Excel results: each line of `engine_conformance.txt` is a formula and what Excel shows for it.
//!
//! The formulas are evaluated as constants, and again with every cell that they read as an input of the program, column by
//! column and record by record: all three must agree.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use millrace_calc::book::{Book, Cell, DefinedName, Range, Sheet, Table};
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, Program, Scratch, Volatile, evaluate};
use millrace_calc::value::{ErrorValue, Value};

/// The sheet that the formulas read: see the head of `engine_conformance.txt`.
fn book(formula: &str) -> Book {
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
                let value = parse(text);
                data.cells.insert((r as u32, c as u32), Cell { value, formula: None });
            }
        }
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
        arrays: Vec::new(),
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
    }
}

/// A value as the table writes it: a number, TRUE or FALSE, an error, or text (after `'` where it would be something else).
fn parse(text: &str) -> Value {
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

fn same(actual: &Value, expected: &Value, tolerance: f64) -> bool {
    match (actual, expected) {
        (Value::Number(a), Value::Number(b)) => (a - b).abs() <= tolerance * b.abs().max(f64::MIN_POSITIVE),
        (a, b) => a == b,
    }
}

/// Evaluate with every cell of the data sheet as an input of the program.
fn with_inputs(book: &Book, scratch: &mut Scratch) -> Value {
    let inputs = Range { sheet: 0, first_row: 0, first_column: 0, last_row: 7, last_column: 5 };
    let output = Range::cell(1, 2, 1);
    let program = Program::compile(book, &[inputs], &[output], &Limits::default()).unwrap();
    let mut columns = Vec::new();
    for row in 0..8 {
        for column in 0..6 {
            let value = book.sheets[0].cells.get(&(row, column)).map(|c| c.value.clone()).unwrap_or_default();
            columns.push(Column::from_values(vec![value; 3]));
        }
    }
    let mut outputs = Vec::new();
    program.run(&columns, 3, &Volatile { now: 45_000.75, seed: 1 }, 0, scratch, &mut outputs);
    let value = outputs[0].get(2);
    assert_eq!(value, outputs[0].get(0));
    value
}

#[test]
fn known_results() {
    let table = include_str!("engine_conformance.txt");
    let (mut count, mut failures) = (0, Vec::new());
    for line in table.lines() {
        if line.trim().is_empty() || line.starts_with("//") {
            continue;
        }
        let (formula, expected) =
            line.rsplit_once(" => ").unwrap_or_else(|| panic!("no expectation: {line}"));
        let (expected, tolerance) = match expected.strip_prefix("~ ") {
            Some(rest) => (parse(rest.trim_end()), 1e-9),
            None => (parse(expected.trim_end()), 0.0),
        };
        count += 1;
        let book = book(formula.trim());
        let volatile = Volatile { now: 45_000.75, seed: 1 };
        match evaluate(&book, &[Range::cell(1, 2, 1)], &Limits::default(), &volatile) {
            Ok(values) => {
                if !same(&values[0], &expected, tolerance) {
                    failures.push(format!("{formula}: {:?}, not {expected:?}", values[0]));
                    continue;
                }
                // A formula that must know its input at compile time is fine as a constant only.
                if formula.contains("INDIRECT") || formula.contains("OFFSET") || formula.contains("SEQUENCE")
                {
                    continue;
                }
                for (kind, mut scratch) in
                    [("columns", Scratch::default()), ("records", Scratch::record_by_record())]
                {
                    let value = with_inputs(&book, &mut scratch);
                    if value != values[0] {
                        failures.push(format!("{formula}: {kind} give {value:?}, constants {:?}", values[0]));
                    }
                }
            }
            Err(error) => failures.push(format!("{formula}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} of {count} wrong:\n{}", failures.len(), failures.join("\n"));
    assert!(count > 300, "only {count} formulas");
}
