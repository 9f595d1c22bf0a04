//! The examples in `deploy/examples` are what their README says.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::path::Path;

use millrace_calc::limits::Limits;
use millrace_calc::service::{Service, SourceKind};
use serde_json::{Value, json};
use support::{answer, keyed, outputs};

fn example(name: &str) -> Service {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples").join(name);
    let bytes = std::fs::read(path).unwrap();
    Service::load(SourceKind::detect(&bytes), &bytes, &Limits::default()).unwrap()
}

#[test]
fn the_sales_workbook() {
    let service = example("sales.xlsx");
    assert_eq!(service.kind(), SourceKind::Workbook);
    assert_eq!(service.report().warnings, Vec::<String>::new());
    let defaults: Vec<&Value> = service.interface().inputs.iter().map(|field| &field.default).collect();
    assert_eq!(defaults, [&json!(20.0), &json!(65.0), &json!(0.1)]);
    assert_eq!(service.interface().outputs[0].value, json!(1430.0));
    let data = json!({"inputs": [["sales_id", "price", "quantity", "tax"], [1, 20, 65, 0.1], [2, 55.02, 100, 0.08]]});
    let expected = json!([["sales_id", "total"], [1, 1430.0], [2, 5942.16]]);
    assert_eq!(answer(&service, &keyed(&["sales_id"]), &data)["outputs"], expected);
    let text = json!({"inputs": [["sales_id", "price", "quantity", "tax"], [1, "20", "65", "0.1"], [2, "55.02", "100", "0.08"]]});
    assert_eq!(answer(&service, &keyed(&["sales_id"]), &text)["outputs"], expected, "CSV clients send text");
}

#[test]
fn the_premium_document() {
    let service = example("premium.json");
    assert_eq!(service.kind(), SourceKind::FormulaDocument);
    assert_eq!(service.report().warnings, Vec::<String>::new());
    let answer = outputs(
        &service,
        json!({"inputs": [{}, {"age": 33, "smoker": true, "tariff": "direct", "term": 10}, {"tariff": "none"}]}),
    );
    assert_eq!(answer[0], json!({"premium": 271.5, "monthly": 22.63, "end_age": 60.0, "accepted": true}));
    // 100000 * 0.0009 * 1.9 * 1.15 + 12
    assert_eq!(answer[1]["premium"], json!(208.65));
    assert_eq!(answer[2]["premium"], json!("#N/A"));
}
