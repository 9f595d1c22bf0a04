//! References: cells and ranges on sheets, and structured references into tables.

use formualizer_parse::parser::{
    ReferenceType, SpecialItem, TableReference, TableRowSpecifier, TableSpecifier,
};

use super::Expr;
use super::resolve::{MAX_COLUMN, MAX_ROW, Resolver};
use crate::book::{Range, Table};
use crate::program::CompileErrorKind;
use crate::value::{ErrorValue, fold};

/// `B3` of a zero-based row and column.
pub(crate) fn a1(row: u32, column: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        letters.push(char::from(b'A' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().collect::<String>() + &(row + 1).to_string()
}

/// The smallest range that holds both, when they are on one sheet.
pub(crate) fn span(a: Range, b: Range) -> Option<Range> {
    (a.sheet == b.sheet).then(|| Range {
        sheet: a.sheet,
        first_row: a.first_row.min(b.first_row),
        first_column: a.first_column.min(b.first_column),
        last_row: a.last_row.max(b.last_row),
        last_column: a.last_column.max(b.last_column),
    })
}

/// The cells that both have.
pub(super) fn intersect(a: Range, b: Range) -> Option<Range> {
    let range = Range {
        sheet: a.sheet,
        first_row: a.first_row.max(b.first_row),
        first_column: a.first_column.max(b.first_column),
        last_row: a.last_row.min(b.last_row),
        last_column: a.last_column.min(b.last_column),
    };
    let some =
        a.sheet == b.sheet && range.first_row <= range.last_row && range.first_column <= range.last_column;
    some.then_some(range)
}

/// Bounds of a range, one-based, where an open end is `None`.
type Bounds = (Option<u32>, Option<u32>, Option<u32>, Option<u32>);

fn rectangle(sheet: u32, (row, column, end_row, end_column): Bounds) -> Option<Range> {
    let low = |bound: Option<u32>| bound.map_or(Some(0), |i| i.checked_sub(1));
    let high = |bound: Option<u32>, most: u32| bound.map_or(Some(most), |i| i.checked_sub(1));
    let (r1, c1, r2, c2) = (low(row)?, low(column)?, high(end_row, MAX_ROW)?, high(end_column, MAX_COLUMN)?);
    if r1.max(r2) > MAX_ROW || c1.max(c2) > MAX_COLUMN {
        return None;
    }
    Some(Range {
        sheet,
        first_row: r1.min(r2),
        first_column: c1.min(c2),
        last_row: r1.max(r2),
        last_column: c1.max(c2),
    })
}

fn bad_reference() -> Expr {
    Expr::Value(ErrorValue::Ref.into())
}

impl Resolver<'_> {
    /// A cell or range, on one sheet or several.
    pub(super) fn cells(
        &self,
        original: &str,
        reference: &ReferenceType,
        here: u32,
    ) -> Result<Expr, CompileErrorKind> {
        let sheet_of = |name: &Option<String>| match name {
            None => Some(here),
            Some(name) => self.sheets.get(fold(name).as_ref()).copied(),
        };
        Ok(match reference {
            ReferenceType::Cell { sheet, row, col, .. } => sheet_of(sheet)
                .and_then(|sheet| rectangle(sheet, (Some(*row), Some(*col), Some(*row), Some(*col))))
                .map_or_else(bad_reference, Expr::Reference),
            ReferenceType::Range { sheet, start_row, start_col, end_row, end_col, .. } => sheet_of(sheet)
                .and_then(|sheet| rectangle(sheet, (*start_row, *start_col, *end_row, *end_col)))
                .map_or_else(bad_reference, Expr::Reference),
            ReferenceType::Cell3D { sheet_first, sheet_last, row, col, .. } => {
                self.across(sheet_first, sheet_last, (Some(*row), Some(*col), Some(*row), Some(*col)))
            }
            ReferenceType::Range3D {
                sheet_first,
                sheet_last,
                start_row,
                start_col,
                end_row,
                end_col,
                ..
            } => self.across(sheet_first, sheet_last, (*start_row, *start_col, *end_row, *end_col)),
            _ => return Err(CompileErrorKind::ExternalReference(original.to_owned())),
        })
    }

    /// The same rectangle on every sheet from the first to the last named.
    fn across(&self, first: &str, last: &str, bounds: Bounds) -> Expr {
        let index = |name: &str| self.sheets.get(fold(name).as_ref()).copied();
        let (Some(a), Some(b)) = (index(first), index(last)) else { return bad_reference() };
        let areas: Option<Vec<Range>> = (a.min(b)..=a.max(b)).map(|sheet| rectangle(sheet, bounds)).collect();
        areas.map_or_else(bad_reference, Expr::Areas)
    }

    /// The data of a table that is named like a range.
    pub(super) fn table_data(&self, folded: &str) -> Result<Expr, CompileErrorKind> {
        let table = &self.book.tables[self.tables[folded]];
        Ok(rows_of(table, Part::Data, None).map_or_else(bad_reference, Expr::Reference))
    }

    /// A structured reference.
    pub(super) fn table(
        &self,
        reference: &TableReference,
        here: u32,
        cell: Option<(u32, u32)>,
    ) -> Result<Expr, CompileErrorKind> {
        let table = if reference.name.is_empty() {
            let (row, column) = cell.unwrap_or_default();
            self.book.tables.iter().find(|t| intersect(t.range, Range::cell(here, row, column)).is_some())
        } else {
            self.tables.get(fold(&reference.name).as_ref()).map(|i| &self.book.tables[*i])
        };
        let Some(table) = table else {
            return Err(CompileErrorKind::Unsupported(format!(
                "a reference to the unknown table {}",
                reference.name
            )));
        };
        let mut selection = Selection { parts: Vec::new(), columns: None };
        if let Some(specifier) = &reference.specifier {
            selection.add(specifier, table)?;
        }
        if selection.parts.is_empty() {
            selection.parts.push(Part::Data);
        }
        let row = cell.map(|(row, _)| row);
        let mut whole: Option<Range> = None;
        for part in &selection.parts {
            let Some(range) = rows_of(table, *part, row) else {
                let error = if *part == Part::ThisRow { ErrorValue::Value } else { ErrorValue::Ref };
                return Ok(Expr::Value(error.into()));
            };
            whole = match whole {
                None => Some(range),
                Some(sum) => span(sum, range),
            };
        }
        let Some(mut range) = whole else { return Ok(bad_reference()) };
        if let Some((first, last)) = selection.columns {
            range.first_column = table.range.first_column + first;
            range.last_column = table.range.first_column + last;
        }
        Ok(Expr::Reference(range))
    }
}

/// Rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Data,
    Headers,
    Totals,
    ThisRow,
}

/// What the specifiers of a structured reference select.
struct Selection {
    parts: Vec<Part>,
    columns: Option<(u32, u32)>,
}

impl Selection {
    fn add(&mut self, specifier: &TableSpecifier, table: &Table) -> Result<(), CompileErrorKind> {
        let column = |name: &str| {
            let folded = fold(name);
            table.columns.iter().position(|heading| fold(heading) == folded).map(|i| i as u32).ok_or_else(
                || CompileErrorKind::Unsupported(format!("the unknown column {}[{name}]", table.name)),
            )
        };
        match specifier {
            TableSpecifier::All => self.parts.push(Part::All),
            TableSpecifier::Data => self.parts.push(Part::Data),
            TableSpecifier::Headers => self.parts.push(Part::Headers),
            TableSpecifier::Totals => self.parts.push(Part::Totals),
            TableSpecifier::Row(row) => self.parts.push(match row {
                TableRowSpecifier::Current => Part::ThisRow,
                TableRowSpecifier::All => Part::All,
                TableRowSpecifier::Data => Part::Data,
                TableRowSpecifier::Headers => Part::Headers,
                TableRowSpecifier::Totals => Part::Totals,
                TableRowSpecifier::Index(_) => {
                    return Err(CompileErrorKind::Unsupported("a table row by number".to_owned()));
                }
            }),
            TableSpecifier::SpecialItem(item) => self.parts.push(match item {
                SpecialItem::Headers => Part::Headers,
                SpecialItem::Data => Part::Data,
                SpecialItem::Totals => Part::Totals,
                SpecialItem::All => Part::All,
                SpecialItem::ThisRow => Part::ThisRow,
            }),
            TableSpecifier::Column(name) => {
                let i = column(name)?;
                self.columns = Some((i, i));
            }
            TableSpecifier::ColumnRange(first, last) => {
                let (a, b) = (column(first)?, column(last)?);
                self.columns = Some((a.min(b), a.max(b)));
            }
            TableSpecifier::Combination(list) => {
                for specifier in list {
                    self.add(specifier, table)?;
                }
            }
        }
        Ok(())
    }
}

fn rows_of(table: &Table, part: Part, row: Option<u32>) -> Option<Range> {
    let whole = table.range;
    let first_data = whole.first_row + table.header_rows;
    let last_data = whole.last_row.checked_sub(table.totals_rows)?;
    let (first_row, last_row) = match part {
        Part::All => (whole.first_row, whole.last_row),
        Part::Data => (first_data, last_data),
        Part::Headers => (whole.first_row, first_data.checked_sub(1)?),
        Part::Totals => (last_data + 1, whole.last_row),
        Part::ThisRow => (row?, row?),
    };
    let inside = first_row <= last_row
        && first_row >= whole.first_row
        && last_row <= whole.last_row
        && (part != Part::ThisRow || (first_row >= first_data && last_row <= last_data));
    inside.then_some(Range { first_row, last_row, ..whole })
}
