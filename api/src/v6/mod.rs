//! The Scale v6 batch services (contract scale-v6.md): recipes, which are graphs of services, over datasets. The tenant is that of
//! the credential.

pub mod http;

use utoipa_axum::router::OpenApiRouter;

use crate::state::AppState;

/// The routes, in the order of their subjects. Paths end with a slash; the form without is made one by
/// [`crate::middleware::tolerate_path`].
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
}
