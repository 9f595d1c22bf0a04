//! Tests of the rules of the queue.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const EPOCH: i64 = 7;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn task(batch: u128, receipt: u32) -> Task<u32> {
    let message = ChunkMessage {
        kind: millrace_common::broker::MessageKind::Chunk,
        batch_id: id(batch),
        chunk_no: i64::from(receipt),
        chunk_id: receipt.to_string(),
        epoch: EPOCH,
        records: 1,
        charged_bytes: 1,
        scan: None,
        trace: None,
        compressed: false,
        body: Bytes::new(),
    };
    Task { message, receipt, redelivered: false, held: Held::default() }
}

fn terms(batch: u128, chunks_per_request: u32) -> BatchTerms {
    BatchTerms {
        batch_id: id(batch),
        tenant_id: Uuid::nil(),
        day: NaiveDate::default(),
        lane: Some((LaneId(1), EPOCH)),
        chunks_per_request,
        stopped: false,
        paused: false,
    }
}

/// A dispatcher with ready batches 1..=n and these shares.
fn dispatcher(shares: &[u32]) -> Dispatcher<u32> {
    let dispatcher = Dispatcher::default();
    let mut planned = BTreeMap::new();
    for (batch, share) in (1..).zip(shares) {
        assert!(dispatcher.learn(terms(batch, 1)));
        dispatcher.set_calculation(id(batch), Calculation::Broken("a test".into()));
        planned.insert(id(batch), *share);
    }
    dispatcher.set_shares(&planned);
    dispatcher
}

fn turn(dispatcher: &Dispatcher<u32>) -> Option<Turn<u32>> {
    dispatcher.inner.lock().take_turn()
}

#[test]
fn a_batch_never_runs_more_than_its_share() {
    let dispatcher = dispatcher(&[2]);
    for receipt in 0..5 {
        assert!(matches!(dispatcher.enqueue(task(1, receipt)), Enqueued::Waiting));
    }
    let first = turn(&dispatcher).unwrap();
    assert!(turn(&dispatcher).is_some() && turn(&dispatcher).is_none());
    dispatcher.end_turn(id(1), first.advance, Duration::ZERO);
    assert_eq!(turn(&dispatcher).unwrap().tasks[0].receipt, 2);
}

/// `chunks_per_request` (contract 3.7).
#[test]
fn a_turn_takes_what_its_batch_asked_for_and_no_more() {
    let dispatcher = dispatcher(&[1]);
    dispatcher.learn(terms(1, 3));
    for receipt in 0..7 {
        assert!(matches!(dispatcher.enqueue(task(1, receipt)), Enqueued::Waiting));
    }
    for receipts in [vec![0, 1, 2], vec![3, 4, 5], vec![6]] {
        let turn = turn(&dispatcher).unwrap();
        assert_eq!(turn.tasks.iter().map(|task| task.receipt).collect::<Vec<_>>(), receipts);
        dispatcher.end_turn(id(1), turn.advance, Duration::ZERO);
    }
}

#[test]
fn batches_take_turns() {
    let dispatcher = dispatcher(&[9, 9, 9]);
    for receipt in 0..9 {
        dispatcher.enqueue(task(u128::from(receipt % 3) + 1, receipt));
    }
    let order: Vec<Uuid> = std::iter::from_fn(|| turn(&dispatcher)).map(|turn| turn.batch_id).collect();
    assert_eq!(order, [1, 2, 3, 1, 2, 3, 1, 2, 3].map(id));
}

#[test]
fn a_tenant_with_many_batches_has_no_more_turns_than_one_with_few() {
    let dispatcher = dispatcher(&[9, 9, 9]);
    dispatcher.learn(BatchTerms { tenant_id: id(77), ..terms(2, 1) });
    for receipt in 0..12 {
        dispatcher.enqueue(task(u128::from(receipt % 3) + 1, receipt));
    }
    let order: Vec<Uuid> = std::iter::from_fn(|| turn(&dispatcher)).map(|turn| turn.batch_id).collect();
    assert_eq!(order[..8], [1, 2, 3, 2, 1, 2, 3, 2].map(id));
}

#[test]
fn blocked_loading_and_shareless_batches_wait() {
    let dispatcher = dispatcher(&[1, 0]);
    dispatcher.set_blocked(id(1), true);
    dispatcher.enqueue(task(1, 1));
    assert!(matches!(dispatcher.enqueue(task(2, 2)), Enqueued::NeedsShare));
    dispatcher.learn(terms(3, 1));
    dispatcher.set_shares(&[(id(1), 1), (id(3), 1)].into());
    assert!(matches!(dispatcher.enqueue(task(3, 3)), Enqueued::Waiting));
    assert!(turn(&dispatcher).is_none());
    dispatcher.set_blocked(id(1), false);
    assert_eq!(turn(&dispatcher).unwrap().batch_id, id(1));
    dispatcher.set_calculation(id(3), Calculation::Broken("a test".into()));
    assert_eq!(turn(&dispatcher).unwrap().batch_id, id(3));
}

#[test]
fn a_paused_batch_waits_and_a_commit_of_what_was_started_does_not_set_it_going() {
    let dispatcher = dispatcher(&[2]);
    dispatcher.enqueue(task(1, 1));
    let started = turn(&dispatcher).unwrap();
    dispatcher.learn(BatchTerms { paused: true, ..terms(1, 1) });
    assert!(matches!(dispatcher.enqueue(task(1, 2)), Enqueued::Waiting));
    dispatcher.end_turn(started.batch_id, started.advance, Duration::ZERO);
    // As a commit does that finds room in the output buffer.
    dispatcher.set_blocked(id(1), false);
    assert!(turn(&dispatcher).is_none());
    let load = dispatcher.load()[&id(1)];
    assert_eq!((load.waiting, load.running, load.blocked), (1, 0, true));
    // Nobody is asked for a share that a paused batch does not get.
    dispatcher.set_shares(&[].into());
    assert!(matches!(dispatcher.enqueue(task(1, 3)), Enqueued::Waiting));
    dispatcher.set_shares(&[(id(1), 1)].into());
    dispatcher.learn(terms(1, 1));
    assert_eq!(turn(&dispatcher).unwrap().tasks[0].receipt, 2);
}

#[test]
fn the_end_of_a_pause_wakes_a_waiting_thread() {
    let dispatcher = Arc::new(dispatcher(&[1]));
    dispatcher.learn(BatchTerms { paused: true, ..terms(1, 1) });
    dispatcher.enqueue(task(1, 7));
    let waiting = {
        let dispatcher = Arc::clone(&dispatcher);
        std::thread::spawn(move || dispatcher.next_turn().map(|turn| turn.tasks[0].receipt))
    };
    dispatcher.learn(terms(1, 1));
    assert_eq!(waiting.join().unwrap(), Some(7));
}

#[test]
fn chunks_of_a_stopped_batch_are_written_off_whether_its_program_is_there_or_not() {
    let dispatcher = Dispatcher::default();
    dispatcher.learn(terms(1, 1));
    dispatcher.set_shares(&[(id(1), 1)].into());
    dispatcher.enqueue(task(1, 1));
    assert!(turn(&dispatcher).is_none());
    dispatcher.learn(BatchTerms { stopped: true, ..terms(1, 1) });
    assert!(matches!(turn(&dispatcher).unwrap().calculation, Calculation::Stopped));
}

#[test]
fn chunks_of_unknown_batches_and_older_leases_are_handed_back() {
    let dispatcher = dispatcher(&[1]);
    assert!(matches!(dispatcher.enqueue(task(9, 1)), Enqueued::Unknown(_)));
    let mut old = task(1, 2);
    old.message.epoch = EPOCH - 1;
    assert!(matches!(dispatcher.enqueue(old), Enqueued::Unknown(_)));
}

#[test]
fn closing_returns_what_was_not_started_and_ends_the_threads() {
    let dispatcher = Arc::new(dispatcher(&[1]));
    for receipt in 0..3 {
        dispatcher.enqueue(task(1, receipt));
    }
    assert_eq!(dispatcher.next_turn().unwrap().tasks[0].receipt, 0);
    let waiting = {
        let dispatcher = Arc::clone(&dispatcher);
        std::thread::spawn(move || dispatcher.next_turn().is_none())
    };
    assert_eq!(dispatcher.close(), [1, 2]);
    assert!(waiting.join().unwrap());
}

proptest! {
    #![proptest_config(crate::properties::config(256))]

    #[test]
    fn every_chunk_leaves_exactly_once(
        operations in prop::collection::vec((0_u8..6, 1_u128..4), 1..200),
        chunks_per_request in 1_u32..4,
    ) {
        let dispatcher = dispatcher(&[2, 1, 3]);
        for batch in 1..4 {
            dispatcher.learn(terms(batch, chunks_per_request));
        }
        let (mut put, mut out, mut running) = (0_u32, Vec::new(), Vec::new());
        for (operation, batch) in operations {
            match operation {
                0 | 1 => {
                    dispatcher.enqueue(task(batch, put));
                    put += 1;
                }
                2 => if let Some(turn) = turn(&dispatcher) {
                    prop_assert!(!turn.tasks.is_empty() && turn.tasks.len() <= chunks_per_request as usize);
                    out.extend(turn.tasks.iter().map(|task| task.receipt));
                    running.push((turn.batch_id, turn.advance));
                },
                3 => if let Some((batch, advance)) = running.pop() {
                    dispatcher.end_turn(batch, advance, Duration::ZERO);
                },
                4 => out.extend(dispatcher.surrender(id(batch))),
                _ => dispatcher.set_blocked(id(batch), put.is_multiple_of(2)),
            }
            let load = dispatcher.load();
            prop_assert!(load[&id(1)].running <= 2 && load[&id(2)].running <= 1 && load[&id(3)].running <= 3);
        }
        out.extend(dispatcher.close());
        out.sort_unstable();
        prop_assert_eq!(out, (0..put).collect::<Vec<_>>());
    }
}
