//! One evaluation while the caller waits.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use millrace_calc::chunk::{ChunkError, ChunkResult};
use millrace_calc::program::Volatile;
use millrace_calc::reference::FallbackError;
use millrace_calc::service::{Options, Prepared, Scratch};
use millrace_calc::validation::Violation;
use millrace_common::store::ServiceVersion;
use serde_json::value::RawValue;

use crate::error::ApiError;
use crate::state::AppState;

/// The evaluation notices its deadline itself; this is for what it cannot notice, such as the load of its program.
const GRACE: Duration = Duration::from_secs(1);
/// Excel's serial number of 1970-01-01.
const EXCEL_EPOCH: f64 = 25_569.0;

/// Evaluates records on a thread of their own, within `http.execute_timeout_ms`.
pub(super) async fn run(
    state: &AppState,
    version: &ServiceVersion,
    options: Options,
    data: Vec<u8>,
) -> Result<ChunkResult, ApiError> {
    within_limit(state, version, options, move |prepared, deadline| {
        prepared.evaluate(&data, Some(deadline), &mut Scratch::default())
    })
    .await
}

/// Evaluates one record, a JSON object, and says what of it the service does not allow (contract 5.5).
pub(super) async fn run_validated(
    state: &AppState,
    version: &ServiceVersion,
    options: Options,
    record: String,
) -> Result<(ChunkResult, Vec<Violation>), ApiError> {
    within_limit(state, version, options, move |prepared, deadline| {
        let data = data(&format!("[{record}]"), None, None);
        let result = prepared.evaluate(&data, Some(deadline), &mut Scratch::default())?;
        Ok((result, prepared.violations(record.as_bytes())?))
    })
    .await
}

/// Does `work` on a thread of its own.
pub(super) async fn within_limit<T: Send + 'static>(
    state: &AppState,
    version: &ServiceVersion,
    options: Options,
    work: impl FnOnce(&Prepared, Instant) -> Result<T, ChunkError> + Send + 'static,
) -> Result<T, ApiError> {
    let limit = Duration::from_millis(state.config.http.execute_timeout_ms);
    let deadline = Instant::now() + limit;
    let work = async {
        let service = state.programs.get(version.id).await?;
        let evaluate = move || work(&service.prepare(&options), deadline);
        state.programs.on_core(evaluate).await?.map_err(refuse)
    };
    match tokio::time::timeout(limit + GRACE, work).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::gateway_timeout(format!(
            "the calculation took longer than {} ms",
            limit.as_millis()
        ))),
    }
}

fn refuse(error: ChunkError) -> ApiError {
    match &error {
        ChunkError::Shape(shape) => {
            let path = shape.path.strip_prefix("data.").unwrap_or(&shape.path).to_owned();
            ApiError::bad_request("INVALID_INPUTS", shape.message.clone(), path)
        }
        ChunkError::KeyMissing { .. } => {
            ApiError::unprocessable("KEY_MISSING", error.to_string(), "unique_record_key".to_owned())
        }
        ChunkError::Timeout { .. } | ChunkError::Engine(FallbackError::Timeout) => {
            ApiError::gateway_timeout(error.to_string())
        }
        ChunkError::Engine(FallbackError::Unavailable(_)) => {
            ApiError::unavailable("ENGINE_UNAVAILABLE", error.to_string(), 1)
        }
        ChunkError::Engine(_) => ApiError::unprocessable("CALCULATION_FAILED", error.to_string(), None),
    }
}

/// What volatile functions see in a synchronous call.
pub(super) fn volatile(now: DateTime<Utc>) -> Volatile {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in an f64")]
    let days = now.timestamp_millis() as f64 / 86_400_000.0;
    Volatile { now: EXCEL_EPOCH + days, seed: rand::random() }
}

/// The `data` object of a chunk.
pub(super) fn data(inputs: &str, parameters: Option<&RawValue>, summary: Option<&RawValue>) -> Vec<u8> {
    let parameters = parameters.map_or("null", RawValue::get);
    let summary = summary.map_or("null", RawValue::get);
    format!("{{\"inputs\":{inputs},\"parameters\":{parameters},\"summary\":{summary}}}").into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn now_is_an_excel_date() {
        let noon = DateTime::parse_from_rfc3339("2026-11-21T12:00:00Z").unwrap().to_utc();
        assert!((volatile(noon).now - 46_347.5).abs() < 1e-9, "{}", volatile(noon).now);
    }
}
