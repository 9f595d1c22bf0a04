//! The broker goes away and comes back; lanes vanish.

use std::time::Duration;

use millrace_tests::proxy::Proxy;
use millrace_tests::{
    Fleet, FleetOptions, PATIENCE, PrivateServices, SalesRun, ServiceAction, Services, wait_until,
};

use crate::lane::{Lane, count, until_ready};

#[tokio::test(flavor = "multi_thread")]
async fn f09_a_broker_that_restarts_or_dies_loses_no_confirmed_chunk() {
    const CHUNKS: usize = 400;
    let private = PrivateServices::start().await.unwrap();
    let mut fleet = Fleet::start_on(&private, FleetOptions::workers(0)).await.unwrap();
    fleet.publish_sales().await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    // A backlog that nobody works on yet.
    run.push_until_taken(0..200).await.unwrap();
    until_ready(&fleet, 200).await;
    private.act(ServiceAction::RestartBroker).await.unwrap();
    until_ready(&fleet, 200).await;
    // Killed in the middle of pushing and working, and once more.
    fleet.start_failing_worker("evaluate=sleep:5").await.unwrap();
    let pushing = run.push_all(CHUNKS);
    run.until_completed(50).await.unwrap();
    private.act(ServiceAction::KillBroker).await.unwrap();
    private.act(ServiceAction::StartBroker).await.unwrap();
    pushing.await.unwrap().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f09_f22_broker_and_database_die_together_and_nothing_is_lost() {
    const CHUNKS: usize = 400;
    let private = PrivateServices::start().await.unwrap();
    let mut fleet = Fleet::start_on(&private, FleetOptions::workers(0)).await.unwrap();
    fleet.publish_sales().await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    fleet.start_failing_worker("evaluate=sleep:5").await.unwrap();
    let pushing = run.push_all(CHUNKS);
    run.until_completed(50).await.unwrap();
    private.act(ServiceAction::KillDatabase).await.unwrap();
    private.act(ServiceAction::KillBroker).await.unwrap();
    // Neither an answer that hangs nor one that is wrong.
    let answer = run.client().status(run.batch()).await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.describe());
    private.act(ServiceAction::StartBroker).await.unwrap();
    private.act(ServiceAction::StartDatabase).await.unwrap();
    pushing.await.unwrap().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f10_work_goes_on_after_links_were_cut() {
    const CHUNKS: usize = 1_200;
    let broker = Proxy::start(Services::from_env().unwrap().broker_address().unwrap()).await.unwrap();
    let fleet = Fleet::sales(FleetOptions::workers(2).broker_at(broker.address())).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    let pushing = run.push_all(CHUNKS);
    for (completed, outage) in [(100, 0), (250, 0), (400, 2), (600, 15)] {
        run.until_completed(completed).await.unwrap();
        broker.down();
        tokio::time::sleep(Duration::from_secs(outage)).await;
        broker.pass();
    }
    pushing.await.unwrap().unwrap();
    run.finish(&fleet, CHUNKS).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f17_a_chunk_that_reached_no_queue_is_not_taken_for_sent() {
    let mut fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    Lane::of(&fleet).await.delete().await;
    // The broker confirms and returns it; the API declares the lane and publishes again before it answers.
    run.push(0..5).await.unwrap().success().unwrap();
    until_ready(&fleet, 5).await;
    fleet.start_worker().await.unwrap();
    run.finish(&fleet, 5).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f44_processes_that_start_before_their_services_wait_for_them() {
    let services = Services::from_env().unwrap();
    let broker = Proxy::start(services.broker_address().unwrap()).await.unwrap();
    let database = Proxy::start(services.database_address().unwrap()).await.unwrap();
    let options = FleetOptions::workers(0).broker_at(broker.address()).database_at(database.address());
    let mut fleet = Fleet::sales(options).await.unwrap();
    let mut run = SalesRun::open(&fleet).await.unwrap();
    fleet.kill_api().unwrap();
    for proxy in [&database, &broker] {
        proxy.down();
    }
    let worker = fleet.launch_worker().unwrap();
    fleet.launch_api().unwrap();
    let worker_at = fleet.worker(worker).unwrap().address().await.unwrap();
    let api_at = fleet.api().unwrap().address().await.unwrap();
    let any = fleet.client().clone();
    let waits = async |path: &str| {
        for address in [worker_at, api_at] {
            let what = format!("{address}{path} answers 503");
            wait_until(&what, PATIENCE, || async {
                let status = any.at(&format!("http://{address}")).get(path).await?.status;
                anyhow::ensure!(status == 503, "it answers {status}");
                Ok(Some(()))
            })
            .await
            .unwrap();
            assert_eq!(any.at(&format!("http://{address}")).get("/livez").await.unwrap().status, 200);
        }
    };
    waits("/readyz").await;
    // One of two is not enough.
    database.pass();
    waits("/readyz").await;
    broker.pass();
    fleet.await_worker(worker).await.unwrap();
    fleet.await_api().await.unwrap();
    run.follow(&fleet);
    run.push_until_taken(0..20).await.unwrap();
    run.finish(&fleet, 20).await.unwrap();
    assert_eq!(count(&fleet, "SELECT count(*) FROM workers").await, 1);
}
