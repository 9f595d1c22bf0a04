//! Workbooks as people build them against the values that LibreOffice computed for them (see `examples/make_workbooks.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;
#[path = "../examples/workbooks/mod.rs"]
mod workbooks;

use millrace_calc::service::{Options, Service};
use serde_json::{Value, json};
use workbooks::models;

/// Relative difference that is allowed; what an iteration finds is as exact as that stops.
fn tolerance(output: &str) -> f64 {
    if matches!(output, "irr" | "xirr") { 1e-9 } else { 1e-12 }
}

fn near(computed: &Value, expected: &Value, tolerance: f64) -> bool {
    match (computed.as_f64(), expected.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= tolerance * b.abs().max(1e-3),
        _ => computed == expected,
    }
}

#[test]
fn real_workbooks_give_what_libreoffice_gives() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for model in models() {
        let path = format!("{}/tests/data/workbooks/{}.json", env!("CARGO_MANIFEST_DIR"), model.name);
        let known: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let sets = known["sets"].as_array().unwrap();
        assert_eq!(sets.len(), model.sets.len(), "{}", model.name);
        let service: Service = support::workbook(model.workbook(model.sets[0]).unwrap());
        // All sets in one chunk, and each alone.
        let records: Vec<Value> = sets.iter().map(|set| set["inputs"].clone()).collect();
        let together = support::answer(&service, &Options::default(), &json!({"inputs": records}));
        for (i, set) in sets.iter().enumerate() {
            let alone = support::answer(&service, &Options::default(), &json!({"inputs": [set["inputs"]]}));
            let computed = &together["outputs"][i];
            assert_eq!(computed, &alone["outputs"][0], "{} {i}", model.name);
            for (output, _) in model.outputs {
                let expected = &set["outputs"][*output];
                assert!(!expected.is_null(), "{} {i}: {output} was not computed", model.name);
                if !near(&computed[*output], expected, tolerance(output)) {
                    wrong.push(format!(
                        "{} {i}: {output} is {}, not {expected}",
                        model.name, computed[*output]
                    ));
                }
                compared += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 180, "only {compared} values");
}
