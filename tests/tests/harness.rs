//! The harness itself: what it starts works, and what it leaves behind is nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use millrace_tests::{
    Fleet, FleetOptions, PATIENCE, PrivateServices, SALES, ServiceAction, Services, wait_until,
};
use serde_json::json;

async fn exists(database: &str) -> bool {
    let url = Services::from_env().unwrap().database_url;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&database]).await.unwrap().is_some()
}

#[tokio::test]
async fn a_fleet_serves_and_leaves_nothing_behind() {
    let mut fleet = Fleet::start(FleetOptions::workers(2).set("worker.slots", 1)).await.unwrap();
    let (database, prefix) = (fleet.database().name().to_owned(), fleet.prefix().to_owned());
    assert!(exists(&database).await);
    assert_eq!(fleet.client().get("/health").await.unwrap().body["status"], "UP");
    // The key is the tenant's: without it, the same question is refused.
    assert_eq!(fleet.client().overview().await.unwrap().status, 200);
    assert_eq!(fleet.client().as_tenant(fleet.tenant(), "wrong").overview().await.unwrap().status, 401);

    let processes = [fleet.api().unwrap().id(), fleet.worker(0).unwrap().id(), fleet.worker(1).unwrap().id()];
    let folder = fleet.folder().to_owned();
    let services = fleet.services().clone();
    drop(fleet);
    for process in processes {
        assert!(!std::path::Path::new(&format!("/proc/{process}")).exists());
    }
    assert!(!exists(&database).await);
    assert!(!folder.exists());
    let queues = services.rabbitmqctl(&["--quiet", "list_queues", "name"]).await.unwrap();
    assert!(!queues.contains(&prefix), "{queues}");
}

#[tokio::test]
async fn processes_are_killed_frozen_and_started_again() {
    let mut fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    fleet.kill_worker(0).unwrap();
    assert!(fleet.worker(0).is_err());
    let second = fleet.start_worker().await.unwrap();
    assert_eq!(second, 1);
    fleet.stop_worker(second).unwrap();
    fleet.continue_worker(second).unwrap();
    fleet.terminate_worker(second, PATIENCE).await.unwrap();

    let before = fleet.url();
    fleet.kill_api().unwrap();
    assert!(fleet.client().get("/health").await.is_err());
    fleet.start_api().await.unwrap();
    assert_ne!(fleet.url(), before);
    assert_eq!(fleet.client().get("/health").await.unwrap().status, 200);
}

#[tokio::test]
async fn the_sales_workbook_is_published_and_calculates() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let question = json!({"service": SALES, "inputs": [["price", "quantity", "tax"], [20, 65, 0.1]]});
    let answer = fleet.client().execute_v4(&question).await.unwrap().success().unwrap();
    assert_eq!(answer.body["outputs"], json!([["total"], [1430.0]]), "{}", answer.describe());

    let batch = fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();
    let chunk = json!({"id": "one", "data": {"inputs": [["price", "quantity", "tax"], [20, 65, 0.1]]}});
    fleet.client().push(&batch, &json!({"chunks": [chunk]})).await.unwrap().success().unwrap();
    let results = fleet.client().pull_all(&batch, 1, PATIENCE).await.unwrap();
    assert_eq!(results[0]["outputs"], json!([["total"], [1430.0]]));
    fleet.client().patch(&batch, "closed").await.unwrap().success().unwrap();
    fleet.client().wait_for_status(&batch, "completed", PATIENCE).await.unwrap();
}

#[tokio::test]
async fn private_services_break_without_breaking_others() {
    let shared = Services::from_env().unwrap();
    let private = PrivateServices::start().await.unwrap();
    assert_ne!(private.broker_address().unwrap(), shared.broker_address().unwrap());
    let folder = private.dir.clone();
    let reachable = |address| async move { tokio::net::TcpStream::connect(address).await.is_ok() };
    let (broker, database) = (private.broker_address().unwrap(), private.database_address().unwrap());

    private.act(ServiceAction::KillBroker).await.unwrap();
    private.act(ServiceAction::KillDatabase).await.unwrap();
    assert!(!reachable(broker).await && !reachable(database).await);
    assert!(
        reachable(shared.broker_address().unwrap()).await
            && reachable(shared.database_address().unwrap()).await
    );
    private.act(ServiceAction::StartDatabase).await.unwrap();
    private.act(ServiceAction::StartBroker).await.unwrap();
    assert!(reachable(broker).await && reachable(database).await);
    assert!(private.rabbitmqctl(&["--quiet", "list_users"]).await.unwrap().contains("millrace"));

    drop(private);
    let gone = || async { Ok((!folder.exists()).then_some(())) };
    wait_until("the private services are gone", PATIENCE, gone).await.unwrap();
    assert!(!reachable(broker).await && !reachable(database).await);
}
