//! Traces: one from a request through the message of each chunk to the commit of its result, for any collector that speaks OTLP over
//! HTTP.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`TraceContext`] | the identity of a span on its way: `traceparent` and `tracestate` of requests and of messages |
//! | [`Span`] | what took how long; ends when it is dropped |
//! | [`lane`] | the spans of messages on lanes |
//! | `export` | what OpenTelemetry's SDK is made of here: sampling, a bounded queue, batches, their way to the collector |
//! | `collector`, `account` | its requests, by the client and the TLS of everything else; what became of each span |
//!
//! Off unless `telemetry.otlp.endpoint` is set: then [`Span::root`] and [`Span::child`] are one look at a static. A trace that is not
//! sampled costs its identity and no more, and carries on that it is not. Spans are made by hand at the few places that matter, so
//! that nothing else pays for them: neither those of `tracing`, which logs have, nor the SDK's current context.

mod account;
mod collector;
mod context;
mod export;
pub mod lane;
mod span;

use std::sync::OnceLock;

pub use context::{TRACEPARENT, TRACESTATE, TraceContext};
pub use export::Exporting;
pub use opentelemetry::Value;
pub use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SdkTracer;
/// The names of attributes, as OpenTelemetry's semantic conventions have them.
pub use opentelemetry_semantic_conventions::attribute;
pub use span::Span;

use crate::config::OtlpConfig;
use crate::tls::TlsError;

/// What makes the spans of this process; empty while traces are off.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Why traces could not start.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// `telemetry.otlp.tls_ca` cannot be used.
    #[error("telemetry.otlp.tls_ca: {0}")]
    Tls(#[from] TlsError),
    /// `telemetry.otlp.authorization` is no value of a header.
    #[error("telemetry.otlp.authorization cannot be sent as a header")]
    Authorization,
    /// The HTTP client cannot be made.
    #[error("telemetry.otlp: {0}")]
    Client(#[from] reqwest::Error),
    /// The exporter cannot be made: `telemetry.otlp.endpoint` is no address.
    #[error("telemetry.otlp: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Starts sending spans, where the configuration says so; to be called once, within a runtime. End what is returned when the process
/// ends.
pub fn start(config: &OtlpConfig, service: &str) -> Result<Option<Exporting>, TraceError> {
    if config.endpoint.is_empty() {
        return Ok(None);
    }
    let (tracer, exporting) = export::start(config, service)?;
    // A second start would lose its spans; a process has one.
    let _ = TRACER.set(tracer);
    Ok(Some(exporting))
}

/// Whether traces are on.
pub fn is_on() -> bool {
    TRACER.get().is_some()
}
