//! The `millrace-api` server.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_common::isolate;
use millrace_common::startup::{self, ServerOptions};

/// The HTTP server of Millrace.
#[derive(Debug, Parser)]
#[command(name = "millrace-api", version)]
struct Options {
    #[command(flatten)]
    server: ServerOptions,
    /// Bring the database's schema up to date before serving.
    #[arg(long)]
    migrate: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the database's schema up to date, and end.
    Migrate,
    /// Write the OpenAPI document of all routes to standard output.
    Openapi,
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(code) = isolate::child::run_if_asked() {
        return Ok(code);
    }
    let options = Options::parse();
    if let Some(Command::Openapi) = options.command {
        std::io::stdout().write_all(millrace_api::openapi::text()?.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let code = startup::run(&options.server, |config, shutdown| match options.command {
        Some(Command::Migrate) => millrace_api::migrate(config, shutdown),
        Some(Command::Openapi) | None => millrace_api::serve(config, options.migrate, shutdown),
    })?;
    Ok(code)
}
