//! `PATCH …/batch/{id}`: close or cancel (contract 1.5), or change terms, pause and resume while the batch runs.

use axum::Json;
use axum::extract::{Request, State};
use millrace_common::broker::ControlEvent;
use millrace_common::model::{BatchState, PauseError, Transition, Verdict};
use millrace_common::store::{AlterError, Store, TermsChange};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::access::{BatchId, target, visible_view};
use super::fields::{FieldError, Fields};
use super::to_the_end;
use super::wire::{BatchBody, BatchData, OBJECT, StatusFields};
use crate::auth::Auth;
use crate::body::read_body;
use crate::error::ApiError;
use crate::middleware;
use crate::openapi::schemas::ChangeBatch;
use crate::state::AppState;

/// Closes or cancels the batch, pauses or resumes it, changes its terms, or several at once; asking for what it is already is fine.
#[utoipa::path(patch, path = "/{tenant}/api/v4/batch/{id}", tag = "Batches", operation_id = "changeBatch",
    params(("id" = String, Path, description = "The batch.")), request_body(content = ChangeBatch, example = json!({"batch_status": "closed"})),
    responses(
        (status = 200, description = "The batch after the change.", body = BatchBody),
        (status = 409, description = "The state of the batch forbids it: it is cancelled or finished."),
    ))]
pub(super) async fn change(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    request: Request,
) -> Result<Json<BatchBody>, ApiError> {
    let received_at = middleware::current().received_at;
    target(&state, &caller, id).await?;
    let fields: Map<String, Value> = read_body(&state, request).await?.json()?;
    let wanted = Wanted::read(&fields).map_err(|error| {
        let message = error.to_string();
        ApiError::unprocessable("INVALID_VALUE", message, error.path)
    })?;
    let store = state.acting(&caller);
    to_the_end(async move {
        apply(&state, &store, id, wanted).await?;
        let view = visible_view(&state, &caller, id).await?;
        let data = BatchData::new(&view);
        let status = StatusFields::new(&view, received_at, &state.config.clocks);
        Ok(Json(BatchBody { object: OBJECT, id, data: data.clone(), meta: Some(data), status }))
    })
    .await
}

/// What a body asks for: at least one thing.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wanted {
    event: Option<Transition>,
    terms: TermsChange,
}

/// What a body may hold.
const KNOWN: [&str; 8] = [
    "batch_status",
    "acceptable_error_percentage",
    "acceptable_record_error_percentage",
    "early_stop",
    "max_workers",
    "initial_workers",
    "priority",
    "paused",
];

/// Where `null` is a value: no limit on failed records.
const NULLABLE: &str = "acceptable_record_error_percentage";

impl Wanted {
    /// Reads a body. Unlike at creation, a name or a `null` that means nothing is refused: a change that silently does not happen
    /// is worse than none.
    fn read(object: &Map<String, Value>) -> Result<Self, FieldError> {
        if let Some(unknown) = object.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(FieldError::new(
                unknown,
                format!("is nothing that can be changed; {} are", KNOWN.join(", ")),
            ));
        }
        if object.is_empty() {
            return Err(FieldError::new("batch_status", "nothing is asked for"));
        }
        if let Some((name, _)) = object.iter().find(|(name, value)| value.is_null() && *name != NULLABLE) {
            return Err(FieldError::new(name, "must not be null"));
        }
        let fields = Fields::new(object);
        let event = match fields.text(&["batch_status"])?.map(|text| text.to_ascii_lowercase()).as_deref() {
            Some("closed") => Some(Transition::Close),
            Some("cancelled" | "canceled") => Some(Transition::Cancel),
            None if !object.contains_key("batch_status") => None,
            _ => return Err(FieldError::new("batch_status", "must be \"closed\" or \"cancelled\"")),
        };
        let records = fields.percentage(NULLABLE)?;
        let terms = TermsChange {
            acceptable_error_percentage: fields.percentage("acceptable_error_percentage")?,
            acceptable_record_error_percentage: object.contains_key(NULLABLE).then_some(records),
            early_stop: fields.flag("early_stop")?,
            max_workers: fields.count(&["max_workers"])?,
            initial_workers: fields.count(&["initial_workers"])?,
            priority: fields.whole("priority")?,
            paused: fields.flag("paused")?,
        };
        Ok(Self { event, terms })
    }
}

/// Changes terms and state, and tells the workers.
///
/// The lane of a cancelled batch is left to the reaper, which purges it before it gives it away: a purge from here could
/// come late and hit the next batch that leases the lane. Until then workers drop its messages unseen.
async fn apply(state: &AppState, store: &Store, batch_id: Uuid, wanted: Wanted) -> Result<(), ApiError> {
    let altered = store.alter_batch(batch_id, &wanted.terms, wanted.event).await?;
    // Workers leave a paused batch, and come back to a resumed one, at once.
    match wanted.terms.paused {
        Some(true) if altered.is_ok() => state.control.send(ControlEvent::BatchPaused { batch_id }),
        Some(false) if altered.is_ok() => state.control.send(ControlEvent::BatchResumed { batch_id }),
        _ => {}
    }
    match altered {
        Ok(Verdict::Become(BatchState::Cancelled)) => {
            state.control.send(ControlEvent::BatchCancelled { batch_id });
        }
        Ok(Verdict::Become(_)) => state.control.send(ControlEvent::BatchClosed { batch_id }),
        Ok(Verdict::Unchanged) if wanted.terms != TermsChange::default() => {
            state.control.send(ControlEvent::PlanChanged);
        }
        Ok(Verdict::Unchanged | Verdict::DropResults) => {}
        Err(refused) => return Err(refuse(refused)),
    }
    Ok(())
}

fn refuse(error: AlterError) -> ApiError {
    match error {
        AlterError::Transition(refused) => {
            ApiError::conflict("BATCH_CANCELLED", format!("{refused}; it cannot be closed"))
        }
        AlterError::Finished(BatchState::Cancelled)
        | AlterError::Pause(PauseError::Finished(BatchState::Cancelled)) => {
            ApiError::conflict("BATCH_CANCELLED", error.to_string())
        }
        AlterError::Finished(_) | AlterError::Pause(PauseError::Finished(_)) => {
            ApiError::conflict("BATCH_FINISHED", error.to_string())
        }
        AlterError::Stopped | AlterError::Pause(PauseError::Stopped) => {
            ApiError::conflict("BATCH_STOPPED", error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn read(text: &str) -> Result<Wanted, FieldError> {
        Wanted::read(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn closing_and_cancelling_can_be_asked_for() {
        let event = |text: &str| read(text).unwrap().event;
        assert_eq!(event(r#"{"batch_status":"closed"}"#), Some(Transition::Close));
        assert_eq!(event(r#"{"batch_status":"canceled"}"#), Some(Transition::Cancel));
        assert_eq!(event(r#"{"batch_status":"Cancelled"}"#), Some(Transition::Cancel));
        assert_eq!(event(r#"{"priority":1}"#), None);
    }

    #[test]
    fn each_term_can_be_changed_alone_or_with_others() {
        let terms = |text: &str| read(text).unwrap().terms;
        let none = TermsChange::default();
        assert_eq!(
            terms(r#"{"acceptable_error_percentage":"33.3"}"#),
            TermsChange { acceptable_error_percentage: Some(33.3), ..none }
        );
        assert_eq!(
            terms(r#"{"acceptable_record_error_percentage":null}"#),
            TermsChange { acceptable_record_error_percentage: Some(None), ..none }
        );
        let all = r#"{"batch_status":"closed","acceptable_error_percentage":1,"acceptable_record_error_percentage":2,
            "early_stop":true,"max_workers":3,"initial_workers":4,"priority":-5,"paused":true}"#;
        let expected = TermsChange {
            acceptable_error_percentage: Some(1.0),
            acceptable_record_error_percentage: Some(Some(2.0)),
            early_stop: Some(true),
            max_workers: Some(3),
            initial_workers: Some(4),
            priority: Some(-5),
            paused: Some(true),
        };
        assert_eq!(read(all).unwrap(), Wanted { event: Some(Transition::Close), terms: expected });
    }

    #[test]
    fn what_cannot_be_changed_is_refused_by_name() {
        for (text, path) in [
            ("{}", "batch_status"),
            (r#"{"batch_status":null}"#, "batch_status"),
            (r#"{"batch_status":"completed"}"#, "batch_status"),
            (r#"{"batch_status":""}"#, "batch_status"),
            (r#"{"batch_status":1}"#, "batch_status"),
            (r#"{"batch_status":"closed","x":1}"#, "x"),
            (r#"{"acceptable_error_percentage":null}"#, "acceptable_error_percentage"),
            (r#"{"acceptable_error_percentage":-1}"#, "acceptable_error_percentage"),
            (r#"{"acceptable_record_error_percentage":101}"#, "acceptable_record_error_percentage"),
            (r#"{"early_stop":"maybe"}"#, "early_stop"),
            (r#"{"max_workers":0}"#, "max_workers"),
            (r#"{"initial_workers":1.5}"#, "initial_workers"),
            (r#"{"priority":"high"}"#, "priority"),
            (r#"{"paused":"perhaps"}"#, "paused"),
            (r#"{"paused":null}"#, "paused"),
        ] {
            assert_eq!(read(text).unwrap_err().path, path, "{text}");
        }
    }
}
