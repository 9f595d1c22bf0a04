//! Writing Parquet: the types of columns must stand before the first value, and what types results have is known after the
//! last one. So records are put aside on disk first, and then written in groups of rows.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use serde_json::value::RawValue;

use super::super::Columns;
use super::super::spool::{Spool, SpoolError};
use super::super::write::text_of;

/// Bytes of cells in one group of rows.
const GROUP_BYTES: usize = 8_000_000;
/// The most rows in one group.
const GROUP_ROWS: usize = 100_000;
/// Excel's errors: values of number columns that are no numbers.
const ERRORS: [&str; 13] = [
    "#DIV/0!",
    "#N/A",
    "#NAME?",
    "#NULL!",
    "#NUM!",
    "#REF!",
    "#VALUE!",
    "#SPILL!",
    "#CALC!",
    "#GETTING_DATA",
    "#FIELD!",
    "#BLOCKED!",
    "#CONNECT!",
];

/// Why a Parquet file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The records could not be put aside.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The file could not be written, or whoever takes it takes no more.
    #[error("the Parquet file cannot be written: {0}")]
    Write(#[from] ParquetError),
    /// What was put aside could not be read again.
    #[error("records that were put aside cannot be read: {0}")]
    Read(String),
}

/// What a column holds, from what was seen of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    /// Nothing yet.
    #[default]
    Empty,
    Boolean,
    Integer,
    Number,
    /// Text, or values that have no type in common.
    Text,
}

impl Kind {
    /// What a JSON text is.
    fn of(raw: &str) -> Self {
        match raw.as_bytes().first() {
            None | Some(b'n') => Self::Empty,
            Some(b't' | b'f') => Self::Boolean,
            Some(b'"') if is_error(raw) => Self::Empty,
            Some(b'-' | b'0'..=b'9') => {
                if raw.parse::<i64>().is_ok() {
                    Self::Integer
                } else if raw.parse::<f64>().is_ok_and(f64::is_finite) {
                    Self::Number
                } else {
                    Self::Text
                }
            }
            _ => Self::Text,
        }
    }

    /// What holds both.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Empty, other) | (other, Self::Empty) => other,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Text,
        }
    }
}

fn is_error(raw: &str) -> bool {
    raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).is_some_and(|text| ERRORS.contains(&text))
}

/// Records that will be a Parquet file.
#[derive(Debug)]
pub struct ParquetRows {
    columns: Columns,
    kinds: Vec<Kind>,
    spool: Spool,
    pending: Vec<u8>,
}

impl ParquetRows {
    /// No records yet. They are put aside in this folder, in at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`RowsError::Spool`].
    pub fn new(columns: Columns, folder: &Path, limit: u64) -> Result<Self, RowsError> {
        let kinds = vec![Kind::Empty; columns.len()];
        Ok(Self { columns, kinds, spool: Spool::create(folder, limit)?, pending: Vec::new() })
    }

    /// Takes a record; `cells` are JSON texts without line breaks, as many as columns. May block.
    ///
    /// # Errors
    ///
    /// [`RowsError::Spool`].
    pub fn push<'c>(&mut self, cells: impl IntoIterator<Item = &'c str>) -> Result<(), RowsError> {
        self.pending.push(b'[');
        for (at, (kind, cell)) in self.kinds.iter_mut().zip(cells).enumerate() {
            *kind = kind.with(Kind::of(cell));
            if at > 0 {
                self.pending.push(b',');
            }
            self.pending.extend_from_slice(cell.as_bytes());
        }
        self.pending.extend_from_slice(b"]\n");
        if self.pending.len() >= 1 << 16 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RowsError> {
        self.spool.append(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Writes the file. Columns are BOOLEAN, INT64, DOUBLE or text, each with nulls; in those of booleans and numbers an error of
    /// Excel is null. May block.
    ///
    /// # Errors
    ///
    /// [`RowsError`].
    pub fn write_to(mut self, out: impl Write + Send) -> Result<(), RowsError> {
        self.flush()?;
        let Self { columns, kinds, spool, .. } = self;
        let fields = columns.iter().zip(&kinds).map(|(name, kind)| field(name, *kind).map(Arc::new));
        let fields = fields.collect::<Result<Vec<_>, ParquetError>>()?;
        let schema = Arc::new(Type::group_type_builder("records").with_fields(fields).build()?);
        let properties = Arc::new(
            WriterProperties::builder()
                .set_compression(Compression::SNAPPY)
                .set_created_by("millrace".to_owned())
                .build(),
        );
        let mut writer = SerializedFileWriter::new(out, schema, properties)?;
        let mut lines = BufReader::new(spool.into_file()?);
        loop {
            let group = Group::read(&mut lines, kinds.len())?;
            if group.rows == 0 {
                break;
            }
            let mut rows = writer.next_row_group()?;
            group.write(&mut rows, &kinds)?;
            rows.close()?;
        }
        writer.close()?;
        Ok(())
    }
}

fn field(name: &str, kind: Kind) -> Result<Type, ParquetError> {
    let physical = match kind {
        Kind::Boolean => Physical::BOOLEAN,
        Kind::Integer => Physical::INT64,
        Kind::Number => Physical::DOUBLE,
        Kind::Empty | Kind::Text => Physical::BYTE_ARRAY,
    };
    let field = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    match physical {
        Physical::BYTE_ARRAY => field.with_converted_type(ConvertedType::UTF8).build(),
        _ => field.build(),
    }
}

/// Rows that are written together, by column.
struct Group {
    columns: Vec<Vec<Box<RawValue>>>,
    rows: usize,
}

impl Group {
    fn read(lines: &mut impl BufRead, columns: usize) -> Result<Self, RowsError> {
        let wrong = |error: &dyn std::fmt::Display| RowsError::Read(error.to_string());
        let mut group = Self { columns: std::iter::repeat_with(Vec::new).take(columns).collect(), rows: 0 };
        let (mut text, mut bytes) = (String::new(), 0);
        while bytes < GROUP_BYTES && group.rows < GROUP_ROWS {
            text.clear();
            if lines.read_line(&mut text).map_err(|error: io::Error| wrong(&error))? == 0 {
                break;
            }
            let cells: Vec<Box<RawValue>> = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
            for (column, cell) in group.columns.iter_mut().zip(cells) {
                column.push(cell);
            }
            bytes += text.len();
            group.rows += 1;
        }
        Ok(group)
    }

    fn write<W: Write + Send>(
        &self,
        rows: &mut SerializedRowGroupWriter<'_, W>,
        kinds: &[Kind],
    ) -> Result<(), RowsError> {
        for (cells, kind) in self.columns.iter().zip(kinds) {
            let Some(mut column) = rows.next_column()? else { break };
            let cells = cells.iter().map(|cell| cell.get());
            match column.untyped() {
                ColumnWriter::BoolColumnWriter(writer) => {
                    let (values, levels) = split(cells, |raw| raw.parse::<bool>().ok());
                    writer.write_batch(&values, Some(&levels), None)?;
                }
                ColumnWriter::Int64ColumnWriter(writer) => {
                    let (values, levels) = split(cells, |raw| raw.parse::<i64>().ok());
                    writer.write_batch(&values, Some(&levels), None)?;
                }
                ColumnWriter::DoubleColumnWriter(writer) => {
                    let (values, levels) = split(cells, |raw| raw.parse::<f64>().ok());
                    writer.write_batch(&values, Some(&levels), None)?;
                }
                ColumnWriter::ByteArrayColumnWriter(writer) => {
                    // A column of nothing but errors has no type that they are missing from.
                    let text = |raw: &str| {
                        (!raw.starts_with('n'))
                            .then(|| ByteArray::from(text_of(raw).into_owned().into_bytes()))
                    };
                    let (values, levels) = split(cells, text);
                    writer.write_batch(&values, Some(&levels), None)?;
                }
                _ => return Err(RowsError::Read(format!("a column of another type than {kind:?}"))),
            }
            column.close()?;
        }
        Ok(())
    }
}

/// Values that are there, and for each row whether one is.
fn split<'c, T>(
    cells: impl Iterator<Item = &'c str>,
    read: impl Fn(&str) -> Option<T>,
) -> (Vec<T>, Vec<i16>) {
    let mut values = Vec::new();
    let levels = cells.map(|raw| match read(raw) {
        Some(value) => {
            values.push(value);
            1
        }
        None => 0,
    });
    let levels = levels.collect();
    (values, levels)
}
