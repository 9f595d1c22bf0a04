//! Synchronous calls (contract 4.4).

use std::io::Write;

use axum::body::Body;
use axum::http::Method;
use rust_xlsxwriter::{Formula, Workbook};
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
    let fast = flate2::Compression::fast();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), fast);
    gzip.write_all(body.as_bytes()).unwrap();
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), fast);
    deflate.write_all(body.as_bytes()).unwrap();
    let mut br = brotli::CompressorWriter::new(Vec::new(), 4_096, 1, 20);
    br.write_all(body.as_bytes()).unwrap();
    for (encoding, sent, wanted) in [
        ("gzip", gzip.finish().unwrap(), "gzip"),
        ("deflate", deflate.finish().unwrap(), "br"),
        ("br", br.into_inner(), "br"),
    ] {
        let request = server
            .request(Method::POST, "/acme/api/v4/execute")
            .header("content-type", "application/json")
            .header("content-encoding", encoding)
            .header("accept-encoding", wanted);
        let answer = server.send(request.body(Body::from(sent)).unwrap()).await;
        assert_eq!((answer.status, answer.headers["content-encoding"].to_str().unwrap()), (200, wanted));
        assert!(answer.headers["content-type"].to_str().unwrap().contains("application/json"));
        let bytes = answer.bytes.as_slice();
        let text = match wanted {
            "gzip" => std::io::read_to_string(flate2::read::GzDecoder::new(bytes)),
            _ => std::io::read_to_string(brotli::Decompressor::new(bytes, 4_096)),
        };
        let answer: Value = serde_json::from_str(&text.unwrap()).unwrap();
        assert_eq!(answer["outputs"].as_array().unwrap().len(), 501, "{encoding}");
        assert_eq!(answer["outputs"][500][0], 499.0 * 3.0, "{encoding}");
    }
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

/// Orders with a table of items, and what the service says about itself.
fn orders() -> Vec<u8> {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    sheet.write_row(0, 0, ["Amount", "Price"]).unwrap().write_row(1, 0, [1, 10]).unwrap();
    sheet.write_row(2, 0, [2, 20]).unwrap().write_row(0, 5, ["Twice"]).unwrap();
    for row in 1..3 {
        let twice = Formula::new(format!("=A{}*2", row + 1)).set_result(format!("{}", row * 2));
        sheet.write_formula(row, 5, twice).unwrap();
    }
    sheet.write_formula(0, 3, Formula::new("=SUMPRODUCT(A2:A3,B2:B3)").set_result("50")).unwrap();
    sheet.write_formula(1, 3, Formula::new("=D1*2").set_result("100")).unwrap();
    for (name, area) in [
        ("Xinput_items", "$A$1:$B$3"),
        ("Xoutput_worth", "$D$1"),
        ("Xoutput_list", "$F$1:$F$3"),
        ("Xoutput_Metadata.Double", "$D$2"),
    ] {
        book.define_name(name, &format!("=Sheet1!{area}")).unwrap();
    }
    book.save_to_buffer().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn v3_takes_every_field_of_its_meta() {
    let Some(server) = with_services().await else { return };
    server.release("f", "orders", &orders(), json!({})).await;
    let call = async |inputs: Value, meta: Value| {
        let body = json!({"request_data": {"inputs": inputs}, "request_meta": meta});
        server.post("/acme/api/v3/folders/f/services/orders/execute", &body).await.ok()
    };
    let items = json!({"items": [["price", "amount"], [1, 3], [2, 4]]});
    let ignored = json!({"call_purpose": "test", "source_system": "here", "compiler_type": "Neuron", "debug_solve": true,
        "excel_file": false, "an_extra": [1]});
    let answer = call(items.clone(), ignored).await;
    let outputs = json!({"worth": 11.0, "list": [{"Twice": 6.0}, {"Twice": 8.0}], "Metadata.Double": 22.0});
    assert_eq!(answer["response_data"]["outputs"], outputs);
    assert_eq!(
        (&answer["response_data"]["warnings"], &answer["response_data"]["service_chain"]),
        (&Value::Null, &Value::Null)
    );
    let mut fields: Vec<&String> = answer["response_meta"].as_object().unwrap().keys().collect();
    fields.sort();
    let mut expected = [
        "service_id",
        "version_id",
        "version",
        "process_time",
        "call_id",
        "compiler_type",
        "compiler_version",
        "source_hash",
        "engine_id",
        "correlation_id",
        "parameterset_version_id",
        "system",
        "request_timestamp",
        "request_id",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);

    let outputs = async |meta: Value| call(items.clone(), meta).await["response_data"]["outputs"].clone();
    let table = json!([["Twice"], [6.0], [8.0]]);
    assert_eq!(
        outputs(json!({"array_outputs": ["LIST"], "requested_output": "worth,list"})).await,
        json!({"worth": 11.0, "list": table})
    );
    assert_eq!(
        outputs(json!({"array_outputs": "worth, list", "requested_output": ["l?st"]})).await,
        json!({"list": table})
    );
    for (category, expected) in [
        // Without the inputs of the others: on their defaults.
        (json!("metadata"), json!({"Metadata.Double": 100.0})),
        (
            json!("metadata,#default#"),
            json!({"worth": 11.0, "list": [{"Twice": 6.0}, {"Twice": 8.0}], "Metadata.Double": 22.0}),
        ),
        (json!(["#Default#"]), json!({"worth": 11.0, "list": [{"Twice": 6.0}, {"Twice": 8.0}]})),
        (json!("All"), outputs(json!({})).await),
    ] {
        assert_eq!(outputs(json!({"service_category": category})).await, expected, "{category}");
    }

    // A version that begins in the future is in force for calls that say so.
    let later = json!({"effective_start_date": "2090-01-01", "effective_end_date": "2091-01-01"});
    server.release("f", "orders", &orders(), later).await;
    for (date, version) in
        [(Value::Null, "0.1.0"), (json!("2090-06-01"), "0.2.0"), (json!("2030-12-31T23:59:59"), "0.1.0")]
    {
        let answer = call(json!({}), json!({"transaction_date": date})).await;
        assert_eq!(answer["response_meta"]["version"], version, "{date}");
    }

    // The v4 call has the same service: a subservice by its name, and the parameters of all records.
    let body = json!({"service": "f/orders", "inputs": [["x"], [1]], "parameters": {"ITEMS": [{"Amount": 5, "Price": 2}]},
        "subservice": "Metadata,#Default#", "output": "metadata.*"});
    let answer = server.post("/acme/api/v4/execute", &body).await.ok();
    assert_eq!(answer["outputs"], json!([["Metadata.Double"], [20.0]]));
    assert_eq!(answer["warnings"], json!([null]), "parameters are given values");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_a_map_of_texts() {
    let Some(server) = Server::start().await else { return };
    let answer = server.get("/api/v1/config/GetSparkConfiguration").await.ok();
    for (key, value) in [
        ("Batch_Tenant_In_Mb", "500"),
        ("Batch_Max_Input_In_Mb", "450"),
        ("Batch_Max_Output_In_Mb", "450"),
        ("Batch_Buffer_MaxLimit_In_Mb", "500"),
        ("Initial_Workers", "10"),
        ("Acceptable_Error_Percentage", "0"),
    ] {
        assert_eq!(answer["data"][key], value, "{key}");
    }
    for key in ["Batch_Chunk_Size", "Batch_Concurrent_Execution_Limit"] {
        assert!(answer["data"][key].as_str().unwrap().parse::<u32>().unwrap() > 0, "{key}");
    }
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
