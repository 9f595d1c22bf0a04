//! Measures the floor and Millrace in the same run, and prints the table of design section 10.
//!
//! `./tests/bench [--quick] [--only NAME]… [--seconds N] [--seed N] [--json FILE]` builds what is needed, starts private
//! services, runs this program and stops them. By hand:
//!
//! ```sh
//! deploy/services start .millrace/bench && eval "$(deploy/services env .millrace/bench)"
//! cargo build --release -p millrace-api -p millrace-cli -p millrace-worker -p millrace-tests --bins && target/release/bench
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table goes to stdout, progress to stderr"
)]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures to read, far below the limits of the types"
)]

mod cpu;
mod floor;
mod latency;
mod load;
mod machine;
mod measures;
mod memory;
mod payload;
mod rate;
mod recipes;
mod table;
mod tenants;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use millrace_tests::{Fleet, Services};
use tokio::signal::unix::{SignalKind, signal};

use crate::machine::Machine;
use crate::table::Row;

/// Measures what the broker and the database can do, and what Millrace makes of it.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Options {
    /// A short run: figures to compare changes with, not to publish.
    #[arg(long)]
    quick: bool,
    /// Only this measure; may be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<Measure>,
    /// How long each round of a throughput measure pushes.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Rounds of floor and Millrace in turns; the median counts.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Makes the records.
    #[arg(long, value_name = "N", default_value_t = 20_261_121)]
    seed: u64,
    /// Callers that push.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pushers: usize,
    /// Callers that pull.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pullers: usize,
    /// Chunks of one push; 10 of 200 records, or 100 of 10 records, unless given.
    #[arg(long, value_name = "N")]
    chunks_per_push: Option<usize>,
    /// Worker processes.
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
    /// Writes the figures to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Options {
    fn time(&self) -> Duration {
        let seconds = self.seconds.unwrap_or(if self.quick { 3.0 } else { 10.0 });
        Duration::from_secs_f64(seconds.clamp(0.1, 3_600.0))
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
    }
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// The floor alone, both sizes; needs no Millrace.
    Floor,
    /// Throughput with 200 records a chunk, and status calls meanwhile.
    Large,
    /// Throughput with 10 records a chunk.
    Small,
    /// Idle latency.
    Latency,
    /// Rates from 10 thousand to 10 million records.
    Growth,
    /// Rates with 1, 20 and 100 live batches.
    Batches,
    /// Memory under a flood.
    Memory,
    /// The time to the first result after an outage of the broker.
    Outage,
    /// What nine tenants wait for a result while a tenth floods.
    Tenants,
    /// Recipes: creation, jobs, lists.
    Recipes,
}

impl Measure {
    /// What runs when nothing is chosen; the floor is part of the first two.
    const ALL: [Self; 9] = [
        Self::Large,
        Self::Small,
        Self::Latency,
        Self::Growth,
        Self::Batches,
        Self::Memory,
        Self::Outage,
        Self::Tenants,
        Self::Recipes,
    ];

    /// Whether it runs on the fleet that is shared between measures.
    const fn shares_the_fleet(self) -> bool {
        matches!(self, Self::Large | Self::Small | Self::Latency | Self::Growth | Self::Batches)
    }
}

/// Shows progress.
fn say(text: &str) {
    eprintln!("{text}");
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    // Whatever ends this program, the fleets that it started are dropped, which ends and removes them.
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = measure(&options) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    }
}

async fn measure(options: &Options) -> Result<ExitCode> {
    let services = Services::from_env()?;
    let machine = Machine::describe(&services).await?;
    say(&machine.render());
    let chosen = if options.only.is_empty() { Measure::ALL.to_vec() } else { options.only.clone() };
    let fleet = if chosen.iter().any(|measure| measure.shares_the_fleet()) {
        say("starting Millrace");
        Some(measures::start_fleet(options).await?)
    } else {
        None
    };
    let mut rows = run(options, &services, &chosen, fleet.as_ref(), Measure::shares_the_fleet).await;
    drop(fleet);
    rows.extend(run(options, &services, &chosen, None, |measure| !measure.shares_the_fleet()).await);

    println!("{}seed      {}\n\n{}", machine.render(), options.seed, table::render(&rows));
    if let Some(file) = &options.json {
        let figures = serde_json::json!({
            "machine": machine,
            "seed": options.seed,
            "quick": options.quick,
            "rows": rows.iter().map(|row| serde_json::json!({
                "row": row, "ratio": row.ratio(), "passes": row.passes(),
            })).collect::<Vec<_>>(),
        });
        std::fs::write(file, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| format!("writing {}", file.display()))?;
    }
    let complete = rows.iter().all(|row| !row.note.starts_with("FAILED"));
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the chosen measures that `now` is true for; one that fails becomes a row that says so.
async fn run(
    options: &Options,
    services: &Services,
    chosen: &[Measure],
    fleet: Option<&Fleet>,
    now: impl Fn(Measure) -> bool,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for measure in chosen.iter().copied().filter(|measure| now(*measure)) {
        let name = measure.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let began = Instant::now();
        say(&format!("{name} …"));
        match make(options, services, fleet, measure).await {
            Ok(more) => rows.extend(more),
            Err(error) => {
                say(&format!("  {error:#}"));
                rows.push(Row::failed(&name, &error));
            }
        }
        say(&format!("{name} took {:.0} s", began.elapsed().as_secs_f64()));
    }
    rows
}

async fn make(
    options: &Options,
    services: &Services,
    fleet: Option<&Fleet>,
    measure: Measure,
) -> Result<Vec<Row>> {
    let shared = || fleet.context("Millrace does not run");
    match measure {
        Measure::Floor => {
            let mut rows = measures::throughput(options, services, None, measures::LARGE).await?;
            rows.extend(measures::throughput(options, services, None, measures::SMALL).await?);
            Ok(rows)
        }
        Measure::Large => measures::throughput(options, services, Some(shared()?), measures::LARGE).await,
        Measure::Small => measures::throughput(options, services, Some(shared()?), measures::SMALL).await,
        Measure::Latency => measures::idle_latency(options, shared()?).await,
        Measure::Growth => measures::growth(options, shared()?).await,
        Measure::Batches => measures::batches(options, shared()?).await,
        Measure::Memory => measures::memory(options).await,
        Measure::Outage => measures::outage(options, services).await,
        Measure::Tenants => measures::tenants(options).await,
        Measure::Recipes => recipes::measure(options, services).await,
    }
}
