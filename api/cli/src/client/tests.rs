//! The client against a server that answers from a script.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::profile::Connection;
use super::*;

/// Listens, answers each connection's one request with the next text of the script (an empty one: hangs up), and keeps the
/// requests.
async fn scripted(script: &[&str]) -> (Client, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut script: VecDeque<String> = script.iter().map(|text| (*text).to_owned()).collect();
    let requests = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Some(answer) = script.pop_front() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !complete(&request) {
                let read = stream.read(&mut buffer).await.unwrap();
                assert!(read > 0, "the request ended early");
                request.extend_from_slice(&buffer[..read]);
            }
            requests.lock().push(String::from_utf8_lossy(&request).into_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let key = millrace_common::config::Secret::new("the-key");
    (Client::new(Connection { url, tenant: "ac me".to_owned(), key, ca: None }).unwrap(), seen)
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase().strip_prefix("content-length:").map(|n| n.trim().parse::<usize>().unwrap())
    });
    body.len() >= length.unwrap_or(0)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

const STATUS: &str = r#"{"batch_status":"in_progress","record_submitted":7,"unknown":1}"#;

#[tokio::test]
async fn a_full_server_is_asked_again_with_the_same_request_id() {
    let full = answer(
        "429 Too Many Requests",
        "retry-after: 1\r\nx-retry-after: 0.02\r\n",
        r#"{"error":{"code":"INPUT_BUFFER_FULL","message":"full"}}"#,
    );
    let (client, seen) = scripted(&[&full, &full, &answer("200 OK", "", STATUS)]).await;
    let notes = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notes);
    let client =
        client.with_patience(Patience::LONG, Arc::new(move |text| told.lock().push(text.to_owned())));
    let started = Instant::now();
    let status = client.push("b 1", Bytes::from_static(b"{}")).await.unwrap();
    assert_eq!(status.record_submitted, 7);
    assert!(started.elapsed() >= Duration::from_millis(40) && started.elapsed() < Duration::from_secs(1));
    assert!(notes.lock()[0].contains("INPUT_BUFFER_FULL"));
    let seen = seen.lock();
    assert!(seen[0].starts_with("POST /ac%20me/api/v4/batch/b%201/chunks HTTP/1.1\r\n"), "{}", seen[0]);
    assert!(seen[0].contains("x-synthetic-key: the-key\r\n") && seen[0].ends_with("\r\n\r\n{}"));
    assert!(seen[0].contains("x-tenant-name: ac me\r\n") && seen[0].contains("user-agent: millrace/"));
    let id = |text: &str| text.lines().find(|line| line.starts_with("x-request-id")).unwrap().to_owned();
    assert_eq!(id(&seen[0]), id(&seen[2]));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_when_that_does_no_harm() {
    let ok = answer("200 OK", "", STATUS);
    let (client, seen) = scripted(&["", &ok]).await;
    assert!(client.batch_status("b").await.is_ok());
    assert_eq!(seen.lock().len(), 2);

    let (client, seen) = scripted(&["", &ok]).await;
    let error = client.create_batch(&NewBatch::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    assert_eq!(seen.lock().len(), 1);
}

#[tokio::test]
async fn refusals_are_shown_with_code_message_and_place() {
    let body = r#"{"status":"Error","error":{"code":"BAD_ROW","message":"row 3 is no list"},
                   "errors":[{"source_path":"chunks[0].data.inputs[3]","message":"x"}]}"#;
    let (client, _) = scripted(&[&answer("400 Bad Request", "", body)]).await;
    let error = client.push("b", Bytes::from_static(b"{}")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server refused (400 BAD_ROW): row 3 is no list (at chunks[0].data.inputs[3])"
    );
    let body = r#"{"status":"Error","message":"no such product","errorCode":"NOT_FOUND","data":null}"#;
    let (client, _) = scripted(&[&answer("404 Not Found", "", body)]).await;
    let error = client.schema("a", "b").await.unwrap_err();
    assert_eq!(error.to_string(), "the server refused (404 NOT_FOUND): no such product");
    assert!(error.advice().unwrap().contains("service list"));
    let (client, _) = scripted(&[&answer("401 Unauthorized", "", "<html>")]).await;
    let error = client.overview_json().await.unwrap_err();
    assert_eq!(error.to_string(), "the server refused (401): Unauthorized");
    assert!(error.advice().unwrap().contains("millrace login"));
}

#[tokio::test]
async fn another_kind_of_server_is_recognised() {
    let (client, _) = scripted(&[&answer("200 OK", "", "<html>hello</html>")]).await;
    let error = client.batch_status("b").await.unwrap_err();
    assert!(matches!(error, ClientError::Answer { .. }), "{error}");
    assert!(error.advice().unwrap().contains("--url"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let key = millrace_common::config::Secret::new("the-key");
    let client = Client::new(Connection { url: url.clone(), tenant: "t".to_owned(), key, ca: None }).unwrap();
    let patience = Patience { busy: Duration::ZERO, broken: Duration::ZERO };
    let error = client.with_patience(patience, Arc::new(|_: &str| {})).overview_json().await.unwrap_err();
    assert!(error.to_string().contains(&url) && !error.to_string().contains("the-key"), "{error}");
}

#[tokio::test]
async fn an_upload_is_one_form_with_two_parts() {
    let body = r#"{"response_data":{"nodegen_compilation_jobid":"j","original_file_documentid":"o","engine_file_documentid":"e"}}"#;
    let (client, seen) = scripted(&["", &answer("200 OK", "", body)]).await;
    let upload = Upload {
        entity: r#"{"request_data":{}}"#.to_owned(),
        file_name: "s.json".to_owned(),
        media: "application/json",
        content: Bytes::from_static(b"{\"formulas\":1}"),
    };
    let uploaded = client.upload("demo", "s", upload).await.unwrap();
    assert_eq!(uploaded.response_data.engine_file_documentid, "e");
    let seen = seen.lock();
    assert!(
        seen[1].contains("name=\"engineUploadRequestEntity\"") && seen[1].contains("filename=\"s.json\"")
    );
    assert!(seen[1].contains("{\"formulas\":1}") && seen[1].contains("content-type: multipart/form-data"));
}

#[tokio::test]
async fn a_folder_that_exists_is_fine() {
    for (text, new) in [
        (answer("200 OK", "", r#"{"status":"Success","data":{"folderId":"x"},"errorCode":null}"#), true),
        (answer("200 OK", "", r#"{"status":"Error","errorCode":"PRODUCT_ALREADY_EXISTS"}"#), false),
        (answer("409 Conflict", "", r#"{"status":"Error","errorCode":"PRODUCT_ALREADY_EXISTS"}"#), false),
    ] {
        let (client, seen) = scripted(&[&text]).await;
        assert_eq!(client.create_folder("a&b").await.unwrap(), new);
        assert!(seen.lock()[0].contains("Name=a%26b&"));
    }
}
