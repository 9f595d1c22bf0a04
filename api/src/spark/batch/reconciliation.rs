//! `GET …/batch/{id}/reconciliation`: is everything accounted for?

use axum::Json;
use axum::extract::State;
use millrace_common::store::{Reconciliation, Tally};
use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::{BatchId, visible_view};
use super::to_the_end;
use super::wire::Timestamp;
use crate::auth::Auth;
use crate::error::ApiError;
use crate::extract::Query;
use crate::openapi::schemas::any_object;
use crate::state::AppState;

/// So many reports are made at once; each holds a connection to the database.
static REPORTS: Semaphore = Semaphore::const_new(2);
/// How long to wait before a report is asked for again, in seconds.
const RETRY_BUSY: u64 = 2;

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct ReportBody {
    /// The batch.
    id: Uuid,
    /// When the snapshot was taken.
    timestamp: Timestamp,
    /// Whether everything below agrees.
    balanced: bool,
    chunks: TallyBody,
    records: TallyBody,
    budgets: Budgets,
    /// Results beyond one a chunk, or of no chunk: 0.
    doubles: i64,
    /// Results that cannot be read back: 0.
    unreadable: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    digests: Option<DigestsBody>,
}

/// submitted = completed + failed + withdrawn + waiting + dropped (what waited when the batch was cancelled).
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct TallyBody {
    submitted: i64,
    completed: i64,
    failed: i64,
    withdrawn: i64,
    waiting: i64,
    dropped: i64,
    pulled: i64,
    unpulled: i64,
    /// Rows less counters, for each number that has a counter; empty when they agree.
    #[schema(schema_with = any_object)]
    drift: serde_json::Map<String, serde_json::Value>,
}

impl TallyBody {
    fn new(rows: &Tally, counted: &Tally, is_dropped: bool) -> Self {
        let mut drift = serde_json::Map::new();
        for (name, rows, counted) in [
            ("submitted", rows.submitted - rows.withdrawn, counted.submitted),
            ("completed", rows.completed, counted.completed),
            ("failed", rows.failed, counted.failed),
            ("pulled", rows.pulled, counted.pulled),
        ] {
            if rows != counted {
                drift.insert(name.to_owned(), (rows - counted).into());
            }
        }
        Self {
            submitted: rows.submitted,
            completed: rows.completed,
            failed: rows.failed,
            withdrawn: rows.withdrawn,
            waiting: if is_dropped { 0 } else { rows.waiting },
            dropped: if is_dropped { rows.waiting } else { 0 },
            pulled: rows.pulled,
            unpulled: rows.unpulled,
            drift,
        }
    }
}

/// Bytes in use, as the counters and as the rows have them.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Budgets {
    input_bytes: i64,
    input_bytes_by_rows: i64,
    output_bytes: i64,
    output_bytes_by_rows: i64,
    drift_bytes: i64,
}

/// Equal for two runs of the same chunks with the same answers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct DigestsBody {
    inputs: String,
    results: String,
}

impl ReportBody {
    fn new(id: Uuid, report: Reconciliation) -> Self {
        let balanced = report.is_balanced();
        let drift = |rows: i64, counted: i64| (rows - counted).abs();
        Self {
            id,
            timestamp: Timestamp(report.at),
            balanced,
            chunks: TallyBody::new(&report.chunks, &report.counted_chunks, report.is_dropped),
            records: TallyBody::new(&report.records, &report.counted_records, report.is_dropped),
            budgets: Budgets {
                input_bytes: report.counted_input_bytes,
                input_bytes_by_rows: report.input_bytes,
                output_bytes: report.counted_output_bytes,
                output_bytes_by_rows: report.output_bytes,
                drift_bytes: drift(report.input_bytes, report.counted_input_bytes)
                    + drift(report.output_bytes, report.counted_output_bytes),
            },
            doubles: report.doubles,
            unreadable: report.unreadable,
            digests: report.digests.map(|(inputs, results)| DigestsBody { inputs, results }),
        }
    }
}

/// Compares a batch's rows with its counters. `digests=false` leaves out what reads every result.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}/reconciliation", tag = "Batches", operation_id = "reconcileBatch",
    params(
        ("id" = String, Path, description = "The batch."),
        ("digests" = Option<bool>, Query, description = "Whether there are digests, which needs every result to be read; true when absent."),
    ),
    responses((status = 200, description = "The report.", body = ReportBody)))]
pub(super) async fn reconciliation(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<ReportBody>, ApiError> {
    let digests = match query.iter().find(|(key, _)| key == "digests").map(|(_, text)| text.as_str()) {
        None | Some("true" | "1") => true,
        Some("false" | "0") => false,
        Some(_) => {
            let message = "digests must be true or false";
            return Err(ApiError::bad_request("INVALID_VALUE", message, "digests".to_owned()));
        }
    };
    let view = visible_view(&state, &caller, id).await?;
    let turn = REPORTS.try_acquire().map_err(|_| {
        ApiError::too_many("SERVER_BUSY", "other reports are being made; try again", None, RETRY_BUSY)
    })?;
    // The database goes on with a report whose caller has gone away; so does its turn.
    to_the_end(async move {
        let report = state.store.reconcile(id, view.batch.day, digests).await?;
        drop(turn);
        match report {
            Some(report) => Ok(Json(ReportBody::new(id, report))),
            None => Err(ApiError::not_found("RESULTS_EXPIRED", "the rows of this batch have expired")),
        }
    })
    .await
}
