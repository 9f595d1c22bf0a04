//! How slow the fallback is: the reference engine itself, columns in and columns out, without the way to its process.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

mod workloads;

use std::hint::black_box;
use std::thread;

use criterion::{Criterion, Throughput, criterion_group};
use millrace_calc::limits::Limits;
use millrace_calc::program::{Column, Volatile};
use millrace_calc::reference::{Block, Definition, Evaluator, STACK_BYTES};
use workloads::Workload;

/// Records of a block: as many as make a block of the slowest workload bearable.
const ROWS: usize = 16;

fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reference");
    group.sample_size(10);
    for workload in Workload::all() {
        let definition =
            Definition::new(&workload.book, &workload.inputs, &workload.outputs, &Limits::default()).unwrap();
        let inputs: Vec<Column> = (0..workload.fields.len())
            .map(|field| Column::from_values((0..ROWS).map(|i| workload.record(i)[field].clone()).collect()))
            .collect();
        let wanted: Vec<usize> = (0..workload.outputs.len()).collect();
        let mut evaluator = Evaluator::load(&definition).unwrap();
        let block = Block {
            inputs: &inputs,
            rows: ROWS,
            volatile: &Volatile::default(),
            first_record: 0,
            outputs: &wanted,
        };
        group.throughput(Throughput::Elements(ROWS as u64));
        group.bench_function(workload.name, |bencher| bencher.iter(|| black_box(evaluator.run(&block))));
        group.throughput(Throughput::Elements(1));
        let name = format!("load {}", workload.name);
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(Evaluator::load(&definition).unwrap()))
        });
    }
    group.finish();
}

criterion_group!(benches, measure);

/// The engine recurses: it needs a thread with a stack of its own.
fn main() {
    let run = || {
        benches();
        Criterion::default().configure_from_args().final_summary();
    };
    thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap().join().unwrap();
}
