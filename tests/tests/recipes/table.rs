//! The page beside these tests names tests that exist, and all of these.

use std::collections::BTreeSet;
use std::path::Path;

use millrace_tests::repository;

/// The test functions in all files below a folder: those below an attribute that says so, and those of properties.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim_start) {
                let function = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
                if let Some(function) = function.filter(|_| is_test) {
                    found.extend(function.split('(').next().map(str::to_owned));
                }
                is_test = line.starts_with("#[test]")
                    || line.starts_with("#[tokio::test")
                    || is_test && line.starts_with('#');
            }
        }
    }
}

#[test]
fn the_page_names_tests_that_exist_and_every_test_of_this_folder() {
    let (mut exist, mut here) = (BTreeSet::new(), BTreeSet::new());
    for folder in ["common/src/model/recipe", "api/tests/http", "tests/tests/recipes"] {
        tests_below(&repository().join(folder), &mut exist);
    }
    tests_below(&repository().join("tests/tests/recipes"), &mut here);
    here.remove("the_page_names_tests_that_exist_and_every_test_of_this_folder");
    let page = std::fs::read_to_string(repository().join("tests/tests/recipes/README.md")).unwrap();
    // Between backticks, in rows of tables, with several words: names of tests, and nothing else.
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let named: BTreeSet<String> = quoted
        .filter(|text| {
            text.matches('_').count() >= 2
                && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
        .map(str::to_owned)
        .collect();
    assert!(named.len() > 80, "{}", named.len());
    assert_eq!(named.difference(&exist).collect::<Vec<_>>(), Vec::<&String>::new(), "only on the page");
    assert_eq!(here.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "not on the page");
}
