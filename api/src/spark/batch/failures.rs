//! `GET …/batch/{id}/failures`: what failed, and why.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use millrace_common::model::BatchState;
use millrace_common::store::{BatchView, FailedChunk, FailureKinds};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::access::{BatchId, visible_view};
use super::cursor::{Cursor, Purpose};
use super::pull::{cancelled, reserve};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Query;
use crate::openapi::schemas::FailurePage;
use crate::state::AppState;

/// Failures of a page that names no number.
const DEFAULT: usize = 100;
/// The most failures of one page; larger numbers are clamped.
const MOST: usize = 1_000;
/// A page ends once it has so many bytes.
const PAGE_BYTES: usize = 4_000_000;
/// Bytes of stored results that are read at once; one result is read whatever its size.
const READ_BYTES: usize = 4_000_000;
/// Results that are read at once.
const READ_CHUNKS: i64 = 200;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    kinds: FailureKinds,
    after: Option<String>,
    max: usize,
}

impl Wanted {
    fn read(query: &[(String, String)]) -> Result<Self, ApiError> {
        let text = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, text)| text.trim());
        let invalid = |name: &str, what: &str| {
            ApiError::bad_request("INVALID_VALUE", format!("{name} must be {what}"), name.to_owned())
        };
        let kinds = match text("kind") {
            None | Some("") => FailureKinds::ALL,
            Some(kind) => FailureKinds::parse(kind).ok_or_else(|| invalid("kind", "chunk, record or all"))?,
        };
        let max = match text("max") {
            None => DEFAULT,
            Some(text) => match text.parse::<u64>() {
                Ok(max) if max >= 1 => usize::try_from(max).unwrap_or(MOST).min(MOST),
                _ => return Err(invalid("max", "a whole number, 1 or more")),
            },
        };
        let after = text("after").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
        Ok(Self { kinds, after, max })
    }
}

/// A failed chunk, or a failed record.
#[derive(Debug, Serialize)]
struct Failure<'a> {
    kind: &'static str,
    chunk_id: &'a str,
    /// Of a record: its number within the chunk, from 0 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<i32>,
    /// Of a chunk: its records.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<i32>,
    /// Of a record: the values of the columns in `unique_record_key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_record_key: Option<BTreeMap<String, &'a RawValue>>,
    /// Error objects (contract 0.5).
    errors: &'a RawValue,
    /// Whether the input is there to be done again.
    input_kept: bool,
}

/// The parts of a stored result that tell of failures.
#[derive(Debug, Deserialize)]
struct Stored<'a> {
    #[serde(borrow)]
    outputs: &'a RawValue,
    #[serde(borrow)]
    errors: &'a RawValue,
}

/// 409 or 404 for a batch whose results are not there to be looked at.
pub(super) fn require_results(view: &BatchView) -> Result<(), ApiError> {
    if view.batch.state == BatchState::Cancelled {
        return Err(cancelled());
    }
    if view.batch.dropped_at.is_some() {
        let message = "the results of this batch have expired or were dropped";
        return Err(ApiError::not_found("RESULTS_EXPIRED", message));
    }
    Ok(())
}

/// Lists failed chunks and failed records, a page at a time; looking changes nothing.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}/failures", tag = "Batches", operation_id = "listFailures",
    params(
        ("id" = String, Path, description = "The batch."),
        ("kind" = Option<String>, Query, pattern = "^(chunk|record|all)$", description = "Failed chunks, failed records, or both when absent."),
        ("max" = Option<i64>, Query, minimum = 1, description = "At most so many, 100 when absent, never more than 1,000."),
        ("after" = Option<String>, Query, description = "The cursor to go on from."),
    ),
    responses((status = 200, description = "What failed, and why.", body = FailurePage), (status = 409, description = "The batch is cancelled: nothing of it is told.")))]
pub(super) async fn failures(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let wanted = Wanted::read(&query)?;
    let places = Cursor::read_or_start(Purpose::Failures, id, wanted.after.as_deref())?.places();
    let view = visible_view(&state, &caller, id).await?;
    require_results(&view)?;
    let (_permit, _) = reserve(&state, READ_BYTES + PAGE_BYTES, None).await?;
    let read_bytes = i64::try_from(READ_BYTES).unwrap_or(i64::MAX);
    let mut page = Page::new(id, &view, wanted.max, places);
    loop {
        let [from, _] = page.places;
        // A full page looks for one more, to say whether there is any.
        let most = if page.has_room() { READ_CHUNKS } else { 1 };
        let day = view.batch.day;
        let chunks = state.store.failed_chunks(id, day, wanted.kinds, from, most, read_bytes).await?;
        page.has_more = !chunks.is_empty();
        if chunks.is_empty() || !page.has_room() {
            break;
        }
        // Results may be large: not on the threads of the runtime.
        page = tokio::task::spawn_blocking(move || page.take(&chunks).map(|()| page))
            .await
            .map_err(|error| ApiError::internal(&error))?
            .map_err(|error| ApiError::internal(&error))?;
    }
    let body = page.finish().map_err(|error| ApiError::internal(&error))?;
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
}

/// A page as it is written.
struct Page {
    batch_id: Uuid,
    /// The columns in `unique_record_key`.
    keys: Option<String>,
    left: usize,
    /// The first chunk, and of it the first record, that is not in the page.
    places: [i64; 2],
    has_more: bool,
    out: Vec<u8>,
}

impl Page {
    fn new(batch_id: Uuid, view: &BatchView, max: usize, places: [i64; 2]) -> Self {
        let keys = view.batch.unique_record_key.clone();
        Self { batch_id, keys, left: max, places, has_more: true, out: b"{\"data\":[".to_vec() }
    }

    fn has_room(&self) -> bool {
        self.left > 0 && self.out.len() < PAGE_BYTES
    }

    /// Appends the failures of these chunks as far as there is room.
    fn take(&mut self, chunks: &[FailedChunk]) -> Result<(), String> {
        for chunk in chunks {
            if !self.has_room() {
                return Ok(());
            }
            // The place of a chunk that is gone by now is behind us all the same.
            let first = if chunk.chunk_no == self.places[0] { self.places[1] } else { 0 };
            let body = if chunk.compressed {
                let size = usize::try_from(chunk.bytes).unwrap_or(0);
                Cow::Owned(zstd::bulk::decompress(&chunk.body, size).map_err(|error| error.to_string())?)
            } else {
                Cow::Borrowed(chunk.body.as_slice())
            };
            let stored: Stored<'_> = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            match &chunk.positions {
                None => {
                    self.add(&Failure {
                        kind: "chunk",
                        chunk_id: &chunk.chunk_id,
                        record: None,
                        records: Some(chunk.records),
                        unique_record_key: None,
                        errors: stored.errors,
                        input_kept: chunk.input_kept,
                    })?;
                }
                Some(positions) => {
                    let errors: Vec<Option<&RawValue>> =
                        serde_json::from_str(stored.errors.get()).map_err(|error| error.to_string())?;
                    let outputs = Outputs::read(stored.outputs.get(), self.keys.as_deref());
                    for position in positions.iter().skip_while(|position| i64::from(**position) < first) {
                        if !self.has_room() {
                            self.places = [chunk.chunk_no, i64::from(*position)];
                            return Ok(());
                        }
                        let at = usize::try_from(*position).unwrap_or(0);
                        let Some(errors) = errors.get(at).copied().flatten() else { continue };
                        self.add(&Failure {
                            kind: "record",
                            chunk_id: &chunk.chunk_id,
                            record: Some(*position),
                            records: None,
                            unique_record_key: outputs.key(at),
                            errors,
                            input_kept: chunk.input_kept,
                        })?;
                    }
                }
            }
            self.places = [chunk.chunk_no.saturating_add(1), 0];
        }
        Ok(())
    }

    fn add(&mut self, failure: &Failure<'_>) -> Result<(), String> {
        if !self.out.ends_with(b"[") {
            self.out.push(b',');
        }
        self.left = self.left.saturating_sub(1);
        serde_json::to_writer(&mut self.out, failure).map_err(|error| error.to_string())
    }

    fn finish(mut self) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        struct End {
            id: Uuid,
            next_cursor: String,
            has_more: bool,
        }
        let next_cursor = Cursor::new(Purpose::Failures, self.places).write(self.batch_id);
        let end = serde_json::to_vec(&End { id: self.batch_id, next_cursor, has_more: self.has_more })?;
        self.out.extend_from_slice(b"],");
        self.out.extend_from_slice(end.get(1..).unwrap_or_default());
        Ok(self.out)
    }
}

/// The rows of a result, for the values of its keys.
#[derive(Debug, Default)]
struct Outputs<'a> {
    names: Vec<String>,
    rows: Vec<&'a RawValue>,
    /// Whether the first of `rows` is the header.
    header: bool,
}

impl<'a> Outputs<'a> {
    /// Without a key, nothing need be read. Keys come first in every row (contract 2.4).
    fn read(outputs: &'a str, keys: Option<&str>) -> Self {
        let Some(keys) = keys else { return Self::default() };
        let rows: Vec<&'a RawValue> = serde_json::from_str(outputs).unwrap_or_default();
        let header: Option<Vec<String>> = rows.first().and_then(|row| serde_json::from_str(row.get()).ok());
        let is_header = header.is_some();
        let all = header.unwrap_or_default();
        let given = |name: &String| {
            name.eq_ignore_ascii_case(keys)
                || keys.split(',').any(|key| key.trim().to_lowercase() == name.to_lowercase())
        };
        let names = if is_header {
            all.into_iter().take_while(given).collect()
        } else {
            keys.split(',').map(|key| key.trim().to_owned()).collect()
        };
        Self { names, rows, header: is_header }
    }

    /// The values of the keys in a record, by name, as they were pushed.
    fn key(&self, record: usize) -> Option<BTreeMap<String, &'a RawValue>> {
        let row: &'a RawValue = self.rows.get(record + usize::from(self.header))?;
        let key: BTreeMap<String, &'a RawValue> = if self.header {
            let values: Vec<&'a RawValue> = serde_json::from_str(row.get()).ok()?;
            self.names.iter().cloned().zip(values).collect()
        } else {
            let mut object: BTreeMap<String, &'a RawValue> = serde_json::from_str(row.get()).ok()?;
            object.retain(|name, _| self.names.iter().any(|key| key.to_lowercase() == name.to_lowercase()));
            object
        };
        (!key.is_empty()).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::{Value, json};

    use super::super::wire::tests::view;
    use super::*;

    fn chunk(number: i64, body: &Value, positions: Option<Vec<i32>>) -> FailedChunk {
        let body = body.to_string().into_bytes();
        FailedChunk {
            chunk_no: number,
            chunk_id: format!("c{number}"),
            records: 3,
            positions,
            input_kept: true,
            bytes: i32::try_from(body.len()).unwrap(),
            compressed: false,
            body,
        }
    }

    fn chunks() -> Vec<FailedChunk> {
        let error = json!([{"message": "no"}]);
        let rows = json!({"outputs": [["sales_id", "total"], [7, 1], [8, 2], ["x", 3]], "errors": [error, null, error]});
        let objects = json!({"outputs": [{"sales_id": 1.50, "total": 1}], "errors": [error]});
        vec![
            chunk(3, &json!({"outputs": [], "errors": [{"message": "all"}]}), None),
            chunk(5, &rows, Some(vec![0, 2])),
            chunk(6, &objects, Some(vec![0])),
        ]
    }

    fn pages(max: usize) -> Vec<Value> {
        let view = view();
        let mut all = Vec::new();
        let mut places = [0, 0];
        loop {
            let mut page = Page::new(view.batch.id, &view, max, places);
            let chunks: Vec<_> = chunks().into_iter().filter(|chunk| chunk.chunk_no >= places[0]).collect();
            page.take(&chunks).unwrap();
            places = page.places;
            let body: Value = serde_json::from_slice(&page.finish().unwrap()).unwrap();
            let data = body["data"].as_array().unwrap().clone();
            if data.is_empty() {
                return all;
            }
            assert!(data.len() <= max);
            all.extend(data);
        }
    }

    #[test]
    fn failures_come_once_each_whatever_the_page() {
        let all = pages(100);
        assert_eq!(
            all[0],
            json!({"kind": "chunk", "chunk_id": "c3", "records": 3, "errors": [{"message": "all"}], "input_kept": true})
        );
        let records: Vec<_> =
            all[1..].iter().map(|one| (one["record"].clone(), one["unique_record_key"].clone())).collect();
        assert_eq!(
            records,
            [
                (json!(0), json!({"sales_id": 7})),
                (json!(2), json!({"sales_id": "x"})),
                (json!(0), json!({"sales_id": 1.5})),
            ]
        );
        for max in 1..5 {
            assert_eq!(pages(max), all, "{max}");
        }
    }

    #[test]
    fn the_query_is_checked() {
        let read = |name: &str, text: &str| Wanted::read(&[(name.to_owned(), text.to_owned())]);
        assert_eq!(read("max", "5000").unwrap().max, MOST);
        assert!(!read("kind", "record").unwrap().kinds.chunks);
        assert!(!read("kind", "chunks").unwrap().kinds.records);
        for (name, text) in [("kind", "x"), ("max", "0"), ("max", "-1"), ("max", "")] {
            assert_eq!(read(name, text).unwrap_err().source_path(), Some(name), "{text}");
        }
    }
}
