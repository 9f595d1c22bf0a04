//! One start-up path for every server binary: options, configuration, telemetry, runtime, signals, patience.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::shutdown;
use crate::telemetry::{self, TelemetryError};
use crate::trace::{self, TraceError};

/// Options that every server binary has.
#[derive(Debug, Clone, clap::Args)]
pub struct ServerOptions {
    /// The configuration file; environment variables override it.
    #[arg(long, env = "MILLRACE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration, print what is in force (secrets redacted), and end.
    #[arg(long)]
    pub check_config: bool,
}

/// Why a process could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The configuration was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Logging could not start.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// Traces could not start.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The configuration cannot be shown.
    #[error("configuration: {0}")]
    Show(#[from] toml::ser::Error),
    /// The failpoints of a test build cannot be read.
    #[cfg(feature = "test-failpoints")]
    #[error(transparent)]
    Failpoints(#[from] crate::failpoint::Unreadable),
    /// The runtime or the signal handlers could not start.
    #[error("start-up: {0}")]
    Io(#[from] std::io::Error),
}

/// Runs a server: reads the configuration, starts telemetry and the runtime, and calls `body` with a token that SIGTERM
/// cancels. Errors of `body` are logged and make the exit code 1.
pub fn run<F, B, E>(options: &ServerOptions, body: B) -> Result<ExitCode, StartupError>
where
    B: FnOnce(Config, CancellationToken) -> F,
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    let config = Config::load(options.config.as_deref())?;
    if options.check_config {
        #[expect(clippy::print_stdout, reason = "showing the configuration is what --check-config is for")]
        {
            print!("{}", toml::to_string(&config)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    telemetry::start(&config.telemetry)?;
    #[cfg(feature = "test-failpoints")]
    crate::failpoint::arm()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(async {
        let shutdown = shutdown::on_signal()?;
        let traces = trace::start(&config.telemetry.otlp, &program())?;
        let code = match body(config, shutdown).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(%error, "ended by an error");
                ExitCode::FAILURE
            }
        };
        if let Some(traces) = traces {
            traces.end().await;
        }
        Ok::<_, StartupError>(code)
    })?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(code)
}

/// The name of the program that runs.
pub fn program() -> String {
    let path = std::env::current_exe().ok();
    path.as_deref()
        .and_then(std::path::Path::file_stem)
        .map_or_else(|| "millrace".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Waiting times that double up to a cap, with jitter, so that many processes do not come back at the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    cap: Duration,
}

impl Backoff {
    /// Begins at `first` and never exceeds `cap`.
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { next: first, cap }
    }

    /// The next waiting time: between half and all of the current step.
    pub fn next_wait(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.cap);
        step.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

/// Calls `attempt` until it succeeds, with growing pauses and a warning each time; `None` when shutdown comes first.
pub async fn patiently<T, E, F>(
    what: &str,
    shutdown: &CancellationToken,
    mut attempt: impl FnMut() -> F,
) -> Option<T>
where
    F: Future<Output = Result<T, E>>,
    E: std::fmt::Display,
{
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let result = tokio::select! {
            result = attempt() => result,
            () = shutdown.cancelled() => return None,
        };
        match result {
            Ok(value) => return Some(value),
            Err(error) => {
                let wait = backoff.next_wait();
                tracing::warn!(%error, wait_ms = wait.as_millis(), "waiting for {what}");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shutdown.cancelled() => return None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_no_further() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for step in [100_u64, 200, 400, 800, 1_000, 1_000] {
            let wait = backoff.next_wait();
            assert!(
                wait >= Duration::from_millis(step / 2) && wait <= Duration::from_millis(step),
                "{step}: {wait:?}"
            );
        }
    }
}
