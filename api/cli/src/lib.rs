//! The `millrace` command line: sign in, services, batches, recipes, tenants and keys.
//!
//! Results go to standard output, everything said along the way to standard error. Exit codes: 0 done, 1 failed, 2 the command
//! line is wrong; those of `doctor` say what it found.

#![expect(clippy::print_stderr, reason = "a command talks to whoever called it")]

mod admin;
mod audit;
mod batch;
mod client;
mod dataset;
mod doctor;
mod error;
mod export;
mod failed;
mod health;
mod profile;
#[cfg(test)]
mod properties;
mod recipe;
mod run;
mod service;
mod table;
mod watch;
mod webhook;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};

use client::{Client, Patience};
use error::CliError;

/// Examples under `millrace --help`.
const EXAMPLES: &str = "\
Examples:
  millrace login --url http://127.0.0.1:8080 --tenant acme
  millrace service upload sales.xlsx demo/sales
  millrace batch run demo/sales --input sales.csv --output totals.csv --key sales_id
  millrace batch status 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --watch
  millrace recipe batch create loan --dataset 7 --watch

The API key comes from MILLRACE_API_KEY or from the profile that `millrace login` wrote; it is no option, because \
command lines are visible to other users of a machine. `millrace tenant`, `millrace key` and `millrace audit` talk to the database \
instead and read the server's configuration, as does `millrace doctor`.

Exit codes: 0 done, 1 failed, 2 the command line is wrong.";

/// Run calculations over many records on a Millrace server.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, propagate_version = true, max_term_width = 120, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command has.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection and output")]
pub struct Globals {
    /// The server, for example http://127.0.0.1:8080
    #[arg(long, global = true, env = "MILLRACE_URL", hide_env_values = true, value_name = "URL")]
    url: Option<String>,
    /// The tenant
    #[arg(long, global = true, env = "MILLRACE_TENANT", hide_env_values = true, value_name = "NAME")]
    tenant: Option<String>,
    /// A PEM file with the authorities that an https server is checked against [default: those of the system]
    #[arg(long, global = true, env = "MILLRACE_CA", hide_env_values = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The profile to use, or for `login` to write [default: default]
    #[arg(long, global = true, env = "MILLRACE_PROFILE", hide_env_values = true, value_name = "NAME")]
    profile: Option<String>,
    /// How lists and summaries look
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output_format: OutputFormat,
}

/// How lists and summaries look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON document on standard output.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Store the server's address, a tenant and an API key as a profile
    #[command(after_help = LOGIN_HELP)]
    Login(LoginArgs),
    /// Upload, list and show services
    #[command(subcommand)]
    Service(service::ServiceCommand),
    /// Run a service over a file, and look after batches
    #[command(subcommand)]
    Batch(batch::BatchCommand),
    /// Graphs of job types, and their runs
    #[command(subcommand, after_help = recipe::HELP)]
    Recipe(recipe::RecipeCommand),
    /// What a node of a recipe computes
    #[command(subcommand, after_help = recipe::JOB_TYPE_HELP)]
    JobType(recipe::JobTypeCommand),
    /// The runs of nodes
    #[command(subcommand, after_help = recipe::JOB_HELP)]
    Job(recipe::JobCommand),
    /// Sets of inputs for recipes
    #[command(subcommand, after_help = dataset::HELP)]
    Dataset(dataset::DatasetCommand),
    /// Tell others when batches end
    #[command(subcommand, after_help = webhook::HELP)]
    Webhook(webhook::WebhookCommand),
    /// Create and list tenants (in the database)
    #[command(subcommand)]
    Tenant(admin::TenantCommand),
    /// Create, list and revoke API keys (in the database)
    #[command(subcommand)]
    Key(admin::KeyCommand),
    /// Show who changed what (in the database)
    #[command(after_help = audit::HELP)]
    Audit(audit::AuditArgs),
    /// Ask a server or a worker whether it works
    #[command(after_help = health::HELP)]
    Health(health::HealthArgs),
    /// Look for what is wrong with an installation, and say what to do
    #[command(after_help = doctor::HELP)]
    Doctor(doctor::DoctorArgs),
}

/// `millrace login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// Store the key without trying it
    #[arg(long)]
    unchecked: bool,
}

/// Help under `millrace login --help`.
const LOGIN_HELP: &str = "\
The key is asked for without echo, or read from the first line of standard input when that is no terminal. It is tried \
with one call, and stored in millrace/config.toml of your configuration directory, which only you can read.

Examples:
  millrace login --url http://127.0.0.1:8080 --tenant acme
  millrace key create --tenant acme --owner ann --quiet > key
  millrace login --url http://127.0.0.1:8080 --tenant acme < key";

/// Where the server's configuration is, for the commands that talk to the database.
#[derive(Debug, Args)]
struct ServerConfig {
    /// The server's configuration file; MILLRACE_DATABASE__URL overrides its database
    #[arg(long, env = "MILLRACE_CONFIG", hide_env_values = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(dispatch(cli));
    // A blocked read of standard input must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // What was found has been told.
        Err(CliError::Found(code)) => ExitCode::from(code),
        Err(error) => {
            say(&format!("error: {error}"));
            if let Some(advice) = error.advice() {
                say(&format!("       {advice}"));
            }
            ExitCode::from(error.exit_code())
        }
    }
}

async fn dispatch(cli: Cli) -> Result<(), CliError> {
    let Cli { globals, command } = cli;
    match command {
        Command::Login(args) => profile::login(&globals, &args).await,
        Command::Service(command) => service::run(&globals, command).await,
        Command::Batch(command) => batch::run(&globals, command).await,
        Command::Recipe(command) => recipe::run(&globals, command).await,
        Command::JobType(command) => recipe::job_type(&globals, command).await,
        Command::Job(command) => recipe::job(&globals, command).await,
        Command::Dataset(command) => dataset::run(&globals, command).await,
        Command::Webhook(command) => webhook::run(&globals, command).await,
        Command::Tenant(command) => admin::tenant(&globals, command).await,
        Command::Key(command) => admin::key(&globals, command).await,
        Command::Audit(args) => audit::show(&globals, &args).await,
        Command::Health(args) => health::ask(&globals, &args).await,
        Command::Doctor(args) => doctor::examine(&globals, &args).await,
    }
}

impl Globals {
    fn client(&self) -> Result<Client, CliError> {
        Ok(Client::new(profile::connection(self)?)?)
    }

    /// For an upload, which is sent once where it comes from standard input.
    fn upload_client(&self, repeatable: bool) -> Result<Client, CliError> {
        let client = Client::for_uploads(profile::connection(self)?)?;
        let patience = if repeatable { Patience::SHORT } else { Patience::NONE };
        Ok(client.with_patience(patience, Arc::new(|text: &str| say(text))))
    }

    /// Shows a result: as the document it is, or as text made of it.
    fn show(&self, document: &serde_json::Value, text: impl FnOnce() -> String) {
        match self.output_format {
            OutputFormat::Json => print_out(&format!("{document:#}\n")),
            OutputFormat::Text => print_out(&text()),
        }
    }
}

/// Writes a result. A reader that went away (`| head`) is no error.
fn print_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Says something that is not the result.
fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests;
