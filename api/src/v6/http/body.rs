//! JSON bodies (scale-v6 1.2 and 1.4): objects, whose fields are read one by one, so that every fault has its name.

use std::collections::BTreeMap;

use axum::extract::Request;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{INVALID, MISSING};
use crate::body::{DecodedBody, read_body};
use crate::error::ApiError;
use crate::state::AppState;
use crate::v6::http::query::{read_flag, read_integer};

/// A request's body.
#[derive(Debug)]
pub struct Body(DecodedBody);

impl Body {
    /// Reads the body of a request, within `limits.body_bytes`.
    ///
    /// # Errors
    ///
    /// 415 for other content than JSON, 429 while too many bodies are in memory, 400 for one that breaks off or is too large.
    pub async fn read(state: &AppState, request: Request) -> Result<Self, ApiError> {
        Ok(Self(read_body(state, request).await?))
    }

    /// Its fields, unread. An empty body has none; of a name that stands twice, the last counts.
    ///
    /// # Errors
    ///
    /// 400 for what is no JSON object.
    pub fn fields(&self) -> Result<Fields<'_>, ApiError> {
        if self.0.bytes.is_empty() {
            return Ok(Fields::default());
        }
        Ok(Fields { fields: self.0.json()? })
    }
}

/// The fields of a body. A field that is `null` counts as absent.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    fields: BTreeMap<String, &'a RawValue>,
}

impl<'a> Fields<'a> {
    /// Refuses fields of other names than these.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.fields.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let message = format!("unknown field {name:?}; known are {}", known.join(", "));
                Err(ApiError::bad_request("UNKNOWN_PARAMETER", message, None))
            }
        }
    }

    /// A field as it was written.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.fields.get(name).map(|raw| raw.get()).filter(|text| *text != "null")
    }

    /// As [`Self::raw`], of a field that must be there.
    pub fn required(&self, name: &str) -> Result<&'a str, ApiError> {
        self.raw(name).ok_or_else(|| missing(name))
    }

    /// Any value.
    pub fn value(&self, name: &str) -> Result<Option<Value>, ApiError> {
        self.raw(name).map(|raw| read(name, raw)).transpose()
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.value(name)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(name, "a string")),
        }
    }

    /// A text of at most so many characters.
    pub fn text_within(&self, name: &str, most: usize) -> Result<Option<String>, ApiError> {
        let text = self.text(name)?;
        match &text {
            Some(text) if text.chars().count() > most => {
                Err(invalid(name, &format!("a string of at most {most} characters")))
            }
            _ => Ok(text),
        }
    }

    /// An integer, as such or as decimal text.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let integer = match self.value(name)? {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => read_integer(&text),
            Some(_) => None,
        };
        integer.map(Some).ok_or_else(|| invalid(name, "an integer"))
    }

    /// A list of integers, each as such or as decimal text.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, ApiError> {
        let list = match self.value(name)? {
            None => return Ok(None),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(invalid(name, "a list of integers")),
        };
        let integer = |value: &Value| value.as_i64().or_else(|| read_integer(value.as_str()?));
        let integers: Option<Vec<i64>> = list.iter().map(integer).collect();
        integers.map(Some).ok_or_else(|| invalid(name, "a list of integers"))
    }

    /// A list of texts.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(raw) = self.raw(name) else { return Ok(None) };
        serde_json::from_str(raw).map(Some).map_err(|_| invalid(name, "a list of strings"))
    }

    /// `true` or `false`, or one of their texts.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let flag = match self.value(name)? {
            None => return Ok(None),
            Some(Value::Bool(flag)) => Some(flag),
            Some(Value::String(text)) => read_flag(&text),
            Some(_) => None,
        };
        flag.map(Some).ok_or_else(|| invalid(name, "true or false"))
    }

    /// An object.
    pub fn object(&self, name: &str) -> Result<Option<Value>, ApiError> {
        match self.value(name)? {
            Some(value) if !value.is_object() => Err(invalid(name, "an object")),
            value => Ok(value),
        }
    }

    /// An object that must be there.
    pub fn required_object(&self, name: &str) -> Result<Value, ApiError> {
        self.object(name)?.ok_or_else(|| missing(name))
    }

    /// A text that must be there.
    pub fn required_text(&self, name: &str) -> Result<String, ApiError> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    /// An integer that must be there.
    pub fn required_integer(&self, name: &str) -> Result<i64, ApiError> {
        self.integer(name)?.ok_or_else(|| missing(name))
    }

    /// All fields as one object.
    pub fn to_map(&self) -> Result<Map<String, Value>, ApiError> {
        self.fields.iter().map(|(name, raw)| Ok((name.clone(), read(name, raw.get())?))).collect()
    }
}

fn read<T: DeserializeOwned>(name: &str, raw: &str) -> Result<T, ApiError> {
    // It was seen to be JSON; what is left is nesting without end.
    serde_json::from_str(raw)
        .map_err(|error| ApiError::bad_request(INVALID, format!("{name}: {error}"), None))
}

/// The 400 for a field or parameter that is not there.
fn missing(name: &str) -> ApiError {
    ApiError::bad_request(MISSING, format!("Missing required parameter: \"{name}\""), None)
}

fn invalid(name: &str, wanted: &str) -> ApiError {
    ApiError::bad_request(INVALID, format!("{name} must be {wanted}"), None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn with<T>(json: &str, then: impl FnOnce(Fields<'_>) -> Result<T, ApiError>) -> Result<T, String> {
        let fields = serde_json::from_str(json).unwrap();
        then(Fields { fields }).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn scalars_are_read_as_the_contract_has_it() {
        for (json, integer) in [
            (r#"{"a": 208}"#, Some(208)),
            (r#"{"a": "208"}"#, Some(208)),
            (r#"{"a": "-1"}"#, Some(-1)),
            (r#"{"a": null}"#, None),
            ("{}", None),
        ] {
            assert_eq!(with(json, |fields| fields.integer("a")), Ok(integer), "{json}");
        }
        for json in ["1.5", "1.0", "true", "[]", "{}", r#""""#, r#""abc""#, r#"" 1""#, "99999999999999999999"]
        {
            let json = format!(r#"{{"a": {json}}}"#);
            assert_eq!(
                with(&json, |fields| fields.integer("a")),
                Err("a must be an integer".to_owned()),
                "{json}"
            );
        }
        for (json, flag) in [("true", true), (r#""T""#, true), (r#"" 0 ""#, false), (r#""FALSE""#, false)] {
            let json = format!(r#"{{"a": {json}}}"#);
            assert_eq!(with(&json, |fields| fields.flag("a")), Ok(Some(flag)), "{json}");
        }
        for json in ["1", r#""yes""#, r#""""#, "{}"] {
            assert!(with(&format!(r#"{{"a": {json}}}"#), |fields| fields.flag("a")).is_err(), "{json}");
        }
        assert_eq!(with(r#"{"a": ""}"#, |fields| fields.text("a")), Ok(Some(String::new())));
        assert!(with(r#"{"a": 1}"#, |fields| fields.text("a")).is_err());
        assert_eq!(with(r#"{"a": {"b": 1}}"#, |fields| fields.object("a")), Ok(Some(json!({"b": 1}))));
        assert!(with(r#"{"a": []}"#, |fields| fields.object("a")).is_err());
        assert_eq!(with(r#"{"a": [1, "2"]}"#, |fields| fields.integers("a")), Ok(Some(vec![1, 2])));
        assert!(with(r#"{"a": [1, ""]}"#, |fields| fields.integers("a")).is_err());
    }

    #[test]
    fn what_is_missing_is_named_as_scale_does() {
        let wanted = "Missing required parameter: \"a\"".to_owned();
        for json in ["{}", r#"{"a": null}"#] {
            assert_eq!(with(json, |fields| fields.required_integer("a")), Err(wanted.clone()));
            assert_eq!(with(json, |fields| fields.required_object("a")), Err(wanted.clone()));
        }
        assert!(with(r#"{"a": 1, "b": 2}"#, |fields| fields.only(&["a"])).unwrap_err().contains("\"b\""));
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let json = format!(r#"{{"a": {}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
        assert!(with(&json, |fields| fields.value("a")).unwrap_err().starts_with("a: "));
    }
}
