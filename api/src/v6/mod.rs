//! The Scale v6 batch services (contract scale-v6.md): recipes, which are graphs of services, over datasets. The tenant is that of
//! the credential.

mod batches;
pub mod datasets;
pub mod http;
pub mod job_types;
mod jobs;
pub mod recipe_types;
mod recipes;
pub mod wire;

use std::time::Duration;

use millrace_common::broker::ControlEvent;
use millrace_common::bundles;
use millrace_common::store::recipes::{Consequences, Made};
use utoipa_axum::router::OpenApiRouter;

use self::http::Told;
use crate::error::ApiError;
use crate::state::AppState;

/// The routes, in the order of their subjects. Paths end with a slash; the form without is made one by
/// [`crate::middleware::tolerate_path`].
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(job_types::routes())
        .merge(recipe_types::routes())
        .merge(datasets::routes())
        .merge(batches::routes())
        .merge(recipes::routes())
        .merge(jobs::routes())
}

/// A caller waits no longer than this for a broker: what was asked for is stored, and the reaper publishes it otherwise.
const PUBLISHING: Duration = Duration::from_secs(1);

/// Publishes the first jobs of what was made, and tells the workers. For a broker that is known to be away nobody waits.
async fn publish(state: &AppState, made: &Made) {
    let trace = crate::middleware::trace();
    let publishing = async {
        state.publisher.is_ready()
            && tokio::time::timeout(
                PUBLISHING,
                bundles::publish(&state.store, &state.topology, &state.publisher, &made.bundles, trace),
            )
            .await
            .is_ok()
    };
    if !publishing.await {
        tracing::warn!(bundles = made.bundles.len(), "jobs that were asked for are published later");
    }
    state.control.send(ControlEvent::PlanChanged);
}

/// Warnings of what a change of a type did to the recipe types that contain it.
fn consequences(done: &Consequences) -> Vec<Told> {
    let not_updated = done.not_updated.iter().map(|(name, reason)| Told {
        name: "RECIPE_TYPE_NOT_UPDATED",
        description: format!("the recipe type {name:?} keeps the revision that it had: {reason}"),
    });
    not_updated.chain(deprecated(&done.deprecated)).collect()
}

/// The warning that these recipe types are, or would be, deprecated.
fn deprecated(names: &[String]) -> Option<Told> {
    let names = (!names.is_empty()).then(|| names.join(", "))?;
    let description = format!("recipe types that contain it are deprecated with it: {names}");
    Some(Told { name: "DEPRECATED_RECIPES", description })
}

/// The 404 for an id that names nothing.
fn not_found() -> ApiError {
    ApiError::not_found("NOT_FOUND", "Not found.")
}
