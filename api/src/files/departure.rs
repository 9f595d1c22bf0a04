//! Files that go as the body of an answer: pages of records are fetched while the ones before are sent.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream;
use millrace_table::{Columns, Encoder, Format, ParquetRows, RowsError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Sender, channel};

use super::arrival::{not_spooled, too_many};
use crate::error::ApiError;
use crate::state::AppState;

/// Pieces of a Parquet file that wait to be sent.
const PIECES: usize = 4;
/// Bytes of such a piece.
const PIECE: usize = 64 * 1024;

/// A record: a JSON text for each column.
pub type Row = Vec<String>;

/// Where the records of a file come from.
pub trait Pages: Send + 'static {
    /// The next records, a few megabytes at most; `None` at the end.
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>, ApiError>>;
}

/// A file to be sent.
#[derive(Debug)]
pub struct Departure {
    /// How it is written.
    pub format: Format,
    /// Its name, without the ending.
    pub name: String,
    /// Its columns.
    pub columns: Columns,
}

/// A place among the files that may be read and written at the same time.
///
/// # Errors
///
/// 429 when there is none.
pub fn admit(state: &AppState) -> Result<OwnedSemaphorePermit, ApiError> {
    Arc::clone(&state.files).try_acquire_owned().map_err(|_| too_many())
}

impl Departure {
    /// The answer. What fails before the first record, or for Parquet before the last one, is refused as any request; what fails
    /// later breaks the connection off, so that nobody takes the file for whole.
    ///
    /// # Errors
    ///
    /// What `pages` says, and 422 for a Parquet file that is too large to be put aside.
    pub async fn send(
        self,
        state: &AppState,
        permit: OwnedSemaphorePermit,
        mut pages: impl Pages,
    ) -> Result<Response, ApiError> {
        let Self { format, name, columns } = self;
        let disposition = format!("attachment; filename=\"{name}.{}\"", format.as_str());
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(format.media())),
            (
                header::CONTENT_DISPOSITION,
                HeaderValue::try_from(disposition).map_err(|error| ApiError::internal(&error))?,
            ),
        ];
        let encoder = match format {
            Format::Csv => Encoder::csv(columns, b','),
            Format::JsonLines => Encoder::json_lines(columns),
            Format::Parquet => {
                let body = parquet(state, columns, permit, pages).await?;
                return Ok((headers, body).into_response());
            }
        };
        let first = pages.next().await?;
        let mut heading = Vec::new();
        encoder.heading(&mut heading);
        let sending = Sending { encoder, pages, permit };
        let begin = sending.encode(heading, first.as_deref().unwrap_or_default());
        let rest = first.is_some().then_some(sending);
        let rest = stream::try_unfold(rest, |sending: Option<Sending<_>>| async move {
            let Some(mut sending) = sending else { return Ok(None) };
            let page =
                sending.pages.next().await.map_err(|error| io::Error::other(error.message().to_owned()))?;
            let Some(page) = page else { return Ok::<_, io::Error>(None) };
            let bytes = sending.encode(Vec::new(), &page);
            Ok(Some((bytes, Some(sending))))
        });
        let begin = stream::iter([Ok(begin)]);
        Ok((headers, Body::from_stream(futures_util::StreamExt::chain(begin, rest))).into_response())
    }
}

/// What is still to be sent.
struct Sending<P> {
    encoder: Encoder,
    pages: P,
    #[expect(dead_code, reason = "held until everything is sent")]
    permit: OwnedSemaphorePermit,
}

impl<P> Sending<P> {
    fn encode(&self, mut out: Vec<u8>, page: &[Row]) -> Bytes {
        for row in page {
            self.encoder.record(&mut out, row.iter().map(String::as_str));
        }
        Bytes::from(out)
    }
}

/// Puts every record aside, then sends the file.
async fn parquet(
    state: &AppState,
    columns: Columns,
    permit: OwnedSemaphorePermit,
    mut pages: impl Pages,
) -> Result<Body, ApiError> {
    let (folder, limit) = (state.config.files.folder(), state.config.files.spool_bytes);
    let mut rows = ParquetRows::new(columns, &folder, limit).map_err(|error| not_written(&error))?;
    while let Some(page) = pages.next().await? {
        let put = move || {
            for row in &page {
                rows.push(row.iter().map(String::as_str))?;
            }
            Ok::<_, RowsError>(rows)
        };
        let put = tokio::task::spawn_blocking(put).await.map_err(|error| ApiError::internal(&error))?;
        rows = put.map_err(|error| not_written(&error))?;
    }
    let (pieces, mut sent) = channel::<io::Result<Bytes>>(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut out = Pieces { pieces: pieces.clone(), pending: Vec::with_capacity(PIECE) };
        let written = rows.write_to(&mut out).map_err(|error| error.to_string());
        if let Err(error) = written.and_then(|()| out.flush().map_err(|error| error.to_string())) {
            // Nobody is there to be told when the caller is gone.
            let _ = pieces.blocking_send(Err(io::Error::other(error)));
        }
        drop(permit);
    });
    Ok(Body::from_stream(stream::poll_fn(move |context| sent.poll_recv(context))))
}

fn not_written(error: &RowsError) -> ApiError {
    match error {
        RowsError::Spool(error) => not_spooled(error),
        RowsError::Write(_) | RowsError::Read(_) => ApiError::internal(error),
    }
}

/// Sends what is written.
struct Pieces {
    pieces: Sender<io::Result<Bytes>>,
    pending: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.pending));
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
