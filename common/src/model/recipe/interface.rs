//! Interfaces: the parameters that a recipe, a node or a dataset has, and whether one can feed another (contract 4.7,
//! 4.10, 5.2, 5.3).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde_json::{Map, Value};

use super::reader::{Place, Reader, is_parameter_name, present};

/// The type of a JSON parameter (contract 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JsonType {
    /// A list.
    Array,
    /// `true` or `false`.
    Boolean,
    /// A whole number; `1.0` is none.
    Integer,
    /// Any number.
    Number,
    /// An object.
    Object,
    /// Text.
    String,
}

impl JsonType {
    /// Every type.
    pub const ALL: [Self; 6] =
        [Self::Array, Self::Boolean, Self::Integer, Self::Number, Self::Object, Self::String];

    /// The name in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Object => "object",
            Self::String => "string",
        }
    }

    /// The type of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|json_type| json_type.as_str() == name)
    }

    /// Whether a value is of this type. Booleans are no numbers, `null` is of no type.
    pub fn holds(self, value: &Value) -> bool {
        match self {
            Self::Array => value.is_array(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Object => value.is_object(),
            Self::String => value.is_string(),
        }
    }
}

impl fmt::Display for JsonType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a parameter holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterKind {
    /// Ids of files, which are passed through (contract 5.4).
    File {
        /// What is taken or delivered; empty for anything.
        media_types: Vec<String>,
        /// Whether it may be more than one file.
        multiple: bool,
    },
    /// A JSON value.
    Json(JsonType),
}

/// A parameter of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Whether there must be a value.
    pub required: bool,
    /// What it holds.
    pub kind: ParameterKind,
}

impl Parameter {
    /// A JSON parameter.
    pub const fn json(json_type: JsonType, required: bool) -> Self {
        Self { required, kind: ParameterKind::Json(json_type) }
    }
}

/// Parameters by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// The parameters; names are unique across files and JSON.
    pub parameters: BTreeMap<String, Parameter>,
}

/// Whether an integer may stand where a number is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Widening {
    /// Types are equal or the parameters do not fit.
    Exact,
    /// `integer` feeds `number`, too.
    IntegerToNumber,
}

/// What keeps one interface from feeding another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The parameter that is fed.
    pub parameter: String,
    /// Why it cannot be.
    pub kind: MismatchKind,
}

/// Why a parameter cannot be fed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MismatchKind {
    /// A required parameter that nothing feeds.
    #[error("is required, and nothing is given for it")]
    Missing,
    /// What may be left out feeds what may not.
    #[error("is required, and what feeds it may be left out")]
    OptionalToRequired,
    /// Files feed JSON.
    #[error("takes JSON and is given files")]
    FileToJson,
    /// JSON feeds files.
    #[error("takes files and is given JSON")]
    JsonToFile,
    /// The JSON types differ.
    #[error("takes {takes} and is given {given}")]
    JsonType {
        /// What is expected.
        takes: JsonType,
        /// What is offered.
        given: JsonType,
    },
    /// Several files feed one.
    #[error("takes one file and may be given several")]
    MultipleToSingle,
    /// A warning only: what is delivered may be of another media type.
    #[error("may be given media types that it does not list: {}", .0.join(", "))]
    MediaTypes(Vec<String>),
}

impl MismatchKind {
    /// Whether it is worth a warning only.
    pub const fn is_warning(&self) -> bool {
        matches!(self, Self::MediaTypes(_))
    }
}

impl Parameter {
    /// What keeps `given` from feeding this parameter; in the order of [`MismatchKind`].
    pub fn mismatches(&self, given: &Self, widening: Widening) -> Vec<MismatchKind> {
        use ParameterKind as K;
        let mut found = Vec::new();
        if self.required && !given.required {
            found.push(MismatchKind::OptionalToRequired);
        }
        match (&self.kind, &given.kind) {
            (K::Json(_), K::File { .. }) => found.push(MismatchKind::FileToJson),
            (K::File { .. }, K::Json(_)) => found.push(MismatchKind::JsonToFile),
            (K::Json(takes), K::Json(given)) => {
                let widened = widening == Widening::IntegerToNumber
                    && (*takes, *given) == (JsonType::Number, JsonType::Integer);
                if takes != given && !widened {
                    found.push(MismatchKind::JsonType { takes: *takes, given: *given });
                }
            }
            (K::File { media_types, multiple }, K::File { media_types: delivered, multiple: several }) => {
                if *several && !multiple {
                    found.push(MismatchKind::MultipleToSingle);
                }
                let foreign: Vec<String> = delivered
                    .iter()
                    .filter(|media_type| !media_types.contains(media_type))
                    .cloned()
                    .collect();
                if !media_types.is_empty() && !foreign.is_empty() {
                    found.push(MismatchKind::MediaTypes(foreign));
                }
            }
        }
        found
    }
}

impl Interface {
    /// An interface of these parameters.
    pub fn of(parameters: impl IntoIterator<Item = (String, Parameter)>) -> Self {
        Self { parameters: parameters.into_iter().collect() }
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Parameter> {
        self.parameters.get(name)
    }

    /// What keeps `given` from feeding this interface, warnings included. Parameters that nothing takes do no harm.
    pub fn mismatches(&self, given: &Self, widening: Widening) -> Vec<Mismatch> {
        let mut found = Vec::new();
        for (name, parameter) in &self.parameters {
            let kinds = match given.get(name) {
                Some(given) => parameter.mismatches(given, widening),
                None if parameter.required => vec![MismatchKind::Missing],
                None => Vec::new(),
            };
            found.extend(kinds.into_iter().map(|kind| Mismatch { parameter: name.clone(), kind }));
        }
        found
    }

    /// Reads `{files: […], json: […]}` (contract 5.2, 5.3). A bad name or type is told under `content`, a name that
    /// is used twice under `duplicate`.
    pub(super) fn read<N: Copy>(
        reader: &mut Reader<N>,
        value: &Value,
        place: Place<'_>,
        content: N,
        duplicate: N,
    ) -> Self {
        let mut interface = Self::default();
        let Some(map) = reader.object(value, place, &["files", "json"]) else { return interface };
        let files = place.key("files");
        for (at, item) in reader.list(map, "files", place).unwrap_or_default().iter().enumerate() {
            let place = files.index(at);
            let Some(item) = reader.object(item, place, &["name", "media_types", "required", "multiple"])
            else {
                continue;
            };
            let parameter = Parameter {
                required: reader.flag(item, "required", place).unwrap_or(true),
                kind: ParameterKind::File {
                    media_types: reader.texts(item, "media_types", place),
                    multiple: reader.flag(item, "multiple", place).unwrap_or(false),
                },
            };
            interface.add(reader, item, parameter, place, content, duplicate);
        }
        let json = place.key("json");
        for (at, item) in reader.list(map, "json", place).unwrap_or_default().iter().enumerate() {
            let place = json.index(at);
            let Some(item) = reader.object(item, place, &["name", "type", "required"]) else { continue };
            let required = reader.flag(item, "required", place).unwrap_or(true);
            let json_type = read_json_type(reader, item, place, content);
            let parameter = Parameter::json(json_type.unwrap_or(JsonType::String), required);
            interface.add(reader, item, parameter, place, content, duplicate);
        }
        interface
    }

    /// Adds a parameter under the item's name.
    pub(super) fn add<N: Copy>(
        &mut self,
        reader: &mut Reader<N>,
        item: &Map<String, Value>,
        parameter: Parameter,
        place: Place<'_>,
        content: N,
        duplicate: N,
    ) {
        let Some(name) = reader.required_text(item, "name", place) else { return };
        if !is_parameter_name(&name) {
            reader.report(content, place.key("name"), "a name has letters, digits, `_` and `-`");
            return;
        }
        match self.parameters.entry(name) {
            Entry::Vacant(free) => _ = free.insert(parameter),
            Entry::Occupied(taken) => {
                let text = format!("`{}` is used twice", taken.key());
                reader.report(duplicate, place.key("name"), text);
            }
        }
    }
}

/// The `type` of a JSON parameter.
pub(super) fn read_json_type<N: Copy>(
    reader: &mut Reader<N>,
    item: &Map<String, Value>,
    place: Place<'_>,
    content: N,
) -> Option<JsonType> {
    reader.require(item, "type", place);
    let name = present(item, "type")?;
    let json_type = name.as_str().and_then(JsonType::named);
    if json_type.is_none() {
        let known = JsonType::ALL.map(JsonType::as_str).join(", ");
        reader.report(content, place.key("type"), format!("must be one of {known}"));
    }
    json_type
}
