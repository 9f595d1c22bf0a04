//! Traces: one from a request through the message of each chunk to the commit of its result, for any collector that speaks OTLP over
//! HTTP.
//!
//! | part | what it does |
//! | --- | --- |
//! | [`TraceContext`] | the identity of a span on its way: `traceparent` of requests and of messages |
//! | [`Span`] | what took how long; ends when it is dropped |
//! | `export` | a bounded queue and one task that sends batches; nobody waits for it |
//! | `otlp` | the body of a request |
//!
//! Off unless `telemetry.otlp.endpoint` is set: then [`Span::root`] and [`Span::child`] are one look at a static. A trace that is not
//! sampled costs its identity and no more, and carries on that it is not. Spans are made by hand at the few places that matter, and
//! written as OTLP's JSON: so traces take no library beside those that are there, and nothing on the way of a chunk locks or waits.

mod context;
mod export;
mod otlp;
mod span;

use std::sync::OnceLock;

pub use context::{TRACEPARENT, TraceContext};
pub use export::Exporting;
pub use span::{Span, SpanKind, Value};

use crate::config::OtlpConfig;
use crate::tls::TlsError;

/// Where spans of this process go; empty while traces are off.
static EXPORTER: OnceLock<export::Exporter> = OnceLock::new();

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
}

/// Starts sending spans, where the configuration says so; to be called once, within a runtime. End what is returned when the process
/// ends.
pub fn start(config: &OtlpConfig, service: &str) -> Result<Option<Exporting>, TraceError> {
    if config.endpoint.is_empty() {
        return Ok(None);
    }
    let (exporter, exporting) = export::start(config, service)?;
    // A second start would lose its spans; a process has one.
    let _ = EXPORTER.set(exporter);
    Ok(Some(exporting))
}

/// Whether traces are on.
pub fn is_on() -> bool {
    EXPORTER.get().is_some()
}
