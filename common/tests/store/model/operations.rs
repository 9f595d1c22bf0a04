//! What can happen: operations, and lists of them as proptest makes and shrinks them.

use proptest::prelude::*;

/// Ids that pushes choose from, few enough to meet again and again.
pub const IDS: usize = 8;
/// Workers.
pub const WORKERS: usize = 3;
/// Starts after which a redelivered chunk is given up.
pub const MAX_ATTEMPTS: i32 = 3;

/// The content of a chunk: all that is known of it follows from its id and this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content(pub u8);

impl Content {
    pub fn digest(self, id: usize) -> [u8; 32] {
        let mut digest = [self.0; 32];
        digest[0] = u8::try_from(id).unwrap();
        digest
    }

    pub fn records(self) -> i32 {
        i32::from(self.0) * 3
    }

    pub fn bytes(self) -> i32 {
        [100, 300, 700, 1_100][usize::from(self.0) % 4]
    }

    /// Bytes of the result that it becomes.
    pub fn output_bytes(self) -> i32 {
        [80, 400, 250, 1_300][usize::from(self.0) % 4]
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
        tolerance: u8,
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
}

/// Lists of operations; the first opens a batch.
pub fn lists() -> impl Strategy<Value = Vec<Op>> {
    let create = (1_000_i64..6_000, 500_i64..4_000, prop::sample::select(vec![0_u8, 0, 34, 50, 100]));
    let first = create.prop_map(|(input, output, tolerance)| Op::Create { input, output, tolerance });
    (first, prop::collection::vec(operation(), 20..60))
        .prop_map(|(first, rest)| [first].into_iter().chain(rest).collect())
}

fn operation() -> impl Strategy<Value = Op> {
    let batch = || 0..3_usize;
    let sizes = || prop::sample::select(vec![200_i64, 1_000, 2_500, 5_000, 90_000]);
    prop_oneof![
        2 => (sizes(), sizes(), prop::sample::select(vec![0_u8, 34, 50, 100]))
            .prop_map(|(input, output, tolerance)| Op::Create { input, output, tolerance }),
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
        2 => batch().prop_map(Op::Start),
        2 => batch().prop_map(Op::SettleOne),
        5 => prop::sample::select(vec![1_i64, 4, 10, 20]).prop_map(Op::Pass),
        3 => (prop::sample::select(vec![Step::TimeOut, Step::Withdraw, Step::Settle, Step::Release]), any::<bool>())
            .prop_map(|(step, twice)| Op::Reap { step, twice }),
        4 => any::<bool>().prop_map(|twice| Op::Round { twice }),
        2 => any::<bool>().prop_map(|broker_away| Op::FreeLanes { broker_away }),
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
    let way = prop_oneof![
        8 => Just(Way::Confirmed),
        2 => Just(Way::Refused),
        2 => Just(Way::ConfirmLost),
        1 => Just(Way::HalfPublished),
        2 => Just(Way::Slow),
    ];
    (0..3_usize, chunks, way).prop_map(|(batch, chunks, way)| PushOp { batch, chunks, way })
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
