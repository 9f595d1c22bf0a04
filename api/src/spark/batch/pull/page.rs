//! Pages of results as they are sent: stored bytes between `data` and the status, decompressed one at a time, never parsed.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use millrace_common::store::StoredResult;
use serde::Serialize;

use super::super::wire::StatusBody;
use crate::error::ApiError;
use crate::memory::MemoryPermit;

/// The answer is sent in pieces of about this many bytes.
const PIECE: usize = 64 * 1024;
/// A result from this size on is decompressed on a thread for blocking work.
const OFF_RUNTIME: usize = 1_000_000;

/// What a pull hands out.
pub(super) struct Page {
    pub results: Vec<StoredResult>,
    pub status: StatusBody,
    /// How to go on; `None` where a pull has no cursor.
    pub forward: Option<Forward>,
    pub permit: MemoryPermit,
}

/// Where a reader with a cursor goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Forward {
    /// What to give as `after`, and to acknowledge once the page is safe.
    pub next_cursor: String,
    /// Whether there are more right now.
    pub has_more: bool,
}

impl Page {
    /// `{"data":[…],…cursor…,"status":{…},…the same fields again…}`
    pub(super) async fn into_response(self) -> Result<Response, ApiError> {
        let Self { results, status, forward, permit } = self;
        let end = end_of_page(&status, forward.as_ref()).map_err(|error| ApiError::internal(&error))?;
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
fn end_of_page(status: &StatusBody, forward: Option<&Forward>) -> Result<Vec<u8>, serde_json::Error> {
    let status = serde_json::to_vec(status)?;
    let mut end = Vec::with_capacity(status.len() * 2 + 128);
    end.extend_from_slice(b"],");
    if let Some(forward) = forward {
        let forward = serde_json::to_vec(forward)?;
        end.extend_from_slice(inside(&forward));
        end.push(b',');
    }
    end.extend_from_slice(b"\"status\":");
    end.extend_from_slice(&status);
    end.push(b',');
    // The same object's fields once more, with its closing brace as the answer's.
    end.extend_from_slice(status.get(1..).unwrap_or_default());
    Ok(end)
}

/// An object without its braces.
fn inside(object: &[u8]) -> &[u8] {
    object.get(1..object.len().saturating_sub(1)).unwrap_or_default()
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

    use std::time::Duration;

    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    use super::super::super::wire::StatusFields;
    use super::super::super::wire::tests::view;
    use super::*;
    use crate::memory::MemoryBudget;

    const MEMORY_WAIT: Duration = Duration::from_secs(2);

    fn result(id: &str, outputs: usize, compressed: bool) -> StoredResult {
        let body = json!({"id": id, "outputs": vec![id; outputs]}).to_string();
        let bytes = i32::try_from(body.len()).unwrap();
        let body =
            if compressed { zstd::bulk::compress(body.as_bytes(), 1).unwrap() } else { body.into_bytes() };
        StoredResult { chunk_id: id.to_owned(), ordinal: 1, bytes, compressed, body }
    }

    async fn answer(results: Vec<StoredResult>) -> (Response<()>, Result<Vec<u8>, axum::Error>) {
        let view = view();
        let clocks = millrace_common::config::ClocksConfig::default();
        let status = StatusBody { id: view.batch.id, status: StatusFields::new(&view, view.now, &clocks) };
        let permit = MemoryBudget::new(1_000_000).reserve(10_000, MEMORY_WAIT).await.unwrap();
        let response = Page { results, status, forward: None, permit }.into_response().await.unwrap();
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
        let mut body =
            Page { results, status, forward: None, permit }.into_response().await.unwrap().into_body();
        let mut frames = 0;
        while let Some(frame) = body.frame().await {
            frame.unwrap();
            frames += 1;
        }
        assert!(frames > 1);
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn a_cursor_stands_between_data_and_status() {
        let view = view();
        let clocks = millrace_common::config::ClocksConfig::default();
        let status = StatusBody { id: view.batch.id, status: StatusFields::new(&view, view.now, &clocks) };
        let forward = Forward { next_cursor: "abc".to_owned(), has_more: true };
        let end = String::from_utf8(end_of_page(&status, Some(&forward)).unwrap()).unwrap();
        let body: Value = serde_json::from_str(&format!("{{\"data\":[{end}")).unwrap();
        assert_eq!((&body["next_cursor"], &body["has_more"]), (&json!("abc"), &json!(true)));
        assert_eq!(body["status"]["id"], body["id"]);
    }
}
