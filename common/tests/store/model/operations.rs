//! What can happen: operations, and lists of them as proptest makes and shrinks them.

use millrace_common::store::FailureKinds;
use proptest::prelude::*;

use super::terms::{Change, Terms};

/// Ids that pushes choose from, few enough to meet again and again.
pub const IDS: usize = 8;
/// Workers.
pub const WORKERS: usize = 3;
/// Starts after which a redelivered chunk is given up.
pub const MAX_ATTEMPTS: i32 = 3;

/// The content of a chunk: all that is known of it follows from its id and this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content(pub u8);

/// The failed records of such a content are one as well, with this bit.
const PART: u8 = 16;

impl Content {
    pub fn digest(self, id: usize) -> [u8; 32] {
        let mut digest = [self.0; 32];
        digest[0] = u8::try_from(id).unwrap();
        digest
    }

    const fn is_part(self) -> bool {
        self.0 & PART != 0
    }

    pub fn records(self) -> i32 {
        let one = i32::from(self.0 & !PART);
        if self.is_part() { one } else { 3 * one }
    }

    /// Records that fail, though the chunk is completed.
    pub fn bad_records(self) -> i32 {
        if self.is_part() { 0 } else { self.records() / 3 }
    }

    pub fn bytes(self) -> i32 {
        if self.is_part() { 40 * self.records() } else { [100, 300, 700, 1_100][usize::from(self.0) % 4] }
    }

    /// Bytes of the result that it becomes.
    pub fn output_bytes(self) -> i32 {
        if self.is_part() { 30 * self.records() } else { [80, 400, 250, 1_300][usize::from(self.0) % 4] }
    }

    /// Whether the input is kept when the whole chunk fails.
    pub const fn is_kept(self) -> bool {
        self.0 != 2
    }

    /// Its failed records alone.
    pub const fn part(self) -> Self {
        Self(self.0 | PART)
    }
}

/// What becomes of a push between its admission and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Every confirm comes, the chunks are marked as queued, the caller sees success.
    Confirmed,
    /// Nothing reaches the broker: the API crashes before it publishes, or the broker refuses. The caller sees no success.
    Refused,
    /// The messages reach the broker, their confirms never come. The caller sees no success.
    ConfirmLost,
    /// Every other message reaches the broker; no success.
    HalfPublished,
    /// The confirms are in, but the API is slow or frozen: [`Op::Answer`] goes on with it.
    Slow,
}

/// One push of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushOp {
    pub batch: usize,
    /// Ids are distinct.
    pub chunks: Vec<(usize, Content)>,
    pub way: Way,
}

/// How a commit ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Committed and acknowledged.
    Acked,
    /// Committed; the acknowledgements are lost, so the chunks are delivered again.
    AckLost,
    /// The worker dies after the commit, before any acknowledgement.
    CrashAfter,
    /// The worker dies before the commit.
    CrashBefore,
    /// The answer of the commit is lost: the worker commits the same group again, then acknowledges.
    Repeated,
}

/// A step of the reaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    TimeOut,
    EndPauses,
    Withdraw,
    Settle,
    Release,
}

/// Something that happens. Batches, workers, messages are picked modulo how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Create {
        input: i64,
        output: i64,
        terms: Terms,
    },
    /// The owner changes terms, and closes the batch with it.
    Alter {
        batch: usize,
        change: Change,
        close: bool,
    },
    /// The owner pauses a batch, or resumes it.
    Pause {
        batch: usize,
        paused: bool,
    },
    /// Several pushes in one group of the admission.
    Push(Vec<PushOp>),
    /// A slow push goes on: its chunks are marked as queued, its caller gets the answer.
    Answer(usize),
    /// The lane of a batch delivers messages to a worker; redelivered ones are claimed.
    Deliver {
        batch: usize,
        worker: usize,
        pick: usize,
        count: usize,
    },
    /// A message is there twice from now on: a push that was published again.
    Duplicate {
        batch: usize,
        pick: usize,
    },
    /// The broker gives a message up; the dead letter is judged.
    DeadLetter {
        batch: usize,
        pick: usize,
    },
    /// A worker commits the first of its chunks; bit n of `failed` says that chunk n failed.
    Commit {
        worker: usize,
        count: usize,
        failed: u8,
        end: End,
    },
    /// A worker dies; what it held is delivered again.
    Crash(usize),
    Pull {
        batch: usize,
        max: i64,
        max_bytes: i64,
    },
    /// One chunk by its id.
    PullOne {
        batch: usize,
        id: usize,
    },
    /// What was pulled lately, once more.
    Redeliver(usize),
    /// Results are read by cursor, and the first of them acknowledged.
    ReadAndAck {
        batch: usize,
        count: usize,
    },
    Close(usize),
    Cancel(usize),
    /// A worker reports that it took the first chunk.
    Start(usize),
    SettleOne(usize),
    /// Hundreds of seconds go by.
    Pass(i64),
    /// One step of one reaper, or of two at once.
    Reap {
        step: Step,
        twice: bool,
    },
    /// A whole round of one reaper, or of two at once.
    Round {
        twice: bool,
    },
    /// Lanes of ended batches are purged and freed, unless the broker is away.
    FreeLanes {
        broker_away: bool,
    },
    /// A message of a lane is gone, or all of them.
    Lose {
        batch: usize,
        pick: usize,
        all: bool,
    },
    /// The reaper looks for chunks whose messages are gone.
    EndLost,
    /// Failed work of a batch is to be done again by a new one.
    Redrive {
        source: usize,
        kinds: FailureKinds,
        close: bool,
        input: i64,
        output: i64,
    },
    /// Long after the end of a batch, the reaper looks for what may be removed.
    Forget(usize),
    /// A server takes a redrive a portion further.
    Portion {
        most: i64,
        way: Way,
        twice: bool,
    },
}

impl Op {
    /// The one batch of which a caller asks something.
    pub const fn of_caller(&self) -> Option<usize> {
        match self {
            Self::Alter { batch, .. }
            | Self::Pull { batch, .. }
            | Self::PullOne { batch, .. }
            | Self::Redeliver(batch)
            | Self::ReadAndAck { batch, .. }
            | Self::Close(batch)
            | Self::Cancel(batch)
            | Self::Start(batch)
            | Self::SettleOne(batch)
            | Self::Pause { batch, .. }
            | Self::Redrive { source: batch, .. } => Some(*batch),
            _ => None,
        }
    }
}

/// Lists of operations; the first opens a batch.
pub fn lists() -> impl Strategy<Value = Vec<Op>> {
    let create = (1_000_i64..6_000, 500_i64..4_000, terms());
    let first = create.prop_map(|(input, output, terms)| Op::Create { input, output, terms });
    (first, prop::collection::vec(operation(), 20..60))
        .prop_map(|(first, rest)| [first].into_iter().chain(rest).collect())
}

fn sizes() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![200_i64, 1_000, 2_500, 5_000, 90_000])
}

fn percentage() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![0_u8, 0, 34, 50, 100])
}

fn records() -> impl Strategy<Value = Option<u8>> {
    prop::sample::select(vec![None, None, Some(0), Some(40), Some(100)])
}

fn terms() -> impl Strategy<Value = Terms> {
    (percentage(), records(), any::<u8>())
        .prop_map(|(chunks, records, stop)| Terms::tolerant(chunks, records, stop % 3 == 0))
}

fn change() -> impl Strategy<Value = Change> {
    let rarely = prop::option::weighted(0.2, 1..13_i32);
    let priority = prop::option::weighted(0.2, -2..3_i32);
    let early_stop = prop::option::weighted(0.4, any::<bool>());
    let (chunks, records) = (prop::option::of(percentage()), prop::option::weighted(0.3, records()));
    let paused = prop::option::weighted(0.2, any::<bool>());
    (chunks, records, early_stop, rarely.clone(), rarely, priority, paused).prop_map(
        |(chunks, records, early_stop, max_workers, initial_workers, priority, paused)| Change {
            chunks,
            records,
            early_stop,
            max_workers,
            initial_workers,
            priority,
            paused,
        },
    )
}

fn kinds() -> impl Strategy<Value = FailureKinds> {
    prop::sample::select(vec![
        FailureKinds::ALL,
        FailureKinds { chunks: true, records: false },
        FailureKinds { chunks: false, records: true },
    ])
}

fn operation() -> impl Strategy<Value = Op> {
    prop_oneof![6 => usual(), 1 => unusual()]
}

/// What callers, workers and the reaper do all the time.
fn usual() -> impl Strategy<Value = Op> {
    let batch = || 0..3_usize;
    prop_oneof![
        2 => (sizes(), sizes(), terms()).prop_map(|(input, output, terms)| Op::Create { input, output, terms }),
        14 => prop::collection::vec(push(), 1..4).prop_map(Op::Push),
        4 => (0..9_usize).prop_map(Op::Answer),
        14 => (batch(), 0..WORKERS, 0..9_usize, 1..5_usize)
            .prop_map(|(batch, worker, pick, count)| Op::Deliver { batch, worker, pick, count }),
        3 => (batch(), 0..9_usize).prop_map(|(batch, pick)| Op::Duplicate { batch, pick }),
        2 => (batch(), 0..9_usize).prop_map(|(batch, pick)| Op::DeadLetter { batch, pick }),
        14 => (0..WORKERS, 1..6_usize, any::<u8>(), any::<u8>(), end())
            .prop_map(|(worker, count, one, other, end)| Op::Commit { worker, count, failed: one & other, end }),
        3 => (0..WORKERS).prop_map(Op::Crash),
        8 => (batch(), 1..6_i64, prop::sample::select(vec![1_i64, 300, 1_000, 1_000_000]))
            .prop_map(|(batch, max, max_bytes)| Op::Pull { batch, max, max_bytes }),
        3 => (batch(), 0..IDS).prop_map(|(batch, id)| Op::PullOne { batch, id }),
        1 => batch().prop_map(Op::Redeliver),
        2 => (batch(), 0..5_usize).prop_map(|(batch, count)| Op::ReadAndAck { batch, count }),
        3 => batch().prop_map(Op::Close),
        1 => batch().prop_map(Op::Cancel),
        3 => (batch(), any::<u8>()).prop_map(|(batch, paused)| Op::Pause { batch, paused: paused % 4 > 0 }),
        2 => batch().prop_map(Op::Start),
        2 => batch().prop_map(Op::SettleOne),
        5 => prop::sample::select(vec![1_i64, 4, 10, 20]).prop_map(Op::Pass),
        3 => (prop::sample::select(vec![Step::TimeOut, Step::EndPauses, Step::Withdraw, Step::Settle, Step::Release]), any::<bool>())
            .prop_map(|(step, twice)| Op::Reap { step, twice }),
        4 => any::<bool>().prop_map(|twice| Op::Round { twice }),
        2 => any::<bool>().prop_map(|broker_away| Op::FreeLanes { broker_away }),
    ]
}

/// What happens now and then: other terms, messages that are lost, redrives.
fn unusual() -> impl Strategy<Value = Op> {
    let batch = || 0..3_usize;
    prop_oneof![
        3 => (batch(), change(), any::<u8>())
            .prop_map(|(batch, change, close)| Op::Alter { batch, change, close: close % 4 == 0 }),
        1 => (batch(), 0..9_usize, any::<bool>()).prop_map(|(batch, pick, all)| Op::Lose { batch, pick, all }),
        3 => Just(Op::EndLost),
        2 => (batch(), kinds(), any::<bool>(), sizes(), sizes()).prop_map(|(source, kinds, close, input, output)| {
            Op::Redrive { source, kinds, close, input, output }
        }),
        3 => batch().prop_map(Op::Forget),
        3 => (1..4_i64, way(), any::<bool>()).prop_map(|(most, way, twice)| Op::Portion { most, way, twice }),
    ]
}

fn push() -> impl Strategy<Value = PushOp> {
    // Mostly the same content for the same id: a retry, not a conflict.
    let content = |id: usize| {
        let own = Content(u8::try_from(id % 4).unwrap());
        prop_oneof![12 => Just(own), 1 => (0..4_u8).prop_map(Content)]
    };
    let chunks = prop::sample::subsequence((0..IDS).collect::<Vec<_>>(), 1..4)
        .prop_flat_map(move |ids| ids.into_iter().map(|id| (Just(id), content(id))).collect::<Vec<_>>());
    (0..3_usize, chunks, way()).prop_map(|(batch, chunks, way)| PushOp { batch, chunks, way })
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        8 => Just(Way::Confirmed),
        2 => Just(Way::Refused),
        2 => Just(Way::ConfirmLost),
        1 => Just(Way::HalfPublished),
        2 => Just(Way::Slow),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        8 => Just(End::Acked),
        2 => Just(End::AckLost),
        1 => Just(End::CrashAfter),
        1 => Just(End::CrashBefore),
        1 => Just(End::Repeated),
    ]
}
