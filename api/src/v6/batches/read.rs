//! Batches listed, and one of them.

use axum::Json;
use axum::extract::State;
use millrace_common::store::recipes::BatchFilter;
use serde_json::Value;

use super::wire::{RecipeBatchAnswer, RecipeBatchDetails, details};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::state::AppState;
use crate::v6::http::{Query, V6Page, id};
use crate::v6::not_found;
use crate::v6::wire::modified;

/// Batches, by default those that changed longest ago first.
#[utoipa::path(get, path = "/v6/batches/", tag = "Recipe batches", operation_id = "listRecipeBatches",
    params(
        ("page" = Option<String>, Query, description = "The page, from 1, or `last`.", example = json!("1")),
        ("page_size" = Option<String>, Query, description = "Items of a page: 100, at most 1,000."),
        ("started" = Option<String>, Query, description = "Changed no earlier: a datetime with a zone, or a duration back from now.", example = json!("PT3H")),
        ("ended" = Option<String>, Query, description = "Changed no later: a datetime with a zone, or a duration back from now."),
        ("recipe_type_id" = Option<Vec<i64>>, Query, description = "Any of these recipe types."),
        ("is_creation_done" = Option<bool>, Query, description = "Whether all of their recipes exist."),
        ("is_superseded" = Option<bool>, Query, description = "Whether they have a successor."),
        ("root_batch_id" = Option<Vec<i64>>, Query, description = "In any of these chains."),
        ("order" = Option<Vec<String>>, Query, description = "Keys to sort by, descending with a `-`.", example = json!(["-last_modified"])),
    ), responses((status = 200, description = "A page of batches.", body = V6Page<RecipeBatchAnswer>)))]
pub(super) async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    query: Query,
) -> Result<Json<V6Page<RecipeBatchAnswer>>, ApiError> {
    let filter = BatchFilter {
        modified: modified(&query)?,
        recipe_type_ids: query.integers("recipe_type_id")?,
        is_creation_done: query.flag("is_creation_done")?,
        is_superseded: query.flag("is_superseded")?,
        root_batch_ids: query.integers("root_batch_id")?,
    };
    let (order, page) = (query.order()?, query.page()?);
    let count = state.store.count_recipe_batches(caller.tenant_id, &filter).await?;
    let window = page.window(count)?;
    let batches = state.store.recipe_batches(caller.tenant_id, &filter, &order, window).await?;
    page.envelope(count, batches.into_iter().map(Into::into).collect())
}

/// One batch.
#[utoipa::path(get, path = "/v6/batches/{id}/", tag = "Recipe batches", operation_id = "getRecipeBatch",
    params(("id" = i64, Path, description = "The batch.")),
    responses((status = 200, description = "The batch.", body = RecipeBatchDetails)))]
pub(super) async fn show(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(batch): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = state.store.recipe_batch_details(caller.tenant_id, id(&batch)?).await?;
    Ok(Json(details(found.ok_or_else(not_found)?)))
}
