//! Traces: a collector of the test's own gets one from push to commit, and one that is dead or slow changes nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use lapin::options::BasicGetOptions;
use millrace_tests::{Fleet, FleetOptions, PATIENCE, SALES, Scrape, wait_until};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A span, as the collector got it.
#[derive(Debug, Clone)]
struct Span {
    service: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    links: Vec<String>,
    whole: Value,
}

#[derive(Debug, Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    /// Listens, and takes whatever comes.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, url)
    }

    /// The spans of a trace, by name.
    fn trace(&self, trace: &str) -> BTreeMap<String, Vec<Span>> {
        let mut named: BTreeMap<String, Vec<Span>> = BTreeMap::new();
        for span in self.spans.lock().unwrap().iter().filter(|span| span.trace == trace) {
            named.entry(span.name.clone()).or_default().push(span.clone());
        }
        named
    }
}

async fn take(State(collector): State<Collector>, Json(body): Json<Value>) -> Json<Value> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut spans = collector.spans.lock().unwrap();
    for resource in body["resourceSpans"].as_array().unwrap() {
        let attributes = resource["resource"]["attributes"].as_array().unwrap();
        let service = attributes.iter().find(|attribute| attribute["key"] == "service.name").unwrap();
        for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
            let links = span["links"].as_array().cloned().unwrap_or_default();
            spans.push(Span {
                service: text(&service["value"]["stringValue"]),
                name: text(&span["name"]),
                trace: text(&span["traceId"]),
                id: text(&span["spanId"]),
                parent: text(&span["parentSpanId"]),
                links: links.iter().map(|link| text(&link["spanId"])).collect(),
                whole: span.clone(),
            });
        }
    }
    Json(json!({}))
}

/// A push of so many chunks of one record, in the caller's trace.
async fn push(
    fleet: &Fleet,
    batch: &str,
    prefix: &str,
    chunks: usize,
    traceparent: Option<&str>,
) -> Option<String> {
    let chunks: Vec<_> = (0..chunks)
        .map(|n| {
            let inputs = json!([["sales_id", "price", "quantity", "tax"], ["SECRET-ID", 10, 7_531, 0]]);
            json!({"id": format!("{prefix}{n}"), "data": {"inputs": inputs, "parameters": {}}})
        })
        .collect();
    let path = format!("/{{tenant}}/api/v4/batch/{batch}/chunks");
    let mut request = fleet.client().request(Method::POST, &path).json(&json!({"chunks": chunks}));
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.headers().get("traceresponse").map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_push_is_one_trace_to_the_commit_of_its_results() {
    let (collector, url) = Collector::start().await;
    let options =
        FleetOptions::workers(1).set("telemetry.otlp.endpoint", &url).set("telemetry.otlp.ratio", 0);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let batch = fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();

    // One that its caller does not want recorded, one of a caller that does, and one that the ratio leaves out.
    let (unwanted, wanted) = ("1".repeat(32), "4bf92f3577b34da6a3ce929d0e0e4736");
    push(&fleet, &batch, "a", 2, Some(&format!("00-{unwanted}-00f067aa0ba902b7-00"))).await;
    let answered =
        push(&fleet, &batch, "b", 3, Some(&format!("00-{wanted}-00f067aa0ba902b7-01"))).await.unwrap();
    assert!(answered.starts_with(&format!("00-{wanted}-")) && answered.ends_with("-01"), "{answered}");
    let left_out = push(&fleet, &batch, "c", 1, None).await.unwrap();
    assert!(left_out.ends_with("-00"), "{left_out}");
    fleet.client().pull_all(&batch, 6, PATIENCE).await.unwrap();

    let named = wait_until("the whole trace is there", PATIENCE, || async {
        let named = collector.trace(wanted);
        let evaluated = named.get("evaluate").map_or(0, Vec::len);
        // Of three chunks each is in one commit, with others or alone.
        let commits = named.get("commit").map_or(&[][..], Vec::as_slice);
        let committed = commits.iter().map(|span| 1 + span.links.len()).sum::<usize>();
        let server = named.keys().any(|name| name.starts_with("POST "));
        if server && evaluated == 3 && committed == 3 { Ok(Some(named)) } else { anyhow::bail!("{named:#?}") }
    })
    .await
    .unwrap();
    let one = |name: &str| match named.get(name).map(Vec::as_slice) {
        Some([span]) => span.clone(),
        other => panic!("{name}: {other:?}"),
    };
    let server = one(named.keys().find(|name| name.starts_with("POST ")).unwrap());
    assert!(server.name.contains("/batch/{") && server.name.ends_with("/chunks"), "{}", server.name);
    assert_eq!((server.service.as_str(), server.parent.as_str()), ("millrace-api", "00f067aa0ba902b7"));
    assert!(answered.contains(&server.id), "{answered}");
    let publish = one("publish");
    for span in [&one("admit"), &publish, &one("mark queued")] {
        assert_eq!((&span.service, &span.parent), (&server.service, &server.id), "{}", span.name);
    }
    let evaluations: BTreeMap<_, _> = named["evaluate"].iter().map(|span| (span.id.clone(), span)).collect();
    for span in evaluations.values() {
        assert_eq!((span.service.as_str(), &span.parent), ("millrace-worker", &publish.id));
    }
    for commit in &named["commit"] {
        assert!(evaluations.contains_key(&commit.parent), "{commit:?}");
        assert!(
            commit.links.iter().all(|link| evaluations.contains_key(link) && *link != commit.parent),
            "{commit:?}"
        );
    }

    // The others came before or with it, so by now they would be there.
    fleet.terminate_worker(0, PATIENCE).await.unwrap();
    let spans = collector.spans.lock().unwrap().clone();
    assert!(spans.iter().all(|span| span.trace == wanted), "{spans:#?}");
    // No record and no result is in a span.
    assert!(spans.iter().all(
        |span| !span.whole.to_string().contains("SECRET-ID") && !span.whole.to_string().contains("7531")
    ));
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_says_so_on_its_way() {
    let (_collector, url) = Collector::start().await;
    let options =
        FleetOptions::workers(0).set("telemetry.otlp.endpoint", &url).set("telemetry.otlp.ratio", 1);
    let fleet = Fleet::sales(options).await.unwrap();
    let batch = fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();
    let unwanted = "2".repeat(32);
    push(&fleet, &batch, "a", 1, Some(&format!("00-{unwanted}-00f067aa0ba902b7-00"))).await;
    push(&fleet, &batch, "b", 1, Some("no traceparent")).await;

    let broker =
        lapin::Connection::connect(&fleet.services().broker_url, lapin::ConnectionProperties::default());
    let channel = broker.await.unwrap().create_channel().await.unwrap();
    let lane = format!("{}.lane.0001", fleet.prefix());
    let mut carried = Vec::new();
    for _ in 0..2 {
        let message =
            channel.basic_get(lane.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
        let headers = message.delivery.properties.headers().clone().unwrap();
        match headers.inner().get("traceparent") {
            Some(lapin::types::AMQPValue::LongString(text)) => {
                carried.push(String::from_utf8(text.as_bytes().to_vec()).unwrap());
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(carried[0].starts_with(&format!("00-{unwanted}-")) && carried[0].ends_with("-00"), "{carried:?}");
    // What cannot be read is as if it were not there: a new trace, which the ratio takes.
    assert!(carried[1].ends_with("-01") && !carried[1].contains(&unwanted), "{carried:?}");
}

/// Pushes, pulls, and counts what became of spans; then the worker ends in time.
async fn works_with(collector: SocketAddr) -> String {
    let options = FleetOptions::workers(1)
        .set("telemetry.otlp.endpoint", format!("http://{collector}"))
        .set("telemetry.otlp.ratio", 1)
        .set("telemetry.otlp.queue_spans", 8)
        .set("telemetry.otlp.timeout_ms", 500);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let batch = fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();
    push(&fleet, &batch, "a", 200, None).await;
    assert_eq!(fleet.client().pull_all(&batch, 200, PATIENCE).await.unwrap().len(), 200);
    let url = format!("http://{}", fleet.worker(0).unwrap().address().await.unwrap());
    let dropped = wait_until("spans are dropped and counted", PATIENCE, || async {
        let scrape = Scrape::of(&url, None).await?;
        let series =
            |outcome: &str| scrape.value(&format!("millrace_trace_spans_total{{outcome=\"{outcome}\"}}"));
        let dropped = [series("queue_full"), series("unreachable")];
        let lost = dropped.iter().all(|count| *count > 0.0) && series("exported") == 0.0;
        if lost { Ok(Some(scrape.text().to_owned())) } else { anyhow::bail!("{dropped:?}") }
    })
    .await
    .unwrap();
    fleet.terminate_worker(0, Duration::from_secs(30)).await.unwrap();
    dropped
}

#[tokio::test]
async fn a_collector_that_is_dead_or_never_answers_changes_nothing() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = gone.local_addr().unwrap();
    drop(gone);
    works_with(dead).await;

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            held.push(connection);
        }
    });
    works_with(address).await;
}
