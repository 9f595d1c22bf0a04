//! What a general function sees: its arguments and the little that it may know of its surroundings.

use std::borrow::Cow;

use crate::program::table::Index;
use crate::value::{ErrorValue, Value};

/// The surroundings of one evaluation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Env {
    /// The serial date-time of `NOW()`.
    pub now: f64,
    /// The seed of the batch.
    pub seed: u64,
    /// The number of the record.
    pub record: u64,
}

/// A rectangle of values, row-major.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid<'a> {
    pub rows: usize,
    pub columns: usize,
    pub items: &'a [Value],
    /// The index of a constant row or column, for lookups.
    pub index: Option<&'a Index>,
}

impl<'a> Grid<'a> {
    /// The value at a zero-based place.
    pub fn at(&self, row: usize, column: usize) -> Option<&'a Value> {
        if row < self.rows && column < self.columns {
            self.items.get(row * self.columns + column)
        } else {
            None
        }
    }
}

/// One argument.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Arg<'a> {
    /// Left empty between commas.
    #[default]
    Omitted,
    /// A single value.
    Value(&'a Value),
    /// A range or an array.
    Array(Grid<'a>),
}

impl<'a> Arg<'a> {
    /// The single value; the first one of an array.
    pub fn value(&self) -> &'a Value {
        match self {
            Self::Omitted => &Value::Blank,
            Self::Value(value) => value,
            Self::Array(grid) => grid.items.first().unwrap_or(&Value::Blank),
        }
    }

    /// As a number.
    pub fn number(&self) -> Result<f64, ErrorValue> {
        self.value().to_number()
    }

    /// As text.
    pub fn text(&self) -> Result<Cow<'a, str>, ErrorValue> {
        self.value().to_text()
    }

    /// As a condition.
    pub fn boolean(&self) -> Result<bool, ErrorValue> {
        self.value().to_boolean()
    }

    /// As a rectangle; a single value is one of one cell.
    pub fn grid(&self) -> Grid<'a> {
        match self {
            Self::Array(grid) => *grid,
            other => Grid { rows: 1, columns: 1, items: std::slice::from_ref(other.value()), index: None },
        }
    }
}

/// The number of an optional argument; an empty one is 0.
pub(crate) fn number_or(args: &[Arg<'_>], index: usize, default: f64) -> Result<f64, ErrorValue> {
    args.get(index).map_or(Ok(default), Arg::number)
}

/// Call `f` for each number that a function over ranges counts: in arrays only numbers, as single values also booleans and
/// text that is a number. The first error value stops.
pub(crate) fn each_number(args: &[Arg<'_>], mut f: impl FnMut(f64)) -> Result<(), ErrorValue> {
    for arg in args {
        match arg {
            Arg::Omitted => f(0.0),
            Arg::Value(value) => f(value.to_number()?),
            Arg::Array(grid) => {
                for item in grid.items {
                    match item {
                        Value::Number(x) => f(*x),
                        Value::Error(e) => return Err(*e),
                        _ => {}
                    }
                }
            }
        }
    }
    Ok(())
}

/// The numbers of the arguments, as [`each_number`] counts them.
pub(crate) fn numbers(args: &[Arg<'_>]) -> Result<Vec<f64>, ErrorValue> {
    let mut list = Vec::new();
    each_number(args, |x| list.push(x))?;
    Ok(list)
}
