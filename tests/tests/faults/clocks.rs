//! Clocks: timeouts that act once, and machines whose clocks are wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use millrace_tests::{Fleet, FleetOptions, PATIENCE, SalesRun, reconcile, released};
use serde_json::json;

use crate::lane::count;

#[tokio::test(flavor = "multi_thread")]
async fn f31_an_inactivity_timeout_that_races_the_last_result_acts_once() {
    const ROUNDS: usize = 6;
    const CHUNKS: usize = 12;
    let options = FleetOptions::workers(0)
        .set("clocks.inactivity_seconds", 2)
        .set("clocks.reaper_ms", 100)
        .set("worker.slots", 1)
        .set("tenants.capacity_bytes", 9_000_000_000_u64);
    let mut fleet = Fleet::sales(options).await.unwrap();
    // Slow enough to be working when the time is up.
    fleet.start_failing_worker("evaluate=sleep:40").await.unwrap();
    fleet.start_failing_worker("evaluate=sleep:40").await.unwrap();
    let mut runs = Vec::new();
    for _ in 0..ROUNDS {
        let run = SalesRun::open(&fleet).await.unwrap();
        run.push_until_taken(0..CHUNKS).await.unwrap();
        runs.push(run);
    }
    for run in &runs {
        run.client().wait_for_status(run.batch(), "completed_by_timeout", PATIENCE).await.unwrap();
        let results = run.client().pull_all(run.batch(), CHUNKS, PATIENCE).await.unwrap();
        run.check_results(&results, &(0..CHUNKS).collect(), &Default::default()).unwrap();
        let closed = run.client().patch(run.batch(), "closed").await.unwrap();
        assert!(matches!(closed.status, 200 | 409), "{}", closed.describe());
        let status = run.status().await.unwrap();
        assert_eq!(status["batch_status"], "completed_by_timeout", "{status}");
        for buffer in ["input_buffer_used_bytes", "output_buffer_used_bytes"] {
            assert_eq!(status[buffer], 0, "{status}");
        }
        reconcile(&fleet, run.batch()).await.unwrap();
        released(&fleet, run.batch()).await.unwrap();
    }
    let acted: Vec<String> = ["worker-0", "worker-1"]
        .iter()
        .map(|worker| std::fs::read_to_string(fleet.folder().join(format!("{worker}.log"))).unwrap())
        .collect();
    assert_eq!(acted.concat().matches("closed after inactivity").count(), ROUNDS, "each batch once");
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_reapers_that_run_at_once_do_each_thing_once() {
    const BATCHES: usize = 12;
    let options = FleetOptions::workers(4)
        .set("worker.slots", 1)
        .set("clocks.inactivity_seconds", 2)
        .set("clocks.reaper_ms", 50)
        .set("tenants.capacity_bytes", 9_000_000_000_u64);
    let fleet = Fleet::sales(options).await.unwrap();
    let mut runs = Vec::new();
    for _ in 0..BATCHES {
        let run = SalesRun::open(&fleet).await.unwrap();
        run.push_until_taken(0..2).await.unwrap();
        runs.push(run);
    }
    // Nobody holds the lease for long: whoever asks next is the reaper, while the last one is still at it.
    let database = fleet.database().connect().await.unwrap();
    let robbing = tokio::spawn(async move {
        loop {
            database.execute("DELETE FROM leases", &[]).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    for run in &runs {
        run.client().wait_for_status(run.batch(), "completed_by_timeout", PATIENCE).await.unwrap();
        released(&fleet, run.batch()).await.unwrap();
        let results = run.client().pull_all(run.batch(), 2, PATIENCE).await.unwrap();
        run.check_results(&results, &(0..2).collect(), &Default::default()).unwrap();
        reconcile(&fleet, run.batch()).await.unwrap();
    }
    robbing.abort();
    let logs = (0..4)
        .map(|worker| std::fs::read_to_string(fleet.folder().join(format!("worker-{worker}.log"))).unwrap());
    assert_eq!(
        logs.collect::<String>().matches("closed after inactivity").count(),
        BATCHES,
        "each batch once"
    );
    // Every lane is in the pool once, and free.
    assert_eq!(count(&fleet, "SELECT count(*) FROM lanes WHERE batch_id IS NOT NULL").await, 0);
}

/// A library that shifts the wall clock of the process that loads it; the clock of timers stays.
fn clock_shift(folder: &Path) -> PathBuf {
    const SOURCE: &str = r#"
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <stdlib.h>
        #include <time.h>
        int clock_gettime(clockid_t clock, struct timespec *time) {
            static int (*real)(clockid_t, struct timespec *);
            static long shift;
            if (!real) {
                const char *text = getenv("CLOCK_SHIFT");
                shift = text ? atol(text) : 0;
                real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
            }
            int result = real(clock, time);
            if (clock == CLOCK_REALTIME) time->tv_sec += shift;
            return result;
        }
    "#;
    let (source, library) = (folder.join("shift.c"), folder.join("shift.so"));
    std::fs::write(&source, SOURCE).unwrap();
    // The linker of Rust programs is a C compiler.
    let status =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().unwrap();
    assert!(status.success());
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn f33_only_the_clock_of_the_database_decides() {
    const CHUNKS: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let library = clock_shift(folder.path());
    let library = library.display();
    // A day is more than any clock of a machine should be off, and shows mistakes with days.
    for (api, worker) in [(300, -300), (-300, 300), (-86_400, 86_400)] {
        let options = FleetOptions::workers(2)
            .set("clocks.inactivity_seconds", 60)
            .set("clocks.accepted_seconds", 60)
            .set("clocks.reaper_ms", 200)
            .api_variable("LD_PRELOAD", &library)
            .api_variable("CLOCK_SHIFT", api)
            .worker_variable("LD_PRELOAD", &library)
            .worker_variable("CLOCK_SHIFT", worker);
        let mut fleet = Fleet::sales(options).await.unwrap();
        // The shift is real: a log line's time is the process's own.
        let now = count(&fleet, "SELECT extract(epoch FROM now())::bigint").await;
        let log = fleet.api().unwrap().log();
        let said = log.split_whitespace().next().unwrap().to_owned();
        let said = tokio_postgres_time(&said);
        assert!((said - now - i64::from(api)).abs() < 120, "the API's clock is not off: {said}, {now}");
        let run = SalesRun::open(&fleet).await.unwrap();
        run.push_all(CHUNKS).await.unwrap().unwrap();
        run.until_completed(CHUNKS).await.unwrap();
        // Neither timed out, nor withdrawn, nor are workers gone.
        let status = run.status().await.unwrap();
        assert_eq!(
            (&status["batch_status"], &status["chunks_submitted"]),
            (&json!("in_progress"), &json!(CHUNKS))
        );
        assert_eq!(count(&fleet, "SELECT count(*) FROM workers").await, 2);
        run.finish(&fleet, CHUNKS).await.unwrap();
    }
}

/// Seconds since 1970 of a log line's time.
fn tokio_postgres_time(text: &str) -> i64 {
    let output = Command::new("date").args(["-u", "+%s", "-d", text]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap_or_else(|_| panic!("no time: {text}"))
}
