//! How property tests run: from one fixed seed, so that every run of the suite makes the same cases. `PROPTEST_RNG_SEED` and
//! `PROPTEST_CASES` choose others (tests/README.md).

use proptest::test_runner::{Config, RngSeed, contextualize_config};

const SEED: u64 = 20_261_129;

/// This many cases. The seed is printed, which the test harness shows for a test that fails.
#[allow(clippy::print_stdout, reason = "only shown with a failure")]
pub fn config(cases: u32) -> Config {
    let config =
        Config { cases, rng_seed: RngSeed::Fixed(SEED), failure_persistence: None, ..Config::default() };
    let config = contextualize_config(config);
    println!("PROPTEST_RNG_SEED={} PROPTEST_CASES={}", config.rng_seed, config.cases);
    config
}
