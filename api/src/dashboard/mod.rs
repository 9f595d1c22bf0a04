//! The dashboard: a web page under `/dashboard/`, built into the program. It is plain HTML, CSS and JavaScript modules, and does
//! nothing that its user could not do over the API: what it shows and changes is asked for with the user's own credential.
//!
//! A browser may run nothing else on it and send nothing elsewhere (`policy`); files are revalidated by their hash at each visit.

mod files;
#[cfg(test)]
mod tests;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_common::config::DashboardConfig;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::ApiError;
use crate::extract::Path;
use crate::state::AppState;

pub(crate) use files::{File, find, load};

/// The page itself.
const PAGE: &str = "index.html";

/// The routes. Nothing of them is secret: whoever opens the page signs in there.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(settings)).routes(routes!(file))
}

/// What the page must know before anybody has signed in.
#[derive(Debug, Serialize, ToSchema)]
struct SettingsAnswer {
    /// The release of this server.
    version: &'static str,
    /// Where people can sign in besides by key.
    oidc: Option<OidcAnswer>,
}

/// A client of an OpenID Connect issuer.
#[derive(Debug, Serialize, ToSchema)]
struct OidcAnswer {
    /// The public client.
    client_id: String,
    /// Where people sign in.
    authorization_endpoint: String,
    /// Where the code is exchanged for a token.
    token_endpoint: String,
    /// Scopes, with spaces between.
    scope: String,
}

/// The dashboard, for browsers.
#[utoipa::path(get, path = "/dashboard", tag = "Dashboard", operation_id = "getDashboard",
    responses(
        (status = 200, description = "The page.", content_type = "text/html", body = String),
        (status = 304, description = "As `If-None-Match` names it."),
        (status = 404, description = "`dashboard.enabled` is false."),
    ))]
async fn page(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, ApiError> {
    serve(&state.config.dashboard, PAGE, &headers)
}

/// What the page must know before anybody has signed in.
#[utoipa::path(get, path = "/dashboard/settings.json", tag = "Dashboard", operation_id = "getDashboardSettings",
    responses(
        (status = 200, description = "Settings.", body = SettingsAnswer),
        (status = 404, description = "`dashboard.enabled` is false."),
    ))]
async fn settings(State(state): State<AppState>) -> Result<Json<SettingsAnswer>, ApiError> {
    let config = &state.config.dashboard;
    if !config.enabled {
        return Err(missing("settings.json"));
    }
    let oidc = config.has_oidc().then(|| OidcAnswer {
        client_id: config.oidc_client_id.clone(),
        authorization_endpoint: config.oidc_authorization_endpoint.clone(),
        token_endpoint: config.oidc_token_endpoint.clone(),
        scope: config.oidc_scope.clone(),
    });
    Ok(Json(SettingsAnswer { version: env!("CARGO_PKG_VERSION"), oidc }))
}

/// A file of the dashboard.
#[utoipa::path(get, path = "/dashboard/{file}", tag = "Dashboard", operation_id = "getDashboardFile",
    params(("file" = String, Path, description = "The name of a script, a style sheet or an image.", example = "app.js")),
    responses(
        (status = 200, description = "The file.", content((String = "text/javascript"), (String = "text/css"), (String = "image/svg+xml"), (String = "text/html"))),
        (status = 304, description = "As `If-None-Match` names it."),
    ))]
async fn file(
    State(state): State<AppState>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    serve(&state.config.dashboard, &name, &headers)
}

fn serve(config: &DashboardConfig, name: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let file = files::find(name).filter(|_| config.enabled).ok_or_else(|| missing(name))?;
    Ok(answer(file, policy(config), headers))
}

/// A file with what browsers may do with it.
pub(crate) fn answer(file: &'static File, policy: HeaderValue, headers: &HeaderMap) -> Response {
    // A 304 brings all of them as well: browsers put its headers in place of those that they have kept.
    let about = [
        (header::ETAG, file.tag.clone()),
        // Kept, but asked for each time: an upgrade never leaves old scripts beside new ones.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_TYPE, HeaderValue::from_static(file.media)),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        (HeaderName::from_static("permissions-policy"), HeaderValue::from_static(POWERS)),
    ];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| names(known, file)) {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, file.bytes).into_response()
}

/// What the page needs of the browser's powers: nothing.
const POWERS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";

/// Scripts, styles and requests of this server alone, no markup from text; and the token endpoint, where there is one.
pub(crate) fn policy(config: &DashboardConfig) -> HeaderValue {
    let token = config.token_origin().filter(|_| config.has_oidc()).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {token}; \
         form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    );
    // An origin is checked when the settings are read.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// Whether `If-None-Match` names this version of a file.
fn names(known: &HeaderValue, file: &File) -> bool {
    let (Ok(known), Ok(tag)) = (known.to_str(), file.tag.to_str()) else { return false };
    known.split(',').map(str::trim).any(|one| one == "*" || weak(one) == weak(tag))
}

fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn missing(name: &str) -> ApiError {
    ApiError::not_found("FILE_NOT_FOUND", format!("the dashboard has no {name}"))
}
