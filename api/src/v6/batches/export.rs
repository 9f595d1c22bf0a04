//! `/v6/batches/{id}/export/`: recipes with their inputs and outputs as a file. An addition of our own.

use axum::extract::State;
use axum::response::Response;
use futures_util::future::BoxFuture;
use millrace_common::store::Store;
use millrace_common::store::recipes::{ExportError, ExportFilter, ExportedRecipe, RecipeExport};
use millrace_table::{Columns, Format, distinct};
use serde_json::Value;

use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::files::arrival::unknown_format;
use crate::files::departure::{self, Departure, Pages, Row};
use crate::state::AppState;
use crate::v6::http::{Query, id};
use crate::v6::not_found;

/// The recipes of a batch, a row each: what they are, `input.NAME` for each of their inputs, then for each of their job nodes
/// `NODE.status` and `NODE.OUTPUT`, those of sub-recipes as `NODE.INNER.OUTPUT`, and last `errors`. What is not there is null.
#[utoipa::path(get, path = "/v6/batches/{id}/export/", tag = "Recipe batches", operation_id = "exportRecipeBatch",
    params(
        ("id" = i64, Path, description = "The batch."),
        ("format" = Option<String>, Query, description = "`csv` when absent, `jsonl` or `parquet`."),
        ("is_completed" = Option<bool>, Query, description = "Only recipes of which every node is done, or only others."),
        ("is_superseded" = Option<bool>, Query, description = "Only recipes whose place a newer one took, or only others."),
    ),
    responses((status = 200, description = "The file, recipes in the order of their ids.", content(
        (String = "text/csv"), (String = "application/x-ndjson"), (Vec<u8> = "application/vnd.apache.parquet")))))]
pub(super) async fn export(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(batch): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let batch = id(&batch)?;
    let format = query.one("format").map_or(Some(Format::Csv), Format::named).ok_or_else(unknown_format)?;
    let filter = ExportFilter {
        is_completed: query.flag("is_completed")?,
        is_superseded: query.flag("is_superseded")?,
    };
    let permit = departure::admit(&state)?;
    let export = state.store.recipe_export(caller.tenant_id, batch, filter).await.map_err(refused)?;
    let export = export.ok_or_else(not_found)?;
    let departure = Departure { format, name: format!("batch-{batch}"), columns: columns(&export) };
    departure.send(&state, permit, Recipes { store: state.store.clone(), export }).await
}

fn refused(error: ExportError) -> ApiError {
    match error {
        ExportError::Store(error) => error.into(),
        ExportError::TooManyColumns => ApiError::bad_request("TOO_MANY_COLUMNS", error.to_string(), None),
    }
}

fn columns(export: &RecipeExport) -> Columns {
    let first = ["recipe_id", "member_id", "is_completed", "is_superseded"].map(str::to_owned);
    let inputs = export.columns.inputs.iter().map(|name| format!("input.{name}"));
    let nodes = export.columns.nodes.iter().flat_map(|node| {
        let outputs = node.outputs.iter().map(|name| format!("{}.{name}", node.path));
        std::iter::once(format!("{}.status", node.path)).chain(outputs)
    });
    distinct(first.into_iter().chain(inputs).chain(nodes).chain(["errors".to_owned()]))
}

/// The recipes of an export.
struct Recipes {
    store: Store,
    export: RecipeExport,
}

impl Pages for Recipes {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Vec<Row>>, ApiError>> {
        Box::pin(async move {
            let recipes = self.store.exported_recipes(&mut self.export).await?;
            let rows: Vec<Row> = recipes.iter().map(|recipe| row(&self.export, recipe)).collect();
            Ok((!rows.is_empty()).then_some(rows))
        })
    }
}

fn row(export: &RecipeExport, recipe: &ExportedRecipe) -> Row {
    let null = || "null".to_owned();
    // Parameters have one name, whether they are files or JSON.
    let value = |data: Option<&Value>, name: &str| {
        let of = |kind: &str| data.and_then(|data| data.get(kind)?.get(name)).map(Value::to_string);
        of("json").or_else(|| of("files")).unwrap_or_else(null)
    };
    let mut row = vec![
        recipe.id.to_string(),
        recipe.member_id.map_or_else(null, |id| id.to_string()),
        recipe.is_completed.to_string(),
        recipe.is_superseded.to_string(),
    ];
    row.extend(export.columns.inputs.iter().map(|name| value(recipe.input.as_ref(), name)));
    let mut errors = Vec::new();
    for node in &export.columns.nodes {
        let found = recipe.nodes.get(&node.path);
        row.push(found.map_or_else(null, |found| Value::from(found.status.as_str()).to_string()));
        let output = found.and_then(|found| found.output.as_ref());
        row.extend(node.outputs.iter().map(|name| value(output, name)));
        if let Some(error) = found.and_then(|found| found.error.as_deref()) {
            errors.push(format!("{}: {error}", node.path));
        }
    }
    row.push(if errors.is_empty() { null() } else { Value::from(errors.join("; ")).to_string() });
    row
}
