//! `GET /stats/backlog`: how much work waits in the whole installation, and how many slots it wants. For autoscalers.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use millrace_common::model::{BacklogBatch, BacklogTenant, backlog};
use millrace_common::store::recipes::WorkloadView;
use millrace_common::store::{BatchView, FleetSnapshot, FleetTenant};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::ApiError;
use crate::extract::Query;
use crate::state::AppState;

/// The time within which a backlog should be worked off, when nobody says so, in seconds.
const WITHIN_SECONDS: u64 = 60;
/// The longest such time.
const LONGEST_SECONDS: u64 = 86_400;

/// What waits in the whole installation.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BacklogAnswer {
    /// Live batches.
    batches: u64,
    /// Chunks without an outcome, those that are being evaluated included.
    chunks: u64,
    /// Records of these.
    records: u64,
    /// Bytes of these in the input buffers.
    bytes: u64,
    /// Of these, chunks of batches whose output buffer is full: they wait for a pull, and want no slot.
    held_back_chunks: u64,
    /// Of these, chunks of paused batches: they wait until somebody resumes these, and want no slot.
    paused_chunks: u64,
    /// Bundles of jobs of recipes that are not done and may run, those of paused batches not included; of one batch of recipes at most 1,000 are counted.
    bundles: u64,
    /// The time that was asked for.
    within_seconds: u64,
    slots: SlotsAnswer,
    /// Workers that live, without those that are stopping.
    workers: u64,
}

/// Slots: evaluations at a time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SlotsAnswer {
    /// Those that work off the backlog within the time.
    wanted: u64,
    /// Those beyond which more would be idle.
    usable: u64,
    /// Those of the workers that live.
    live: u64,
    /// Those that evaluate now.
    busy: u64,
}

/// How much work waits, and how many slots it wants. Only operators are told.
#[utoipa::path(get, path = "/stats/backlog", tag = "Server", operation_id = "getBacklog",
    params(("within" = Option<u64>, Query, minimum = 1, maximum = 86_400,
        description = "Seconds within which the backlog shall be worked off, 60 when absent.")),
    responses((status = 200, description = "The backlog of the whole installation.", body = BacklogAnswer)))]
pub(super) async fn show(
    State(state): State<AppState>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<BacklogAnswer>, ApiError> {
    let within = within(&query)?;
    let silent = Duration::from_millis(state.config.worker.silent_after_ms).as_secs_f64();
    // The look that every worker takes twice a second.
    let snapshot = state.store.in_time(state.store.fleet_snapshot(silent)).await?;
    let (workloads, owners) = state.store.workloads().await?;
    Ok(Json(answer(&snapshot, &workloads, &owners, within)))
}

fn within(query: &[(String, String)]) -> Result<Duration, ApiError> {
    let mut seconds = WITHIN_SECONDS;
    for (_, value) in query.iter().filter(|(name, _)| name == "within") {
        seconds = value.parse().ok().filter(|seconds| (1..=LONGEST_SECONDS).contains(seconds)).ok_or_else(
            || {
                let message = format!("within must be a number of seconds from 1 to {LONGEST_SECONDS}");
                ApiError::bad_request("INVALID_VALUE", message, "within".to_owned())
            },
        )?;
    }
    Ok(Duration::from_secs(seconds))
}

/// `owners` are the tenants of the workloads, which may have no batch of chunks.
fn answer(
    snapshot: &FleetSnapshot,
    workloads: &[WorkloadView],
    owners: &[FleetTenant],
    within: Duration,
) -> BacklogAnswer {
    let known: HashMap<Uuid, u32> =
        snapshot.tenants.iter().chain(owners).map(|tenant| (tenant.id, tenant.max_workers)).collect();
    let tenants: Vec<BacklogTenant> =
        known.into_iter().map(|(id, max_workers)| BacklogTenant { id, max_workers }).collect();
    let mut batches: Vec<BacklogBatch> = snapshot.batches.iter().map(waiting).collect();
    let sum = backlog(&tenants, &batches, within);
    // Recipes want slots as chunks do, and are no chunks.
    batches.extend(workloads.iter().map(jobs));
    let slots = backlog(&tenants, &batches, within);
    let live = || snapshot.workers.iter().filter(|worker| !worker.draining);
    BacklogAnswer {
        batches: sum.batches,
        chunks: sum.chunks,
        records: sum.records,
        bytes: sum.bytes,
        held_back_chunks: sum.held_back_chunks,
        paused_chunks: sum.paused_chunks,
        bundles: workloads
            .iter()
            .filter(|workload| workload.paused.is_none())
            .map(|workload| u64::from(workload.bundles))
            .sum(),
        within_seconds: within.as_secs(),
        slots: SlotsAnswer {
            wanted: slots.slots_wanted,
            usable: slots.slots_usable,
            live: live().map(|worker| u64::from(worker.slots)).sum(),
            busy: snapshot.batches.iter().map(|view| count(view.running())).sum(),
        },
        workers: live().count() as u64,
    }
}

/// Jobs that wait in bundles. What a bundle costs is known to nobody, so a workload wants what a batch wants of which nothing is
/// finished.
fn jobs(workload: &WorkloadView) -> BacklogBatch {
    BacklogBatch {
        tenant_id: workload.tenant_id,
        initial_workers: workload.initial_workers,
        max_workers: workload.max_workers,
        chunks: workload.bundles.into(),
        records: 0,
        bytes: 0,
        finished: 0,
        compute_ms: 0,
        blocked: false,
        paused: workload.paused.is_some(),
    }
}

/// A number of the database as a count; it has no negative ones.
fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn waiting(view: &BatchView) -> BacklogBatch {
    let progress = view.progress();
    BacklogBatch {
        tenant_id: view.batch.tenant_id,
        initial_workers: view.batch.initial_workers.unsigned_abs(),
        max_workers: view.batch.max_workers.unsigned_abs(),
        chunks: count(progress.chunks_submitted - progress.chunks_finished()),
        records: count(view.counters.records_submitted - view.counters.records_completed),
        bytes: count(view.counters.input_bytes),
        finished: count(progress.chunks_finished()),
        compute_ms: count(view.counters.compute_ms),
        blocked: view.is_held_back(),
        paused: view.paused().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn recipes_want_slots_and_are_no_chunks() {
        let tenant = FleetTenant { id: Uuid::from_u128(1), weight: 1, max_workers: 6 };
        let workload = |bundles| WorkloadView {
            id: Uuid::from_u128(2),
            tenant_id: tenant.id,
            lane_id: 1,
            lane_epoch: 1,
            priority: 100,
            initial_workers: 4,
            max_workers: 50,
            seed: 0,
            created_at: DateTime::UNIX_EPOCH,
            bundles,
            paused: None,
        };
        let snapshot = FleetSnapshot { workers: vec![], batches: vec![], tenants: vec![] };
        let told = |workloads: &[WorkloadView]| {
            answer(&snapshot, workloads, std::slice::from_ref(&tenant), Duration::from_secs(60))
        };
        let idle = told(&[workload(0)]);
        assert_eq!((idle.bundles, idle.slots.wanted, idle.slots.usable), (0, 0, 0));
        let one = told(&[workload(1)]);
        assert_eq!((one.bundles, one.slots.wanted, one.slots.usable), (1, 1, 1));
        let many = told(&[workload(900)]);
        assert_eq!((many.batches, many.chunks, many.bundles), (0, 0, 900));
        assert_eq!((many.slots.wanted, many.slots.usable), (4, 6), "as many as its tenant may use");
        let two = told(&[workload(900), workload(30)]);
        assert_eq!((two.bundles, two.slots.wanted), (930, 6));
        let paused = WorkloadView { paused: Some(Duration::ZERO), ..workload(900) };
        let beside = told(&[paused, workload(1)]);
        assert_eq!((beside.bundles, beside.slots.wanted, beside.slots.usable), (1, 1, 1));
    }
}
