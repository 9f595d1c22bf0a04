//! Files of records: CSV, JSON Lines and Parquet, read and written a few records at a time.
//!
//! A [`Reader`] gives [`Record`]s; what a cell means is decided by whoever takes them. CSV has texts only, so its cells are
//! [`Cell::Text`]; the others have values. An [`Encoder`] takes cells as the JSON texts that they were stored as, so that numbers
//! stay what they are. Whatever the size of a file, memory holds a record, a page of each column (Parquet), or a group of rows
//! that are being written.

pub mod chunks;
mod csv;
mod lines;
mod parquet;
#[cfg(test)]
mod properties;
mod spool;
mod write;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

pub use self::parquet::DEFAULT_PAGE_BYTES;
pub use self::parquet::write::{ParquetRows, RowsError};
pub use self::spool::{Spool, SpoolError};
pub use self::write::{Encoder, distinct, text_of};

/// The longest record, in bytes.
pub const ROW_BYTES: usize = 1_048_576;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values; the first line names the columns.
    Csv,
    /// An object on each line, by the names of columns.
    JsonLines,
    /// Apache Parquet with flat columns.
    Parquet,
}

impl Format {
    /// The format of a name, or of a media type.
    pub fn named(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "csv" | "text/csv" | "application/csv" => Some(Self::Csv),
            "jsonl"
            | "ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/x-ndjson"
            | "application/ndjson" => Some(Self::JsonLines),
            "parquet"
            | "application/parquet"
            | "application/x-parquet"
            | "application/vnd.apache.parquet" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// The format that the ending of a file's name stands for.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" | "tsv" | "txt" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "parquet" | "pq" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// `csv`, `jsonl` or `parquet`: also the ending of files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The media type.
    pub const fn media(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::JsonLines => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// Where a record stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The line that it begins on, from 1.
    Line(u64),
    /// Its number, from 1, where there are no lines.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// Why a file was given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A record is wrong; the text begins with its place.
    #[error("{place}{}: {text}", .column.as_ref().map(|column| format!(", column {column:?}")).unwrap_or_default())]
    Row {
        /// Where the record stands.
        place: Place,
        /// The name of the column.
        column: Option<String>,
        /// What is wrong.
        text: String,
    },
    /// The file as a whole cannot be read.
    #[error("{0}")]
    File(String),
    /// The file broke off.
    #[error("the file broke off: {0}")]
    Broken(String),
    /// Whoever takes the records takes no more.
    #[error("nobody takes the records")]
    Stopped,
}

impl TableError {
    /// A record is wrong.
    pub fn at(place: Place, text: impl Into<String>) -> Self {
        Self::Row { place, column: None, text: text.into() }
    }

    /// A cell is wrong.
    pub fn in_column(place: Place, column: &str, text: impl Into<String>) -> Self {
        Self::Row { place, column: Some(column.to_owned()), text: text.into() }
    }
}

/// The names of columns, shared by the records that have them.
pub type Columns = Arc<[String]>;

/// What stands in a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text without a type (CSV); empty where nothing stands.
    Text(String),
    /// A value; null where nothing stands.
    Value(Value),
}

/// A record of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Where it stands.
    pub place: Place,
    /// Its columns. In JSON Lines they are those of its object.
    pub columns: Columns,
    /// Its cells, as many as columns.
    pub cells: Vec<Cell>,
}

/// A record is longer than [`ROW_BYTES`].
#[derive(Debug, thiserror::Error)]
#[error("a row has more than {} bytes", ROW_BYTES)]
struct TooLong;

/// Where a file comes from.
pub enum Source {
    /// Bytes as they come.
    Stream(Box<dyn Read + Send>),
    /// A file in which any place can be read, as Parquet needs it.
    File(File),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::File(_) => "File",
        })
    }
}

/// How a file is read.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Between the cells of CSV.
    pub delimiter: u8,
    /// Memory for the pages of a Parquet file that are read at the same time, in bytes.
    pub page_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { delimiter: b',', page_bytes: DEFAULT_PAGE_BYTES }
    }
}

/// Reads a file record by record.
pub struct Reader {
    rows: Rows,
    columns: Columns,
    /// Read ahead, to know the columns.
    first: Option<Record>,
}

enum Rows {
    Csv(csv::Rows),
    Lines(lines::Rows),
    Parquet(parquet::Rows),
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a file and learns its columns. May block.
    ///
    /// # Errors
    ///
    /// A [`TableError`] for a file without a heading, a first line that is no object, or what is no readable Parquet file.
    pub fn open(source: Source, format: Format, options: Options) -> Result<Self, TableError> {
        let stream = |source| match source {
            Source::Stream(stream) => stream,
            Source::File(file) => Box::new(file),
        };
        let (rows, columns, first) = match format {
            Format::Csv => {
                let rows = csv::Rows::open(stream(source), options.delimiter)?;
                let columns = rows.columns();
                (Rows::Csv(rows), columns, None)
            }
            Format::JsonLines => {
                let mut rows = lines::Rows::open(stream(source));
                let first = rows.next()?;
                let columns = first.as_ref().map(|record| Arc::clone(&record.columns)).unwrap_or_default();
                (Rows::Lines(rows), columns, first)
            }
            Format::Parquet => {
                let Source::File(file) = source else {
                    return Err(TableError::File("Parquet is read from files only".to_owned()));
                };
                let rows = parquet::Rows::open(file, options.page_bytes)?;
                let columns = rows.columns();
                (Rows::Parquet(rows), columns, None)
            }
        };
        Ok(Self { rows, columns, first })
    }

    /// The columns; those of the first record in JSON Lines.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// The next record; `None` at the end. May block.
    ///
    /// # Errors
    ///
    /// A [`TableError`] with the place of what is wrong.
    pub fn next_record(&mut self) -> Result<Option<Record>, TableError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match &mut self.rows {
            Rows::Csv(rows) => rows.next(),
            Rows::Lines(rows) => rows.next(),
            Rows::Parquet(rows) => rows.next(),
        }
    }
}

/// The [`TableError`] for a failed read.
fn broken(error: &io::Error) -> TableError {
    TableError::Broken(error.to_string())
}

#[cfg(test)]
mod tests;
