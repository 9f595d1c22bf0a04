use millrace_tests::{Answer, Client, Fleet, FleetOptions, PATIENCE, SALES};
use serde_json::{Value, json};

use super::{chunk, chunks, keyless, refused};

async fn report(client: &Client, batch: &str, query: &str) -> Answer {
    client.get(&format!("/{{tenant}}/api/v4/batch/{batch}/reconciliation{query}")).await.unwrap()
}

/// Runs a batch of these chunks, `together` a push, to its end.
async fn run(client: &Client, pushed: &[Value], together: usize, ends: &str) -> String {
    let batch = client.open_batch(&json!({"service": SALES, "unique_record_key": "sales_id"})).await.unwrap();
    for some in pushed.chunks(together) {
        client.push(&batch, &chunks(some)).await.unwrap().success().unwrap();
    }
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(&batch, ends, PATIENCE).await.unwrap();
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_accounts_for_everything_and_tells_runs_apart() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let mut pushed: Vec<Value> = (0..40).map(|number| chunk(&format!("c{number}"), number)).collect();
    pushed.push(keyless("bad"));
    let one = run(client, &pushed, 41, "failed").await;
    pushed.reverse();
    let two = run(client, &pushed, 7, "failed").await;
    pushed[1] = chunk("c39", 3);
    let three = run(client, &pushed, 7, "failed").await;

    client.pull(&two, 10).await.unwrap().success().unwrap();
    let first = report(client, &one, "").await.success().unwrap().body;
    let second = report(client, &two, "").await.success().unwrap().body;
    for report in [&first, &second] {
        assert_eq!(report["balanced"], true, "{report}");
        assert_eq!((&report["doubles"], &report["unreadable"]), (&json!(0), &json!(0)));
        assert_eq!(report["budgets"]["drift_bytes"], 0);
        let chunks = &report["chunks"];
        assert_eq!(
            (&chunks["submitted"], &chunks["completed"], &chunks["failed"]),
            (&json!(41), &json!(40), &json!(1))
        );
        let records = &report["records"];
        assert_eq!(
            (&records["submitted"], &records["completed"], &records["failed"]),
            (&json!(782), &json!(780), &json!(2))
        );
        assert_eq!((&chunks["drift"], &records["drift"]), (&json!({}), &json!({})));
    }
    assert_eq!((&first["chunks"]["pulled"], &second["chunks"]["pulled"]), (&json!(0), &json!(10)));
    assert_eq!((&second["chunks"]["unpulled"], &second["chunks"]["waiting"]), (&json!(31), &json!(0)));
    assert_eq!(first["digests"], second["digests"]);
    let third = report(client, &three, "").await.success().unwrap().body;
    assert_eq!(third["balanced"], true, "{third}");
    assert_ne!(third["digests"]["inputs"], first["digests"]["inputs"]);
    assert_ne!(third["digests"]["results"], first["digests"]["results"]);

    assert_eq!(report(client, &one, "?digests=false").await.success().unwrap().body.get("digests"), None);
    refused(&report(client, &one, "?digests=maybe").await, 400, "INVALID_VALUE");
    let stranger = fleet.create_key(fleet.tenant(), &["--owner", "somebody"]).await.unwrap();
    let stranger = client.as_tenant(fleet.tenant(), &stranger);
    refused(&report(&stranger, &one, "").await, 404, "BATCH_NOT_FOUND");
    // Counters that do not say what the rows say are told by name.
    let database = fleet.database().connect().await.unwrap();
    database
        .batch_execute("UPDATE batch_counters SET chunks_completed = chunks_completed + 1 WHERE slot = 5")
        .await
        .unwrap();
    let adrift = report(client, &one, "?digests=false").await.success().unwrap().body;
    assert_eq!((&adrift["balanced"], &adrift["chunks"]["drift"]), (&json!(false), &json!({"completed": -1})));
}

#[tokio::test]
async fn what_a_cancel_dropped_is_accounted_for() {
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    let batch = client.open_batch(&json!({"service": SALES})).await.unwrap();
    client.push(&batch, &chunks(&[chunk("a", 3), chunk("b", 4)])).await.unwrap().success().unwrap();
    let before = report(client, &batch, "").await.success().unwrap().body;
    assert_eq!((&before["balanced"], &before["chunks"]["waiting"]), (&json!(true), &json!(2)), "{before}");
    assert_eq!(before["budgets"]["input_bytes"], before["budgets"]["input_bytes_by_rows"]);
    client.patch(&batch, "cancelled").await.unwrap().success().unwrap();
    let after = report(client, &batch, "").await.success().unwrap().body;
    assert_eq!((&after["balanced"], &after["chunks"]["waiting"]), (&json!(true), &json!(0)), "{after}");
    assert_eq!((&after["chunks"]["dropped"], &after["records"]["dropped"]), (&json!(2), &json!(7)));
    assert_eq!(after["budgets"]["input_bytes"], 0);
}
