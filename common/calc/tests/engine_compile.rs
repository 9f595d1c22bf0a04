//! What the compiler refuses, with the place, and what it must bear.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use millrace_calc::book::{Book, Cell, DefinedName, Range, Sheet};
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, CompileErrorKind, Program, Scratch, Volatile};
use millrace_calc::value::{ErrorValue, Value};

fn book(formulas: &[(u32, u32, &str)]) -> Book {
    let mut sheet = Sheet { name: "Main".into(), ..Sheet::default() };
    for (row, column, text) in formulas {
        sheet.cells.insert((*row, *column), Cell { value: Value::Blank, formula: Some((*text).to_owned()) });
    }
    Book { sheets: vec![sheet], ..Book::default() }
}

fn refused(book: &Book) -> (String, CompileErrorKind) {
    let error = Program::compile(book, &[Range::cell(0, 0, 0)], &[Range::cell(0, 0, 1)], &Limits::default());
    let error = error.expect_err("must be refused");
    (error.place, error.kind)
}

#[test]
fn refusals_name_the_cell_and_the_construct() {
    let (place, kind) = refused(&book(&[(0, 1, "B2+1"), (1, 1, "NOSUCH(1)")]));
    assert_eq!((place.as_str(), kind), ("Main!B2", CompileErrorKind::UnknownFunction("NOSUCH".into())));
    let (place, kind) = refused(&book(&[(0, 1, "C3"), (2, 2, "B1+1")]));
    assert_eq!(place, "Main!B1");
    assert_eq!(kind, CompileErrorKind::Circular("Main!B1 → Main!C3 → Main!B1".into()));
    let (_, kind) = refused(&book(&[(0, 1, "[1]Other!A1+1")]));
    assert!(matches!(kind, CompileErrorKind::ExternalReference(_)), "{kind:?}");
    let (_, kind) = refused(&book(&[(0, 1, "INDIRECT(\"A\"&A1)")]));
    assert!(matches!(kind, CompileErrorKind::Unsupported(_)), "{kind:?}");
    let (_, kind) = refused(&book(&[(0, 1, "SUM(1,")]));
    assert!(matches!(kind, CompileErrorKind::Syntax(_)), "{kind:?}");
    let (_, kind) = refused(&book(&[(0, 1, "ROUND(1)")]));
    assert!(matches!(kind, CompileErrorKind::ArgumentCount { given: 1, .. }), "{kind:?}");
    let (_, kind) = refused(&book(&[(0, 1, &format!("{}1{}", "(".repeat(65), ")".repeat(65)))]));
    assert_eq!(kind, CompileErrorKind::TooDeep { limit: 64 });
    let (_, kind) = refused(&book(&[(0, 1, &"1+".repeat(5000))]));
    assert!(matches!(kind, CompileErrorKind::TooLong { length: 10_000, .. }), "{kind:?}");
}

#[test]
fn names_that_multiply_are_bounded() {
    let mut book = book(&[(0, 1, "name_0")]);
    for i in 0..64 {
        let next = i + 1;
        book.names.push(DefinedName {
            name: format!("name_{i}"),
            sheet: None,
            definition: format!("(name_{next}+name_{next})"),
            comment: None,
        });
    }
    let (_, kind) = refused(&book);
    assert!(matches!(kind, CompileErrorKind::TooLarge { .. }), "{kind:?}");
}

#[test]
fn a_chain_of_200_000_cells_compiles_and_runs() {
    let mut sheet = Sheet { name: "Main".into(), ..Sheet::default() };
    for row in 1..200_000_u32 {
        let formula = Some(format!("A{row}+1"));
        sheet.cells.insert((row, 0), Cell { value: Value::Blank, formula });
    }
    let book = Book { sheets: vec![sheet], ..Book::default() };
    let output = Range::cell(0, 199_999, 0);
    let program = Program::compile(&book, &[Range::cell(0, 0, 0)], &[output], &Limits::default()).unwrap();
    assert_eq!(program.report().formulas, 199_999);
    assert!(program.report().live_columns <= 3, "{:?}", program.report());
    let mut outputs = Vec::new();
    let inputs = [Column::from_numbers(vec![1.0, 2.0])];
    program.run(&inputs, 2, &Volatile::default(), 0, &mut Scratch::default(), &mut outputs);
    assert_eq!(outputs[0].get(1), Value::Number(200_001.0));
}

#[test]
fn the_longest_formulas_compile_or_are_refused() {
    let output = [Range::cell(0, 0, 1)];
    let chain = format!("{}A1", "1+".repeat(4000));
    let program =
        Program::compile(&book(&[(0, 1, &chain)]), &[Range::cell(0, 0, 0)], &output, &Limits::default());
    assert_eq!(program.unwrap().report().formulas, 1);
    let percents = format!("1{}", "%".repeat(8000));
    let signs = format!("{}1", "-".repeat(8000));
    let right = format!("{}1{}", "(1+".repeat(64), ")".repeat(64));
    for (text, fits) in [(percents, false), (signs, false), (right, true)] {
        let compiled = Program::compile(&book(&[(0, 1, &text)]), &[], &output, &Limits::default());
        assert_eq!(compiled.is_ok(), fits, "{}", &text[..20]);
    }
}

#[test]
fn a_long_sum_keeps_few_columns_live() {
    let mut sheet = Sheet { name: "Main".into(), ..Sheet::default() };
    let mut put = |row: u32, column: u32, text: String| {
        sheet.cells.insert((row, column), Cell { value: Value::Blank, formula: Some(text) });
    };
    put(0, 1, "SUM(C1:C360)".into());
    put(1, 1, "SUM(D1:D360)".into());
    put(0, 2, "A1*0.01".into());
    put(0, 3, "A1-C1".into());
    for row in 1..360 {
        put(row, 2, format!("D{row}*0.01"));
        put(row, 3, format!("D{row}-C{}", row + 1));
    }
    let book = Book { sheets: vec![sheet], ..Book::default() };
    let outputs = Range { sheet: 0, first_row: 0, first_column: 1, last_row: 1, last_column: 1 };
    let program = Program::compile(&book, &[Range::cell(0, 0, 0)], &[outputs], &Limits::default()).unwrap();
    assert!(program.report().live_columns <= 24, "{:?}", program.report());
}

#[test]
fn selection_drops_what_is_not_needed() {
    let book = book(&[(0, 1, "A1*2"), (1, 1, "SIN(A2)"), (2, 1, "7")]);
    let inputs = Range { sheet: 0, first_row: 0, first_column: 0, last_row: 1, last_column: 0 };
    let outputs = Range { sheet: 0, first_row: 0, first_column: 1, last_row: 2, last_column: 1 };
    let program = Program::compile(&book, &[inputs], &[outputs], &Limits::default()).unwrap();
    assert_eq!((program.input_count(), program.output_count()), (2, 3));
    let selected = program.select(&[2, 0]);
    assert!(selected.reads_input(0) && !selected.reads_input(1));
    let mut columns = Vec::new();
    let inputs = [Column::from_numbers(vec![4.0]), Column::default()];
    selected.run(&inputs, 1, &Volatile::default(), 0, &mut Scratch::default(), &mut columns);
    assert_eq!((columns[0].get(0), columns[1].get(0)), (Value::Number(7.0), Value::Number(8.0)));
}

#[test]
fn random_numbers_depend_on_seed_and_record_only() {
    let book = book(&[(0, 1, "RAND()"), (1, 1, "RAND()"), (2, 1, "RANDBETWEEN(1,6)+A1*0")]);
    let outputs = Range { sheet: 0, first_row: 0, first_column: 1, last_row: 2, last_column: 1 };
    let program = Program::compile(&book, &[Range::cell(0, 0, 0)], &[outputs], &Limits::default()).unwrap();
    assert_eq!(program.report().volatile_functions, ["RAND", "RANDBETWEEN"]);
    let run = |seed: u64, first: u64, rows: usize| {
        let mut columns = Vec::new();
        let volatile = Volatile { now: 0.0, seed };
        program.run(&[Column::default()], rows, &volatile, first, &mut Scratch::default(), &mut columns);
        columns
    };
    let whole = run(1, 0, 10);
    assert_eq!(whole[0].get(7), run(1, 7, 1)[0].get(0));
    assert_ne!(whole[0].get(0), whole[0].get(1));
    assert_ne!(whole[0].get(0), whole[1].get(0));
    assert_ne!(whole[0].get(0), run(2, 0, 1)[0].get(0));
    for i in 0..10 {
        let Value::Number(x) = whole[2].get(i) else { panic!("no number") };
        assert!((1.0..=6.0).contains(&x) && x.fract() == 0.0);
    }
}

#[test]
fn the_time_of_a_record_is_bounded() {
    let output = [Range::cell(0, 0, 1)];
    let compile = |formula: &str| {
        Program::compile(&book(&[(0, 1, formula)]), &[Range::cell(0, 0, 0)], &output, &Limits::default())
    };
    // 100,000 times 100,000 cells.
    let error = compile("SUM(COUNTIF(SEQUENCE(100000)*A1,SEQUENCE(100000)))").unwrap_err();
    assert!(matches!(error.kind, CompileErrorKind::TooLarge { .. }), "{error}");
    for (formula, input, expected) in [
        ("SUM(SEQUENCE(A1))", 1000.0, Value::Number(500_500.0)),
        ("SUM(SEQUENCE(A1))", 1_048_576.0, ErrorValue::Num.into()),
        ("SUM(SEQUENCE(A1))", 1_048_577.0, ErrorValue::Value.into()),
        ("SUM(LARGE(SEQUENCE(A1),SEQUENCE(A1)))", 100.0, Value::Number(5050.0)),
        ("SUM(LARGE(SEQUENCE(A1),SEQUENCE(A1)))", 10_000.0, ErrorValue::Num.into()),
        ("SUM(LEN(REPT(\"x\",32000)&SEQUENCE(A1)))", 10.0, Value::Number(320_011.0)),
        ("SUM(LEN(REPT(\"x\",32000)&SEQUENCE(A1)))", 2_000.0, ErrorValue::Num.into()),
        ("SUM(HSTACK(SEQUENCE(A1),TRANSPOSE(SEQUENCE(A1))),0)", 5_000.0, ErrorValue::Num.into()),
    ] {
        let program = compile(formula).unwrap();
        for mut scratch in [Scratch::default(), Scratch::record_by_record()] {
            let mut columns = Vec::new();
            let inputs = [Column::from_numbers(vec![input; 2])];
            program.run(&inputs, 2, &Volatile::default(), 0, &mut scratch, &mut columns);
            assert_eq!(columns[0].get(1), expected, "{formula} with {input}");
        }
    }
}
