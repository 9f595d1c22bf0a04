//! Data validation of inputs: which values a service wants, and which of a record's it does not (contract 4.5, 5.5).
//!
//! Rules come from a workbook's data validations, from `Xvalidate_<name>` cells (a formula that gives a message, or nothing), and
//! from the types, bounds and options of a formula document. They are enforced by v3 calls, which still compute, and
//! told by the validation call; records of batches and of v4 calls are never held to them.
//!
//! As in Excel: an empty value passes where blanks are ignored; numbers compare by 15 digits; options that are listed in the rule
//! compare with regard to case, options in cells without; a bound whose cell is blank allows everything where blanks are
//! ignored. Only inputs that a record gives are checked: the defaults are the author's own. Table inputs are not checked.

mod build;
mod rule;

use std::ops::Range as Columns;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::book::{Book, Range};
use crate::chunk::ChunkError;
use crate::chunk::record;
use crate::interface::{Interface, Validation};
use crate::limits::Limits;
use crate::program::{self, Column, Program, Scratch, Volatile};
use crate::service::Prepared;
use crate::source::value_json;
use crate::value::{ErrorValue, Value};
pub(crate) use build::build;
use rule::{Computed, Kind, Operator, style};

/// Options that are kept with a published version.
const KEPT_OPTIONS: usize = 1_000;

/// A formula of a rule.
#[derive(Debug, Clone, PartialEq)]
enum Formula {
    /// There is none.
    None,
    /// Constants.
    Values(Vec<Value>),
    /// Columns of the rules' program.
    Columns(Columns<usize>),
    /// Cells that are evaluated for each call.
    Late(Range),
}

impl Formula {
    const fn late(&self) -> Option<Range> {
        match self {
            Self::Late(cells) => Some(*cells),
            _ => None,
        }
    }
}

/// The rule of one input.
#[derive(Debug, Clone)]
struct Rule {
    /// The input, by its place.
    input: usize,
    name: String,
    /// As the source writes it; `None` for a mere type.
    validation: Option<Validation>,
    kind: Kind,
    operator: Operator,
    ignore_blank: bool,
    exact: bool,
    first: Formula,
    second: Formula,
    /// Other inputs that the formulas read.
    depends_on: Vec<usize>,
}

/// A cell that gives a message.
#[derive(Debug, Clone)]
struct Check {
    name: String,
    message: Formula,
}

/// All rules of a service.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
    checks: Vec<Check>,
    program: Option<Program>,
    /// The book with the formulas that are evaluated for each call.
    late: Option<Arc<Book>>,
    /// The cells of all inputs, for the same.
    inputs: Vec<Range>,
    limits: Limits,
}

/// An input value that breaks a rule, or a message that an `Xvalidate_` cell gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The input; for a message the name after `Xvalidate_`.
    pub input: String,
    /// The author's own text where there is one.
    pub message: String,
    /// The author's title.
    pub title: Option<String>,
    /// `stop`, `warning` or `information`: only the first one is an error in Excel.
    pub style: String,
}

/// Whether a rule depends on other inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ValidationType {
    /// Every value is allowed.
    None,
    /// It is the same for every record.
    Static,
    /// It depends on other inputs.
    Dynamic,
}

/// What an input allows: the answer of the validation call for it (contract 4.5).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InputValidation {
    /// The input.
    #[serde(skip)]
    pub name: String,
    /// In the words of Excel's dialog: `Whole number`, `Decimal`, `List`, `Date`, `Time`, `Text length`, `Custom`, `Any value`.
    pub validation_allow: &'static str,
    /// Whether it depends on other inputs.
    pub validation_type: ValidationType,
    /// Other inputs whose rules depend on this one.
    pub dependent_inputs: Option<Vec<String>>,
    /// The lower bound; dates and times as text.
    pub min: Json,
    /// The upper bound.
    pub max: Json,
    /// The allowed values of a list.
    pub options: Option<Vec<Json>>,
    /// Whether a blank is allowed.
    pub ignore_blank: bool,
    /// Title of the prompt.
    pub input_message_title: Option<String>,
    /// Text of the prompt.
    pub input_message: Option<String>,
    /// `stop`, `warning` or `information`.
    pub error_style: Option<String>,
    /// Title of the refusal.
    pub error_title: Option<String>,
    /// Text of the refusal.
    pub error_message: Option<String>,
    /// The value used when a record gives none.
    pub default_value: Json,
    /// How a value relates to the bounds, as Excel's files write it.
    pub operator: Option<String>,
    /// Other inputs that this rule depends on.
    pub depends_on: Option<Vec<String>>,
}

/// The formulas of all rules, computed for one record.
struct Answers {
    columns: Vec<Column>,
    late: Vec<(Range, Vec<Value>)>,
}

impl Rules {
    pub(crate) const fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.checks.is_empty()
    }

    fn formulas(&self) -> impl Iterator<Item = &Formula> {
        let of_rules = self.rules.iter().flat_map(|rule| [&rule.first, &rule.second]);
        of_rules.chain(self.checks.iter().map(|check| &check.message))
    }

    fn is_late(&self) -> bool {
        self.formulas().any(|formula| formula.late().is_some())
    }

    /// Computes the formulas for one record.
    fn answers(&self, inputs: &[Column], volatile: &Volatile) -> Answers {
        let mut columns = Vec::new();
        if let Some(program) = &self.program {
            program.run(inputs, 1, volatile, 0, &mut Scratch::default(), &mut columns);
        }
        let mut late = Vec::new();
        if let Some(book) = &self.late {
            let mut book = Book::clone(book);
            fill(&mut book, &self.inputs, inputs);
            let mut cells: Vec<Range> = self.formulas().filter_map(Formula::late).collect();
            cells.dedup();
            late = self.evaluate_late(&book, cells, volatile);
        }
        Answers { columns, late }
    }

    /// Evaluates cells in a book that holds the record's values.
    fn evaluate_late(&self, book: &Book, cells: Vec<Range>, volatile: &Volatile) -> Vec<(Range, Vec<Value>)> {
        let count = |cells: &Range| (cells.rows() * cells.columns()) as usize;
        if let Ok(all) = program::evaluate(book, &cells, &self.limits, volatile) {
            let mut all = all.into_iter();
            return cells
                .into_iter()
                .map(|cells| (cells, all.by_ref().take(count(&cells)).collect()))
                .collect();
        }
        // One of them makes no sense for these inputs: it allows nothing, the others are what they are.
        let each = cells.into_iter().map(|cells| {
            let values = program::evaluate(book, &[cells], &self.limits, volatile);
            (cells, values.unwrap_or_else(|_| vec![ErrorValue::Ref.into()]))
        });
        each.collect()
    }

    /// Tells what the rules come to for the service's defaults.
    pub(crate) fn describe(&self, defaults: &[Value], interface: &mut Interface) {
        if self.rules.is_empty() {
            return;
        }
        let inputs: Vec<Column> = defaults.iter().cloned().map(Column::Constant).collect();
        let answers = self.answers(&inputs, &Volatile::default());
        let names: Vec<String> = interface.inputs.iter().map(|field| field.place.name.clone()).collect();
        for rule in &self.rules {
            let Some(validation) =
                interface.inputs.get_mut(rule.input).and_then(|field| field.validation.as_mut())
            else {
                continue;
            };
            let (min, max, options) = answers.shown(rule);
            validation.minimum = Some(min).filter(|bound| !bound.is_null());
            validation.maximum = Some(max).filter(|bound| !bound.is_null());
            validation.options = options.filter(|options| options.len() <= KEPT_OPTIONS);
            validation.depends_on =
                rule.depends_on.iter().filter_map(|input| names.get(*input).cloned()).collect();
        }
    }
}

/// Puts a record's values into the cells of the inputs.
fn fill(book: &mut Book, inputs: &[Range], columns: &[Column]) {
    let cells = inputs.iter().flat_map(|range| {
        let columns = range.first_column..=range.last_column;
        (range.first_row..=range.last_row)
            .flat_map(move |row| columns.clone().map(move |column| (range.sheet, row, column)))
    });
    for ((sheet, row, column), value) in cells.zip(columns) {
        if let Some(sheet) = book.sheets.get_mut(sheet as usize) {
            let cell = sheet.cells.entry((row, column)).or_default();
            cell.value = value.get(0);
            cell.formula = None;
        }
    }
}

impl Answers {
    fn values(&self, formula: &Formula) -> Vec<Value> {
        match formula {
            Formula::None => Vec::new(),
            Formula::Values(values) => values.clone(),
            Formula::Columns(columns) => self
                .columns
                .get(columns.clone())
                .unwrap_or_default()
                .iter()
                .map(|column| column.get(0))
                .collect(),
            Formula::Late(cells) => self
                .late
                .iter()
                .find(|(computed, _)| computed == cells)
                .map(|(_, values)| values.clone())
                .unwrap_or_default(),
        }
    }

    /// The values of a rule's first formula: for a computed list its options, up to the end of the list.
    fn first(&self, rule: &Rule) -> Vec<Value> {
        let mut values = self.values(&rule.first);
        if rule.kind == Kind::List && !matches!(rule.first, Formula::Values(_)) {
            let end = values.iter().position(|value| *value == Value::Error(ErrorValue::Ref));
            values.truncate(end.unwrap_or(values.len()));
        }
        values
    }

    /// Why the value of an input breaks its rule.
    fn fault(&self, rule: &Rule, value: &Value) -> Option<String> {
        let (first, second) = (self.first(rule), self.values(&rule.second));
        let computed = Computed {
            kind: rule.kind,
            operator: rule.operator,
            ignore_blank: rule.ignore_blank,
            exact: rule.exact,
            first: &first,
            second: second.first(),
        };
        computed.fault(&rule.name, value)
    }

    /// Bounds and options as they are told.
    fn shown(&self, rule: &Rule) -> (Json, Json, Option<Vec<Json>>) {
        let first = self.first(rule);
        if rule.kind == Kind::List {
            let options = first.iter().filter(|option| !matches!(option, Value::Blank | Value::Error(_)));
            return (Json::Null, Json::Null, Some(options.map(value_json).collect()));
        }
        if matches!(rule.kind, Kind::Custom | Kind::Boolean) {
            return (Json::Null, Json::Null, None);
        }
        let second = self.values(&rule.second);
        let (low, high) = rule.operator.bounds(first.first(), second.first());
        let shown = |bound: Option<&Value>| bound.map_or(Json::Null, |bound| rule.kind.bound(bound));
        (shown(low), shown(high), None)
    }

    /// The message of a check, if it has one.
    fn message(&self, check: &Check) -> Option<String> {
        match self.values(&check.message).into_iter().next()? {
            Value::Text(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            Value::Error(error) => Some(format!("Xvalidate_{} gives the error {error}", check.name)),
            // A comparison or a number is no message.
            _ => None,
        }
    }
}

impl Prepared {
    /// What one record, a JSON object, does not obey: its own inputs in their order, then the service's messages. Nothing for a
    /// service without rules.
    ///
    /// # Errors
    ///
    /// When the bytes are no record, as [`Prepared::evaluate`].
    pub fn violations(&self, record: &[u8]) -> Result<Vec<Violation>, ChunkError> {
        let rules = self.rules();
        if rules.is_empty() {
            return Ok(Vec::new());
        }
        let _dates = self.dates();
        let (inputs, given) = record::columns(self, record)?;
        let answers = rules.answers(&inputs, &self.options().volatile);
        let layout = self.layout();
        let mut violations = Vec::new();
        for rule in rules.rules.iter().filter(|rule| given.contains(&rule.input)) {
            let value = layout.inputs.get(rule.input).and_then(|slot| inputs.get(slot.first));
            let value = value.map(|column| column.get(0)).unwrap_or_default();
            let Some(fault) = answers.fault(rule, &value) else { continue };
            let validation = rule.validation.clone().unwrap_or_default();
            violations.push(Violation {
                input: rule.name.clone(),
                style: style(&validation).to_owned(),
                message: validation.error.unwrap_or(fault),
                title: validation.error_title,
            });
        }
        for check in &rules.checks {
            if let Some(message) = answers.message(check) {
                violations.push(Violation {
                    input: check.name.clone(),
                    message,
                    title: None,
                    style: "stop".to_owned(),
                });
            }
        }
        Ok(violations)
    }

    /// What every input allows: for the service's defaults, or for a record, a JSON object.
    ///
    /// # Errors
    ///
    /// When the bytes are no record, as [`Prepared::evaluate`].
    pub fn validations(&self, record: Option<&[u8]>) -> Result<Vec<InputValidation>, ChunkError> {
        let _dates = self.dates();
        let (inputs, _) = record::columns(self, record.unwrap_or(b"{}"))?;
        let (rules, interface) = (self.rules(), self.interface());
        let answers = rules.answers(&inputs, &self.options().volatile);
        let name = |input: usize| interface.inputs.get(input).map(|field| field.place.name.clone());
        let list = |names: Vec<String>| Some(names).filter(|names| !names.is_empty());
        let fields = interface.inputs.iter().enumerate();
        let validations = fields.map(|(input, field)| {
            let dependent = rules.rules.iter().filter(|rule| rule.depends_on.contains(&input));
            let mut answer = InputValidation {
                name: field.place.name.clone(),
                validation_allow: "Any value",
                validation_type: ValidationType::None,
                dependent_inputs: list(dependent.map(|rule| rule.name.clone()).collect()),
                min: Json::Null,
                max: Json::Null,
                options: None,
                ignore_blank: true,
                input_message_title: None,
                input_message: None,
                error_style: None,
                error_title: None,
                error_message: None,
                default_value: field.default.clone(),
                operator: None,
                depends_on: None,
            };
            let Some(rule) = rules.rules.iter().find(|rule| rule.input == input) else { return answer };
            answer.validation_allow = rule.kind.shown();
            answer.validation_type =
                if rule.depends_on.is_empty() { ValidationType::Static } else { ValidationType::Dynamic };
            answer.depends_on = list(rule.depends_on.iter().filter_map(|input| name(*input)).collect());
            (answer.min, answer.max, answer.options) = answers.shown(rule);
            answer.ignore_blank = rule.ignore_blank;
            if let Some(validation) = &rule.validation {
                answer.input_message_title.clone_from(&validation.prompt_title);
                answer.input_message.clone_from(&validation.prompt);
                answer.error_style = Some(style(validation).to_owned());
                answer.error_title.clone_from(&validation.error_title);
                answer.error_message.clone_from(&validation.error);
                if rule.first != Formula::None && !matches!(rule.kind, Kind::List | Kind::Custom) {
                    answer.operator =
                        Some(validation.operator.clone().unwrap_or_else(|| "between".to_owned()));
                }
            }
            answer
        });
        Ok(validations.collect())
    }

    /// The dynamic ones among [`Prepared::validations`] that a record changes, by input.
    ///
    /// # Errors
    ///
    /// As [`Prepared::validations`].
    pub fn changed_validations(&self, record: &[u8]) -> Result<Vec<InputValidation>, ChunkError> {
        let usual = self.validations(None)?;
        let mut now = self.validations(Some(record))?;
        now.retain(|answer| answer.validation_type == ValidationType::Dynamic && !usual.contains(answer));
        Ok(now)
    }
}

/// The answers of the validation call as an object by input.
///
/// # Errors
///
/// None in practice: the answers are plain data.
pub fn by_input(validations: Vec<InputValidation>) -> Result<Map<String, Json>, serde_json::Error> {
    validations
        .into_iter()
        .map(|validation| Ok((validation.name.clone(), serde_json::to_value(&validation)?)))
        .collect()
}
