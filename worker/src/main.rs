//! The worker: takes chunks from lanes, evaluates them, and commits their results.

use std::process::ExitCode;

use clap::Parser;
use millrace_common::isolate;
use millrace_common::startup::{self, ServerOptions};

/// Millrace worker: takes chunks from the lanes of live batches, evaluates them on every core, and writes the results to the
/// output buffer. Start as many as the load needs; SIGTERM lets started chunks end first.
#[derive(Debug, Parser)]
#[command(name = "millrace-worker", version)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = isolate::child::run_if_asked() {
        return Ok(code);
    }
    let options = Options::parse();
    Ok(startup::run(&options.server, millrace_worker::serve)?)
}
