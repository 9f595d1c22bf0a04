//! Lists that failed once, by the fault that they showed.

use super::operations::{Content, End, Op, PushOp, Step, Way};
use super::tenant::Place;
use super::terms::Terms;

const OPEN: Op = Op::Create { input: 3_000, output: 2_000, terms: Terms::tolerant(0, None, false) };

fn push(id: usize, content: u8, way: Way) -> Op {
    Op::Push(vec![PushOp { batch: 0, chunks: vec![(id, Content(content))], way }])
}

async fn passes(operations: &[Op]) {
    super::run_on(&Place::new().await, operations).await.unwrap();
}

/// An API that was frozen between publishing and marking told its caller of success, though the chunk was withdrawn meanwhile.
#[tokio::test]
async fn a_push_whose_chunks_were_withdrawn_before_their_confirm_is_no_success() {
    passes(&[
        OPEN,
        push(1, 1, Way::Slow),
        Op::Pass(10),
        Op::Reap { step: Step::Withdraw, twice: false },
        Op::Answer(0),
    ])
    .await;
}

/// The late confirm of a withdrawn chunk marked a newer chunk of the same id as queued, whose message never reached the broker.
#[tokio::test]
async fn a_late_confirm_does_not_stand_for_a_newer_chunk_of_the_same_id() {
    passes(&[
        OPEN,
        push(1, 1, Way::Slow),
        Op::Pass(10),
        Op::Reap { step: Step::Withdraw, twice: false },
        push(1, 1, Way::Refused),
        Op::Answer(0),
        push(1, 1, Way::Confirmed),
    ])
    .await;
}

/// A redelivery that was claimed after a cancel was evaluated, and counted in a batch whose counters are frozen.
#[tokio::test]
async fn a_redelivered_chunk_of_a_cancelled_batch_is_not_started() {
    passes(&[
        OPEN,
        push(1, 1, Way::Confirmed),
        Op::Deliver { batch: 0, worker: 0, pick: 0, count: 1 },
        Op::Crash(0),
        Op::Cancel(0),
        Op::Deliver { batch: 0, worker: 1, pick: 0, count: 1 },
    ])
    .await;
}

/// A message of a withdrawn chunk was counted as a start of the newer chunk of the same id, which could use its attempts up.
#[tokio::test]
async fn a_message_of_a_withdrawn_chunk_uses_up_no_attempt_of_a_newer_one() {
    passes(&[
        OPEN,
        push(1, 1, Way::ConfirmLost),
        Op::Deliver { batch: 0, worker: 0, pick: 0, count: 1 },
        Op::Pass(10),
        Op::Reap { step: Step::Withdraw, twice: false },
        Op::Crash(0),
        push(1, 1, Way::Confirmed),
        Op::Deliver { batch: 0, worker: 1, pick: 0, count: 1 },
        Op::Commit { worker: 1, count: 1, failed: 0, end: End::Acked },
    ])
    .await;
}
