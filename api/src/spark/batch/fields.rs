//! Reading request fields the way callers send them (contract 1.1): several spellings, `null` for absent, numbers as text, lists
//! as comma text.

use chrono::{DateTime, Utc};
use millrace_common::model::time;
use serde_json::{Map, Value};
use thiserror::Error;

/// A field with a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path}: {message}")]
pub struct FieldError {
    /// The field, as the caller spelt it.
    pub path: String,
    /// What is wrong with its value.
    pub message: String,
}

impl FieldError {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// The longest text in a field, in characters.
const MAX_TEXT: usize = 4_000;
/// The most entries in a list.
const MAX_ENTRIES: usize = 10_000;

/// The fields of a JSON object; unknown ones are ignored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(super) const fn new(object: &'a Map<String, Value>) -> Self {
        Self(object)
    }

    /// The first of the spellings that has a value, `null` being none.
    fn find(&self, spellings: &[&'static str]) -> Option<(&'static str, &'a Value)> {
        spellings.iter().find_map(|name| match self.0.get(*name) {
            None | Some(Value::Null) => None,
            Some(value) => Some((*name, value)),
        })
    }

    /// Text; a number or boolean counts as its text, empty text as absent.
    pub(super) fn text(&self, spellings: &[&'static str]) -> Result<Option<String>, FieldError> {
        for name in spellings {
            if let Some(text) = self.given_text(name)?.filter(|text| !text.is_empty()) {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// As [`Fields::text`], but empty text is a value.
    pub(super) fn given_text(&self, name: &'static str) -> Result<Option<String>, FieldError> {
        match self.find(&[name]) {
            None => Ok(None),
            Some((_, value)) => scalar_text(value, name).map(Some),
        }
    }

    /// A list: an array of texts, or comma text. Entries are trimmed and empty ones dropped.
    pub(super) fn list(&self, spellings: &[&'static str]) -> Result<Vec<String>, FieldError> {
        let Some((name, value)) = self.find(spellings) else { return Ok(Vec::new()) };
        let entries = match value {
            Value::Array(entries) => entries
                .iter()
                .enumerate()
                .filter(|(_, entry)| !entry.is_null())
                .map(|(index, entry)| scalar_text(entry, &format!("{name}[{index}]")))
                .collect::<Result<Vec<_>, _>>()?,
            value => split_list(&scalar_text(value, name)?),
        };
        let entries: Vec<String> = entries
            .into_iter()
            .map(|entry| entry.trim().to_owned())
            .filter(|entry| !entry.is_empty())
            .collect();
        if entries.len() > MAX_ENTRIES {
            return Err(FieldError::new(name, format!("more than {MAX_ENTRIES} entries")));
        }
        Ok(entries)
    }

    /// A list, joined with commas; text is taken as it is.
    pub(super) fn joined(&self, name: &'static str) -> Result<Option<String>, FieldError> {
        let text = match self.find(&[name]) {
            Some((_, Value::Array(_))) => self.list(&[name])?.join(","),
            _ => self.given_text(name)?.unwrap_or_default(),
        };
        Ok(Some(text).filter(|text| !text.trim().is_empty()))
    }

    /// A finite number that is accepted; `expected` says which are.
    pub(super) fn number(
        &self,
        spellings: &[&'static str],
        accepted: impl FnOnce(f64) -> bool,
        expected: &str,
    ) -> Result<Option<f64>, FieldError> {
        let Some((name, value)) = self.find(spellings) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if number.is_finite() && accepted(number) => Ok(Some(number)),
            _ => Err(FieldError::new(name, format!("must be {expected}"))),
        }
    }

    /// A whole number from 1 on; larger ones than an `i32` holds are clamped.
    pub(super) fn count(&self, spellings: &[&'static str]) -> Result<Option<i32>, FieldError> {
        let whole = |number: f64| number >= 1.0 && number.fract() == 0.0;
        let number = self.number(spellings, whole, "a whole number, 1 or more")?;
        #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates, which is the clamp")]
        Ok(number.map(|number| number as i32))
    }

    /// A number from 0 to 100.
    pub(super) fn percentage(&self, name: &'static str) -> Result<Option<f64>, FieldError> {
        self.number(&[name], |number| (0.0..=100.0).contains(&number), "a number from 0 to 100")
    }

    /// A whole number of 32 bits.
    pub(super) fn whole(&self, name: &'static str) -> Result<Option<i32>, FieldError> {
        let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
        let whole = |number: f64| range.contains(&number) && number.fract() == 0.0;
        let number = self.number(&[name], whole, "a whole number of 32 bits")?;
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within the range of i32")]
        Ok(number.map(|number| number as i32))
    }

    /// Yes or no; the words as text count too.
    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, FieldError> {
        let Some((_, value)) = self.find(&[name]) else { return Ok(None) };
        let flag = match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
            _ => None,
        };
        flag.map(Some).ok_or_else(|| FieldError::new(name, "must be true or false"))
    }

    /// A point in time.
    pub(super) fn time(&self, spellings: &[&'static str]) -> Result<Option<DateTime<Utc>>, FieldError> {
        let Some((name, value)) = self.find(spellings) else { return Ok(None) };
        match value {
            Value::String(text) if text.trim().is_empty() => Ok(None),
            Value::String(text) => time::parse(text)
                .map(Some)
                .ok_or_else(|| FieldError::new(name, "must be a date or a time in ISO 8601")),
            _ => Err(FieldError::new(name, "must be a date or a time in ISO 8601")),
        }
    }
}

fn scalar_text(value: &Value, path: &str) -> Result<String, FieldError> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        _ => return Err(FieldError::new(path, "must be a string")),
    };
    if text.contains('\0') {
        return Err(FieldError::new(path, "must not contain U+0000"));
    }
    if text.chars().count() > MAX_TEXT {
        return Err(FieldError::new(path, format!("longer than {MAX_TEXT} characters")));
    }
    Ok(text)
}

/// Splits at commas outside `[](){}` (contract 2.5), so that `value_[a,b],total` has two entries.
pub(super) fn split_list(text: &str) -> Vec<String> {
    let mut entries = Vec::new();
    let mut depth = 0_usize;
    let mut entry = String::new();
    for character in text.chars() {
        match character {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                entries.push(std::mem::take(&mut entry));
                continue;
            }
            _ => {}
        }
        entry.push(character);
    }
    entries.push(entry);
    entries
}

/// Reads a JSON object. Python writes numbers that are none as `NaN` and `Infinity`; they are read as text, so that the field
/// that holds one can be named.
///
/// # Errors
///
/// What is wrong, for the caller.
pub(super) fn read_object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let value = serde_json::from_slice(bytes).or_else(|error| match quote_non_numbers(bytes) {
        Some(quoted) => serde_json::from_slice(&quoted).map_err(|_| error),
        None => Err(error),
    });
    match value {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("the body must be a JSON object".to_owned()),
        Err(error) => Err(format!("the body is no valid JSON: {error}")),
    }
}

/// The bytes with `NaN`, `Infinity` and `-Infinity` outside strings in quotes; `None` when there are none.
fn quote_non_numbers(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut quoted = Vec::with_capacity(bytes.len() + 16);
    let (mut in_string, mut changed) = (false, false);
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if in_string && byte == b'\\' {
            let take = rest.len().min(2);
            let (escape, tail) = rest.split_at(take);
            quoted.extend_from_slice(escape);
            rest = tail;
            continue;
        }
        if !in_string
            && let Some(word) =
                [&b"NaN"[..], b"Infinity", b"-Infinity"].into_iter().find(|word| rest.starts_with(word))
        {
            quoted.push(b'"');
            quoted.extend_from_slice(word);
            quoted.push(b'"');
            changed = true;
            rest = rest.get(word.len()..).unwrap_or_default();
            continue;
        }
        in_string ^= byte == b'"';
        quoted.push(byte);
        rest = tail;
    }
    changed.then_some(quoted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn fields(text: &str) -> Map<String, Value> {
        read_object(text.as_bytes()).unwrap()
    }

    #[test]
    fn null_and_empty_are_absent_and_spellings_have_an_order() {
        let object = fields(r#"{"a":null,"b":"","c":"x","d":5}"#);
        let fields = Fields::new(&object);
        assert_eq!(fields.text(&["a", "b", "c"]).unwrap().as_deref(), Some("x"));
        assert_eq!(fields.text(&["a", "b"]).unwrap(), None);
        assert_eq!(fields.text(&["d"]).unwrap().as_deref(), Some("5"));
        assert_eq!(fields.given_text("b").unwrap().as_deref(), Some(""));
    }

    #[test]
    fn lists_come_as_arrays_or_comma_text() {
        let object =
            fields(r#"{"a":["x"," y ",null,""],"b":"total, value_[a,b],f(1,2)","c":[["x"]],"d":{"e":1}}"#);
        let fields = Fields::new(&object);
        assert_eq!(fields.list(&["a"]).unwrap(), ["x", "y"]);
        assert_eq!(fields.list(&["b"]).unwrap(), ["total", "value_[a,b]", "f(1,2)"]);
        assert_eq!(fields.list(&["c"]).unwrap_err().path, "c[0]");
        assert_eq!(fields.list(&["d"]).unwrap_err().path, "d");
        assert!(fields.list(&["nope"]).unwrap().is_empty());
    }

    #[test]
    fn numbers_come_as_numbers_or_text() {
        let object = fields(
            r#"{"a":2,"b":" 2.0 ","c":2.5,"d":"x","e":-1,"f":NaN,"g":"NaN","h":1e300,"i":true,"j":0}"#,
        );
        let fields = Fields::new(&object);
        assert_eq!(fields.count(&["a"]).unwrap(), Some(2));
        assert_eq!(fields.count(&["b"]).unwrap(), Some(2));
        assert_eq!(fields.count(&["h"]).unwrap(), Some(i32::MAX));
        for name in ["c", "d", "e", "f", "g", "i", "j"] {
            assert_eq!(fields.count(&[name]).unwrap_err().path, name);
        }
    }

    #[test]
    fn times_are_text_and_empty_text_is_none() {
        let object = fields(r#"{"t":5,"u":"","v":"2026-11-21","w":"soon"}"#);
        let fields = Fields::new(&object);
        assert_eq!(fields.time(&["t"]).unwrap_err().path, "t");
        assert_eq!(fields.time(&["w"]).unwrap_err().path, "w");
        assert_eq!(fields.time(&["u"]).unwrap(), None);
        assert_eq!(fields.time(&["v"]).unwrap().unwrap().to_rfc3339(), "2026-11-21T00:00:00+00:00");
    }

    #[test]
    fn python_non_numbers_are_read_outside_strings_only() {
        let object = fields(r#"{"a":-Infinity,"b":"NaN \" NaN","c":[NaN]}"#);
        assert_eq!(object["a"], "-Infinity");
        assert_eq!(object["b"], "NaN \" NaN");
        assert!(read_object(b"[]").unwrap_err().contains("object"));
        assert!(read_object(b"{NaN").unwrap_err().contains("valid JSON"));
        assert!(read_object(b"").is_err());
    }

    #[test]
    fn text_that_the_database_cannot_hold_is_refused() {
        let object = fields(r#"{"a":"x\u0000y"}"#);
        assert_eq!(Fields::new(&object).text(&["a"]).unwrap_err().path, "a");
    }

    proptest::proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = read_object(&bytes);
        }

        #[test]
        fn joined_lists_split_again(entries in proptest::collection::vec("[a-z_*?]{1,8}", 1..6)) {
            proptest::prop_assert_eq!(split_list(&entries.join(",")), entries);
        }
    }
}
