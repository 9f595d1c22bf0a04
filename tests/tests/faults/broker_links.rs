//! Links that are dead without anybody being told, and peers that accept and hang up.

use std::time::{Duration, Instant};

use millrace_tests::proxy::{Accept, Direction, Flow, Proxy};
use millrace_tests::{Fleet, FleetOptions, PATIENCE, SalesRun, Services, wait_until};

async fn broker_proxy() -> Proxy {
    Proxy::start(Services::from_env().unwrap().broker_address().unwrap()).await.unwrap()
}

/// Waits until `/readyz` of a worker has this status.
async fn until_worker_ready(fleet: &mut Fleet, worker: usize, wanted: u16) {
    let address = fleet.worker(worker).unwrap().address().await.unwrap();
    let any = fleet.client().at(&format!("http://{address}"));
    wait_until(&format!("/readyz answers {wanted}"), PATIENCE, || async {
        let status = any.get("/readyz").await?.status;
        anyhow::ensure!(status == wanted, "it answers {status}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_half_open_link_is_given_up_by_a_publisher() {
    let broker = broker_proxy().await;
    let options = FleetOptions::workers(1)
        .api_broker_at(broker.address())
        .set("broker.heartbeat_seconds", 1)
        .set("broker.connect_timeout_ms", 1_000)
        .set("broker.confirm_timeout_ms", 2_000);
    let fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push(0..10).await.unwrap().success().unwrap();
    broker.black_hole();
    for _ in 0..3 {
        // Also while it tries to connect anew, and the other side accepts and says nothing.
        let answer = run.push(10..20).await.unwrap();
        assert_eq!(
            (answer.status, answer.code()),
            (503, Some("BROKER_UNAVAILABLE")),
            "{}",
            answer.describe()
        );
    }
    broker.pass();
    // The connections that lost bytes stay dead, as behind a firewall that has forgotten them: new ones are needed.
    run.push_until_taken(10..20).await.unwrap();
    run.finish(&fleet, 20).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_half_open_link_is_given_up_by_a_consumer() {
    const CHUNKS: usize = 600;
    let broker = broker_proxy().await;
    let options = FleetOptions::workers(1)
        .worker_broker_at(broker.address())
        .set("broker.heartbeat_seconds", 1)
        .set("broker.connect_timeout_ms", 1_000);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    let pushing = run.push_all(CHUNKS);
    run.until_completed(50).await.unwrap();
    broker.black_hole();
    // Two heartbeats later it knows, and says so.
    until_worker_ready(&mut fleet, 0, 503).await;
    pushing.await.unwrap().unwrap();
    assert!(broker.open() <= 8, "{} connections are left", broker.open());
    broker.pass();
    run.finish(&fleet, CHUNKS).await.unwrap();
    until_worker_ready(&mut fleet, 0, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f12_a_balancer_without_a_broker_is_not_stormed() {
    let broker = broker_proxy().await;
    let mut fleet = Fleet::sales(FleetOptions::workers(1).broker_at(broker.address())).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..10).await.unwrap();
    broker.accept(Accept::Close);
    broker.cut();
    until_worker_ready(&mut fleet, 0, 503).await;
    let (before, began) = (broker.accepted(), Instant::now());
    tokio::time::sleep(Duration::from_secs(4)).await;
    // Eight connections in two processes, with pauses that grow from 0.1 s by 1.6: about seven attempts each in four seconds.
    let attempts = broker.accepted() - before;
    let seconds = began.elapsed().as_secs() + 1;
    assert!(attempts <= 6 * 3 * seconds, "{attempts} attempts in {seconds} s");
    broker.accept(Accept::Pass);
    run.push_until_taken(10..20).await.unwrap();
    run.finish(&fleet, 20).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_a_frozen_api_finishes_what_it_had_taken_when_it_wakes_up() {
    const CHUNKS: usize = 200;
    let mut fleet = Fleet::sales(FleetOptions::workers(1).set("broker.heartbeat_seconds", 1)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..20).await.unwrap();
    let pushing = run.push_all(CHUNKS);
    run.until_completed(50).await.unwrap();
    fleet.api().unwrap().signal(millrace_tests::Signal::Stop).unwrap();
    // The broker hangs up on a peer without heartbeats; the worker does not care.
    let mut seen = 0;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        seen =
            crate::lane::count(&fleet, "SELECT count(*) FROM workers WHERE seen_at > now() - interval '3 s'")
                .await;
    }
    assert_eq!(seen, 1);
    fleet.api().unwrap().signal(millrace_tests::Signal::Continue).unwrap();
    pushing.await.unwrap().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f16_a_confirm_that_was_lost_costs_a_repetition_and_counts_once() {
    const CHUNKS: usize = 10;
    let broker = broker_proxy().await;
    let options = FleetOptions::workers(0)
        .api_broker_at(broker.address())
        .set("broker.heartbeat_seconds", 1)
        .set("broker.confirm_timeout_ms", 1_500);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    broker.flow(Direction::ToClient, Flow::Swallow);
    let answer = run.push(0..CHUNKS).await.unwrap();
    assert_eq!((answer.status, answer.code()), (503, Some("BROKER_UNAVAILABLE")), "{}", answer.describe());
    // The broker has them all the same.
    crate::lane::until_ready(&fleet, 10).await;
    let status = run.status().await.unwrap();
    assert_eq!(
        (&status["chunks_submitted"], &status["chunks_pending"]),
        (&10.into(), &10.into()),
        "{status}"
    );
    broker.pass();
    broker.cut();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    // Twice in the lane, once in the books.
    crate::lane::until_ready(&fleet, 20).await;
    fleet.start_worker().await.unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}
