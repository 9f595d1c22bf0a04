//! Workbooks of services under test.

use anyhow::{Context, Result};
use rust_xlsxwriter::{Formula, Workbook};

use crate::repository;

/// The sales workbook, `total = ROUND(price * quantity * (1 + tax), 2)`.
///
/// # Errors
///
/// When `deploy/examples/sales.xlsx` cannot be read.
pub fn sales_workbook() -> Result<Vec<u8>> {
    let path = repository().join("deploy/examples/sales.xlsx");
    std::fs::read(&path).with_context(|| format!("reading {}", path.display()))
}

/// A workbook with a table input `rates` of one column `rate` and two rows, and `sum = factor * SUM(rates)`. A record whose table
/// is none is marked with an error, unlike one with a value that cannot be used.
///
/// # Errors
///
/// When the workbook cannot be made.
pub fn rates_workbook(factor: u32) -> Result<Vec<u8>> {
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    sheet.set_name("S")?;
    sheet.write_string(0, 0, "rate")?;
    sheet.write_number(1, 0, 1.0)?;
    sheet.write_number(2, 0, 2.0)?;
    let sum = Formula::new(format!("={factor}*SUM(A2:A3)")).set_result((3 * factor).to_string());
    sheet.write_formula(0, 2, sum)?;
    workbook.define_name("Xinput_rates", "=S!$A$1:$A$3")?;
    workbook.define_name("Xoutput_sum", "=S!$C$1")?;
    Ok(workbook.save_to_buffer()?)
}
