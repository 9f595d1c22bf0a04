//! `GET …/batch/status`: the tenant overview (contract 1.7).

use axum::Json;
use axum::extract::State;
use millrace_common::model::Caller;
use millrace_common::store::TenantOverview;

use super::access::may_see;
use super::wire::{
    Environment, OverviewBatch, OverviewBody, OverviewTenant, TenantConfiguration, TenantStatus,
};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::state::AppState;

/// The revision of what this server answers; goes up when an answer changes.
const REVISION: u32 = 1;

/// The caller's batches, and the whole tenant's totals.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/status", tag = "Batches", operation_id = "describeBatches",
    responses((status = 200, description = "Batches that are not finished, those that finished within the last hour, and the tenant.", body = OverviewBody)))]
pub(super) async fn overview(
    State(state): State<AppState>,
    Auth(caller): Auth,
) -> Result<Json<OverviewBody>, ApiError> {
    let overview = state.store.tenant_overview(caller.tenant_id).await?;
    Ok(Json(body(&overview, &caller)))
}

/// Supervisors see every batch of the tenant, others their own; the totals are always the whole tenant's.
fn body(overview: &TenantOverview, caller: &Caller) -> OverviewBody {
    let visible = overview.batches.iter().filter(|view| may_see(caller, &view.batch.created_by));
    let (recent, in_progress): (Vec<_>, Vec<_>) = visible.partition(|view| view.batch.state.is_terminal());
    let capacity = overview.capacity_bytes;
    let (input, output) = (overview.reserved_input_bytes, overview.reserved_output_bytes);
    OverviewBody {
        in_progress_batches: in_progress.into_iter().map(OverviewBatch::new).collect(),
        recent_batches: recent.into_iter().map(OverviewBatch::new).collect(),
        tenant: OverviewTenant {
            configuration: TenantConfiguration {
                input_buffer_allocated_bytes: capacity,
                output_buffer_allocated_bytes: capacity,
                max_workers: overview.max_workers,
            },
            status: TenantStatus {
                input_buffer_used_bytes: input,
                input_buffer_remaining_bytes: (capacity - input).max(0),
                output_buffer_used_bytes: output,
                output_buffer_remaining_bytes: (capacity - output).max(0),
                workers_in_use: overview.workers_in_use,
            },
        },
        environment: Environment { update: REVISION },
    }
}
