//! Recipes that callers ask for one at a time: made, done again (scale-v6 5.5).

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use millrace_common::model::recipe::{Data, Finding, ForcedNodes, Place, check_forced};
use millrace_common::store::recipes::ReprocessRefusal;
use serde_json::json;

use super::wire::{RecipeDetails, details};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{CreateRecipe, ReprocessRecipe};
use crate::state::AppState;
use crate::v6::http::{Body, INVALID, Query, created, id, refused};
use crate::v6::{not_found, publish};

/// The 400 for these findings.
fn refusal<N>(findings: &[Finding<N>], name: impl Fn(&N) -> &'static str) -> ApiError {
    refused(findings.iter().map(|finding| (name(&finding.name), finding.to_string())))
}

/// Makes a recipe outside of batches, with the newest revision of its type.
#[utoipa::path(post, path = "/v6/recipes/", tag = "Recipes", operation_id = "createRecipe",
    request_body(content = CreateRecipe, example = json!({"recipe_type_id": 1, "input": {"json": {"x": 1}}})),
    responses((status = 201, description = "The recipe; `Location` says where it is.", body = RecipeDetails), (status = 404, description = "There is no such recipe type.")))]
pub(super) async fn create(
    State(state): State<AppState>,
    Auth(caller): Auth,
    query: Query,
    http: Request,
) -> Result<Response, ApiError> {
    let body = Body::read(&state, http).await?;
    let fields = body.fields()?;
    let recipe_type_id = fields.required_integer("recipe_type_id")?;
    let input = fields.required_object("input")?;
    fields.object("configuration")?;
    let found = state.store.recipe_type_by_id(caller.tenant_id, recipe_type_id).await?;
    let recipe_type = found.ok_or_else(not_found)?;
    if !recipe_type.is_active {
        let message = "recipe_type_id: the recipe type is deprecated";
        return Err(ApiError::bad_request("INACTIVE_RECIPE_TYPE", message, None));
    }
    let (graph, _) = state.store.recipe_graphs(recipe_type.revision_id).await?;
    let place = Place::root("input");
    let input = Data::parse(&input, place).map_err(|found| refusal(&found, |name| name.as_str()))?;
    let wrong = input.check(graph.input(), place);
    if !wrong.is_empty() {
        return Err(refusal(&wrong, |name| name.as_str()));
    }
    let input = input.restricted_to(graph.input());
    let event = json!({"user": caller.name});
    let made = state.store.create_recipe(caller.tenant_id, recipe_type.revision_id, &input, &event).await?;
    publish(&state, &made).await;
    let recipe = made.id;
    let found = state.store.recipe_instance(caller.tenant_id, recipe).await?.ok_or_else(not_found)?;
    Ok(created(&query, &format!("/v6/recipes/{recipe}/"), details(found)))
}

/// Does a recipe again with a revision of its type: what changed, what is forced, and all that follows.
#[utoipa::path(post, path = "/v6/recipes/{id}/reprocess/", tag = "Recipes", operation_id = "reprocessRecipe",
    params(("id" = i64, Path, description = "The recipe.")),
    request_body(content = ReprocessRecipe, example = json!({"forced_nodes": {"all": true}})),
    responses((status = 202, description = "A new recipe took its place.")))]
pub(super) async fn reprocess(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(recipe): Path<String>,
    http: Request,
) -> Result<StatusCode, ApiError> {
    let recipe = id(&recipe)?;
    let body = Body::read(&state, http).await?;
    let fields = body.fields()?;
    let place = Place::root("forced_nodes");
    let forced = ForcedNodes::parse(&fields.required_object("forced_nodes")?, place)
        .map_err(|found| refusal(&found, |name| name.as_str()))?;
    let number = fields.integer("revision_num")?;
    let found = state.store.recipe_instance(caller.tenant_id, recipe).await?.ok_or_else(not_found)?;
    let recipe_type = &found.recipe.recipe_type;
    let number = match number {
        Some(number) => i32::try_from(number).map_err(|_| not_found())?,
        None => recipe_type.revision_num,
    };
    let revision = state.store.recipe_type_revision(recipe_type.id, number).await?.ok_or_else(not_found)?;
    let (graph, types) = state.store.recipe_graphs(revision.id).await?;
    let wrong = check_forced(&forced, &graph, &types, place);
    if !wrong.is_empty() {
        return Err(refusal(&wrong, |name| name.as_str()));
    }
    let event = json!({"user": caller.name});
    let done = state.store.reprocess_recipe(caller.tenant_id, recipe, revision.id, &forced, &event).await?;
    match done {
        Ok(made) => {
            publish(&state, &made).await;
            Ok(StatusCode::ACCEPTED)
        }
        Err(ReprocessRefusal::NotFound) => Err(not_found()),
        Err(refused) => Err(ApiError::bad_request(INVALID, refused.to_string(), None)),
    }
}
