//! `millrace batch run`: a file in, a file out, through one batch (or, after trouble, several).

mod drive;
pub mod files;
mod journal;
mod order;
pub mod parquet;
mod progress;
mod pull;
mod push;
mod reader;
mod rows;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use clap::Args;
use millrace_table::Format;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::client::{Client, NewBatch, Patience};
use super::error::CliError;
use super::table::count;
use super::{Globals, OutputFormat, print_out, say};
use drive::{Finished, Job};
use files::Target;
use journal::Plan;
pub use progress::Rate;
use progress::{Counts, Display, duration};
use reader::{Chunks, Cut, Fingerprint, Source};

/// Help under `millrace batch run --help`.
pub const HELP: &str = "\
The input is CSV with a heading, JSON Lines or Parquet, as the ending of its name says (.csv, .jsonl, .parquet) or \
--input-format; columns named like inputs of the service (in any case) are its inputs. Cells of CSV are sent as the text that \
they are, an empty cell as a blank; the others have values. Every line of JSON Lines has the columns of the first one, or fewer. \
The output has the key columns, then the service's outputs, one \
row a record in the order of the input; Excel errors appear as their text. Records of failed chunks have no row; --errors \
lists them.

Full buffers make the run wait, not fail. After Ctrl-C, a crash or an outage, the same command with --resume goes on: \
which results are in the output is kept in OUTPUT.millrace until the run is complete. No row is lost or doubled: results \
leave the server only once they are in the files. With `-` for input or output a run cannot be resumed. A Parquet file is \
written when every row is there; until then rows are in OUTPUT.millrace.rows, and a run goes on from there.

Examples:
  millrace batch run demo/sales --input sales.csv --output totals.csv --key sales_id
  millrace batch run demo/sales[1.2] --input sales.csv --output totals.csv --key region --key sales_id --param tax=0.19
  millrace batch run demo/sales --input sales.parquet --output totals.jsonl --key sales_id
  millrace batch run demo/sales --input sales.csv --output totals.csv --output-names 'total,value_*' --errors bad.csv
  zcat sales.csv.gz | millrace batch run demo/sales --input - --output - | gzip > totals.csv.gz";

/// `millrace batch run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The service, as FOLDER/NAME, FOLDER/NAME[VERSION] or an id
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The records; - is standard input
    #[arg(long, short, value_name = "FILE")]
    input: PathBuf,
    /// Where the results go; - is standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// A column to repeat at the front of the output; may be given several times
    #[arg(long, short, value_name = "COLUMN")]
    key: Vec<String>,
    /// An input that is the same for all records, as text; NAME:=JSON for other values; may be given several times
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = parameter)]
    param: Vec<(String, Value)>,
    /// The outputs to return, names or patterns such as value_* [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    output_names: Vec<String>,
    /// Records in one chunk
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chunk_records: u32,
    /// Percentage of chunks that may fail before the batch counts as failed
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percentage)]
    acceptable_errors: f64,
    /// How the input is written [default: what the ending of its name says, else csv]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    input_format: Option<Format>,
    /// How the output is to be written [default: what the ending of its name says, else csv]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    result_format: Option<Format>,
    /// Pushes under way at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: u16,
    /// Go on with the run that was interrupted, with the same settings
    #[arg(long)]
    resume: bool,
    /// Write rows as they come, not in the order of the input
    #[arg(long)]
    unordered: bool,
    /// List failed records, with the reason, in this file
    #[arg(long, value_name = "FILE")]
    errors: Option<PathBuf>,
    /// The character between cells of CSV, in input and output
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = delimiter)]
    delimiter: u8,
    /// Input buffer of the batch, in MB [default: the server's]
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    max_input_mb: Option<f64>,
    /// Output buffer of the batch, in MB [default: the server's]
    #[arg(long, value_name = "MB", value_parser = megabytes)]
    max_output_mb: Option<f64>,
    /// The most evaluations at a time [default: the tenant's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_workers: Option<u32>,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// Reads `NAME=VALUE`, a text or blank, or `NAME:=JSON`.
pub fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) =
        text.split_once('=').ok_or("write it as NAME=VALUE, for example tax=0.19".to_owned())?;
    let (name, value) = match name.strip_suffix(':') {
        Some(name) => {
            (name, serde_json::from_str(value).map_err(|error| format!("{value} is not JSON: {error}"))?)
        }
        None if value.is_empty() => (name, Value::Null),
        None => (name, Value::from(value)),
    };
    if name.is_empty() {
        Err("there is no name before the =".to_owned())
    } else {
        Ok((name.to_owned(), value))
    }
}

/// Reads the name of a format.
pub fn format(text: &str) -> Result<Format, String> {
    Format::named(text).ok_or_else(|| "a format is csv, jsonl or parquet".to_owned())
}

fn number_within(text: &str, valid: impl Fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    text.parse::<f64>().ok().filter(|number| valid(*number)).ok_or_else(|| expected.to_owned())
}

fn percentage(text: &str) -> Result<f64, String> {
    number_within(text, |number| (0.0..=100.0).contains(&number), "a percentage is a number from 0 to 100")
}

fn megabytes(text: &str) -> Result<f64, String> {
    number_within(text, |number| number > 0.0 && number.is_finite(), "a size is a number above 0")
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        [character] if !matches!(character, b'"' | b'\n' | b'\r') && character.is_ascii() => Ok(*character),
        _ if text == "\\t" => Ok(b'\t'),
        _ => Err("give one character such as ; or \\t".to_owned()),
    }
}

/// The key columns: each name as given if there is such a column, else its parts between commas (contract 2.4).
fn key_columns(given: &[String], columns: &[String]) -> Result<Vec<String>, CliError> {
    let known = |name: &str| columns.iter().any(|column| column.to_lowercase() == name.to_lowercase());
    let mut keys: Vec<String> = Vec::new();
    for name in given {
        if known(name) {
            keys.push(name.clone());
            continue;
        }
        for part in name.split(',').map(str::trim) {
            if !known(part) {
                return Err(CliError::Usage(format!(
                    "--key: the input has no column {part:?}; it has {}",
                    columns.join(", ")
                )));
            }
            keys.push(part.to_owned());
        }
    }
    Ok(keys)
}

impl RunArgs {
    fn parameters(&self) -> Result<Map<String, Value>, CliError> {
        let mut parameters = Map::new();
        for (name, value) in &self.param {
            if parameters.insert(name.clone(), value.clone()).is_some() {
                return Err(CliError::Usage(format!("--param: {name} is given twice")));
            }
        }
        Ok(parameters)
    }

    /// No file may be read and written at once, or written twice.
    fn check_paths(&self, source: &Source, target: &Target) -> Result<(), CliError> {
        let mut paths: Vec<PathBuf> = Vec::new();
        let files = [
            if let Source::File(path) = source { Some(path.clone()) } else { None },
            if let Target::File(path) = target { Some(path.clone()) } else { None },
            self.errors.clone(),
        ];
        for path in files.into_iter().flatten() {
            let path = std::fs::canonicalize(&path).unwrap_or(path);
            if paths.contains(&path) {
                return Err(CliError::Usage(format!(
                    "{} is given twice: --input, --output and --errors must be different files",
                    path.display()
                )));
            }
            paths.push(path);
        }
        Ok(())
    }
}

/// Runs `millrace batch run`.
pub async fn run(globals: &Globals, args: RunArgs) -> Result<(), CliError> {
    let stop = millrace_common::shutdown::on_signal()
        .map_err(|error| CliError::Failed(format!("cannot listen for signals: {error}")))?;
    run_until(globals, args, globals.client()?, stop).await
}

/// Runs until it is complete or `stop` is cancelled.
async fn run_until(
    globals: &Globals,
    args: RunArgs,
    client: Client,
    stop: CancellationToken,
) -> Result<(), CliError> {
    let (source, target) = (Source::new(&args.input), Target::new(&args.output));
    args.check_paths(&source, &target)?;
    let can_resume = matches!((&source, &target), (Source::File(_), Target::File(_)));
    if args.resume && !can_resume {
        return Err(CliError::Usage("--resume needs files: a run with - cannot be resumed".to_owned()));
    }

    let input_format = args.input_format.or_else(|| Format::of_path(&args.input)).unwrap_or(Format::Csv);
    let output_format = args.result_format.or_else(|| Format::of_path(&args.output)).unwrap_or(Format::Csv);
    if input_format == Format::Parquet && source == Source::Stdin {
        return Err(CliError::Usage("Parquet is read from files only: name one with --input".to_owned()));
    }
    let cut = Cut {
        chunk_records: args.chunk_records,
        parameters: args.parameters()?,
        delimiter: args.delimiter,
        format: input_format,
    };
    let input = match &source {
        Source::File(path) => Fingerprint::of(path)?,
        Source::Stdin => Fingerprint { bytes: 0, hash: String::new() },
    };
    let bytes_read = Arc::new(AtomicU64::new(0));
    let chunks = Chunks::open(&source, cut.clone(), Arc::clone(&bytes_read))?;
    let key = key_columns(&args.key, chunks.columns())?;
    let counts = Arc::new(Counts::new(input.bytes, bytes_read));
    let plan = Plan {
        tenant: client.tenant().to_owned(),
        service: args.service.clone(),
        input,
        chunk_records: args.chunk_records,
        key: key.clone(),
        param: cut.parameters.clone(),
        output_names: args.output_names.clone(),
        delimiter: args.delimiter,
        unordered: args.unordered,
        errors: args.errors.clone(),
        input_format: input_format.as_str().to_owned(),
        output_format: output_format.as_str().to_owned(),
    };
    let prepared = writer::prepare(&target, plan, can_resume, args.resume)?;

    let notes = Arc::clone(&counts);
    let client = client.with_patience(Patience::LONG, Arc::new(move |text: &str| notes.note(text)));
    let job = Job {
        client,
        source,
        cut,
        new_batch: NewBatch {
            service: args.service.clone(),
            unique_record_key: (!key.is_empty()).then_some(key),
            output: args.output_names.clone(),
            acceptable_error_percentage: args.acceptable_errors,
            max_input_in_mb: args.max_input_mb,
            max_output_in_mb: args.max_output_mb,
            max_workers: args.max_workers,
            call_purpose: "millrace batch run",
            source_system: "millrace",
        },
        in_flight: usize::from(args.in_flight),
        counts: Arc::clone(&counts),
        stop,
        messages: Mutex::default(),
    };
    let started = Instant::now();
    let display = Display::start(counts, args.quiet);
    let result = drive::drive(&job, chunks, prepared).await;
    display.finish().await;
    for message in job.messages.lock().drain(..) {
        say(&message);
    }
    let finished = result?;
    summarise(globals, &target, &finished, started.elapsed());
    finished.verdict(args.acceptable_errors)
}

/// Says what came of a run: on standard output as a document, if asked and not in use, else on standard error.
fn summarise(globals: &Globals, target: &Target, finished: &Finished, elapsed: std::time::Duration) {
    let Finished { totals, new_records, failures, warnings, batch, state } = finished;
    let rate = *new_records as f64 / elapsed.as_secs_f64().max(0.001);
    if globals.output_format == OutputFormat::Json && *target != Target::Stdout {
        let document = json!({
            "batch": batch, "batch_status": state,
            "records": totals.records, "records_failed": totals.records_failed,
            "records_with_warnings": totals.records_warned,
            "chunks": totals.chunks, "chunks_failed": totals.chunks_failed,
            "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "records_per_second": rate.round(),
            "failures": failures, "warnings": warnings,
        });
        print_out(&format!("{document:#}\n"));
        return;
    }
    let mut text = format!(
        "{} records ({} failed, {} with warnings) in {} chunks ({} failed), {}, {} records/s\nbatch {} {}",
        count(totals.records),
        count(totals.records_failed),
        count(totals.records_warned),
        count(totals.chunks),
        count(totals.chunks_failed),
        duration(elapsed),
        count(rate as u64),
        batch,
        state,
    );
    for (kind, examples, all) in
        [("failed ", failures, totals.records_failed), ("warning", warnings, totals.records_warned)]
    {
        for example in examples {
            text.push_str(&format!("\n{kind}  {example}"));
        }
        let shown = examples.len() as u64;
        if shown > 0 && all > shown {
            text.push_str(&format!("\n{kind}  … {} in all", count(all)));
        }
    }
    say(&text);
}

#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod run_tests;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn parameters_are_text_unless_they_are_said_to_be_json() {
        assert_eq!(parameter("tax=0.10").unwrap(), ("tax".to_owned(), json!("0.10")));
        assert_eq!(parameter("note=a=b").unwrap(), ("note".to_owned(), json!("a=b")));
        assert_eq!(parameter("tax=").unwrap(), ("tax".to_owned(), Value::Null));
        assert_eq!(parameter("rates:=[1,2.50]").unwrap(), ("rates".to_owned(), json!([1, 2.5])));
        for bad in ["tax", "=1", ":=1", "tax:=x"] {
            assert!(parameter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        assert_eq!(percentage("2.5"), Ok(2.5));
        for bad in ["101", "-1", "NaN", "x", ""] {
            assert!(percentage(bad).is_err(), "{bad}");
        }
        for bad in ["0", "-1", "inf", "NaN"] {
            assert!(megabytes(bad).is_err(), "{bad}");
        }
        assert_eq!((delimiter(";"), delimiter("\\t")), (Ok(b';'), Ok(b'\t')));
        for bad in ["", ";;", "\"", "é", "\n"] {
            assert!(delimiter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_columns() {
        let columns = ["Region", "a,b", "id"].map(str::to_owned);
        let keys = |given: &[&str]| {
            key_columns(&given.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>(), &columns)
        };
        assert_eq!(keys(&["region,id"]).unwrap(), ["region", "id"]);
        assert_eq!(keys(&["a,b", "id"]).unwrap(), ["a,b", "id"]);
        assert!(keys(&["nope"]).unwrap_err().to_string().contains("it has Region, a,b, id"));
    }
}
