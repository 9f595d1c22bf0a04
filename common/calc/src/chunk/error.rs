//! Why a whole chunk fails, and how that is answered (contract 2.3, 0.5).

use thiserror::Error;

use super::scan::ShapeError;
use super::write::text;
use crate::reference::FallbackError;

/// Why a chunk could not be processed. A record with an Excel error is no such case.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// The bytes do not have the shape of a chunk's `data`.
    #[error("{0}")]
    Shape(#[from] ShapeError),
    /// The column that `unique_record_key` names is not in the chunk.
    #[error("the unique_record_key {key:?} is not among the columns of this chunk")]
    KeyMissing {
        /// The key, as the caller spells it.
        key: String,
    },
    /// The time allowed for the chunk is over.
    #[error("the calculation took too long: stopped after {done} of {records} records")]
    Timeout {
        /// Records evaluated before the deadline.
        done: u32,
        /// Records of the chunk.
        records: u32,
    },
    /// The fallback engine failed on this chunk: memory, endless recursion, a fault of its own.
    #[error("{0}")]
    Engine(#[from] FallbackError),
}

impl ChunkError {
    /// `error_category` of the error object.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Shape(_) => "bad_request",
            Self::KeyMissing { .. } => "validation_error",
            Self::Timeout { .. } | Self::Engine(_) => "runtime",
        }
    }

    /// `error_type` of the error object.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Shape(_) => "error.CHUNK_SHAPE",
            Self::KeyMissing { .. } => "error.KEY_MISSING",
            Self::Timeout { .. } | Self::Engine(FallbackError::Timeout) => "error.TIMEOUT",
            Self::Engine(FallbackError::Memory { .. }) => "error.MEMORY",
            Self::Engine(_) => "error.ENGINE",
        }
    }

    /// `source_path` of the error object: the place in the chunk, if there is one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Shape(error) => Some(&error.path),
            Self::KeyMissing { .. } => Some("unique_record_key"),
            Self::Timeout { .. } | Self::Engine(_) => None,
        }
    }

    /// Appends the failed form of a pulled chunk: no outputs, one error object. `records` is the chunk's size as counted.
    pub fn write_json(&self, id: &str, records: u32, out: &mut Vec<u8>) {
        let message = match self {
            Self::Shape(error) => error.message.clone(),
            other => other.to_string(),
        };
        write_failed(id, records, self.category(), self.kind(), self.path(), &message, out);
    }
}

/// Appends the failed form of a chunk for any reason, also one that lies outside of this crate (lost workers, retries used up).
pub fn write_failed(
    id: &str,
    records: u32,
    category: &str,
    kind: &str,
    path: Option<&str>,
    message: &str,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"id\":");
    text(id, out);
    out.extend_from_slice(
        b",\"outputs\":[],\"summary_output\":null,\"summary_errors\":null,\"warnings\":[],\"errors\":[",
    );
    error_object(category, kind, path, message, out);
    out.extend_from_slice(b"],\"process_time\":[],\"status\":\"failed\",\"size\":");
    out.extend_from_slice(records.to_string().as_bytes());
    out.push(b'}');
}

/// Appends an error object with the engine's five keys.
pub(crate) fn error_object(category: &str, kind: &str, path: Option<&str>, message: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error_category\":");
    text(category, out);
    out.extend_from_slice(b",\"error_type\":");
    text(kind, out);
    out.extend_from_slice(b",\"message\":");
    text(message, out);
    out.extend_from_slice(b",\"source_path\":");
    match path {
        Some(path) => text(path, out),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"additional_details\":null}");
}
