//! Jobs listed, one of them, and its executions.

use axum::Json;
use axum::extract::State;
use millrace_common::store::recipes::JobFilter;
use serde_json::Value;

use super::wire::{JobAnswer, JobDetailsAnswer, JobExecutionAnswer, details};
use super::{categories, statuses};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Path;
use crate::state::AppState;
use crate::v6::http::{Query, V6Page, id};
use crate::v6::not_found;
use crate::v6::wire::modified;

/// Jobs, by default those that changed longest ago first.
#[utoipa::path(get, path = "/v6/jobs/", tag = "Jobs", operation_id = "listJobs",
    params(
        ("page" = Option<String>, Query, description = "The page, from 1, or `last`.", example = json!("1")),
        ("page_size" = Option<String>, Query, description = "Items of a page: 100, at most 1,000."),
        ("started" = Option<String>, Query, description = "Changed no earlier: a datetime with a zone, or a duration back from now.", example = json!("PT3H")),
        ("ended" = Option<String>, Query, description = "Changed no later: a datetime with a zone, or a duration back from now."),
        ("status" = Option<Vec<String>>, Query, description = "With any of these.", example = json!(["FAILED"])),
        ("job_id" = Option<Vec<i64>>, Query, description = "Any of these jobs."),
        ("job_type_id" = Option<Vec<i64>>, Query, description = "Of any of these types."),
        ("job_type_name" = Option<Vec<String>>, Query, description = "Of types with any of these names."),
        ("batch_id" = Option<Vec<i64>>, Query, description = "Created for any of these batches."),
        ("recipe_id" = Option<Vec<i64>>, Query, description = "Created in any of these recipes."),
        ("error_category" = Option<Vec<String>>, Query, description = "With an error of any of these categories.", example = json!(["DATA"])),
        ("error_id" = Option<Vec<i64>>, Query, description = "With any of these errors."),
        ("is_superseded" = Option<bool>, Query, description = "Whether a newer job does their work."),
        ("order" = Option<Vec<String>>, Query, description = "Keys to sort by, descending with a `-`; `duration` is from start to end.", example = json!(["-duration"])),
    ), responses((status = 200, description = "A page of jobs.", body = V6Page<JobAnswer>)))]
pub(super) async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    query: Query,
) -> Result<Json<V6Page<JobAnswer>>, ApiError> {
    let filter = JobFilter {
        modified: modified(&query)?,
        statuses: statuses(query.texts("status"))?,
        ids: query.integers("job_id")?,
        job_type_ids: query.integers("job_type_id")?,
        job_type_names: query.texts("job_type_name"),
        batch_ids: query.integers("batch_id")?,
        recipe_ids: query.integers("recipe_id")?,
        error_categories: categories("error_category", query.texts("error_category"))?,
        error_ids: query.integers("error_id")?,
        is_superseded: query.flag("is_superseded")?,
    };
    let (order, page) = (query.order()?, query.page()?);
    let (count, jobs) =
        state.store.job_list(caller.tenant_id, &filter, &order, |count| page.window(count)).await?;
    page.envelope(count, jobs.into_iter().map(Into::into).collect())
}

/// One job with its input and output.
#[utoipa::path(get, path = "/v6/jobs/{id}/", tag = "Jobs", operation_id = "getJob",
    params(("id" = i64, Path, description = "The job.")),
    responses((status = 200, description = "The job.", body = JobDetailsAnswer)))]
pub(super) async fn show(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(job): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let found = state.store.job_details(caller.tenant_id, id(&job)?).await?;
    Ok(Json(details(found.ok_or_else(not_found)?)))
}

/// The executions of a job, the newest first.
#[utoipa::path(get, path = "/v6/jobs/{id}/executions/", tag = "Jobs", operation_id = "listJobExecutions",
    params(
        ("id" = i64, Path, description = "The job."),
        ("page" = Option<String>, Query, description = "The page, from 1, or `last`.", example = json!("1")),
        ("page_size" = Option<String>, Query, description = "Items of a page: 100, at most 1,000."),
    ), responses((status = 200, description = "A page of executions.", body = V6Page<JobExecutionAnswer>)))]
pub(super) async fn executions(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path(job): Path<String>,
    query: Query,
) -> Result<Json<V6Page<JobExecutionAnswer>>, ApiError> {
    let page = query.page()?;
    let found = state.store.job_executions(caller.tenant_id, id(&job)?).await?;
    let (job, executions) = found.ok_or_else(not_found)?;
    let count = i64::try_from(executions.len()).unwrap_or(i64::MAX);
    let window = page.window(count)?;
    let size = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    let shown = executions.into_iter().skip(size(window.offset)).take(size(window.limit));
    page.envelope(count, shown.map(|execution| JobExecutionAnswer::new(&job, execution)).collect())
}

/// One execution of a job.
#[utoipa::path(get, path = "/v6/jobs/{id}/executions/{exe_num}/", tag = "Jobs", operation_id = "getJobExecution",
    params(("id" = i64, Path, description = "The job."), ("exe_num" = i64, Path, description = "The number of the execution, from 1.")),
    responses((status = 200, description = "The execution.", body = JobExecutionAnswer)))]
pub(super) async fn execution(
    State(state): State<AppState>,
    Auth(caller): Auth,
    Path((job, number)): Path<(String, String)>,
) -> Result<Json<JobExecutionAnswer>, ApiError> {
    let (job, number) = (id(&job)?, id(&number)?);
    let (job, executions) = state.store.job_executions(caller.tenant_id, job).await?.ok_or_else(not_found)?;
    let found = executions.into_iter().find(|execution| i64::from(execution.exe_num) == number);
    Ok(Json(JobExecutionAnswer::new(&job, found.ok_or_else(not_found)?)))
}
