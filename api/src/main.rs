//! The `millrace-api` server.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use millrace_api::ServeError;
use millrace_common::isolate;
use millrace_common::startup::{self, ServerOptions, patiently};
use millrace_common::store::Store;

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
    let code = startup::run(&options.server, async |config, shutdown| match options.command {
        Some(Command::Migrate) => {
            let store = Store::open(&config.database, "millrace-migrate")?;
            if patiently("the database", &shutdown, || store.ping()).await.is_some() {
                store.migrate().await?;
                tracing::info!("the schema is up to date");
            }
            Ok(())
        }
        Some(Command::Openapi) | None => millrace_api::serve(config, options.migrate, shutdown).await,
    } as Result<(), ServeError>)?;
    Ok(code)
}
