//! What happens to every request around its handler: request ids, spans, panics, draining, tolerant paths, compression.

use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::MatchedPath;
use axum::extract::{Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use millrace_common::config::Config;
use millrace_common::trace::attribute::{
    HTTP_REQUEST_METHOD, HTTP_REQUEST_METHOD_ORIGINAL, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, URL_PATH,
    URL_SCHEME,
};
use millrace_common::trace::{Span, SpanKind, TRACEPARENT, TRACESTATE, TraceContext};
use parking_lot::Mutex;
use tracing::Instrument;
use uuid::Uuid;

use crate::error::ApiError;
use crate::server::Peer;
use crate::state::AppState;

/// Identifies a request in answers and logs; the same on a client's retries.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Tells callers which trace their request is in (W3C Trace Context, level 2).
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// A refused request's body is read and thrown away up to this size, and for this long: the SDK shows the refusal only
/// when it could send everything (contract 0.4).
const DRAIN_BYTES: usize = 128_000_000;
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// Beyond the longest wait on purpose before a request is given up.
const MARGIN: Duration = Duration::from_secs(5);

/// What answers say about the request that they answer.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// `x-request-id`, or a generated one.
    pub id: Arc<str>,
    /// When the request came.
    pub received_at: DateTime<Utc>,
    /// Which shape errors have.
    pub dialect: Dialect,
    /// The address that the request came from, where that is known.
    pub source: Option<IpAddr>,
    /// Whether it came encrypted to this process.
    pub encrypted: bool,
    /// Its span, where traces are on.
    pub trace: Option<TraceContext>,
}

/// The protocol that a path belongs to, as far as errors differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// `/api/v1/…`: flat objects.
    V1,
    /// Everything else of Spark's.
    #[default]
    V3,
    /// `/v6/…`: Scale's.
    V6,
}

impl Dialect {
    /// The protocol of a path.
    pub fn of(path: &str) -> Self {
        if has_prefix(path, "/api/v1/") {
            Self::V1
        } else if path.starts_with(V6) && tenant_of(path).is_none() {
            Self::V6
        } else {
            Self::V3
        }
    }
}

/// Where the paths of Scale's batch services begin.
const V6: &str = "/v6/";

impl Default for RequestContext {
    fn default() -> Self {
        Self {
            id: Arc::from(""),
            received_at: Utc::now(),
            dialect: Dialect::default(),
            source: None,
            encrypted: false,
            trace: None,
        }
    }
}

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// The request that the current task answers. Outside of requests: an anonymous one of this moment.
pub fn current() -> RequestContext {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// The span of the request that the current task answers, where traces are on.
pub fn trace() -> Option<TraceContext> {
    CURRENT.try_with(|request| request.trace.clone()).ok().flatten()
}

/// Runs `future` as the answer to a request.
pub async fn scope<F: Future>(context: RequestContext, future: F) -> F::Output {
    CURRENT.scope(context, future).await
}

/// The outermost layer: request id, span, drain of refused bodies, headers for browsers.
pub async fn around(State(trust_forwarded_for): State<bool>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = request.uri().path().to_owned();
    let mut traced = trace_request(&request, &path);
    let context = RequestContext {
        id: request_id(request.headers()),
        received_at: Utc::now(),
        dialect: Dialect::of(&path),
        source: source(&request, trust_forwarded_for),
        encrypted: request.extensions().get::<Peer>().is_some_and(|peer| peer.encrypted),
        trace: traced.as_ref().map(Span::context),
    };
    let span = tracing::info_span!(
        "request", request.id = %context.id, method = %request.method(), path, tenant = tenant_of(&path).unwrap_or(""),
    );
    let id = context.id.clone();
    let method = traced.as_ref().and_then(|_| known_method(request.method()));
    let future = async move {
        let (parts, body) = request.into_parts();
        let rest = Rest::new(body);
        let request = Request::from_parts(parts, rest.body());
        let response = next.run(request).await;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            rest.drain().await;
        }
        tracing::debug!(status = status.as_u16(), elapsed_ms = started.elapsed().as_millis(), "answered");
        response
    };
    let mut response = scope(context, future).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    if let Some(span) = &mut traced {
        if span.is_recording() {
            describe_answer(span, method, &response);
        }
        if let Ok(value) = HeaderValue::from_str(&span.context().to_string()) {
            response.headers_mut().insert(TRACERESPONSE, value);
        }
    }
    for (name, value) in BROWSERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The span of a request, below the caller's where it sent one; none while traces are off.
fn trace_request(request: &Request, path: &str) -> Option<Span> {
    if !millrace_common::trace::is_on() {
        return None;
    }
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let parent = header(TRACEPARENT).and_then(|parent| TraceContext::parse(parent, header(TRACESTATE)));
    let method = known_method(request.method());
    let mut span = Span::root(method.unwrap_or(OTHER_METHOD), SpanKind::Server, parent.as_ref())?;
    if !span.is_recording() {
        return Some(span);
    }
    span.set(HTTP_REQUEST_METHOD, method.unwrap_or("_OTHER"));
    if method.is_none() {
        span.set(HTTP_REQUEST_METHOD_ORIGINAL, request.method().to_string());
    }
    let encrypted = request.extensions().get::<Peer>().is_some_and(|peer| peer.encrypted);
    span.set(URL_SCHEME, if encrypted { "https" } else { "http" });
    span.set(URL_PATH, path.to_owned());
    if let Some(tenant) = tenant_of(path) {
        span.set("millrace.tenant", tenant.to_owned());
    }
    Some(span)
}

/// Says of a request's span how it was answered.
fn describe_answer(span: &mut Span, method: Option<&'static str>, response: &Response) {
    if let Some(route) = response.extensions().get::<MatchedPath>() {
        span.rename(format!("{} {}", method.unwrap_or(OTHER_METHOD), route.as_str()));
        span.set(HTTP_ROUTE, route.as_str().to_owned());
    }
    let status = response.status();
    span.set(HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_u16().to_string());
    }
}

/// What the spans of requests begin with whose method is none of HTTP's.
const OTHER_METHOD: &str = "HTTP";

/// The method by its name, for one of HTTP's: others are callers' inventions, of which there may be any number.
fn known_method(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

/// What browsers must not do with answers, unless a route says otherwise: guess types, run or embed what was uploaded, keep
/// what only the caller may see, tell others where it is.
const BROWSERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// The address that a request came from: the other end of the connection, or what the proxy there says it was.
fn source(request: &Request, trust_forwarded_for: bool) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
    if !trust_forwarded_for {
        return peer;
    }
    // The last entry is the proxy's own; those before it are what the caller claims.
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    forwarded.rsplit(',').next()?.trim().parse().ok().or(peer)
}

/// Answers 503 to everything but health checks until the schema is there.
pub async fn when_ready(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if state.is_ready() {
        return in_time(answer_deadline(&state.config), request, next).await;
    }
    ApiError::unavailable("STARTING", "the server is starting: its database is not ready yet", 1)
        .into_response()
}

/// How long a request may go without an answer after the last byte of its body came: longer than anything that is waited for
/// on purpose.
fn answer_deadline(config: &Config) -> Duration {
    let database = config.database.acquire_timeout_ms + config.database.statement_timeout_ms;
    let longest = config.http.execute_timeout_ms.max(database + config.broker.confirm_timeout_ms);
    Duration::from_millis(longest) + MARGIN
}

/// Answers 503 when nothing happens any more: a frozen database, or a link that is dead without a word.
async fn in_time(deadline: Duration, request: Request, next: Next) -> Response {
    let progress = Arc::new(Mutex::new(Instant::now()));
    let (parts, body) = request.into_parts();
    let seen = Arc::clone(&progress);
    let body = Body::from_stream(body.into_data_stream().inspect(move |_| *seen.lock() = Instant::now()));
    let mut answer = std::pin::pin!(next.run(Request::from_parts(parts, body)));
    loop {
        let until = *progress.lock() + deadline;
        tokio::select! {
            response = &mut answer => return response,
            () = tokio::time::sleep_until(until.into()) => {}
        }
        if *progress.lock() + deadline <= Instant::now() {
            tracing::error!(after_ms = deadline.as_millis(), "a request got no answer");
            return ApiError::unavailable("NO_ANSWER", "the server gets no answer from its database", 1)
                .into_response();
        }
    }
}

/// What a panic in a handler becomes. The panic itself is in the log; its text may hold values and is not shown.
pub fn on_panic(_panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    ApiError::internal(&"a handler panicked").into_response()
}

fn request_id(headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    match given.filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())) {
        Some(id) => Arc::from(id),
        None => Arc::from(Uuid::new_v4().to_string()),
    }
}

fn has_prefix(path: &str, prefix: &str) -> bool {
    path.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The tenant that a path names: the first segment of `/{tenant}/api/…`.
pub fn tenant_of(path: &str) -> Option<&str> {
    let mut segments = path.trim_start_matches('/').split('/');
    let tenant = segments.next()?;
    let next = segments.next()?;
    (next.eq_ignore_ascii_case("api") && !tenant.eq_ignore_ascii_case("api")).then_some(tenant)
}

/// Words of v1 routes: matched without regard to case (contract 0.1). Names between them keep their case.
const V1_WORDS: [&str; 18] = [
    "api",
    "v1",
    "product",
    "create",
    "getproduct",
    "list",
    "isproductexists",
    "update",
    "delete",
    "uploadcoverimage",
    "coverimage",
    "lookup",
    "getcategories",
    "engines",
    "getversions",
    "get",
    "download",
    "config",
];
const V1_LAST_WORDS: [&str; 1] = ["getsparkconfiguration"];

/// Drops one trailing slash (or adds it, where paths end with one: scale-v6 1.1), and writes the words of v1 routes in lower
/// case.
pub fn tolerate_path(mut request: Request) -> Request {
    let path = request.uri().path();
    let dialect = Dialect::of(path);
    let mut tolerant = match path.strip_suffix('/').filter(|rest| !rest.is_empty()) {
        _ if dialect == Dialect::V6 && path.ends_with('/') => Cow::Borrowed(path),
        _ if dialect == Dialect::V6 => Cow::Owned(format!("{path}/")),
        Some(rest) => Cow::Borrowed(rest),
        None => Cow::Borrowed(path),
    };
    if dialect == Dialect::V1 {
        let segments = tolerant.split('/').map(|segment| {
            let word = V1_WORDS.iter().chain(&V1_LAST_WORDS).find(|word| word.eq_ignore_ascii_case(segment));
            word.copied().unwrap_or(segment)
        });
        tolerant = Cow::Owned(segments.collect::<Vec<_>>().join("/"));
    }
    if tolerant != path {
        let target = match request.uri().query() {
            Some(query) => format!("{tolerant}?{query}"),
            None => tolerant.into_owned(),
        };
        // A path that was valid stays valid without its slash and in lower case.
        if let Ok(target) = target.parse::<PathAndQuery>() {
            let mut parts = request.uri().clone().into_parts();
            parts.path_and_query = Some(target);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

/// A request body that can still be drained when its reader has gone.
#[derive(Clone)]
struct Rest(Arc<Mutex<BodyDataStream>>);

impl Rest {
    fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(body.into_data_stream())))
    }

    fn body(&self) -> Body {
        Body::from_stream(self.clone())
    }

    async fn drain(mut self) {
        let drain = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = self.next().await {
                bytes += frame.len();
                if bytes > DRAIN_BYTES {
                    break;
                }
            }
        };
        // A client that takes longer than this loses its connection.
        let _ = tokio::time::timeout(DRAIN_TIME, drain).await;
    }
}

impl Stream for Rest {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.lock().poll_next_unpin(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn tolerated(path: &str) -> String {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        tolerate_path(request).uri().to_string()
    }

    #[test]
    fn v1_words_match_in_any_case_and_names_keep_theirs() {
        assert_eq!(
            tolerated("/API/v1/Product/GetProduct/My%20Folder?x=Y"),
            "/api/v1/product/getproduct/My%20Folder?x=Y"
        );
        assert_eq!(tolerated("/api/v1/product/UploadCoverImage"), "/api/v1/product/uploadcoverimage");
        assert_eq!(tolerated("/api/v1/config/GetSparkConfiguration"), "/api/v1/config/getsparkconfiguration");
    }

    #[test]
    fn one_trailing_slash_is_tolerated() {
        assert_eq!(
            tolerated("/api/v1/product/F/engines/S/download/?type="),
            "/api/v1/product/F/engines/S/download?type="
        );
        assert_eq!(tolerated("/acme/api/v4/batch/"), "/acme/api/v4/batch");
        assert_eq!(tolerated("/"), "/");
        // A tenant may be called v6.
        assert_eq!(tolerated("/v6/api/v4/batch/"), "/v6/api/v4/batch");
    }

    #[test]
    fn v6_paths_end_with_a_slash() {
        assert_eq!(tolerated("/v6/batches"), "/v6/batches/");
        assert_eq!(tolerated("/v6/batches/7/?page=2"), "/v6/batches/7/?page=2");
        assert_eq!(tolerated("/v6/batches/7?page=2"), "/v6/batches/7/?page=2");
    }

    #[test]
    fn tenants_come_from_the_path() {
        assert_eq!(tenant_of("/acme/api/v4/batch"), Some("acme"));
        assert_eq!(tenant_of("/api/v1/product/create"), None);
        assert_eq!(tenant_of("/api/api/v4"), None);
        assert_eq!(tenant_of("/health"), None);
    }

    #[test]
    fn forwarded_addresses_count_only_when_they_are_trusted() {
        let mut request = Request::builder()
            .header("x-forwarded-for", "1.1.1.1, 2.2.2.2")
            .header("x-forwarded-for", "3.3.3.3, 4.4.4.4")
            .body(Body::empty())
            .unwrap();
        assert_eq!(source(&request, false), None);
        let peer = Peer { address: IpAddr::from([9, 9, 9, 9]), encrypted: false };
        request.extensions_mut().insert(peer);
        assert_eq!(source(&request, false), Some(peer.address));
        assert_eq!(source(&request, true), Some(IpAddr::from([4, 4, 4, 4])));
    }

    #[test]
    fn request_ids_are_echoed_when_they_are_printable() {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, "abc-1".parse().unwrap());
        assert_eq!(&*request_id(&headers), "abc-1");
        headers.insert(X_REQUEST_ID, "a b".parse().unwrap());
        assert_eq!(request_id(&headers).len(), 36);
        assert_eq!(request_id(&HeaderMap::new()).len(), 36);
    }
}
