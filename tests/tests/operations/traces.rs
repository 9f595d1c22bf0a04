//! Traces: a collector of the test's own gets one from push to commit, and one that is dead or slow changes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use lapin::options::BasicGetOptions;
use millrace_tests::tls::{Authority, Opening, TlsProxy};
use millrace_tests::{Fleet, FleetOptions, PATIENCE, SALES, Scrape, wait_until};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What a caller's tracing system says of the trace for itself.
const STATE: &str = "vendor=00f067aa0ba902b7,other=2";

/// A span, as the collector got it.
#[derive(Debug, Clone)]
struct Span {
    resource: BTreeMap<String, Value>,
    name: String,
    /// As OpenTelemetry numbers it: 1 internal, 2 server, 4 producer, 5 consumer.
    kind: i32,
    trace: String,
    state: String,
    id: String,
    parent: String,
    links: Vec<String>,
    attributes: BTreeMap<String, Value>,
    whole: String,
}

impl Span {
    fn service(&self) -> &str {
        self.resource["service.name"].as_str().unwrap()
    }

    /// The attributes whose names begin so.
    fn said(&self, prefix: &str) -> Value {
        let of = self.attributes.iter().filter(|(name, _)| name.starts_with(prefix));
        of.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// What the collector answers.
type Answer = (StatusCode, Vec<u8>);

/// A request, as the collector got it.
#[derive(Debug, Clone)]
struct Request {
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Debug, Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    /// What it answers to the next requests; then it takes everything.
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Collector {
    /// Listens, and takes whatever comes.
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, address)
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

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Answer {
    let read = ExportTraceServiceRequest::decode(body.clone()).unwrap();
    collector.requests.lock().unwrap().push(Request { headers, body });
    let answer = collector.answers.lock().unwrap().pop_front().unwrap_or((StatusCode::OK, Vec::new()));
    if !answer.0.is_success() {
        return answer;
    }
    let hex = |id: &[u8]| id.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut spans = collector.spans.lock().unwrap();
    for of_resource in read.resource_spans {
        let resource = named(of_resource.resource.unwrap().attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let whole = format!("{span:?}");
            spans.push(Span {
                resource: resource.clone(),
                name: span.name,
                kind: span.kind,
                trace: hex(&span.trace_id),
                state: span.trace_state,
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                attributes: named(span.attributes),
                whole,
            });
        }
    }
    answer
}

/// Attributes by their names.
fn named(attributes: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let value = |value| match value {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::BoolValue(truth)) => json!(truth),
        other => panic!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|attribute| (attribute.key, value(attribute.value.and_then(|any| any.value))))
        .collect()
}

/// A push of so many chunks of one record, in the caller's trace: its `traceparent`, and its `tracestate`.
async fn push(
    fleet: &Fleet,
    batch: &str,
    prefix: &str,
    chunks: usize,
    trace: (Option<&str>, Option<&str>),
) -> Option<String> {
    let chunks: Vec<_> = (0..chunks)
        .map(|n| {
            let inputs = json!([["sales_id", "price", "quantity", "tax"], ["SECRET-ID", 10, 7_531, 0]]);
            json!({"id": format!("{prefix}{n}"), "data": {"inputs": inputs, "parameters": {}}})
        })
        .collect();
    let path = format!("/{{tenant}}/api/v4/batch/{batch}/chunks");
    let mut request = fleet.client().request(Method::POST, &path).json(&json!({"chunks": chunks}));
    for (name, value) in [("traceparent", trace.0), ("tracestate", trace.1)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.headers().get("traceresponse").map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_push_is_one_trace_to_the_commit_of_its_results() {
    let (collector, address) = Collector::start().await;
    let options = FleetOptions::workers(1)
        .set("telemetry.otlp.endpoint", format!("http://{address}"))
        .set("telemetry.otlp.ratio", 0);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let batch = fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();

    // One that its caller does not want recorded, one of a caller that does, and one that the ratio leaves out.
    let (unwanted, wanted) = ("1".repeat(32), "4bf92f3577b34da6a3ce929d0e0e4736");
    push(&fleet, &batch, "a", 2, (Some(&format!("00-{unwanted}-00f067aa0ba902b7-00")), None)).await;
    let caller = format!("00-{wanted}-00f067aa0ba902b7-01");
    let answered = push(&fleet, &batch, "b", 3, (Some(&caller), Some(STATE))).await.unwrap();
    assert!(answered.starts_with(&format!("00-{wanted}-")) && answered.ends_with("-01"), "{answered}");
    let left_out = push(&fleet, &batch, "c", 1, (None, None)).await.unwrap();
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
    assert_eq!((server.service(), server.parent.as_str()), ("millrace-api", "00f067aa0ba902b7"));
    assert!(answered.contains(&server.id), "{answered}");
    let publish = one("publish");
    for span in [&one("admit"), &publish, &one("mark queued")] {
        assert_eq!((span.service(), &span.parent), (server.service(), &server.id), "{}", span.name);
    }
    let evaluations: BTreeMap<_, _> = named["evaluate"].iter().map(|span| (span.id.clone(), span)).collect();
    for span in evaluations.values() {
        assert_eq!((span.service(), &span.parent), ("millrace-worker", &publish.id));
    }
    for commit in &named["commit"] {
        assert!(evaluations.contains_key(&commit.parent), "{commit:?}");
        assert!(
            commit.links.iter().all(|link| evaluations.contains_key(link) && *link != commit.parent),
            "{commit:?}"
        );
    }
    speaks_the_conventions(&fleet, &batch, &server, &publish, &named);

    // The others came before or with it, so by now they would be there.
    fleet.terminate_worker(0, PATIENCE).await.unwrap();
    let spans = collector.spans.lock().unwrap().clone();
    assert!(spans.iter().all(|span| span.trace == wanted), "{spans:#?}");
    // No record and no result is in a span.
    assert!(spans.iter().all(|span| !span.whole.contains("SECRET-ID") && !span.whole.contains("7531")));
}

/// Attributes as OpenTelemetry's semantic conventions name them, and what the caller's tracing system said of the trace.
fn speaks_the_conventions(
    fleet: &Fleet,
    batch: &str,
    server: &Span,
    publish: &Span,
    named: &BTreeMap<String, Vec<Span>>,
) {
    let all = || named.values().flatten();
    assert!(all().all(|span| span.state == STATE), "{named:#?}");
    for span in all() {
        assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(span.resource["telemetry.sdk.name"], "opentelemetry");
        assert!(!span.resource["service.instance.id"].as_str().unwrap().is_empty());
    }
    let route = server.name.strip_prefix("POST ").unwrap();
    assert_eq!((server.kind, server.said("millrace.")), (2, json!({"millrace.tenant": fleet.tenant()})));
    let expected =
        json!({"http.request.method": "POST", "http.route": route, "http.response.status_code": 200});
    assert_eq!(server.said("http."), expected);
    let path = format!("/{}/api/v4/batch/{batch}/chunks", fleet.tenant());
    assert_eq!(server.said("url."), json!({"url.path": path, "url.scheme": "http"}));

    let lane = format!("{}.lane.0001", fleet.prefix());
    assert_eq!((publish.kind, publish.said("millrace.")), (4, json!({"millrace.batch.id": batch})));
    let expected = json!({
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": lane,
        "messaging.rabbitmq.destination.routing_key": lane,
        "messaging.batch.message_count": 3,
    });
    assert_eq!(publish.said("messaging."), expected);
    for span in &named["evaluate"] {
        let mut said = span.said("messaging.");
        let size = said.as_object_mut().unwrap().remove("messaging.message.body.size");
        assert!(size.and_then(|size| size.as_i64()).unwrap() > 0);
        let expected = json!({
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "evaluate",
            "messaging.operation.type": "process",
            "messaging.destination.name": lane,
        });
        assert_eq!((span.kind, said), (5, expected));
        assert_eq!(span.attributes["millrace.records"], 1);
    }
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_says_so_on_its_way() {
    let (_collector, address) = Collector::start().await;
    let options = FleetOptions::workers(0)
        .set("telemetry.otlp.endpoint", format!("http://{address}"))
        .set("telemetry.otlp.ratio", 1);
    let fleet = Fleet::sales(options).await.unwrap();
    let batch = fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();
    let unwanted = "2".repeat(32);
    let caller = format!("00-{unwanted}-00f067aa0ba902b7-00");
    push(&fleet, &batch, "a", 1, (Some(&caller), Some(STATE))).await;
    push(&fleet, &batch, "b", 1, (Some("no traceparent"), Some(STATE))).await;

    let broker =
        lapin::Connection::connect(&fleet.services().broker_url, lapin::ConnectionProperties::default());
    let channel = broker.await.unwrap().create_channel().await.unwrap();
    let lane = format!("{}.lane.0001", fleet.prefix());
    let (mut carried, mut states) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let message =
            channel.basic_get(lane.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
        let headers = message.delivery.properties.headers().clone().unwrap();
        let header = |name: &str| match headers.inner().get(name) {
            Some(lapin::types::AMQPValue::LongString(text)) => {
                Some(String::from_utf8(text.as_bytes().to_vec()).unwrap())
            }
            None => None,
            other => panic!("{other:?}"),
        };
        carried.push(header("traceparent").unwrap());
        states.push(header("tracestate"));
    }
    assert_eq!(states, [Some(STATE.to_owned()), None]);
    assert!(carried[0].starts_with(&format!("00-{unwanted}-")) && carried[0].ends_with("-00"), "{carried:?}");
    // What cannot be read is as if it were not there: a new trace, which the ratio takes.
    assert!(carried[1].ends_with("-01") && !carried[1].contains(&unwanted), "{carried:?}");
}

/// Pushes, pulls, and counts what became of spans; then the worker ends in time.
async fn works_with(collector: SocketAddr) {
    let options = FleetOptions::workers(1)
        .set("telemetry.otlp.endpoint", format!("http://{collector}"))
        .set("telemetry.otlp.ratio", 1)
        .set("telemetry.otlp.queue_spans", 8)
        .set("telemetry.otlp.timeout_ms", 500);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let batch = fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();
    push(&fleet, &batch, "a", 200, (None, None)).await;
    assert_eq!(fleet.client().pull_all(&batch, 200, PATIENCE).await.unwrap().len(), 200);
    let url = format!("http://{}", fleet.worker(0).unwrap().address().await.unwrap());
    wait_until("spans are dropped and counted", PATIENCE, || async {
        let scrape = Scrape::of(&url, None).await?;
        let series =
            |outcome: &str| scrape.value(&format!("millrace_trace_spans_total{{outcome=\"{outcome}\"}}"));
        let dropped = [series("queue_full"), series("unreachable")];
        let lost = dropped.iter().all(|count| *count > 0.0) && series("exported") == 0.0;
        if lost { Ok(Some(())) } else { anyhow::bail!("{dropped:?}") }
    })
    .await
    .unwrap();
    fleet.terminate_worker(0, Duration::from_secs(30)).await.unwrap();
}

#[tokio::test]
async fn a_collector_that_is_dead_or_never_answers_changes_nothing() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = gone.local_addr().unwrap();
    drop(gone);

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            held.push(connection);
        }
    });
    tokio::join!(works_with(dead), works_with(address));
}

#[tokio::test]
async fn what_a_collector_puts_off_is_sent_again_and_what_it_refuses_is_counted() {
    let (collector, address) = Collector::start().await;
    let authority = Authority::new().unwrap();
    let proxy = TlsProxy::start(address, Opening::Direct, &authority).await.unwrap();
    let options = FleetOptions::workers(0)
        .set("telemetry.otlp.endpoint", format!("https://{}", proxy.address()))
        .set("telemetry.otlp.tls_ca", authority.setting())
        .set("telemetry.otlp.authorization", "Bearer s3cret")
        .set("telemetry.otlp.ratio", 0);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let batch = fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();
    let counted = async |refused: f64, exported: f64| {
        let url = fleet.url();
        wait_until("all spans are counted", PATIENCE, || async {
            let scrape = Scrape::of(&url, None).await?;
            let series =
                |outcome: &str| scrape.value(&format!("millrace_trace_spans_total{{outcome=\"{outcome}\"}}"));
            let outcomes = ["refused", "exported", "queue_full", "unreachable"].map(series);
            if outcomes == [refused, exported, 0.0, 0.0] {
                Ok(Some(()))
            } else {
                anyhow::bail!("{outcomes:?}")
            }
        })
        .await
        .unwrap();
    };

    // A request has four spans: its own, `admit`, `publish`, `mark queued`. One of them is not to the collector's liking.
    let partial_success =
        ExportTracePartialSuccess { rejected_spans: 1, error_message: "one is too old".to_owned() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial_success) }.encode_to_vec();
    let later = (StatusCode::SERVICE_UNAVAILABLE, Vec::new());
    collector.answers.lock().unwrap().extend([later.clone(), later, (StatusCode::OK, partial)]);
    let caller = format!("00-{}-00f067aa0ba902b7-01", "3".repeat(32));
    push(&fleet, &batch, "a", 1, (Some(&caller), None)).await;
    counted(1.0, 3.0).await;
    let requests = collector.requests.lock().unwrap().clone();
    assert!(requests.len() >= 3 && requests[..3].iter().all(|request| request.body == requests[0].body));
    for Request { headers, .. } in &requests {
        assert_eq!(headers["authorization"], "Bearer s3cret");
        assert_eq!(headers["content-type"], "application/x-protobuf");
    }

    // What it refuses is not sent again.
    let refusal = (StatusCode::BAD_REQUEST, b"Bearer s3cret".to_vec());
    collector.answers.lock().unwrap().extend([refusal.clone(), refusal.clone(), refusal.clone(), refusal]);
    let asked = requests.len();
    push(&fleet, &batch, "b", 1, (Some(&caller), None)).await;
    counted(5.0, 3.0).await;
    assert!(collector.requests.lock().unwrap().len() - asked <= 4);
    let log = fleet.api().unwrap().last_lines(200);
    assert_eq!(log.matches("the collector takes no spans").count(), 1, "{log}");
    assert!(log.contains("it answers 400 Bad Request") && !log.contains("s3cret"), "{log}");
}
