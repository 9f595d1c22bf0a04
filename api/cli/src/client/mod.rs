//! A typed HTTP client for the calls that the command line makes, with one retry policy.

mod calls;
mod events;
mod retry;
mod v6;
mod webhooks;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use calls::{Compilation, Upload};
use millrace_common::https;
pub use retry::Patience;
use retry::{Outcome, Schedule, asked_wait};
pub use v6::{Members, Query, path};
pub use wire::{
    BatchStatusAnswer, ChunkResult, Created, NewBatch, Overview, Published, ReadAnswer, Uploaded,
};

use super::profile::Connection;

/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(90);
/// What stays as it is in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A refusal by the server, as its error body tells it (contract 0.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Machine-readable code such as `INPUT_BUFFER_FULL`; empty when the body has none.
    pub code: String,
    /// What the server says.
    pub message: String,
    /// Where in the request the mistake is.
    pub path: Option<String>,
    /// The id of the request, for the server's log.
    pub request_id: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server refused ({}", self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        write!(f, "): {}", self.message)?;
        if let Some(path) = &self.path {
            write!(f, " (at {path})")?;
        }
        if self.status >= 500 {
            write!(f, " [request {}]", self.request_id)?;
        }
        Ok(())
    }
}

/// Why a call failed for good.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer came, however often it was tried.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The server's base URL.
        url: String,
        /// The deepest cause.
        reason: String,
    },
    /// The server answered with an error status.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The server answered with something that this client does not understand.
    #[error("{path}: the answer is not what this version of millrace expects: {reason}")]
    Answer {
        /// The path that was called.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ClientError {
    /// The refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        if let Self::Refused(refusal) = self { Some(refusal) } else { None }
    }

    /// Whether the server refused with this status.
    pub fn has_status(&self, status: StatusCode) -> bool {
        self.refusal().is_some_and(|refusal| refusal.status == status.as_u16())
    }

    /// What the reader can do about it.
    pub fn advice(&self) -> Option<String> {
        let refusal = match self {
            Self::Unreachable { .. } => {
                return Some("check that the server runs and that --url (MILLRACE_URL) names it".to_owned());
            }
            Self::Answer { .. } => {
                return Some("check that --url (MILLRACE_URL) names a Millrace server".to_owned());
            }
            Self::Refused(refusal) => refusal,
        };
        let advice = match (refusal.status, refusal.code.as_str()) {
            (401, _) => "check the key (MILLRACE_API_KEY), or run `millrace login`",
            (403, _) => "the key is known but may not do this: check --tenant, or use another key",
            (_, "CHUNK_TOO_LARGE") => {
                "use fewer records a chunk (--chunk-records) or a larger buffer (--max-input-mb)"
            }
            (_, "TENANT_BUFFER_EXHAUSTED") => {
                "other batches hold the tenant's buffers (`millrace batch list`): wait, cancel one, or ask for less \
                 (--max-input-mb, --max-output-mb)"
            }
            (404, _) => "check the name or id: `millrace service list`, `millrace batch list`",
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

/// Called with a short text when a call has to wait, and why.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// The body of a call; cheap to clone for another try.
#[derive(Debug, Clone)]
enum Payload {
    None,
    Json(Bytes),
    Form(&'static str, Bytes),
    Upload(Upload),
    Members(Members),
}

/// One call, before it is sent.
#[derive(Debug, Clone)]
struct Call {
    method: Method,
    path: String,
    payload: Payload,
    /// Whether sending it twice does no more than sending it once.
    repeatable: bool,
}

impl Call {
    const fn get(path: String) -> Self {
        Self { method: Method::GET, path, payload: Payload::None, repeatable: true }
    }

    fn json<T: serde::Serialize>(method: Method, path: String, body: &T) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(body)
            .map_err(|error| ClientError::Answer { path: path.clone(), reason: error.to_string() })?;
        Ok(Self { method, path, payload: Payload::Json(body.into()), repeatable: true })
    }

    fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }
}

/// A connection to one server as one tenant. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    connection: Arc<Connection>,
    patience: Patience,
    notice: Notice,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for a command that a person waits for; see [`Client::with_patience`].
    pub fn new(connection: Connection) -> Result<Self, ClientError> {
        Self::build(connection, Some(SILENCE))
    }

    /// A client for uploads, whose answer comes when all is sent: however long that takes.
    pub fn for_uploads(connection: Connection) -> Result<Self, ClientError> {
        Self::build(connection, None)
    }

    fn build(connection: Connection, silence: Option<Duration>) -> Result<Self, ClientError> {
        let builder = if connection.url.starts_with("https:") {
            https::client(connection.ca.as_deref())
        } else {
            https::plain_client()
        };
        let builder = builder.map_err(|error| ClientError::Unreachable {
            url: connection.url.clone(),
            reason: format!("TLS: {error}"),
        })?;
        let builder = match silence {
            Some(silence) => builder.read_timeout(silence),
            None => builder,
        };
        let http = builder
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| ClientError::Unreachable {
                url: connection.url.clone(),
                reason: deepest(&error),
            })?;
        Ok(Self {
            http,
            connection: Arc::new(connection),
            patience: Patience::SHORT,
            notice: Arc::new(|_: &str| {}),
        })
    }

    /// The same client with other patience, which tells `notice` why it waits.
    pub fn with_patience(mut self, patience: Patience, notice: Notice) -> Self {
        self.patience = patience;
        self.notice = notice;
        self
    }

    /// The tenant that the calls are made for.
    pub fn tenant(&self) -> &str {
        &self.connection.tenant
    }

    fn request(&self, call: &Call, request_id: &str) -> Result<RequestBuilder, reqwest::Error> {
        let Connection { url, tenant, key, .. } = &*self.connection;
        let builder = self
            .http
            .request(call.method.clone(), format!("{url}{}", call.path))
            .header("x-request-id", request_id)
            .header("x-tenant-name", tenant)
            .header("x-synthetic-key", key.expose())
            .header("accept", "application/json");
        Ok(match &call.payload {
            Payload::None => builder,
            Payload::Json(body) => builder.header("content-type", "application/json").body(body.clone()),
            Payload::Form(media, body) => builder.header("content-type", *media).body(body.clone()),
            Payload::Upload(upload) => builder.multipart(upload.form()?),
            Payload::Members(members) => builder.header("content-type", members.media).body(members.body()),
        })
    }

    /// Sends a call until it succeeds or its outcome is final, and gives the answer's body.
    async fn send(&self, call: &Call) -> Result<Bytes, ClientError> {
        Ok(self.until_final(call, true).await?.1)
    }

    /// As [`Client::send`], with a body that is read by whoever called.
    async fn send_streamed(&self, call: &Call) -> Result<reqwest::Response, ClientError> {
        let (answer, _) = self.until_final(call, false).await?;
        answer.ok_or_else(|| ClientError::Answer {
            path: call.path.clone(),
            reason: "it has no body".to_owned(),
        })
    }

    /// The answer with its body read, if that is wanted (`whole`); or the one with its body still to come.
    async fn until_final(
        &self,
        call: &Call,
        whole: bool,
    ) -> Result<(Option<reqwest::Response>, Bytes), ClientError> {
        // The same id for every try, so that the server's log shows them as one.
        let request_id = uuid::Uuid::new_v4().to_string();
        let started = Instant::now();
        let mut schedule = Schedule::new(self.patience, call.repeatable);
        loop {
            let (outcome, error) = match self.attempt(call, &request_id, whole).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match schedule.next_wait(outcome, started.elapsed(), rand::random()) {
                Some(wait) => {
                    (self.notice)(&format!("waiting {:.1} s: {error}", wait.as_secs_f64()));
                    tokio::time::sleep(wait).await;
                }
                None => return Err(error),
            }
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        request_id: &str,
        whole: bool,
    ) -> Result<(Option<reqwest::Response>, Bytes), (Outcome, ClientError)> {
        let answer = self.answer(call, request_id).await?;
        if !whole {
            return Ok((Some(answer), Bytes::new()));
        }
        let body = answer.bytes().await.map_err(|error| self.unreachable(Outcome::NoAnswer, &error))?;
        Ok((None, body))
    }

    fn unreachable(&self, outcome: Outcome, error: &reqwest::Error) -> (Outcome, ClientError) {
        (outcome, ClientError::Unreachable { url: self.connection.url.clone(), reason: deepest(error) })
    }

    /// The answer of a call that succeeds.
    async fn answer(
        &self,
        call: &Call,
        request_id: &str,
    ) -> Result<reqwest::Response, (Outcome, ClientError)> {
        let lost = |error: reqwest::Error| {
            let outcome = if error.is_connect() { Outcome::NotSent } else { Outcome::NoAnswer };
            self.unreachable(outcome, &error)
        };
        let request = self.request(call, request_id).map_err(lost)?;
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let asked = asked_wait(answer.headers(), chrono::Utc::now());
        let body = answer.bytes().await.map_err(|error| self.unreachable(Outcome::NoAnswer, &error))?;
        let refusal = refusal(status, &body, request_id);
        Err((Outcome::Status(status, asked), ClientError::Refused(Box::new(refusal))))
    }

    async fn send_for<T: DeserializeOwned>(&self, call: &Call) -> Result<T, ClientError> {
        let body = self.send(call).await?;
        parse(&call.path, &body)
    }
}

/// Reads an answer.
fn parse<'a, T: Deserialize<'a>>(path: &str, body: &'a [u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body)
        .map_err(|error| ClientError::Answer { path: path.to_owned(), reason: error.to_string() })
}

/// A path segment, percent-encoded.
fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The innermost cause: reqwest's own text only says that something went wrong.
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Both error shapes of contract 0.5, and that of `/v6/` (scale-v6 1.3), read leniently: whatever is there is shown.
fn refusal(status: StatusCode, body: &[u8], request_id: &str) -> Refusal {
    #[derive(Default, Deserialize)]
    struct Detail {
        code: Option<String>,
        message: Option<String>,
    }
    #[derive(Default, Deserialize)]
    struct Entry {
        source_path: Option<String>,
        message: Option<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Body {
        error: Option<Detail>,
        errors: Option<Vec<Entry>>,
        message: Option<String>,
        #[serde(rename = "errorCode")]
        error_code: Option<String>,
        detail: Option<String>,
        name: Option<String>,
    }
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let detail = body.error.unwrap_or_default();
    let first = body.errors.unwrap_or_default().into_iter().next().unwrap_or_default();
    Refusal {
        status: status.as_u16(),
        code: detail.code.or(body.error_code).or(body.name).unwrap_or_default(),
        message: detail
            .message
            .or(first.message)
            .or(body.message)
            .or(body.detail)
            .unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_owned()),
        path: first.source_path,
        request_id: request_id.to_owned(),
    }
}

#[cfg(test)]
mod tests;
