//! `GET /api/v1/config/GetSparkConfiguration` (contract 4.5): what the server allows, as a map of strings.

use axum::Json;
use axum::extract::State;
use millrace_common::store::StoreError;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::envelope::{COMPILER_VERSION, v1};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::openapi::schemas::V1;
use crate::state::AppState;

/// Bytes of a megabyte (contract 0.6).
const MEGABYTE: i64 = 1_000_000;

/// The route.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(configuration))
}

/// What the server allows.
#[utoipa::path(get, path = "/api/v1/config/getsparkconfiguration", tag = "Server", operation_id = "getConfiguration",
    responses((status = 200, description = "Limits, as a map of texts.", body = V1<std::collections::BTreeMap<String, String>>)))]
async fn configuration(State(state): State<AppState>, Auth(caller): Auth) -> Result<Json<Value>, ApiError> {
    let tenant = state.store.tenant(&caller.tenant).await?.ok_or(StoreError::NotFound("tenant"))?;
    let megabytes = |bytes: i64| (bytes / MEGABYTE).to_string();
    Ok(v1(json!({
        "Batch_Tenant_In_Mb": megabytes(tenant.capacity_bytes),
        "Batch_Buffer_MaxLimit_In_Mb": megabytes(tenant.capacity_bytes),
        "Batch_Max_Input_In_Mb": megabytes(tenant.max_input_bytes),
        "Batch_Max_Output_In_Mb": megabytes(tenant.max_output_bytes),
        "Batch_Chunk_Size": "100",
        "Batch_Concurrent_Execution_Limit": tenant.max_workers.to_string(),
        "Batch_Storage": "rabbitmq,postgres",
        "Initial_Workers": tenant.initial_workers.to_string(),
        "Acceptable_Error_Percentage": "0",
        "Compiler_Version": COMPILER_VERSION,
        "Max_Request_Size_In_Mb": (state.config.limits.body_bytes / 1_000_000).to_string(),
        "Max_Service_Size_In_Mb": (state.config.limits.service_bytes / 1_000_000).to_string(),
        "Execute_Timeout_In_Ms": state.config.http.execute_timeout_ms.to_string(),
    })))
}
