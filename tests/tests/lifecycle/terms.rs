use millrace_tests::{Answer, Client, Fleet, FleetOptions, PATIENCE, SALES, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use super::{adds_up, chunk, chunks, keyless, refused};

async fn patch(client: &Client, batch: &str, body: Value) -> Answer {
    let path = format!("/{{tenant}}/api/v4/batch/{batch}");
    client.send(client.request(Method::PATCH, &path).json(&body)).await.unwrap()
}

#[tokio::test]
async fn terms_are_set_at_creation_and_changed_while_the_batch_runs() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let wanted = json!({"service": SALES, "acceptable_error_percentage": 33.3, "acceptable_record_error_percentage": "0.1",
        "early_stop": true, "priority": 5, "max_workers": 4, "initial_workers": 2});
    let batch = client.open_batch(&wanted).await.unwrap();
    let configuration = async || {
        let info = client.info(&batch).await.unwrap().success().unwrap();
        info.body["data"]["configuration"].clone()
    };
    let shown = configuration().await;
    assert_eq!(shown["acceptable_error_percentage"], 33.3);
    assert_eq!(shown["acceptable_record_error_percentage"], 0.1);
    assert_eq!((&shown["early_stop"], &shown["priority"]), (&json!(true), &json!(5)));

    let body = json!({"acceptable_error_percentage": 0.5, "acceptable_record_error_percentage": null, "early_stop": false,
        "max_workers": 1, "priority": -1});
    let answer = patch(client, &batch, body).await.success().unwrap();
    assert_eq!(answer.body["batch_status"], "created");
    let shown = configuration().await;
    assert_eq!(shown["acceptable_error_percentage"], 0.5);
    assert_eq!(shown["acceptable_record_error_percentage"], Value::Null);
    assert_eq!((&shown["early_stop"], &shown["priority"]), (&json!(false), &json!(-1)));
    assert_eq!((&shown["max_workers"], &shown["initial_workers"]), (&json!(1), &json!(1)));

    for (body, path) in [
        (json!({"acceptable_error_percentage": 101, "priority": 9}), "acceptable_error_percentage"),
        (json!({"batch_status": "closed", "max_worker": 3}), "max_worker"),
        (json!({"batch_status": "open", "priority": 9}), "batch_status"),
        (json!({}), "batch_status"),
    ] {
        let answer = patch(client, &batch, body).await;
        refused(&answer, 422, "INVALID_VALUE");
        assert_eq!(answer.body["errors"][0]["source_path"], path);
    }
    assert_eq!(configuration().await, shown, "a refused change changes nothing");

    let both = json!({"batch_status": "closed", "priority": 7});
    assert_eq!(patch(client, &batch, both).await.success().unwrap().body["batch_status"], "completed");
    assert_eq!(configuration().await["priority"], 7);
    refused(&patch(client, &batch, json!({"priority": 8})).await, 409, "BATCH_FINISHED");
    refused(
        &patch(client, &batch, json!({"priority": 8, "batch_status": "closed"})).await,
        409,
        "BATCH_FINISHED",
    );
    // Without terms it stays the no-op of the protocol.
    patch(client, &batch, json!({"batch_status": "closed"})).await.success().unwrap();
}

#[tokio::test]
async fn a_batch_that_is_stopped_early_writes_off_what_waits_and_delivers_every_chunk_once() {
    let fleet = Fleet::sales(FleetOptions::workers(1).set("worker.slots", 1).small_groups()).await.unwrap();
    let client = fleet.client();
    // An output buffer of one byte is full with the first result: the rest waits.
    let wanted = json!({"service": SALES, "unique_record_key": "sales_id", "acceptable_error_percentage": 50,
        "max_output_in_mb": 0.000_001});
    let batch = client.open_batch(&wanted).await.unwrap();
    let mut pushed = vec![keyless("bad")];
    pushed.extend((0..100).map(|number| chunk(&format!("good-{number}"), 500)));
    client.push(&batch, &chunks(&pushed)).await.unwrap().success().unwrap();
    wait_until("the batch is blocked", PATIENCE, async || {
        let status = client.status(&batch).await?.success()?;
        adds_up(&status.body);
        let failed = status.integer("/chunks_failed")?;
        Ok((failed == 1 && status.body["pipeline_status"] == "blocked").then_some(()))
    })
    .await
    .unwrap();
    let waiting = client.status(&batch).await.unwrap().integer("/chunks_pending").unwrap();
    assert!(waiting > 0);

    // It tolerates nothing any more and wants to stop: it is closed at once, and ends without a pull.
    let terms = json!({"acceptable_error_percentage": 0, "early_stop": true});
    let answer = patch(client, &batch, terms).await.success().unwrap();
    assert_eq!(answer.body["batch_status"], "closed");
    adds_up(&answer.body);
    refused(&client.push(&batch, &chunks(&[chunk("late", 1)])).await.unwrap(), 409, "BATCH_NOT_OPEN");
    refused(&patch(client, &batch, json!({"acceptable_error_percentage": 100})).await, 409, "BATCH_STOPPED");
    let ended = client.wait_for_status(&batch, "failed", PATIENCE).await.unwrap();
    adds_up(&ended.body);
    assert_eq!(ended.integer("/chunks_completed").unwrap(), 101);
    assert_eq!(ended.integer("/records_completed").unwrap(), ended.integer("/record_submitted").unwrap());
    assert_eq!(ended.integer("/input_buffer_used_bytes").unwrap(), 0);
    let info = client.info(&batch).await.unwrap().success().unwrap();
    assert!(info.body["data"]["stopped_timestamp"].is_string());

    let results = client.pull_all(&batch, 101, PATIENCE).await.unwrap();
    let stopped = results.iter().filter(|result| result["errors"][0]["error_type"] == "error.BATCH_STOPPED");
    let stopped = stopped.inspect(|result| assert_eq!(result["status"], "failed")).count();
    let failed = ended.integer("/chunks_failed").unwrap();
    assert!(stopped > 0 && i64::try_from(stopped).unwrap() == failed - 1, "{stopped} of {failed}");
}
