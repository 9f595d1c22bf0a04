//! `POST …/batch/{id}/upload`: records from a file, pushed in chunks as they come.
//!
//! Chunks have ids of a prefix and their number, so that the same upload again counts nothing twice.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use millrace_common::model::Caller;
use millrace_decode::{Format as PushFormat, MAX_ID_CHARS};
use millrace_table::chunks::{CHUNK_BYTES, Piece, Pieces};
use millrace_table::{Reader, TableError};
use serde::Serialize;
use serde_json::{Map, json};
use tokio::sync::mpsc::{Receiver, channel};
use utoipa::ToSchema;

use super::access::{BatchId, target, visible_view};
use super::push::refuse;
use super::to_the_end;
use super::wire::{StatusBody, StatusFields};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Query;
use crate::files::arrival::{self, Arrival, Arriving};
use crate::files::departure;
use crate::middleware;
use crate::push::{PushError, Target};
use crate::state::AppState;

/// Records of a chunk, unless something else is said.
const CHUNK_SIZE: u32 = 1_000;
/// The most records of a chunk.
const MOST: u32 = 100_000;
/// Memory of an upload: chunks that are read, and one on its way.
const MEMORY: usize = 4_000_000;
/// How long an upload waits for this memory.
const MEMORY_WAIT: Duration = Duration::from_secs(2);
/// Pauses between two tries to push into a full buffer.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Digits of a chunk's number.
const DIGITS: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    format: Option<String>,
    chunk_size: u32,
    prefix: String,
}

impl Wanted {
    fn read(query: &[(String, String)]) -> Result<Self, ApiError> {
        let text = |name: &str| query.iter().rfind(|(key, _)| key == name).map(|(_, text)| text.as_str());
        let invalid = |name: &str, what: String| {
            ApiError::bad_request("INVALID_VALUE", format!("{name} must be {what}"), name.to_owned())
        };
        let chunk_size = match text("chunk_size").map(str::parse) {
            None => CHUNK_SIZE,
            Some(Ok(size)) if (1..=MOST).contains(&size) => size,
            Some(_) => return Err(invalid("chunk_size", format!("a whole number from 1 to {MOST}"))),
        };
        let prefix = text("prefix").unwrap_or("file-");
        let longest = MAX_ID_CHARS - 2 * DIGITS;
        if prefix.chars().count() > longest || prefix.contains('\0') {
            return Err(invalid("prefix", format!("a text of up to {longest} characters")));
        }
        Ok(Self { format: text("format").map(str::to_owned), chunk_size, prefix: prefix.to_owned() })
    }
}

/// What an upload brought.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct UploadBody {
    /// Records in the file.
    rows: u64,
    /// Chunks that they are in.
    chunks: u64,
    /// The id of the first chunk; null for a file without records.
    first_chunk: Option<String>,
    /// The id of the last chunk.
    last_chunk: Option<String>,
    /// The status, this upload included.
    #[serde(flatten)]
    status: StatusBody,
}

/// Takes the records of a file into the batch, in chunks with the ids PREFIX00000000, PREFIX00000001, …. While a buffer is full it
/// waits for room. When it is refused or breaks off, the chunks before stay: `error.details` says how many rows are in, and the
/// same upload again counts them once.
#[utoipa::path(post, path = "/{tenant}/api/v4/batch/{id}/upload", tag = "Batches", operation_id = "uploadRecords",
    params(
        ("id" = String, Path, description = "The batch."),
        ("format" = Option<String>, Query, description = "`csv`, `jsonl` or `parquet`, where the content type does not say it."),
        ("chunk_size" = Option<u32>, Query, minimum = 1, maximum = 100000, description = "Records in each chunk but the last, 1,000 when absent. A chunk ends after 1 MB as well."),
        ("prefix" = Option<String>, Query, description = "What the ids of chunks begin with, `file-` when absent. Another file in the same batch needs another one."),
    ),
    request_body(content = String, content_type = "text/csv", description = "The file. CSV cells are sent as text, an empty one as a blank; JSON Lines and Parquet have values."),
    responses(
        (status = 200, description = "All rows are in.", body = UploadBody),
        (status = 400, description = "The file is wrong; the message has line (or row) and column."),
        (status = 409, description = "The batch is not open, or a chunk id is taken by other content."),
        (status = 429, description = "A buffer stayed full for `files.room_timeout_ms`, or a rate limit is reached."),
    ))]
pub(super) async fn upload(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    Query(query): Query<Vec<(String, String)>>,
    request: Request,
) -> Result<Json<UploadBody>, ApiError> {
    let received_at = middleware::current().received_at;
    // First of all: what is wrong with the request says nothing to somebody who may not see the batch.
    let target = target(&state, &caller, id).await?;
    let wanted = Wanted::read(&query)?;
    let format = arrival::format_of(wanted.format.as_deref(), request.headers())?;
    let _permit = departure::admit(&state)?;
    let _memory = state.memory.reserve(MEMORY, MEMORY_WAIT).await.ok_or_else(|| {
        ApiError::too_many("SERVER_BUSY", "too many bodies are on their way; try again", None, 1)
    })?;
    let arrival = Arrival::of(&state, request.into_body(), format, Arc::new(AtomicI64::new(0))).await?;
    let Arriving { source, feeding } = arrival.begin();
    let (options, size) = (arrival::options(&state), wanted.chunk_size);
    let (pieces, taken) = channel(1);
    let reader = tokio::task::spawn_blocking(move || {
        let mut cut = Pieces::new(Reader::open(source, format, options)?, size, CHUNK_BYTES, Map::new());
        while let Some(piece) = cut.next_piece()? {
            if pieces.blocking_send(piece).is_err() {
                return Err(TableError::Stopped);
            }
        }
        Ok(())
    });
    let mut done = Done { prefix: wanted.prefix, rows: 0, chunks: 0 };
    let (fed, pushed) = tokio::join!(feeding, push_all(&state, &caller, target, taken, &mut done));
    let read = reader.await.map_err(|error| ApiError::internal(&error))?;
    match (read, pushed, fed) {
        (Ok(()), Ok(()), Ok(())) => done.answer(&state, &caller, target, received_at).await,
        // What was pushed, before what its failure led to.
        (_, Err(error), _) => Err(done.refuse(error)),
        (Err(error @ (TableError::Row { .. } | TableError::File(_))), ..) => {
            Err(done.refuse(arrival::refused(error)))
        }
        (_, _, Err(error)) => Err(done.refuse(error)),
        (Err(error), ..) => Err(done.refuse(arrival::refused(error))),
    }
}

/// Pushes one chunk after the other. When one is refused, the reader is let go.
async fn push_all(
    state: &AppState,
    caller: &Caller,
    target: Target,
    mut pieces: Receiver<Piece>,
    done: &mut Done,
) -> Result<(), ApiError> {
    while let Some(piece) = pieces.recv().await {
        let records = piece.records;
        push_patiently(state, caller, target, &done.id(piece.index), piece).await?;
        done.rows += u64::from(records);
        done.chunks += 1;
    }
    Ok(())
}

/// How far an upload is.
#[derive(Debug)]
struct Done {
    prefix: String,
    rows: u64,
    chunks: u64,
}

impl Done {
    fn id(&self, index: u64) -> String {
        format!("{}{index:0DIGITS$}", self.prefix)
    }

    fn last(&self) -> Option<String> {
        self.chunks.checked_sub(1).map(|last| self.id(last))
    }

    async fn answer(
        self,
        state: &AppState,
        caller: &Caller,
        target: Target,
        received_at: DateTime<Utc>,
    ) -> Result<Json<UploadBody>, ApiError> {
        let view = visible_view(state, caller, target.batch_id).await?;
        let status = StatusFields::new(&view, received_at, &state.config.clocks);
        let (first_chunk, last_chunk) = ((self.chunks > 0).then(|| self.id(0)), self.last());
        let status = StatusBody { id: target.batch_id, status };
        Ok(Json(UploadBody { rows: self.rows, chunks: self.chunks, first_chunk, last_chunk, status }))
    }

    /// The refusal of what comes behind.
    fn refuse(&self, error: ApiError) -> ApiError {
        let details = json!({"rows": self.rows, "chunks": self.chunks, "last_chunk": self.last()});
        error.with_details(details)
    }
}

/// Pushes a chunk; waits for room while a buffer is full, and for the rate limit.
async fn push_patiently(
    state: &AppState,
    caller: &Caller,
    target: Target,
    id: &str,
    piece: Piece,
) -> Result<(), ApiError> {
    let limit = state.config.limits.chunk_bytes;
    if piece.data.len() > limit {
        let message = format!(
            "the chunk {id} has {} bytes; a chunk has at most {limit}: give a smaller chunk_size",
            piece.data.len()
        );
        return Err(ApiError::unprocessable("CHUNK_TOO_LARGE", message, "chunk_size".to_owned()));
    }
    let data = String::from_utf8(piece.data).map_err(|error| ApiError::internal(&error))?;
    let body = Bytes::from(format!("[{{\"id\":{},\"data\":{data}}}]", json!(id)));
    drop(data);
    let until = Instant::now() + Duration::from_millis(state.config.files.room_timeout_ms);
    let mut pause = FIRST_PAUSE;
    loop {
        let (owned, caller, bytes) = (state.clone(), caller.clone(), body.clone());
        let Err(error) = to_the_end(async move { push_once(&owned, &caller, target, bytes).await }).await
        else {
            return Ok(());
        };
        if error.status() != StatusCode::TOO_MANY_REQUESTS || Instant::now() + pause > until {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn push_once(state: &AppState, caller: &Caller, target: Target, body: Bytes) -> Result<(), ApiError> {
    state.rate_limits.push(caller.tenant_id, body.len())?;
    let decoded = state.batches.pushes.decode(PushFormat::Json, body).await;
    let push = decoded.map_err(|error| refuse(error, target))?;
    let needed = push.chunks.iter().map(|chunk| chunk.data.len()).sum::<usize>();
    let needed = i64::try_from(needed).unwrap_or(i64::MAX);
    state.batches.budgets.check_output(&state.store, caller.tenant_id, needed).await?;
    match state.batches.pushes.push(target, push).await {
        Err(error @ PushError::InputFull { needed, .. }) => {
            let view = visible_view(state, caller, target.batch_id).await?;
            Err(state.batches.budgets.input_full(&view, needed, error.to_string()))
        }
        outcome => outcome.map(drop).map_err(|error| refuse(error, target)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn queries_are_read() {
        let read = |query: &[(&str, &str)]| {
            Wanted::read(&query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(
            read(&[]).unwrap(),
            Wanted { format: None, chunk_size: 1_000, prefix: "file-".to_owned() }
        );
        let wanted = Wanted { format: Some("csv".to_owned()), chunk_size: 7, prefix: String::new() };
        assert_eq!(read(&[("format", "csv"), ("chunk_size", "7"), ("prefix", "")]).unwrap(), wanted);
        let long = "x".repeat(113);
        for bad in [("chunk_size", "0"), ("chunk_size", "100001"), ("chunk_size", "x"), ("prefix", &long)] {
            assert_eq!(read(&[bad]).unwrap_err().status(), 400, "{bad:?}");
        }
    }

    #[test]
    fn ids_are_in_order() {
        let done = Done { prefix: "a-".to_owned(), rows: 3, chunks: 2 };
        assert_eq!((done.id(0), done.last().unwrap()), ("a-00000000".to_owned(), "a-00000001".to_owned()));
        assert_eq!(Done { chunks: 0, ..done }.last(), None);
    }
}
