//! Datasets (scale-v6 5.3).

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Method;
use millrace_table::ParquetRows;
use serde_json::{Value, json};

use super::refusal;
use crate::server::{Answer, Server};

fn definition() -> Value {
    json!({
        "parameters": {"json": [{"name": "x", "type": "number"}], "files": [{"name": "f", "required": false, "multiple": true}]},
        "global_parameters": {"json": [{"name": "rate", "type": "number"}]},
        "global_data": {"json": {"rate": 0.5}},
    })
}

fn ids(answer: &Value) -> Vec<i64> {
    answer.as_array().unwrap().iter().map(|item| item["id"].as_i64().unwrap()).collect()
}

impl Server {
    async fn dataset(&self, body: &Value) -> Value {
        let made = self.post("/v6/datasets/", body).await;
        assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.bytes));
        made.json()
    }

    /// Waits until something holds, for at most a minute.
    async fn until(&self, holds: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds().await {
            assert!(Instant::now() < deadline, "it never came");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_is_made_with_members_and_gets_more() {
    let Some(server) = Server::start().await else { return };
    let body =
        json!({"title": "T", "definition": definition(), "data": {"json": {"x": 1, "undeclared": true}}});
    let made = server.post("/v6/datasets/", &body).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.bytes));
    let location = made.headers["location"].to_str().unwrap().to_owned();
    let made = made.json();
    let path = format!("/v6/datasets/{}/", made["id"]);
    assert_eq!(location, format!("http://127.0.0.1:8123{path}"));
    assert_eq!((&made["title"], &made["description"]), (&json!("T"), &Value::Null));
    assert_eq!((&made["definition"], &made["files"]), (&definition(), &json!([])));
    assert_eq!(
        made["members"][0]["data"],
        json!({"files": {}, "json": {"x": 1}}),
        "undeclared values are dropped"
    );
    assert_eq!(server.get(&path).await.ok(), made);

    let more = json!({"data": [{"json": {"x": 2}, "files": {"f": [9, 8]}}, {"json": {"x": 3}}]});
    let dry: Answer = server.post(&path, &json!({"data": more["data"], "dry_run": true})).await;
    assert_eq!(
        dry.ok(),
        json!([{"files": {"f": [9, 8]}, "json": {"x": 2}}, {"files": {}, "json": {"x": 3}}])
    );
    assert_eq!(server.get(&format!("{path}members/")).await.ok()["count"], 1, "a dry run stores nothing");
    let added = server.post(&path, &more).await;
    assert_eq!(added.status, 201);
    let added = added.json();
    assert_eq!((&added[0]["file_ids"], &added[1]["data"]["json"]["x"]), (&json!([8, 9]), &json!(3)));
    let members = server.get(&format!("{path}members/?page_size=2&page=2")).await.ok();
    assert_eq!((&members["count"], ids(&members["results"])), (&json!(3), vec![ids(&added)[1]]));
    let one = server.get(&format!("/v6/datasets/members/{}/", ids(&added)[0])).await.ok();
    assert_eq!(
        (&one["dataset"], &one["files"]),
        (&json!({"id": made["id"]}), &json!([{"id": 8}, {"id": 9}]))
    );
    assert_eq!(server.get("/v6/datasets/?keyword=t").await.ok()["results"][0]["files"], 2);
    for missing in ["/v6/datasets/members/0/", "/v6/datasets/members/members/", "/v6/datasets/0/members/"] {
        assert_eq!(server.get(missing).await.status, 404, "{missing}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_member_stores_nothing() {
    let Some(server) = Server::start().await else { return };
    let path = format!("/v6/datasets/{}/", server.dataset(&json!({"definition": definition()})).await["id"]);
    for (data, name) in [
        (json!([{"json": {"x": 1}}, {"json": {"x": "1"}}]), "INVALID_JSON_TYPE"),
        (json!([{"json": {"x": 1}}, {"json": {}}]), "PARAM_REQUIRED"),
        (json!({"json": {"x": true}}), "INVALID_JSON_TYPE"),
        (json!({"json": {"x": 1, "f": 3}}), "MISMATCHED_PARAM_TYPE"),
        (json!({"json": {"x": 1}, "files": {"f": []}}), "NO_FILES"),
        (json!({"json": {"x": 1}, "files": {"f": ["a"]}}), "INVALID_DATA"),
        (json!([3]), "INVALID_DATA"),
        (json!("x"), "INVALID_DATA"),
    ] {
        for (path, body) in [
            (path.as_str(), json!({"data": data})),
            (path.as_str(), json!({"data": data, "dry_run": true})),
            ("/v6/datasets/", json!({"definition": definition(), "data": data})),
        ] {
            let (status, detail, found) = refusal(&server.post(path, &body).await);
            assert_eq!((status, found.as_str()), (400, name), "{detail}");
            assert!(detail.starts_with("data"), "{detail}");
        }
    }
    assert_eq!(server.get(&format!("{path}members/")).await.ok()["count"], 0);
    assert_eq!(server.get("/v6/datasets/").await.ok()["count"], 1);
    for body in [json!({}), json!({"dry_run": true}), json!({"data_template": {}})] {
        assert_eq!(server.post(&path, &body).await.status, 400, "{body}");
    }
    assert_eq!(server.post("/v6/datasets/0/", &json!({"data": []})).await.status, 404);
    // A text that the database cannot hold is the caller's fault.
    let text = json!({"parameters": {"json": [{"name": "t", "type": "string"}]}});
    let body = json!({"definition": text, "data": {"json": {"t": "a\u{0}b"}}});
    assert_eq!(server.post("/v6/datasets/", &body).await.status, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_are_checked_by_name() {
    let Some(server) = Server::start().await else { return };
    let x = json!({"json": [{"name": "x", "type": "number"}]});
    for (definition, name) in [
        (json!({"more": 1}), "INVALID_DATASET_DEFINITION"),
        (json!({"version": "5"}), "INVALID_VERSION"),
        (
            json!({"parameters": x, "global_parameters": x, "global_data": {"json": {"x": 1}}}),
            "NAME_COLLISION_ERROR",
        ),
        (
            json!({"parameters": {"json": [{"name": "x", "type": "number"}, {"name": "x", "type": "string"}]}}),
            "DUPLICATE_PARAMETER",
        ),
        (json!({"global_parameters": x}), "MISSING_GLOBAL_DATA"),
        (json!({"global_parameters": x, "global_data": {"json": {"x": "1"}}}), "INVALID_GLOBAL_DATA"),
    ] {
        let checked = server.post("/v6/datasets/validation/", &json!({"definition": definition})).await.ok();
        assert_eq!((&checked["is_valid"], &checked["errors"][0]["name"]), (&json!(false), &json!(name)));
        let (status, _, found) =
            refusal(&server.post("/v6/datasets/", &json!({"definition": definition})).await);
        assert_eq!((status, found.as_str()), (400, name));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_and_ordered() {
    let Some(server) = Server::start().await else { return };
    let mut made = Vec::new();
    for title in ["beta", "Alpha", "gamma"] {
        made.push(server.dataset(&json!({"title": title, "definition": {}})).await["id"].as_i64().unwrap());
    }
    let [beta, alpha, gamma] = made[..] else { unreachable!() };
    for (query, found) in [
        (String::new(), vec![beta, alpha, gamma]),
        ("?order=title".to_owned(), vec![alpha, beta, gamma]),
        ("?order=-title&order=id".to_owned(), vec![gamma, beta, alpha]),
        ("?order=-created".to_owned(), vec![gamma, alpha, beta]),
        (format!("?id={beta}&dataset_id={gamma}"), vec![beta, gamma]),
        ("?keyword=ALPHA&keyword=gam".to_owned(), vec![alpha, gamma]),
        ("?started=PT1H".to_owned(), vec![beta, alpha, gamma]),
        ("?ended=PT1H".to_owned(), vec![]),
        ("?started=2015-01-01T00:00:00Z&ended=2015-01-02T00:00:00%2B02:00".to_owned(), vec![]),
    ] {
        let answer = server.get(&format!("/v6/datasets/{query}")).await.ok();
        assert_eq!(ids(&answer["results"]), found, "{query}");
    }
    for query in ["order=colour", "started=yesterday", "started=PT1H&ended=PT2H", "id="] {
        assert_eq!(server.get(&format!("/v6/datasets/?{query}")).await.status, 400, "{query}");
    }
    let answer = server.get("/v6/datasets/?page=2").await;
    assert_eq!((answer.status, answer.json()), (404, json!({"detail": "Invalid page."})));
    let first = server.get("/v6/datasets/?page_size=2").await.ok();
    assert_eq!(first["next"], "http://127.0.0.1:8123/v6/datasets/?page=2&page_size=2");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_becomes_members_or_nothing() {
    let Some(server) = Server::start().await else { return };
    let made = server.dataset(&json!({"definition": definition()})).await;
    let path = format!("/v6/datasets/{}/", made["id"]);
    let upload = |query: &str, media: &str, body: String| {
        let request =
            server.request(Method::POST, &format!("{path}upload/{query}")).header("content-type", media);
        server.send(request.body(Body::from(body)).unwrap())
    };
    let rows: String = (0..5_000).map(|row| format!("{row},{}\n", row % 3)).collect();
    let done = upload("", "text/csv; charset=utf-8", format!("x,f\n{rows}")).await;
    assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.bytes));
    let location = done.headers["location"].to_str().unwrap().to_owned();
    let done = done.json();
    assert_eq!((&done["state"], &done["members"]), (&json!("done"), &json!(5_000)));
    assert_eq!(done["bytes"], json!(rows.len() + 4));
    let status = location.strip_prefix("http://127.0.0.1:8123").unwrap();
    assert_eq!(server.get(status).await.ok(), done);
    let last = server.get(&format!("{path}members/?page=last&page_size=1")).await.ok();
    assert_eq!(last["count"], 5_000);
    assert_eq!(last["results"][0]["data"], json!({"files": {"f": [1]}, "json": {"x": 4_999}}));

    let lines =
        upload("?format=jsonl", "application/octet-stream", "{\"x\": 1}\n{\"x\": 2.5}\n".to_owned()).await;
    assert_eq!(lines.json()["members"], 2);

    // A wrong row at the very end: no row at all, and it is said which.
    let (status, detail, name) =
        refusal(&upload("?format=csv", "text/plain", format!("x,f\n{rows}y,1\n")).await);
    assert_eq!((status, name.as_str()), (400, "INVALID_ROW"));
    assert!(detail.starts_with("line 5002, column \"x\""), "{detail}");
    assert_eq!(server.get(&format!("{path}members/")).await.ok()["count"], 5_002);
    let newest = async || server.get(&format!("{path}uploads/")).await.ok()["results"][0].clone();
    server.until(async || newest().await["state"] == "failed").await;
    assert_eq!(newest().await["reason"], json!(detail));
    assert_eq!(upload("", "text/plain", String::new()).await.status, 415);
    assert_eq!(upload("?format=xml", "text/plain", String::new()).await.status, 400);
    assert_eq!(server.get(&format!("{path}uploads/0/")).await.status, 404);
    server.stop().await;
}

/// A Parquet file with these columns; cells are JSON texts.
fn parquet(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<u8> {
    let columns = columns.iter().map(|name| (*name).to_owned()).collect();
    let mut file = ParquetRows::new(columns, &std::env::temp_dir(), 1 << 30).unwrap();
    for row in rows {
        file.push(row.iter().map(String::as_str)).unwrap();
    }
    let mut bytes = Vec::new();
    file.write_to(&mut bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parquet_file_becomes_members_or_nothing() {
    let Some(server) = Server::start().await else { return };
    let made = server.dataset(&json!({"definition": definition()})).await;
    let path = format!("/v6/datasets/{}/", made["id"]);
    let upload = |body: Vec<u8>| {
        let request = server
            .request(Method::POST, &format!("{path}upload/"))
            .header("content-type", "application/vnd.apache.parquet");
        server.send(request.body(Body::from(body)).unwrap())
    };
    let columns = ["x", "f", "other"];
    let row = |row: i32| vec![format!("{row}.5"), format!("{}", row % 3), "\"ü\"".to_owned()];
    let file = parquet(&columns, (0..5_000).map(row));
    let done = upload(file.clone()).await;
    assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.bytes));
    let done = done.json();
    assert_eq!((&done["members"], &done["bytes"]), (&json!(5_000), &json!(file.len())));
    let last = server.get(&format!("{path}members/?page=last&page_size=1")).await.ok();
    assert_eq!(last["results"][0]["data"], json!({"files": {"f": [1]}, "json": {"x": 4_999.5}}));

    let wrong = (0..5_000).map(row).chain([vec!["null".to_owned(), "0".to_owned(), "null".to_owned()]]);
    let (status, detail, name) = refusal(&upload(parquet(&columns, wrong)).await);
    assert_eq!((status, name.as_str()), (400, "INVALID_ROW"));
    assert!(detail.starts_with("row 5001, column \"x\": "), "{detail}");
    for broken in [file[..file.len() / 2].to_vec(), b"x,f\n1,2\n".to_vec(), Vec::new()] {
        let (status, _, name) = refusal(&upload(broken).await);
        assert_eq!((status, name.as_str()), (400, "INVALID_FILE"));
    }
    assert_eq!(server.get(&format!("{path}members/")).await.ok()["count"], 5_000);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_process_died_does_not_run() {
    let Some(server) = Server::start().await else { return };
    let made = server.dataset(&json!({"definition": definition()})).await;
    let (path, id) = (format!("/v6/datasets/{}/", made["id"]), made["id"].as_i64().unwrap());
    let insert = format!(
        "INSERT INTO dataset_uploads (tenant_id, dataset_id, bytes) SELECT tenant_id, id, 7 FROM datasets WHERE id = {id}"
    );
    server.sql(&insert).await;
    let found = server.get(&format!("{path}uploads/")).await.ok()["results"][0].clone();
    assert_eq!((&found["state"], &found["reason"]), (&json!("failed"), &json!("the upload broke off")));
    assert!(found["finished"].is_string());

    // One that is at it runs, however often somebody looks.
    let (frames, body) = tokio::sync::mpsc::channel::<Result<&'static str, std::io::Error>>(1);
    let body = Body::from_stream(futures_util::stream::unfold(body, |mut body| async move {
        body.recv().await.map(|frame| (frame, body))
    }));
    let request = server.request(Method::POST, &format!("{path}upload/")).header("content-type", "text/csv");
    let upload = server.send(request.body(body).unwrap());
    let looks = async {
        frames.send(Ok("x\n1\n")).await.unwrap();
        let newest = async || server.get(&format!("{path}uploads/")).await.ok()["results"][0].clone();
        server.until(async || newest().await["state"] == "running").await;
        let running = newest().await;
        assert_eq!((&running["state"], &running["finished"]), (&json!("running"), &Value::Null));
        frames.send(Ok("2\n")).await.unwrap();
        drop(frames);
        running["id"].clone()
    };
    let (done, running) = tokio::join!(upload, looks);
    assert_eq!((done.status, &done.json()["id"]), (201, &running));
    let shown = server.get(&format!("{path}uploads/{running}/")).await.ok();
    assert_eq!((&shown["state"], &shown["members"]), (&json!("done"), &json!(2)));
    server.stop().await;
}
