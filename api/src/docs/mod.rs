//! The reference of the API at `/docs`: a page that draws `/openapi.json`, built into the program and under the same policy as the
//! dashboard. It is there whether or not the dashboard is, and needs no credential: it shows what the document says and calls nothing.

use std::sync::LazyLock;

use axum::http::HeaderMap;
use axum::response::Response;
use millrace_common::config::DashboardConfig;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::dashboard::{self, File};
use crate::error::ApiError;
use crate::extract::Path;
use crate::state::AppState;

/// The page itself.
const PAGE: &str = "index.html";

/// What it shares with the dashboard: colours, and elements without markup.
const SHARED: [&str; 4] = ["base.css", "dom.js", "icon.svg", "theme.js"];

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    dashboard::load(&[
        ("docs.css", &include_bytes!("assets/docs.css")[..]),
        ("docs.js", &include_bytes!("assets/docs.js")[..]),
        (PAGE, &include_bytes!("assets/index.html")[..]),
    ])
});

/// The routes.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(page)).routes(routes!(file))
}

/// The reference of this API, for browsers.
#[utoipa::path(get, path = "/docs", tag = "Server", operation_id = "getReference",
    responses(
        (status = 200, description = "The page.", content_type = "text/html", body = String),
        (status = 304, description = "As `If-None-Match` names it."),
    ))]
async fn page(headers: HeaderMap) -> Result<Response, ApiError> {
    serve(PAGE, &headers)
}

/// A file of the reference.
#[utoipa::path(get, path = "/docs/{file}", tag = "Server", operation_id = "getReferenceFile",
    params(("file" = String, Path, description = "The name of a script, a style sheet or an image.", example = "docs.js")),
    responses(
        (status = 200, description = "The file.", content((String = "text/javascript"), (String = "text/css"), (String = "image/svg+xml"), (String = "text/html"))),
        (status = 304, description = "As `If-None-Match` names it."),
    ))]
async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    serve(&name, &headers)
}

fn serve(name: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let own = FILES.iter().find(|file| file.name == name);
    let file = own.or_else(|| dashboard::find(name).filter(|_| SHARED.contains(&name)));
    let file =
        file.ok_or_else(|| ApiError::not_found("FILE_NOT_FOUND", format!("the reference has no {name}")))?;
    Ok(dashboard::answer(file, dashboard::policy(&DashboardConfig::default()), headers))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_page_is_whole_and_leads_to_this_server_alone() {
        let mut references = 0;
        for file in FILES.iter() {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for before in ["href=\"", "src=\"", "from \""] {
                for rest in text.split(before).skip(1) {
                    let reference = rest.split('"').next().unwrap();
                    let local = reference.strip_prefix("/docs/").or(reference.strip_prefix("./"));
                    let known = local.is_some_and(|name| serve(name, &HeaderMap::new()).is_ok());
                    assert!(
                        known || reference == "/openapi.json" || reference.starts_with('#'),
                        "{}: {reference}",
                        file.name
                    );
                    references += 1;
                }
            }
            for forbidden in ["innerHTML", "outerHTML", "document.write", "eval(", " style=\"", " onclick="] {
                assert!(!text.contains(forbidden), "{} has {forbidden}", file.name);
            }
        }
        assert!(references >= 8, "{references}");
    }

    #[test]
    fn nothing_else_of_the_dashboard_is_served_here() {
        let answer = serve(PAGE, &HeaderMap::new()).unwrap();
        let policy = answer.headers()[axum::http::header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"),
            "{policy}"
        );
        for name in ["app.js", "", "../mod.rs", "x"] {
            assert!(serve(name, &HeaderMap::new()).is_err(), "{name}");
        }
    }
}
