//! Declaring, inspecting, purging and deleting queues.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use tokio::sync::Mutex;
use tracing::info;

use super::error::BrokerError;
use super::link::{Link, LinkOptions, SMALL_FRAMES, within};
use super::names::{LaneId, Names};
use crate::config::BrokerConfig;

/// The delivery limit of the dead-letter queue: practically none. Left out, RabbitMQ 4.x would drop a message after 20
/// deliveries, and 3.x does not know "unlimited" as a value.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// What a lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneDepth {
    /// Messages that wait for a consumer; those that a consumer holds are not counted.
    pub ready: u32,
    /// Consumers of the queue. One that was cancelled counts until its deliveries are settled.
    pub consumers: u32,
}

/// Queues and exchanges of one installation. Its connection is opened at the first call and kept. Cloning is cheap;
/// calls follow one another.
#[derive(Debug, Clone)]
pub struct Topology {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: LinkOptions,
    names: Names,
    delivery_limit: u32,
    open: Mutex<Option<(Arc<Link>, Channel)>>,
}

impl Topology {
    /// Does not connect yet.
    pub fn new(config: &BrokerConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                options: LinkOptions::new(config, "topology").frame_max(SMALL_FRAMES),
                names: Names::new(&config.prefix),
                delivery_limit: config.delivery_limit,
                open: Mutex::new(None),
            }),
        }
    }

    /// The name of a lane's queue.
    pub fn lane_name(&self, lane: LaneId) -> String {
        self.shared.names.lane(lane)
    }

    /// Declares the dead-letter queue and the control exchange. To be called once by every process at start-up.
    ///
    /// # Errors
    /// [`BrokerError::Mismatch`] when they exist with other properties, [`BrokerError::BadUrl`] for an unusable URL; both
    /// are for an operator. Otherwise the broker is not reachable, or did not answer in time.
    pub async fn declare_shared(&self) -> Result<(), BrokerError> {
        let names = self.shared.names.clone();
        self.with_channel(|channel| async move { declare_shared(channel, &names).await }.boxed()).await
    }

    /// Declares a lane's queue. Costs about 10 ms when it is new; nothing happens when it exists.
    ///
    /// # Errors
    /// As [`Topology::declare_shared`].
    pub async fn declare_lane(&self, lane: LaneId) -> Result<(), BrokerError> {
        let (names, limit) = (self.shared.names.clone(), self.shared.delivery_limit);
        self.with_channel(|channel| async move { declare_lane(channel, &names, lane, limit).await }.boxed())
            .await
    }

    /// Removes the waiting messages of a lane and returns how many these were. Messages that a consumer holds stay.
    ///
    /// # Errors
    /// [`BrokerError::NotFound`] when there is no such queue, else as [`Topology::declare_shared`].
    pub async fn purge_lane(&self, lane: LaneId) -> Result<u32, BrokerError> {
        let queue = self.shared.names.lane(lane);
        let options = QueuePurgeOptions::default();
        self.with_channel(|channel| {
            async move { Ok(channel.queue_purge(queue.as_str().into(), options).await?) }.boxed()
        })
        .await
    }

    /// Deletes a lane's queue with everything in it. A queue that does not exist is no error.
    ///
    /// # Errors
    /// As [`Topology::declare_shared`].
    pub async fn delete_lane(&self, lane: LaneId) -> Result<(), BrokerError> {
        let queue = self.shared.names.lane(lane);
        self.delete(queue).await
    }

    /// Deletes the dead-letter queue and the control exchange: the end of an installation, or of a test.
    ///
    /// # Errors
    /// As [`Topology::declare_shared`].
    pub async fn delete_shared(&self) -> Result<(), BrokerError> {
        self.delete(self.shared.names.dead()).await?;
        let exchange = self.shared.names.control();
        let options = ExchangeDeleteOptions::default();
        self.with_channel(|channel| {
            async move { Ok(channel.exchange_delete(exchange.as_str().into(), options).await?) }.boxed()
        })
        .await
    }

    /// How many messages wait in a lane. Not to be called in a tight loop.
    ///
    /// # Errors
    /// As [`Topology::purge_lane`].
    pub async fn lane_depth(&self, lane: LaneId) -> Result<LaneDepth, BrokerError> {
        self.depth(self.shared.names.lane(lane)).await
    }

    /// How many dead letters wait.
    ///
    /// # Errors
    /// As [`Topology::purge_lane`].
    pub async fn dead_depth(&self) -> Result<LaneDepth, BrokerError> {
        self.depth(self.shared.names.dead()).await
    }

    async fn depth(&self, queue: String) -> Result<LaneDepth, BrokerError> {
        self.with_channel(|channel| async move { depth(channel, &queue).await }.boxed()).await
    }

    async fn delete(&self, queue: String) -> Result<(), BrokerError> {
        let options = QueueDeleteOptions::default();
        let deleted = self.with_channel(|channel| {
            async move { Ok(channel.queue_delete(queue.as_str().into(), options).await?) }.boxed()
        });
        deleted.await.map(drop)
    }

    /// Runs one operation under the set-up deadline. A failed operation closes its channel (AMQP does so for most
    /// errors), and the connection too when that is what failed.
    async fn with_channel<T>(
        &self,
        work: impl for<'a> FnOnce(&'a Channel) -> BoxFuture<'a, Result<T, BrokerError>>,
    ) -> Result<T, BrokerError> {
        let mut open = self.shared.open.lock().await;
        // Taken out, and put back only after success: what is left by a failure or an abandoned call is not used again.
        let kept = open.take().filter(|(link, channel)| link.is_up() && channel.status().connected());
        let options = &self.shared.options;
        within(options.setup, async {
            let (link, channel) = match kept {
                Some(kept) => kept,
                None => {
                    let link = Link::open(options).await?;
                    let channel = link.channel().await?;
                    (link, channel)
                }
            };
            let result = work(&channel).await?;
            *open = Some((link, channel));
            Ok(result)
        })
        .await
    }
}

/// Asks a queue for its depth without changing it; a missing queue closes the channel.
pub(super) async fn depth(channel: &Channel, queue: &str) -> Result<LaneDepth, BrokerError> {
    let options = QueueDeclareOptions::durable().passive();
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok(LaneDepth { ready: queue.message_count(), consumers: queue.consumer_count() })
}

/// The dead-letter queue and the control exchange.
pub(super) async fn declare_shared(channel: &Channel, names: &Names) -> Result<(), BrokerError> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DEAD_DELIVERY_LIMIT));
    channel.queue_declare(names.dead().as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
    declare_control(channel, names).await
}

/// The fanout exchange of control events.
pub(super) async fn declare_control(channel: &Channel, names: &Names) -> Result<(), BrokerError> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let exchange = names.control();
    channel
        .exchange_declare(exchange.as_str().into(), ExchangeKind::Fanout, options, FieldTable::default())
        .await?;
    Ok(())
}

/// A lane; the dead-letter queue must exist before it, or dead letters would wait for minutes after it appears.
pub(super) async fn declare_lane(
    channel: &Channel,
    names: &Names,
    lane: LaneId,
    delivery_limit: u32,
) -> Result<(), BrokerError> {
    let text = |value: &str| AMQPValue::LongString(value.into());
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(i64::from(delivery_limit)));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(&names.dead()));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    let queue = names.lane(lane);
    let declared =
        channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
    if declared.message_count() == 0 && declared.consumer_count() == 0 {
        info!(queue, "declared a lane");
    }
    Ok(())
}
