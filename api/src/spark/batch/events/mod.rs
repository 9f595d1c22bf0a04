//! Server-sent events: how far a batch is ([`one`]), and how far all of a tenant's are ([`list`]).

pub(super) mod list;
pub(super) mod one;

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use millrace_common::config::EventsConfig;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::error::ApiError;
use crate::watch::TooManyStreams;

/// How long a client waits before it comes back after a lost connection.
const COME_BACK: Duration = Duration::from_secs(2);
/// Events that may wait for a reader.
const WAITING: usize = 4;
/// How long to wait before another stream is asked for, in seconds.
const RETRY_FULL: u64 = 5;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The reader has gone, or takes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gone;

/// The writing end of a stream.
#[derive(Debug)]
struct Out {
    events: mpsc::Sender<Event>,
    patience: Duration,
}

impl Out {
    /// Hands an event to the reader, as soon as the reader takes it.
    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.events.send_timeout(event, self.patience).await.map_err(|_| Gone)
    }

    /// An event with JSON data.
    async fn tell(&self, name: &str, id: Option<&str>, data: &impl Serialize) -> Result<(), Gone> {
        let event = Event::default().event(name).json_data(data).map_err(|error| {
            tracing::error!(%error, "an event cannot be written");
            Gone
        })?;
        self.send(match id {
            Some(id) => event.id(id),
            None => event,
        })
        .await
    }

    /// A remark that clients skip.
    async fn remark(&self, text: &str) -> Result<(), Gone> {
        self.send(Event::default().comment(text)).await
    }

    /// Says that the database went away, or is back.
    async fn remark_away(&self, away: bool) -> Result<(), Gone> {
        self.remark(if away {
            "the database is away; the stream goes on when it is back"
        } else {
            "the database is back"
        })
        .await
    }

    /// Waits until the reader has gone.
    async fn gone(&self) {
        self.events.closed().await;
    }
}

/// Answers with what `follow` writes. It runs as a task of its own, so that a reader that takes nothing holds up only itself:
/// the task gives up, and with it goes everything that the stream holds.
fn answer<F>(config: &EventsConfig, follow: impl FnOnce(Out) -> F) -> Response
where
    F: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (events, waiting) = mpsc::channel(WAITING);
    let out = Out { events, patience: Duration::from_millis(config.slow_reader_ms) };
    let follow = follow(out);
    tokio::spawn(async move {
        if follow.await.is_err() {
            tracing::debug!("the reader of an event stream has gone, or is too slow");
        }
    });
    let events = stream::unfold(waiting, |mut waiting| async {
        waiting.recv().await.map(|event| (Ok::<_, Infallible>(event), waiting))
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_millis(config.keep_alive_ms));
    let headers = [
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        // Proxies of nginx's kind would keep events back until a buffer is full.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Sse::new(events).keep_alive(keep_alive)).into_response()
}

/// The first thing on every stream.
fn greeting() -> Event {
    Event::default().retry(COME_BACK).comment("millrace")
}

/// The id of the last event that a returning client has seen.
fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID)?.to_str().ok().filter(|id| !id.is_empty())
}

impl From<TooManyStreams> for ApiError {
    fn from(error: TooManyStreams) -> Self {
        let (TooManyStreams::Process(limit) | TooManyStreams::Tenant(limit)) = error;
        let details = serde_json::json!({"limit": limit});
        Self::too_many("TOO_MANY_STREAMS", error.to_string(), details, RETRY_FULL)
    }
}
