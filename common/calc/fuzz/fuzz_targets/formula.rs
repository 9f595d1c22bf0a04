//! The formula parser and the compiler; what compiles runs, and both executions agree.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_calc::book::{Book, Cell, Range, Sheet};
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, Program, Scratch, Volatile};
use millrace_calc::value::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.len() > 400 {
        return;
    }
    let mut sheet = Sheet { name: "S".into(), ..Sheet::default() };
    for row in 0..6_u32 {
        sheet.cells.insert((row, 2), Cell { value: Value::from(f64::from(row) * 1.5), formula: None });
    }
    sheet.cells.insert((0, 1), Cell { value: Value::Blank, formula: Some(text.to_owned()) });
    let book = Book { sheets: vec![sheet], ..Book::default() };
    let inputs = Range { sheet: 0, first_row: 0, first_column: 0, last_row: 3, last_column: 0 };
    let Ok(program) = Program::compile(&book, &[inputs], &[Range::cell(0, 0, 1)], &Limits::default()) else { return };
    let records = [
        [Value::from(1.0), Value::from(-2.5), Value::from(3.0), Value::from(0.0)],
        [Value::from("x"), Value::Blank, Value::Boolean(true), Value::from("12")],
    ];
    let columns: Vec<Column> =
        (0..4).map(|i| Column::from_values(records.iter().map(|record| record[i].clone()).collect())).collect();
    let volatile = Volatile { now: 45_000.5, seed: 1 };
    let results = [Scratch::default(), Scratch::record_by_record()].map(|mut scratch| {
        let mut outputs = Vec::new();
        program.run(&columns, 2, &volatile, 0, &mut scratch, &mut outputs);
        [outputs[0].get(0), outputs[0].get(1)]
    });
    assert_eq!(results[0], results[1], "{text}");
});
