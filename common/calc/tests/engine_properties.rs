//! Properties of the engine: both executions agree bit for bit on generated formulas and records, a block gives what its
//! records give alone, and no formula text makes the compiler panic.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/properties.rs"]
mod properties;

use millrace_calc::book::{Book, Cell, Range, Sheet};
use millrace_calc::limits::Limits;
use millrace_calc::program::{BLOCK, Column, CompileErrorKind, Program, Scratch, Volatile};
use millrace_calc::value::{ErrorValue, Value};
use proptest::prelude::*;

/// Inputs stand in A1 to A6, constants in C1 to D6, the formula in B1.
const INPUTS: Range = Range { sheet: 0, first_row: 0, first_column: 0, last_row: 5, last_column: 0 };

fn book(formula: &str) -> Book {
    let mut sheet = Sheet { name: "S".into(), ..Sheet::default() };
    for (row, (key, value)) in
        [(1.0, 10.5), (2.0, -3.0), (5.0, 0.0), (7.5, 1e10), (8.0, 0.285), (40.0, 7.0)].into_iter().enumerate()
    {
        sheet.cells.insert((row as u32, 2), Cell { value: Value::from(key), formula: None });
        sheet.cells.insert((row as u32, 3), Cell { value: Value::from(value), formula: None });
    }
    sheet.cells.insert((0, 1), Cell { value: Value::Blank, formula: Some(formula.to_owned()) });
    Book { sheets: vec![sheet], ..Book::default() }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => prop_oneof![
            Just(0.0), Just(1.0), Just(-1.0), Just(2.5), Just(0.285), Just(1.005), Just(1e308), Just(1e-300), Just(5.0),
            (-1000_i32..1000).prop_map(f64::from),
            (-100_000_i32..100_000).prop_map(|x| f64::from(x) / 1000.0),
            any::<f64>().prop_filter("finite", |x| x.is_finite()),
        ].prop_map(Value::from),
        1 => Just(Value::Blank),
        1 => any::<bool>().prop_map(Value::Boolean),
        1 => prop_oneof![Just("2"), Just(" 7.5 "), Just("abc"), Just(""), Just("TRUE"), Just("2024-01-31"), Just("50%")]
            .prop_map(Value::from),
        1 => prop_oneof![Just(ErrorValue::NA), Just(ErrorValue::Div0), Just(ErrorValue::Value)].prop_map(Value::Error),
    ]
}

fn formula() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => (1..7).prop_map(|i| format!("A{i}")),
        2 => (1..7).prop_map(|i| format!("D{i}")),
        1 => prop_oneof![Just("0"), Just("1"), Just("2.5"), Just("-3"), Just("1.005"), Just("\"x\""), Just("TRUE"), Just("1E+10")]
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            6 => (inner.clone(), prop_oneof![
                    Just("+"), Just("-"), Just("*"), Just("/"), Just("^"), Just("&"), Just("="), Just("<>"), Just("<"),
                    Just("<="), Just(">"), Just(">="),
                ], inner.clone()).prop_map(|(a, op, b)| format!("({a}{op}{b})")),
            2 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("IF({a},{b},{c})")),
            2 => (prop_oneof![
                    Just("ABS"), Just("INT"), Just("SQRT"), Just("EXP"), Just("LN"), Just("NOT"), Just("ISERROR"), Just("LEN"),
                    Just("SIGN"), Just("YEAR"), Just("N"), Just("ISBLANK"), Just("UPPER"), Just("-"), Just("EVEN"),
                ], inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            2 => (prop_oneof![
                    Just("ROUND"), Just("ROUNDUP"), Just("ROUNDDOWN"), Just("MOD"), Just("IFERROR"), Just("IFNA"), Just("MIN"),
                    Just("MAX"), Just("SUM"), Just("AND"), Just("OR"), Just("POWER"), Just("LEFT"), Just("AVERAGE"), Just("TRUNC"),
                ], two.clone()).prop_map(|(f, (a, b))| format!("{f}({a},{b})")),
            1 => (inner.clone(), -3..6_i32).prop_map(|(a, d)| format!("ROUND({a},{d})")),
            1 => (inner.clone(), -3..6_i32).prop_map(|(a, d)| format!("ROUNDDOWN({a},{d})")),
            1 => (inner.clone(), prop_oneof![Just("TRUE"), Just("FALSE")])
                .prop_map(|(a, near)| format!("VLOOKUP({a},C1:D6,2,{near})")),
            1 => (inner.clone(), prop_oneof![Just("1"), Just("0"), Just("-1")])
                .prop_map(|(a, kind)| format!("MATCH({a},A1:A6,{kind})")),
            1 => inner.clone().prop_map(|a| format!("INDEX(A1:A6,{a})")),
            1 => inner.clone().prop_map(|a| format!("SUM(INDEX(A1:A6,{a}),1)")),
            1 => inner.clone().prop_map(|a| format!("INDEX(C1:D6,{a},2)")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("MAX(IF({a},A1:A3,{b}))")),
            1 => inner.clone().prop_map(|a| format!("COUNT(CHOOSE({a},A1:A3,A1:A6,\"x\"))")),
            1 => inner.clone().prop_map(|a| format!("XLOOKUP({a},C1:C6,D1:D6,\"none\",-1)")),
            1 => inner.clone().prop_map(|a| format!("CHOOSE({a},A1,A2,\"c\")")),
            1 => inner.clone().prop_map(|a| format!("COUNTIF(A1:A6,{a})")),
            1 => (inner.clone(), prop_oneof![Just(">"), Just("<="), Just("<>"), Just("=")])
                .prop_map(|(a, op)| format!("COUNTIF(C1:C6,\"{op}\"&{a})")),
            1 => (inner.clone(), 3..400_i32).prop_map(|(a, n)| format!("({a}^{n}+{a}^{}+{a}^-{n})", n + 1)),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("IF({a}=\"abc\",{b},\"y\")")),
            2 => (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a}&\"-\"&{b}&LOWER({c})&A1)")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("(REPT({a},20000)&{b}&REPT(\"x\",20000)&{a})")),
            1 => inner.clone().prop_map(|a| format!("INDEX({{\"p\",\"q\",\"r\"}},{a})")),
            1 => inner.clone().prop_map(|a| format!("MATCH({a},{{3,4,5,6}},0)")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("SUM({a},{b},A1,A2,A3,A4,A5)")),
            1 => inner.clone().prop_map(|a| format!("SUM(A1:A6,C1:C3,{a})")),
            1 => inner.clone().prop_map(|a| format!("MAX(A1:A6,{a})")),
            1 => inner.clone().prop_map(|a| format!("PMT({a},A1,A2)")),
            1 => Just("SUMPRODUCT(A1:A6,D1:D6)".to_owned()),
            1 => Just("SUMPRODUCT((A1:A6>2)*D1:D6)".to_owned()),
            1 => (inner.clone(), prop_oneof![Just("A1:A6"), Just("C1:D6"), Just("D1:D6")])
                .prop_map(|(a, from)| format!("SUM(FILTER({from},A1:A6>{a}),1)")),
            1 => (inner.clone(), inner.clone())
                .prop_map(|(a, b)| format!("INDEX(SORT(FILTER(A1:A6,D1:D6<>{a},{b})),2)")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("COUNT(FILTER(A1:A6,A1:A6<{a})*{b})")),
            1 => inner.clone().prop_map(|a| format!("ROWS(UNIQUE(VSTACK(A1:A6,{a})))")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("MAX(IF({a},UNIQUE(A1:A6),{b}))")),
            1 => inner.clone().prop_map(|a| format!("SUM(TAKE(A1:A6,{a}))")),
            1 => inner.clone().prop_map(|a| format!("TEXTJOIN(\"|\",FALSE,UNIQUE(FILTER(A1:A6,ISNUMBER(A1:A6)),,{a}))")),
            1 => inner.clone().prop_map(|a| format!("INDEX(FILTER(C1:D6,A1:A6<>\"\"),{a},2)")),
            1 => inner.prop_map(|a| format!("LET(x,{a},x*2+x)")),
        ]
    })
}

fn bits(value: &Value) -> String {
    match value {
        Value::Number(x) => format!("number {:016x} {x}", x.to_bits()),
        other => format!("{other:?}"),
    }
}

fn columns(records: &[Vec<Value>]) -> Vec<Column> {
    (0..6).map(|i| Column::from_values(records.iter().map(|record| record[i].clone()).collect())).collect()
}

fn run(program: &Program, records: &[Vec<Value>], first: u64, scratch: &mut Scratch) -> Vec<Value> {
    let mut outputs = Vec::new();
    let volatile = Volatile { now: 45_000.5, seed: 7 };
    program.run(&columns(records), records.len(), &volatile, first, scratch, &mut outputs);
    (0..records.len()).map(|i| outputs[0].get(i)).collect()
}

/// The program of the formula; nothing where too many sizes depend on the inputs.
fn compiled(book: &Book) -> Option<Program> {
    match Program::compile(book, &[INPUTS], &[Range::cell(0, 0, 1)], &Limits::default()) {
        Ok(program) => Some(program),
        Err(error) => {
            assert!(matches!(error.kind, CompileErrorKind::Unsupported(_)), "{error}");
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..properties::config(1500) })]

    /// Columns of numbers, dynamic values and single records give the same bits.
    #[test]
    fn executions_agree(
        formula in formula(),
        records in prop::collection::vec(prop::collection::vec(value(), 6), 1..40),
        kept in 0..4_usize,
    ) {
        let mut records = records;
        // Columns of numbers take the loops; a few records of other types among them are odd; columns of all types go record by
        // record.
        for (i, record) in records.iter_mut().enumerate() {
            for value in record.iter_mut() {
                if kept < 3 && (kept == 0 || i % (kept * 5) != 1) && !matches!(value, Value::Number(_)) {
                    *value = Value::Number(3.0);
                }
            }
        }
        let book = book(&formula);
        let Some(program) = compiled(&book) else { return Ok(()) };
        let together = run(&program, &records, 0, &mut Scratch::default());
        let dynamic = run(&program, &records, 0, &mut Scratch::record_by_record());
        let portable = run(&program, &records, 0, &mut Scratch::portable());
        let narrow = run(&program, &records, 0, &mut Scratch::narrow());
        let again = run(&program, &records, 0, &mut Scratch::default());
        let mut scratch = Scratch::default();
        for (i, record) in records.iter().enumerate() {
            let alone = run(&program, std::slice::from_ref(record), i as u64, &mut scratch);
            prop_assert_eq!(bits(&together[i]), bits(&dynamic[i]), "{} on {:?}", formula, record);
            prop_assert_eq!(bits(&together[i]), bits(&alone[0]), "{} on {:?}", formula, record);
            prop_assert_eq!(bits(&together[i]), bits(&portable[i]), "{} on {:?}", formula, record);
            prop_assert_eq!(bits(&together[i]), bits(&narrow[i]), "{} on {:?}", formula, record);
            prop_assert_eq!(bits(&together[i]), bits(&again[i]), "{} on {:?}", formula, record);
        }
    }

    /// What folds at compile time is what runs.
    #[test]
    fn folding_agrees(formula in formula(), record in prop::collection::vec(value(), 6)) {
        let mut folded = book(&formula);
        for (row, value) in record.iter().enumerate() {
            folded.sheets[0].cells.insert((row as u32, 0), Cell { value: value.clone(), formula: None });
        }
        let cell = [Range::cell(0, 0, 1)];
        let constant = Program::compile(&folded, &[], &cell, &Limits::default()).unwrap();
        let Some(program) = compiled(&folded) else { return Ok(()) };
        prop_assert_eq!(constant.report().instructions, 0);
        let ran = run(&program, std::slice::from_ref(&record), 0, &mut Scratch::default());
        let known = run(&constant, std::slice::from_ref(&record), 0, &mut Scratch::default());
        prop_assert_eq!(bits(&ran[0]), bits(&known[0]), "{} on {:?}", formula, record);
    }

    /// Any text compiles or is refused, and what compiles runs.
    #[test]
    fn any_text_is_safe(text in "\\PC{0,60}") {
        let book = book(&text);
        if let Ok(program) = Program::compile(&book, &[INPUTS], &[Range::cell(0, 0, 1)], &Limits::default()) {
            run(&program, &[vec![Value::from(1.0); 6]], 0, &mut Scratch::default());
        }
    }

    /// Text made of the parts of formulas, which goes deeper into the parser.
    #[test]
    fn formula_parts_are_safe(parts in prop::collection::vec(prop_oneof![
        Just("("), Just(")"), Just(","), Just("A1"), Just("A:A"), Just("1:1"), Just("SUM("), Just("IF("), Just("INDEX("), Just("LET("),
        Just("OFFSET("), Just("x"), Just("\"a\""), Just("+"), Just("-"), Just("%"), Just("^"), Just(":"), Just("{"), Just("}"), Just(";"),
        Just("!"), Just("'"), Just("["), Just("]"), Just("#REF!"), Just("@"), Just("1E+308"), Just("T[#All]"), Just(" "), Just("S!A2"),
        Just("REPT("), Just("FACT("), Just("TEXT("), Just("XLOOKUP("), Just("INDIRECT("), Just("SEQUENCE("), Just("1000000"),
    ], 0..16)) {
        let book = book(&parts.concat());
        if let Ok(program) = Program::compile(&book, &[INPUTS], &[Range::cell(0, 0, 1)], &Limits::default()) {
            run(&program, &[vec![Value::from(1.0); 6]], 0, &mut Scratch::default());
        }
    }

    /// Every function survives any constant arguments.
    #[test]
    fn every_function_is_safe(
        index in any::<prop::sample::Index>(),
        args in prop::collection::vec(value(), 0..6),
    ) {
        let functions = millrace_calc::functions::functions();
        let function = &functions[index.index(functions.len())];
        let given = args.len().max(usize::from(function.min));
        let list: Vec<String> = (1..=given).map(|i| if i % 3 == 0 { "A1:A6".into() } else { format!("A{i}") }).collect();
        let book = book(&format!("{}({})", function.name, list.join(",")));
        if let Ok(program) = Program::compile(&book, &[INPUTS], &[Range::cell(0, 0, 1)], &Limits::default()) {
            let mut record = args;
            record.resize(6, Value::Blank);
            let together = run(&program, std::slice::from_ref(&record), 0, &mut Scratch::default());
            let dynamic = run(&program, std::slice::from_ref(&record), 0, &mut Scratch::record_by_record());
            prop_assert_eq!(bits(&together[0]), bits(&dynamic[0]), "{} on {:?}", function.name, record);
        }
    }
}

#[test]
fn a_full_block_agrees_with_its_parts() {
    let book = book("IF(A1>50,ROUND(A1*A2*(1+A3),2),VLOOKUP(A1,C1:D6,2)&\"\")");
    let program = Program::compile(&book, &[INPUTS], &[Range::cell(0, 0, 1)], &Limits::default()).unwrap();
    let records: Vec<Vec<Value>> =
        (0..BLOCK).map(|i| (0..6).map(|k| Value::from((i * 7 + k) as f64 / 8.0)).collect()).collect();
    let together = run(&program, &records, 0, &mut Scratch::default());
    for (i, record) in records.iter().enumerate() {
        assert_eq!(together[i], run(&program, std::slice::from_ref(record), 0, &mut Scratch::default())[0]);
    }
}

/// What a formula gives with the record as constants and as inputs.
fn folded_and_run(formula: &str, record: &[Value]) -> [Value; 2] {
    let mut folded = book(formula);
    for (row, value) in record.iter().enumerate() {
        folded.sheets[0].cells.insert((row as u32, 0), Cell { value: value.clone(), formula: None });
    }
    let constant = Program::compile(&folded, &[], &[Range::cell(0, 0, 1)], &Limits::default()).unwrap();
    let program = compiled(&folded).unwrap();
    [constant, program].map(|program| run(&program, &[record.to_vec()], 0, &mut Scratch::default()).remove(0))
}

/// Cases that the properties above have found.
#[test]
fn a_nested_place_of_zero_is_a_whole_column_however_it_is_known() {
    let mut record = vec![Value::from(0.0); 6];
    for first in [0.0, 1e-300, -0.5, 1.0, 7.0] {
        record[0] = Value::from(first);
        for formula in [
            "SUM(INDEX(A1:A6,INDEX(A1:A6,A1)),1)",
            "SUM(INDEX(C1:C6,INDEX(C1:C6,A1)),1)",
            "SUM(INDEX(A1:A6,INDEX(C1:C6,A1)),1)",
            "SUM(INDEX(C1:D6,INDEX(C1:C6,A1),INDEX(C1:C6,A1)),1)",
            "COUNT(INDEX(A1:A6,INDEX(A1:A6,INDEX(A1:A6,A1))))",
            "COUNT(CHOOSE(INDEX(C1:C6,A1),A1:A6,C1))",
            "INDEX(A1:A6,INDEX(A1:A6,A1))",
            "INDEX(C1:C6,INDEX(C1:C6,A1))",
        ] {
            let [known, ran] = folded_and_run(formula, &record);
            assert_eq!(bits(&known), bits(&ran), "{formula} with {first}");
        }
    }
    record[0] = Value::from(1e-300);
    // Where arrays are evaluated the inner places are the whole column A1:A6, and each of its values is a place of its own: one
    // below 1 in an array is #VALUE!. Where one value is wanted, the place is the formula's own row.
    let [known, _] = folded_and_run("SUM(INDEX(A1:A6,INDEX(A1:A6,A1)),1)", &record);
    assert_eq!(known, Value::Error(ErrorValue::Value));
    let [known, _] = folded_and_run("INDEX(C1:C6,INDEX(C1:C6,A1))", &record);
    assert_eq!(known, Value::from(1.0));
}

#[test]
fn the_deepest_nesting_of_places_is_compiled_at_once() {
    let nested = |call: &dyn Fn(&str) -> String| (0..28).fold("1".to_owned(), |inner, _| call(&inner));
    for formula in [
        nested(&|inner| format!("INDEX(C1:C6,{inner})")),
        nested(&|inner| format!("SUM(INDEX(C1:C6,{inner}))")),
        nested(&|inner| format!("CHOOSE({inner},1,2)")),
        nested(&|inner| format!("SUM(OFFSET(C1,{inner}-1,0,1,1))")),
        nested(&|inner| format!("INDEX(C1:C6,MATCH({inner},C1:C6,0))")),
    ] {
        let program = compiled(&book(&formula)).unwrap();
        let records = [vec![Value::Blank; 6]];
        assert_eq!(run(&program, &records, 0, &mut Scratch::default()), [Value::from(1.0)], "{formula}");
    }
}
