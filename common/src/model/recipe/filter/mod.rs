//! Data filters: what a condition accepts (contract 6.3).

mod evaluate;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::{Map, Number, Value};

use super::finding::{Finding, Validation};
use super::interface::{Interface, JsonType, ParameterKind};
use super::names::{DefinitionWarning, FilterError};
use super::reader::{Place, Reader, present};

/// Filters, and whether all of them must pass. Without filters it accepts everything.
#[derive(Debug, Clone, PartialEq)]
pub struct DataFilter {
    /// The filters, in the order of the document.
    pub filters: Vec<Filter>,
    /// Whether all must pass; otherwise one suffices.
    pub all: bool,
}

impl Default for DataFilter {
    fn default() -> Self {
        Self { filters: Vec::new(), all: true }
    }
}

/// One look at one value.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The value that is looked at.
    pub name: String,
    /// What it must be.
    pub kind: FilterKind,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with; numbers given as text are converted. With fields, each is a list.
    pub values: Vec<Value>,
    /// Key paths into an object, as many as values; empty where the value itself is compared.
    pub fields: Vec<Vec<String>>,
    /// Whether all fields must pass; otherwise one suffices.
    pub all_fields: bool,
}

/// The types of values that filters look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FilterKind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// An object.
    Object,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `between`, both ends included.
    Between,
    /// `in`
    In,
    /// `not in`
    NotIn,
    /// `contains`
    Contains,
    /// `subset of`
    SubsetOf,
    /// `superset of`
    SupersetOf,
}

/// The types that look into files: there is no catalogue of files here (contract 5.4).
const FILE_KINDS: [&str; 4] = ["filename", "media-type", "data-type", "meta-data"];

impl FilterKind {
    /// Every type.
    pub const ALL: [Self; 5] = [Self::String, Self::Integer, Self::Number, Self::Boolean, Self::Object];

    /// The name in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Integer | Self::Number)
    }

    /// Whether values of the parameter's type can be looked at. Numbers of both kinds are alike, lists cannot be.
    const fn looks_at(self, json_type: JsonType) -> bool {
        match json_type {
            JsonType::String => matches!(self, Self::String),
            JsonType::Integer | JsonType::Number => self.is_number(),
            JsonType::Boolean => matches!(self, Self::Boolean),
            JsonType::Object => matches!(self, Self::Object),
            JsonType::Array => false,
        }
    }

    /// Whether the contract allows the operator. An object with fields allows any.
    const fn allows(self, operator: Operator, has_fields: bool) -> bool {
        use Operator as O;
        match self {
            Self::String => {
                matches!(operator, O::Equal | O::NotEqual | O::In | O::NotIn | O::Contains)
            }
            Self::Integer | Self::Number => !matches!(operator, O::Contains | O::SubsetOf | O::SupersetOf),
            Self::Boolean => matches!(operator, O::Equal | O::NotEqual),
            Self::Object => has_fields || matches!(operator, O::SubsetOf | O::SupersetOf),
        }
    }
}

impl Operator {
    /// Every operator.
    pub const ALL: [Self; 12] = [
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::Equal,
        Self::NotEqual,
        Self::Between,
        Self::In,
        Self::NotIn,
        Self::Contains,
        Self::SubsetOf,
        Self::SupersetOf,
    ];

    /// The name in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Between => "between",
            Self::In => "in",
            Self::NotIn => "not in",
            Self::Contains => "contains",
            Self::SubsetOf => "subset of",
            Self::SupersetOf => "superset of",
        }
    }
}

impl fmt::Display for FilterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl DataFilter {
    /// Reads a filter document.
    pub fn parse(value: &Value, place: Place<'_>) -> Result<Self, Vec<Finding<FilterError>>> {
        let mut reader = Reader::new(FilterError::InvalidDataFilter);
        let mut data_filter = Self::default();
        if let Some(map) = reader.object(value, place, &["filters", "all"]) {
            data_filter.all = reader.flag(map, "all", place).unwrap_or(true);
            let filters = place.key("filters");
            for (at, item) in reader.list(map, "filters", place).unwrap_or_default().iter().enumerate() {
                data_filter.filters.extend(Filter::read(&mut reader, item, filters.index(at)));
            }
        }
        reader.finish(data_filter)
    }

    /// Whether the filters can look at an interface's values, and whether they look at all of them.
    pub fn check(
        &self,
        interface: &Interface,
        place: Place<'_>,
    ) -> Validation<FilterError, DefinitionWarning> {
        let mut found = Validation::default();
        let filters = place.key("filters");
        for (at, filter) in self.filters.iter().enumerate() {
            let place = filters.index(at);
            let name = &filter.name;
            let mismatch = match interface.get(name).map(|parameter| &parameter.kind) {
                None => {
                    let text = format!("there is no parameter `{name}`: the filter always fails");
                    found.warning(DefinitionWarning::UnmatchedFilter, place, text);
                    continue;
                }
                Some(ParameterKind::File { .. }) => "files".to_owned(),
                Some(ParameterKind::Json(json_type)) if filter.kind.looks_at(*json_type) => continue,
                Some(ParameterKind::Json(json_type)) => json_type.to_string(),
            };
            let text =
                format!("`{name}` is {mismatch}, which a filter of type {} cannot look at", filter.kind);
            found.error(FilterError::MismatchedType, place, text);
        }
        let unmatched: Vec<&str> = interface
            .parameters
            .keys()
            .map(String::as_str)
            .filter(|name| self.filters.iter().all(|filter| filter.name != *name))
            .collect();
        if !unmatched.is_empty() {
            let text = format!("no filter looks at {}", unmatched.join(", "));
            found.warning(DefinitionWarning::UnmatchedParameters, place, text);
        }
        found
    }

    /// What a condition gives to its children: its inputs. Where all filters must pass, a parameter that one looks at is
    /// there whenever the condition accepts, and counts as required.
    pub fn outputs(&self, interface: &Interface) -> Interface {
        let mut outputs = interface.clone();
        for (name, parameter) in &mut outputs.parameters {
            let filtered = self.filters.iter().any(|filter| filter.name == *name);
            parameter.required |= self.all && filtered;
        }
        outputs
    }
}

impl Filter {
    fn read(reader: &mut Reader<FilterError>, value: &Value, place: Place<'_>) -> Option<Self> {
        let known = ["name", "type", "condition", "values", "fields", "all_fields", "all_files"];
        let map = reader.object(value, place, &known)?;
        for (key, missing) in [
            ("name", FilterError::MissingName),
            ("type", FilterError::MissingType),
            ("condition", FilterError::MissingCondition),
            ("values", FilterError::MissingValues),
        ] {
            if present(map, key).is_none() {
                reader.report(missing, place.key(key), "is missing");
            }
        }
        let name = reader.text(map, "name", place);
        let kind = read_kind(reader, map, place);
        let operator = read_operator(reader, map, place);
        let all_fields = reader.flag(map, "all_fields", place).unwrap_or(true);
        reader.flag(map, "all_files", place);
        let values = reader.list(map, "values", place);
        let fields = read_fields(reader, map, place);
        if !fields.is_empty() {
            if kind.is_some_and(|kind| kind != FilterKind::Object) {
                reader.report(FilterError::InvalidFields, place.key("fields"), "only an object has fields");
            } else if let Some(values) = values {
                check_fields(reader, &fields, values, place);
            }
        }
        let (kind, operator) = (kind?, operator?);
        if !kind.allows(operator, !fields.is_empty()) {
            let allowed: Vec<&str> = Operator::ALL
                .into_iter()
                .filter(|operator| kind.allows(*operator, !fields.is_empty()))
                .map(Operator::as_str)
                .collect();
            let hint = if kind == FilterKind::Object { ", or any one together with `fields`" } else { "" };
            let text = format!("`{operator}` is none for {kind}; there are {}{hint}", allowed.join(", "));
            reader.report(FilterError::InvalidCondition, place.key("condition"), text);
        }
        let at = place.key("values");
        let values = values?.iter().enumerate().map(|(item, value)| {
            let converted = if kind.is_number() { to_number(kind, value) } else { Some(value.clone()) };
            if converted.is_none() {
                let text = format!("is no {kind}, and cannot be read as one");
                reader.report(FilterError::ValueError, at.index(item), text);
            }
            converted.unwrap_or_default()
        });
        let values = values.collect();
        Some(Self { name: name?.to_owned(), kind, operator, values, fields, all_fields })
    }
}

fn read_kind(
    reader: &mut Reader<FilterError>,
    map: &Map<String, Value>,
    place: Place<'_>,
) -> Option<FilterKind> {
    let name = reader.text(map, "type", place)?;
    let kind = FilterKind::ALL.into_iter().find(|kind| kind.as_str() == name);
    if kind.is_none() {
        let known = FilterKind::ALL.map(FilterKind::as_str).join(", ");
        let text = match FILE_KINDS.contains(&name) {
            true => format!("files are passed through and not looked into; known are {known}"),
            false => format!("must be one of {known}"),
        };
        reader.report(FilterError::InvalidType, place.key("type"), text);
    }
    kind
}

fn read_operator(
    reader: &mut Reader<FilterError>,
    map: &Map<String, Value>,
    place: Place<'_>,
) -> Option<Operator> {
    let name = reader.text(map, "condition", place)?;
    let operator = Operator::ALL.into_iter().find(|operator| operator.as_str() == name);
    if operator.is_none() {
        let known = Operator::ALL.map(Operator::as_str).join(", ");
        reader.report(
            FilterError::InvalidCondition,
            place.key("condition"),
            format!("must be one of {known}"),
        );
    }
    operator
}

fn read_fields(
    reader: &mut Reader<FilterError>,
    map: &Map<String, Value>,
    place: Place<'_>,
) -> Vec<Vec<String>> {
    let Some(value) = present(map, "fields") else { return Vec::new() };
    let path = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|key| key.as_str().map(str::to_owned)).collect()
    };
    let fields: Option<Vec<Vec<String>>> =
        value.as_array().and_then(|fields| fields.iter().map(path).collect());
    if fields.is_none() {
        let text = "must be a list of key paths, which are lists of keys";
        reader.report(FilterError::InvalidFields, place.key("fields"), text);
    }
    fields.unwrap_or_default()
}

fn check_fields(
    reader: &mut Reader<FilterError>,
    fields: &[Vec<String>],
    values: &[Value],
    place: Place<'_>,
) {
    if fields.len() != values.len() {
        let text = format!("there are {} fields and {} values", fields.len(), values.len());
        reader.report(FilterError::InvalidFields, place.key("fields"), text);
    }
    let at = place.key("values");
    for (item, value) in values.iter().enumerate() {
        if !value.is_array() {
            let text = "must be a list: what the field is compared with";
            reader.report(FilterError::InvalidFields, at.index(item), text);
        }
    }
}

/// A number, or text that is one (contract 6.3).
fn to_number(kind: FilterKind, value: &Value) -> Option<Value> {
    let number = match value {
        Value::Number(number) => number.clone(),
        Value::String(text) => serde_json::from_str::<Number>(text.trim()).ok()?,
        _ => return None,
    };
    match kind {
        FilterKind::Integer if number.is_f64() => None,
        _ => Some(Value::Number(number)),
    }
}
