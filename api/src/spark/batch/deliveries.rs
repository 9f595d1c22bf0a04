//! `…/batch/{id}/deliveries`: the messages to the URL that a batch named at its creation.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use millrace_common::store::Deliveries;
use serde_json::Value;

use super::access::{BatchId, visible_view};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::spark::webhooks::deliveries::{Page, again, page};
use crate::state::AppState;

/// The messages, newest first.
pub(super) async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, ApiError> {
    visible_view(&state, &caller, id).await?;
    page(&state, Deliveries::Batch(id), Page::read(&query)?).await
}

/// Delivers one again, with the same id.
pub(super) async fn redeliver(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, batch, delivery)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let BatchId(id) = BatchId::read(&batch)?;
    visible_view(&state, &caller, id).await?;
    again(&state, &caller, Deliveries::Batch(id), &delivery).await
}
