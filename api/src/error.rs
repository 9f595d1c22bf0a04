//! The one place where errors become HTTP answers (contract 0.4 and 0.5).
//!
//! An [`ApiError`] knows nothing of the request that it answers: the request id, the time, and the dialect that the caller
//! speaks come from [`crate::middleware::current`].

use axum::Json;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use millrace_common::broker::BrokerError;
use millrace_common::metrics::HTTP_REFUSALS;
use millrace_common::model::Scope;
use millrace_common::model::time::timestamp;
use millrace_common::programs::ProgramError;
use millrace_common::store::StoreError;
use serde_json::{Value as Json_, json};

use crate::middleware::{self, Dialect};

/// The header that the TypeScript SDK reads (contract 0.4).
const X_RETRY_AFTER: HeaderName = HeaderName::from_static("x-retry-after");

/// The one 404 of v6 that is told apart.
const INVALID_PAGE: &str = "INVALID_PAGE";

/// How long callers should wait after a 503, in seconds.
const RETRY_UNAVAILABLE: u64 = 1;

/// A refusal: status, stable code, place and message.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    source_path: Option<String>,
    details: Option<Json_>,
    retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), source_path: None, details: None, retry_after: None }
    }

    /// 400: the request cannot be read, at the given place.
    pub fn bad_request(
        code: &'static str,
        message: impl Into<String>,
        source_path: impl Into<Option<String>>,
    ) -> Self {
        Self { source_path: source_path.into(), ..Self::new(StatusCode::BAD_REQUEST, code, message) }
    }

    /// 401: no credential, or a useless one. The SDK then fetches a token.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// 403: known, and not permitted.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// 403: the credential may not be used for this.
    pub fn missing_scope(scope: Scope) -> Self {
        let message = format!("the credential lacks the scope {scope}");
        Self::new(StatusCode::FORBIDDEN, "MISSING_SCOPE", message)
            .with_details(json!({"missing_scope": scope.as_str()}))
    }

    /// 404.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 405. Which methods there are, is said by the router.
    pub fn method_not_allowed(method: &Method) -> Self {
        let message = format!("Method \"{method}\" not allowed.");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message)
    }

    /// 404: a page that a list does not have (scale-v6 1.7).
    pub fn invalid_page() -> Self {
        Self::not_found(INVALID_PAGE, "Invalid page.")
    }

    /// 409: the state of what is named forbids it.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    /// 415.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message)
    }

    /// 422: readable, and never acceptable as it is, at the given place.
    pub fn unprocessable(
        code: &'static str,
        message: impl Into<String>,
        source_path: impl Into<Option<String>>,
    ) -> Self {
        Self { source_path: source_path.into(), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, message) }
    }

    /// 429: not now; `details` say how much is needed and free, `retry_after` how many seconds to wait.
    pub fn too_many(
        code: &'static str,
        message: impl Into<String>,
        details: impl Into<Option<Json_>>,
        retry_after: u64,
    ) -> Self {
        Self {
            details: details.into(),
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, message)
        }
    }

    /// 503: a buffer cannot be reached; `retry_after` says how many seconds to wait.
    pub fn unavailable(code: &'static str, message: impl Into<String>, retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    /// 504: the deadline passed.
    pub fn gateway_timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "TIMEOUT", message)
    }

    /// 500: a bug. `cause` goes to the log, never to the caller.
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %cause, "internal error");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "internal error; see the server's log")
    }

    /// The same error with structured details for programs.
    #[must_use]
    pub fn with_details(self, details: Json_) -> Self {
        Self { details: Some(details), ..self }
    }

    /// The same error at another place.
    #[must_use]
    pub fn at(self, source_path: impl Into<String>) -> Self {
        Self { source_path: Some(source_path.into()), ..self }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What went wrong, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The place of the fault in the request.
    pub fn source_path(&self) -> Option<&str> {
        self.source_path.as_deref()
    }

    /// How many seconds the caller is asked to wait.
    pub fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }

    fn category(&self) -> &'static str {
        match self.status {
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::CONFLICT => "conflict",
            StatusCode::UNPROCESSABLE_ENTITY => "validation_error",
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "capacity",
            status if status.is_server_error() => "runtime",
            _ => "bad_request",
        }
    }

    /// The error object that the real engine uses inside `errors[]` (contract 0.5).
    pub fn object(&self) -> Json_ {
        json!({
            "error_category": self.category(),
            "error_type": format!("error.{}", self.code),
            "message": self.message,
            "source_path": self.source_path,
            "additional_details": self.details,
        })
    }

    /// The body of v6 (scale-v6 1.3): a text, and the name of the fault where that tells more than the status.
    fn v6_body(&self) -> Json_ {
        let detail = match &self.source_path {
            Some(place) if !self.message.starts_with(place.as_str()) => format!("{place}: {}", self.message),
            _ => self.message.clone(),
        };
        match self.status {
            StatusCode::NOT_FOUND if self.code != INVALID_PAGE => json!({"detail": "Not found."}),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => json!({"detail": detail}),
            _ => json!({"detail": detail, "name": self.code}),
        }
    }

    /// The status in this dialect: v6 has 400 for whatever is wrong with a request (scale-v6 1.3).
    fn status_in(&self, dialect: Dialect) -> StatusCode {
        match (dialect, self.status) {
            (Dialect::V6, StatusCode::UNPROCESSABLE_ENTITY) => StatusCode::BAD_REQUEST,
            (_, status) => status,
        }
    }

    fn body(&self) -> Json_ {
        let request = middleware::current();
        match request.dialect {
            Dialect::V1 => {
                return json!({
                    "status": "Error", "message": self.message, "errorCode": self.code, "data": null,
                    "request_id": request.id,
                });
            }
            Dialect::V6 => return self.v6_body(),
            Dialect::V3 => {}
        }
        json!({
            "status": "Error",
            "response_data": null,
            "error": {"code": self.code, "message": self.message, "details": self.details},
            "errors": [self.object()],
            "response_meta": {
                "system": "SPARK",
                "request_timestamp": timestamp(request.received_at),
                "request_id": request.id,
            },
        })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            HTTP_REFUSALS.with_or_last(self.code).add(1);
        }
        let status = self.status_in(middleware::current().dialect);
        let mut response = (status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            headers.insert(X_RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) | StoreError::Contended(cause) => {
                tracing::warn!(error = cause, "the database is unavailable");
                Self::unavailable("DATABASE_UNAVAILABLE", "the database is unavailable", RETRY_UNAVAILABLE)
            }
            StoreError::Conflict(what) => Self::conflict("CONFLICT", format!("already there: {what}")),
            StoreError::NotFound(what) => Self::not_found("NOT_FOUND", format!("not found: {what}")),
            StoreError::Text => Self::unprocessable("INVALID_TEXT", error.to_string(), None),
            StoreError::Schema(_) | StoreError::Corrupt(_) | StoreError::Database(_) => {
                Self::internal(&error)
            }
        }
    }
}

impl From<ProgramError> for ApiError {
    fn from(error: ProgramError) -> Self {
        match error {
            ProgramError::Store(error) => error.into(),
            ProgramError::Missing(_) => Self::not_found("VERSION_NOT_FOUND", error.to_string()),
            ProgramError::Load(error) if error.is_passing() => {
                Self::unavailable("ENGINE_UNAVAILABLE", error.to_string(), 1)
            }
            ProgramError::Load(_) => Self::unprocessable("SERVICE_UNUSABLE", error.to_string(), None),
            ProgramError::UnknownKind(_) | ProgramError::Interrupted => Self::internal(&error),
        }
    }
}

impl From<BrokerError> for ApiError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::TooLarge { bytes, limit } => Self::unprocessable(
                "CHUNK_TOO_LARGE",
                format!("a chunk of {bytes} bytes is above the limit of {limit} bytes"),
                None,
            )
            .with_details(json!({"bytes": bytes, "limit": limit})),
            error => {
                tracing::warn!(%error, "the broker is unavailable");
                Self::unavailable(
                    "BROKER_UNAVAILABLE",
                    "the message broker is unavailable",
                    RETRY_UNAVAILABLE,
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use http_body_util::BodyExt;

    use super::*;
    use crate::middleware::RequestContext;

    async fn body_of(error: ApiError, dialect: Dialect) -> (StatusCode, axum::http::HeaderMap, Json_) {
        let context = RequestContext {
            id: "r-1".into(),
            received_at: chrono::DateTime::UNIX_EPOCH,
            dialect,
            ..RequestContext::default()
        };
        let response = middleware::scope(context, async { error.into_response() }).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn v3_bodies_have_every_key_of_the_contract() {
        let error =
            ApiError::bad_request("BAD_ROW", "row 3 is a number", "chunks[1].data.inputs[3]".to_owned());
        let (status, headers, body) = body_of(error, Dialect::V3).await;
        assert_eq!(status, 400);
        assert_eq!(headers["content-type"], "application/json");
        let expected = json!({
            "status": "Error",
            "response_data": null,
            "error": {"code": "BAD_ROW", "message": "row 3 is a number", "details": null},
            "errors": [{
                "error_category": "bad_request",
                "error_type": "error.BAD_ROW",
                "message": "row 3 is a number",
                "source_path": "chunks[1].data.inputs[3]",
                "additional_details": null,
            }],
            "response_meta": {
                "system": "SPARK", "request_timestamp": "1970-01-01T00:00:00.000Z", "request_id": "r-1",
            },
        });
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn v1_bodies_are_flat() {
        let (status, _, body) =
            body_of(ApiError::not_found("FOLDER_NOT_FOUND", "no such folder"), Dialect::V1).await;
        assert_eq!(status, 404);
        assert_eq!(body["errorCode"], "FOLDER_NOT_FOUND");
        assert_eq!((&body["status"], &body["data"]), (&json!("Error"), &Json_::Null));
    }

    #[tokio::test]
    async fn v6_bodies_have_a_detail_and_a_name() {
        let error = ApiError::unprocessable("INVALID_TEXT", "is no text", "title".to_owned());
        let (status, _, body) = body_of(error, Dialect::V6).await;
        assert_eq!(
            (status.as_u16(), body),
            (400, json!({"detail": "title: is no text", "name": "INVALID_TEXT"}))
        );
        let (status, _, body) = body_of(StoreError::NotFound("batch").into(), Dialect::V6).await;
        assert_eq!((status.as_u16(), body), (404, json!({"detail": "Not found."})));
        let (status, _, body) = body_of(ApiError::invalid_page(), Dialect::V6).await;
        assert_eq!((status.as_u16(), body), (404, json!({"detail": "Invalid page."})));
        let (status, _, body) = body_of(ApiError::method_not_allowed(&Method::PUT), Dialect::V6).await;
        assert_eq!((status.as_u16(), body), (405, json!({"detail": "Method \"PUT\" not allowed."})));
    }

    #[tokio::test]
    async fn waiting_times_are_in_both_headers() {
        let error = ApiError::too_many("INPUT_BUFFER_FULL", "full", json!({"needed": 2, "free": 1}), 3);
        let (status, headers, body) = body_of(error, Dialect::V3).await;
        assert_eq!(status, 429);
        assert_eq!(
            (&headers["retry-after"], &headers["x-retry-after"]),
            (&"3".parse().unwrap(), &"3".parse().unwrap())
        );
        assert_eq!(body["error"]["details"]["needed"], 2);
        assert_eq!(body["errors"][0]["error_category"], "capacity");
    }

    #[tokio::test]
    async fn stores_and_brokers_that_are_away_are_503_and_bugs_tell_nothing() {
        let (status, headers, _) =
            body_of(StoreError::Unavailable("secret host".into()).into(), Dialect::V3).await;
        assert_eq!((status.as_u16(), &headers["retry-after"]), (503, &"1".parse().unwrap()));
        let (status, _, body) = body_of(BrokerError::Blocked.into(), Dialect::V3).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (503, &json!("BROKER_UNAVAILABLE")));
        let (status, _, body) =
            body_of(StoreError::Database("SELECT secret".into()).into(), Dialect::V3).await;
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("secret"), "{body}");
    }
}
