//! `POST …/batch/{id}/redrive`: failed work once more, as a batch of its own.
//!
//! The inputs are pushed in the background (see [`crate::redrive`]), by whichever server is there.

use axum::Json;
use axum::extract::{Request, State};
use millrace_common::model::{BatchState, Caller};
use millrace_common::store::{
    Batch, BatchView, CreateRedriveError, FailureKinds, NewBatch, NewRedrive, RedrivePlan, ServiceVersion,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::{BatchId, may_see, visible_view};
use super::create::{self, CreateRequest};
use super::failures::require_results;
use super::fields::{FieldError, Fields, read_object};
use super::wire::{BatchBody, BatchData, MEGABYTE, OBJECT, RedriveData, StatusFields};
use super::{to_the_end, totals};
use crate::auth::Auth;
use crate::body::{Media, read_body};
use crate::error::ApiError;
use crate::middleware;
use crate::openapi::schemas::RedriveBatch;
use crate::spark::services::{inspect, resolve_version};
use crate::spark::webhooks;
use crate::state::AppState;

/// The answer: the new batch, as after its creation, and what is done again in it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct RedriveBody {
    #[serde(flatten)]
    batch: BatchBody,
    /// The batch whose work failed.
    redrive_of: Uuid,
    /// How far it is.
    redrive: Option<RedriveData>,
    /// What cannot be done again, because its input is not there.
    impossible: Impossible,
}

/// Failed work whose input is not there.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
struct Impossible {
    /// So many chunks.
    chunks: i64,
    /// The first of their ids, at most 100.
    chunk_ids: Vec<String>,
}

impl From<RedrivePlan> for Impossible {
    fn from(plan: RedrivePlan) -> Self {
        Self { chunks: plan.failed - plan.possible, chunk_ids: plan.impossible }
    }
}

/// What is asked for beside the terms of the new batch.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    kinds: FailureKinds,
    /// Whether the new batch is closed when everything is in.
    close: bool,
    /// The id of the new batch, where the caller chose it: then the call may be repeated.
    batch_id: Option<Uuid>,
}

impl Wanted {
    fn read(object: &Map<String, Value>) -> Result<Self, FieldError> {
        let fields = Fields::new(object);
        let kinds = match fields.text(&["kind"])? {
            None => FailureKinds::ALL,
            Some(kind) => FailureKinds::parse(&kind)
                .ok_or_else(|| FieldError::new("kind", "must be \"chunks\", \"records\" or \"all\""))?,
        };
        let batch_id = fields.text(&["batch_id"])?.map(|text| Uuid::parse_str(text.trim())).transpose();
        let batch_id = batch_id.map_err(|_| FieldError::new("batch_id", "must be a UUID"))?;
        Ok(Self { kinds, close: fields.flag("close")?.unwrap_or(true), batch_id })
    }
}

/// The terms of the source under what the caller gives. Where a field has several spellings, the source's terms take the one that
/// counts least, so that any of them overrides.
fn terms(source: &Batch, given: &Map<String, Value>) -> Map<String, Value> {
    let megabytes = |bytes: i64| {
        #[expect(clippy::cast_precision_loss, reason = "buffers are far below 2^53 bytes")]
        let bytes = bytes as f64;
        json!(bytes / MEGABYTE)
    };
    let mut terms = Map::new();
    let mut put = |name: &str, value: Value| {
        terms.insert(name.to_owned(), value);
    };
    put("output", json!(source.output_filter));
    put("subservice", json!(source.subservices));
    put("unique_record_key", json!(source.unique_record_key));
    put("call_purpose", json!(source.call_purpose));
    put("source_system", json!(source.source_system));
    put("correlation_id", json!(source.correlation_id));
    put("initial_workers", json!(source.initial_workers));
    put("max_workers", json!(source.max_workers));
    put("chunks_per_thread", json!(source.chunks_per_request));
    put("runner_thread_count", json!(source.runner_thread_count));
    put("max_input_size", megabytes(source.input_allocated));
    put("max_output_size", megabytes(source.output_allocated));
    put("acceptable_error_percentage", json!(source.acceptable_error_percentage));
    put("acceptable_record_error_percentage", json!(source.acceptable_record_error_percentage));
    put("early_stop", json!(source.early_stop));
    put("priority", json!(source.priority));
    let is_given = |name: &&str| given.get(*name).is_some_and(|value| !value.is_null() && value != "");
    if !["service_id", "service", "service_uri", "version_id"].iter().any(is_given) {
        if is_given(&"version_by_timestamp") {
            put("service_id", json!(source.service_id));
        } else {
            put("version_id", json!(source.version_id));
        }
    }
    for (name, value) in given {
        // As in a change of terms, `null` takes this limit away.
        if !value.is_null() || name == "acceptable_record_error_percentage" {
            terms.insert(name.clone(), value.clone());
        }
    }
    terms
}

/// Begins a redrive.
#[utoipa::path(post, path = "/{tenant}/api/v4/batch/{id}/redrive", tag = "Batches", operation_id = "redriveBatch",
    params(("id" = String, Path, description = "The batch whose work failed.")),
    request_body(content = Option<RedriveBatch>, example = json!({"kind": "all", "close": true})),
    responses(
        (status = 200, description = "The new batch; its chunks are pushed in the background.", body = RedriveBody),
        (status = 409, description = "The batch has not ended or is cancelled, or `batch_id` belongs to another batch."),
        (status = 429, description = "The tenant has not enough free capacity, or a rate limit is reached. Wait for `Retry-After`."),
    ))]
pub(super) async fn redrive(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    request: Request,
) -> Result<Json<RedriveBody>, ApiError> {
    let received_at = middleware::current().received_at;
    let body = read_body(&state, request).await?;
    if !matches!(body.media, Media::Json | Media::Unstated) {
        return Err(ApiError::unsupported_media_type("a redrive is described in application/json"));
    }
    let text: &[u8] = if body.bytes.is_empty() { b"{}" } else { &body.bytes };
    let given =
        read_object(text).map_err(|message| ApiError::bad_request("MALFORMED_JSON", message, None))?;
    drop(body);
    let wanted = Wanted::read(&given).map_err(refuse_field)?;
    let source = visible_view(&state, &caller, id).await?;
    let (view, impossible) = match begun(&state, &caller, &source, &wanted).await? {
        Some(view) => {
            // Its results may have gone in the meantime, and with them what could be said of them.
            let plan = match source.batch.dropped_at {
                None => Some(state.store.plan_redrive(id, source.batch.day, wanted.kinds).await?),
                Some(_) => None,
            };
            (view, plan.map(Impossible::from).unwrap_or_default())
        }
        None => {
            let (new, redrive, plan) = prepare(&state, &caller, source, &wanted, &given).await?;
            let (state, store) = (state.clone(), state.acting(&caller));
            let view = to_the_end(async move {
                let cool_off = state.config.clocks.cool_off_seconds;
                let created = store.create_redrive(&new, &redrive).await;
                let created = created.map_err(|error| refuse(error, cool_off))?;
                let view = create::opened(&state, &caller, created).await?;
                state.batches.redrives.notify_one();
                Ok(view)
            });
            (view.await?, plan.into())
        }
    };
    let redrive = state.store.redrive_links(view.batch.id).await?.own.map(RedriveData::from);
    let status = StatusFields::new(&view, received_at, &state.config.clocks);
    let data = BatchData::new(&view);
    let batch = BatchBody { object: OBJECT, id: view.batch.id, data, meta: None, status };
    Ok(Json(RedriveBody { batch, redrive_of: id, redrive, impossible }))
}

/// The batch of a redrive that an earlier call with the same id began; 409 where the id belongs to another batch.
async fn begun(
    state: &AppState,
    caller: &Caller,
    source: &BatchView,
    wanted: &Wanted,
) -> Result<Option<BatchView>, ApiError> {
    let Some(batch_id) = wanted.batch_id else { return Ok(None) };
    let Some(view) = state.store.batch_view(caller.tenant_id, batch_id).await? else { return Ok(None) };
    let own = state.store.redrive_links(batch_id).await?.own;
    if may_see(caller, &view.batch.created_by)
        && own.is_some_and(|own| own.source_id == source.batch.id && own.kind == wanted.kinds.as_str())
    {
        return Ok(Some(view));
    }
    Err(id_taken())
}

/// What is to be stored, checked against the batch whose work failed.
async fn prepare(
    state: &AppState,
    caller: &Caller,
    source: BatchView,
    wanted: &Wanted,
    given: &Map<String, Value>,
) -> Result<(NewBatch, NewRedrive, RedrivePlan), ApiError> {
    require_results(&source)?;
    let source = source.batch;
    if !source.state.is_terminal() {
        return Err(not_finished(source.state));
    }
    let mut request = CreateRequest::read(Fields::new(&terms(&source, given))).map_err(refuse_field)?;
    let version = resolve_version(
        state,
        caller,
        request.service.as_deref(),
        request.version_id,
        request.version_by_timestamp,
    )
    .await?;
    if let Some(url) = &request.webhook_url {
        request.webhook_url = Some(webhooks::own_url(state, caller.tenant_id, url).await?);
    }
    request.totals = totals_of(state, &source, given, &request.subservice, &version).await?;
    let plan = state.store.plan_redrive(source.id, source.day, wanted.kinds).await?;
    check(&plan)?;
    let redrive = NewRedrive {
        batch_id: wanted.batch_id.unwrap_or_else(Uuid::new_v4),
        source_id: source.id,
        source_day: source.day,
        kinds: wanted.kinds,
        close: wanted.close,
        chunks: plan.possible,
        largest: plan.largest,
    };
    Ok((request.into_new_batch(caller, &version), redrive, plan))
}

/// Totals to keep: as the caller gives them, else those of the source, which must be there in the version that is used now.
async fn totals_of(
    state: &AppState,
    source: &Batch,
    given: &Map<String, Value>,
    subservices: &[String],
    version: &ServiceVersion,
) -> Result<Vec<millrace_calc::totals::TotalRequest>, ApiError> {
    let requested = match totals::given(given).map_err(refuse_field)? {
        Some(requested) => requested,
        None if version.id == source.version_id => return Ok(source.totals.clone()),
        None => source.totals.clone(),
    };
    if requested.is_empty() {
        return Ok(requested);
    }
    let (interface, _) = inspect::interface(state, version).await?;
    totals::resolve(requested, &interface, subservices).map_err(refuse_field)
}

fn refuse_field(error: FieldError) -> ApiError {
    ApiError::unprocessable("INVALID_VALUE", error.to_string(), error.path)
}

fn not_finished(state: BatchState) -> ApiError {
    let message = format!("the batch is {state}; what failed in it can be done again once it has ended");
    ApiError::conflict("BATCH_NOT_FINISHED", message)
}

fn id_taken() -> ApiError {
    ApiError::conflict("BATCH_ID_TAKEN", "batch_id belongs to another batch").at("batch_id")
}

/// Refuses a redrive that could not do anything.
fn check(plan: &RedrivePlan) -> Result<(), ApiError> {
    if plan.failed == 0 {
        let message = "nothing of this kind failed in this batch";
        return Err(ApiError::unprocessable("NOTHING_FAILED", message, "kind".to_owned()));
    }
    if plan.possible == 0 {
        let message = "the inputs of what failed were not kept";
        return Err(ApiError::unprocessable("INPUTS_NOT_KEPT", message, None)
            .with_details(json!({"chunks": plan.failed, "chunk_ids": plan.impossible})));
    }
    Ok(())
}

fn refuse(error: CreateRedriveError, cool_off_seconds: u64) -> ApiError {
    let message = error.to_string();
    match error {
        CreateRedriveError::Batch(error) => create::refuse(error, cool_off_seconds),
        CreateRedriveError::IdTaken => id_taken(),
        CreateRedriveError::Expired => ApiError::not_found("RESULTS_EXPIRED", message),
        CreateRedriveError::TooLarge { needed, allocated } => {
            ApiError::unprocessable("CHUNK_TOO_LARGE", message, "max_input_in_mb".to_owned())
                .with_details(json!({"chunk_bytes": needed, "allocated_bytes": allocated}))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::wire::tests::view;
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(object) = value else { panic!() };
        object
    }

    #[test]
    fn the_terms_of_the_source_hold_unless_others_are_given() {
        let source = Batch {
            acceptable_error_percentage: 12.5,
            acceptable_record_error_percentage: Some(0.1),
            early_stop: true,
            priority: -3,
            ..view().batch
        };
        let same = terms(&source, &object(json!({"kind": "chunks", "output": null})));
        let same = CreateRequest::read(Fields::new(&same)).unwrap();
        assert_eq!(same.version_id, Some(source.version_id));
        assert_eq!((same.input_bytes, same.output_bytes), (source.input_allocated, source.output_allocated));
        assert_eq!(
            (&same.output, same.unique_record_key.as_deref()),
            (&source.output_filter, Some("sales_id"))
        );
        assert_eq!(
            (same.acceptable_error_percentage, same.acceptable_record_error_percentage),
            (source.acceptable_error_percentage, source.acceptable_record_error_percentage)
        );
        assert_eq!((same.early_stop, same.priority), (source.early_stop, source.priority));
        let unlimited = terms(&source, &object(json!({"acceptable_record_error_percentage": null})));
        let unlimited = CreateRequest::read(Fields::new(&unlimited)).unwrap();
        assert_eq!(unlimited.acceptable_record_error_percentage, None);
        let newest = terms(&source, &object(json!({"version_by_timestamp": "2026-11-21"})));
        let newest = CreateRequest::read(Fields::new(&newest)).unwrap();
        assert_eq!((newest.version_id, newest.service), (None, Some(source.service_id.to_string())));

        for spelling in ["max_input_in_mb", "max_input_size_in_mb", "max_input_size"] {
            let mut given = object(json!({"service": "a/b", "chunks_per_request": 9}));
            given.insert(spelling.to_owned(), json!(2));
            let other = CreateRequest::read(Fields::new(&terms(&source, &given))).unwrap();
            assert_eq!((other.version_id, other.service.as_deref()), (None, Some("a/b")));
            assert_eq!((other.input_bytes, other.chunks_per_request), (2_000_000, 9), "{spelling}");
        }
    }

    #[test]
    fn what_is_asked_for_is_checked() {
        let read = |value: Value| Wanted::read(&object(value));
        let all = Wanted { kinds: FailureKinds::ALL, close: true, batch_id: None };
        assert_eq!(read(json!({})).unwrap(), all);
        assert_eq!(read(json!({"kind": null, "close": null, "batch_id": null})).unwrap(), all);
        let id = Uuid::from_u128(7);
        assert_eq!(read(json!({"batch_id": id})).unwrap().batch_id, Some(id));
        assert!(!read(json!({"kind": "records"})).unwrap().kinds.chunks);
        assert!(!read(json!({"kind": "chunks", "close": false})).unwrap().close);
        for (value, path) in [
            (json!({"kind": "x"}), "kind"),
            (json!({"kind": 1}), "kind"),
            (json!({"close": "no"}), "close"),
            (json!({"batch_id": "x"}), "batch_id"),
        ] {
            assert_eq!(read(value).unwrap_err().path, path);
        }
    }

    #[test]
    fn impossible_redrives_are_refused() {
        let plan =
            |failed: i64, possible: i64| RedrivePlan { failed, possible, largest: 1, impossible: vec![] };
        for (plan, code) in [(plan(0, 0), "NOTHING_FAILED"), (plan(2, 0), "INPUTS_NOT_KEPT")] {
            let error = check(&plan).unwrap_err();
            assert_eq!((error.status().as_u16(), error.code()), (422, code));
        }
        assert!(check(&plan(2, 1)).is_ok());
        let error = refuse(CreateRedriveError::TooLarge { needed: 2, allocated: 1 }, 120);
        assert_eq!((error.status().as_u16(), error.source_path()), (422, Some("max_input_in_mb")));
    }
}
