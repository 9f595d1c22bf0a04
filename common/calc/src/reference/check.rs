//! The upload check: generated records on the program and on the reference engine, side by side.
//!
//! A difference is reported and changes nothing: of the differences seen so far nearly all were faults of the reference engine
//! (15 of 322 conformance cases, against 2 of the compiler), so to route a service away from its program at every difference
//! would mean more wrong answers, not fewer. Whoever uploads is told the cell and the inputs, and can settle it with Excel.
//!
//! Records are drawn where calculations break: the constants of the book (the keys of its tables) and their neighbours, 0,
//! negatives, ties, the bounds and options of the inputs, and numbers from a fixed seed. They stay within moderate numbers and
//! values of the type of the default, since most known faults of the reference engine lie beyond: it hides errors in `AND` and
//! `OR`, lets infinities flow within a formula, takes numbers for equal that differ by less than 2e-16, shows 17 digits, and
//! `TEXT` loses signs and rounds 2.5 to 2. What shows one of these is no difference here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Block, Definition, Fallback};
use crate::book::Book;
use crate::functions::Env;
use crate::program::{BLOCK, Column, Program, Scratch, Volatile, random};
use crate::source::{Source, value_json};
use crate::value::{ErrorValue, Value};

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Records, at most.
    pub records: usize,
    /// Time for them, at most.
    pub budget: Duration,
}

/// An output that the two engines compute differently.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Difference {
    /// The output.
    pub output: String,
    /// The inputs that were not their defaults, as JSON.
    pub inputs: Vec<(String, String)>,
    /// What the program computes, as JSON.
    pub compiled: String,
    /// What the reference engine computes, as JSON.
    pub reference: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}, and {} on the reference engine", self.output, self.compiled, self.reference)?;
        for (index, (name, value)) in self.inputs.iter().enumerate() {
            f.write_str(if index == 0 { ", for " } else { ", " })?;
            write!(f, "{name} = {value}")?;
        }
        Ok(())
    }
}

/// Differences that are told; the first of each output.
const MOST: usize = 20;
/// Constants of the book that are tried for one input.
const KEYS: usize = 200;
/// Seed of the drawn numbers; any would do, as long as it stays.
const SEED: u64 = 0x004D_696C_6C72_6163;

/// What the check found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub records: u64,
    pub differences: Vec<Difference>,
}

/// Evaluates generated records on both engines, until the budget is used up. Failures of the reference engine end the check.
pub(crate) fn check(
    source: &Source,
    program: &Program,
    definition: &Definition,
    fallback: &Arc<dyn Fallback>,
    defaults: &[Value],
    check: Check,
) -> Checked {
    let deadline = Instant::now() + check.budget;
    let mut checked = Checked::default();
    if fallback.load(definition).is_err() {
        return checked;
    }
    let names = names(source.inputs.iter().map(|field| (field.place.name.as_str(), field.cells)));
    let outputs = names_of_outputs(source);
    let choices = choices(source, defaults);
    let wanted: Vec<usize> = (0..outputs.len()).collect();
    let formats = program.report().functions.iter().any(|name| name == "TEXT");
    let (volatile, mut scratch) = (Volatile::default(), Scratch::default());
    // Small blocks, since a record may take the reference engine long.
    let rows = 16_usize.min(BLOCK);
    let mut told = vec![false; outputs.len()];
    let mut computed = Vec::new();
    while usize::try_from(checked.records).unwrap_or(usize::MAX) < check.records && Instant::now() < deadline
    {
        let columns: Vec<Column> = (0..defaults.len())
            .map(|input| {
                let values =
                    (0..rows as u64).map(|row| draw(&choices, defaults, input, checked.records + row));
                Column::from_values(values.collect())
            })
            .collect();
        program.run(&columns, rows, &volatile, checked.records, &mut scratch, &mut computed);
        let block = Block {
            inputs: &columns,
            rows,
            volatile: &volatile,
            first_record: checked.records,
            outputs: &wanted,
        };
        let Ok(expected) = fallback.evaluate(definition, &block, Some(deadline)) else { break };
        for (index, (ours, theirs)) in computed.iter().zip(&expected).enumerate() {
            for row in 0..rows {
                let (ours, theirs) = (ours.get(row), theirs.get(row));
                let known = told.get(index).copied().unwrap_or(true);
                if known || checked.differences.len() >= MOST || agree(&ours, &theirs, formats) {
                    continue;
                }
                if let Some(told) = told.get_mut(index) {
                    *told = true;
                }
                let inputs =
                    columns.iter().zip(&names).zip(defaults).filter_map(|((column, name), default)| {
                        let value = column.get(row);
                        (value != *default).then(|| (name.clone(), value_json(&value).to_string()))
                    });
                checked.differences.push(Difference {
                    output: outputs.get(index).cloned().unwrap_or_default(),
                    inputs: inputs.collect(),
                    compiled: value_json(&ours).to_string(),
                    reference: value_json(&theirs).to_string(),
                });
            }
        }
        checked.records += rows as u64;
    }
    checked
}

fn names<'s>(fields: impl Iterator<Item = (&'s str, crate::book::Range)>) -> Vec<String> {
    let mut names = Vec::new();
    for (name, cells) in fields {
        for row in 0..cells.rows() {
            for column in 0..cells.columns() {
                let single = cells.is_cell();
                names.push(if single { name.to_owned() } else { format!("{name}[{row}][{column}]") });
            }
        }
    }
    names
}

fn names_of_outputs(source: &Source) -> Vec<String> {
    names(source.outputs.iter().map(|field| (field.place.name.as_str(), field.cells)))
}

/// By input cell: the values worth trying.
fn choices(source: &Source, defaults: &[Value]) -> Vec<Vec<Value>> {
    let (numbers, texts) = constants(&source.book);
    let mut lists = Vec::new();
    for field in &source.inputs {
        let cells = field.cells.rows() as usize * field.cells.columns() as usize;
        for _ in 0..cells {
            let default = defaults.get(lists.len()).cloned().unwrap_or_default();
            let mut list: Vec<Value> = Vec::new();
            let options = field.validation.as_ref().and_then(|validation| validation.options.as_ref());
            for option in options.into_iter().flatten() {
                list.push(option_value(option));
            }
            match &default {
                Value::Boolean(_) => list.extend([Value::Boolean(true), Value::Boolean(false)]),
                Value::Text(_) => {
                    list.extend(texts.iter().cloned());
                    list.extend(["".into(), "x".into(), "Zz".into()]);
                }
                Value::Number(_) | Value::Blank | Value::Error(_) => {
                    let bounds = field.validation.as_ref();
                    let bounds = bounds.into_iter().flat_map(|v| [v.first.as_deref(), v.second.as_deref()]);
                    let bounds = bounds.flatten().filter_map(|text| text.trim().parse::<f64>().ok());
                    let fixed =
                        [0.0, 1.0, -1.0, 2.0, 0.5, 1.5, 2.5, -2.5, 0.125, 10.0, 99.995, 1000.0, -250.0];
                    list.extend(bounds.chain(fixed).filter(|x| x.is_finite()).map(Value::from));
                    list.extend(numbers.iter().cloned());
                }
            }
            lists.push(list);
        }
    }
    lists
}

fn option_value(option: &serde_json::Value) -> Value {
    match option {
        serde_json::Value::Number(number) => number.as_f64().map_or(Value::Blank, Value::from),
        serde_json::Value::Bool(boolean) => Value::Boolean(*boolean),
        serde_json::Value::String(text) => {
            let number = text.parse::<f64>().ok().filter(|x| x.is_finite());
            number.map_or_else(|| text.as_str().into(), Value::from)
        }
        _ => Value::Blank,
    }
}

/// Constants of a book: numbers with what lies next to them, and texts.
fn constants(book: &Book) -> (Vec<Value>, Vec<Value>) {
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for sheet in &book.sheets {
        let mut cells: Vec<_> = sheet.cells.iter().filter(|(_, cell)| cell.formula.is_none()).collect();
        cells.sort_unstable_by_key(|(at, _)| (at.1, at.0));
        for (_, cell) in cells {
            match &cell.value {
                Value::Number(x) if numbers.len() < KEYS && x.abs() <= 1e9 => {
                    numbers.extend([Value::from(*x), Value::from(x - 0.5), Value::from(x + 1.0)]);
                }
                Value::Text(text) if texts.len() < KEYS => texts.push(Value::Text(text.clone())),
                _ => {}
            }
        }
    }
    (numbers, texts)
}

/// The value of an input in a record: first each input in turn takes each of its choices while the others keep their defaults,
/// then all are drawn.
fn draw(choices: &[Vec<Value>], defaults: &[Value], input: usize, record: u64) -> Value {
    let default = || defaults.get(input).cloned().unwrap_or_default();
    let mut left = usize::try_from(record).unwrap_or(usize::MAX);
    // Half of the first records, so that many inputs do not leave the combinations untried.
    for (index, list) in choices.iter().enumerate().take(if left % 2 == 0 { choices.len() } else { 0 }) {
        let place = left / 2;
        if place < list.len() {
            return if index == input { list.get(place).cloned().unwrap_or_default() } else { default() };
        }
        left -= 2 * list.len();
    }
    let list = choices.get(input).map(Vec::as_slice).unwrap_or_default();
    let site = u32::try_from(input).unwrap_or(0) * 2;
    let env = Env { seed: SEED, record, now: 0.0 };
    let (kind, number) = (random(site, &env), random(site + 1, &env));
    if kind < 0.25 || list.is_empty() {
        return default();
    }
    if kind < 0.7 || !matches!(default(), Value::Number(_)) {
        return list.get((number * list.len() as f64) as usize).cloned().unwrap_or_default();
    }
    let scale = default().to_number().unwrap_or(1.0).abs().max(1.0);
    Value::from(((number - 0.25) * 4.0 * scale * 100.0).round() / 100.0)
}

/// Equal, or different in a way that the reference engine is known for. `formats` says that the service formats numbers as text.
fn agree(ours: &Value, theirs: &Value, formats: bool) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-6),
        (Value::Text(a), Value::Text(b)) => formats || a == b || same_with_digits(a, b),
        (Value::Blank, Value::Text(text)) | (Value::Text(text), Value::Blank) => text.is_empty(),
        (Value::Blank, Value::Number(x)) | (Value::Number(x), Value::Blank) => *x == 0.0,
        // Infinities flow within a formula of the reference engine, and AND and OR hide errors there.
        (Value::Error(ErrorValue::Num), _) => true,
        (Value::Error(_), Value::Boolean(_)) => true,
        (a, b) => a == b,
    }
}

/// Equal texts but for digits beyond the 15th of the numbers in them.
fn same_with_digits(a: &str, b: &str) -> bool {
    let split = |text: &str| -> (String, Vec<f64>) {
        let (mut rest, mut numbers, mut digits) = (String::new(), Vec::new(), String::new());
        for c in text.chars().chain(['\0']) {
            if c.is_ascii_digit() || c == '.' {
                digits.push(c);
                continue;
            }
            if let Ok(number) = digits.parse::<f64>() {
                numbers.push(number);
                rest.push('#');
            } else {
                rest.push_str(&digits);
            }
            digits.clear();
            rest.push(c);
        }
        (rest, numbers)
    };
    let ((a, left), (b, right)) = (split(a), split(b));
    a == b
        && left.len() == right.len()
        && left.iter().zip(&right).all(|(a, b)| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()))
}
