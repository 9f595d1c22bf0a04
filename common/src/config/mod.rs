//! Configuration: one file and `MILLRACE_*` variables for every binary.
//!
//! Values come, later ones winning, from the defaults below, the TOML file named by `--config` or `MILLRACE_CONFIG`, and
//! environment variables `MILLRACE_<SECTION>__<KEY>` (two underscores between section and key). Unknown keys are refused
//! wherever they come from. `deploy/millrace.toml` is the commented sample; a test holds it equal to the defaults.

mod dashboard;
mod files;
mod identity;
mod notify;
mod retention;
mod telemetry;
mod worker;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Environment, File, FileFormat};
use serde::{Deserialize, Serialize};

pub use dashboard::DashboardConfig;
pub use files::FilesConfig;
pub use identity::{AuditConfig, AuthConfig, IssuerConfig, RateLimitsConfig};
pub use notify::{EventsConfig, NoSealingKey, SealingKey, WebhooksConfig};
pub use retention::RetentionConfig;
pub use telemetry::{LogFormat, OtlpConfig, TelemetryConfig};
pub use worker::{FallbackConfig, WorkerConfig};

/// Variables that begin with `MILLRACE_` and are not configuration keys: the command line's own.
const OTHER_VARIABLES: [&str; 6] = [
    "MILLRACE_CONFIG",
    "MILLRACE_URL",
    "MILLRACE_TENANT",
    "MILLRACE_API_KEY",
    "MILLRACE_PROFILE",
    "MILLRACE_CA",
];

/// Whether a variable is one that is not a setting.
fn is_other(name: &str) -> bool {
    #[cfg(feature = "test-failpoints")]
    if name == crate::failpoint::VARIABLE {
        return true;
    }
    OTHER_VARIABLES.contains(&name)
}

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read, a key is unknown, or a value has the wrong type.
    #[error("configuration: {0}")]
    Invalid(#[from] config::ConfigError),
    /// A variable looks like a setting but names none.
    #[error(
        "configuration: the variable {0} names no setting (write MILLRACE_<SECTION>__<KEY>, with two underscores)"
    )]
    UnknownVariable(String),
    /// Two values contradict each other.
    #[error("configuration: {0}")]
    Contradiction(String),
}

/// A text that is never shown: connection URLs carry passwords.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"<redacted>\"")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<redacted>")
    }
}

/// Every setting of every binary.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The output buffer and the control plane.
    pub database: DatabaseConfig,
    /// The input buffer.
    pub broker: BrokerConfig,
    /// The HTTP server of `millrace-api`.
    pub http: HttpConfig,
    /// What a worker does and how much of it at once.
    pub worker: WorkerConfig,
    /// The engine for services that cannot be compiled, in processes of its own.
    pub fallback: FallbackConfig,
    /// Server-sent events: streams of the progress of batches.
    pub events: EventsConfig,
    /// Webhooks: messages to others when batches end.
    pub webhooks: WebhooksConfig,
    /// Limits on what callers may send.
    pub limits: LimitsConfig,
    /// What is kept of results and failures.
    pub results: ResultsConfig,
    /// Files that are uploaded and exported.
    pub files: FilesConfig,
    /// The clocks of batches, chunks and results.
    pub clocks: ClocksConfig,
    /// How long what has ended is kept.
    pub retention: RetentionConfig,
    /// What a new tenant gets.
    pub tenants: TenantsConfig,
    /// Who callers are.
    pub auth: AuthConfig,
    /// Rate limits of a tenant that has none of its own.
    pub rate_limits: RateLimitsConfig,
    /// The dashboard.
    pub dashboard: DashboardConfig,
    /// The audit trail.
    pub audit: AuditConfig,
    /// Logs, metrics and traces.
    pub telemetry: TelemetryConfig,
}

/// Postgres. Each process opens two small pools: one for the control plane, one for the data plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Connection URL, `postgres://user:password@host:port/database`. Connect directly, or through a pooler that keeps
    /// prepared statements (PgBouncer 1.21 or newer). `?sslmode=` is disable, prefer, require, verify-ca or verify-full.
    pub url: Secret,
    /// A PEM file with the authorities that the server's certificate is checked against, as `sslrootcert` in the URL; empty: those
    /// of the system.
    pub tls_ca: String,
    /// Largest number of control-plane connections of one process.
    pub control_connections: u32,
    /// Largest number of data-plane connections of one process.
    pub data_connections: u32,
    /// How long a caller waits for a free connection, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// The longest that one statement may run, in milliseconds.
    pub statement_timeout_ms: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("postgres://millrace@127.0.0.1:5432/millrace"),
            tls_ca: String::new(),
            control_connections: 8,
            data_connections: 12,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 30_000,
        }
    }
}

/// RabbitMQ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerConfig {
    /// Connection URL, `amqp://user:password@host:port/vhost`, or `amqps://` for TLS.
    pub url: Secret,
    /// A PEM file with the authorities that the broker's certificate is checked against; empty: those of the system.
    pub tls_ca: String,
    /// The first part of every queue and exchange name; two installations on one broker need two prefixes.
    pub prefix: String,
    /// AMQP heartbeat in seconds; a dead link is noticed after two of them.
    pub heartbeat_seconds: u16,
    /// Deadline of connecting, channel and consumer set-up together, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long a push waits for the broker's confirms before it answers 503, in milliseconds.
    pub confirm_timeout_ms: u64,
    /// The most bytes that may be published and not yet confirmed, per process.
    pub window_bytes: usize,
    /// Broker-side deliveries of one message before it goes to the dead-letter queue. A safety net: the true attempt
    /// count is in Postgres.
    pub delivery_limit: u32,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("amqp://guest:guest@127.0.0.1:5672/%2f"),
            tls_ca: String::new(),
            prefix: "millrace".to_owned(),
            heartbeat_seconds: 10,
            connect_timeout_ms: 5_000,
            confirm_timeout_ms: 5_000,
            window_bytes: 8_000_000,
            delivery_limit: 20,
        }
    }
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The address that `millrace-api` listens on.
    pub listen: SocketAddr,
    /// A PEM file with the certificate and its chain, for https; empty: http. Read again when it changes, and at SIGHUP.
    pub tls_certificate: String,
    /// A PEM file with the key of the certificate.
    pub tls_key: String,
    /// The most connections at once; further ones wait.
    pub connections: usize,
    /// How long the head of a request may take to arrive, in milliseconds; so long an idle connection is kept as well.
    pub head_timeout_ms: u64,
    /// Whether the last address in `x-forwarded-for` is taken for the caller's. Only behind a proxy that sets it.
    pub trust_forwarded_for: bool,
    /// The most request bodies, in decoded bytes, that are in memory at once; further requests get 429.
    pub memory_bytes: usize,
    /// Limit of a synchronous execute call, in milliseconds (contract 4.4).
    pub execute_timeout_ms: u64,
    /// How long open requests may take to end after SIGTERM, in milliseconds.
    pub drain_timeout_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls_certificate: String::new(),
            tls_key: String::new(),
            connections: 4_096,
            head_timeout_ms: 30_000,
            trust_forwarded_for: false,
            memory_bytes: 64_000_000,
            execute_timeout_ms: 55_000,
            drain_timeout_ms: 20_000,
        }
    }
}

/// Limits on input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest request body after decompression, in bytes.
    pub body_bytes: usize,
    /// Largest chunk (its `data`, uncompressed), in bytes; a larger one can never be stored (422).
    pub chunk_bytes: usize,
    /// Largest uploaded workbook or formula document, in bytes.
    pub service_bytes: usize,
    /// Chunks from this size on are compressed on their way through the broker, in bytes.
    pub compress_bytes: usize,
    /// Result chunks whose bodies together exceed this size are spread over several pulls, in bytes.
    pub pull_bytes: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: 32_000_000,
            chunk_bytes: 16_000_000,
            service_bytes: 32_000_000,
            compress_bytes: 64_000,
            pull_bytes: 32_000_000,
        }
    }
}

/// What is kept of results and failures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResultsConfig {
    /// Whether the inputs of failed chunks and failed records are kept, as long as results are, so that they can be done
    /// again. They hold what callers pushed; without them a redrive is impossible.
    pub keep_failed_inputs: bool,
}

impl Default for ResultsConfig {
    fn default() -> Self {
        Self { keep_failed_inputs: true }
    }
}

/// Clocks (contract 3.3). Only the database's clock decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClocksConfig {
    /// A batch without push, pull or status change for this long is closed by timeout, in seconds.
    pub inactivity_seconds: u64,
    /// A batch that has been paused for this long is closed by timeout, and its pause ends, in seconds.
    pub paused_seconds: u64,
    /// A closed and finished batch gives its reservation back after this long, in seconds.
    pub cool_off_seconds: u64,
    /// Chunks that stay `accepted` (published without a confirm) for this long are withdrawn, in seconds.
    pub accepted_seconds: u64,
    /// Queued chunks whose lane is empty and that no worker holds for this long end as failed: their message is gone, in seconds.
    /// Longer than `worker.silent_after_ms`, than the broker takes to notice a dead worker (twice its heartbeat), and than a
    /// worker may be cut off from the database.
    pub lost_seconds: u64,
    /// For how long after it was freed a lane is purged again and again, in seconds; 0: never. Deliveries that a dead connection
    /// held come back to it, and are of no use to anybody.
    pub purge_seconds: u64,
    /// Time between two comparisons of counters with rows, in seconds; 0 compares nothing. One reads every row of the days that
    /// have live or just finished batches.
    pub recount_seconds: u64,
    /// Pulled results can be fetched again for this long, in seconds.
    pub redeliver_seconds: u64,
    /// Results of a finished batch are kept for this long, in seconds.
    pub results_seconds: u64,
    /// Time between two rounds of the reaper, in milliseconds.
    pub reaper_ms: u64,
    /// Time between two looks at the live batches when no control event comes, in milliseconds.
    pub poll_ms: u64,
}

impl Default for ClocksConfig {
    fn default() -> Self {
        Self {
            inactivity_seconds: 1_800,
            paused_seconds: 86_400,
            cool_off_seconds: 120,
            accepted_seconds: 600,
            lost_seconds: 600,
            purge_seconds: 600,
            recount_seconds: 900,
            redeliver_seconds: 1_800,
            results_seconds: 86_400,
            reaper_ms: 1_000,
            poll_ms: 500,
        }
    }
}

/// Quotas of a tenant that sets none of its own (contract 3.6).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantsConfig {
    /// Bytes that the live batches of a tenant may reserve together, input and output.
    pub capacity_bytes: i64,
    /// Largest input buffer of one batch, in bytes.
    pub max_input_bytes: i64,
    /// Largest output buffer of one batch, in bytes.
    pub max_output_bytes: i64,
    /// Bytes of finished results that were not pulled, over all batches with a reservation, from which on pushes to any of them
    /// wait.
    pub output_capacity_bytes: i64,
    /// Most slots that a tenant may use.
    pub max_workers: i32,
    /// `initial_workers` of a batch that names none.
    pub initial_workers: i32,
}

impl Default for TenantsConfig {
    fn default() -> Self {
        Self {
            capacity_bytes: 500_000_000,
            max_input_bytes: 450_000_000,
            max_output_bytes: 450_000_000,
            output_capacity_bytes: 500_000_000,
            max_workers: 3_000,
            initial_workers: 10,
        }
    }
}

impl Config {
    /// Reads defaults, file and environment, in this order, and checks values against each other.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let variables: Vec<(String, String)> =
            std::env::vars().filter(|(name, _)| name.starts_with("MILLRACE_")).collect();
        Self::load_from(file, variables)
    }

    /// As [`Config::load`], with the given variables in place of the environment's.
    pub fn load_from(file: Option<&Path>, variables: Vec<(String, String)>) -> Result<Self, ConfigError> {
        let mut settings = Vec::new();
        for (name, value) in variables {
            if name.contains("__") {
                settings.push((name, value));
            } else if !is_other(&name) {
                return Err(ConfigError::UnknownVariable(name));
            }
        }
        let mut builder = config::Config::builder();
        if let Some(path) = file {
            let path: PathBuf = path.to_path_buf();
            builder = builder.add_source(File::from(path).format(FileFormat::Toml));
        }
        let environment = Environment::with_prefix("MILLRACE")
            .prefix_separator("_")
            .separator("__")
            .try_parsing(true)
            .list_separator(",")
            .with_list_parse_key("webhooks.allow_private")
            .source(Some(settings.into_iter().collect()));
        let config: Self = builder.add_source(environment).build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let contradiction = |text: &str| Err(ConfigError::Contradiction(text.to_owned()));
        if self.limits.chunk_bytes > self.limits.body_bytes {
            return contradiction(
                "limits.chunk_bytes is larger than limits.body_bytes: no such chunk can arrive",
            );
        }
        if self.limits.body_bytes > self.http.memory_bytes {
            return contradiction(
                "limits.body_bytes is larger than http.memory_bytes: such a push can never start",
            );
        }
        if self.limits.chunk_bytes > self.worker.memory_bytes {
            return contradiction(
                "limits.chunk_bytes is larger than worker.memory_bytes: no worker could hold such a chunk",
            );
        }
        if self.worker.chunk_timeout_ms > 25 * 60_000 {
            return contradiction(
                "worker.chunk_timeout_ms must stay below 25 minutes: the broker gives up on a delivery after 30",
            );
        }
        if self.clocks.accepted_seconds * 1_000 <= self.broker.confirm_timeout_ms {
            return contradiction("clocks.accepted_seconds must be longer than broker.confirm_timeout_ms");
        }
        if self.worker.silent_after_ms < 3 * self.worker.heartbeat_ms {
            return contradiction("worker.silent_after_ms must be at least three times worker.heartbeat_ms");
        }
        if self.http.tls_certificate.is_empty() != self.http.tls_key.is_empty() {
            return contradiction("http.tls_certificate and http.tls_key go together");
        }
        if self.http.connections == 0 || self.http.head_timeout_ms == 0 {
            return contradiction("http.connections and http.head_timeout_ms must be above 0");
        }
        self.auth.check()?;
        self.dashboard.check()?;
        self.files.check()?;
        self.telemetry.otlp.check()?;
        if self.broker.prefix.is_empty() || self.broker.prefix.len() > 64 {
            return contradiction("broker.prefix must have 1 to 64 characters");
        }
        let webhooks = &self.webhooks;
        if webhooks.concurrency.min(webhooks.per_host).min(webhooks.tenant_concurrency) == 0 {
            return contradiction(
                "webhooks.concurrency, webhooks.per_host and webhooks.tenant_concurrency must be above 0",
            );
        }
        Ok(())
    }

    /// The deadline of a push's confirms.
    pub fn confirm_timeout(&self) -> Duration {
        Duration::from_millis(self.broker.confirm_timeout_ms)
    }
}

#[cfg(test)]
mod tests;
