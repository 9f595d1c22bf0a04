//! What the reference engine is given: a book with its inputs and outputs, as bytes that travel between processes.

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::FallbackError;
use crate::book::{Book, Range};
use crate::limits::Limits;
use crate::program::Column;
use crate::value::{ErrorValue, Value};

/// A calculation for the reference engine, packed. Cheap to clone.
#[derive(Clone)]
pub struct Definition {
    key: [u8; 32],
    bytes: Arc<[u8]>,
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Definition {
    /// Packs a book, with the cells that records supply and those that are computed.
    ///
    /// # Errors
    ///
    /// [`FallbackError::Unavailable`] when it cannot be packed, which no book does.
    pub fn new(
        book: &Book,
        inputs: &[Range],
        outputs: &[Range],
        limits: &Limits,
    ) -> Result<Self, FallbackError> {
        let pack = |error: postcard::Error| FallbackError::Unavailable(error.to_string());
        Ok(Self::from_bytes(postcard::to_stdvec(&Packed::new(book, inputs, outputs, limits)).map_err(pack)?))
    }

    /// A definition from what [`Self::bytes`] gave.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { key: Sha256::digest(&bytes).into(), bytes: bytes.into() }
    }

    /// What tells this definition from others: a digest of its bytes.
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The packed form. It may hold what the workbook holds: not for logs.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn unpack(&self) -> Result<Packed, FallbackError> {
        postcard::from_bytes(&self.bytes).map_err(|error| FallbackError::Unavailable(error.to_string()))
    }
}

/// The content of a [`Definition`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Packed {
    pub sheets: Vec<PackedSheet>,
    /// Name, sheet, definition.
    pub names: Vec<(String, Option<u32>, String)>,
    pub tables: Vec<PackedTable>,
    pub inputs: Vec<Rectangle>,
    pub outputs: Vec<Rectangle>,
    pub formula_length: usize,
    pub formula_nesting: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackedSheet {
    pub name: String,
    /// By row, then column.
    pub cells: Vec<(u32, u32, PackedCell)>,
    pub arrays: Vec<PackedArray>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum PackedCell {
    Constant(Scalar),
    Formula(String),
    /// Computed by an array formula of the sheet, by its place in the list.
    Array(u32),
}

/// Cells of array formulas that are noted though the file has none of them.
const ARRAY_CELLS: usize = 1_000_000;

/// An array formula with the area that it fills.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PackedArray {
    pub area: Rectangle,
    pub formula: String,
    /// Whether it grows and shrinks with its result.
    pub dynamic: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PackedTable {
    pub name: String,
    pub area: Rectangle,
    pub columns: Vec<String>,
    pub header_rows: u32,
    pub totals_rows: u32,
}

/// A [`Range`] on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rectangle {
    pub sheet: u32,
    pub first_row: u32,
    pub first_column: u32,
    pub last_row: u32,
    pub last_column: u32,
}

impl Rectangle {
    /// Its cells, row-major.
    pub fn cells(self) -> impl Iterator<Item = (u32, u32, u32)> {
        (self.first_row..=self.last_row).flat_map(move |row| {
            (self.first_column..=self.last_column).map(move |column| (self.sheet, row, column))
        })
    }
}

impl From<Range> for Rectangle {
    fn from(range: Range) -> Self {
        Self {
            sheet: range.sheet,
            first_row: range.first_row,
            first_column: range.first_column,
            last_row: range.last_row,
            last_column: range.last_column,
        }
    }
}

impl Packed {
    fn new(book: &Book, inputs: &[Range], outputs: &[Range], limits: &Limits) -> Self {
        let mut left = ARRAY_CELLS;
        let sheets = book.sheets.iter().zip(0_u32..).map(|(sheet, index)| {
            let mut cells: FxHashMap<(u32, u32), PackedCell> = sheet
                .cells
                .iter()
                .map(|(at, cell)| {
                    let packed = match &cell.formula {
                        Some(formula) => PackedCell::Formula(formula.clone()),
                        None => PackedCell::Constant(Scalar::from(&cell.value)),
                    };
                    (*at, packed)
                })
                .collect();
            let arrays: Vec<PackedArray> = book
                .arrays
                .iter()
                .filter(|array| array.area.sheet == index)
                .map(|array| PackedArray {
                    area: array.area.into(),
                    formula: array.formula.clone(),
                    dynamic: array.dynamic,
                })
                .collect();
            for (array, place) in arrays.iter().zip(0..) {
                for (_, row, column) in array.area.cells().take(left) {
                    cells.insert((row, column), PackedCell::Array(place));
                    left = left.saturating_sub(1);
                }
            }
            let mut cells: Vec<_> =
                cells.into_iter().map(|((row, column), cell)| (row, column, cell)).collect();
            cells.sort_unstable_by_key(|(row, column, _)| (*row, *column));
            PackedSheet { name: sheet.name.clone(), cells, arrays }
        });
        let names = book.names.iter();
        let tables = book.tables.iter().map(|table| PackedTable {
            name: table.name.clone(),
            area: table.range.into(),
            columns: table.columns.clone(),
            header_rows: table.header_rows,
            totals_rows: table.totals_rows,
        });
        Self {
            sheets: sheets.collect(),
            names: names.map(|name| (name.name.clone(), name.sheet, name.definition.clone())).collect(),
            tables: tables.collect(),
            inputs: inputs.iter().copied().map(Rectangle::from).collect(),
            outputs: outputs.iter().copied().map(Rectangle::from).collect(),
            formula_length: limits.formula_length,
            formula_nesting: limits.formula_nesting,
        }
    }
}

/// A [`Value`] on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Scalar {
    Blank,
    Number(f64),
    Text(String),
    Boolean(bool),
    /// As Excel spells it.
    Error(String),
}

impl From<&Value> for Scalar {
    fn from(value: &Value) -> Self {
        match value {
            Value::Blank => Self::Blank,
            Value::Number(number) => Self::Number(*number),
            Value::Text(text) => Self::Text(text.to_string()),
            Value::Boolean(boolean) => Self::Boolean(*boolean),
            Value::Error(error) => Self::Error(error.as_str().to_owned()),
        }
    }
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Blank => Self::Blank,
            Scalar::Number(number) => Self::from(number),
            Scalar::Text(text) => Self::Text(text.into()),
            Scalar::Boolean(boolean) => Self::Boolean(boolean),
            Scalar::Error(error) => Self::Error(ErrorValue::parse(&error).unwrap_or(ErrorValue::Value)),
        }
    }
}

/// Columns on their way between processes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Columns(Vec<PackedColumn>);

/// One column.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum PackedColumn {
    /// Numbers, with error values as NaN payloads.
    Numbers(Vec<f64>),
    Booleans(Vec<f64>),
    Values(Vec<Scalar>),
    Constant(Scalar),
}

impl Columns {
    /// Packs columns.
    pub fn pack(columns: &[Column]) -> Self {
        let pack = |column: &Column| match column {
            Column::Number(numbers) => PackedColumn::Numbers(numbers.clone()),
            Column::Boolean(numbers) => PackedColumn::Booleans(numbers.clone()),
            Column::Value(values) => PackedColumn::Values(values.iter().map(Scalar::from).collect()),
            Column::Constant(value) => PackedColumn::Constant(Scalar::from(value)),
        };
        Self(columns.iter().map(pack).collect())
    }

    /// The columns again.
    pub fn unpack(self) -> Vec<Column> {
        let unpack = |column: PackedColumn| match column {
            PackedColumn::Numbers(numbers) => Column::Number(numbers),
            PackedColumn::Booleans(numbers) => Column::Boolean(numbers),
            PackedColumn::Values(values) => Column::Value(values.into_iter().map(Value::from).collect()),
            PackedColumn::Constant(value) => Column::Constant(value.into()),
        };
        self.0.into_iter().map(unpack).collect()
    }
}
