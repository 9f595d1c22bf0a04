//! `FUNCTIONS.md` is what the code says: run with `UPDATE_FUNCTION_LIST=1` to write it anew.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fmt::Write;

use millrace_calc::functions::functions;
use millrace_calc::reference::reference_only_functions;

#[test]
fn the_list_of_functions_is_what_the_code_has() {
    let mut categories: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for function in functions() {
        categories.entry(function.category).or_default().push(function);
    }
    let mut text = format!(
        "# Supported functions\n\nGenerated from the code; {} functions are compiled. Volatile ones are fixed for a batch, or for a single call.\n",
        functions().len()
    );
    for (category, mut list) in categories {
        list.sort_by_key(|function| function.name);
        write!(text, "\n## {category}\n\n| function | arguments | what it computes |\n| --- | --- | --- |\n")
            .unwrap();
        for function in list {
            let arguments = match (function.min, function.max) {
                (min, 255) => format!("{min} or more"),
                (min, max) if min == max => min.to_string(),
                (min, max) => format!("{min} to {max}"),
            };
            let volatile = if function.volatile { " (volatile)" } else { "" };
            let summary = function.summary.replace('|', "\\|");
            writeln!(text, "| `{}` | {arguments} | {summary}{volatile} |", function.name).unwrap();
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
