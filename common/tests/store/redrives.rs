//! Redrives: begun with their batch, carried on by whoever is there; and what they hold back.

use millrace_common::model::Transition;
use millrace_common::store::{
    AuditFilter, Batch, CreateBatchError, CreateRedriveError, FailureKinds, NewRedrive, StoreError,
    WorkerSlot,
};
use uuid::Uuid;

use super::failures::{failing, good};
use super::fixture::Database;

const MUCH: i64 = 1_000_000;
const CHUNKS: FailureKinds = FailureKinds { chunks: true, records: false };

fn redrive_of(source: &Batch, kinds: FailureKinds, chunks: i64) -> NewRedrive {
    NewRedrive {
        batch_id: Uuid::new_v4(),
        source_id: source.id,
        source_day: source.day,
        kinds,
        close: true,
        chunks,
        largest: 2_000,
    }
}

/// A batch that has ended, with two failed chunks, one with failed records, a good one, and a failed one without its input.
async fn source(database: &Database) -> (Batch, Vec<i64>) {
    let store = &database.store;
    let batch = database.batch(100_000, 100_000).await;
    let chunks = database.queued(&batch, &["a", "b", "c", "d", "lost"]).await;
    let mut lost = failing(&batch, "lost", chunks[4].1, true);
    lost.failed = None;
    let group = [
        failing(&batch, "a", chunks[0].1, true),
        failing(&batch, "b", chunks[1].1, false),
        good(&batch, "c", chunks[2].1),
        failing(&batch, "d", chunks[3].1, true),
        lost,
    ];
    store.commit(WorkerSlot::of(Uuid::nil()), &group).await.unwrap();
    store.change_batch(batch.id, Transition::Close).await.unwrap().unwrap();
    (batch, chunks.into_iter().map(|(_, number)| number).collect())
}

#[tokio::test]
async fn a_redrive_goes_on_where_it_stopped() {
    let database = Database::new().await;
    let store = &database.store;
    let (source, numbers) = source(&database).await;
    let plan = store.plan_redrive(source.id, source.day, FailureKinds::ALL).await.unwrap();
    assert_eq!(
        (plan.failed, plan.possible, plan.largest, plan.impossible),
        (4, 3, 1, vec!["lost".to_owned()])
    );
    let records = FailureKinds { chunks: false, records: true };
    let plan = store.plan_redrive(source.id, source.day, records).await.unwrap();
    assert_eq!((plan.failed, plan.possible, plan.impossible), (1, 1, vec![]));

    let new = redrive_of(&source, FailureKinds::ALL, 3);
    let created = store.create_redrive(&database.new_batch(10_000, 10_000), &new).await.unwrap();
    assert_eq!(created.batch.id, new.batch_id);
    assert_eq!(store.redrive_links(source.id).await.unwrap().redriven_by, [new.batch_id]);
    let first = store.claim_redrive(60.0).await.unwrap().unwrap();
    assert_eq!((first.batch_id, first.input_allocated), (new.batch_id, 10_000));
    assert!(store.claim_redrive(60.0).await.unwrap().is_none(), "it is leased");
    let inputs = store.redrive_inputs(&first, 2, MUCH).await.unwrap();
    let ids: Vec<_> = inputs.iter().map(|input| (input.chunk_id.as_str(), input.input.as_slice())).collect();
    assert_eq!(ids, [("a", b"a".as_slice()), ("b", b"b".as_slice())]);
    assert_eq!(store.redrive_inputs(&first, 10, 1).await.unwrap().len(), 1, "one comes in any case");
    // Two servers push the same portion; it counts once.
    for _ in 0..2 {
        store.advance_redrive(&first, numbers[1] + 1, 2).await.unwrap();
    }
    let second = store.claim_redrive(60.0).await.unwrap().unwrap();
    assert_eq!((second.chunks_done, second.kind.as_str(), second.next_no), (2, "all", numbers[1] + 1));
    let inputs = store.redrive_inputs(&second, 10, MUCH).await.unwrap();
    assert_eq!(inputs.iter().map(|input| input.chunk_no).collect::<Vec<_>>(), [numbers[3]]);
    store.postpone_redrive(new.batch_id, 0.0).await.unwrap();
    assert!(store.claim_redrive(60.0).await.unwrap().is_some(), "it was given back");
    store.end_redrive(new.batch_id, true, Some("one is missing")).await.unwrap();
    assert!(store.claim_redrive(60.0).await.unwrap().is_none());
    store.end_redrive(new.batch_id, false, None).await.unwrap();
    let ended = store.redrive_links(new.batch_id).await.unwrap().own.unwrap();
    assert_eq!((ended.state.as_str(), ended.reason.as_deref()), ("done", Some("one is missing")));
}

#[tokio::test]
async fn a_redrive_begins_with_its_batch_or_not_at_all() {
    let database = Database::new().await;
    let store = &database.store;
    let (source, _) = source(&database).await;
    let new = redrive_of(&source, CHUNKS, 2);
    store.create_redrive(&database.new_batch(10_000, 10_000), &new).await.unwrap();
    let taken = store.create_redrive(&database.new_batch(10_000, 10_000), &new).await;
    assert!(matches!(taken, Err(CreateRedriveError::IdTaken)), "{taken:?}");
    let other = redrive_of(&source, CHUNKS, 2);
    let small = store.create_redrive(&database.new_batch(1_999, 10_000), &other).await;
    assert!(
        matches!(small, Err(CreateRedriveError::TooLarge { needed: 2_000, allocated: 1_999 })),
        "{small:?}"
    );
    let exhausted = store.create_redrive(&database.new_batch(400_000_000, 100_000_000), &other).await;
    assert!(
        matches!(exhausted, Err(CreateRedriveError::Batch(CreateBatchError::TenantExhausted { .. }))),
        "{exhausted:?}"
    );
    let nobodys = NewRedrive { source_id: Uuid::new_v4(), ..redrive_of(&source, CHUNKS, 2) };
    let missing = store.create_redrive(&database.new_batch(10_000, 10_000), &nobodys).await;
    assert!(
        matches!(missing, Err(CreateRedriveError::Batch(CreateBatchError::Store(StoreError::NotFound(_))))),
        "{missing:?}"
    );
    // Dropping the results gives up what could be done again.
    store.change_batch(source.id, Transition::Cancel).await.unwrap().unwrap();
    let expired = store.create_redrive(&database.new_batch(10_000, 10_000), &other).await;
    assert!(matches!(expired, Err(CreateRedriveError::Expired)), "{expired:?}");
    // Nothing of all this is left: two batches, one redrive, and what the trail says of them.
    assert_eq!(store.tenant_overview(database.tenant_id).await.unwrap().batches.len(), 2);
    assert_eq!(store.redrive_links(source.id).await.unwrap().redriven_by, [new.batch_id]);
    let filter = AuditFilter { tenant_id: Some(database.tenant_id), ..AuditFilter::default() };
    let trail = store.audit_entries(&filter, 100).await.unwrap();
    let redrives: Vec<_> = trail.iter().filter(|entry| entry.action == "batch.redrive").collect();
    assert_eq!((redrives.len(), &redrives[0].object), (1, &source.id.to_string()));
    assert_eq!(redrives[0].details["batch"], new.batch_id.to_string());
    assert_eq!(redrives[0].details["kind"], "chunks");
    assert_eq!(trail.iter().filter(|entry| entry.action == "batch.create").count(), 2);
}

#[tokio::test]
async fn the_day_of_a_redrive_is_kept_until_its_inputs_are_in() {
    let database = Database::new().await;
    let store = &database.store;
    let (source, _) = source(&database).await;
    let new = redrive_of(&source, CHUNKS, 2);
    store.create_redrive(&database.new_batch(10_000, 10_000), &new).await.unwrap();
    let partition = |table: &str| {
        format!(
            "CREATE TABLE {table}_p20200101 PARTITION OF {table} FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')"
        )
    };
    let tables = ["chunks", "results", "failed_work"].map(partition).join("; ");
    database
        .run(&format!(
            "{tables};
             UPDATE batches SET day = '2020-01-01', finished_at = now() - interval '2 days' WHERE id = '{}';
             UPDATE redrives SET source_day = '2020-01-01'",
            source.id
        ))
        .await;
    assert!(store.drop_expired_partitions(86_400.0).await.unwrap().is_empty());
    assert_eq!(database.view(&source).await.batch.dropped_at, None);
    // One that begins while the day is being dropped is waited for.
    store.end_redrive(new.batch_id, true, None).await.unwrap();
    let mut other = database.connect().await;
    let beginning = other.transaction().await.unwrap();
    beginning.execute("SELECT FROM batches WHERE id = $1 FOR SHARE", &[&source.id]).await.unwrap();
    beginning.execute("UPDATE redrives SET state = 'running'", &[]).await.unwrap();
    let dropping = tokio::spawn({
        let store = store.clone();
        async move { store.drop_expired_partitions(86_400.0).await }
    });
    let watcher = database.connect().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while watcher.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(!dropping.is_finished(), "the drop waits for the row");
        tokio::task::yield_now().await;
    }
    beginning.commit().await.unwrap();
    assert!(dropping.await.unwrap().unwrap().is_empty());
    assert_eq!(database.view(&source).await.batch.dropped_at, None);
    store.end_redrive(new.batch_id, true, None).await.unwrap();
    assert_eq!(store.drop_expired_partitions(86_400.0).await.unwrap().len(), 1);
    assert!(database.view(&source).await.batch.dropped_at.is_some());
}
