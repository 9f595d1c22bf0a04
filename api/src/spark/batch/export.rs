//! `GET …/batch/{id}/export`: the results of a batch as a file. Nothing is pulled by it.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures_util::future::BoxFuture;
use millrace_common::store::{BatchView, StoredResult};
use millrace_table::{Columns, Format, distinct};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::access::{BatchId, visible_view};
use super::failures::require_results;
use super::pull::page_of;
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Query;
use crate::files::arrival::unknown_format;
use crate::files::departure::{self, Departure, Pages, Row};
use crate::state::AppState;

/// Chunks of one page.
const PAGE_CHUNKS: i64 = 200;
/// Bytes of results of one page; one chunk comes in any case.
const PAGE_BYTES: i64 = 1_000_000;
/// What stands behind the columns of the results.
const ABOUT: [&str; 4] = ["chunk_id", "record", "errors", "warnings"];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    format: Format,
    partial: bool,
}

impl Wanted {
    fn read(query: &[(String, String)]) -> Result<Self, ApiError> {
        let text = |name: &str| query.iter().rfind(|(key, _)| key == name).map(|(_, text)| text.trim());
        let format = text("format").map_or(Some(Format::Csv), Format::named).ok_or_else(unknown_format)?;
        let partial = match text("partial") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                let message = "partial must be true or false";
                return Err(ApiError::bad_request("INVALID_VALUE", message, "partial".to_owned()));
            }
        };
        Ok(Self { format, partial })
    }
}

/// The results of a batch, a row for each record in the order in which chunks finished: the columns of the results, those of
/// `unique_record_key` first, then `chunk_id`, `record` (from 0 on), `errors` and `warnings`. Nothing is pulled. Of a batch that
/// runs it is what is finished; pulled chunks are in it as long as they can be handed out again.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}/export", tag = "Batches", operation_id = "exportResults",
    params(
        ("id" = String, Path, description = "The batch."),
        ("format" = Option<String>, Query, description = "`csv` when absent, `jsonl` or `parquet`."),
        ("partial" = Option<bool>, Query, description = "What is still there, although chunks were pulled too long ago."),
    ),
    responses(
        (status = 200, description = "The file.", content((String = "text/csv"), (String = "application/x-ndjson"), (Vec<u8> = "application/vnd.apache.parquet"))),
        (status = 404, description = "There is no such batch, or its results have expired."),
        (status = 409, description = "The batch is cancelled; or chunks were pulled too long ago to be handed out again, and `partial` was not given."),
    ))]
pub(super) async fn export(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let view = visible_view(&state, &caller, id).await?;
    let wanted = Wanted::read(&query)?;
    require_results(&view)?;
    let permit = departure::admit(&state)?;
    let grace = Duration::from_secs(state.config.clocks.redeliver_seconds).as_secs_f64();
    if !wanted.partial {
        let gone = state.store.count_gone_results(id, view.batch.day, grace).await?;
        if gone > 0 {
            let message = format!(
                "{gone} chunks were pulled too long ago to be handed out again; partial=true exports the others"
            );
            return Err(ApiError::conflict("RESULTS_PULLED", message)
                .with_details(serde_json::json!({"chunks_gone": gone})));
        }
    }
    let mut results = Results { state: state.clone(), view, grace, after: 0, columns: Columns::default() };
    results.find_columns().await?;
    let columns = distinct(results.columns.iter().cloned().chain(ABOUT.map(str::to_owned)));
    Departure { format: wanted.format, name: format!("batch-{id}"), columns }
        .send(&state, permit, results)
        .await
}

/// The results of an export.
struct Results {
    state: AppState,
    view: BatchView,
    grace: f64,
    after: i64,
    /// Of the results; none when no chunk was completed.
    columns: Columns,
}

impl Results {
    /// The next results; none at the end.
    async fn read(&mut self) -> Result<Vec<StoredResult>, ApiError> {
        loop {
            let (id, day) = (self.view.batch.id, self.view.batch.day);
            let reading = self
                .state
                .store
                .read_all_results(id, day, self.after, PAGE_CHUNKS, PAGE_BYTES, self.grace)
                .await?;
            let (results, has_more) = page_of(reading, id)?;
            if let Some(last) = results.last() {
                self.after = last.ordinal;
            }
            // While a commit hangs, a page may be empty though there is more.
            if !results.is_empty() || !has_more {
                return Ok(results);
            }
        }
    }

    /// Learns the columns from the first completed chunk, and begins again.
    async fn find_columns(&mut self) -> Result<(), ApiError> {
        loop {
            let results = self.read().await?;
            if results.is_empty() {
                break;
            }
            let heading = move || results.iter().find_map(|result| heading(result).transpose()).transpose();
            let found =
                tokio::task::spawn_blocking(heading).await.map_err(|error| ApiError::internal(&error))?;
            if let Some(columns) = found? {
                self.columns = columns;
                break;
            }
        }
        self.after = 0;
        Ok(())
    }
}

impl Pages for Results {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>, ApiError>> {
        Box::pin(async move {
            let results = self.read().await?;
            if results.is_empty() {
                return Ok(None);
            }
            let columns = Columns::clone(&self.columns);
            let rows = move || {
                let mut rows = Vec::new();
                for result in &results {
                    append(&mut rows, &columns, result)?;
                }
                Ok(rows)
            };
            let rows = tokio::task::spawn_blocking(rows).await.map_err(|error| ApiError::internal(&error))?;
            rows.map(Some)
        })
    }
}

/// A stored result, as far as it is exported (contract 1.3).
#[derive(Debug, Deserialize)]
struct Stored<'a> {
    #[serde(borrow, default)]
    outputs: Vec<Vec<&'a RawValue>>,
    #[serde(default)]
    errors: Option<Vec<Value>>,
    #[serde(default)]
    warnings: Option<Vec<Value>>,
    #[serde(borrow, default)]
    status: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
}

impl Stored<'_> {
    fn has_failed(&self) -> bool {
        self.status.as_deref() == Some("failed")
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::internal(&format_args!("a stored result cannot be read: {error}"))
}

fn body(result: &StoredResult) -> Result<Cow<'_, [u8]>, ApiError> {
    if !result.compressed {
        return Ok(Cow::Borrowed(&result.body));
    }
    let size = usize::try_from(result.bytes).unwrap_or(0);
    zstd::bulk::decompress(&result.body, size).map(Cow::Owned).map_err(|error| unreadable(&error))
}

fn names(stored: &Stored<'_>) -> Result<Vec<String>, ApiError> {
    let heading = stored.outputs.first().map(Vec::as_slice).unwrap_or_default();
    let names = heading.iter().map(|name| serde_json::from_str(name.get()));
    names.collect::<Result<_, _>>().map_err(|error| unreadable(&error))
}

/// The columns of a completed chunk.
fn heading(result: &StoredResult) -> Result<Option<Columns>, ApiError> {
    let body = body(result)?;
    let stored: Stored<'_> = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    if stored.has_failed() { Ok(None) } else { Ok(Some(names(&stored)?.into())) }
}

/// Appends a row for each record of a chunk.
fn append(rows: &mut Vec<Row>, columns: &Columns, result: &StoredResult) -> Result<(), ApiError> {
    let body = body(result)?;
    let stored: Stored<'_> = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    let id = Value::from(result.chunk_id.as_str()).to_string();
    let null = || "null".to_owned();
    if stored.has_failed() {
        let reason = messages(stored.errors.as_deref().unwrap_or_default());
        for record in 0..stored.size.unwrap_or(0) {
            let outputs = columns.iter().map(|_| null());
            rows.push(outputs.chain([id.clone(), record.to_string(), reason.clone(), null()]).collect());
        }
        return Ok(());
    }
    // Every chunk of a batch has the same columns, but they need not be in the same order.
    let names = names(&stored)?;
    let places: Vec<Option<usize>> =
        columns.iter().map(|column| names.iter().position(|name| name == column)).collect();
    let about = |list: &Option<Vec<Value>>, record: usize| {
        list.as_ref()
            .and_then(|list| list.get(record))
            .map_or_else(null, |entry| messages(std::slice::from_ref(entry)))
    };
    for (record, cells) in stored.outputs.iter().skip(1).enumerate() {
        let cell = |place: &Option<usize>| {
            place.and_then(|at| cells.get(at)).map_or_else(null, |cell| cell.get().to_owned())
        };
        let (errors, warnings) = (about(&stored.errors, record), about(&stored.warnings, record));
        let about = [id.clone(), record.to_string(), errors, warnings];
        rows.push(places.iter().map(cell).chain(about).collect());
    }
    Ok(())
}

/// The messages in entries of `errors` or `warnings`, as one JSON text; null when there are none.
fn messages(entries: &[Value]) -> String {
    fn gather(entry: &Value, found: &mut Vec<String>) {
        match entry {
            Value::Null => {}
            Value::String(text) => found.push(text.clone()),
            Value::Array(entries) => entries.iter().for_each(|entry| gather(entry, found)),
            other => found.push(other["message"].as_str().map_or_else(|| other.to_string(), str::to_owned)),
        }
    }
    let mut found = Vec::new();
    entries.iter().for_each(|entry| gather(entry, &mut found));
    if found.is_empty() { "null".to_owned() } else { Value::from(found.join("; ")).to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use serde_json::json;

    use super::*;

    fn stored(body: &Value, compressed: bool) -> StoredResult {
        let text = body.to_string().into_bytes();
        let bytes = i32::try_from(text.len()).unwrap();
        let body = if compressed { zstd::bulk::compress(&text, 1).unwrap() } else { text };
        StoredResult { chunk_id: "c".to_owned(), ordinal: 1, bytes, compressed, body }
    }

    #[test]
    fn results_become_rows() {
        let good = json!({
            "id": "c", "outputs": [["id", "total"], ["007", 1.5], ["x", null]], "status": "completed",
            "errors": [null, [{"message": "too deep"}, {"message": "again"}]], "warnings": [["careful"], null],
        });
        let failed = json!({"id": "c", "outputs": [], "errors": [{"message": "no key"}], "status": "failed", "size": 2});
        for compressed in [false, true] {
            let columns = heading(&stored(&good, compressed)).unwrap().unwrap();
            assert_eq!(*columns, ["id", "total"]);
            assert_eq!(heading(&stored(&failed, compressed)).unwrap(), None);
            let mut rows = Vec::new();
            append(&mut rows, &columns, &stored(&good, compressed)).unwrap();
            append(&mut rows, &columns, &stored(&failed, compressed)).unwrap();
            // A chunk with its columns in another order.
            let other =
                json!({"outputs": [["total", "id"], [2, "y"]], "status": "completed", "errors": null});
            append(&mut rows, &columns, &stored(&other, compressed)).unwrap();
            let wanted = [
                ["\"007\"", "1.5", "\"c\"", "0", "null", "\"careful\""],
                ["\"x\"", "null", "\"c\"", "1", "\"too deep; again\"", "null"],
                ["null", "null", "\"c\"", "0", "\"no key\"", "null"],
                ["null", "null", "\"c\"", "1", "\"no key\"", "null"],
                ["\"y\"", "2", "\"c\"", "0", "null", "null"],
            ];
            assert_eq!(rows, wanted.map(|row| row.map(str::to_owned).to_vec()));
        }
    }

    #[test]
    fn queries_are_read() {
        let read = |query: &[(&str, &str)]| {
            Wanted::read(&query.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(read(&[]).unwrap(), Wanted { format: Format::Csv, partial: false });
        let wanted = Wanted { format: Format::Parquet, partial: true };
        assert_eq!(read(&[("format", "parquet"), ("partial", "true")]).unwrap(), wanted);
        for bad in [("format", "xls"), ("partial", "yes")] {
            assert_eq!(read(&[bad]).unwrap_err().status(), 400);
        }
    }
}
