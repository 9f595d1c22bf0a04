//! `/v6/jobs/`: jobs, one evaluation each (scale-v6 5.6).

mod change;
mod read;
mod requests;
mod wire;

use millrace_common::model::recipe::JobStatus;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::http::INVALID;
use crate::error::ApiError;
use crate::state::AppState;

/// The routes of jobs.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(read::list, change::create))
        .routes(routes!(requests::cancel))
        .routes(routes!(requests::requeue))
        .routes(routes!(read::show))
        .routes(routes!(read::executions))
        .routes(routes!(read::execution))
}

/// Statuses to filter by.
fn statuses(names: Option<Vec<String>>) -> Result<Option<Vec<JobStatus>>, ApiError> {
    let read = |name: String| {
        name.parse().map_err(|_| {
            let known: Vec<&str> = JobStatus::ALL.iter().map(|status| status.as_str()).collect();
            let message = format!("status: {name:?} is none; there are {}", known.join(", "));
            ApiError::bad_request(INVALID, message, None)
        })
    };
    names.map(|names| names.into_iter().map(read).collect()).transpose()
}

/// Categories of errors to filter by.
fn categories(field: &str, names: Option<Vec<String>>) -> Result<Option<Vec<String>>, ApiError> {
    const KNOWN: [&str; 3] = ["SYSTEM", "DATA", "ALGORITHM"];
    match names.iter().flatten().find(|name| !KNOWN.contains(&name.as_str())) {
        None => Ok(names),
        Some(name) => {
            let message = format!("{field}: {name:?} is none; there are {}", KNOWN.join(", "));
            Err(ApiError::bad_request(INVALID, message, None))
        }
    }
}
