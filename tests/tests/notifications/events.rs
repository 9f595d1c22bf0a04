use std::time::Instant;

use millrace_tests::proxy::{Direction, Proxy};
use millrace_tests::{Client, Fleet, FleetOptions, PATIENCE, SALES, Services, Signal, wait_until};
use serde_json::{Value, json};

use super::stream::Stream;

/// More than the API sends to the database for one look at one watched batch, and for one push; a look is never below 100 bytes.
const LOOK_BYTES: f64 = 1_000.0;
const PUSH_BYTES: f64 = 8_000.0;

const HEADING: [&str; 4] = ["id", "price", "quantity", "tax"];

fn chunks(from: usize, count: usize) -> Value {
    let chunk = |index: usize| json!({"id": format!("c{index}"), "data": {"inputs": [HEADING, [index, 20, 65, 0.1]]}});
    json!({"chunks": (from..from + count).map(chunk).collect::<Vec<_>>()})
}

async fn open(client: &Client) -> (String, String) {
    let batch = client.open_batch(&json!({"service": SALES, "unique_record_key": "id"})).await.unwrap();
    let path = format!("/{{tenant}}/api/v4/batch/{batch}/events");
    (batch, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_watched_from_its_first_chunk_to_its_last_pull() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let (batch, path) = open(client).await;
    let mut stream = Stream::open(client, &path, None).await.unwrap();
    let mut list = Stream::open(client, "/{tenant}/api/v4/batch/events", None).await.unwrap();
    stream.until("status", |status| status["batch_status"] == "created").await;
    list.until("batches", |data| data["batches"][0]["batch_status"] == "created").await;
    client.push(&batch, &chunks(0, 20)).await.unwrap().success().unwrap();
    stream.until("state", |change| change["to"] == "in_progress").await;
    let status = stream.until("status", |status| status["records_completed"] == 20).await.data;
    assert_eq!((&status["record_submitted"], &status["chunks_available"]), (&json!(20), &json!(20)));
    list.until("batches", |data| data["batches"][0]["records_completed"] == 20).await;
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    stream.until("state", |change| change["to"] == "completed").await;
    client.pull_all(&batch, 20, PATIENCE).await.unwrap();
    let end = stream.until("end", |_| true).await;
    assert_eq!((&end.data["records_available"], &end.data["batch_status"]), (&json!(0), &json!("completed")));
    assert!(stream.next().await.is_none(), "the stream closes after its end");
    assert_eq!(Stream::open(client, &path, Some(&end.id)).await.unwrap().status, 204);
    list.until("batches", |data| data["batches"][0]["records_available"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_a_batch_sees_that_it_is_paused_and_resumed() {
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    let (batch, path) = open(client).await;
    let mut stream = Stream::open(client, &path, None).await.unwrap();
    let mut list = Stream::open(client, "/{tenant}/api/v4/batch/events", None).await.unwrap();
    stream.until("status", |status| status["paused"] == false).await;
    list.until("batches", |data| data["batches"][0]["paused"] == false).await;
    client.pause(&batch, true).await.unwrap().success().unwrap();
    let paused = stream.until("status", |status| status["paused"] == true).await;
    assert_eq!(paused.data["pipeline_status"], "paused");
    assert!(
        paused.data["paused_timestamp"].is_string() && paused.data["paused_by"].is_string(),
        "{}",
        paused.data
    );
    list.until("batches", |data| data["batches"][0]["pipeline_status"] == "paused").await;
    client.pause(&batch, false).await.unwrap().success().unwrap();
    stream.until("status", |status| status["paused"] == false).await;
    list.until("batches", |data| data["batches"][0]["paused"] == false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was_after_the_api_was_killed() {
    let mut fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let (batch, path) = open(fleet.client()).await;
    let mut stream = Stream::open(fleet.client(), &path, None).await.unwrap();
    let seen = stream.until("status", |_| true).await;
    fleet.kill_api().unwrap();
    assert!(stream.next().await.is_none(), "cut off");
    fleet.start_api().await.unwrap();
    // Nothing happened, so nothing is told before the next change.
    let mut resumed = Stream::open(fleet.client(), &path, Some(&seen.id)).await.unwrap();
    fleet.client().push(&batch, &chunks(0, 1)).await.unwrap().success().unwrap();
    let first = resumed.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["from"]), ("state", &json!("created")));
    // Something happened meanwhile: it is told at once, with the change of state.
    let mut late = Stream::open(fleet.client(), &path, Some(&seen.id)).await.unwrap();
    let first = late.next().await.unwrap();
    assert_eq!((first.name.as_str(), &first.data["from"]), ("state", &json!("created")));
    late.until("status", |status| status["records_completed"] == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_watchers_ask_the_database_no_more_than_one() {
    let services = Services::from_env().unwrap();
    let proxy = Proxy::start(services.database_address().unwrap()).await.unwrap();
    let options = FleetOptions::workers(0).api_database_at(proxy.address()).set_api("events.poll_ms", 500);
    let fleet = Fleet::sales(options).await.unwrap();
    let client = fleet.client();
    let (batch, path) = open(client).await;
    let mut streams = Vec::new();
    for _ in 0..200 {
        let mut stream = Stream::open(client, &path, None).await.unwrap();
        assert_eq!(stream.status, 200);
        stream.until("status", |_| true).await;
        streams.push(stream);
    }
    let (before, began) = (proxy.passed(Direction::ToServer), Instant::now());
    for round in 0..10 {
        client.push(&batch, &chunks(round, 1)).await.unwrap().success().unwrap();
        for stream in &mut streams {
            stream.until("status", |status| status["chunks_submitted"] == round + 1).await;
        }
    }
    let (asked, seconds) = (proxy.passed(Direction::ToServer) - before, began.elapsed().as_secs_f64());
    // At most five looks a second, whoever watches, and ten pushes. If each watcher looked for itself after each push, that alone
    // would be 2,000 looks.
    let bound = (seconds * 5.0 + 5.0) * LOOK_BYTES + 10.0 * PUSH_BYTES;
    assert!(asked as f64 <= bound, "{asked} bytes asked in {seconds} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_the_database_and_ends_with_the_server() {
    let services = Services::from_env().unwrap();
    let proxy = Proxy::start(services.database_address().unwrap()).await.unwrap();
    let mut fleet = Fleet::sales(FleetOptions::workers(0).database_at(proxy.address())).await.unwrap();
    let (batch, path) = open(fleet.client()).await;
    let mut stream = Stream::open(fleet.client(), &path, None).await.unwrap();
    stream.until("status", |_| true).await;
    proxy.down();
    stream.until_remark("the database is away").await;
    proxy.pass();
    stream.until_remark("the database is back").await;
    let client = fleet.client().clone();
    let pushed = wait_until("a push succeeds again", PATIENCE, || async {
        client.push(&batch, &chunks(0, 1)).await?.success().map(Some)
    });
    pushed.await.unwrap();
    stream.until("status", |status| status["chunks_submitted"] == 1).await;
    // Open streams do not hold up a server that is asked to stop.
    let api = fleet.api().unwrap();
    api.signal(Signal::Terminate).unwrap();
    assert!(stream.next().await.is_none());
    assert!(api.wait(PATIENCE).await.unwrap().success());
    assert!(!api.log().contains("requests were still open"), "{}", api.last_lines(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_watches_a_batch_to_its_end() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let (batch, _) = open(client).await;
    client.push(&batch, &chunks(0, 3)).await.unwrap().success().unwrap();
    let line = ["batch", "watch", &batch, "--output-format", "json"];
    let watching = fleet.run(&line);
    let ending = async {
        client.wait_for_status(&batch, "in_progress", PATIENCE).await.unwrap();
        client.patch(&batch, "closed").await.unwrap().success().unwrap();
    };
    let (output, ()) = tokio::join!(watching, ending);
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["batch_status"], &last["records_completed"]), (&json!("completed"), &json!(3)));

    let (batch, _) = open(client).await;
    client.patch(&batch, "cancelled").await.unwrap().success().unwrap();
    let output = fleet.run(&["batch", "watch", &batch]).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cancelled"), "{said}");
}
