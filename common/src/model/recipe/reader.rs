//! How documents are read: everything that is wrong is collected with its place, and reading goes on.
//!
//! A key whose value is `null` counts as left out, in every document (contract 1.4 and section 9).

use std::fmt;

use serde_json::{Map, Value};

use super::finding::{Finding, MAX_FINDINGS};

/// The versions of documents that are known; `version` is accepted and never echoed (contract 3.1).
const VERSIONS: [&str; 2] = ["6", "7"];

/// A place in a document, made on the way down and only written out where something is wrong.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    parent: Option<&'a Place<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

impl<'a> Place<'a> {
    /// The top of a document: the name of the field that holds it, or an empty text.
    pub const fn root(name: &'a str) -> Self {
        Self { parent: None, step: Step::Key(name) }
    }

    /// The value of a key.
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    /// An item of a list, counted from 0.
    pub const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    fn is_empty(&self) -> bool {
        self.parent.is_none() && matches!(self.step, Step::Key(""))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
        }
        let plain = |key: &str| !key.is_empty() && !key.contains(['.', '[', ']', '"']);
        match self.step {
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) if self.parent.is_none() => f.write_str(key),
            Step::Key(key) if !plain(key) => write!(f, "[{key:?}]"),
            Step::Key(key) if self.parent.is_some_and(Place::is_empty) => f.write_str(key),
            Step::Key(key) => write!(f, ".{key}"),
        }
    }
}

/// Collects what is wrong with a document.
#[derive(Debug)]
pub(super) struct Reader<N> {
    shape: N,
    version: N,
    findings: Vec<Finding<N>>,
}

impl<N: Copy> Reader<N> {
    /// A violated schema is told under the name `shape`.
    pub fn new(shape: N) -> Self {
        Self { shape, version: shape, findings: Vec::new() }
    }

    /// An unknown version is told under this name.
    pub fn with_version(self, version: N) -> Self {
        Self { version, ..self }
    }

    pub fn report(&mut self, name: N, place: Place<'_>, text: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding::new(name, place, text));
        }
    }

    pub fn wrong(&mut self, place: Place<'_>, text: impl Into<String>) {
        self.report(self.shape, place, text);
    }

    /// Takes over what was found in a part of the document.
    pub fn take<M>(&mut self, findings: Vec<Finding<M>>, name: impl Fn(M) -> N) {
        let room = MAX_FINDINGS.saturating_sub(self.findings.len());
        self.findings.extend(findings.into_iter().take(room).map(|finding| finding.renamed(&name)));
    }

    pub fn finish<T>(self, document: T) -> Result<T, Vec<Finding<N>>> {
        if self.findings.is_empty() { Ok(document) } else { Err(self.findings) }
    }

    /// An object with no other keys than these; `version` is known everywhere.
    pub fn object<'v>(
        &mut self,
        value: &'v Value,
        place: Place<'_>,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let map = self.map(value, place)?;
        for (key, value) in map {
            if key == "version" && !known.contains(&"version") {
                if !value.is_null() && !VERSIONS.iter().any(|version| value == version) {
                    self.report(self.version, place.key(key), "must be \"6\" or \"7\"");
                }
            } else if !known.contains(&key.as_str()) {
                self.wrong(place.key(key), format!("unknown key; known are {}", known.join(", ")));
            }
        }
        Some(map)
    }

    /// An object with any keys.
    pub fn map<'v>(&mut self, value: &'v Value, place: Place<'_>) -> Option<&'v Map<String, Value>> {
        let map = value.as_object();
        if map.is_none() {
            self.wrong(place, "must be an object");
        }
        map
    }

    pub fn text<'v>(&mut self, map: &'v Map<String, Value>, key: &str, place: Place<'_>) -> Option<&'v str> {
        let value = present(map, key)?;
        let text = value.as_str();
        if text.is_none() {
            self.wrong(place.key(key), "must be a string");
        }
        text
    }

    pub fn integer(&mut self, map: &Map<String, Value>, key: &str, place: Place<'_>) -> Option<i64> {
        let value = present(map, key)?;
        let integer = value.as_i64();
        if integer.is_none() {
            self.wrong(place.key(key), "must be an integer of at most 64 bits");
        }
        integer
    }

    pub fn flag(&mut self, map: &Map<String, Value>, key: &str, place: Place<'_>) -> Option<bool> {
        let value = present(map, key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.wrong(place.key(key), "must be true or false");
        }
        flag
    }

    pub fn list<'v>(
        &mut self,
        map: &'v Map<String, Value>,
        key: &str,
        place: Place<'_>,
    ) -> Option<&'v [Value]> {
        let value = present(map, key)?;
        let list = value.as_array();
        if list.is_none() {
            self.wrong(place.key(key), "must be a list");
        }
        list.map(Vec::as_slice)
    }

    /// A list of strings; empty when it is left out.
    pub fn texts(&mut self, map: &Map<String, Value>, key: &str, place: Place<'_>) -> Vec<String> {
        let list = self.list(map, key, place).unwrap_or_default();
        let place = place.key(key);
        let mut texts = Vec::with_capacity(list.len());
        for (at, value) in list.iter().enumerate() {
            match value.as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => self.wrong(place.index(at), "must be a string"),
            }
        }
        texts
    }

    /// Tells a key that must be there and is not; what it is, is read by the others.
    pub fn require(&mut self, map: &Map<String, Value>, key: &str, place: Place<'_>) {
        if present(map, key).is_none() {
            self.wrong(place.key(key), "is missing");
        }
    }

    pub fn required_text(&mut self, map: &Map<String, Value>, key: &str, place: Place<'_>) -> Option<String> {
        self.require(map, key, place);
        self.text(map, key, place).map(str::to_owned)
    }

    pub fn required_integer(&mut self, map: &Map<String, Value>, key: &str, place: Place<'_>) -> Option<i64> {
        self.require(map, key, place);
        self.integer(map, key, place)
    }
}

/// The value of a key that is there and not `null`.
pub(super) fn present<'v>(map: &'v Map<String, Value>, key: &str) -> Option<&'v Value> {
    map.get(key).filter(|value| !value.is_null())
}

/// Whether a parameter may be called so: letters, digits, `_` and `-` (contract 5.2).
pub(super) fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
