//! Recipes listed, and one of them.

use axum::Json;
use axum::extract::State;
use millrace_common::store::recipes::RecipeFilter;
use serde_json::Value;

use super::wire::{RecipeAnswer, RecipeDetails, details};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::state::AppState;
use crate::v6::http::{Query, V6Page, id};
use crate::v6::not_found;
use crate::v6::wire::modified;

/// Recipes, sub-recipes included, by default those that changed longest ago first.
#[utoipa::path(get, path = "/v6/recipes/", tag = "Recipes", operation_id = "listRecipes",
    params(
        ("page" = Option<String>, Query, description = "The page, from 1, or `last`.", example = json!("1")),
        ("page_size" = Option<String>, Query, description = "Items of a page: 100, at most 1,000."),
        ("started" = Option<String>, Query, description = "Changed no earlier: a datetime with a zone, or a duration back from now.", example = json!("PT3H")),
        ("ended" = Option<String>, Query, description = "Changed no later: a datetime with a zone, or a duration back from now."),
        ("recipe_id" = Option<Vec<i64>>, Query, description = "Any of these recipes."),
        ("recipe_type_id" = Option<Vec<i64>>, Query, description = "Of any of these types."),
        ("recipe_type_name" = Option<Vec<String>>, Query, description = "Of types with any of these names."),
        ("batch_id" = Option<Vec<i64>>, Query, description = "Created for any of these batches."),
        ("root_recipe_id" = Option<Vec<i64>>, Query, description = "At any depth in any of these recipes."),
        ("is_superseded" = Option<bool>, Query, description = "Whether a newer recipe took their place."),
        ("is_completed" = Option<bool>, Query, description = "Whether every node is done."),
        ("order" = Option<Vec<String>>, Query, description = "Keys to sort by, descending with a `-`.", example = json!(["-last_modified"])),
    ), responses((status = 200, description = "A page of recipes.", body = V6Page<RecipeAnswer>)))]
pub(super) async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    query: Query,
) -> Result<Json<V6Page<RecipeAnswer>>, ApiError> {
    let filter = RecipeFilter {
        modified: modified(&query)?,
        ids: query.integers("recipe_id")?,
        recipe_type_ids: query.integers("recipe_type_id")?,
        recipe_type_names: query.texts("recipe_type_name"),
        batch_ids: query.integers("batch_id")?,
        root_recipe_ids: query.integers("root_recipe_id")?,
        is_superseded: query.flag("is_superseded")?,
        is_completed: query.flag("is_completed")?,
    };
    let (order, page) = (query.order()?, query.page()?);
    let (count, recipes) =
        state.store.recipe_list(caller.tenant_id, &filter, &order, |count| page.window(count)).await?;
    page.envelope(count, recipes.into_iter().map(Into::into).collect())
}

/// One recipe with its nodes.
#[utoipa::path(get, path = "/v6/recipes/{id}/", tag = "Recipes", operation_id = "getRecipe",
    params(("id" = i64, Path, description = "The recipe.")),
    responses((status = 200, description = "The recipe.", body = RecipeDetails)))]
pub(super) async fn show(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(recipe): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = state.store.recipe_instance(caller.tenant_id, id(&recipe)?).await?;
    Ok(Json(details(found.ok_or_else(not_found)?)))
}
