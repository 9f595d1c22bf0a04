//! From a bounded queue to the collector, in the background. Nobody waits for it: what it cannot take or send is dropped and counted.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::span::Record;
use super::{TraceError, otlp};
use crate::config::OtlpConfig;
use crate::metrics::TRACE_SPANS;
use crate::startup::Backoff;
use crate::tls::{self, Verification};

/// The most spans of one request.
const BATCH: usize = 512;
/// How long spans wait for company.
const GATHER: Duration = Duration::from_secs(1);
/// How often a batch is tried before it is given up.
const TRIES: u32 = 3;
/// The longest that the end of the process waits for the last spans.
const LAST: Duration = Duration::from_secs(2);

/// Where ended spans go.
#[derive(Debug)]
pub(super) struct Exporter {
    spans: mpsc::Sender<Record>,
    /// Trace ids whose lower 63 bits are below this are sampled.
    threshold: u64,
}

impl Exporter {
    /// Whether a new trace is sampled: decided by its id, so that every process would decide the same.
    pub(super) fn samples(&self, trace_id: u128) -> bool {
        let low = u64::try_from(trace_id & u128::from(u64::MAX >> 1)).unwrap_or(u64::MAX);
        low < self.threshold
    }

    pub(super) fn take(&self, record: Record) {
        if self.spans.try_send(record).is_err() {
            TRACE_SPANS.with("queue_full").add(1);
        }
    }
}

/// The part of all trace ids that is below the threshold.
fn threshold(ratio: f64) -> u64 {
    // Of 63 bits; a cast from f64 saturates.
    (ratio.clamp(0.0, 1.0) * 9_223_372_036_854_775_808.0) as u64
}

/// The task that sends spans.
#[derive(Debug)]
pub struct Exporting {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends what has gathered, for two seconds at most.
    pub async fn end(self) {
        self.stop.cancel();
        // The task bounds itself; a little more, should it be held up.
        let _ = tokio::time::timeout(LAST * 2, self.task).await;
    }
}

/// Starts the task; to be called within a runtime.
pub(super) fn start(config: &OtlpConfig, service: &str) -> Result<(Exporter, Exporting), TraceError> {
    let ca = (!config.tls_ca.is_empty()).then(|| Path::new(&config.tls_ca));
    let tls = if config.endpoint.starts_with("https://") {
        tls::client_config(ca, Verification::Full)
    } else {
        tls::untrusting_config()
    };
    let timeout = Duration::from_millis(config.timeout_ms);
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls?)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(timeout)
        .timeout(timeout)
        .build()?;
    let authorization = match config.authorization.expose() {
        "" => None,
        text => {
            let mut value = HeaderValue::from_str(text).map_err(|_| TraceError::Authorization)?;
            value.set_sensitive(true);
            Some(value)
        }
    };
    let (spans, waiting) = mpsc::channel(config.queue_spans.max(1));
    let sending = Sending {
        client,
        url: format!("{}/v1/traces", config.endpoint.trim_end_matches('/')),
        authorization,
        resource: vec![
            ("service.name", service.to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ],
        failing: false,
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(run(sending, waiting, stop.clone()));
    Ok((Exporter { spans, threshold: threshold(config.ratio) }, Exporting { stop, task }))
}

async fn run(mut sending: Sending, mut waiting: mpsc::Receiver<Record>, stop: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    while !stop.is_cancelled() {
        tokio::select! {
            _ = waiting.recv_many(&mut batch, BATCH) => {}
            () = stop.cancelled() => break,
        }
        let until = Instant::now() + GATHER;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                _ = waiting.recv_many(&mut batch, room) => {}
                () = tokio::time::sleep_until(until) => break,
                () = stop.cancelled() => break,
            }
        }
        sending.send(&batch, &stop).await;
        batch.clear();
    }
    let last = async {
        waiting.close();
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            sending.send(&batch, &stop).await;
            batch.clear();
        }
    };
    let _ = tokio::time::timeout(LAST, last).await;
}

/// What became of a try.
enum Sent {
    /// Taken, but for so many.
    Taken(u64),
    /// The collector does not want it, now or later.
    Refused(StatusCode),
    /// Later it may.
    Away(String),
}

struct Sending {
    client: reqwest::Client,
    url: String,
    authorization: Option<HeaderValue>,
    resource: Vec<(&'static str, String)>,
    /// Whether the last batch was given up; said once.
    failing: bool,
}

impl Sending {
    /// Sends a batch or gives it up. While the process ends there is one try.
    async fn send(&mut self, batch: &[Record], stop: &CancellationToken) {
        if batch.is_empty() {
            return;
        }
        let body = otlp::body(&self.resource, batch);
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
        let mut tries = 0;
        let count = batch.len() as u64;
        let (outcome, reason) = loop {
            match self.attempt(body.clone()).await {
                Sent::Taken(rejected) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the collector takes spans again");
                    }
                    TRACE_SPANS.with("refused").add(rejected.min(count));
                    TRACE_SPANS.with("exported").add(count.saturating_sub(rejected));
                    return;
                }
                Sent::Refused(status) => break ("refused", format!("it answers {status}")),
                Sent::Away(reason) => {
                    tries += 1;
                    if tries >= TRIES || stop.is_cancelled() {
                        break ("unreachable", reason);
                    }
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_wait()) => {}
                        () = stop.cancelled() => {}
                    }
                }
            }
        };
        TRACE_SPANS.with(outcome).add(count);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(reason, "the collector takes no spans; they are dropped until it does");
        }
    }

    async fn attempt(&self, body: Vec<u8>) -> Sent {
        let mut request = self.client.post(&self.url).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        match request.send().await {
            Err(error) => Sent::Away(error.without_url().to_string()),
            Ok(answer) if answer.status().is_success() => {
                let partial = answer.json::<Answer>().await.unwrap_or_default();
                Sent::Taken(partial.partial_success.map_or(0, |partial| partial.rejected()))
            }
            Ok(answer) => match answer.status() {
                status @ (StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT) => Sent::Away(format!("it answers {status}")),
                status => Sent::Refused(status),
            },
        }
    }
}

/// What a collector answers.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    partial_success: Option<Partial>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Partial {
    rejected_spans: serde_json::Value,
}

impl Partial {
    /// A number, or as protobuf's JSON has it, a text.
    fn rejected(&self) -> u64 {
        self.rejected_spans.as_u64().or_else(|| self.rejected_spans.as_str()?.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_ratio_decides_by_the_trace_id() {
        let exporter = |ratio| Exporter { spans: mpsc::channel(1).0, threshold: threshold(ratio) };
        let ids = || (0_u128..4_000).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_0c5d_1f2e_3b4d) | 1);
        let count = |ratio| ids().filter(|id| exporter(ratio).samples(*id)).count();
        assert_eq!((count(0.0), count(-1.0), count(f64::NAN)), (0, 0, 0));
        assert_eq!((count(1.0), count(7.0)), (4_000, 4_000));
        let quarter = count(0.25);
        assert!((800..1_200).contains(&quarter), "{quarter}");
        // Whoever is sampled at a lower ratio is at a higher one.
        assert!(ids().all(|id| !exporter(0.25).samples(id) || exporter(0.5).samples(id)));
    }

    #[test]
    fn answers_of_collectors_are_read() {
        let rejected = |text: &str| {
            let answer: Answer = serde_json::from_str(text).unwrap();
            answer.partial_success.map_or(0, |partial| partial.rejected())
        };
        assert_eq!(rejected("{}"), 0);
        assert_eq!(rejected(r#"{"partialSuccess":{}}"#), 0);
        assert_eq!(rejected(r#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}}"#), 3);
        assert_eq!(rejected(r#"{"partialSuccess":{"rejectedSpans":4}}"#), 4);
    }
}
