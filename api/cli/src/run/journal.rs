//! What survives the process: which batch it was, and which chunks are safely in the files.
//!
//! The journal is a file of JSON lines. A line about a chunk is appended only after its rows were handed to the operating system, so what the
//! journal says is in the files, and what is in the files beyond it is cut off when a run goes on. After a power cut the
//! files may be shorter than the journal says; such chunks count as not pulled.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::error::CliError;
use super::reader::Fingerprint;

/// What must be the same for a run to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The tenant.
    pub tenant: String,
    /// The service, as given.
    pub service: String,
    /// The input table.
    pub input: Fingerprint,
    /// Records in a chunk.
    pub chunk_records: u32,
    /// Key columns.
    pub key: Vec<String>,
    /// Common inputs.
    pub param: Map<String, Value>,
    /// Output names.
    pub output_names: Vec<String>,
    /// Between cells.
    pub delimiter: u8,
    /// Whether rows are written in the order in which they come.
    pub unordered: bool,
    /// Where failed records are listed.
    pub errors: Option<PathBuf>,
    /// How the input is written: `csv`, `jsonl` or `parquet`.
    #[serde(default = "csv")]
    pub input_format: String,
    /// How the output is written.
    #[serde(default = "csv")]
    pub output_format: String,
}

/// What there was before formats were written down.
fn csv() -> String {
    "csv".to_owned()
}

impl Plan {
    /// The options in which two plans differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let mut found = Vec::new();
        let mut compare = |equal: bool, name| {
            if !equal {
                found.push(name);
            }
        };
        compare(self.tenant == other.tenant, "--tenant");
        compare(self.service == other.service, "SERVICE");
        compare(self.input == other.input, "the content of --input");
        compare(self.chunk_records == other.chunk_records, "--chunk-records");
        compare(self.key == other.key, "--key");
        compare(self.param == other.param, "--param");
        compare(self.output_names == other.output_names, "--output-names");
        compare(self.delimiter == other.delimiter, "--delimiter");
        compare(self.unordered == other.unordered, "--unordered");
        compare(self.errors == other.errors, "--errors");
        compare(self.input_format == other.input_format, "--input-format");
        compare(self.output_format == other.output_format, "--result-format");
        found
    }
}

/// The file that a chunk's rows are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The output.
    Output,
    /// The file of rows that wait for their turn.
    Spill,
}

/// A pulled chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// Its place in the table.
    pub chunk: u64,
    /// Where its rows are.
    pub place: Place,
    /// At which byte they begin.
    pub at: u64,
    /// How many bytes they have.
    pub len: u64,
    /// Number of records.
    pub records: u64,
    /// Records that failed.
    pub failed: u64,
    /// Records with a warning.
    pub warned: u64,
    /// Whether the whole chunk failed.
    pub chunk_failed: bool,
    /// Length of the list of failed records after this chunk.
    pub errors_end: u64,
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    Plan(Plan),
    /// A batch was opened.
    Batch {
        /// Its id.
        id: String,
    },
    /// The heading was written.
    Columns {
        /// The output's columns.
        columns: Vec<String>,
        /// Length of the output after it.
        end: u64,
    },
    /// A chunk's rows were written.
    Pulled(Pulled),
    /// A chunk's rows were copied from the spill file to the output.
    Moved {
        /// Its place in the table.
        chunk: u64,
        /// At which byte of the output its rows begin.
        at: u64,
    },
}

/// What a journal says, held against the files.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// What is being run.
    pub plan: Plan,
    /// The batch that was opened last.
    pub batch: Option<String>,
    /// The output's columns.
    pub columns: Option<Vec<String>>,
    /// Chunks whose rows are safely in the files.
    pub chunks: BTreeMap<u64, Pulled>,
    /// Length of the output that is vouched for.
    pub output_end: u64,
    /// Length of the spill file that is vouched for.
    pub spill_end: u64,
    /// Length of the list of failed records that is vouched for.
    pub errors_end: u64,
    /// Whether the files have lost chunks that the journal knows.
    pub is_short: bool,
    columns_end: u64,
}

/// Lengths of the files of a run, as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    /// Of the output.
    pub output: u64,
    /// Of the rows that wait.
    pub spill: u64,
    /// Of the list of failed records.
    pub errors: u64,
}

/// Reads a journal and holds it against the files.
pub fn replay(text: &str, lengths: Lengths) -> Result<Replay, String> {
    let mut lines = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        match serde_json::from_str::<Line>(line) {
            // The end of a line that was cut off by a crash is missing; nothing was done on its account.
            _ if !line.ends_with('\n') => break,
            Ok(line) => lines.push(line),
            Err(error) => return Err(format!("line {} is broken: {error}", number + 1)),
        }
    }
    let mut lines = lines.into_iter();
    let Some(Line::Plan(plan)) = lines.next() else {
        return Err("it does not begin with the plan of a run".to_owned());
    };
    let mut replay = Replay {
        plan,
        batch: None,
        columns: None,
        chunks: BTreeMap::new(),
        output_end: 0,
        spill_end: 0,
        errors_end: 0,
        is_short: false,
        columns_end: 0,
    };
    for line in lines {
        match line {
            Line::Plan(_) => return Err("it has two plans".to_owned()),
            Line::Batch { id } => replay.batch = Some(id),
            Line::Columns { columns, end } => {
                if end <= lengths.output {
                    replay.columns = Some(columns);
                    replay.columns_end = end;
                }
            }
            Line::Pulled(pulled) => {
                replay.chunks.insert(pulled.chunk, pulled);
            }
            Line::Moved { chunk, at } => match replay.chunks.get_mut(&chunk) {
                Some(pulled) => {
                    pulled.place = Place::Output;
                    pulled.at = at;
                }
                None => return Err(format!("the chunk {chunk} was moved before it was pulled")),
            },
        }
    }
    let all = replay.chunks.len();
    replay.chunks.retain(|_, pulled| {
        let end = pulled.at.saturating_add(pulled.len);
        let len = if pulled.place == Place::Output { lengths.output } else { lengths.spill };
        end <= len && pulled.errors_end <= lengths.errors
    });
    replay.is_short = replay.chunks.len() < all;
    let end = |place| {
        let of_place = replay.chunks.values().filter(move |pulled| pulled.place == place);
        of_place.map(|pulled| pulled.at + pulled.len).max().unwrap_or(0)
    };
    replay.output_end = end(Place::Output).max(replay.columns_end);
    replay.spill_end = end(Place::Spill);
    replay.errors_end = replay.chunks.values().map(|pulled| pulled.errors_end).max().unwrap_or(0);
    Ok(replay)
}

impl Replay {
    /// The shortest journal that says the same.
    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![Line::Plan(self.plan.clone())];
        lines.extend(self.batch.clone().map(|id| Line::Batch { id }));
        lines.extend(self.columns.clone().map(|columns| Line::Columns { columns, end: self.columns_end }));
        lines.extend(self.chunks.values().cloned().map(Line::Pulled));
        lines
    }
}

/// The journal of the run under way.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Begins a journal, in place of the one that may be there. The file appears only when it is complete.
    pub fn begin(path: &Path, lines: &[Line]) -> Result<Self, CliError> {
        let wrap = |error| CliError::file(path, error);
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).open(&draft).map_err(wrap)?;
        file.write_all(&encode(lines)?).map_err(wrap)?;
        file.sync_all().map_err(wrap)?;
        std::fs::rename(&draft, path).map_err(wrap)?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Goes on with a journal that was read.
    pub fn go_on(path: &Path, replay: &Replay) -> Result<Self, CliError> {
        Self::begin(path, &replay.lines())
    }

    /// Appends lines in one write.
    pub fn append(&mut self, lines: &[Line]) -> Result<(), CliError> {
        self.file.write_all(&encode(lines)?).map_err(|error| CliError::file(&self.path, error))
    }

    /// The run is over: nothing is left to go on with.
    pub fn remove(self) -> Result<(), CliError> {
        std::fs::remove_file(&self.path).map_err(|error| CliError::file(&self.path, error))
    }
}

fn encode(lines: &[Line]) -> Result<Vec<u8>, CliError> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line).map_err(|error| CliError::Failed(error.to_string()))?;
        text.push(b'\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    pub(super) fn plan() -> Plan {
        Plan {
            tenant: "acme".to_owned(),
            service: "demo/sales".to_owned(),
            input: Fingerprint { bytes: 10, hash: "ab".to_owned() },
            chunk_records: 2,
            key: vec!["id".to_owned()],
            param: Map::new(),
            output_names: Vec::new(),
            delimiter: b',',
            unordered: false,
            errors: None,
            input_format: csv(),
            output_format: csv(),
        }
    }

    fn pulled(chunk: u64, place: Place, at: u64, len: u64) -> Line {
        let counts = (2, 0, 0);
        Line::Pulled(Pulled {
            chunk,
            place,
            at,
            len,
            records: counts.0,
            failed: counts.1,
            warned: counts.2,
            chunk_failed: false,
            errors_end: 0,
        })
    }

    fn text(lines: &[Line]) -> String {
        String::from_utf8(encode(lines).unwrap()).unwrap()
    }

    fn lengths(output: u64, spill: u64) -> Lengths {
        Lengths { output, spill, errors: 0 }
    }

    fn story() -> Vec<Line> {
        vec![
            Line::Plan(plan()),
            Line::Batch { id: "b1".to_owned() },
            Line::Columns { columns: vec!["id".to_owned()], end: 3 },
            pulled(2, Place::Spill, 0, 20),
            pulled(1, Place::Spill, 20, 10),
            pulled(0, Place::Output, 3, 10),
            Line::Moved { chunk: 1, at: 13 },
        ]
    }

    #[test]
    fn a_journal_tells_what_is_in_the_files() {
        let replay = replay(&text(&story()), lengths(100, 100)).unwrap();
        assert_eq!(replay.batch.as_deref(), Some("b1"));
        assert_eq!(replay.chunks.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!((replay.output_end, replay.spill_end), (23, 20));
        assert_eq!(replay.chunks[&1].place, Place::Output);
    }

    #[test]
    fn what_the_files_lost_counts_as_not_pulled() {
        let text = text(&story());
        let lost = |output, spill| {
            let replay = replay(&text, lengths(output, spill)).unwrap();
            (replay.chunks.keys().copied().collect::<Vec<_>>(), replay.output_end, replay.columns.is_some())
        };
        assert_eq!(lost(22, 100), (vec![0, 2], 13, true));
        assert_eq!(lost(23, 19), (vec![0, 1], 23, true));
        assert_eq!(lost(2, 20), (vec![2], 0, false));
    }

    #[test]
    fn a_journal_may_end_anywhere_and_is_refused_when_broken() {
        let text = text(&story());
        let first = text.find('\n').unwrap() + 1;
        for end in first..=text.len() {
            assert!(replay(&text[..end], lengths(100, 100)).is_ok(), "cut at {end}");
        }
        assert!(replay(&text[..first - 1], lengths(0, 0)).unwrap_err().contains("plan"));
        assert!(replay("", lengths(0, 0)).is_err());
        assert!(replay(&text.replace("\"b1\"", "b1"), lengths(0, 0)).unwrap_err().contains("line 2"));
        assert!(replay(&format!("{text}{{\"moved\":{{\"chunk\":9,\"at\":0}}}}\n"), lengths(0, 0)).is_err());
    }

    #[test]
    fn the_rewritten_journal_says_the_same_and_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv.millrace");
        let before = replay(&text(&story()), lengths(100, 100)).unwrap();
        let mut journal = Journal::go_on(&path, &before).unwrap();
        let read = || replay(&std::fs::read_to_string(&path).unwrap(), lengths(100, 100)).unwrap();
        assert_eq!(read(), before);
        journal.append(&[pulled(7, Place::Output, 23, 5)]).unwrap();
        assert_eq!(read().chunks.len(), 4);
        journal.remove().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn plans_that_differ_are_told_apart_by_option() {
        let mut other = plan();
        assert!(plan().differences(&other).is_empty());
        other.chunk_records = 3;
        other.key.clear();
        assert_eq!(plan().differences(&other), ["--chunk-records", "--key"]);
    }
}
