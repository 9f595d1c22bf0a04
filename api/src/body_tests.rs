#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;

use axum::body::Body;
use millrace_common::config::Config;
use tokio_util::sync::CancellationToken;

use super::*;

fn state(body_bytes: usize, memory_bytes: usize) -> AppState {
    let mut config = Config::default();
    config.limits.body_bytes = body_bytes;
    config.http.memory_bytes = memory_bytes;
    AppState::start(config, &CancellationToken::new()).unwrap()
}

async fn read(state: &AppState, encoding: &str, body: Vec<u8>) -> Result<DecodedBody, ApiError> {
    let request = Request::builder()
        .header("content-encoding", encoding)
        .header("content-length", body.len())
        .header("content-type", "application/json; charset=utf-8")
        .body(Body::from(body))
        .unwrap();
    read_body(state, request).await
}

fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "identity" => bytes.to_vec(),
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            let mut encoder = brotli::CompressorWriter::new(&mut out, 4096, 5, 22);
            encoder.write_all(bytes).unwrap();
            drop(encoder);
            out
        }
        "zstd" => zstd::encode_all(bytes, 3).unwrap(),
        other => panic!("{other}"),
    }
}

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

fn sample() -> Vec<u8> {
    (0..40_000_u32).flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_string().into_bytes()).collect()
}

#[tokio::test]
async fn every_encoding_is_decoded_and_gives_its_memory_back() {
    let state = state(1_000_000, 4_000_000);
    let free = state.memory.free_bytes();
    for coding in ["identity", "gzip", "deflate", "br", "zstd"] {
        let body = read(&state, coding, encode(coding, &sample())).await.unwrap();
        assert_eq!(body.bytes, sample(), "{coding}");
        assert_eq!(body.media, Media::Json);
        assert!(body.permit.bytes() >= body.bytes.len());
        drop(body);
        assert_eq!(state.memory.free_bytes(), free, "{coding}");
    }
    let twice = encode("gzip", &encode("br", b"[1]"));
    assert_eq!(read(&state, "br, gzip", twice).await.unwrap().bytes, "[1]");
}

#[tokio::test]
async fn a_stream_cut_short_or_spoilt_is_400() {
    let state = state(1_000_000, 4_000_000);
    for coding in CODINGS {
        let whole = encode(coding, &sample());
        for keep in [0, 1, whole.len() / 2, whole.len() - 1] {
            let error = read(&state, coding, whole[..keep].to_vec()).await.unwrap_err();
            assert_eq!(
                (error.status().as_u16(), error.code()),
                (400, "BROKEN_COMPRESSION"),
                "{coding} {keep}"
            );
        }
        let error = read(&state, coding, b"{\"not\": \"compressed\"}".to_vec()).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (400, "BROKEN_COMPRESSION"), "{coding}");
    }
    assert_eq!(state.memory.free_bytes() / 1024, 4_000_000 / 1024);
}

#[tokio::test]
async fn bombs_end_at_the_limit() {
    let state = state(1_000_000, 64_000_000);
    let zeros = vec![0_u8; 5_000_000];
    for coding in CODINGS {
        let bomb = encode(coding, &zeros);
        assert!(bomb.len() < 100_000);
        let error = read(&state, coding, bomb).await.unwrap_err();
        assert_eq!((error.status().as_u16(), error.code()), (422, "BODY_TOO_LARGE"), "{coding}");
    }
    let nested = encode("gzip", &encode("gzip", &zeros));
    assert_eq!(read(&state, "gzip, gzip", nested).await.unwrap_err().code(), "BODY_TOO_LARGE");
}

#[tokio::test]
async fn the_limit_is_exact() {
    let state = state(1_000, 4_000_000);
    assert_eq!(read(&state, "identity", vec![b' '; 1_000]).await.unwrap().bytes.len(), 1_000);
    assert_eq!(read(&state, "identity", vec![b' '; 1_001]).await.unwrap_err().code(), "BODY_TOO_LARGE");
    let unannounced = Body::from_stream(futures_util::stream::iter(
        (0..11).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 100]))),
    ));
    let error = read_body(&state, Request::new(unannounced)).await.unwrap_err();
    assert_eq!(error.code(), "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_full_memory_is_429() {
    let state = state(1_000_000, 1_000_000);
    let held = read(&state, "identity", vec![b' '; 900_000]).await.unwrap();
    let error = read(&state, "identity", vec![b' '; 200_000]).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.code()), (429, "SERVER_BUSY"));
    let error = read(&state, "gzip", encode("gzip", &vec![0; 500_000])).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.code()), (429, "SERVER_BUSY"));
    drop(held);
    assert!(read(&state, "identity", vec![b' '; 200_000]).await.is_ok());
}

#[tokio::test]
async fn encodings_and_types_that_nobody_knows_are_415() {
    let state = state(1_000, 4_000_000);
    assert_eq!(read(&state, "lzma", vec![]).await.unwrap_err().status(), 415);
    assert_eq!(read(&state, "gzip, gzip, gzip", vec![]).await.unwrap_err().status(), 415);
    let request = Request::builder().header("content-type", "text/plain").body(Body::from("{}")).unwrap();
    let body = read_body(&state, request).await.unwrap();
    assert_eq!(body.json::<serde_json::Value>().unwrap_err().status(), 415);
    let body = read_body(&state, Request::new(Body::from("{\n nope"))).await.unwrap();
    let error = body.json::<serde_json::Value>().unwrap_err();
    assert_eq!((error.status().as_u16(), error.code()), (400, "MALFORMED_JSON"));
    assert!(error.message().contains("line 2"), "{}", error.message());
}

#[tokio::test]
async fn a_connection_that_breaks_is_400() {
    let state = state(1_000, 4_000_000);
    let frames: Vec<Result<Bytes, std::io::Error>> =
        vec![Ok(Bytes::from("{")), Err(std::io::Error::other("reset"))];
    let request = Request::new(Body::from_stream(futures_util::stream::iter(frames)));
    assert_eq!(read_body(&state, request).await.unwrap_err().code(), "BODY_INCOMPLETE");
}
