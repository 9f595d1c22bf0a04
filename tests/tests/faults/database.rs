//! The database goes away, hangs, is full or busy.

use std::time::{Duration, Instant};

use millrace_tests::proxy::Proxy;
use millrace_tests::{
    Answer, Fleet, FleetOptions, PATIENCE, PrivateServices, SalesRun, ServiceAction, Services, wait_until,
};

use crate::lane::{count, until_ready};

async fn database_proxy() -> Proxy {
    Proxy::start(Services::from_env().unwrap().database_address().unwrap()).await.unwrap()
}

fn unavailable(answer: &Answer) {
    assert_eq!((answer.status, answer.code()), (503, Some("DATABASE_UNAVAILABLE")), "{}", answer.describe());
    for header in ["retry-after", "x-retry-after"] {
        assert!(answer.header(header).is_some(), "without {header}: {}", answer.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_worker_without_its_database_holds_what_it_has_and_stores_it_later() {
    const CHUNKS: usize = 300;
    let database = database_proxy().await;
    // Room for all of it, however much was stored when the database went.
    let options = FleetOptions::workers(0).worker_database_at(database.address()).set("worker.prefetch", 512);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    let worker = fleet.start_failing_worker("evaluate=sleep:20").await.unwrap();
    run.until_completed(20).await.unwrap();
    database.down();
    let worker = fleet.worker(worker).unwrap();
    worker.wait_says("holding finished chunks", 3, PATIENCE).await.unwrap();
    // Nothing is acknowledged, nothing given back, nothing failed.
    let stored = count(&fleet, "SELECT count(*) FROM results").await;
    assert!(stored < i64::try_from(CHUNKS).unwrap());
    until_ready(&fleet, 0).await;
    database.pass();
    run.finish(&fleet, CHUNKS).await.unwrap();
    assert!(crate::lane::attempts(&fleet).await.iter().all(|(_, attempts)| *attempts == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_link_to_the_database_that_is_dead_without_a_word_is_given_up_by_a_worker() {
    const CHUNKS: usize = 300;
    let database = database_proxy().await;
    let options = FleetOptions::workers(0)
        .worker_database_at(database.address())
        .set("database.acquire_timeout_ms", 1_000)
        .set("database.statement_timeout_ms", 2_000);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    let worker = fleet.start_failing_worker("evaluate=sleep:5").await.unwrap();
    run.until_completed(20).await.unwrap();
    database.black_hole();
    fleet.worker(worker).unwrap().wait_says("holding finished chunks", 1, PATIENCE).await.unwrap();
    database.pass();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_database_that_dies_in_the_middle_of_commits_loses_and_doubles_nothing() {
    const CHUNKS: usize = 600;
    let private = PrivateServices::start().await.unwrap();
    let mut fleet = Fleet::start_on(&private, FleetOptions::workers(0)).await.unwrap();
    fleet.publish_sales().await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    fleet.start_failing_worker("evaluate=sleep:5").await.unwrap();
    let pushing = run.push_all(CHUNKS);
    for (completed, stop, start) in [
        (100, ServiceAction::KillDatabase, ServiceAction::StartDatabase),
        (250, ServiceAction::StopDatabase, ServiceAction::StartDatabase),
    ] {
        run.until_completed(completed).await.unwrap();
        private.act(stop).await.unwrap();
        private.act(start).await.unwrap();
    }
    pushing.await.unwrap().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

/// The error of a full disk, as often as a row is written to the table.
async fn full(fleet: &Fleet, table: &str, full: bool) {
    let statements = if full {
        format!(
            "CREATE OR REPLACE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
             CREATE TRIGGER full_disk BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION full_disk();"
        )
    } else {
        format!("DROP TRIGGER full_disk ON {table}")
    };
    fleet.database().connect().await.unwrap().batch_execute(&statements).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_full_disk_is_waited_for() {
    const CHUNKS: usize = 60;
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    full(&fleet, "chunks", true).await;
    unavailable(&run.push(0..CHUNKS).await.unwrap());
    full(&fleet, "chunks", false).await;
    full(&fleet, "results", true).await;
    run.push(0..CHUNKS).await.unwrap().success().unwrap();
    let log = fleet.folder().join("worker-0.log");
    wait_until("the worker holds its chunks", PATIENCE, || async {
        Ok(std::fs::read_to_string(&log)?.contains("holding finished chunks").then_some(()))
    })
    .await
    .unwrap();
    until_ready(&fleet, 0).await;
    full(&fleet, "results", false).await;
    run.finish(&fleet, CHUNKS).await.unwrap();
    assert!(crate::lane::attempts(&fleet).await.iter().all(|(_, attempts)| *attempts == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_an_api_without_its_database_says_so_at_once_and_publishes_nothing() {
    let database = database_proxy().await;
    let options = FleetOptions::workers(0).api_database_at(database.address());
    let mut fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..5).await.unwrap();
    until_ready(&fleet, 5).await;
    database.down();
    let began = Instant::now();
    unavailable(&run.push(5..10).await.unwrap());
    unavailable(&run.client().pull(run.batch(), 10).await.unwrap());
    unavailable(&run.client().status(run.batch()).await.unwrap());
    unavailable(&run.client().patch(run.batch(), "closed").await.unwrap());
    unavailable(&run.client().overview().await.unwrap());
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    until_ready(&fleet, 5).await;
    database.pass();
    run.push_until_taken(5..10).await.unwrap();
    until_ready(&fleet, 10).await;
    fleet.start_worker().await.unwrap();
    run.finish(&fleet, 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f23_an_api_whose_link_to_the_database_is_dead_without_a_word_does_not_hang() {
    let database = database_proxy().await;
    let options = FleetOptions::workers(1)
        .api_database_at(database.address())
        .set("database.acquire_timeout_ms", 1_000)
        .set("database.statement_timeout_ms", 2_000);
    let fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..5).await.unwrap();
    database.black_hole();
    let asked = async {
        unavailable(&run.push(5..10).await.unwrap());
        unavailable(&run.client().status(run.batch()).await.unwrap());
        unavailable(&run.client().pull(run.batch(), 1).await.unwrap());
    };
    tokio::time::timeout(Duration::from_secs(45), asked).await.expect("answers come");
    database.pass();
    run.push_until_taken(5..10).await.unwrap();
    run.finish(&fleet, 10).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f25_pushes_that_wait_for_a_lock_are_refused_in_time_and_status_still_answers() {
    let options = FleetOptions::workers(1)
        .set("database.data_connections", 1)
        .set("database.acquire_timeout_ms", 3_000)
        .set_api("database.statement_timeout_ms", 4_000);
    let fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    let holder = fleet.database().connect().await.unwrap();
    holder.batch_execute("BEGIN; SELECT FROM batch_counters WHERE slot < 2 FOR UPDATE").await.unwrap();
    let pushes: Vec<_> = (0..4)
        .map(|index| {
            let run = run.clone();
            tokio::spawn(async move { run.push(index * 5..index * 5 + 5).await.unwrap() })
        })
        .collect();
    // The only connection for data waits for the lock: the control plane has its own.
    while pushes.iter().any(|push| !push.is_finished()) {
        run.status().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for push in pushes {
        unavailable(&push.await.unwrap());
    }
    unavailable(&run.client().pull(run.batch(), 1).await.unwrap());
    holder.batch_execute("ROLLBACK").await.unwrap();
    run.push_until_taken(0..20).await.unwrap();
    run.finish(&fleet, 20).await.unwrap();
}
