//! `…/batch/{id}/deliveries`: the messages to the URL that a batch named at its creation.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use millrace_common::store::Deliveries;
use serde_json::Value;

use super::access::{BatchId, visible_view};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::{Path, Query};
use crate::openapi::schemas::{DeliveryAnswer, DeliveryPage};
use crate::spark::webhooks::deliveries::{Page, again, page};
use crate::state::AppState;

/// The messages, newest first.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}/deliveries", tag = "Webhooks", operation_id = "listBatchDeliveries",
    params(
        ("id" = String, Path, description = "The batch."),
        ("state" = Option<String>, Query, pattern = "^(pending|delivered|dead)$", description = "Only messages in this state."),
        ("before" = Option<uuid::Uuid>, Query, description = "Only messages older than this one: `next_before` of the page before."),
        ("max" = Option<i64>, Query, minimum = 1, description = "At most so many, 50 when absent, never more than 500."),
    ), responses((status = 200, description = "Messages, newest first.", body = DeliveryPage)))]
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
#[utoipa::path(post, path = "/{tenant}/api/v4/batch/{id}/deliveries/{delivery}/redeliver", tag = "Webhooks", operation_id = "redeliverOfBatch",
    params(("id" = String, Path, description = "The batch."), ("delivery" = String, Path, description = "The message.")), responses((status = 202, description = "The message, which is due now.", body = DeliveryAnswer)))]
pub(super) async fn redeliver(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, batch, delivery)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let BatchId(id) = BatchId::read(&batch)?;
    visible_view(&state, &caller, id).await?;
    again(&state, &caller, Deliveries::Batch(id), &delivery).await
}
