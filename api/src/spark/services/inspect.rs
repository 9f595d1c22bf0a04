//! What is known about services and versions (contract 4.5).

use axum::Json;
use axum::extract::State;
use millrace_calc::document;
use millrace_calc::interface::Interface;
use millrace_calc::schema::of_service;
use millrace_calc::service::SourceKind;
use millrace_common::model::Caller;
use millrace_common::model::time::timestamp;
use millrace_common::programs::source_kind;
use millrace_common::store::{ServiceVersion, VersionSelector};
use serde_json::{Value, json};
use uuid::Uuid;

use super::locator::Locator;
use super::resolve::{resolve, service_id};
use super::schema;
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{Exists, ListedVersion, Outputs, V1, V3};
use crate::spark::envelope::{Meta, v1, v3};
use crate::state::AppState;

/// All versions, newest first.
#[utoipa::path(get, path = "/api/v1/product/{folder}/engines/getversions/{service}", tag = "Services", operation_id = "listVersions",
    responses((status = 200, description = "The versions.", body = V1<Vec<ListedVersion>>)))]
pub(super) async fn versions(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((folder, service)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let id = service_id(&state, &caller, &folder, &service).await?;
    let versions = state.store.versions(caller.tenant_id, id).await?;
    let data: Vec<Value> = versions
        .iter()
        .map(|version| {
            json!({
                "id": version.id,
                "createdAt": timestamp(version.created_at),
                "engine": version.service,
                "revision": version.number(),
                "effectiveStartDate": timestamp(version.effective_start),
                "effectiveEndDate": timestamp(version.effective_end),
                "isActive": version.is_active,
                "releaseNote": version.release_note,
                "childEngines": null,
                "versionLabel": version.label,
                "defaultEngineType": "Neuron",
                "tags": version.tags,
                "product": version.folder,
                "author": version.created_by,
                "originalFileName": version.file_name,
            })
        })
        .collect();
    Ok(v1(data))
}

/// Whether a service exists; 200 also when it does not.
#[utoipa::path(get, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/exists", tag = "Services", operation_id = "serviceExists",
    responses((status = 200, description = "Whether it does.", body = V3<Exists>)))]
pub(super) async fn exists(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, folder, service)): Path<(String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    let found = state.store.service_id(caller.tenant_id, &folder, &service).await?;
    Ok(v3(json!({"is_exists": found.is_some()}), &Meta { service_id: found, ..Meta::new() }))
}

/// The interface as the compiler stored it, and its report.
pub(crate) async fn interface(
    state: &AppState,
    version: &ServiceVersion,
) -> Result<(Interface, Value), ApiError> {
    let (interface, report) = state.store.version_interface(version.id).await?;
    let interface = serde_json::from_value(interface).map_err(|error| ApiError::internal(&error))?;
    Ok((interface, report))
}

/// Inputs and outputs of the version in force.
#[utoipa::path(get, path = "/api/v1/product/{folder}/engines/get/{service}", tag = "Services", operation_id = "describeService",
    responses((status = 200, description = "The description.", body = V1<Value>)))]
pub(super) async fn schema(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((folder, service)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let version = by_name(&state, &caller, &folder, &service).await?;
    let (interface, report) = interface(&state, &version).await?;
    Ok(v1(schema::schema(&version, &interface, &report)))
}

/// Inputs and outputs of a version.
#[utoipa::path(post, path = "/{tenant}/api/v3/GetEngineDetailByVersionId/versionid/{id}", tag = "Services", operation_id = "describeVersion",
    params(("id" = String, Path, description = "The version.")), responses((status = 200, description = "The description, in `data` as well.", body = V3<Value>)))]
pub(super) async fn schema_of_version(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let version = resolve(&state, &caller, &Locator::Version(path_id(&id)?), None).await?;
    let (interface, report) = interface(&state, &version).await?;
    let schema = schema::schema(&version, &interface, &report);
    let Json(mut answer) = v3(&schema, &Meta::of(&version));
    // This v3 path answers in the v1 envelope as well.
    answer["data"] = schema;
    answer["message"] = Value::Null;
    answer["errorCode"] = Value::Null;
    Ok(Json(answer))
}

// Not of the protocol: its own description is `schema`.
/// The JSON Schema of a service's inputs.
#[utoipa::path(get, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/schema", tag = "Services", operation_id = "getServiceSchema",
    responses((status = 200, description = "A JSON Schema (2020-12) of one record.", body = Value)))]
pub(super) async fn json_schema(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, folder, service)): Path<(String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    let version = by_name(&state, &caller, &folder, &service).await?;
    json_schema_answer(&state, &version).await
}

/// The JSON Schema of the inputs of a service's latest version.
#[utoipa::path(get, path = "/{tenant}/api/v3/service/{id}/schema", tag = "Services", operation_id = "getServiceSchemaById",
    params(("id" = String, Path, description = "The service.")), responses((status = 200, description = "A JSON Schema (2020-12) of one record.", body = Value)))]
pub(super) async fn json_schema_of_service(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let locator = Locator::Service(path_id(&id)?, VersionSelector::Latest);
    json_schema_answer(&state, &resolve(&state, &caller, &locator, None).await?).await
}

/// The JSON Schema of a version's inputs.
#[utoipa::path(get, path = "/{tenant}/api/v3/version/{id}/schema", tag = "Services", operation_id = "getVersionSchema",
    params(("id" = String, Path, description = "The version.")), responses((status = 200, description = "A JSON Schema (2020-12) of one record.", body = Value)))]
pub(super) async fn json_schema_of_version(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let version = resolve(&state, &caller, &Locator::Version(path_id(&id)?), None).await?;
    json_schema_answer(&state, &version).await
}

async fn json_schema_answer(state: &AppState, version: &ServiceVersion) -> Result<Json<Value>, ApiError> {
    let (interface, _) = interface(state, version).await?;
    let kind = source_kind(&version.kind).unwrap_or(SourceKind::Workbook);
    let id = format!("urn:uuid:{}", version.id);
    Ok(Json(of_service(&interface, kind, &id, &version.uri())))
}

/// The JSON Schema of formula documents, for editors: the same for everybody, without credentials.
#[utoipa::path(get, path = "/schemas/formula-document.json", tag = "Services", operation_id = "getFormulaDocumentSchema",
    responses((status = 200, description = "A JSON Schema (2020-12).", body = Value)))]
pub(super) async fn document_schema() -> Json<Value> {
    Json(document::schema())
}

/// The metadata of a service.
#[utoipa::path(get, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/metadata", tag = "Services", operation_id = "getServiceMetadata",
    responses((status = 200, description = "The metadata, as outputs.", body = V3<Outputs>)))]
pub(super) async fn metadata(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, folder, service)): Path<(String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    let version = by_name(&state, &caller, &folder, &service).await?;
    metadata_answer(&state, &version).await
}

/// The metadata of a service's latest version.
#[utoipa::path(get, path = "/{tenant}/api/v3/service/{id}/metadata", tag = "Services", operation_id = "getServiceMetadataById",
    params(("id" = String, Path, description = "The service.")), responses((status = 200, description = "The metadata, as outputs.", body = V3<Outputs>)))]
pub(super) async fn metadata_of_service(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let locator = Locator::Service(path_id(&id)?, VersionSelector::Latest);
    metadata_answer(&state, &resolve(&state, &caller, &locator, None).await?).await
}

/// The metadata of a version.
#[utoipa::path(get, path = "/{tenant}/api/v3/version/{id}/metadata", tag = "Services", operation_id = "getVersionMetadata",
    params(("id" = String, Path, description = "The version.")), responses((status = 200, description = "The metadata, as outputs.", body = V3<Outputs>)))]
pub(super) async fn metadata_of_version(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let version = resolve(&state, &caller, &Locator::Version(path_id(&id)?), None).await?;
    metadata_answer(&state, &version).await
}

async fn metadata_answer(state: &AppState, version: &ServiceVersion) -> Result<Json<Value>, ApiError> {
    let (interface, _) = interface(state, version).await?;
    let data = json!({
        "outputs": schema::metadata(&interface), "warnings": null, "errors": null, "service_chain": null,
    });
    Ok(v3(data, &Meta::of(version)))
}

pub(super) async fn by_name(
    state: &AppState,
    caller: &Caller,
    folder: &str,
    service: &str,
) -> Result<ServiceVersion, ApiError> {
    resolve(state, caller, &Locator::named(folder, service, VersionSelector::Latest), None).await
}

/// An id in a path; what is no UUID names nothing.
pub(crate) fn path_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text)
        .map_err(|_| ApiError::not_found("NOT_FOUND", format!("there is nothing with the id {text:?}")))
}
