//! The batch endpoints, end to end: every endpoint, every state, retries, duplicates, budgets and visibility (contract 1 and 3).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broken;

use millrace_tests::{Answer, Client, Fleet, FleetOptions, PATIENCE, SALES, wait_until};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// A chunk of `records` records, each with the total `20 × 65 × 1.1`.
fn chunk(id: &str, records: usize) -> Value {
    let mut inputs = vec![json!(["sales_id", "price", "quantity", "tax"])];
    inputs.extend((0..records).map(|record| json!([record, 20, 65, 0.1])));
    json!({"id": id, "size": 7, "data": {"inputs": inputs, "parameters": {}, "summary": null}})
}

fn chunks(chunks: &[Value]) -> Value {
    json!({"chunks": chunks})
}

async fn open(client: &Client) -> String {
    client.open_batch(&json!({"service": SALES})).await.unwrap()
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, Some(code)), "{}", answer.describe());
    assert!(answer.header("content-type").unwrap().contains("application/json"));
    if status == 429 || status == 503 {
        let seconds: f64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!(seconds > 0.0 && answer.header("x-retry-after").is_some());
    }
}

/// What every answer with a status must hold.
fn adds_up(status: &Value) {
    let number = |field: &str| status[field].as_i64().unwrap_or_else(|| panic!("no {field} in {status}"));
    assert_eq!(
        number("chunks_submitted"),
        number("chunks_completed") + number("chunks_in_progress") + number("chunks_pending"),
        "{status}"
    );
    assert_eq!(number("record_submitted"), number("records_submitted"));
    for buffer in ["input_buffer", "output_buffer"] {
        let used = number(&format!("{buffer}_used_bytes"));
        assert!(used >= 0 && used + number(&format!("{buffer}_remaining_bytes")) > 0, "{status}");
    }
    for field in ["id", "request_timestamp", "response_timestamp", "batch_status", "pipeline_status"] {
        assert!(status[field].is_string(), "no {field} in {status}");
    }
    assert!(status["request_timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_batch_runs_from_creation_to_completion() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let wanted = json!({
        "service": SALES, "call_purpose": "test", "source_system": "here", "correlation_id": "c-1", "unique_record_key": "sales_id",
        "output": "total,nothing_*", "initial_workers": 2, "max_workers": "4", "max_input_size_in_mb": 1, "max_output_in_mb": 2.5,
        "acceptable_error_percentage": 6, "chunks_per_thread": 2, "an_extra": {"x": 1}, "subservice": null,
    });
    let created = client.create_batch(&wanted).await.unwrap().success().unwrap();
    let batch = created.text("/id").unwrap().to_owned();
    assert_eq!(created.body["object"], "batch");
    assert_eq!(created.body["batch_status"], "created");
    assert_eq!(created.body["data"]["batch_status"], "created");
    assert_eq!(created.body["data"]["service_uri"], format!("{SALES}[0.1.0]"));
    assert_eq!(created.body["data"]["created_by"], "harness");
    assert_eq!(created.body["data"]["correlation_id"], "c-1");
    assert_eq!(created.body["input_buffer_remaining_bytes"], 1_000_000);
    adds_up(&created.body);

    let empty = client.pull(&batch, 10).await.unwrap().success().unwrap();
    assert_eq!((&empty.body["data"], &empty.body["status"]["chunks_available"]), (&json!([]), &json!(0)));

    let objects = json!({"id": "objects", "data": {"inputs": [{"sales_id": "x", "price": "2", "quantity": 3, "tax": 0}]}});
    let header =
        json!({"id": "header", "size": 1, "data": {"inputs": [["sales_id", "price", "quantity", "tax"]]}});
    let pushed =
        client.push(&batch, &chunks(&[chunk("rows", 3), objects, header])).await.unwrap().success().unwrap();
    assert_eq!(pushed.integer("/record_submitted").unwrap(), 4);
    assert_eq!(pushed.body["chunk_ids"], json!(["rows", "objects", "header"]));
    adds_up(&pushed.body);

    let mut results = client.pull_all(&batch, 3, PATIENCE).await.unwrap();
    results.sort_by_key(|result| result["id"].to_string());
    assert_eq!(results[0]["id"], "header");
    assert_eq!((&results[0]["outputs"], &results[0]["size"]), (&json!([]), &json!(0)));
    assert_eq!(results[1]["outputs"], json!([{"sales_id": "x", "total": 6.0}]));
    assert_eq!(results[2]["outputs"], json!([["sales_id", "total"], [0, 1430.0], [1, 1430.0], [2, 1430.0]]));
    assert_eq!(results[2]["status"], "completed");
    assert_eq!(results[2]["process_time"].as_array().unwrap().len(), 3);

    // Drained and open: more may come.
    let status = client.status(&batch).await.unwrap().success().unwrap();
    adds_up(&status.body);
    assert_eq!(
        (status.text("/batch_status").unwrap(), status.text("/pipeline_status").unwrap()),
        ("in_progress", "idle")
    );
    assert_eq!(status.integer("/records_completed").unwrap(), 4);
    assert_eq!(status.integer("/chunks_available").unwrap(), 0);
    assert_eq!(status.integer("/output_buffer_used_bytes").unwrap(), 0);
    assert_eq!(status.integer("/input_buffer_used_bytes").unwrap(), 0);

    let closed = client.patch(&batch, "closed").await.unwrap().success().unwrap();
    assert_eq!(closed.body["data"], closed.body["meta"]);
    assert_eq!(closed.body["batch_status"], "completed");
    assert_eq!(closed.body["pipeline_status"], "closed");

    let info = client.info(&batch).await.unwrap().success().unwrap();
    let data = &info.body["data"];
    assert_eq!(data["batch_status"], "completed");
    assert_eq!(
        (&data["summary"]["chunks_completed"], &data["summary"]["chunks_failed"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(
        (&data["summary"]["records_submitted"], &data["summary"]["records_completed"]),
        (&json!(4), &json!(4))
    );
    assert!(data["summary"]["input_size_bytes"].as_i64().unwrap() > 100);
    assert!(data["summary"]["batch_time_ms"].as_i64().unwrap() > 0);
    let configuration = &data["configuration"];
    assert_eq!((&configuration["initial_workers"], &configuration["max_workers"]), (&json!(2), &json!(4)));
    assert_eq!(configuration["chunks_per_request"], 2);
    assert_eq!(configuration["input_buffer_allocated_bytes"], 1_000_000);
    assert_eq!(configuration["output_buffer_allocated_bytes"], 2_500_000);
    assert_eq!(configuration["output"], json!(["total", "nothing_*"]));
    assert_eq!(configuration["acceptable_error_percentage"], 6.0);
    assert_eq!(configuration["call_purpose"], "test");

    let overview = client.overview().await.unwrap().success().unwrap();
    assert_eq!(overview.body["in_progress_batches"], json!([]));
    assert_eq!(overview.body["recent_batches"][0]["id"], batch);
    assert_eq!(overview.body["recent_batches"][0]["data"]["summary"]["records_completed"], 4);
}

#[tokio::test]
async fn a_push_can_be_repeated_and_counts_once() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let batch = open(client).await;
    for _ in 0..3 {
        let pushed =
            client.push(&batch, &chunks(&[chunk("a", 2), chunk("b", 1)])).await.unwrap().success().unwrap();
        assert_eq!(
            (pushed.integer("/record_submitted").unwrap(), pushed.integer("/chunks_submitted").unwrap()),
            (3, 2)
        );
    }
    // The same pushes at once, with one that repeats a chunk within itself.
    let twice = chunks(&[chunk("c", 5), chunk("c", 5)]);
    let pushes = (0..8).map(|_| client.push(&batch, &twice));
    for answer in futures_util::future::join_all(pushes).await {
        assert_eq!(answer.unwrap().success().unwrap().body["chunk_ids"], json!(["c", "c"]));
    }
    let results = client.pull_all(&batch, 3, PATIENCE).await.unwrap();
    assert_eq!(results.len(), 3);
    // Even after its result was pulled.
    let again = client.push(&batch, &chunks(&[chunk("a", 2)])).await.unwrap().success().unwrap();
    assert_eq!(again.integer("/record_submitted").unwrap(), 8);

    let conflict =
        client.push(&batch, &chunks(&[chunk("new", 1), chunk("a", 9), chunk("b", 9)])).await.unwrap();
    refused(&conflict, 409, "CHUNK_ID_CONFLICT");
    assert_eq!(conflict.body["error"]["details"]["chunk_ids"], json!(["a", "b"]));
    let inside = client.push(&batch, &chunks(&[chunk("d", 1), chunk("d", 2)])).await.unwrap();
    refused(&inside, 409, "CHUNK_ID_CONFLICT");
    // All of a push, or nothing.
    assert_eq!(client.status(&batch).await.unwrap().integer("/chunks_submitted").unwrap(), 3);

    for nothing in [json!({"chunks": []}), json!([])] {
        let pushed = client.push(&batch, &nothing).await.unwrap().success().unwrap();
        assert_eq!((&pushed.body["chunk_ids"], &pushed.body["chunks_submitted"]), (&json!([]), &json!(3)));
    }
    let mut nameless = chunk("", 1);
    nameless["id"] = Value::Null;
    let pushed = client.push(&batch, &json!([nameless])).await.unwrap().success().unwrap();
    let id = pushed.text("/chunk_ids/0").unwrap().parse::<Uuid>().unwrap();
    let results = client.pull_all(&batch, 1, PATIENCE).await.unwrap();
    assert_eq!(results[0]["id"], id.to_string());
}

#[tokio::test]
async fn pushes_come_as_bson_and_in_every_encoding() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let batch = open(client).await;
    let id = Uuid::from_u128(7);
    let uuid = bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: id.as_bytes().to_vec() };
    let rows =
        bson::bson!([["price", "quantity", "tax"], [20_i32, 65_i64, 0.1], ["2", 3.0, bson::Bson::Null]]);
    let document = bson::doc! {"chunks": [{"id": uuid, "size": 3, "data": {"inputs": rows, "parameters": {}, "summary": bson::Bson::Null}}]};
    let body = bson::serialize_to_vec(&document).unwrap();
    let pushed =
        client.push_bytes(&batch, "application/bson", None, body.clone()).await.unwrap().success().unwrap();
    assert_eq!(pushed.body["chunk_ids"], json!([id.to_string()]));
    assert_eq!(pushed.integer("/record_submitted").unwrap(), 2);
    let zipped = zstd::bulk::compress(&body, 1).unwrap();
    client.push_bytes(&batch, "application/bson", Some("zstd"), zipped).await.unwrap().success().unwrap();

    let text = |id: &str| chunks(&[chunk(id, 2)]).to_string().into_bytes();
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &text("gzip")).unwrap();
        encoder.finish().unwrap()
    };
    let deflate = {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &text("deflate")).unwrap();
        encoder.finish().unwrap()
    };
    for (encoding, body) in [(Some("gzip"), gzip), (Some("deflate"), deflate), (None, text("plain"))] {
        let answer =
            client.push_bytes(&batch, "application/json; charset=utf-8", encoding, body).await.unwrap();
        answer.success().unwrap();
    }
    let results = client.pull_all(&batch, 4, PATIENCE).await.unwrap();
    assert_eq!(results.len(), 4);
    let of_bson = results.iter().find(|result| result["id"] == id.to_string()).unwrap();
    assert_eq!(of_bson["outputs"], json!([["total"], [1430.0], [6.0]]));
}

#[tokio::test]
async fn budgets_refuse_what_does_not_fit_and_store_nothing() {
    // Without workers nothing leaves the input buffer.
    let fleet = Fleet::sales(FleetOptions::workers(0).set("limits.chunk_bytes", 20_000)).await.unwrap();
    let client = fleet.client();
    let small = client.open_batch(&json!({"service": SALES, "max_input_in_mb": 0.004})).await.unwrap();
    let size = chunk("a", 100)["data"].to_string().len() as i64;
    assert!((1_400..2_000).contains(&size), "{size}");

    let never =
        client.push(&small, &chunks(&[chunk("x", 100), chunk("y", 100), chunk("z", 100)])).await.unwrap();
    refused(&never, 422, "CHUNK_TOO_LARGE");
    let larger = client.push(&small, &chunks(&[chunk("x", 2_000)])).await.unwrap();
    refused(&larger, 422, "CHUNK_TOO_LARGE");
    assert_eq!(larger.body["errors"][0]["source_path"], "chunks[0].data");

    client.push(&small, &chunks(&[chunk("a", 100)])).await.unwrap().success().unwrap();
    let full = client.push(&small, &chunks(&[chunk("b", 100), chunk("c", 100)])).await.unwrap();
    refused(&full, 429, "INPUT_BUFFER_FULL");
    assert_eq!(full.body["error"]["details"]["free_bytes"], 4_000 - size);
    let status = client.status(&small).await.unwrap();
    assert_eq!(
        (status.integer("/chunks_submitted").unwrap(), status.text("/batch_status").unwrap()),
        (1, "pending")
    );
    assert_eq!(status.integer("/input_buffer_used_bytes").unwrap(), size);
    adds_up(&status.body);
    // A chunk that is there already needs no room.
    client.push(&small, &chunks(&[chunk("a", 100), chunk("d", 1)])).await.unwrap().success().unwrap();

    // The tenant: 500 MB, 110 % of 150 MB each; the small batch has 80 MB and a little.
    let first = open(client).await;
    open(client).await;
    let third = client.create_batch(&json!({"service": SALES})).await.unwrap();
    refused(&third, 429, "TENANT_BUFFER_EXHAUSTED");
    assert_eq!(third.body["error"]["details"]["needed_bytes"], 165_000_000);
    assert_eq!(third.body["error"]["details"]["free_bytes"], 500_000_000 - 300_000_000 - 80_004_000);
    let overview = client.overview().await.unwrap().success().unwrap();
    assert_eq!(overview.body["tenant"]["status"]["input_buffer_used_bytes"], 140_004_000);
    assert_eq!(overview.body["tenant"]["configuration"]["input_buffer_allocated_bytes"], 500_000_000);
    assert_eq!(overview.body["in_progress_batches"].as_array().unwrap().len(), 3);
    // Cancelling gives the reservation back at once.
    client.patch(&first, "cancelled").await.unwrap().success().unwrap();
    client.create_batch(&json!({"service": SALES})).await.unwrap().success().unwrap();
    // Beyond the cap means the cap.
    client.patch(&small, "cancelled").await.unwrap().success().unwrap();
    let huge =
        json!({"service": SALES, "max_input_in_mb": 1e9, "max_output_in_mb": 0.1, "max_workers": 1_000_000});
    refused(&client.create_batch(&huge).await.unwrap(), 429, "TENANT_BUFFER_EXHAUSTED");
}

#[tokio::test]
async fn closing_and_cancelling_follow_the_contract() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let ask = |batch: &str, body: Value| {
        let path = format!("/{{tenant}}/api/v4/batch/{batch}");
        let request = client.request(Method::PATCH, &path).json(&body);
        async move { client.send(request).await.unwrap() }
    };

    // An empty batch completes at once, and stays so.
    let empty = open(client).await;
    for _ in 0..2 {
        let closed = client.patch(&empty, "closed").await.unwrap().success().unwrap();
        assert_eq!(closed.body["batch_status"], "completed");
        adds_up(&closed.body);
    }
    refused(&client.push(&empty, &chunks(&[chunk("a", 1)])).await.unwrap(), 409, "BATCH_NOT_OPEN");
    let cancelled = client.patch(&empty, "cancelled").await.unwrap().success().unwrap();
    assert_eq!(cancelled.body["batch_status"], "completed");

    // Results outlive the closing; cancelling a completed batch drops what was not pulled.
    let kept = open(client).await;
    client.push(&kept, &chunks(&[chunk("a", 1), chunk("b", 1)])).await.unwrap().success().unwrap();
    client.patch(&kept, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(&kept, "completed", PATIENCE).await.unwrap();
    let one = client.pull(&kept, 1).await.unwrap().success().unwrap();
    assert_eq!((one.list("/data").unwrap().len(), one.integer("/status/chunks_available").unwrap()), (1, 1));
    let dropped = client.patch(&kept, "cancelled").await.unwrap().success().unwrap();
    assert_eq!(
        (&dropped.body["batch_status"], &dropped.body["chunks_available"]),
        (&json!("completed"), &json!(0))
    );
    assert_eq!(client.pull(&kept, 10).await.unwrap().success().unwrap().body["data"], json!([]));

    // Cancelled is final.
    let gone = open(client).await;
    client.push(&gone, &chunks(&[chunk("a", 1)])).await.unwrap().success().unwrap();
    for status in ["cancelled", "canceled"] {
        let answer = ask(&gone, json!({"batch_status": status})).await.success().unwrap();
        assert_eq!(answer.body["batch_status"], "cancelled");
        adds_up(&answer.body);
    }
    refused(&client.patch(&gone, "closed").await.unwrap(), 409, "BATCH_CANCELLED");
    refused(&client.pull(&gone, 10).await.unwrap(), 409, "BATCH_CANCELLED");
    refused(&client.push(&gone, &chunks(&[chunk("b", 1)])).await.unwrap(), 409, "BATCH_CANCELLED");
    let status = client.status(&gone).await.unwrap().success().unwrap();
    assert_eq!(
        (status.integer("/input_buffer_used_bytes").unwrap(), status.integer("/workers_in_use").unwrap()),
        (0, 0)
    );
    assert_eq!(
        client.info(&gone).await.unwrap().success().unwrap().body["data"]["batch_status"],
        "cancelled"
    );
}

#[tokio::test]
async fn failed_chunks_are_delivered_and_fail_the_batch() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let wanted = json!({"service": SALES, "unique_record_key": "sales_id"});
    for (tolerance, outcome) in [(0, "failed"), (50, "completed")] {
        let mut wanted = wanted.clone();
        wanted["acceptable_error_percentage"] = json!(tolerance);
        let batch = client.open_batch(&wanted).await.unwrap();
        // The key is missing in the second chunk.
        let keyless = json!({"id": "bad", "data": {"inputs": [["price"], [1], [2]]}});
        client.push(&batch, &chunks(&[chunk("good", 2), keyless])).await.unwrap().success().unwrap();
        client.patch(&batch, "closed").await.unwrap().success().unwrap();
        let status = client.wait_for_status(&batch, outcome, PATIENCE).await.unwrap();
        adds_up(&status.body);
        assert_eq!(
            (status.integer("/chunks_completed").unwrap(), status.integer("/chunks_failed").unwrap()),
            (2, 1)
        );
        assert_eq!(
            (status.integer("/records_completed").unwrap(), status.integer("/records_failed").unwrap()),
            (4, 2)
        );
        let results = client.pull_all(&batch, 2, PATIENCE).await.unwrap();
        let failed = results.iter().find(|result| result["id"] == "bad").unwrap();
        assert_eq!((&failed["status"], &failed["outputs"]), (&json!("failed"), &json!([])));
        assert!(failed["errors"][0]["message"].as_str().unwrap().contains("sales_id"), "{failed}");
        let summary = &client.info(&batch).await.unwrap().body["data"]["summary"];
        assert_eq!((&summary["chunks_completed"], &summary["records_completed"]), (&json!(1), &json!(2)));
    }
}

#[tokio::test]
async fn pulls_are_paged_by_count_and_by_bytes() {
    let options = FleetOptions::workers(1).set("limits.pull_bytes", 300_000);
    let fleet = Fleet::sales(options).await.unwrap();
    let client = fleet.client();
    let batch = open(client).await;
    let many: Vec<Value> = (0..120).map(|index| chunk(&format!("c{index}"), 2)).collect();
    client.push(&batch, &chunks(&many)).await.unwrap().success().unwrap();
    let ready = || async {
        let status = client.status(&batch).await?;
        Ok((status.integer("/chunks_available")? == 120).then_some(()))
    };
    wait_until("120 chunks are ready", PATIENCE, ready).await.unwrap();
    let get = |query: &str| {
        let path = format!("/{{tenant}}/api/v4/batch/{batch}/chunkresults{query}");
        async move { client.get(&path).await.unwrap().success().unwrap().list("/data").unwrap().len() }
    };
    assert_eq!(get("?max=3").await, 3);
    assert_eq!(get("?max_chunks=2").await, 2);
    assert_eq!(get("?max_chunks=9&max=1").await, 1);
    assert_eq!(get("").await, 50);
    assert_eq!(get("?max=500").await, 64);
    assert_eq!(get("?max=500").await, 0);

    // Each result has about 80 KB: a page ends soon after 300 KB, and nothing is lost.
    let wide: Vec<Value> = (0..12).map(|index| chunk(&format!("w{index}"), 5_000)).collect();
    client.push(&batch, &chunks(&wide)).await.unwrap().success().unwrap();
    let ready = || async {
        let status = client.status(&batch).await?;
        Ok((status.integer("/chunks_available")? == 12).then_some(()))
    };
    wait_until("12 chunks are ready", PATIENCE, ready).await.unwrap();
    let page = client.pull(&batch, 100).await.unwrap().success().unwrap();
    let first = page.list("/data").unwrap().len();
    assert!((1..12).contains(&first), "{first} results, {} bytes", page.bytes.len());
    adds_up(&page.body["status"]);
    let rest = client.pull_all(&batch, 12 - first, PATIENCE).await.unwrap();
    assert_eq!(rest.len() + first, 12);
    assert!(rest.iter().all(|result| result["outputs"].as_array().unwrap().len() == 5_001));
}

#[tokio::test]
async fn batches_are_seen_by_their_owner_and_by_supervisors_only() {
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let ann = fleet.client();
    let batch = open(ann).await;
    let bob = ann.as_tenant("acme", &fleet.create_key("acme", &["--owner", "bob"]).await.unwrap());
    let boss = &["--owner", "boss", "--group", "supervisor:pf"];
    let boss = ann.as_tenant("acme", &fleet.create_key("acme", boss).await.unwrap());
    let stranger = ann.as_tenant("globex", &fleet.create_tenant("globex").await.unwrap());
    let trespasser = stranger.as_tenant("acme", "wrong");

    let one = chunks(&[chunk("a", 1)]);
    ann.push(&batch, &one).await.unwrap().success().unwrap();
    for other in [&bob, &stranger] {
        for answer in [
            other.status(&batch).await,
            other.info(&batch).await,
            other.pull(&batch, 1).await,
            other.push(&batch, &one).await,
            other.patch(&batch, "cancelled").await,
        ] {
            refused(&answer.unwrap(), 404, "BATCH_NOT_FOUND");
        }
        assert_eq!(other.overview().await.unwrap().success().unwrap().body["in_progress_batches"], json!([]));
    }
    // Totals are the whole tenant's.
    assert_eq!(bob.overview().await.unwrap().body["tenant"]["status"]["input_buffer_used_bytes"], 70_000_000);
    assert_eq!(stranger.overview().await.unwrap().body["tenant"]["status"]["input_buffer_used_bytes"], 0);
    boss.status(&batch).await.unwrap().success().unwrap();
    boss.push(&batch, &one).await.unwrap().success().unwrap();
    assert_eq!(boss.overview().await.unwrap().body["in_progress_batches"][0]["id"], batch);
    assert_eq!(trespasser.status(&batch).await.unwrap().status, 401);
    for id in [Uuid::new_v4().to_string(), "nonsense".to_owned()] {
        refused(&ann.status(&id).await.unwrap(), 404, "BATCH_NOT_FOUND");
    }
}
