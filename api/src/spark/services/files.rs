//! The file of a service: download, deletion, recompilation (contract 4.5).

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use millrace_common::programs::source_kind;
use millrace_common::store::{NewUpload, Publication, ServiceVersion, VersionBump, VersionSelector};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::locator::{Locator, parse_selector};
use super::resolve::{resolve, service_id};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::{Path, Query};
use crate::openapi::schemas::{Recompiled, V1, V3};
use crate::spark::envelope::{COMPILER_VERSION, Meta, v1, v3};
use crate::state::AppState;

/// What to call a download.
#[derive(Debug, Default, Deserialize)]
pub(super) struct DownloadQuery {
    filename: Option<String>,
}

/// A path of a service, with or without a version.
#[derive(Debug, Deserialize)]
pub(super) struct DownloadPath {
    folder: String,
    service: String,
    version: Option<String>,
}

/// The file of a version.
#[utoipa::path(get, path = "/api/v1/product/{folder}/engines/{service}/download/{version}", tag = "Services", operation_id = "downloadVersion",
    params(
        ("version" = String, Path, description = "The version: an id, or a number such as `1.4.3`, `1.4` or `1`."),
        ("filename" = Option<String>, Query, description = "What to call the file."),
    ),
    responses((status = 200, description = "The file, as it was uploaded.", content(
        (Vec<u8> = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (serde_json::Value = "application/json"),
    ))))]
pub(super) async fn download(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(path): Path<DownloadPath>,
    Query(query): Query<DownloadQuery>,
) -> Result<Response, ApiError> {
    let locator = match path.version.as_deref() {
        None | Some("") => Locator::named(&path.folder, &path.service, VersionSelector::Latest),
        Some(text) => match uuid::Uuid::parse_str(text) {
            Ok(id) => Locator::Version(id),
            Err(_) => Locator::named(&path.folder, &path.service, parse_selector(text)?),
        },
    };
    let version = resolve(&state, &caller, &locator, None).await?;
    // A version by its id must be one of the service that the path names.
    let id = service_id(&state, &caller, &path.folder, &path.service).await?;
    if version.service_id != id {
        let message = format!("{}/{} has no version {}", path.folder, path.service, version.id);
        return Err(ApiError::not_found("VERSION_NOT_FOUND", message));
    }
    let document = state
        .store
        .document(caller.tenant_id, version.document_id)
        .await?
        .ok_or_else(|| ApiError::internal(&format!("version {} has no file", version.id)))?;
    let name = query.filename.filter(|name| !name.trim().is_empty()).unwrap_or(document.file_name);
    let headers = [
        (header::CONTENT_TYPE, header_value(&document.media_type)),
        (header::CONTENT_DISPOSITION, disposition(&name)),
    ];
    Ok((headers, document.content).into_response())
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// An attachment of this name, whatever characters it has (RFC 6266).
fn disposition(name: &str) -> HeaderValue {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '/') || c == ' ' { c } else { '_' })
        .collect();
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
    HeaderValue::from_str(&format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}

/// Deletes a service with all its versions.
#[utoipa::path(delete, path = "/api/v1/product/{folder}/engines/delete/{service}", tag = "Services", operation_id = "deleteService",
    responses((status = 200, description = "It is gone.", body = V1<Value>)))]
pub(super) async fn remove(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((folder, service)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let id = service_id(&state, &caller, &folder, &service).await?;
    state.acting(&caller).delete_service(caller.tenant_id, id).await?;
    Ok(v1(Value::Null))
}

/// Compiles the latest version's file again and publishes it as a patch.
#[utoipa::path(post, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/recompileNodgen", tag = "Services", operation_id = "recompileService",
    responses((status = 200, description = "The new version.", body = V3<Recompiled>), (status = 409, description = "Somebody else published meanwhile.")))]
pub(super) async fn recompile(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, folder, service)): Path<(String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    let locator = Locator::named(&folder, &service, VersionSelector::Latest);
    let latest = resolve(&state, &caller, &locator, None).await?;
    let missing = || ApiError::internal(&format!("version {} has no file", latest.id));
    let document = state.store.document(caller.tenant_id, latest.document_id).await?.ok_or_else(missing)?;
    let kind = source_kind(&latest.kind).ok_or_else(missing)?;
    let compiled = state.programs.compile(kind, document.content.clone()).await?;
    let outcome = match compiled {
        Ok(service) => Ok((
            serde_json::to_value(service.interface()).map_err(|error| ApiError::internal(&error))?,
            serde_json::to_value(service.report()).map_err(|error| ApiError::internal(&error))?,
        )),
        Err(error) => return Err(ApiError::unprocessable("COMPILATION_FAILED", error.to_string(), None)),
    };
    let store = state.acting(&caller);
    let stored = store
        .create_upload(&NewUpload {
            tenant_id: caller.tenant_id,
            folder: &latest.folder,
            service: &latest.service,
            service_id: Some(latest.service_id),
            file_name: &document.file_name,
            media_type: &document.media_type,
            content: &document.content,
            kind: &latest.kind,
            outcome,
        })
        .await?;
    let ServiceVersion { folder, service, effective_end, label, release_note, tags, .. } = latest;
    let publication = Publication {
        tenant_id: caller.tenant_id,
        folder,
        service,
        document_id: stored.document_id,
        bump: VersionBump::Patch,
        effective_start: state.store.now().await?,
        effective_end,
        label,
        release_note,
        tags,
        compiler_version: COMPILER_VERSION.to_owned(),
        created_by: caller.name,
    };
    let version = store.publish_service(&publication).await.map_err(|error| match error {
        millrace_common::store::PublishError::Store(error) => error.into(),
        other => ApiError::conflict("RECOMPILATION_FAILED", other.to_string()),
    })?;
    let data = json!({"versionId": version.id, "revision": version.number(), "jobId": stored.id});
    Ok(v3(data, &Meta::of(&version)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn names_of_downloads_cannot_break_the_header() {
        let text = |name| disposition(name).to_str().unwrap().to_owned();
        assert!(text("Sales.xlsx").starts_with("attachment; filename=\"Sales.xlsx\";"));
        assert!(text("a\"; x=\r\ny.xlsx").starts_with("attachment; filename=\"a_; x=__y.xlsx\";"));
        assert!(text("Ä.xlsx").contains("filename*=UTF-8''%C3%84%2Exlsx"));
    }
}
