//! Transactions whose outcome nobody knows, and schemas of other versions.

use millrace_tests::proxy::{Direction, Proxy};
use millrace_tests::{Fleet, FleetOptions, PATIENCE, SalesRun, Services, wait_until};

use crate::lane::{count, until_ready};

async fn database_proxy() -> Proxy {
    Proxy::start(Services::from_env().unwrap().database_address().unwrap()).await.unwrap()
}

/// So quiet that nothing but the transaction under test speaks to the database.
fn quiet(workers: usize) -> FleetOptions {
    FleetOptions::workers(workers)
        .set("worker.heartbeat_ms", 30_000)
        .set("worker.silent_after_ms", 100_000)
        .set("clocks.reaper_ms", 30_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_a_commit_of_results_whose_answer_is_lost_is_repeated_without_effect() {
    const CHUNKS: usize = 20;
    let database = database_proxy().await;
    let options = quiet(0).set_worker("clocks.poll_ms", 30_000).worker_database_at(database.address());
    let mut fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    let worker = fleet.start_failing_worker("commit.inserted=stop@1").await.unwrap();
    fleet.worker(worker).unwrap().wait_frozen(PATIENCE).await.unwrap();
    // The COMMIT arrives, its answer does not.
    database.cut_after(Direction::ToClient, 0);
    fleet.continue_worker(worker).unwrap();
    fleet.worker(worker).unwrap().wait_says("holding finished chunks", 1, PATIENCE).await.unwrap();
    run.until_completed(CHUNKS).await.unwrap();
    // One whose reaper is awake gives the lane back.
    fleet.terminate_worker(worker, PATIENCE).await.unwrap();
    run.push_until_taken(CHUNKS..CHUNKS + 5).await.unwrap();
    fleet.start_worker().await.unwrap();
    run.finish(&fleet, CHUNKS + 5).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_an_admission_whose_answer_is_lost_is_repeated_and_counts_once() {
    const CHUNKS: usize = 20;
    let database = database_proxy().await;
    let options = FleetOptions::workers(1).api_database_at(database.address());
    let mut fleet = Fleet::sales(options).await.unwrap();
    let mut run = SalesRun::open(&fleet).await.unwrap();
    for (round, point) in ["push.inserted", "push.marked"].into_iter().enumerate() {
        let chunks = round * CHUNKS..(round + 1) * CHUNKS;
        fleet.start_failing_api(&format!("{point}=stop@1")).await.unwrap();
        run.follow(&fleet);
        // Under the key's and the batch's names, so that nothing else is asked on the way.
        run.status().await.unwrap();
        let pushing = tokio::spawn({
            let (run, chunks) = (run.clone(), chunks.clone());
            async move { run.push(chunks).await.unwrap() }
        });
        fleet.api().unwrap().wait_frozen(PATIENCE).await.unwrap();
        database.cut_after(Direction::ToClient, 0);
        fleet.api().unwrap().signal(millrace_tests::Signal::Continue).unwrap();
        let answer = pushing.await.unwrap();
        assert_eq!(
            (answer.status, answer.code()),
            (503, Some("DATABASE_UNAVAILABLE")),
            "{}",
            answer.describe()
        );
        run.push_until_taken(chunks.clone()).await.unwrap();
        let status = run.until_completed(chunks.end).await.unwrap();
        assert_eq!(status["chunks_submitted"], chunks.end, "{status}");
    }
    run.finish(&fleet, 2 * CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f26_a_database_that_has_become_read_only_is_waited_for() {
    const CHUNKS: usize = 40;
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    run.until_completed(CHUNKS).await.unwrap();
    // As after a failover to a standby that is not promoted yet.
    let database = fleet.database().connect().await.unwrap();
    let switch = async |read_only: bool| {
        let name = fleet.database().name();
        database
            .batch_execute(&format!(
                "SET default_transaction_read_only = off;
                 ALTER DATABASE {name} SET default_transaction_read_only = {read_only};
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ))
            .await
            .unwrap();
    };
    switch(true).await;
    let answer = wait_until("a push meets the read-only database", PATIENCE, || async {
        let answer = run.push(CHUNKS..CHUNKS + 20).await?;
        Ok((answer.status != 200).then_some(answer))
    })
    .await
    .unwrap();
    assert_eq!((answer.status, answer.code()), (503, Some("DATABASE_UNAVAILABLE")), "{}", answer.describe());
    let answer = run.client().patch(run.batch(), "closed").await.unwrap();
    assert_eq!((answer.status, answer.code()), (503, Some("DATABASE_UNAVAILABLE")), "{}", answer.describe());
    switch(false).await;
    run.push_until_taken(CHUNKS..CHUNKS + 20).await.unwrap();
    run.finish(&fleet, CHUNKS + 20).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f40_processes_work_with_a_newer_schema_and_wait_for_an_older_one() {
    let mut fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let mut run = SalesRun::open(&fleet).await.unwrap();
    let database = fleet.database().connect().await.unwrap();
    // What a migration may do: a column with a default, a table of its own, an index.
    database
        .batch_execute(
            "ALTER TABLE batches ADD COLUMN colour text NOT NULL DEFAULT 'green';
             ALTER TABLE chunks ADD COLUMN colour text;
             ALTER TABLE results ADD COLUMN colour text NOT NULL DEFAULT 'green';
             ALTER TABLE batch_counters ADD COLUMN greens bigint NOT NULL DEFAULT 0;
             CREATE TABLE colours (name text PRIMARY KEY);
             INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9000, 'colours', true, '\\x00', 0)",
        )
        .await
        .unwrap();
    run.push_until_taken(0..20).await.unwrap();
    let worker = fleet.start_worker().await.unwrap();
    run.until_completed(20).await.unwrap();
    fleet.start_failing_api("").await.unwrap();
    run.follow(&fleet);
    fleet.terminate_worker(worker, PATIENCE).await.unwrap();

    // One migration less than the binaries know: neither serves before it is there.
    let last = "(SELECT max(version) FROM _sqlx_migrations WHERE version < 9000)";
    let hide = format!("UPDATE _sqlx_migrations SET version = -version WHERE version = {last}");
    database.batch_execute(&hide).await.unwrap();
    fleet.kill_api().unwrap();
    let worker = fleet.launch_worker().unwrap();
    fleet.launch_api().unwrap();
    let api = fleet.api().unwrap();
    api.wait_says("is missing; run `millrace-api migrate`", 2, PATIENCE).await.unwrap();
    let address = api.address().await.unwrap();
    for (path, status) in [("/readyz", 503), ("/livez", 200)] {
        let answer = fleet.client().at(&format!("http://{address}")).get(path).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
    fleet
        .worker(worker)
        .unwrap()
        .wait_says("is missing; run `millrace-api migrate`", 2, PATIENCE)
        .await
        .unwrap();
    assert_eq!(count(&fleet, "SELECT count(*) FROM workers").await, 0);
    database.batch_execute("UPDATE _sqlx_migrations SET version = -version WHERE version < 0").await.unwrap();
    fleet.await_api().await.unwrap();
    fleet.await_worker(worker).await.unwrap();
    run.follow(&fleet);

    // A migration that is not the one that the binary knows: they wait for somebody to look.
    database.batch_execute("UPDATE _sqlx_migrations SET checksum = '\\x00' WHERE version = 1").await.unwrap();
    let stranger = fleet.launch_worker().unwrap();
    fleet.worker(stranger).unwrap().wait_says("differs from this binary's", 1, PATIENCE).await.unwrap();
    fleet.kill_worker(stranger).unwrap();
    run.push_until_taken(20..40).await.unwrap();
    run.finish(&fleet, 40).await.unwrap();
    until_ready(&fleet, 0).await;
}
