//! The workloads as services, and chunks of their records.

use std::fmt::Write;

use millrace_calc::limits::Limits;
use millrace_calc::service::{Service, SourceKind};
use millrace_calc::value::Value;
use rust_xlsxwriter::{Formula, Workbook, XlsxError};

use super::Workload;

/// The workload as a workbook, loaded.
pub fn service(workload: &Workload) -> Service {
    let bytes = match workbook(workload) {
        Ok(bytes) => bytes,
        Err(error) => panic!("{error}"),
    };
    match Service::load(SourceKind::Workbook, &bytes, &Limits::default()) {
        Ok(service) => service,
        Err(error) => panic!("{error}"),
    }
}

fn workbook(workload: &Workload) -> Result<Vec<u8>, XlsxError> {
    let mut book = Workbook::new();
    for sheet in &workload.book.sheets {
        let written = book.add_worksheet().set_name(&sheet.name)?;
        for ((row, column), cell) in &sheet.cells {
            let column = u16::try_from(*column).unwrap_or(u16::MAX);
            match (&cell.formula, &cell.value) {
                (Some(formula), _) => {
                    let formula = Formula::new(format!("={formula}")).set_result("0");
                    written.write_formula(*row, column, formula)?;
                }
                (None, Value::Number(x)) => {
                    written.write_number(*row, column, *x)?;
                }
                (None, Value::Text(text)) => {
                    written.write_string(*row, column, text.as_str())?;
                }
                _ => {}
            }
        }
    }
    let main = book.worksheet_from_index(0)?;
    for (row, value) in (0..).zip(workload.record(0)) {
        match value {
            Value::Number(x) => main.write_number(row, 0, x)?,
            Value::Text(text) => main.write_string(row, 0, text.as_str())?,
            _ => main,
        };
    }
    for (row, (name, _)) in workload.fields.iter().enumerate() {
        book.define_name(format!("Xinput_{name}"), &format!("=Main!$A${}", row + 1))?;
    }
    for row in 1..=workload.outputs.len() {
        book.define_name(format!("Xoutput_result{row}"), &format!("=Main!$B${row}"))?;
    }
    book.save_to_buffer()
}

/// The `data` of a chunk with an `id` and the inputs of each record: a header row, then a row for each.
pub fn chunk(workload: &Workload, records: usize) -> Vec<u8> {
    let mut text = String::from("{\"inputs\":[[\"id\"");
    for (name, _) in &workload.fields {
        // Writing to a string never fails.
        let _ = write!(text, ",\"{name}\"");
    }
    text.push(']');
    for i in 0..records {
        let _ = write!(text, ",[{i}");
        for value in workload.record(i) {
            let _ = match value {
                Value::Number(x) => write!(text, ",{x}"),
                Value::Text(value) => write!(text, ",\"{value}\""),
                _ => write!(text, ",null"),
            };
        }
        text.push(']');
    }
    text.push_str("],\"parameters\":{},\"summary\":null}");
    text.into_bytes()
}
