//! The page beside these tests names tests that exist, and all of these.

use millrace_tests::{tests_below, tests_named};

#[test]
fn the_page_names_tests_that_exist_and_every_test_of_this_folder() {
    let exist = tests_below(&["common/src/model/recipe", "api/tests/http", "tests/tests/recipes"]).unwrap();
    let mut here = tests_below(&["tests/tests/recipes"]).unwrap();
    here.remove("the_page_names_tests_that_exist_and_every_test_of_this_folder");
    let named = tests_named("tests/tests/recipes/README.md").unwrap();
    assert!(named.len() > 80, "{}", named.len());
    assert_eq!(named.difference(&exist).collect::<Vec<_>>(), Vec::<&String>::new(), "only on the page");
    assert_eq!(here.difference(&named).collect::<Vec<_>>(), Vec::<&String>::new(), "not on the page");
}
