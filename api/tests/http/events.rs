//! Streams of server-sent events: who may, what comes, how they end.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use futures_util::StreamExt;
use millrace_common::model::Transition;
use millrace_common::store::KeyTerms;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Server, owned_by};

const PATIENCE: Duration = Duration::from_secs(30);

/// An open stream.
struct Stream {
    status: u16,
    headers: axum::http::HeaderMap,
    body: axum::body::BodyDataStream,
    text: String,
}

/// Name, id and data of an event.
type Event = (String, String, Value);

impl Stream {
    /// The next event with data; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let lines = event.lines().filter_map(|line| line.strip_prefix(name));
                    lines
                        .map(|value| value.trim_start_matches(": ").to_owned())
                        .collect::<Vec<_>>()
                        .join("\n")
                };
                if !field("data").is_empty() {
                    return Some((
                        field("event"),
                        field("id"),
                        serde_json::from_str(&field("data")).unwrap(),
                    ));
                }
            }
            let piece =
                tokio::time::timeout(PATIENCE, self.body.next()).await.expect("an event or the end")?;
            self.text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
    }

    async fn expect(&mut self, name: &str) -> (String, Value) {
        let (came, id, data) = self.next().await.unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(came, name, "{data}");
        (id, data)
    }
}

async fn open(server: &Server, request: Request<Body>) -> Stream {
    use tower::ServiceExt;
    let response = server.router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Stream {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.into_data_stream(),
        text: String::new(),
    }
}

async fn follow(server: &Server, path: &str, last: Option<&str>) -> Stream {
    let mut request = server.request(Method::GET, path).header("accept-encoding", "gzip, br");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    open(server, request.body(Body::empty()).unwrap()).await
}

async fn as_key(server: &Server, path: &str, key: &str) -> Stream {
    let request = Request::get(path).header("x-synthetic-key", key);
    open(server, request.body(Body::empty()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_followed_to_its_end_and_resumed() {
    let Some(server) = Server::start().await else { return };
    let batch = server.batches(&["ann"]).await[0];
    let path = format!("/acme/api/v4/batch/{batch}/events");
    let mut stream = follow(&server, &path, None).await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["cache-control"], "no-cache, no-transform");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    assert!(!stream.headers.contains_key("content-encoding"), "{:?}", stream.headers);
    let (first, status) = stream.expect("status").await;
    let mut expected = server.get(&format!("/acme/api/v4/batch/{batch}/status")).await.ok();
    for field in ["request_timestamp", "response_timestamp"] {
        expected[field] = status[field].clone();
    }
    assert_eq!(status, expected);

    // Whoever knows this status already is told nothing before it changes.
    let mut resumed = follow(&server, &path, Some(&first)).await;
    server.state.store.change_batch(batch, Transition::Close).await.unwrap().unwrap();
    for stream in [&mut stream, &mut resumed] {
        let (_, change) = stream.expect("state").await;
        assert_eq!((&change["from"], &change["to"]), (&json!("created"), &json!("completed")));
        let (_, status) = stream.expect("status").await;
        assert_eq!(status["batch_status"], "completed");
        let (id, end) = stream.expect("end").await;
        assert_eq!(end, status);
        assert!(id.starts_with("end:"), "{id}");
        assert_eq!(stream.next().await, None);
        // A browser that comes back is told to stay away.
        assert_eq!(follow(&server, &path, Some(&id)).await.status, 204);
    }
    // A stream that is opened late, or by a client that missed the end.
    let mut late = follow(&server, &path, None).await;
    late.expect("status").await;
    late.expect("end").await;
    let mut missed = follow(&server, &path, Some(&first)).await;
    for name in ["state", "status", "end"] {
        missed.expect(name).await;
    }
    let mut foreign = follow(&server, &path, Some("4711")).await;
    foreign.expect("status").await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_and_supervisors_see_events() {
    let Some(server) = Server::start().await else { return };
    let ids = server.batches(&["ann", "bob"]).await;
    let key = async |owner: &str, groups: &[String]| {
        let terms = KeyTerms { groups: groups.to_vec(), ..owned_by(owner) };
        let key = server.state.store.create_key("acme", &terms).await.unwrap();
        key.secret.expose().to_owned()
    };
    let (bob, eve) = (key("bob", &[]).await, key("eve", &["supervisor:pf".to_owned()]).await);
    let path = format!("/acme/api/v4/batch/{}/events", ids[0]);
    assert_eq!(as_key(&server, &path, &bob).await.status, 404);
    assert_eq!(as_key(&server, &path, &server.other_key).await.status, 403);
    assert_eq!(as_key(&server, &path, "nobody").await.status, 401);
    as_key(&server, &path, &eve).await.expect("status").await;
    for unknown in [Uuid::nil().to_string(), "x".to_owned()] {
        assert_eq!(follow(&server, &format!("/acme/api/v4/batch/{unknown}/events"), None).await.status, 404);
    }

    let list = "/acme/api/v4/batch/events";
    let listed = async |key: &str| {
        let (_, data) = as_key(&server, list, key).await.expect("batches").await;
        let ids = |value: &Value, pointer: &str| {
            let list = value.pointer(pointer).unwrap().as_array().unwrap();
            let mut ids: Vec<String> = list
                .iter()
                .map(|entry| entry.as_str().or(entry["id"].as_str()).unwrap().to_owned())
                .collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&data, "/ids"), ids(&data, "/batches"), "{data}");
        ids(&data, "/ids")
    };
    assert_eq!(listed(&server.key).await, [ids[0].to_string()]);
    assert_eq!(listed(&bob).await, [ids[1].to_string()]);
    let mut both: Vec<_> = ids.iter().map(Uuid::to_string).collect();
    both.sort();
    assert_eq!(listed(&eve).await, both);
    assert_eq!(as_key(&server, list, &server.other_key).await.status, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_list_tells_changes_and_is_resumed() {
    let Some(server) = Server::start().await else { return };
    let ids = server.batches(&["ann", "ann", "ann"]).await;
    let list = "/acme/api/v4/batch/events";
    let mut stream = follow(&server, list, None).await;
    let (_, first) = stream.expect("batches").await;
    assert_eq!((first["ids"].as_array().unwrap().len(), first["batches"].as_array().unwrap().len()), (3, 3));
    assert_eq!(first["batches"][0]["correlation_id"], "of ann");

    server.state.store.change_batch(ids[1], Transition::Cancel).await.unwrap().unwrap();
    let (id, change) = stream.expect("batches").await;
    assert!(change.get("ids").is_none(), "{change}");
    let changed = change["batches"].as_array().unwrap();
    assert_eq!(changed.len(), 1, "only what changed: {change}");
    assert_eq!((&changed[0]["id"], &changed[0]["batch_status"]), (&json!(ids[1]), &json!("cancelled")));

    // Ended an hour ago and more: off the list. Ended a while ago: on it, but known to whoever comes back.
    let past = |id: Uuid, minutes: u32| {
        format!(
            "UPDATE batch_counters SET touched_at = now() - interval '{minutes} minutes' WHERE batch_id = '{id}';
             UPDATE batches SET updated_at = now() - interval '{minutes} minutes' WHERE id = '{id}';"
        )
    };
    server.sql(&past(ids[1], 61)).await;
    let (_, gone) = stream.expect("batches").await;
    assert_eq!(gone["gone"], json!([ids[1]]));
    server.state.store.change_batch(ids[2], Transition::Close).await.unwrap().unwrap();
    server.sql(&past(ids[2], 5)).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let again = loop {
        // The first picture may be a moment old: of before these changes.
        let (_, again) = follow(&server, list, Some(&id)).await.expect("batches").await;
        if again["batches"].as_array().unwrap().len() == 1 {
            break again;
        }
        assert!(tokio::time::Instant::now() < deadline, "{again}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(again["ids"].as_array().unwrap().len(), 2, "{again}");
    assert_eq!(again["batches"][0]["id"], json!(ids[0]), "live ones are always told");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_counted_and_end_with_the_server() {
    let set = |config: &mut millrace_common::config::Config| {
        config.events.streams = 3;
        config.events.streams_per_tenant = 2;
    };
    let Some(server) = Server::start_with(set).await else { return };
    let batch = server.batches(&["ann"]).await[0];
    let path = format!("/acme/api/v4/batch/{batch}/events");
    let mut first = follow(&server, &path, None).await;
    first.expect("status").await;
    let second = follow(&server, "/acme/api/v4/batch/events", None).await;
    let refused = server.get(&path).await;
    assert_eq!(refused.refusal(), (429, "TOO_MANY_STREAMS".into(), None));
    assert_eq!(refused.json()["error"]["details"]["limit"], 2);
    assert!(refused.headers.contains_key("retry-after") && refused.headers.contains_key("x-retry-after"));
    let elsewhere = as_key(&server, "/other/api/v4/batch/events", &server.other_key).await;
    assert_eq!(elsewhere.status, 200);
    let refused = as_key(&server, "/other/api/v4/batch/events", &server.other_key).await;
    assert_eq!(refused.status, 429, "the whole server is full");
    // Whoever leaves makes room.
    drop((second, elsewhere));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut again = loop {
        let again = follow(&server, &path, None).await;
        if again.status == 200 {
            break again;
        }
        assert!(tokio::time::Instant::now() < deadline, "the seat stays taken");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    again.expect("status").await;
    server.state.watch.end();
    assert_eq!((first.next().await, again.next().await), (None, None));
    server.stop().await;
}
