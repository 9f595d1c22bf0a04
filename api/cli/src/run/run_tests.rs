//! Whole runs against a server with faults.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use clap::Parser;

use super::fake_server::{Shared, start};
use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: RunArgs,
}

/// A folder with an input of `records` numbers.
fn folder(records: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..records).map(|n| format!("{n}\n")).collect();
    std::fs::write(folder.path().join("in.csv"), format!("n\n{rows}")).unwrap();
    folder
}

fn expected(records: usize) -> String {
    let rows: String = (0..records).map(|n| format!("{n},{}\n", 2 * n)).collect();
    format!("n,double\n{rows}")
}

fn args(folder: &Path, more: &[&str]) -> RunArgs {
    let path = |name: &str| folder.join(name).display().to_string();
    let (input, output) = (path("in.csv"), path("out.csv"));
    let line =
        ["run", "demo/double", "-i", &input, "-o", &output, "-k", "n", "--quiet", "--chunk-records", "7"];
    Line::try_parse_from(line.iter().chain(more)).unwrap().args
}

async fn go(client: &Client, folder: &Path, more: &[&str], stop: &CancellationToken) -> Result<(), CliError> {
    run_until(&Globals::default(), args(folder, more), client.clone(), stop.clone()).await
}

async fn go_on(client: &Client, folder: &Path, more: &[&str]) -> Result<(), CliError> {
    go(client, folder, more, &CancellationToken::new()).await
}

fn output(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("out.csv")).unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs until the server has given `give` results and no more, then interrupts.
async fn interrupted_after(world: &Shared, client: &Client, folder: &Path, give: usize) -> String {
    world.lock().give = Some(give);
    let stop = CancellationToken::new();
    let run = go(client, folder, &[], &stop);
    let interrupt = async {
        while world.lock().given < give {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        stop.cancel();
    };
    let (result, ()) = tokio::join!(run, interrupt);
    world.lock().give = None;
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn rows_come_in_input_order_and_nothing_stays_behind() {
    let (world, client) = start().await;
    let folder = folder(1_000);
    go_on(&client, folder.path(), &[]).await.unwrap();
    assert_eq!(output(folder.path()), expected(1_000));
    assert_eq!(files(folder.path()), ["in.csv", "out.csv"]);
    let world = world.lock();
    assert_eq!((world.batches.len(), world.batches["batch-1"].state.as_str()), (1, "completed"));
}

#[tokio::test]
async fn refused_pushes_and_lost_answers_neither_lose_nor_double() {
    let (world, client) = start().await;
    let folder = folder(200);
    world.lock().push_faults = [429, 0, 503, 0, 0, 502, 429, 500, 0].into();
    go_on(&client, folder.path(), &["--in-flight", "3"]).await.unwrap();
    assert_eq!(output(folder.path()), expected(200));
    assert_eq!(world.lock().batches.len(), 1);
}

#[tokio::test]
async fn a_full_output_buffer_is_pulled_empty_while_pushes_wait() {
    let (world, client) = start().await;
    let folder = folder(300);
    world.lock().output_chunks = 2;
    let run = go_on(&client, folder.path(), &["--in-flight", "8"]);
    tokio::time::timeout(Duration::from_secs(30), run).await.expect("no deadlock").unwrap();
    assert_eq!(output(folder.path()), expected(300));
}

#[tokio::test]
async fn results_whose_answer_was_lost_are_read_again() {
    let (world, client) = start().await;
    let folder = folder(500);
    world.lock().pull_losses = [false, true, false, true].into();
    go_on(&client, folder.path(), &[]).await.unwrap();
    assert_eq!(output(folder.path()), expected(500));
    assert_eq!(world.lock().batches.len(), 1, "nothing was lost");
}

#[tokio::test]
async fn an_interrupted_run_goes_on_in_the_same_batch() {
    let (world, client) = start().await;
    let folder = folder(400);
    let told = interrupted_after(&world, &client, folder.path(), 20).await;
    assert!(told.contains("--resume"), "{told}");
    assert!(files(folder.path()).contains(&"out.csv.millrace".to_owned()));
    let again = go_on(&client, folder.path(), &[]).await.unwrap_err();
    assert!(again.to_string().contains("--resume") && again.exit_code() == 2, "{again}");
    let other = go_on(&client, folder.path(), &["--resume", "--unordered"]).await.unwrap_err();
    assert!(other.to_string().contains("--unordered"), "{other}");

    go_on(&client, folder.path(), &["--resume"]).await.unwrap();
    assert_eq!(output(folder.path()), expected(400));
    assert_eq!(files(folder.path()), ["in.csv", "out.csv"]);
    assert_eq!(world.lock().batches.len(), 1);
    let nothing = go_on(&client, folder.path(), &["--resume"]).await.unwrap_err();
    assert!(nothing.to_string().contains("nothing to resume"), "{nothing}");
}

#[tokio::test]
async fn a_run_goes_on_when_its_batch_has_ended_meanwhile() {
    for state in ["closed_by_timeout", "cancelled", "gone"] {
        let (world, client) = start().await;
        let folder = folder(400);
        world.lock().output_chunks = 5;
        interrupted_after(&world, &client, folder.path(), 20).await;
        {
            let mut world = world.lock();
            world.output_chunks = usize::MAX;
            if state == "gone" {
                let batch = world.batches.remove("batch-1").unwrap();
                world.batches.insert("other".to_owned(), batch);
            } else {
                world.batches.get_mut("batch-1").unwrap().state = state.to_owned();
            }
        }
        // The fake server would never end it.
        go_on(&client, folder.path(), &["--resume"]).await.unwrap();
        assert_eq!(output(folder.path()), expected(400), "{state}");
        assert_eq!(world.lock().batches.len(), 2, "{state}");
    }
}

#[tokio::test]
async fn a_changed_input_is_not_resumed() {
    let (world, client) = start().await;
    let folder = folder(400);
    interrupted_after(&world, &client, folder.path(), 10).await;
    let input = folder.path().join("in.csv");
    let text = std::fs::read_to_string(&input).unwrap();
    std::fs::write(&input, text.replace("\n7\n", "\n8\n")).unwrap();
    let error = go_on(&client, folder.path(), &["--resume"]).await.unwrap_err();
    assert!(error.to_string().contains("content of --input") && error.exit_code() == 2, "{error}");
}

#[tokio::test]
async fn failed_chunks_are_counted_listed_and_decide_the_exit_code() {
    let (world, client) = start().await;
    let folder = folder(70);
    world.lock().failing.insert("00000003".to_owned());
    let errors = folder.path().join("bad.csv");
    let more = ["--errors", errors.to_str().unwrap()];
    let error = go_on(&client, folder.path(), &more).await.unwrap_err();
    assert!(error.to_string().contains("1 of 10 chunks") && error.exit_code() == 1, "{error}");
    let bad = std::fs::read_to_string(&errors).unwrap();
    let rows: Vec<&str> = bad.lines().collect();
    assert_eq!(
        (rows[0], rows[1], rows.len()),
        ("record,chunk,n,error", "22,00000003,,it was told to fail", 8)
    );
    assert_eq!(output(folder.path()).lines().count(), 64);
    assert!(!files(folder.path()).contains(&"out.csv.millrace".to_owned()), "there is nothing to go on with");

    go_on(&client, folder.path(), &["--acceptable-errors", "10"]).await.unwrap();
}

#[tokio::test]
async fn a_broken_line_ends_the_run_and_cancels_the_batch() {
    let (world, client) = start().await;
    let folder = folder(100);
    let input = folder.path().join("in.csv");
    let text = std::fs::read_to_string(&input).unwrap();
    std::fs::write(&input, format!("{text}1,2\n")).unwrap();
    let error = go_on(&client, folder.path(), &[]).await.unwrap_err();
    assert!(error.to_string().contains("line 102 (record 101) has 2 cells"), "{error}");
    assert_eq!(world.lock().batches["batch-1"].state, "cancelled");
    assert_eq!(files(folder.path()), ["in.csv", "out.csv"]);
}

#[tokio::test]
async fn mistakes_are_told_before_anything_is_opened_or_overwritten() {
    let (world, client) = start().await;
    let folder = folder(10);
    std::fs::write(folder.path().join("out.csv"), "precious").unwrap();
    let input = folder.path().join("in.csv").display().to_string();
    for (more, expected) in [
        (vec!["--key", "nope"], "no column \"nope\""),
        (vec!["--errors", &input], "given twice"),
        (vec!["--param", "a=1", "--param", "a=2"], "given twice"),
    ] {
        let error = go_on(&client, folder.path(), &more).await.unwrap_err();
        assert!(error.to_string().contains(expected) && error.exit_code() == 2, "{error}");
    }
    assert!(world.lock().batches.is_empty());
    let mut unknown = args(folder.path(), &[]);
    unknown.service = "demo/unknown".to_owned();
    let stop = CancellationToken::new();
    let error = run_until(&Globals::default(), unknown, client, stop).await.unwrap_err();
    assert!(error.to_string().contains("SERVICE_NOT_FOUND"), "{error}");
    assert_eq!(output(folder.path()), "precious");
    assert_eq!(files(folder.path()), ["in.csv", "out.csv"]);
}

#[tokio::test]
async fn an_input_without_records_completes() {
    let (world, client) = start().await;
    let folder = folder(0);
    go_on(&client, folder.path(), &[]).await.unwrap();
    assert_eq!(output(folder.path()), "");
    assert_eq!(world.lock().batches["batch-1"].state, "completed");
}

#[tokio::test]
async fn unordered_rows_are_the_same_rows() {
    let (_, client) = start().await;
    let folder = folder(300);
    go_on(&client, folder.path(), &["--unordered"]).await.unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&output(folder.path())), sorted(&expected(300)));
}
