//! The engine's workbook, cell by cell.

use std::collections::{BTreeMap, HashMap};

use ironcalc_base::Model;
use ironcalc_base::expressions::parser::Node;
use ironcalc_base::expressions::parser::stringify::to_rc_format;
use ironcalc_base::types::{ArrayKind, Cell, DefinedName, FormulaValue, SpillValue, Workbook};
use rustc_hash::{FxHashMap, FxHashSet};

use super::build::one_based;
use super::engine_error;
use super::read::{tables, volatile_sheet};
use crate::reference::definition::{Packed, PackedArray, PackedCell, Scalar};
use crate::reference::nodes::Place;
use crate::value::ErrorValue;

/// Puts the needed cells into a workbook. Answers it with the trees of each sheet.
pub(super) fn assemble(
    packed: &Packed,
    seen: FxHashMap<Place, Option<Node>>,
    inputs: &FxHashSet<Place>,
    lambdas: &[usize],
    volatile: bool,
) -> Result<(Workbook, Vec<Vec<Node>>), String> {
    let mut workbook = Model::new_empty("service", "en", "UTC", "en")?.workbook;
    let blank = workbook.worksheets.first().cloned().ok_or("an empty workbook without a sheet")?;
    workbook.worksheets.clear();
    let mut names: Vec<String> = packed.sheets.iter().map(|sheet| sheet.name.clone()).collect();
    if volatile {
        names.push(volatile_sheet(packed));
    }
    for (name, id) in names.into_iter().zip(1..) {
        let mut worksheet = blank.clone();
        worksheet.name = name;
        worksheet.sheet_id = id;
        workbook.worksheets.push(worksheet);
    }
    workbook.tables = tables(packed);
    for index in lambdas {
        let Some((name, scope, definition)) = packed.names.get(*index) else { continue };
        workbook.defined_names.push(DefinedName {
            name: name.clone(),
            formula: definition.clone(),
            sheet_id: scope.map(|sheet| sheet + 1),
        });
    }
    let mut strings = std::mem::take(&mut workbook.shared_strings);
    let mut known = HashMap::new();
    let mut formulas: Vec<Vec<Node>> = workbook.worksheets.iter().map(|_| Vec::new()).collect();
    let mut lists: Vec<HashMap<String, Vec<i32>>> = formulas.iter().map(|_| HashMap::new()).collect();
    let in_order: BTreeMap<Place, Option<Node>> = seen.into_iter().collect();
    for (at, node) in in_order {
        if inputs.contains(&at) {
            // Records fill it; until then it holds what the book says.
            if let Some(PackedCell::Constant(scalar)) = cell_of(packed, at)
                && let Some(cell) = constant(scalar, &mut strings, &mut known)
            {
                put(&mut workbook, at, cell);
            }
            continue;
        }
        let array = array_of(packed, at);
        let Some(node) = node else {
            // The cells of an array hold what its formula gives them.
            if array.is_none()
                && let Some(PackedCell::Constant(scalar)) = cell_of(packed, at)
                && let Some(cell) = constant(scalar, &mut strings, &mut known)
            {
                put(&mut workbook, at, cell);
            }
            continue;
        };
        let sheet = usize::try_from(at.0).map_err(|error| error.to_string())?;
        let (Some(list), Some(nodes)) = (lists.get_mut(sheet), formulas.get_mut(sheet)) else { continue };
        let same = list.entry(to_rc_format(&node)).or_default();
        let equal = |index: &i32| usize::try_from(*index).is_ok_and(|index| nodes.get(index) == Some(&node));
        let f = match same.iter().copied().find(equal) {
            Some(index) => index,
            None => {
                let index = i32::try_from(nodes.len()).map_err(|error| error.to_string())?;
                same.push(index);
                nodes.push(node);
                index
            }
        };
        let v = FormulaValue::Unevaluated;
        let Some(array) = array else {
            put(&mut workbook, at, Cell::CellFormula { f, s: 0, v });
            continue;
        };
        let width = one_based(array.area.last_column - array.area.first_column);
        let height = one_based(array.area.last_row - array.area.first_row);
        if array.dynamic {
            put(&mut workbook, at, Cell::ArrayFormula { f, s: 0, r: (1, 1), kind: ArrayKind::Dynamic, v });
            continue;
        }
        put(&mut workbook, at, Cell::ArrayFormula { f, s: 0, r: (width, height), kind: ArrayKind::Cse, v });
        for cell in array.area.cells().filter(|cell| *cell != at) {
            let anchor = (one_based(at.1), one_based(at.2));
            put(&mut workbook, cell, Cell::SpillCell { s: 0, a: anchor, v: SpillValue::Text(String::new()) });
        }
    }
    workbook.shared_strings = strings;
    Ok((workbook, formulas))
}

pub(super) fn cell_of(packed: &Packed, (sheet, row, column): Place) -> Option<&PackedCell> {
    let cells = &packed.sheets.get(usize::try_from(sheet).ok()?)?.cells;
    let index = cells.binary_search_by_key(&(row, column), |(row, column, _)| (*row, *column)).ok()?;
    cells.get(index).map(|cell| &cell.2)
}

pub(super) fn array_of(packed: &Packed, at: Place) -> Option<&PackedArray> {
    let Some(PackedCell::Array(index)) = cell_of(packed, at) else { return None };
    packed.sheets.get(usize::try_from(at.0).ok()?)?.arrays.get(usize::try_from(*index).ok()?)
}

fn put(workbook: &mut Workbook, (sheet, row, column): Place, cell: Cell) {
    let worksheet = usize::try_from(sheet).ok().and_then(|sheet| workbook.worksheets.get_mut(sheet));
    if let Some(worksheet) = worksheet {
        worksheet.sheet_data.set_cell(one_based(row), one_based(column), cell);
    }
}

/// A constant as a cell; texts are appended to the shared strings once.
fn constant(scalar: &Scalar, strings: &mut Vec<String>, known: &mut HashMap<String, i32>) -> Option<Cell> {
    Some(match scalar {
        Scalar::Blank => return None,
        Scalar::Number(number) => Cell::NumberCell { v: *number, s: 0 },
        Scalar::Boolean(boolean) => Cell::BooleanCell { v: *boolean, s: 0 },
        Scalar::Error(text) => {
            Cell::ErrorCell { ei: engine_error(ErrorValue::parse(text).unwrap_or(ErrorValue::Value)), s: 0 }
        }
        Scalar::Text(text) => {
            let next = i32::try_from(strings.len()).unwrap_or(i32::MAX);
            let si = *known.entry(text.clone()).or_insert_with(|| {
                strings.push(text.clone());
                next
            });
            Cell::SharedString { si, s: 0 }
        }
    })
}
