//! `/stats`: who works, who uses what, what waits. Operators, who have `telemetry.metrics_token`, are shown the whole installation;
//! callers of a tenant what is theirs.

mod backlog;
mod caller;
mod fleet;
mod tenants;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

/// The routes.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(caller::show))
        .routes(routes!(fleet::show))
        .routes(routes!(tenants::show))
        .routes(routes!(backlog::show))
}
