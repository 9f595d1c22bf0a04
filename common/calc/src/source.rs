//! What the two readers hand over: a book, and which of its cells are inputs and outputs.

use serde_json::{Map, Value as Json};

use crate::book::{Book, Range};
use crate::interface::{DataType, Place, Properties, Validation};
use crate::value::Value;

/// A service as read, before it is compiled.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub book: Book,
    pub inputs: Vec<SourceField>,
    pub outputs: Vec<SourceField>,
    /// Cells that give messages about the inputs.
    pub checks: Vec<Check>,
    pub properties: Properties,
    pub warnings: Vec<String>,
    /// Formulas of the whole book.
    pub formulas: u32,
    /// Cells that stand for a refused construct, with its name, sorted out when the compiler meets them.
    pub refused: Vec<(Range, &'static str)>,
}

/// A cell marked by `Xvalidate_<name>`.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// The name after the prefix: the input that the message is about, as a rule.
    pub name: String,
    pub cell: Range,
}

/// An input or output of a [`Source`].
#[derive(Debug, Clone)]
pub(crate) struct SourceField {
    pub place: Place,
    /// The cells that carry values: a table's body without its heading row.
    pub cells: Range,
    /// The declared type (formula documents only).
    pub declared: Option<DataType>,
    pub validation: Option<Validation>,
    /// The default as written, where the cell holds something else (dates of formula documents).
    pub shown: Option<Json>,
}

impl SourceField {
    /// Whether the field is a table.
    pub(crate) fn is_table(&self) -> bool {
        !self.place.headings.is_empty() || !self.cells.is_cell()
    }
}

/// A value as JSON; error values as their text.
pub(crate) fn value_json(value: &Value) -> Json {
    match value {
        Value::Blank => Json::Null,
        Value::Number(number) => serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::Text(text) => Json::String(text.to_string()),
        Value::Boolean(boolean) => Json::Bool(*boolean),
        Value::Error(error) => Json::String(error.as_str().to_owned()),
    }
}

/// The values of a table's body as a list of objects, or of lists when there are no headings.
pub(crate) fn table_json(values: &[Value], headings: &[String], columns: usize) -> Json {
    let rows = values.chunks(columns.max(1)).map(|row| {
        if headings.is_empty() {
            Json::Array(row.iter().map(value_json).collect())
        } else {
            let pairs = headings.iter().zip(row).map(|(heading, value)| (heading.clone(), value_json(value)));
            Json::Object(pairs.collect::<Map<_, _>>())
        }
    });
    Json::Array(rows.collect())
}

/// The kind of value that a single cell was saved with.
pub(crate) const fn data_type(value: &Value) -> DataType {
    match value {
        Value::Text(_) => DataType::Text,
        Value::Boolean(_) => DataType::Boolean,
        Value::Blank | Value::Number(_) | Value::Error(_) => DataType::Number,
    }
}
