//! The result of one chunk as rows of text.

use std::borrow::Cow;

use millrace_table::{Encoder, Format, text_of};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::client::ChunkResult;
use super::super::error::CliError;

/// A record that has no good result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its number in the table, from 1.
    pub record: u64,
    /// Its key cells, as far as they are known.
    pub key: Vec<String>,
    /// Why.
    pub message: String,
}

/// The result of one chunk, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// Its place in the table.
    pub chunk: u64,
    /// Names of the output's columns; none when the chunk failed.
    pub columns: Option<Vec<String>>,
    /// The records' rows, encoded.
    pub encoded: Vec<u8>,
    /// Number of records.
    pub records: u64,
    /// Records that failed.
    pub failures: Vec<Failure>,
    /// Records with a warning, and the first one's text.
    pub warned: u64,
    /// The first warning.
    pub first_warning: Option<String>,
    /// Whether the whole chunk failed.
    pub chunk_failed: bool,
}

/// How results become rows.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Records in each chunk but the last.
    pub chunk_records: u32,
    /// Number of key columns, which come first.
    pub keys: usize,
    /// Between cells of CSV.
    pub delimiter: u8,
    /// How rows are encoded: CSV, or JSON Lines for the others. Failures are always listed as CSV.
    pub format: Format,
}

impl Layout {
    /// Encodes cells as one line.
    pub fn encode<'a>(&self, out: &mut Vec<u8>, cells: impl IntoIterator<Item = Cow<'a, str>>) {
        let mut writer = csv::WriterBuilder::new().delimiter(self.delimiter).from_writer(&mut *out);
        // Writing into memory cannot fail.
        let cells: Vec<Cow<'a, str>> = cells.into_iter().collect();
        let _ = writer.write_record(cells.iter().map(|cell| cell.as_bytes()));
    }

    /// The part of a list of failed records, heading included, that is about chunks for which `is_kept` holds.
    pub fn kept_failures(&self, list: &[u8], is_kept: impl Fn(u64) -> bool) -> Vec<u8> {
        let mut kept = Vec::new();
        let rows = csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(list)
            .into_records();
        for (number, row) in rows.map_while(Result::ok).enumerate() {
            let chunk = row.get(1).and_then(|chunk| chunk.parse().ok());
            if number == 0 || chunk.is_some_and(&is_kept) {
                self.encode(&mut kept, row.iter().map(Cow::Borrowed));
            }
        }
        kept
    }

    /// Turns a result into rows.
    pub fn rows(&self, result: &ChunkResult<'_>) -> Result<Rows, CliError> {
        let refused = |text: String| CliError::Failed(format!("the result of chunk {:?} {text}", result.id));
        let chunk: u64 = result
            .id
            .parse()
            .map_err(|_| refused("belongs to another program: use a batch for one run only".to_owned()))?;
        let first = chunk * u64::from(self.chunk_records) + 1;
        if result.status.as_deref() == Some("failed") {
            return Ok(self.failed_chunk(chunk, first, result));
        }
        let mut rows = result.outputs.iter();
        let columns: Vec<String> = match rows.next() {
            Some(heading) => heading.iter().map(|name| cell(name).into_owned()).collect(),
            None => return Err(refused("has no heading".to_owned())),
        };
        let mut encoded = Vec::with_capacity(result.outputs.len() * 16);
        let names = columns.iter().cloned().collect();
        let encoder = match self.format {
            Format::Csv => Encoder::csv(names, self.delimiter),
            Format::JsonLines | Format::Parquet => Encoder::json_lines(names),
        };
        for (number, row) in rows.enumerate() {
            if row.len() != columns.len() {
                return Err(refused(format!(
                    "has {} cells in row {}, but {} columns",
                    row.len(),
                    number + 1,
                    columns.len()
                )));
            }
            encoder.record(&mut encoded, row.iter().map(|value| value.get()));
        }
        let records = result.outputs.len() as u64 - 1;

        let mut failures = Vec::new();
        for (index, error) in result.errors.iter().flatten().enumerate() {
            if let Some(message) = first_message(error) {
                let row = result.outputs.get(index + 1).map(Vec::as_slice).unwrap_or_default();
                let key = row.iter().take(self.keys).map(|value| cell(value).into_owned()).collect();
                failures.push(Failure { record: first + index as u64, key, message });
            }
        }
        let mut warned = 0;
        let mut first_warning = None;
        for (index, warning) in result.warnings.iter().flatten().enumerate() {
            if let Some(message) = first_message(warning) {
                warned += 1;
                first_warning.get_or_insert_with(|| format!("record {}: {message}", first + index as u64));
            }
        }
        Ok(Rows {
            chunk,
            columns: Some(columns),
            encoded,
            records,
            failures,
            warned,
            first_warning,
            chunk_failed: false,
        })
    }

    /// A failed chunk has no rows; each of its records failed for the chunk's reason.
    fn failed_chunk(&self, chunk: u64, first: u64, result: &ChunkResult<'_>) -> Rows {
        let records = result.size.unwrap_or(u64::from(self.chunk_records));
        let message = result
            .errors
            .iter()
            .flatten()
            .find_map(first_message)
            .unwrap_or_else(|| "the chunk failed; the server gave no reason".to_owned());
        let failures = (0..records)
            .map(|index| Failure { record: first + index, key: Vec::new(), message: message.clone() })
            .collect();
        Rows {
            chunk,
            columns: None,
            encoded: Vec::new(),
            records,
            failures,
            warned: 0,
            first_warning: None,
            chunk_failed: true,
        }
    }
}

/// The text of a cell.
fn cell(value: &RawValue) -> Cow<'_, str> {
    text_of(value.get())
}

/// The first message of an entry of `errors` or `warnings`: `null`, a text, an object, or a list of those.
fn first_message(entry: &Value) -> Option<String> {
    match entry {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(entries) => entries.iter().find_map(first_message),
        other => Some(match other["message"].as_str() {
            Some(message) => message.to_owned(),
            None => other.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn rows(json: &str) -> Result<Rows, CliError> {
        let layout = Layout { chunk_records: 10, keys: 1, delimiter: b',', format: Format::Csv };
        layout.rows(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn values_are_written_as_the_server_wrote_them() {
        let rows = rows(
            r##"{"id":"00000003","outputs":[["id","total"],["007",1430.0],[1.10,"#DIV/0!"],[null,true],["a,\"b",[{"x":1}]]],
                "warnings":[null,[{"message":"total is an error"}],null,null],"errors":[null,null,null,null],"process_time":[1,1,1,1],"status":"completed"}"##,
        )
        .unwrap();
        assert_eq!(
            String::from_utf8(rows.encoded).unwrap(),
            "007,1430.0\n1.10,#DIV/0!\n,true\n\"a,\"\"b\",\"[{\"\"x\"\":1}]\"\n"
        );
        assert_eq!((rows.chunk, rows.records, rows.warned, rows.failures.len()), (3, 4, 1, 0));
        assert_eq!(rows.first_warning.unwrap(), "record 32: total is an error");
    }

    #[test]
    fn failed_records_are_named_with_key_and_reason() {
        let rows = rows(
            r#"{"id":"00000000","outputs":[["id","total"],["a",1],["b",null]],"errors":[null,[{"message":"too deep","error_type":"x"}]]}"#,
        )
        .unwrap();
        let failure = Failure { record: 2, key: vec!["b".to_owned()], message: "too deep".to_owned() };
        assert_eq!(rows.failures, [failure]);
        assert!(!rows.chunk_failed);
    }

    #[test]
    fn a_failed_chunk_fails_each_of_its_records() {
        for (json, records) in [
            (
                r#"{"id":"00000001","outputs":[],"warnings":[],"errors":[{"message":"no key"}],"status":"failed","size":2}"#,
                2,
            ),
            (r#"{"id":"00000001","outputs":[],"warnings":null,"errors":["no key"],"status":"failed"}"#, 10),
        ] {
            let rows = rows(json).unwrap();
            assert!(rows.chunk_failed && rows.encoded.is_empty() && rows.columns.is_none());
            assert_eq!((rows.records, rows.failures.len() as u64), (records, records));
            assert_eq!((rows.failures[0].record, rows.failures[0].message.as_str()), (11, "no key"));
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_chunk_named() {
        for json in [
            r#"{"id":"mine","outputs":[["a"]]}"#,
            r#"{"id":"00000000","outputs":[]}"#,
            r#"{"id":"00000000","outputs":[["a"],[1,2]]}"#,
        ] {
            assert!(rows(json).unwrap_err().to_string().contains("the result of chunk"), "{json}");
        }
    }
}
