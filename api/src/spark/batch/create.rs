//! `POST …/batch`: creation (contract 1.1).

use axum::Json;
use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use millrace_common::broker::{ControlEvent, LaneId};
use millrace_common::model::{Caller, Transition};
use millrace_common::store::{CreateBatchError, CreatedBatch, NewBatch, ServiceVersion};
use serde_json::json;
use uuid::Uuid;

use super::access::visible_view;
use super::fields::{FieldError, Fields, read_object};
use super::to_the_end;
use super::wire::{BatchBody, BatchData, MEGABYTE, OBJECT, StatusFields};
use crate::auth::Auth;
use crate::body::{Media, read_body};
use crate::error::ApiError;
use crate::middleware;
use crate::state::AppState;

/// `call_purpose` of a batch that names none.
const CALL_PURPOSE: &str = "Async Batch Execution";
/// Size of an input buffer that is not asked for, in MB.
const INPUT_MB: f64 = 70.0;
/// Size of an output buffer that is not asked for, in MB.
const OUTPUT_MB: f64 = 80.0;
/// How long to wait before a tenant's capacity is asked for again, in seconds.
const RETRY_EXHAUSTED: u64 = 5;

/// What a caller asks for, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CreateRequest {
    /// Which version; wins over `service`.
    version_id: Option<Uuid>,
    /// Which service: a URI or an id.
    service: Option<String>,
    version_by_timestamp: Option<DateTime<Utc>>,
    output: Vec<String>,
    subservice: Vec<String>,
    unique_record_key: Option<String>,
    call_purpose: String,
    source_system: Option<String>,
    correlation_id: Option<String>,
    initial_workers: Option<i32>,
    max_workers: Option<i32>,
    chunks_per_request: i32,
    runner_thread_count: i32,
    input_bytes: i64,
    output_bytes: i64,
    acceptable_error_percentage: f64,
}

impl CreateRequest {
    /// Reads the fields in all their spellings. Where there are several, the documented name wins, then `_size_in_mb`, then
    /// `_size`.
    fn read(fields: Fields<'_>) -> Result<Self, FieldError> {
        let megabytes = |spellings: &[&'static str], default: f64| -> Result<i64, FieldError> {
            let number = fields.number(spellings, |number| number > 0.0, "a number above 0")?;
            #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates; the store clamps to the tenant's cap")]
            Ok((number.unwrap_or(default) * MEGABYTE).round().max(1.0) as i64)
        };
        let version_id = match fields.text(&["version_id"])? {
            None => None,
            Some(text) => Some(
                Uuid::parse_str(text.trim()).map_err(|_| FieldError::new("version_id", "must be a UUID"))?,
            ),
        };
        Ok(Self {
            version_id,
            service: fields.text(&["service_id", "service", "service_uri"])?,
            version_by_timestamp: fields.time(&["version_by_timestamp"])?,
            output: fields.list(&["output"])?,
            subservice: fields.list(&["subservice"])?,
            unique_record_key: fields.joined("unique_record_key")?,
            call_purpose: fields.text(&["call_purpose"])?.unwrap_or_else(|| CALL_PURPOSE.to_owned()),
            source_system: fields.given_text("source_system")?,
            correlation_id: fields.given_text("correlation_id")?,
            initial_workers: fields.count(&["initial_workers"])?,
            max_workers: fields.count(&["max_workers"])?,
            chunks_per_request: fields.count(&["chunks_per_request", "chunks_per_thread"])?.unwrap_or(1),
            runner_thread_count: fields.count(&["runner_thread_count"])?.unwrap_or(1),
            input_bytes: megabytes(&["max_input_in_mb", "max_input_size_in_mb", "max_input_size"], INPUT_MB)?,
            output_bytes: megabytes(&["max_output_in_mb", "max_output_size_in_mb", "max_output_size"], OUTPUT_MB)?,
            acceptable_error_percentage: fields
                .number(
                    &["acceptable_error_percentage"],
                    |number| (0.0..=100.0).contains(&number),
                    "a number from 0 to 100",
                )?
                .unwrap_or(0.0),
        })
    }

    /// The batch of this version.
    fn into_new_batch(self, caller: &Caller, version: &ServiceVersion) -> NewBatch {
        let number = version.number();
        NewBatch {
            tenant_id: caller.tenant_id,
            version_id: version.id,
            service_id: version.service_id,
            service_uri: format!("{}/{}[{number}]", version.folder, version.service),
            version: number,
            compiler_version: version.compiler_version.clone(),
            created_by: caller.name.clone(),
            unique_record_key: self.unique_record_key,
            output_filter: self.output,
            subservices: self.subservice,
            version_by_timestamp: self.version_by_timestamp,
            call_purpose: self.call_purpose,
            source_system: self.source_system,
            correlation_id: self.correlation_id,
            initial_workers: self.initial_workers,
            max_workers: self.max_workers,
            chunks_per_request: self.chunks_per_request,
            runner_thread_count: self.runner_thread_count,
            acceptable_error_percentage: self.acceptable_error_percentage,
            input_bytes: self.input_bytes,
            output_bytes: self.output_bytes,
        }
    }
}

/// Creates a batch.
pub(super) async fn create(
    State(state): State<AppState>,
    Auth(caller): Auth,
    request: Request,
) -> Result<Json<BatchBody>, ApiError> {
    let received_at = middleware::current().received_at;
    let body = read_body(&state, request).await?;
    if !matches!(body.media, Media::Json | Media::Unstated) {
        return Err(ApiError::unsupported_media_type("a batch is described in application/json"));
    }
    let object =
        read_object(&body.bytes).map_err(|message| ApiError::bad_request("MALFORMED_JSON", message, None))?;
    let wanted = CreateRequest::read(Fields::new(&object)).map_err(|error| {
        ApiError::unprocessable("INVALID_VALUE", error.to_string(), error.path)
    })?;
    drop(body);
    if wanted.version_id.is_none() && wanted.service.is_none() {
        let message = "name a service, or a version_id";
        return Err(ApiError::bad_request("SERVICE_MISSING", message, "service".to_owned()));
    }
    let version = resolve(&state, &caller, &wanted).await?;
    let new = wanted.into_new_batch(&caller, &version);
    to_the_end(async move {
        let CreatedBatch { batch, lane_declared } = state.store.create_batch(&new).await.map_err(refuse)?;
        if !lane_declared {
            declare_lane(&state, batch.id, batch.lane_id).await?;
        }
        state.control.send(ControlEvent::BatchOpened { batch_id: batch.id });
        let view = visible_view(&state, &caller, batch.id).await?;
        let status = StatusFields::new(&view, received_at, &state.config.clocks);
        Ok(Json(BatchBody { object: OBJECT, id: batch.id, data: BatchData::new(&view), meta: None, status }))
    })
    .await
}

/// Declares the new batch's lane. A batch whose lane cannot be declared is taken back.
async fn declare_lane(state: &AppState, batch_id: Uuid, lane_id: Option<i32>) -> Result<(), ApiError> {
    let lane_id = lane_id.ok_or_else(|| ApiError::internal(&"a new batch has no lane"))?;
    let declared = match state.topology.declare_lane(LaneId(lane_id)).await {
        Ok(()) => state.store.mark_lane_declared(lane_id).await.map_err(ApiError::from),
        Err(error) => Err(error.into()),
    };
    if declared.is_err()
        && let Err(error) = state.store.change_batch(batch_id, Transition::Cancel).await
    {
        // It is closed by timeout instead.
        tracing::warn!(%error, batch.id = %batch_id, "a batch without a lane could not be cancelled");
    }
    declared
}

fn refuse(error: CreateBatchError) -> ApiError {
    let message = error.to_string();
    match error {
        CreateBatchError::TenantExhausted { needed, free } => {
            let details = json!({"needed_bytes": needed, "free_bytes": free});
            ApiError::too_many("TENANT_BUFFER_EXHAUSTED", message, details, RETRY_EXHAUSTED)
        }
        CreateBatchError::Store(error) => error.into(),
    }
}
