//! Failed work: stored once with its result, and listed.

use millrace_common::store::{Batch, FailedWork, FailureKinds, FinishedChunk, Outcome, WorkerSlot};
use uuid::Uuid;

use super::fixture::{Database, finished};

const ALL: FailureKinds = FailureKinds { chunks: true, records: true };
const MUCH: i64 = 1_000_000;

/// A chunk that failed, or whose first and last records did.
pub fn failing(batch: &Batch, id: &str, number: i64, whole: bool) -> FinishedChunk {
    let outcome = if whole { Outcome::Failed } else { Outcome::Completed };
    let work = FailedWork {
        positions: (!whole).then(|| vec![0, 9]),
        input: Some(id.as_bytes().to_vec().into()),
        bytes: i32::try_from(id.len()).unwrap(),
    };
    FinishedChunk {
        records_failed: if whole { 10 } else { 2 },
        failed: Some(work),
        ..finished(batch, id, number, outcome)
    }
}

pub fn good(batch: &Batch, id: &str, number: i64) -> FinishedChunk {
    FinishedChunk { records_failed: 0, ..finished(batch, id, number, Outcome::Completed) }
}

#[tokio::test]
async fn failed_work_is_stored_once_and_listed_by_kind() {
    let database = Database::new().await;
    let store = &database.store;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a", "b", "c", "lost"]).await;
    let (slot, other) = (WorkerSlot::of(Uuid::nil()), WorkerSlot::of(Uuid::from_u128(1)));
    let (a, b) = (failing(&batch, "a", chunks[0].1, true), failing(&batch, "b", chunks[1].1, false));
    let group = [a.clone(), good(&batch, "c", chunks[2].1), b.clone(), a.clone()];
    store.commit(slot, &group).await.unwrap();
    // Delivered again, and computed by somebody else.
    store.commit(other, &[b, a]).await.unwrap();
    // A failed chunk whose input nobody has.
    database.finish(&batch, &chunks[3..], Outcome::Failed).await;

    let list = async |kinds: FailureKinds, from: i64, bytes: i64| {
        let chunks = store.failed_chunks(batch.id, batch.day, kinds, from, 10, bytes).await.unwrap();
        chunks
            .into_iter()
            .map(|chunk| (chunk.chunk_id, chunk.positions, chunk.input_kept))
            .collect::<Vec<_>>()
    };
    let all = list(ALL, 0, MUCH).await;
    let expected = [
        ("a".to_owned(), None, true),
        ("b".to_owned(), Some(vec![0, 9]), true),
        ("lost".to_owned(), None, false),
    ];
    assert_eq!(all, expected);
    assert_eq!(list(FailureKinds { records: false, ..ALL }, 0, MUCH).await.len(), 2);
    assert_eq!(list(FailureKinds { chunks: false, ..ALL }, 0, MUCH).await.len(), 1);
    assert_eq!(list(ALL, chunks[1].1, MUCH).await, expected[1..]);
    assert_eq!(list(ALL, 0, 1).await.len(), 1, "one comes in any case");
    assert_eq!(list(ALL, chunks[3].1 + 1, MUCH).await, []);

    let database = database.connect().await;
    let stored = database
        .query(
            "SELECT kind, records, convert_from(input, 'UTF8'), bytes FROM failed_work ORDER BY chunk_no",
            &[],
        )
        .await
        .unwrap();
    let stored: Vec<(String, i32, String, i32)> =
        stored.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let expected =
        [("chunk".to_owned(), 10, "a".to_owned(), 1), ("records".to_owned(), 2, "b".to_owned(), 1)];
    assert_eq!(stored, expected);
}

/// Such a group could not be stored, ever: the statement was chosen by the one that is left out.
#[tokio::test]
async fn a_chunk_that_failed_and_succeeded_in_one_group_has_one_outcome() {
    let database = Database::new().await;
    let store = &database.store;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a", "b"]).await;
    let [(_, a), (_, b)] = chunks.as_slice() else { panic!("two chunks") };
    let slot = WorkerSlot::of(Uuid::nil());
    store.commit(slot, &[good(&batch, "a", *a), failing(&batch, "a", *a, true)]).await.unwrap();
    store.commit(slot, &[failing(&batch, "b", *b, true), good(&batch, "b", *b)]).await.unwrap();
    let counters = database.counters(&batch).await;
    assert_eq!((counters.chunks_completed, counters.chunks_failed, counters.input_bytes), (1, 1, 0));
    let failed = store.failed_chunks(batch.id, batch.day, ALL, 0, 10, MUCH).await.unwrap();
    assert_eq!(failed.iter().map(|chunk| chunk.chunk_id.as_str()).collect::<Vec<_>>(), ["b"]);
}
