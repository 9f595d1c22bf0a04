//! Cancels and requeues by filter (scale-v6 5.6). They are carried out after the answer.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use millrace_common::broker::ControlEvent;
use millrace_common::model::Caller;
use millrace_common::store::recipes::{JobRequest, JobRequestFilter, JobRequestKind, JobTypeName};

use super::{categories, statuses};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::middleware;
use crate::openapi::schemas::{JobsToCancel, JobsToRequeue};
use crate::state::AppState;
use crate::v6::http::{Body, Fields, INVALID, range};

fn filter(fields: &Fields<'_>) -> Result<JobRequestFilter, ApiError> {
    let (started, ended) = (fields.text("started")?, fields.text("ended")?);
    let range = range(started.as_deref(), ended.as_deref(), middleware::current().received_at)?;
    let statuses = statuses(fields.texts("status")?)?;
    Ok(JobRequestFilter {
        started: range.started,
        ended: range.ended,
        status: statuses.map(|statuses| statuses.iter().map(|status| status.as_str().to_owned()).collect()),
        job_ids: fields.integers("job_ids")?,
        job_type_ids: fields.integers("job_type_ids")?,
        job_type_names: fields.texts("job_type_names")?,
        batch_ids: fields.integers("batch_ids")?,
        recipe_ids: fields.integers("recipe_ids")?,
        error_categories: categories("error_categories", fields.texts("error_categories")?)?,
        error_ids: fields.integers("error_ids")?,
        is_superseded: fields.flag("is_superseded")?,
    })
}

fn job_types(fields: &Fields<'_>) -> Result<Option<Vec<JobTypeName>>, ApiError> {
    let Some(value) = fields.value("job_types")? else { return Ok(None) };
    serde_json::from_value(value).map(Some).map_err(|_| {
        ApiError::bad_request(INVALID, "job_types must be a list of {\"name\", \"version\"}", None)
    })
}

async fn note(
    state: &AppState,
    caller: &Caller,
    fields: &Fields<'_>,
    kind: JobRequestKind,
) -> Result<StatusCode, ApiError> {
    let (filter, job_types) = (filter(fields)?, job_types(fields)?);
    if filter.is_empty() && job_types.is_none() {
        let message = "there must be at least one filter: without one, every job would be meant";
        return Err(ApiError::bad_request(INVALID, message, None));
    }
    let request =
        JobRequest { tenant_id: caller.tenant_id, kind, filter, job_types, created_by: caller.name.clone() };
    if let Err(unknown) = state.acting(caller).request_jobs(&request).await? {
        let message =
            format!("job_types: there is no job type {:?} with version {:?}", unknown.name, unknown.version);
        return Err(ApiError::bad_request(INVALID, message, None));
    }
    state.control.send(ControlEvent::PlanChanged);
    Ok(StatusCode::ACCEPTED)
}

/// Cancels jobs that have not ended.
#[utoipa::path(post, path = "/v6/jobs/cancel/", tag = "Jobs", operation_id = "cancelJobs",
    request_body(content = JobsToCancel, example = json!({"job_ids": [1], "status": ["QUEUED"]})),
    responses((status = 202, description = "It is noted.")))]
pub(super) async fn cancel(
    State(state): State<AppState>,
    Auth(caller): Auth,
    http: Request,
) -> Result<StatusCode, ApiError> {
    let body = Body::read(&state, http).await?;
    note(&state, &caller, &body.fields()?, JobRequestKind::Cancel).await
}

/// Runs failed and canceled jobs again.
#[utoipa::path(post, path = "/v6/jobs/requeue/", tag = "Jobs", operation_id = "requeueJobs",
    request_body(content = JobsToRequeue, example = json!({"batch_ids": [1], "status": ["FAILED", "CANCELED"], "priority": 5})),
    responses((status = 202, description = "It is noted.")))]
pub(super) async fn requeue(
    State(state): State<AppState>,
    Auth(caller): Auth,
    http: Request,
) -> Result<StatusCode, ApiError> {
    let body = Body::read(&state, http).await?;
    let fields = body.fields()?;
    let priority = fields.integer("priority")?;
    note(&state, &caller, &fields, JobRequestKind::Requeue { priority }).await
}
