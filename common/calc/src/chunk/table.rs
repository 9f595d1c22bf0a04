//! Values of table inputs: a list of objects, or a JSON array with the headings first (contract 2.1).

use serde_json::Value as Json;

use super::layout::InputSlot;
use crate::interface::DataType;
use crate::value::{ErrorValue, Value, text_to_number};
use crate::workbook::sheet::iso_serial;

/// The cells of a table's body, row-major.
pub(crate) struct TableValues {
    pub cells: Vec<Value>,
    /// Whether rows were left out because the table is smaller.
    pub truncated: bool,
}

/// Reads a table's value; `null` and `[]` empty it. Rows that are not given are blank.
///
/// # Errors
/// A text for the caller: no table at all, or headings that the table does not have.
pub(crate) fn read(raw: &[u8], slot: &InputSlot) -> Result<TableValues, String> {
    let json: Json = serde_json::from_slice(raw).map_err(|error| error.to_string())?;
    let mut table = TableValues { cells: vec![Value::Blank; slot.width * slot.height], truncated: false };
    let rows = match json {
        Json::Null => return Ok(table),
        Json::Array(rows) => rows,
        _ => return Err("a table is a list of objects, or a list of rows with the headings first".to_owned()),
    };
    let place = |heading: &str| {
        let folded = heading.trim().to_lowercase();
        slot.headings.iter().position(|known| *known == folded).ok_or_else(|| {
            let known = slot.headings.join(", ");
            format!("the table has no column {heading:?}; its columns are {known}")
        })
    };
    let mut rows = rows.into_iter();
    let mut columns: Option<Vec<usize>> = None;
    if let Some(Json::Array(first)) = rows.as_slice().first() {
        let headings = first.iter().map(|heading| match heading {
            Json::String(heading) => place(heading),
            Json::Number(heading) => place(&heading.to_string()),
            _ => Err("the first row of a table holds its headings, as text".to_owned()),
        });
        columns = Some(headings.collect::<Result<_, _>>()?);
        rows.next();
    }
    for (index, row) in rows.enumerate() {
        if index >= slot.height {
            table.truncated = true;
            break;
        }
        let cells = table.cells.iter_mut().skip(index * slot.width).take(slot.width);
        let mut cells: Vec<&mut Value> = cells.collect();
        let mut set = |column: usize, value: Json| {
            if let Some(cell) = cells.get_mut(column) {
                **cell = scalar(value);
            }
        };
        match (row, &columns) {
            (Json::Array(values), Some(columns)) => {
                for (column, value) in columns.iter().zip(values) {
                    set(*column, value);
                }
            }
            (Json::Object(pairs), None) => {
                for (heading, value) in pairs {
                    set(place(&heading)?, value);
                }
            }
            (Json::Null, _) => {}
            _ => return Err(format!("row {index} of the table has another form than the first")),
        }
    }
    Ok(table)
}

/// A table of `#VALUE!`, for a value that cannot be read.
pub(crate) fn refused(slot: &InputSlot) -> TableValues {
    TableValues { cells: vec![Value::Error(ErrorValue::Value); slot.width * slot.height], truncated: false }
}

fn scalar(value: Json) -> Value {
    match value {
        Json::Null => Value::Blank,
        Json::Bool(boolean) => Value::Boolean(boolean),
        Json::Number(number) => {
            number.as_f64().map_or(Value::Error(ErrorValue::Num), |number| Value::Number(number + 0.0))
        }
        Json::String(text) => text.into(),
        Json::Array(_) | Json::Object(_) => Value::Error(ErrorValue::Value),
    }
}

/// Text given to an input with a declared type (formula documents): what it stands for, or `None` to leave it text.
pub(crate) fn declared(text: &str, declared: DataType) -> Option<Value> {
    let trimmed = text.trim();
    match declared {
        DataType::Number | DataType::Integer => text_to_number(trimmed).map(Value::Number),
        DataType::Date => iso_serial(trimmed).or_else(|| text_to_number(trimmed)).map(Value::Number),
        DataType::Boolean if trimmed.eq_ignore_ascii_case("true") => Some(Value::Boolean(true)),
        DataType::Boolean if trimmed.eq_ignore_ascii_case("false") => Some(Value::Boolean(false)),
        _ => None,
    }
}
