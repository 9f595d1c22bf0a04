//! Upload and compilation (contract 4.3, steps 1 and 2). A file is compiled inside its upload, so that the first look at the
//! progress says 100.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use millrace_calc::load::LoadError;
use millrace_calc::service::{Report, Service, SourceKind};
use millrace_common::programs::kind_name;
use millrace_common::store::{Compilation, NewUpload};
use serde_json::{Value, json};
use uuid::Uuid;

use super::resolve::no_folder;
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{Progress, Upload, UploadAnswer, V3};
use crate::spark::envelope::{Meta, v3};
use crate::spark::forms::read_form;
use crate::spark::names::check_name;
use crate::state::AppState;

/// What a multipart body adds to its file: boundaries, headers, the request entity.
const FORM_OVERHEAD: usize = 100_000;
/// The parts of the form.
const FILE_PART: &str = "serviceFile";
const ENTITY_PART: &str = "engineUploadRequestEntity";

/// Uploads a file and compiles it.
#[utoipa::path(post, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/upload", tag = "Services", operation_id = "uploadService",
    request_body(content = Upload, content_type = "multipart/form-data", example = json!({
        "engineUploadRequestEntity": "{\"request_data\": {\"version_difference\": \"minor\"}}",
        "serviceFile": "{\"millrace\": \"formula-document/1\", \"name\": \"Doubled\", \"inputs\": [{\"name\": \"x\", \"type\": \"number\", \"default\": 1}], \"outputs\": [{\"name\": \"y\", \"formula\": \"2*x\"}]}",
    })),
    responses((status = 200, description = "The file is stored. Whether it compiles is told by the progress.", body = V3<UploadAnswer>)))]
pub(super) async fn upload(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, folder, service)): Path<(String, String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let service = check_name(&service, "service")?;
    let folder = state.store.folder(caller.tenant_id, &folder).await?.ok_or_else(|| no_folder(&folder))?;
    let limit = state.config.limits.service_bytes;
    let form = read_form(&state, request, limit.saturating_add(FORM_OVERHEAD)).await?;
    if let Some(entity) = form.text(ENTITY_PART)
        && let Err(error) = serde_json::from_str::<Value>(entity)
    {
        let message = format!("the part {ENTITY_PART} is no JSON: {error}");
        return Err(ApiError::bad_request("MALFORMED_JSON", message, ENTITY_PART.to_owned()));
    }
    let file = form.file(FILE_PART).or_else(|| form.any_file()).ok_or_else(|| {
        let message = format!("the file part {FILE_PART} is missing");
        ApiError::bad_request("MISSING_PART", message, FILE_PART.to_owned())
    })?;
    let kind = check_file(&file.bytes, &file.file_name, limit)?;
    let service_id = state.store.service_id(caller.tenant_id, &folder.name, &service).await?;

    let outcome = match state.programs.compile(kind, file.bytes.clone()).await? {
        Ok(service) => Ok(service),
        Err(error) if is_unreadable(&error) => {
            return Err(ApiError::unprocessable("UNREADABLE_FILE", error.to_string(), FILE_PART.to_owned()));
        }
        Err(error) if error.is_passing() => {
            return Err(ApiError::unavailable("ENGINE_UNAVAILABLE", error.to_string(), 1));
        }
        // Told by the compilation's progress (contract 4.3): the SDK cannot show a refused upload.
        Err(error) => Err(error.to_string()),
    };
    let stored = state
        .acting(&caller)
        .create_upload(&NewUpload {
            tenant_id: caller.tenant_id,
            folder: &folder.name,
            service: &service,
            service_id,
            file_name: &file.file_name,
            media_type: media_type(kind),
            content: &file.bytes,
            kind: kind_name(kind),
            outcome: match &outcome {
                Ok(service) => Ok((to_json(service.interface())?, to_json(service.report())?)),
                Err(error) => Err(error.clone()),
            },
        })
        .await?;
    if let Some(error) = &stored.error {
        tracing::info!(service.id = %stored.service_id, error, "an uploaded file does not compile");
    }
    Ok(answer(&stored, outcome.as_ref().ok()))
}

fn to_json(value: &impl serde::Serialize) -> Result<Value, ApiError> {
    serde_json::to_value(value).map_err(|error| ApiError::internal(&error))
}

/// The media type that a kind of file is sent back with.
pub(super) const fn media_type(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Workbook => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        SourceKind::FormulaDocument => "application/json",
    }
}

/// Whether the bytes may be a service at all, and of which kind.
fn check_file(bytes: &Bytes, file_name: &str, limit: usize) -> Result<SourceKind, ApiError> {
    let refuse = |code, message: String| Err(ApiError::unprocessable(code, message, FILE_PART.to_owned()));
    if bytes.is_empty() {
        return refuse("UNREADABLE_FILE", "the file is empty".to_owned());
    }
    if bytes.len() > limit {
        let message = format!("the file has {} bytes, the limit is {limit}", bytes.len());
        return refuse("FILE_TOO_LARGE", message);
    }
    let kind = SourceKind::detect(bytes);
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let is_object = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if kind == SourceKind::FormulaDocument && !is_object {
        let message = if file_name.to_ascii_lowercase().ends_with(".json") {
            "the file is no JSON object"
        } else {
            "the file is neither an Excel workbook (.xlsx) nor a formula document (JSON)"
        };
        return refuse("UNREADABLE_FILE", message.to_owned());
    }
    if kind == SourceKind::FormulaDocument
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(text)
    {
        return refuse("UNREADABLE_FILE", format!("the formula document is no JSON: {error}"));
    }
    Ok(kind)
}

/// Whether a file is refused at once, rather than stored as a failed compilation: nothing in it could be repaired by its
/// author in the calculation itself.
fn is_unreadable(error: &LoadError) -> bool {
    match error {
        LoadError::TooLarge { .. }
        | LoadError::ZipBomb { .. }
        | LoadError::NotAWorkbook(_)
        | LoadError::Encrypted
        | LoadError::Macros(_)
        | LoadError::Unreadable { .. } => true,
        LoadError::ExternalLink { .. }
        | LoadError::ArrayFormula { .. }
        | LoadError::Date1904(_)
        | LoadError::Name { .. }
        | LoadError::NoInterface
        | LoadError::Document { .. }
        | LoadError::Compile(_)
        | LoadError::Fallback { .. } => false,
    }
}

/// The answer to an upload.
pub(super) fn answer(stored: &Compilation, service: Option<&Service>) -> Json<Value> {
    let counts = service.map(|service| service.interface().counts).unwrap_or_default();
    let warnings = service.map(|service| service.report().warnings.as_slice()).unwrap_or_default();
    let warnings: Vec<Value> = warnings.iter().map(|message| json!({"message": message})).collect();
    let data = json!({
        "lines_of_code": counts.formulas,
        "hours_saved": 0,
        "nodegen_compilation_jobid": stored.id,
        "original_file_documentid": stored.document_id,
        "engine_file_documentid": stored.document_id,
        "warnings": warnings,
        "current_statistics": null,
        "no_of_sheets": counts.sheets,
        "no_of_inputs": counts.inputs,
        "no_of_outputs": counts.outputs,
        "no_of_formulas": counts.formulas,
        "no_of_cellswithdata": counts.cells_with_data,
        // Beyond the contract: which engine evaluates the service, and what keeps it off the fast path.
        "calculation": service.map(|service| calculation(service.report())),
    });
    let meta = Meta {
        service_id: Some(stored.service_id),
        version_id: Some(stored.version_id),
        source_hash: service.map(|service| service.report().source_hash.clone()),
        engine_id: Some(stored.service_id),
        ..Meta::new()
    };
    v3(data, &meta)
}

fn calculation(report: &Report) -> Value {
    json!({
        "path": report.path,
        "obstacles": report.obstacles,
        "functions": report.functions,
        "volatile_functions": report.volatile_functions,
        "formulas_used": report.formulas_used,
        "checked_records": report.checked_records,
        "differences": report.differences,
    })
}

/// What the compiler said.
#[utoipa::path(get, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/getcompilationprogess/{job}", tag = "Services", operation_id = "getCompilationProgress",
    params(("job" = String, Path, description = "The compilation: `nodegen_compilation_jobid` of the upload.")),
    responses((status = 200, description = "How far the compilation is.", body = V3<Progress>)))]
pub(super) async fn progress(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, _, _, job)): Path<(String, String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    let missing = || ApiError::not_found("JOB_NOT_FOUND", format!("there is no compilation {job}"));
    let id = Uuid::parse_str(&job).map_err(|_| missing())?;
    let stored = state.store.compilation(caller.tenant_id, id).await?.ok_or_else(missing)?;
    let data = json!({
        "status": if stored.error.is_none() { "Success" } else { "Failed" },
        // Without an error it is this word, not a null (contract 4.3).
        "last_error_message": stored.error.as_deref().unwrap_or("null"),
        "progress": 100,
    });
    let meta = Meta {
        service_id: Some(stored.service_id),
        version_id: Some(stored.version_id),
        engine_id: Some(stored.service_id),
        ..Meta::new()
    };
    Ok(v3(data, &meta))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn files_are_told_apart_by_their_bytes() {
        let check = |bytes: &'static [u8], name| check_file(&Bytes::from_static(bytes), name, 100);
        assert_eq!(check(b"PK\x03\x04...", "a.xlsx").unwrap(), SourceKind::Workbook);
        assert_eq!(check(b"\xD0\xCF\x11\xE0..", "a.xls").unwrap(), SourceKind::Workbook);
        assert_eq!(check(b" \n{\"inputs\":[]}", "a.bin").unwrap(), SourceKind::FormulaDocument);
        for (bytes, code) in [
            (&b""[..], "UNREADABLE_FILE"),
            (b"hello", "UNREADABLE_FILE"),
            (b"[1]", "UNREADABLE_FILE"),
            (b"{\"a\":", "UNREADABLE_FILE"),
            (&[b' '; 101], "FILE_TOO_LARGE"),
        ] {
            let error = check_file(&Bytes::from(bytes), "a.json", 100).unwrap_err();
            assert_eq!((error.status().as_u16(), error.code()), (422, code));
            assert_eq!(error.source_path(), Some("serviceFile"));
        }
    }
}
