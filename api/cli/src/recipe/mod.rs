//! `millrace recipe`, `millrace job-type` and `millrace job`: graphs of calculations and their runs, over the Scale v6 protocol.

mod batches;
pub mod cells;
mod compare;
mod definition;
mod diff;
pub mod document;
mod draft;
mod job_types;
mod jobs;
pub mod list;
mod progress;
mod runs;
mod types;
mod watch;

use clap::Subcommand;

use super::Globals;
use super::error::CliError;

pub use job_types::{HELP as JOB_TYPE_HELP, JobTypeCommand};
pub use jobs::{HELP as JOB_HELP, JobCommand};
pub use types::parameter;

/// Help under `millrace recipe --help`.
pub const HELP: &str = "\
A recipe type is a graph whose nodes are job types, conditions and other recipe types; a recipe is one run of it. A batch makes a \
recipe for each member of a dataset (`millrace dataset`), or for each recipe of the batch before it.

Examples:
  millrace recipe type create deploy/examples/loans/loan.json
  millrace recipe batch create loan --dataset 7 --watch
  millrace recipe batch create loan --previous 3 --watch
  millrace recipe batch compare 3
  millrace recipe list --batch 3";

/// `millrace recipe`.
#[derive(Debug, Subcommand)]
pub enum RecipeCommand {
    /// Graphs of job types, in revisions
    #[command(subcommand)]
    Type(types::TypeCommand),
    /// Recipes by the thousand: over a dataset, or after another batch
    #[command(subcommand)]
    Batch(batches::BatchCommand),
    /// Make one recipe, outside of batches
    #[command(after_help = runs::CREATE_HELP)]
    Create(runs::CreateArgs),
    /// List recipes, those that changed last first
    List(Box<runs::ListArgs>),
    /// Show a recipe: its input, its nodes, and what they came to
    Show(runs::RecipeId),
    /// Do a recipe again: what changed in its type, what is forced, and all that follows
    Reprocess(runs::ReprocessArgs),
}

/// Runs `millrace recipe`.
pub async fn run(globals: &Globals, command: RecipeCommand) -> Result<(), CliError> {
    match command {
        RecipeCommand::Type(command) => types::run(globals, command).await,
        RecipeCommand::Batch(command) => batches::run(globals, command).await,
        RecipeCommand::Create(args) => runs::create(globals, args).await,
        RecipeCommand::List(args) => runs::list(globals, *args).await,
        RecipeCommand::Show(recipe) => runs::show(globals, &recipe).await,
        RecipeCommand::Reprocess(args) => runs::reprocess(globals, args).await,
    }
}

/// Runs `millrace job-type`.
pub async fn job_type(globals: &Globals, command: JobTypeCommand) -> Result<(), CliError> {
    job_types::run(globals, command).await
}

/// Runs `millrace job`.
pub async fn job(globals: &Globals, command: JobCommand) -> Result<(), CliError> {
    jobs::run(globals, command).await
}
