//! Writes results: in input order, each chunk once, and so that a later run can go on.
//!
//! A chunk that comes before its turn is appended to the spill file at once, so that whatever was pulled is in a file before the
//! next pull takes more out of the server; memory stays small however far the order is off.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use millrace_table::Format;

use super::super::client::ChunkResult;
use super::super::error::CliError;
use super::files::{Appender, Target};
use super::journal::{Journal, Lengths, Line, Place, Plan, Pulled, Replay, replay};
use super::order::{Order, Turn};
use super::parquet::Conversion;
use super::rows::{Layout, Rows};

/// How many failures and warnings are shown at the end.
const EXAMPLES: usize = 5;

/// What was written so far, by this run and those it goes on from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Pulled chunks.
    pub chunks: u64,
    /// Their records.
    pub records: u64,
    /// Chunks that failed.
    pub chunks_failed: u64,
    /// Records that failed, those of failed chunks included.
    pub records_failed: u64,
    /// Records with a warning.
    pub records_warned: u64,
}

impl Totals {
    fn add(&mut self, pulled: &Pulled) {
        self.chunks += 1;
        self.records += pulled.records;
        self.chunks_failed += u64::from(pulled.chunk_failed);
        self.records_failed += pulled.failed;
        self.records_warned += pulled.warned;
    }
}

/// The files of a run, open and held, not changed yet.
#[derive(Debug)]
pub struct Prepared {
    output: Appender,
    conversion: Option<Conversion>,
    errors: Option<Appender>,
    journal_path: Option<PathBuf>,
    spill_path: Option<PathBuf>,
    spill_folder: PathBuf,
    replay: Option<Replay>,
    plan: Plan,
}

/// Opens the files of a run. `can_resume` says whether a later run could go on (the input can be read again).
pub fn prepare(target: &Target, plan: Plan, can_resume: bool, resume: bool) -> Result<Prepared, CliError> {
    let conversion = Conversion::of(target, &plan)?;
    let output = match (target, &conversion) {
        (_, Some(conversion)) => Appender::open(conversion.rows())?,
        (Target::File(path), None) => Appender::open(path)?,
        (Target::Stdout, None) => Appender::stdout(),
    };
    let journal_path = target.beside(".millrace");
    let spill_path = target.beside(".millrace.spill").filter(|_| can_resume);
    let existing = match &journal_path {
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Some((path, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(CliError::file(path, error)),
        },
        None => None,
    };
    let spill_folder = match target {
        Target::File(path) => folder_of(path).to_path_buf(),
        Target::Stdout => std::env::temp_dir(),
    };
    let replay = match (existing, resume) {
        (None, false) => None,
        (None, true) => {
            return Err(CliError::Usage(
                "there is nothing to resume: no run with this --output was interrupted".to_owned(),
            ));
        }
        (Some((path, _)), false) => {
            return Err(CliError::Usage(format!(
                "an earlier run with this --output was interrupted: go on with --resume, or delete {} to begin again",
                path.display()
            )));
        }
        (Some((path, text)), true) => {
            let lengths = Lengths {
                output: output.len_on_disk()?,
                spill: spill_path.as_deref().map_or(0, len_of),
                errors: plan.errors.as_deref().map_or(0, len_of),
            };
            let found = replay(&text, lengths).map_err(|error| {
                CliError::Failed(format!("{}: {error}; delete it to begin again", path.display()))
            })?;
            let differences = plan.differences(&found.plan);
            if !differences.is_empty() {
                return Err(CliError::Usage(format!(
                    "the interrupted run had other settings ({}): use the same, or delete {} to begin again",
                    differences.join(", "),
                    path.display()
                )));
            }
            Some(found)
        }
    };
    let errors = plan.errors.as_deref().map(Appender::open).transpose()?;
    let journal_path = journal_path.filter(|_| can_resume);
    Ok(Prepared { output, conversion, errors, journal_path, spill_path, spill_folder, replay, plan })
}

/// Length of a file; 0 when there is none.
fn len_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

impl Prepared {
    /// The batch of the interrupted run.
    pub fn batch(&self) -> Option<&str> {
        self.replay.as_ref()?.batch.as_deref()
    }

    /// Begins to write: empties the files, or cuts them off where the interrupted run vouched for them. `batch` is the one
    /// that was opened for a new run.
    pub fn start(self, batch: Option<&str>) -> Result<Writer, CliError> {
        let Self {
            mut output,
            conversion,
            mut errors,
            journal_path,
            spill_path,
            spill_folder,
            mut replay,
            plan,
        } = self;
        let mut spill = match &spill_path {
            Some(path) => Appender::open(path)?,
            None => Appender::unnamed(&spill_folder)?,
        };
        let layout = Layout {
            chunk_records: plan.chunk_records,
            keys: plan.key.len(),
            delimiter: plan.delimiter,
            format: Format::named(&plan.output_format).unwrap_or(Format::Csv),
        };
        let mut opening = vec![Line::Plan(plan.clone())];
        opening.extend(batch.map(|id| Line::Batch { id: id.to_owned() }));
        let mut totals = Totals::default();
        let (mut columns, mut done) = (None, BTreeSet::new());
        let mut ends = (0, 0, 0);
        let mut waiting = Vec::new();
        if let Some(replay) = replay.as_mut().filter(|replay| replay.is_short)
            && let Some(errors) = &mut errors
        {
            // Failures of chunks that count as not pulled are listed when those come again.
            let listed = errors.read_at(0, replay.errors_end)?;
            let kept = layout.kept_failures(&listed, |chunk| replay.chunks.contains_key(&chunk));
            errors.cut(0)?;
            errors.push(&kept)?;
            errors.flush()?;
            replay.errors_end = errors.end();
            for pulled in replay.chunks.values_mut() {
                pulled.errors_end = pulled.errors_end.min(replay.errors_end);
            }
        }
        let journal = match (&journal_path, &replay) {
            (None, _) => None,
            (Some(path), Some(replay)) => Some(Journal::go_on(path, replay)?),
            (Some(path), None) => Some(Journal::begin(path, &opening)?),
        };
        if let Some(replay) = replay {
            ends = (replay.output_end, replay.spill_end, replay.errors_end);
            for pulled in replay.chunks.values() {
                totals.add(pulled);
                done.insert(pulled.chunk);
                if pulled.place == Place::Spill {
                    waiting.push(pulled.clone());
                }
            }
            columns = replay.columns;
        }
        output.cut(ends.0)?;
        spill.cut(ends.1)?;
        if let Some(errors) = &mut errors {
            errors.cut(ends.2)?;
            if ends.2 == 0 {
                let mut heading = Vec::new();
                let names = ["record", "chunk"].into_iter().chain(plan.key.iter().map(String::as_str));
                layout.encode(&mut heading, names.chain(["error"]).map(Cow::Borrowed));
                errors.push(&heading)?;
            }
        }
        let mut order = (!plan.unordered).then(|| {
            let waits: BTreeSet<u64> = waiting.iter().map(|pulled: &Pulled| pulled.chunk).collect();
            Order::from((0..).find(|chunk| !done.contains(chunk) || waits.contains(chunk)).unwrap_or(0))
        });
        let mut writer = Writer {
            output,
            conversion,
            spill,
            errors,
            journal,
            spill_path,
            layout,
            order: None,
            columns,
            done,
            totals,
            failures: Vec::new(),
            warnings: Vec::new(),
        };
        if let Some(order) = &mut order {
            for pulled in waiting {
                order.wait(pulled.chunk, (pulled.at, pulled.len));
            }
        }
        writer.order = order;
        // A crash may have come between a chunk and its successors that waited for it.
        let mut lines = Vec::new();
        writer.write_waiting(&mut lines)?;
        writer.settle(lines)?;
        Ok(writer)
    }
}

/// Writes the results of a run.
#[derive(Debug)]
pub struct Writer {
    output: Appender,
    conversion: Option<Conversion>,
    spill: Appender,
    errors: Option<Appender>,
    journal: Option<Journal>,
    spill_path: Option<PathBuf>,
    layout: Layout,
    order: Option<Order<(u64, u64)>>,
    columns: Option<Vec<String>>,
    done: BTreeSet<u64>,
    totals: Totals,
    failures: Vec<String>,
    warnings: Vec<String>,
}

impl Writer {
    /// Chunks that are safely in the files.
    pub const fn done(&self) -> &BTreeSet<u64> {
        &self.done
    }

    /// What was written so far.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The first failures and warnings of this process.
    pub fn examples(&self) -> (&[String], &[String]) {
        (&self.failures, &self.warnings)
    }

    /// Whether a later run could go on from here.
    pub const fn can_resume(&self) -> bool {
        self.journal.is_some()
    }

    /// Another batch was opened for what is missing.
    pub fn note_batch(&mut self, id: &str) -> Result<(), CliError> {
        self.journal.as_mut().map_or(Ok(()), |journal| journal.append(&[Line::Batch { id: id.to_owned() }]))
    }

    /// Writes the results of one pull and hands them to the operating system. A chunk that is there already is ignored.
    pub fn accept(&mut self, results: &[ChunkResult<'_>]) -> Result<(), CliError> {
        let mut lines = Vec::new();
        let written = results.iter().try_for_each(|result| {
            let rows = self.layout.rows(result)?;
            if self.done.contains(&rows.chunk) { Ok(()) } else { self.write(rows, &mut lines) }
        });
        // Good results that came with a bad one are kept.
        self.settle(lines).and(written)
    }

    /// First the rows, then the journal that vouches for them, then what nobody needs any more.
    fn settle(&mut self, lines: Vec<Line>) -> Result<(), CliError> {
        self.output.flush()?;
        self.spill.flush()?;
        if let Some(errors) = &mut self.errors {
            errors.flush()?;
        }
        if let Some(journal) = &mut self.journal
            && !lines.is_empty()
        {
            journal.append(&lines)?;
        }
        if self.spill.end() > 0 && self.order.as_ref().is_none_or(Order::is_idle) {
            self.spill.cut(0)?;
        }
        Ok(())
    }

    fn write(&mut self, rows: Rows, lines: &mut Vec<Line>) -> Result<(), CliError> {
        if let Some(columns) = &rows.columns {
            self.check_columns(rows.chunk, columns, lines)?;
        }
        if let Some(errors) = &mut self.errors {
            let mut text = Vec::new();
            for failure in &rows.failures {
                let mut cells = vec![failure.record.to_string(), super::reader::chunk_id(rows.chunk)];
                cells.extend_from_slice(&failure.key);
                cells.resize(2 + self.layout.keys, String::new());
                cells.push(failure.message.clone());
                self.layout.encode(&mut text, cells.into_iter().map(Cow::Owned));
            }
            errors.push(&text)?;
        }
        let turn = self.order.as_mut().map_or(Turn::Now, |order| order.turn(rows.chunk));
        let (place, at) = match turn {
            Turn::Now => (Place::Output, self.output.push(&rows.encoded)?),
            Turn::Later => (Place::Spill, self.spill.push(&rows.encoded)?),
        };
        let pulled = Pulled {
            chunk: rows.chunk,
            place,
            at,
            len: rows.encoded.len() as u64,
            records: rows.records,
            failed: rows.failures.len() as u64,
            warned: rows.warned,
            chunk_failed: rows.chunk_failed,
            errors_end: self.errors.as_ref().map_or(0, Appender::end),
        };
        if turn == Turn::Later
            && let Some(order) = &mut self.order
        {
            order.wait(rows.chunk, (pulled.at, pulled.len));
        }
        self.totals.add(&pulled);
        self.done.insert(rows.chunk);
        let room = EXAMPLES.saturating_sub(self.failures.len());
        let failures = rows.failures.iter().take(if rows.chunk_failed { room.min(1) } else { room });
        self.failures.extend(failures.map(|failure| {
            let key =
                if failure.key.is_empty() { String::new() } else { format!(" ({})", failure.key.join(", ")) };
            format!("record {}{key}: {}", failure.record, failure.message)
        }));
        if self.warnings.len() < EXAMPLES {
            self.warnings.extend(rows.first_warning);
        }
        lines.push(Line::Pulled(pulled));
        if turn == Turn::Now {
            self.write_waiting(lines)?;
        }
        Ok(())
    }

    /// Copies from the spill file what has its turn now.
    fn write_waiting(&mut self, lines: &mut Vec<Line>) -> Result<(), CliError> {
        while let Some((chunk, (at, len))) = self.order.as_mut().and_then(Order::next_waiting) {
            let rows = self.spill.read_at(at, len)?;
            lines.push(Line::Moved { chunk, at: self.output.push(&rows)? });
        }
        Ok(())
    }

    fn check_columns(
        &mut self,
        chunk: u64,
        columns: &[String],
        lines: &mut Vec<Line>,
    ) -> Result<(), CliError> {
        match &self.columns {
            Some(known) if known == columns => Ok(()),
            Some(known) => Err(CliError::Failed(format!(
                "chunk {chunk} has the columns {}, but earlier ones had {}",
                columns.join(", "),
                known.join(", ")
            ))),
            None => {
                if self.layout.format == Format::Csv {
                    let mut heading = Vec::new();
                    self.layout.encode(&mut heading, columns.iter().map(|name| Cow::Borrowed(name.as_str())));
                    self.output.push(&heading)?;
                }
                lines.push(Line::Columns { columns: columns.to_vec(), end: self.output.end() });
                self.columns = Some(columns.to_vec());
                Ok(())
            }
        }
    }

    /// The run is over: everything is in the output, and nothing else stays behind.
    pub fn finish(self) -> Result<(), CliError> {
        // Before the journal goes: until the file is there, a run can go on from the rows.
        if let Some(conversion) = &self.conversion {
            conversion.write(self.columns)?;
        }
        if let Some(journal) = self.journal {
            journal.remove()?;
        }
        let rows = self.conversion.map(|conversion| conversion.rows().to_path_buf());
        for path in self.spill_path.into_iter().chain(rows) {
            std::fs::remove_file(&path).map_err(|error| CliError::file(&path, error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
