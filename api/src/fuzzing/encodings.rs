//! Content encodings: nothing grows beyond its limit, and what is decoded is what others decode.

use std::io::Read;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use futures_util::stream;

use super::wait;
use crate::body::{DecodedBody, decode_within};
use crate::memory::MemoryBudget;

/// The first byte of the input chooses among these.
const ENCODINGS: [&str; 10] = [
    "",
    "gzip",
    "deflate",
    "br",
    "zstd",
    "br, gzip",
    "deflate, zstd",
    "gzip, gzip, gzip",
    "identity, x-gzip",
    "compress",
];

/// A body with its encoding (first byte), limit and frames (second byte). It is decoded to no more than its limit, within the
/// memory budget, all of which comes back; or refused with a 4xx. What is decoded agrees with the reading half of each library.
pub fn encodings(bytes: &[u8]) {
    let [choice, cut, body @ ..] = bytes else { return };
    let encoding = ENCODINGS[usize::from(*choice) % ENCODINGS.len()];
    let limit = 256_usize << (cut & 7);
    let frame = 1 + usize::from(cut >> 3) * 7;
    let memory = MemoryBudget::new(64 * 1024);
    let free = memory.free_bytes();
    let frames: Vec<Result<Bytes, std::io::Error>> =
        body.chunks(frame).map(|frame| Ok(Bytes::copy_from_slice(frame))).collect();
    let mut request = Request::builder();
    if !encoding.is_empty() {
        request = request.header("content-encoding", encoding);
    }
    let Ok(request) = request.body(Body::from_stream(stream::iter(frames))) else { return };
    match wait(decode_within(&memory, request, limit)) {
        Some(Ok(decoded)) => check(encoding, body, limit, &decoded),
        Some(Err(refused)) => assert!(refused.status().is_client_error(), "{refused:?}"),
        None => return,
    }
    assert_eq!(memory.free_bytes(), free, "all memory comes back");
}

fn check(encoding: &str, body: &[u8], limit: usize, decoded: &DecodedBody) {
    assert!(decoded.bytes.len() <= limit, "{} bytes of {limit}", decoded.bytes.len());
    assert!(decoded.permit.bytes() >= decoded.bytes.len());
    let reader: Box<dyn Read + '_> = match encoding {
        "" => Box::new(body),
        "gzip" | "identity, x-gzip" => Box::new(flate2::read::MultiGzDecoder::new(body)),
        "deflate" => Box::new(flate2::read::ZlibDecoder::new(body)),
        "br" => Box::new(brotli::Decompressor::new(body, 4_096)),
        "zstd" => match zstd::stream::read::Decoder::new(body) {
            Ok(decoder) => Box::new(decoder),
            Err(_) => return,
        },
        _ => return,
    };
    let mut expected = Vec::new();
    let read = reader.take(limit as u64 + 1).read_to_end(&mut expected);
    assert!(read.is_ok(), "{encoding}: others refuse it: {read:?}");
    assert_eq!(decoded.bytes, expected, "{encoding}");
}
