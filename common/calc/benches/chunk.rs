//! Chunk bytes to result bytes: 200 records with a key in a chunk, companion arrays included. The three workloads, and W1 as
//! rows, as objects and with its numbers as text.
//!
//! `cargo bench -p millrace-calc --bench chunk`. The time shown is per chunk of 200 records; throughput counts records.

#![allow(missing_docs, clippy::expect_used, clippy::panic)]

mod workloads;

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millrace_calc::chunk::scan;
use millrace_calc::limits::Limits;
use millrace_calc::service::{Options, Scratch, Service, SourceKind};
use workloads::Workload;

const RECORDS: u64 = 200;

const SALES: &[u8] = br#"{
  "inputs": [
    {"name": "price", "type": "number", "default": 20},
    {"name": "quantity", "type": "number", "default": 65},
    {"name": "tax", "type": "number", "default": 0.1}
  ],
  "outputs": [{"name": "total", "formula": "ROUND(price*quantity*(1+tax),2)"}]
}"#;

/// A chunk of the sales example: values like those of the SDK's example, made by a fixed recurrence.
fn chunk(quoted: bool, objects: bool) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut text = String::from("{\"inputs\":[");
    if !objects {
        text.push_str("[\"id\",\"price\",\"quantity\",\"tax\"],");
    }
    for id in 0..RECORDS {
        let quote = if quoted { "\"" } else { "" };
        let (price, cents, quantity, tax) = (next(500), next(100), next(90) + 1, next(25));
        if objects {
            write!(
                text,
                "{{\"id\":{id},\"price\":{price}.{cents:02},\"quantity\":{quantity},\"tax\":0.{tax:02}}},"
            )
            .expect("a string");
        } else {
            write!(
                text,
                "[{id},{quote}{price}.{cents:02}{quote},{quote}{quantity}{quote},{quote}0.{tax:02}{quote}],"
            )
            .expect("a string");
        }
    }
    text.pop();
    text.push_str("],\"parameters\":{},\"summary\":null}");
    text.into_bytes()
}

fn bench(criterion: &mut Criterion) {
    let service =
        Service::load(SourceKind::FormulaDocument, SALES, &Limits::default()).expect("the document is valid");
    let options = Options { unique_record_key: vec!["id".into()], ..Options::default() };
    let prepared = service.prepare(&options);
    let mut scratch = Scratch::default();

    let mut group = criterion.benchmark_group("chunk");
    group.throughput(Throughput::Elements(RECORDS));
    for (name, data) in
        [("rows", chunk(false, false)), ("objects", chunk(false, true)), ("quoted rows", chunk(true, false))]
    {
        let scan = scan(&data).expect("the chunk is valid");
        group.bench_with_input(BenchmarkId::new("evaluate", name), &data, |bencher, data| {
            bencher.iter(|| {
                let result = prepared.evaluate_scanned(black_box(data), Some(&scan), None, &mut scratch);
                result.expect("the chunk is valid")
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("workload");
    group.throughput(Throughput::Elements(RECORDS));
    for workload in Workload::all() {
        let service = workloads::service::service(&workload);
        let prepared = service.prepare(&options);
        let data = workloads::service::chunk(&workload, usize::try_from(RECORDS).unwrap_or(0));
        let scan = scan(&data).expect("the chunk is valid");
        group.bench_with_input(BenchmarkId::new("evaluate", workload.name), &data, |bencher, data| {
            bencher.iter(|| {
                let result = prepared.evaluate_scanned(black_box(data), Some(&scan), None, &mut scratch);
                result.expect("the chunk is valid")
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("scan");
    for (name, data) in [("rows", chunk(false, false)), ("objects", chunk(false, true))] {
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_with_input(BenchmarkId::new("shape", name), &data, |bencher, data| {
            bencher.iter(|| scan(black_box(data)).expect("the chunk is valid"));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
