//! The three workloads of the benchmarks: their books, their inputs, and the same calculation written by hand in Rust.
//!
//! W1: `ROUND(price*quantity*(1+tax),2)`. W2: 32 formulas with conditions, lookups in tables of 50 rows, SUMPRODUCT, COUNTIF,
//! IFERROR and text; 2 % of the records give `#N/A`. W3: a loan schedule of 360 rows with six formulas each, a look-up in a
//! table of 100 × 12 in every row, `^` and PMT: 2,166 formulas.

#![allow(dead_code, reason = "each benchmark uses its part")]

pub mod by_hand;
pub mod service;

use millrace_calc::book::{Book, Cell, Range, Sheet};
use millrace_calc::value::Value;

/// An input: its name, and its value in record `i`.
pub type Field = (&'static str, fn(usize) -> Value);

/// A book with its interface, and the values of the inputs of each record.
pub struct Workload {
    pub name: &'static str,
    pub book: Book,
    pub inputs: Vec<Range>,
    pub outputs: Vec<Range>,
    pub fields: Vec<Field>,
}

impl Workload {
    /// All three.
    pub fn all() -> [Self; 3] {
        [w1(), w2(), w3()]
    }

    /// The inputs of one record, in order.
    pub fn record(&self, i: usize) -> Vec<Value> {
        self.fields.iter().map(|(_, value)| value(i)).collect()
    }
}

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
fn workload(name: &'static str, sheets: Vec<Sheet>, outputs: u32, fields: Vec<Field>) -> Workload {
    let line = |column: u32, count: u32| {
        let cell = |row| Range {
            sheet: 0,
            first_row: row,
            first_column: column,
            last_row: row,
            last_column: column,
        };
        (0..count).map(cell).collect::<Vec<_>>()
    };
    let inputs = line(0, u32::try_from(fields.len()).unwrap_or(0));
    Workload { name, book: Book { sheets, ..Book::default() }, inputs, outputs: line(1, outputs), fields }
}

fn w1() -> Workload {
    let mut main = sheet("Main");
    formula(&mut main, 0, 1, "ROUND(A1*A2*(1+A3),2)");
    workload(
        "w1",
        vec![main],
        1,
        vec![
            ("price", |i| Value::from((1000 + i * 37 % 9000) as f64 / 100.0)),
            ("quantity", |i| Value::from((1 + i % 20) as f64)),
            ("tax", |i| Value::from([0.0, 0.07, 0.19, 0.2][i % 4])),
        ],
    )
}

/// The premium tables of W2, by row: age, rate, code, loading.
pub fn premium_row(row: usize) -> (f64, f64, String, f64) {
    let n = row as f64;
    (n * 2.0, n * 0.013 + 0.5, format!("CODE{row:02}"), 100.0 + (row * 7 % 50) as f64)
}

fn w2() -> Workload {
    let mut main = sheet("Main");
    let mut data = sheet("Data");
    for row in 0..50 {
        let (age, rate, code, loading) = premium_row(row);
        let line = u32::try_from(row).unwrap_or(0);
        put(&mut data, line, 0, age);
        put(&mut data, line, 1, rate);
        put(&mut data, line, 2, code);
        put(&mut data, line, 3, loading);
    }
    for row in 0..3 {
        put(&mut data, row, 4, f64::from(row) + 0.25);
    }
    let formulas = [
        "VLOOKUP(A1,Data!A1:B50,2,TRUE)",
        "VLOOKUP(A2,Data!C1:D50,2,FALSE)",
        "IFERROR(C2,100)",
        "INDEX(Data!B1:B50,MATCH(A2,Data!C1:C50,0))",
        "IF(A5=\"Y\",1.5,1)",
        "IF(A1>=65,1.4,IF(A1>=40,1.2,IF(A1>=25,1,0.9)))",
        "MIN(A3,500000)",
        "MAX(C7-A7,0)",
        "C8*C1/1000",
        "C9*C5*C6",
        "SUMPRODUCT(A6:A8,Data!E1:E3)",
        "COUNTIF(Data!A1:A50,\">\"&A1)",
        "IF(A4=\"north\",1.1,IF(A4=\"south\",0.95,1))",
        "C10*C13",
        "ROUND(C14,2)",
        "C15/12",
        "ROUND(C16,2)",
        "UPPER(LEFT(A9,3))",
        "C18&\"-\"&A2",
        "IF(C12>20,0.98,1.01)",
        "IF(AND(A1>18,A5=\"N\"),0.97,1)",
        "C17*C21*C20",
        "ABS(C22-C17)",
        "IF(A6>20,C22*1.02,C22)",
        "C24+C3*C1",
    ];
    for (row, text) in (0..).zip(formulas) {
        formula(&mut main, row, 2, text);
    }
    let outputs = [
        "ROUND(C25+C23,2)",
        "ROUND(C4*C17,2)",
        "C2+C5",
        "C19",
        "C12",
        "IF(C11>100,\"high\",\"low\")",
        "MAX(C15,C17,C22)",
    ];
    for (row, text) in (0..).zip(outputs) {
        formula(&mut main, row, 1, text);
    }
    workload(
        "w2",
        vec![main, data],
        7,
        vec![
            ("age", |i| Value::from((18 + i % 60) as f64)),
            ("code", |i| {
                Value::from(if i % 50 == 7 { "none".to_owned() } else { format!("CODE{:02}", i % 50) })
            }),
            ("sum_insured", |i| Value::from((i * 7919 % 600_000) as f64)),
            ("region", |i| Value::from(["north", "south", "east"][i % 3])),
            ("smoker", |i| Value::from(if i % 2 == 0 { "Y" } else { "N" })),
            ("term", |i| Value::from((5 + i % 30) as f64)),
            ("deductible", |i| Value::from((i % 10) as f64 * 50.0)),
            ("units", |i| Value::from(2.5 + (i % 7) as f64)),
            ("name", |i| Value::from(["alpha", "Bravo", "charlie"][i % 3])),
        ],
    )
}

/// The rate of W3 for an age and a column of the table, from 0.
pub fn table_rate(age: usize, column: usize) -> f64 {
    0.0001 * ((age * (column + 1)) % 37) as f64 + 0.0005
}

fn w3() -> Workload {
    let mut main = sheet("Main");
    let mut plan = sheet("Plan");
    let mut table = sheet("Table");
    for row in 0..100 {
        let line = u32::try_from(row).unwrap_or(0);
        put(&mut table, line, 0, row as f64);
        for column in 1..12_u32 {
            put(&mut table, line, column, table_rate(row, column as usize - 1));
        }
    }
    for row in 0..360_u32 {
        let n = row + 1;
        put(&mut plan, row, 0, f64::from(n));
        let start = if row == 0 { "Main!$A$1".to_owned() } else { format!("F{row}") };
        formula(&mut plan, row, 1, start);
        formula(&mut plan, row, 2, format!("B{n}*Main!$C$1"));
        formula(&mut plan, row, 3, format!("IF(A{n}<=Main!$A$3,MIN(Main!$C$2,B{n}+C{n}),0)"));
        formula(&mut plan, row, 4, format!("D{n}-C{n}"));
        formula(&mut plan, row, 5, format!("MAX(0,B{n}-E{n})"));
        let rate = format!("VLOOKUP(Main!$A$4+INT(A{n}/12),Table!$A$1:$L$100,{},FALSE)", row % 11 + 2);
        formula(&mut plan, row, 6, format!("D{n}*{rate}/Main!$C$3^A{n}"));
    }
    formula(&mut main, 0, 2, "A2/12");
    formula(&mut main, 1, 2, "PMT(C1,A3,-A1)");
    formula(&mut main, 2, 2, "1+C1");
    formula(&mut main, 0, 1, "SUM(Plan!C1:C360)");
    formula(&mut main, 1, 1, "Plan!F360");
    formula(&mut main, 2, 1, "ROUND(SUM(Plan!G1:G360),2)");
    workload(
        "w3",
        vec![main, plan, table],
        3,
        vec![
            ("amount", |i| Value::from(100_000.0 + i as f64 * 1000.0)),
            ("rate", |i| Value::from(0.02 + (i % 40) as f64 * 0.001)),
            ("months", |i| Value::from((120 + i % 240) as f64)),
            ("age", |i| Value::from((20 + i % 45) as f64)),
        ],
    )
}
