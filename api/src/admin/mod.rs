//! What administrators of a tenant do over HTTP: keys, and the audit trail. Routes of Millrace's own.

mod audit;
mod keys;

use axum::Router;
use axum::routing::{delete, get};

use crate::state::AppState;

/// The routes.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/{tenant}/api/v4/keys", get(keys::list).post(keys::create))
        .route("/{tenant}/api/v4/keys/{id}", delete(keys::revoke))
        .route("/{tenant}/api/v4/audit", get(audit::list))
}
