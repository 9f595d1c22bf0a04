//! The Spark protocol: wire types and thin handlers.

pub mod batch;
pub mod envelope;
pub mod execute;
pub mod folders;
pub mod forms;
pub mod names;
pub mod services;
pub mod settings;
pub mod token;
pub mod webhooks;

use utoipa_axum::router::OpenApiRouter;

use crate::state::AppState;

/// Every route of the protocol.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(token::routes())
        .merge(settings::routes())
        .merge(folders::routes())
        .merge(services::routes())
        .merge(execute::routes())
        .merge(batch::routes())
        .merge(webhooks::routes())
}
