//! The way of a push (design section 2, steps 1 to 3): decode → admit → publish → mark as queued.
//!
//! Records are never materialised: each chunk's `data` stays a slice of the request body (JSON), or is transcoded once (BSON),
//! and is only scanned for its shape and its number of records.

mod admission;
mod bson;
mod decode;
mod group;
mod json;
mod way;

pub use decode::{Chunk, DecodeError, DecodedPush, MAX_CHUNKS, MAX_ID_CHARS, decode};
pub use way::{PushError, Pushes, Target};

/// How a push is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/bson`
    Bson,
}
