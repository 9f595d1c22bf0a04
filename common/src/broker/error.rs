//! What can go wrong with the broker.

/// Why the broker did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// `broker.url` is not a usable AMQP URL. Only a change of configuration helps.
    #[error("broker.url is not a usable AMQP URL: {0}")]
    BadUrl(String),
    /// `broker.tls_ca` cannot be read.
    #[error("broker.tls_ca: {0}")]
    Authorities(String),
    /// There is no connection, or it was lost before the outcome was known. The operation may or may not have happened;
    /// repeating it later is safe.
    #[error("the broker is not reachable: {0}")]
    Unavailable(String),
    /// The broker has stopped accepting messages (memory or disk alarm). Repeat later.
    #[error("the broker accepts no messages at the moment")]
    Blocked,
    /// The deadline passed without the broker's answer. The operation may or may not have happened.
    #[error("the broker did not answer within {0} ms")]
    Timeout(u64),
    /// A mandatory message was returned: the lane's queue does not exist.
    #[error("the queue {0} does not exist")]
    Unroutable(String),
    /// The broker refused to store a message (its queue is full).
    #[error("the broker refused a message for the queue {0}")]
    Nacked(String),
    /// A message is larger than the broker can be relied on to take; nothing was sent.
    #[error("a message of {bytes} bytes is above the limit of {limit} bytes")]
    TooLarge {
        /// Size of the message's offending part.
        bytes: usize,
        /// The largest size that is sent.
        limit: usize,
    },
    /// A queue or exchange exists with other properties: another installation, or another version of the names.
    #[error("the broker has it with other properties: {0}")]
    Mismatch(String),
    /// The queue to inspect does not exist.
    #[error("not found on the broker: {0}")]
    NotFound(String),
    /// The process is shutting down.
    #[error("the connection to the broker is closing")]
    ShuttingDown,
}

impl BrokerError {
    /// Its kind in one word, for traces.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::BadUrl(_) => "bad_url",
            Self::Authorities(_) => "authorities",
            Self::Unavailable(_) => "unavailable",
            Self::Blocked => "blocked",
            Self::Timeout(_) => "timeout",
            Self::Unroutable(_) => "unroutable",
            Self::Nacked(_) => "nacked",
            Self::TooLarge { .. } => "too_large",
            Self::Mismatch(_) => "mismatch",
            Self::NotFound(_) => "not_found",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Blocked | Self::Timeout(_) | Self::Nacked(_) | Self::ShuttingDown
        )
    }
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        if let lapin::ErrorKind::ProtocolError(amqp) = error.kind() {
            match amqp.get_id() {
                404 => return Self::NotFound(amqp.get_message().to_string()),
                // 405 RESOURCE_LOCKED and 406 PRECONDITION_FAILED
                405 | 406 => return Self::Mismatch(amqp.get_message().to_string()),
                _ => {}
            }
        }
        Self::Unavailable(error.to_string())
    }
}
