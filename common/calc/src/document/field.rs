//! Types, defaults and bounds of a document's inputs.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Object, wrong};
use crate::interface::{DataType, Validation};
use crate::limits::Limits;
use crate::load::LoadError;
use crate::value::Value;
use crate::workbook::sheet::iso_serial;

/// What an input declares.
pub(super) struct Field {
    pub kind: DataType,
    pub default: Value,
    /// The default as written, where the cell holds something else (dates).
    pub shown: Option<Json>,
    pub validation: Option<Validation>,
}

impl Field {
    pub(super) fn read(object: &Object<'_>, limits: &Limits) -> Result<Self, LoadError> {
        let kind = match object.required("type")?.as_str() {
            "number" => DataType::Number,
            "integer" => DataType::Integer,
            "text" => DataType::Text,
            "boolean" => DataType::Boolean,
            "date" => DataType::Date,
            other => {
                let message = format!("{other:?} is none of number, integer, text, boolean, date");
                return Err(wrong(object.at("type"), message));
            }
        };
        let typed =
            |key: &str| object.get(key).map(|json| value(json, kind, &object.at(key), limits)).transpose();
        let default = typed("default")?;
        let (minimum, maximum) = (typed("minimum")?, typed("maximum")?);
        for (key, bound) in [("minimum", &minimum), ("maximum", &maximum)] {
            if bound.is_some() && !matches!(kind, DataType::Number | DataType::Integer | DataType::Date) {
                return Err(wrong(object.at(key), "only numbers, integers and dates have bounds"));
            }
        }
        if let (Some(Value::Number(least)), Some(Value::Number(most))) = (&minimum, &maximum)
            && least > most
        {
            return Err(wrong(object.at("maximum"), "is less than minimum"));
        }
        let mut options = Vec::new();
        for (index, option) in object.list("options")?.iter().enumerate() {
            options.push(value(option, kind, &format!("{}[{index}]", object.at("options")), limits)?);
        }
        if let Some(default) = &default {
            let at = object.at("default");
            match (default, &minimum, &maximum) {
                (Value::Number(x), Some(Value::Number(least)), _) if x < least => {
                    return Err(wrong(at, "is below minimum"));
                }
                (Value::Number(x), _, Some(Value::Number(most))) if x > most => {
                    return Err(wrong(at, "is above maximum"));
                }
                _ => {}
            }
            if !options.is_empty() && !options.contains(default) {
                return Err(wrong(at, "is none of the options"));
            }
        }
        let shown = object.get("default").filter(|_| kind == DataType::Date).cloned();
        let validation = validation(object, kind)?;
        Ok(Self { kind, default: default.unwrap_or_default(), shown, validation })
    }
}

/// The bounds as data validation would state them.
fn validation(object: &Object<'_>, kind: DataType) -> Result<Option<Validation>, LoadError> {
    let written =
        |key: &str| object.get(key).map(|json| json.as_str().map_or_else(|| json.to_string(), str::to_owned));
    let options = object.list("options")?;
    let (first, second) = (written("minimum"), written("maximum"));
    if !options.is_empty() {
        let options = Some(options.to_vec());
        return Ok(Some(Validation {
            kind: "list".into(),
            options,
            ignore_blank: true,
            ..Validation::default()
        }));
    }
    let (operator, first, second) = match (first, second) {
        (None, None) => return Ok(None),
        (Some(first), Some(second)) => ("between", Some(first), Some(second)),
        (Some(first), None) => ("greaterThanOrEqual", Some(first), None),
        (None, Some(second)) => ("lessThanOrEqual", Some(second), None),
    };
    let kind = match kind {
        DataType::Integer => "whole",
        DataType::Date => "date",
        _ => "decimal",
    };
    Ok(Some(Validation {
        kind: kind.into(),
        operator: Some(operator.into()),
        first,
        second,
        ignore_blank: true,
        ..Validation::default()
    }))
}

/// A value of the declared type.
fn value(json: &Json, kind: DataType, path: &str, limits: &Limits) -> Result<Value, LoadError> {
    let value = constant(json, path, limits)?;
    Ok(match (kind, value) {
        (DataType::Number, value @ Value::Number(_)) => value,
        (DataType::Integer, Value::Number(number)) if number.fract() == 0.0 => Value::Number(number),
        (DataType::Text, value @ Value::Text(_)) => value,
        (DataType::Boolean, value @ Value::Boolean(_)) => value,
        (DataType::Date, Value::Text(text)) => {
            let serial = iso_serial(&text);
            Value::Number(
                serial.ok_or_else(|| wrong(path, format!("{text:?} is no date; write YYYY-MM-DD")))?,
            )
        }
        (DataType::Number, _) => return Err(wrong(path, "must be a number")),
        (DataType::Integer, _) => return Err(wrong(path, "must be a whole number")),
        (DataType::Text, _) => return Err(wrong(path, "must be text")),
        (DataType::Boolean, _) => return Err(wrong(path, "must be true or false")),
        (_, _) => return Err(wrong(path, "must be a date, written as \"YYYY-MM-DD\"")),
    })
}

/// A value of a table.
pub(super) fn constant(json: &Json, path: &str, limits: &Limits) -> Result<Value, LoadError> {
    Ok(match json {
        Json::Null => Value::Blank,
        Json::Bool(boolean) => Value::Boolean(*boolean),
        Json::Number(number) => {
            let number = number.as_f64().filter(|number| number.is_finite());
            Value::Number(number.ok_or_else(|| wrong(path, "is too large for a number"))? + 0.0)
        }
        Json::String(text) if text.chars().count() > limits.text_length => {
            return Err(LoadError::TooLarge {
                place: path.to_owned(),
                what: "its characters",
                limit: limits.text_length as u64,
            });
        }
        Json::String(text) => Value::Text(Arc::from(text.as_str())),
        Json::Array(_) | Json::Object(_) => {
            return Err(wrong(path, "must be a number, text, a boolean or null"));
        }
    })
}
