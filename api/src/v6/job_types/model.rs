//! How a job type computes (scale-v6 12): a published service, or formulas over the manifest's inputs, which become a formula
//! document of their own.

use std::collections::BTreeMap;

use millrace_calc::load::LoadError;
use millrace_calc::service::SourceKind;
use millrace_common::model::Caller;
use millrace_common::model::recipe::{JsonType, Manifest, ParameterKind};
use millrace_common::programs::ProgramError;
use millrace_common::store::recipes::Program;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::ApiError;
use crate::spark::services::resolve_version;
use crate::state::AppState;
use crate::v6::http::Told;

/// The name of what is wrong with a model.
const INVALID_MODEL: &str = "INVALID_MODEL";

fn wrong(place: &str, text: impl std::fmt::Display) -> Told {
    Told { name: INVALID_MODEL, description: format!("{place}: {text}") }
}

/// Compiles the model of a manifest; the inner error says what is wrong with it, each thing with its place.
pub(super) async fn compile(
    state: &AppState,
    caller: &Caller,
    manifest: &Manifest,
    model: Option<&Value>,
) -> Result<Result<Program, Vec<Told>>, ApiError> {
    let fields = model.and_then(Value::as_object);
    let form = |text: &str| Ok(Err(vec![wrong("model", text)]));
    let mut errors = Vec::new();
    for (name, parameter) in &manifest.outputs.parameters {
        if parameter.required && matches!(parameter.kind, ParameterKind::File { .. }) {
            errors.push(wrong(
                "manifest.job.interface.outputs.files",
                format!("{name:?}: no model makes files"),
            ));
        }
    }
    if !errors.is_empty() {
        return Ok(Err(errors));
    }
    match fields {
        None => {
            form("is missing: {\"service\": \"folder/name[1.0.0]\"} or {\"formulas\": {output: formula}}")
        }
        Some(fields) if fields.len() != 1 => form("must have one key, service or formulas"),
        Some(fields) => match (fields.get("service"), fields.get("formulas")) {
            (Some(Value::String(service)), _) => of_service(state, caller, manifest, service).await,
            (_, Some(Value::Object(formulas))) => of_formulas(state, manifest, formulas).await,
            (Some(_), _) => Ok(Err(vec![wrong("model.service", "must be a string")])),
            (_, Some(_)) => Ok(Err(vec![wrong("model.formulas", "must be an object")])),
            (None, None) => form("must have the key service or formulas"),
        },
    }
}

/// A published version: its inputs and outputs must cover the manifest's.
async fn of_service(
    state: &AppState,
    caller: &Caller,
    manifest: &Manifest,
    service: &str,
) -> Result<Result<Program, Vec<Told>>, ApiError> {
    let place = "model.service";
    let version = match resolve_version(state, caller, Some(service), None, None).await {
        Ok(version) => version,
        Err(error) if error.status().is_client_error() => {
            return Ok(Err(vec![wrong(place, error.message())]));
        }
        Err(error) => return Err(error),
    };
    let loaded = match state.programs.get(version.id).await {
        Ok(loaded) => loaded,
        Err(ProgramError::Load(error)) if !error.is_passing() => return Ok(Err(vec![wrong(place, error)])),
        Err(error) => return Err(error.into()),
    };
    let interface = loaded.interface();
    let mut errors = Vec::new();
    for (name, parameter) in &manifest.inputs.parameters {
        let found = interface.inputs.iter().any(|field| {
            field.place.name.eq_ignore_ascii_case(name) || field.place.short_name().eq_ignore_ascii_case(name)
        });
        if !found && matches!(parameter.kind, ParameterKind::Json(_)) {
            errors.push(wrong(place, format!("{} has no input {name:?}", version.uri())));
        }
    }
    for key in manifest.output_keys.values() {
        if interface.output(key, &[]).is_none() {
            errors.push(wrong(place, format!("{} has no output {key:?}", version.uri())));
        }
    }
    Ok(if errors.is_empty() { Ok(Program { id: version.id, document: None }) } else { Err(errors) })
}

/// Formulas by manifest output.
async fn of_formulas(
    state: &AppState,
    manifest: &Manifest,
    formulas: &serde_json::Map<String, Value>,
) -> Result<Result<Program, Vec<Told>>, ApiError> {
    let mut errors = Vec::new();
    let mut wanted: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, formula) in formulas {
        let place = format!("model.formulas.{name}");
        match formula.as_str() {
            _ if !manifest.output_keys.contains_key(name) => {
                errors.push(wrong(&place, "the manifest has no JSON output of this name"));
            }
            None => errors.push(wrong(&place, "must be a string")),
            Some(formula) => _ = wanted.insert(name, formula),
        }
    }
    for (name, parameter) in &manifest.outputs.parameters {
        let is_json = matches!(parameter.kind, ParameterKind::Json(_));
        if is_json && parameter.required && !formulas.contains_key(name) {
            errors.push(wrong("model.formulas", format!("the required output {name:?} has no formula")));
        }
    }
    if wanted.is_empty() && errors.is_empty() {
        errors.push(wrong("model.formulas", "there is no formula"));
    }
    if !errors.is_empty() {
        return Ok(Err(errors));
    }
    let content = document(manifest, &wanted);
    let Err(error) = load(state, content.clone()).await? else {
        return Ok(Ok(Program { id: Uuid::now_v7(), document: Some(content) }));
    };
    // The engine names a place of its own; tried one by one, formulas tell which of them is meant.
    for (name, formula) in &wanted {
        let alone = document(manifest, &BTreeMap::from([(*name, *formula)]));
        if let Err(error) = load(state, alone).await? {
            errors.push(wrong(&format!("model.formulas.{name}"), error));
        }
    }
    if errors.is_empty() {
        errors.push(wrong("model.formulas", error));
    }
    Ok(Err(errors))
}

async fn load(state: &AppState, content: Vec<u8>) -> Result<Result<(), LoadError>, ApiError> {
    match state.programs.compile(SourceKind::FormulaDocument, content).await? {
        Ok(_) => Ok(Ok(())),
        Err(error) if error.is_passing() => Err(ProgramError::Load(error).into()),
        Err(error) => Ok(Err(error)),
    }
}

/// The formula document of a manifest's inputs and these formulas. Its outputs are called as the manifest's result fields
/// (`key`), so that results of services and of formulas are read alike.
fn document(manifest: &Manifest, formulas: &BTreeMap<&str, &str>) -> Vec<u8> {
    let inputs: Vec<Value> = manifest
        .inputs
        .parameters
        .iter()
        .filter_map(|(name, parameter)| {
            let ParameterKind::Json(json_type) = &parameter.kind else { return None };
            let kind = match json_type {
                JsonType::Boolean => "boolean",
                JsonType::Integer => "integer",
                JsonType::Number => "number",
                JsonType::String => "text",
                // Formulas are over single values.
                JsonType::Array | JsonType::Object => return None,
            };
            Some(json!({"name": name, "type": kind}))
        })
        .collect();
    let outputs: Vec<Value> = formulas
        .iter()
        .map(|(name, formula)| json!({"name": manifest.output_keys.get(*name), "formula": formula}))
        .collect();
    let document = json!({
        "name": format!("{} {}", manifest.name, manifest.version), "inputs": inputs, "outputs": outputs,
    });
    document.to_string().into_bytes()
}
