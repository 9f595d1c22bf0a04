//! Reading by cursor, acknowledging, and handing out again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millrace_common::model::Transition;
use millrace_common::store::{
    Acknowledged, Batch, ChunkClaim, Claim, Outcome, Reading, StoredResult, WorkerSlot,
};
use uuid::Uuid;

use super::fixture::{Database, finished};

const MUCH: i64 = 1_000_000;
const GRACE: f64 = 1_800.0;

fn page(reading: Reading) -> (Vec<StoredResult>, bool) {
    match reading {
        Reading::Page { results, has_more } => (results, has_more),
        other => panic!("{other:?}"),
    }
}

fn ids(results: &[StoredResult]) -> Vec<&str> {
    results.iter().map(|result| result.chunk_id.as_str()).collect()
}

async fn read(database: &Database, batch: &Batch, after: i64, max: i64) -> (Vec<StoredResult>, bool) {
    page(database.store.read_results(batch.id, batch.day, after, max, MUCH).await.unwrap())
}

async fn again(database: &Database, batch: &Batch, after: i64, max: i64) -> (Vec<StoredResult>, bool) {
    let reading = database.store.read_pulled_results(batch.id, batch.day, after, max, MUCH, GRACE);
    page(reading.await.unwrap())
}

async fn pull(database: &Database, batch: &Batch, max: i64) -> Vec<StoredResult> {
    match database.store.claim_results(batch.id, batch.day, max, MUCH).await.unwrap().0 {
        Claim::Results(results) => results,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reader_with_a_cursor_gets_everything_and_frees_it_once() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a", "b", "c", "d", "e"]).await;
    for chunk in [3, 0, 4, 1, 2] {
        database.finish(&batch, &chunks[chunk..=chunk], Outcome::Completed).await;
    }
    let (first, more) = read(&database, &batch, 0, 2).await;
    assert_eq!((ids(&first), more), (vec!["d", "a"], true));
    // Reading changes nothing.
    assert_eq!(read(&database, &batch, 0, 2).await.0, first);
    assert_eq!(database.counters(&batch).await.chunks_pulled, 0);
    let (second, more) = read(&database, &batch, first[1].ordinal, 100).await;
    assert_eq!((ids(&second), more), (vec!["e", "b", "c"], false));

    for freed in [2, 0] {
        let acked = database.store.acknowledge_results(batch.id, batch.day, first[1].ordinal).await.unwrap();
        assert_eq!(acked, Acknowledged::Chunks(freed));
        let counters = database.counters(&batch).await;
        assert_eq!(
            (counters.chunks_pulled, counters.records_pulled, counters.output_bytes),
            (2, 20, 3 * 600)
        );
    }
    // Whoever lost the cursor begins with what was not acknowledged; a pull gets the same and nothing twice.
    assert_eq!(ids(&read(&database, &batch, 0, 100).await.0), ["e", "b", "c"]);
    assert_eq!(ids(&pull(&database, &batch, 1).await), ["e"]);
    assert_eq!(ids(&read(&database, &batch, first[1].ordinal, 100).await.0), ["b", "c"]);
    let acked = database.store.acknowledge_results(batch.id, batch.day, second[2].ordinal).await.unwrap();
    assert_eq!(acked, Acknowledged::Chunks(2), "what was pulled counts no second time");
    let counters = database.counters(&batch).await;
    assert_eq!((counters.chunks_pulled, counters.records_pulled, counters.output_bytes), (5, 50, 0));
}

#[tokio::test]
async fn pages_are_bounded_by_bytes_but_never_empty_handed() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a", "b", "c"]).await;
    database.finish(&batch, &chunks, Outcome::Completed).await;
    for (bytes, there) in [(1, 1), (600, 1), (1_199, 1), (1_200, 2), (1_800, 3)] {
        let reading = database.store.read_results(batch.id, batch.day, 0, 100, bytes).await.unwrap();
        let (results, more) = page(reading);
        assert_eq!((results.len(), more), (there, there < 3), "{bytes}");
    }
}

/// A commit that has drawn its ordinals and does not end, while a later one does.
#[tokio::test]
async fn a_reader_never_goes_past_a_chunk_whose_commit_is_under_way() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["slow", "fast", "next"]).await;
    let mut client = database.connect().await;
    for committed in [true, false] {
        let slow = client.transaction().await.unwrap();
        let lock = "SELECT FROM batch_counters WHERE batch_id = $1 AND slot = 2 FOR UPDATE";
        slow.execute(lock, &[&batch.id]).await.unwrap();
        slow.execute(
            "INSERT INTO results (day, chunk_no, batch_id, chunk_id, outcome, records, bytes, compressed, body)
             VALUES ($1, $2, $3, 'slow', 'completed', 10, 600, false, '{}')",
            &[&batch.day, &chunks[0].1, &batch.id],
        )
        .await
        .unwrap();
        let other = WorkerSlot::of(Uuid::from_u128(1));
        let fast = if committed { &chunks[1] } else { &chunks[2] };
        let fast = finished(&batch, &fast.0, fast.1, Outcome::Completed);
        database.store.commit(other, &[fast]).await.unwrap();

        let reading = {
            let (store, batch) = (database.store.clone(), batch.clone());
            tokio::spawn(async move { store.read_results(batch.id, batch.day, 0, 100, MUCH).await.unwrap() })
        };
        // The reader cannot have ended before the transaction does: it would have skipped the slow chunk.
        for _ in 0..50 {
            tokio::task::yield_now().await;
            assert!(!reading.is_finished());
        }
        if committed {
            slow.commit().await.unwrap();
            assert_eq!(ids(&page(reading.await.unwrap()).0), ["slow", "fast"]);
            client.execute("DELETE FROM results WHERE chunk_no = $1", &[&chunks[0].1]).await.unwrap();
        } else {
            slow.rollback().await.unwrap();
            assert_eq!(ids(&page(reading.await.unwrap()).0), ["fast", "next"]);
        }
    }
}

#[tokio::test]
async fn a_reader_that_waits_too_long_is_told_to_ask_again() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a"]).await;
    database.finish(&batch, &chunks, Outcome::Completed).await;
    let mut client = database.connect().await;
    let stuck = client.transaction().await.unwrap();
    let lock = "SELECT FROM batch_counters WHERE batch_id = $1 AND slot = 3 FOR UPDATE";
    stuck.execute(lock, &[&batch.id]).await.unwrap();
    assert_eq!(read(&database, &batch, 0, 100).await, (Vec::new(), true));
    drop(stuck);
    drop(client);
    assert_eq!(ids(&read(&database, &batch, 0, 100).await.0), ["a"]);
}

#[tokio::test]
async fn concurrent_commits_cursors_and_pulls_lose_and_double_nothing() {
    const CHUNKS: usize = 600;
    let database = Database::new().await;
    let batch = database.batch(10_000_000, 10_000_000).await;
    let names: Vec<String> = (0..CHUNKS).map(|i| format!("c{i}")).collect();
    let chunks = database.queued(&batch, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let writers: Vec<_> = (0..4_u128)
        .map(|writer| {
            let (store, batch) = (database.store.clone(), batch.clone());
            let mine: Vec<_> = chunks.iter().skip(writer as usize).step_by(4).cloned().collect();
            tokio::spawn(async move {
                // Groups of changing sizes, so that commits overlap in changing ways.
                let mut rest = mine.as_slice();
                let mut size = 1 + writer as usize;
                while !rest.is_empty() {
                    let (group, left) = rest.split_at(size.min(rest.len()));
                    let group: Vec<_> =
                        group.iter().map(|(id, no)| finished(&batch, id, *no, Outcome::Completed)).collect();
                    store.commit(WorkerSlot::of(Uuid::from_u128(writer)), &group).await.unwrap();
                    rest = left;
                    size = size % 7 + 1;
                }
            })
        })
        .collect();
    // One reader acknowledges only at the end, so every chunk must be in its pages exactly once.
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut after = 0;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while seen.len() < CHUNKS {
        assert!(std::time::Instant::now() < deadline, "{} of {CHUNKS}", seen.len());
        let (results, _) = read(&database, &batch, after, 9).await;
        for result in results {
            assert!(result.ordinal > after);
            after = result.ordinal;
            *seen.entry(result.chunk_id).or_default() += 1;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(seen.values().all(|times| *times == 1));
    assert!(read(&database, &batch, after, 9).await.0.is_empty());

    // Acknowledgements and pulls at once: every chunk is freed by exactly one of them.
    let pulls: Vec<_> = (0..6)
        .map(|_| {
            let (store, batch) = (database.store.clone(), batch.clone());
            tokio::spawn(async move {
                match store.claim_results(batch.id, batch.day, 50, MUCH).await.unwrap().0 {
                    Claim::Results(results) => results.into_iter().map(|result| result.chunk_id).collect(),
                    other => panic!("{other:?}"),
                }
            })
        })
        .collect();
    let acks: Vec<_> = (0..3)
        .map(|_| {
            let (store, batch) = (database.store.clone(), batch.clone());
            tokio::spawn(async move { store.acknowledge_results(batch.id, batch.day, after).await.unwrap() })
        })
        .collect();
    let mut pulled = BTreeSet::new();
    for pull in pulls {
        let of_one: Vec<String> = pull.await.unwrap();
        for chunk in of_one {
            assert!(pulled.insert(chunk));
        }
    }
    let mut acked = 0;
    for ack in acks {
        let Acknowledged::Chunks(chunks) = ack.await.unwrap() else { panic!() };
        acked += chunks;
    }
    assert_eq!(acked as usize + pulled.len(), CHUNKS);
    let counters = database.counters(&batch).await;
    assert_eq!((counters.chunks_pulled, counters.output_bytes), (CHUNKS as i64, 0));
}

#[tokio::test]
async fn f36_what_was_pulled_is_handed_out_again_and_counts_once() {
    let database = Database::new().await;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a", "b", "c", "d"]).await;
    for chunk in 0..3 {
        database.finish(&batch, &chunks[chunk..=chunk], Outcome::Completed).await;
    }
    assert!(again(&database, &batch, 0, 100).await.0.is_empty());
    let pulled = pull(&database, &batch, 2).await;
    let before = database.counters(&batch).await;
    let (first, more) = again(&database, &batch, 0, 1).await;
    assert_eq!((&first[..], more), (&pulled[..1], true));
    let (second, more) = again(&database, &batch, first[0].ordinal, 100).await;
    assert_eq!((&second[..], more), (&pulled[1..], false));

    let claim = async |id: &str, grace: f64| {
        database.store.claim_chunk(batch.id, batch.day, id, grace).await.unwrap().0
    };
    assert_eq!(claim("a", GRACE).await, ChunkClaim::Result(pulled[0].clone()));
    let counters = database.counters(&batch).await;
    assert_eq!((counters.chunks_pulled, counters.output_bytes), (before.chunks_pulled, before.output_bytes));
    // One that nobody has pulled is pulled by this, once.
    for _ in 0..2 {
        let ChunkClaim::Result(result) = claim("c", GRACE).await else { panic!() };
        assert_eq!(result.chunk_id, "c");
        let counters = database.counters(&batch).await;
        assert_eq!((counters.chunks_pulled, counters.records_pulled, counters.output_bytes), (3, 30, 0));
    }
    assert!(pull(&database, &batch, 100).await.is_empty());
    assert_eq!(claim("d", GRACE).await, ChunkClaim::Unfinished);
    assert_eq!(claim("e", GRACE).await, ChunkClaim::UnknownChunk);

    // Only within the grace time.
    database.run("UPDATE results SET pulled_at = now() - interval '1 hour' WHERE chunk_id = 'a'").await;
    assert_eq!(claim("a", GRACE).await, ChunkClaim::Gone);
    assert_eq!(ids(&again(&database, &batch, 0, 100).await.0), ["b", "c"]);

    database.store.change_batch(batch.id, Transition::Cancel).await.unwrap().unwrap();
    assert_eq!(claim("b", GRACE).await, ChunkClaim::Cancelled);
    let reading = database.store.read_pulled_results(batch.id, batch.day, 0, 100, MUCH, GRACE).await;
    assert_eq!(reading.unwrap(), Reading::Cancelled);
    let reading = database.store.read_results(batch.id, batch.day, 0, 100, MUCH).await;
    assert_eq!(reading.unwrap(), Reading::Cancelled);
    let acked = database.store.acknowledge_results(batch.id, batch.day, i64::MAX).await.unwrap();
    assert_eq!(acked, Acknowledged::Cancelled);
}
