//! Writes the workbooks of `deploy/examples`, the same bytes every time, and those that are checked against LibreOffice.
//!
//! `cargo run -p millrace-calc --example make_workbooks -- deploy/examples` writes the examples.
//!
//! The values in `tests/data/workbooks` come from LibreOffice 7.4.7.2, by
//! 1. `cargo run -p millrace-calc --example make_workbooks -- --models FOLDER`, which writes a workbook for each set of inputs;
//! 2. in FOLDER, for each `*.xlsx`, `soffice --headless --convert-to 'csv:Text - txt - csv (StarCalc):9,34,76,1,,0,false,false,false,false,false,-1'`,
//!    which writes each sheet with all digits of its values;
//! 3. `cargo run -p millrace-calc --example make_workbooks -- --collect FOLDER common/calc/tests/data/workbooks`.

mod workbooks;

use std::error::Error;
use std::path::Path;

use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Formula, Workbook};
use serde_json::{Map, Value, json};
use workbooks::{Given, models};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--models", folder] => {
            for model in models() {
                for (i, set) in model.sets.iter().enumerate() {
                    model.workbook(set)?.save(Path::new(folder).join(format!("{}-{i}.xlsx", model.name)))?;
                }
            }
            Ok(())
        }
        ["--collect", from, to] => collect(Path::new(from), Path::new(to)),
        [folder] => sales(&Path::new(folder).join("sales.xlsx")),
        _ => sales(Path::new("sales.xlsx")),
    }
}

/// Reads what LibreOffice wrote of the sheets of results.
fn collect(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    for model in models() {
        let mut sets = Vec::new();
        for (i, set) in model.sets.iter().enumerate() {
            let inputs: Map<String, Value> = model
                .inputs
                .iter()
                .zip(*set)
                .map(|((name, _), given)| {
                    let value = match given {
                        Given::Number(x) => json!(x),
                        Given::Text(text) => json!(text),
                    };
                    ((*name).to_owned(), value)
                })
                .collect();
            let text = std::fs::read_to_string(from.join(format!("{}-{i}-Results.csv", model.name)))?;
            let outputs: Map<String, Value> = text
                .lines()
                .filter_map(|line| line.split_once('\t'))
                .map(|(name, value)| {
                    let value = value.trim_matches('"');
                    // LibreOffice shows rates as percentages.
                    let (digits, scale) = value.strip_suffix('%').map_or((value, 1.0), |rest| (rest, 100.0));
                    let number = digits.parse::<f64>();
                    (
                        name.trim_matches('"').to_owned(),
                        number.map_or_else(|_| json!(value), |x| json!(x / scale)),
                    )
                })
                .collect();
            sets.push(json!({"inputs": inputs, "outputs": outputs}));
        }
        let text = serde_json::to_string_pretty(&json!({"made_by": "LibreOffice 7.4.7.2", "sets": sets}))?;
        std::fs::write(to.join(format!("{}.json", model.name)), text + "\n")?;
    }
    Ok(())
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
