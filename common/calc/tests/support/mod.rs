//! What the service tests share: services made in place, and chunks evaluated to JSON.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod properties;

use millrace_calc::chunk::{ChunkError, ChunkResult};
use millrace_calc::limits::Limits;
use millrace_calc::load::LoadError;
use millrace_calc::service::{Options, Scratch, Service, SourceKind};
use rust_xlsxwriter::Workbook;
use serde_json::{Value, json};

/// The sales example as a formula document.
pub fn sales() -> Service {
    document(&json!({
        "inputs": [
            {"name": "price", "type": "number", "default": 20},
            {"name": "quantity", "type": "number", "default": 65},
            {"name": "tax", "type": "number", "default": 0.1}
        ],
        "outputs": [{"name": "total", "formula": "ROUND(price*quantity*(1+tax),2)"}]
    }))
}

/// The sales example as a workbook.
pub fn sales_workbook() -> Workbook {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write(0, 0, "Price").unwrap().write(0, 1, 20).unwrap();
    sheet.write(1, 0, "Quantity").unwrap().write(1, 1, 65).unwrap();
    sheet.write(2, 0, "Tax").unwrap().write(2, 1, 0.1).unwrap();
    let total = rust_xlsxwriter::Formula::new("=ROUND(B1*B2*(1+B3),2)").set_result("1430");
    sheet.write(3, 0, "Total").unwrap().write_formula(3, 1, total).unwrap();
    for (name, cell) in
        [("Xinput_price", "B$1"), ("XINPUT_quantity", "B$2"), ("xinput_tax", "B$3"), ("Xoutput_total", "B$4")]
    {
        book.define_name(name, &format!("=Sheet1!${cell}")).unwrap();
    }
    book
}

pub fn document(json: &Value) -> Service {
    Service::load(SourceKind::FormulaDocument, json.to_string().as_bytes(), &Limits::default()).unwrap()
}

pub fn document_error(json: &Value) -> String {
    match Service::load(SourceKind::FormulaDocument, json.to_string().as_bytes(), &Limits::default()) {
        Ok(_) => panic!("accepted: {json}"),
        Err(error) => error.to_string(),
    }
}

pub fn load(bytes: &[u8]) -> Result<Service, LoadError> {
    Service::load(SourceKind::Workbook, bytes, &Limits::default())
}

pub fn workbook(mut book: Workbook) -> Service {
    load(&book.save_to_buffer().unwrap()).unwrap()
}

pub fn run(service: &Service, options: &Options, data: &Value) -> Result<ChunkResult, ChunkError> {
    run_text(service, options, &data.to_string())
}

pub fn run_text(service: &Service, options: &Options, data: &str) -> Result<ChunkResult, ChunkError> {
    service.prepare(options).evaluate(data.as_bytes(), None, &mut Scratch::default())
}

/// The answered chunk as JSON.
pub fn answer(service: &Service, options: &Options, data: &Value) -> Value {
    answer_text(service, options, &data.to_string())
}

pub fn answer_text(service: &Service, options: &Options, data: &str) -> Value {
    let result = run_text(service, options, data).unwrap();
    let mut out = Vec::new();
    result.write_json("c", &mut out);
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

/// Only the outputs, with default options.
pub fn outputs(service: &Service, data: Value) -> Value {
    answer(service, &Options::default(), &data)["outputs"].take()
}

pub fn filtered(output: &[&str]) -> Options {
    Options { output: output.iter().map(ToString::to_string).collect(), ..Options::default() }
}

pub fn keyed(keys: &[&str]) -> Options {
    Options { unique_record_key: keys.iter().map(ToString::to_string).collect(), ..Options::default() }
}
