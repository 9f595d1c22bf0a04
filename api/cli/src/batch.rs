//! `millrace batch`: run one, and look after those that run.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::{BatchStatusAnswer, Client, Overview};
use super::error::CliError;
use super::export::{self, ExportArgs};
use super::failed::{self, FailuresArgs, RedriveArgs, ReportArgs};
use super::run::{self, RunArgs};
use super::table::{count, table};
use super::{Globals, say, watch};

/// `millrace batch`.
#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// Run a service over the records of a file and write the results to another
    #[command(after_help = run::HELP)]
    Run(Box<RunArgs>),
    /// Show how far a batch is
    Status(StatusArgs),
    /// Follow a batch until it ends
    #[command(after_help = watch::HELP)]
    Watch(BatchId),
    /// List live batches and those that ended within the last hour
    List,
    /// Write the results of a batch to a file, joined with the records that they came from
    #[command(after_help = export::HELP)]
    Export(ExportArgs),
    /// List what failed in a batch, and why
    Failures(FailuresArgs),
    /// Do failed work of a batch again, as a batch of its own
    #[command(after_help = failed::REDRIVE_HELP)]
    Redrive(RedriveArgs),
    /// Check that everything in a batch is accounted for; the exit code is 1 when it is not
    Report(ReportArgs),
    /// Cancel a batch: queued records and results that were not pulled are dropped
    Cancel(BatchId),
    /// Close a batch: it takes no more records, and finishes those that it has
    Close(BatchId),
    /// Pause a batch: it takes records and gives results, and nothing of it is evaluated
    Pause(BatchId),
    /// Let a paused batch go on
    Resume(BatchId),
}

/// Names a batch.
#[derive(Debug, Args)]
pub struct BatchId {
    /// The batch's id
    #[arg(value_name = "ID")]
    id: uuid::Uuid,
}

impl BatchId {
    /// The id as it stands in paths.
    pub fn id(&self) -> String {
        self.id.to_string()
    }
}

/// `millrace batch status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    batch: BatchId,
    /// Show it again every second until the batch ends; the exit code is 1 when it fails or is cancelled
    #[arg(long, short)]
    watch: bool,
}

/// Runs `millrace batch`.
pub async fn run(globals: &Globals, command: BatchCommand) -> Result<(), CliError> {
    match command {
        BatchCommand::Run(args) => run::run(globals, *args).await,
        BatchCommand::Status(args) => {
            let client = globals.client()?;
            let id = args.batch.id.to_string();
            if args.watch { poll(&client, &id).await } else { show(globals, &client, &id).await }
        }
        BatchCommand::Watch(batch) => watch::watch(globals, &batch.id.to_string()).await,
        BatchCommand::List => list(globals).await,
        BatchCommand::Export(args) => export::export(globals, args).await,
        BatchCommand::Failures(args) => failed::failures(globals, args).await,
        BatchCommand::Redrive(args) => failed::redrive(globals, args).await,
        BatchCommand::Report(args) => failed::report(globals, args).await,
        BatchCommand::Cancel(batch) => change(globals, batch, "cancelled").await,
        BatchCommand::Close(batch) => change(globals, batch, "closed").await,
        BatchCommand::Pause(batch) => pause(globals, batch, true).await,
        BatchCommand::Resume(batch) => pause(globals, batch, false).await,
    }
}

async fn show(globals: &Globals, client: &Client, id: &str) -> Result<(), CliError> {
    let document = client.batch_status_json(id).await?;
    let status: BatchStatusAnswer = serde_json::from_value(document.clone())
        .map_err(|error| CliError::Failed(format!("the status of {id} cannot be read: {error}")))?;
    globals.show(&document, || full_text(&status));
    Ok(())
}

fn full_text(status: &BatchStatusAnswer) -> String {
    let buffer = |used: u64, free: u64| {
        let megabytes = |bytes: u64| format!("{}.{:01}", bytes / 1_000_000, bytes / 100_000 % 10);
        format!("{} of {} MB", megabytes(used), megabytes(used + free))
    };
    let paused = match (&status.paused_timestamp, &status.paused_by) {
        (Some(since), Some(by)) => format!("paused     since {since}, by {by}\n"),
        _ => String::new(),
    };
    format!(
        "state      {} ({})\n{paused}records    {} submitted, {} finished ({} failed), {} to pull\n\
         chunks     {} submitted, {} finished ({} failed), {} to pull\ninput      {}\noutput     {}\nworkers    {}\n",
        status.batch_status,
        status.pipeline_status,
        count(status.record_submitted),
        count(status.records_completed),
        count(status.records_failed),
        count(status.records_available),
        count(status.chunks_submitted),
        count(status.chunks_completed),
        count(status.chunks_failed),
        count(status.chunks_available),
        buffer(status.input_buffer_used_bytes, status.input_buffer_remaining_bytes),
        buffer(status.output_buffer_used_bytes, status.output_buffer_remaining_bytes),
        status.workers_in_use,
    )
}

pub(super) fn line(status: &BatchStatusAnswer) -> String {
    format!(
        "{} ({}): {} of {} records finished, {} failed, {} to pull, {} workers",
        status.batch_status,
        status.pipeline_status,
        count(status.records_completed),
        count(status.record_submitted),
        count(status.records_failed),
        count(status.records_available),
        status.workers_in_use
    )
}

async fn poll(client: &Client, id: &str) -> Result<(), CliError> {
    let terminal = console::Term::stderr();
    let mut last = String::new();
    loop {
        let status = client.batch_status(id).await?;
        let line = line(&status);
        if line != last {
            if terminal.is_term() && !last.is_empty() {
                let _ = terminal.clear_last_lines(1);
            }
            say(&line);
            last = line;
        }
        match status.batch_status.as_str() {
            "failed" | "cancelled" => {
                return Err(CliError::Failed(format!("the batch ended as {}", status.batch_status)));
            }
            _ if status.is_terminal() => return Ok(()),
            _ => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn list(globals: &Globals) -> Result<(), CliError> {
    let document: Value = globals.client()?.overview_json().await?;
    let overview = Overview::read(&document)?;
    globals.show(&document, || {
        let rows: Vec<_> = overview
            .in_progress_batches
            .iter()
            .chain(&overview.recent_batches)
            .map(|batch| {
                let data = &batch.data;
                vec![
                    batch.id.clone(),
                    match data.pipeline_status.as_str() {
                        "paused" => format!("{}, paused", data.batch_status),
                        _ => data.batch_status.clone(),
                    },
                    data.service_uri.clone(),
                    count(data.summary.records_submitted),
                    count(data.summary.records_completed + data.summary.records_failed),
                    count(data.summary.records_failed),
                    data.created_by.clone(),
                    data.created_timestamp.clone(),
                ]
            })
            .collect();
        table(&["ID", "STATE", "SERVICE", "RECORDS", "FINISHED", "FAILED", "BY", "CREATED"], &rows)
    });
    Ok(())
}

async fn change(globals: &Globals, batch: BatchId, state: &str) -> Result<(), CliError> {
    let status = globals.client()?.change_batch(&batch.id.to_string(), state).await?;
    say(&format!("batch {} is {}", batch.id, status.batch_status));
    Ok(())
}

async fn pause(globals: &Globals, batch: BatchId, paused: bool) -> Result<(), CliError> {
    let status = globals.client()?.pause_batch(&batch.id.to_string(), paused).await?;
    let how = if status.paused { "is paused" } else { "goes on" };
    say(&format!("batch {} {how} ({})", batch.id, status.batch_status));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_well() {
        let status = BatchStatusAnswer {
            batch_status: "in_progress".to_owned(),
            pipeline_status: "running".to_owned(),
            chunks_submitted: 12,
            chunks_completed: 9,
            chunks_available: 3,
            record_submitted: 12_000,
            records_completed: 9_000,
            records_failed: 1,
            records_available: 3_000,
            input_buffer_used_bytes: 1_250_000,
            input_buffer_remaining_bytes: 68_750_000,
            workers_in_use: 2,
            ..BatchStatusAnswer::default()
        };
        insta::assert_snapshot!(full_text(&status), @r"
        state      in_progress (running)
        records    12,000 submitted, 9,000 finished (1 failed), 3,000 to pull
        chunks     12 submitted, 9 finished (0 failed), 3 to pull
        input      1.2 of 70.0 MB
        output     0.0 of 0.0 MB
        workers    2
        ");
        insta::assert_snapshot!(line(&status), @"in_progress (running): 9,000 of 12,000 records finished, 1 failed, 3,000 to pull, 2 workers");
        let paused = BatchStatusAnswer {
            pipeline_status: "paused".to_owned(),
            paused: true,
            paused_timestamp: Some("2026-11-30T02:00:00.000Z".to_owned()),
            paused_by: Some("ann".to_owned()),
            ..status
        };
        let text = full_text(&paused);
        assert!(text.starts_with(
            "state      in_progress (paused)\npaused     since 2026-11-30T02:00:00.000Z, by ann\nrecords    12,000 submitted"
        ));
    }
}
