//! `GET …/batch/{id}/events`: the status of one batch, whenever it changed.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use millrace_common::config::ClocksConfig;
use millrace_common::model::BatchStatus;
use millrace_common::store::BatchView;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::super::access::{BatchId, visible_view};
use super::super::wire::{StatusBody, StatusFields, Timestamp};
use super::{Gone, Out, answer, greeting, last_event_id};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::openapi::schemas::StreamEvent;
use crate::state::AppState;
use crate::watch::{News, Watched};

/// The state in the id of the last event of a stream.
const END: &str = "end";

/// Streams a batch's status until it is terminal and nothing of it is left to pull.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/{id}/events", tag = "Events", operation_id = "watchBatch",
    params(("id" = String, Path, description = "The batch."), ("last-event-id" = Option<String>, Header, description = "The id of the last event that was seen: only what is new since then is told.")),
    responses(
        (status = 200, description = "Events `status`, `state` and `end`.", content_type = "text/event-stream", body = StreamEvent),
        (status = 204, description = "The caller has seen `end`: nothing more will come."),
    ))]
pub(in super::super) async fn one(
    State(state): State<AppState>,
    Auth(caller): Auth,
    BatchId(id): BatchId,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let view = visible_view(&state, &caller, id).await?;
    let seen = last_event_id(&headers).and_then(Seen::read).unwrap_or_default();
    if seen.status == END && is_over(&view) {
        // Browsers come back after the end of a stream; 204 is what tells them to stay away.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let watched = state.watch.batch(view)?;
    let clocks = state.config.clocks.clone();
    Ok(answer(state.watch.config(), |out| follow(watched, seen, clocks, out)))
}

/// Nothing will change any more, but that results expire.
fn is_over(view: &BatchView) -> bool {
    view.batch.state.is_terminal() && view.available().0 <= 0
}

async fn follow(
    mut watched: Watched<std::sync::Arc<BatchView>>,
    mut seen: Seen,
    clocks: ClocksConfig,
    out: Out,
) -> Result<(), Gone> {
    out.send(greeting()).await?;
    loop {
        let view = watched.latest();
        seen = tell(&view, &seen, &clocks, &out).await?;
        if is_over(&view) {
            return Ok(());
        }
        loop {
            let news = tokio::select! {
                news = watched.news() => news,
                () = out.gone() => return Err(Gone),
            };
            match news {
                News::Picture => break,
                News::Away(away) => out.remark_away(away).await?,
                News::End => return Ok(()),
            }
        }
    }
}

/// Tells what is new since `seen`.
async fn tell(view: &BatchView, seen: &Seen, clocks: &ClocksConfig, out: &Out) -> Result<Seen, Gone> {
    let id = view.batch.id;
    let status = StatusBody { id, status: StatusFields::new(view, view.now, clocks) };
    let now = Seen { status: name(status.status.batch_status), fingerprint: fingerprint(&status) };
    if !seen.status.is_empty() && seen.status != END && seen.status != now.status {
        let change =
            StateChange { id, from: &seen.status, to: &now.status, response_timestamp: Timestamp(view.now) };
        // Whoever is cut off after this has not seen the status yet.
        let half = Seen { fingerprint: String::new(), ..now.clone() };
        out.tell("state", Some(&half.write()), &change).await?;
    }
    if *seen != now {
        out.tell("status", Some(&now.write()), &status).await?;
    }
    if is_over(view) {
        let end = Seen { status: END.to_owned(), ..now.clone() };
        out.tell("end", Some(&end.write()), &status).await?;
    }
    Ok(now)
}

/// A change of `batch_status`. States in between may be missing when they were short.
#[derive(Debug, Serialize)]
struct StateChange<'a> {
    id: Uuid,
    from: &'a str,
    to: &'a str,
    response_timestamp: Timestamp,
}

/// What a client knows, as the id of an event: `in_progress:5b0c…`. It means the same to every server, so that a client may come
/// back to another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    status: String,
    fingerprint: String,
}

impl Seen {
    fn read(text: &str) -> Option<Self> {
        let (status, fingerprint) = text.split_once(':')?;
        let known =
            status == END || serde_json::from_value::<BatchStatus>(Value::String(status.to_owned())).is_ok();
        known.then(|| Self { status: status.to_owned(), fingerprint: fingerprint.to_owned() })
    }

    fn write(&self) -> String {
        format!("{}:{}", self.status, self.fingerprint)
    }
}

fn name(status: BatchStatus) -> String {
    match serde_json::to_value(status) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}

/// Tells two statuses apart, whatever the time is.
fn fingerprint(status: &StatusBody) -> String {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("request_timestamp");
        fields.remove("response_timestamp");
    }
    let hash = blake3::hash(value.to_string().as_bytes());
    hash.to_hex().chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_foreign_ones_are_ignored() {
        for status in ["created", "in_progress", "completed_by_timeout", END] {
            let seen = Seen { status: status.to_owned(), fingerprint: "00ff".to_owned() };
            assert_eq!(Seen::read(&seen.write()), Some(seen));
        }
        for foreign in ["", "7", ":", "unknown:00", "1732200000000"] {
            assert_eq!(Seen::read(foreign), None, "{foreign}");
        }
    }
}
