//! `millrace batch export`: the results of a batch as a file, joined with the file that they came from.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use millrace_table::{Columns, Encoder, Format, Options, Reader, Record, Source, Spool, distinct, text_of};
use serde_json::value::RawValue;

use super::batch::BatchId;
use super::client::Client;
use super::error::CliError;
use super::run::files::beside;
use super::run::parquet::{self, json_of};
use super::table::count;
use super::{Globals, say};

/// Help under `millrace batch export --help`.
pub const HELP: &str = "\
The file has a row for each record: the columns of the results, then chunk_id, record, errors and warnings. Nothing is \
pulled by it. With --join it has the columns of INPUT first, found by the key columns, which results and INPUT must both have \
(--key of the run, unique_record_key of the batch); records of INPUT without a result come last. Records of failed chunks have no \
key, and stand by themselves. Some 32 bytes of memory are needed for each record of INPUT.

Examples:
  millrace batch export 5d0e5f8e-5e3c-4a51-9d0b-2f3f0f9f7a10 --output totals.parquet
  millrace batch export 5d0e5f8e-5e3c-4a51-9d0b-2f3f0f9f7a10 --output joined.csv --join sales.csv --key sales_id";

/// `millrace batch export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    batch: BatchId,
    /// Where the file goes; - is standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// How it is to be written [default: what the ending of its name says, else csv]
    #[arg(long, value_name = "FORMAT", value_parser = super::run::format)]
    result_format: Option<Format>,
    /// The file that the records came from
    #[arg(long, value_name = "INPUT", requires = "key")]
    join: Option<PathBuf>,
    /// How INPUT is written [default: what the ending of its name says, else csv]
    #[arg(long, value_name = "FORMAT", value_parser = super::run::format, requires = "join")]
    input_format: Option<Format>,
    /// A column by which records are found; may be given several times
    #[arg(long, short, value_name = "COLUMN", requires = "join")]
    key: Vec<String>,
    /// Take what is still there, although chunks were pulled too long ago to be handed out again
    #[arg(long)]
    partial: bool,
    /// Show no progress
    #[arg(long, short)]
    quiet: bool,
}

/// Exports a batch.
pub async fn export(globals: &Globals, args: ExportArgs) -> Result<(), CliError> {
    let client = globals.client()?;
    let bar = if args.quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.enable_steady_tick(Duration::from_millis(200));
    let folder = match args.output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_path_buf(),
        // Standard output as well.
        _ => PathBuf::from("."),
    };
    let results = download(&client, &args, &folder, &bar).await?;
    let (output, shown) = (args.output.clone(), bar.clone());
    let written = tokio::task::spawn_blocking(move || write(&args, results, &folder, &shown))
        .await
        .map_err(|error| CliError::Failed(format!("writing failed: {error}")))?;
    bar.finish_and_clear();
    let Written { records, joined, unmatched } = written?;
    if output != Path::new("-") {
        let mut text = format!("{} records in {}", count(records), output.display());
        if let Some(joined) = joined {
            text.push_str(&format!(
                ", {} joined, {} of the input without a result",
                count(joined),
                count(unmatched)
            ));
        }
        say(&text);
    }
    Ok(())
}

/// The results as JSON Lines, in a file without a name. A download that breaks off is begun again.
async fn download(
    client: &Client,
    args: &ExportArgs,
    folder: &Path,
    bar: &ProgressBar,
) -> Result<File, CliError> {
    let disk = |error: millrace_table::SpoolError| CliError::Failed(error.to_string());
    let mut tries = 3;
    loop {
        let mut answer = client.export(&args.batch.id(), args.partial).await?;
        let mut spool = Spool::create(folder, u64::MAX).map_err(disk)?;
        tries -= 1;
        let broken = loop {
            match answer.chunk().await {
                Ok(Some(bytes)) => {
                    spool.append(&bytes).map_err(disk)?;
                    bar.set_message(format!("{} MB received", spool.len() / 1_000_000));
                }
                Ok(None) => return spool.into_file().map_err(disk),
                Err(error) => break error,
            }
        };
        if tries == 0 {
            return Err(CliError::Failed(format!("the export broke off: {broken}")));
        }
    }
}

/// What an export came to.
struct Written {
    records: u64,
    /// Records that were found in the input.
    joined: Option<u64>,
    /// Records of the input without a result.
    unmatched: u64,
}

fn write(args: &ExportArgs, results: File, folder: &Path, bar: &ProgressBar) -> Result<Written, CliError> {
    let mut results = Reader::open(Source::File(results), Format::JsonLines, Options::default())
        .map_err(|error| CliError::Failed(format!("the export cannot be read: {error}")))?;
    let format = args.result_format.or_else(|| Format::of_path(&args.output)).unwrap_or(Format::Csv);
    let mut input = match &args.join {
        Some(path) => Some(Input::read(path, args, folder, bar)?),
        None => None,
    };
    let own = Arc::clone(results.columns());
    let shown: Vec<usize> = match &input {
        None => (0..own.len()).collect(),
        // The key stands in the input's columns.
        Some(_) => (0..own.len()).filter(|at| !args.key.contains(&own[*at])).collect(),
    };
    if input.is_some() && !own.is_empty() {
        for key in &args.key {
            if !own.contains(key) {
                let text = format!("--key: the results have no column {key:?}; they have {}", own.join(", "));
                return Err(CliError::Usage(text));
            }
        }
    }
    let first = input.iter().flat_map(|input| input.columns.iter().cloned());
    let columns = distinct(first.chain(shown.iter().map(|at| own[*at].clone())));
    let mut written = Written { records: 0, joined: input.as_ref().map(|_| 0), unmatched: 0 };
    let mut rows = |take: &mut dyn FnMut(&[String]) -> Result<(), CliError>| -> Result<(), CliError> {
        let wrong = |error| CliError::Failed(format!("the export cannot be read: {error}"));
        while let Some(record) = results.next_record().map_err(wrong)? {
            let texts: Vec<String> = record.cells.iter().map(json_of).collect();
            let mut row = match &mut input {
                Some(input) => {
                    let key = key_of(&args.key, &own, &texts);
                    let (cells, found) = input.find(&key, &texts, &own)?;
                    written.joined = written.joined.map(|joined| joined + u64::from(found));
                    cells
                }
                None => Vec::with_capacity(texts.len()),
            };
            row.extend(shown.iter().map(|at| texts[*at].clone()));
            written.records += 1;
            if written.records.is_multiple_of(10_000) {
                bar.set_message(format!("{} records written", count(written.records)));
            }
            take(&row)?;
        }
        if let Some(input) = &mut input {
            written.unmatched = input.rest(shown.len(), take)?;
        }
        Ok(())
    };
    match (format, args.output == Path::new("-")) {
        (Format::Parquet, true) => {
            return Err(CliError::Usage(
                "Parquet is written to files only: name one with --output".to_owned(),
            ));
        }
        (Format::Parquet, false) => parquet::write(&args.output, columns, |file| {
            rows(&mut |row| {
                file.push(row.iter().map(String::as_str)).map_err(|error| CliError::Failed(error.to_string()))
            })
        })?,
        (_, true) => lines(format, columns, std::io::stdout().lock(), &args.output, &mut rows)?,
        (_, false) => {
            let part = beside(&args.output, ".millrace.part");
            let file = File::create(&part).map_err(|error| CliError::file(&part, error))?;
            lines(format, columns, &file, &part, &mut rows)?;
            file.sync_all().map_err(|error| CliError::file(&part, error))?;
            std::fs::rename(&part, &args.output).map_err(|error| CliError::file(&args.output, error))?;
        }
    }
    Ok(written)
}

/// Hands each row to a taker.
type Rows<'r> = dyn FnMut(&mut dyn FnMut(&[String]) -> Result<(), CliError>) -> Result<(), CliError> + 'r;

fn lines(
    format: Format,
    columns: Columns,
    out: impl Write,
    path: &Path,
    rows: &mut Rows<'_>,
) -> Result<(), CliError> {
    let encoder = match format {
        Format::JsonLines => Encoder::json_lines(columns),
        _ => Encoder::csv(columns, b','),
    };
    let mut out = BufWriter::new(out);
    let mut text = Vec::new();
    encoder.heading(&mut text);
    rows(&mut |row| {
        encoder.record(&mut text, row.iter().map(String::as_str));
        let written = out.write_all(&text).map_err(|error| CliError::file(path, error));
        text.clear();
        written
    })?;
    out.write_all(&text).and_then(|()| out.flush()).map_err(|error| CliError::file(path, error))
}

/// The texts of the key columns, as one text; `None` where one of them is nothing.
fn key_of(key: &[String], columns: &Columns, texts: &[String]) -> Option<String> {
    let mut whole = String::new();
    for name in key {
        let text = text_of(texts.get(columns.iter().position(|column| column == name)?)?);
        if text.is_empty() {
            return None;
        }
        // Told apart from other divisions of the same text.
        whole.push_str(&format!("{}:{text}", text.len()));
    }
    Some(whole)
}

/// The file that is joined: records on disk, found by a hash of their key.
struct Input {
    columns: Columns,
    key: Vec<String>,
    file: File,
    /// Where a record begins, by the hash of its key.
    places: HashMap<u64, Vec<usize>>,
    /// Where records begin, and whether each was found.
    starts: Vec<(u64, bool)>,
    end: u64,
}

impl Input {
    fn read(path: &Path, args: &ExportArgs, folder: &Path, bar: &ProgressBar) -> Result<Self, CliError> {
        let wrong = |error: &dyn std::fmt::Display| CliError::Input(format!("{}: {error}", path.display()));
        let format = args.input_format.or_else(|| Format::of_path(path)).unwrap_or(Format::Csv);
        let file = File::open(path).map_err(|error| CliError::file(path, error))?;
        let mut reader =
            Reader::open(Source::File(file), format, Options::default()).map_err(|error| wrong(&error))?;
        let columns = Arc::clone(reader.columns());
        if let Some(missing) = args.key.iter().find(|key| !columns.contains(key)) {
            let text = format!("--key: the input has no column {missing:?}; it has {}", columns.join(", "));
            return Err(CliError::Usage(text));
        }
        let mut spool = Spool::create(folder, u64::MAX).map_err(|error| wrong(&error))?;
        let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut starts = Vec::new();
        let mut pending = Vec::new();
        while let Some(record) = reader.next_record().map_err(|error| wrong(&error))? {
            let texts = in_columns(&record, &columns);
            if let Some(key) = key_of(&args.key, &columns, &texts) {
                places.entry(hash(&key)).or_default().push(starts.len());
            }
            starts.push((spool.len() + pending.len() as u64, false));
            pending.extend_from_slice(format!("[{}]\n", texts.join(",")).as_bytes());
            if pending.len() >= 1 << 16 {
                spool.append(&pending).map_err(|error| wrong(&error))?;
                pending.clear();
                bar.set_message(format!("{} records of the input read", count(starts.len() as u64)));
            }
        }
        spool.append(&pending).map_err(|error| wrong(&error))?;
        let end = spool.len();
        let file = spool.into_file().map_err(|error| wrong(&error))?;
        Ok(Self { columns, key: args.key.clone(), file, places, starts, end })
    }

    /// The cells of the record with this key, and whether there is one; otherwise nothing but the key.
    fn find(
        &mut self,
        key: &Option<String>,
        result: &[String],
        columns: &Columns,
    ) -> Result<(Vec<String>, bool), CliError> {
        let candidates =
            key.as_ref().and_then(|key| self.places.get(&hash(key))).cloned().unwrap_or_default();
        // Of several records with one key each has its own result.
        let mut again = None;
        for at in candidates {
            let cells = self.cells(at)?;
            if key_of(&self.key, &self.columns, &cells) != *key {
                continue;
            }
            if !self.starts[at].1 {
                self.starts[at].1 = true;
                return Ok((cells, true));
            }
            again.get_or_insert(cells);
        }
        if let Some(cells) = again {
            return Ok((cells, true));
        }
        let of_key = |name: &String| {
            let at = columns.iter().position(|column| column == name).filter(|_| self.key.contains(name));
            at.and_then(|at| result.get(at)).map_or_else(|| "null".to_owned(), Clone::clone)
        };
        Ok((self.columns.iter().map(of_key).collect(), false))
    }

    fn cells(&mut self, at: usize) -> Result<Vec<String>, CliError> {
        let (start, end) = (self.starts[at].0, self.starts.get(at + 1).map_or(self.end, |next| next.0));
        let mut read = || {
            let mut bytes = vec![0; usize::try_from(end - start).map_err(std::io::Error::other)?];
            self.file.seek(SeekFrom::Start(start))?;
            self.file.read_exact(&mut bytes)?;
            let cells: Vec<Box<RawValue>> = serde_json::from_slice(&bytes).map_err(std::io::Error::other)?;
            Ok(cells.iter().map(|cell| cell.get().to_owned()).collect())
        };
        read().map_err(|error: std::io::Error| {
            CliError::Failed(format!("records that were put aside cannot be read: {error}"))
        })
    }

    /// Hands on the records without a result, with nothing in the `others` columns behind them; how many there were.
    fn rest(
        &mut self,
        others: usize,
        take: &mut dyn FnMut(&[String]) -> Result<(), CliError>,
    ) -> Result<u64, CliError> {
        let mut unmatched = 0;
        for at in 0..self.starts.len() {
            if self.starts[at].1 {
                continue;
            }
            let mut row = self.cells(at)?;
            row.extend(std::iter::repeat_n("null".to_owned(), others));
            take(&row)?;
            unmatched += 1;
        }
        Ok(unmatched)
    }
}

/// The cells of a record in these columns, as JSON texts.
fn in_columns(record: &Record, columns: &Columns) -> Vec<String> {
    let cell = |name: &String| {
        let at = record.columns.iter().position(|column| column == name);
        at.and_then(|at| record.cells.get(at)).map_or_else(|| "null".to_owned(), json_of)
    };
    columns.iter().map(cell).collect()
}

fn hash(key: &str) -> u64 {
    let hash = blake3::hash(key.as_bytes());
    hash.as_bytes().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ExportArgs,
    }

    fn export(
        folder: &Path,
        input: &str,
        results: &str,
        more: &[&str],
    ) -> Result<(String, u64, u64), CliError> {
        let path = |name: &str| folder.join(name).display().to_string();
        std::fs::write(folder.join("in.csv"), input).unwrap();
        std::fs::write(folder.join("results"), results).unwrap();
        let (output, join) = (path("out.csv"), path("in.csv"));
        let line = ["export", "5d0e5f8e-5e3c-4a51-9d0b-2f3f0f9f7a10", "-o", &output, "--join", &join];
        let args = Line::try_parse_from(line.iter().chain(more)).unwrap().args;
        let results = File::open(folder.join("results")).unwrap();
        let written = write(&args, results, folder, &ProgressBar::hidden())?;
        let text = std::fs::read_to_string(folder.join("out.csv")).unwrap();
        Ok((text, written.joined.unwrap(), written.unmatched))
    }

    #[test]
    fn results_are_joined_with_their_records() {
        let folder = tempfile::tempdir().unwrap();
        let input = "region,id,note\nN,1,a\nN,2,\"b,c\"\nS,1,d\nS,1,e\n,9,f\n";
        let results = concat!(
            r#"{"region":"S","id":"1","total":3.5,"note":"x","record":0}"#,
            "\n",
            r#"{"region":"N","id":2,"total":null,"note":null,"record":1}"#,
            "\n",
            r#"{"region":"S","id":"1","total":4,"note":"y","record":2}"#,
            "\n",
            r#"{"region":null,"id":null,"total":null,"note":null,"record":3}"#,
            "\n",
            r#"{"region":"W","id":"7","total":1,"note":null,"record":4}"#,
            "\n",
        );
        let (text, joined, unmatched) =
            export(folder.path(), input, results, &["-k", "region", "-k", "id"]).unwrap();
        let wanted = "region,id,note,total,note_2,record\nS,1,d,3.5,x,0\nN,2,\"b,c\",,,1\nS,1,e,4,y,2\n,,,,,3\nW,7,,1,,4\n\
                      N,1,a,,,\n,9,f,,,\n";
        assert_eq!((text.as_str(), joined, unmatched), (wanted, 3, 2));
        for key in ["note_2", "total"] {
            let refused = export(folder.path(), input, results, &["-k", key]).unwrap_err().to_string();
            assert!(refused.contains("has no column"), "{refused}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing stays behind");
    }

    #[test]
    fn keys_are_told_apart() {
        let columns: Columns = ["a", "b"].map(str::to_owned).to_vec().into();
        let names = ["a", "b"].map(str::to_owned);
        let key = |a: &str, b: &str| key_of(&names, &columns, &[a.to_owned(), b.to_owned()]);
        assert_ne!(key("\"x\"", "\"yz\""), key("\"xy\"", "\"z\""));
        assert_eq!(key("7", "\"y\""), key("\"7\"", "\"y\""));
        assert_eq!((key("null", "1"), key("\"\"", "1")), (None, None));
    }
}
