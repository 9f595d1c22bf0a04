//! Reading formulas: with the engine's parser, after they were looked through, and with names put in their place.

use std::collections::{BTreeSet, HashMap};

use ironcalc_base::expressions::parser::{Node, Parser, new_parser_english};
use ironcalc_base::expressions::types::CellReferenceRC;
use ironcalc_base::types::{Table, TableColumn, TableStyleInfo};
use rustc_hash::FxHashMap;

use super::Sites;
use super::build::one_based;
use crate::book::Range;
use crate::interface::range_address;
use crate::limits::Limits;
use crate::reference::definition::{Packed, Rectangle};
use crate::reference::nodes::{self, Functions, Place, Rewrite};
use crate::reference::screen::{self, Names};
use crate::value::fold;

/// Names and tables, by what they are called without case.
pub(super) struct Scope<'p> {
    pub packed: &'p Packed,
    names: FxHashMap<(Option<u32>, String), usize>,
    tables: FxHashMap<String, usize>,
    limits: Limits,
}

impl<'p> Scope<'p> {
    pub fn new(packed: &'p Packed) -> Self {
        let limits = Limits {
            formula_length: packed.formula_length,
            formula_nesting: packed.formula_nesting,
            ..Limits::default()
        };
        Self {
            packed,
            names: packed.names.iter().zip(0..).map(|(n, i)| ((n.1, fold(&n.0).into_owned()), i)).collect(),
            tables: packed.tables.iter().zip(0..).map(|(t, i)| (fold(&t.name).into_owned(), i)).collect(),
            limits,
        }
    }

    fn find(&self, sheet: u32, name: &str) -> Option<usize> {
        let folded = fold(name).into_owned();
        let own = self.names.get(&(Some(sheet), folded.clone()));
        own.or_else(|| self.names.get(&(None, folded))).copied()
    }

    fn definition(&self, index: usize) -> Option<&'p str> {
        self.packed.names.get(index).map(|name| name.2.trim().trim_start_matches('='))
    }

    pub fn sheet_name(&self, sheet: u32) -> &'p str {
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
pub(super) struct Reader<'p> {
    scope: &'p Scope<'p>,
    parser: Parser<'static>,
    pub functions: Functions,
    /// Random numbers so far; `None` until a volatile function is met.
    pub volatile: Option<Sites>,
    /// The names that are `LAMBDA`s and are used.
    pub lambdas: BTreeSet<usize>,
    /// The formula that is being read.
    pub at: Place,
    open_names: Vec<usize>,
}

impl<'p> Reader<'p> {
    pub fn new(scope: &'p Scope<'p>) -> Self {
        Self {
            scope,
            parser: parser(scope.packed),
            functions: BTreeSet::new(),
            volatile: None,
            lambdas: BTreeSet::new(),
            at: (0, 0, 0),
            open_names: Vec::new(),
        }
    }

    /// The rewritten tree of a formula, whose references without a sheet mean `sheet`.
    pub fn read(&mut self, text: &str, sheet: u32) -> Result<Node, String> {
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
pub(super) fn volatile_sheet(packed: &Packed) -> String {
    let mut name = "volatile".to_owned();
    while packed.sheets.iter().any(|sheet| fold(&sheet.name) == name) {
        name.push('_');
    }
    name
}

fn parser(packed: &Packed) -> Parser<'static> {
    let mut sheets: Vec<String> = packed.sheets.iter().map(|sheet| sheet.name.clone()).collect();
    sheets.push(volatile_sheet(packed));
    new_parser_english(sheets, packed.names.clone(), tables(packed))
}

pub(super) fn tables(packed: &Packed) -> HashMap<String, Table> {
    let tables = packed.tables.iter().map(|table| {
        let sheet = usize::try_from(table.area.sheet).ok().and_then(|sheet| packed.sheets.get(sheet));
        let area = Range {
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
            style_info: TableStyleInfo::default(),
            has_filters: false,
        };
        (table.name.clone(), engine)
    });
    tables.collect()
}
