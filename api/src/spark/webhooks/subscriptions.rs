//! `…/webhooks`: made, listed, changed, deleted; their secrets.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_common::model::time::timestamp;
use millrace_common::store::{NewWebhook, Webhook, WebhookUpdate};
use serde_json::{Value, json};
use uuid::Uuid;

use super::requests::WebhookRequest;
use super::{not_found, read_id, scope};
use crate::auth::Auth;
use crate::body::read_json;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{
    ChangeWebhook, CreateWebhook, CreatedWebhook, DeletedWebhook, List, TenantSecret, WebhookAnswer,
    WebhookSecret,
};
use crate::state::AppState;

fn webhook_json(webhook: &Webhook) -> Value {
    json!({
        "object": "webhook", "id": webhook.id, "url": webhook.url, "description": webhook.description,
        "events": webhook.events, "active": webhook.active, "all_batches": webhook.all_batches,
        "created_by": webhook.created_by, "created_at": timestamp(webhook.created_at),
        "updated_at": timestamp(webhook.updated_at), "failing_since": webhook.failing_since.map(timestamp),
        "disabled_reason": webhook.disabled_reason,
    })
}

/// An answer that shows a secret, which nobody on the way may keep.
fn with_secret(status: StatusCode, body: Value) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

#[expect(clippy::cast_precision_loss, reason = "clocks are far below 2^53 seconds")]
fn rotation_seconds(state: &AppState) -> f64 {
    state.config.webhooks.rotation_seconds as f64
}

/// Makes a webhook, and shows its secret this once.
#[utoipa::path(post, path = "/{tenant}/api/v4/webhooks", tag = "Webhooks", operation_id = "createWebhook",
    request_body(content = CreateWebhook, example = json!({"url": "https://receiver.example/millrace", "events": ["batch.failed"]})),
    responses((status = 201, description = "The webhook, with its secret.", body = CreatedWebhook), (status = 409, description = "The tenant has as many webhooks as it may have.")))]
pub(super) async fn create(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Response, ApiError> {
    let store = state.acting(&caller);
    let wanted = read_json::<WebhookRequest>(&state, request).await?.checked()?;
    let url = wanted.url.as_deref().ok_or_else(|| {
        ApiError::unprocessable("INVALID_URL", "url says where messages go, and is missing", "url".to_owned())
    })?;
    let target = state.webhooks.check_url(url, "url")?;
    let id = Uuid::now_v7();
    let (secret, stored) = state.webhooks.new_secret(id)?;
    let new = NewWebhook {
        id,
        tenant_id: caller.tenant_id,
        url: target.url.into(),
        host: target.host,
        events: wanted.event_names(),
        description: wanted.description.unwrap_or_default(),
        active: wanted.active.unwrap_or(true),
        all_batches: caller.is_supervisor(),
        created_by: caller.name.clone(),
        secret: stored,
    };
    let limit = state.config.webhooks.per_tenant;
    let webhook = store.create_webhook(&new, limit).await?.ok_or_else(|| {
        ApiError::conflict(
            "TOO_MANY_WEBHOOKS",
            format!("the tenant has {limit} webhooks, as many as it may have"),
        )
    })?;
    let mut body = webhook_json(&webhook);
    body["secret"] = json!(secret.show());
    Ok(with_secret(StatusCode::CREATED, body))
}

/// The webhooks that the caller may see, oldest first.
#[utoipa::path(get, path = "/{tenant}/api/v4/webhooks", tag = "Webhooks", operation_id = "listWebhooks",
    responses((status = 200, description = "The webhooks.", body = List<WebhookAnswer>)))]
pub(super) async fn list(State(state): State<AppState>, Auth(caller): Auth) -> Result<Json<Value>, ApiError> {
    let webhooks = state.store.webhooks(&scope(&caller)).await?;
    let data: Vec<Value> = webhooks.iter().map(webhook_json).collect();
    Ok(Json(json!({"object": "list", "data": data})))
}

/// One webhook.
#[utoipa::path(get, path = "/{tenant}/api/v4/webhooks/{id}", tag = "Webhooks", operation_id = "getWebhook",
    params(("id" = String, Path, description = "The webhook.")), responses((status = 200, description = "The webhook.", body = WebhookAnswer)))]
pub(super) async fn show(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let webhook = state.store.webhook(&scope(&caller), read_id(&id)?).await?;
    Ok(Json(webhook_json(&webhook.ok_or_else(|| not_found(&id))?)))
}

/// Changes URL, description, events, or whether it is active.
#[utoipa::path(patch, path = "/{tenant}/api/v4/webhooks/{id}", tag = "Webhooks", operation_id = "changeWebhook",
    params(("id" = String, Path, description = "The webhook.")), request_body(content = ChangeWebhook, example = json!({"active": false})),
    responses((status = 200, description = "The webhook after the change.", body = WebhookAnswer)))]
pub(super) async fn change(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let (store, scope, webhook_id) = (state.acting(&caller), scope(&caller), read_id(&id)?);
    if store.webhook(&scope, webhook_id).await?.is_none() {
        return Err(not_found(&id));
    }
    let wanted = read_json::<WebhookRequest>(&state, request).await?.checked()?;
    let url = match wanted.url.as_deref() {
        None => None,
        Some(url) => {
            let target = state.webhooks.check_url(url, "url")?;
            Some((target.url.into(), target.host))
        }
    };
    let events = wanted.events.is_some().then(|| wanted.event_names());
    let update = WebhookUpdate { url, description: wanted.description, events, active: wanted.active };
    let webhook = store.update_webhook(&scope, webhook_id, &update).await?;
    Ok(Json(webhook_json(&webhook.ok_or_else(|| not_found(&id))?)))
}

/// Deletes a webhook with its messages.
#[utoipa::path(delete, path = "/{tenant}/api/v4/webhooks/{id}", tag = "Webhooks", operation_id = "deleteWebhook",
    params(("id" = String, Path, description = "The webhook.")), responses((status = 200, description = "It is gone.", body = DeletedWebhook)))]
pub(super) async fn delete(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let webhook_id = read_id(&id)?;
    if !state.acting(&caller).delete_webhook(&scope(&caller), webhook_id).await? {
        return Err(not_found(&id));
    }
    Ok(Json(json!({"object": "webhook", "id": webhook_id, "deleted": true})))
}

/// Gives a webhook another secret, and shows it this once. For `webhooks.rotation_seconds` the old one signs as well.
#[utoipa::path(post, path = "/{tenant}/api/v4/webhooks/{id}/secret", tag = "Webhooks", operation_id = "rotateWebhookSecret",
    params(("id" = String, Path, description = "The webhook.")), responses((status = 200, description = "The new secret.", body = WebhookSecret)))]
pub(super) async fn rotate_secret(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let webhook_id = read_id(&id)?;
    let (secret, stored) = state.webhooks.new_secret(webhook_id)?;
    let store = state.acting(&caller);
    if !store.rotate_webhook_secret(&scope(&caller), webhook_id, &stored, rotation_seconds(&state)).await? {
        return Err(not_found(&id));
    }
    let body = json!({"object": "webhook_secret", "id": webhook_id, "secret": secret.show()});
    Ok(with_secret(StatusCode::OK, body))
}

/// Whether the tenant has a secret for the URLs that batches name themselves.
#[utoipa::path(get, path = "/{tenant}/api/v4/webhooks/secret", tag = "Webhooks", operation_id = "getTenantWebhookSecret",
    responses((status = 200, description = "Whether it has.", body = TenantSecret)))]
pub(super) async fn tenant_secret(
    State(state): State<AppState>,
    Auth(caller): Auth,
) -> Result<Json<Value>, ApiError> {
    let made = state.store.tenant_webhook_secret(caller.tenant_id).await?;
    Ok(Json(json!({"object": "webhook_secret", "exists": made.is_some(), "created_at": made.map(timestamp)})))
}

/// Gives the tenant a secret, or another one, and shows it this once.
#[utoipa::path(post, path = "/{tenant}/api/v4/webhooks/secret", tag = "Webhooks", operation_id = "rotateTenantWebhookSecret",
    responses((status = 200, description = "The new secret.", body = WebhookSecret)))]
pub(super) async fn rotate_tenant_secret(
    State(state): State<AppState>,
    Auth(caller): Auth,
) -> Result<Response, ApiError> {
    let (secret, stored) = state.webhooks.new_secret(caller.tenant_id)?;
    let store = state.acting(&caller);
    store.rotate_tenant_webhook_secret(caller.tenant_id, &stored, rotation_seconds(&state)).await?;
    let body = json!({"object": "webhook_secret", "secret": secret.show()});
    Ok(with_secret(StatusCode::OK, body))
}
