//! From the body of a push to chunks: ids, raw data, record counts and digests (contract 1.2).
//!
//! Records are never materialised: each chunk's `data` stays a slice of the request body (JSON), or is transcoded once (BSON),
//! and is only scanned for its shape and its number of records.

mod bson;
mod json;
#[cfg(test)]
mod properties;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use bytes::Bytes;
use millrace_calc::chunk::Scan;
use thiserror::Error;
use uuid::Uuid;

/// The longest chunk id, in characters (contract 1.2).
pub const MAX_ID_CHARS: usize = 128;
/// The most chunks in one push. A body full of tiny chunks would otherwise take many times its size in memory.
pub const MAX_CHUNKS: usize = 10_000;

/// How a push is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`
    Json,
    /// `application/bson`
    Bson,
}

/// A chunk of a push.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The caller's id, or one made for it.
    pub id: String,
    /// BLAKE3 of `data`: what tells a repeated chunk from another one with the same id.
    pub digest: [u8; 32],
    /// Records in `data`, as counted (never the caller's `size`).
    pub records: i32,
    /// Where the parts of `data` are.
    pub scan: Scan,
    /// The bytes of the chunk's `data` object, as JSON.
    pub data: Bytes,
}

/// Never shows the chunk's contents.
impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk")
            .field("id", &self.id)
            .field("records", &self.records)
            .field("bytes", &self.data.len())
            .finish_non_exhaustive()
    }
}

/// A push, decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecodedPush {
    /// The chunks; ids are distinct.
    pub chunks: Vec<Chunk>,
    /// The id of every chunk in the request, in its order; a repeated chunk is listed again.
    pub ids: Vec<String>,
}

/// Why a push is refused before anything is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The body is no JSON or no BSON.
    #[error("{message}")]
    Malformed {
        /// The place, as far as it is known.
        path: Option<String>,
        /// What is wrong there.
        message: String,
    },
    /// The body is not what a push looks like.
    #[error("{path}: {message}")]
    Shape {
        /// The place, such as `chunks[1].data.inputs[3]`.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// A chunk is larger than any chunk may be.
    #[error("{path} has {bytes} bytes; a chunk has at most {limit}")]
    ChunkTooLarge {
        /// The place.
        path: String,
        /// Its size.
        bytes: usize,
        /// `limits.chunk_bytes`.
        limit: usize,
    },
    /// The push has too many chunks.
    #[error("more than {MAX_CHUNKS} chunks in one push")]
    TooManyChunks,
    /// One id stands for different contents within the push.
    #[error("chunk ids repeated with different data: {}", ids.join(", "))]
    Conflict {
        /// The ids.
        ids: Vec<String>,
    },
}

impl DecodeError {
    pub(crate) fn shape(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Shape { path: path.into(), message: message.into() }
    }
}

/// A chunk as it stands in the body.
#[derive(Debug)]
pub(crate) struct RawChunk {
    /// `None`: the caller gave none.
    pub id: Option<String>,
    /// The `data` value as JSON.
    pub data: Bytes,
}

/// Decodes a push: `{"chunks":[…]}` or, in JSON, a bare array of chunks. No chunk at all is fine (contract 1.2).
///
/// `chunk_bytes` bounds each chunk's data, `transcoded_bytes` the JSON text that a BSON body becomes.
///
/// # Errors
///
/// A [`DecodeError`] with the place of the first thing that is wrong.
pub fn decode(
    format: Format,
    body: &Bytes,
    chunk_bytes: usize,
    transcoded_bytes: usize,
) -> Result<DecodedPush, DecodeError> {
    let raw = match format {
        Format::Json => json::chunks(body)?,
        Format::Bson => bson::chunks(body, transcoded_bytes)?,
    };
    let mut push = DecodedPush { chunks: Vec::with_capacity(raw.len()), ids: Vec::with_capacity(raw.len()) };
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(raw.len());
    let mut conflicts = Vec::new();
    for (index, RawChunk { id, data }) in raw.into_iter().enumerate() {
        if data.len() > chunk_bytes {
            let path = format!("chunks[{index}].data");
            return Err(DecodeError::ChunkTooLarge { path, bytes: data.len(), limit: chunk_bytes });
        }
        let scan = millrace_calc::scan(&data)
            .map_err(|error| DecodeError::shape(format!("chunks[{index}].{}", error.path), error.message))?;
        let records = i32::try_from(scan.records)
            .map_err(|_| DecodeError::shape(format!("chunks[{index}].data.inputs"), "too many records"))?;
        let id = match id {
            Some(id) => check_id(id, index)?,
            None => Uuid::new_v4().to_string(),
        };
        let digest = *blake3::hash(&data).as_bytes();
        push.ids.push(id.clone());
        match seen.entry(id) {
            Entry::Vacant(entry) => {
                let id = entry.key().clone();
                entry.insert(push.chunks.len());
                push.chunks.push(Chunk { id, digest, records, scan, data });
            }
            Entry::Occupied(entry) => {
                let same = push.chunks.get(*entry.get()).is_some_and(|chunk| chunk.digest == digest);
                if !same && !conflicts.contains(entry.key()) {
                    conflicts.push(entry.key().clone());
                }
            }
        }
    }
    if conflicts.is_empty() { Ok(push) } else { Err(DecodeError::Conflict { ids: conflicts }) }
}

/// Any text of 1 to [`MAX_ID_CHARS`] characters, but U+0000, which the database cannot hold.
fn check_id(id: String, index: usize) -> Result<String, DecodeError> {
    let path = || format!("chunks[{index}].id");
    if id.is_empty() {
        return Err(DecodeError::shape(path(), "must not be empty"));
    }
    if id.chars().count() > MAX_ID_CHARS {
        return Err(DecodeError::shape(path(), format!("longer than {MAX_ID_CHARS} characters")));
    }
    if id.contains('\0') {
        return Err(DecodeError::shape(path(), "must not contain U+0000"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn json(text: &str) -> Result<DecodedPush, DecodeError> {
        decode(Format::Json, &Bytes::copy_from_slice(text.as_bytes()), 1_000, 10_000)
    }

    fn refused(text: &str) -> (String, String) {
        match json(text).unwrap_err() {
            DecodeError::Shape { path, message } => (path, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn chunks_keep_their_data_as_slices_of_the_body() {
        let body = Bytes::from_static(
            br#"{"x":1,"chunks":[{"id":"0001","size":99,"data": {"inputs":[["a"],[1],[2]],"parameters":{},"summary":null} }]}"#,
        );
        let push = decode(Format::Json, &body, 1_000, 0).unwrap();
        let chunk = push.chunks.first().unwrap();
        assert_eq!((chunk.id.as_str(), chunk.records), ("0001", 2));
        assert_eq!(&chunk.data[..], br#"{"inputs":[["a"],[1],[2]],"parameters":{},"summary":null}"#);
        assert!(body.as_ptr_range().contains(&chunk.data.as_ptr()), "the data must not be copied");
        assert_eq!(chunk.digest, *blake3::hash(&chunk.data).as_bytes());
        assert_eq!(push.ids, ["0001"]);
    }

    #[test]
    fn a_bare_array_and_no_chunks_are_fine() {
        assert_eq!(json(r#"[{"id":"a","data":{"inputs":[["x"]]}}]"#).unwrap().chunks.len(), 1);
        assert_eq!(json(r#"{"chunks":[]}"#).unwrap(), DecodedPush::default());
        assert_eq!(json("[]").unwrap(), DecodedPush::default());
    }

    #[test]
    fn header_only_chunks_have_no_records() {
        let push = json(
            r#"{"chunks":[{"id":"a","data":{"inputs":[["x"]],"parameters":null,"summary":null},"size":1}]}"#,
        );
        assert_eq!(push.unwrap().chunks[0].records, 0);
    }

    #[test]
    fn a_missing_id_is_generated_and_listed() {
        for text in [r#"[{"data":{"inputs":[["x"]]}}]"#, r#"[{"id":null,"data":{"inputs":[["x"]]}}]"#] {
            let push = json(text).unwrap();
            assert!(push.ids[0].parse::<Uuid>().is_ok());
            assert_eq!(push.ids[0], push.chunks[0].id);
        }
    }

    #[test]
    fn repeated_ids_count_once_or_conflict() {
        let one = r#"{"id":"a","data":{"inputs":[["x"],[1]]}}"#;
        let push = json(&format!("[{one},{one}]")).unwrap();
        assert_eq!((push.chunks.len(), push.ids.len()), (1, 2));
        let other = r#"{"id":"a","data":{"inputs":[["x"],[2]]}}"#;
        let error = json(&format!("[{one},{other},{other}]")).unwrap_err();
        assert_eq!(error, DecodeError::Conflict { ids: vec!["a".to_owned()] });
    }

    #[test]
    fn every_refusal_names_the_place() {
        let good = r#"{"id":"a","data":{"inputs":[["x"],[1]]}}"#;
        for (text, path) in [
            (r#"{"chunks":{}}"#.to_owned(), "chunks"),
            (r#"{"chunks":null}"#.to_owned(), "chunks"),
            (r#"{"chunk":[]}"#.to_owned(), "chunks"),
            ("5".to_owned(), "chunks"),
            (format!("[{good},5]"), "chunks[1]"),
            (format!("[{good},null]"), "chunks[1]"),
            (format!(r#"[{good},{{"id":"b"}}]"#), "chunks[1].data"),
            (format!(r#"[{good},{{"id":"b","data":null}}]"#), "chunks[1].data"),
            (format!(r#"[{good},{{"id":"b","data":[]}}]"#), "chunks[1].data"),
            (format!(r#"[{good},{{"id":5,"data":{{"inputs":[["x"]]}}}}]"#), "chunks[1].id"),
            (format!(r#"[{good},{{"id":"","data":{{"inputs":[["x"]]}}}}]"#), "chunks[1].id"),
            (format!(r#"[{good},{{"id":"\u0000","data":{{"inputs":[["x"]]}}}}]"#), "chunks[1].id"),
            (format!(r#"[{{"id":"{}","data":{{"inputs":[["x"]]}}}}]"#, "ü".repeat(129)), "chunks[0].id"),
            (format!(r#"[{good},{{"id":"b","id":"c","data":{{"inputs":[["x"]]}}}}]"#), "chunks[1].id"),
            (format!(r#"[{good},{{"id":"b","data":{{"inputs":[]}}}}]"#), "chunks[1].data.inputs"),
            (
                format!(r#"{{"chunks":[{good},{{"id":"b","data":{{"inputs":[["x"],[1],[2],7]}}}}]}}"#),
                "chunks[1].data.inputs[3]",
            ),
        ] {
            assert_eq!(refused(&text).0, path, "{text}");
        }
        assert_eq!(
            json(&format!(r#"[{{"id":"{}","data":{{"inputs":[["x"]]}}}}]"#, "ü".repeat(128)))
                .unwrap()
                .ids
                .len(),
            1
        );
    }

    #[test]
    fn broken_json_names_the_chunk_and_the_row() {
        let malformed = |text: &str| match json(text).unwrap_err() {
            DecodeError::Malformed { path, message } => (path, message),
            other => panic!("{other:?}"),
        };
        let good = r#"{"id":"\"data\"","data":{"inputs":[["x"],[1]]}}"#;
        let (path, message) = malformed(&format!(
            r#"{{"chunks":[{good},{{"id":"a","data" : {{"inputs":[["x"],[1],[NaN]]}}}}]}}"#
        ));
        assert_eq!(path.as_deref(), Some("chunks[1].data.inputs[2]"));
        assert!(message.contains("byte 23"), "{message}");
        let (path, message) = malformed(&format!(r#"[{good},{{"id":"a","data":{{"inputs"x}}}}]"#));
        assert_eq!(path.as_deref(), Some("chunks[1].data"));
        assert!(message.contains("line 1 column"), "{message}");
        assert_eq!(malformed("").0, None);
        assert_eq!(malformed("[] x").0, None);
        assert_eq!(malformed(&format!("[{good},")).0.as_deref(), Some("chunks[1]"));
    }

    #[test]
    fn large_and_many_chunks_are_refused() {
        let text = format!(r#"[{{"id":"a","data":{{"inputs":[["{}"]]}}}}]"#, "x".repeat(1_000));
        assert!(matches!(json(&text).unwrap_err(), DecodeError::ChunkTooLarge { limit: 1_000, .. }));
        let many = vec![r#"{"data":{"inputs":[[]]}}"#; MAX_CHUNKS + 1].join(",");
        assert_eq!(json(&format!("[{many}]")).unwrap_err(), DecodeError::TooManyChunks);
    }

    proptest::proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let body = Bytes::from(bytes);
            let _ = decode(Format::Json, &body, 1_000, 1_000);
            let _ = decode(Format::Bson, &body, 1_000, 1_000);
        }

        #[test]
        fn nearly_json_never_panics(text in r#"(\{"chunks":)?\[(\{"id":"a","data":\{"inputs":\[[\[\]0-9,"a{}:]{0,12}\]\}\},?){0,3}[\]}]{0,3}"#) {
            let _ = json(&text);
        }
    }
}
