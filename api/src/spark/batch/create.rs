//! `POST …/batch`: creation (contract 1.1).

use axum::Json;
use axum::extract::{Request, State};
use chrono::{DateTime, Utc};
use millrace_calc::totals::TotalRequest;
use millrace_common::broker::{ControlEvent, LaneId};
use millrace_common::failpoint;
use millrace_common::model::{Caller, Transition};
use millrace_common::store::{BatchView, CreateBatchError, CreatedBatch, NewBatch, ServiceVersion};
use serde_json::json;
use uuid::Uuid;

use super::access::visible_view;
use super::budget::capacity_wait;
use super::fields::{FieldError, Fields, read_object};
use super::wire::{BatchBody, BatchData, MEGABYTE, OBJECT, StatusFields};
use super::{to_the_end, totals};
use crate::auth::Auth;
use crate::body::{Media, read_body};
use crate::error::ApiError;
use crate::middleware;
use crate::openapi::schemas::CreateBatch;
use crate::spark::services::{inspect, resolve_version};
use crate::spark::webhooks;
use crate::state::AppState;

/// `call_purpose` of a batch that names none.
const CALL_PURPOSE: &str = "Async Batch Execution";
/// Size of an input buffer that is not asked for, in MB.
const INPUT_MB: f64 = 70.0;
/// Size of an output buffer that is not asked for, in MB.
const OUTPUT_MB: f64 = 80.0;

/// What a caller asks for, read and checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CreateRequest {
    /// Which version; wins over `service`.
    pub(super) version_id: Option<Uuid>,
    /// Which service: a URI or an id.
    pub(super) service: Option<String>,
    pub(super) version_by_timestamp: Option<DateTime<Utc>>,
    pub(super) output: Vec<String>,
    pub(super) subservice: Vec<String>,
    pub(super) unique_record_key: Option<String>,
    call_purpose: String,
    source_system: Option<String>,
    correlation_id: Option<String>,
    initial_workers: Option<i32>,
    max_workers: Option<i32>,
    pub(super) chunks_per_request: i32,
    runner_thread_count: i32,
    pub(super) input_bytes: i64,
    pub(super) output_bytes: i64,
    pub(super) acceptable_error_percentage: f64,
    pub(super) acceptable_record_error_percentage: Option<f64>,
    pub(super) early_stop: bool,
    pub(super) priority: i32,
    /// Told when the batch ends.
    pub(super) webhook_url: Option<String>,
    /// Totals to keep over the whole batch.
    pub(super) totals: Vec<TotalRequest>,
}

impl CreateRequest {
    /// Reads the fields in all their spellings. Where there are several, the documented name wins, then `_size_in_mb`, then
    /// `_size`.
    pub(super) fn read(fields: Fields<'_>) -> Result<Self, FieldError> {
        let megabytes = |spellings: &[&'static str], default: f64| -> Result<i64, FieldError> {
            let number = fields.number(spellings, |number| number > 0.0, "a number above 0")?;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a cast from f64 saturates; the store clamps to the tenant's cap"
            )]
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
            output_bytes: megabytes(
                &["max_output_in_mb", "max_output_size_in_mb", "max_output_size"],
                OUTPUT_MB,
            )?,
            acceptable_error_percentage: fields.percentage("acceptable_error_percentage")?.unwrap_or(0.0),
            acceptable_record_error_percentage: fields.percentage("acceptable_record_error_percentage")?,
            early_stop: fields.flag("early_stop")?.unwrap_or(false),
            priority: fields.whole("priority")?.unwrap_or(0),
            webhook_url: fields.text(&["webhook_url"])?,
            totals: Vec::new(),
        })
    }

    /// The batch of this version.
    pub(super) fn into_new_batch(self, caller: &Caller, version: &ServiceVersion) -> NewBatch {
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
            acceptable_record_error_percentage: self.acceptable_record_error_percentage,
            early_stop: self.early_stop,
            priority: self.priority,
            input_bytes: self.input_bytes,
            output_bytes: self.output_bytes,
            webhook_url: self.webhook_url,
            totals: self.totals,
        }
    }
}

/// Creates a batch.
#[utoipa::path(post, path = "/{tenant}/api/v4/batch", tag = "Batches", operation_id = "createBatch",
    request_body(content = CreateBatch, example = json!({"service": "sales/SalesExample", "unique_record_key": "sales_id", "output": "total"})),
    responses(
        (status = 200, description = "The batch, with its status.", body = BatchBody, links(
            ("status" = (operation_id = "getBatchStatus", parameters(("tenant" = "$request.path.tenant"), ("id" = "$response.body#/id")))),
            ("information" = (operation_id = "getBatch", parameters(("tenant" = "$request.path.tenant"), ("id" = "$response.body#/id")))),
            ("push" = (operation_id = "pushChunks", parameters(("tenant" = "$request.path.tenant"), ("id" = "$response.body#/id")))),
            ("pull" = (operation_id = "pullResults", parameters(("tenant" = "$request.path.tenant"), ("id" = "$response.body#/id")))),
            ("change" = (operation_id = "changeBatch", parameters(("tenant" = "$request.path.tenant"), ("id" = "$response.body#/id")))),
        )),
        (status = 404, description = "There is no such service, version or folder."),
        (status = 429, description = "The tenant has not enough free capacity, or a rate limit is reached. Wait for `Retry-After`."),
    ))]
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
    let refuse_field =
        |error: FieldError| ApiError::unprocessable("INVALID_VALUE", error.to_string(), error.path);
    let mut wanted = CreateRequest::read(Fields::new(&object)).map_err(refuse_field)?;
    let requested = totals::read(&object).map_err(refuse_field)?;
    drop(body);
    if let Some(url) = &wanted.webhook_url {
        wanted.webhook_url = Some(webhooks::own_url(&state, caller.tenant_id, url).await?);
    }
    let version = resolve_version(
        &state,
        &caller,
        wanted.service.as_deref(),
        wanted.version_id,
        wanted.version_by_timestamp,
    )
    .await?;
    if !requested.is_empty() {
        let (interface, _) = inspect::interface(&state, &version).await?;
        wanted.totals = totals::resolve(requested, &interface, &wanted.subservice).map_err(refuse_field)?;
    }
    let new = wanted.into_new_batch(&caller, &version);
    let store = state.acting(&caller);
    to_the_end(async move {
        let created = store.create_batch(&new).await;
        let created = created.map_err(|error| refuse(error, state.config.clocks.cool_off_seconds))?;
        let view = opened(&state, &caller, created).await?;
        let status = StatusFields::new(&view, received_at, &state.config.clocks);
        let id = view.batch.id;
        Ok(Json(BatchBody { object: OBJECT, id, data: BatchData::new(&view), meta: None, status }))
    })
    .await
}

/// What follows once a batch is stored: its lane is declared, and the workers are told.
pub(super) async fn opened(
    state: &AppState,
    caller: &Caller,
    created: CreatedBatch,
) -> Result<BatchView, ApiError> {
    let CreatedBatch { batch, lane_declared } = created;
    failpoint::reach("create.stored", "");
    if !lane_declared {
        declare_lane(state, batch.id, batch.lane_id).await?;
    }
    state.control.send(ControlEvent::BatchOpened { batch_id: batch.id });
    visible_view(state, caller, batch.id).await
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

pub(super) fn refuse(error: CreateBatchError, cool_off_seconds: u64) -> ApiError {
    let message = error.to_string();
    match error {
        CreateBatchError::TenantExhausted { needed, free, finished_for } => {
            let details = json!({"needed_bytes": needed, "free_bytes": free});
            ApiError::too_many(
                "TENANT_BUFFER_EXHAUSTED",
                message,
                details,
                capacity_wait(finished_for, cool_off_seconds),
            )
        }
        CreateBatchError::Store(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn read(text: &str) -> Result<CreateRequest, FieldError> {
        CreateRequest::read(Fields::new(&read_object(text.as_bytes()).unwrap()))
    }

    #[test]
    fn nothing_given_means_the_defaults() {
        let defaults = CreateRequest {
            version_id: None,
            service: Some("a/b".to_owned()),
            version_by_timestamp: None,
            output: Vec::new(),
            subservice: Vec::new(),
            unique_record_key: None,
            call_purpose: "Async Batch Execution".to_owned(),
            source_system: None,
            correlation_id: None,
            initial_workers: None,
            max_workers: None,
            chunks_per_request: 1,
            runner_thread_count: 1,
            input_bytes: 70_000_000,
            output_bytes: 80_000_000,
            acceptable_error_percentage: 0.0,
            acceptable_record_error_percentage: None,
            early_stop: false,
            priority: 0,
            webhook_url: None,
            totals: Vec::new(),
        };
        assert_eq!(read(r#"{"service":"a/b"}"#).unwrap(), defaults);
        // The first SDK sends every field as null; unknown ones are its extras.
        let nulls = r#"{"service":"a/b","version_id":null,"output":null,"subservice":null,"unique_record_key":null,
            "call_purpose":null,"initial_workers":null,"max_workers":null,"chunks_per_request":null,"max_input_size":null,
            "acceptable_error_percentage":null,"version_by_timestamp":null,"my_extra":{"x":1}}"#;
        assert_eq!(read(nulls).unwrap(), defaults);
    }

    #[test]
    fn the_python_form_is_read() {
        let request = read(
            r#"{"service":"sales/SalesExample","call_purpose":"test","source_system":"Spark Python SDK",
            "acceptable_error_percentage":6,"version_by_timestamp":"2026-11-21T16:19:03.087040","subservice":"a,b",
            "output":"total,value_*","correlation_id":"c","unique_record_key":"sales_id,region","initial_workers":2,
            "max_workers":4,"chunks_per_request":2,"runner_thread_count":3,"max_input_size_in_mb":0.5,
            "max_output_size_in_mb":"1.5"}"#,
        )
        .unwrap();
        assert_eq!(request.output, ["total", "value_*"]);
        assert_eq!(request.subservice, ["a", "b"]);
        assert_eq!(request.unique_record_key.as_deref(), Some("sales_id,region"));
        assert_eq!((request.input_bytes, request.output_bytes), (500_000, 1_500_000));
        assert_eq!((request.initial_workers, request.max_workers), (Some(2), Some(4)));
        assert_eq!((request.chunks_per_request, request.runner_thread_count), (2, 3));
        assert!((request.acceptable_error_percentage - 6.0).abs() < f64::EPSILON);
        assert!(request.version_by_timestamp.is_some());
    }

    #[test]
    fn the_typescript_form_is_read() {
        let request = read(
            r#"{"service":"","version_id":"00112233-4455-6677-8899-AABBCCDDEEFF","unique_record_key":["a","b"],
            "max_input_size":10,"max_output_size":20,"correlation_id":""}"#,
        )
        .unwrap();
        assert_eq!(request.service, None);
        assert_eq!(request.version_id.unwrap().to_string(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(request.unique_record_key.as_deref(), Some("a,b"));
        assert_eq!((request.input_bytes, request.output_bytes), (10_000_000, 20_000_000));
        assert_eq!(request.correlation_id.as_deref(), Some(""));
    }

    #[test]
    fn terms_beyond_the_protocol_are_read() {
        let text =
            r#"{"service":"a/b","acceptable_record_error_percentage":0.1,"early_stop":"true","priority":-5}"#;
        let request = read(text).unwrap();
        assert_eq!(request.acceptable_record_error_percentage, Some(0.1));
        assert_eq!((request.early_stop, request.priority), (true, -5));
    }

    #[test]
    fn documented_spellings_win() {
        let request = read(
            r#"{"service":"a/b","max_input_size":3,"max_input_size_in_mb":2,"max_input_in_mb":1,"chunks_per_thread":5}"#,
        );
        let request = request.unwrap();
        assert_eq!((request.input_bytes, request.chunks_per_request), (1_000_000, 5));
        assert_eq!(read(r#"{"service_uri":"a/b"}"#).unwrap().service.as_deref(), Some("a/b"));
        assert_eq!(read(r#"{"service_id":"x","service":"a/b"}"#).unwrap().service.as_deref(), Some("x"));
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        for (text, path) in [
            (r#"{"acceptable_error_percentage":101}"#, "acceptable_error_percentage"),
            (r#"{"acceptable_error_percentage":-0.1}"#, "acceptable_error_percentage"),
            (r#"{"acceptable_error_percentage":NaN}"#, "acceptable_error_percentage"),
            (r#"{"acceptable_error_percentage":"NaN"}"#, "acceptable_error_percentage"),
            (r#"{"acceptable_record_error_percentage":100.1}"#, "acceptable_record_error_percentage"),
            (r#"{"early_stop":"soon"}"#, "early_stop"),
            (r#"{"early_stop":1}"#, "early_stop"),
            (r#"{"priority":0.5}"#, "priority"),
            (r#"{"priority":3e9}"#, "priority"),
            (r#"{"max_input_in_mb":0}"#, "max_input_in_mb"),
            (r#"{"max_output_size":-5}"#, "max_output_size"),
            (r#"{"max_output_size_in_mb":Infinity}"#, "max_output_size_in_mb"),
            (r#"{"max_workers":-1}"#, "max_workers"),
            (r#"{"initial_workers":0}"#, "initial_workers"),
            (r#"{"initial_workers":1.5}"#, "initial_workers"),
            (r#"{"runner_thread_count":"many"}"#, "runner_thread_count"),
            (r#"{"chunks_per_request":[1]}"#, "chunks_per_request"),
            (r#"{"version_id":"x"}"#, "version_id"),
            (r#"{"version_by_timestamp":"soon"}"#, "version_by_timestamp"),
            (r#"{"output":{"a":1}}"#, "output"),
            (r#"{"output":["a",{"b":1}]}"#, "output[1]"),
            (r#"{"correlation_id":["x"]}"#, "correlation_id"),
        ] {
            assert_eq!(read(text).unwrap_err().path, path, "{text}");
        }
    }

    #[test]
    fn enormous_values_are_left_to_the_caps() {
        let request =
            read(r#"{"max_input_in_mb":1e300,"max_workers":1e300,"max_output_in_mb":1e-300}"#).unwrap();
        assert_eq!(
            (request.input_bytes, request.max_workers, request.output_bytes),
            (i64::MAX, Some(i32::MAX), 1)
        );
    }
}
