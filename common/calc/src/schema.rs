//! JSON Schema (2020-12) of what a service takes and gives, made from its [`Interface`].
//!
//! The schema describes records as a careful caller writes them. The server takes more than that: numbers as text, names in any
//! case, columns that it does not know. Rules that depend on other inputs cannot be said here; `x-validation` has them as their
//! source writes them.

use serde_json::{Map, Value as Json, json};

use crate::interface::{DataType, InputField, Interface, OutputField, Place, Validation};
use crate::service::SourceKind;

/// The schema of one record: an object by input. `$defs.outputs` describes what a record answers. `id` becomes `$id`.
pub fn of_service(interface: &Interface, kind: SourceKind, id: &str, title: &str) -> Json {
    let mut properties = Map::new();
    for field in &interface.inputs {
        properties.insert(field.place.name.clone(), input(field, kind));
    }
    let mut outputs = Map::new();
    for field in &interface.outputs {
        outputs.insert(field.place.name.clone(), output(field));
    }
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": id,
        "title": title,
        "$comment": "Numbers may also come as text, and names in any case. An input that is left out takes its default.",
        "type": "object",
        "properties": properties,
        "$defs": {"outputs": {"type": "object", "properties": outputs}},
    });
    if let Some(description) = &interface.properties.description {
        schema["description"] = json!(description);
    }
    schema
}

/// The schema of one input.
fn input(field: &InputField, kind: SourceKind) -> Json {
    let mut schema = match &field.validation {
        _ if field.data_type == DataType::Table => table(&field.place),
        Some(validation) => validated(field, validation, kind),
        None => typed(field, kind),
    };
    let nullable = field.validation.as_ref().is_none_or(|validation| validation.ignore_blank);
    if nullable && field.data_type != DataType::Table {
        allow_null(&mut schema);
    }
    let prompt = || field.validation.as_ref().and_then(|validation| validation.prompt.as_ref());
    if let Some(description) = field.place.description.as_ref().or_else(prompt) {
        schema["description"] = json!(description);
    }
    if !field.default.is_null() {
        schema["default"] = field.default.clone();
    }
    if let Some(validation) = &field.validation {
        schema["x-validation"] = stated(validation);
    }
    schema
}

/// By the type alone. A cell that was saved blank tells none.
fn typed(field: &InputField, kind: SourceKind) -> Json {
    match field.data_type {
        DataType::Number if kind == SourceKind::Workbook && field.default.is_null() => json!({}),
        DataType::Number => json!({"type": "number"}),
        DataType::Integer => json!({"type": "integer"}),
        DataType::Text => json!({"type": "string"}),
        DataType::Boolean => json!({"type": "boolean"}),
        DataType::Date => json!({"type": "string", "format": "date"}),
        DataType::Table => table(&field.place),
    }
}

/// By the rule of an input, as far as it is the same for every record.
fn validated(field: &InputField, validation: &Validation, kind: SourceKind) -> Json {
    let is_static = validation.depends_on.is_empty();
    match validation.kind.as_str() {
        "list" => match &validation.options {
            Some(options) if is_static => json!({"enum": options}),
            _ => typed(field, kind),
        },
        "whole" | "decimal" => {
            let mut schema = json!({"type": if validation.kind == "whole" { "integer" } else { "number" }});
            if is_static {
                bounds(
                    &mut schema,
                    validation,
                    ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
                );
            }
            schema
        }
        "textLength" => {
            let mut schema = json!({"type": "string"});
            if is_static {
                lengths(&mut schema, validation);
            }
            schema
        }
        // A cell takes a date as text or as its serial number.
        "date" if field.data_type != DataType::Date => {
            json!({"anyOf": [{"type": "string", "format": "date"}, {"type": "number"}]})
        }
        "time" => json!({"type": ["string", "number"]}),
        _ => typed(field, kind),
    }
}

/// A bound as a number: computed, or else as it is written.
fn number(computed: Option<&Json>, written: Option<&String>) -> Option<Json> {
    let written = || written.and_then(|text| text.trim().parse::<f64>().ok()).map(|number| json!(number));
    computed.filter(|bound| bound.is_number()).cloned().or_else(written)
}

/// Adds bounds under these keys: at least, at most, more than, less than.
fn bounds(schema: &mut Json, validation: &Validation, [least, most, more, less]: [&str; 4]) {
    let (first, second) = (validation.first.as_ref(), validation.second.as_ref());
    let low = number(validation.minimum.as_ref(), first);
    let high = number(validation.maximum.as_ref(), second);
    let upper = || number(validation.maximum.as_ref(), first);
    let set = |schema: &mut Json, key: &str, bound: Option<Json>| {
        if let Some(bound) = bound {
            schema[key] = bound;
        }
    };
    match validation.operator.as_deref() {
        Some("notBetween") => {
            let mut not = json!({});
            set(&mut not, least, low);
            set(&mut not, most, high);
            schema["not"] = not;
        }
        Some("equal") => set(schema, "const", low),
        Some("notEqual") => set(schema, "not", low.map(|bound| json!({"const": bound}))),
        Some("greaterThan") => set(schema, more, low),
        Some("greaterThanOrEqual") => set(schema, least, low),
        Some("lessThan") => set(schema, less, upper()),
        Some("lessThanOrEqual") => set(schema, most, upper()),
        Some("between") | None => {
            set(schema, least, low);
            set(schema, most, high);
        }
        Some(_) => {}
    }
}

/// Bounds on the length of text; JSON Schema has only these two, and only whole ones.
fn lengths(schema: &mut Json, validation: &Validation) {
    let mut found = json!({});
    bounds(&mut found, validation, ["minLength", "maxLength", "more", "less"]);
    let whole = |key: &str| found.get(key).and_then(Json::as_f64).filter(|x| x.fract() == 0.0 && *x >= 0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and not negative")]
    let length = |x: f64| json!(x as u64);
    let (least, most) = match whole("const") {
        Some(length) => (Some(length), Some(length)),
        None => (
            whole("minLength").or_else(|| whole("more").map(|x| x + 1.0)),
            whole("maxLength").or_else(|| whole("less").map(|x| (x - 1.0).max(0.0))),
        ),
    };
    if let Some(least) = least {
        schema["minLength"] = length(least);
    }
    if let Some(most) = most {
        schema["maxLength"] = length(most);
    }
}

/// A table as a list of objects, or as headings and rows (contract 2.1).
fn table(place: &Place) -> Json {
    let rows = place.rows.saturating_sub(u32::from(!place.headings.is_empty()));
    if place.headings.is_empty() {
        return json!({"type": "array", "items": {"type": "array"}, "maxItems": rows});
    }
    let columns: Map<String, Json> =
        place.headings.iter().map(|heading| (heading.clone(), json!({}))).collect();
    json!({"anyOf": [
        {"type": "array", "items": {"type": "object", "properties": columns}, "maxItems": rows},
        {
            "type": "array",
            "prefixItems": [{"type": "array", "items": {"enum": place.headings}}],
            "items": {"type": "array", "maxItems": place.headings.len()},
            "maxItems": rows + 1,
        },
    ]})
}

fn output(field: &OutputField) -> Json {
    // An Excel error is text, whatever the type of the result.
    let mut schema = match field.data_type {
        DataType::Table => {
            let columns: Map<String, Json> =
                field.place.headings.iter().map(|heading| (heading.clone(), json!({}))).collect();
            json!({"type": "array", "items": {"type": ["object", "array"], "properties": columns}})
        }
        DataType::Text => json!({"type": ["string", "null"]}),
        DataType::Boolean => json!({"type": ["boolean", "string", "null"]}),
        DataType::Number | DataType::Integer | DataType::Date => {
            json!({"type": ["number", "string", "null"]})
        }
    };
    if let Some(description) = &field.place.description {
        schema["description"] = json!(description);
    }
    schema
}

/// Lets `null` pass, which is a blank.
fn allow_null(schema: &mut Json) {
    if let Some(Json::Array(options)) = schema.get_mut("enum") {
        options.push(Json::Null);
        return;
    }
    if schema.get("anyOf").is_some() || schema.get("const").is_some() || schema.get("not").is_some() {
        let inner = schema.take();
        let mut choices = vec![inner, json!({"type": "null"})];
        if let Some(Json::Array(inner)) = choices[0].get_mut("anyOf") {
            choices = std::mem::take(inner);
            choices.push(json!({"type": "null"}));
        }
        *schema = json!({"anyOf": choices});
        return;
    }
    match schema.get_mut("type") {
        Some(Json::Array(types)) => types.push(json!("null")),
        Some(kind) => *kind = json!([kind.take(), "null"]),
        None => {}
    }
}

/// The rule as its source writes it, without what it leaves out.
fn stated(validation: &Validation) -> Json {
    let Ok(Json::Object(mut stated)) = serde_json::to_value(validation) else { return Json::Null };
    stated.retain(|_, value| match value {
        Json::Null => false,
        Json::Array(list) => !list.is_empty(),
        _ => true,
    });
    Json::Object(stated)
}
