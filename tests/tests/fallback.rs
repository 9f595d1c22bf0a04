//! Services that only the fallback engine knows, on a real fleet: right answers, and failures that stay where they belong.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use millrace_tests::{Client, Fleet, FleetOptions, PATIENCE, wait_until};
use serde_json::{Value, json};

const FOLDER: &str = "slow";

/// A service with the input `x` whose output is a formula; what only the fallback knows is added where the formula has none.
fn document(formula: &str) -> Vec<u8> {
    let document = json!({
        "inputs": [{"name": "x", "type": "number", "default": 0}],
        "outputs": [{"name": "out", "formula": format!("SUM(MAP({{0}},LAMBDA(v,v)))+{formula}")}]
    });
    document.to_string().into_bytes()
}

/// What runs away is stopped after this long.
const SOON: u32 = 4_000;
/// What is stopped after this long was not seen on the busiest machine.
const LATE: u32 = 40_000;

async fn fleet(workers: usize, timeout_ms: u32) -> Fleet {
    let options = FleetOptions::workers(workers)
        .set("fallback.memory_mb", 256)
        .set("fallback.load_timeout_ms", 5_000)
        .set("tenants.capacity_bytes", 2_000_000_000_u64)
        .set("worker.chunk_timeout_ms", timeout_ms);
    let fleet = Fleet::start(options).await.unwrap();
    fleet.client().create_folder(FOLDER).await.unwrap().success().unwrap();
    fleet
}

async fn batch(client: &Client, name: &str, formula: &str) -> String {
    client.upload_and_publish(FOLDER, name, "s.json", &document(formula)).await.unwrap();
    client.open_batch(&json!({"service": format!("{FOLDER}/{name}")})).await.unwrap()
}

fn chunk(id: &str, values: &[f64]) -> Value {
    let rows = values.iter().map(|x| json!([x]));
    json!({"id": id, "data": {"inputs": std::iter::once(json!(["x"])).chain(rows).collect::<Vec<_>>()}})
}

async fn push(client: &Client, batch: &str, chunks: &[Value]) {
    client.push(batch, &json!({"chunks": chunks})).await.unwrap().success().unwrap();
}

/// The chunks of a batch by id.
async fn pull(client: &Client, batch: &str, chunks: usize) -> BTreeMap<String, Value> {
    let pulled = client.pull_all(batch, chunks, PATIENCE).await.unwrap();
    pulled.into_iter().map(|result| (result["id"].as_str().unwrap().to_owned(), result)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_on_the_fallback_gives_right_results() {
    let fleet = fleet(2, LATE).await;
    let client = fleet.client();
    let uploaded =
        client.upload(FOLDER, "double", "s.json", &document("x*2")).await.unwrap().success().unwrap();
    assert_eq!(uploaded.text("/response_data/calculation/path").unwrap(), "fallback");
    assert_eq!(uploaded.text("/response_data/calculation/obstacles/0/place").unwrap(), "outputs[0].formula");
    let batch = batch(client, "double", "x*2").await;
    let chunks: Vec<Value> =
        (0..40_u32).map(|i| chunk(&format!("c{i}"), &[f64::from(i), 0.5, f64::from(i) + 0.25])).collect();
    push(client, &batch, &chunks).await;
    let pulled = pull(client, &batch, chunks.len()).await;
    for i in 0..40 {
        let result = &pulled[&format!("c{i}")];
        assert_eq!(result["status"], "completed", "{result}");
        let x = f64::from(i);
        assert_eq!(result["outputs"], json!([["out"], [x * 2.0], [1.0], [x * 2.0 + 0.5]]));
    }
    let path = format!("/api/v1/product/{FOLDER}/engines/get/double");
    let schema = client.get(&path).await.unwrap().success().unwrap();
    assert_eq!(schema.text("/data/compilerResult/path").unwrap(), "fallback", "{}", schema.describe());
    let call = json!({"service": format!("{FOLDER}/double"), "inputs": [{"x": 21}]});
    let answer = client.execute_v4(&call).await.unwrap().success().unwrap();
    assert_eq!(answer.body["outputs"], json!([{"out": 42.0}]));
    let call = json!({"request_data": {"inputs": {"x": 4}}});
    let answer = client.execute_v3(FOLDER, "double", &call).await.unwrap().success().unwrap();
    assert_eq!(answer.body["response_data"]["outputs"]["out"], 8.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_run_away_fail_alone_and_the_worker_goes_on() {
    let mut fleet = fleet(1, SOON).await;
    let client = fleet.client().clone();
    let healthy = batch(&client, "healthy", "x+1").await;
    let bad = [
        ("aborts", "IF(x>0,LAMBDA(f,f(f))(LAMBDA(f,f(f)+x)),1)", "error.ENGINE", "stack"),
        ("hangs", "IF(x>0,COMBIN(1E15+x,5E14),1)", "error.TIMEOUT", "too long"),
        ("eats", "IF(x>0,LEN(REDUCE(\"y\",SEQUENCE(40),LAMBDA(a,b,a&a))),1)", "error.MEMORY", "256 MB"),
    ];
    let mut batches = Vec::new();
    for (name, formula, ..) in bad {
        batches.push(batch(&client, name, formula).await);
    }
    let pid = fleet.worker(0).unwrap().id();
    for batch in &batches {
        push(
            &client,
            batch,
            &[chunk("before", &[0.0]), chunk("bad", &[0.0, 1.0]), chunk("after", &[0.0, -1.0])],
        )
        .await;
        push(&client, &healthy, &[chunk(&format!("h-{batch}"), &[1.0, 2.0])]).await;
    }
    for ((name, _, kind, part), batch) in bad.iter().zip(&batches) {
        let pulled = pull(&client, batch, 3).await;
        assert_eq!(pulled["before"]["outputs"], json!([["out"], [1.0]]), "{name}");
        assert_eq!(pulled["after"]["outputs"], json!([["out"], [1.0], [1.0]]), "{name}");
        let failed = &pulled["bad"];
        assert_eq!((&failed["status"], &failed["size"]), (&json!("failed"), &json!(2)), "{name}: {failed}");
        let error = &failed["errors"][0];
        assert_eq!(error["error_type"], *kind, "{name}: {failed}");
        assert!(error["message"].as_str().unwrap().contains(part), "{name}: {failed}");
    }
    for (id, result) in pull(&client, &healthy, batches.len()).await {
        assert_eq!(result["outputs"], json!([["out"], [2.0], [3.0]]), "{id}");
    }
    let worker = fleet.worker(0).unwrap();
    assert!(worker.runs() && worker.id() == pid, "the worker is the same process");
    assert!(!worker.log().contains("panicked"), "{}", worker.last_lines(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_refuses_what_runs_away_and_goes_on() {
    let fleet = fleet(0, SOON).await;
    let client = fleet.client();
    for (formula, part) in [
        ("COMBIN(1E15+x,5E14)", "took too long"),
        ("LAMBDA(f,f(f))(LAMBDA(f,f(f)+x))", "stack"),
        ("LEN(REDUCE(\"y\",SEQUENCE(40),LAMBDA(a,b,a&a)))", "256 MB"),
        ("NOSUCH(x)", "NOSUCH is not supported"),
    ] {
        let refused = client.upload_and_publish(FOLDER, "bad", "s.json", &document(formula)).await;
        let refused = format!("{:#}", refused.unwrap_err());
        assert!(refused.contains("outputs[0].formula") && refused.contains(part), "{formula}: {refused}");
    }
    client
        .upload_and_publish(
            FOLDER,
            "eats",
            "s.json",
            &document("IF(x>0,LEN(REDUCE(\"y\",SEQUENCE(40),LAMBDA(a,b,a&a))),1)"),
        )
        .await
        .unwrap();
    let call = |x: i32| json!({"service": format!("{FOLDER}/eats"), "inputs": [{"x": x}]});
    let failed = client.execute_v4(&call(1)).await.unwrap();
    assert_eq!((failed.status, failed.code()), (422, Some("CALCULATION_FAILED")), "{}", failed.describe());
    let fine = client.execute_v4(&call(0)).await.unwrap().success().unwrap();
    assert_eq!(fine.body["outputs"], json!([{"out": 1.0}]));
}

/// Children of a process, by the kernel's own list.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn sigkill(pid: u32) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_child_is_replaced_and_children_end_with_their_worker() {
    let mut fleet = fleet(1, LATE).await;
    let client = fleet.client().clone();
    let batch = batch(&client, "slow", "SUM(MAP(SEQUENCE(2000),LAMBDA(v,v*0+x)))").await;
    let worker = fleet.worker(0).unwrap().id();
    let values: Vec<f64> = (0..128).map(f64::from).collect();
    push(&client, &batch, &[chunk("one", &values), chunk("two", &values), chunk("three", &values)]).await;
    let child = || async { Ok(children(worker).first().copied()) };
    let first = wait_until("the worker has a child", PATIENCE, child).await.unwrap();
    sigkill(first);
    let pulled = pull(&client, &batch, 3).await;
    for result in pulled.values() {
        assert_eq!(result["status"], "completed", "{result}");
        assert_eq!(result["outputs"][128], json!([127.0 * 2000.0]));
    }
    push(&client, &batch, &[chunk("four", &values)]).await;
    let second = wait_until("the worker has a child again", PATIENCE, child).await.unwrap();
    assert_eq!(pull(&client, &batch, 1).await["four"]["status"], "completed");
    assert_ne!(first, second);
    fleet.kill_worker(0).unwrap();
    let gone = || async { Ok((!fs::exists(format!("/proc/{second}"))?).then_some(())) };
    wait_until("the child ends with its worker", Duration::from_secs(20), gone).await.unwrap();
}
