//! `GET /stats/tenants`: quotas of tenants, and what is used of them.

use axum::Json;
use axum::extract::State;
use millrace_common::store::TenantUsage;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Audience;
use crate::error::ApiError;
use crate::state::AppState;

/// Tenants.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TenantsAnswer {
    /// All of them for operators, for others their own.
    tenants: Vec<TenantAnswer>,
}

/// A tenant. Amounts in bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TenantAnswer {
    /// Its name.
    tenant: String,
    quotas: QuotasAnswer,
    used: UsedAnswer,
}

/// What a tenant may use.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QuotasAnswer {
    /// What its live batches may reserve together, for input and output.
    capacity_bytes: i64,
    /// Unpulled results from which on pushes wait.
    output_capacity_bytes: i64,
    /// Largest input buffer of one batch.
    max_input_bytes: i64,
    /// Largest output buffer of one batch.
    max_output_bytes: i64,
    /// Most slots of all its batches together.
    max_workers: i32,
    /// What a batch begins with that does not say.
    initial_workers: i32,
    /// Its share of the fleet against other tenants.
    weight: i32,
    /// Requests a second that one server takes; null: as `rate_limits` says, 0: no limit.
    requests_per_second: Option<i32>,
    /// Pushed bytes a second that one server takes; null: as `rate_limits` says, 0: no limit.
    push_bytes_per_second: Option<i64>,
}

/// What a tenant uses.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsedAnswer {
    /// Reserved for the input of batches.
    reserved_input_bytes: i64,
    /// Reserved for their output.
    reserved_output_bytes: i64,
    /// Chunks without an outcome, in bytes.
    input_bytes: i64,
    /// Results that were not pulled, in bytes.
    output_bytes: i64,
    /// Batches that are not finished.
    live_batches: i64,
    /// Chunks of these without an outcome.
    unfinished_chunks: i64,
    /// Records of these.
    unfinished_records: i64,
    /// Busy slots.
    workers_in_use: i64,
}

impl From<TenantUsage> for TenantAnswer {
    fn from(usage: TenantUsage) -> Self {
        Self {
            tenant: usage.name,
            quotas: QuotasAnswer {
                capacity_bytes: usage.capacity,
                output_capacity_bytes: usage.output_capacity,
                max_input_bytes: usage.max_input,
                max_output_bytes: usage.max_output,
                max_workers: usage.max_workers,
                initial_workers: usage.initial_workers,
                weight: usage.weight,
                requests_per_second: usage.requests_per_second,
                push_bytes_per_second: usage.push_bytes_per_second,
            },
            used: UsedAnswer {
                reserved_input_bytes: usage.reserved_input,
                reserved_output_bytes: usage.reserved_output,
                input_bytes: usage.input_used,
                output_bytes: usage.output_used,
                live_batches: usage.live_batches,
                unfinished_chunks: usage.unfinished_chunks,
                unfinished_records: usage.unfinished_records,
                workers_in_use: usage.workers_in_use,
            },
        }
    }
}

/// Quotas and what is used of them: of every tenant for operators, else of the caller's.
#[utoipa::path(get, path = "/stats/tenants", tag = "Server", operation_id = "getTenants",
    responses((status = 200, description = "Tenants, by name.", body = TenantsAnswer)))]
pub(super) async fn show(
    State(state): State<AppState>,
    audience: Audience,
) -> Result<Json<TenantsAnswer>, ApiError> {
    let usage = state.store.in_time(state.store.tenant_usage(audience.tenant_id())).await?;
    Ok(Json(TenantsAnswer { tenants: usage.into_iter().map(TenantAnswer::from).collect() }))
}
