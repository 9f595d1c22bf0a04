//! The tenant's reservation at its edges, and its output buffer.

use millrace_common::model::Transition;
use millrace_common::store::{Batch, CreateBatchError, Outcome, TenantChange};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::fixture::Database;

/// What happens to a tenant.
#[derive(Debug, Clone, Copy)]
enum Op {
    Create {
        input: i64,
        output: i64,
    },
    /// As large as just fits, or a byte larger.
    Edge {
        over: bool,
    },
    /// The batch with this number, of those that were created, is closed and finished.
    Finish(usize),
    Cancel(usize),
    /// So many seconds pass, and then the reaper comes.
    Pass(i64),
}

fn operations() -> impl Strategy<Value = Vec<Op>> {
    use proptest::prelude::*;
    let operation = prop_oneof![
        4 => (1_i64..400, 1_i64..400).prop_map(|(input, output)| Op::Create { input, output }),
        2 => any::<bool>().prop_map(|over| Op::Edge { over }),
        2 => any::<usize>().prop_map(Op::Finish),
        1 => any::<usize>().prop_map(Op::Cancel),
        2 => (1_i64..80).prop_map(Op::Pass),
    ];
    prop::collection::vec(operation, 1..40)
}

const CAPACITY: i64 = 1_000;
const COOL_OFF: i64 = 120;

#[derive(Debug)]
struct Held {
    batch: Batch,
    size: i64,
    /// Seconds since its end; `None` while it lives.
    finished: Option<i64>,
    released: bool,
}

/// The last of the batches in their cool-off that give back enough together decides how long to wait.
fn expect_wait(held: &[Held], missing: i64, told: Option<f64>) {
    let cooling = held.iter().filter(|held| !held.released);
    let mut cooling: Vec<_> = cooling.filter_map(|held| Some((held.finished?, held.size))).collect();
    cooling.sort_by_key(|(since, _)| std::cmp::Reverse(*since));
    let mut back = 0;
    let enough = cooling.into_iter().find(|(_, size)| {
        back += size;
        back >= missing
    });
    match (enough, told) {
        (None, None) => {}
        // The database's clock runs on while the test does.
        (Some((since, _)), Some(told)) => {
            assert!((since as f64..since as f64 + 60.0).contains(&told), "{told}: {held:?}");
        }
        (expected, told) => panic!("{expected:?} {told:?}: {held:?}"),
    }
}

/// Exactly 110 % must be free, and what a batch reserved comes back when its cool-off is over, not a second earlier.
#[tokio::test]
async fn reservations_follow_their_rule_through_any_operations() {
    let seed = *b"reservations of tenants, edge 01";
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let database = Database::new().await;
    database
        .run(&format!(
            "UPDATE tenants SET capacity_bytes = {CAPACITY}, max_input_bytes = 300, max_output_bytes = 300"
        ))
        .await;
    let (mut refused, mut edges) = (0, 0);
    for _ in 0..25 {
        let list = operations().new_tree(&mut runner).unwrap().current();
        let mut held: Vec<Held> = Vec::new();
        for op in &list {
            let reserved: i64 = held.iter().filter(|held| !held.released).map(|held| held.size).sum();
            match *op {
                Op::Create { .. } | Op::Edge { .. } => {
                    let (input, output) = match *op {
                        Op::Create { input, output } => (input, output),
                        // The most that 10/11 of what is free can be.
                        Op::Edge { over } => {
                            let size = ((CAPACITY - reserved) * 10 / 11 + i64::from(over)).max(2);
                            (size / 2, size - size / 2)
                        }
                        _ => unreachable!("only these create"),
                    };
                    let size = input.min(300) + output.min(300);
                    let fits = (CAPACITY - reserved) * 10 >= size * 11;
                    edges += usize::from((CAPACITY - reserved) * 10 / 11 == size);
                    match database.store.create_batch(&database.new_batch(input, output)).await {
                        Ok(created) => {
                            assert!(fits, "{size} was taken beside {reserved}: {list:?}");
                            held.push(Held { batch: created.batch, size, finished: None, released: false });
                        }
                        Err(CreateBatchError::TenantExhausted { needed, free, finished_for }) => {
                            assert!(!fits, "{size} was refused beside {reserved}: {list:?}");
                            refused += 1;
                            assert_eq!((free, needed), (CAPACITY - reserved, (size * 11 + 9) / 10));
                            expect_wait(&held, needed - free, finished_for);
                        }
                        Err(error) => panic!("{error}: {list:?}"),
                    }
                }
                Op::Finish(_) | Op::Cancel(_) if held.is_empty() => {}
                Op::Finish(which) => {
                    let count = held.len();
                    let one = &mut held[which % count];
                    if one.finished.is_none() {
                        database.store.change_batch(one.batch.id, Transition::Close).await.unwrap().unwrap();
                        one.finished = Some(0);
                    }
                }
                Op::Cancel(which) => {
                    let count = held.len();
                    let one = &mut held[which % count];
                    database.store.change_batch(one.batch.id, Transition::Cancel).await.unwrap().unwrap();
                    one.finished.get_or_insert(0);
                    one.released = true;
                }
                Op::Pass(seconds) => {
                    database
                        .run(&format!(
                            "UPDATE batches SET finished_at = finished_at - interval '{seconds} seconds'"
                        ))
                        .await;
                    let mut due = 0;
                    for one in held.iter_mut() {
                        one.finished = one.finished.map(|since| since + seconds);
                        if !one.released && one.finished.is_some_and(|since| since >= COOL_OFF) {
                            one.released = true;
                            due += 1;
                        }
                    }
                    let released = database.store.release_reservations(COOL_OFF as f64).await.unwrap();
                    // Batches may be through by the time that the test itself took.
                    assert!(released >= due, "{released} < {due}: {list:?}");
                    if released > due {
                        let now = database.store.tenant_overview(database.tenant_id).await.unwrap();
                        for one in held
                            .iter_mut()
                            .filter(|one| one.finished.is_some_and(|since| since >= COOL_OFF - 60))
                        {
                            one.released = true;
                        }
                        let left: i64 = held.iter().filter(|held| !held.released).map(|held| held.size).sum();
                        assert_eq!(left, now.reserved_input_bytes + now.reserved_output_bytes, "{list:?}");
                    }
                }
            }
        }
        for one in &held {
            database.store.change_batch(one.batch.id, Transition::Cancel).await.unwrap().unwrap();
        }
    }
    assert!(
        refused > 20 && edges > 5,
        "the lists must reach the edge: {refused} refused, {edges} that just fit"
    );
}

#[tokio::test]
async fn the_110_per_cent_are_exact_to_the_byte() {
    let database = Database::new().await;
    // 15 bytes need 16.5, so 17.
    for (capacity, fits) in [(16, false), (17, true)] {
        let change = TenantChange { capacity_bytes: Some(capacity), ..TenantChange::default() };
        database.store.change_tenant("acme", &change).await.unwrap().unwrap();
        let created = database.store.create_batch(&database.new_batch(7, 8)).await;
        assert_eq!(created.is_ok(), fits, "{capacity}: {created:?}");
        if let Ok(created) = created {
            database.store.change_batch(created.batch.id, Transition::Cancel).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_tenants_output_buffer_is_what_was_not_pulled_over_all_its_batches() {
    let database = Database::new().await;
    let store = &database.store;
    let change =
        TenantChange { output_capacity_bytes: Some(1_200), weight: Some(7), ..TenantChange::default() };
    let tenant = store.change_tenant("ACME", &change).await.unwrap().unwrap();
    assert_eq!(
        (tenant.output_capacity_bytes, tenant.weight, tenant.capacity_bytes),
        (Some(1_200), 7, 500_000_000)
    );
    assert_eq!(store.change_tenant("nobody", &change).await.unwrap(), None);
    let (one, two) = (database.batch(10_000, 10_000).await, database.batch(10_000, 10_000).await);
    for (batch, full) in [(&one, false), (&two, true)] {
        let chunks = database.queued(batch, &["a"]).await;
        database.finish(batch, &chunks, Outcome::Completed).await;
        assert_eq!(store.tenant_output(database.tenant_id).await.unwrap().is_full(), full);
    }
    let output = store.tenant_output(database.tenant_id).await.unwrap();
    assert_eq!((output.used_bytes, output.capacity_bytes, output.freed_bytes), (1_200, 1_200, 0));
    store.claim_results(one.id, one.day, 1, 1_000_000).await.unwrap();
    let output = store.tenant_output(database.tenant_id).await.unwrap();
    assert_eq!((output.used_bytes, output.freed_bytes, output.is_full()), (600, 600, false));
}
