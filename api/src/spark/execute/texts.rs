//! Fields that clients send as a text or as a list of texts.

use serde::Deserialize;
use serde_json::Value;

/// One text, or several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    /// The entries that are not blank; commas inside are left to whoever reads them.
    pub(super) fn list(texts: Option<Self>) -> Vec<String> {
        let list = match texts {
            None => Vec::new(),
            Some(Self::One(text)) => vec![text],
            Some(Self::Many(list)) => list,
        };
        list.into_iter().filter(|text| !text.trim().is_empty()).collect()
    }
}

/// A text, or a number written as one; blank texts and everything else are absent.
pub(super) fn scalar(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
