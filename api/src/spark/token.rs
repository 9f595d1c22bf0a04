//! OAuth2 client credentials over API keys (contract 4.1): `client_id` is a key's id, `client_secret` the key itself.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::forms::read_form;
use crate::auth::{TOKEN_LIFE, issue_token};
use crate::error::ApiError;
use crate::extract::Path;
use crate::middleware;
use crate::openapi::schemas::{Token, TokenRefusal, TokenRequest};
use crate::state::AppState;

/// Largest token request, in bytes.
const FORM_BYTES: usize = 20_000;

/// The route.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(token))
}

/// Answers a token. The request's own `Authorization` is ignored: the SDK sends junk there. Bad credentials are 400,
/// because a 401 makes the SDK ask for a token again.
#[utoipa::path(post, path = "/auth/realms/{tenant}/protocol/openid-connect/token", tag = "Identity", operation_id = "issueToken",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "A token.", body = Token),
        (status = 400, description = "The credentials are wrong; or the request cannot be read.", content((TokenRefusal = "application/json"), )),
        (status = 429),
    ))]
async fn token(
    State(state): State<AppState>,
    Path(tenant): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let form = read_form(&state, request, FORM_BYTES).await?;
    if form.text("grant_type") != Some("client_credentials") {
        return Ok(refuse("unsupported_grant_type", "the grant type must be client_credentials"));
    }
    let id = form.text("client_id").and_then(|id| Uuid::parse_str(id.trim()).ok());
    let (Some(id), Some(secret)) = (id, form.text("client_secret")) else {
        return Ok(refuse("invalid_client", "client_id must be the id of an API key, client_secret the key"));
    };
    let secret = secret.trim();
    let owner = state.keys.key_owner(&state.store, secret, middleware::current().source).await?;
    let owner = owner
        .filter(|owner| owner.key_id == id && owner.caller.tenant.to_lowercase() == tenant.to_lowercase());
    let Some(owner) = owner else {
        return Ok(refuse("invalid_client", "client id or secret is wrong, or of another tenant"));
    };
    let answer = json!({
        "access_token": issue_token(&owner, Utc::now()),
        "expires_in": TOKEN_LIFE.as_secs(),
        "refresh_expires_in": 0,
        "token_type": "Bearer",
        "not-before-policy": 0,
        "not_before_policy": 0,
        "scope": owner.scopes.names().join(" "),
    });
    Ok(no_store(StatusCode::OK, answer))
}

fn refuse(error: &str, description: &str) -> Response {
    no_store(StatusCode::BAD_REQUEST, json!({"error": error, "error_description": description}))
}

fn no_store(status: StatusCode, body: Value) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
