//! Settings of what tells others: event streams and webhooks.

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
