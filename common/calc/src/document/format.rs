//! The format of formula documents as data: which keys there are, what they hold. The reader refuses keys that are not listed
//! here, and the JSON Schema for editors is made from the same lists.

use serde_json::{Map, Value as Json, json};

use super::FORMAT;
use crate::interface::DataType;

/// A key of an object.
pub(super) struct Key {
    pub name: &'static str,
    required: bool,
    about: &'static str,
    schema: fn() -> Json,
}

const fn key(name: &'static str, about: &'static str, schema: fn() -> Json) -> Key {
    Key { name, required: false, about, schema }
}

const fn required(name: &'static str, about: &'static str, schema: fn() -> Json) -> Key {
    Key { name, required: true, about, schema }
}

/// Types of inputs: as written, and what they mean.
pub(super) const TYPES: [(&str, DataType); 5] = [
    ("number", DataType::Number),
    ("integer", DataType::Integer),
    ("text", DataType::Text),
    ("boolean", DataType::Boolean),
    ("date", DataType::Date),
];

/// The document itself.
pub(super) const DOCUMENT: &[Key] = &[
    key("$schema", "Where editors find the schema of this format; ignored.", text),
    key("millrace", "The version of the format.", || json!({"const": FORMAT})),
    key("name", "What the calculation is called.", text),
    key("description", "What it computes.", text),
    key("inputs", "What a record gives.", || list_of("input")),
    key("tables", "Constant tables to look things up in.", || list_of("table")),
    key("formulas", "Intermediate results, computed when an output needs them.", || list_of("formula")),
    required(
        "outputs",
        "What is computed, in the order of the result's columns.",
        || json!({"type": "array", "items": {"$ref": "#/$defs/output"}, "minItems": 1}),
    ),
];

/// An entry of `inputs`.
pub(super) const INPUT: &[Key] = &[
    required("name", "The name that records and formulas use.", name),
    required(
        "type",
        "How text is read, and which values are allowed.",
        || json!({"enum": TYPES.map(|(name, _)| name)}),
    ),
    key("default", "The value used when a record gives none; without it the input is blank.", any),
    key("minimum", "The least value allowed, for numbers, integers and dates.", any),
    key("maximum", "The greatest value allowed, for numbers, integers and dates.", any),
    key(
        "maximum_length",
        "The most characters allowed, for text.",
        || json!({"type": "integer", "minimum": 1, "maximum": 32_767}),
    ),
    key("options", "All values that are allowed.", || json!({"type": "array"})),
    key("error", "What a caller is told about a value that is not allowed.", text),
    key("description", "What the input means.", text),
];

/// An entry of `tables`.
pub(super) const TABLE: &[Key] = &[
    required("name", "The name that formulas use.", name),
    required("columns", "Headings, each one once.", || {
        let heading = json!({"type": "string", "pattern": "\\S"});
        json!({"type": "array", "items": heading, "minItems": 1, "maxItems": 16_384, "uniqueItems": true})
    }),
    required("rows", "Rows of values, each as long as `columns`.", || {
        let value = json!({"type": ["number", "string", "boolean", "null"]});
        json!({"type": "array", "items": {"type": "array", "items": value}, "minItems": 1})
    }),
    key("description", "What the table holds.", text),
];

/// An entry of `formulas`.
pub(super) const FORMULA: &[Key] = &[
    required("name", "The name that other formulas use.", name),
    required("formula", "An Excel formula over names, with or without `=`.", formula),
    key("description", "What it computes.", text),
];

/// An entry of `outputs`.
pub(super) const OUTPUT: &[Key] = &[
    required("name", "The name of the result's column; other formulas may use it.", name),
    required("formula", "An Excel formula over names, with or without `=`.", formula),
    key("description", "What it means.", text),
];

fn any() -> Json {
    json!({})
}

fn text() -> Json {
    json!({"type": "string"})
}

fn name() -> Json {
    json!({
        "type": "string",
        // Letters beyond ASCII as a range: not every regular expression of a validator knows `\p{L}`.
        "pattern": r"^[A-Za-z_\u0080-\uFFFF][A-Za-z0-9_\u0080-\uFFFF]*$",
        "maxLength": 255,
        "not": {"pattern": "^([A-Za-z]{1,2}[0-9]{1,6}|[Rr][0-9]*|[Cc][0-9]*|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"},
    })
}

fn formula() -> Json {
    json!({"type": "string", "pattern": "[^\\s=]", "maxLength": 8_194})
}

fn list_of(definition: &str) -> Json {
    json!({"type": "array", "items": {"$ref": format!("#/$defs/{definition}")}})
}

/// The schema of an object with these keys. A key that may be left out may also be `null`.
fn object(keys: &[Key]) -> Map<String, Json> {
    let mut properties = Map::new();
    for key in keys {
        let mut schema = (key.schema)();
        if !key.required && schema.as_object().is_some_and(|schema| !schema.is_empty()) {
            schema = json!({"anyOf": [schema, {"type": "null"}]});
        }
        schema["description"] = json!(key.about);
        properties.insert(key.name.to_owned(), schema);
    }
    let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("properties".to_owned(), Json::Object(properties));
    object.insert("required".to_owned(), json!(required));
    object.insert("additionalProperties".to_owned(), json!(false));
    object
}

/// What the declared type asks of the values of an input.
fn by_type() -> Json {
    let rules = TYPES.map(|(name, kind)| {
        let value = match kind {
            DataType::Number => json!({"type": ["number", "null"]}),
            DataType::Integer => json!({"type": ["integer", "null"]}),
            DataType::Boolean => json!({"type": ["boolean", "null"]}),
            DataType::Date => json!({"type": ["string", "null"], "format": "date"}),
            DataType::Text | DataType::Table => json!({"type": ["string", "null"]}),
        };
        let has_bounds = matches!(kind, DataType::Number | DataType::Integer | DataType::Date);
        let bound = if has_bounds { value.clone() } else { json!({"type": "null"}) };
        let mut properties = json!({
            "default": value,
            "minimum": bound,
            "maximum": bound,
            "options": {"items": value},
        });
        if kind != DataType::Text {
            properties["maximum_length"] = json!({"type": "null"});
        }
        json!({
            "if": {"properties": {"type": {"const": name}}},
            "then": {"properties": properties},
        })
    });
    json!(rules)
}

/// The JSON Schema (2020-12) of formula documents, for editors and for checks before an upload. What no schema can say (whether
/// names are known, whether formulas parse, whether a default obeys its bounds) is told by the upload.
pub fn schema() -> Json {
    let mut input = object(INPUT);
    input.insert("allOf".to_owned(), by_type());
    let mut schema = object(DOCUMENT);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("$id".to_owned(), json!("urn:millrace:formula-document:1"));
    schema.insert("title".to_owned(), json!("Millrace formula document"));
    schema.insert(
        "$defs".to_owned(),
        json!({"input": input, "table": object(TABLE), "formula": object(FORMULA), "output": object(OUTPUT)}),
    );
    Json::Object(schema)
}
