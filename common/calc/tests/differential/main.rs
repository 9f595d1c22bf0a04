//! Compiled programs against the reference engine, on generated books: operators, functions, types, blanks, errors.
//!
//! The suite makes some ten thousand comparisons. A million, or any other number, on demand:
//!
//! ```sh
//! COMPARISONS=1000000 SEED=1 cargo test --release -p millrace-calc --test differential -- --ignored --nocapture
//! ```
//!
//! What differs is taken apart ([`blame`]): the operation that makes the difference must fit one of the rules in [`known`], each a
//! fault of the reference engine with the reason why it is one.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod blame;
mod generate;
mod known;

use std::collections::BTreeMap;
use std::time::Instant;

use blame::{both, explain};
use generate::{Case, Dice, plain};
use known::equal;
use millrace_calc::reference::InProcess;
use millrace_calc::value::Value;

/// The seed of the books that the suite compares.
const SEED: u64 = 20_261_121;
/// Records of each book.
const ROWS: usize = 12;

/// What came of many comparisons.
#[derive(Default)]
struct Tally {
    comparisons: u64,
    equal: u64,
    /// Excused differences, by rule.
    excused: BTreeMap<&'static str, u64>,
    /// Formulas that the reference engine refuses.
    refused: u64,
    /// Differences without an excuse, at most as many as anyone will read.
    faults: Vec<String>,
    fault_count: u64,
}

impl Tally {
    fn add(&mut self, case: &Case, engine: &InProcess) {
        let Some(results) = both(case, &case.formulas, &case.records, engine) else {
            self.refused += 1;
            return;
        };
        for (formula, results) in case.formulas.iter().zip(&results) {
            for (record, (ours, theirs)) in case.records.iter().zip(results) {
                self.comparisons += 1;
                if equal(ours, theirs) {
                    self.equal += 1;
                    continue;
                }
                match explain(case, formula, record, engine) {
                    Ok(rule) => *self.excused.entry(rule).or_default() += 1,
                    Err(why) => self.fault(&plain(formula), record, ours, theirs, &why),
                }
            }
        }
    }

    fn fault(&mut self, formula: &str, record: &[Value], ours: &Value, theirs: &Value, why: &str) {
        self.fault_count += 1;
        // One record tells as much as twelve.
        let told = self.faults.last().is_some_and(|last| last.starts_with(&format!("={formula}\n")));
        if !told && self.faults.len() < 40 {
            self.faults.push(format!(
                "={formula}\n    for {record:?}\n    compiled {ours:?}, reference {theirs:?}\n    {why}"
            ));
        }
    }

    fn report(&self) -> String {
        format!(
            "{} comparisons: {} equal, {} books refused, {} faults\nexcused: {:#?}\n{}",
            self.comparisons,
            self.equal,
            self.refused,
            self.fault_count,
            self.excused,
            self.faults.join("\n")
        )
    }
}

fn compare(comparisons: u64, seed: u64) -> Tally {
    let engine = InProcess::start().unwrap();
    let mut dice = Dice::new(seed);
    let mut tally = Tally::default();
    while tally.comparisons < comparisons {
        let case = Case::generate(&mut dice, ROWS);
        tally.add(&case, &engine);
    }
    tally
}

#[test]
fn generated_books_agree() {
    let tally = compare(10_000, SEED);
    assert_eq!(tally.fault_count, 0, "seed {SEED}: {}", tally.report());
    assert!(
        tally.equal * 100 > tally.comparisons * 98,
        "seed {SEED}: too much is excused: {}",
        tally.report()
    );
}

#[test]
#[ignore = "on demand: see the top of this file"]
fn as_many_as_asked_for() {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
    };
    let (comparisons, seed) = (number("COMPARISONS", 1_000_000), number("SEED", 1));
    let start = Instant::now();
    let tally = compare(comparisons, seed);
    println!("seed {seed}, {:.0} s\n{}", start.elapsed().as_secs_f64(), tally.report());
    assert_eq!(tally.fault_count, 0);
}
