//! `GET /stats/fleet`: the workers, with their slots and releases.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use millrace_common::store::FleetMember;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::Audience;
use crate::error::ApiError;
use crate::spark::batch::wire::Timestamp;
use crate::state::AppState;

/// The fleet.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FleetAnswer {
    /// `all`: busy slots are those of everybody. `tenant`: those of the caller's tenant.
    scope: &'static str,
    /// The release of this server.
    version: &'static str,
    /// Slots of the workers that take work.
    slots: i64,
    /// Of all workers' slots, those that evaluate.
    busy: i64,
    /// Workers with a recent heartbeat.
    workers: Vec<WorkerAnswer>,
}

/// A worker.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkerAnswer {
    /// The process.
    id: Uuid,
    /// Its name; only operators are told.
    name: Option<String>,
    /// Its release.
    version: String,
    /// Evaluations at a time.
    slots: i32,
    /// Slots that evaluate.
    busy: i64,
    /// Chunks that it holds: waiting, being evaluated, or on their way into the database.
    held: i64,
    /// Whether it takes no new work, because it is about to end.
    draining: bool,
    /// When it started.
    started_at: Timestamp,
    /// Its last heartbeat.
    seen_at: Timestamp,
}

impl WorkerAnswer {
    fn new(member: FleetMember, named: bool) -> Self {
        Self {
            id: member.id,
            name: named.then_some(member.name),
            version: member.version,
            slots: member.slots,
            // Reports of two blocks may overlap for a moment.
            busy: member.busy.min(i64::from(member.slots)),
            held: member.held,
            draining: member.draining,
            started_at: Timestamp(member.started_at),
            seen_at: Timestamp(member.seen_at),
        }
    }
}

/// The workers that live. Operators see names, and what is done for everybody; a tenant what is done for itself.
#[utoipa::path(get, path = "/stats/fleet", tag = "Server", operation_id = "getFleet",
    responses((status = 200, description = "Workers with a recent heartbeat.", body = FleetAnswer)))]
pub(super) async fn show(
    State(state): State<AppState>,
    audience: Audience,
) -> Result<Json<FleetAnswer>, ApiError> {
    let silent = Duration::from_millis(state.config.worker.silent_after_ms).as_secs_f64();
    let members = state.store.in_time(state.store.fleet_members(silent, audience.tenant_id())).await?;
    let operator = matches!(audience, Audience::Operator);
    let workers: Vec<_> = members.into_iter().map(|member| WorkerAnswer::new(member, operator)).collect();
    Ok(Json(FleetAnswer {
        scope: if operator { "all" } else { "tenant" },
        version: env!("CARGO_PKG_VERSION"),
        slots: workers.iter().filter(|worker| !worker.draining).map(|worker| i64::from(worker.slots)).sum(),
        busy: workers.iter().map(|worker| worker.busy).sum(),
        workers,
    }))
}
