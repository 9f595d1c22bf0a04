//! Rows of files as members of a dataset: the types are those of the dataset's parameters.

use millrace_common::model::recipe::{
    Data, DataValue, DatasetDefinition, JsonType, ParameterKind, Place as Within,
};
use millrace_table::{Cell, Place, Reader, Record, TableError};
use serde_json::{Number, Value};

use super::members::Member;

/// Lists and objects of a value, one in another. Readers of JSON give up at 127, and what is stored has others around it.
const DEPTH: usize = 100;

/// Reads a file row by row and hands each member on, until `take` says that nobody wants more.
pub(super) fn read(
    mut reader: Reader,
    definition: &DatasetDefinition,
    mut take: impl FnMut(Member) -> bool,
) -> Result<(), TableError> {
    while let Some(record) = reader.next_record()? {
        let member = member_of(&record, definition)?;
        if !take(member) {
            return Err(TableError::Stopped);
        }
    }
    Ok(())
}

/// The member that a row is. Columns that are no parameters are ignored.
fn member_of(record: &Record, definition: &DatasetDefinition) -> Result<Member, TableError> {
    let place = record.place;
    let mut data = Data::default();
    for (name, cell) in record.columns.iter().zip(&record.cells) {
        let Some(parameter) = definition.parameters.get(name) else { continue };
        let wrong = |text: String| TableError::in_column(place, name, text);
        match (&parameter.kind, cell) {
            (ParameterKind::File { .. }, Cell::Text(cell)) if cell.trim().is_empty() => {}
            (ParameterKind::File { .. }, Cell::Text(cell)) => {
                data.set(name, DataValue::Files(&files_of_text(cell).map_err(wrong)?));
            }
            (_, Cell::Value(Value::Null)) => {}
            (ParameterKind::File { .. }, Cell::Value(value)) => {
                data.set(name, DataValue::Files(&files_of(value).map_err(wrong)?));
            }
            // A text that must be there may be empty; anything else that is empty is not there.
            (ParameterKind::Json(JsonType::String), Cell::Text(cell))
                if !cell.is_empty() || parameter.required =>
            {
                data.set(name, DataValue::Json(&Value::from(cell.as_str())));
            }
            (ParameterKind::Json(_), Cell::Text(cell)) if cell.trim().is_empty() => {}
            (ParameterKind::Json(json_type), Cell::Text(cell)) => {
                data.set(name, DataValue::Json(&typed(cell.trim(), *json_type).map_err(wrong)?));
            }
            // Parquet has neither lists nor objects here, but texts of them; and JSON Lines of it would be no such type.
            (
                ParameterKind::Json(json_type @ (JsonType::Array | JsonType::Object)),
                Cell::Value(Value::String(text)),
            ) if matches!(place, Place::Row(_)) => {
                data.set(name, DataValue::Json(&typed(text.trim(), *json_type).map_err(wrong)?));
            }
            (ParameterKind::Json(JsonType::Integer), Cell::Value(value))
                if matches!(place, Place::Row(_)) =>
            {
                data.set(name, DataValue::Json(&whole(value)));
            }
            (ParameterKind::Json(_), Cell::Value(value)) => {
                shallow(value).map_err(wrong)?;
                data.set(name, DataValue::Json(value));
            }
        }
    }
    if let Some(finding) = data.check(&definition.parameters, Within::root("")).first() {
        let text = format!("{} ({})", finding.text, finding.name);
        return Err(TableError::in_column(place, &finding.place, text));
    }
    Member::of(&data).map_err(|error| TableError::at(place, error.message()))
}

/// Integers with blanks among them are doubles in data frames.
fn whole(value: &Value) -> Value {
    match value.as_f64() {
        #[expect(clippy::cast_possible_truncation, reason = "below 2^53 it is exact")]
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() < 9e15 => {
            Value::from(number as i64)
        }
        _ => value.clone(),
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
            let value = serde_json::from_str(cell).ok().filter(|value| json_type.holds(value));
            if let Some(value) = &value {
                shallow(value)?;
            }
            value
        }
    };
    value.ok_or_else(|| format!("takes {json_type} and is given something else"))
}

/// Refuses a value that could be stored and not be read again.
fn shallow(value: &Value) -> Result<(), String> {
    fn within(value: &Value, depth: usize) -> bool {
        match value {
            Value::Array(items) => depth > 0 && items.iter().all(|item| within(item, depth - 1)),
            Value::Object(map) => depth > 0 && map.values().all(|item| within(item, depth - 1)),
            _ => true,
        }
    }
    let message = || format!("has more than {DEPTH} lists and objects, one in another");
    within(value, DEPTH).then_some(()).ok_or_else(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::io::Cursor;

    use serde_json::json;

    use super::*;
    use millrace_table::{Format, Options, ROW_BYTES, Source};

    fn definition() -> DatasetDefinition {
        let document = json!({"parameters": {
            "files": [{"name": "f", "multiple": true, "required": false}],
            "json": [
                {"name": "i", "type": "integer"}, {"name": "n", "type": "number", "required": false},
                {"name": "s", "type": "string", "required": false}, {"name": "b", "type": "boolean", "required": false},
                {"name": "o", "type": "object", "required": false},
            ],
        }});
        DatasetDefinition::parse(&document, Within::root("definition")).unwrap()
    }

    fn open(text: &str, format: Format) -> Result<Reader, TableError> {
        let source = Source::Stream(Box::new(Cursor::new(text.as_bytes().to_vec())));
        Reader::open(source, format, Options::default())
    }

    fn all(text: &str, format: Format) -> Result<Vec<Value>, String> {
        let mut members = Vec::new();
        let take = |member: Member| {
            members.push(serde_json::from_str(&member.text).unwrap());
            true
        };
        open(text, format)
            .and_then(|reader| read(reader, &definition(), take))
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
    fn values_of_parquet_fit_parameters() {
        let columns = ["i", "n", "s", "o", "f", "other"].map(str::to_owned);
        let cells = json!([3.0, 2, "x", "{\"k\": 1}", null, true]);
        let record = |cells: &Value| Record {
            place: Place::Row(7),
            columns: columns.to_vec().into(),
            cells: cells.as_array().unwrap().iter().cloned().map(Cell::Value).collect(),
        };
        let member = member_of(&record(&cells), &definition()).unwrap();
        let wanted = json!({"files": {}, "json": {"i": 3, "n": 2, "s": "x", "o": {"k": 1}}});
        assert_eq!(serde_json::from_str::<Value>(&member.text).unwrap(), wanted);
        let refused = member_of(&record(&json!([3.5, 2, "x", null, null, null])), &definition()).unwrap_err();
        assert!(refused.to_string().starts_with("row 7, column \"i\": "), "{refused}");
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
    fn a_value_that_could_not_be_read_again_is_refused() {
        let nested = |depth: usize| format!("{{\"k\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        let rows = |depth: usize| {
            let value = nested(depth);
            let cell = value.replace('"', "\"\"");
            [
                all(&format!("i,o\n1,\"{cell}\"\n"), Format::Csv),
                all(&format!("{{\"i\": 1, \"o\": {value}}}"), Format::JsonLines),
            ]
        };
        for read in rows(DEPTH) {
            assert_eq!(read.map(|members| members.len()), Ok(1));
        }
        for read in rows(DEPTH + 1) {
            assert!(
                read.is_err_and(|error| error.contains("column \"o\": has more than 100 lists and objects"))
            );
        }
    }

    #[test]
    fn reading_ends_when_nobody_takes_more() {
        let stopped = read(open("i\n1\n2\n", Format::Csv).unwrap(), &definition(), |_| false);
        assert_eq!(stopped, Err(TableError::Stopped));
    }
}
