//! The table of `tests/README.md` and the tests themselves name each other.

use std::collections::BTreeSet;

use millrace_tests::{rows, tests_below, tests_in};

/// Names of the form `f07_a_test`.
fn of_faults(names: BTreeSet<String>) -> BTreeSet<String> {
    let of_a_fault = |name: &String| {
        let bytes = name.as_bytes();
        bytes.len() > 4
            && bytes[0] == b'f'
            && bytes[1].is_ascii_digit()
            && bytes[2].is_ascii_digit()
            && bytes[3] == b'_'
    };
    names.into_iter().filter(of_a_fault).collect()
}

#[test]
fn the_table_names_exactly_the_tests_that_exist_and_every_case() {
    let exist = of_faults(tests_below(&["tests/tests", "common/tests", "api/tests"]).unwrap());
    let rows = rows("tests/README.md").unwrap();
    let named = of_faults(rows.iter().flat_map(|row| tests_in(row)).collect());
    assert_eq!(exist.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the table");
    assert_eq!(named.difference(&exist).collect::<Vec<_>>(), Vec::<&String>::new(), "only in the table");
    for case in 1..=46 {
        let row =
            rows.iter().filter(|row| row.first().is_some_and(|cell| *cell == format!("F{case}"))).count();
        assert_eq!(row, 1, "F{case} must have one row");
    }
}
