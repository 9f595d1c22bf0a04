//! `COUNTIF` and its kin. Source: Excel's description of criteria: an operator and a value as text, or a value; text may
//! have wildcards, and text that is a number means the number.

use std::cmp::Ordering;

use super::argument::Grid;
use super::lookup::Pattern;
use super::{Answer, Arg, Env, FunctionInfo};
use crate::formula::Binary;
use crate::number;
use crate::value::{ErrorValue, Value, compare_text, text_to_number};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    // Ranges are every argument but the criteria.
    let in_pairs_after_one = 0xAAAA_AAAB;
    let in_pairs = 0x5555_5555;
    vec![
        general("AVERAGEIF", 2, 3, average_if, "The mean of the numbers whose cells meet a criterion.")
            .arrays(0b101),
        general("AVERAGEIFS", 3, 255, average_ifs, "The mean of the numbers where every criterion is met.")
            .arrays(in_pairs_after_one),
        general("COUNTIF", 2, 2, count_if, "How many cells meet a criterion.")
            .note("whole columns end at the last used cell")
            .arrays(0b1),
        general("COUNTIFS", 2, 255, count_ifs, "How many places meet every criterion.").arrays(in_pairs),
        general("MAXIFS", 3, 255, max_ifs, "The greatest number where every criterion is met.")
            .arrays(in_pairs_after_one),
        general("MINIFS", 3, 255, min_ifs, "The smallest number where every criterion is met.")
            .arrays(in_pairs_after_one),
        general("SUMIF", 2, 3, sum_if, "The sum of the numbers whose cells meet a criterion.").arrays(0b101),
        general("SUMIFS", 3, 255, sum_ifs, "The sum of the numbers where every criterion is met.")
            .arrays(in_pairs_after_one),
    ]
}

/// A test of how a cell stands to the operand of a criterion.
type Test = fn(Ordering) -> bool;

/// What a cell must be.
#[derive(Debug)]
pub(crate) struct Criterion {
    test: Test,
    /// Whether a value of another type meets it: for `<>`.
    other: bool,
    operand: Operand,
}

#[derive(Debug)]
enum Operand {
    Number(f64),
    Text(String),
    Pattern(Pattern),
    Boolean(bool),
    Error(ErrorValue),
    /// `=` or `<>` alone: truly blank cells.
    Blank,
}

impl Criterion {
    pub fn new(value: &Value) -> Self {
        let equal = |operand| Self { test: Ordering::is_eq, other: false, operand };
        match value {
            Value::Number(x) => equal(Operand::Number(*x)),
            Value::Boolean(b) => equal(Operand::Boolean(*b)),
            Value::Blank => equal(Operand::Number(0.0)),
            Value::Error(e) => equal(Operand::Error(*e)),
            Value::Text(text) => Self::parse(text),
        }
    }

    fn parse(text: &str) -> Self {
        const OPERATORS: [(&str, Test); 6] = [
            ("<>", Ordering::is_ne),
            ("<=", Ordering::is_le),
            (">=", Ordering::is_ge),
            ("<", Ordering::is_lt),
            (">", Ordering::is_gt),
            ("=", Ordering::is_eq),
        ];
        let found =
            OPERATORS.iter().find_map(|(op, test)| text.strip_prefix(op).map(|rest| (*op, rest, *test)));
        let (operator, rest, test) = found.unwrap_or(("", text, Ordering::is_eq));
        let matching = matches!(operator, "" | "=" | "<>");
        let operand = if rest.is_empty() && matches!(operator, "=" | "<>") {
            Operand::Blank
        } else if let Some(x) = text_to_number(rest) {
            Operand::Number(x)
        } else if rest.eq_ignore_ascii_case("TRUE") || rest.eq_ignore_ascii_case("FALSE") {
            Operand::Boolean(rest.eq_ignore_ascii_case("TRUE"))
        } else if let Some(e) = ErrorValue::parse(rest) {
            Operand::Error(e)
        } else if matching && rest.contains(['*', '?', '~']) {
            Operand::Pattern(Pattern::new(rest))
        } else {
            Operand::Text(rest.to_owned())
        };
        Self { test, other: operator == "<>", operand }
    }

    /// Whether a cell meets the criterion.
    pub fn meets(&self, value: &Value) -> bool {
        let ordering = match (&self.operand, value) {
            (Operand::Number(x), Value::Number(y)) => Some(number::compare(*y, *x)),
            // Text that is a number meets a criterion that is a number, for equality only.
            (Operand::Number(x), Value::Text(text))
                if (self.test)(Ordering::Equal) != (self.test)(Ordering::Less) =>
            {
                match number::parse(text) {
                    Some(y) if y == *x && ((self.test)(Ordering::Less) == (self.test)(Ordering::Greater)) => {
                        Some(Ordering::Equal)
                    }
                    _ => None,
                }
            }
            (Operand::Text(a), Value::Text(b)) => Some(compare_text(b, a)),
            (Operand::Text(a), Value::Blank) if a.is_empty() => Some(Ordering::Equal),
            (Operand::Pattern(pattern), Value::Text(text)) => {
                Some(if pattern.matches(text) { Ordering::Equal } else { Ordering::Less })
            }
            (Operand::Boolean(a), Value::Boolean(b)) => Some(b.cmp(a)),
            (Operand::Error(a), Value::Error(b)) => (a == b).then_some(Ordering::Equal),
            (Operand::Blank, Value::Blank) => Some(Ordering::Equal),
            _ => None,
        };
        ordering.map_or(self.other, self.test)
    }
}

/// Criteria with their ranges, all of one shape.
fn criteria<'a>(args: &[Arg<'a>], shape: Grid<'a>) -> Result<Vec<(Grid<'a>, Criterion)>, ErrorValue> {
    let mut list = Vec::new();
    for pair in args.chunks(2) {
        let [range, criterion] = pair else { return Err(ErrorValue::Value) };
        let grid = range.grid();
        if (grid.rows, grid.columns) != (shape.rows, shape.columns) {
            return Err(ErrorValue::Value);
        }
        list.push((grid, Criterion::new(criterion.value())));
    }
    Ok(list)
}

/// Call `f` with each value of a range at whose place every criterion is met.
fn where_all(values: Grid<'_>, pairs: &[Arg<'_>], mut f: impl FnMut(&Value)) -> Result<(), ErrorValue> {
    let list = criteria(pairs, values)?;
    for (i, value) in values.items.iter().enumerate() {
        if list.iter().all(|(grid, criterion)| criterion.meets(&grid.items[i])) {
            f(value);
        }
    }
    Ok(())
}

/// The numbers of a range where every criterion is met, or the first error value there.
fn numbers_where(values: Grid<'_>, pairs: &[Arg<'_>]) -> Result<Vec<f64>, ErrorValue> {
    let mut list = Vec::new();
    let mut failed = None;
    where_all(values, pairs, |value| match value {
        Value::Number(x) => list.push(*x),
        Value::Error(e) => failed = failed.or(Some(*e)),
        _ => {}
    })?;
    failed.map_or(Ok(list), Err)
}

fn count_ifs(_: &Env, args: &[Arg<'_>]) -> Answer {
    let mut count = 0;
    where_all(args[0].grid(), args, |_| count += 1)?;
    Ok(Value::Number(f64::from(count)))
}

fn count_if(_: &Env, args: &[Arg<'_>]) -> Answer {
    let criterion = Criterion::new(args[1].value());
    Ok(Value::Number(args[0].grid().items.iter().filter(|v| criterion.meets(v)).count() as f64))
}

/// The operator as a criterion has it before its value.
pub(crate) const fn relation(text: &str) -> Option<Binary> {
    Some(match text.as_bytes() {
        b"<>" => Binary::NotEqual,
        b"<=" => Binary::LessEqual,
        b">=" => Binary::GreaterEqual,
        b"<" => Binary::Less,
        b">" => Binary::Greater,
        b"=" => Binary::Equal,
        _ => return None,
    })
}

const fn spelling(relation: Binary) -> &'static str {
    match relation {
        Binary::NotEqual => "<>",
        Binary::LessEqual => "<=",
        Binary::GreaterEqual => ">=",
        Binary::Less => "<",
        Binary::Greater => ">",
        _ => "=",
    }
}

/// `COUNTIF(range, operator & operand)`. A number in the operand is what its text says: 15 digits of it.
pub(crate) fn count_where(relation: Binary, range: Option<&Arg<'_>>, operand: &Value) -> Value {
    let criterion = match crate::program::concatenated(&spelling(relation).into(), operand) {
        Value::Error(e) => Criterion::new(&Value::Error(e)),
        text => Criterion::new(&text),
    };
    let items = range.map_or(&[][..], |range| range.grid().items);
    Value::Number(items.iter().filter(|value| criterion.meets(value)).count() as f64)
}

/// The numbers beside the cells of a range that meet a criterion. The values start at the corner of their own range.
fn beside(args: &[Arg<'_>]) -> Result<Vec<f64>, ErrorValue> {
    let range = args[0].grid();
    let criterion = Criterion::new(args[1].value());
    let values = args.get(2).map_or(range, Arg::grid);
    let mut list = Vec::new();
    for row in 0..range.rows {
        for column in 0..range.columns {
            if !range.at(row, column).is_some_and(|value| criterion.meets(value)) {
                continue;
            }
            match values.at(row, column) {
                Some(Value::Number(x)) => list.push(*x),
                Some(Value::Error(e)) => return Err(*e),
                _ => {}
            }
        }
    }
    Ok(list)
}

fn total(list: &[f64]) -> f64 {
    list.iter().fold(0.0, |sum, x| sum + x)
}

fn mean(list: &[f64]) -> Answer {
    if list.is_empty() { Err(ErrorValue::Div0) } else { Ok(Value::Number(total(list) / list.len() as f64)) }
}

fn sum_if(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(Value::Number(total(&beside(args)?)))
}

fn average_if(_: &Env, args: &[Arg<'_>]) -> Answer {
    mean(&beside(args)?)
}

fn sum_ifs(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(Value::Number(total(&numbers_where(args[0].grid(), &args[1..])?)))
}

fn average_ifs(_: &Env, args: &[Arg<'_>]) -> Answer {
    mean(&numbers_where(args[0].grid(), &args[1..])?)
}

fn max_ifs(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = numbers_where(args[0].grid(), &args[1..])?;
    Ok(Value::Number(list.into_iter().reduce(f64::max).unwrap_or(0.0)))
}

fn min_ifs(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = numbers_where(args[0].grid(), &args[1..])?;
    Ok(Value::Number(list.into_iter().reduce(f64::min).unwrap_or(0.0)))
}
