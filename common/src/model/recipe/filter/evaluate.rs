//! Whether a condition accepts. Nothing fails here: what cannot be compared does not pass.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{DataFilter, Filter, Operator};
use crate::model::recipe::data::Data;

impl DataFilter {
    /// Whether the data passes (contract 6.3).
    pub fn accepts(&self, data: &Data) -> bool {
        let mut filters = self.filters.iter();
        match self.all {
            true => filters.all(|filter| filter.passes(data)),
            false => self.filters.is_empty() || filters.any(|filter| filter.passes(data)),
        }
    }
}

impl Filter {
    fn passes(&self, data: &Data) -> bool {
        let Some(value) = data.json.get(&self.name) else { return false };
        if self.fields.is_empty() {
            return self.operator.holds(value, &self.values);
        }
        let mut fields = self.fields.iter().zip(&self.values);
        let passes = |(path, values): (&Vec<String>, &Value)| {
            let value = path.iter().try_fold(value, |value, key| value.get(key.as_str()));
            match (value, values) {
                (Some(value), Value::Array(values)) => self.operator.holds(value, values),
                _ => false,
            }
        };
        if self.all_fields { fields.all(passes) } else { fields.any(passes) }
    }
}

impl Operator {
    /// Whether the value stands in this relation to the given ones. Too few of them, or a type that cannot be
    /// compared, and it does not.
    fn holds(self, value: &Value, values: &[Value]) -> bool {
        let ordered = |with: Option<&Value>, wanted: fn(Ordering) -> bool| {
            with.and_then(|with| compare(value, with)).is_some_and(wanted)
        };
        match self {
            Self::Less => ordered(values.first(), Ordering::is_lt),
            Self::LessOrEqual => ordered(values.first(), Ordering::is_le),
            Self::Greater => ordered(values.first(), Ordering::is_gt),
            Self::GreaterOrEqual => ordered(values.first(), Ordering::is_ge),
            Self::Between => {
                ordered(values.first(), Ordering::is_ge) && ordered(values.get(1), Ordering::is_le)
            }
            Self::Equal => values.first().is_some_and(|with| equal(value, with)),
            Self::NotEqual => values.first().is_some_and(|with| !equal(value, with)),
            Self::In => values.iter().any(|with| equal(value, with)),
            Self::NotIn => !values.iter().any(|with| equal(value, with)),
            Self::Contains => values.iter().any(|wanted| contains(value, wanted)),
            Self::SubsetOf => objects(value, values).is_some_and(|(own, other)| is_within(own, other)),
            Self::SupersetOf => objects(value, values).is_some_and(|(own, other)| is_within(other, own)),
        }
    }
}

type Object = Map<String, Value>;

fn objects<'v>(value: &'v Value, values: &'v [Value]) -> Option<(&'v Object, &'v Object)> {
    Some((value.as_object()?, values.first()?.as_object()?))
}

fn is_within(small: &Object, large: &Object) -> bool {
    small.iter().all(|(key, value)| large.get(key).is_some_and(|other| equal(value, other)))
}

fn contains(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::String(text), Value::String(wanted)) => text.contains(wanted.as_str()),
        (Value::Array(items), wanted) => items.iter().any(|item| equal(item, wanted)),
        (Value::Object(map), Value::String(wanted)) => map.contains_key(wanted),
        _ => false,
    }
}

/// Equal as values: `1` is `1.0`.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right) == Some(Ordering::Equal),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => left.len() == right.len() && is_within(left, right),
        _ => left == right,
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}
