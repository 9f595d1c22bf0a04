//! Messages of a webhook, or of the URL that a batch named: listed, asked for again; tests.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use millrace_common::model::Caller;
use millrace_common::model::time::timestamp;
use millrace_common::store::{Deliveries, Delivery, DeliveryState};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{not_found, read_id, scope};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::{Path, Query};
use crate::openapi::schemas::{DeliveryAnswer, DeliveryPage, TestDelivery};
use crate::state::AppState;

/// Messages of an answer that asks for no number.
const DEFAULT: i64 = 50;
/// The most messages of one answer; larger numbers are clamped.
const MOST: i64 = 500;

fn delivery_json(delivery: &Delivery) -> Value {
    let due =
        (delivery.state == DeliveryState::Pending.as_str()).then(|| timestamp(delivery.next_attempt_at));
    json!({
        "object": "webhook_delivery", "id": delivery.id, "batch_id": delivery.batch_id, "event": delivery.event,
        "state": delivery.state, "attempts": delivery.attempts, "last_status": delivery.last_status,
        "last_error": delivery.last_error, "created_at": timestamp(delivery.created_at),
        "last_attempt_at": delivery.last_attempt_at.map(timestamp), "next_attempt_at": due,
        "finished_at": delivery.finished_at.map(timestamp),
    })
}

/// Which of the messages a query asks for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::spark) struct Page {
    state: Option<DeliveryState>,
    before: Option<Uuid>,
    max: i64,
}

impl Page {
    pub(in crate::spark) fn read(query: &[(String, String)]) -> Result<Self, ApiError> {
        let mut page = Self { state: None, before: None, max: DEFAULT };
        for (name, value) in query {
            let bad = |expected: &str| {
                ApiError::bad_request("INVALID_VALUE", format!("{name} must be {expected}"), name.clone())
            };
            match name.as_str() {
                "state" => {
                    let state = DeliveryState::read(value);
                    page.state = Some(state.ok_or_else(|| bad("pending, delivered or dead"))?);
                }
                "before" => page.before = Some(value.parse().map_err(|_| bad("the id of a delivery"))?),
                "max" => {
                    let max = value.parse::<i64>().ok().filter(|max| *max >= 1);
                    page.max = max.ok_or_else(|| bad("an integer from 1 on"))?.min(MOST);
                }
                _ => {}
            }
        }
        Ok(page)
    }
}

/// A page of messages, newest first.
pub(in crate::spark) async fn page(
    state: &AppState,
    which: Deliveries,
    page: Page,
) -> Result<Json<Value>, ApiError> {
    let mut deliveries = state.store.deliveries(which, page.state, page.before, page.max + 1).await?;
    let has_more = i64::try_from(deliveries.len()).is_ok_and(|came| came > page.max);
    if has_more {
        deliveries.pop();
    }
    let next = has_more.then(|| deliveries.last().map(|delivery| delivery.id)).flatten();
    let data: Vec<Value> = deliveries.iter().map(delivery_json).collect();
    Ok(Json(json!({"object": "list", "data": data, "has_more": has_more, "next_before": next})))
}

/// Makes a message due at once.
pub(in crate::spark) async fn again(
    state: &AppState,
    caller: &Caller,
    which: Deliveries,
    id: &str,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let missing = || ApiError::not_found("DELIVERY_NOT_FOUND", format!("there is no delivery {id}"));
    let delivery_id = Uuid::parse_str(id).map_err(|_| missing())?;
    let delivery = state.acting(caller).redeliver(which, delivery_id).await?.ok_or_else(missing)?;
    Ok((StatusCode::ACCEPTED, Json(delivery_json(&delivery))))
}

/// The webhook, if the caller may see it.
async fn visible(state: &AppState, caller: &Caller, id: &str) -> Result<Uuid, ApiError> {
    let webhook = state.store.webhook(&scope(caller), read_id(id)?).await?;
    webhook.map(|webhook| webhook.id).ok_or_else(|| not_found(id))
}

/// The messages of a webhook.
#[utoipa::path(get, path = "/{tenant}/api/v4/webhooks/{id}/deliveries", tag = "Webhooks", operation_id = "listWebhookDeliveries",
    params(
        ("id" = String, Path, description = "The webhook."),
        ("state" = Option<String>, Query, pattern = "^(pending|delivered|dead)$", description = "Only messages in this state."),
        ("before" = Option<uuid::Uuid>, Query, description = "Only messages older than this one: `next_before` of the page before."),
        ("max" = Option<i64>, Query, minimum = 1, description = "At most so many, 50 when absent, never more than 500."),
    ), responses((status = 200, description = "Messages, newest first.", body = DeliveryPage)))]
pub(super) async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, ApiError> {
    let webhook = visible(&state, &caller, &id).await?;
    page(&state, Deliveries::Webhook(webhook), Page::read(&query)?).await
}

/// Delivers a message of a webhook again, with the same id.
#[utoipa::path(post, path = "/{tenant}/api/v4/webhooks/{id}/deliveries/{delivery}/redeliver", tag = "Webhooks", operation_id = "redeliverToWebhook",
    params(("id" = String, Path, description = "The webhook."), ("delivery" = String, Path, description = "The message.")), responses((status = 202, description = "The message, which is due now.", body = DeliveryAnswer)))]
pub(super) async fn redeliver(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id, delivery)): Path<(String, String, String)>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let webhook = visible(&state, &caller, &id).await?;
    again(&state, &caller, Deliveries::Webhook(webhook), &delivery).await
}

/// Sends a message that says nothing, active or not. The answer names it; how it went is among the deliveries. One that is still
/// to be delivered is sent at once in place of another.
#[utoipa::path(post, path = "/{tenant}/api/v4/webhooks/{id}/test", tag = "Webhooks", operation_id = "testWebhook",
    params(("id" = String, Path, description = "The webhook.")), responses((status = 202, description = "The message.", body = TestDelivery)))]
pub(super) async fn test(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let delivery = state.acting(&caller).test_webhook(&scope(&caller), read_id(&id)?).await?;
    let delivery = delivery.ok_or_else(|| not_found(&id))?;
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({"object": "webhook_delivery", "id": delivery, "state": "pending"})),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn queries_are_read_and_bounded() {
        let read = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            Page::read(&pairs)
        };
        let page = read(&[("state", "dead"), ("max", "9999"), ("x", "y")]).unwrap();
        assert_eq!(page, Page { state: Some(DeliveryState::Dead), before: None, max: MOST });
        for (name, value) in [("state", "lost"), ("max", "0"), ("max", "x"), ("before", "7")] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!((error.status().as_u16(), error.source_path()), (400, Some(name)));
        }
    }
}
