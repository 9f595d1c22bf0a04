//! Settings of what tells others: event streams and webhooks.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Streams of server-sent events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Time between two looks at all watched batches, in milliseconds; control events make it shorter, down to 200.
    pub poll_ms: u64,
    /// Open streams of one API process; further ones get 429.
    pub streams: usize,
    /// Open streams of one tenant in one API process; further ones get 429.
    pub streams_per_tenant: usize,
    /// Silence after which a comment is sent, so that nobody on the way takes the stream for dead, in milliseconds.
    pub keep_alive_ms: u64,
    /// A reader that takes nothing for this long is dropped, in milliseconds.
    pub slow_reader_ms: u64,
    /// A stream ends after this long; the client comes back where it was, and is authenticated anew. In seconds.
    pub stream_seconds: u64,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            poll_ms: 500,
            streams: 2_000,
            streams_per_tenant: 500,
            keep_alive_ms: 15_000,
            slow_reader_ms: 10_000,
            stream_seconds: 3_600,
        }
    }
}

/// A key that secrets are sealed with: 32 bytes, written in base64; empty for none. Never shown.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct SealingKey(Option<[u8; 32]>);

impl SealingKey {
    /// The bytes, if there is a key.
    pub const fn expose(&self) -> Option<&[u8; 32]> {
        self.0.as_ref()
    }
}

/// What is written is no [`SealingKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key must be 32 bytes in base64")]
pub struct NoSealingKey;

impl TryFrom<String> for SealingKey {
    type Error = NoSealingKey;

    fn try_from(text: String) -> Result<Self, NoSealingKey> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let bytes = STANDARD.decode(text).map_err(|_| NoSealingKey)?;
        Ok(Self(Some(bytes.try_into().map_err(|_| NoSealingKey)?)))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "\"<redacted>\"" } else { "\"\"" })
    }
}

impl Serialize for SealingKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_some() { "<redacted>" } else { "" })
    }
}

/// Webhooks. Messages are delivered by workers; the API needs `allow_private` and `secret_key` as well, with the same values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksConfig {
    /// Private, local or reserved address ranges that messages may go to all the same, such as `["10.1.0.0/16"]`; as a variable
    /// separated by commas.
    pub allow_private: Vec<IpNet>,
    /// Encrypts the signing secrets in the database: 32 random bytes in base64 (`openssl rand -base64 32`). Empty: they are stored
    /// as they are, as safe as the database.
    pub secret_key: SealingKey,
    /// Most webhooks of one tenant.
    pub per_tenant: u32,
    /// Time between two looks for messages that are due when no control event comes, in milliseconds.
    pub poll_ms: u64,
    /// Longest attempt to deliver, in milliseconds.
    pub timeout_ms: u64,
    /// Attempts that one worker has under way at once.
    pub concurrency: usize,
    /// Attempts that one worker has under way to one host at once.
    pub per_host: usize,
    /// Attempts that one worker has under way for one tenant at once.
    pub tenant_concurrency: usize,
    /// Wait after a first failed attempt, in milliseconds; it doubles with each further one.
    pub retry_first_ms: u64,
    /// Longest wait between two attempts, in seconds.
    pub retry_most_seconds: u64,
    /// A message that is not delivered within this time is given up, in seconds.
    pub give_up_seconds: u64,
    /// A webhook to which nothing could be delivered for this long is switched off, in seconds.
    pub disable_seconds: u64,
    /// After a change of secrets the old one signs as well for this long, in seconds.
    pub rotation_seconds: u64,
    /// Delivered and given up messages are kept for this long, in seconds.
    pub retention_seconds: u64,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            allow_private: Vec::new(),
            secret_key: SealingKey::default(),
            per_tenant: 50,
            poll_ms: 1_000,
            timeout_ms: 15_000,
            concurrency: 64,
            per_host: 4,
            tenant_concurrency: 16,
            retry_first_ms: 5_000,
            retry_most_seconds: 14_400,
            give_up_seconds: 86_400,
            disable_seconds: 432_000,
            rotation_seconds: 86_400,
            retention_seconds: 604_800,
        }
    }
}
