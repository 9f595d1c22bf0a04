//! Jobs that callers ask for one at a time, outside of recipes (scale-v6 5.6).

use axum::extract::{Request, State};
use axum::response::Response;
use millrace_common::model::recipe::{Data, Finding, Place, names};
use serde_json::json;

use super::wire::{JobDetailsAnswer, details};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::openapi::schemas::CreateJob;
use crate::state::AppState;
use crate::v6::http::{Body, INVALID, Query, created, refused};
use crate::v6::{not_found, publish};

/// The 400 for these findings.
fn refusal(findings: &[Finding<names::DataError>]) -> ApiError {
    refused(findings.iter().map(|finding| (finding.name.as_str(), finding.to_string())))
}

/// Runs the newest revision of a job type once, outside of recipes.
#[utoipa::path(post, path = "/v6/jobs/", tag = "Jobs", operation_id = "createJob",
    request_body(content = CreateJob, example = json!({"job_type_id": 1, "input": {"json": {"x": 1}}})),
    responses((status = 201, description = "The job; `Location` says where it is.", body = JobDetailsAnswer), (status = 404, description = "There is no such job type.")))]
pub(super) async fn create(
    State(state): State<AppState>,
    Auth(caller): Auth,
    query: Query,
    http: Request,
) -> Result<Response, ApiError> {
    let body = Body::read(&state, http).await?;
    let fields = body.fields()?;
    let job_type_id = fields.required_integer("job_type_id")?;
    let input = fields.required_object("input")?;
    fields.object("configuration")?;
    let found = state.store.single_job_type(caller.tenant_id, job_type_id).await?;
    let job_type = found.ok_or_else(not_found)?;
    if !job_type.is_active {
        return Err(ApiError::bad_request(INVALID, "job_type_id: the job type is deprecated", None));
    }
    let interface = &job_type.program.manifest.inputs;
    let place = Place::root("input");
    let input = Data::parse(&input, place).map_err(|found| refusal(&found))?;
    let wrong = input.check(interface, place);
    if !wrong.is_empty() {
        return Err(refusal(&wrong));
    }
    let input = input.restricted_to(interface);
    let event = json!({"user": caller.name});
    let made = state.store.create_job(caller.tenant_id, &job_type, input, &event).await?;
    publish(&state, &made).await;
    let job = made.id;
    let found = state.store.job_details(caller.tenant_id, job).await?.ok_or_else(not_found)?;
    Ok(created(&query, &format!("/v6/jobs/{job}/"), details(found)))
}
