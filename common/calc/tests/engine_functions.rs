//! Every function of the list on generated arguments: columns, dynamic values, single records and constant folding give the same
//! bits. `PROPTEST_CASES=100000 cargo test --release -p millrace-calc --test engine_functions` runs longer than the suite does.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/properties.rs"]
mod properties;

use millrace_calc::book::{Book, Cell, Range, Sheet};
use millrace_calc::functions::{FunctionInfo, functions};
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, CompileErrorKind, Program, Scratch, Volatile};
use millrace_calc::value::{ErrorValue, Value};
use proptest::prelude::*;

/// Inputs stand in A1 to A6, constants in C1 to D6, the formula in B2.
const INPUTS: Range = Range { sheet: 0, first_row: 0, first_column: 0, last_row: 5, last_column: 0 };
const OUTPUT: Range = Range::cell(0, 1, 1);
const VOLATILE: Volatile = Volatile { now: 45_000.5, seed: 7 };

fn book(formula: &str) -> Book {
    let mut sheet = Sheet { name: "S".into(), ..Sheet::default() };
    let rows = [(1.0, "x"), (2.0, "Y"), (5.0, "x"), (7.5, "12"), (8.0, ""), (45_000.0, "2024-05-01")];
    for (row, (number, text)) in rows.into_iter().enumerate() {
        sheet.cells.insert((row as u32, 2), Cell { value: Value::from(number), formula: None });
        sheet.cells.insert((row as u32, 3), Cell { value: Value::from(text), formula: None });
    }
    sheet.cells.insert((1, 1), Cell { value: Value::Blank, formula: Some(formula.to_owned()) });
    Book { sheets: vec![sheet], ..Book::default() }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => prop_oneof![
            Just(0.0), Just(1.0), Just(2.0), Just(-1.0), Just(0.5), Just(0.285), Just(1e10), Just(1e300), Just(45_000.0),
            Just(45_366.25),
            (-5_i32..40).prop_map(f64::from),
            (-100_000_i32..100_000).prop_map(|x| f64::from(x) / 1000.0),
            any::<f64>().prop_filter("finite", |x| x.is_finite()),
        ].prop_map(Value::from),
        1 => Just(Value::Blank),
        1 => any::<bool>().prop_map(Value::Boolean),
        2 => prop_oneof![
            Just("2"), Just(" 7.5 "), Just("abc"), Just(""), Just("TRUE"), Just("2024-01-31"), Just("50%"), Just("x"), Just("a*"),
            Just(">1"), Just("<>x"), Just("yyyy-mm-dd"), Just("0.00"), Just("3+4i"), Just("1010"), Just("XIV"), Just("kg"), Just("é"),
            Just("D"), Just("M"), Just("0000011"), Just("A1"),
        ].prop_map(Value::from),
        1 => prop_oneof![Just(ErrorValue::NA), Just(ErrorValue::Div0), Just(ErrorValue::Num)].prop_map(Value::Error),
    ]
}

/// A value as a formula writes it.
fn literal(value: &Value) -> String {
    match value {
        Value::Blank => "D9".into(),
        Value::Number(x) => format!("{x:E}"),
        Value::Boolean(b) => b.to_string().to_uppercase(),
        Value::Text(text) => format!("\"{text}\""),
        Value::Error(e) => e.as_str().into(),
    }
}

fn argument() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (1..7).prop_map(|i| format!("A{i}")),
        3 => value().prop_map(|v| literal(&v)),
        1 => (1..7).prop_map(|i| format!("C{i}")),
        1 => (1..7).prop_map(|i| format!("D{i}")),
        2 => prop_oneof![Just("A1:A6"), Just("A1:A3"), Just("C1:C6"), Just("C1:D6"), Just("A2:A3"), Just("D1:D6"), Just("A:A")]
            .prop_map(str::to_owned),
        1 => prop_oneof![Just("{1,2,3}"), Just("{1;2;3;4;5;6}"), Just("{1,\"a\";TRUE,4}"), Just("{2,1;1,3}")].prop_map(str::to_owned),
        1 => (1..7, prop_oneof![Just("+"), Just("*"), Just("&"), Just(">"), Just("=")], 1..7)
            .prop_map(|(a, op, b)| format!("(A{a}{op}A{b})")),
        1 => (1..4).prop_map(|i| format!("(A{i}:A6>A1)")),
        1 => Just(String::new()),
    ]
}

/// A call with arguments of a count that the function takes.
fn call() -> impl Strategy<Value = (&'static FunctionInfo, String)> {
    let list: Vec<&'static FunctionInfo> = functions().iter().filter(|f| f.name != "LET").collect();
    (prop::sample::select(list), prop::collection::vec(argument(), 7), 0..4_usize).prop_map(
        |(function, args, extra)| {
            let most = usize::from(function.max).min(7);
            let count = (usize::from(function.min) + extra).min(most);
            let mut args = args[..count].to_vec();
            if let [only] = args.as_mut_slice()
                && only.is_empty()
            {
                // An empty argument alone is no argument.
                *only = "A1".into();
            }
            (function, format!("{}({})", function.name, args.join(",")))
        },
    )
}

fn bits(value: &Value) -> String {
    match value {
        Value::Number(x) => format!("number {:016x} {x}", x.to_bits()),
        other => format!("{other:?}"),
    }
}

fn run(program: &Program, records: &[Vec<Value>], first: u64, scratch: &mut Scratch) -> Vec<Value> {
    let columns: Vec<Column> = (0..6)
        .map(|i| Column::from_values(records.iter().map(|record| record[i].clone()).collect()))
        .collect();
    let mut outputs = Vec::new();
    program.run(&columns, records.len(), &VOLATILE, first, scratch, &mut outputs);
    (0..records.len()).map(|i| outputs[0].get(i)).collect()
}

fn compile(book: &Book, inputs: &[Range]) -> Option<Program> {
    match Program::compile(book, inputs, &[OUTPUT], &Limits::default()) {
        Ok(program) => Some(program),
        Err(error) => {
            // What cannot be compiled says so, and nothing else.
            let expected =
                matches!(error.kind, CompileErrorKind::Unsupported(_) | CompileErrorKind::Circular(_));
            assert!(expected, "{error}");
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..properties::config(4000) })]

    #[test]
    fn every_function_agrees_with_itself(
        (function, formula) in call(),
        wrapped in 0..4_usize,
        records in prop::collection::vec(prop::collection::vec(value(), 6), 1..5),
        plain in any::<bool>(),
    ) {
        let mut records = records;
        if plain {
            // Columns of numbers take the loops.
            for value in records.iter_mut().flatten() {
                if !matches!(value, Value::Number(_)) {
                    *value = Value::Number(3.0);
                }
            }
        }
        let formula = match wrapped {
            0 => format!("IFERROR({formula},\"failed\")"),
            1 => format!("SUM({formula},A1)"),
            _ => formula,
        };
        let open = book(&formula);
        let Some(program) = compile(&open, &[INPUTS]) else { return Ok(()) };
        let together = run(&program, &records, 0, &mut Scratch::default());
        let dynamic = run(&program, &records, 0, &mut Scratch::record_by_record());
        for (i, record) in records.iter().enumerate() {
            prop_assert_eq!(bits(&together[i]), bits(&dynamic[i]), "{} on {:?}", &formula, record);
            let alone = run(&program, std::slice::from_ref(record), i as u64, &mut Scratch::default());
            prop_assert_eq!(bits(&together[i]), bits(&alone[0]), "{} on {:?} alone", &formula, record);
            let mut folded = book(&formula);
            for (row, value) in record.iter().enumerate() {
                folded.sheets[0].cells.insert((row as u32, 0), Cell { value: value.clone(), formula: None });
            }
            let Some(constant) = compile(&folded, &[]) else { continue };
            if function.volatile {
                continue;
            }
            let known = run(&constant, std::slice::from_ref(record), i as u64, &mut Scratch::default());
            prop_assert_eq!(bits(&together[i]), bits(&known[0]), "{} on {:?} folded", &formula, record);
        }
    }
}

/// Cases that the property above has found.
#[test]
fn an_array_left_empty_is_a_blank_cell() {
    for formula in ["ROWS(UNIQUE(,TRUE))", "ROWS(UNIQUE(,A1>0,TRUE))", "ROWS(SORT(,1))"] {
        let program = compile(&book(formula), &[INPUTS]).unwrap();
        let records = [vec![Value::from(1.0); 6]];
        assert_eq!(run(&program, &records, 0, &mut Scratch::default()), [Value::from(1.0)], "{formula}");
    }
}
