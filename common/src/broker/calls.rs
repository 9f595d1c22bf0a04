//! The calls of a publisher, and which of them go into a round together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lapin::types::ShortString;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use super::error::BrokerError;
use super::message::ChunkMessage;
use super::names::LaneId;
use crate::model::{Charge, Class, FairQueue};

/// Most calls that wait for a channel; further ones wait before that, under the same deadline.
const WAITING_CALLS: usize = 1024;
/// Most messages of one round.
const ROUND_MESSAGES: u64 = 512;
/// A lane is light while what it has waiting and under way is no more than this part of a round.
const LIGHT_PART: u64 = 32;

pub(super) type Outcome = Result<(), BrokerError>;

/// One call of [`Publisher::publish`]. Its messages are taken by a round, or dropped with the call when that is given up.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) queue: ShortString,
    messages: Arc<Mutex<Vec<ChunkMessage>>>,
    pub(super) answer: oneshot::Sender<Outcome>,
    /// Its place among [`WAITING_CALLS`], given back when it is taken.
    _place: OwnedSemaphorePermit,
}

/// Calls that wait for a channel.
#[derive(Debug)]
pub(super) struct Calls {
    waiting: Mutex<FairQueue<LaneId, Call>>,
    places: Arc<Semaphore>,
    /// Bytes of one round.
    round_bytes: u64,
    /// Channels that take light calls alone and are open.
    light_channels: AtomicUsize,
    /// There may be calls for the channels that take light ones alone.
    light: Notify,
    /// There may be calls for the others.
    heavy: Notify,
}

impl Calls {
    /// `round_bytes`: most bytes of one round, but for its last call.
    pub(super) fn new(round_bytes: usize) -> Self {
        let round_bytes = round_bytes.max(1) as u64;
        Self {
            waiting: Mutex::new(FairQueue::new(round_bytes / LIGHT_PART)),
            places: Arc::new(Semaphore::new(WAITING_CALLS)),
            round_bytes,
            light_channels: AtomicUsize::new(0),
            light: Notify::new(),
            heavy: Notify::new(),
        }
    }

    /// Has messages published in one of the next rounds, once there is a place for the call.
    ///
    /// # Errors
    /// [`BrokerError::ShuttingDown`].
    pub(super) async fn add(
        &self,
        lane: LaneId,
        queue: ShortString,
        messages: Arc<Mutex<Vec<ChunkMessage>>>,
        answer: oneshot::Sender<Outcome>,
    ) -> Result<(), BrokerError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let _place = place.map_err(|_| BrokerError::ShuttingDown)?;
        let cost = self.cost(&messages.lock());
        {
            let mut waiting = self.waiting.lock();
            if self.places.is_closed() {
                return Err(BrokerError::ShuttingDown);
            }
            waiting.push(lane, cost, Call { queue, messages, answer, _place });
        }
        self.wake();
        Ok(())
    }

    /// Nobody takes calls any more: those that wait are given up.
    pub(super) fn close(&self) {
        self.places.close();
        let mut waiting = self.waiting.lock();
        for class in [Class::Light, Class::Heavy] {
            drop(waiting.take(class, u64::MAX));
        }
    }

    /// What a call takes of a round, in bytes.
    fn cost(&self, messages: &[ChunkMessage]) -> u64 {
        let bytes = messages.iter().map(|message| message.body.len() as u64).sum::<u64>();
        bytes.max(messages.len() as u64 * (self.round_bytes / ROUND_MESSAGES))
    }

    /// The calls of a round. Cancel-safe: once something is taken, nothing waits.
    pub(super) async fn take(&self, takes: Takes) -> Round {
        loop {
            let (taken, more) = {
                let mut waiting = self.waiting.lock();
                let taken = match takes {
                    Takes::Light => waiting.take(Class::Light, self.round_bytes),
                    Takes::Heavy => match waiting.take(Class::Heavy, self.round_bytes) {
                        none if none.is_empty() && self.light_channels.load(Ordering::Relaxed) == 0 => {
                            waiting.take(Class::Light, self.round_bytes)
                        }
                        heavy => heavy,
                    },
                };
                (taken, !waiting.is_empty())
            };
            if more && !taken.is_empty() {
                self.wake();
            }
            if taken.is_empty() {
                match takes {
                    Takes::Light => self.light.notified().await,
                    Takes::Heavy => self.heavy.notified().await,
                }
                continue;
            }
            let mut round = Round::default();
            for (charge, call) in taken {
                round.charges.push(charge);
                let messages = std::mem::take(&mut *call.messages.lock());
                // Nobody waits for the others.
                if !call.answer.is_closed() && !messages.is_empty() {
                    round.calls.push((call, messages));
                }
            }
            if !round.calls.is_empty() {
                return round;
            }
            self.ended(round.charges);
        }
    }

    /// The calls of a round are answered.
    pub(super) fn ended(&self, charges: Vec<Charge<LaneId>>) {
        let mut waiting = self.waiting.lock();
        for charge in charges {
            waiting.ended(charge);
        }
        drop(waiting);
        self.wake();
    }

    /// Has channels look: a call may make its lane a heavy one, or leave it a light one.
    fn wake(&self) {
        self.light.notify_one();
        self.heavy.notify_one();
    }
}

/// What a channel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Only calls of light lanes.
    Light,
    /// Calls of heavy lanes, and those of light ones while no channel takes these alone.
    Heavy,
}

/// A channel that takes light calls alone is open.
#[derive(Debug)]
pub(super) struct ServesLight(Arc<Calls>);

impl ServesLight {
    pub(super) fn new(calls: &Arc<Calls>) -> Self {
        calls.light_channels.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(calls))
    }
}

impl Drop for ServesLight {
    fn drop(&mut self) {
        self.0.light_channels.fetch_sub(1, Ordering::Relaxed);
        self.0.wake();
    }
}

/// The calls that a channel publishes at once.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) charges: Vec<Charge<LaneId>>,
    pub(super) calls: Vec<(Call, Vec<ChunkMessage>)>,
}

/// Frees the messages of a call that is given up before a round took them.
pub(super) struct Forget(pub(super) Arc<Mutex<Vec<ChunkMessage>>>);

impl Drop for Forget {
    fn drop(&mut self) {
        self.0.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use futures_util::FutureExt;
    use uuid::Uuid;

    use super::*;

    const ROUND: usize = 64_000;

    fn message(bytes: usize) -> ChunkMessage {
        ChunkMessage {
            kind: crate::broker::MessageKind::Chunk,
            batch_id: Uuid::nil(),
            chunk_no: 1,
            chunk_id: String::new(),
            epoch: 1,
            records: 1,
            charged_bytes: 1,
            scan: None,
            trace: None,
            compressed: false,
            body: Bytes::from(vec![0; bytes]),
        }
    }

    /// Adds a call with one message; what is returned ends when the call is dropped.
    fn add(calls: &Calls, lane: i32, bytes: usize) -> oneshot::Receiver<Outcome> {
        let (answer, outcome) = oneshot::channel();
        let messages = Arc::new(Mutex::new(vec![message(bytes)]));
        calls.add(LaneId(lane), lane.to_string().into(), messages, answer).now_or_never().unwrap().unwrap();
        outcome
    }

    fn take(calls: &Calls, takes: Takes) -> Option<Round> {
        calls.take(takes).now_or_never()
    }

    fn queues(round: &Round) -> Vec<&str> {
        round.calls.iter().map(|(call, _)| call.queue.as_str()).collect()
    }

    #[test]
    fn light_and_heavy_lanes_are_in_different_rounds() {
        let calls = Calls::new(ROUND);
        let _outcomes = [(1, 40_000), (2, 10), (1, 40_000), (3, 20), (1, 40_000)]
            .map(|(lane, bytes)| add(&calls, lane, bytes));
        assert_eq!(queues(&take(&calls, Takes::Light).unwrap()), ["2", "3"]);
        assert!(take(&calls, Takes::Light).is_none());
        assert_eq!(queues(&take(&calls, Takes::Heavy).unwrap()), ["1", "1"]);
        assert_eq!(queues(&take(&calls, Takes::Heavy).unwrap()), ["1"]);
        assert!(take(&calls, Takes::Heavy).is_none());
    }

    #[test]
    fn a_lane_with_a_round_under_way_stays_heavy_until_that_ended() {
        let calls = Calls::new(ROUND);
        let _first = add(&calls, 1, 40_000);
        let round = take(&calls, Takes::Heavy).unwrap();
        let _second = add(&calls, 1, 10);
        assert!(take(&calls, Takes::Light).is_none());
        calls.ended(round.charges);
        assert_eq!(queues(&take(&calls, Takes::Light).unwrap()), ["1"]);
    }

    #[test]
    fn light_calls_are_left_to_their_own_channels_while_these_are_open() {
        let calls = Arc::new(Calls::new(ROUND));
        let _outcomes = [add(&calls, 1, 10), add(&calls, 2, 40_000)];
        let serves = ServesLight::new(&calls);
        assert_eq!(queues(&take(&calls, Takes::Heavy).unwrap()), ["2"]);
        assert!(take(&calls, Takes::Heavy).is_none());
        drop(serves);
        assert_eq!(queues(&take(&calls, Takes::Heavy).unwrap()), ["1"]);
    }

    #[test]
    fn calls_that_were_given_up_are_passed_over() {
        let calls = Calls::new(ROUND);
        drop(add(&calls, 1, 10));
        assert!(take(&calls, Takes::Heavy).is_none());
        drop(add(&calls, 1, 10));
        let _kept = add(&calls, 1, 10);
        assert_eq!(take(&calls, Takes::Heavy).unwrap().calls.len(), 1);
        assert_eq!(calls.places.available_permits(), WAITING_CALLS);
    }

    #[test]
    fn closing_gives_up_what_waits_and_takes_nothing_more() {
        let calls = Calls::new(ROUND);
        let mut outcome = add(&calls, 1, 10);
        calls.close();
        assert_eq!(outcome.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        let (answer, _outcome) = oneshot::channel();
        let messages = Arc::new(Mutex::new(vec![message(1)]));
        let added = calls.add(LaneId(1), "1".into(), messages, answer).now_or_never().unwrap();
        assert!(matches!(added, Err(BrokerError::ShuttingDown)));
    }
}
