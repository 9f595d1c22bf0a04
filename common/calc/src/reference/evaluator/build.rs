//! From a definition to the engine's workbook: what the outputs need of it, and no more.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ironcalc_base::Model;
use ironcalc_base::expressions::parser::stringify::to_rc_format;
use ironcalc_base::expressions::parser::{Node, Parser, new_parser_english};
use ironcalc_base::expressions::types::CellReferenceRC;
use ironcalc_base::types::{
    ArrayKind, Cell, DefinedName, FormulaValue, SpillValue, Table, TableColumn, Workbook,
};
use rustc_hash::{FxHashMap, FxHashSet};

use super::super::Obstacle;
use super::super::definition::{Packed, PackedArray, PackedCell, Rectangle};
use super::super::nodes::{self, Functions, Place, Rewrite};
use super::super::screen::{self, Names};
use super::{Sites, constant};
use crate::functions;
use crate::interface::{cell_address, range_address};
use crate::limits::Limits;
use crate::value::fold;

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

/// Names and tables, by what they are called without case.
struct Scope<'p> {
    packed: &'p Packed,
    names: FxHashMap<(Option<u32>, String), usize>,
    tables: FxHashMap<String, usize>,
    limits: Limits,
}

impl<'p> Scope<'p> {
    fn find(&self, sheet: u32, name: &str) -> Option<usize> {
        let folded = fold(name).into_owned();
        let own = self.names.get(&(Some(sheet), folded.clone()));
        own.or_else(|| self.names.get(&(None, folded))).copied()
    }

    fn definition(&self, index: usize) -> Option<&'p str> {
        self.packed.names.get(index).map(|name| name.2.trim().trim_start_matches('='))
    }

    fn sheet_name(&self, sheet: u32) -> &'p str {
        usize::try_from(sheet).ok().and_then(|sheet| self.packed.sheets.get(sheet)).map_or("", |s| &s.name)
    }
}

fn is_lambda(definition: &str) -> bool {
    let start: String =
        definition.chars().take("_xlfn.LAMBDA(".len()).collect::<String>().to_ascii_uppercase();
    start.trim_start_matches("_XLFN.").starts_with("LAMBDA(")
}

impl Names for Scope<'_> {
    fn is_defined(&self, sheet: u32, name: &str) -> bool {
        self.find(sheet, name).is_some() || self.tables.contains_key(fold(name).as_ref())
    }

    fn is_lambda(&self, sheet: u32, name: &str) -> bool {
        self.find(sheet, name).and_then(|index| self.definition(index)).is_some_and(is_lambda)
    }
}

/// Reads formulas.
struct Reader<'p> {
    scope: &'p Scope<'p>,
    parser: Parser<'static>,
    functions: Functions,
    /// Random numbers so far; `None` until a volatile function is met.
    volatile: Option<Sites>,
    lambdas: BTreeSet<usize>,
    /// The formula that is being read.
    at: Place,
    open_names: Vec<usize>,
}

impl Reader<'_> {
    /// The rewritten tree of a formula, whose references without a sheet mean `sheet`.
    fn read(&mut self, text: &str, sheet: u32) -> Result<Node, String> {
        let text = text.trim().trim_start_matches('=');
        let expected = screen::screen(text, sheet, self.scope, &self.scope.limits)?;
        let context = CellReferenceRC {
            sheet: self.scope.sheet_name(sheet).to_owned(),
            row: one_based(self.at.1),
            column: one_based(self.at.2),
        };
        let mut node = self.parser.parse(text, &context);
        if !matches!(node, Node::ParseErrorKind { .. }) && nodes::shape(&node) != expected {
            return Err("a construct of this formula is not supported".to_owned());
        }
        nodes::rewrite(&mut node, self)?;
        Ok(node)
    }

    fn name_tree(&mut self, index: usize) -> Result<Option<Node>, String> {
        let Some((name, scope, _)) = self.scope.packed.names.get(index) else { return Ok(None) };
        if self.open_names.contains(&index) {
            return Err(format!("circular reference: the name {name} is defined by itself"));
        }
        let definition = self.scope.definition(index).unwrap_or_default();
        if is_lambda(definition) {
            self.lambda(index)?;
            return Ok(None);
        }
        self.open_names.push(index);
        let tree = self.read(definition, scope.unwrap_or(self.at.0));
        self.open_names.pop();
        tree.map(Some).map_err(|message| format!("in the name {name}: {message}"))
    }

    /// A name that is a `LAMBDA` stays one: the engine reads its definition by itself, so nothing in it can be replaced.
    fn lambda(&mut self, index: usize) -> Result<(), String> {
        if !self.lambdas.insert(index) {
            return Ok(());
        }
        let Some((name, scope, _)) = self.scope.packed.names.get(index) else { return Ok(()) };
        let outer = (self.at, std::mem::take(&mut self.open_names));
        self.at = (scope.unwrap_or(0), 0, 0);
        let definition = self.scope.definition(index).unwrap_or_default();
        let context =
            CellReferenceRC { sheet: self.scope.sheet_name(self.at.0).to_owned(), row: 1, column: 1 };
        let plain = self.parser.parse(definition, &context);
        let read = self.read(definition, self.at.0);
        (self.at, self.open_names) = outer;
        match read {
            Ok(node) if node == plain => Ok(()),
            Ok(_) => Err(format!(
                "the name {name}: a LAMBDA with a name cannot use other names or volatile functions"
            )),
            Err(message) => Err(format!("in the name {name}: {message}")),
        }
    }
}

impl Rewrite for Reader<'_> {
    fn name(&mut self, name: &str, scope: Option<u32>) -> Result<Option<Node>, String> {
        let key = (scope, fold(name).into_owned());
        match self.scope.names.get(&key) {
            Some(index) => self.name_tree(*index),
            None => Ok(None),
        }
    }

    fn table(&mut self, name: &str) -> Result<Rectangle, String> {
        let table = self.scope.tables.get(fold(name).as_ref());
        let table = table.and_then(|index| self.scope.packed.tables.get(*index));
        let table = table.ok_or_else(|| format!("there is no table {name}"))?;
        let mut area = table.area;
        area.first_row = area.first_row.saturating_add(table.header_rows).min(area.last_row);
        area.last_row = area.last_row.saturating_sub(table.totals_rows).max(area.first_row);
        Ok(area)
    }

    fn volatile(&mut self, function: &str) -> Option<Node> {
        if !matches!(function, "NOW" | "TODAY" | "RAND") {
            return None;
        }
        let sheet = u32::try_from(self.scope.packed.sheets.len()).ok()?;
        let sites = self.volatile.get_or_insert(Sites { sheet, random: 0 });
        let row = match function {
            "NOW" => 1,
            "TODAY" => 2,
            _ => {
                sites.random += 1;
                i32::try_from(sites.random).ok()? + 2
            }
        };
        Some(nodes::cell(sheet, &volatile_sheet(self.scope.packed), row, 1))
    }

    fn function(&mut self, name: &str) {
        self.functions.insert(name.to_owned());
    }

    fn named_function(&mut self, name: &str) -> Result<(), String> {
        match self.scope.find(self.at.0, name) {
            Some(index) => self.lambda(index),
            None => Ok(()),
        }
    }
}

/// A name that no sheet has.
fn volatile_sheet(packed: &Packed) -> String {
    let mut name = "volatile".to_owned();
    while packed.sheets.iter().any(|sheet| fold(&sheet.name) == name) {
        name.push('_');
    }
    name
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
        if !self.seen.contains_key(&at) {
            self.seen.insert(at, None);
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
    let limits = Limits {
        formula_length: packed.formula_length,
        formula_nesting: packed.formula_nesting,
        ..Limits::default()
    };
    let scope = Scope {
        packed,
        names: packed.names.iter().zip(0..).map(|(n, i)| ((n.1, fold(&n.0).into_owned()), i)).collect(),
        tables: packed.tables.iter().zip(0..).map(|(t, i)| (fold(&t.name).into_owned(), i)).collect(),
        limits,
    };
    let mut reader = Reader {
        scope: &scope,
        parser: parser(packed),
        functions: BTreeSet::new(),
        volatile: None,
        lambdas: BTreeSet::new(),
        at: (0, 0, 0),
        open_names: Vec::new(),
    };
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

fn parser(packed: &Packed) -> Parser<'static> {
    let mut sheets: Vec<String> = packed.sheets.iter().map(|sheet| sheet.name.clone()).collect();
    sheets.push(volatile_sheet(packed));
    new_parser_english(sheets, packed.names.clone(), tables(packed))
}

fn tables(packed: &Packed) -> HashMap<String, Table> {
    let tables = packed.tables.iter().map(|table| {
        let sheet = usize::try_from(table.area.sheet).ok().and_then(|sheet| packed.sheets.get(sheet));
        let area = crate::book::Range {
            sheet: table.area.sheet,
            first_row: table.area.first_row,
            first_column: table.area.first_column,
            last_row: table.area.last_row,
            last_column: table.area.last_column,
        };
        let columns = table.columns.iter().zip(1..);
        let columns =
            columns.map(|(name, id)| TableColumn { id, name: name.clone(), ..TableColumn::default() });
        let engine = Table {
            name: table.name.clone(),
            display_name: table.name.clone(),
            sheet_name: sheet.map(|sheet| sheet.name.clone()).unwrap_or_default(),
            reference: range_address(&area),
            totals_row_count: table.totals_rows,
            header_row_count: table.header_rows,
            header_row_dxf_id: None,
            data_dxf_id: None,
            totals_row_dxf_id: None,
            columns: columns.collect(),
            style_info: ironcalc_base::types::TableStyleInfo::default(),
            has_filters: false,
        };
        (table.name.clone(), engine)
    });
    tables.collect()
}

/// Puts the needed cells into a workbook. Answers it with the trees of each sheet.
fn assemble(
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

fn cell_of(packed: &Packed, (sheet, row, column): Place) -> Option<&PackedCell> {
    let cells = &packed.sheets.get(usize::try_from(sheet).ok()?)?.cells;
    let index = cells.binary_search_by_key(&(row, column), |(row, column, _)| (*row, *column)).ok()?;
    cells.get(index).map(|cell| &cell.2)
}

fn array_of(packed: &Packed, at: Place) -> Option<&PackedArray> {
    let Some(PackedCell::Array(index)) = cell_of(packed, at) else { return None };
    packed.sheets.get(usize::try_from(at.0).ok()?)?.arrays.get(usize::try_from(*index).ok()?)
}

fn put(workbook: &mut Workbook, (sheet, row, column): Place, cell: Cell) {
    let worksheet = usize::try_from(sheet).ok().and_then(|sheet| workbook.worksheets.get_mut(sheet));
    if let Some(worksheet) = worksheet {
        worksheet.sheet_data.set_cell(one_based(row), one_based(column), cell);
    }
}
