//! Publication of an uploaded file (contract 4.3, step 3).

use axum::Json;
use axum::extract::{Request, State};
use chrono::{DateTime, Days, TimeDelta, Utc};
use millrace_common::model::time;
use millrace_common::store::{Publication, PublishError, VersionBump};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::resolve::no_folder;
use crate::auth::Auth;
use crate::body::read_json;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{Publish, Published, V3};
use crate::spark::envelope::{COMPILER_VERSION, Meta, v3};
use crate::spark::names::check_name;
use crate::state::AppState;

/// A start this far ahead means now: clients send their local time without a zone.
const AHEAD: TimeDelta = TimeDelta::hours(24);
/// How long a version is in force that names no end: ten years.
const IN_FORCE: Days = Days::new(3652);

/// The body of a publish call.
#[derive(Debug, Deserialize)]
struct PublishBody {
    request_data: PublishRequest,
}

/// What is to be published; unknown keys are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PublishRequest {
    effective_start_date: Option<String>,
    effective_end_date: Option<String>,
    original_file_documentid: Option<String>,
    engine_file_documentid: Option<String>,
    version_difference: Option<String>,
    version_label: Option<String>,
    release_note: Option<String>,
    /// The documented spelling of `release_note`; the SDKs send the other.
    releasenote: Option<String>,
    tags: Option<Value>,
}

/// Publishes an uploaded file as a version.
#[utoipa::path(post, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/publish", tag = "Services", operation_id = "publishService",
    request_body(content = Publish),
    responses((status = 200, description = "The version.", body = V3<Published>), (status = 409, description = "There is no version number left.")))]
pub(super) async fn publish(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, folder, service)): Path<(String, String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let PublishBody { request_data: wanted } = read_json(&state, request).await?;
    let (effective_start, effective_end) = effective_dates(
        wanted.effective_start_date.as_deref(),
        wanted.effective_end_date.as_deref(),
        state.store.now().await?,
    )?;
    let store = state.acting(&caller);
    let publication = Publication {
        tenant_id: caller.tenant_id,
        service: check_name(&service, "service")?,
        document_id: document_id(&wanted)?,
        bump: bump(wanted.version_difference.as_deref())?,
        effective_start,
        effective_end,
        label: given(wanted.version_label),
        release_note: given(wanted.release_note).or_else(|| given(wanted.releasenote)),
        tags: tags(wanted.tags),
        compiler_version: COMPILER_VERSION.to_owned(),
        created_by: caller.name,
        folder,
    };
    let version = store.publish_service(&publication).await.map_err(refuse)?;
    tracing::info!(version.id = %version.id, service = version.uri(), "published");
    let data = json!({
        "version_id": version.id,
        "service_id": version.service_id,
        "version": version.number(),
        "effective_start_date": time::timestamp(version.effective_start),
        "effective_end_date": time::timestamp(version.effective_end),
    });
    Ok(v3(data, &Meta::of(&version)))
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

/// Tags as a comma list, however they come.
fn tags(tags: Option<Value>) -> Option<String> {
    match tags? {
        Value::String(text) => given(Some(text)),
        Value::Array(list) => {
            given(Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")))
        }
        _ => None,
    }
}

fn document_id(wanted: &PublishRequest) -> Result<Uuid, ApiError> {
    const PATH: &str = "request_data.engine_file_documentid";
    let text = [&wanted.engine_file_documentid, &wanted.original_file_documentid]
        .into_iter()
        .flatten()
        .find(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| {
        let message = "name the uploaded file: engine_file_documentid";
        ApiError::unprocessable("DOCUMENT_MISSING", message, PATH.to_owned())
    })?;
    Uuid::parse_str(text.trim())
        .map_err(|_| ApiError::unprocessable("INVALID_ID", format!("{text:?} is no UUID"), PATH.to_owned()))
}

fn bump(text: Option<&str>) -> Result<VersionBump, ApiError> {
    match text.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "major" => Ok(VersionBump::Major),
        "" | "minor" => Ok(VersionBump::Minor),
        "patch" => Ok(VersionBump::Patch),
        other => Err(ApiError::unprocessable(
            "INVALID_VERSION_DIFFERENCE",
            format!("{other:?} is no version difference: major, minor or patch"),
            "request_data.version_difference".to_owned(),
        )),
    }
}

/// From when until when a version is in force.
fn effective_dates(
    start: Option<&str>,
    end: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), ApiError> {
    let read = |text: Option<&str>, field: &str| match text.filter(|text| !text.trim().is_empty()) {
        None => Ok(None),
        Some(text) => time::parse(text).map(Some).ok_or_else(|| {
            let message = format!("{text:?} is no date");
            ApiError::unprocessable("INVALID_DATE", message, format!("request_data.{field}"))
        }),
    };
    let start = read(start, "effective_start_date")?.unwrap_or(now);
    let start = if start > now && start - now <= AHEAD { now } else { start };
    let end = match read(end, "effective_end_date")? {
        Some(end) => end,
        None => start.checked_add_days(IN_FORCE).unwrap_or(DateTime::<Utc>::MAX_UTC),
    };
    if end <= start {
        return Err(ApiError::unprocessable(
            "INVALID_DATE",
            "the version would end before it starts",
            "request_data.effective_end_date".to_owned(),
        ));
    }
    Ok((start, end))
}

fn refuse(error: PublishError) -> ApiError {
    let message = error.to_string();
    let document = "request_data.engine_file_documentid".to_owned();
    match error {
        PublishError::NoFolder(folder) => no_folder(&folder),
        PublishError::NoUpload(_) => ApiError::not_found("DOCUMENT_NOT_FOUND", message).at(document),
        PublishError::OtherService { .. } => ApiError::unprocessable("OTHER_SERVICE", message, document),
        PublishError::NotCompiled(_) => ApiError::unprocessable("COMPILATION_FAILED", message, document),
        PublishError::NoNumber => ApiError::conflict("VERSIONS_EXHAUSTED", message),
        PublishError::Store(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn dates(start: Option<&str>, end: Option<&str>) -> Result<(String, String), ApiError> {
        let now = time::parse("2026-11-21T12:00:00Z").unwrap();
        effective_dates(start, end, now).map(|(start, end)| (time::timestamp(start), time::timestamp(end)))
    }

    #[test]
    fn a_start_within_a_day_ahead_means_now() {
        let now = "2026-11-21T12:00:00.000Z";
        assert_eq!(dates(Some("2026-11-22T11:59:59"), None).unwrap().0, now);
        assert_eq!(dates(None, None).unwrap().0, now);
        assert_eq!(dates(Some(""), None).unwrap(), dates(None, None).unwrap());
        assert_eq!(dates(Some("2026-11-22T12:00:01"), None).unwrap().0, "2026-11-22T12:00:01.000Z");
        assert_eq!(dates(Some("2026-11-21T04:00:00.123456"), None).unwrap().0, "2026-11-21T04:00:00.123Z");
    }

    #[test]
    fn the_end_follows_the_start_by_ten_years() {
        assert_eq!(dates(None, None).unwrap().1, "2036-11-20T12:00:00.000Z");
        assert_eq!(dates(None, Some("2030-01-01")).unwrap().1, "2030-01-01T00:00:00.000Z");
        let error = dates(None, Some("2020-01-01")).unwrap_err();
        assert_eq!(
            (error.status().as_u16(), error.source_path()),
            (422, Some("request_data.effective_end_date"))
        );
        let error = dates(Some("soon"), None).unwrap_err();
        assert_eq!(error.source_path(), Some("request_data.effective_start_date"));
    }

    #[test]
    fn bumps_are_words() {
        assert_eq!(bump(None).unwrap(), VersionBump::Minor);
        assert_eq!(bump(Some("Major")).unwrap(), VersionBump::Major);
        assert_eq!(bump(Some("patch")).unwrap(), VersionBump::Patch);
        assert_eq!(bump(Some("huge")).unwrap_err().status(), 422);
    }

    #[test]
    fn tags_are_a_comma_list() {
        assert_eq!(tags(Some(json!("a,b"))).unwrap(), "a,b");
        assert_eq!(tags(Some(json!(["a", "b"]))).unwrap(), "a,b");
        assert_eq!(tags(Some(json!(""))), None);
    }
}
