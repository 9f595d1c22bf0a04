//! Totals over whole batches, end to end: what workers add, whatever happens to them, is what a caller would have added up.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use millrace_tests::{Client, Fleet, FleetOptions, PATIENCE, SALES};
use serde_json::{Value, json};

/// Records of a chunk.
const RECORDS: usize = 25;

/// The inputs of a record; its total is `price × quantity`.
fn record(index: usize) -> (f64, usize) {
    ((index % 97) as f64 * 1.25, index % 7 + 1)
}

fn chunk(index: usize) -> Value {
    let rows = (index * RECORDS..(index + 1) * RECORDS).map(|row| {
        let (price, quantity) = record(row);
        json!([price, quantity, 0])
    });
    let inputs: Vec<Value> = std::iter::once(json!(["price", "quantity", "tax"])).chain(rows).collect();
    json!({"id": format!("c{index}"), "data": {"inputs": inputs}})
}

/// The totals of the first records, in order.
fn direct(records: usize) -> Vec<f64> {
    let mut totals: Vec<f64> = (0..records)
        .map(record)
        // Prices are multiples of 1.25: two decimals, rounded half away from zero.
        .map(|(price, quantity)| (price * quantity as f64 * 100.0).round() / 100.0)
        .collect();
    totals.sort_by(f64::total_cmp);
    totals
}

fn is_near(answer: &Value, wanted: f64) -> bool {
    answer.as_f64().is_some_and(|answer| (answer - wanted).abs() <= wanted.abs() * 1e-12)
}

async fn totals(client: &Client, batch: &str) -> Value {
    client.info(batch).await.unwrap().success().unwrap().body["data"]["summary_total"].clone()
}

fn asking() -> Value {
    json!({"service": SALES, "summary_total": [{"output_name": "TOTAL", "quantiles": [0, 0.5, 0.95, 1]}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_workers_and_chunks_pushed_twice_count_once() {
    const CHUNKS: usize = 400;
    let mut fleet = Fleet::sales(FleetOptions::workers(2)).await.unwrap();
    let client = fleet.client().clone();
    let batch = client.open_batch(&asking()).await.unwrap();
    let before = totals(&client, &batch).await;
    assert_eq!((&before["records"], &before["outputs"][0]["sum"]), (&json!(0), &json!(0.0)));
    assert_eq!(before["outputs"][0]["mean"], json!(null));

    for first in (0..CHUNKS).step_by(50) {
        let body = json!({"chunks": (first..first + 50).map(chunk).collect::<Vec<_>>()});
        client.push(&batch, &body).await.unwrap().success().unwrap();
        // The answer to a push may be lost: callers push again.
        client.push(&batch, &body).await.unwrap().success().unwrap();
        if first == 100 {
            fleet.kill_worker(0).unwrap();
        }
        if first == 250 {
            fleet.start_worker().await.unwrap();
        }
    }
    // While it runs, totals cover what is finished.
    let part = totals(&client, &batch).await;
    assert!(part["records"].as_u64().unwrap() <= (CHUNKS * RECORDS) as u64, "{part}");
    let pulled = client.pull_all(&batch, CHUNKS, PATIENCE).await.unwrap();
    assert_eq!(pulled.len(), CHUNKS);
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(&batch, "completed", PATIENCE).await.unwrap();

    let report = totals(&client, &batch).await;
    let total = &report["outputs"][0];
    let direct = direct(CHUNKS * RECORDS);
    let count = direct.len() as f64;
    assert_eq!(
        (&report["chunks"], &report["records"], &total["count"]),
        (&json!(CHUNKS), &json!(CHUNKS * RECORDS), &json!(CHUNKS * RECORDS))
    );
    assert_eq!((&total["output_name"], &total["errors"]), (&json!("total"), &json!(0)));
    let sum: f64 = direct.iter().sum();
    let mean = sum / count;
    let variance = direct.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (count - 1.0);
    for (field, wanted) in [
        ("sum", sum),
        ("mean", mean),
        ("variance", variance),
        ("standard_deviation", variance.sqrt()),
        ("min", direct[0]),
        ("max", *direct.last().unwrap()),
    ] {
        assert!(is_near(&total[field], wanted), "{field}: {} is not {wanted}", total[field]);
    }
    assert_eq!((&total["quantiles"]["0"], &total["quantiles"]["1"]), (&total["min"], &total["max"]));
    for share in [0.5, 0.95] {
        let place = (share * (count - 1.0)).floor() as usize;
        let answer = total["quantiles"][share.to_string()].as_f64().unwrap();
        assert!(
            (answer - direct[place]).abs() <= direct[place] / 256.0,
            "{share}: {answer} {}",
            direct[place]
        );
    }
    // Whether the reaper has folded it in between or not.
    assert_eq!(totals(&client, &batch).await, report);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_chunks_do_not_count_and_others_pay_nothing() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let plain = client.open_batch(&json!({"service": SALES})).await.unwrap();
    let keyed = json!({"service": SALES, "unique_record_key": "id", "summary_total": "total", "acceptable_error_percentage": 50});
    let asking = client.open_batch(&keyed).await.unwrap();
    client.push(&plain, &json!({"chunks": [chunk(0)]})).await.unwrap().success().unwrap();
    // No column `id`: the chunk fails.
    let sound = json!({"id": "sound", "data": {"inputs": [["id", "price", "quantity", "tax"], [1, 2, 3, 0], [2, "x", 3, 0]]}});
    client.push(&asking, &json!({"chunks": [chunk(0), sound]})).await.unwrap().success().unwrap();
    client.pull_all(&plain, 1, PATIENCE).await.unwrap();
    client.pull_all(&asking, 2, PATIENCE).await.unwrap();
    assert_eq!(totals(client, &plain).await, json!(null));
    let report = totals(client, &asking).await;
    assert_eq!((&report["chunks"], &report["records"]), (&json!(1), &json!(2)));
    let total = &report["outputs"][0];
    assert_eq!(
        (&total["count"], &total["errors"], &total["sum"], &total["variance"]),
        (&json!(1), &json!(1), &json!(6.0), &json!(null))
    );
    assert_eq!(total["quantiles"], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_totalled_is_refused_by_name() {
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    for (wanted, path) in [
        (json!(["total", "nope"]), "summary_total[1].output_name"),
        (json!([{"output_name": "total", "quantiles": [2]}]), "summary_total[0].quantiles[0]"),
        (json!(["total", "Total"]), "summary_total[1].output_name"),
        (json!(7), "summary_total"),
    ] {
        let answer = client.create_batch(&json!({"service": SALES, "summary_total": wanted})).await.unwrap();
        assert_eq!((answer.status, answer.code()), (422, Some("INVALID_VALUE")), "{}", answer.describe());
        assert_eq!(answer.body["errors"][0]["source_path"], path, "{}", answer.describe());
    }
    let none = client.open_batch(&json!({"service": SALES, "summary_total": null})).await.unwrap();
    assert_eq!(totals(client, &none).await, json!(null));
}
