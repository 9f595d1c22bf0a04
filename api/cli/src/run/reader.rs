//! Cuts a table into chunks, one at a time: the table is never in memory as a whole.
//!
//! Cells of CSV stay text exactly as in the file, so that the server's coercion decides what they mean; an empty cell is
//! `null`, a blank cell. JSON Lines and Parquet have values. The same table and settings always give the same chunks, byte for byte, which is what makes a repeated push
//! harmless.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use csv::ByteRecord;
use millrace_table::chunks::Pieces;
use millrace_table::{Format, Options, Reader, TableError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::error::CliError;

/// How much of either end of a file is hashed.
const SAMPLE: u64 = 65_536;

/// Where the table comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file, which can be read again.
    File(PathBuf),
    /// Standard input, which cannot.
    Stdin,
}

impl Source {
    /// `-` is standard input.
    pub fn new(path: &Path) -> Self {
        if path == Path::new("-") { Self::Stdin } else { Self::File(path.to_path_buf()) }
    }

    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "standard input".to_owned(),
        }
    }
}

/// What tells one table from another: its length, and a hash of its beginning and end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 of the first and last 64 KiB, in hexadecimal digits.
    pub hash: String,
}

impl Fingerprint {
    /// Reads both ends of a file.
    pub fn of(path: &Path) -> Result<Self, CliError> {
        use std::io::{Seek, SeekFrom};
        let read = || {
            let mut file = File::open(path)?;
            let bytes = file.metadata()?.len();
            let mut hasher = blake3::Hasher::new();
            let mut sample = Vec::new();
            for start in [0, bytes.saturating_sub(SAMPLE)] {
                file.seek(SeekFrom::Start(start))?;
                sample.clear();
                file.by_ref().take(SAMPLE).read_to_end(&mut sample)?;
                hasher.update(&sample);
            }
            Ok(Self { bytes, hash: hasher.finalize().to_hex().to_string() })
        };
        read().map_err(|error| CliError::file(path, error))
    }
}

/// How a table is cut.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Records in each chunk but the last.
    pub chunk_records: u32,
    /// Common inputs of every chunk.
    pub parameters: Map<String, Value>,
    /// Between cells of CSV.
    pub delimiter: u8,
    /// How the table is written.
    pub format: Format,
}

/// One chunk, ready to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its place in the table, from 0; also its id.
    pub index: u64,
    /// Number of records.
    pub records: u32,
    /// The JSON body of the push.
    pub body: Bytes,
}

/// The id of the chunk at this place: the same in every try and every run.
pub fn chunk_id(index: u64) -> String {
    format!("{index:08}")
}

/// Counts the bytes that were read, for the progress display.
struct Counting<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A table that is being cut.
pub struct Chunks {
    rows: Rows,
    source: Source,
    columns: Vec<String>,
    cut: Cut,
    next: u64,
}

/// What stands in a table.
enum Rows {
    /// Texts, which go to the server as they are.
    Csv(csv::Reader<Box<dyn Read + Send>>, ByteRecord),
    /// Values.
    Pieces(Pieces),
}

impl std::fmt::Debug for Chunks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunks")
            .field("source", &self.source)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Chunks {
    /// Opens a table and reads its heading. `bytes` counts what is read.
    pub fn open(source: &Source, cut: Cut, bytes: Arc<AtomicU64>) -> Result<Self, CliError> {
        let input: Box<dyn Read + Send> = match source {
            Source::File(path) => {
                let file = File::open(path).map_err(|error| CliError::file(path, error))?;
                if cut.format == Format::Parquet {
                    return Self::values(millrace_table::Source::File(file), source.clone(), cut);
                }
                Box::new(Counting { inner: file, count: bytes })
            }
            Source::Stdin => Box::new(Counting { inner: std::io::stdin(), count: bytes }),
        };
        match cut.format {
            Format::Csv => Self::read(input, source.clone(), cut),
            _ => Self::values(millrace_table::Source::Stream(input), source.clone(), cut),
        }
    }

    /// A table that is not of texts.
    fn values(input: millrace_table::Source, source: Source, cut: Cut) -> Result<Self, CliError> {
        let refused = |error: TableError| refused(&source, &error);
        let reader = Reader::open(input, cut.format, Options::default()).map_err(refused)?;
        let columns = reader.columns().to_vec();
        check_columns(&source, &columns)?;
        let pieces = Pieces::new(reader, cut.chunk_records, usize::MAX, cut.parameters.clone());
        Ok(Self { rows: Rows::Pieces(pieces), source, columns, cut, next: 0 })
    }

    fn read(input: Box<dyn Read + Send>, source: Source, cut: Cut) -> Result<Self, CliError> {
        let mut reader =
            csv::ReaderBuilder::new().delimiter(cut.delimiter).buffer_capacity(1 << 16).from_reader(input);
        let heading = reader.headers().map_err(|error| broken(&source, &error))?;
        let columns: Vec<String> = heading.iter().map(str::to_owned).collect();
        check_columns(&source, &columns)?;
        Ok(Self { rows: Rows::Csv(reader, ByteRecord::new()), source, columns, cut, next: 0 })
    }

    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Passes over the next chunk; its place and records, or `None` at the end.
    fn skip_chunk(&mut self) -> Result<Option<(u64, u32)>, CliError> {
        let records = match &mut self.rows {
            Rows::Csv(reader, record) => {
                Some(take(reader, record, &self.source, self.cut.chunk_records, |_| Ok(()))?)
            }
            Rows::Pieces(pieces) => pieces.skip_piece().map_err(|error| refused(&self.source, &error))?,
        };
        Ok(records.filter(|records| *records > 0).map(|records| (self.place(), records)))
    }

    /// The place of the chunk that was taken.
    fn place(&mut self) -> u64 {
        let index = self.next;
        self.next += 1;
        index
    }

    /// The next chunk for which `wanted` holds; hands the sizes of the others to `skipped`.
    pub fn next_chunk(
        &mut self,
        wanted: impl Fn(u64) -> bool,
        mut skipped: impl FnMut(u32),
    ) -> Result<Option<Chunk>, CliError> {
        loop {
            if !wanted(self.next) {
                match self.skip_chunk()? {
                    Some((_, records)) => skipped(records),
                    None => return Ok(None),
                }
                continue;
            }
            let mut body = Vec::with_capacity(64 * self.cut.chunk_records as usize);
            body.extend_from_slice(b"{\"chunks\":[{\"id\":");
            append(&mut body, &chunk_id(self.next));
            body.extend_from_slice(b",\"data\":");
            let records = match &mut self.rows {
                Rows::Csv(reader, record) => {
                    body.extend_from_slice(b"{\"inputs\":[");
                    append(&mut body, &self.columns);
                    let source = &self.source;
                    let each = |record: &ByteRecord| append_record(&mut body, source, record);
                    let records = take(reader, record, source, self.cut.chunk_records, each)?;
                    body.extend_from_slice(b"],\"parameters\":");
                    append(&mut body, &self.cut.parameters);
                    body.push(b'}');
                    records
                }
                Rows::Pieces(pieces) => {
                    let piece = pieces.next_piece().map_err(|error| refused(&self.source, &error))?;
                    let Some(piece) = piece else { return Ok(None) };
                    body.extend_from_slice(&piece.data);
                    piece.records
                }
            };
            if records == 0 {
                return Ok(None);
            }
            body.extend_from_slice(b"}]}");
            return Ok(Some(Chunk { index: self.place(), records, body: body.into() }));
        }
    }
}

/// Takes a chunk's records out of a table of texts, handing each to `each`; how many there were.
fn take(
    reader: &mut csv::Reader<Box<dyn Read + Send>>,
    record: &mut ByteRecord,
    source: &Source,
    most: u32,
    mut each: impl FnMut(&ByteRecord) -> Result<(), CliError>,
) -> Result<u32, CliError> {
    let mut records = 0;
    while records < most && reader.read_byte_record(record).map_err(|error| broken(source, &error))? {
        each(record)?;
        records += 1;
    }
    Ok(records)
}

fn check_columns(source: &Source, columns: &[String]) -> Result<(), CliError> {
    let refused = |text: String| CliError::Input(format!("{}: {text}", source.name()));
    if columns.is_empty() {
        return Err(refused("there is no heading: the first line must name the columns".to_owned()));
    }
    for (index, column) in columns.iter().enumerate() {
        if columns[..index].iter().any(|other| other.eq_ignore_ascii_case(column)) {
            return Err(refused(format!("the column {column:?} appears twice in the heading")));
        }
    }
    Ok(())
}

fn refused(source: &Source, error: &TableError) -> CliError {
    CliError::Input(format!("{}: {error}", source.name()))
}

/// Appends a value as JSON; writing into memory cannot fail.
fn append<T: Serialize + ?Sized>(body: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(body, value);
}

fn append_record(body: &mut Vec<u8>, source: &Source, record: &ByteRecord) -> Result<(), CliError> {
    body.extend_from_slice(b",[");
    for (index, cell) in record.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        if cell.is_empty() {
            body.extend_from_slice(b"null");
            continue;
        }
        let text = std::str::from_utf8(cell).map_err(|_| {
            let line = record.position().map_or(0, csv::Position::line);
            CliError::Input(format!(
                "{}: line {line}, column {}: the text is not UTF-8; convert the file, for example with iconv",
                source.name(),
                index + 1
            ))
        })?;
        append(body, text);
    }
    body.push(b']');
    Ok(())
}

fn broken(source: &Source, error: &csv::Error) -> CliError {
    let name = source.name();
    CliError::Input(match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let (line, record) = pos.as_ref().map_or((0, 0), |pos| (pos.line(), pos.record()));
            format!(
                "{name}: line {line} (record {record}) has {len} cells, but the heading has {expected_len}"
            )
        }
        csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.as_ref().map_or(1, csv::Position::line);
            format!("{name}: line {line}: the text is not UTF-8; convert the file, for example with iconv")
        }
        _ => format!("{name}: {error}"),
    })
}

/// How many chunks and records a table has, and how many chunks of it are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// All chunks.
    pub chunks: u64,
    /// All records.
    pub records: u64,
    /// Chunks for which the question held.
    pub wanted: u64,
}

/// Reads a table once to measure it.
pub fn measure(mut chunks: Chunks, wanted: impl Fn(u64) -> bool) -> Result<Extent, CliError> {
    let mut extent = Extent::default();
    while let Some((index, records)) = chunks.skip_chunk()? {
        extent.chunks += 1;
        extent.records += u64::from(records);
        extent.wanted += u64::from(wanted(index));
    }
    Ok(extent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn cut(chunk_records: u32) -> Cut {
        Cut { chunk_records, parameters: Map::new(), delimiter: b',', format: Format::Csv }
    }

    fn open(text: &[u8], cut: Cut) -> Result<Chunks, CliError> {
        Chunks::read(Box::new(std::io::Cursor::new(text.to_vec())), Source::File("t.csv".into()), cut)
    }

    fn all(mut chunks: Chunks) -> Result<Vec<Chunk>, CliError> {
        let mut found = Vec::new();
        while let Some(chunk) = chunks.next_chunk(|_| true, |_| ())? {
            found.push(chunk);
        }
        Ok(found)
    }

    #[test]
    fn cells_stay_text_and_empty_ones_are_null() {
        let mut cut = cut(2);
        cut.parameters.insert("tax".to_owned(), json!("0.1"));
        let text = b"\xef\xbb\xbfid,price,note\n007,1.50,\"a \"\"b\"\"\nc\"\n8,,x\n9,1e400, \n";
        let chunks = all(open(text, cut).unwrap()).unwrap();
        let bodies: Vec<Value> = chunks.iter().map(|c| serde_json::from_slice(&c.body).unwrap()).collect();
        assert_eq!(
            bodies[0],
            json!({ "chunks": [{ "id": "00000000", "data": {
                "inputs": [["id", "price", "note"], ["007", "1.50", "a \"b\"\nc"], ["8", null, "x"]],
                "parameters": { "tax": "0.1" },
            } }] })
        );
        assert_eq!(bodies[1]["chunks"][0]["id"], "00000001");
        assert_eq!(
            bodies[1]["chunks"][0]["data"]["inputs"],
            json!([["id", "price", "note"], ["9", "1e400", " "]])
        );
        assert_eq!(chunks.iter().map(|chunk| chunk.records).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn a_table_without_records_has_no_chunk() {
        assert!(all(open(b"a,b\n", cut(10)).unwrap()).unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            (&b"a,b\n1,2\n1,2,3\n"[..], "t.csv: line 3 (record 2) has 3 cells, but the heading has 2"),
            (b"a,b\n1,\"2\n\"\n1\n", "line 4 (record 2) has 1 cells"),
            (b"a,b\n1,\xff\n", "line 2, column 2: the text is not UTF-8"),
            (b"a,A\n", "\"A\" appears twice"),
            (b"\xff\n", "not UTF-8"),
            (b"", "no heading"),
        ] {
            let error = open(text, cut(10)).and_then(all).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn wanted_chunks_are_the_same_as_without_skipping() {
        let text: String = "n\n".to_owned() + &(0..10).map(|n| format!("{n}\n")).collect::<String>();
        let every = all(open(text.as_bytes(), cut(3)).unwrap()).unwrap();
        let mut chunks = open(text.as_bytes(), cut(3)).unwrap();
        let mut skipped = 0;
        let third = chunks.next_chunk(|index| index == 2, |records| skipped += records).unwrap().unwrap();
        assert_eq!((third, skipped), (every[2].clone(), 6));
        assert_eq!(chunks.next_chunk(|index| index == 2, |records| skipped += records).unwrap(), None);
        assert_eq!(skipped, 7);
        let extent = measure(open(text.as_bytes(), cut(3)).unwrap(), |index| index != 1).unwrap();
        assert_eq!(extent, Extent { chunks: 4, records: 10, wanted: 3 });
    }

    #[test]
    fn a_changed_file_has_another_fingerprint() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut seen = Vec::new();
        let long = |last: u8| [vec![b'x'; 200_000], vec![last]].concat();
        for content in [b"a".to_vec(), b"b".to_vec(), long(b'1'), long(b'2'), Vec::new()] {
            std::fs::write(file.path(), &content).unwrap();
            let fingerprint = Fingerprint::of(file.path()).unwrap();
            assert_eq!(fingerprint, Fingerprint::of(file.path()).unwrap());
            assert!(!seen.contains(&fingerprint));
            seen.push(fingerprint);
        }
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn no_record_is_lost_or_doubled(cells in proptest::collection::vec("[a-z0-9 ,\"\n]{1,6}", 1..60), size in 1_u32..20) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["cell", "n"]).unwrap();
            for (number, cell) in cells.iter().enumerate() {
                writer.write_record([cell.as_str(), &number.to_string()]).unwrap();
            }
            let chunks = all(open(&writer.into_inner().unwrap(), cut(size)).unwrap()).unwrap();
            let mut found = Vec::new();
            for (index, chunk) in chunks.iter().enumerate() {
                prop_assert_eq!(chunk.index, index as u64);
                let body: Value = serde_json::from_slice(&chunk.body).unwrap();
                let rows = body["chunks"][0]["data"]["inputs"].as_array().unwrap();
                prop_assert_eq!(rows.len() as u32, chunk.records + 1);
                found.extend(rows[1..].iter().map(|row| row[0].as_str().unwrap().to_owned()));
            }
            prop_assert_eq!(found, cells);
        }
    }
}
