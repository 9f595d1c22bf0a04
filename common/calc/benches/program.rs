//! How fast programs run, columns in and columns out, beside the same calculation written by hand: the time is per block of
//! 128 records or per single record, the throughput counts records.
//!
//! `cargo bench -p millrace-calc --bench program`

#![allow(missing_docs, clippy::panic)]

mod workloads;

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace_calc::limits::Limits;
use millrace_calc::program::{BLOCK, Column, Program, Scratch, Volatile};
use millrace_calc::value::Value;
use workloads::Workload;
use workloads::by_hand::{self, Workloads, number, person};

fn compile(workload: &Workload) -> Program {
    match Program::compile(&workload.book, &workload.inputs, &workload.outputs, &Limits::default()) {
        Ok(program) => program,
        Err(error) => panic!("{error}"),
    }
}

fn columns(workload: &Workload) -> Vec<Column> {
    let column = |value: &fn(usize) -> Value| Column::from_values((0..BLOCK).map(value).collect());
    workload.fields.iter().map(|(_, value)| column(value)).collect()
}

/// Whether the engine and the hand-written code agree, before they are timed.
fn check(workload: &Workload, program: &Program, hand: &Workloads) {
    let mut outputs = Vec::new();
    program.run(&columns(workload), BLOCK, &Volatile::default(), 0, &mut Scratch::default(), &mut outputs);
    for i in 0..BLOCK {
        for (k, expected) in hand.evaluate(workload.name, &workload.record(i)).into_iter().enumerate() {
            let found = outputs[k].get(i);
            let same = match (&found, &expected) {
                (Value::Number(a), Value::Number(b)) => (a - b).abs() <= b.abs() * 1e-9 + 1e-6,
                (a, b) => a == b,
            };
            assert!(same, "{} record {i} output {k}: {found:?}, by hand {expected:?}", workload.name);
        }
    }
}

fn programs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("program");
    let hand = Workloads::new();
    let Workloads { premiums, rates } = &hand;
    let volatile = Volatile::default();
    for workload in Workload::all() {
        let name = workload.name;
        let program = compile(&workload);
        check(&workload, &program, &hand);
        let inputs = columns(&workload);
        for rows in [BLOCK, 1] {
            let mut scratch = Scratch::default();
            let mut outputs = Vec::new();
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("{name} rows={rows}"), |bencher| {
                bencher.iter(|| {
                    program.run(black_box(&inputs), rows, &volatile, 0, &mut scratch, &mut outputs);
                    black_box(&outputs);
                });
            });
        }
        // The same block on every core at once: what one thread does must not cost another its speed.
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        group.throughput(Throughput::Elements((BLOCK * threads) as u64));
        group.bench_function(format!("{name} threads={threads}"), |bencher| {
            bencher.iter_custom(|rounds| {
                let start = std::sync::Barrier::new(threads);
                let run = || {
                    let (mut scratch, mut outputs) = (Scratch::default(), Vec::new());
                    start.wait();
                    let began = Instant::now();
                    for _ in 0..rounds {
                        program.run(black_box(&inputs), BLOCK, &volatile, 0, &mut scratch, &mut outputs);
                    }
                    began.elapsed()
                };
                std::thread::scope(|scope| {
                    let handles: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
                    handles.into_iter().filter_map(|handle| handle.join().ok()).max().unwrap_or_default()
                })
            });
        });
        let records: Vec<Vec<Value>> = (0..BLOCK).map(|i| workload.record(i)).collect();
        group.throughput(Throughput::Elements(BLOCK as u64));
        match name {
            "w1" => {
                let rows: Vec<[f64; 3]> =
                    records.iter().map(|r| [number(&r[0]), number(&r[1]), number(&r[2])]).collect();
                group.bench_function("w1 by hand", |bencher| {
                    bencher.iter(|| {
                        for [a, b, c] in black_box(&rows) {
                            black_box(by_hand::w1(*a, *b, *c));
                        }
                    });
                });
            }
            "w2" => {
                let rows: Vec<by_hand::Person<'_>> = records.iter().map(|r| person(r)).collect();
                group.bench_function("w2 by hand", |bencher| {
                    bencher.iter(|| {
                        for row in black_box(&rows) {
                            black_box(premiums.w2(row));
                        }
                    });
                });
            }
            _ => {
                let rows: Vec<[f64; 4]> = records
                    .iter()
                    .map(|r| [number(&r[0]), number(&r[1]), number(&r[2]), number(&r[3])])
                    .collect();
                group.bench_function("w3 by hand", |bencher| {
                    bencher.iter(|| {
                        for [a, b, c, d] in black_box(&rows) {
                            black_box(rates.w3(*a, *b, *c, *d));
                        }
                    });
                });
            }
        }
    }
    group.finish();
    let [_, _, w3] = Workload::all();
    criterion.bench_function("compile w3", |bencher| bencher.iter(|| compile(&w3)));
}

criterion_group!(benches, programs);
criterion_main!(benches);
