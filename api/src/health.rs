//! `/health` (contract 4.5), `/livez`, `/readyz`, and the route of `/metrics`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::measure;
use crate::openapi::schemas::Health;
use crate::state::AppState;

/// How long the database may take to give a sign of life.
const PING: Duration = Duration::from_secs(2);

/// The four routes; none needs a credential of a tenant.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(alive))
        .routes(routes!(readiness))
        .routes(routes!(measure::show))
}

/// Whether this process lives.
#[utoipa::path(get, path = "/livez", tag = "Server", operation_id = "getLiveness",
    responses((status = 200, description = "It does.", body = Health)))]
async fn alive() -> Response {
    answer(true, json!({}))
}

/// Whether this process serves requests, without asking the buffers behind it.
#[utoipa::path(get, path = "/health", tag = "Server", operation_id = "getHealth",
    responses((status = 200, description = "It does.", body = Health), (status = 503, description = "It is starting.", body = Health)))]
async fn health(State(state): State<AppState>) -> Response {
    answer(state.is_ready(), json!({}))
}

/// Whether this process serves requests and reaches both buffers.
#[utoipa::path(get, path = "/readyz", tag = "Server", operation_id = "getReadiness",
    responses((status = 200, description = "It does.", body = Health), (status = 503, description = "It does not.", body = Health)))]
async fn readiness(State(state): State<AppState>) -> Response {
    let started = state.is_ready();
    let database = matches!(tokio::time::timeout(PING, state.store.ping()).await, Ok(Ok(())));
    let broker = state.publisher.is_ready() && !state.publisher.is_blocked();
    answer(started && database && broker, json!({"started": started, "database": database, "broker": broker}))
}

fn answer(up: bool, checks: serde_json::Value) -> Response {
    let status = if up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = json!({"status": if up { "UP" } else { "DOWN" }});
    if checks.as_object().is_some_and(|checks| !checks.is_empty()) {
        body["checks"] = checks;
    }
    (status, Json(body)).into_response()
}
