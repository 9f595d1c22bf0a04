//! What a Parquet file will take in memory, looked at before anything of it is decoded.
//!
//! A page is decoded as a whole, and its header says how large it will be; a short file may thus ask for gigabytes. So the head
//! of every page is read first: a file is refused when the pages that are in memory at the same time, one and a dictionary of
//! each column, do not fit, or when a page does not hold what its header says.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use parquet::basic::Compression;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::super::TableError;
use super::thrift::Compact;

/// The longest description of a file that is read, in bytes.
const FOOTER_BYTES: u64 = 4 << 20;
/// The most columns.
const COLUMNS: u64 = 4_096;
/// The longest head of a page, in bytes: statistics are in there.
const HEAD_BYTES: usize = 1 << 20;
/// How much of a head is read at first.
const FIRST_HEAD: usize = 4 << 10;
/// Memory of a value of a dictionary beside its bytes.
const VALUE: u64 = 48;

const MAGIC: &[u8; 4] = b"PAR1";
const DATA_PAGE: i64 = 0;
const INDEX_PAGE: i64 = 1;
const DICTIONARY_PAGE: i64 = 2;
const DATA_PAGE_V2: i64 = 3;
/// `DELTA_LENGTH_BYTE_ARRAY` and `DELTA_BYTE_ARRAY`: decoded at once, in memory that no size in the file bounds.
const UNBOUNDED: [i64; 2] = [6, 7];

fn refused(text: impl Into<String>) -> TableError {
    TableError::File(text.into())
}

fn damaged() -> TableError {
    refused("the Parquet file is damaged")
}

fn unreadable(error: &io::Error) -> TableError {
    TableError::Broken(error.to_string())
}

/// Checks the end of a file, before it is parsed.
pub(super) fn footer(file: &File) -> Result<(), TableError> {
    let length = file.metadata().map_err(|error| unreadable(&error))?.len();
    let mut ends = [0; 8];
    let tail = length.checked_sub(8).filter(|_| length >= 12).ok_or_else(no_parquet)?;
    file.read_exact_at(&mut ends, tail).map_err(|error| unreadable(&error))?;
    let mut head = [0; 4];
    file.read_exact_at(&mut head, 0).map_err(|error| unreadable(&error))?;
    let [a, b, c, d, magic @ ..] = ends;
    if &magic != MAGIC || &head != MAGIC {
        return Err(no_parquet());
    }
    let size = u64::from(u32::from_le_bytes([a, b, c, d]));
    if size > FOOTER_BYTES {
        return Err(refused(format!(
            "the description of the Parquet file has more than {FOOTER_BYTES} bytes"
        )));
    }
    let start = tail.checked_sub(size).ok_or_else(damaged)?;
    let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
    file.read_exact_at(&mut text, start).map_err(|error| unreadable(&error))?;
    schema_is_flat(&text).ok_or_else(damaged)?
}

fn no_parquet() -> TableError {
    refused("this is no Parquet file")
}

/// Whether no column is nested; `None` for nonsense. Nested ones would be built by recursion. All of the description is walked
/// through, so that no list in it is longer than its bytes.
fn schema_is_flat(footer: &[u8]) -> Option<Result<(), TableError>> {
    let mut compact = Compact::new(footer);
    let (mut id, mut columns) = (0, 0);
    while let Some(field) = compact.field(id)? {
        id = field.id;
        if id != 2 {
            compact.skip(field)?;
            continue;
        }
        let (size, _) = compact.list()?;
        if size > COLUMNS + 1 {
            return Some(Err(refused(format!("the Parquet file has more than {COLUMNS} columns"))));
        }
        for element in 0..size {
            // 1 type, 2 length, 3 repetition, 4 name, 5 number of children.
            let [_, _, repetition, _, children] = compact.integers::<5>()?;
            let repeated = repetition == Some(2);
            if element > 0 && (children.is_some_and(|children| children > 0) || repeated) {
                let text =
                    "the Parquet file has lists, maps or groups: write them as text (JSON), a column each";
                return Some(Err(refused(text)));
            }
        }
        columns = size.saturating_sub(1);
    }
    Some(if columns > 0 { Ok(()) } else { Err(refused("the Parquet file has no columns")) })
}

/// Checks every page of a file.
pub(super) fn pages(file: &File, metadata: &ParquetMetaData, page_bytes: usize) -> Result<(), TableError> {
    let length = file.metadata().map_err(|error| unreadable(&error))?.len();
    for group in metadata.row_groups() {
        let mut needed = 0_u64;
        for column in 0..group.num_columns() {
            needed = needed.saturating_add(column_needs(file, length, group, column, page_bytes as u64)?);
        }
        if needed > page_bytes as u64 {
            return Err(too_large(page_bytes as u64));
        }
    }
    Ok(())
}

fn too_large(limit: u64) -> TableError {
    refused(format!(
        "a page and a dictionary of each column take more than {limit} bytes: write the Parquet file with smaller pages"
    ))
}

/// Memory for the largest page and the dictionary of a column.
fn column_needs(
    file: &File,
    length: u64,
    group: &RowGroupMetaData,
    column: usize,
    limit: u64,
) -> Result<u64, TableError> {
    let column = group.column(column);
    let name = column.column_path().string();
    if !matches!(
        column.compression(),
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_)
    ) {
        return Err(refused(format!(
            "column {name:?} is compressed with {}: uncompressed, SNAPPY, GZIP and ZSTD are read",
            column.compression()
        )));
    }
    let start = column.dictionary_page_offset().filter(|at| *at > 0).unwrap_or(i64::MAX);
    let start = u64::try_from(start.min(column.data_page_offset())).map_err(|_| damaged())?;
    let size = u64::try_from(column.compressed_size()).map_err(|_| damaged())?;
    let end = start.checked_add(size).filter(|end| *end <= length).ok_or_else(damaged)?;
    let (mut dictionary, mut largest) = (0, 0);
    let mut at = start;
    while at < end {
        let head = head(file, at, end)?;
        let body = at + head.length;
        at = body.checked_add(head.compressed).filter(|next| *next <= end).ok_or_else(damaged)?;
        let takes = head.compressed + head.uncompressed;
        match head.kind {
            INDEX_PAGE => continue,
            DICTIONARY_PAGE => {
                let values = head.values.filter(|values| *values <= head.uncompressed).ok_or_else(damaged)?;
                dictionary = takes.saturating_add(values * VALUE).max(dictionary);
            }
            DATA_PAGE | DATA_PAGE_V2 => {
                if head.encoding.is_some_and(|encoding| UNBOUNDED.contains(&encoding)) {
                    return Err(refused(format!(
                        "column {name:?} has an encoding of texts by differences, which is not read: write it plain or with a \
                         dictionary"
                    )));
                }
                largest = takes.max(largest);
            }
            _ => return Err(damaged()),
        }
        if takes > limit {
            return Err(too_large(limit));
        }
        if matches!(column.compression(), Compression::GZIP(_)) {
            // The others are never decoded beyond what the head says.
            gzip_holds(file, body, head)?;
        }
    }
    Ok(dictionary + largest)
}

/// Whether a page in gzip is as large as its head says.
fn gzip_holds(file: &File, body: u64, head: Head) -> Result<(), TableError> {
    let compressed = usize::try_from(head.compressed).map_err(|_| damaged())?;
    let mut bytes = vec![0; compressed];
    file.read_exact_at(&mut bytes, body).map_err(|error| unreadable(&error))?;
    // Levels of the second kind of page stand before what is compressed.
    let levels = usize::try_from(head.levels).map_err(|_| damaged())?;
    let bytes = bytes.get(levels..).ok_or_else(damaged)?;
    let most = head.uncompressed.checked_sub(head.levels).ok_or_else(damaged)?;
    if !head.is_compressed || most == 0 {
        return Ok(());
    }
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes).take(most + 1);
    let size = io::copy(&mut decoder, &mut io::sink()).map_err(|_| damaged())?;
    if size == most { Ok(()) } else { Err(damaged()) }
}

/// The head of a page.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    /// Its own length.
    length: u64,
    kind: i64,
    uncompressed: u64,
    compressed: u64,
    values: Option<u64>,
    encoding: Option<i64>,
    /// Bytes of levels that are never compressed.
    levels: u64,
    is_compressed: bool,
}

fn head(file: &File, at: u64, end: u64) -> Result<Head, TableError> {
    let mut room = FIRST_HEAD;
    loop {
        let most = usize::try_from(end - at).unwrap_or(usize::MAX).min(room);
        let mut bytes = vec![0; most];
        file.read_exact_at(&mut bytes, at).map_err(|error| unreadable(&error))?;
        match read_head(&bytes) {
            Some(head) => return Ok(head),
            None if most < room || room >= HEAD_BYTES => return Err(damaged()),
            None => room *= 16,
        }
    }
}

fn read_head(bytes: &[u8]) -> Option<Head> {
    let mut compact = Compact::new(bytes);
    let (mut kind, mut uncompressed, mut compressed) = (None, None, None);
    let mut head = Head { is_compressed: true, ..Head::default() };
    let mut id = 0;
    while let Some(field) = compact.field(id)? {
        id = field.id;
        match id {
            1 => kind = Some(compact.integer()?),
            2 => uncompressed = Some(u64::try_from(compact.integer()?).ok()?),
            3 => compressed = Some(u64::try_from(compact.integer()?).ok()?),
            // Of a data page: 1 values, 2 encoding.
            5 => {
                let [values, encoding] = compact.integers::<2>()?;
                (head.values, head.encoding) = (natural(values), encoding);
            }
            // Of a dictionary: 1 values.
            7 => {
                let [values] = compact.integers::<1>()?;
                head.values = natural(values);
            }
            // Of a data page of the second kind: 1 values, 2 nulls, 3 rows, 4 encoding, 5 and 6 bytes of levels. Field 7
            // says whether it is compressed.
            8 => {
                let before = compact;
                let [values, _, _, encoding, definition, repetition] = compact.integers::<6>()?;
                (head.values, head.encoding) = (natural(values), encoding);
                head.levels = natural(definition)?.checked_add(natural(repetition)?)?;
                head.is_compressed = !before.says_false(7)?;
            }
            _ => compact.skip(field)?,
        }
    }
    Some(Head {
        length: (bytes.len() - compact.left()) as u64,
        kind: kind?,
        uncompressed: uncompressed?,
        compressed: compressed?,
        ..head
    })
}

fn natural(number: Option<i64>) -> Option<u64> {
    u64::try_from(number?).ok()
}
