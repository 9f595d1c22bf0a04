//! The `millrace` command against a running fleet.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use millrace_tests::{Fleet, FleetOptions, PATIENCE, SALES, repository, wait_until};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HEADING: &str = "sales_id,price,quantity,tax\n";

/// Record `n` has the total `2 × (n mod 1000 + 1)`.
fn input(records: usize) -> String {
    (0..records).fold(HEADING.to_owned(), |mut text, n| {
        text.push_str(&format!("R{n:07},{}.00,2,0\n", n % 1_000 + 1));
        text
    })
}

fn write(fleet: &Fleet, name: &str, text: &str) -> PathBuf {
    let path = fleet.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Every record once, in order, with its total.
fn check(output: &Path, records: usize) {
    let text = std::fs::read_to_string(output).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("sales_id,total"));
    let mut count = 0;
    for (n, line) in lines.enumerate() {
        let (id, total) = line.split_once(',').unwrap();
        assert_eq!(id, format!("R{n:07}"));
        assert_eq!(total.parse::<f64>().unwrap(), 2.0 * (n % 1_000 + 1) as f64, "{line}");
        count += 1;
    }
    assert_eq!(count, records);
}

fn run_line<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let line = ["batch", "run", SALES, "--input", "in.csv", "--output", "out.csv", "--key", "sales_id"];
    [&line[..], more].concat()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn succeed(fleet: &Fleet, line: &[&str]) -> String {
    let output = fleet.run(line).await.unwrap();
    assert!(output.status.success(), "{line:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

async fn fail(fleet: &Fleet, line: &[&str], code: i32) -> String {
    let output = fleet.run(line).await.unwrap();
    assert_eq!(output.status.code(), Some(code), "{line:?}: {}", said(&output));
    said(&output)
}

#[tokio::test]
async fn a_workbook_is_uploaded_run_over_a_file_and_looked_at() {
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let workbook = repository().join("deploy/examples/sales.xlsx");
    let uploaded = succeed(&fleet, &["service", "upload", workbook.to_str().unwrap(), SALES]).await;
    assert!(uploaded.contains(&format!("{SALES} 0.1.0")) && uploaded.contains("total"), "{uploaded}");
    let again = [
        "service",
        "upload",
        workbook.to_str().unwrap(),
        SALES,
        "--version-difference",
        "major",
        "--note",
        "n",
    ];
    assert!(succeed(&fleet, &again).await.contains("1.0.0"));
    assert!(succeed(&fleet, &["service", "list"]).await.contains(SALES));
    let shown = succeed(&fleet, &["service", "show", SALES]).await;
    for word in ["price", "quantity", "tax", "total", "0.1.0", "1.0.0"] {
        assert!(shown.contains(word), "{word} is not in:\n{shown}");
    }

    write(&fleet, "in.csv", &input(20_000));
    let summary: Value = serde_json::from_str(
        &succeed(&fleet, &run_line(&["--chunk-records", "300", "--output-format", "json"])).await,
    )
    .unwrap();
    assert_eq!(
        (&summary["records"], &summary["chunks"], &summary["records_failed"], &summary["batch_status"]),
        (&20_000.into(), &67.into(), &0.into(), &"completed".into()),
        "{summary}"
    );
    check(&fleet.folder().join("out.csv"), 20_000);
    assert!(!fleet.folder().join("out.csv.millrace").exists());

    let batch = summary["batch"].as_str().unwrap();
    assert!(succeed(&fleet, &["batch", "status", batch]).await.contains("completed"));
    succeed(&fleet, &["batch", "status", batch, "--watch"]).await;
    assert!(succeed(&fleet, &["batch", "list"]).await.contains(batch));
}

#[tokio::test]
async fn standard_input_and_output_and_parameters_work() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let line = [
        "batch",
        "run",
        SALES,
        "-i",
        "-",
        "-o",
        "-",
        "-k",
        "id",
        "-p",
        "tax=50%",
        "-p",
        "quantity:=2",
        "--delimiter",
        ";",
    ];
    let mut command = tokio::process::Command::from(fleet.command().unwrap());
    command.args(line).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"id;Price\n\"a;b\";10\nc;\nd;abc\n").await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let rows = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows[0], "id;total");
    let (key, total) = rows[1].rsplit_once(';').unwrap();
    assert_eq!((key, total.parse::<f64>().unwrap()), ("\"a;b\"", 30.0));
    assert_eq!(rows[2].rsplit_once(';').unwrap().1.parse::<f64>().unwrap(), 0.0, "an empty cell is a blank");
    assert_eq!(rows[3], "d;#VALUE!");
    assert!(said(&output).contains("1 with warnings"), "{}", said(&output));
}

#[tokio::test]
async fn an_interrupted_run_goes_on_without_losing_or_doubling_rows() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    const RECORDS: usize = 300_000;
    write(&fleet, "in.csv", &input(RECORDS));
    let output = fleet.folder().join("out.csv");
    let journal = fleet.folder().join("out.csv.millrace");
    // Killed in the middle twice, asked to stop once.
    for (interruptions, signal) in ["KILL", "INT", "KILL"].into_iter().enumerate() {
        let more: &[&str] = if interruptions == 0 { &[] } else { &["--resume"] };
        let mut command = tokio::process::Command::from(fleet.command().unwrap());
        command.args(run_line(&[more, &["--chunk-records", "100", "--quiet"]].concat()));
        command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        // A kill may cost the answer of a pull; rows behind the gap then wait in the spill file until it is filled.
        let spill = fleet.folder().join("out.csv.millrace.spill");
        let size = || {
            [&output, &spill]
                .map(|path| std::fs::metadata(path).map_or(0, |file| file.len()))
                .iter()
                .sum::<u64>()
        };
        let before = size();
        let mut child = command.spawn().unwrap();
        wait_until("some rows", PATIENCE, async || Ok((size() > before + 100_000).then_some(())))
            .await
            .unwrap();
        let id = child.id().expect("it still runs").to_string();
        let kill = std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(kill.success());
        let ended = tokio::time::timeout(Duration::from_secs(30), child.wait()).await.unwrap().unwrap();
        assert!(!ended.success());
        if signal == "INT" {
            assert_eq!(ended.code(), Some(1));
        }
        assert!(journal.exists());
    }
    let refused = fail(&fleet, &run_line(&["--chunk-records", "100"]), 2).await;
    assert!(refused.contains("--resume"), "{refused}");
    succeed(&fleet, &run_line(&["--chunk-records", "100", "--resume", "--quiet"])).await;
    check(&output, RECORDS);
    assert!(!journal.exists());
}

#[tokio::test]
async fn small_buffers_make_a_run_wait_not_fail() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    write(&fleet, "in.csv", &input(30_000));
    let more =
        ["--chunk-records", "100", "--in-flight", "16", "--max-input-mb", "0.02", "--max-output-mb", "0.02"];
    succeed(&fleet, &run_line(&more)).await;
    check(&fleet.folder().join("out.csv"), 30_000);
}

#[tokio::test]
async fn mistakes_are_told_with_what_to_do() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    write(&fleet, "in.csv", &format!("{}1,2\n", input(10)));
    let text = fail(&fleet, &run_line(&[]), 1).await;
    assert!(text.contains("line 12") && text.contains("2 cells"), "{text}");
    let list: Value =
        serde_json::from_str(&succeed(&fleet, &["batch", "list", "--output-format", "json"]).await).unwrap();
    assert_eq!(list["in_progress_batches"].as_array().unwrap().len(), 0, "its batch was cancelled: {list}");

    let text = fail(&fleet, &["batch", "run", "no/such", "-i", "in.csv", "-o", "other.csv"], 1).await;
    assert!(text.contains("404"), "{text}");
    let text = fail(&fleet, &run_line(&["--key", "nope"]), 2).await;
    assert!(text.contains("sales_id, price, quantity, tax"), "{text}");
    let unknown = "0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11";
    for command in ["status", "cancel", "close"] {
        assert!(fail(&fleet, &["batch", command, unknown], 1).await.contains("404"), "{command}");
    }
    write(&fleet, "bad.xlsx", "this is no workbook");
    fail(&fleet, &["service", "upload", "bad.xlsx", "demo/bad"], 1).await;
    fail(&fleet, &["service", "upload", "in.csv", "demo/bad"], 2).await;
}

#[tokio::test]
async fn batches_are_closed_and_cancelled_by_id() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let open = async || fleet.client().open_batch(&serde_json::json!({ "service": SALES })).await.unwrap();
    let (first, second) = (open().await, open().await);
    succeed(&fleet, &["batch", "close", &first]).await;
    succeed(&fleet, &["batch", "status", &first, "--watch"]).await;
    succeed(&fleet, &["batch", "cancel", &second]).await;
    fail(&fleet, &["batch", "status", &second, "--watch"], 1).await;
}

#[tokio::test]
async fn batches_are_paused_and_resumed_by_id() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let batch = fleet.client().open_batch(&serde_json::json!({ "service": SALES })).await.unwrap();
    let told = async |line: &[&str]| {
        let output = fleet.run(line).await.unwrap();
        assert!(output.status.success(), "{line:?}: {}", said(&output));
        said(&output)
    };
    for _ in 0..2 {
        assert!(told(&["batch", "pause", &batch]).await.contains("is paused"));
    }
    let shown = succeed(&fleet, &["batch", "status", &batch]).await;
    assert!(shown.contains("created (paused)") && shown.contains("paused     since "), "{shown}");
    let listed = succeed(&fleet, &["batch", "list"]).await;
    assert!(listed.contains("created, paused"), "{listed}");
    assert!(told(&["batch", "resume", &batch]).await.contains("goes on"));
    let shown = succeed(&fleet, &["batch", "status", &batch]).await;
    assert!(!shown.contains("paused"), "{shown}");
    succeed(&fleet, &["batch", "cancel", &batch]).await;
    let refused = fail(&fleet, &["batch", "pause", &batch], 1).await;
    assert!(refused.contains("nothing to pause"), "{refused}");
}

#[tokio::test]
async fn failed_work_is_listed_done_again_and_accounted_for() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let wanted = serde_json::json!({"service": SALES, "unique_record_key": "sales_id"});
    let batch = client.open_batch(&wanted).await.unwrap();
    let keyless =
        |id: u32| serde_json::json!({"id": format!("k{id}"), "data": {"inputs": [["price"], [1], [2]]}});
    let pushed = serde_json::json!({"chunks": [keyless(1), keyless(2)]});
    client.push(&batch, &pushed).await.unwrap().success().unwrap();
    assert!(fail(&fleet, &["batch", "redrive", &batch], 1).await.contains("BATCH_NOT_FINISHED"));
    succeed(&fleet, &["batch", "close", &batch]).await;
    client.wait_for_status(&batch, "failed", PATIENCE).await.unwrap();

    let listed = succeed(&fleet, &["batch", "failures", &batch]).await;
    assert!(listed.contains("k1") && listed.contains("k2") && listed.contains("sales_id"), "{listed}");
    let listed =
        succeed(&fleet, &["batch", "failures", &batch, "--max", "1", "--output-format", "json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["has_more"]), (1, &Value::Bool(true)));
    assert_eq!(
        succeed(&fleet, &["batch", "failures", &batch, "--kind", "records"]).await,
        "nothing failed\n"
    );

    let terms = ["--kind", "chunks", "--term", "unique_record_key:=\"\"", "--output-format", "json"];
    let again = succeed(&fleet, &[&["batch", "redrive", batch.as_str()], &terms[..]].concat()).await;
    let again: Value = serde_json::from_str(&again).unwrap();
    let id = again["id"].as_str().unwrap();
    assert_eq!(again["redrive_of"], batch);
    client.wait_for_status(id, "completed", PATIENCE).await.unwrap();
    let report = succeed(&fleet, &["batch", "report", id]).await;
    assert!(report.ends_with("balanced\n") && !report.contains("NOT"), "{report}");
    let database = fleet.database().connect().await.unwrap();
    database
        .batch_execute("UPDATE batch_counters SET output_bytes = output_bytes + 1 WHERE slot = 3")
        .await
        .unwrap();
    fail(&fleet, &["batch", "report", id, "--no-digests"], 1).await;
}

#[tokio::test]
async fn keys_are_made_stored_listed_and_revoked() {
    let fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    fail(&fleet, &["tenant", "create", "acme"], 1).await;
    fail(&fleet, &["tenant", "create", "no/name"], 2).await;
    succeed(&fleet, &["tenant", "create", "acme", "--if-missing"]).await;
    assert!(succeed(&fleet, &["tenant", "list"]).await.contains("acme"));
    fail(&fleet, &["key", "create", "--tenant", "nobody", "--owner", "ann"], 1).await;

    let made = ["key", "create", "--owner", "ann", "--group", "supervisor:pf", "--output-format", "json"];
    let key: Value = serde_json::from_str(&succeed(&fleet, &made).await).unwrap();
    let (id, key) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    let listed = succeed(&fleet, &["key", "list"]).await;
    assert!(listed.contains(id) && listed.contains("supervisor:pf") && !listed.contains(key), "{listed}");

    let login = async |key: &str| {
        let mut command = tokio::process::Command::from(fleet.command().unwrap());
        command.args(["login", "--profile", "ann"]).env_remove("MILLRACE_API_KEY");
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(key.as_bytes()).await.unwrap();
        child.wait_with_output().await.unwrap()
    };
    let wrong = login("mr_wrong").await;
    assert_eq!(wrong.status.code(), Some(1), "{}", said(&wrong));
    assert!(login(key).await.status.success());
    let list = async || {
        let mut command = tokio::process::Command::from(fleet.command().unwrap());
        for name in ["MILLRACE_API_KEY", "MILLRACE_URL", "MILLRACE_TENANT"] {
            command.env_remove(name);
        }
        command.args(["--profile", "ann", "batch", "list"]).output().await.unwrap()
    };
    let listed = list().await;
    assert!(listed.status.success(), "{}", said(&listed));

    succeed(&fleet, &["key", "revoke", id]).await;
    fail(&fleet, &["key", "revoke", id], 1).await;
    wait_until("the key is refused", PATIENCE, async || Ok((!list().await.status.success()).then_some(())))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_limits_and_the_audit_trail_are_kept_from_the_command_line() {
    let fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    let made = succeed(
        &fleet,
        &[
            "key",
            "create",
            "--owner",
            "nightly",
            "--scope",
            "batch",
            "--expires",
            "90d",
            "--output-format",
            "json",
        ],
    );
    let made: Value = serde_json::from_str(&made.await).unwrap();
    assert_eq!(made["scopes"], serde_json::json!(["batch"]));
    let listed = succeed(&fleet, &["key", "list", "--output-format", "json"]).await;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["scopes"], &listed[1]["id"]), (&serde_json::json!(["tenant:admin"]), &made["id"]));
    assert!(listed[1]["expires_at"].is_string() && !listed.iter().any(|key| key.get("key").is_some()));
    succeed(&fleet, &["tenant", "limit", "acme", "--requests-per-second", "7"]).await;
    let tenants = succeed(&fleet, &["tenant", "list", "--output-format", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&tenants).unwrap()[0]["requests_per_second"], 7);
    succeed(&fleet, &["key", "revoke", made["id"].as_str().unwrap()]).await;
    fail(&fleet, &["key", "revoke", made["id"].as_str().unwrap()], 1).await;
    fail(&fleet, &["key", "create", "--owner", "late", "--expires", "2001-01-01"], 2).await;
    fail(&fleet, &["audit", "--tenant", "nobody"], 1).await;

    let trail = succeed(&fleet, &["audit", "--actor", "operator", "--output-format", "json"]).await;
    let trail: Vec<Value> = serde_json::from_str(&trail).unwrap();
    let actions: Vec<&str> = trail.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["tenant.create", "key.create", "key.create", "tenant.update", "key.revoke"]);
    assert!(!format!("{trail:?}").contains(made["key"].as_str().unwrap()));
    let table = succeed(&fleet, &["audit", "--action", "key", "--max", "1"]).await;
    assert!(
        table.contains("key.revoke") && table.contains("operator") && !table.contains("key.create"),
        "{table}"
    );
}

/// The URL of a process that is not ready.
async fn unready() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1_024];
        let read = stream.read(&mut head).await.unwrap();
        assert!(head[..read].starts_with(b"GET /readyz "));
        let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 21\r\n\r\nthe database is away\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_by_its_exit_code_whether_a_process_works() {
    let mut fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    for probe in ["livez", "readyz", "health"] {
        succeed(&fleet, &["health", "--probe", probe]).await;
    }
    let log = fleet.worker(0).unwrap().log();
    let address = log.split("listening on ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let worker = format!("http://{address}");
    assert_eq!(succeed(&fleet, &["--url", &worker, "health"]).await, "ready\n");
    let refused = fail(&fleet, &["--url", &unready().await, "health"], 1).await;
    assert!(refused.contains("says 503: the database is away"), "{refused}");
    let nobody = fail(&fleet, &["--url", "http://127.0.0.1:1", "health"], 1).await;
    assert!(nobody.contains("no answer from http://127.0.0.1:1"), "{nobody}");
    let wrong = fail(&fleet, &["--url", "127.0.0.1", "health"], 2).await;
    assert!(wrong.contains("127.0.0.1"), "{wrong}");
}
