//! `POST …/batch/{id}/chunks` (contract 1.2).

use axum::Json;
use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use millrace_common::model::{BatchState, Caller, SHORTEST_WAIT};
use millrace_common::store::StoreError;
use millrace_decode::{DecodeError, Format};
use serde_json::json;

use super::access::{BatchId, not_found, note, target, visible_view};
use super::to_the_end;
use super::wire::{PushBody, StatusBody, StatusFields};
use crate::auth::Auth;
use crate::body::{DecodedBody, Media, read_body};
use crate::error::ApiError;
use crate::middleware;
use crate::openapi::schemas::PushChunks;
use crate::push::{PushError, Target};
use crate::state::AppState;

/// Takes chunks into the batch.
#[utoipa::path(post, path = "/{tenant}/api/v4/batch/{id}/chunks", tag = "Batches", operation_id = "pushChunks",
    params(("id" = String, Path, description = "The batch.")),
    request_body(description = "JSON, or the same document as BSON.", content(
        (PushChunks = "application/json", example = json!({"chunks": [{"id": "c1", "data": {
            "inputs": [["sales_id", "price", "quantity", "tax"], [1, 20, 65, 0.1], [2, 54.02, 100, 0.1]],
            "parameters": {}, "summary": {"aggregation": [{"output_name": "total", "operator": "SUM"}]},
        }}]})),
        (Vec<u8> = "application/bson"),
    )),
    responses(
        (status = 200, description = "All chunks are taken. The status, this push included, and the ids of the chunks.", body = PushBody),
        (status = 409, description = "The batch is not open, or a chunk id is taken by other content."),
        (status = 429, description = "A buffer is full, or a rate limit is reached. Nothing is taken; wait for `Retry-After`."),
    ))]
pub(super) async fn push(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    request: Request,
) -> Result<Json<PushBody>, ApiError> {
    let received_at = middleware::current().received_at;
    let target = target(&state, &caller, id).await?;
    let body = read_body(&state, request).await?;
    state.rate_limits.push(caller.tenant_id, body.bytes.len())?;
    let format = match body.media {
        Media::Json | Media::Unstated => Format::Json,
        Media::Bson => Format::Bson,
        Media::Form | Media::Multipart | Media::Other => {
            return Err(ApiError::unsupported_media_type(
                "chunks come as application/json or application/bson",
            ));
        }
    };
    to_the_end(take(state, caller, target, format, body, received_at)).await
}

async fn take(
    state: AppState,
    caller: Caller,
    target: Target,
    format: Format,
    body: DecodedBody,
    received_at: DateTime<Utc>,
) -> Result<Json<PushBody>, ApiError> {
    // Held until the broker has everything, so that the bytes of all pushes under way stay within the budget.
    let DecodedBody { bytes, permit, .. } = body;
    let decoded = state.batches.pushes.decode(format, bytes).await;
    let mut push = decoded.map_err(|error| refuse(error, target))?;
    let chunk_ids = std::mem::take(&mut push.ids);
    if !push.chunks.is_empty() {
        let needed = push.chunks.iter().map(|chunk| chunk.data.len()).sum::<usize>();
        let needed = i64::try_from(needed).unwrap_or(i64::MAX);
        state.batches.budgets.check_output(&state.store, caller.tenant_id, needed).await?;
    }
    let view = match state.batches.pushes.push(target, push).await {
        Ok(view) => view,
        Err(error @ PushError::InputFull { needed, .. }) => {
            // Read again, so that the wait is judged by the buffer as it is now.
            let view = visible_view(&state, &caller, target.batch_id).await?;
            return Err(state.batches.budgets.input_full(&view, needed, error.to_string()));
        }
        Err(error) => return Err(refuse(error, target)),
    };
    drop(permit);
    let view = match view {
        Some(view) => {
            note(&state, &view);
            view
        }
        None => visible_view(&state, &caller, target.batch_id).await?,
    };
    let status = StatusFields::new(&view, received_at, &state.config.clocks);
    Ok(Json(PushBody { status: StatusBody { id: target.batch_id, status }, chunk_ids }))
}

/// The answer to a push that failed.
pub(super) fn refuse(error: PushError, target: Target) -> ApiError {
    let message = error.to_string();
    match error {
        PushError::Decode(DecodeError::Malformed { path, .. }) => {
            ApiError::bad_request("MALFORMED_BODY", message, path)
        }
        PushError::Decode(DecodeError::Shape { path, message }) => {
            ApiError::bad_request("INVALID_CHUNK", format!("{path}: {message}"), path)
        }
        PushError::Decode(DecodeError::ChunkTooLarge { path, bytes, limit }) => {
            ApiError::unprocessable("CHUNK_TOO_LARGE", message, path)
                .with_details(json!({"chunk_bytes": bytes, "limit_bytes": limit}))
        }
        PushError::Decode(DecodeError::TooManyChunks) => {
            ApiError::unprocessable("TOO_MANY_CHUNKS", message, "chunks".to_owned())
        }
        PushError::Decode(DecodeError::Conflict { ids }) | PushError::Conflict { ids } => {
            ApiError::conflict("CHUNK_ID_CONFLICT", message).with_details(json!({"chunk_ids": ids}))
        }
        PushError::NotFound => not_found(target.batch_id),
        PushError::NotOpen(state) => {
            let code = if state == BatchState::Cancelled { "BATCH_CANCELLED" } else { "BATCH_NOT_OPEN" };
            ApiError::conflict(code, format!("{message}; it takes no chunks"))
                .with_details(json!({"batch_status": state}))
        }
        PushError::TooLarge { needed, allocated } => {
            ApiError::unprocessable("CHUNK_TOO_LARGE", message, "chunks".to_owned())
                .with_details(json!({"needed_bytes": needed, "allocated_bytes": allocated}))
        }
        PushError::InputFull { needed, free } => {
            let details = json!({"needed_bytes": needed, "free_bytes": free});
            ApiError::too_many("INPUT_BUFFER_FULL", message, details, SHORTEST_WAIT)
        }
        PushError::Store(error) => match &*error {
            StoreError::Unavailable(cause) | StoreError::Contended(cause) => {
                StoreError::Unavailable(cause.clone()).into()
            }
            other => ApiError::internal(other),
        },
        PushError::Broker(error) => error.into(),
        PushError::Withdrawn { ids } => ApiError::unavailable("CHUNKS_WITHDRAWN", message, SHORTEST_WAIT)
            .with_details(json!({"chunk_ids": ids})),
        PushError::Abandoned => ApiError::internal(&message),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::sync::Arc;

    use chrono::NaiveDate;
    use millrace_common::broker::BrokerError;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_failure_has_its_status_and_code() {
        let target = Target { owner_id: Uuid::nil(), batch_id: Uuid::nil(), day: NaiveDate::MIN };
        let shape = |path: &str| DecodeError::Shape { path: path.to_owned(), message: "m".to_owned() };
        for (error, status, code, path) in [
            (
                shape("chunks[1].data.inputs[3]").into(),
                400,
                "INVALID_CHUNK",
                Some("chunks[1].data.inputs[3]"),
            ),
            (
                DecodeError::Malformed { path: None, message: String::new() }.into(),
                400,
                "MALFORMED_BODY",
                None,
            ),
            (
                DecodeError::ChunkTooLarge { path: "chunks[0].data".to_owned(), bytes: 2, limit: 1 }.into(),
                422,
                "CHUNK_TOO_LARGE",
                Some("chunks[0].data"),
            ),
            (DecodeError::TooManyChunks.into(), 422, "TOO_MANY_CHUNKS", Some("chunks")),
            (PushError::Conflict { ids: vec!["a".to_owned()] }, 409, "CHUNK_ID_CONFLICT", None),
            (PushError::NotFound, 404, "BATCH_NOT_FOUND", None),
            (PushError::NotOpen(BatchState::Closed), 409, "BATCH_NOT_OPEN", None),
            (PushError::NotOpen(BatchState::Cancelled), 409, "BATCH_CANCELLED", None),
            (PushError::TooLarge { needed: 2, allocated: 1 }, 422, "CHUNK_TOO_LARGE", Some("chunks")),
            (PushError::InputFull { needed: 2, free: 1 }, 429, "INPUT_BUFFER_FULL", None),
            (
                PushError::Store(Arc::new(StoreError::Unavailable(String::new()))),
                503,
                "DATABASE_UNAVAILABLE",
                None,
            ),
            (PushError::Store(Arc::new(StoreError::Database(String::new()))), 500, "INTERNAL", None),
            (BrokerError::Blocked.into(), 503, "BROKER_UNAVAILABLE", None),
            (PushError::Withdrawn { ids: vec!["a".to_owned()] }, 503, "CHUNKS_WITHDRAWN", None),
        ] {
            let refused = refuse(error, target);
            assert_eq!(
                (refused.status().as_u16(), refused.code(), refused.source_path()),
                (status, code, path)
            );
        }
    }
}
