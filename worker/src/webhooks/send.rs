//! One attempt: signed after the Standard Webhooks specification, bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use millrace_common::config::WebhooksConfig;
use millrace_common::model::webhook::{AddressPolicy, SealError, Sealer};
use millrace_common::store::Attempt;
use millrace_common::tls::{TlsError, Verification, client_config, untrusting_config};
use reqwest::dns::Resolve;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use rustls::ClientConfig;

use super::resolve::{CheckedResolver, RefusedAddress, SystemResolver};

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);
/// How much of an answer is read before the connection is given up: enough to use it again after the usual short answer.
const ANSWER_BYTES: usize = 16_384;

/// Why messages cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum SenderError {
    /// TLS cannot be set up.
    #[error("webhooks: {0}")]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be made.
    #[error("webhooks: {0}")]
    Client(#[from] reqwest::Error),
}

/// What came of sending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// What the receiver answered.
    pub status: Option<u16>,
    /// Why that is a failure. Never names more of the URL than its host.
    pub error: Option<String>,
    /// How long the receiver wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Sent {
    fn failed(error: impl ToString) -> Self {
        Self { error: Some(error.to_string()), ..Self::default() }
    }
}

/// Sends messages.
#[derive(Debug)]
pub struct Sender {
    client: reqwest::Client,
    policy: Arc<AddressPolicy>,
    sealer: Sealer,
}

impl Sender {
    /// A sender with these settings, which asks the system's resolver and trusts its certificate authorities.
    pub fn new(config: &WebhooksConfig) -> Result<Self, SenderError> {
        Self::with_resolver(config, Arc::new(SystemResolver))
    }

    /// A sender that asks another resolver.
    pub(super) fn with_resolver(
        config: &WebhooksConfig,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, SenderError> {
        let policy = Arc::new(AddressPolicy::new(&config.allow_private));
        let client = reqwest::Client::builder()
            .user_agent(concat!("Millrace/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(Duration::from_millis(config.timeout_ms))
            .redirect(reqwest::redirect::Policy::none())
            // A proxy would resolve names itself, unchecked.
            .no_proxy()
            .dns_resolver(CheckedResolver::new(Arc::clone(&policy), resolver))
            .pool_idle_timeout(Duration::from_secs(30))
            .tls_backend_preconfigured(tls()?)
            .build()?;
        Ok(Self { client, policy, sealer: Sealer::new(config.secret_key.expose()) })
    }

    /// Sends a message once.
    pub async fn send(&self, attempt: &Attempt) -> Sent {
        // Names are checked when they are resolved; an address in the URL is not resolved.
        let target = match self.policy.check(&attempt.url) {
            Ok(target) => target,
            Err(error) => return Sent::failed(format!("the URL {error}")),
        };
        let timestamp = Utc::now().timestamp();
        let signature = match self.sign(attempt, timestamp) {
            Ok(signature) => signature,
            Err(error) => return Sent::failed(error),
        };
        let request = self
            .client
            .post(target.url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", attempt.delivery_id.to_string())
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .body(attempt.body.clone());
        match request.send().await {
            Ok(response) => answer(response).await,
            Err(error) => Sent::failed(reason(&error)),
        }
    }

    /// The signatures by every secret that is valid now.
    fn sign(&self, attempt: &Attempt, timestamp: i64) -> Result<String, String> {
        let id = attempt.delivery_id.to_string();
        let owner = attempt.secret_owner();
        let secrets: Vec<&[u8]> =
            [&attempt.secret, &attempt.previous_secret].into_iter().flatten().map(Vec::as_slice).collect();
        if secrets.is_empty() {
            return Err("there is no secret to sign with".to_owned());
        }
        let signatures: Result<Vec<String>, SealError> = secrets
            .into_iter()
            .map(|stored| Ok(self.sealer.open(stored, owner)?.sign(&id, timestamp, &attempt.body)))
            .collect();
        Ok(signatures.map_err(|error| error.to_string())?.join(" "))
    }
}

/// Reads the beginning of the answer and what it means.
async fn answer(mut response: reqwest::Response) -> Sent {
    let status = response.status();
    let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = asked.and_then(|text| retry_after(text.trim(), Utc::now()));
    let mut bytes = 0;
    while let Ok(Some(piece)) = response.chunk().await {
        bytes += piece.len();
        if bytes > ANSWER_BYTES {
            break;
        }
    }
    let error = if status.is_success() {
        None
    } else if status.is_redirection() {
        Some(format!("the receiver answered {}: redirects are not followed", status.as_u16()))
    } else {
        Some(format!("the receiver answered {}", status.as_u16()))
    };
    Sent { status: Some(status.as_u16()), error, retry_after }
}

/// The wait of a `Retry-After`: seconds, or a date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - now).to_std().ok()
}

/// The reason of a failure, without the URL.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the receiver did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
        if let Some(refused) = cause.downcast_ref::<RefusedAddress>() {
            return refused.to_string();
        }
    }
    format!("the receiver cannot be reached: {cause}")
}

/// TLS that trusts the system's authorities. Without any, messages by http can still be delivered.
fn tls() -> Result<ClientConfig, TlsError> {
    client_config(None, Verification::Full).or_else(|error| match error {
        TlsError::NoAuthorities(_) => {
            tracing::warn!(%error, "webhooks by https will fail");
            untrusting_config()
        }
        error => Err(error),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn waits_are_seconds_or_dates() {
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        let read = |text: &str| retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        for nothing in ["", "soon", "-1", "Sun, 06 Nov 1994 08:48:00 GMT"] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
