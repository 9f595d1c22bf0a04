//! `GET …/batch/{id}/chunkresults` (contract 1.3): claim, then stream the stored bytes.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use millrace_common::model::Caller;
use millrace_common::store::{BatchView, Claim, StoredResult};
use uuid::Uuid;

use super::access::{batch_id, not_found, visible_view};
use super::to_the_end;
use super::wire::{StatusBody, StatusFields};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::memory::MemoryPermit;
use crate::middleware;
use crate::state::AppState;

/// So many full pages may be in memory at once.
pub(super) const PAGES_AT_ONCE: usize = 2;
/// Chunks of a pull that names no number.
const DEFAULT_CHUNKS: i64 = 50;
/// The most chunks of one pull; larger numbers are clamped.
const MOST_CHUNKS: i64 = 100;
/// The answer is sent in pieces of about this many bytes.
const PIECE: usize = 64 * 1024;
/// A result from this size on is decompressed on a thread for blocking work.
const OFF_RUNTIME: usize = 1_000_000;
/// The smallest page worth claiming.
const SMALLEST_PAGE: usize = 256 * 1024;
/// How long a pull waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(2);
/// Pauses before the status is asked for again after a claim. What was claimed must not be lost to a short outage.
const STATUS_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// Hands out finished chunks, in the order of their completion.
pub(super) async fn pull(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let received_at = middleware::current().received_at;
    let id = batch_id(&id)?;
    let max_chunks = wanted(&query)?;
    to_the_end(claim(state, caller, id, max_chunks, received_at)).await.map(Page::into_response)
}

/// How many chunks are asked for: `max`, else `max_chunks`.
fn wanted(query: &[(String, String)]) -> Result<i64, ApiError> {
    let given = ["max", "max_chunks"].into_iter().find_map(|name| query.iter().find(|(key, _)| key == name));
    let Some((name, text)) = given else { return Ok(DEFAULT_CHUNKS) };
    let text = text.trim();
    let too_large = text.len() > 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if too_large { Some(MOST_CHUNKS) } else { text.parse::<i64>().ok() };
    match number {
        Some(number) if number >= 1 => Ok(number.min(MOST_CHUNKS)),
        _ => Err(ApiError::bad_request(
            "INVALID_VALUE",
            format!("{name} must be a whole number, 1 or more"),
            name.clone(),
        )),
    }
}

/// What a pull hands out.
struct Page {
    results: Vec<StoredResult>,
    status: StatusBody,
    permit: MemoryPermit,
}

async fn claim(
    state: AppState,
    caller: Caller,
    id: Uuid,
    max_chunks: i64,
    received_at: DateTime<Utc>,
) -> Result<Page, ApiError> {
    let before = visible_view(&state, &caller, id).await?;
    let available = usize::try_from(before.counters.output_bytes).unwrap_or(0);
    let mut permit = reserve(&state, available).await?;
    let max_bytes = i64::try_from(permit.bytes()).unwrap_or(i64::MAX);
    let results = match state.store.claim_results(id, before.batch.day, max_chunks, max_bytes).await? {
        Claim::Results(results) => results,
        Claim::Cancelled => {
            return Err(ApiError::conflict("BATCH_CANCELLED", "the batch is cancelled; nothing of it can be pulled"));
        }
        Claim::NotFound => return Err(not_found(id)),
    };
    permit.shrink_to(results.iter().map(|result| result.body.len()).sum());
    let view = if results.is_empty() { before } else { view_after(&state, before, &results).await };
    let status = StatusFields::new(&view, received_at, &state.config.clocks);
    Ok(Page { results, status: StatusBody { id, status }, permit })
}

/// Memory for a page: `limits.pull_bytes`, or less when there is less to pull or other pulls hold most of the budget.
async fn reserve(state: &AppState, available: usize) -> Result<MemoryPermit, ApiError> {
    let budget = &state.batches.pulls;
    let wanted = available.clamp(SMALLEST_PAGE, state.config.limits.pull_bytes.max(SMALLEST_PAGE));
    let page = wanted.min(budget.free_bytes()).max(SMALLEST_PAGE);
    budget.reserve(page, MEMORY_WAIT).await.ok_or_else(|| {
        ApiError::too_many("SERVER_BUSY", "too many results are on their way; try again", None, 1)
    })
}

/// The batch after the claim. When the database cannot be asked, the view from before, less what was claimed: the caller
/// gets the results all the same.
async fn view_after(state: &AppState, before: BatchView, results: &[StoredResult]) -> BatchView {
    let mut pauses = STATUS_PAUSES.iter();
    loop {
        match state.store.batch_view(before.batch.tenant_id, before.batch.id).await {
            Ok(Some(view)) => return view,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, "no status after a claim");
                let Some(pause) = pauses.next() else { break };
                tokio::time::sleep(*pause).await;
            }
        }
    }
    less_claimed(before, results)
}

/// A view from before a claim, corrected by what was claimed. The records of the claimed chunks are not known here; they count
/// as pulled once nothing else is available.
fn less_claimed(mut view: BatchView, results: &[StoredResult]) -> BatchView {
    let claimed = i64::try_from(results.len()).unwrap_or(i64::MAX);
    let bytes: i64 = results.iter().map(|result| i64::from(result.bytes)).sum();
    let (available, records) = view.available();
    view.counters.chunks_pulled += claimed.min(available);
    view.counters.output_bytes = (view.counters.output_bytes - bytes).max(0);
    if claimed >= available {
        view.counters.records_pulled += records;
    }
    view
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = self.into_body().into_response();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

impl Page {
    /// `{"data":[…],"status":{…},…the same fields again…}`, results decompressed one at a time, never parsed.
    fn into_body(self) -> Body {
        let Self { results, status, permit } = self;
        let end = match end_of_page(&status) {
            Ok(end) => end,
            Err(error) => return Body::from_stream(stream::once(async { Err::<Bytes, _>(io::Error::other(error)) })),
        };
        let pieces = Pieces { results: results.into_iter(), first: true, end: Some(end), _permit: permit };
        Body::from_stream(stream::unfold(pieces, Pieces::next).boxed())
    }
}

/// The end of the answer, from the bracket that closes `data`.
fn end_of_page(status: &StatusBody) -> Result<Vec<u8>, serde_json::Error> {
    let status = serde_json::to_vec(status)?;
    let mut end = Vec::with_capacity(status.len() * 2 + 16);
    end.extend_from_slice(b"],\"status\":");
    end.extend_from_slice(&status);
    end.push(b',');
    // The same object's fields once more, with its closing brace as the answer's.
    end.extend_from_slice(status.get(1..).unwrap_or_default());
    Ok(end)
}

/// The pieces of an answer that are not sent yet.
struct Pieces {
    results: std::vec::IntoIter<StoredResult>,
    first: bool,
    end: Option<Vec<u8>>,
    _permit: MemoryPermit,
}

impl Pieces {
    /// The next piece: results until it is large enough, and after the last one the end.
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        self.end.as_ref()?;
        let mut piece = Vec::with_capacity(PIECE);
        if self.first {
            piece.extend_from_slice(b"{\"data\":[");
        }
        while piece.len() < PIECE {
            let Some(result) = self.results.next() else {
                piece.extend(self.end.take().unwrap_or_default());
                break;
            };
            if !std::mem::replace(&mut self.first, false) {
                piece.push(b',');
            }
            if let Err(error) = append(&mut piece, result).await {
                // The connection breaks off, so that the caller does not take the answer for whole.
                tracing::error!(%error, "a stored result cannot be read");
                self.end = None;
                return Some((Err(error), self));
            }
        }
        Some((Ok(Bytes::from(piece)), self))
    }
}

/// Appends the bytes of a result.
async fn append(piece: &mut Vec<u8>, result: StoredResult) -> io::Result<()> {
    let StoredResult { compressed, bytes, body, .. } = result;
    if !compressed {
        piece.extend_from_slice(&body);
        return Ok(());
    }
    let size = usize::try_from(bytes).unwrap_or(0);
    let decompress = move || zstd::bulk::decompress(&body, size);
    let body = if size < OFF_RUNTIME { decompress()? } else { tokio::task::spawn_blocking(decompress).await?? };
    piece.extend_from_slice(&body);
    Ok(())
}
