//! The page beside these tests has a row for each rule of the contract, and names tests that exist.

use millrace_tests::{rows, tests_below, tests_in, tests_named};

const PAGE: &str = "tests/tests/batches/README.md";

#[test]
fn the_page_of_the_protocol_names_tests_that_exist_and_every_test_of_it() {
    let exist = tests_below(&["api", "common", "worker", "tests"]).unwrap();
    let mut here = tests_below(&["tests/tests/batches", "tests/sdk"]).unwrap();
    for own in [
        "the_page_of_the_protocol_names_tests_that_exist_and_every_test_of_it",
        "every_rule_has_a_priority_and_tests_or_a_reason",
    ] {
        here.remove(own);
    }
    // The engine's tests are called after the rules of sections 2 and 5.
    let rules = tests_below(&["common/calc/tests"]).unwrap();
    here.extend(rules.into_iter().filter(|name| name.starts_with("rule_")));
    let named = tests_named(PAGE).unwrap();
    assert_eq!(named.difference(&exist).collect::<Vec<_>>(), Vec::<&String>::new(), "only on the page");
    assert_eq!(here.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "not on the page");
}

#[test]
fn every_rule_has_a_priority_and_tests_or_a_reason() {
    let rows = rows(PAGE).unwrap();
    assert!(rows.len() > 150, "{}", rows.len());
    for row in &rows {
        let [rule, priority, shown] = row.as_slice() else { panic!("{row:?}") };
        assert!(["MUST", "SHOULD", "COULD"].contains(&priority.as_str()), "{rule}: {priority}");
        let has_a_reason = priority == "COULD" && shown.contains("not there") || shown.contains("SPARK.md#");
        assert!(!tests_in(row).is_empty() || has_a_reason, "{rule}: neither a test nor a reason");
    }
}
