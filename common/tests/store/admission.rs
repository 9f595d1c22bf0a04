use millrace_common::model::{BatchState, Transition};
use millrace_common::store::{Admission, CreateBatchError, Purged};

use super::fixture::{CHUNK, Database, push, queued};

#[tokio::test]
async fn a_push_is_stored_once_however_often_it_comes() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    let Admission::Admitted { publish, lane_id, epoch } = database.admit(push(&batch, &["a", "b"])).await
    else {
        panic!()
    };
    assert_eq!((Some(lane_id), Some(epoch)), (batch.lane_id, batch.lane_epoch));
    assert_eq!(publish.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "b"]);

    // Not confirmed: a retry publishes the same numbers again, and nothing is counted twice.
    let Admission::Admitted { publish: again, .. } = database.admit(push(&batch, &["a", "b", "c"])).await
    else {
        panic!()
    };
    assert_eq!(again[..2], publish[..]);
    database.store.mark_queued(&[queued(&batch, &again)]).await.unwrap();
    let Admission::Admitted { publish: nothing, .. } = database.admit(push(&batch, &["a", "b", "c"])).await
    else {
        panic!()
    };
    assert!(nothing.is_empty());

    let counters = database.counters(&batch).await;
    assert_eq!((counters.chunks_submitted, counters.records_submitted, counters.chunks_queued), (3, 30, 3));
    assert_eq!((counters.input_bytes, counters.largest_chunk), (3 * i64::from(CHUNK), CHUNK));
    // Marking twice counts once.
    let marked = database.store.mark_queued(&[queued(&batch, &again[..1])]).await.unwrap();
    assert_eq!(marked[0].withdrawn, Vec::<String>::new());
    assert_eq!(marked[0].view.as_ref().unwrap().counters, database.counters(&batch).await);
    assert_eq!(database.counters(&batch).await.chunks_queued, 3);
}

#[tokio::test]
async fn the_same_id_with_other_content_is_a_conflict_and_changes_nothing() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    database.queued(&batch, &["a"]).await;
    let mut other = push(&batch, &["b", "a"]);
    other.chunks[1].digest = [9; 32];
    assert_eq!(database.admit(other).await, Admission::Conflict { chunk_ids: vec!["a".into()] });
    assert_eq!(database.counters(&batch).await.chunks_submitted, 1);
}

#[tokio::test]
async fn f28_a_full_input_buffer_refuses_whole_pushes_and_a_group_is_judged_one_by_one() {
    let database = Database::new().await;
    let batch = database.batch(2 * i64::from(CHUNK), 10_000).await;
    let other = database.batch(10_000, 10_000).await;
    let answers = database
        .store
        .admit(&[
            push(&batch, &["a"]),
            push(&batch, &["b", "c"]),
            push(&other, &["x"]),
            push(&batch, &["d"]),
            push(&batch, &["e", "f", "g"]),
        ])
        .await
        .unwrap();
    assert!(matches!(&answers[0], Admission::Admitted { .. }));
    assert_eq!(answers[1], Admission::InputFull { needed: 2_000, free: 1_000 });
    assert!(matches!(&answers[2], Admission::Admitted { .. }));
    assert!(matches!(&answers[3], Admission::Admitted { .. }));
    assert_eq!(answers[4], Admission::TooLarge { needed: 3_000, allocated: 2_000 });
    assert_eq!(database.counters(&batch).await.input_bytes, 2_000);
}

#[tokio::test]
async fn f28_concurrent_pushes_never_exceed_the_input_buffer() {
    let database = Database::new().await;
    let batch = database.batch(10 * i64::from(CHUNK), 10_000).await;
    let pushes = (0..40).map(|i| {
        let (store, push) = (database.store.clone(), push(&batch, &[&format!("c{i}")]));
        tokio::spawn(async move { store.admit(&[push]).await.unwrap().remove(0) })
    });
    let mut admitted = 0;
    for answer in pushes.collect::<Vec<_>>() {
        admitted += usize::from(matches!(answer.await.unwrap(), Admission::Admitted { .. }));
    }
    assert_eq!(admitted, 10);
    assert_eq!(database.counters(&batch).await.input_bytes, 10 * i64::from(CHUNK));
}

#[tokio::test]
async fn only_open_batches_take_chunks() {
    let database = Database::new().await;
    let batch = database.batch(10_000, 10_000).await;
    database.queued(&batch, &["a"]).await;
    database.store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    assert_eq!(database.admit(push(&batch, &["b"])).await, Admission::NotOpen(BatchState::Closed));
    let mut lost = push(&batch, &["b"]);
    lost.batch_id = uuid::Uuid::new_v4();
    assert_eq!(database.admit(lost).await, Admission::NotFound);
}

#[tokio::test]
async fn a_tenant_must_have_110_per_cent_of_the_buffers_free() {
    let database = Database::new().await;
    for _ in 0..3 {
        database.batch(70_000_000, 80_000_000).await;
    }
    let refused = database.store.create_batch(&database.new_batch(70_000_000, 80_000_000)).await;
    let Err(CreateBatchError::TenantExhausted { needed, free, finished_for }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((needed, free, finished_for), (165_000_000, 50_000_000, None));
}

#[tokio::test]
async fn live_batches_have_lanes_of_their_own_and_freed_lanes_get_a_new_epoch() {
    let database = Database::new().await;
    let (first, second) = (database.batch(1_000, 1_000).await, database.batch(1_000, 1_000).await);
    assert_ne!(first.lane_id, second.lane_id);
    database.store.change_batch(first.id, Transition::Cancel).await.unwrap().unwrap();
    let lanes = database.store.finished_lanes().await.unwrap();
    assert_eq!(lanes.iter().map(|lane| lane.batch_id).collect::<Vec<_>>(), [first.id]);
    // A purge that fails keeps the lane; while one runs, nobody else frees the lane or leases it.
    let failed = database.store.free_lane(lanes[0], async { Err("the broker is away") }).await.unwrap();
    assert_eq!(failed, Err("the broker is away"));
    let rival = async {
        let meanwhile = database.batch(1_000, 1_000).await;
        assert_ne!(meanwhile.lane_id, first.lane_id);
        let nested = database.store.free_lane(lanes[0], async { Ok::<_, ()>(Purged::Empty) }).await.unwrap();
        assert_eq!(nested, Ok(false));
        Ok::<_, ()>(Purged::Missing)
    };
    assert_eq!(database.store.free_lane(lanes[0], rival).await.unwrap(), Ok(true));
    let third = database.batch(1_000, 1_000).await;
    assert_eq!(third.lane_id, first.lane_id);
    assert!(third.lane_epoch > first.lane_epoch);
    // Its queue was gone, so it is to be declared again.
    database.store.change_batch(third.id, Transition::Cancel).await.unwrap().unwrap();
    let lane = database.store.finished_lanes().await.unwrap()[0];
    database.store.free_lane(lane, async { Ok::<_, ()>(Purged::Missing) }).await.unwrap().unwrap();
    let again = database.store.create_batch(&database.new_batch(1_000, 1_000)).await.unwrap();
    assert_eq!((again.batch.lane_id, again.lane_declared), (third.lane_id, false));
}
