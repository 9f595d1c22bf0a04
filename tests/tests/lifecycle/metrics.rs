use std::path::Path;

use millrace_common::metrics::{ALL, Kind, Process};
use millrace_tests::{Fleet, FleetOptions, PATIENCE, SalesRun, Scrape, repository, wait_until};

/// Appends the text of all source files below a folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // What is declared here is not recorded here.
            if !path.ends_with("common/src/metrics") {
                sources(&path, text);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_metric_of_the_table_is_recorded_by_the_code() {
    let mut text = String::new();
    for folder in ["api/src", "common/src", "worker/src"] {
        sources(&repository().join(folder), &mut text);
    }
    let recorded = |constant: &str| {
        let calls = [".add(", ".set(", ".record(", ".with(", ".with_or_last(", ".of(", ".sample("];
        calls.iter().any(|call| text.contains(&format!("{constant}{call}")))
    };
    // Where it is installed it is recorded, too.
    let missing: Vec<_> =
        ALL.iter().map(|about| about.constant).filter(|name| *name != "BUILD" && !recorded(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[tokio::test]
async fn api_and_workers_show_what_they_do() {
    const CHUNKS: usize = 30;
    let options =
        FleetOptions::workers(1).set("telemetry.metrics_token", "operators").set("clocks.reaper_ms", 100);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let token = Some("operators");
    assert!(Scrape::of(&fleet.url(), None).await.is_err(), "a token that is set is asked for");

    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_all(CHUNKS).await.unwrap().unwrap();
    run.until_completed(CHUNKS).await.unwrap();
    let api = Scrape::of(&fleet.url(), token).await.unwrap();
    assert_eq!(api.value("millrace_live_batches{tenant=\"acme\"}"), 1.0, "{}", api.text());
    assert_eq!(api.value("millrace_live_workers"), 1.0);
    assert!(api.value("millrace_tenant_reserved_bytes{tenant=\"acme\"}") > 0.0);
    assert!(api.value("millrace_tenant_used_bytes{tenant=\"acme\",buffer=\"output\"}") > 0.0);
    assert_eq!(api.value("millrace_lane_backlog_chunks{tenant=\"acme\",lane=\"0001\"}"), 0.0);
    run.finish(&fleet, CHUNKS).await.unwrap();

    let chunks = CHUNKS as f64;
    let api = Scrape::of(&fleet.url(), token).await.unwrap();
    for (series, least) in [
        ("millrace_http_requests_total{route=\"/{tenant}/api/v4/batch/{id}/chunks\",status=\"200\"}", 1.0),
        ("millrace_pushed_chunks_total", chunks),
        ("millrace_pushed_records_total", chunks * SalesRun::RECORDS as f64),
        ("millrace_pushed_bytes_total", chunks),
        ("millrace_pulled_chunks_total", chunks),
        ("millrace_pulled_bytes_total", chunks),
        ("millrace_batches_created_total", 1.0),
        ("millrace_admission_seconds_count{step=\"admit\"}", 1.0),
        ("millrace_admission_group_pushes_count{step=\"mark_queued\"}", 1.0),
        ("millrace_confirm_seconds_count", 1.0),
        ("millrace_publications_total{outcome=\"confirmed\"}", 1.0),
        ("millrace_broker_connected{connection=\"publisher\"}", 1.0),
        ("millrace_database_pool_wait_seconds_count{pool=\"control\"}", 1.0),
        ("millrace_database_pool_wait_seconds_count{pool=\"data\"}", 1.0),
        ("millrace_database_connections{pool=\"data\"}", 1.0),
    ] {
        assert!(api.value(series) >= least, "{series} is {} in\n{}", api.value(series), api.text());
    }

    let url = format!("http://{}", fleet.worker(0).unwrap().address().await.unwrap());
    let worker = wait_until("the worker shows what it did", PATIENCE, || async {
        let worker = Scrape::of(&url, token).await?;
        Ok((worker.value("millrace_reaper_actions_total{action=\"lane_freed\"}") >= 1.0).then_some(worker))
    })
    .await
    .unwrap();
    for (series, least) in [
        ("millrace_slots", 1.0),
        ("millrace_evaluation_seconds_count", chunks),
        ("millrace_chunks_finished_total{outcome=\"completed\"}", chunks),
        ("millrace_records_finished_total", chunks * SalesRun::RECORDS as f64),
        ("millrace_commit_seconds_count", 1.0),
        ("millrace_commit_group_chunks_sum", chunks),
        ("millrace_reaper_rounds_total{outcome=\"well\"}", 1.0),
        ("millrace_broker_connected{connection=\"consumers\"}", 1.0),
    ] {
        assert!(worker.value(series) >= least, "{series} is {} in\n{}", worker.value(series), worker.text());
    }
    let ended = "millrace_batches_ended_total{state=\"completed\"}";
    assert_eq!(api.value(ended) + worker.value(ended), 1.0);
    assert!(Scrape::of(&url, None).await.is_err());

    // Whatever has no labels, or only fixed ones, is there from the start; the rest was recorded above.
    for about in ALL {
        let shown = [&api, &worker].map(|scrape| scrape.has(about.name));
        let expected = match about.process {
            Process::Api => [true, false],
            Process::Worker => [false, true],
            Process::Both => [true, true],
            // No batch lives any more.
            Process::Installation => continue,
        };
        assert_eq!(shown, expected, "{} ({:?})", about.name, about.kind);
        assert!(matches!(about.kind, Kind::Counter | Kind::Gauge | Kind::Histogram(_)));
    }
}

#[tokio::test]
async fn nobody_but_operators_sees_tenants_and_nothing_shows_records() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..3).await.unwrap();
    run.until_completed(3).await.unwrap();
    let api = Scrape::of(&fleet.url(), None).await.unwrap();
    assert!(api.value("millrace_pushed_chunks_total") >= 3.0);
    for hidden in [fleet.tenant(), run.batch(), fleet.key(), "SalesExample", "millrace_lane_"] {
        assert!(!api.text().contains(hidden), "{hidden} is in\n{}", api.text());
    }
}
