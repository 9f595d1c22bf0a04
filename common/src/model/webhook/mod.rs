//! Webhooks: what is told, to which addresses, signed how, and when again. No network, no database.

mod address;
mod secret;

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{BatchState, BatchStatus};

pub use address::{AddressPolicy, Target, UrlError};
pub use secret::{SealError, Sealer, SigningSecret};

/// What a webhook can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebhookEvent {
    /// The batch is `completed`.
    Completed,
    /// The batch is `completed_by_timeout`.
    CompletedByTimeout,
    /// The batch is `failed`.
    Failed,
    /// The batch is `cancelled`.
    Cancelled,
    /// The batch was closed because nothing happened; it goes on to one of the others.
    ClosedByTimeout,
}

impl WebhookEvent {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Completed, Self::CompletedByTimeout, Self::Failed, Self::Cancelled, Self::ClosedByTimeout];
    /// Those that end a batch: what a webhook is told that names none.
    pub const TERMINAL: [Self; 4] =
        [Self::Completed, Self::CompletedByTimeout, Self::Failed, Self::Cancelled];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "batch.completed",
            Self::CompletedByTimeout => "batch.completed_by_timeout",
            Self::Failed => "batch.failed",
            Self::Cancelled => "batch.cancelled",
            Self::ClosedByTimeout => "batch.closed_by_timeout",
        }
    }

    /// What is told when a batch comes into this state.
    pub const fn of(state: BatchState) -> Option<Self> {
        match state {
            BatchState::Completed => Some(Self::Completed),
            BatchState::CompletedByTimeout => Some(Self::CompletedByTimeout),
            BatchState::Failed => Some(Self::Failed),
            BatchState::Cancelled => Some(Self::Cancelled),
            BatchState::ClosedByTimeout => Some(Self::ClosedByTimeout),
            BatchState::Open | BatchState::Closed => None,
        }
    }

    /// Whether it ends a batch.
    pub fn is_terminal(self) -> bool {
        Self::TERMINAL.contains(&self)
    }

    /// The event of this name.
    pub fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }
}

/// The type of a message that was asked for to try a webhook out.
pub const TEST_EVENT: &str = "webhook.test";

/// What a message says about a batch. No record values.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are those of the batch and its status")]
pub struct BatchOutcome {
    pub batch_id: Uuid,
    pub service_uri: String,
    pub batch_status: BatchStatus,
    pub created_by: String,
    pub correlation_id: Option<String>,
    pub source_system: Option<String>,
    pub summary: OutcomeSummary,
}

/// The counters of a batch at its end; completed excludes failed, as in batch information (contract 1.6).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names are those of batch information")]
pub struct OutcomeSummary {
    pub chunks_submitted: i64,
    pub chunks_completed: i64,
    pub chunks_failed: i64,
    pub records_submitted: i64,
    pub records_completed: i64,
    pub records_failed: i64,
    pub compute_time_ms: i64,
    pub batch_time_ms: i64,
}

/// The body of a message.
pub fn message(event: &str, at: DateTime<Utc>, data: &impl Serialize) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Message<'a, T> {
        r#type: &'a str,
        timestamp: String,
        data: &'a T,
    }
    let timestamp = at.to_rfc3339_opts(SecondsFormat::Millis, true);
    serde_json::to_string(&Message { r#type: event, timestamp, data })
}

/// How long to wait after the `attempts`-th attempt failed: twice as long as before it, up to a cap, and between three and five
/// quarters of that, so that what failed together does not come again together. `jitter` is a random number in 0..1.
pub fn retry_delay(attempts: u32, first: Duration, cap: Duration, jitter: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(30);
    let step = first.saturating_mul(1 << doublings).min(cap);
    step.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_end_of_a_batch_is_told() {
        for state in BatchState::ALL {
            let event = WebhookEvent::of(state);
            assert_eq!(event.is_some_and(WebhookEvent::is_terminal), state.is_terminal(), "{state}");
            if let Some(event) = event {
                assert_eq!(event.as_str(), format!("batch.{state}"));
                assert_eq!(WebhookEvent::read(event.as_str()), Some(event));
            }
        }
        assert_eq!(WebhookEvent::read("batch.opened"), None);
    }

    #[test]
    fn a_message_has_type_time_and_data() {
        let text = message("webhook.test", DateTime::UNIX_EPOCH, &serde_json::json!({"a": 1})).unwrap();
        assert_eq!(text, r#"{"type":"webhook.test","timestamp":"1970-01-01T00:00:00.000Z","data":{"a":1}}"#);
    }

    #[test]
    fn the_default_retries_cover_a_day() {
        let (first, cap) = (Duration::from_secs(5), Duration::from_secs(4 * 3_600));
        let mut waited = Duration::ZERO;
        let mut attempts = 0;
        while waited < Duration::from_secs(24 * 3_600) {
            attempts += 1;
            waited += retry_delay(attempts, first, cap, 0.5);
        }
        assert!((12..24).contains(&attempts), "{attempts} attempts");
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn waits_grow_to_the_cap(attempts in 1_u32..200, jitter in 0.0_f64..1.0) {
            let (first, cap) = (Duration::from_secs(5), Duration::from_secs(600));
            let wait = retry_delay(attempts, first, cap, jitter);
            prop_assert!(wait >= first.mul_f64(0.75) && wait <= cap.mul_f64(1.25));
            prop_assert!(retry_delay(attempts + 1, first, cap, jitter) >= wait);
        }
    }
}
