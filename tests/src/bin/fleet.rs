//! One fleet for a program that is not a Rust test: prints one JSON line with `url`, `tenant`, `key`, `database_url` and
//! `folder`, and runs until its standard input ends or it gets SIGTERM or SIGINT.
//!
//! With `--setting`, settings are named as in the configuration file: `--setting worker.slots=1`.

use std::io::Write as _;

use anyhow::{Context, Result};
use clap::Parser;
use millrace_tests::{Fleet, FleetOptions};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Parser)]
struct Options {
    /// How many workers
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Publish the sales workbook as sales/SalesExample
    #[arg(long)]
    sales: bool,
    /// A setting of every process
    #[arg(long = "setting", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut wanted = FleetOptions::workers(options.workers);
    for setting in &options.settings {
        let (key, value) = setting
            .split_once('=')
            .with_context(|| format!("--setting {setting}: write SECTION.KEY=VALUE"))?;
        wanted = wanted.set(key, value);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let fleet = if options.sales { Fleet::sales(wanted).await? } else { Fleet::start(wanted).await? };

    let about = serde_json::json!({
        "url": fleet.url(),
        "tenant": fleet.tenant(),
        "key": fleet.key(),
        "database_url": fleet.database().url,
        "folder": fleet.folder(),
    });
    let mut out = std::io::stdout();
    writeln!(out, "{about}")?;
    out.flush()?;

    // A caller that dies closes the pipe: nothing is left behind. Its thread may hang in a read when a signal comes first;
    // it ends with the process.
    let (ended, end) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let _ = std::io::copy(&mut input, &mut std::io::sink());
        drop(ended);
    });
    tokio::select! {
        _ = end => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
