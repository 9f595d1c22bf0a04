//! Rows of files as members of a dataset: the types are those of the dataset's parameters.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};

use millrace_common::model::recipe::{Data, DataValue, DatasetDefinition, JsonType, ParameterKind, Place};
use serde_json::{Map, Number, Value};

use super::members::Member;

/// The longest row, in bytes.
pub(super) const ROW_BYTES: usize = 1_048_576;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Comma-separated values with a heading: the names of parameters.
    Csv,
    /// An object on each line, by the names of parameters.
    JsonLines,
}

impl Format {
    /// The format of a name, or of a media type.
    pub(super) fn named(text: &str) -> Option<Self> {
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "csv" | "text/csv" | "application/csv" => Some(Self::Csv),
            "jsonl"
            | "ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/x-ndjson"
            | "application/ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// Why a file was given up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RowError {
    /// A row is wrong; the text begins with the line.
    #[error("line {line}{}: {text}", .column.as_ref().map(|column| format!(", column {column}")).unwrap_or_default())]
    Row {
        /// The line that the row begins on, from 1.
        line: u64,
        /// The column: its name.
        column: Option<String>,
        /// What is wrong.
        text: String,
    },
    /// The file broke off.
    #[error("the file broke off: {0}")]
    Broken(String),
    /// Whoever takes the members takes no more.
    #[error("nobody takes the members")]
    Stopped,
}

impl RowError {
    fn at(line: u64, text: impl Into<String>) -> Self {
        Self::Row { line, column: None, text: text.into() }
    }

    fn in_column(line: u64, column: &str, text: impl Into<String>) -> Self {
        Self::Row { line, column: Some(format!("{column:?}")), text: text.into() }
    }
}

/// Refuses to read on when a row does not end.
struct Bounded<R> {
    inner: R,
    left: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(TooLong));
        }
        let most = buffer.len().min(self.left);
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}

/// A row is longer than [`ROW_BYTES`].
#[derive(Debug, thiserror::Error)]
#[error("a row has more than {} bytes", ROW_BYTES)]
struct TooLong;

/// Reads a file row by row and hands each member on, until `take` says that nobody wants more.
pub(super) fn read(
    file: impl Read,
    format: Format,
    definition: &DatasetDefinition,
    mut take: impl FnMut(Member) -> bool,
) -> Result<(), RowError> {
    let mut take = |data: &Data, line: u64| -> Result<(), RowError> {
        check(data, definition, line)?;
        let member = Member::of(data).map_err(|error| RowError::at(line, error.message()))?;
        if take(member) { Ok(()) } else { Err(RowError::Stopped) }
    };
    match format {
        Format::Csv => read_csv(file, definition, &mut take),
        Format::JsonLines => read_lines(file, definition, &mut take),
    }
}

fn check(data: &Data, definition: &DatasetDefinition, line: u64) -> Result<(), RowError> {
    match data.check(&definition.parameters, Place::root("")).first() {
        None => Ok(()),
        Some(finding) => {
            Err(RowError::in_column(line, &finding.place, format!("{} ({})", finding.text, finding.name)))
        }
    }
}

type Take<'t> = &'t mut dyn FnMut(&Data, u64) -> Result<(), RowError>;

fn read_csv(file: impl Read, definition: &DatasetDefinition, take: Take<'_>) -> Result<(), RowError> {
    let bounded = Bounded { inner: file, left: ROW_BYTES };
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bounded);
    let mut record = csv::StringRecord::new();
    let mut headings: Option<Vec<String>> = None;
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(csv_error(&error, line)),
        }
        // What is in the reader's buffer was counted already.
        reader.get_mut().left = ROW_BYTES;
        let line = record.position().map_or(line, csv::Position::line);
        if record.as_slice().len() > ROW_BYTES {
            return Err(RowError::at(line, TooLong.to_string()));
        }
        let Some(names) = &headings else {
            headings = Some(read_headings(&record, line)?);
            continue;
        };
        if record.len() != names.len() {
            let text = format!("the row has {} values, the heading {}", record.len(), names.len());
            return Err(RowError::at(line, text));
        }
        let mut data = Data::default();
        for (name, cell) in names.iter().zip(&record) {
            let Some(parameter) = definition.parameters.get(name) else { continue };
            let wrong = |text: String| RowError::in_column(line, name, text);
            match &parameter.kind {
                ParameterKind::File { .. } if cell.trim().is_empty() => {}
                ParameterKind::File { .. } => {
                    data.set(name, DataValue::Files(&files_of_text(cell).map_err(wrong)?))
                }
                // A text that must be there may be empty; anything else that is empty is not there.
                ParameterKind::Json(JsonType::String) if !cell.is_empty() || parameter.required => {
                    data.set(name, DataValue::Json(&Value::from(cell)));
                }
                ParameterKind::Json(_) if cell.trim().is_empty() => {}
                ParameterKind::Json(json_type) => {
                    data.set(name, DataValue::Json(&typed(cell.trim(), *json_type).map_err(wrong)?));
                }
            }
        }
        take(&data, line)?;
    }
    if headings.is_none() {
        return Err(RowError::at(1, "the file has no heading"));
    }
    Ok(())
}

fn read_headings(record: &csv::StringRecord, line: u64) -> Result<Vec<String>, RowError> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::with_capacity(record.len());
    for name in record {
        let name = name.trim_start_matches('\u{feff}').trim();
        if !seen.insert(name) {
            return Err(RowError::in_column(line, name, "the heading stands twice"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

fn csv_error(error: &csv::Error, line: u64) -> RowError {
    match error.kind() {
        csv::ErrorKind::Io(cause) if cause.get_ref().is_some_and(|cause| cause.is::<TooLong>()) => {
            RowError::at(line, TooLong.to_string())
        }
        csv::ErrorKind::Io(cause) => RowError::Broken(cause.to_string()),
        csv::ErrorKind::Utf8 { pos, .. } => {
            RowError::at(pos.as_ref().map_or(line, csv::Position::line), "the row is not UTF-8")
        }
        _ => RowError::at(line, error.to_string()),
    }
}

/// The ids of files in a cell: one integer, or a JSON list of them.
fn files_of_text(cell: &str) -> Result<Vec<i64>, String> {
    let value = serde_json::from_str(cell.trim()).unwrap_or(Value::Null);
    files_of(&value)
}

fn files_of(value: &Value) -> Result<Vec<i64>, String> {
    let ids = match value {
        Value::Array(list) => list.iter().map(Value::as_i64).collect(),
        other => other.as_i64().map(|id| vec![id]),
    };
    ids.ok_or_else(|| "takes the id of a file, or a list of them".to_owned())
}

/// A cell as a value of a type.
fn typed(cell: &str, json_type: JsonType) -> Result<Value, String> {
    let value = match json_type {
        JsonType::String => Some(Value::from(cell)),
        JsonType::Integer => cell.parse::<i64>().ok().map(Value::from),
        JsonType::Number => {
            let whole = cell.parse::<i64>().ok().map(Value::from);
            whole.or_else(|| cell.parse().ok().and_then(Number::from_f64).map(Value::Number))
        }
        JsonType::Boolean => crate::v6::http::flag(cell).map(Value::Bool),
        JsonType::Array | JsonType::Object => {
            serde_json::from_str(cell).ok().filter(|value| json_type.holds(value))
        }
    };
    value.ok_or_else(|| format!("takes {json_type} and is given something else"))
}

fn read_lines(file: impl Read, definition: &DatasetDefinition, take: Take<'_>) -> Result<(), RowError> {
    let mut reader = BufReader::new(file);
    let mut text = Vec::new();
    let mut line = 0;
    loop {
        text.clear();
        line += 1;
        let most = ROW_BYTES as u64 + 1;
        let read = reader.by_ref().take(most).read_until(b'\n', &mut text);
        match read {
            Ok(0) => return Ok(()),
            Ok(read) if read > ROW_BYTES => return Err(RowError::at(line, TooLong.to_string())),
            Ok(_) => {}
            Err(error) => return Err(RowError::Broken(error.to_string())),
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let row: Map<String, Value> = serde_json::from_slice(&text)
            .map_err(|error| RowError::at(line, format!("is no JSON object: {error}")))?;
        let mut data = Data::default();
        for (name, value) in &row {
            let Some(parameter) = definition.parameters.get(name) else { continue };
            match &parameter.kind {
                _ if value.is_null() => {}
                ParameterKind::File { .. } => {
                    let ids = files_of(value).map_err(|text| RowError::in_column(line, name, text))?;
                    data.set(name, DataValue::Files(&ids));
                }
                ParameterKind::Json(_) => data.set(name, DataValue::Json(value)),
            }
        }
        take(&data, line)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn definition() -> DatasetDefinition {
        let document = json!({"parameters": {
            "files": [{"name": "f", "multiple": true, "required": false}],
            "json": [
                {"name": "i", "type": "integer"}, {"name": "n", "type": "number", "required": false},
                {"name": "s", "type": "string", "required": false}, {"name": "b", "type": "boolean", "required": false},
                {"name": "o", "type": "object", "required": false},
            ],
        }});
        DatasetDefinition::parse(&document, Place::root("definition")).unwrap()
    }

    fn all(text: &str, format: Format) -> Result<Vec<Value>, String> {
        let mut members = Vec::new();
        let take = |member: Member| {
            members.push(serde_json::from_str(&member.text).unwrap());
            true
        };
        read(text.as_bytes(), format, &definition(), take)
            .map(|()| members)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn cells_get_the_types_of_parameters() {
        let csv = "\u{feff}i,n,s,b,o,f,other\r\n1,2.5,a b,true,\"{\"\"k\"\": 1}\",\"[3, 4]\",x\r\n-2,7,,F,,5,\r\n3,,,,,,\r\n";
        let wanted = [
            json!({"files": {"f": [3, 4]}, "json": {"i": 1, "n": 2.5, "s": "a b", "b": true, "o": {"k": 1}}}),
            json!({"files": {"f": [5]}, "json": {"i": -2, "n": 7, "b": false}}),
            json!({"files": {}, "json": {"i": 3}}),
        ];
        assert_eq!(all(csv, Format::Csv).unwrap(), wanted);
        let lines = "{\"i\": 1, \"n\": 2.5, \"s\": \"a b\", \"b\": true, \"o\": {\"k\": 1}, \"f\": [3, 4], \"other\": 1}\n\n\
            {\"i\": -2, \"n\": 7, \"b\": false, \"f\": 5, \"s\": null}\n{\"i\": 3}";
        assert_eq!(all(lines, Format::JsonLines).unwrap(), wanted);
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_column() {
        for (text, start) in [
            ("", "line 1: the file has no heading"),
            ("i,i\n", "line 1, column \"i\": the heading stands twice"),
            ("i\n1\nx\n", "line 3, column \"i\": takes integer"),
            ("i\n1\n1.5\n", "line 3, column \"i\": takes integer"),
            ("s\na\n", "line 2, column \"i\": is required (PARAM_REQUIRED)"),
            ("i,n\n1\n", "line 2: the row has 1 values, the heading 2"),
            ("i,s\n1,\"a\nb\"\n2,c\nx,d\n", "line 5, column \"i\""),
            ("i,n\n1,NaN\n", "line 2, column \"n\": takes number"),
            ("i,f\n1,x\n", "line 2, column \"f\": takes the id of a file"),
        ] {
            let error = all(text, Format::Csv).unwrap_err();
            assert!(error.starts_with(start), "{error}");
        }
        for (text, start) in [
            ("{\"i\": 1}\n[1]\n", "line 2: is no JSON object"),
            ("{\"i\": 1}\n{\"i\": \"1\"}\n", "line 2, column"),
            ("{\"i\": 1}\n{", "line 2: is no JSON object"),
        ] {
            let error = all(text, Format::JsonLines).unwrap_err();
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn a_row_without_end_is_refused() {
        let long = "x".repeat(ROW_BYTES + 10);
        for (text, format) in [
            (format!("i,s\n1,\"{long}"), Format::Csv),
            (format!("{{\"i\": 1}}\n{{\"s\": \"{long}"), Format::JsonLines),
        ] {
            let refused = all(&text, format).is_err_and(|error| error.contains("a row has more than"));
            assert!(refused, "{format:?}");
        }
        // Many rows may be longer than one together.
        let many = format!("i,s\n{}", "1,abcdefghij\n".repeat(200_000));
        assert_eq!(all(&many, Format::Csv).unwrap().len(), 200_000);
    }

    #[test]
    fn reading_ends_when_nobody_takes_more() {
        let stopped = read("i\n1\n2\n".as_bytes(), Format::Csv, &definition(), |_| false);
        assert_eq!(stopped, Err(RowError::Stopped));
    }
}
