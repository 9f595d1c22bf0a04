//! `millrace doctor`: looks at the configuration, the broker, the database and the fleet, and says what is wrong and what to do.
//!
//! Nothing is changed: queues are declared only where they exist, which compares them, and the one message that is published
//! reaches no queue.

mod broker;
mod configuration;
mod database;
mod finding;
mod fleet;
mod management;

use std::path::PathBuf;

use clap::Args;
use millrace_common::config::Config;
use millrace_common::store::Store;
use serde_json::json;

use super::error::CliError;
use super::table::table;
use super::{Globals, OutputFormat, ServerConfig, print_out};
use finding::{Findings, Status};

/// Help under `millrace doctor --help`.
pub const HELP: &str = "\
Reads the configuration of the API and the workers (--config, MILLRACE_*), and connects to the database and the broker as they do; run \
it where they run. --url or MILLRACE_URL adds the API. RabbitMQ's management API, when it is reachable, adds policies, alarms and disk. \
Nothing is changed.

Exit codes: 0 all is well, 1 there are warnings, 2 there are errors.

Examples:
  millrace doctor --config /etc/millrace.toml
  millrace doctor --json | jq '.findings[] | select(.status != \"ok\")'";

/// `millrace doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The findings as one JSON document, as --output-format json
    #[arg(long)]
    json: bool,
    /// RabbitMQ's management API [default: the broker's host, port 15672, or 15671 with TLS]
    #[arg(long, value_name = "URL")]
    management_url: Option<String>,
    #[command(flatten)]
    server: ServerConfig,
}

/// Runs `millrace doctor`.
pub async fn examine(globals: &Globals, args: &DoctorArgs) -> Result<(), CliError> {
    let mut findings = Findings::default();
    let file = args.server.config.clone();
    findings.enter("configuration");
    match Config::load(file.as_deref()) {
        Ok(config) => look(globals, args, &config, file, &mut findings).await,
        Err(error) => findings.error(
            "readable",
            error.to_string(),
            "API and workers refuse to start with it",
            "correct the configuration; `deploy/millrace.toml` has every setting",
        ),
    }
    show(globals, args, &findings);
    match findings.worst() {
        Status::Ok | Status::Skipped => Ok(()),
        Status::Warning => Err(CliError::Found(1)),
        Status::Error => Err(CliError::Found(2)),
    }
}

async fn look(
    globals: &Globals,
    args: &DoctorArgs,
    config: &Config,
    file: Option<PathBuf>,
    findings: &mut Findings,
) {
    configuration::check(config, file.as_deref(), findings);
    findings.enter("database");
    let (mut fleet, mut connected) = (None, None);
    match Store::open(&config.database, "millrace-doctor") {
        Ok(store) => {
            fleet = database::check(&store, config, findings).await;
            connected = Some(store);
        }
        Err(error) => database::unreachable(&error, findings),
    }
    findings.enter("broker");
    let lanes = fleet.as_ref().map(|facts| facts.lanes.as_slice());
    broker::check(config, lanes, args.management_url.as_deref(), globals.ca.as_deref(), findings).await;
    findings.enter("fleet");
    if let Some(facts) = &fleet {
        fleet::check(facts, config, findings);
    }
    fleet::check_api(globals, connected.as_ref(), findings).await;
}

fn show(globals: &Globals, args: &DoctorArgs, findings: &Findings) {
    let counts = [Status::Error, Status::Warning, Status::Ok, Status::Skipped]
        .map(|status| (status.name(), findings.count(status)));
    if args.json || globals.output_format == OutputFormat::Json {
        let counts: serde_json::Map<_, _> =
            counts.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
        let document = json!({
            "status": findings.worst().name(), "version": env!("CARGO_PKG_VERSION"), "counts": counts, "findings": findings.all(),
        });
        print_out(&format!("{document:#}\n"));
        return;
    }
    let rows: Vec<_> = findings
        .all()
        .iter()
        .map(|finding| vec![finding.status.name().to_owned(), finding.check.clone(), finding.seen.clone()])
        .collect();
    let mut text = table(&["STATUS", "CHECK", "SEEN"], &rows);
    let mut told: Vec<_> = findings.all().iter().filter(|finding| finding.status > Status::Ok).collect();
    told.sort_by_key(|finding| std::cmp::Reverse(finding.status));
    for finding in told {
        text.push_str(&format!("\n{}: {}: {}\n", finding.status.name(), finding.check, finding.seen));
        for (label, said) in [("why", finding.why), ("do", finding.advice.as_str())] {
            if !said.is_empty() {
                text.push_str(&format!("  {label}: {said}\n"));
            }
        }
    }
    let counts: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    text.push_str(&format!("\n{}\n", counts.join(", ")));
    print_out(&text);
}
