//! Receipts: what a delivery is settled with, once and only on the channel that it came on.

use std::sync::Arc;

use super::lane_channel::LaneChannel;

/// The right to settle one delivery.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub(super) channel: Arc<LaneChannel>,
    pub(super) tag: u64,
}

impl Receipt {
    /// False once the delivery's channel is gone: the broker has given the message to somebody else, so that work on it
    /// is wasted.
    pub fn is_live(&self) -> bool {
        self.channel.is_live()
    }

    /// The queue that the delivery came from.
    pub fn queue(&self) -> &str {
        self.channel.queue()
    }
}

/// What became of the receipts of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Handed to the connection.
    pub sent: usize,
    /// Skipped, because the channel is gone or the delivery is settled already. Expect a redelivery of the former.
    pub stale: usize,
}
