//! How fast programs run, columns in and columns out, per block of 128 records.
//!
//! W1: `ROUND(price*quantity*(1+tax),2)`. W2: conditions, lookups on 50 rows, a conditional count, text. W3: a loan schedule of
//! 360 rows with a table lookup in each.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace_calc::book::{Book, Cell, Range, Sheet};
use millrace_calc::limits::Limits;
use millrace_calc::program::{BLOCK, Column, Program, Scratch, Volatile};
use millrace_calc::value::Value;

fn sheet(name: &str) -> Sheet {
    Sheet { name: name.into(), ..Sheet::default() }
}

fn put(sheet: &mut Sheet, row: u32, column: u32, value: impl Into<Value>) {
    sheet.cells.insert((row, column), Cell { value: value.into(), formula: None });
}

fn formula(sheet: &mut Sheet, row: u32, column: u32, text: impl Into<String>) {
    sheet.cells.insert((row, column), Cell { value: Value::Blank, formula: Some(text.into()) });
}

/// Inputs in A1, A2, … and outputs in B1, B2, … of the first sheet.
fn compile(sheets: Vec<Sheet>, inputs: u32, outputs: u32) -> Program {
    let book = Book { sheets, ..Book::default() };
    let line = |column: u32, count: u32| Range {
        sheet: 0,
        first_row: 0,
        first_column: column,
        last_row: count - 1,
        last_column: column,
    };
    let compiled = Program::compile(&book, &[line(0, inputs)], &[line(1, outputs)], &Limits::default());
    match compiled {
        Ok(program) => program,
        Err(error) => panic!("{error}"),
    }
}

fn w1() -> (Program, Vec<Column>) {
    let mut main = sheet("Main");
    formula(&mut main, 0, 1, "ROUND(A1*A2*(1+A3),2)");
    let inputs = vec![
        column(|i| Value::from((1000 + i * 37 % 9000) as f64 / 100.0)),
        column(|i| Value::from((1 + i % 20) as f64)),
        column(|i| Value::from([0.0, 0.07, 0.19, 0.2][i % 4])),
    ];
    (compile(vec![main], 3, 1), inputs)
}

fn w2() -> (Program, Vec<Column>) {
    let mut main = sheet("Main");
    let mut data = sheet("Data");
    for row in 0..50 {
        put(&mut data, row, 0, f64::from(row) * 10.0);
        put(&mut data, row, 1, f64::from(row) * 0.013 + 0.5);
        put(&mut data, row, 2, format!("code{row:02}"));
        put(&mut data, row, 3, 100.0 + f64::from(row * 7 % 50));
    }
    let formulas = [
        "VLOOKUP(A1,Data!A1:B50,2,TRUE)",
        "IFERROR(VLOOKUP(A2,Data!C1:D50,2,FALSE),0)",
        "INDEX(Data!D1:D50,MATCH(A2,Data!C1:C50,0))",
        "IF(A3>=65,1.5,IF(A3>=40,1.2,IF(A3>=25,1,0.9)))",
        "MAX(0,MIN(A4,1000)-A5)",
        "SUMPRODUCT(A4:A7,Data!B1:B4)",
        "COUNTIF(Data!A1:A50,\">\"&A1)",
        "UPPER(LEFT(A8,3))&\"-\"&A2",
        "IF(AND(A3>18,A9=\"Y\"),B5*B4,B5)",
        "ROUND(B1*B9*(1+B2/1000),2)",
    ];
    for (row, text) in formulas.iter().enumerate() {
        formula(&mut main, row as u32, 1, *text);
    }
    let inputs = vec![
        column(|i| Value::from((i * 7 % 480) as f64)),
        column(|i| Value::from(if i % 50 == 7 { "none".to_owned() } else { format!("CODE{:02}", i % 50) })),
        column(|i| Value::from((18 + i % 60) as f64)),
        column(|i| Value::from((i * 13 % 1500) as f64)),
        column(|i| Value::from((i % 100) as f64)),
        column(|i| Value::from(i as f64)),
        column(|_| Value::from(2.5)),
        column(|i| Value::from(["north", "south", "east"][i % 3])),
        column(|i| Value::from(if i % 2 == 0 { "Y" } else { "N" })),
    ];
    (compile(vec![main, data], 9, 10), inputs)
}

fn w3() -> (Program, Vec<Column>) {
    let mut main = sheet("Main");
    let mut plan = sheet("Plan");
    let mut table = sheet("Table");
    for row in 0..100 {
        put(&mut table, row, 0, f64::from(row));
        for column in 1..12 {
            put(&mut table, row, column, 0.0001 * f64::from((row * column) % 37) + 0.0005);
        }
    }
    for row in 0..360_u32 {
        let n = row + 1;
        put(&mut plan, row, 0, f64::from(n));
        let start = if row == 0 { "Main!$A$1".to_owned() } else { format!("F{row}") };
        formula(&mut plan, row, 1, start);
        formula(&mut plan, row, 2, format!("B{n}*Main!$A$2/12"));
        formula(&mut plan, row, 3, format!("IF(A{n}<=Main!$A$3,MIN(Main!$B$4,B{n}+C{n}),0)"));
        formula(&mut plan, row, 4, format!("D{n}-C{n}"));
        formula(&mut plan, row, 5, format!("MAX(0,B{n}-E{n})"));
        let rate = format!("VLOOKUP(Main!$A$4+INT(A{n}/12),Table!$A$1:$L$100,{},FALSE)", row % 11 + 2);
        formula(&mut plan, row, 6, format!("C{n}*{rate}/(1+Main!$A$2)^(A{n}/12)"));
    }
    formula(&mut main, 0, 1, "SUM(Plan!C1:C360)");
    formula(&mut main, 1, 1, "Plan!F360");
    formula(&mut main, 2, 1, "ROUND(SUM(Plan!G1:G360),2)");
    formula(&mut main, 3, 1, "PMT(A2/12,A3,-A1)");
    let inputs = vec![
        column(|i| Value::from(100_000.0 + i as f64 * 1000.0)),
        column(|i| Value::from(0.02 + (i % 40) as f64 * 0.001)),
        column(|i| Value::from((120 + i % 240) as f64)),
        column(|i| Value::from((20 + i % 45) as f64)),
    ];
    (compile(vec![main, plan, table], 4, 4), inputs)
}

fn column(f: impl Fn(usize) -> Value) -> Column {
    Column::from_values((0..BLOCK).map(f).collect())
}

fn programs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("program");
    let volatile = Volatile::default();
    for (name, (program, inputs)) in [("w1", w1()), ("w2", w2()), ("w3", w3())] {
        for rows in [BLOCK, 1] {
            let mut scratch = Scratch::default();
            let mut outputs = Vec::new();
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("{name} rows={rows}"), |bencher| {
                bencher.iter(|| {
                    program.run(black_box(&inputs), rows, &volatile, 0, &mut scratch, &mut outputs);
                    black_box(&outputs);
                });
            });
        }
    }
    group.finish();
    criterion.bench_function("compile w3", |bencher| bencher.iter(w3));
}

criterion_group!(benches, programs);
criterion_main!(benches);
