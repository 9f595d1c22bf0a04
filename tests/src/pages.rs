//! Pages that say which test shows what, held to the tests that exist.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use crate::repository;

/// The tests in all files below folders of the repository: Rust's functions below an attribute that makes them tests, those of
/// properties included, and pytest's.
///
/// # Errors
///
/// When a folder or a file cannot be read.
pub fn tests_below(folders: &[&str]) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for folder in folders {
        collect(&repository().join(folder), &mut found)?;
    }
    Ok(found)
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let language = path.extension().and_then(|extension| extension.to_str());
        match language {
            _ if path.is_dir() => collect(&path, found)?,
            Some("rs") => found.extend(rust_tests(&read(&path)?)),
            Some("py") => found.extend(python_tests(&read(&path)?)),
            _ => {}
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn rust_tests(text: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim_start) {
        let function = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
        if let Some(function) = function.filter(|_| is_test) {
            found.extend(name_of(function));
        }
        let begins = line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        is_test = begins || is_test && line.starts_with('#');
    }
    found
}

fn python_tests(text: &str) -> Vec<String> {
    let functions = text.lines().map(str::trim_start).filter_map(|line| line.strip_prefix("def "));
    functions.filter(|function| function.starts_with("test_")).filter_map(name_of).collect()
}

fn name_of(function: &str) -> Option<String> {
    function.split('(').next().map(str::to_owned)
}

/// The rows of all tables of a page, cell by cell, without the headings.
///
/// # Errors
///
/// When the page cannot be read.
pub fn rows(page: &str) -> Result<Vec<Vec<String>>> {
    let text = read(&repository().join(page))?;
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &&str| line.starts_with("| ---");
    let rows = lines.iter().enumerate().filter(|(number, line)| {
        line.starts_with('|') && !is_rule(line) && !lines.get(number + 1).is_some_and(is_rule)
    });
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    Ok(rows.map(|(_, line)| cells(line)).collect())
}

/// The tests that a row names: the texts between backticks that have the form of a test's name, in any column but the first,
/// which says what they show.
pub fn tests_in(row: &[String]) -> BTreeSet<String> {
    let quoted = row.iter().skip(1).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let names = quoted.filter(|text| {
        let of_a_name = |byte: u8| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
        text.contains('_') && text.bytes().all(of_a_name)
    });
    names.map(str::to_owned).collect()
}

/// The tests that all tables of a page name.
///
/// # Errors
///
/// When the page cannot be read.
pub fn tests_named(page: &str) -> Result<BTreeSet<String>> {
    Ok(rows(page)?.iter().flat_map(|row| tests_in(row)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn tests_of_both_languages_are_found() {
        let rust = "#[test]\nfn one() {\n#[tokio::test(flavor = \"multi_thread\")]\n#[ignore]\nasync fn two() {\nfn three() {";
        assert_eq!(rust_tests(rust), ["one", "two"]);
        let python = "def test_one(fleet):\n    def test_two():\ndef helper():\n";
        assert_eq!(python_tests(python), ["test_one", "test_two"]);
    }

    #[test]
    fn names_stand_between_backticks_behind_the_first_column() {
        let row = ["`a_field` (1.1)", "MUST", "`a_test`, `Another`, `x.y_z` and a_word"].map(str::to_owned);
        assert_eq!(tests_in(&row), BTreeSet::from(["a_test".to_owned()]));
    }
}
