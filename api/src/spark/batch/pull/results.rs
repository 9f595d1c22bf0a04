//! `GET …/batch/{id}/results` and `POST …/batch/{id}/results/ack`: read first, free afterwards.
//!
//! A reader stores a page and then acknowledges its cursor, so nothing is lost with an answer or with the reader: whoever begins
//! again without a cursor gets what was not acknowledged.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use millrace_common::store::Acknowledged;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::access::{BatchId, not_found, visible_view};
use super::super::cursor::{Cursor, Purpose};
use super::super::to_the_end;
use super::super::wire::StatusBody;
use super::page::{Forward, Page};
use super::query::PullQuery;
use super::{cancelled, page_of, reserve, status};
use crate::auth::Auth;
use crate::body::read_body;
use crate::error::ApiError;
use crate::extract::Query;
use crate::middleware;
use crate::openapi::schemas::{Acknowledge, Page as PageSchema};
use crate::state::AppState;

/// Reads finished chunks behind a cursor, in the order of their completion, and leaves them where they are.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}/results", tag = "Batches", operation_id = "readResults",
    params(("id" = String, Path, description = "The batch."), ("max" = Option<i64>, Query, minimum = 1, description = "At most so many chunks, 50 when absent, never more than 100."), ("max_chunks" = Option<i64>, Query, minimum = 1, description = "Another name of `max`, which wins."), ("max_bytes" = Option<i64>, Query, minimum = 1, description = "At most so many bytes of results, uncompressed; one chunk comes in any case."), ("after" = Option<String>, Query, description = "The cursor to go on from; from the first unacknowledged chunk when absent.")),
    responses((status = 200, description = "Finished chunks, which stay until they are acknowledged, and the cursor to go on from.", body = PageSchema), (status = 409, description = "The batch is cancelled: nothing of it is handed out.")))]
pub(in super::super) async fn results(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let received_at = middleware::current().received_at;
    let query = PullQuery::read(&query)?;
    let [after] = Cursor::read_or_start(Purpose::Results, id, query.after.as_deref())?.places();
    // Read before the results: a reader that sees all chunks finished here has them all when nothing more comes.
    let view = visible_view(&state, &caller, id).await?;
    let available = usize::try_from(view.counters.output_bytes).unwrap_or(0);
    let (mut permit, max_bytes) = reserve(&state, available, query.max_bytes).await?;
    let reading = state.store.read_results(id, view.batch.day, after, query.max_chunks, max_bytes).await?;
    let (results, has_more) = page_of(reading, id)?;
    permit.shrink_to(results.iter().map(|result| result.body.len()).sum());
    let last = results.last().map_or(after, |result| result.ordinal);
    let next_cursor = Cursor::new(Purpose::Results, [last]).write(id);
    let status = status(&state, &view, received_at);
    Page { results, status, forward: Some(Forward { next_cursor, has_more }), permit }.into_response().await
}

/// What is acknowledged.
#[derive(Debug, Deserialize)]
struct AckRequest {
    cursor: String,
}

/// The answer to an acknowledgement: how many chunks it freed, and the status after it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(in super::super) struct AckBody {
    /// Chunks that this call freed; 0 when it is repeated.
    acknowledged: u64,
    /// The status.
    #[serde(flatten)]
    status: StatusBody,
}

/// Frees everything up to a cursor that was handed out.
#[utoipa::path(post, path = "/{tenant}/api/v4/batch/{id}/results/ack", tag = "Batches", operation_id = "acknowledgeResults",
    params(("id" = String, Path, description = "The batch.")), request_body(content = Acknowledge),
    responses((status = 200, description = "How many chunks were freed, and the status after it.", body = AckBody), (status = 409, description = "The batch is cancelled: nothing of it is handed out.")))]
pub(in super::super) async fn acknowledge(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    request: Request,
) -> Result<Json<AckBody>, ApiError> {
    let received_at = middleware::current().received_at;
    let view = visible_view(&state, &caller, id).await?;
    let wanted: AckRequest = read_body(&state, request).await?.json()?;
    let [up_to] =
        Cursor::read(Purpose::Results, id, &wanted.cursor).map_err(|error| error.at("cursor"))?.places();
    to_the_end(async move {
        let acknowledged = match state.store.acknowledge_results(id, view.batch.day, up_to).await? {
            Acknowledged::Chunks(chunks) => chunks,
            Acknowledged::Cancelled => return Err(cancelled()),
            Acknowledged::NotFound => return Err(not_found(id)),
        };
        let after = visible_view(&state, &caller, id).await?;
        Ok(Json(AckBody { acknowledged, status: status(&state, &after, received_at) }))
    })
    .await
}
