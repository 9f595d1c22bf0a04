//! `GET …/batch/events`: how far all batches are that the caller may see.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use millrace_common::model::{BatchStatus, Caller, PipelineStatus};
use millrace_common::store::BatchView;
use serde::Serialize;
use uuid::Uuid;

use super::super::access::may_see;
use super::super::wire::{Timestamp, updated_at};
use super::{Gone, Out, answer, greeting, last_event_id};
use crate::auth::Auth;
use crate::error::ApiError;
use crate::openapi::schemas::StreamEvent;
use crate::state::AppState;
use crate::watch::{News, TenantPicture, Watched};

/// The most batches in one event.
const PIECE: usize = 200;
/// Writers commit a little after they look at the clock: what changed so shortly before is told again.
const OVERLAP: TimeDelta = TimeDelta::seconds(30);

/// Streams the progress of every batch that the caller may see: first all of them, then those that changed.
#[utoipa::path(get, path = "/{tenant}/api/v4/batch/events", tag = "Events", operation_id = "watchBatches",
    params(("last-event-id" = Option<String>, Header, description = "The id of the last event that was seen: only what is new since then is told.")),
    responses((status = 200, description = "Events `batches`, until the server stops or `events.stream_seconds` have passed.", content_type = "text/event-stream", body = StreamEvent)))]
pub(in super::super) async fn list(
    State(state): State<AppState>,
    Auth(caller): Auth,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let since = last_event_id(&headers)
        .and_then(|id| id.parse().ok())
        .and_then(DateTime::<Utc>::from_timestamp_millis)
        .and_then(|time| time.checked_sub_signed(OVERLAP));
    let watched = state.watch.tenant(caller.tenant_id)?;
    Ok(answer(state.watch.config(), |out| follow(watched, caller, since, out)))
}

async fn follow(
    mut watched: Watched<TenantPicture>,
    caller: Caller,
    since: Option<DateTime<Utc>>,
    out: Out,
) -> Result<(), Gone> {
    out.send(greeting()).await?;
    let mut told = Told { caller, since, first: true, known: HashMap::new() };
    loop {
        told.tell(watched.latest(), &out).await?;
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

/// What one reader was told.
struct Told {
    caller: Caller,
    /// What did not change since then is known from before.
    since: Option<DateTime<Utc>>,
    first: bool,
    known: HashMap<Uuid, Arc<BatchView>>,
}

impl Told {
    async fn tell(&mut self, picture: TenantPicture, out: &Out) -> Result<(), Gone> {
        let Some(at) = picture.at else { return Ok(()) };
        let visible: Vec<_> =
            picture.batches.iter().filter(|view| may_see(&self.caller, &view.batch.created_by)).collect();
        let ids: HashSet<Uuid> = visible.iter().map(|view| view.batch.id).collect();
        let changed: Vec<Line<'_>> = visible
            .iter()
            .filter(|view| {
                let id = view.batch.id;
                let before = self.known.insert(id, Arc::clone(view));
                let known = match before {
                    Some(before) => Arc::ptr_eq(&before, view),
                    None => self.first && self.since.is_some_and(|since| is_older(view, since)),
                };
                !known
            })
            .map(|view| Line::new(view))
            .collect();
        let gone: Vec<Uuid> = self.known.keys().filter(|id| !ids.contains(id)).copied().collect();
        self.known.retain(|id, _| ids.contains(id));
        let mut first = self.first.then_some(ids);
        self.first = false;
        if first.is_none() && changed.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let id = at.timestamp_millis().to_string();
        let mut pieces = changed.chunks(PIECE).peekable();
        let mut gone = Some(gone);
        loop {
            let batches = pieces.next().unwrap_or_default();
            let last = pieces.peek().is_none();
            let data = Batches {
                response_timestamp: Timestamp(at),
                ids: first.take(),
                batches,
                gone: gone.take().unwrap_or_default(),
            };
            // Whoever is cut off before the last piece has to see all of them again.
            out.tell("batches", last.then_some(id.as_str()), &data).await?;
            if last {
                return Ok(());
            }
        }
    }
}

/// Ended batches change only by pulls, which leave their time; live ones are always told.
fn is_older(view: &BatchView, since: DateTime<Utc>) -> bool {
    view.batch.state.is_terminal() && view.batch.updated_at.max(view.counters.touched_at) < since
}

/// The data of an event `batches`.
#[derive(Debug, Serialize)]
struct Batches<'a> {
    response_timestamp: Timestamp,
    /// Every batch that there is, in the first event of a connection: what is not in it has left the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<HashSet<Uuid>>,
    /// Those that are new or changed.
    batches: &'a [Line<'a>],
    /// Those that left the list: they ended more than an hour ago.
    gone: Vec<Uuid>,
}

/// What a progress bar needs; the names are those of the status (contract 1.4) and of the overview (contract 1.7).
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: Uuid,
    service_uri: &'a str,
    batch_status: BatchStatus,
    pipeline_status: PipelineStatus,
    paused: bool,
    created_by: &'a str,
    created_timestamp: Timestamp,
    updated_timestamp: Timestamp,
    correlation_id: Option<&'a str>,
    chunks_submitted: i64,
    chunks_completed: i64,
    chunks_failed: i64,
    chunks_available: i64,
    records_submitted: i64,
    records_completed: i64,
    records_failed: i64,
    records_available: i64,
    workers_in_use: i64,
    max_workers: i32,
    priority: i32,
    compute_time_ms: i64,
    input_buffer_used_bytes: i64,
    input_buffer_remaining_bytes: i64,
    output_buffer_used_bytes: i64,
    output_buffer_remaining_bytes: i64,
}

impl<'a> Line<'a> {
    fn new(view: &'a BatchView) -> Self {
        let (batch, counters) = (&view.batch, &view.counters);
        let (chunks_available, records_available) = view.available();
        let rest = |allocated: i64, used: i64| (allocated - used).max(0);
        Self {
            id: batch.id,
            service_uri: &batch.service_uri,
            batch_status: view.status(),
            pipeline_status: view.pipeline(),
            paused: view.paused().is_some(),
            created_by: &batch.created_by,
            created_timestamp: Timestamp(batch.created_at),
            updated_timestamp: Timestamp(updated_at(view)),
            correlation_id: batch.correlation_id.as_deref(),
            chunks_submitted: counters.chunks_submitted,
            chunks_completed: counters.chunks_completed + counters.chunks_failed,
            chunks_failed: counters.chunks_failed,
            chunks_available,
            records_submitted: counters.records_submitted,
            records_completed: counters.records_completed,
            records_failed: counters.records_failed,
            records_available,
            workers_in_use: view.running(),
            max_workers: batch.max_workers,
            priority: batch.priority,
            compute_time_ms: counters.compute_ms,
            input_buffer_used_bytes: counters.input_bytes,
            input_buffer_remaining_bytes: rest(batch.input_allocated, counters.input_bytes),
            output_buffer_used_bytes: counters.output_bytes,
            output_buffer_remaining_bytes: rest(batch.output_allocated, counters.output_bytes),
        }
    }
}
