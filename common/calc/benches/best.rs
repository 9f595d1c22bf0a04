//! The best of many blocks: what a machine can do while nobody disturbs it. Each form runs in short turns, one after the other,
//! and the fastest run of each counts, so that forms can be compared although the machine's speed drifts.
//!
//! `cargo bench -p millrace-calc --bench best`; `-- w2 chunk` runs the rows that have both words in their names, and
//! `TURNS` sets how many turns there are.

#![allow(missing_docs, clippy::panic, clippy::print_stdout)]

mod workloads;

use std::hint::black_box;
use std::time::{Duration, Instant};

use millrace_calc::chunk::scan;
use millrace_calc::limits::Limits;
use millrace_calc::program::{BLOCK, Column, Program, Scratch, Volatile};
use millrace_calc::service::{self, Options};
use millrace_calc::value::Value;
use workloads::Workload;
use workloads::by_hand::{self, Workloads, number, person};

/// Records of a chunk.
const RECORDS: usize = 200;
/// How long a turn takes at least.
const TURN: Duration = Duration::from_millis(20);

/// One row of the table.
struct Row<'a> {
    name: String,
    records: usize,
    run: Box<dyn FnMut() + 'a>,
    best: Duration,
    turns: u32,
}

fn row<'a>(name: String, records: usize, run: impl FnMut() + 'a) -> Row<'a> {
    Row { name, records, run: Box::new(run), best: Duration::MAX, turns: 0 }
}

fn program(workload: &Workload) -> Row<'_> {
    let program =
        match Program::compile(&workload.book, &workload.inputs, &workload.outputs, &Limits::default()) {
            Ok(program) => program,
            Err(error) => panic!("{error}"),
        };
    let column = |value: &fn(usize) -> Value| Column::from_values((0..BLOCK).map(value).collect());
    let inputs: Vec<Column> = workload.fields.iter().map(|(_, value)| column(value)).collect();
    let (mut scratch, mut outputs) = (Scratch::default(), Vec::new());
    row(format!("{} program", workload.name), BLOCK, move || {
        program.run(black_box(&inputs), BLOCK, &Volatile::default(), 0, &mut scratch, &mut outputs);
        black_box(&outputs);
    })
}

fn hand<'a>(workload: &Workload, records: &'a [Vec<Value>], hand: &'a Workloads) -> Row<'a> {
    let name = format!("{} by hand", workload.name);
    let Workloads { premiums, rates } = hand;
    match workload.name {
        "w1" => {
            let rows: Vec<[f64; 3]> = records.iter().map(|r| [0, 1, 2].map(|i| number(&r[i]))).collect();
            row(name, rows.len(), move || {
                for [a, b, c] in black_box(&rows) {
                    black_box(by_hand::w1(*a, *b, *c));
                }
            })
        }
        "w2" => {
            let rows: Vec<by_hand::Person<'_>> = records.iter().map(|r| person(r)).collect();
            row(name, rows.len(), move || {
                for row in black_box(&rows) {
                    black_box(premiums.w2(row));
                }
            })
        }
        _ => {
            let rows: Vec<[f64; 4]> = records.iter().map(|r| [0, 1, 2, 3].map(|i| number(&r[i]))).collect();
            row(name, rows.len(), move || {
                for [a, b, c, d] in black_box(&rows) {
                    black_box(rates.w3(*a, *b, *c, *d));
                }
            })
        }
    }
}

fn chunk(workload: &Workload) -> Row<'_> {
    let service = workloads::service::service(workload);
    let options = Options { unique_record_key: vec!["id".into()], ..Options::default() };
    let data = workloads::service::chunk(workload, RECORDS);
    let scan = match scan(&data) {
        Ok(scan) => scan,
        Err(error) => panic!("{error}"),
    };
    let prepared = service.prepare(&options);
    let mut scratch = service::Scratch::default();
    row(format!("{} chunk", workload.name), RECORDS, move || {
        match prepared.evaluate_scanned(black_box(&data), Some(&scan), None, &mut scratch) {
            Ok(result) => drop(black_box(result)),
            Err(error) => panic!("{error}"),
        }
    })
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let turns = std::env::var("TURNS").ok().and_then(|turns| turns.parse().ok()).unwrap_or(100);
    let workloads = Workload::all();
    let by_hand = Workloads::new();
    let records: Vec<Vec<Vec<Value>>> =
        workloads.iter().map(|workload| (0..BLOCK).map(|i| workload.record(i)).collect()).collect();
    let mut rows = Vec::new();
    for (workload, records) in workloads.iter().zip(&records) {
        rows.extend([program(workload), hand(workload, records, &by_hand), chunk(workload)]);
    }
    rows.retain(|row| words.iter().all(|word| row.name.contains(word)));
    for _ in 0..turns {
        for row in &mut rows {
            let started = Instant::now();
            let mut before = started;
            while before.duration_since(started) < TURN {
                (row.run)();
                let now = Instant::now();
                row.best = row.best.min(now.duration_since(before));
                row.turns += 1;
                before = now;
            }
        }
    }
    println!("{:<12} {:>12} {:>10}", "", "ns a record", "runs");
    for row in rows {
        let each = row.best.as_nanos() as f64 / row.records as f64;
        println!("{:<12} {each:>12.1} {:>10}", row.name, row.turns);
    }
}
