//! A model test: lists of operations on the real store, against an oracle.
//!
//! Between callers and the store stand a simulated broker, which may lose a push before its confirm, lose a confirm, double,
//! delay and redeliver messages, and simulated workers, which may die before and after a commit or lose their
//! acknowledgements. After every operation the store must say exactly what the [`oracle`] says: answers, states, every
//! counter. At the end everything comes to rest and the promises of the design (section 6) are checked: each chunk whose push
//! was answered with success is pulled exactly once unless its batch was cancelled, budgets are zero, rows and counters agree.
//!
//! The lists are made from a fixed seed, which is printed; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` choose others:
//!
//! ```sh
//! PROPTEST_RNG_SEED=7 PROPTEST_CASES=100000 cargo test -p millrace-common --test store model
//! ```

mod concurrent;
mod lost;
mod operations;
mod oracle;
mod pulls;
mod pushes;
mod redrives;
mod regressions;
mod rest;
mod retention;
mod sabotage;
mod tenant;
mod terms;
mod world;

use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner, contextualize_config};

use self::operations::{Op, lists};
use self::tenant::Place;
use self::world::World;

/// Lists of operations in the suite, all parts together.
const LISTS: u32 = 1_000;
/// Parts that run side by side, each on a database and from a seed of its own.
const PARTS: u32 = 4;
const SEED: u64 = 20_261_129;
/// Tables are emptied after so many lists, so that the last list takes as long as the first.
const LISTS_A_DATABASE: u32 = 1_000;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// As `properties::config` of the library.
#[expect(clippy::print_stdout, reason = "only shown with a failure")]
fn config(cases: u32) -> Config {
    let rng_seed = RngSeed::Fixed(SEED);
    let config =
        Config { cases, rng_seed, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let config = contextualize_config(config);
    println!("PROPTEST_RNG_SEED={} PROPTEST_CASES={}", config.rng_seed, config.cases);
    config
}

/// Runs part `part` of the lists.
fn run_part(part: u32) {
    let mut config = config(LISTS);
    if let RngSeed::Fixed(seed) = config.rng_seed {
        config.rng_seed = RngSeed::Fixed(seed.wrapping_mul(31).wrapping_add(part.into()));
    }
    let mut left = config.cases.div_ceil(PARTS);
    let runtime = runtime();
    let mut runner = TestRunner::new(config.clone());
    while left > 0 {
        config.cases = left.min(LISTS_A_DATABASE);
        left -= config.cases;
        let place = runtime.block_on(Place::new());
        let mut runner_of_place = TestRunner::new_with_rng(config.clone(), runner.new_rng());
        let outcome = runner_of_place.run(&lists(), |operations| {
            runtime.block_on(run_on(&place, &operations)).map_err(TestCaseError::fail)
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(reason, operations)) => panic!("{reason}\n{operations:?}"),
            Err(other) => panic!("{other}"),
        }
    }
}

async fn run_on(place: &Place, operations: &[Op]) -> Result<(), String> {
    World::run(place.tenant().await, operations).await
}

#[test]
fn lists_of_operations_agree_with_the_oracle_1() {
    run_part(1);
}

#[test]
fn lists_of_operations_agree_with_the_oracle_2() {
    run_part(2);
}

#[test]
fn lists_of_operations_agree_with_the_oracle_3() {
    run_part(3);
}

#[test]
fn lists_of_operations_agree_with_the_oracle_4() {
    run_part(4);
}
