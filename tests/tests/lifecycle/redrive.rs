use std::collections::BTreeSet;

use millrace_tests::{Answer, Client, Fleet, FleetOptions, PATIENCE, SALES, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use super::{chunk, chunks, keyless, refused};

async fn redrive(client: &Client, batch: &str, body: &Value) -> Answer {
    client.post(&format!("/{{tenant}}/api/v4/batch/{batch}/redrive"), body).await.unwrap()
}

async fn balanced(client: &Client, batch: &str) -> Value {
    let path = format!("/{{tenant}}/api/v4/batch/{batch}/reconciliation");
    let report = client.get(&path).await.unwrap().success().unwrap().body;
    assert_eq!(report["balanced"], true, "{report}");
    report
}

/// A batch of the sales example that has failed: so many chunks lack the key.
async fn failed_batch(client: &Client, failed: usize) -> String {
    let batch = client
        .open_batch(&json!({"service": SALES, "unique_record_key": "sales_id",
        "correlation_id": "c-9", "priority": 3, "acceptable_error_percentage": 0.5}))
        .await
        .unwrap();
    let mut pushed: Vec<Value> = (0..failed).map(|number| keyless(&format!("k{number}"))).collect();
    pushed.push(chunk("good", 3));
    client.push(&batch, &chunks(&pushed)).await.unwrap().success().unwrap();
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(&batch, "failed", PATIENCE).await.unwrap();
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_chunks_are_done_again_under_other_terms_even_when_the_server_dies_in_the_middle() {
    const CHUNKS: usize = 40;
    let mut fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let batch = failed_batch(fleet.client(), CHUNKS).await;

    // A small buffer, so that the chunks go in portion by portion. The server dies when the third one is in and not noted.
    fleet.start_failing_api("redrive.pushed=kill@3").await.unwrap();
    let again = "5d0e5f8e-0000-4000-8000-000000000001";
    let terms =
        json!({"kind": "chunks", "unique_record_key": "", "max_input_in_mb": 0.000_6, "batch_id": again});
    // The answer may be lost with the server; the same call tells what became of it.
    let path = format!("/{{tenant}}/api/v4/batch/{batch}/redrive");
    let _ = fleet.client().post(&path, &terms).await;
    fleet.api().unwrap().wait(PATIENCE).await.unwrap();
    let database = fleet.database().connect().await.unwrap();
    let noted =
        database.query_one("SELECT state, chunks_done, chunks_total FROM redrives", &[]).await.unwrap();
    let (state, done, total): (String, i64, i64) = (noted.get(0), noted.get(1), noted.get(2));
    assert_eq!((state.as_str(), total), ("running", 40));
    assert!(done > 0 && done < total, "{done}");
    let pushed = "SELECT count(*) FROM chunks WHERE batch_id <> $1::text::uuid";
    let pushed = database.query_one(pushed, &[&batch]).await.unwrap();
    assert!(pushed.get::<_, i64>(0) > done, "the last portion is in");
    // The lease that the dead server left behind ends now, and not in some seconds.
    database.batch_execute("UPDATE redrives SET leased_until = now()").await.unwrap();
    fleet.start_api().await.unwrap();

    let client = fleet.client();
    let repeated = redrive(client, &batch, &terms).await.success().unwrap();
    assert_eq!(
        (repeated.text("/id").unwrap(), repeated.text("/redrive_of").unwrap()),
        (again, batch.as_str())
    );
    assert_eq!(repeated.integer("/redrive/chunks_total").unwrap(), 40);
    assert_eq!(repeated.body["impossible"], json!({"chunks": 0, "chunk_ids": []}));
    let status = client.wait_for_status(again, "completed", PATIENCE).await.unwrap();
    assert_eq!(
        (status.integer("/chunks_failed").unwrap(), status.integer("/chunks_submitted").unwrap()),
        (0, 40)
    );
    let results = client.pull_all(again, CHUNKS, PATIENCE).await.unwrap();
    let ids: BTreeSet<&str> = results.iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), results.len()), (CHUNKS, CHUNKS));
    assert!(ids.iter().all(|id| id.starts_with('k')));

    // Both say what they have to do with each other, and the terms that were not given are those of the first one.
    let info = client.info(again).await.unwrap().body;
    assert_eq!(
        (&info["data"]["redrive_of"], &info["data"]["redrive"]["state"]),
        (&json!(batch), &json!("done"))
    );
    assert_eq!(info["data"]["redrive"]["chunks_pushed"], 40);
    assert_eq!(
        (&info["data"]["correlation_id"], &info["data"]["unique_record_key"]),
        (&json!("c-9"), &Value::Null)
    );
    let configuration = &info["data"]["configuration"];
    assert_eq!(
        (&configuration["priority"], &configuration["acceptable_error_percentage"]),
        (&json!(3), &json!(0.5))
    );
    let info = client.info(&batch).await.unwrap().body;
    assert_eq!((&info["data"]["redriven_by"], info["data"].get("redrive_of")), (&json!([again]), None));
    let audit = client.get("/{tenant}/api/v4/audit?action=batch.redrive").await.unwrap().success().unwrap();
    let entries = audit.list("/data").unwrap();
    assert_eq!((entries.len(), &entries[0]["object"]), (1, &json!(batch)), "{}", audit.describe());
    assert_eq!(entries[0]["details"], json!({"batch": again, "kind": "chunks", "chunks": 40}));

    let first = balanced(client, &batch).await;
    assert_eq!((&first["chunks"]["failed"], &first["chunks"]["completed"]), (&json!(40), &json!(1)));
    let second = balanced(client, again).await;
    // The same work once more, in one portion, gives the same digests.
    let third = redrive(client, &batch, &json!({"unique_record_key": ""})).await.success().unwrap();
    let third = third.text("/id").unwrap().to_owned();
    client.wait_for_status(&third, "completed", PATIENCE).await.unwrap();
    assert_eq!(balanced(client, &third).await["digests"], second["digests"]);
    assert_ne!(first["digests"], second["digests"]);
    millrace_tests::reconcile(&fleet, again).await.unwrap();
    millrace_tests::released(&fleet, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_records_alone_are_done_again_on_the_same_and_on_a_newer_version() {
    const RECORDS: usize = 10;
    const POISON: [usize; 2] = [3, 7];
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    client.create_folder("f").await.unwrap().success().unwrap();
    let rates = millrace_tests::rates_workbook(1).unwrap();
    client.upload_and_publish("f", "rates", "rates.xlsx", &rates).await.unwrap();
    let batch = client.open_batch(&json!({"service": "f/rates", "unique_record_key": "id"})).await.unwrap();
    let rows = (0..RECORDS).map(|record| {
        let table =
            if POISON.contains(&record) { json!({"no": "table"}) } else { json!([["rate"], [record], [1]]) };
        json!([record, table])
    });
    let inputs: Vec<Value> = std::iter::once(json!(["id", "rates"])).chain(rows).collect();
    // Of the summary nothing is left: aggregates over a part of the records would mean nothing.
    let data = json!({"inputs": inputs, "parameters": {"unknown": 1},
        "summary": {"aggregation": [{"output_name": "sum", "operator": "SUM"}], "return_all_records": true}});
    client.push(&batch, &chunks(&[json!({"id": "ten", "data": data})])).await.unwrap().success().unwrap();
    refused(&redrive(client, &batch, &json!({})).await, 409, "BATCH_NOT_FINISHED");
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(&batch, "completed", PATIENCE).await.unwrap();
    refused(&redrive(client, &batch, &json!({"kind": "chunks"})).await, 422, "NOTHING_FAILED");

    let same = redrive(client, &batch, &json!({"kind": "records"})).await.success().unwrap();
    let same = same.text("/id").unwrap().to_owned();
    let status = client.wait_for_status(&same, "completed", PATIENCE).await.unwrap();
    assert_eq!(
        (status.integer("/record_submitted").unwrap(), status.integer("/records_failed").unwrap()),
        (2, 2)
    );
    let results = client.pull_all(&same, 1, PATIENCE).await.unwrap();
    assert_eq!((&results[0]["id"], &results[0]["size"]), (&json!("ten"), &json!(2)));
    assert_eq!(results[0]["summary_output"], json!([[]]));

    // The next version knows no table.
    let sales = millrace_tests::sales_workbook().unwrap();
    client.upload_and_publish("f", "rates", "sales.xlsx", &sales).await.unwrap();
    let terms = json!({"kind": "all", "service": "f/rates", "close": false});
    let newer = redrive(client, &batch, &terms).await.success().unwrap();
    assert_eq!(newer.body["data"]["version"], "0.2.0");
    let newer = newer.text("/id").unwrap().to_owned();
    let results = client.pull_all(&newer, 1, PATIENCE).await.unwrap();
    let outputs = results[0]["outputs"].as_array().unwrap();
    assert_eq!(outputs[0], json!(["id", "total"]));
    assert_eq!((&outputs[1][0], &outputs[2][0], outputs.len()), (&json!(3), &json!(7), 3));
    assert_eq!(results[0]["errors"], json!([null, null]));
    // It was to stay open, and takes more.
    wait_until("the redrive is in", PATIENCE, || async {
        let info = client.info(&newer).await?.success()?;
        Ok((info.body["data"]["redrive"]["state"] == "done").then_some(()))
    })
    .await
    .unwrap();
    let more =
        json!({"id": "more", "data": {"inputs": [["id", "price", "quantity", "tax"], [1, 20, 65, 0.1]]}});
    client.push(&newer, &chunks(&[more])).await.unwrap().success().unwrap();
    client.patch(&newer, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(&newer, "completed", PATIENCE).await.unwrap();
    assert_eq!(balanced(client, &newer).await["chunks"]["completed"], 2);
    assert_eq!(client.info(&batch).await.unwrap().body["data"]["redriven_by"], json!([same, newer]));
}

#[tokio::test]
async fn a_redrive_that_cannot_be_is_refused_and_leaves_nothing_behind() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let batch = failed_batch(client, 2).await;
    let other = client.open_batch(&json!({"service": SALES})).await.unwrap();
    for (body, status, code, place) in [
        (json!({"kind": "some"}), 422, "INVALID_VALUE", json!("kind")),
        (json!({"close": "perhaps"}), 422, "INVALID_VALUE", json!("close")),
        (json!({"batch_id": "x"}), 422, "INVALID_VALUE", json!("batch_id")),
        (json!({"batch_id": other}), 409, "BATCH_ID_TAKEN", json!("batch_id")),
        (json!({"early_stop": 1}), 422, "INVALID_VALUE", json!("early_stop")),
        (json!({"summary_total": ["nope"]}), 422, "INVALID_VALUE", json!("summary_total[0].output_name")),
        (json!({"service": "f/nope"}), 404, "FOLDER_NOT_FOUND", Value::Null),
        (json!({"kind": "records"}), 422, "NOTHING_FAILED", json!("kind")),
        (json!({"max_input_in_mb": 0.000_01}), 422, "CHUNK_TOO_LARGE", json!("max_input_in_mb")),
        (
            json!({"max_input_in_mb": 450, "max_output_in_mb": 450}),
            429,
            "TENANT_BUFFER_EXHAUSTED",
            Value::Null,
        ),
    ] {
        let answer = redrive(client, &batch, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.describe());
        if place != Value::Null {
            refused(&answer, status, code);
            assert_eq!(answer.body["errors"][0]["source_path"], place, "{body}");
        }
        assert_eq!(answer.header("retry-after").is_some(), status == 429);
    }
    let path = format!("/{{tenant}}/api/v4/batch/{batch}/redrive");
    let garbled = client.request(Method::POST, &path).header("content-type", "application/json").body("{");
    refused(&client.send(garbled).await.unwrap(), 400, "MALFORMED_JSON");
    let stranger = fleet.create_key(fleet.tenant(), &["--owner", "somebody"]).await.unwrap();
    let stranger = client.as_tenant(fleet.tenant(), &stranger);
    refused(&redrive(&stranger, &batch, &json!({})).await, 404, "BATCH_NOT_FOUND");
    let info = client.info(&batch).await.unwrap().body;
    assert_eq!(info["data"].get("redriven_by"), None, "{info}");
    let database = fleet.database().connect().await.unwrap();
    let batches = database.query_one("SELECT count(*) FROM batches", &[]).await.unwrap();
    assert_eq!(batches.get::<_, i64>(0), 2);
    // An empty body asks for everything under the same terms.
    let again = client.send(client.request(Method::POST, &path)).await.unwrap().success().unwrap();
    assert_eq!(again.integer("/redrive/chunks_total").unwrap(), 2);
    client.wait_for_status(again.text("/id").unwrap(), "failed", PATIENCE).await.unwrap();
    client.patch(&batch, "cancelled").await.unwrap().success().unwrap();
    refused(&redrive(client, &batch, &json!({})).await, 404, "RESULTS_EXPIRED");
    client.patch(&other, "cancelled").await.unwrap().success().unwrap();
    refused(&redrive(client, &other, &json!({})).await, 409, "BATCH_CANCELLED");
}

#[tokio::test]
async fn without_kept_inputs_nothing_can_be_done_again() {
    let options = FleetOptions::workers(1).set("results.keep_failed_inputs", false);
    let fleet = Fleet::sales(options).await.unwrap();
    let client = fleet.client();
    let batch = failed_batch(client, 1).await;
    let refusal = redrive(client, &batch, &json!({})).await;
    refused(&refusal, 422, "INPUTS_NOT_KEPT");
    assert_eq!(refusal.body["error"]["details"], json!({"chunks": 1, "chunk_ids": ["k0"]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_whose_batch_is_cancelled_stops_and_says_so() {
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    let batch = client.open_batch(&json!({"service": SALES, "unique_record_key": "sales_id"})).await.unwrap();
    let pushed: Vec<Value> = (0..20).map(|number| keyless(&format!("k{number}"))).collect();
    client.push(&batch, &chunks(&pushed)).await.unwrap().success().unwrap();
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    let mut fleet = fleet;
    let worker = fleet.start_worker().await.unwrap();
    let client = fleet.client().clone();
    client.wait_for_status(&batch, "failed", PATIENCE).await.unwrap();
    // Without workers the small buffer stays full, and the redrive waits.
    fleet.kill_worker(worker).unwrap();
    let again = redrive(&client, &batch, &json!({"max_input_in_mb": 0.000_1})).await.success().unwrap();
    let again = again.text("/id").unwrap().to_owned();
    wait_until("something is in", PATIENCE, || async {
        Ok((client.status(&again).await?.integer("/chunks_submitted")? > 0).then_some(()))
    })
    .await
    .unwrap();
    client.patch(&again, "cancelled").await.unwrap().success().unwrap();
    let info = wait_until("the redrive has stopped", PATIENCE, || async {
        let info = client.info(&again).await?.success()?;
        Ok((info.body["data"]["redrive"]["state"] == "stopped").then_some(info))
    })
    .await
    .unwrap();
    assert!(info.text("/data/redrive/reason").unwrap().contains("cancelled"), "{}", info.describe());
    assert_eq!(info.text("/data/batch_status").unwrap(), "cancelled");
}
