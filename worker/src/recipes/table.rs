//! Inputs of jobs as a chunk, and its result as outputs of jobs (contract 12).

use std::collections::BTreeSet;
use std::sync::Arc;

use millrace_calc::chunk::ChunkResult;
use millrace_common::model::recipe::{Data, JsonType, Manifest, ParameterKind};
use millrace_common::store::recipes::JobOutcome;
use serde_json::{Map, Value};

/// Texts that stand for error values.
const ERRORS: [&str; 9] =
    ["#NULL!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#N/A", "#SPILL!", "#CALC!"];

/// Whole numbers below this are the same as integers and as floats.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The data of a chunk with one record for each input: a table where all inputs give the same values, else objects.
pub fn write(inputs: &[&Data]) -> Vec<u8> {
    let names: BTreeSet<&String> = inputs.iter().flat_map(|input| input.json.keys()).collect();
    let mut out = Vec::with_capacity(64 + inputs.len() * 32);
    out.extend_from_slice(b"{\"inputs\":[");
    let is_table = !names.is_empty() && inputs.iter().all(|input| input.json.len() == names.len());
    if is_table {
        push(&names, &mut out);
    }
    for (at, input) in inputs.iter().enumerate() {
        if is_table || at > 0 {
            out.push(b',');
        }
        if is_table {
            out.push(b'[');
            for (at, value) in input.json.values().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push(value, &mut out);
            }
            out.push(b']');
        } else {
            push(&input.json, &mut out);
        }
    }
    out.extend_from_slice(b"],\"parameters\":{}}");
    out
}

fn push(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing JSON values into memory cannot fail.
    let _ = serde_json::to_writer(out, value);
}

/// What each of `jobs` records gave; none when the result is no table.
pub fn read(result: &ChunkResult, manifest: &Manifest, jobs: usize) -> Option<Vec<JobOutcome>> {
    let rows: Vec<Value> = serde_json::from_slice(&result.outputs).ok()?;
    let refused: BTreeSet<usize> = result.failed.iter().map(|record| *record as usize).collect();
    let errors: Vec<Value> =
        if refused.is_empty() { Vec::new() } else { serde_json::from_slice(&result.errors).ok()? };
    let (names, rows) = match rows.split_first() {
        Some((Value::Array(names), rows)) => (
            Some(names.iter().map(|name| name.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()),
            rows,
        ),
        _ => (None, rows.as_slice()),
    };
    if rows.len() != jobs {
        return None;
    }
    let outputs: Vec<Wanted<'_>> = wanted(manifest, names.as_deref());
    let outcomes = rows.iter().enumerate().map(|(at, row)| {
        if refused.contains(&at) {
            let detail = errors.get(at).map_or_else(String::new, said);
            return JobOutcome::Failed { error: "record", detail, retryable: false };
        }
        match output(&outputs, row) {
            Ok(data) => JobOutcome::Completed(Arc::new(data)),
            Err((error, detail)) => JobOutcome::Failed { error, detail, retryable: false },
        }
    });
    Some(outcomes.collect())
}

/// What a record's errors say, in short.
fn said(errors: &Value) -> String {
    let items = errors.as_array().map_or(std::slice::from_ref(errors), Vec::as_slice);
    let texts: Vec<&str> = items
        .iter()
        .filter_map(|error| error.get("message").or_else(|| error.get("reason")).and_then(Value::as_str))
        .collect();
    if texts.is_empty() { "the calculation refused the input".to_owned() } else { texts.join("; ") }
}

/// An output that the manifest declares.
struct Wanted<'a> {
    name: &'a str,
    key: &'a str,
    json_type: JsonType,
    required: bool,
    column: Option<usize>,
}

fn wanted<'a>(manifest: &'a Manifest, names: Option<&[String]>) -> Vec<Wanted<'a>> {
    let outputs = manifest.outputs.parameters.iter();
    outputs
        .filter_map(|(name, parameter)| {
            let ParameterKind::Json(json_type) = &parameter.kind else { return None };
            let key = manifest.output_keys.get(name).map_or(name.as_str(), String::as_str);
            let column = |wanted: &str| {
                names.and_then(|names| names.iter().position(|name| name.eq_ignore_ascii_case(wanted)))
            };
            Some(Wanted {
                name,
                key,
                json_type: *json_type,
                required: parameter.required,
                column: column(key).or_else(|| column(name)),
            })
        })
        .collect()
}

fn output(outputs: &[Wanted<'_>], row: &Value) -> Result<Data, (&'static str, String)> {
    let mut data = Data::default();
    for wanted in outputs {
        let value = match row {
            Value::Array(row) => wanted.column.and_then(|column| row.get(column)),
            Value::Object(row) => find(row, wanted.key).or_else(|| find(row, wanted.name)),
            _ => None,
        };
        let name = wanted.name;
        let value = match value {
            None | Some(Value::Null) => {
                if wanted.required {
                    return Err(("missing-output", format!("the output `{name}` is missing")));
                }
                continue;
            }
            Some(Value::String(text)) if ERRORS.contains(&text.as_str()) => {
                if wanted.required {
                    return Err(("output-error", format!("the output `{name}` is {text}")));
                }
                continue;
            }
            Some(value) => whole(value),
        };
        if wanted.json_type.holds(&value) {
            data.json.insert(name.to_owned(), value);
        } else if wanted.required {
            let json_type = wanted.json_type;
            return Err(("missing-output", format!("the output `{name}` is not of the type {json_type}")));
        }
    }
    Ok(data)
}

fn find<'a>(row: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    row.get(name)
        .or_else(|| row.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// A whole number is an integer, however it is spelled.
#[expect(clippy::cast_possible_truncation, reason = "only whole numbers below 2^53 are cast, which fit")]
fn whole(value: &Value) -> Value {
    match value.as_f64() {
        Some(float) if value.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            Value::from(float as i64)
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn data(json: Value) -> Data {
        serde_json::from_value(json!({ "json": json })).unwrap()
    }

    #[test]
    fn inputs_are_a_table_where_they_can_be() {
        let (one, two, three) =
            (data(json!({"a": 1, "b": "x"})), data(json!({"a": 2, "b": null})), data(json!({"a": 3})));
        let written =
            |inputs: &[&Data]| serde_json::from_slice::<Value>(&write(inputs)).unwrap()["inputs"].clone();
        assert_eq!(written(&[&one, &two]), json!([["a", "b"], [1, "x"], [2, null]]));
        assert_eq!(written(&[&one, &three]), json!([{"a": 1, "b": "x"}, {"a": 3}]));
    }
}
