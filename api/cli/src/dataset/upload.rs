//! `millrace dataset upload`: a file's rows become members, with progress in bytes and rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::super::client::{Client, ClientError, Members};
use super::super::error::CliError;
use super::super::recipe::cells::{counted, number};
use super::super::table::count;
use super::super::{Globals, OutputFormat, say};
use super::{DatasetId, found};

/// Help under `millrace dataset upload --help`.
pub const HELP: &str = "\
The heading of a CSV file has the names of parameters, in any order; other columns are ignored. JSON Lines have an object by these \
names on each line, Parquet has columns by these names. A wrong row is told with its line and column, and nothing is added then. An \
upload whose answer was lost is not sent again: `millrace dataset uploads ID` shows what became of it.

Examples:
  millrace dataset upload 7 applications.csv
  zcat applications.jsonl.gz | millrace dataset upload 7 - --format jsonl";

/// Time between two looks at the rows, and between two lines where there is no terminal.
const LOOK: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(5);
/// An upload of which nothing moves for this long is given up.
const STALL: Duration = Duration::from_secs(300);

/// `millrace dataset upload`.
#[derive(Debug, Args)]
pub struct UploadArgs {
    #[command(flatten)]
    dataset: DatasetId,
    /// The file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How it is written [default: by the end of its name]
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated, with a heading.
    Csv,
    /// A JSON object on each line.
    Jsonl,
    /// Apache Parquet with flat columns.
    Parquet,
}

impl Format {
    fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    const fn media(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Jsonl => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Uploads a file.
pub async fn run(globals: &Globals, args: UploadArgs) -> Result<(), CliError> {
    let format = args.format.or_else(|| Format::of(&args.file)).ok_or_else(|| {
        CliError::Usage(format!(
            "{}: say how it is written: --format csv, jsonl or parquet",
            args.file.display()
        ))
    })?;
    let file = (args.file != Path::new("-")).then_some(args.file);
    let bytes = match &file {
        Some(path) => {
            let data = std::fs::metadata(path).map_err(|error| CliError::file(path, error))?;
            std::fs::File::open(path).map_err(|error| CliError::file(path, error))?;
            data.len()
        }
        None => 0,
    };
    let id = args.dataset.id;
    let client = globals.client()?;
    let before = number(&found(newest(&client, id).await, id)?["id"]);
    let sent = Arc::new(AtomicU64::new(0));
    let members = Members { file, media: format.media(), sent: Arc::clone(&sent) };
    let sender = globals.upload_client(members.file.is_some())?;
    let uploading = sender.v6_upload(id, members);
    tokio::pin!(uploading);

    let mut display = Display::new(globals.output_format, args.quiet, bytes);
    let mut rows = 0;
    let mut moved = Instant::now();
    let mut seen = (0, 0);
    let done = loop {
        tokio::select! {
            answer = &mut uploading => break answer,
            () = tokio::time::sleep(LOOK) => {
                // That the rows cannot be counted now is no reason to stop.
                if let Ok(upload) = newest(&client, id).await
                    && number(&upload["id"]) > before
                {
                    rows = number(&upload["members"]);
                }
                let sent = sent.load(Ordering::Relaxed);
                display.show(sent, rows);
                if seen != (sent, rows) {
                    (seen, moved) = ((sent, rows), Instant::now());
                } else if moved.elapsed() > STALL {
                    display.finish();
                    let text = format!("nothing moved for {} s", STALL.as_secs());
                    return Err(CliError::Failed(format!("the upload was given up: {text}")));
                }
            }
        }
    };
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            display.finish();
            return Err(reason(&client, id, before, error).await);
        }
    };
    display.show(number(&done["bytes"]), number(&done["members"]));
    display.finish();
    globals.show(&done, || {
        format!("{} members are added, from {} bytes\n", counted(&done["members"]), counted(&done["bytes"]))
    });
    Ok(())
}

/// The newest upload to a dataset, `Null` before the first.
async fn newest(client: &Client, id: i64) -> Result<Value, ClientError> {
    let mut uploads = client.v6_list(&format!("datasets/{id}/uploads/"), &[], 1).await?;
    Ok(uploads["results"].get_mut(0).map(Value::take).unwrap_or_default())
}

/// What ended an upload. A server that refuses a row need not read the rest of a file, and its answer may be lost with the
/// connection; what it found is kept with the upload.
async fn reason(client: &Client, id: i64, before: u64, error: ClientError) -> CliError {
    if error.refusal().is_none()
        && let Ok(upload) = newest(client, id).await
        && number(&upload["id"]) > before
        && let Some(reason) = upload["reason"].as_str()
    {
        return CliError::Failed(format!("nothing was added: {reason}"));
    }
    error.into()
}

/// What is shown, and where.
enum Display {
    Bar(ProgressBar),
    Lines(Instant, u64),
    None,
}

impl Display {
    fn new(format: OutputFormat, quiet: bool, bytes: u64) -> Self {
        if quiet || format == OutputFormat::Json {
            return Self::None;
        }
        if !console::Term::stderr().is_term() {
            return Self::Lines(Instant::now(), bytes);
        }
        let template = match bytes {
            0 => "{spinner} {bytes} {binary_bytes_per_sec}, {msg} rows",
            _ => "[{bar:32.cyan/blue}] {bytes}/{total_bytes} {binary_bytes_per_sec}, {msg} rows",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target((bytes > 0).then_some(bytes), ProgressDrawTarget::stderr());
        bar.set_style(style.progress_chars("=> "));
        Self::Bar(bar)
    }

    fn show(&mut self, sent: u64, rows: u64) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(sent);
                bar.set_message(count(rows));
            }
            Self::Lines(last, all) if last.elapsed() >= LINE => {
                say(&line(sent, *all, rows));
                *last = Instant::now();
            }
            Self::Lines(..) | Self::None => {}
        }
    }

    fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.abandon();
        }
    }
}

fn line(sent: u64, all: u64, rows: u64) -> String {
    let of = if all > 0 { format!(" of {}", count(all)) } else { String::new() };
    format!("sent {}{of} bytes, {} rows read", count(sent), count(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_follow_from_names() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!(
            [of("a.CSV"), of("a.ndjson"), of("a.jsonl")],
            [Some(Format::Csv), Some(Format::Jsonl), Some(Format::Jsonl)]
        );
        assert_eq!([of("a.txt"), of("csv"), of("-")], [None; 3]);
    }

    #[test]
    fn lines_say_how_far_it_is() {
        assert_eq!(line(1_000, 2_500, 12), "sent 1,000 of 2,500 bytes, 12 rows read");
        assert_eq!(line(1_000, 0, 12), "sent 1,000 bytes, 12 rows read");
    }
}
