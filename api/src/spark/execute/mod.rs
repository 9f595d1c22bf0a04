//! Synchronous calls (contract 4.4).

mod run;
mod texts;
mod v3;
mod v4;
mod validation;

use axum::Router;
use axum::routing::post;

use crate::state::AppState;

/// The routes.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/{tenant}/api/v4/execute", post(v4::execute))
        .route("/{tenant}/api/v3", post(v3::execute))
        .route("/{tenant}/api/v3/execute", post(v3::execute))
        .route("/{tenant}/api/v3/folders/{folder}/services/{service}/execute", post(v3::execute_named))
        .route("/{tenant}/api/v3/service/{id}", post(v3::execute_service))
        .route("/{tenant}/api/v3/service/{id}/execute", post(v3::execute_service))
        .route("/{tenant}/api/v3/version/{id}", post(v3::execute_version))
        .route("/{tenant}/api/v3/version/{id}/execute", post(v3::execute_version))
        .route("/{tenant}/api/v3/validation", post(validation::by_body))
        .route("/{tenant}/api/v3/folders/{folder}/services/{service}/validation", post(validation::named))
        .route("/{tenant}/api/v3/service/{id}/validation", post(validation::service))
        .route("/{tenant}/api/v3/version/{id}/validation", post(validation::version))
}
