//! `GET …/batch/{id}/status` (contract 1.4) and `GET …/batch/{id}` (contract 1.6).

use axum::Json;
use axum::extract::State;

use super::access::{BatchId, visible_view};
use super::wire::{InfoBody, StatusBody, StatusFields};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::middleware;
use crate::state::AppState;

/// The status response.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}/status", tag = "Batches", operation_id = "getBatchStatus",
    params(("id" = String, Path, description = "The batch.")), responses((status = 200, description = "The status.", body = StatusBody)))]
pub(super) async fn status(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
) -> Result<Json<StatusBody>, ApiError> {
    let view = visible_view(&state, &caller, id).await?;
    let status = StatusFields::new(&view, middleware::current().received_at, &state.config.clocks);
    Ok(Json(StatusBody { id: view.batch.id, status }))
}

/// All about a batch.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}", tag = "Batches", operation_id = "getBatch",
    params(("id" = String, Path, description = "The batch.")), responses((status = 200, description = "What the batch is, sums, and what is in force for it.", body = InfoBody)))]
pub(super) async fn info(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
) -> Result<Json<InfoBody>, ApiError> {
    let view = visible_view(&state, &caller, id).await?;
    let totals = match view.batch.totals.as_slice() {
        [] => None,
        requests => Some(state.store.batch_totals(id).await?.report(requests)),
    };
    let redrives = state.store.redrive_links(id).await?;
    Ok(Json(InfoBody::new(&view, totals, redrives)))
}
