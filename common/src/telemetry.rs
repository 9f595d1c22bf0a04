//! Logs: `tracing` events as text or JSON.
//!
//! Field names are dotted nouns (`batch.id`, `request.id`, `chunk.id`); credentials, record values and workbook content are
//! never logged.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::broker::LOG_DIRECTIVES;
use crate::config::{LogFormat, TelemetryConfig};

/// Why telemetry could not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `telemetry.filter` is not a valid filter.
    #[error("telemetry.filter: {0}")]
    Filter(#[from] ParseError),
    /// Something else installed a subscriber first.
    #[error("telemetry: {0}")]
    Init(#[from] TryInitError),
}

/// Starts writing events to standard error.
pub fn start(config: &TelemetryConfig) -> Result<(), TelemetryError> {
    let mut filter = EnvFilter::try_new(&config.filter)?;
    for directive in LOG_DIRECTIVES {
        filter = filter.add_directive(directive.parse()?);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
