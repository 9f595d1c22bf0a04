//! The input buffer: lanes, dead letters and control events on RabbitMQ. This is the only place with AMQP.
//!
//! Every part keeps its own connection under its own supervision and is rebuilt after any failure, with a jittered
//! backoff of at most five seconds; nothing here gives up and nothing is recovered by the client library itself.
//!
//! | part | what it does | connection |
//! | --- | --- | --- |
//! | [`Topology`] | declares, inspects, purges and deletes queues | opened on first use, then kept |
//! | [`Publisher`] | puts chunks on lanes, with confirms | its own |
//! | [`Consumers`] | takes chunks from lanes and from the dead-letter queue | its own |
//! | [`Control`] | tells every process what changed | its own |
//! | [`Probe`] | looks without changing anything | one for each look |
//!
//! Only the arguments that RabbitMQ 3.10 and 4.x understand alike are used.

mod calls;
mod consume;
mod consumers;
mod control;
mod error;
mod lane_channel;
mod link;
mod message;
mod names;
mod probe;
mod publisher;
mod receipt;
mod topology;

pub use consumers::{Consumers, Delivery, Queue, Subscription};
pub use control::{Control, ControlEvent};
pub use error::BrokerError;
pub use message::{ChunkMessage, MAX_CHUNK_ID_BYTES, MAX_MESSAGE_BYTES, MessageKind};
pub use names::LaneId;
pub use probe::{Greeting, ManagementAccess, Probe};
pub use publisher::Publisher;
pub use receipt::{Receipt, Settled};
pub use topology::{LaneDepth, Topology};

/// Directives that every log filter must end with: the client library would write returned messages, and with them
/// record values, into the log.
pub const LOG_DIRECTIVES: [&str; 1] = ["lapin::returned_messages=off"];
