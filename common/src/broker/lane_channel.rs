//! Which deliveries of one channel are settled.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::receipt::Settled;

/// A frame that settles deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    tag: u64,
    multiple: bool,
}

/// The delivery tags of one channel, which the broker counts from 1: what is below `first` is settled, and `settled[i]`
/// tells about the tag `first + i`.
#[derive(Debug, Default)]
struct Tags {
    first: u64,
    settled: VecDeque<bool>,
    open: usize,
}

impl Tags {
    fn new() -> Self {
        Self { first: 1, settled: VecDeque::new(), open: 0 }
    }

    /// A delivery came in. Tags come in order; a gap (which the broker never makes) counts as settled.
    fn delivered(&mut self, tag: u64) {
        while self.first + self.settled.len() as u64 <= tag {
            let next = self.first + self.settled.len() as u64;
            self.settled.push_back(next != tag);
        }
        self.open += 1;
    }

    /// Marks a tag. False when it was settled before, or never delivered.
    fn settle(&mut self, tag: u64) -> bool {
        let Some(index) = tag.checked_sub(self.first).and_then(|index| usize::try_from(index).ok()) else {
            return false;
        };
        match self.settled.get_mut(index) {
            Some(settled) if !*settled => {
                *settled = true;
                self.open -= 1;
                true
            }
            _ => false,
        }
    }

    /// Forgets the settled tags at the front.
    fn advance(&mut self) {
        while self.settled.front() == Some(&true) {
            self.settled.pop_front();
            self.first += 1;
        }
    }

    /// The frames that acknowledge `tags` and nothing else: one for everything up to the first delivery that is still
    /// open, and one each for those beyond it. Returns how many tags were open.
    fn ack(&mut self, tags: &mut Vec<u64>) -> Vec<Frame> {
        tags.retain(|tag| self.settle(*tag));
        tags.sort_unstable();
        self.advance();
        let beyond = tags.partition_point(|tag| *tag < self.first);
        let mut frames = Vec::with_capacity(1 + tags.len() - beyond);
        if let Some(last) = tags[..beyond].last() {
            // The tag itself is still open at the broker, as a multiple acknowledgement demands.
            frames.push(Frame { tag: *last, multiple: beyond > 1 });
        }
        frames.extend(tags[beyond..].iter().map(|tag| Frame { tag: *tag, multiple: false }));
        frames
    }
}

/// One channel that consumes one queue, with the state of its deliveries.
#[derive(Debug)]
pub(super) struct LaneChannel {
    queue: String,
    channel: Channel,
    gone: AtomicBool,
    tags: Mutex<Tags>,
    /// Told whenever no delivery is open any more.
    settled: Notify,
}

impl LaneChannel {
    pub(super) fn new(queue: &str, channel: Channel) -> Self {
        Self {
            queue: queue.to_owned(),
            channel,
            gone: AtomicBool::new(false),
            tags: Mutex::new(Tags::new()),
            settled: Notify::new(),
        }
    }

    pub(super) fn queue(&self) -> &str {
        &self.queue
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    pub(super) fn is_live(&self) -> bool {
        !self.gone.load(Ordering::Acquire) && self.channel.status().connected()
    }

    /// From now on every receipt is stale.
    pub(super) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
        self.settled.notify_waiters();
    }

    pub(super) fn delivered(&self, tag: u64) {
        self.tags.lock().delivered(tag);
    }

    /// Waits until no delivery is open, or the channel is retired.
    pub(super) async fn idle(&self) {
        loop {
            let told = self.settled.notified();
            if self.gone.load(Ordering::Acquire) || self.tags.lock().open == 0 {
                return;
            }
            told.await;
        }
    }

    pub(super) fn open_deliveries(&self) -> usize {
        self.tags.lock().open
    }

    /// Acknowledges deliveries, in as few frames as possible.
    pub(super) fn ack(&self, mut wanted: Vec<u64>) -> Settled {
        let total = wanted.len();
        // The lock is held until the frames are queued: a multiple acknowledgement that overtook a single one of a
        // lower tag would make the broker close the channel.
        let mut tags = self.tags.lock();
        if !self.is_live() {
            return Settled { sent: 0, stale: total };
        }
        let frames = tags.ack(&mut wanted);
        let mut alive = true;
        for Frame { tag, multiple } in frames {
            alive &= queued(self.channel.basic_ack(tag, BasicAckOptions { multiple }));
        }
        self.done(&tags, alive, wanted.len(), total)
    }

    /// Gives deliveries back, to the queue or (`requeue` false) to its dead letters.
    pub(super) fn nack(&self, mut wanted: Vec<u64>, requeue: bool) -> Settled {
        let total = wanted.len();
        let mut tags = self.tags.lock();
        if !self.is_live() {
            return Settled { sent: 0, stale: total };
        }
        wanted.retain(|tag| tags.settle(*tag));
        tags.advance();
        let mut alive = true;
        for tag in &wanted {
            alive &= queued(self.channel.basic_nack(*tag, BasicNackOptions { multiple: false, requeue }));
        }
        self.done(&tags, alive, wanted.len(), total)
    }

    fn done(&self, tags: &Tags, alive: bool, sent: usize, total: usize) -> Settled {
        if tags.open == 0 {
            self.settled.notify_waiters();
        }
        let sent = if alive { sent } else { 0 };
        Settled { sent, stale: total - sent }
    }
}

/// Queues a frame for writing. The client library queues it when its future is first polled; the rest of the future only
/// waits until the bytes are written, which tells nothing about their arrival.
fn queued(frame: impl Future<Output = lapin::Result<()>>) -> bool {
    !matches!(frame.now_or_never(), Some(Err(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn tags(count: u64) -> Tags {
        let mut tags = Tags::new();
        (1..=count).for_each(|tag| tags.delivered(tag));
        tags
    }

    #[test]
    fn a_prefix_takes_one_frame_and_the_rest_one_each() {
        let mut tags = tags(10);
        assert_eq!(tags.ack(&mut vec![3, 1, 2]), [Frame { tag: 3, multiple: true }]);
        let beyond = [Frame { tag: 7, multiple: false }, Frame { tag: 9, multiple: false }];
        assert_eq!(tags.ack(&mut vec![9, 7]), beyond);
        assert_eq!(tags.ack(&mut vec![4]), [Frame { tag: 4, multiple: false }]);
        // 7 was acknowledged alone: the frame must name a tag that is still open at the broker.
        assert_eq!(tags.ack(&mut vec![5, 6]), [Frame { tag: 6, multiple: true }]);
        assert_eq!((tags.first, tags.open), (8, 2));
        assert_eq!(tags.ack(&mut vec![1, 7, 9, 11]), []);
    }

    /// The broker's side of acknowledgements, as RabbitMQ has it.
    fn broker_acks(unacked: &mut BTreeSet<u64>, frame: Frame) {
        assert!(unacked.contains(&frame.tag), "unknown delivery tag {}", frame.tag);
        unacked.retain(|tag| if frame.multiple { *tag > frame.tag } else { *tag != frame.tag });
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn the_broker_never_sees_a_tag_too_early_or_twice(
            rounds in prop::collection::vec((0u64..40, prop::collection::vec(0u64..200, 0..60)), 1..20),
        ) {
            let mut tags = Tags::new();
            let mut delivered = 0;
            let mut unacked = BTreeSet::new();
            let mut acked = BTreeSet::new();
            for (more, mut wanted) in rounds {
                for tag in delivered + 1..=delivered + more {
                    tags.delivered(tag);
                    unacked.insert(tag);
                }
                delivered += more;
                acked.extend(wanted.iter().copied().filter(|tag| *tag >= 1 && *tag <= delivered));
                for frame in tags.ack(&mut wanted) {
                    broker_acks(&mut unacked, frame);
                }
                let expected: BTreeSet<u64> = (1..=delivered).filter(|tag| !acked.contains(tag)).collect();
                prop_assert_eq!(&unacked, &expected);
                prop_assert_eq!(tags.open, expected.len());
            }
        }
    }
}
