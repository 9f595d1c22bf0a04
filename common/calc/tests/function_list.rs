//! `FUNCTIONS.md` is what the code says: run with `UPDATE_FUNCTION_LIST=1` to write it anew.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fmt::Write;

use millrace_calc::functions::functions;
use millrace_calc::reference::reference_only_functions;

/// One line of a table: function, arguments, path, what it computes, notes, source.
type Row = [String; 6];

fn rows() -> BTreeMap<&'static str, Vec<Row>> {
    let mut categories: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for function in functions() {
        let arguments = match (function.min, function.max) {
            (min, 255) => format!("{min} or more"),
            (min, max) if min == max => min.to_string(),
            (min, max) => format!("{min} to {max}"),
        };
        let mut notes = Vec::new();
        if function.volatile {
            notes.push("fixed for a batch, or for a single call");
        }
        if !function.note.is_empty() {
            notes.push(function.note);
        }
        categories.entry(function.category).or_default().push([
            format!("`{}`", function.name),
            arguments,
            function.path().to_owned(),
            function.summary.to_owned(),
            notes.join("; "),
            format!("Microsoft Support: {}", function.name),
        ]);
    }
    for list in categories.values_mut() {
        list.sort();
    }
    categories
}

#[test]
fn the_list_of_functions_is_what_the_code_has() {
    let mut text = format!(
        "# Supported functions\n\nGenerated from the code; {} functions compile.\n\n\
         The path says how a compiled function runs: *columns* is a loop over the records of a block where the types of its\n\
         arguments allow one; *columns, by other operations* means that the compiler writes it as operations that do; *record by\n\
         record* evaluates one record after the other. All give the same bits. Each function is tested against known results in\n\
         [tests/data/conformance](tests/data/conformance), where every case names its source.\n",
        functions().len()
    );
    for (category, list) in rows() {
        write!(
            text,
            "\n## {category}\n\n| function | arguments | path | what it computes | notes | source |\n"
        )
        .unwrap();
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for row in list {
            writeln!(text, "| {} |", row.map(|cell| cell.replace('|', "\\|")).join(" | ")).unwrap();
        }
    }
    let only = reference_only_functions();
    write!(
        text,
        "\n## On the fallback only\n\nA service that uses one of these {} is evaluated, whole, by the reference engine, hundreds of times slower \
         ([how](README.md)). Whatever is in no table is refused.\n\n{}\n",
        only.len(),
        only.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )
    .unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/FUNCTIONS.md");
    if std::env::var_os("UPDATE_FUNCTION_LIST").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == text,
        "FUNCTIONS.md is out of date: UPDATE_FUNCTION_LIST=1 cargo test -p millrace-calc --test function_list"
    );
}
