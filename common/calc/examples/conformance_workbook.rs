//! Writes the conformance table as workbooks, one for each file, so that a spreadsheet program can be asked for its results:
//!
//! `cargo run -p millrace-calc --example conformance_workbook -- FOLDER`, then
//! `soffice --headless --convert-to 'csv:Text - txt - csv (StarCalc):9,34,76,1,,0,false,false,false,false,false,2' FOLDER/*.xlsx`
//!
//! Each row of the sheet Calc has the line of the table, what the table expects, and the formula, as an array formula. Tables are left
//! out: their headings would have to be text, and Data!A1 is a number.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/conformance.rs"]
mod conformance;

use millrace_calc::value::Value;
use rust_xlsxwriter::{Formula, Workbook, Worksheet, XlsxError};

fn put(sheet: &mut Worksheet, row: u32, column: u16, value: &Value) -> Result<(), XlsxError> {
    match value {
        Value::Blank => {}
        Value::Number(x) => {
            sheet.write(row, column, *x)?;
        }
        Value::Boolean(b) => {
            sheet.write(row, column, *b)?;
        }
        Value::Text(text) => {
            sheet.write(row, column, &**text)?;
        }
        Value::Error(e) => {
            sheet.write_formula(row, column, Formula::new(format!("={e}")).set_result(e.as_str()))?;
        }
    }
    Ok(())
}

fn main() -> Result<(), XlsxError> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    for family in conformance::families() {
        let Some(first) = family.cases.first() else { continue };
        let mut book = Workbook::new();
        let data = book.add_worksheet();
        data.set_name("Data")?;
        for ((row, column), cell) in &conformance::book("0", &family.cells).sheets[0].cells {
            put(data, *row, *column as u16, &cell.value)?;
        }
        let calc = book.add_worksheet();
        calc.set_name("Calc")?;
        for (i, case) in family.cases.iter().enumerate() {
            let row = i as u32;
            if case.formula == "COMBIN(1E15,5E14)" {
                // LibreOffice 7.4 counts for hours.
                continue;
            }
            calc.write(row, 0, format!("{}:{}", case.file, case.line))?;
            calc.write(
                row,
                1,
                match &case.expected {
                    Value::Error(e) => e.as_str().to_owned(),
                    other => other.to_text().unwrap().into_owned(),
                },
            )?;
            let formula = Formula::new(format!("={}", case.formula));
            calc.write_array_formula(row, 2, row, 2, formula)?;
            calc.write(row, 3, &case.formula)?;
        }
        for (name, definition) in [
            ("price", "=Data!$C$1"),
            ("Rate", "=0.25"),
            ("twice_price", "=price*2"),
            ("numbers", "=Data!$A$1:$A$8"),
            ("local", "=1"),
            ("Calc!local", "=2"),
        ] {
            book.define_name(name, definition)?;
        }
        book.save(format!("{folder}/{}.xlsx", first.file.trim_end_matches(".txt")))?;
    }
    Ok(())
}
