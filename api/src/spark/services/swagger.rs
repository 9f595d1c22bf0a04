//! A service's synchronous call as Swagger 2.0 (contract 4.5).

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use millrace_calc::interface::{DataType, Interface};
use millrace_common::store::{ServiceVersion, VersionSelector};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::inspect::{interface, path_id};
use super::locator::Locator;
use super::resolve::resolve;
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::state::AppState;

/// Which description is wanted.
#[derive(Debug, Deserialize)]
pub(super) struct SwaggerPath {
    tenant: String,
    folder: String,
    service: String,
    /// `All`, or the name of one.
    subservice: String,
    /// Whether to answer as a file.
    download: String,
    version: Option<String>,
}

/// Describes the synchronous call of a service as Swagger 2.0.
#[utoipa::path(get, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/downloadswagger/{subservice}/{download}/{version}", tag = "Services", operation_id = "getVersionSwagger",
    params(
        ("subservice" = String, Path, description = "A subservice, or `All`.", example = json!("All")),
        ("download" = String, Path, description = "Whether to answer as a file: `True` or `False`.", example = json!("False")),
        ("version" = String, Path, description = "The id of the version."),
    ),
    responses((status = 200, description = "A Swagger 2.0 document.", body = Value)))]
pub(super) async fn swagger(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(path): Path<SwaggerPath>,
) -> Result<Response, ApiError> {
    let locator = match path.version.as_deref().filter(|version| !version.is_empty()) {
        Some(id) => Locator::Version(path_id(id)?),
        None => Locator::named(&path.folder, &path.service, VersionSelector::Latest),
    };
    let version = resolve(&state, &caller, &locator, None).await?;
    let (interface, _) = interface(&state, &version).await?;
    let subservice = Some(path.subservice.as_str()).filter(|name| !name.eq_ignore_ascii_case("all"));
    let answer = Json(describe(&path.tenant, &version, &interface, subservice));
    if path.download.eq_ignore_ascii_case("true") {
        return Ok(([(header::CONTENT_DISPOSITION, "attachment; filename=\"swagger.json\"")], answer)
            .into_response());
    }
    Ok(answer.into_response())
}

fn describe(
    tenant: &str,
    version: &ServiceVersion,
    interface: &Interface,
    subservice: Option<&str>,
) -> Value {
    let wanted = |own: &str| subservice.is_none_or(|name| name.eq_ignore_ascii_case(own));
    let mut inputs = Map::new();
    for field in interface.inputs.iter().filter(|field| wanted(field.place.subservice_or_default())) {
        let mut property = property(field.data_type, field.place.description.as_deref());
        property["default"] = field.default.clone();
        inputs.insert(field.place.name.clone(), property);
    }
    let mut outputs = Map::new();
    for field in interface.outputs.iter().filter(|field| wanted(field.place.subservice_or_default())) {
        let property = property(field.data_type, field.place.description.as_deref());
        outputs.insert(field.place.name.clone(), property);
    }
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let request = object(json!({
        "request_data": object(json!({"inputs": object(Value::Object(inputs))})),
        "request_meta": object(json!({
            "call_purpose": {"type": "string"},
            "source_system": {"type": "string"},
            "correlation_id": {"type": "string"},
        })),
    }));
    let response = object(json!({
        "status": {"type": "string"},
        "response_data": object(json!({"outputs": object(Value::Object(outputs))})),
        "response_meta": {"type": "object"},
        "error": {"type": "object"},
    }));
    let route = format!("/{tenant}/api/v3/folders/{}/services/{}/execute", version.folder, version.service);
    json!({
        "swagger": "2.0",
        "info": {"title": version.service, "version": version.number(), "description": version.release_note},
        "consumes": ["application/json"],
        "produces": ["application/json"],
        "securityDefinitions": {
            "x-synthetic-key": {"type": "apiKey", "name": "x-synthetic-key", "in": "header"},
        },
        "security": [{"x-synthetic-key": []}],
        "paths": {route: {"post": {
            "operationId": version.service,
            "parameters": [{"name": "body", "in": "body", "required": true, "schema": request}],
            "responses": {"200": {"description": "the outputs", "schema": response}},
        }}},
    })
}

fn property(data_type: DataType, description: Option<&str>) -> Value {
    let kind = match data_type {
        DataType::Number => json!({"type": "number"}),
        DataType::Integer => json!({"type": "integer"}),
        DataType::Text => json!({"type": "string"}),
        DataType::Boolean => json!({"type": "boolean"}),
        DataType::Date => json!({"type": "string", "format": "date"}),
        DataType::Table => json!({"type": "array", "items": {"type": "object"}}),
    };
    let mut kind = kind;
    if let Some(description) = description {
        kind["description"] = json!(description);
    }
    kind
}
