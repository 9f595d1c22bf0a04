//! `/v6/recipes/`: recipes, one run of a recipe type each (scale-v6 5.5).

mod change;
mod read;
mod wire;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

pub use wire::RecipeBase;

/// The routes of recipes.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(read::list, change::create))
        .routes(routes!(read::show))
        .routes(routes!(change::reprocess))
}
