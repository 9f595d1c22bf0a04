//! Services through the real server: they outlive it, refusals arrive, and start and stop are patient.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;
use std::time::{Duration, Instant};

use millrace_tests::proxy::Proxy;
use millrace_tests::{
    Fleet, FleetOptions, PATIENCE, SALES, Services, Signal, binary, sales_workbook, wait_until,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn call() -> Value {
    json!({"service": SALES, "inputs": [{"price": 20, "quantity": 65, "tax": 0.1}]})
}

#[tokio::test]
async fn a_service_outlives_the_server_that_took_it() {
    let mut fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let before = fleet.client().execute_v4(&call()).await.unwrap().success().unwrap();
    assert_eq!(before.body["outputs"], json!([{"total": 1430.0}]));
    fleet.kill_api().unwrap();
    fleet.start_api().await.unwrap();
    let after = fleet.client().execute_v4(&call()).await.unwrap().success().unwrap();
    for field in ["outputs", "service_id", "version_id", "version"] {
        assert_eq!(after.body[field], before.body[field], "{field}");
    }
    let body = json!({"request_data": {"inputs": {"price": 20, "quantity": 65, "tax": 0.1}}});
    let v3 = fleet.client().execute_v3("sales", "SalesExample", &body).await.unwrap().success().unwrap();
    assert_eq!(v3.body["response_data"]["outputs"]["total"], 1430.0);
    let path = "/api/v1/product/sales/engines/SalesExample/download";
    assert_eq!(fleet.client().get(path).await.unwrap().bytes, sales_workbook().unwrap());
}

#[tokio::test]
async fn refusals_reach_callers_that_are_still_sending() {
    let fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    client.create_folder("geo").await.unwrap().success().unwrap();
    let large = vec![b' '; 30_000_000];
    let upload = "/{tenant}/api/v3/folders/geo/services/s/upload";
    for (client, path, size, status, code) in [
        (client.as_tenant(fleet.tenant(), "wrong"), upload, 30_000_000, 401, "UNAUTHORIZED"),
        (
            client.clone(),
            "/{tenant}/api/v3/folders/no/services/s/upload",
            30_000_000,
            404,
            "FOLDER_NOT_FOUND",
        ),
        (client.clone(), "/{tenant}/api/v3/nothing/here", 30_000_000, 404, "ROUTE_NOT_FOUND"),
        (client.clone(), "/{tenant}/api/v4/execute", 30_000_000, 400, "MALFORMED_JSON"),
        (client.clone(), "/{tenant}/api/v4/execute", 60_000_000, 422, "BODY_TOO_LARGE"),
    ] {
        let body = large.iter().copied().cycle().take(size).collect::<Vec<u8>>();
        let request =
            client.request(Method::POST, path).header("content-type", "application/json").body(body);
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status, answer.code()), (status, Some(code)), "{path}: {}", answer.describe());
        assert!(answer.header("x-request-id").is_some());
    }
    // A client that announces much and sends nothing keeps nobody from working.
    let address = fleet.url().strip_prefix("http://").unwrap().to_owned();
    let mut silent = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream
            .write_all(b"POST /acme/api/v4/execute HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
            .await
            .unwrap();
        silent.push(stream);
    }
    assert_eq!(client.get("/health").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_request_that_is_open_at_the_shutdown_is_answered() {
    let mut fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let address = fleet.url().strip_prefix("http://").unwrap().to_owned();
    let body = call().to_string();
    let head = format!(
        "POST /{}/api/v4/execute HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-synthetic-key: {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        fleet.tenant(),
        fleet.key(),
        body.len()
    );
    let (first, rest) = body.as_bytes().split_at(10);
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(first).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    fleet.api().unwrap().signal(Signal::Terminate).unwrap();
    // New connections are refused, this one goes on.
    wait_until("the listener to close", PATIENCE, || async {
        Ok(TcpStream::connect(&address).await.is_err().then_some(()))
    })
    .await
    .unwrap();
    stream.write_all(rest).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("1430"), "{answer}");
    let status = fleet.api().unwrap().wait(PATIENCE).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn the_server_waits_for_its_database() {
    let proxy = Proxy::start(Services::from_env().unwrap().database_address().unwrap()).await.unwrap();
    let options =
        FleetOptions::workers(0).database_at(proxy.address()).set_api("database.acquire_timeout_ms", 1_000);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let client = fleet.client().clone();
    client.execute_v4(&call()).await.unwrap().success().unwrap();

    proxy.down();
    let answer = wait_until("a refusal", PATIENCE, || async {
        let answer = client.execute_v4(&call()).await?;
        Ok((answer.status == 503).then_some(answer))
    })
    .await
    .unwrap();
    assert_eq!(answer.code(), Some("DATABASE_UNAVAILABLE"));
    assert_eq!((answer.header("retry-after"), answer.header("x-retry-after")), (Some("1"), Some("1")));
    assert_eq!(client.get("/livez").await.unwrap().status, 200);
    assert_eq!(client.get("/readyz").await.unwrap().status, 503);
    proxy.pass();
    wait_until("the database to be used again", PATIENCE, || async {
        Ok((client.execute_v4(&call()).await?.status == 200).then_some(()))
    })
    .await
    .unwrap();

    // A server that starts while the database is away is there as soon as that is.
    fleet.kill_api().unwrap();
    proxy.down();
    let back = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        proxy.pass();
    };
    let started = Instant::now();
    let (result, ()) = tokio::join!(fleet.start_api(), back);
    result.unwrap();
    assert!(started.elapsed() > Duration::from_secs(2));
    fleet.client().execute_v4(&call()).await.unwrap().success().unwrap();
    let log = fleet.api().unwrap().log();
    assert!(log.contains("waiting for the database"), "{log}");
    assert!(!log.contains(fleet.key()), "the key is in the log");
}

#[tokio::test]
async fn the_configuration_is_checked_and_shown_without_secrets() {
    let check = |name: &str, value: &str| {
        let mut command = Command::new(binary("millrace-api").unwrap());
        command.env_clear().arg("--check-config").env(name, value).output().unwrap()
    };
    let output = check("MILLRACE_DATABASE__URL", "postgres://u:hunter2@h/d");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && shown.contains("[http]"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let output = check("MILLRACE_HTTP__LISTN", "127.0.0.1:1");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("listn"));
}
