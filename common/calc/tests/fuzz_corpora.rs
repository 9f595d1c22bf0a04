//! The corpora of the fuzz targets: each case keeps the promises of its target, with no fuzzer around it.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::panic::catch_unwind;
use std::path::PathBuf;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    assert!(folder.join(format!("fuzz_targets/{name}.rs")).exists(), "{name} has no program");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is not in the manifest");
    let cases = std::fs::read_dir(folder.join("corpus").join(name)).unwrap();
    let mut files: Vec<PathBuf> = cases.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no corpus");
    for file in files {
        let case = std::fs::read(&file).unwrap();
        assert!(catch_unwind(|| target(&case)).is_ok(), "{} breaks a promise", file.display());
    }
}

#[test]
fn workbooks_keep_their_promises() {
    replay("workbook", targets::workbook);
}

#[test]
fn documents_keep_their_promises() {
    replay("document", targets::document);
}

#[test]
fn formulas_keep_their_promises() {
    replay("formula", targets::formula);
}

#[test]
fn bodies_keep_their_promises() {
    replay("body", targets::body);
}

#[test]
fn validations_keep_their_promises() {
    replay("validation", targets::validation);
}
