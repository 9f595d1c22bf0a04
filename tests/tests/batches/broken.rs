//! Callers that go away, and a broker that is away or lost a queue.

use std::time::Duration;

use millrace_tests::proxy::Proxy;
use millrace_tests::{Fleet, FleetOptions, PATIENCE, Services, wait_until};
use serde_json::Value;

use super::{chunk, chunks, open, refused};

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_push_done() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let batch = open(client).await;
    let many: Vec<Value> = (0..500).map(|index| chunk(&format!("c{index}"), 200)).collect();
    let body = chunks(&many);
    // However far it got: what was admitted is also published, and the rest can be pushed again.
    for wait in [5, 40, 80, 160] {
        let push = client.push(&batch, &body);
        let _ = tokio::time::timeout(Duration::from_millis(wait), push).await;
    }
    client.push(&batch, &body).await.unwrap().success().unwrap();
    let results = client.pull_all(&batch, 500, PATIENCE).await.unwrap();
    assert_eq!(results.len(), 500);
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    let status = client.wait_for_status(&batch, "completed", PATIENCE).await.unwrap();
    assert_eq!(status.integer("/record_submitted").unwrap(), 100_000);
}

#[tokio::test]
async fn a_push_without_a_broker_is_refused_and_can_be_repeated() {
    let broker = Services::from_env().unwrap().broker_address().unwrap();
    let proxy = Proxy::start(broker).await.unwrap();
    let options =
        FleetOptions::workers(1).broker_at(proxy.address()).set_api("broker.confirm_timeout_ms", 1_000);
    let fleet = Fleet::sales(options).await.unwrap();
    let client = fleet.client();
    let batch = open(client).await;
    proxy.down();
    let body = chunks(&[chunk("a", 2), chunk("b", 1)]);
    for _ in 0..2 {
        refused(&client.push(&batch, &body).await.unwrap(), 503, "BROKER_UNAVAILABLE");
    }
    // Stored and counted once, but not queued: the push may be repeated.
    let status = client.status(&batch).await.unwrap().success().unwrap();
    assert_eq!(
        (status.integer("/chunks_submitted").unwrap(), status.integer("/chunks_pending").unwrap()),
        (2, 2)
    );
    proxy.pass();
    let repeat = || async {
        let answer = client.push(&batch, &body).await?;
        Ok((answer.status == 200).then_some(answer))
    };
    let pushed = wait_until("the push is taken", PATIENCE, repeat).await.unwrap();
    assert_eq!(pushed.integer("/record_submitted").unwrap(), 3);
    assert_eq!(client.pull_all(&batch, 2, PATIENCE).await.unwrap().len(), 2);
    assert_eq!(client.patch(&batch, "closed").await.unwrap().text("/batch_status").unwrap(), "completed");
}

#[tokio::test]
async fn a_lane_that_vanished_is_declared_again() {
    let fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let client = fleet.client();
    let batch = open(client).await;
    let lane = format!("{}.lane.0001", fleet.prefix());
    fleet.services().rabbitmqctl(&["--quiet", "delete_queue", &lane]).await.unwrap();
    client.push(&batch, &chunks(&[chunk("a", 2)])).await.unwrap().success().unwrap();
    let queues = || async {
        let queues = fleet.services().rabbitmqctl(&["--quiet", "list_queues", "name", "messages"]).await?;
        let found = queues.lines().any(|line| line.split_whitespace().eq([lane.as_str(), "1"]));
        Ok(found.then_some(()))
    };
    wait_until("the chunk waits in its lane", PATIENCE, queues).await.unwrap();
}
