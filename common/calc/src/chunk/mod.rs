//! From the bytes that a caller pushed to the bytes that the API answers (contract section 2).
//!
//! A chunk's `data` is `{"inputs":[…],"parameters":{…}|null,"summary":{…}|null}`. [`scan()`] checks its shape and counts its
//! records in one pass; [`crate::service::Prepared::evaluate`] reads the records straight into columns, a block at a time, runs
//! the program and writes the answer. No document tree of the records exists at any time.

pub(crate) mod decimal;
mod digits;
pub mod error;
pub(crate) mod evaluate;
pub mod filter;
pub(crate) mod json;
pub(crate) mod lanes;
pub(crate) mod layout;
pub(crate) mod notes;
pub(crate) mod read;
pub(crate) mod record;
pub mod result;
mod scalar;
pub mod scan;
pub mod select;
pub(crate) mod summary;
pub(crate) mod table;
mod texts;
pub(crate) mod write;

pub use error::{ChunkError, write_failed};
pub use result::ChunkResult;
pub use scan::{Scan, ShapeError, scan};
pub use select::select;
