//! The Spark protocol: wire types and thin handlers.

pub mod time;

use axum::Router;

use crate::state::AppState;

/// Every route of the protocol.
pub fn routes() -> Router<AppState> {
    Router::new()
}
