//! Files that come as the body of a request: streamed to whoever reads them, or put aside first where any place of the file may
//! be read (Parquet).

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use millrace_table::{Format, Options, Source, Spool, SpoolError, TableError};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::error::ApiError;
use crate::state::AppState;

/// Frames of the body that wait to be read.
const FRAMES: usize = 16;
/// A sender that is silent for this long is given up.
const STALL: Duration = Duration::from_secs(30);

/// The format of a body: what a parameter says, else the content type.
///
/// # Errors
///
/// 400 for a name that is none, 415 where nothing says it, or the body has a content encoding.
pub fn format_of(named: Option<&str>, headers: &HeaderMap) -> Result<Format, ApiError> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(ApiError::unsupported_media_type("uploads are taken without a content encoding"));
    }
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match (named, media) {
        (Some(name), _) => Format::named(name).ok_or_else(unknown_format),
        (None, media) => media.and_then(Format::named).ok_or_else(|| {
            let text = "send text/csv, application/x-ndjson or application/vnd.apache.parquet, or name the format: \
                        ?format=csv, jsonl or parquet";
            ApiError::unsupported_media_type(text)
        }),
    }
}

/// 400: there is no such format.
pub fn unknown_format() -> ApiError {
    ApiError::bad_request("INVALID_PARAMETER", "format must be csv, jsonl or parquet", "format".to_owned())
}

/// 429: as many files are being read or written as may be.
pub(super) fn too_many() -> ApiError {
    ApiError::too_many("TOO_MANY_FILES", "other files are being read or written; try again later", None, 5)
}

/// How files are read on this server.
pub fn options(state: &AppState) -> Options {
    Options { page_bytes: state.config.files.page_bytes, ..Options::default() }
}

/// The refusal of a file.
pub fn refused(error: TableError) -> ApiError {
    let text = error.to_string();
    match error {
        TableError::Row { .. } => ApiError::bad_request("INVALID_ROW", text, None),
        TableError::File(_) => ApiError::bad_request("INVALID_FILE", text, None),
        TableError::Broken(_) | TableError::Stopped => ApiError::bad_request("BODY_INCOMPLETE", text, None),
    }
}

/// The answer where a temporary file cannot be written.
pub fn not_spooled(error: &SpoolError) -> ApiError {
    match error {
        SpoolError::TooLarge { limit } => ApiError::unprocessable(
            "PARQUET_TOO_LARGE",
            format!(
                "the file needs more than {limit} bytes on the server's disk; use csv or jsonl, which are streamed"
            ),
            None,
        ),
        SpoolError::Disk { .. } => ApiError::internal(error),
    }
}

/// A file on its way in.
#[derive(Debug)]
pub enum Arrival {
    /// Bytes are read as they come.
    Stream {
        /// The rest of the body.
        body: Body,
        /// Counts its bytes.
        bytes: Arc<AtomicI64>,
    },
    /// It is here.
    Here(File),
}

/// A file that is being read.
pub struct Arriving {
    /// What to read.
    pub source: Source,
    /// Brings the bytes there; to be run beside the reading. That the reader ends early is no error of it.
    pub feeding: BoxFuture<'static, Result<(), ApiError>>,
}

impl std::fmt::Debug for Arriving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arriving").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Arrival {
    /// Takes a body in: a Parquet file as a whole. `bytes` counts them.
    ///
    /// # Errors
    ///
    /// 422 for a file that is too large to be put aside, 400 for a body that breaks off.
    pub async fn of(
        state: &AppState,
        body: Body,
        format: Format,
        bytes: Arc<AtomicI64>,
    ) -> Result<Self, ApiError> {
        if format != Format::Parquet {
            return Ok(Self::Stream { body, bytes });
        }
        let (folder, limit) = (state.config.files.folder(), state.config.files.spool_bytes);
        let (frames, mut rest) = channel::<Bytes>(FRAMES);
        let spooling = tokio::task::spawn_blocking(move || {
            let mut spool = Spool::create(&folder, limit)?;
            while let Some(frame) = rest.blocking_recv() {
                spool.append(&frame)?;
            }
            spool.into_file()
        });
        let fed = feed(body, frames, bytes).await;
        // The disk, before what its failure led to.
        let file = spooling.await.map_err(|error| ApiError::internal(&error))?;
        let file = file.map_err(|error| not_spooled(&error))?;
        fed.map(|()| Self::Here(file))
    }

    /// Begins to read.
    pub fn begin(self) -> Arriving {
        match self {
            Self::Here(file) => {
                Arriving { source: Source::File(file), feeding: Box::pin(std::future::ready(Ok(()))) }
            }
            Self::Stream { body, bytes } => {
                let (frames, rest) = channel(FRAMES);
                let source = Source::Stream(Box::new(Frames { frames: rest, current: Bytes::new() }));
                Arriving { source, feeding: Box::pin(feed(body, frames, bytes)) }
            }
        }
    }
}

/// Hands the body's frames to the reader. That the reader has ended is no error here.
async fn feed(body: Body, frames: Sender<Bytes>, bytes: Arc<AtomicI64>) -> Result<(), ApiError> {
    let mut body = body.into_data_stream();
    let refused = |text: String| Err(ApiError::bad_request("BODY_INCOMPLETE", text, None));
    loop {
        match tokio::time::timeout(STALL, body.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(frame))) => {
                bytes.fetch_add(i64::try_from(frame.len()).unwrap_or(0), Ordering::Relaxed);
                if frames.send(frame).await.is_err() {
                    return Ok(());
                }
            }
            Ok(Some(Err(error))) => return refused(format!("the body broke off: {error}")),
            Err(_) => return refused(format!("no byte of the body came for {} s", STALL.as_secs())),
        }
    }
}

/// A body's frames as a file.
struct Frames {
    frames: Receiver<Bytes>,
    current: Bytes,
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.frames.blocking_recv() {
                Some(frame) => self.current = frame,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        buffer[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}
