//! The v3 call: one record, an envelope with an object of outputs.

use axum::Json;
use axum::extract::{Request, State};
use millrace_calc::chunk::ChunkResult;
use millrace_calc::service::Options;
use millrace_calc::validation::Violation;
use millrace_common::model::Caller;
use millrace_common::store::{ServiceVersion, VersionSelector};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::run::{run_validated, volatile};
use super::texts::{Texts, scalar};
use super::v4::{read_id, read_time};
use crate::auth::Auth;
use crate::body::read_body;
use crate::error::ApiError;
use crate::extract::Path;
use crate::middleware;
use crate::openapi::schemas::{CallV3, Outputs, V3};
use crate::spark::envelope::{Meta, v3};
use crate::spark::services::inspect::path_id;
use crate::spark::services::locator::{Locator, parse_selector};
use crate::spark::services::{resolve, resolve_version};
use crate::state::AppState;

/// The body; unknown keys are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Body<'a> {
    #[serde(borrow, default)]
    pub(super) request_data: Option<RequestData<'a>>,
    #[serde(default)]
    pub(super) request_meta: Option<RequestMeta>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RequestData<'a> {
    #[serde(borrow, default)]
    pub(super) inputs: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RequestMeta {
    version_id: Option<Value>,
    service_id: Option<Value>,
    service_uri: Option<Value>,
    version: Option<Value>,
    transaction_date: Option<Value>,
    pub(super) correlation_id: Option<Value>,
    requested_output: Option<Texts>,
    requested_output_regex: Option<Texts>,
    array_outputs: Option<Texts>,
    service_category: Option<Texts>,
    response_data_inputs: Option<Value>,
    pub(super) validation_type: Option<Value>,
}

/// What the path says about the service.
pub(super) enum Target {
    Body,
    Locator(Locator),
}

/// Evaluates one record of the service that the body names.
#[utoipa::path(post, path = "/{tenant}/api/v3/execute", tag = "Calls", operation_id = "executeV3",
    request_body(content = CallV3, example = json!({"request_data": {"inputs": {"price": 20}}, "request_meta": {"service_uri": "sales/SalesExample"}})),
    responses((status = 200, description = "The outputs; what is wrong with inputs is in `errors`.", body = V3<Outputs>), (status = 404), (status = 504)))]
pub(super) async fn execute(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    answer(&state, &caller, Target::Body, request).await
}

/// Evaluates one record.
#[utoipa::path(post, path = "/{tenant}/api/v3/folders/{folder}/services/{service}/execute", tag = "Calls", operation_id = "executeService",
    request_body(content = CallV3, example = json!({"request_data": {"inputs": {"price": 20, "quantity": 65, "tax": 0.1}}})),
    responses((status = 200, description = "The outputs; what is wrong with inputs is in `errors`.", body = V3<Outputs>), (status = 504)))]
pub(super) async fn execute_named(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, folder, service)): Path<(String, String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let target = Target::Locator(Locator::named(&folder, &service, VersionSelector::Latest));
    answer(&state, &caller, target, request).await
}

/// Evaluates one record of the latest version of a service.
#[utoipa::path(post, path = "/{tenant}/api/v3/service/{id}/execute", tag = "Calls", operation_id = "executeServiceById",
    params(("id" = String, Path, description = "The service.")), request_body(content = CallV3, example = json!({"request_data": {"inputs": {"price": 20, "quantity": 65, "tax": 0.1}}})),
    responses((status = 200, description = "The outputs; what is wrong with inputs is in `errors`.", body = V3<Outputs>), (status = 504)))]
pub(super) async fn execute_service(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let target = Target::Locator(Locator::Service(path_id(&id)?, VersionSelector::Latest));
    answer(&state, &caller, target, request).await
}

/// Evaluates one record of a version.
#[utoipa::path(post, path = "/{tenant}/api/v3/version/{id}/execute", tag = "Calls", operation_id = "executeVersion",
    params(("id" = String, Path, description = "The version.")), request_body(content = CallV3, example = json!({"request_data": {"inputs": {"price": 20, "quantity": 65, "tax": 0.1}}})),
    responses((status = 200, description = "The outputs; what is wrong with inputs is in `errors`.", body = V3<Outputs>), (status = 504)))]
pub(super) async fn execute_version(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((_, id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    answer(&state, &caller, Target::Locator(Locator::Version(path_id(&id)?)), request).await
}

/// The version that path and body mean together: the body may narrow what the path says down to a version.
pub(super) async fn version(
    state: &AppState,
    caller: &Caller,
    target: Target,
    meta: &RequestMeta,
) -> Result<ServiceVersion, ApiError> {
    let at = scalar(meta.transaction_date.as_ref());
    let at = at.map(|text| read_time(&text, "request_meta.transaction_date")).transpose()?;
    let version_id = scalar(meta.version_id.as_ref()).map(|text| read_id(&text)).transpose()?;
    let number = scalar(meta.version.as_ref()).map(|text| parse_selector(&text)).transpose()?;
    let mut locator = match target {
        Target::Locator(locator @ Locator::Version(_)) => locator,
        _ if version_id.is_some() => return resolve_version(state, caller, None, version_id, at).await,
        Target::Locator(locator) => locator,
        Target::Body => {
            let text =
                [&meta.service_id, &meta.service_uri].into_iter().find_map(|field| scalar(field.as_ref()));
            match text {
                Some(text) => Locator::parse(&text)?,
                None => return resolve_version(state, caller, None, None, at).await,
            }
        }
    };
    if let (
        Some(number),
        Locator::Named { selector, .. } | Locator::Service(_, selector) | Locator::Either(_, selector),
    ) = (number, &mut locator)
        && *selector == VersionSelector::Latest
    {
        *selector = number;
    }
    resolve(state, caller, &locator, at).await
}

async fn answer(
    state: &AppState,
    caller: &Caller,
    target: Target,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = read_body(state, request).await?;
    let wanted: Body<'_> = body.json()?;
    let meta = wanted.request_meta.unwrap_or_default();
    let version = version(state, caller, target, &meta).await?;
    let inputs = wanted.request_data.and_then(|data| data.inputs);
    let record = one_record(inputs)?;
    let mut answer_meta = Meta { correlation_id: scalar(meta.correlation_id.as_ref()), ..Meta::of(&version) };

    let (names, patterns) = (Texts::list(meta.requested_output), Texts::list(meta.requested_output_regex));
    if !names.is_empty() && !patterns.is_empty() {
        let error = error_object(
            "request_meta.requested_output",
            "validation_error",
            "give requested_output or requested_output_regex, not both",
        );
        return Ok(v3(response_data(Map::new(), Value::Null, json!([error])), &answer_meta));
    }
    let categories = Texts::list(meta.service_category);
    let everything = categories.iter().any(|category| category.eq_ignore_ascii_case("all"));
    let options = Options {
        output: if names.is_empty() { patterns } else { names },
        subservices: if everything { Vec::new() } else { categories },
        unique_record_key: Vec::new(),
        volatile: volatile(middleware::current().received_at),
        default_warnings: true,
        totals: Vec::new(),
    };
    let run = run_validated(state, &version, options, record.to_owned());
    let (result, violations) = run.await.map_err(of_the_record)?;
    answer_meta.process_time = result.compute_time_ms;
    let (mut outputs, mut warnings, mut errors) = read_result(&result)?;
    for violation in violations {
        // What is no error in Excel is none here.
        if violation.style == "stop" {
            push(&mut errors, broken_rule(&violation));
        } else {
            push(&mut warnings, json!({"source_path": path_of(&violation), "message": violation.message}));
        }
    }
    let arrays = Texts::list(meta.array_outputs);
    if !arrays.is_empty() {
        let service = state.programs.get(version.id).await?;
        for field in &service.interface().outputs {
            let names = arrays.iter().flat_map(|list| list.split(',')).map(str::trim);
            let mut names = names.filter(|name| name.eq_ignore_ascii_case(&field.place.name));
            if names.next().is_some()
                && let Some(table) = outputs.get_mut(&field.place.name)
            {
                as_array(table, &field.place.headings);
            }
        }
    }
    if inputs.is_none() {
        let error = error_object(
            "request_data.inputs",
            "bad_request",
            "request_data.inputs is missing: the defaults of the service were used",
        );
        push(&mut errors, error);
    }
    let mut data = response_data(outputs, warnings, errors);
    if matches!(meta.response_data_inputs, Some(Value::Bool(true))) {
        data["inputs"] = serde_json::from_str(record).map_err(|error| ApiError::internal(&error))?;
    }
    Ok(v3(data, &answer_meta))
}

/// The place of an error in the body of a v3 call.
pub(super) fn of_the_record(error: ApiError) -> ApiError {
    match error.source_path().and_then(|path| path.strip_prefix("inputs[0]")) {
        Some(rest) => {
            let path = format!("request_data.inputs{rest}");
            error.at(path)
        }
        None => error,
    }
}

/// Adds to a list that may be `null`.
fn push(list: &mut Value, entry: Value) {
    match list {
        Value::Array(list) => list.push(entry),
        other => *other = json!([entry]),
    }
}

fn path_of(violation: &Violation) -> String {
    format!("request_data.inputs.{}", violation.input)
}

/// An input that breaks a rule of the service (contract 5.5).
fn broken_rule(violation: &Violation) -> Value {
    let mut error = error_object(&path_of(violation), "validation_error", &violation.message);
    if let Some(title) = &violation.title {
        error["additional_details"] = json!({"title": title});
    }
    error
}

/// The one record of a v3 call: an object, or a list with one object in it.
pub(super) fn one_record(inputs: Option<&RawValue>) -> Result<&str, ApiError> {
    let refuse = |message: &str| {
        Err(ApiError::bad_request("INVALID_INPUTS", message, "request_data.inputs".to_owned()))
    };
    let Some(inputs) = inputs else { return Ok("{}") };
    let text = inputs.get().trim();
    if text.starts_with('{') {
        return Ok(text);
    }
    let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(text) else {
        return refuse("the inputs must be an object");
    };
    match list.as_slice() {
        [] => Ok("{}"),
        [record] if record.get().starts_with('{') => Ok(record.get()),
        [_] => refuse("the inputs must be an object"),
        _ => refuse("a v3 call takes one record; use v4 for several"),
    }
}

/// Outputs, warnings and errors of the one record.
fn read_result(result: &ChunkResult) -> Result<(Map<String, Value>, Value, Value), ApiError> {
    fn first<T: serde::de::DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, ApiError> {
        let list: Vec<T> = serde_json::from_slice(bytes).map_err(|error| ApiError::internal(&error))?;
        Ok(list.into_iter().next().unwrap_or_default())
    }
    Ok((first(&result.outputs)?, first(&result.warnings)?, first(&result.errors)?))
}

pub(super) fn response_data(outputs: Map<String, Value>, warnings: Value, errors: Value) -> Value {
    json!({"outputs": outputs, "warnings": warnings, "errors": errors, "service_chain": null})
}

fn error_object(source_path: &str, category: &str, message: &str) -> Value {
    json!({
        "source_path": source_path,
        "error_category": category,
        "error_type": "error.VALIDATION",
        "message": message,
        "additional_details": null,
    })
}

/// Turns a table from a list of objects into headings and rows.
fn as_array(table: &mut Value, headings: &[String]) {
    let Value::Array(rows) = table else { return };
    let lists = rows.iter().map(|row| {
        Value::Array(
            headings.iter().map(|heading| row.get(heading).cloned().unwrap_or(Value::Null)).collect(),
        )
    });
    let lists: Vec<Value> = std::iter::once(json!(headings)).chain(lists).collect();
    *table = Value::Array(lists);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn record(text: &str) -> Result<String, ApiError> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        one_record(Some(raw)).map(str::to_owned)
    }

    #[test]
    fn a_record_is_an_object_or_a_list_of_one() {
        assert_eq!(record("{\"a\":1}").unwrap(), "{\"a\":1}");
        assert_eq!(record(" [ {\"a\":1} ] ").unwrap(), "{\"a\":1}");
        assert_eq!((record("[]").unwrap(), one_record(None).unwrap()), ("{}".to_owned(), "{}"));
        for bad in ["1", "\"x\"", "[1]", "[{},{}]", "[[\"a\"],[1]]"] {
            let error = record(bad).unwrap_err();
            assert_eq!(
                (error.status().as_u16(), error.source_path()),
                (400, Some("request_data.inputs")),
                "{bad}"
            );
        }
    }

    #[test]
    fn tables_become_arrays_with_their_headings() {
        let mut table = json!([{"b": 2, "a": 1}, {"a": 3}]);
        as_array(&mut table, &["a".to_owned(), "b".to_owned()]);
        assert_eq!(table, json!([["a", "b"], [1, 2], [3, null]]));
    }
}
