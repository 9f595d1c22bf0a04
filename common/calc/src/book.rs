//! The intermediate form of a service: sheets of constants and formulas, defined names, tables.
//!
//! The workbook reader and the formula-document reader both produce a [`Book`]; the compiler reads nothing else.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::value::Value;

/// A whole calculation as cells.
#[derive(Debug, Clone, Default)]
pub struct Book {
    /// The sheets, in workbook order. [`Range::sheet`] indexes this list.
    pub sheets: Vec<Sheet>,
    /// Defined names of the workbook and of single sheets.
    pub names: Vec<DefinedName>,
    /// Excel tables (list objects), the targets of structured references.
    pub tables: Vec<Table>,
    /// Which day serial dates count from.
    pub dates: DateSystem,
    /// Array formulas. In the sheets, the cells that they fill hold a formula that no function list knows, so that none of them
    /// is taken for an ordinary one.
    pub arrays: Vec<ArrayFormula>,
}

/// Which day serial dates count from (`date1904` of a workbook).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DateSystem {
    /// 1 is 1900-01-01, with Excel's 29 February 1900.
    #[default]
    From1900,
    /// 0 is 1904-01-01, 1,462 days later.
    From1904,
}

/// A formula that fills an area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayFormula {
    /// The area. The formula stands in its first cell.
    pub area: Range,
    /// The formula without its leading `=`.
    pub formula: String,
    /// Whether the area follows the size of the result (a dynamic array), or is fixed.
    pub dynamic: bool,
}

/// One sheet.
#[derive(Debug, Clone, Default)]
pub struct Sheet {
    /// The name on the tab.
    pub name: String,
    /// The cells that hold something, by zero-based (row, column).
    pub cells: FxHashMap<(u32, u32), Cell>,
    /// Rows that are hidden, by hand or by a filter: `SUBTOTAL` and `AGGREGATE` may leave them out.
    pub hidden_rows: FxHashSet<u32>,
    /// The area of a filter that hides rows.
    pub filter: Option<Range>,
}

/// A cell that holds a constant or a formula.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    /// The constant, or the value that was saved with the formula.
    pub value: Value,
    /// The formula without its leading `=`, shared formulas already expanded for this cell.
    pub formula: Option<String>,
}

/// A defined name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefinedName {
    /// The name as written; names compare without case.
    pub name: String,
    /// The sheet that the name is local to, or `None` for the whole workbook.
    pub sheet: Option<u32>,
    /// What the name stands for, as formula text without `=`: a reference, a constant or an expression.
    pub definition: String,
    /// The comment, which describes an input or output.
    pub comment: Option<String>,
}

/// An Excel table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The table's name; names compare without case.
    pub name: String,
    /// The whole area, headings and totals included.
    pub range: Range,
    /// The headings, left to right.
    pub columns: Vec<String>,
    /// Heading rows at the top of the area (0 or 1).
    pub header_rows: u32,
    /// Totals rows at the bottom of the area (0 or 1).
    pub totals_rows: u32,
}

/// A rectangle of cells on one sheet; zero-based, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Range {
    /// Index into [`Book::sheets`].
    pub sheet: u32,
    /// First row.
    pub first_row: u32,
    /// First column.
    pub first_column: u32,
    /// Last row, included.
    pub last_row: u32,
    /// Last column, included.
    pub last_column: u32,
}

impl Range {
    /// The range of one cell.
    pub const fn cell(sheet: u32, row: u32, column: u32) -> Self {
        Self { sheet, first_row: row, first_column: column, last_row: row, last_column: column }
    }

    /// How many rows the range has.
    pub const fn rows(&self) -> u32 {
        self.last_row - self.first_row + 1
    }

    /// How many columns the range has.
    pub const fn columns(&self) -> u32 {
        self.last_column - self.first_column + 1
    }

    /// Whether the range is a single cell.
    pub const fn is_cell(&self) -> bool {
        self.first_row == self.last_row && self.first_column == self.last_column
    }
}
