//! `/v6/batches/`: batches of recipes (scale-v6 sections 2 to 4).

mod compare;
mod create;
mod edit;
mod export;
mod read;
mod wire;

use millrace_common::model::recipe::names::BatchError;
use millrace_common::model::recipe::{BatchConfiguration, BatchDefinition, Finding, Place, echo};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::http::refused;
use crate::error::ApiError;
use crate::state::AppState;

/// The routes of batches.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(read::list, create::create))
        .routes(routes!(create::validate))
        .routes(routes!(compare::compare))
        .routes(routes!(read::show, edit::edit))
        .routes(routes!(export::export))
}

/// The 400 for these findings.
fn refusal(findings: Vec<Finding<BatchError>>) -> ApiError {
    refused(findings.into_iter().map(|finding| (finding.name.as_str(), finding.to_string())))
}

/// Reads a definition, and gives it with its echo.
fn read_definition(
    document: &Value,
    supersedes: Option<bool>,
) -> Result<(BatchDefinition, Value), Vec<Finding<BatchError>>> {
    let definition = BatchDefinition::parse(document, Place::root("definition"))?;
    Ok((definition, echo::batch_definition(document, supersedes)))
}

/// Reads a configuration, and gives it with its echo. Without one it is empty.
fn read_configuration(
    document: Option<&Value>,
) -> Result<(BatchConfiguration, Value), Vec<Finding<BatchError>>> {
    let Some(document) = document else { return Ok((BatchConfiguration::default(), json!({}))) };
    let configuration = BatchConfiguration::parse(document, Place::root("configuration"))?;
    Ok((configuration, echo::flat(document)))
}
