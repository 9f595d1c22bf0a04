//! Services and their versions (contract 4.3, 4.5, 5.4).

use axum::body::Body;
use axum::http::Method;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::server::{Server, rectangle, sales};

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_becomes_a_service() {
    let Some(server) = Server::start().await else { return };
    server.create_folder("sales").await.ok();
    let uploaded = server.upload("sales", "Example", "Sales.xlsx", &sales()).await.ok();
    let data = &uploaded["response_data"];
    assert!(data["no_of_inputs"].as_i64().unwrap() >= 3, "{data}");
    assert!(data["no_of_outputs"].as_i64().unwrap() >= 1, "{data}");
    assert_eq!(data["original_file_documentid"], data["engine_file_documentid"]);
    let exists = "/acme/api/v3/folders/sales/services/Example/exists";
    assert_eq!(server.get(exists).await.ok()["response_data"]["is_exists"], false);
    // A start in the local time of a client east of here means now.
    let soon = (Utc::now() + TimeDelta::hours(9)).naive_utc().format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
    let more =
        json!({"effective_start_date": soon, "version_label": "first", "tags": "a,b", "releasenote": "new"});
    let published = server.publish("sales", "Example", &data["engine_file_documentid"], more).await.ok();
    assert_eq!(published["response_meta"]["version"], "0.1.0");
    assert_eq!(published["response_data"]["version_id"], uploaded["response_meta"]["version_id"]);
    assert_eq!(server.get(exists).await.ok()["response_data"]["is_exists"], true);

    let versions = server.get("/api/v1/product/sales/engines/getversions/example").await.ok();
    let version = &versions["data"][0];
    for (key, value) in [
        ("id", published["response_data"]["version_id"].clone()),
        ("revision", json!("0.1.0")),
        ("engine", json!("Example")),
        ("product", json!("sales")),
        ("author", json!("ann")),
        ("versionLabel", json!("first")),
        ("tags", json!("a,b")),
        ("releaseNote", json!("new")),
        ("isActive", json!(true)),
        ("originalFileName", json!("Sales.xlsx")),
    ] {
        assert_eq!(version[key], value, "{key}");
    }

    let schema = server.get("/api/v1/product/sales/engines/get/Example").await.ok();
    let names: Vec<&str> = schema["data"]["xlInputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    for name in ["price", "quantity", "tax"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let id = version["id"].as_str().unwrap();
    let by_id = server
        .post(&format!("/acme/api/v3/GetEngineDetailByVersionId/versionid/{id}"), &Value::Null)
        .await
        .ok();
    assert_eq!(by_id["data"], schema["data"]);
    assert_eq!(by_id["response_data"], schema["data"]);

    for path in ["download", "download/", &format!("download/{id}"), "download/0.1.0?filename=x.xlsx&type="] {
        let answer = server.get(&format!("/api/v1/product/SALES/engines/example/{path}")).await;
        assert_eq!((answer.status, answer.bytes == sales()), (200, true), "{path}");
    }
    let swagger =
        server.get("/acme/api/v3/folders/sales/services/Example/downloadswagger/All/False/").await.ok();
    assert_eq!(swagger["swagger"], "2.0");
    let metadata = server.get("/acme/api/v3/folders/sales/services/Example/metadata").await.ok();
    assert_eq!(metadata["response_data"]["outputs"], json!({}));

    server.delete("/api/v1/product/sales/engines/delete/Example").await.ok();
    assert_eq!(server.get(exists).await.ok()["response_data"]["is_exists"], false);
    assert_eq!(server.get("/api/v1/product/sales/engines/getversions/Example").await.status, 404);
    assert_eq!(server.delete("/api/v1/product/sales/engines/delete/Example").await.status, 404);
    // The same name starts again.
    let again = server.release("sales", "Example", &sales(), json!({"version_difference": "patch"})).await;
    assert_eq!(again["response_meta"]["version"], "0.0.1");
    server.stop().await;
}

/// Calls and tells which version answered, or status and code.
async fn called(server: &Server, more: Value) -> String {
    let mut body = json!({"inputs": [{}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = server.post("/acme/api/v4/execute", &body).await;
    match answer.status {
        200 => answer.json()["version"].as_str().unwrap().to_owned(),
        status => format!("{status} {}", answer.refusal().1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_locator_finds_its_version() {
    let Some(server) = Server::start().await else { return };
    server.create_folder("geo").await.ok();
    let mut ids = Vec::new();
    for (bump, number) in
        [("minor", "0.1.0"), ("major", "1.0.0"), ("minor", "1.1.0"), ("patch", "1.1.1"), ("major", "2.0.0")]
    {
        let mut more = json!({"version_difference": bump});
        if number == "2.0.0" {
            // Not in force yet.
            more["effective_start_date"] = json!("2090-01-01");
            more["effective_end_date"] = json!("2091-01-01");
        }
        let published = server.release("geo", "Rect", &rectangle(), more).await;
        assert_eq!(published["response_meta"]["version"], number);
        ids.push(published["response_data"]["version_id"].as_str().unwrap().to_owned());
    }
    let exists = server.get("/acme/api/v3/folders/geo/services/Rect/exists").await.ok();
    let service = exists["response_meta"]["service_id"].as_str().unwrap().to_owned();
    for (locator, found) in [
        ("geo/Rect".to_owned(), "1.1.1"),
        ("GEO/rect[]".to_owned(), "1.1.1"),
        ("/folders/geo/services/Rect".to_owned(), "1.1.1"),
        ("folders/geo/services/Rect[1.1.0]".to_owned(), "1.1.0"),
        ("geo%2FRect%5B1%5D".to_owned(), "1.1.1"),
        ("geo/Rect[1.0]".to_owned(), "1.0.0"),
        ("geo/Rect[0]".to_owned(), "0.1.0"),
        ("geo/Rect[2.0.0]".to_owned(), "2.0.0"),
        ("geo/Rect[2]".to_owned(), "404 VERSION_NOT_FOUND"),
        ("geo/Rect[1.2]".to_owned(), "404 VERSION_NOT_FOUND"),
        ("geo/Rect[9.9.9]".to_owned(), "404 VERSION_NOT_FOUND"),
        ("geo/Rect[x]".to_owned(), "422 INVALID_VERSION"),
        ("geo/Nope".to_owned(), "404 SERVICE_NOT_FOUND"),
        ("nope/Rect".to_owned(), "404 FOLDER_NOT_FOUND"),
        ("nonsense".to_owned(), "404 SERVICE_NOT_FOUND"),
        (service.clone(), "1.1.1"),
        (format!("service/{service}"), "1.1.1"),
        (format!("service/{service}[1.0]"), "1.0.0"),
        (ids[0].clone(), "0.1.0"),
        (format!("version/{}", ids[4]), "2.0.0"),
        (format!("version/{service}"), "404 VERSION_NOT_FOUND"),
        (String::new(), "400 SERVICE_MISSING"),
    ] {
        assert_eq!(called(&server, json!({"service": locator})).await, found, "{locator}");
    }
    assert_eq!(called(&server, json!({"service": "", "version_id": ids[1]})).await, "1.0.0");
    assert_eq!(called(&server, json!({"service": "geo/Rect[1.1]", "version_id": ids[0]})).await, "0.1.0");
    assert_eq!(called(&server, json!({"version_id": "x"})).await, "422 INVALID_ID");
    let at = |time: &str| json!({"service": "geo/Rect", "version_by_timestamp": time});
    assert_eq!(called(&server, at("2090-06-01")).await, "2.0.0");
    assert_eq!(called(&server, at("2001-01-01T00:00:00")).await, "404 VERSION_NOT_FOUND");
    assert_eq!(called(&server, at("when?")).await, "422 INVALID_DATE");
    let exact = json!({"service": "geo/Rect[1.0.0]", "version_by_timestamp": "2001-01-01"});
    assert_eq!(called(&server, exact).await, "1.0.0");

    // Versions of another tenant do not exist.
    let request = axum::http::Request::post("/other/api/v4/execute")
        .header("x-synthetic-key", &server.other_key)
        .header("content-type", "application/json");
    let body = json!({"inputs": [{}], "version_id": ids[0]}).to_string();
    assert_eq!(server.send(request.body(Body::from(body)).unwrap()).await.status, 404);

    let recompiled =
        server.post("/acme/api/v3/folders/geo/services/Rect/recompileNodgen", &json!({})).await.ok();
    assert_eq!(recompiled["response_data"]["revision"], "2.0.1");
    let found = server
        .post("/acme/api/v3/services/search", &json!({"request_data": {"page": 1, "page_size": 10}}))
        .await;
    let found = found.ok();
    assert_eq!(found["response_data"][0]["service_uri"], "geo/Rect");
    assert_eq!(
        (&found["response_meta"]["count"], &found["response_meta"]["page_total"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(server.post("/api/v1/product/geo/engines", &json!({"page": 1})).await.ok()["count"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_is_idempotent_and_checked() {
    let Some(server) = Server::start().await else { return };
    server.create_folder("geo").await.ok();
    let uploaded = server.upload("geo", "Rect", "r.json", &rectangle()).await.ok();
    let document = &uploaded["response_data"]["engine_file_documentid"];
    let one = server.publish("geo", "Rect", document, json!({})).await.ok();
    let two = server.publish("geo", "rect", document, json!({"version_difference": "major"})).await.ok();
    assert_eq!(one["response_data"]["version_id"], two["response_data"]["version_id"]);
    let path = Some("request_data.engine_file_documentid".to_owned());
    for (service, document, more, status, code, path) in [
        ("Other", document.clone(), json!({}), 422, "OTHER_SERVICE", path.clone()),
        ("Rect", json!(uuid::Uuid::new_v4()), json!({}), 404, "DOCUMENT_NOT_FOUND", path.clone()),
        ("Rect", json!("x"), json!({}), 422, "INVALID_ID", path.clone()),
        ("Rect", Value::Null, json!({}), 422, "DOCUMENT_MISSING", path),
        (
            "Rect",
            document.clone(),
            json!({"version_difference": "?"}),
            422,
            "INVALID_VERSION_DIFFERENCE",
            Some("request_data.version_difference".to_owned()),
        ),
        (
            "Rect",
            document.clone(),
            json!({"effective_end_date": "2000-01-01"}),
            422,
            "INVALID_DATE",
            Some("request_data.effective_end_date".to_owned()),
        ),
    ] {
        let answer = server.publish("geo", service, &document, more).await;
        assert_eq!(answer.refusal(), (status, code.to_owned(), path), "{code}");
    }
    let answer = server.publish("nope", "Rect", document, json!({})).await;
    assert_eq!(answer.refusal().1, "FOLDER_NOT_FOUND");
    // Two publications at the same time get two numbers.
    let documents = [
        server.upload("geo", "Twin", "r.json", &rectangle()).await.ok(),
        server.upload("geo", "Twin", "r.json", &rectangle()).await.ok(),
    ];
    let document = |index: usize| &documents[index]["response_data"]["engine_file_documentid"];
    let (one, two) = tokio::join!(
        server.publish("geo", "Twin", document(0), json!({})),
        server.publish("geo", "Twin", document(1), json!({}))
    );
    let mut numbers = [one.ok(), two.ok()].map(|answer| answer["response_data"]["version"].to_string());
    numbers.sort();
    assert_eq!(numbers, ["\"0.1.0\"", "\"0.2.0\""]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_refused_or_fail_to_compile() {
    let Some(server) = Server::start().await else { return };
    server.create_folder("geo").await.ok();
    for (name, content, code) in [
        ("a.xlsx", &b"hello"[..], "UNREADABLE_FILE"),
        ("a.xlsx", b"", "UNREADABLE_FILE"),
        ("a.xlsx", b"PK\x03\x04 and then nothing", "UNREADABLE_FILE"),
        ("a.json", b"{\"inputs\": ", "UNREADABLE_FILE"),
        ("a.xlsx", &sales()[..3_000], "UNREADABLE_FILE"),
        ("big.json", &vec![b' '; 1_000_001], "FILE_TOO_LARGE"),
        ("huge.json", &vec![b' '; 2_000_000], "BODY_TOO_LARGE"),
    ] {
        let answer = server.upload("geo", "bad", name, content).await;
        let (status, found, path) = answer.refusal();
        assert_eq!((status, found.as_str()), (422, code), "{name}");
        assert!(code == "BODY_TOO_LARGE" || path.as_deref() == Some("serviceFile"));
    }
    assert_eq!(server.upload("nope", "bad", "a.json", &rectangle()).await.refusal().1, "FOLDER_NOT_FOUND");
    let path = "/acme/api/v3/folders/geo/services/bad/upload";
    let request =
        server.request(Method::POST, path).header("content-type", "multipart/form-data; boundary=x");
    let answer = server.send(request.body(Body::from("--x--\r\n")).unwrap()).await;
    assert_eq!(answer.refusal(), (400, "MISSING_PART".into(), Some("serviceFile".into())));
    let request = server.request(Method::POST, path).header("content-type", "text/plain");
    assert_eq!(server.send(request.body(Body::from("x")).unwrap()).await.status, 415);

    // A file whose calculation is wrong is stored as a failed compilation: the SDK could not show a refusal.
    let broken = json!({"inputs": [{"name": "a", "type": "number"}], "outputs": [{"name": "b", "formula": "NOPE(a)"}]});
    let uploaded = server.upload("geo", "bad", "a.json", broken.to_string().as_bytes()).await.ok();
    let job = uploaded["response_data"]["nodegen_compilation_jobid"].as_str().unwrap();
    for spelling in ["getcompilationprogess", "getcompilationprogress"] {
        let progress =
            server.get(&format!("/acme/api/v3/folders/geo/services/bad/{spelling}/{job}")).await.ok();
        let data = &progress["response_data"];
        assert_eq!((&data["status"], &data["progress"]), (&json!("Failed"), &json!(100)));
        assert!(data["last_error_message"].as_str().unwrap().contains("NOPE"), "{data}");
    }
    let document = &uploaded["response_data"]["engine_file_documentid"];
    let answer = server.publish("geo", "bad", document, json!({})).await;
    assert_eq!(answer.refusal().1, "COMPILATION_FAILED");
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("NOPE"));
    let exists = server.get("/acme/api/v3/folders/geo/services/bad/exists").await.ok();
    assert_eq!(exists["response_data"]["is_exists"], false);
    let progress = server.get("/acme/api/v3/folders/geo/services/bad/getcompilationprogess/x").await;
    assert_eq!(progress.refusal().1, "JOB_NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_nobody_publishes_are_forgotten_and_published_files_stay() {
    let Some(server) = Server::start().await else { return };
    server.create_folder("geo").await.ok();
    server.release("geo", "kept", &rectangle(), json!({})).await;
    let dropped = server.upload("geo", "dropped", "r.json", &rectangle()).await.ok();
    server.sql("UPDATE compilations SET created_at = now() - interval '8 days'").await;
    let fresh = server.upload("geo", "fresh", "r.json", &rectangle()).await.ok();
    let document = |uploaded: &Value| uploaded["response_data"]["engine_file_documentid"].clone();
    let answer = server.publish("geo", "dropped", &document(&dropped), json!({})).await;
    assert_eq!(answer.refusal().1, "DOCUMENT_NOT_FOUND");
    server.publish("geo", "fresh", &document(&fresh), json!({})).await.ok();
    for (service, status) in [("kept", 200), ("fresh", 200), ("dropped", 404)] {
        let answer = server.get(&format!("/api/v1/product/geo/engines/{service}/download")).await;
        assert_eq!(answer.status, status, "{service}");
    }
    // What is left: the two published files.
    server.sql("DO $$ BEGIN ASSERT (SELECT count(*) FROM documents) = 2; END $$").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_cannot_be_stored_are_refused() {
    let Some(server) = Server::start().await else { return };
    server.create_folder("geo").await.ok();
    let document = json!({"description": "a\u{0}b", "outputs": [{"name": "x", "formula": "1+1"}]});
    let answer = server.upload("geo", "nul", "r.json", document.to_string().as_bytes()).await;
    assert_eq!(answer.refusal().1, "INVALID_TEXT");
    let uploaded = server.upload("geo", "rect", "r.json", &rectangle()).await.ok();
    let id = &uploaded["response_data"]["engine_file_documentid"];
    let answer = server.publish("geo", "rect", id, json!({"version_label": "a\u{0}b"})).await;
    assert_eq!(answer.refusal().1, "INVALID_TEXT");
    server.publish("geo", "rect", id, json!({"effective_end_date": "9999-12-31"})).await.ok();
    server.stop().await;
}
