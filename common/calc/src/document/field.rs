//! Types, defaults and bounds of a document's inputs.

use serde_json::Value as Json;

use super::format::TYPES;
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
        let written = object.required("type")?;
        let Some((_, kind)) = TYPES.into_iter().find(|(name, _)| *name == written) else {
            let message = format!("{written:?} is none of {}", TYPES.map(|(name, _)| name).join(", "));
            return Err(wrong(object.at("type"), message));
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
        let most = maximum_length(object, kind, &options, default.as_ref())?;
        let shown = object.get("default").filter(|_| kind == DataType::Date).cloned();
        let mut validation = validation(object, kind, most)?;
        let error = object.text("error")?;
        if error.is_some() {
            // A type alone can be disobeyed as well, and then has something to say.
            validation.get_or_insert_with(|| of_type(kind)).error = error;
        }
        Ok(Self { kind, default: default.unwrap_or_default(), shown, validation })
    }
}

/// The bound on the length of text, which the default and the options must obey.
fn maximum_length(
    object: &Object<'_>,
    kind: DataType,
    options: &[Value],
    default: Option<&Value>,
) -> Result<Option<u64>, LoadError> {
    let Some(json) = object.get("maximum_length") else { return Ok(None) };
    let at = object.at("maximum_length");
    if kind != DataType::Text {
        return Err(wrong(at, "only text has a length"));
    }
    if !options.is_empty() {
        return Err(wrong(at, "says nothing beside options"));
    }
    let most = json.as_u64().filter(|most| (1..=32_767).contains(most));
    let most = most.ok_or_else(|| wrong(at, "must be a whole number from 1 to 32767"))?;
    match default {
        Some(Value::Text(text)) if text.encode_utf16().count() as u64 > most => {
            Err(wrong(object.at("default"), "is longer than maximum_length"))
        }
        _ => Ok(Some(most)),
    }
}

/// The rule that a mere type makes.
fn of_type(kind: DataType) -> Validation {
    let kind = match kind {
        DataType::Integer => "whole",
        DataType::Date => "date",
        DataType::Boolean => "boolean",
        DataType::Text | DataType::Table => "none",
        DataType::Number => "decimal",
    };
    Validation { kind: kind.into(), ignore_blank: true, ..Validation::default() }
}

/// The bounds as data validation would state them.
fn validation(
    object: &Object<'_>,
    kind: DataType,
    most: Option<u64>,
) -> Result<Option<Validation>, LoadError> {
    if let Some(most) = most {
        return Ok(Some(Validation {
            kind: "textLength".into(),
            operator: Some("lessThanOrEqual".into()),
            first: Some(most.to_string()),
            ignore_blank: true,
            ..Validation::default()
        }));
    }
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
    Ok(Some(Validation { operator: Some(operator.into()), first, second, ..of_type(kind) }))
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
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(_) | Json::Object(_) => {
            return Err(wrong(path, "must be a number, text, a boolean or null"));
        }
    })
}
