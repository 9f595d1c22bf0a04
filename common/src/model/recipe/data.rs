//! Data documents: the values of an interface's parameters (contract 5.3), and how a dataset's members become recipe
//! inputs (4.7).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::finding::{Finding, MAX_FINDINGS};
use super::interface::{Interface, JsonType, ParameterKind};
use super::names::DataError;
use super::reader::{Place, Reader, present};

/// `{files: {name: [id, …]}, json: {name: value}}`. A name is in one of the two at most.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Data {
    /// Ids of files, at least one each.
    #[serde(default)]
    pub files: BTreeMap<String, Vec<i64>>,
    /// JSON values.
    #[serde(default)]
    pub json: BTreeMap<String, Value>,
}

/// A value of a data document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DataValue<'a> {
    /// Ids of files.
    Files(&'a [i64]),
    /// A JSON value.
    Json(&'a Value),
}

impl Data {
    /// Reads a document; what it must hold is checked by [`Data::check`].
    pub fn parse(value: &Value, place: Place<'_>) -> Result<Self, Vec<Finding<DataError>>> {
        let mut reader = Reader::new(DataError::InvalidData);
        let data = Self::read(&mut reader, value, place);
        reader.finish(data)
    }

    fn read(reader: &mut Reader<DataError>, value: &Value, place: Place<'_>) -> Self {
        let mut data = Self::default();
        let Some(map) = reader.object(value, place, &["files", "json"]) else { return data };
        if let Some(files) = present(map, "files") {
            let place = place.key("files");
            for (name, ids) in reader.map(files, place).into_iter().flatten() {
                if let Some(ids) = read_files(reader, ids, place.key(name)) {
                    data.files.insert(name.clone(), ids);
                }
            }
        }
        if let Some(json) = present(map, "json") {
            let place = place.key("json");
            for (name, value) in reader.map(json, place).into_iter().flatten() {
                if data.files.contains_key(name) {
                    reader.wrong(place.key(name), "has files, too");
                } else {
                    data.json.insert(name.clone(), value.clone());
                }
            }
        }
        data
    }

    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<DataValue<'_>> {
        let files = self.files.get(name).map(|ids| DataValue::Files(ids));
        files.or_else(|| self.json.get(name).map(DataValue::Json))
    }

    /// Sets the value of a parameter.
    pub fn set(&mut self, name: &str, value: DataValue<'_>) {
        match value {
            DataValue::Files(ids) => {
                self.json.remove(name);
                self.files.insert(name.to_owned(), ids.to_vec());
            }
            DataValue::Json(value) => {
                self.files.remove(name);
                self.json.insert(name.to_owned(), value.clone());
            }
        }
    }

    /// Every value with its name.
    pub fn values(&self) -> impl Iterator<Item = (&str, DataValue<'_>)> {
        let files = self.files.iter().map(|(name, ids)| (name.as_str(), DataValue::Files(ids)));
        files.chain(self.json.iter().map(|(name, value)| (name.as_str(), DataValue::Json(value))))
    }

    /// What keeps these values from being an input of this interface. Values that it does not declare do no harm.
    pub fn check(&self, interface: &Interface, place: Place<'_>) -> Vec<Finding<DataError>> {
        let mut findings = Vec::new();
        for (name, parameter) in &interface.parameters {
            let wrong = match (self.get(name), &parameter.kind) {
                (None, _) if parameter.required => Some((DataError::ParamRequired, "is required".to_owned())),
                (None, _) => None,
                (Some(DataValue::Files(_)), ParameterKind::Json(_)) => {
                    Some((DataError::MismatchedParamType, "takes JSON and is given files".to_owned()))
                }
                (Some(DataValue::Json(_)), ParameterKind::File { .. }) => {
                    Some((DataError::MismatchedParamType, "takes files and is given JSON".to_owned()))
                }
                (Some(DataValue::Json(value)), ParameterKind::Json(json_type)) => (!json_type.holds(value))
                    .then(|| {
                        let given = kind_of(value);
                        (DataError::InvalidJsonType, format!("takes {json_type} and is given {given}"))
                    }),
                (Some(DataValue::Files([])), ParameterKind::File { .. }) => {
                    Some((DataError::NoFiles, "there are no files".to_owned()))
                }
                (Some(DataValue::Files(ids)), ParameterKind::File { multiple, .. }) => {
                    (ids.len() > 1 && !multiple).then(|| {
                        (DataError::MultipleFiles, format!("takes one file and is given {}", ids.len()))
                    })
                }
            };
            if let Some((error, text)) = wrong
                && findings.len() < MAX_FINDINGS
            {
                findings.push(Finding::new(error, place.key(name), text));
            }
        }
        findings
    }

    /// Only the values that the interface declares.
    #[must_use]
    pub fn restricted_to(mut self, interface: &Interface) -> Self {
        self.files.retain(|name, _| interface.parameters.contains_key(name));
        self.json.retain(|name, _| interface.parameters.contains_key(name));
        self
    }

    /// The same for equal documents, whatever the order of keys and the spelling of numbers (`1`, `1.0` and `1e0` are
    /// equal): two recipes of one type with the same hash have the same input (contract 4.4).
    pub fn hash(&self) -> InputHash {
        let mut hasher = blake3::Hasher::new();
        for (name, ids) in &self.files {
            hash_text(&mut hasher, b'f', name);
            hash_length(&mut hasher, b'[', ids.len());
            for id in ids {
                hasher.update(&id.to_le_bytes());
            }
        }
        for (name, value) in &self.json {
            hash_text(&mut hasher, b'j', name);
            hash_value(&mut hasher, value);
        }
        InputHash(*hasher.finalize().as_bytes())
    }
}

fn read_files(reader: &mut Reader<DataError>, value: &Value, place: Place<'_>) -> Option<Vec<i64>> {
    let Some(list) = value.as_array() else {
        reader.wrong(place, "must be a list of file ids");
        return None;
    };
    if list.is_empty() {
        reader.report(DataError::NoFiles, place, "there are no files");
        return None;
    }
    let ids: Option<Vec<i64>> = list.iter().map(Value::as_i64).collect();
    if ids.is_none() {
        reader.wrong(place, "must be a list of file ids, which are integers");
    }
    ids
}

/// What a JSON value is, for people.
fn kind_of(value: &Value) -> &'static str {
    let fits = |json_type: &JsonType| json_type.holds(value);
    // `integer` comes before `number` in the list.
    JsonType::ALL.into_iter().find(fits).map_or("null", JsonType::as_str)
}

/// Where the values of a dataset's parameters go (contract 3.2): recipe input → dataset parameter. A parameter that
/// is not mapped keeps its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputMap {
    /// The pairs, as submitted.
    pub entries: Vec<InputMapEntry>,
}

/// One item of an [`InputMap`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputMapEntry {
    /// The recipe input that receives the value.
    pub input: String,
    /// The dataset parameter that gives it.
    pub parameter: String,
}

impl InputMap {
    /// Dataset parameters under the names of recipe inputs. A mapped input takes only what is mapped to it; one
    /// parameter may go to several inputs, and then it does not keep its own name.
    pub fn rename<'a, T>(&'a self, named: &'a BTreeMap<String, T>) -> impl Iterator<Item = (&'a str, &'a T)> {
        let mapped = self
            .entries
            .iter()
            .filter_map(|entry| Some((entry.input.as_str(), named.get(entry.parameter.as_str())?)));
        let kept = named.iter().filter(|(name, _)| {
            self.entries.iter().all(|entry| entry.parameter != **name && entry.input != **name)
        });
        mapped.chain(kept.map(|(name, value)| (name.as_str(), value)))
    }

    /// Which parameter each input of a recipe takes: found once for all members of a dataset.
    pub fn sources(&self, inputs: &Interface) -> InputSources {
        let mapped: BTreeMap<&str, &str> =
            self.entries.iter().map(|entry| (entry.input.as_str(), entry.parameter.as_str())).collect();
        let moved: BTreeSet<&str> = mapped.values().copied().collect();
        let source = |input: &str| match mapped.get(input) {
            Some(parameter) => Some((*parameter).to_owned()),
            None => (!moved.contains(input)).then(|| input.to_owned()),
        };
        let pairs = inputs.parameters.keys().filter_map(|input| Some((input.clone(), source(input)?)));
        InputSources { pairs: pairs.collect() }
    }
}

/// Which parameter of a dataset each input of a recipe takes; see [`InputMap::sources`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSources {
    pairs: Vec<(String, String)>,
}

impl InputSources {
    /// The input of a recipe that is made from a dataset's member (contract 4.7): the member's values over the global
    /// ones, as far as the recipe has such inputs. Whether it is a valid input is told by [`Data::check`].
    pub fn recipe_input(&self, member: &Data, global: &Data) -> Data {
        let mut input = Data::default();
        for (name, parameter) in &self.pairs {
            if let Some(value) = member.get(parameter).or_else(|| global.get(parameter)) {
                input.set(name, value);
            }
        }
        input
    }
}

/// See [`Data::hash`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InputHash(pub [u8; 32]);

impl fmt::Debug for InputHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

// Every part is written with a tag and its length: no two documents write the same bytes.
fn hash_length(hasher: &mut blake3::Hasher, tag: u8, length: usize) {
    hasher.update(&[tag]);
    hasher.update(&(length as u64).to_le_bytes());
}

fn hash_text(hasher: &mut blake3::Hasher, tag: u8, text: &str) {
    hash_length(hasher, tag, text.len());
    hasher.update(text.as_bytes());
}

fn hash_value(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Null => _ = hasher.update(b"0"),
        Value::Bool(false) => _ = hasher.update(b"-"),
        Value::Bool(true) => _ = hasher.update(b"+"),
        Value::Number(number) => hash_text(hasher, b'#', &canonical(number)),
        Value::String(text) => hash_text(hasher, b'"', text),
        Value::Array(items) => {
            hash_length(hasher, b'[', items.len());
            items.iter().for_each(|item| hash_value(hasher, item));
        }
        Value::Object(map) => {
            hash_length(hasher, b'{', map.len());
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            for (key, value) in sorted {
                hash_text(hasher, b':', key);
                hash_value(hasher, value);
            }
        }
    }
}

/// Numbers that are equal as numbers, are equal as text.
#[allow(clippy::cast_possible_truncation, reason = "only whole numbers below 2^63 are cast, which fit")]
fn canonical(number: &serde_json::Number) -> String {
    const EXACT: f64 = 9_223_372_036_854_775_808.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            (float as i64).to_string()
        }
        _ => number.to_string(),
    }
}
