//! The OpenAPI 3.1 document: generated from the routes themselves, served at `/openapi.json`, and kept in the repository as
//! `api/openapi.json`.
//!
//! A route is registered with its description or not at all: [`utoipa_axum::routes!`] takes the handler's `#[utoipa::path]`, and
//! `Router::route` is refused by clippy (`api/clippy.toml`). What is the same for all routes is added by [`complete()`].

mod complete;
pub mod schemas;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::state::AppState;

pub use complete::complete;

/// The document as it is sent; it is the same as long as the process lives.
static SERVED: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_json().unwrap_or_default()));

/// The document of every route that this server has.
pub fn document() -> utoipa::openapi::OpenApi {
    complete(crate::guarded_routes().merge(crate::open_routes()).into_openapi())
}

/// The document as text: what `millrace-api openapi` writes and `api/openapi.json` holds.
pub fn text() -> Result<String, serde_json::Error> {
    document().to_pretty_json().map(|text| text + "\n")
}

/// The route of the document itself.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(openapi))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "Server", operation_id = "getDocument",
    responses((status = 200, description = "An OpenAPI 3.1 document.", body = serde_json::Value)))]
async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], SERVED.clone()).into_response()
}

/// The same handlers under another path; `id` names the operation there.
pub fn also_at<S>(
    path: &str,
    id: &str,
    (schemas, mut paths, router): UtoipaMethodRouter<S>,
) -> UtoipaMethodRouter<S> {
    let described = std::mem::take(&mut paths.paths);
    for (original, mut item) in described {
        for (_, operation) in operations(&mut item) {
            operation.operation_id = Some(id.to_owned());
            operation.description = Some(format!("The same as `{original}`."));
            if let Some(parameters) = &mut operation.parameters {
                parameters.retain(|parameter| is_part_of(parameter, path));
            }
        }
        paths.paths.insert(path.to_owned(), item);
    }
    (schemas, paths, router)
}

/// Whether a parameter is no variable of a path, or one of this.
fn is_part_of(parameter: &RefOr<Parameter>, path: &str) -> bool {
    match parameter {
        RefOr::T(Parameter { name, parameter_in: ParameterIn::Path, .. }) => {
            path.contains(&format!("{{{name}}}"))
        }
        _ => true,
    }
}

/// The operations of a path, by method.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    let all = [("GET", get), ("PUT", put), ("POST", post), ("DELETE", delete), ("PATCH", patch)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}
