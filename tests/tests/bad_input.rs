//! Bad input to the batch endpoints: refused with a 4xx that names the place, and nothing changes (design section 6, promise 8).

#![allow(clippy::unwrap_used, clippy::expect_used)]

use millrace_tests::{Answer, Client, Fleet, FleetOptions, SALES};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

/// Checks status, code and place; the shape of the body is that of contract 0.5.
fn refused(answer: &Answer, status: u16, code: &str, place: Option<&str>) {
    assert_eq!((answer.status, answer.code()), (status, Some(code)), "{}", answer.describe());
    assert_eq!(answer.body["errors"][0]["source_path"].as_str(), place, "{}", answer.describe());
    assert_eq!((&answer.body["status"], &answer.body["response_data"]), (&json!("Error"), &Value::Null));
    assert!(answer.body["errors"][0]["error_type"].as_str().unwrap().starts_with("error."));
    assert!(answer.body["response_meta"]["request_id"].is_string());
}

async fn post(client: &Client, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = client.request(Method::POST, path).header("content-type", content_type).body(body);
    client.send(request).await.unwrap()
}

#[tokio::test]
async fn bad_batches_are_refused_by_the_field() {
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    let path = "/{tenant}/api/v4/batch";
    for (field, value) in [
        ("acceptable_error_percentage", json!(101)),
        ("acceptable_error_percentage", json!("NaN")),
        ("max_input_in_mb", json!(0)),
        ("max_output_size", json!(-1)),
        ("max_workers", json!(-1)),
        ("initial_workers", json!(0)),
        ("chunks_per_request", json!("many")),
        ("runner_thread_count", json!(1.5)),
        ("version_id", json!("x")),
        ("version_by_timestamp", json!("soon")),
        ("output", json!({"a": 1})),
        ("correlation_id", json!("nul\u{0}byte")),
    ] {
        let answer = client.create_batch(&json!({"service": SALES, field: value})).await.unwrap();
        refused(&answer, 422, "INVALID_VALUE", Some(field));
    }
    // As Python writes it.
    let text = format!(r#"{{"service":"{SALES}","acceptable_error_percentage":NaN}}"#);
    let answer = post(client, path, "application/json", text).await;
    refused(&answer, 422, "INVALID_VALUE", Some("acceptable_error_percentage"));

    for body in ["", "{", "[]", "5", "null", "{\"service\":"] {
        refused(&post(client, path, "application/json", body).await, 400, "MALFORMED_JSON", None);
    }
    for body in [json!({}), json!({"service": ""}), json!({"service": null, "version_id": null})] {
        refused(&client.create_batch(&body).await.unwrap(), 400, "SERVICE_MISSING", Some("service"));
    }
    for service in [
        "sales/Nothing",
        "nothing/SalesExample",
        "sales/SalesExample[9]",
        "00000000-0000-0000-0000-000000000000",
    ] {
        let answer = client.create_batch(&json!({"service": service})).await.unwrap();
        assert_eq!(answer.status, 404, "{}", answer.describe());
    }
    assert_eq!(post(client, path, "text/plain", "{}").await.status, 415);
    assert_eq!(client.overview().await.unwrap().body["in_progress_batches"], json!([]));
}

#[tokio::test]
async fn bad_chunks_are_refused_by_chunk_and_row() {
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    let batch = client.open_batch(&json!({"service": SALES})).await.unwrap();
    let good = json!({"id": "a", "data": {"inputs": [["price"], [1]]}});
    let second = |data: Value| json!({"chunks": [good, {"id": "b", "data": data}]});
    for (body, place) in [
        (json!({}), "chunks"),
        (json!({"chunks": {}}), "chunks"),
        (json!("chunks"), "chunks"),
        (json!({"chunks": [good, 5]}), "chunks[1]"),
        (json!({"chunks": [good, {"id": "b"}]}), "chunks[1].data"),
        (second(Value::Null), "chunks[1].data"),
        (second(json!([])), "chunks[1].data"),
        (second(json!({})), "chunks[1].data.inputs"),
        (second(json!({"inputs": []})), "chunks[1].data.inputs"),
        (second(json!({"inputs": [["price"], [1], [2], 3]})), "chunks[1].data.inputs[3]"),
        (second(json!({"inputs": [["price"], {"price": 1}]})), "chunks[1].data.inputs[1]"),
        (second(json!({"inputs": [{"price": 1}, [1]]})), "chunks[1].data.inputs[1]"),
        (second(json!({"inputs": [["price"], [1]], "parameters": 5})), "chunks[1].data.parameters"),
        (second(json!({"inputs": [["price"], [1]], "summary": "sum"})), "chunks[1].data.summary"),
        (json!([good, {"id": 5, "data": {"inputs": [["price"]]}}]), "chunks[1].id"),
        (json!([good, {"id": "", "data": {"inputs": [["price"]]}}]), "chunks[1].id"),
        (json!([good, {"id": "\u{0}", "data": {"inputs": [["price"]]}}]), "chunks[1].id"),
        (json!([good, {"id": "x".repeat(129), "data": {"inputs": [["price"]]}}]), "chunks[1].id"),
    ] {
        refused(&client.push(&batch, &body).await.unwrap(), 400, "INVALID_CHUNK", Some(place));
    }
    let json = async |body: &str| {
        client.push_bytes(&batch, "application/json", None, body.to_owned()).await.unwrap()
    };
    let nan = r#"{"chunks":[{"id":"a","data":{"inputs":[["price"],[1],[NaN]]}}]}"#;
    refused(&json(nan).await, 400, "MALFORMED_BODY", Some("chunks[0].data.inputs[2]"));
    for body in ["", "{", "nonsense", "[]]"] {
        refused(&json(body).await, 400, "MALFORMED_BODY", None);
    }
    let bson = async |body: Vec<u8>| client.push_bytes(&batch, "application/bson", None, body).await.unwrap();
    refused(&bson(Vec::new()).await, 400, "MALFORMED_BODY", None);
    refused(&bson(b"{}".to_vec()).await, 400, "MALFORMED_BODY", None);
    let document = bson::doc! {"chunks": [{"id": "a", "data": {"inputs": [["price"], [bson::Timestamp { time: 1, increment: 1 }]]}}]};
    let body = bson::serialize_to_vec(&document).unwrap();
    refused(&bson(body).await, 400, "INVALID_CHUNK", Some("chunks[0].data.inputs[1][0]"));
    for content_type in ["text/csv", "application/x-www-form-urlencoded", "application/octet-stream"] {
        let answer = client.push_bytes(&batch, content_type, None, json!([good]).to_string()).await.unwrap();
        refused(&answer, 415, "UNSUPPORTED_MEDIA_TYPE", None);
    }
    let answer = client.push_bytes(&batch, "application/json", Some("lzma"), "x").await.unwrap();
    assert_eq!(answer.status, 415, "{}", answer.describe());
    let answer = client.push_bytes(&batch, "application/json", Some("gzip"), "no gzip").await.unwrap();
    assert_eq!(answer.status, 400, "{}", answer.describe());
    let many = vec![r#"{"data":{"inputs":[[]]}}"#; 10_001].join(",");
    refused(&json(&format!("[{many}]")).await, 422, "TOO_MANY_CHUNKS", Some("chunks"));
    // 64 MB of nothing, in a few bytes.
    let bomb = zstd::bulk::compress(&vec![b' '; 64_000_000], 1).unwrap();
    let answer = client.push_bytes(&batch, "application/json", Some("zstd"), bomb).await.unwrap();
    refused(&answer, 422, "BODY_TOO_LARGE", None);

    let status = client.status(&batch).await.unwrap().success().unwrap();
    assert_eq!(
        (status.text("/batch_status").unwrap(), status.integer("/chunks_submitted").unwrap()),
        ("created", 0)
    );
    assert_eq!(status.integer("/input_buffer_used_bytes").unwrap(), 0);
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    let batch = client.open_batch(&json!({"service": SALES})).await.unwrap();
    for (query, place) in [
        ("max=0", "max"),
        ("max=-1", "max"),
        ("max=ten", "max"),
        ("max=", "max"),
        ("max=1.5", "max"),
        ("max_chunks=0", "max_chunks"),
    ] {
        let answer =
            client.get(&format!("/{{tenant}}/api/v4/batch/{batch}/chunkresults?{query}")).await.unwrap();
        refused(&answer, 400, "INVALID_VALUE", Some(place));
    }
    let path = format!("/{{tenant}}/api/v4/batch/{batch}");
    for body in [
        json!({}),
        json!({"batch_status": null}),
        json!({"batch_status": "completed"}),
        json!({"batch_status": 1}),
    ] {
        let answer = client.send(client.request(Method::PATCH, &path).json(&body)).await.unwrap();
        refused(&answer, 422, "INVALID_VALUE", Some("batch_status"));
    }
    for body in ["", "[]", "{"] {
        let request =
            client.request(Method::PATCH, &path).header("content-type", "application/json").body(body);
        assert_eq!(client.send(request).await.unwrap().status, 400, "{body:?}");
    }
    assert_eq!(client.status(&batch).await.unwrap().body["batch_status"], "created");
}

/// A few bytes of a good body are changed, dropped or repeated. Nothing crashes, and nothing is answered with 5xx.
#[tokio::test]
async fn mutilated_bodies_never_crash_the_server() {
    const SEED: u64 = 20_261_121;
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    let batch = client.open_batch(&json!({"service": SALES})).await.unwrap();
    let text = json!({"chunks": [{"id": "a", "data": {"inputs": [["price", "tax"], [1, 2.5], ["x", null]], "parameters": {"quantity": 2}}}]});
    let document = bson::serialize_to_vec(&text).unwrap();
    let text = text.to_string().into_bytes();
    let mut random = StdRng::seed_from_u64(SEED);
    for round in 0..400 {
        let (content_type, good) =
            if round % 2 == 0 { ("application/json", &text) } else { ("application/bson", &document) };
        let body = mutilated(good, &mut random);
        let answer = client.push_bytes(&batch, content_type, None, body.clone()).await.unwrap();
        assert!(answer.status < 500, "seed {SEED}, round {round}: {} to {body:?}", answer.describe());
        assert!(answer.header("content-type").unwrap().contains("application/json"));
    }
    for round in 0..100 {
        let body = mutilated(json!({"service": SALES, "output": "a,b"}).to_string().as_bytes(), &mut random);
        let answer = post(client, "/{tenant}/api/v4/batch", "application/json", body.clone()).await;
        assert!(answer.status < 500, "seed {SEED}, round {round}: {} to {body:?}", answer.describe());
    }
    assert_eq!(client.get("/health").await.unwrap().status, 200);
}

fn mutilated(good: &[u8], random: &mut impl Rng) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] = random.random(),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, bytes[at]),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}
