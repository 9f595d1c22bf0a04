//! Known Excel results: the table in `data/conformance`, each line with its source.
//!
//! Each formula is evaluated as a constant; with every cell of the sheet that it reads as an input of the program, column by column
//! and record by record; and the same with its literals hidden from the compiler. All must give the expected value, bit for bit alike.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/conformance.rs"]
mod conformance;

use conformance::{Case, Family, book, families, hoisted, same};
use millrace_calc::book::{Book, Range};
use millrace_calc::functions::functions;
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, CompileErrorKind, Program, Scratch, Volatile, evaluate};
use millrace_calc::value::Value;

const VOLATILE: Volatile = Volatile { now: conformance::NOW, seed: 1 };

/// Evaluate with every cell of the sheet Data, and the one that hides literals, as inputs. `None` when the compiler must know
/// one of them.
fn with_inputs(book: &Book, scratch: &mut Scratch) -> Result<Option<Value>, String> {
    let (rows, columns) = book.sheets[0].cells.keys().fold((0, 0), |(r, c), at| (at.0.max(r), at.1.max(c)));
    let inputs = [
        Range { sheet: 0, first_row: 0, first_column: 0, last_row: rows, last_column: columns },
        Range::cell(1, 0, 7),
    ];
    let program = match Program::compile(book, &inputs, &[Range::cell(1, 2, 1)], &Limits::default()) {
        Ok(program) => program,
        Err(error) => match error.kind {
            CompileErrorKind::Unsupported(_) => return Ok(None),
            _ => return Err(error.to_string()),
        },
    };
    let mut values = Vec::new();
    for row in 0..=rows {
        for column in 0..=columns {
            values
                .push(book.sheets[0].cells.get(&(row, column)).map(|c| c.value.clone()).unwrap_or_default());
        }
    }
    values.push(Value::from(1.0));
    let columns: Vec<Column> = values.into_iter().map(|value| Column::from_values(vec![value; 3])).collect();
    let mut outputs = Vec::new();
    program.run(&columns, 3, &VOLATILE, 0, scratch, &mut outputs);
    let value = outputs[0].get(2);
    if value != outputs[0].get(0) { Err("two records differ".to_owned()) } else { Ok(Some(value)) }
}

fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

/// What is wrong with a case, and whether its literals could be hidden.
fn check(case: &Case, family: &Family) -> Result<bool, String> {
    let cells = &family.cells;
    let plain = Book { dates: family.dates, ..book(&case.formula, cells) };
    let values = evaluate(&plain, &[Range::cell(1, 2, 1)], &Limits::default(), &VOLATILE)
        .map_err(|error| error.to_string())?;
    if !same(&values[0], &case.expected, case.tolerance) {
        return Err(format!("{:?}, not {:?}", values[0], case.expected));
    }
    let mut whole = true;
    let hidden = Book { dates: family.dates, ..book(&hoisted(&case.formula), cells) };
    for (what, book) in [("inputs", &plain), ("hidden literals", &hidden)] {
        for (kind, mut scratch) in [("columns", Scratch::default()), ("records", Scratch::record_by_record())]
        {
            match with_inputs(book, &mut scratch) {
                Ok(None) => whole = false,
                Ok(Some(value)) if alike(&value, &values[0]) => {}
                Ok(Some(value)) => {
                    return Err(format!("{what} by {kind} give {value:?}, constants {:?}", values[0]));
                }
                Err(error) => return Err(format!("{what} by {kind}: {error}")),
            }
        }
    }
    Ok(whole)
}

#[test]
fn known_results() {
    let (mut count, mut known_only, mut failures) = (0, 0, Vec::new());
    for family in families() {
        for case in &family.cases {
            count += 1;
            assert!(!case.source.is_empty(), "{}:{} has no source", case.file, case.line);
            match check(case, &family) {
                Ok(whole) => known_only += usize::from(!whole),
                Err(error) => {
                    failures.push(format!("{}:{}: {}: {error}", case.file, case.line, case.formula))
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {count} wrong:\n{}", failures.len(), failures.join("\n"));
    assert!(count >= 1000, "only {count} cases");
    assert!(known_only * 10 < count, "{known_only} of {count} cases ran as constants only");
}

#[test]
fn every_function_is_in_the_table() {
    let mut words = std::collections::HashMap::<String, usize>::new();
    for case in families().iter().flat_map(|family| &family.cases) {
        let mut seen = std::collections::HashSet::new();
        for word in case.formula.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_'))) {
            if seen.insert(word.to_uppercase()) {
                *words.entry(word.to_uppercase()).or_default() += 1;
            }
        }
    }
    let seldom: Vec<_> = functions()
        .iter()
        .filter(|f| !f.volatile && words.get(f.name).copied().unwrap_or(0) < 2)
        .map(|f| f.name)
        .collect();
    assert!(seldom.is_empty(), "functions with fewer than 2 cases: {seldom:?}");
}
