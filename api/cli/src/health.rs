//! `millrace health`: a probe for where nothing else can ask, such as an image without a shell.

use std::time::Duration;

use clap::{Args, ValueEnum};
use millrace_common::https;

use super::error::CliError;
use super::{Globals, print_out, profile};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The API, where it listens unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// Help under `millrace health --help`.
pub const HELP: &str = "\
Needs no key and no tenant. The exit code is 0 when the answer is yes, and 1 when it is no or none comes within 5 seconds.

Examples:
  millrace health
  millrace --url http://127.0.0.1:8081 health --probe livez      a worker (worker.listen)";

/// `millrace health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// What is asked
    #[arg(long, value_enum, default_value_t, value_name = "PROBE")]
    probe: Probe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Probe {
    /// Whether the process lives
    Livez,
    /// Whether it can work: database and broker are there
    #[default]
    Readyz,
    /// Whether the API serves requests, without asking database and broker
    Health,
}

impl Probe {
    const fn path(self) -> &'static str {
        match self {
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Health => "/health",
        }
    }
}

/// Asks once.
pub async fn ask(globals: &Globals, args: &HealthArgs) -> Result<(), CliError> {
    let url = profile::server_url(globals.url.as_deref().unwrap_or(DEFAULT_URL))?;
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let client = https::client_within(globals.ca.as_deref(), url.starts_with("https://"), DEADLINE)
        .map_err(|error| failed(&error))?
        // A probe asks the process beside it, whatever the environment says of proxies.
        .no_proxy()
        .build()
        .map_err(|error| failed(&error))?;
    let answer = async {
        let answer = client.get(format!("{url}{}", args.probe.path())).send().await?;
        Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
    };
    let (status, text) = answer.await.map_err(|_| CliError::Failed(format!("no answer from {url}")))?;
    let text = text.trim_end();
    if status.is_success() {
        print_out(&format!("{text}\n"));
        return Ok(());
    }
    Err(CliError::Failed(format!("{url} says {}: {text}", status.as_u16())))
}
