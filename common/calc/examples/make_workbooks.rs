//! Writes the workbooks of `deploy/examples`, the same bytes every time.
//!
//! `cargo run -p millrace-calc --example make_workbooks -- deploy/examples`

use std::error::Error;
use std::path::Path;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Formula, Workbook};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    sales(&Path::new(&folder).join("sales.xlsx"))
}

/// The sales example: total = price × quantity × (1 + tax), rounded to cents.
fn sales(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut book = Workbook::new();
    // A fixed date, so that the file does not change from run to run.
    let created = ExcelDateTime::from_ymd(2026, 1, 1)?;
    let properties = DocProperties::new()
        .set_title("Sales example")
        .set_author("Millrace")
        .set_creation_datetime(&created);
    book.set_properties(&properties);
    let heading = Format::new().set_bold();
    let sheet = book.add_worksheet();
    sheet.set_name("Sales")?.set_column_width(0, 16)?;
    sheet.write_with_format(0, 0, "Inputs", &heading)?;
    sheet.write(1, 0, "Price")?.write(1, 1, 20)?;
    sheet.write(2, 0, "Quantity")?.write(2, 1, 65)?;
    sheet.write(3, 0, "Tax")?.write(3, 1, 0.1)?;
    sheet.write_with_format(5, 0, "Outputs", &heading)?;
    sheet.write(6, 0, "Total")?;
    // The writer does not calculate: the saved result is what Excel would show.
    sheet.write_formula(6, 1, Formula::new("=ROUND(B2*B3*(1+B4),2)").set_result("1430"))?;
    for (name, cell) in [
        ("Xinput_price", "$B$2"),
        ("Xinput_quantity", "$B$3"),
        ("Xinput_tax", "$B$4"),
        ("Xoutput_total", "$B$7"),
    ] {
        book.define_name(name, &format!("=Sales!{cell}"))?;
    }
    book.save(path)?;
    Ok(())
}
