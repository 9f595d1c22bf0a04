//! `/v6/job-types/` (scale-v6 5.1 and 12): calculations with a manifest, in versions and revisions.

mod answer;
mod edit;
mod model;

use axum::extract::Request;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use millrace_common::store::StoreError;
use millrace_common::store::recipes::{JobType, JobTypeFilter, Window};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::openapi::schemas::{JobTypeRequest, V6Validation};
use crate::state::AppState;
use crate::v6::http::{Body, Query, V6Page, created, id, validated};
use crate::v6::not_found;

pub(in crate::v6) use answer::JobTypeDetails;
use answer::{JobTypeAnswer, JobTypeRevisionAnswer, JobTypeRevisionDetails};
use edit::Wanted;

/// The routes. `validation` is a literal and wins over a name.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(validate))
        .routes(routes!(versions))
        .routes(routes!(show, change))
        .routes(routes!(revisions))
        .routes(routes!(revision))
}

async fn find(state: &AppState, auth: &Auth, name: &str, version: &str) -> Result<JobType, ApiError> {
    state.store.job_type(auth.0.tenant_id, name, version).await?.ok_or_else(not_found)
}

/// Job types, by name and then newest first.
#[utoipa::path(get, path = "/v6/job-types/", tag = "Job types", operation_id = "listJobTypes",
    params(
        ("page" = Option<String>, Query, description = "1 and up, or `last`."),
        ("page_size" = Option<String>, Query, description = "At most 1,000; 100 when absent."),
        ("keyword" = Option<Vec<String>>, Query, description = "Any of these in name, title or description."),
        ("id" = Option<Vec<i64>>, Query, description = "Any of these."),
        ("is_active" = Option<bool>, Query, description = "Whether it is not deprecated."),
        ("is_system" = Option<bool>, Query, description = "Whether it belongs to the system."),
    ),
    responses((status = 200, description = "One page.", body = V6Page<JobTypeAnswer>)))]
async fn list(
    State(state): State<AppState>,
    auth: Auth,
    query: Query,
) -> Result<Json<V6Page<JobTypeAnswer>>, ApiError> {
    let filter = JobTypeFilter {
        name: None,
        keywords: query.texts("keyword"),
        ids: query.integers("id")?,
        is_active: query.flag("is_active")?,
        is_system: query.flag("is_system")?,
    };
    page_of(&state, &auth, &query, &filter).await
}

async fn page_of(
    state: &AppState,
    Auth(caller): &Auth,
    query: &Query,
    filter: &JobTypeFilter,
) -> Result<Json<V6Page<JobTypeAnswer>>, ApiError> {
    let page = query.page()?;
    let count = state.store.count_job_types(caller.tenant_id, filter).await?;
    let found = state.store.job_types(caller.tenant_id, filter, page.window(count)?).await?;
    page.envelope(count, found.iter().map(Into::into).collect())
}

/// The versions of a job type, newest first.
#[utoipa::path(get, path = "/v6/job-types/{name}/", tag = "Job types", operation_id = "listJobTypeVersions",
    params(
        ("name" = String, Path, description = "The job type."),
        ("page" = Option<String>, Query, description = "1 and up, or `last`."),
        ("page_size" = Option<String>, Query, description = "At most 1,000; 100 when absent."),
    ),
    responses((status = 200, description = "One page.", body = V6Page<JobTypeAnswer>)))]
async fn versions(
    State(state): State<AppState>,
    auth: Auth,
    Path(name): Path<String>,
    query: Query,
) -> Result<Json<V6Page<JobTypeAnswer>>, ApiError> {
    let filter = JobTypeFilter { name: Some(name), ..JobTypeFilter::default() };
    page_of(&state, &auth, &query, &filter).await
}

/// One version of a job type, with its newest revision.
#[utoipa::path(get, path = "/v6/job-types/{name}/{version}/", tag = "Job types", operation_id = "getJobType",
    params(("name" = String, Path, description = "The job type."), ("version" = String, Path, description = "Its version.")),
    responses((status = 200, description = "The job type.", body = JobTypeDetails)))]
async fn show(
    State(state): State<AppState>,
    auth: Auth,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<JobTypeDetails>, ApiError> {
    let job_type = find(&state, &auth, &name, &version).await?;
    Ok(Json(whole(&state, &job_type).await?))
}

/// Details with the recipe types that contain it.
async fn whole(state: &AppState, job_type: &JobType) -> Result<JobTypeDetails, ApiError> {
    let containing = state.store.recipe_types_with_job_type(job_type.id).await?;
    Ok(JobTypeDetails::new(job_type, containing))
}

/// Makes a job type; where its name and version are taken, changes that one.
#[utoipa::path(post, path = "/v6/job-types/", tag = "Job types", operation_id = "createJobType",
    request_body(content = JobTypeRequest, example = json!({"manifest": {"seedVersion": "1.0.0", "job": {"name": "double", "jobVersion": "1.0.0", "packageVersion": "1.0.0", "title": "Double", "description": "Doubles a number", "timeout": 60, "interface": {"inputs": {"json": [{"name": "x", "type": "number"}]}, "outputs": {"json": [{"name": "y", "type": "number"}]}}}}, "model": {"formulas": {"y": "2 * x"}}, "configuration": {"priority": 50}})),
    responses(
        (status = 201, description = "The job type; `Location` says where it is.", body = JobTypeDetails),
        (status = 200, description = "It was there, and is changed.", body = V6Validation),
    ))]
async fn create(
    State(state): State<AppState>,
    auth: Auth,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let store = state.acting(&auth.0);
    let body = Body::read(&state, request).await?;
    let fields = body.fields()?;
    let wanted = Wanted::read(&fields)?;
    let manifest = fields.required_object("manifest")?;
    let (name, version) = edit::identity(&manifest);
    let existing = match (&name, &version) {
        (Some(name), Some(version)) => state.store.job_type(auth.0.tenant_id, name, version).await?,
        _ => None,
    };
    if let Some(existing) = existing {
        return change_existing(&state, &auth, &existing, wanted).await;
    }
    let checked = wanted.check(&state, &auth.0, None).await?;
    if !checked.errors.is_empty() {
        return Err(checked.refusal());
    }
    let (Some(revision), Some(name), Some(version)) = (&checked.revision, name, version) else {
        return Err(checked.refusal());
    };
    let tenant_id = auth.0.tenant_id;
    match store.create_job_type(tenant_id, &name, &version, revision, &checked.settings).await {
        Ok(made) => {
            let path = format!("/v6/job-types/{}/{}/", made.name, made.version);
            Ok(created(&query, &path, whole(&state, &made).await?))
        }
        // Another request was quicker.
        Err(StoreError::Conflict(_)) => {
            let existing = find(&state, &auth, &name, &version).await?;
            apply(&state, &auth, &existing, checked).await
        }
        Err(error) => Err(error.into()),
    }
}

/// Changes a job type. A manifest or a model makes a revision.
#[utoipa::path(patch, path = "/v6/job-types/{name}/{version}/", tag = "Job types", operation_id = "changeJobType",
    params(("name" = String, Path, description = "The job type."), ("version" = String, Path, description = "Its version.")),
    request_body(content = JobTypeRequest, example = json!({"configuration": {"priority": 50}, "max_tries": 3})),
    responses((status = 200, description = "It is changed; the warnings say what else was.", body = V6Validation)))]
async fn change(
    State(state): State<AppState>,
    auth: Auth,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = Body::read(&state, request).await?;
    let existing = find(&state, &auth, &name, &version).await?;
    let wanted = Wanted::read(&body.fields()?)?;
    change_existing(&state, &auth, &existing, wanted).await
}

async fn change_existing(
    state: &AppState,
    auth: &Auth,
    existing: &JobType,
    wanted: Wanted,
) -> Result<Response, ApiError> {
    let checked = wanted.check(state, &auth.0, Some(existing)).await?;
    if !checked.errors.is_empty() {
        return Err(checked.refusal());
    }
    apply(state, auth, existing, checked).await
}

async fn apply(
    state: &AppState,
    auth: &Auth,
    existing: &JobType,
    mut checked: edit::Checked,
) -> Result<Response, ApiError> {
    let done = state
        .acting(&auth.0)
        .edit_job_type(
            auth.0.tenant_id,
            &existing.name,
            &existing.version,
            checked.revision.as_ref(),
            &checked.settings,
            checked.auto_update,
        )
        .await?
        .ok_or_else(not_found)?;
    checked.warnings.extend(super::consequences(&done));
    Ok((StatusCode::OK, Json(validated(&checked.errors, &checked.warnings))).into_response())
}

/// Checks a job type without making it.
#[utoipa::path(post, path = "/v6/job-types/validation/", tag = "Job types", operation_id = "validateJobType",
    request_body(content = JobTypeRequest, example = json!({"manifest": {"seedVersion": "1.0.0", "job": {"name": "double", "jobVersion": "1.0.0", "packageVersion": "1.0.0", "title": "Double", "description": "Doubles a number", "timeout": 60, "interface": {"inputs": {"json": [{"name": "x", "type": "number"}]}, "outputs": {"json": [{"name": "y", "type": "number"}]}}}}, "model": {"formulas": {"y": "2 * x"}}, "configuration": {"priority": 50}})),
    responses((status = 200, description = "What was found.", body = V6Validation)))]
async fn validate(
    State(state): State<AppState>,
    auth: Auth,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let body = Body::read(&state, request).await?;
    let fields = body.fields()?;
    let wanted = Wanted::read(&fields)?;
    let manifest = fields.required_object("manifest")?;
    fields.required_object("configuration")?;
    let existing = match edit::identity(&manifest) {
        (Some(name), Some(version)) => state.store.job_type(auth.0.tenant_id, &name, &version).await?,
        _ => None,
    };
    let mut checked = wanted.check(&state, &auth.0, existing.as_ref()).await?;
    if let (Some(existing), Some(false)) = (&existing, checked.settings.is_active) {
        let containing = state.store.recipe_types_with_job_type(existing.id).await?;
        checked.warnings.extend(super::deprecated(&containing));
    }
    Ok(Json(validated(&checked.errors, &checked.warnings)))
}

/// The revisions of a job type, newest first.
#[utoipa::path(get, path = "/v6/job-types/{name}/{version}/revisions/", tag = "Job types", operation_id = "listJobTypeRevisions",
    params(
        ("name" = String, Path, description = "The job type."),
        ("version" = String, Path, description = "Its version."),
        ("page" = Option<String>, Query, description = "1 and up, or `last`."),
        ("page_size" = Option<String>, Query, description = "At most 1,000; 100 when absent."),
    ),
    responses((status = 200, description = "One page.", body = V6Page<JobTypeRevisionAnswer>)))]
async fn revisions(
    State(state): State<AppState>,
    auth: Auth,
    Path((name, version)): Path<(String, String)>,
    query: Query,
) -> Result<Json<V6Page<JobTypeRevisionAnswer>>, ApiError> {
    let job_type = find(&state, &auth, &name, &version).await?;
    let page = query.page()?;
    // Numbers are without gaps.
    let count = i64::from(job_type.revision_num);
    let Window { offset, limit } = page.window(count)?;
    let found = state.store.job_type_revisions(job_type.id, Window { offset, limit }).await?;
    page.envelope(count, found.iter().map(|row| JobTypeRevisionAnswer::new(&job_type, row)).collect())
}

/// One revision of a job type.
#[utoipa::path(get, path = "/v6/job-types/{name}/{version}/revisions/{revision}/", tag = "Job types",
    operation_id = "getJobTypeRevision",
    params(
        ("name" = String, Path, description = "The job type."),
        ("version" = String, Path, description = "Its version."),
        ("revision" = i64, Path, description = "The number of the revision."),
    ),
    responses((status = 200, description = "The revision.", body = JobTypeRevisionDetails)))]
async fn revision(
    State(state): State<AppState>,
    auth: Auth,
    Path((name, version, number)): Path<(String, String, String)>,
) -> Result<Json<JobTypeRevisionDetails>, ApiError> {
    let number = i32::try_from(id(&number)?).map_err(|_| not_found())?;
    let job_type = find(&state, &auth, &name, &version).await?;
    let row = state.store.job_type_revision(job_type.id, number).await?.ok_or_else(not_found)?;
    let revision = JobTypeRevisionAnswer::new(&job_type, &row);
    Ok(Json(JobTypeRevisionDetails { revision, manifest: row.manifest, model: row.model }))
}
