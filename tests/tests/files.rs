//! Files in and out: CSV, JSON Lines and Parquet, over HTTP and on the command line.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millrace_tests::{Answer, Client, Fleet, FleetOptions, PATIENCE, SALES, wait_until};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use reqwest::Method;
use serde_json::{Value, json};

/// Record `n` has the total `2 × (n + 1)`.
fn csv(from: usize, to: usize) -> String {
    (from..to).fold("sales_id,price,quantity,tax\n".to_owned(), |mut text, n| {
        text.push_str(&format!("R{n:05},{}.00,2,0\n", n + 1));
        text
    })
}

fn lines(from: usize, to: usize) -> String {
    let line = |n| {
        format!("{}\n", json!({"sales_id": format!("R{n:05}"), "price": n + 1, "quantity": 2, "tax": 0.0}))
    };
    (from..to).map(line).collect()
}

fn totals(from: usize, to: usize) -> BTreeMap<String, f64> {
    (from..to).map(|n| (format!("R{n:05}"), 2.0 * (n + 1) as f64)).collect()
}

async fn open(client: &Client, more: Value) -> String {
    let mut wanted = json!({"service": SALES, "unique_record_key": "sales_id", "max_input_in_mb": 1, "max_output_in_mb": 1});
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.open_batch(&wanted).await.unwrap()
}

async fn upload(
    client: &Client,
    batch: &str,
    query: &str,
    media: &str,
    body: impl Into<reqwest::Body>,
) -> Answer {
    let request = client.request(Method::POST, &format!("/{{tenant}}/api/v4/batch/{batch}/upload{query}"));
    client.send(request.header("content-type", media).body(body)).await.unwrap()
}

async fn export(client: &Client, batch: &str, query: &str) -> Answer {
    client.get(&format!("/{{tenant}}/api/v4/batch/{batch}/export{query}")).await.unwrap()
}

fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code()), (status, Some(code)), "{}", answer.describe());
}

/// Waits until so many chunks are finished.
async fn finished(client: &Client, batch: &str, chunks: i64) {
    wait_until("the chunks are finished", PATIENCE, || async {
        let status = client.status(batch).await?.success()?;
        Ok((status.integer("/chunks_completed")? == chunks).then_some(()))
    })
    .await
    .unwrap();
}

/// Totals by key in an export as JSON Lines.
fn exported(answer: &Answer) -> BTreeMap<String, f64> {
    let text = std::str::from_utf8(&answer.bytes).unwrap();
    let total = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        assert!(row["errors"].is_null() && row["chunk_id"].is_string() && row["record"].is_u64(), "{row}");
        (row["sales_id"].as_str().unwrap().to_owned(), row["total"].as_f64().unwrap())
    };
    let found: Vec<_> = text.lines().map(total).collect();
    let rows = found.len();
    let found: BTreeMap<String, f64> = found.into_iter().collect();
    assert_eq!(found.len(), rows, "every record once");
    found
}

/// The names of columns and the rows of a Parquet file.
fn parquet(path: &Path) -> (Vec<String>, Vec<Vec<Field>>) {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let names = schema.columns().iter().map(|column| column.name().to_owned()).collect();
    let rows = reader.get_row_iter(None).unwrap().map(Result::unwrap);
    (names, rows.map(|row| row.into_columns().into_iter().map(|(_, field)| field).collect()).collect())
}

fn write(fleet: &Fleet, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = fleet.folder().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test]
async fn files_go_into_a_batch_and_come_out_of_it() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let batch = open(client, json!({})).await;
    let done = upload(client, &batch, "", "text/csv", csv(0, 2_500)).await.success().unwrap();
    assert_eq!((&done.body["rows"], &done.body["chunks"]), (&json!(2_500), &json!(3)));
    assert_eq!(done.body["first_chunk"], "file-00000000");
    assert_eq!(done.body["last_chunk"], "file-00000002");
    // The same again counts once; another file needs another prefix.
    let again = upload(client, &batch, "", "text/csv", csv(0, 2_500)).await.success().unwrap();
    assert_eq!((&again.body["rows"], &again.body["record_submitted"]), (&json!(2_500), &json!(2_500)));
    let taken = upload(client, &batch, "?format=jsonl", "text/plain", lines(2_500, 2_510)).await;
    refused(&taken, 409, "CHUNK_ID_CONFLICT");
    assert_eq!(taken.body["error"]["details"]["rows"], 0, "{}", taken.describe());
    let more =
        upload(client, &batch, "?prefix=b-&chunk_size=4", "application/x-ndjson", lines(2_500, 2_510)).await;
    assert_eq!(more.success().unwrap().body["chunks"], 3);

    // A file that breaks off is in up to there, and says so.
    let broken = format!("{}[1]\n", lines(2_510, 2_515));
    let broken = upload(client, &batch, "?prefix=c-&chunk_size=2", "application/x-ndjson", broken).await;
    refused(&broken, 400, "INVALID_ROW");
    assert_eq!(broken.body["error"]["details"], json!({"rows": 4, "chunks": 2, "last_chunk": "c-00000001"}));
    assert!(broken.describe().contains("line 6: is no JSON object"), "{}", broken.describe());
    for (query, media, body, status, code) in [
        ("", "text/csv", "sales_id,price\nx\n", 400, "INVALID_ROW"),
        ("?prefix=d-", "application/vnd.apache.parquet", "no parquet", 400, "INVALID_FILE"),
        ("", "text/plain", "", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("?format=xls", "text/csv", "", 400, "INVALID_PARAMETER"),
        ("?chunk_size=0", "text/csv", "", 400, "INVALID_VALUE"),
    ] {
        refused(&upload(client, &batch, query, media, body).await, status, code);
    }

    finished(client, &batch, 8).await;
    let all = export(client, &batch, "?format=jsonl").await.success().unwrap();
    assert_eq!(exported(&all), totals(0, 2_514));
    // Nothing was pulled by it; and what is pulled is in it as long as it can be handed out again.
    let pulled = client.pull(&batch, 1).await.unwrap().success().unwrap();
    assert_eq!(pulled.body["status"]["chunks_available"], 7);
    let all = export(client, &batch, "?format=jsonl").await.success().unwrap();
    assert_eq!(exported(&all), totals(0, 2_514));
    let table = export(client, &batch, "").await.success().unwrap();
    assert!(table.header("content-type").unwrap().starts_with("text/csv"));
    let table = String::from_utf8(table.bytes.to_vec()).unwrap();
    assert_eq!(table.lines().next(), Some("sales_id,total,chunk_id,record,errors,warnings"));
    assert_eq!(table.lines().count(), 2_515);
    let file = export(client, &batch, "?format=parquet").await.success().unwrap();
    let (names, rows) = parquet(&write(&fleet, "export.parquet", &file.bytes));
    assert_eq!(names, ["sales_id", "total", "chunk_id", "record", "errors", "warnings"]);
    let total = |row: &Vec<Field>| match &row[..] {
        [Field::Str(id), Field::Double(total), Field::Str(_), Field::Long(_), Field::Null, _] => {
            (id.clone(), *total)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(rows.iter().map(total).collect::<BTreeMap<_, _>>(), totals(0, 2_514));

    // The Parquet file may be an input as any other: columns that the service does not know are ignored.
    let second = open(client, json!({})).await;
    let path = write(&fleet, "in.parquet", &file.bytes);
    let bytes = std::fs::read(path).unwrap();
    let up = upload(client, &second, "", "application/vnd.apache.parquet", bytes).await.success().unwrap();
    assert_eq!((&up.body["rows"], &up.body["chunks"]), (&json!(2_514), &json!(3)));

    client.patch(&batch, "cancelled").await.unwrap().success().unwrap();
    refused(&export(client, &batch, "").await, 409, "BATCH_CANCELLED");
    refused(&upload(client, &batch, "", "text/csv", csv(0, 1)).await, 409, "BATCH_CANCELLED");
    refused(&export(client, &batch, "?format=xls").await, 400, "INVALID_PARAMETER");
    let nobody = uuid::Uuid::nil().to_string();
    refused(&export(client, &nobody, "").await, 404, "BATCH_NOT_FOUND");
    refused(&upload(client, &nobody, "", "text/csv", csv(0, 1)).await, 404, "BATCH_NOT_FOUND");
}

#[tokio::test]
async fn an_upload_waits_for_room_and_goes_on_where_it_was() {
    let options =
        FleetOptions::workers(0).set("files.room_timeout_ms", 200).set("clocks.redeliver_seconds", 0);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let batch = open(fleet.client(), json!({"max_input_in_mb": 0.1})).await;
    let file = csv(0, 8_000);
    let full = upload(fleet.client(), &batch, "?chunk_size=500", "text/csv", file.clone()).await;
    refused(&full, 429, "INPUT_BUFFER_FULL");
    assert!(full.header("retry-after").is_some());
    let rows = full.body["error"]["details"]["rows"].as_u64().unwrap();
    assert!(rows > 0 && rows < 8_000 && rows.is_multiple_of(500), "{rows}");
    let submitted = fleet.client().status(&batch).await.unwrap().success().unwrap();
    assert_eq!(submitted.body["record_submitted"], rows);

    fleet.start_worker().await.unwrap();
    let whole = async || {
        let answer = upload(fleet.client(), &batch, "?chunk_size=500", "text/csv", file.clone()).await;
        anyhow::ensure!(answer.status == 200 || answer.status == 429, "{}", answer.describe());
        Ok((answer.status == 200).then_some(answer))
    };
    let done = wait_until("the whole file is in", PATIENCE, whole).await.unwrap();
    assert_eq!((&done.body["rows"], &done.body["record_submitted"]), (&json!(8_000), &json!(8_000)));
    finished(fleet.client(), &batch, 16).await;
    let all = export(fleet.client(), &batch, "?format=jsonl").await.success().unwrap();
    assert_eq!(exported(&all), totals(0, 8_000));

    // Without a grace time, what was pulled is gone: then an export says so, unless the rest is asked for.
    fleet.client().pull(&batch, 4).await.unwrap().success().unwrap();
    let gone = export(fleet.client(), &batch, "?format=jsonl").await;
    refused(&gone, 409, "RESULTS_PULLED");
    assert_eq!(gone.body["error"]["details"]["chunks_gone"], 4);
    let rest = export(fleet.client(), &batch, "?format=jsonl&partial=true").await.success().unwrap();
    assert_eq!(exported(&rest).len(), 6_000);
}

#[tokio::test]
async fn the_command_line_reads_and_writes_every_format() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    write(&fleet, "in.jsonl", lines(0, 300));
    write(&fleet, "in.csv", csv(0, 300));
    let run = async |line: &[&str]| {
        let output = fleet.run(line).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line:?}: {said}");
        said
    };
    // Small buffers, so that batches that have just ended leave room for the next ones.
    let base = [
        "batch",
        "run",
        SALES,
        "--key",
        "sales_id",
        "--chunk-records",
        "70",
        "--max-input-mb",
        "1",
        "--max-output-mb",
        "1",
    ];
    let with = |more: &[&'static str]| [&base[..], more].concat();
    run(&with(&["--input", "in.jsonl", "--output", "out.parquet"])).await;
    let (names, rows) = parquet(&fleet.folder().join("out.parquet"));
    assert_eq!((names, rows.len()), (["sales_id", "total"].map(str::to_owned).to_vec(), 300));
    // In the order of the input.
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(row[..], [Field::Str(format!("R{n:05}")), Field::Double(2.0 * (n + 1) as f64)]);
    }
    let said = run(&with(&["--input", "in.csv", "--output", "out.jsonl"])).await;
    let text = std::fs::read_to_string(fleet.folder().join("out.jsonl")).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((first, text.lines().count()), (json!({"sales_id": "R00000", "total": 2.0}), 300));

    // A batch that is there, joined with its input.
    let batch = open(fleet.client(), json!({})).await;
    upload(fleet.client(), &batch, "?chunk_size=100", "text/csv", csv(0, 200)).await.success().unwrap();
    finished(fleet.client(), &batch, 2).await;
    let join = ["--join", "in.csv", "--key", "sales_id"];
    let said_too =
        run(&[&["batch", "export", &batch, "--output", "joined.parquet"][..], &join].concat()).await;
    assert!(said_too.contains("200 joined, 100 of the input without a result"), "{said}{said_too}");
    let (names, rows) = parquet(&fleet.folder().join("joined.parquet"));
    let wanted =
        ["sales_id", "price", "quantity", "tax", "total", "chunk_id", "record", "errors", "warnings"];
    assert_eq!((names.as_slice(), rows.len()), (&wanted.map(str::to_owned)[..], 300));
    let matched = rows.iter().filter(|row| row[4] != Field::Null);
    for row in matched {
        let (Field::Str(price), Field::Double(total)) = (&row[1], &row[4]) else { panic!("{row:?}") };
        assert_eq!(price.parse::<f64>().unwrap() * 2.0, *total);
    }
    run(&["batch", "export", &batch, "--output", "plain.csv"]).await;
    let text = std::fs::read_to_string(fleet.folder().join("plain.csv")).unwrap();
    assert_eq!(
        (text.lines().next(), text.lines().count()),
        (Some("sales_id,total,chunk_id,record,errors,warnings"), 201)
    );

    // A Parquet file as the input; its other columns are ignored.
    run(&with(&["--input", "joined.parquet", "--output", "again.csv"])).await;
    let again = std::fs::read_to_string(fleet.folder().join("again.csv")).unwrap();
    assert_eq!((again.lines().next(), again.lines().count()), (Some("sales_id,total"), 301));
    let left: Vec<_> = std::fs::read_dir(fleet.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".millrace"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "nothing stays behind");

    for (input, said) in [("sales_id,price\nx\n", "line 2"), ("", "no heading")] {
        write(&fleet, "bad.csv", input);
        let output = fleet.run(&with(&["--input", "bad.csv", "--output", "x.csv"])).await.unwrap();
        assert!(!output.status.success());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(said), "{text}");
    }
    write(&fleet, "bad.parquet", "no parquet");
    let output = fleet.run(&with(&["--input", "bad.parquet", "--output", "x.csv"])).await.unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("this is no Parquet file"));
}
