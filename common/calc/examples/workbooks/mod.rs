//! Workbooks as people build them, made by code: a loan schedule, a premium table, a cash-flow model, an engineering sheet.

mod cash_flow;
mod engineering;
mod loan;
mod premium;

use rust_xlsxwriter::{Formula, Workbook, Worksheet, XlsxError};

/// The value of an input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Given {
    Number(f64),
    Text(&'static str),
}

/// A workbook with inputs and outputs.
#[derive(Debug)]
pub struct Model {
    pub name: &'static str,
    /// Inputs with their cells, and outputs with theirs.
    pub inputs: &'static [(&'static str, &'static str)],
    pub outputs: &'static [(&'static str, &'static str)],
    /// Values of the inputs to try; the first are the defaults.
    pub sets: &'static [&'static [Given]],
    build: fn(&mut Workbook, &[Given]) -> Result<(), XlsxError>,
}

/// All of them.
pub fn models() -> [Model; 4] {
    [cash_flow::model(), engineering::model(), loan::model(), premium::model()]
}

impl Model {
    /// The workbook with these values in its input cells, and a last sheet that lists its outputs.
    pub fn workbook(&self, set: &[Given]) -> Result<Workbook, XlsxError> {
        let mut book = Workbook::new();
        (self.build)(&mut book, set)?;
        for (prefix, list) in [("Xinput_", self.inputs), ("Xoutput_", self.outputs)] {
            for (name, cell) in list {
                book.define_name(format!("{prefix}{name}"), &format!("={cell}"))?;
            }
        }
        let results = book.add_worksheet();
        results.set_name("Results")?;
        for (row, (name, cell)) in self.outputs.iter().enumerate() {
            results.write(row as u32, 0, *name)?;
            results.write_formula(row as u32, 1, Formula::new(format!("={cell}")))?;
        }
        Ok(book)
    }
}

/// Write an input's value.
fn put(sheet: &mut Worksheet, row: u32, column: u16, given: &Given) -> Result<(), XlsxError> {
    match given {
        Given::Number(x) => sheet.write(row, column, *x)?,
        Given::Text(text) => sheet.write(row, column, *text)?,
    };
    Ok(())
}

/// Write a label in the first column and a formula beside it.
fn line(sheet: &mut Worksheet, row: u32, label: &str, formula: &str) -> Result<(), XlsxError> {
    sheet.write(row, 0, label)?;
    sheet.write_formula(row, 1, Formula::new(formula))?;
    Ok(())
}
