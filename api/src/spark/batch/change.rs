//! `PATCH …/batch/{id}`: close or cancel (contract 1.5).

use axum::Json;
use axum::extract::{Request, State};
use millrace_common::broker::ControlEvent;
use millrace_common::model::{BatchState, Transition, Verdict};
use millrace_common::store::Store;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::access::{BatchId, target, visible_view};
use super::to_the_end;
use super::wire::{BatchBody, BatchData, OBJECT, StatusFields};
use crate::auth::Auth;
use crate::body::read_body;
use crate::error::ApiError;
use crate::middleware;
use crate::state::AppState;

/// Closes or cancels the batch; asking for what it is already is fine.
pub(super) async fn change(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    request: Request,
) -> Result<Json<BatchBody>, ApiError> {
    let received_at = middleware::current().received_at;
    target(&state, &caller, id).await?;
    let fields: Map<String, Value> = read_body(&state, request).await?.json()?;
    let event = wanted(&fields)?;
    let store = state.acting(&caller);
    to_the_end(async move {
        apply(&state, &store, id, event).await?;
        let view = visible_view(&state, &caller, id).await?;
        let data = BatchData::new(&view);
        let status = StatusFields::new(&view, received_at, &state.config.clocks);
        Ok(Json(BatchBody { object: OBJECT, id, data: data.clone(), meta: Some(data), status }))
    })
    .await
}

/// What the body asks for.
fn wanted(fields: &Map<String, Value>) -> Result<Transition, ApiError> {
    match fields.get("batch_status").and_then(Value::as_str).map(str::to_ascii_lowercase).as_deref() {
        Some("closed") => Ok(Transition::Close),
        Some("cancelled" | "canceled") => Ok(Transition::Cancel),
        _ => Err(ApiError::unprocessable(
            "INVALID_VALUE",
            "batch_status must be \"closed\" or \"cancelled\"",
            "batch_status".to_owned(),
        )),
    }
}

/// Changes the state, and tells the workers.
///
/// The lane of a cancelled batch is left to the reaper, which purges it before it gives it away: a purge from here could
/// come late and hit the next batch that leases the lane. Until then workers drop its messages unseen.
async fn apply(state: &AppState, store: &Store, batch_id: Uuid, event: Transition) -> Result<(), ApiError> {
    match store.change_batch(batch_id, event).await? {
        Ok(Verdict::Become(BatchState::Cancelled)) => {
            state.control.send(ControlEvent::BatchCancelled { batch_id });
            Ok(())
        }
        Ok(Verdict::Become(_)) => {
            state.control.send(ControlEvent::BatchClosed { batch_id });
            Ok(())
        }
        Ok(Verdict::Unchanged | Verdict::DropResults) => Ok(()),
        Err(refused) => Err(ApiError::conflict("BATCH_CANCELLED", format!("{refused}; it cannot be closed"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn only_closed_and_cancelled_can_be_asked_for() {
        let wanted = |text: &str| wanted(&serde_json::from_str(text).unwrap());
        assert_eq!(wanted(r#"{"batch_status":"closed","x":1}"#).unwrap(), Transition::Close);
        assert_eq!(wanted(r#"{"batch_status":"canceled"}"#).unwrap(), Transition::Cancel);
        assert_eq!(wanted(r#"{"batch_status":"Cancelled"}"#).unwrap(), Transition::Cancel);
        for text in
            ["{}", r#"{"batch_status":null}"#, r#"{"batch_status":"completed"}"#, r#"{"batch_status":1}"#]
        {
            let error = wanted(text).unwrap_err();
            assert_eq!((error.status().as_u16(), error.source_path()), (422, Some("batch_status")), "{text}");
        }
    }
}
