//! Consuming one queue on one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::consumers::{Delivery, Queue};
use super::error::BrokerError;
use super::lane_channel::LaneChannel;
use super::link::{Backoff, Link, within};
use super::message::ChunkMessage;
use super::names::Names;
use super::receipt::Receipt;
use super::topology;
use crate::metrics::{LANES_REDECLARED, MALFORMED_MESSAGES};

/// Without a delivery for this long, and with none unsettled, the queue is asked whether it has messages.
const SILENCE: Duration = Duration::from_secs(30);
/// So many times in a row a queue may have messages and deliver none before its channel is rebuilt.
const SILENT_ROUNDS: u32 = 2;

/// What all consumers of a process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) names: Names,
    pub(super) delivery_limit: u32,
    pub(super) setup: Duration,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    pub(super) redeclared: AtomicU64,
    pub(super) malformed: AtomicU64,
}

impl Shared {
    fn name(&self, queue: Queue) -> String {
        match queue {
            Queue::Lane(lane) => self.names.lane(lane),
            Queue::Dead => self.names.dead(),
        }
    }
}

/// The channel on which a queue is consumed at the moment.
pub(super) type Slot = Arc<Mutex<Option<Arc<LaneChannel>>>>;

/// The task that consumes one queue.
#[derive(Debug)]
pub(super) struct Consuming {
    slot: Slot,
    prefetch: watch::Sender<u16>,
    unwanted: CancellationToken,
    task: JoinHandle<()>,
}

impl Consuming {
    /// `stop` ends the wait for deliveries that were handed out.
    pub(super) fn start(
        shared: Arc<Shared>,
        link: Arc<Link>,
        stop: CancellationToken,
        queue: Queue,
        prefetch: u16,
    ) -> Self {
        let (sender, receiver) = watch::channel(prefetch);
        let unwanted = CancellationToken::new();
        let slot = Slot::default();
        let held = Arc::clone(&slot);
        let worker =
            Worker { shared, link, stop, queue, prefetch: receiver, unwanted: unwanted.clone(), slot: held };
        Self { slot, prefetch: sender, unwanted, task: tokio::spawn(worker.run()) }
    }

    pub(super) fn slot(&self) -> Slot {
        Arc::clone(&self.slot)
    }

    pub(super) fn set_prefetch(&self, prefetch: u16) {
        self.prefetch.send_if_modified(|current| std::mem::replace(current, prefetch) != prefetch);
    }

    /// Stops consuming; the task ends when the deliveries that were handed out are settled.
    pub(super) fn end(self) -> JoinHandle<()> {
        self.unwanted.cancel();
        self.task
    }
}

/// Retires the channel whatever way its task ends.
struct Retire(Arc<LaneChannel>);

impl Drop for Retire {
    fn drop(&mut self) {
        self.0.retire();
    }
}

/// Why a consumer ended.
enum End {
    /// It is no longer wanted.
    Unwanted,
    /// Another prefetch count is wanted, on the same channel.
    Prefetch,
    /// The channel is of no use any more.
    Lost(&'static str),
}

struct Worker {
    shared: Arc<Shared>,
    link: Arc<Link>,
    stop: CancellationToken,
    queue: Queue,
    prefetch: watch::Receiver<u16>,
    unwanted: CancellationToken,
    slot: Slot,
}

impl Worker {
    /// One channel after another until the queue is unwanted or the connection ends.
    async fn run(mut self) {
        let queue = self.shared.name(self.queue);
        let mut backoff = Backoff::new();
        while self.link.is_up() && !self.unwanted.is_cancelled() {
            match self.one_channel(&queue, &mut backoff).await {
                Ok(()) => return,
                Err(error) if self.link.is_up() => warn!(queue, %error, "consuming is interrupted"),
                Err(error) => debug!(queue, %error, "consuming ends with its connection"),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                () = self.unwanted.cancelled() => {}
                () = self.link.ended().cancelled() => {}
            }
        }
    }

    /// Consumes on a new channel. `Ok` when the queue is no longer wanted.
    async fn one_channel(&mut self, queue: &str, backoff: &mut Backoff) -> Result<(), BrokerError> {
        let mut prefetch = *self.prefetch.borrow_and_update();
        let setup = self.shared.setup;
        let (channel, mut consumer) = within(setup, self.subscribe(queue, prefetch)).await?;
        let lane = Arc::new(LaneChannel::new(queue, channel));
        let _retire = Retire(Arc::clone(&lane));
        backoff.succeeded();
        *self.slot.lock() = Some(Arc::clone(&lane));
        info!(queue, prefetch, "consuming");
        loop {
            match self.forward(queue, &lane, &mut consumer).await {
                End::Unwanted => {
                    info!(queue, unsettled = lane.open_deliveries(), "no longer consuming");
                    within(setup, self.give_back(&lane, consumer)).await?;
                    tokio::select! {
                        () = lane.idle() => {}
                        () = self.stop.cancelled() => {}
                        () = self.link.ended().cancelled() => {}
                    }
                    // Said before the goodbye, so that a late settlement is not sent into a closing channel.
                    lane.retire();
                    let _ = within(setup, async { Ok(lane.channel().close(200, "OK".into()).await?) }).await;
                    return Ok(());
                }
                End::Prefetch => {
                    prefetch = *self.prefetch.borrow_and_update();
                    within(setup, cancel(&lane, &consumer)).await?;
                    // What was delivered before the cancellation is handed out as before.
                    if let End::Lost(reason) = self.drain(queue, &lane, &mut consumer).await {
                        return Err(BrokerError::Unavailable(reason.to_owned()));
                    }
                    consumer = within(setup, consume(lane.channel(), queue, prefetch)).await?;
                    info!(queue, prefetch, "consuming with another prefetch count");
                }
                End::Lost(reason) => return Err(BrokerError::Unavailable(reason.to_owned())),
            }
        }
    }

    /// A channel that consumes the queue; a lane that does not exist is declared.
    async fn subscribe(&self, queue: &str, prefetch: u16) -> Result<(Channel, Consumer), BrokerError> {
        let channel = self.link.channel().await?;
        match consume(&channel, queue, prefetch).await {
            Ok(consumer) => return Ok((channel, consumer)),
            Err(BrokerError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        warn!(queue, "the queue does not exist: declaring it");
        self.shared.redeclared.fetch_add(1, Ordering::Relaxed);
        LANES_REDECLARED.add(1);
        let channel = self.link.channel().await?;
        topology::declare_shared(&channel, &self.shared.names).await?;
        if let Queue::Lane(lane) = self.queue {
            topology::declare_lane(&channel, &self.shared.names, lane, self.shared.delivery_limit).await?;
        }
        let consumer = consume(&channel, queue, prefetch).await?;
        Ok((channel, consumer))
    }

    /// Hands deliveries out until something else is to be done.
    async fn forward(&mut self, queue: &str, lane: &Arc<LaneChannel>, consumer: &mut Consumer) -> End {
        let mut silent = 0;
        loop {
            let next = tokio::select! {
                biased;
                () = self.unwanted.cancelled() => return End::Unwanted,
                changed = self.prefetch.changed() => {
                    return if changed.is_ok() { End::Prefetch } else { End::Unwanted };
                }
                next = tokio::time::timeout(SILENCE, consumer.next()) => next,
            };
            // The stream is never polled again after its first error or end: it would wait for ever.
            let delivery = match next {
                Ok(Some(Ok(delivery))) => delivery,
                Ok(Some(Err(_))) => return End::Lost("the channel failed"),
                Ok(None) => return End::Lost("the broker ended the consumer"),
                Err(_) => {
                    silent = if self.is_stuck(queue, lane).await { silent + 1 } else { 0 };
                    if silent >= SILENT_ROUNDS {
                        return End::Lost("the queue has messages and delivers none");
                    }
                    continue;
                }
            };
            silent = 0;
            let Some(delivery) = self.open(queue, lane, delivery) else { continue };
            let unwanted = self.unwanted.clone();
            let ended = self.link.ended().clone();
            tokio::select! {
                biased;
                place = self.shared.deliveries.reserve() => match place {
                    Ok(place) => {
                        if delivery.receipt.is_live() {
                            place.send(delivery);
                        }
                    }
                    // Nobody receives any more.
                    Err(_) => return End::Unwanted,
                },
                () = unwanted.cancelled() => {
                    lane.nack(vec![delivery.receipt.tag], true);
                    return End::Unwanted;
                }
                () = ended.cancelled() => return End::Lost("the connection ended"),
            }
        }
    }

    /// Hands out what a cancelled consumer has still delivered.
    async fn drain(&self, queue: &str, lane: &Arc<LaneChannel>, consumer: &mut Consumer) -> End {
        while let Some(next) = consumer.next().await {
            let Ok(delivery) = next else { return End::Lost("the channel failed") };
            let Some(delivery) = self.open(queue, lane, delivery) else { continue };
            let unwanted = self.unwanted.clone();
            tokio::select! {
                sent = self.shared.deliveries.send(delivery) => if sent.is_err() { return End::Unwanted },
                () = unwanted.cancelled() => return End::Unwanted,
                () = self.link.ended().cancelled() => return End::Lost("the connection ended"),
            }
        }
        if lane.is_live() { End::Prefetch } else { End::Lost("the channel ended") }
    }

    /// Cancels the consumer and returns what was not handed out.
    async fn give_back(&self, lane: &Arc<LaneChannel>, mut consumer: Consumer) -> Result<(), BrokerError> {
        cancel(lane, &consumer).await?;
        let mut tags = Vec::new();
        while let Some(Ok(delivery)) = consumer.next().await {
            lane.delivered(delivery.delivery_tag);
            tags.push(delivery.delivery_tag);
        }
        lane.nack(tags, true);
        Ok(())
    }

    /// Turns a delivery into a chunk. What is no chunk is settled here: a lane's goes to the dead letters, and there it
    /// ends.
    fn open(
        &self,
        queue: &str,
        lane: &Arc<LaneChannel>,
        delivery: lapin::message::Delivery,
    ) -> Option<Delivery> {
        let tag = delivery.delivery_tag;
        lane.delivered(tag);
        match ChunkMessage::from_parts(&delivery.properties, delivery.data) {
            Ok(message) => Some(Delivery {
                queue: self.queue,
                message,
                redelivered: delivery.redelivered,
                receipt: Receipt { channel: Arc::clone(lane), tag },
            }),
            Err(error) => {
                self.shared.malformed.fetch_add(1, Ordering::Relaxed);
                MALFORMED_MESSAGES.add(1);
                warn!(queue, %error, "refused a message that is no chunk");
                match self.queue {
                    Queue::Lane(_) => lane.nack(vec![tag], false),
                    Queue::Dead => lane.ack(vec![tag]),
                };
                None
            }
        }
    }

    /// Whether the queue has messages for us and keeps them.
    async fn is_stuck(&self, queue: &str, lane: &Arc<LaneChannel>) -> bool {
        if lane.open_deliveries() > 0 {
            return false;
        }
        let asked = within(self.shared.setup, topology::depth(lane.channel(), queue)).await;
        asked.is_ok_and(|depth| depth.ready > 0)
    }
}

async fn consume(channel: &Channel, queue: &str, prefetch: u16) -> Result<Consumer, BrokerError> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    Ok(channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?)
}

async fn cancel(lane: &LaneChannel, consumer: &Consumer) -> Result<(), BrokerError> {
    Ok(lane.channel().basic_cancel(consumer.tag(), BasicCancelOptions::default()).await?)
}
