//! Synchronous calls (contract 4.4).

mod run;
mod texts;
mod v3;
mod v4;
mod validation;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::openapi::also_at;
use crate::state::AppState;

/// The routes.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(v4::execute))
        .routes(routes!(v3::execute))
        .routes(also_at("/{tenant}/api/v3", "executeV3Short", routes!(v3::execute)))
        .routes(routes!(v3::execute_named))
        .routes(routes!(v3::execute_service))
        .routes(also_at(
            "/{tenant}/api/v3/service/{id}",
            "executeServiceByIdShort",
            routes!(v3::execute_service),
        ))
        .routes(routes!(v3::execute_version))
        .routes(also_at("/{tenant}/api/v3/version/{id}", "executeVersionShort", routes!(v3::execute_version)))
        .routes(routes!(validation::by_body))
        .routes(routes!(validation::named))
        .routes(routes!(validation::service))
        .routes(routes!(validation::version))
}
