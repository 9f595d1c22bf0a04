//! Columns: the value of one cell for every record of a block.

use crate::number;
use crate::value::{ErrorValue, Value};

/// One cell for up to [`BLOCK`](super::BLOCK) records.
///
/// Columns of numbers carry error values as NaN payloads (see [`number::error`]), so a column may hold both.
#[derive(Debug, Clone)]
pub enum Column {
    /// Numbers, with error values as NaN payloads.
    Number(Vec<f64>),
    /// Booleans as 0 and 1, with error values as NaN payloads.
    Boolean(Vec<f64>),
    /// Values of any type.
    Value(Vec<Value>),
    /// The same value for every record.
    Constant(Value),
}

impl Default for Column {
    fn default() -> Self {
        Self::Constant(Value::Blank)
    }
}

impl Column {
    /// A column of finite numbers; a NaN or an infinity becomes `#NUM!`.
    pub fn from_numbers(mut numbers: Vec<f64>) -> Self {
        for x in &mut numbers {
            if !x.is_finite() {
                *x = number::error(ErrorValue::Num);
            }
        }
        Self::Number(numbers)
    }

    /// A column of any values, kept as plain numbers when every value is a number or an error.
    pub fn from_values(values: Vec<Value>) -> Self {
        if values.iter().all(|v| matches!(v, Value::Number(_) | Value::Error(_))) {
            return Self::Number(values.iter().map(lane).collect());
        }
        if values.iter().all(|v| matches!(v, Value::Boolean(_))) {
            return Self::Boolean(values.iter().map(lane).collect());
        }
        Self::Value(values)
    }

    /// How many records the column has values for; `None` for a constant, which fits every count.
    pub fn rows(&self) -> Option<usize> {
        match self {
            Self::Number(numbers) | Self::Boolean(numbers) => Some(numbers.len()),
            Self::Value(values) => Some(values.len()),
            Self::Constant(_) => None,
        }
    }

    /// The value of one record; blank beyond the end.
    pub fn get(&self, record: usize) -> Value {
        match self {
            Self::Number(numbers) => numbers.get(record).map_or(Value::Blank, |x| number::value(*x)),
            Self::Boolean(numbers) => numbers.get(record).map_or(Value::Blank, |x| number::boolean(*x)),
            Self::Value(values) => values.get(record).cloned().unwrap_or_default(),
            Self::Constant(value) => value.clone(),
        }
    }

    /// Put a value in the place of another; a column of lanes becomes one of values when it cannot hold it.
    pub(super) fn set(&mut self, record: usize, value: &Value) {
        match (&mut *self, value) {
            (Self::Number(lanes), Value::Number(_) | Value::Error(_))
            | (Self::Boolean(lanes), Value::Boolean(_) | Value::Error(_)) => {
                if let Some(place) = lanes.get_mut(record) {
                    *place = lane(value);
                }
                return;
            }
            (Self::Value(values), value) => {
                if let Some(place) = values.get_mut(record) {
                    place.clone_from(value);
                }
                return;
            }
            _ => {}
        }
        let mut values: Vec<Value> = (0..self.rows().unwrap_or(0)).map(|i| self.get(i)).collect();
        if let Some(place) = values.get_mut(record) {
            place.clone_from(value);
        }
        *self = Self::Value(values);
    }

    /// The lanes of a column of numbers: finite, or a NaN for which [`number::decode`] tells the error value.
    pub fn numbers(&self) -> Option<&[f64]> {
        match self {
            Self::Number(numbers) => Some(numbers),
            _ => None,
        }
    }
}

/// A number, boolean or error as the lane of a numeric column; 0 for what is none of them.
pub(crate) fn lane(value: &Value) -> f64 {
    match value {
        Value::Number(x) => *x,
        Value::Boolean(b) => f64::from(u8::from(*b)),
        Value::Error(e) => number::error(*e),
        Value::Blank | Value::Text(_) => 0.0,
    }
}
