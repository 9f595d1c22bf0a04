//! Requests to the collector, for OpenTelemetry's exporter: by the HTTP client and with the TLS of everything else here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use tokio::runtime::Handle;

use super::TraceError;
use super::account::{Account, Answer};
use crate::config::OtlpConfig;
use crate::tls::{self, Verification};

/// What is read of an answer; it says no more than how many spans were not taken.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The collector. Shows neither credentials nor spans.
#[derive(Debug)]
pub(super) struct Collector {
    client: reqwest::Client,
    authorization: Option<HeaderValue>,
    /// The exporter asks on a thread of its own, where no request could run.
    runtime: Handle,
    account: Arc<Account>,
}

impl Collector {
    /// To be called within a runtime.
    pub(super) fn new(
        config: &OtlpConfig,
        timeout: Duration,
        account: Arc<Account>,
    ) -> Result<Self, TraceError> {
        let ca = (!config.tls_ca.is_empty()).then(|| Path::new(&config.tls_ca));
        let tls = if config.endpoint.starts_with("https://") {
            tls::client_config(ca, Verification::Full)
        } else {
            tls::untrusting_config()
        };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls?)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeout)
            .timeout(timeout)
            .build()?;
        let authorization = match config.authorization.expose() {
            "" => None,
            text => {
                let mut value = HeaderValue::from_str(text).map_err(|_| TraceError::Authorization)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { client, authorization, runtime: Handle::current(), account })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut parts, body) = request.into_parts();
        if let Some(value) = &self.authorization {
            parts.headers.insert(AUTHORIZATION, value.clone());
        }
        // A URL with a name and a password in it is understood here, and not where a whole request is turned into one.
        let request = self.client.post(parts.uri.to_string()).headers(parts.headers).body(body);
        let answered = self.runtime.spawn(exchange(request)).await?;
        self.account.answered(match &answered {
            Ok(response) => meaning(response.status(), response.body()),
            Err(error) => Answer::Away(error.to_string()),
        });
        Ok(answered?)
    }
}

/// Sends a request and reads the answer; of one that is too long only the head.
async fn exchange(request: RequestBuilder) -> Result<Response<Bytes>, reqwest::Error> {
    let whole = async {
        let mut answer = request.send().await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await? {
            if body.len() + part.len() > MAX_ANSWER_BYTES {
                return Ok(response);
            }
            body.extend_from_slice(&part);
        }
        *response.body_mut() = body.into();
        Ok(response)
    };
    whole.await.map_err(reqwest::Error::without_url)
}

/// What an answer says of the spans that were sent.
fn meaning(status: StatusCode, body: &Bytes) -> Answer {
    match status {
        status if status.is_success() => {
            // What cannot be read rejects nothing.
            let answer = ExportTraceServiceResponse::decode(body.clone()).unwrap_or_default();
            let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
            Answer::Taken { rejected: u64::try_from(rejected).unwrap_or(0) }
        }
        // Those that the exporter tries again.
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::Away(format!("it answers {status}")),
        status => Answer::Refused(status),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTracePartialSuccess;

    use super::*;

    #[test]
    fn answers_of_collectors_are_read() {
        let partial = |rejected_spans| {
            let partial_success =
                ExportTracePartialSuccess { rejected_spans, error_message: "too old".to_owned() };
            let answer = ExportTraceServiceResponse { partial_success: Some(partial_success) };
            meaning(StatusCode::OK, &answer.encode_to_vec().into())
        };
        assert_eq!(partial(3), Answer::Taken { rejected: 3 });
        assert_eq!(partial(-1), Answer::Taken { rejected: 0 });
        for body in ["", "{}", "\u{1}\u{ff}"] {
            let taken = meaning(StatusCode::ACCEPTED, &Bytes::from_static(body.as_bytes()));
            assert_eq!(taken, Answer::Taken { rejected: 0 });
        }
        assert_eq!(meaning(StatusCode::BAD_REQUEST, &Bytes::new()), Answer::Refused(StatusCode::BAD_REQUEST));
        assert!(matches!(meaning(StatusCode::SERVICE_UNAVAILABLE, &Bytes::new()), Answer::Away(_)));
    }
}
