//! `millrace batch watch`: a batch's progress as it happens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::batch::line;
use super::client::{BatchStatusAnswer, Patience};
use super::error::CliError;
use super::table::count;
use super::{Globals, OutputFormat, print_out, say};

/// Time between two lines where there is no terminal, unless the state changes.
const LINE: Duration = Duration::from_secs(5);

/// Help under `millrace batch watch --help`.
pub const HELP: &str = "\
Shows a progress bar on a terminal, else a line every few seconds; with --output-format json, every status as a line on standard \
output. Ends when the batch does, and outlives restarts of the server; waits while the batch is paused. The exit code is 1 when the batch fails or is cancelled.

Examples:
  millrace batch watch 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11
  millrace batch watch 0198f3c2-6a6e-7d55-9f0b-3a1a3c2f4e11 --output-format json | jq .records_completed";

/// Follows a batch to its end.
pub async fn watch(globals: &Globals, id: &str) -> Result<(), CliError> {
    let client = globals.client()?.with_patience(Patience::LONG, Arc::new(|text: &str| say(text)));
    let mut display = Display::new(globals.output_format);
    let mut events = client.events(id);
    let mut last = None;
    while let Some(event) = events.next().await? {
        if event.name != "status" && event.name != "end" {
            continue;
        }
        let status: BatchStatusAnswer = serde_json::from_str(&event.data)
            .map_err(|error| CliError::Failed(format!("the status of {id} cannot be read: {error}")))?;
        display.show(&status, &event.data);
        let over = status.is_terminal();
        last = Some(status);
        if over {
            break;
        }
    }
    display.finish();
    match last {
        Some(status) if matches!(status.batch_status.as_str(), "failed" | "cancelled") => {
            Err(CliError::Failed(format!("the batch ended as {}", status.batch_status)))
        }
        _ => Ok(()),
    }
}

/// What is shown, and where.
enum Display {
    /// A bar on the terminal.
    Bar(ProgressBar),
    /// Lines for a log: when the last one was written, and what it said.
    Lines(Option<(Instant, String, String)>),
    /// Documents for a program.
    Json,
}

impl Display {
    fn new(format: OutputFormat) -> Self {
        if format == OutputFormat::Json {
            return Self::Json;
        }
        if !console::Term::stderr().is_term() {
            return Self::Lines(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style =
            ProgressStyle::with_template("{prefix:>12} [{bar:32.cyan/blue}] {pos:>11}/{len} {per_sec} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Self::Bar(bar)
    }

    fn show(&mut self, status: &BatchStatusAnswer, document: &str) {
        match self {
            Self::Json => print_out(&format!("{document}\n")),
            Self::Bar(bar) => {
                bar.set_prefix(status.batch_status.clone());
                bar.set_length(status.record_submitted);
                bar.set_position(status.records_completed);
                bar.set_message(note(status));
            }
            Self::Lines(last) => {
                let text = line(status);
                let due = last.as_ref().is_none_or(|(at, state, said)| {
                    *said != text && (*state != status.batch_status || at.elapsed() >= LINE)
                });
                if due {
                    say(&text);
                    *last = Some((Instant::now(), status.batch_status.clone(), text));
                }
            }
        }
    }

    fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }
}

/// What stands behind the bar.
fn note(status: &BatchStatusAnswer) -> String {
    let mut notes = Vec::new();
    if status.records_failed > 0 {
        notes.push(format!("{} failed", count(status.records_failed)));
    }
    if status.records_available > 0 {
        notes.push(format!("{} to pull", count(status.records_available)));
    }
    if let Some(by) = status.paused_by.as_ref().filter(|_| status.paused) {
        notes.push(format!("paused by {by}"));
    } else if status.pipeline_status == "blocked" {
        notes.push("blocked until results are pulled".to_owned());
    } else if status.workers_in_use > 0 {
        notes.push(format!("{} workers", status.workers_in_use));
    }
    notes.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_says_what_is_remarkable() {
        let status = BatchStatusAnswer { records_available: 1_200, workers_in_use: 2, ..Default::default() };
        assert_eq!(note(&status), "1,200 to pull, 2 workers");
        let blocked = BatchStatusAnswer {
            pipeline_status: "blocked".to_owned(),
            records_failed: 3,
            workers_in_use: 2,
            ..Default::default()
        };
        assert_eq!(note(&blocked), "3 failed, blocked until results are pulled");
        let paused = BatchStatusAnswer {
            records_available: 2,
            paused: true,
            paused_by: Some("ann".to_owned()),
            ..Default::default()
        };
        assert_eq!(note(&paused), "2 to pull, paused by ann");
        assert_eq!(note(&BatchStatusAnswer::default()), "");
    }
}
