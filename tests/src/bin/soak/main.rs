//! Runs batches for minutes while processes are killed and frozen, the broker and the database restarted and links cut; then
//! settles accounts: nothing lost, nothing doubled, budgets zero.
//!
//! `./tests/soak [--minutes N] [--seed N] [--chaos-every SECONDS] [--workers N] [--batches N] [--json FILE]` builds what is needed,
//! starts private services, runs this program and stops them. By hand:
//!
//! ```sh
//! deploy/services start .millrace/soak && eval "$(deploy/services env .millrace/soak)"
//! cargo build --workspace --bins && target/debug/soak --minutes 2
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the report goes to stdout, progress to stderr"
)]
#![expect(clippy::cast_precision_loss, reason = "figures to read, far below the limits of the types")]

mod batch;
mod chaos;
mod memory;
mod records;
mod report;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use futures_util::future::join_all;
use millrace_tests::proxy::Proxy;
use millrace_tests::{Fleet, FleetOptions, Services};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::batch::Caller;
use crate::chaos::Chaos;
use crate::report::Report;
use crate::tally::Tally;

/// How long everything may take to come to rest after the last fault.
const REST: Duration = Duration::from_secs(180);

/// Runs batches under faults, and checks that nothing is lost and nothing doubled.
#[derive(Debug, Parser)]
#[command(name = "soak")]
pub struct Options {
    /// How long batches are opened and faults made.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// Makes the batches, the records and the order of the faults.
    #[arg(long, value_name = "N", default_value_t = 20_261_129)]
    seed: u64,
    /// Seconds of peace between two faults.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    chaos_every: f64,
    /// Worker processes.
    #[arg(long, value_name = "N", default_value_t = 2)]
    workers: usize,
    /// Batches at once.
    #[arg(long, value_name = "N", default_value_t = 10)]
    batches: usize,
    /// Tenants that own them.
    #[arg(long, value_name = "N", default_value_t = 3)]
    tenants: usize,
    /// Writes the report to this file as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Shows progress.
fn say(text: &str) {
    eprintln!("{text}");
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    // Whatever ends this program, the fleet is dropped, which ends and removes its processes.
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        outcome = soak(&options) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    }
}

async fn soak(options: &Options) -> Result<ExitCode> {
    let services = Services::from_env()?;
    let broker = Proxy::start(services.broker_address()?).await?;
    let database = Proxy::start(services.database_address()?).await?;
    say(&format!("seed {}; starting Millrace", options.seed));
    let settings = FleetOptions::workers(options.workers.max(1))
        .broker_at(broker.address())
        .database_at(database.address())
        .set("broker.heartbeat_seconds", 2)
        .set("clocks.cool_off_seconds", 2);
    let fleet = Fleet::sales(settings).await?;
    let mut tenants = vec![(fleet.tenant().to_owned(), fleet.key().to_owned())];
    for number in 1..options.tenants.max(1) {
        let name = format!("tenant-{number}");
        let key = fleet.create_tenant(&name).await?;
        let caller = fleet.client().as_tenant(&name, &key);
        batch::publish_sales(&caller).await?;
        tenants.push((name, key));
    }

    let began = Instant::now();
    let until = began + Duration::from_secs_f64((options.minutes * 60.0).clamp(1.0, 1e6));
    let tally = Arc::new(Tally::new());
    let (url, urls) = watch::channel(fleet.url());
    let callers: Vec<Caller> = (0..options.batches.max(1))
        .map(|number| {
            let (tenant, key) = &tenants[number % tenants.len()];
            Caller::new(fleet.client().as_tenant(tenant, key), urls.clone(), Arc::clone(&tally))
        })
        .collect();
    let memory = memory::Watch::start();
    let mut chaos = Chaos::new(fleet, services, broker, database, url, memory.processes(), options.seed);

    let working = async {
        let work = callers.iter().enumerate().map(|(number, caller)| async move {
            let mut random =
                StdRng::seed_from_u64(options.seed.wrapping_mul(1_000).wrapping_add(number as u64));
            while Instant::now() < until {
                let seed = random.random();
                if let Err(error) = caller.run_batch(seed).await {
                    caller.problem(format!("a batch from seed {seed}: {error:#}"));
                }
            }
        });
        let all = join_all(work);
        tokio::time::timeout(until.saturating_duration_since(Instant::now()) + REST, all).await.is_ok()
    };
    let ((complete, ()), made) = tokio::join!(
        async { tokio::join!(working, progress(&tally, began, until)) },
        chaos.run(until, Duration::from_secs_f64(options.chaos_every.clamp(0.1, 3_600.0)))
    );
    made?;
    if !complete {
        tally.problem(format!("batches were still unfinished {} s after the last fault", REST.as_secs()));
    }
    let settled = chaos.settle(&tenants).await.context("settling the accounts")?;
    let report = Report::new(options, began.elapsed(), &tally, chaos.made(), memory.finish().await, settled);
    if !report.is_good() {
        chaos.keep_logs()?;
    }
    println!("{}", report.render());
    if let Some(file) = &options.json {
        std::fs::write(file, report.json()?).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn progress(tally: &Tally, began: Instant, until: Instant) {
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(10).min(until.saturating_duration_since(Instant::now())))
            .await;
        say(&format!("{:4.0} s  {}", began.elapsed().as_secs_f64(), tally.line()));
    }
}
