//! Consuming a set of queues that changes while it runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::consume::{Consuming, Shared, Slot};
use super::lane_channel::LaneChannel;
use super::link::{CLOSE_DEADLINE, CurrentLink, Link, LinkOptions, next_link, supervise};
use super::message::ChunkMessage;
use super::names::{LaneId, Names};
use super::receipt::{Receipt, Settled};
use crate::config::BrokerConfig;

/// Deliveries that wait between all channels and the receiver. What else is prefetched waits at its channel, so that
/// the sum of the prefetch counts bounds what a process holds.
const WAITING_DELIVERIES: usize = 64;

/// A queue to consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// A lane.
    Lane(LaneId),
    /// The dead-letter queue of all lanes.
    Dead,
}

/// One queue of the set to consume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    /// The queue.
    pub queue: Queue,
    /// The most deliveries that may be unsettled at once; 0 counts as 1.
    pub prefetch: u16,
}

/// A chunk from a queue.
#[derive(Debug)]
pub struct Delivery {
    /// Where it came from.
    pub queue: Queue,
    /// The chunk.
    pub message: ChunkMessage,
    /// The broker may have delivered it before; false means that it certainly has not.
    pub redelivered: bool,
    /// What it is settled with.
    pub receipt: Receipt,
}

/// Takes chunks from queues. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Consumers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    link: CurrentLink,
    wanted: watch::Sender<BTreeMap<Queue, u16>>,
    shared: Arc<Shared>,
    slots: Slots,
    stopped: CancellationToken,
}

/// The queues that are to be consumed on the present connection.
type Slots = Arc<Mutex<BTreeMap<Queue, Slot>>>;

impl Consumers {
    /// Starts to connect; to be called within a runtime. Nothing is consumed before [`Consumers::want`].
    ///
    /// Deliveries of all queues come out of the one receiver. While nobody receives, at most the prefetch count of each
    /// queue is in memory.
    pub fn start(config: &BrokerConfig, shutdown: CancellationToken) -> (Self, mpsc::Receiver<Delivery>) {
        let options = LinkOptions::new(config, "consumers");
        let (deliveries, receiver) = mpsc::channel(WAITING_DELIVERIES);
        let (wanted, watched) = watch::channel(BTreeMap::new());
        let shared = Arc::new(Shared {
            names: Names::new(&config.prefix),
            delivery_limit: config.delivery_limit,
            setup: options.setup,
            deliveries,
            redeclared: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
        });
        let slots = Arc::new(Mutex::new(BTreeMap::new()));
        // The connection must outlive the channels' own goodbyes.
        let close_link = CancellationToken::new();
        let (link, supervisor) = supervise(options, close_link.clone());
        let stopped = CancellationToken::new();
        let convergence = converge(Arc::clone(&shared), Arc::clone(&slots), link.clone(), watched, shutdown);
        let done = stopped.clone();
        tokio::spawn(async move {
            convergence.await;
            close_link.cancel();
            let _ = supervisor.await;
            done.cancel();
        });
        (Self { inner: Arc::new(Inner { link, wanted, shared, slots, stopped }) }, receiver)
    }

    /// Says which queues to consume from now on. A queue that is no longer wanted is given up at once: deliveries that
    /// were not yet handed out go back to it, while receipts that were handed out stay live until they are settled.
    /// A queue whose prefetch count changes keeps its deliveries.
    pub fn want(&self, subscriptions: Vec<Subscription>) {
        let wanted: BTreeMap<Queue, u16> =
            subscriptions.into_iter().map(|wanted| (wanted.queue, wanted.prefetch.max(1))).collect();
        self.inner.wanted.send_if_modified(|current| {
            let changed = *current != wanted;
            *current = wanted;
            changed
        });
    }

    /// Acknowledges deliveries, after their commit. Receipts whose channel is gone are skipped: the broker delivers
    /// those messages again.
    pub async fn ack(&self, receipts: &[Receipt]) -> Settled {
        settle(receipts, LaneChannel::ack)
    }

    /// Gives deliveries back to their queue. The broker counts this as a delivery.
    pub async fn requeue(&self, receipts: &[Receipt]) -> Settled {
        settle(receipts, |channel, tags| channel.nack(tags, true))
    }

    /// Whether there is a connection and every wanted queue is being consumed.
    pub fn is_ready(&self) -> bool {
        let connected = self.inner.link.borrow().as_ref().is_some_and(|link| link.is_up());
        let wanted = self.inner.wanted.borrow();
        let slots = self.inner.slots.lock();
        let consumed = |queue| {
            let slot: &Slot = slots.get(queue)?;
            slot.lock().as_ref().map(|channel| channel.is_live())
        };
        connected && wanted.keys().all(|queue| consumed(queue) == Some(true))
    }

    /// How often a wanted lane did not exist and was declared anew. Chunks that were in it are lost to the broker; the
    /// store knows them.
    pub fn redeclared(&self) -> u64 {
        self.inner.shared.redeclared.load(Ordering::Relaxed)
    }

    /// How many messages were no chunks and were refused.
    pub fn malformed(&self) -> u64 {
        self.inner.shared.malformed.load(Ordering::Relaxed)
    }

    /// Waits until, after the shutdown, the connection is closed. Receipts are stale from the shutdown on: settle them
    /// before it.
    pub async fn stopped(&self) {
        self.inner.stopped.cancelled().await;
    }
}

/// Groups receipts by channel.
fn settle(receipts: &[Receipt], frames: impl Fn(&LaneChannel, Vec<u64>) -> Settled) -> Settled {
    let mut channels: HashMap<*const LaneChannel, (&Arc<LaneChannel>, Vec<u64>)> = HashMap::new();
    for receipt in receipts {
        let (_, tags) = channels
            .entry(Arc::as_ptr(&receipt.channel))
            .or_insert_with(|| (&receipt.channel, Vec::with_capacity(receipts.len())));
        tags.push(receipt.tag);
    }
    let mut sum = Settled::default();
    for (channel, tags) in channels.into_values() {
        let settled = frames(channel, tags);
        sum.sent += settled.sent;
        sum.stale += settled.stale;
    }
    sum
}

/// Makes what is consumed equal to what is wanted, on one connection after another.
async fn converge(
    shared: Arc<Shared>,
    slots: Slots,
    mut current: CurrentLink,
    mut wanted: watch::Receiver<BTreeMap<Queue, u16>>,
    shutdown: CancellationToken,
) {
    loop {
        let link = tokio::select! {
            link = next_link(&mut current) => link,
            () = shutdown.cancelled() => None,
        };
        let Some(link) = link else { return };
        on_link(&shared, &slots, &link, &mut wanted, &shutdown).await;
        if shutdown.is_cancelled() {
            return;
        }
    }
}

/// Converges until the connection ends or the shutdown comes, and ends everything that it started.
async fn on_link(
    shared: &Arc<Shared>,
    slots: &Slots,
    link: &Arc<Link>,
    wanted: &mut watch::Receiver<BTreeMap<Queue, u16>>,
    shutdown: &CancellationToken,
) {
    let mut running: HashMap<Queue, Consuming> = HashMap::new();
    let mut ending: Vec<JoinHandle<()>> = Vec::new();
    let stop = CancellationToken::new();
    loop {
        let target = wanted.borrow_and_update().clone();
        let unwanted = running.extract_if(|queue, _| !target.contains_key(queue));
        ending.extend(unwanted.map(|(_, consuming)| consuming.end()));
        ending.retain(|task| !task.is_finished());
        for (queue, prefetch) in target {
            running
                .entry(queue)
                .or_insert_with(|| {
                    Consuming::start(Arc::clone(shared), Arc::clone(link), stop.clone(), queue, prefetch)
                })
                .set_prefetch(prefetch);
        }
        *slots.lock() = running.iter().map(|(queue, consuming)| (*queue, consuming.slot())).collect();
        let changed = tokio::select! {
            changed = wanted.changed() => changed.is_ok(),
            () = link.ended().cancelled() => false,
            () = shutdown.cancelled() => false,
        };
        if !changed {
            break;
        }
    }
    slots.lock().clear();
    // Not to wait for receipts that are out: on a lost connection they are stale, and at a shutdown they become so.
    stop.cancel();
    ending.extend(running.into_values().map(Consuming::end));
    let aborts: Vec<_> = ending.iter().map(JoinHandle::abort_handle).collect();
    if tokio::time::timeout(CLOSE_DEADLINE, join_all(ending)).await.is_err() {
        aborts.iter().for_each(AbortHandle::abort);
    }
}
