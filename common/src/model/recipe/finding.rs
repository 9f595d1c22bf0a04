//! What is found in a document: a name, the place, and what is wrong there.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// No document is told more findings than this: answers stay small, whatever is sent.
pub const MAX_FINDINGS: usize = 100;

/// An error or a warning at its place. On the wire (contract 2.6) it is `{name, description}`, and the description begins
/// with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding<N> {
    /// The name that the contract fixes.
    pub name: N,
    /// The path into the document, such as `definition.nodes.price.input.rate`; empty for the whole of it.
    pub place: String,
    /// What is wrong, for people. Holds names of the document, never values of records.
    pub text: String,
}

impl<N> Finding<N> {
    /// A finding at a place.
    pub fn new(name: N, place: impl fmt::Display, text: impl Into<String>) -> Self {
        Self { name, place: place.to_string(), text: text.into() }
    }

    /// The same under another name: a document inside another one.
    pub fn renamed<M>(self, name: impl FnOnce(N) -> M) -> Finding<M> {
        Finding { name: name(self.name), place: self.place, text: self.text }
    }
}

impl<N> fmt::Display for Finding<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            f.write_str(&self.text)
        } else {
            write!(f, "{}: {}", self.place, self.text)
        }
    }
}

impl<N: Serialize> Serialize for Finding<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut finding = serializer.serialize_struct("Finding", 2)?;
        finding.serialize_field("name", &self.name)?;
        finding.serialize_field("description", &self.to_string())?;
        finding.end()
    }
}

/// What a check found. Warnings never make anything invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation<E, W> {
    /// At most [`MAX_FINDINGS`] errors.
    pub errors: Vec<Finding<E>>,
    /// At most [`MAX_FINDINGS`] warnings.
    pub warnings: Vec<Finding<W>>,
}

impl<E, W> Default for Validation<E, W> {
    fn default() -> Self {
        Self { errors: Vec::new(), warnings: Vec::new() }
    }
}

impl<E, W> Validation<E, W> {
    /// Whether there is no error.
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn error(&mut self, name: E, place: impl fmt::Display, text: impl Into<String>) {
        if self.errors.len() < MAX_FINDINGS {
            self.errors.push(Finding::new(name, place, text));
        }
    }

    pub(super) fn warning(&mut self, name: W, place: impl fmt::Display, text: impl Into<String>) {
        if self.warnings.len() < MAX_FINDINGS {
            self.warnings.push(Finding::new(name, place, text));
        }
    }
}
