//! The workloads of the benchmarks: every execution agrees with the others bit for bit and with the same calculation written by
//! hand, and a large program keeps within the memory that a thread may take.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../benches/workloads/mod.rs"]
mod workloads;

use millrace_calc::limits::Limits;
use millrace_calc::program::{BLOCK, Column, Program, Scratch, Volatile};
use millrace_calc::value::Value;
use workloads::{Workload, by_hand};

fn compile(workload: &Workload) -> Program {
    Program::compile(&workload.book, &workload.inputs, &workload.outputs, &Limits::default()).unwrap()
}

fn run(workload: &Workload, program: &Program, records: usize, scratch: &mut Scratch) -> Vec<Column> {
    let column = |value: &fn(usize) -> Value| Column::from_values((0..records).map(value).collect());
    let inputs: Vec<Column> = workload.fields.iter().map(|(_, value)| column(value)).collect();
    let mut outputs = Vec::new();
    program.run(&inputs, records, &Volatile::default(), 0, scratch, &mut outputs);
    outputs
}

#[test]
fn every_execution_agrees_with_the_hand_written_one() {
    let hand = by_hand::Workloads::new();
    for workload in Workload::all() {
        let program = compile(&workload);
        let columns = run(&workload, &program, BLOCK, &mut Scratch::default());
        let others = [
            run(&workload, &program, BLOCK, &mut Scratch::narrow()),
            run(&workload, &program, BLOCK, &mut Scratch::portable()),
            run(&workload, &program, BLOCK, &mut Scratch::record_by_record()),
        ];
        for i in 0..BLOCK {
            let expected = hand.evaluate(workload.name, &workload.record(i));
            assert_eq!(expected.len(), columns.len());
            for (k, expected) in expected.iter().enumerate() {
                let found = columns[k].get(i);
                for other in &others {
                    let other = other[k].get(i);
                    let same = match (&found, &other) {
                        (Value::Number(a), Value::Number(b)) => a.to_bits() == b.to_bits(),
                        (a, b) => a == b,
                    };
                    assert!(same, "{} record {i} output {k}: {found:?}, {other:?}", workload.name);
                }
                let near = match (&found, expected) {
                    (Value::Number(a), Value::Number(b)) => (a - b).abs() <= b.abs() * 1e-9 + 1e-6,
                    (a, b) => a == b,
                };
                assert!(near, "{} record {i} output {k}: {found:?}, by hand {expected:?}", workload.name);
            }
        }
    }
}

#[test]
fn a_schedule_of_two_thousand_formulas_takes_few_columns() {
    let [_, _, w3] = Workload::all();
    let program = compile(&w3);
    assert_eq!(program.report().formulas, 2166);
    assert!(program.report().live_columns <= 40, "{} columns", program.report().live_columns);
    let mut scratch = Scratch::default();
    run(&w3, &program, BLOCK, &mut scratch);
    assert!(scratch.bytes() <= 1 << 20, "{} bytes", scratch.bytes());
}
