//! Telling others: event streams and webhooks, with real processes and real receivers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod notifications {
    pub mod receiver;
    pub mod stream;

    mod events;
    mod webhooks;
}
