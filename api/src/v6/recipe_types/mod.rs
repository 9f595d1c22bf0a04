//! `/v6/recipe-types/` (scale-v6 5.2): graphs of job types, in revisions.

mod answer;
mod checks;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use millrace_common::model::recipe::{TitleError, recipe_type_name};
use millrace_common::store::StoreError;
use millrace_common::store::recipes::{RecipeType, RecipeTypeEdit, RecipeTypeFilter, Window};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{ChangeRecipeType, CreateRecipeType, V6DiffValidation, ValidateRecipeType};
use crate::state::AppState;
use crate::v6::http::{Body, Query, Told, V6Page, created, id, refused, validated};
use crate::v6::not_found;

use answer::{RecipeTypeAnswer, RecipeTypeDetails, RecipeTypeRevisionAnswer, RecipeTypeRevisionDetails};

/// The longest title, in characters.
const TITLE: usize = 255;

/// The routes. `validation` is a literal and wins over a name.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(validate))
        .routes(routes!(show, change))
        .routes(routes!(revisions))
        .routes(routes!(revision))
}

async fn find(state: &AppState, auth: &Auth, name: &str) -> Result<RecipeType, ApiError> {
    state.store.recipe_type(auth.0.tenant_id, name).await?.ok_or_else(not_found)
}

/// Recipe types, by name.
#[utoipa::path(get, path = "/v6/recipe-types/", tag = "Recipe types", operation_id = "listRecipeTypes",
    params(
        ("page" = Option<String>, Query, description = "1 and up, or `last`."),
        ("page_size" = Option<String>, Query, description = "At most 1,000; 100 when absent."),
        ("keyword" = Option<Vec<String>>, Query, description = "Any of these in name, title or description."),
        ("is_active" = Option<bool>, Query, description = "Whether it is not deprecated."),
        ("is_system" = Option<bool>, Query, description = "Whether it belongs to the system."),
    ),
    responses((status = 200, description = "One page.", body = V6Page<RecipeTypeAnswer>)))]
async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    query: Query,
) -> Result<Json<V6Page<RecipeTypeAnswer>>, ApiError> {
    let filter = RecipeTypeFilter {
        keywords: query.texts("keyword"),
        is_active: query.flag("is_active")?,
        is_system: query.flag("is_system")?,
    };
    let page = query.page()?;
    let count = state.store.count_recipe_types(caller.tenant_id, &filter).await?;
    let found = state.store.recipe_types(caller.tenant_id, &filter, page.window(count)?).await?;
    let revisions: Vec<i64> = found.iter().map(|recipe_type| recipe_type.revision_id).collect();
    let contents = state.store.recipe_type_contents(&revisions).await?;
    let items = found
        .iter()
        .map(|recipe_type| RecipeTypeAnswer::new(recipe_type, contents.get(&recipe_type.revision_id)));
    page.envelope(count, items.collect())
}

/// One recipe type, with its newest revision.
#[utoipa::path(get, path = "/v6/recipe-types/{name}/", tag = "Recipe types", operation_id = "getRecipeType",
    params(("name" = String, Path, description = "The recipe type.")),
    responses((status = 200, description = "The recipe type.", body = RecipeTypeDetails)))]
async fn show(
    State(state): State<AppState>,
    auth: Auth,
    Path(name): Path<String>,
) -> Result<Json<RecipeTypeDetails>, ApiError> {
    let recipe_type = find(&state, &auth, &name).await?;
    Ok(Json(answer::details(&state.store, auth.0.tenant_id, &recipe_type).await?))
}

/// Makes a recipe type. Its name is made of its title.
#[utoipa::path(post, path = "/v6/recipe-types/", tag = "Recipe types", operation_id = "createRecipeType",
    request_body(content = CreateRecipeType, example = json!({"title": "Shown", "description": "One node", "definition": {"input": {"json": [{"name": "x", "type": "number"}]}, "nodes": {"first": {"dependencies": [], "input": {"x": {"type": "recipe", "input": "x"}}, "node_type": {"node_type": "job", "job_type_name": "add", "job_type_version": "1.0.0", "job_type_revision": 1}}}}})),
    responses((status = 201, description = "The recipe type; `Location` says where it is.", body = RecipeTypeDetails)))]
async fn create(
    State(state): State<AppState>,
    auth: Auth,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let store = state.acting(&auth.0);
    let tenant_id = auth.0.tenant_id;
    let body = Body::read(&state, request).await?;
    let fields = body.fields()?;
    let title = fields.text_within("title", TITLE)?;
    let title = title.map_or_else(|| fields.required_text("title"), Ok)?;
    let description = fields.text("description")?;
    let definition = fields.required("definition")?;
    let name = recipe_type_name(&title).map_err(|error| {
        let code = match error {
            TitleError::Empty => "INVALID_TITLE",
            TitleError::Reserved => "RESERVED_NAME",
        };
        ApiError::bad_request(code, format!("title: {error}"), None)
    })?;
    let found = checks::check(&store, tenant_id, Some(&name), definition, None).await?;
    let checked = found.checked.ok_or_else(|| refusal(&found.errors))?;
    match store.create_recipe_type(tenant_id, &name, &title, description.as_deref(), &checked).await {
        Ok(made) => {
            let body = answer::details(&store, tenant_id, &made).await?;
            Ok(created(&query, &format!("/v6/recipe-types/{name}/"), body))
        }
        Err(StoreError::Conflict(_)) => Err(ApiError::bad_request(
            "NAME_TAKEN",
            format!("title: there is a recipe type called {name:?} already"),
            None,
        )),
        Err(error) => Err(error.into()),
    }
}

fn refusal(errors: &[Told]) -> ApiError {
    refused(errors.iter().map(|error| (error.name, error.description.clone())))
}

/// Changes a recipe type. A definition makes a revision.
#[utoipa::path(patch, path = "/v6/recipe-types/{name}/", tag = "Recipe types", operation_id = "changeRecipeType",
    params(("name" = String, Path, description = "The recipe type.")), request_body(content = ChangeRecipeType, example = json!({"title": "Prices", "description": "One node"})),
    responses((status = 200, description = "It is changed; the warnings say what else was.", body = V6DiffValidation)))]
async fn change(
    State(state): State<AppState>,
    auth: Auth,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let store = state.acting(&auth.0);
    let tenant_id = auth.0.tenant_id;
    let body = Body::read(&state, request).await?;
    let existing = find(&state, &auth, &name).await?;
    let fields = body.fields()?;
    let mut warnings = Vec::new();
    let mut edit = RecipeTypeEdit {
        title: fields.text_within("title", TITLE)?,
        description: fields.text("description")?,
        definition: None,
        is_active: fields.flag("is_active")?,
        auto_update: fields.flag("auto_update")?.unwrap_or(true),
    };
    if let Some(definition) = fields.raw("definition") {
        let found = checks::check(&store, tenant_id, Some(&name), definition, Some(&existing)).await?;
        warnings = found.warnings;
        edit.definition = Some(found.checked.ok_or_else(|| refusal(&found.errors))?);
    }
    let done = store.edit_recipe_type(tenant_id, &name, &edit).await?.ok_or_else(not_found)?;
    warnings.extend(super::consequences(&done));
    let mut body = validated::<Told, Told>(&[], &warnings);
    body["diff"] = json!({});
    Ok(Json(body))
}

/// Checks a definition, and compares it with the newest revision of the recipe type that is named.
#[utoipa::path(post, path = "/v6/recipe-types/validation/", tag = "Recipe types", operation_id = "validateRecipeType",
    request_body(content = ValidateRecipeType, example = json!({"definition": {"input": {"json": [{"name": "x", "type": "number"}]}, "nodes": {"first": {"dependencies": [], "input": {"x": {"type": "recipe", "input": "x"}}, "node_type": {"node_type": "job", "job_type_name": "add", "job_type_version": "1.0.0", "job_type_revision": 1}}}}})),
    responses((status = 200, description = "What was found.", body = V6DiffValidation)))]
async fn validate(
    State(state): State<AppState>,
    auth: Auth,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = Body::read(&state, request).await?;
    let fields = body.fields()?;
    let name = fields.text("name")?;
    let definition = fields.required("definition")?;
    let tenant_id = auth.0.tenant_id;
    let existing = match &name {
        Some(name) => state.store.recipe_type(tenant_id, name).await?,
        None => None,
    };
    let found =
        checks::check(&state.store, tenant_id, name.as_deref(), definition, existing.as_ref()).await?;
    let mut body = validated(&found.errors, &found.warnings);
    body["diff"] = found.diff;
    Ok(Json(body))
}

/// The revisions of a recipe type, newest first.
#[utoipa::path(get, path = "/v6/recipe-types/{name}/revisions/", tag = "Recipe types", operation_id = "listRecipeTypeRevisions",
    params(
        ("name" = String, Path, description = "The recipe type."),
        ("page" = Option<String>, Query, description = "1 and up, or `last`."),
        ("page_size" = Option<String>, Query, description = "At most 1,000; 100 when absent."),
    ),
    responses((status = 200, description = "One page.", body = V6Page<RecipeTypeRevisionAnswer>)))]
async fn revisions(
    State(state): State<AppState>,
    auth: Auth,
    Path(name): Path<String>,
    query: Query,
) -> Result<Json<V6Page<RecipeTypeRevisionAnswer>>, ApiError> {
    let recipe_type = find(&state, &auth, &name).await?;
    let page = query.page()?;
    // Numbers are without gaps.
    let count = i64::from(recipe_type.revision_num);
    let Window { offset, limit } = page.window(count)?;
    let found = state.store.recipe_type_revisions(recipe_type.id, Window { offset, limit }).await?;
    page.envelope(count, found.iter().map(|row| RecipeTypeRevisionAnswer::new(&recipe_type, row)).collect())
}

/// One revision of a recipe type.
#[utoipa::path(get, path = "/v6/recipe-types/{name}/revisions/{revision}/", tag = "Recipe types",
    operation_id = "getRecipeTypeRevision",
    params(
        ("name" = String, Path, description = "The recipe type."),
        ("revision" = i64, Path, description = "The number of the revision."),
    ),
    responses((status = 200, description = "The revision.", body = RecipeTypeRevisionDetails)))]
async fn revision(
    State(state): State<AppState>,
    auth: Auth,
    Path((name, number)): Path<(String, String)>,
) -> Result<Json<RecipeTypeRevisionDetails>, ApiError> {
    let number = i32::try_from(id(&number)?).map_err(|_| not_found())?;
    let recipe_type = find(&state, &auth, &name).await?;
    let row = state.store.recipe_type_revision(recipe_type.id, number).await?.ok_or_else(not_found)?;
    Ok(Json(RecipeTypeRevisionDetails::new(&recipe_type, row)))
}
