//! Publishing chunks with confirms.
//!
//! Calls go into one queue, from which a few channels take them in *rounds*: a channel takes what is waiting (up to a
//! share of the window), publishes all of it, waits for every confirm, and answers the calls. Lanes with much to publish
//! and lanes with little are never in one round, and the latter have channels on a connection of their own: they wait neither
//! for the confirms of a lane that is flooded, nor behind its messages in the socket, nor with its connection when the broker
//! slows that down.
//!
//! One channel never has two rounds under way. That is what makes a returned message attributable: RabbitMQ returns a
//! message before it confirms it, but the client library hands the return to whichever confirm comes next on the channel.
//! When a round is over, every return that belongs to it has been seen, and its routing key tells which calls it concerns.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, PublisherConfirm};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::calls::{Call, Calls, Forget, Outcome, Round, ServesLight, Takes};
use super::error::BrokerError;
use super::link::{
    Backoff, CLOSE_DEADLINE, CurrentLink, Link, LinkOptions, SMALL_FRAMES, next_link, supervise,
    supervise_beside, within,
};
use super::message::{ChunkMessage, MAX_CHUNK_ID_BYTES, MAX_MESSAGE_BYTES};
use super::names::{LaneId, Names};
use crate::config::BrokerConfig;
use crate::failpoint;
use crate::metrics::{CONFIRM_SECONDS, PUBLICATIONS};

/// Rounds of lanes with much to publish at a time.
const CHANNELS: usize = 4;
/// Rounds of lanes with little at a time. A call that finds all of them busy waits for a confirm that is not its own.
const LIGHT_CHANNELS: usize = 8;
/// Of the window, one byte in so many is kept for these.
const LIGHT_WINDOW: usize = 8;

/// Puts chunks on lanes, persistent, mandatory and confirmed. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    calls: Arc<Calls>,
    link: CurrentLink,
    light_link: CurrentLink,
    names: Names,
    deadline: Duration,
    shutdown: CancellationToken,
    stopped: CancellationToken,
}

impl Publisher {
    /// Starts to connect; to be called within a runtime. Until the connection is there, calls wait for it.
    pub fn start(config: &BrokerConfig, shutdown: CancellationToken) -> Self {
        let options = LinkOptions::new(config, "publisher");
        let setup = options.setup;
        // The connection must outlive the rounds under way.
        let close_link = CancellationToken::new();
        let (link, supervisor) = supervise(options, close_link.clone());
        let light_options = LinkOptions::new(config, "light_publisher").frame_max(SMALL_FRAMES);
        let (light_link, light_supervisor) =
            supervise_beside(Some(link.clone()), light_options, close_link.clone());
        let calls = Arc::new(Calls::new(config.window_bytes.min(u32::MAX as usize) / CHANNELS));
        let stopped = CancellationToken::new();
        let light_bytes = config.window_bytes / LIGHT_WINDOW;
        let rounds = |bytes: usize| Rounds {
            calls: Arc::clone(&calls),
            window: Arc::new(Semaphore::new(bytes.max(1))),
            window_bytes: bytes.clamp(1, u32::MAX as usize),
            setup,
            deadline: Duration::from_millis(config.confirm_timeout_ms),
        };
        let mut tasks = JoinSet::new();
        for (takes, link, channels, bytes) in [
            (Takes::Light, &light_link, LIGHT_CHANNELS, light_bytes),
            (Takes::Heavy, &link, CHANNELS, config.window_bytes - light_bytes),
        ] {
            let rounds = rounds(bytes);
            for _ in 0..channels {
                tasks.spawn(rounds.clone().run(takes, link.clone(), shutdown.clone()));
            }
        }
        let (done, closing) = (stopped.clone(), Arc::clone(&calls));
        tokio::spawn(async move {
            tasks.join_all().await;
            closing.close();
            close_link.cancel();
            let _ = tokio::join!(supervisor, light_supervisor);
            done.cancel();
        });
        let shared = Shared {
            calls,
            link,
            light_link,
            names: Names::new(&config.prefix),
            deadline: Duration::from_millis(config.confirm_timeout_ms),
            shutdown,
            stopped,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Publishes all messages. `Ok` means that the broker has confirmed every one of them, and returned none. Messages
    /// of a failed call may have arrived all the same: publishing them again does no harm, for the receiver knows a
    /// chunk that it has seen.
    ///
    /// # Errors
    /// [`BrokerError::TooLarge`]: nothing was sent. [`BrokerError::Blocked`], [`BrokerError::Unavailable`],
    /// [`BrokerError::Timeout`] (after `broker.confirm_timeout_ms`), [`BrokerError::Nacked`]: repeat later.
    /// [`BrokerError::Unroutable`]: the lane must be declared first.
    pub async fn publish(&self, lane: LaneId, messages: Vec<ChunkMessage>) -> Result<(), BrokerError> {
        if messages.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let outcome = self.publish_once(lane, messages).await;
        let word = match &outcome {
            Ok(()) => {
                CONFIRM_SECONDS.record(began.elapsed().as_secs_f64());
                "confirmed"
            }
            Err(BrokerError::Nacked(_) | BrokerError::TooLarge { .. }) => "refused",
            Err(BrokerError::Unroutable(_)) => "returned",
            Err(BrokerError::Blocked) => "blocked",
            Err(_) => "unanswered",
        };
        PUBLICATIONS.with(word).add(1);
        outcome
    }

    async fn publish_once(&self, lane: LaneId, messages: Vec<ChunkMessage>) -> Result<(), BrokerError> {
        let shared = &self.shared;
        for message in &messages {
            too_large(message.body.len(), MAX_MESSAGE_BYTES)?;
            too_large(message.chunk_id.len(), MAX_CHUNK_ID_BYTES)?;
        }
        if shared.shutdown.is_cancelled() {
            return Err(BrokerError::ShuttingDown);
        }
        if self.is_blocked() {
            return Err(BrokerError::Blocked);
        }
        let messages = Arc::new(Mutex::new(messages));
        let _forget = Forget(Arc::clone(&messages));
        let (answer, outcome) = oneshot::channel();
        let queue = ShortString::from(shared.names.lane(lane));
        let asking = async {
            shared.calls.add(lane, queue, messages, answer).await?;
            outcome.await.map_err(|_| BrokerError::ShuttingDown)?
        };
        match within(shared.deadline, asking).await {
            Err(BrokerError::Timeout(_)) if self.is_blocked() => Err(BrokerError::Blocked),
            Err(BrokerError::Timeout(after)) if !self.is_connected() => {
                Err(BrokerError::Unavailable(format!("no connection within {after} ms")))
            }
            outcome => outcome,
        }
    }

    /// Whether a call can be expected to succeed: connected, and not blocked.
    pub fn is_ready(&self) -> bool {
        self.is_connected() && !self.is_blocked()
    }

    /// Whether the broker has stopped accepting messages because of an alarm.
    pub fn is_blocked(&self) -> bool {
        let blocked = |link: &CurrentLink| link.borrow().as_ref().is_some_and(|link| link.is_blocked());
        blocked(&self.shared.link) || blocked(&self.shared.light_link)
    }

    fn is_connected(&self) -> bool {
        self.shared.link.borrow().as_ref().is_some_and(|link| link.is_up())
    }

    /// Waits until, after the shutdown, the calls under way are answered and the connection is closed.
    pub async fn stopped(&self) {
        self.shared.stopped.cancelled().await;
    }
}

fn too_large(bytes: usize, limit: usize) -> Result<(), BrokerError> {
    if bytes > limit { Err(BrokerError::TooLarge { bytes, limit }) } else { Ok(()) }
}

/// A call whose messages are being published.
struct Taken {
    queue: ShortString,
    answer: oneshot::Sender<Outcome>,
    /// Messages that lack their positive confirm.
    unconfirmed: usize,
    failure: Option<BrokerError>,
}

/// How a round ended for its channel.
enum RoundEnd {
    /// Every message was confirmed.
    Whole,
    /// The broker refused some. RabbitMQ 3.10 goes on refusing whatever a channel publishes to a queue that was full, when
    /// the queue's limit was lifted meanwhile: the channel must be replaced.
    Refused,
    /// Confirms are missing: the channel must not be used again, for a return could be taken for another round's.
    Missing,
}

/// What the tasks that publish share.
#[derive(Debug, Clone)]
struct Rounds {
    calls: Arc<Calls>,
    /// Bytes that may be published and not yet confirmed.
    window: Arc<Semaphore>,
    window_bytes: usize,
    setup: Duration,
    /// After this long no call of a round waits for its answer any more.
    deadline: Duration,
}

impl Rounds {
    /// Publishes rounds on one channel after another until the shutdown.
    async fn run(self, takes: Takes, mut current: CurrentLink, shutdown: CancellationToken) {
        let mut backoff = Backoff::new();
        // Taken by a channel that turned out to be dead before anything was published.
        let mut held = None;
        'channels: loop {
            let link = tokio::select! {
                link = next_link(&mut current) => link,
                () = shutdown.cancelled() => None,
            };
            let Some(link) = link else { return };
            match within(self.setup, confirming_channel(&link)).await {
                Ok(channel) => {
                    backoff.succeeded();
                    let _serves = (takes == Takes::Light).then(|| ServesLight::new(&self.calls));
                    loop {
                        let next = async {
                            match held.take() {
                                Some(round) => round,
                                None => self.calls.take(takes).await,
                            }
                        };
                        let Round { charges, calls } = tokio::select! {
                            biased;
                            round = next => round,
                            () = link.ended().cancelled() => break,
                            () = shutdown.cancelled() => {
                                let goodbye = channel.close(200, "OK".into());
                                let _ = tokio::time::timeout(CLOSE_DEADLINE, goodbye).await;
                                return;
                            }
                        };
                        if !channel.status().connected() || !link.is_up() {
                            held = Some(Round { charges, calls });
                            break;
                        }
                        let end = self.round(&channel, &link, calls).await;
                        self.calls.ended(charges);
                        match end {
                            RoundEnd::Whole => {}
                            RoundEnd::Refused => {
                                let goodbye = channel.close(200, "OK".into());
                                let _ = tokio::time::timeout(CLOSE_DEADLINE, goodbye).await;
                                continue 'channels;
                            }
                            RoundEnd::Missing => {
                                warn!("gave up a channel whose confirms did not come");
                                break;
                            }
                        }
                    }
                }
                Err(error) if link.is_up() => warn!(%error, "cannot open a channel for publishing"),
                Err(_) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Publishes the messages of some calls, waits for all confirms, and answers.
    async fn round(&self, channel: &Channel, link: &Link, calls: Vec<(Call, Vec<ChunkMessage>)>) -> RoundEnd {
        let mut taken = Vec::with_capacity(calls.len());
        let mut messages = Vec::new();
        for (index, (call, of_call)) in calls.into_iter().enumerate() {
            let (queue, answer) = (call.queue, call.answer);
            taken.push(Taken { queue, answer, unconfirmed: of_call.len(), failure: None });
            messages.extend(of_call.into_iter().map(|message| (index, message)));
        }
        let mut returned = HashSet::new();
        let complete = self.publish_all(channel, link, &mut taken, messages, &mut returned).await;
        let refused = taken.iter().any(|call| matches!(call.failure, Some(BrokerError::Nacked(_))));
        let blocked = link.is_blocked();
        for call in taken {
            let outcome = if returned.contains(call.queue.as_str()) {
                Err(BrokerError::Unroutable(call.queue.to_string()))
            } else if call.unconfirmed == 0 {
                Ok(())
            } else if blocked {
                Err(BrokerError::Blocked)
            } else {
                let lost = || BrokerError::Unavailable("a confirm did not come".to_owned());
                Err(call.failure.unwrap_or_else(lost))
            };
            // A caller that has gone away needs no answer.
            let _ = call.answer.send(outcome);
        }
        match (complete, refused) {
            (false, _) => RoundEnd::Missing,
            (true, true) => RoundEnd::Refused,
            (true, false) => RoundEnd::Whole,
        }
    }

    /// Publishes messages as the window allows and takes their confirms in. False when the connection ended or the
    /// deadline passed before all of them were in.
    async fn publish_all(
        &self,
        channel: &Channel,
        link: &Link,
        taken: &mut [Taken],
        messages: Vec<(usize, ChunkMessage)>,
        returned: &mut HashSet<String>,
    ) -> bool {
        let unwritten = &AtomicUsize::new(0);
        let mut under_way = FuturesUnordered::new();
        let mut messages = messages.into_iter();
        let mut next = messages.next();
        let mut deadline = std::pin::pin!(tokio::time::sleep(self.deadline));
        loop {
            let size = match &next {
                // Nobody waits for it.
                Some((index, _)) if taken.get(*index).is_none_or(|call| call.answer.is_closed()) => {
                    next = messages.next();
                    continue;
                }
                Some((_, message)) => message.body.len().clamp(1, self.window_bytes),
                None if under_way.is_empty() => return true,
                None => 0,
            };
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            tokio::select! {
                biased;
                Ok(permit) = Arc::clone(&self.window).acquire_many_owned(size), if next.is_some() => {
                    let Some((index, message)) = next.take() else { continue };
                    next = messages.next();
                    let Some(queue) = taken.get(index).map(|call| call.queue.clone()) else { continue };
                    unwritten.fetch_add(1, Ordering::Relaxed);
                    under_way.push(async move {
                        let written = write(channel, queue, message).await;
                        unwritten.fetch_sub(1, Ordering::Relaxed);
                        let confirm = match written {
                            Ok(confirm) => confirm.await,
                            Err(error) => Err(error),
                        };
                        drop(permit);
                        (index, confirm)
                    });
                }
                Some((index, confirm)) = under_way.next() => {
                    if let Some(call) = taken.get_mut(index) {
                        settle(call, returned, confirm);
                    }
                }
                () = link.ended().cancelled() => return false,
                // What the client library still holds keeps its share of the window, so that memory stays bounded
                // while a connection is stuck: such a round goes on until the connection ends.
                () = &mut deadline, if unwritten.load(Ordering::Relaxed) == 0 => return false,
            }
        }
    }
}

async fn confirming_channel(link: &Link) -> Result<Channel, BrokerError> {
    let channel = link.channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Ends when the message is written to the socket; its confirm comes later.
async fn write(
    channel: &Channel,
    queue: ShortString,
    message: ChunkMessage,
) -> Result<PublisherConfirm, lapin::Error> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let properties = message.properties();
    let publish = channel.basic_publish(ShortString::default(), queue, options, &message.body, properties);
    let confirm = publish.await;
    failpoint::reach("push.written", &message.chunk_id);
    confirm
}

/// Notes one confirm. A return that it carries may belong to any call of the round.
fn settle(call: &mut Taken, returned: &mut HashSet<String>, confirm: Result<Confirmation, lapin::Error>) {
    let failure = match confirm {
        Ok(Confirmation::Ack(message)) => {
            returned.extend(message.map(|message| message.routing_key.to_string()));
            call.unconfirmed -= 1;
            return;
        }
        Ok(Confirmation::Nack(message)) => {
            returned.extend(message.map(|message| message.routing_key.to_string()));
            BrokerError::Nacked(call.queue.to_string())
        }
        Ok(Confirmation::NotRequested) => {
            BrokerError::Unavailable("the channel gives no confirms".to_owned())
        }
        Err(error) => BrokerError::Unavailable(error.to_string()),
    };
    call.failure.get_or_insert(failure);
}
