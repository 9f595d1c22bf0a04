//! `POST …/api/v4/execute`: many records, a flat answer that mirrors the form of the inputs.

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use millrace_calc::chunk::ChunkResult;
use millrace_calc::service::Options;
use millrace_common::model::time;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::run::{data, run, volatile};
use super::texts::{Texts, scalar};
use crate::auth::Auth;
use crate::body::read_body;
use crate::error::ApiError;
use crate::middleware;
use crate::openapi::schemas::{Call, CallAnswer};
use crate::spark::services::resolve_version;
use crate::state::AppState;

/// The body; unknown keys are ignored.
#[derive(Debug, Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    inputs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary: Option<&'a RawValue>,
    service: Option<Value>,
    service_id: Option<Value>,
    service_uri: Option<Value>,
    version_id: Option<Value>,
    version_by_timestamp: Option<Value>,
    output: Option<Texts>,
    subservice: Option<Texts>,
    unique_record_key: Option<Texts>,
    correlation_id: Option<Value>,
}

/// Evaluates records; the answer mirrors the form of the inputs.
#[utoipa::path(post, path = "/{tenant}/api/v4/execute", tag = "Calls", operation_id = "execute",
    request_body(content = Call, example = json!({"service": "sales/SalesExample", "inputs": [["price", "quantity", "tax"], [20, 65, 0.1]]})),
    responses((status = 200, description = "The outputs.", body = CallAnswer), (status = 404), (status = 504)))]
pub(super) async fn execute(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_body(&state, request).await?;
    let wanted: Body<'_> = body.json()?;
    let version_id = scalar(wanted.version_id.as_ref()).map(|text| read_id(&text)).transpose()?;
    let at = scalar(wanted.version_by_timestamp.as_ref());
    let at = at.map(|text| read_time(&text, "version_by_timestamp")).transpose()?;
    let locator = [&wanted.service_id, &wanted.service, &wanted.service_uri]
        .into_iter()
        .find_map(|field| scalar(field.as_ref()));
    let version = resolve_version(&state, &caller, locator.as_deref(), version_id, at).await?;
    let correlation_id = scalar(wanted.correlation_id.as_ref());
    let received_at = middleware::current().received_at;
    let options = Options {
        output: Texts::list(wanted.output),
        subservices: Texts::list(wanted.subservice),
        unique_record_key: Texts::list(wanted.unique_record_key),
        volatile: volatile(received_at),
        default_warnings: true,
        totals: Vec::new(),
    };
    // Without inputs: one record of defaults. A single object: one record.
    let inputs = wanted.inputs.map_or("[{}]", RawValue::get).trim();
    let data = if inputs.starts_with('{') {
        data(&format!("[{inputs}]"), wanted.parameters, wanted.summary)
    } else {
        data(inputs, wanted.parameters, wanted.summary)
    };
    let result = run(&state, &version, options, data).await?;
    drop(body);
    let about = json!({
        "service_chain": null,
        "service_id": version.service_id,
        "version_id": version.id,
        "version": version.number(),
        "call_id": Uuid::new_v4(),
        "compiler_version": version.compiler_version,
        "correlation_id": correlation_id,
        "request_timestamp": time::timestamp(received_at),
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], answer(&result, &about)?).into_response())
}

pub(super) fn read_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text).map_err(|_| {
        ApiError::unprocessable("INVALID_ID", format!("{text:?} is no UUID"), "version_id".to_owned())
    })
}

pub(super) fn read_time(text: &str, path: &str) -> Result<chrono::DateTime<chrono::Utc>, ApiError> {
    time::parse(text).ok_or_else(|| {
        ApiError::unprocessable("INVALID_DATE", format!("{text:?} is no date"), path.to_owned())
    })
}

/// The parts of the result as they are, and then what is known about the call.
fn answer(result: &ChunkResult, about: &Value) -> Result<Vec<u8>, ApiError> {
    let parts = [
        ("{\"outputs\":", &result.outputs),
        (",\"process_time\":", &result.process_time),
        (",\"warnings\":", &result.warnings),
        (",\"errors\":", &result.errors),
        (",\"summary_output\":", &result.summary_output),
        (",\"summary_errors\":", &result.summary_errors),
    ];
    let about = serde_json::to_string(about).map_err(|error| ApiError::internal(&error))?;
    let mut answer = Vec::with_capacity(result.outputs.len() + about.len() + 256);
    for (name, part) in parts {
        answer.extend_from_slice(name.as_bytes());
        answer.extend_from_slice(part);
    }
    answer.push(b',');
    answer.extend_from_slice(about.trim_start_matches('{').as_bytes());
    Ok(answer)
}
