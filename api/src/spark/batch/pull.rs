//! `GET …/batch/{id}/chunkresults` (contract 1.3): claim, then stream the stored bytes.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use millrace_common::model::Caller;
use millrace_common::store::{BatchView, Claim, StoredResult};
use uuid::Uuid;

use super::access::{BatchId, not_found, visible_view};
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
    BatchId(id): BatchId,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let received_at = middleware::current().received_at;
    let max_chunks = wanted(&query)?;
    to_the_end(claim(state, caller, id, max_chunks, received_at)).await?.into_response().await
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
            return Err(ApiError::conflict(
                "BATCH_CANCELLED",
                "the batch is cancelled; nothing of it can be pulled",
            ));
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

impl Page {
    /// `{"data":[…],"status":{…},…the same fields again…}`, results decompressed one at a time, never parsed.
    async fn into_response(self) -> Result<Response, ApiError> {
        let Self { results, status, permit } = self;
        let end = end_of_page(&status).map_err(|error| ApiError::internal(&error))?;
        let left = results.iter().map(|result| result.body.len()).sum();
        let pieces = Pieces { results: results.into_iter(), first: true, end: Some(end), left, permit };
        let body = match pieces.next().await {
            // One piece needs no stream, and tells its length.
            Some((Ok(piece), Pieces { end: None, .. })) => Body::from(piece),
            Some((first, rest)) => {
                // Fused, for a compressing layer polls once more after the end.
                Body::from_stream(stream::iter([first]).chain(stream::unfold(rest, Pieces::next)).fuse())
            }
            None => Body::empty(),
        };
        Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
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
    /// `None` when everything was handed out.
    end: Option<Vec<u8>>,
    /// Stored bytes of the results that are left.
    left: usize,
    permit: MemoryPermit,
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
            self.left = self.left.saturating_sub(result.body.len());
            if let Err(error) = append(&mut piece, result).await {
                // The connection breaks off, so that the caller does not take the answer for whole.
                tracing::error!(%error, "a stored result cannot be read");
                self.end = None;
                return Some((Err(error), self));
            }
        }
        self.permit.shrink_to(self.left);
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
    let body =
        if size < OFF_RUNTIME { decompress()? } else { tokio::task::spawn_blocking(decompress).await?? };
    piece.extend_from_slice(&body);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::super::wire::tests::view;
    use super::*;
    use crate::memory::MemoryBudget;

    fn pairs(query: &str) -> Vec<(String, String)> {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn max_wins_is_clamped_and_must_be_a_positive_integer() {
        for (query, expected) in [
            ("", 50),
            ("max=1", 1),
            ("max=100", 100),
            ("max=500", 100),
            ("max=99999999999999999999999999", 100),
            ("max_chunks=7", 7),
            ("max_chunks=7&max=8", 8),
            ("max_chunks=x&max=8", 8),
        ] {
            assert_eq!(wanted(&pairs(query)).unwrap(), expected, "{query}");
        }
        for query in [
            "max=0",
            "max=-1",
            "max=x",
            "max=",
            "max=1.5",
            "max=1e2",
            "max_chunks=0",
            "max=-99999999999999999999999",
        ] {
            let error = wanted(&pairs(query)).unwrap_err();
            assert_eq!(error.status().as_u16(), 400, "{query}");
            assert!(error.source_path().is_some());
        }
    }

    fn result(id: &str, outputs: usize, compressed: bool) -> StoredResult {
        let body = json!({"id": id, "outputs": vec![id; outputs]}).to_string();
        let bytes = i32::try_from(body.len()).unwrap();
        let body =
            if compressed { zstd::bulk::compress(body.as_bytes(), 1).unwrap() } else { body.into_bytes() };
        StoredResult { chunk_id: id.to_owned(), bytes, compressed, body }
    }

    async fn answer(results: Vec<StoredResult>) -> (Response<()>, Result<Vec<u8>, axum::Error>) {
        let view = view();
        let clocks = millrace_common::config::ClocksConfig::default();
        let status = StatusBody { id: view.batch.id, status: StatusFields::new(&view, view.now, &clocks) };
        let permit = MemoryBudget::new(1_000_000).reserve(10_000, MEMORY_WAIT).await.unwrap();
        let response = Page { results, status, permit }.into_response().await.unwrap();
        let (parts, mut body) = response.into_parts();
        let whole = (&mut body).collect().await.map(|body| body.to_bytes().to_vec());
        assert!(body.frame().await.is_none(), "the body must stand being asked again after its end");
        (Response::from_parts(parts, ()), whole)
    }

    #[tokio::test]
    async fn stored_bytes_are_handed_out_between_data_and_status() {
        for (count, outputs) in [(0, 0), (1, 1), (3, 2), (100, 1_000)] {
            let results =
                (0..count).map(|index| result(&index.to_string(), outputs, index % 2 == 0)).collect();
            let (head, body) = answer(results).await;
            assert_eq!(head.headers()["content-type"], "application/json");
            let body: Value = serde_json::from_slice(&body.unwrap()).unwrap();
            let data = body["data"].as_array().unwrap();
            assert_eq!(data.len(), count);
            for (index, result) in data.iter().enumerate() {
                assert_eq!(result["id"], index.to_string());
                assert_eq!(result["outputs"].as_array().unwrap().len(), outputs);
            }
            // The status stands there twice: nested and flattened.
            for (field, value) in body["status"].as_object().unwrap() {
                assert_eq!(&body[field], value);
            }
            assert_eq!(body["status"].as_object().unwrap().len() + 2, body.as_object().unwrap().len());
        }
    }

    #[tokio::test]
    async fn a_broken_result_breaks_the_answer_off() {
        let mut broken = result("b", 1, true);
        broken.body.truncate(5);
        let (_, body) = answer(vec![result("a", 1, false), broken]).await;
        assert!(body.is_err());
    }

    #[tokio::test]
    async fn the_end_of_a_long_answer_may_be_polled_again() {
        let view = view();
        let clocks = millrace_common::config::ClocksConfig::default();
        let status = StatusBody { id: view.batch.id, status: StatusFields::new(&view, view.now, &clocks) };
        let permit = MemoryBudget::new(1_000_000).reserve(10_000, MEMORY_WAIT).await.unwrap();
        let results = (0..100).map(|index| result(&index.to_string(), 1_000, true)).collect();
        let mut body = Page { results, status, permit }.into_response().await.unwrap().into_body();
        let mut frames = 0;
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            frames += 1;
        }
        assert!(frames > 1);
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn without_a_fresh_status_the_claimed_chunks_are_deducted() {
        let before = view();
        let (available, records) = before.available();
        assert!(available > 1 && records > 0);
        let one = less_claimed(before.clone(), &[result("a", 1, false)]);
        assert_eq!(one.available(), (available - 1, records));
        let all: Vec<_> = (0..available + 1).map(|_| result("a", 1, false)).collect();
        let none = less_claimed(before, &all);
        assert_eq!(none.available(), (0, 0));
        assert!(none.counters.output_bytes >= 0);
    }
}
