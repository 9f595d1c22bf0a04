//! `millrace recipe batch watch`: a batch's progress, node by node.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::super::client::{Client, Patience};
use super::super::error::CliError;
use super::super::run::Rate;
use super::super::table::count;
use super::super::{Globals, OutputFormat, print_out, say};
use super::cells::clip;
use super::document::known;
use super::progress::{Look, State};

/// Time between two lines where there is no terminal, unless the state changes.
const LINE: Duration = Duration::from_secs(5);
/// Times between two looks: short for a batch that ends at once.
const FIRST: Duration = Duration::from_millis(50);
const LATER: Duration = Duration::from_millis(500);
/// Columns of a node's name.
const NAME: usize = 16;

/// Help under `millrace recipe batch watch --help`.
pub const HELP: &str = "\
Shows a progress bar for the recipes and one for each node on a terminal, else a line every few seconds; with --output-format json, \
the batch's details as a line each time on standard output. Ends when nothing goes on any more, and outlives restarts of the server. \
The exit code is 1 when not every recipe is completed.

A batch that is paused, or whose job types are, waits until that ends.";

/// Follows a batch until nothing goes on any more.
pub async fn watch(globals: &Globals, client: &Client, id: i64) -> Result<(), CliError> {
    let client = client.clone().with_patience(Patience::LONG, Arc::new(|text: &str| say(text)));
    let path = format!("batches/{id}/");
    let mut display = Display::new(globals.output_format);
    let began = Instant::now();
    let mut rate = None;
    let mut pause = FIRST;
    let look = loop {
        let batch = known(client.v6_get(&path).await, &format!("recipe batch {id}"), "recipe batch list")?;
        let look = Look::at(&batch);
        let done = look.jobs.done();
        let pace = rate.get_or_insert_with(|| Rate::new(done)).update(began.elapsed(), done);
        display.show(&look, &batch, pace);
        if look.state.is_over() {
            break look;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LATER);
    };
    display.finish();
    if look.state == State::Completed {
        return Ok(());
    }
    let left = look.recipes.saturating_sub(look.completed);
    Err(CliError::Failed(format!(
        "{} of {} recipes are not completed ({}); `millrace job list --batch {id} --status FAILED` shows why",
        count(left),
        count(look.recipes),
        look.jobs.note()
    )))
}

/// What is shown, and where.
enum Display {
    /// Bars on the terminal: recipes, then nodes.
    Bars(MultiProgress, Vec<ProgressBar>),
    /// Lines for a log: when the last one was written, of which state, and what it said.
    Lines(Option<(Instant, State, String)>),
    /// Documents for a program, each that is another than the last.
    Json(Value),
}

impl Display {
    fn new(format: OutputFormat) -> Self {
        if format == OutputFormat::Json {
            Self::Json(Value::Null)
        } else if console::Term::stderr().is_term() {
            Self::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), Vec::new())
        } else {
            Self::Lines(None)
        }
    }

    fn show(&mut self, look: &Look, document: &Value, rate: f64) {
        match self {
            Self::Json(last) => {
                if last != document {
                    print_out(&format!("{document}\n"));
                    *last = document.clone();
                }
            }
            Self::Bars(all, bars) => {
                while bars.len() <= look.nodes.len() {
                    bars.push(all.add(bar()));
                }
                let note = |text: String| if text.is_empty() { text } else { format!(" {text}") };
                bars[0].set_prefix(clip(look.state.word(), NAME));
                bars[0].set_length(look.expected);
                bars[0].set_position(look.completed);
                bars[0].set_message(note(format!("recipes, {} jobs/s", count(rate as u64))));
                for (bar, (name, jobs)) in bars[1..].iter().zip(&look.nodes) {
                    bar.set_prefix(clip(name, NAME));
                    bar.set_length(jobs.total);
                    bar.set_position(jobs.done());
                    bar.set_message(note(jobs.note()));
                }
            }
            Self::Lines(last) => {
                let text = look.line(rate);
                let due = last.as_ref().is_none_or(|(at, state, said)| {
                    *said != text && (*state != look.state || at.elapsed() >= LINE)
                });
                if due {
                    say(&text);
                    *last = Some((Instant::now(), look.state, text));
                }
            }
        }
    }

    fn finish(self) {
        if let Self::Bars(_, bars) = self {
            for bar in bars {
                bar.abandon();
            }
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>16} [{bar:24.cyan/blue}] {pos:>9}/{len}{msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    ProgressBar::no_length().with_style(style)
}
