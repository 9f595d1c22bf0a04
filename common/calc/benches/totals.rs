//! What totals over a batch cost: a chunk with and without them, and the merge of stored states.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millrace_calc::limits::Limits;
use millrace_calc::service::{Options, Scratch, Service, SourceKind};
use millrace_calc::totals::{TotalRequest, Totals};
use serde_json::json;

const RECORDS: u32 = 200;

fn totals(criterion: &mut Criterion) {
    let document = json!({
        "inputs": [
            {"name": "price", "type": "number"}, {"name": "quantity", "type": "number"}, {"name": "tax", "type": "number"}
        ],
        "outputs": [{"name": "total", "formula": "ROUND(price*quantity*(1+tax),2)"}]
    });
    let limits = Limits::default();
    let service =
        Service::load(SourceKind::FormulaDocument, document.to_string().as_bytes(), &limits).unwrap();
    let mut inputs = vec![json!(["price", "quantity", "tax"])];
    inputs.extend((0..RECORDS).map(|row| json!([f64::from(row) * 1.37 + 0.01, row % 17 + 1, 0.19])));
    let data = json!({"inputs": inputs}).to_string();
    let asked = |quantiles: &[f64]| Options {
        totals: vec![TotalRequest { output_name: "total".into(), quantiles: quantiles.to_vec() }],
        ..Options::default()
    };

    let mut group = criterion.benchmark_group("totals");
    group.throughput(Throughput::Elements(RECORDS.into()));
    for (name, options) in [
        ("chunk without totals", Options::default()),
        ("chunk with totals", asked(&[])),
        ("chunk with totals and quantiles", asked(&[0.5])),
    ] {
        let prepared = service.prepare(&options);
        let mut scratch = Scratch::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| prepared.evaluate(black_box(data.as_bytes()), None, &mut scratch).unwrap());
        });
    }
    for (name, options) in
        [("merge of a state", asked(&[])), ("merge of a state with quantiles", asked(&[0.5]))]
    {
        let result =
            service.prepare(&options).evaluate(data.as_bytes(), None, &mut Scratch::default()).unwrap();
        let state = result.totals.unwrap();
        let mut sum = Totals::default();
        group.throughput(Throughput::Bytes(state.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| sum.merge(&Totals::decode(black_box(&state)).unwrap()).unwrap());
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(300)).measurement_time(std::time::Duration::from_secs(1));
    targets = totals
}
criterion_main!(benches);
