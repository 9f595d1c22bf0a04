//! Request bodies: decoded, bounded, and within the memory budget (contract 0.3).

use std::io::{self, Write};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zstd::stream::raw::{DParameter, Decoder as ZstdOperation};
use zstd::stream::zio;

use crate::error::ApiError;
use crate::memory::{MemoryBudget, MemoryPermit};
use crate::state::AppState;

/// How long a request waits for its share of the memory budget before it is told to come back.
const MEMORY_WAIT: Duration = Duration::from_secs(1);

/// A sender that is silent for this long in the middle of a body is given up.
const STALL: Duration = Duration::from_secs(30);

/// Reserved for a body whose size is not announced, before its first byte.
const UNANNOUNCED: usize = 64 * 1024;

/// How much larger than its compressed form a body is expected to be.
const EXPECTED_RATIO: usize = 4;

/// The largest window of a zstd stream, as a power of two: 16 MiB.
const ZSTD_WINDOW_LOG: u32 = 24;

/// The media type of a body, as far as routes tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json` and `…+json`.
    Json,
    /// `application/bson`.
    Bson,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// No content type.
    Unstated,
    /// Any other.
    Other,
}

impl Media {
    pub(crate) fn of(content_type: Option<&str>) -> Self {
        let Some(content_type) = content_type else { return Self::Unstated };
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" => Self::Unstated,
            "application/bson" => Self::Bson,
            "application/x-www-form-urlencoded" => Self::Form,
            "multipart/form-data" => Self::Multipart,
            essence if essence == "application/json" || essence.ends_with("+json") => Self::Json,
            _ => Self::Other,
        }
    }
}

/// A whole request body without its content encodings.
#[derive(Debug)]
pub struct DecodedBody {
    /// The bytes.
    pub bytes: Bytes,
    /// What they are said to be.
    pub media: Media,
    /// The whole `Content-Type`, for its parameters.
    pub content_type: Option<String>,
    /// The part of the memory budget that the bytes take up. Keep it as long as the bytes.
    pub permit: MemoryPermit,
}

impl DecodedBody {
    /// Reads the bytes as JSON; another stated type than JSON is refused with 415.
    pub fn json<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ApiError> {
        match self.media {
            Media::Json | Media::Unstated => {}
            Media::Bson | Media::Form | Media::Multipart | Media::Other => {
                return Err(ApiError::unsupported_media_type(format!(
                    "the body must be application/json, not {}",
                    self.content_type.as_deref().unwrap_or_default()
                )));
            }
        }
        serde_json::from_slice(&self.bytes).map_err(|error| malformed_json(&error))
    }
}

/// The 400 for JSON that cannot be read; the place is line and column.
pub fn malformed_json(error: &serde_json::Error) -> ApiError {
    ApiError::bad_request("MALFORMED_JSON", format!("the body is not as expected: {error}"), None)
}

/// Reads and decodes a request's body, within `limits.body_bytes`.
pub async fn read_body(state: &AppState, request: Request) -> Result<DecodedBody, ApiError> {
    read_body_within(state, request, state.config.limits.body_bytes).await
}

/// As [`read_body`], and then as JSON.
pub async fn read_json<T: DeserializeOwned>(state: &AppState, request: Request) -> Result<T, ApiError> {
    read_body(state, request).await?.json()
}

/// As [`read_body`], with another limit on the decoded size in bytes. Refusals leave the rest of the body to the outermost
/// layer, which drains it.
pub async fn read_body_within(
    state: &AppState,
    request: Request,
    limit: usize,
) -> Result<DecodedBody, ApiError> {
    decode_within(&state.memory, request, limit).await
}

/// As [`read_body_within`], within this memory budget.
pub(crate) async fn decode_within(
    memory: &MemoryBudget,
    request: Request,
    limit: usize,
) -> Result<DecodedBody, ApiError> {
    let (parts, body) = request.into_parts();
    let codings = codings(&parts.headers)?;
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let media = Media::of(content_type.as_deref());
    let announced = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let expected = match announced {
        Some(length) if codings.is_empty() => length,
        Some(length) => length.saturating_mul(EXPECTED_RATIO).min(limit),
        None => UNANNOUNCED.min(limit),
    };
    let permit = memory.reserve(expected, MEMORY_WAIT).await.ok_or_else(busy)?;
    let buffer =
        Buffer { bytes: Vec::with_capacity(expected), limit, budget: memory.clone(), permit, refusal: None };
    let mut decoder = Decoder::new(&codings, buffer)?;
    let mut frames = body.into_data_stream();
    loop {
        let frame = match tokio::time::timeout(STALL, frames.next()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                return Err(ApiError::bad_request(
                    "BODY_INCOMPLETE",
                    format!("the body broke off: {error}"),
                    None,
                ));
            }
            Err(_) => {
                let message = format!("no byte of the body came for {} s", STALL.as_secs());
                return Err(ApiError::bad_request("BODY_STALLED", message, None));
            }
        };
        decoder.feed(&frame)?;
    }
    let buffer = decoder.finish()?;
    let Buffer { bytes, mut permit, .. } = buffer;
    permit.shrink_to(bytes.capacity());
    Ok(DecodedBody { bytes: Bytes::from(bytes), media, content_type, permit })
}

/// A content coding that needs work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The codings of a body in the order of their decoding.
fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, ApiError> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = value.to_str().unwrap_or("?");
        for name in value.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            codings.push(match name.as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                other => {
                    return Err(ApiError::unsupported_media_type(format!(
                        "the content encoding {other:?} is not supported; gzip, deflate, br and zstd are"
                    )));
                }
            });
        }
    }
    if codings.len() > 2 {
        return Err(ApiError::unsupported_media_type("more than two content encodings on top of each other"));
    }
    codings.reverse();
    Ok(codings)
}

fn too_large(limit: usize) -> ApiError {
    // Not 413, which the SDK does not know (contract 0.4).
    ApiError::unprocessable(
        "BODY_TOO_LARGE",
        format!("the body is larger than {limit} bytes after decompression"),
        None,
    )
    .with_details(serde_json::json!({"limit_bytes": limit}))
}

fn busy() -> ApiError {
    ApiError::too_many("SERVER_BUSY", "too many request bodies are in memory; try again", None, 1)
}

/// Where decoded bytes go: never beyond the limit nor the memory budget.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    limit: usize,
    budget: MemoryBudget,
    permit: MemoryPermit,
    /// Why no more is taken.
    refusal: Option<ApiError>,
}

impl Buffer {
    fn make_room(&mut self, more: usize) -> Result<(), ApiError> {
        let needed = self.bytes.len() + more;
        if needed > self.limit {
            return Err(too_large(self.limit));
        }
        if needed > self.bytes.capacity() {
            let generous = (self.bytes.capacity() * 2).clamp(needed, self.limit);
            let capacity = [generous, needed].into_iter().find(|capacity| {
                let missing = capacity.saturating_sub(self.permit.bytes());
                missing == 0 || self.budget.grow(&mut self.permit, missing)
            });
            self.bytes.reserve_exact(capacity.ok_or_else(busy)? - self.bytes.len());
        }
        Ok(())
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(refusal) = self.make_room(bytes.len()) {
            self.refusal = Some(refusal);
            return Err(io::Error::other("no room"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A chain of decoders that ends in a [`Buffer`].
enum Decoder {
    Identity(Buffer),
    Gzip(Box<flate2::write::MultiGzDecoder<Decoder>>),
    Deflate(Box<Zlib>),
    Brotli(Box<brotli::DecompressorWriter<Decoder>>),
    Zstd(Box<zio::Writer<Decoder, ZstdOperation<'static>>>),
}

impl Decoder {
    fn new(codings: &[Coding], buffer: Buffer) -> Result<Self, ApiError> {
        // The first coding to undo is the outermost writer.
        codings.iter().rev().try_fold(Self::Identity(buffer), |next, coding| {
            Ok(match coding {
                Coding::Gzip => Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(next))),
                Coding::Deflate => Self::Deflate(Box::new(Zlib::new(next))),
                Coding::Brotli => Self::Brotli(Box::new(brotli::DecompressorWriter::new(next, 16 * 1024))),
                Coding::Zstd => {
                    let mut operation = ZstdOperation::new().map_err(|error| ApiError::internal(&error))?;
                    operation
                        .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
                        .map_err(|error| ApiError::internal(&error))?;
                    Self::Zstd(Box::new(zio::Writer::new(next, operation)))
                }
            })
        })
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        self.write_all(bytes).map_err(|error| self.refusal(&error))
    }

    /// Ends every stream of the chain; one that is cut short is refused.
    fn finish(mut self) -> Result<Buffer, ApiError> {
        match self.close() {
            Ok(()) => self.into_buffer().ok_or_else(|| ApiError::internal(&"a decoder lost its buffer")),
            Err(error) => Err(self.refusal(&error)),
        }
    }

    fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Identity(_) => Ok(()),
            Self::Gzip(decoder) => {
                decoder.try_finish()?;
                decoder.get_mut().close()
            }
            Self::Deflate(decoder) => {
                decoder.finish()?;
                decoder.next.close()
            }
            Self::Brotli(decoder) => {
                decoder.close()?;
                decoder.get_mut().close()
            }
            Self::Zstd(decoder) => {
                decoder.finish()?;
                decoder.flush()?;
                decoder.writer_mut().close()
            }
        }
    }

    fn buffer(&self) -> &Buffer {
        match self {
            Self::Identity(buffer) => buffer,
            Self::Gzip(decoder) => decoder.get_ref().buffer(),
            Self::Deflate(decoder) => decoder.next.buffer(),
            Self::Brotli(decoder) => decoder.get_ref().buffer(),
            Self::Zstd(decoder) => decoder.writer().buffer(),
        }
    }

    fn into_buffer(self) -> Option<Buffer> {
        match self {
            Self::Identity(buffer) => Some(buffer),
            Self::Gzip(decoder) => decoder.finish().ok()?.into_buffer(),
            Self::Deflate(decoder) => decoder.next.into_buffer(),
            Self::Brotli(decoder) => {
                let (Ok(next) | Err(next)) = decoder.into_inner();
                next.into_buffer()
            }
            Self::Zstd(decoder) => decoder.into_inner().0.into_buffer(),
        }
    }

    /// The buffer's own refusal, or else the stream is broken.
    fn refusal(&self, error: &io::Error) -> ApiError {
        self.buffer().refusal.clone().unwrap_or_else(|| {
            let message = format!("the body is not what its content encoding says: {error}");
            ApiError::bad_request("BROKEN_COMPRESSION", message, None)
        })
    }
}

impl Write for Decoder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Identity(buffer) => buffer.write(bytes),
            Self::Gzip(decoder) => decoder.write(bytes),
            Self::Deflate(decoder) => decoder.write(bytes),
            Self::Brotli(decoder) => decoder.write(bytes),
            Self::Zstd(decoder) => decoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Undoes `deflate`, which is a zlib stream; unlike the crate's own writer it refuses one that is cut short.
struct Zlib {
    inflate: flate2::Decompress,
    ended: bool,
    next: Decoder,
}

impl Zlib {
    fn new(next: Decoder) -> Self {
        Self { inflate: flate2::Decompress::new(true), ended: false, next }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<usize> {
        let total = bytes.len();
        let mut out = [0_u8; 16 * 1024];
        while !self.ended && !bytes.is_empty() {
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(bytes, &mut out, flate2::FlushDecompress::None)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let read = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(self.inflate.total_out() - written).unwrap_or(usize::MAX);
            self.next.write_all(out.get(..written).unwrap_or_default())?;
            bytes = bytes.get(read..).unwrap_or_default();
            self.ended = status == flate2::Status::StreamEnd;
            if read == 0 && written == 0 && !self.ended {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the stream makes no progress"));
            }
        }
        if !bytes.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes after the end of the stream"));
        }
        Ok(total)
    }

    fn finish(&mut self) -> io::Result<()> {
        // What did not fit the last output window is still inside.
        let mut out = [0_u8; 16 * 1024];
        while !self.ended {
            let written = self.inflate.total_out();
            let status = self
                .inflate
                .decompress(&[], &mut out, flate2::FlushDecompress::Finish)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let written = usize::try_from(self.inflate.total_out() - written).unwrap_or(usize::MAX);
            self.next.write_all(out.get(..written).unwrap_or_default())?;
            self.ended = status == flate2::Status::StreamEnd;
            if written == 0 && !self.ended {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream is cut short"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
