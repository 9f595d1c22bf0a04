//! The table of `tests/README.md` and the tests themselves name each other.

use std::collections::BTreeSet;
use std::path::Path;

use millrace_tests::repository;

/// Words of a text that look like `f07_a_test`.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let named = words.filter(|word| {
        let bytes = word.as_bytes();
        bytes.len() > 4
            && bytes[0] == b'f'
            && bytes[1].is_ascii_digit()
            && bytes[2].is_ascii_digit()
            && bytes[3] == b'_'
    });
    named.map(str::to_owned).collect()
}

/// The test functions in all files below a folder.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let functions = text.lines().filter_map(|line| {
                line.trim_start().strip_prefix("async fn ").or_else(|| line.trim_start().strip_prefix("fn "))
            });
            found
                .extend(functions.flat_map(|function| names(function.split('(').next().unwrap_or_default())));
        }
    }
}

#[test]
fn the_table_names_exactly_the_tests_that_exist_and_every_case() {
    let mut exist = BTreeSet::new();
    for folder in ["tests/tests", "common/tests", "api/tests"] {
        tests_below(&repository().join(folder), &mut exist);
    }
    let readme = std::fs::read_to_string(repository().join("tests/README.md")).unwrap();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| F")).collect();
    let named = names(&rows.join("\n"));
    assert_eq!(exist.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the table");
    assert_eq!(named.difference(&exist).collect::<Vec<_>>(), Vec::<&String>::new(), "only in the table");
    for case in 1..=46 {
        let row = rows.iter().filter(|row| row.starts_with(&format!("| F{case} |"))).count();
        assert_eq!(row, 1, "F{case} must have one row");
    }
}
