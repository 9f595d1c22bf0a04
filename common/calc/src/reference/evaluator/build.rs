//! From a definition to the engine's workbook: what the outputs need of it, and no more.

use std::collections::hash_map::Entry;

use ironcalc_base::expressions::parser::Node;
use ironcalc_base::types::Workbook;
use rustc_hash::{FxHashMap, FxHashSet};

use super::Sites;
use super::assemble::{array_of, assemble, cell_of};
use super::read::{Reader, Scope};
use crate::functions;
use crate::interface::cell_address;
use crate::reference::Obstacle;
use crate::reference::definition::{Packed, PackedCell, Rectangle};
use crate::reference::nodes::{self, Place};

/// A workbook ready for the engine.
pub(super) struct Built {
    pub workbook: Workbook,
    /// The trees of each sheet, which its cells point into.
    pub formulas: Vec<Vec<Node>>,
    pub functions: Vec<String>,
    pub volatile_functions: Vec<String>,
    pub count: u64,
    pub volatile: Option<Sites>,
}

/// Row or column, from 1.
pub(super) fn one_based(number: u32) -> i32 {
    i32::try_from(number).map_or(i32::MAX, |number| number.saturating_add(1))
}

/// `Sheet!A1`.
pub(super) fn place(sheet: &str, row: u32, column: u32) -> String {
    format!("{sheet}!{}", cell_address(row, column))
}

/// The formulas that the outputs need.
struct Cone<'p> {
    packed: &'p Packed,
    /// By cell: its tree, or nothing for what holds no formula.
    seen: FxHashMap<Place, Option<Node>>,
    inputs: FxHashSet<Place>,
    areas: FxHashSet<(u32, u32, u32, u32, u32)>,
    open: Vec<Place>,
    whole: bool,
}

impl<'p> Cone<'p> {
    /// Marks what holds something in an area.
    fn area(&mut self, area: &Rectangle) {
        let key = (area.sheet, area.first_row, area.first_column, area.last_row, area.last_column);
        if !self.areas.insert(key) {
            return;
        }
        let sheet = usize::try_from(area.sheet).ok().and_then(|sheet| self.packed.sheets.get(sheet));
        let Some(sheet) = sheet else { return };
        let size = u64::from(area.last_row - area.first_row + 1)
            * u64::from(area.last_column - area.first_column + 1);
        if size <= 64 {
            for at in area.cells() {
                if cell_of(self.packed, at).is_some() {
                    self.mark(at);
                }
            }
            return;
        }
        let start = sheet.cells.partition_point(|(row, _, _)| *row < area.first_row);
        for (row, column, _) in sheet.cells.get(start..).unwrap_or_default() {
            if *row > area.last_row {
                break;
            }
            if (area.first_column..=area.last_column).contains(column) {
                self.mark((area.sheet, *row, *column));
            }
        }
    }

    fn mark(&mut self, at: Place) {
        if let Entry::Vacant(entry) = self.seen.entry(at) {
            entry.insert(None);
            self.open.push(at);
        }
    }

    /// Everything, because a reference is only known once it is calculated.
    fn everything(&mut self) {
        if self.whole {
            return;
        }
        self.whole = true;
        for (sheet, index) in self.packed.sheets.iter().zip(0_u32..) {
            for (row, column, _) in &sheet.cells {
                self.mark((index, *row, *column));
            }
        }
    }
}

/// Builds the workbook.
///
/// # Errors
///
/// The first formula that is in the way.
pub(super) fn build(packed: &Packed) -> Result<Built, Obstacle> {
    let scope = Scope::new(packed);
    let mut reader = Reader::new(&scope);
    let mut cone = Cone {
        packed,
        seen: FxHashMap::default(),
        inputs: packed.inputs.iter().flat_map(|area| area.cells()).collect(),
        areas: FxHashSet::default(),
        open: Vec::new(),
        whole: false,
    };
    for output in &packed.outputs {
        cone.area(output);
    }
    // What grows may reach any cell.
    for sheet in &packed.sheets {
        for array in sheet.arrays.iter().filter(|array| array.dynamic && array.area.cells().nth(1).is_some())
        {
            cone.mark((array.area.sheet, array.area.first_row, array.area.first_column));
        }
    }
    let mut count = 0;
    while let Some(at) = cone.open.pop() {
        if cone.inputs.contains(&at) {
            continue;
        }
        let refused =
            |message: String| Obstacle { place: place(scope.sheet_name(at.0), at.1, at.2), message };
        let (text, array) = match (array_of(packed, at), cell_of(packed, at)) {
            (Some(array), _) => {
                let anchor = (array.area.sheet, array.area.first_row, array.area.first_column);
                if anchor != at {
                    cone.mark(anchor);
                    continue;
                }
                if let Some(input) = array.area.cells().find(|cell| cone.inputs.contains(cell)) {
                    let address = cell_address(input.1, input.2);
                    return Err(refused(format!("the array formula fills {address}, which is an input")));
                }
                (array.formula.as_str(), true)
            }
            (None, Some(PackedCell::Formula(text))) => (text.as_str(), false),
            _ => continue,
        };
        reader.at = at;
        let mut node = reader.read(text, at.0).map_err(refused)?;
        if !array {
            nodes::scalar(&mut node);
        }
        count += 1;
        let reads = nodes::reads(&node, at);
        for area in &reads.areas {
            cone.area(area);
        }
        if reads.computed || !reader.lambdas.is_empty() {
            cone.everything();
        }
        cone.seen.insert(at, Some(node));
    }
    let Reader { functions, volatile, lambdas, .. } = reader;
    let seen = cone.seen;
    let lambdas: Vec<usize> = lambdas.into_iter().collect();
    let (workbook, formulas) = assemble(packed, seen, &cone.inputs, &lambdas, volatile.is_some())
        .map_err(|message| Obstacle { place: "the workbook".to_owned(), message })?;
    let is_volatile = |name: &&String| {
        matches!(name.as_str(), "NOW" | "TODAY" | "RAND")
            || functions::find(name).is_some_and(|(_, function)| function.volatile)
    };
    Ok(Built {
        workbook,
        formulas,
        volatile_functions: functions.iter().filter(is_volatile).cloned().collect(),
        functions: functions.into_iter().collect(),
        count,
        volatile,
    })
}
