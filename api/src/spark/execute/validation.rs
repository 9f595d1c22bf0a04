//! What inputs allow (contract 4.5, `validate`).
//!
//! `default_values` answers the rule of every input as the service's defaults have it; `dynamic` those that depend on other
//! inputs and come to something else for the given record.

use std::time::Instant;

use axum::Json;
use axum::extract::{Request, State};
use millrace_calc::service::Options;
use millrace_calc::validation::by_input;
use millrace_common::model::Caller;
use millrace_common::store::VersionSelector;
use serde_json::Value;

use super::run::{volatile, within_limit};
use super::texts::scalar;
use super::v3;
use crate::auth::Auth;
use crate::body::read_body;
use crate::error::ApiError;
use crate::extract::Path;
use crate::middleware;
use crate::openapi::schemas::{CallV3, Outputs, V3};
use crate::spark::envelope::{self, Meta};
use crate::spark::services::inspect::path_id;
use crate::spark::services::locator::Locator;
use crate::state::AppState;

/// What the inputs of the service allow that the body names.
#[utoipa::path(post, path = "/{tenant}/api/v3/validation", tag = "Calls", operation_id = "validate",
    request_body(content = CallV3, example = json!({"request_data": {"inputs": {"price": 20}}, "request_meta": {"service_uri": "sales/SalesExample"}})),
    responses((status = 200, description = "The rules, by input.", body = V3<Outputs>), (status = 404), (status = 504)))]
pub(super) async fn by_body(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    answer(&state, &caller, v3::Target::Body, request).await
}

/// What the inputs of a service allow.
#[utoipa::path(post, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/validation", tag = "Calls", operation_id = "validateService",
    request_body(content = CallV3, example = json!({"request_data": {"inputs": {"price": 20, "quantity": 65, "tax": 0.1}}})),
    responses((status = 200, description = "The rules, by input.", body = V3<Outputs>), (status = 504)))]
pub(super) async fn named(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, folder, service)): Path<(String, String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let target = v3::Target::Locator(Locator::named(&folder, &service, VersionSelector::Latest));
    answer(&state, &caller, target, request).await
}

/// What the inputs of the latest version of a service allow.
#[utoipa::path(post, path = "/{tenant}/api/v3/service/{id}/validation", tag = "Calls", operation_id = "validateServiceById",
    params(("id" = String, Path, description = "The service.")), request_body(content = CallV3, example = json!({"request_data": {"inputs": {"price": 20, "quantity": 65, "tax": 0.1}}})),
    responses((status = 200, description = "The rules, by input.", body = V3<Outputs>), (status = 504)))]
pub(super) async fn service(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let target = v3::Target::Locator(Locator::Service(path_id(&id)?, VersionSelector::Latest));
    answer(&state, &caller, target, request).await
}

/// What the inputs of a version allow.
#[utoipa::path(post, path = "/{tenant}/api/v3/version/{id}/validation", tag = "Calls", operation_id = "validateVersion",
    params(("id" = String, Path, description = "The version.")), request_body(content = CallV3, example = json!({"request_data": {"inputs": {"price": 20, "quantity": 65, "tax": 0.1}}})),
    responses((status = 200, description = "The rules, by input.", body = V3<Outputs>), (status = 504)))]
pub(super) async fn version(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    answer(&state, &caller, v3::Target::Locator(Locator::Version(path_id(&id)?)), request).await
}

async fn answer(
    state: &AppState,
    caller: &Caller,
    target: v3::Target,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = read_body(state, request).await?;
    let wanted: v3::Body<'_> = body.json()?;
    let meta = wanted.request_meta.unwrap_or_default();
    let dynamic = match scalar(meta.validation_type.as_ref()).as_deref() {
        None | Some("default_values" | "static") => false,
        Some("dynamic") => true,
        Some(other) => {
            let message = format!("{other:?} is neither \"default_values\" nor \"dynamic\"");
            let path = "request_meta.validation_type".to_owned();
            return Err(ApiError::unprocessable("INVALID_VALUE", message, path));
        }
    };
    let version = v3::version(state, caller, target, &meta).await?;
    let record = v3::one_record(wanted.request_data.and_then(|data| data.inputs))?.to_owned();
    let started = Instant::now();
    let options = Options { volatile: volatile(middleware::current().received_at), ..Options::default() };
    let validations = within_limit(state, &version, options, move |prepared, _| {
        if dynamic { prepared.changed_validations(record.as_bytes()) } else { prepared.validations(None) }
    });
    let validations = validations.await.map_err(v3::of_the_record)?;
    let outputs = by_input(validations).map_err(|error| ApiError::internal(&error))?;
    let mut answer_meta = Meta { correlation_id: scalar(meta.correlation_id.as_ref()), ..Meta::of(&version) };
    answer_meta.process_time = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
    Ok(envelope::v3(v3::response_data(outputs, Value::Null, Value::Null), &answer_meta))
}
