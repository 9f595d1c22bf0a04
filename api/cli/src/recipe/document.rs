//! JSON documents from files, and what the server finds in them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::client::{Client, ClientError};
use super::super::error::CliError;
use super::super::{Globals, OutputFormat, say};

/// The body of a request, made of a file and of options. What the file says is sent as it was written, so that the server can
/// tell, for example, a node that stands twice.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Body(BTreeMap<String, Box<RawValue>>);

impl Body {
    /// Reads a file, `-` for standard input: a whole request where it has the key `marker`, else the document `marker` of one.
    pub fn read(path: &Path, marker: &str) -> Result<Self, CliError> {
        let (raw, whole) = object(path)?;
        let is_whole = whole.0.contains_key(marker);
        Ok(if is_whole { whole } else { Self(BTreeMap::from([(marker.to_owned(), raw)])) })
    }

    /// Reads a file that is a whole request, whatever it has.
    pub fn read_request(path: &Path) -> Result<Self, CliError> {
        Ok(object(path)?.1)
    }

    /// Sets a field where there is a value.
    pub fn set<T: Serialize>(&mut self, name: &str, value: Option<T>) -> Result<(), CliError> {
        if let Some(value) = value {
            let raw = serde_json::value::to_raw_value(&value)
                .map_err(|error| CliError::Input(format!("{name}: {error}")))?;
            self.0.insert(name.to_owned(), raw);
        }
        Ok(())
    }

    /// A field as a value, `Null` when it is not there.
    pub fn get(&self, name: &str) -> Value {
        self.0.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }

    /// One field alone, as it was written.
    pub fn only(&self, name: &str) -> Self {
        Self(self.0.get_key_value(name).map(|(name, raw)| (name.clone(), raw.clone())).into_iter().collect())
    }

    /// Whether nothing would be sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A JSON object, and its fields.
fn object(path: &Path) -> Result<(Box<RawValue>, Body), CliError> {
    let (name, text) = content(path)?;
    let wrong = |error: &dyn std::fmt::Display| CliError::Input(format!("{name}: {error}"));
    let raw: Box<RawValue> = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    if !raw.get().starts_with('{') {
        return Err(wrong(&"a JSON object is expected"));
    }
    let fields = serde_json::from_str(raw.get()).map_err(|error| wrong(&error))?;
    Ok((raw, Body(fields)))
}

/// Name and content of a file, or of standard input.
fn content(path: &Path) -> Result<(String, String), CliError> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| CliError::file(path, error))?;
        return Ok(("standard input".to_owned(), text));
    }
    let text = std::fs::read_to_string(path).map_err(|error| CliError::file(path, error))?;
    Ok((path.display().to_string(), text))
}

/// Reads any JSON from a file, or from standard input for `-`.
pub fn json(path: &Path) -> Result<Box<RawValue>, CliError> {
    let (name, text) = content(path)?;
    serde_json::from_str(&text).map_err(|error| CliError::Input(format!("{name}: {error}")))
}

/// Errors and warnings of a check, one a line, each with its name and then its place.
pub fn findings(answer: &Value) -> String {
    let mut lines = String::new();
    for (list, word) in [("errors", "error"), ("warnings", "warning")] {
        for finding in answer[list].as_array().into_iter().flatten() {
            let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
            lines.push_str(&format!("{word}: {} {}\n", text("name"), text("description")));
        }
    }
    lines
}

/// Whether a check found no error.
pub fn is_valid(answer: &Value) -> bool {
    answer["is_valid"] == true
}

/// Tells what a check found before something is done, and ends the command where it would be refused.
pub fn tell(answer: &Value, what: &str) -> Result<(), CliError> {
    let findings = findings(answer);
    if is_valid(answer) {
        if !findings.is_empty() {
            say(findings.trim_end());
        }
        return Ok(());
    }
    Err(CliError::Failed(format!("{what} is not valid; nothing was changed\n{}", findings.trim_end())))
}

/// Shows what a check found, as the result of the command, which fails where there are errors.
pub fn verdict(
    globals: &Globals,
    answer: &Value,
    what: &str,
    more: impl FnOnce() -> String,
) -> Result<(), CliError> {
    let valid = is_valid(answer);
    globals.show(answer, || {
        let state = if valid { "valid" } else { "not valid" };
        format!("{}{what} is {state}\n{}", findings(answer), more())
    });
    match (valid, globals.output_format) {
        (true, _) => Ok(()),
        (false, OutputFormat::Json) => Err(CliError::Failed(format!("{what} is not valid"))),
        (false, OutputFormat::Text) => Err(CliError::Failed("see the errors above".to_owned())),
    }
}

/// Asks whether the body would be taken, and tells what was found.
pub async fn checked(client: &Client, path: &str, body: &Body, what: &str) -> Result<(), CliError> {
    tell(&client.v6_check(path, body).await?, what)
}

/// A call about one thing: where it does not exist, that is said with the command that lists those that do.
pub fn known<T>(answer: Result<T, ClientError>, what: &str, list: &str) -> Result<T, CliError> {
    answer.map_err(|error| match error.refusal() {
        Some(refusal) if refusal.status == 404 => {
            CliError::Failed(format!("there is no {what}; `millrace {list}` shows what there is"))
        }
        _ => error.into(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn read(text: &str, marker: &str) -> Result<Body, CliError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.json");
        std::fs::write(&path, text).unwrap();
        Body::read(&path, marker)
    }

    #[test]
    fn a_file_is_a_whole_request_or_its_document() {
        let mut whole = read(r#"{"title": "t", "definition": {"nodes": {}}}"#, "definition").unwrap();
        whole.set("title", Some("other")).unwrap();
        whole.set("description", None::<&str>).unwrap();
        assert_eq!((whole.get("title"), whole.get("description")), (json!("other"), Value::Null));
        let part = read(r#" {"nodes": {"a": 1, "a": 2}}"#, "definition").unwrap();
        assert_eq!(
            serde_json::to_string(&part).unwrap(),
            r#"{"definition":{"nodes": {"a": 1, "a": 2}}}"#,
            "nothing that was written is lost"
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_place() {
        let error = read("{\n  \"a\": 1,,\n}", "definition").unwrap_err().to_string();
        assert!(error.contains("file.json: ") && error.contains("line 2 column"), "{error}");
        assert!(read("[1]", "definition").unwrap_err().to_string().ends_with("a JSON object is expected"));
        let missing = Body::read(Path::new("/nowhere/at all.json"), "definition").unwrap_err().to_string();
        assert!(missing.starts_with("/nowhere/at all.json: "), "{missing}");
    }

    #[test]
    fn findings_are_told_one_a_line() {
        let answer = json!({
            "is_valid": false, "errors": [{"name": "UNKNOWN_NODE", "description": "definition.nodes.a: there is no b"}],
            "warnings": [{"name": "UNMATCHED_FILTER", "description": "w"}],
        });
        assert_eq!(
            tell(&answer, "the recipe type").unwrap_err().to_string(),
            "the recipe type is not valid; nothing was changed\n\
             error: UNKNOWN_NODE definition.nodes.a: there is no b\nwarning: UNMATCHED_FILTER w"
        );
        assert!(tell(&json!({"is_valid": true, "errors": [], "warnings": []}), "").is_ok());
    }
}
