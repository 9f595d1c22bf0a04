//! Compiled programs against the reference engine, on generated books: operators, functions, types, blanks, errors.
//!
//! The suite makes some ten thousand comparisons. A million, or any other number, on demand:
//!
//! ```sh
//! COMPARISONS=1000000 SEED=1 cargo test --release -p millrace-calc --test differential -- --ignored --nocapture
//! ```
//!
//! What differs must fit one of the rules in [`known`], each a fault of the reference engine with the reason why it is one.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod generate;
mod known;

use std::collections::BTreeMap;
use std::time::Instant;

use generate::{Case, Dice};
use known::Verdict;
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, Program, Scratch, Volatile};
use millrace_calc::reference::{Block, Definition, Fallback, FallbackError, InProcess};
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
        let book = case.book();
        let (inputs, outputs) = (case.inputs(), case.outputs());
        let program = Program::compile(&book, &inputs, &outputs, &Limits::default())
            .unwrap_or_else(|error| panic!("{error} in {:?}", case.formulas));
        let definition = Definition::new(&book, &inputs, &outputs, &Limits::default()).unwrap();
        let columns: Vec<Column> = (0..generate::INPUTS)
            .map(|input| {
                Column::from_values(case.records.iter().map(|record| record[input].clone()).collect())
            })
            .collect();
        let volatile = Volatile::default();
        let mut ours = Vec::new();
        program.run(&columns, ROWS, &volatile, 0, &mut Scratch::default(), &mut ours);
        let wanted: Vec<usize> = (0..case.formulas.len()).collect();
        let block =
            Block { inputs: &columns, rows: ROWS, volatile: &volatile, first_record: 0, outputs: &wanted };
        let theirs = engine.load(&definition).and_then(|_| engine.evaluate(&definition, &block, None));
        let theirs = match theirs {
            Ok(theirs) => theirs,
            Err(FallbackError::Refused(_)) => {
                self.refused += 1;
                return;
            }
            Err(error) => panic!("{error} in {:?}", case.formulas),
        };
        for (formula, (ours, theirs)) in case.formulas.iter().zip(ours.iter().zip(&theirs)) {
            for (row, record) in case.records.iter().enumerate() {
                self.comparisons += 1;
                match known::judge(formula, record, &ours.get(row), &theirs.get(row)) {
                    Verdict::Equal => self.equal += 1,
                    Verdict::Known(rule) => *self.excused.entry(rule).or_default() += 1,
                    Verdict::Fault => self.fault(formula, record, &ours.get(row), &theirs.get(row)),
                }
            }
        }
    }

    fn fault(&mut self, formula: &str, record: &[Value], ours: &Value, theirs: &Value) {
        self.fault_count += 1;
        // One record tells as much as twelve.
        let told = self.faults.last().is_some_and(|last| last.starts_with(&format!("={formula}\n")));
        if !told && self.faults.len() < 40 {
            self.faults
                .push(format!("={formula}\n    for {record:?}\n    compiled {ours:?}, reference {theirs:?}"));
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
