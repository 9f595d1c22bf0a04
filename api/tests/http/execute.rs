//! Synchronous calls (contract 4.4).

use std::io::Write;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::server::{Server, rectangle, sales};

async fn with_services() -> Option<Server> {
    let server = Server::start().await?;
    server.create_folder("f").await.ok();
    server.release("f", "rect", &rectangle(), json!({})).await;
    server.release("f", "sales", &sales(), json!({})).await;
    Some(server)
}

#[tokio::test(flavor = "multi_thread")]
async fn v4_mirrors_the_form_of_the_inputs() {
    let Some(server) = with_services().await else { return };
    let call = async |body: Value| server.post("/acme/api/v4/execute", &body).await.ok();
    let answer = call(json!({
        "service": "f/rect", "inputs": [["width", "id"], [4, "a"], ["5", "b"]], "parameters": {"height": 10},
        "correlation_id": "c-1", "unique_record_key": "id", "output": "area", "unknown": {"x": 1},
    }))
    .await;
    assert_eq!(answer["outputs"], json!([["id", "area"], ["a", 40.0], ["b", 50.0]]));
    assert_eq!(answer["process_time"].as_array().unwrap().len(), 2);
    assert_eq!(answer["errors"], json!([null, null]));
    assert_eq!((&answer["version"], &answer["correlation_id"]), (&json!("0.1.0"), &json!("c-1")));
    assert_eq!(answer["service_chain"], Value::Null);
    for key in ["service_id", "version_id", "call_id", "compiler_version", "request_timestamp"] {
        assert!(answer[key].is_string(), "{key}");
    }

    let answer =
        call(json!({"service": "f/rect", "inputs": [{"width": 4}, {"width": 1, "height": 0}]})).await;
    assert_eq!(
        answer["outputs"],
        json!([{"area": 12.0, "ratio": 4.0 / 3.0}, {"area": 0.0, "ratio": "#DIV/0!"}])
    );
    // A missing input is told, because somebody waits for the answer.
    assert_eq!(answer["warnings"][0][0]["source_path"], "Default Values");

    let answer = call(json!({
        "service": "f/rect", "inputs": [["width"], [1], [2]],
        "summary": {"aggregation": [{"output_name": "area", "operator": "sum"}]},
    }))
    .await;
    assert_eq!(answer["summary_output"], json!([[["area_SUM"], [9.0]]]));

    let answer =
        call(json!({"service": "f/sales", "inputs": [{"price": 20, "quantity": 65, "tax": 0.1}]})).await;
    assert_eq!(answer["outputs"], json!([{"total": 1430.0}]));
    // No inputs: one record of defaults. One object: one record.
    assert_eq!(call(json!({"service": "f/rect"})).await["outputs"][0]["area"], 6.0);
    assert_eq!(call(json!({"service": "f/rect", "inputs": {"width": 5}})).await["outputs"][0]["area"], 15.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v4_refusals_name_the_place() {
    let Some(server) = with_services().await else { return };
    for (inputs, more, status, path) in [
        (json!([["width"], [1], 7]), json!({}), 400, "inputs[2]"),
        (json!([{"width": 1}, [1]]), json!({}), 400, "inputs[1]"),
        (json!(7), json!({}), 400, "inputs"),
        (json!([["width"], [1]]), json!({"unique_record_key": "id"}), 422, "unique_record_key"),
    ] {
        let mut body = json!({"service": "f/rect", "inputs": inputs});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (found, _, place) = server.post("/acme/api/v4/execute", &body).await.refusal();
        assert_eq!((found, place.as_deref()), (status, Some(path)), "{body}");
    }
    let request =
        server.request(Method::POST, "/acme/api/v4/execute").header("content-type", "application/json");
    let answer = server.send(request.body(Body::from("{\"inputs\": [")).unwrap()).await;
    assert_eq!(answer.refusal().1, "MALFORMED_JSON");
    let request = server.request(Method::POST, "/acme/api/v4/execute").header("content-type", "text/csv");
    assert_eq!(server.send(request.body(Body::from("a,b")).unwrap()).await.status, 415);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_calls_and_answers() {
    let Some(server) = with_services().await else { return };
    let mut rows = vec![json!(["width"])];
    rows.extend((0..500).map(|width| json!([width])));
    let body = json!({"service": "f/rect", "inputs": rows}).to_string();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body.as_bytes()).unwrap();
    let request = server
        .request(Method::POST, "/acme/api/v4/execute")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .header("accept-encoding", "gzip");
    let answer = server.send(request.body(Body::from(encoder.finish().unwrap())).unwrap()).await;
    assert_eq!((answer.status, answer.headers["content-encoding"].to_str().unwrap()), (200, "gzip"));
    let text = std::io::read_to_string(flate2::read::GzDecoder::new(answer.bytes.as_slice())).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 501);
    assert_eq!(answer["outputs"][500][0], 499.0 * 3.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v3_answers_one_record_in_an_envelope() {
    let Some(server) = with_services().await else { return };
    let named = "/acme/api/v3/folders/f/services/rect/execute";
    let call = async |path: &str, inputs: Value, meta: Value| {
        let body = json!({"request_data": {"inputs": inputs}, "request_meta": meta});
        server.post(path, &body).await.ok()
    };
    let answer = call(named, json!({"width": 4, "height": 2}), json!({"correlation_id": "c"})).await;
    assert_eq!((&answer["status"], &answer["error"]), (&json!("Success"), &Value::Null));
    assert_eq!(answer["response_data"]["outputs"], json!({"area": 8.0, "ratio": 2.0}));
    assert_eq!(answer["response_data"]["errors"], Value::Null);
    assert!(answer["response_data"].get("inputs").is_none());
    let meta = &answer["response_meta"];
    assert_eq!(
        (&meta["version"], &meta["system"], &meta["correlation_id"]),
        (&json!("0.1.0"), &json!("SPARK"), &json!("c"))
    );
    assert!(meta["process_time"].as_i64().unwrap() >= 1);
    let (service, version) = (meta["service_id"].as_str().unwrap(), meta["version_id"].as_str().unwrap());

    for (path, meta) in [
        (format!("/acme/api/v3/service/{service}"), json!({})),
        (format!("/acme/api/v3/version/{version}/execute"), json!({})),
        ("/acme/api/v3".to_owned(), json!({"service_uri": "f/rect"})),
        ("/acme/api/v3/execute".to_owned(), json!({"service_id": service, "version": "0.1.0"})),
        ("/acme/api/v3/execute".to_owned(), json!({"version_id": version})),
        (named.to_owned(), json!({"version": "0.1"})),
    ] {
        let answer = call(&path, json!([{"width": 4}]), meta).await;
        assert_eq!(answer["response_data"]["outputs"]["area"], 12.0, "{path}");
        assert_eq!(answer["response_data"]["warnings"][0]["source_path"], "Default Values");
    }
    let only = |meta| call(named, json!({}), meta);
    assert_eq!(
        only(json!({"requested_output": "AR*"})).await["response_data"]["outputs"],
        json!({"area": 6.0})
    );
    assert_eq!(
        only(json!({"requested_output_regex": "r.*o", "response_data_inputs": true})).await["response_data"]
            ["inputs"],
        json!({})
    );
    assert_eq!(
        only(json!({"requested_output_regex": "r.*o"})).await["response_data"]["outputs"],
        json!({"ratio": 2.0 / 3.0})
    );
    let both = only(json!({"requested_output": "area", "requested_output_regex": "area"})).await;
    assert_eq!(both["response_data"]["errors"][0]["error_category"], "validation_error");

    // Without inputs: defaults, and an error object that says so.
    let answer = server.post(named, &json!({"request_data": {}, "request_meta": {}})).await.ok();
    assert_eq!(answer["response_data"]["outputs"]["area"], 6.0);
    assert_eq!(answer["response_data"]["errors"][0]["source_path"], "request_data.inputs");

    let answer = server.post(named, &json!({"request_data": {"inputs": [{}, {}]}})).await;
    assert_eq!(answer.refusal(), (400, "INVALID_INPUTS".into(), Some("request_data.inputs".into())));
    let answer = server.post(named, &json!({"request_data": {}, "request_meta": {"version": "7"}})).await;
    assert_eq!(answer.refusal().1, "VERSION_NOT_FOUND");
    assert_eq!(server.post("/acme/api/v3/execute", &json!({})).await.refusal().1, "SERVICE_MISSING");
    assert_eq!(server.post("/acme/api/v3/service/x", &json!({})).await.refusal().0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_a_map_of_texts() {
    let Some(server) = Server::start().await else { return };
    let answer = server.get("/api/v1/config/GetSparkConfiguration").await.ok();
    assert_eq!(answer["data"]["Batch_Tenant_In_Mb"], "500");
    assert!(answer["data"].as_object().unwrap().values().all(Value::is_string));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_is_504() {
    let Some(server) = Server::start_with(|config| config.http.execute_timeout_ms = 1).await else { return };
    server.create_folder("f").await.ok();
    server.release("f", "rect", &rectangle(), json!({})).await;
    let mut rows = vec![json!(["width"])];
    rows.extend((0..200_000).map(|width| json!([width])));
    let answer = server.post("/acme/api/v4/execute", &json!({"service": "f/rect", "inputs": rows})).await;
    assert_eq!(answer.refusal(), (504, "TIMEOUT".into(), None));
    assert_eq!(answer.json()["errors"][0]["error_category"], "runtime");
    server.stop().await;
}
