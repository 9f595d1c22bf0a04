//! From what the source says about its inputs to rules whose formulas are compiled.
//!
//! Formulas of validations become names of the book, local to the sheet of their input so that references mean what they meant
//! there, and cells of a sheet of their own that ask for these names. Those cells and the `Xvalidate_` cells are the outputs of
//! one more program: the batch's program knows nothing of them. A formula that only makes sense for given inputs
//! (`INDIRECT(B2)`) cannot be compiled; it is evaluated anew for each call, with the record's values as constants.

use std::sync::Arc;

use serde_json::Value as Json;

use super::rule::{Kind, Operator};
use super::{Check, Formula, Rule, Rules};
use crate::book::{Book, Cell, DefinedName, Range, Sheet};
use crate::formula::{Expr, Resolver};
use crate::interface::{DataType, Validation};
use crate::limits::Limits;
use crate::program::{self, CompileError, Program, Volatile};
use crate::source::{Source, SourceField};
use crate::value::Value;
use crate::workbook::sheet::iso_serial;

/// Options of one list.
const OPTIONS: u64 = 10_000;
/// Options that a computed list may have.
const COMPUTED_OPTIONS: u32 = 100;
/// The sheet of the cells that ask for the formulas; no workbook can hold this character.
const SHEET: &str = "\u{1}validation";
/// Programs that may be compiled to find the formulas that do not compile.
const COMPILES: u32 = 100;
/// Cells of a book that may be copied and evaluated for each call.
const LATE_CELLS: usize = 200_000;

/// Cells that are wanted of a program, and who wants them.
struct Item {
    owner: Owner,
    cells: Range,
}

#[derive(Clone, Copy)]
enum Owner {
    First(usize),
    Second(usize),
    Check(usize),
}

/// Builds the rules of a source. The book is left as it was.
pub(crate) fn build(source: &mut Source, limits: &Limits, warnings: &mut Vec<String>) -> Rules {
    let (sheets, names) = (source.book.sheets.len(), source.book.names.len());
    let builder = Builder {
        rules: Rules::default(),
        items: Vec::new(),
        lists: lists(source, limits),
        sheet: sheets,
        compiles: COMPILES,
        limits,
        warnings,
    };
    let rules = builder.build(source);
    source.book.sheets.truncate(sheets);
    source.book.names.truncate(names);
    rules
}

/// The cells that lists of options are in, where a list is no more than a reference to cells.
fn lists(source: &Source, limits: &Limits) -> Vec<Option<Range>> {
    let list = |field: &SourceField| {
        let validation = field.validation.as_ref().filter(|validation| validation.kind == "list");
        validation.filter(|validation| validation.options.is_none())?.first.clone()
    };
    if !source.inputs.iter().any(|field| list(field).is_some()) {
        return Vec::new();
    }
    let resolver = Resolver::new(&source.book, &[], limits);
    let range = |field: &SourceField| {
        let at = field.cells;
        let range = resolver.reference_text(&list(field)?, at.sheet, (at.first_row, at.first_column))?;
        Some(resolver.clip(range))
    };
    source.inputs.iter().map(range).collect()
}

struct Builder<'a> {
    rules: Rules,
    items: Vec<Item>,
    /// By input: the cells that its options are in.
    lists: Vec<Option<Range>>,
    /// The place of the sheet that is added.
    sheet: usize,
    /// Programs that may still be compiled.
    compiles: u32,
    limits: &'a Limits,
    warnings: &'a mut Vec<String>,
}

impl Builder<'_> {
    fn build(mut self, source: &mut Source) -> Rules {
        let Source { book, inputs, checks, .. } = source;
        for (input, field) in inputs.iter().enumerate() {
            if let Some(rule) = self.rule(book, input, field) {
                self.rules.rules.push(rule);
            }
        }
        for check in checks {
            self.items.push(Item { owner: Owner::Check(self.rules.checks.len()), cells: check.cell });
            self.rules.checks.push(Check { name: check.name.clone(), message: Formula::None });
        }
        if !self.items.is_empty() {
            self.compile(book, inputs);
        }
        self.rules
    }

    /// The rule of an input, its formulas put among the items.
    fn rule(&mut self, book: &mut Book, input: usize, field: &SourceField) -> Option<Rule> {
        let declared = match field.declared {
            Some(DataType::Integer) => Some(Kind::Whole),
            Some(DataType::Number) => Some(Kind::Decimal),
            Some(DataType::Date) => Some(Kind::Date),
            Some(DataType::Boolean) => Some(Kind::Boolean),
            _ => None,
        };
        let mut rule = Rule {
            input,
            name: field.place.name.clone(),
            validation: field.validation.clone(),
            kind: declared.unwrap_or(Kind::Custom),
            operator: Operator::Between,
            ignore_blank: true,
            exact: false,
            first: Formula::None,
            second: Formula::None,
            depends_on: Vec::new(),
        };
        let Some(validation) = &field.validation else { return declared.map(|_| rule) };
        rule.kind = Kind::parse(&validation.kind)?;
        rule.operator = Operator::parse(validation.operator.as_deref());
        rule.ignore_blank = validation.ignore_blank;
        if let (Kind::List, Some(options)) = (rule.kind, &validation.options) {
            rule.exact = true;
            rule.first =
                Formula::Values(options.iter().map(|option| constant(option, field.declared)).collect());
            return Some(rule);
        }
        (rule.first, rule.second) = match self.formulas(book, input, field, validation, rule.kind) {
            Ok(formulas) => formulas,
            Err(message) => {
                self.warnings.push(not_enforced(&rule.name, &message));
                return None;
            }
        };
        // Where a document gives one bound only, the other formula is absent and the operator says so.
        Some(rule)
    }

    fn formulas(
        &mut self,
        book: &mut Book,
        input: usize,
        field: &SourceField,
        validation: &Validation,
        kind: Kind,
    ) -> Result<(Formula, Formula), String> {
        let place = self.rules.rules.len();
        let mut formulas = [Formula::None, Formula::None];
        let texts = [(&validation.first, Owner::First(place)), (&validation.second, Owner::Second(place))];
        for ((text, owner), formula) in texts.into_iter().zip(&mut formulas) {
            let Some(text) = text else { continue };
            if let Some(value) = literal(text, kind, field.declared) {
                *formula = Formula::Values(vec![value]);
                continue;
            }
            if field.declared.is_some() {
                return Err(format!("{text:?} is no bound"));
            }
            let cells = self.cells(book, input, field, text, kind)?;
            self.items.push(Item { owner, cells });
        }
        let [first, second] = formulas;
        Ok((first, second))
    }

    /// The cells that compute a formula: for a list all of its options.
    fn cells(
        &self,
        book: &mut Book,
        input: usize,
        field: &SourceField,
        text: &str,
        kind: Kind,
    ) -> Result<Range, String> {
        let home = field.cells;
        if let (Kind::List, Some(range)) = (kind, self.lists.get(input).copied().flatten()) {
            return if u64::from(range.rows()) * u64::from(range.columns()) > OPTIONS {
                Err(format!("{text} has more than {OPTIONS} options"))
            } else {
                Ok(range)
            };
        }
        let sheet_name = book
            .sheets
            .get(home.sheet as usize)
            .map(|sheet| sheet.name.replace('\'', "''"))
            .unwrap_or_default();
        if book.sheets.len() == self.sheet {
            book.sheets.push(Sheet { name: SHEET.to_owned(), ..Sheet::default() });
        }
        let sheet = u32::try_from(book.sheets.len() - 1).unwrap_or(u32::MAX);
        let row = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        let name = format!("_millrace.validation.{row}");
        book.names.push(DefinedName {
            name: name.clone(),
            sheet: Some(home.sheet),
            definition: text.to_owned(),
            comment: None,
        });
        let asked = format!("'{sheet_name}'!{name}");
        let count = if kind == Kind::List { COMPUTED_OPTIONS } else { 1 };
        if let Some(sheet) = book.sheets.last_mut() {
            for column in 0..count {
                let formula = match kind {
                    Kind::List => format!("INDEX({asked},{})", column + 1),
                    _ => asked.clone(),
                };
                sheet.cells.insert((row, column), Cell { value: Value::Blank, formula: Some(formula) });
            }
        }
        Ok(Range { sheet, first_row: row, first_column: 0, last_row: row, last_column: count - 1 })
    }

    /// Compiles what can be, keeps what must be evaluated for each call, and drops what cannot be evaluated at all.
    fn compile(&mut self, book: &mut Book, inputs: &[SourceField]) {
        let ranges: Vec<Range> = inputs.iter().map(|field| field.cells).collect();
        let all: Vec<usize> = (0..self.items.len()).collect();
        let (mut good, mut failed) = (Vec::new(), Vec::new());
        self.sort_out(book, &ranges, &all, &mut good, &mut failed);
        let cells: Vec<Range> =
            good.iter().filter_map(|item| self.items.get(*item)).map(|item| item.cells).collect();
        let Ok(program) = Program::compile(book, &ranges, &cells, self.limits) else { return };
        let mut first = 0;
        for (item, cells) in good.iter().zip(&cells) {
            let count = (cells.rows() * cells.columns()) as usize;
            self.set(*item, Formula::Columns(first..first + count));
            let columns: Vec<usize> = (first..first + count).collect();
            self.depends(*item, &program.select(&columns), inputs);
            first += count;
        }
        self.rules.program = Some(program);

        let mut dropped = Vec::new();
        let size: usize = book.sheets.iter().map(|sheet| sheet.cells.len()).sum();
        for (item, error) in failed {
            let Some(cells) = self.items.get(item).map(|item| item.cells) else { continue };
            self.compiles = self.compiles.saturating_sub(1);
            if self.compiles == 0 || size > LATE_CELLS {
                dropped.push((item, error));
                continue;
            }
            match program::evaluate(book, &[cells], self.limits, &Volatile::default()) {
                Ok(_) => {
                    self.set(item, Formula::Late(cells));
                    self.late_dependencies(item, book, inputs, &ranges);
                }
                Err(_) => dropped.push((item, error)),
            }
        }
        if self.rules.is_late() {
            self.rules.late = Some(Arc::new(book.clone()));
            self.rules.inputs = ranges;
            self.rules.limits = self.limits.clone();
        }
        self.drop_items(&dropped);
    }

    /// Halves until every item that does not compile stands alone.
    fn sort_out(
        &mut self,
        book: &Book,
        inputs: &[Range],
        items: &[usize],
        good: &mut Vec<usize>,
        failed: &mut Vec<(usize, CompileError)>,
    ) {
        let cells: Vec<Range> =
            items.iter().filter_map(|item| self.items.get(*item)).map(|item| item.cells).collect();
        self.compiles = self.compiles.saturating_sub(1);
        match (Program::compile(book, inputs, &cells, self.limits), items) {
            (Ok(_), _) => good.extend_from_slice(items),
            (Err(error), [item]) => failed.push((*item, error)),
            // Told for all of them, since looking further would take too long.
            (Err(error), items) if self.compiles == 0 => {
                failed.extend(items.iter().map(|item| (*item, error.clone())));
            }
            (Err(_), items) => {
                let (left, right) = items.split_at(items.len() / 2);
                self.sort_out(book, inputs, left, good, failed);
                self.sort_out(book, inputs, right, good, failed);
            }
        }
    }

    fn owner(&self, item: usize) -> Option<Owner> {
        self.items.get(item).map(|item| item.owner)
    }

    fn set(&mut self, item: usize, formula: Formula) {
        let place = match self.owner(item) {
            Some(Owner::First(rule)) => self.rules.rules.get_mut(rule).map(|rule| &mut rule.first),
            Some(Owner::Second(rule)) => self.rules.rules.get_mut(rule).map(|rule| &mut rule.second),
            Some(Owner::Check(check)) => self.rules.checks.get_mut(check).map(|check| &mut check.message),
            None => None,
        };
        if let Some(place) = place {
            *place = formula;
        }
    }

    fn rule_of(&mut self, item: usize) -> Option<&mut Rule> {
        match self.owner(item) {
            Some(Owner::First(rule) | Owner::Second(rule)) => self.rules.rules.get_mut(rule),
            _ => None,
        }
    }

    /// Notes the other inputs that the program reads.
    fn depends(&mut self, item: usize, program: &Program, inputs: &[SourceField]) {
        let Some(rule) = self.rule_of(item) else { return };
        let mut first = 0;
        for (input, field) in inputs.iter().enumerate() {
            let count = (field.cells.rows() * field.cells.columns()) as usize;
            let reads = (first..first + count).any(|cell| program.reads_input(cell));
            if reads && input != rule.input && !rule.depends_on.contains(&input) {
                rule.depends_on.push(input);
            }
            first += count;
        }
    }

    /// What a formula that cannot be compiled depends on: whatever the cells depend on that it names.
    fn late_dependencies(&mut self, item: usize, book: &Book, inputs: &[SourceField], ranges: &[Range]) {
        let Some(cells) = self.items.get(item).map(|item| item.cells) else { return };
        let resolver = Resolver::new(book, &[], self.limits);
        let formula = book
            .sheets
            .get(cells.sheet as usize)
            .and_then(|sheet| sheet.cells.get(&(cells.first_row, cells.first_column)))
            .and_then(|cell| cell.formula.clone());
        let Some(formula) = formula else { return };
        let Ok(expression) = resolver.formula(cells.sheet, cells.first_row, cells.first_column, &formula)
        else {
            return;
        };
        let mut named = Vec::new();
        references(&expression, &mut named);
        named.retain(|range| u64::from(range.rows()) * u64::from(range.columns()) <= OPTIONS);
        if let Ok(program) = Program::compile(book, ranges, &named, self.limits) {
            self.depends(item, &program, inputs);
        }
    }

    /// Removes rules and checks that nothing can evaluate, and says so.
    fn drop_items(&mut self, dropped: &[(usize, CompileError)]) {
        let (mut rules, mut checks) = (Vec::new(), Vec::new());
        for (item, error) in dropped {
            match self.owner(*item) {
                Some(Owner::First(rule) | Owner::Second(rule)) => rules.push((rule, error)),
                Some(Owner::Check(check)) => checks.push((check, error)),
                None => {}
            }
        }
        for (rule, error) in &rules {
            if let Some(rule) = self.rules.rules.get(*rule) {
                // The place is a cell that the workbook does not have.
                self.warnings.push(not_enforced(&rule.name, &error.kind.to_string()));
            }
        }
        for (check, error) in &checks {
            if let Some(check) = self.rules.checks.get(*check) {
                self.warnings.push(format!("the name Xvalidate_{} is not evaluated: {error}", check.name));
            }
        }
        let mut place = 0;
        self.rules.rules.retain(|_| {
            place += 1;
            !rules.iter().any(|(rule, _)| *rule == place - 1)
        });
        place = 0;
        self.rules.checks.retain(|_| {
            place += 1;
            !checks.iter().any(|(check, _)| *check == place - 1)
        });
    }
}

fn not_enforced(name: &str, why: &str) -> String {
    format!("the data validation of the input {name} is not enforced: {why}")
}

/// A formula that is a value: a number, text in quotes, or a bound of a document.
fn literal(text: &str, kind: Kind, declared: Option<DataType>) -> Option<Value> {
    let text = text.trim().trim_start_matches('=');
    if kind == Kind::Custom || kind == Kind::List {
        return None;
    }
    if declared == Some(DataType::Date) {
        return iso_serial(text).map(Value::Number);
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::Number)
}

/// An option that is listed by value.
fn constant(option: &Json, declared: Option<DataType>) -> Value {
    match option {
        Json::String(text) if declared == Some(DataType::Date) => {
            iso_serial(text).map_or_else(|| Value::from(text.as_str()), Value::Number)
        }
        Json::String(text) => Value::from(text.as_str()),
        Json::Number(number) => number.as_f64().map_or(Value::Blank, Value::Number),
        Json::Bool(boolean) => Value::Boolean(*boolean),
        Json::Null | Json::Array(_) | Json::Object(_) => Value::Blank,
    }
}

/// The ranges that an expression names.
fn references(expression: &Expr, found: &mut Vec<Range>) {
    let mut open = vec![expression];
    while let Some(expression) = open.pop() {
        match expression {
            Expr::Reference(range) => found.push(*range),
            Expr::Areas(ranges) => found.extend_from_slice(ranges),
            Expr::Span(a, b) | Expr::Binary(_, a, b) => open.extend([&**a, &**b]),
            Expr::Unary(_, inner) => open.push(inner),
            Expr::Call(_, _, items) | Expr::Array { items, .. } => open.extend(items),
            Expr::Value(_) | Expr::Omitted | Expr::Local(_) => {}
        }
    }
}
