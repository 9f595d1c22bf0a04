//! Settings of logs, metrics and traces.

use serde::{Deserialize, Serialize};

use super::{ConfigError, Secret};

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// Logs, metrics and traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// Which events are written, in the syntax of `tracing` filters, for example `info,millrace_worker=debug`.
    pub filter: String,
    /// What `/metrics` is asked with, as `Authorization: Bearer TOKEN`. Empty: nobody need ask with it, and the API shows nothing
    /// there that names tenants.
    pub metrics_token: Secret,
    /// Traces.
    pub otlp: OtlpConfig,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
            metrics_token: Secret::new(""),
            otlp: OtlpConfig::default(),
        }
    }
}

/// Traces: spans for a collector that speaks OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// The collector, such as `http://collector:4318`; spans go to `/v1/traces` there. Empty: no traces.
    pub endpoint: String,
    /// Sent as `Authorization`; empty: none.
    pub authorization: Secret,
    /// A PEM file with the authorities that the certificate of an https collector is checked against; empty: those of the system.
    pub tls_ca: String,
    /// The part of traces that is recorded, 0 to 1, of those that begin here. A caller that sends `traceparent` has decided
    /// already.
    pub ratio: f64,
    /// Spans that may wait to be sent, per process; further ones are dropped and counted.
    pub queue_spans: usize,
    /// How long the collector may take to answer, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            authorization: Secret::new(""),
            tls_ca: String::new(),
            ratio: 0.01,
            queue_spans: 4_096,
            timeout_ms: 5_000,
        }
    }
}

impl OtlpConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let contradiction = |text: &str| Err(ConfigError::Contradiction(text.to_owned()));
        let known = ["http://", "https://"].iter().any(|scheme| self.endpoint.starts_with(scheme));
        if !self.endpoint.is_empty() && !known {
            return contradiction("telemetry.otlp.endpoint must be an http or https URL");
        }
        if !(0.0..=1.0).contains(&self.ratio) {
            return contradiction("telemetry.otlp.ratio must be from 0 to 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_to_an_address_and_a_ratio_is_one() {
        let with = |endpoint: &str, ratio| OtlpConfig {
            endpoint: endpoint.to_owned(),
            ratio,
            ..OtlpConfig::default()
        };
        assert!(OtlpConfig::default().check().is_ok() && with("https://c:4318", 1.0).check().is_ok());
        for bad in [with("c:4318", 0.1), with("", 1.1), with("", -0.1), with("", f64::NAN)] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
