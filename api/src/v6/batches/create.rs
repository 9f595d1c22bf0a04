//! Batches that are wanted: created, or only checked (scale-v6 2.3, 2.6).

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use millrace_common::broker::ControlEvent;
use millrace_common::model::Caller;
use millrace_common::model::recipe::names::BatchError;
use millrace_common::model::recipe::{BatchCheck, Finding};
use millrace_common::store::recipes::{BatchAdmission, BatchRequest, RecipeTypeBase};
use serde::Serialize;
use serde_json::{Value, json};

use super::wire::{RecipeBatchDetails, details};
use super::{read_configuration, read_definition, refusal};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::openapi::schemas::{CreateRecipeBatch, RecipeBatchValidation};
use crate::state::AppState;
use crate::v6::http::{Body, Fields, INVALID, Query, created};
use crate::v6::not_found;
use crate::v6::wire::{RecipeTypeAnswerBase, RecipeTypeRevision};

/// The longest title, in characters.
pub(super) const LONGEST_TITLE: usize = 255;

/// What stands beside the documents of a batch that is wanted.
#[derive(Debug, Default)]
struct Beside {
    title: Option<String>,
    description: Option<String>,
    supersedes: Option<bool>,
}

impl Beside {
    fn read(fields: &Fields<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            title: fields.text_within("title", LONGEST_TITLE)?,
            description: fields.text("description")?,
            supersedes: fields.flag("supersedes")?,
        })
    }
}

/// Reads both documents.
fn request(
    caller: &Caller,
    recipe_type_id: i64,
    definition: &Value,
    configuration: Option<&Value>,
    beside: Beside,
) -> Result<BatchRequest, Vec<Finding<BatchError>>> {
    let (definition, definition_json) = read_definition(definition, beside.supersedes)?;
    let (configuration, configuration_json) = read_configuration(configuration)?;
    Ok(BatchRequest {
        tenant_id: caller.tenant_id,
        recipe_type_id,
        title: beside.title,
        description: beside.description,
        definition,
        definition_json,
        configuration,
        configuration_json,
        supersedes: beside.supersedes,
        created_by: caller.name.clone(),
    })
}

/// The recipe type that is named; an unknown one is the caller's fault.
async fn recipe_type(state: &AppState, caller: &Caller, id: i64) -> Result<RecipeTypeBase, ApiError> {
    let found = state.store.recipe_type_base(caller.tenant_id, id).await?;
    found.ok_or_else(|| {
        ApiError::bad_request(INVALID, format!("recipe_type_id: there is no recipe type {id}"), None)
    })
}

/// Creates a batch: a recipe for each member of a dataset, or for each recipe of the batch before. Recipes are made after the
/// answer.
#[utoipa::path(post, path = "/v6/batches/", tag = "Recipe batches", operation_id = "createRecipeBatch",
    request_body(content = CreateRecipeBatch, example = json!({"title": "Prices of May", "recipe_type_id": 1, "definition": {"dataset": 1}, "configuration": {"priority": 50}})),
    responses((status = 201, description = "The batch; `Location` says where it is.", body = RecipeBatchDetails)))]
pub(super) async fn create(
    State(state): State<AppState>,
    Auth(caller): Auth,
    query: Query,
    http: Request,
) -> Result<Response, ApiError> {
    let body = Body::read(&state, http).await?;
    let fields = body.fields()?;
    let recipe_type_id = fields.required_integer("recipe_type_id")?;
    let definition = fields.required_object("definition")?;
    let configuration = fields.value("configuration")?;
    let beside = Beside::read(&fields)?;
    recipe_type(&state, &caller, recipe_type_id).await?;
    let request = request(&caller, recipe_type_id, &definition, configuration.as_ref(), beside);
    let request = request.map_err(refusal)?;
    let batch = match state.acting(&caller).create_recipe_batch(&request).await? {
        Ok(batch) => batch.base.id,
        Err(admission) => return Err(refusal(admission.check.found.errors)),
    };
    state.control.send(ControlEvent::PlanChanged);
    let found = state.store.recipe_batch_details(caller.tenant_id, batch).await?.ok_or_else(not_found)?;
    Ok(created(&query, &format!("/v6/batches/{batch}/"), details(found)))
}

/// Says whether a batch could be created, and changes nothing.
#[utoipa::path(post, path = "/v6/batches/validation/", tag = "Recipe batches", operation_id = "validateRecipeBatch",
    request_body(content = CreateRecipeBatch, example = json!({"title": "Prices of May", "recipe_type_id": 1, "definition": {"dataset": 1}, "configuration": {"priority": 50}})),
    responses((status = 200, description = "What was found.", body = RecipeBatchValidation)))]
pub(super) async fn validate(
    State(state): State<AppState>,
    Auth(caller): Auth,
    http: Request,
) -> Result<Json<Value>, ApiError> {
    let body = Body::read(&state, http).await?;
    let fields = body.fields()?;
    let recipe_type_id = fields.required_integer("recipe_type_id")?;
    let definition = fields.required_object("definition")?;
    let configuration = fields.value("configuration")?;
    recipe_type(&state, &caller, recipe_type_id).await?;
    // What a creation would refuse beside the documents makes them invalid as well.
    let beside = Beside::read(&fields).map_err(|error| {
        vec![Finding::new(BatchError::InvalidBatchDefinition, "", error.message().to_owned())]
    });
    let request = beside
        .and_then(|beside| request(&caller, recipe_type_id, &definition, configuration.as_ref(), beside));
    match request {
        Ok(request) => Ok(Json(checked(state.store.check_recipe_batch(&request).await?))),
        Err(findings) => Ok(Json(json!({
            "is_valid": false, "errors": findings, "warnings": [], "recipes_estimated": null, "recipe_type": null,
        }))),
    }
}

fn checked(admission: BatchAdmission) -> Value {
    let BatchAdmission { check: BatchCheck { found, recipes_estimated, diff }, recipe_type, previous } =
        admission;
    let mut answer = json!({
        "is_valid": found.is_valid(), "errors": found.errors, "warnings": found.warnings,
        "recipes_estimated": recipes_estimated, "recipe_type": RecipeTypeAnswerBase::from(recipe_type),
    });
    if let Some(revision) = previous {
        answer["prev_batch"] = json!(PreviousBatch { recipe_type_rev: revision.into(), diff });
    }
    answer
}

#[derive(Serialize)]
struct PreviousBatch {
    recipe_type_rev: RecipeTypeRevision,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<millrace_common::model::recipe::Diff>,
}
