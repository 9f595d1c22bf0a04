//! What becomes of spans: how many wait, and how many were sent or dropped, and why. OpenTelemetry's SDK tells none of this.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use parking_lot::Mutex;
use reqwest::StatusCode;

use crate::metrics::TRACE_SPANS;

/// What the collector said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Taken, but for so many.
    Taken { rejected: u64 },
    /// It does not want them, now or later.
    Refused(StatusCode),
    /// Later it may.
    Away(String),
}

/// Shared by all who handle spans.
#[derive(Debug)]
pub(super) struct Account {
    most: usize,
    waiting: AtomicUsize,
    ending: AtomicBool,
    /// Whether the last batch was given up; said once.
    failing: AtomicBool,
    answer: Mutex<Option<Answer>>,
}

impl Account {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            waiting: AtomicUsize::new(0),
            ending: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            answer: Mutex::new(None),
        }
    }

    /// The process ends: a collector that is away is not waited for again and again.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Notes the answer to one try.
    pub(super) fn answered(&self, answer: Answer) {
        *self.answer.lock() = Some(answer);
    }

    /// Whether there is no sense in trying.
    fn gives_up(&self) -> bool {
        self.ending.load(Ordering::Relaxed) && self.failing.load(Ordering::Relaxed)
    }

    /// Books a batch after its last try.
    fn sent(&self, count: u64, result: &OTelSdkResult) {
        let answer = self.answer.lock().take();
        let (outcome, reason) = match (result, answer) {
            (Ok(()), answer) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the collector takes spans again");
                }
                let rejected = match answer {
                    Some(Answer::Taken { rejected }) => rejected.min(count),
                    _ => 0,
                };
                TRACE_SPANS.with("refused").add(rejected);
                TRACE_SPANS.with("exported").add(count - rejected);
                return;
            }
            (Err(_), Some(Answer::Away(reason))) => ("unreachable", reason),
            (Err(_), Some(Answer::Refused(status))) => ("refused", format!("it answers {status}")),
            // It was not asked.
            (Err(error), _) => ("refused", error.to_string()),
        };
        TRACE_SPANS.with(outcome).add(count);
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason, "the collector takes no spans; they are dropped until it does");
        }
    }
}

/// In front of the SDK's queue, which drops without saying so: lets in no more than fit.
#[derive(Debug)]
pub(super) struct Bounded<P> {
    next: P,
    account: Arc<Account>,
}

impl<P> Bounded<P> {
    pub(super) const fn new(next: P, account: Arc<Account>) -> Self {
        Self { next, account }
    }
}

impl<P: SpanProcessor> SpanProcessor for Bounded<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.next.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.account.waiting.fetch_add(1, Ordering::Relaxed) < self.account.most {
            self.next.on_end(span);
        } else {
            self.account.waiting.fetch_sub(1, Ordering::Relaxed);
            TRACE_SPANS.with("queue_full").add(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// Around the exporter: takes batches off the queue's account, and books what became of them.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    account: Arc<Account>,
}

impl<E> Counted<E> {
    pub(super) const fn new(exporter: E, account: Arc<Account>) -> Self {
        Self { exporter, account }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.account.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        let count = batch.len() as u64;
        if self.account.gives_up() {
            TRACE_SPANS.with("unreachable").add(count);
            return Err(OTelSdkError::AlreadyShutdown);
        }
        let result = self.exporter.export(batch).await;
        self.account.sent(count, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
