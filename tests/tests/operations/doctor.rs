//! `millrace doctor`: each fault is made for real, found by name, and told by the exit code.

use std::collections::BTreeMap;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use millrace_tests::{Fleet, FleetOptions, PATIENCE, PrivateServices, SALES, ServiceAction, wait_until};
use serde_json::{Value, json};

/// The exit code, and the worst status of each check.
async fn examine(fleet: &Fleet, more: &[&str]) -> (i32, BTreeMap<String, String>, Value) {
    let output = fleet.run(&[&["doctor", "--json"], more].concat()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let document: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    let mut found = BTreeMap::new();
    for finding in document["findings"].as_array().unwrap() {
        let text = |name: &str| finding[name].as_str().unwrap().to_owned();
        if matches!(finding["status"].as_str().unwrap(), "warning" | "error") {
            assert!(!text("why").is_empty() && !text("advice").is_empty(), "{finding}");
            found.insert(text("check"), text("status"));
        } else {
            found.entry(text("check")).or_insert(text("status"));
        }
    }
    (output.status.code().unwrap(), found, document)
}

/// What is neither ok nor skipped.
fn faults(found: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    let bad = found.iter().filter(|(_, status)| !matches!(status.as_str(), "ok" | "skipped"));
    bad.map(|(check, status)| (check.as_str(), status.as_str())).collect()
}

#[tokio::test]
async fn a_healthy_installation_has_no_faults() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();
    // The worker's first heartbeat may be on its way.
    let found = wait_until("all is well", PATIENCE, || async {
        let (code, found, document) = examine(&fleet, &[]).await;
        if code == 0 { Ok(Some(found)) } else { anyhow::bail!("{document:#}") }
    })
    .await
    .unwrap();
    assert_eq!(faults(&found), []);
    for check in [
        "configuration.readable",
        "database.schema",
        "database.synchronous-commit",
        "database.partitions",
        "database.clock",
        "broker.version",
        "broker.accepts-messages",
        "broker.dead-letters",
        "broker.lanes",
        "fleet.workers",
        "fleet.worker-clocks",
        "fleet.versions",
        "fleet.api",
        "fleet.api-clock",
    ] {
        assert_eq!(found.get(check).map(String::as_str), Some("ok"), "{check}");
    }
}

#[tokio::test]
async fn each_fault_of_an_installation_is_found_by_name() {
    let fleet = Fleet::start(FleetOptions::workers(0)).await.unwrap();
    let database = fleet.database().connect().await.unwrap();
    let (code, found, _) = examine(&fleet, &[]).await;
    // Workers make partitions.
    let idle = [("database.partitions", "warning"), ("fleet.workers", "warning")];
    assert_eq!((code, faults(&found)), (1, idle.to_vec()));

    // A setting that loses commits, for this database alone; a lane with other arguments, and one that was deleted.
    let name = fleet.database().name();
    database.batch_execute(&format!("ALTER DATABASE {name} SET synchronous_commit = off")).await.unwrap();
    database
        .batch_execute("INSERT INTO lanes (id, declared, epoch) VALUES (1, true, 1), (2, true, 1)")
        .await
        .unwrap();
    let url = &fleet.services().broker_url;
    let broker = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = broker.create_channel().await.unwrap();
    let lane = format!("{}.lane.0001", fleet.prefix());
    channel.queue_declare(lane.into(), QueueDeclareOptions::durable(), FieldTable::default()).await.unwrap();
    let (code, found, document) = examine(&fleet, &[]).await;
    assert_eq!(code, 2);
    let expected = [
        ("broker.lane-arguments", "error"),
        ("broker.lane-missing", "warning"),
        ("database.partitions", "warning"),
        ("database.synchronous-commit", "error"),
        ("fleet.workers", "warning"),
    ];
    assert_eq!(faults(&found), expected, "{document:#}");
    let made = channel.queue_declare(
        format!("{}.lane.0002", fleet.prefix()).into(),
        QueueDeclareOptions::durable().passive(),
        FieldTable::default(),
    );
    assert!(made.await.is_err(), "looking at a lane has made it");

    // For people, with what to do.
    let output = fleet.run(&["doctor"]).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text.contains("error: database.synchronous-commit: off (database)\n  why: ")
            && text.contains("\n  do: "),
        "{text}"
    );
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));

    // A schema of before: what it lacks is not asked for.
    let last = "(SELECT max(version) FROM _sqlx_migrations)";
    database.batch_execute(&format!("DELETE FROM _sqlx_migrations WHERE version = {last}")).await.unwrap();
    let (code, found, _) = examine(&fleet, &[]).await;
    assert_eq!((code, found["database.schema"].as_str()), (2, "error"));
    assert_eq!(found["database.partitions"], "skipped");

    // A key that no setting has.
    let file = fleet.folder().join("millrace.toml");
    std::fs::write(&file, "[worker]\nslotz = 3\n").unwrap();
    let (code, found, document) = examine(&fleet, &["--config", file.to_str().unwrap()]).await;
    assert_eq!((code, found["configuration.readable"].as_str()), (2, "error"));
    assert!(document["findings"][0]["seen"].as_str().unwrap().contains("slotz"), "{document}");
}

#[tokio::test]
async fn what_only_the_management_api_tells_is_found_and_dead_services_are_named() {
    let private = PrivateServices::start_with_management().await.unwrap();
    let management = private.management_url().await.unwrap();
    let fleet = Fleet::start_on(&private, FleetOptions::workers(1)).await.unwrap();
    fleet.publish_sales().await.unwrap();
    fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();
    let asked = ["--management-url", management.as_str()];
    let found = wait_until("all is well", PATIENCE, || async {
        let (code, found, document) = examine(&fleet, &asked).await;
        if code == 0 { Ok(Some(found)) } else { anyhow::bail!("{document:#}") }
    })
    .await
    .unwrap();
    for check in ["management", "node", "alarms", "feature-flags", "policies"] {
        assert_eq!(found[&format!("broker.{check}")], "ok", "{check}");
    }

    let policy = json!({"pattern": ".*", "definition": {"message-ttl": 60_000}, "apply-to": "queues"});
    let broker = reqwest::Url::parse(&private.broker_url).unwrap();
    let policy = millrace_tests::http()
        .unwrap()
        .build()
        .unwrap()
        .put(format!("{management}/api/policies/%2F/all"))
        .basic_auth(broker.username(), broker.password())
        .json(&policy)
        .send();
    assert!(policy.await.unwrap().status().is_success());
    private.rabbitmqctl(&["set_vm_memory_high_watermark", "0.0000001"]).await.unwrap();
    // The management API shows both after its next round.
    wait_until("policy and alarm are found", PATIENCE, || async {
        let (code, found, document) = examine(&fleet, &asked).await;
        let is = |check: &str, status: &str| found.get(check).is_some_and(|found| found == status);
        let all = is("broker.policy", "error")
            && is("broker.alarms", "error")
            && is("broker.accepts-messages", "error");
        if all && code == 2 { Ok(Some(())) } else { anyhow::bail!("{document:#}") }
    })
    .await
    .unwrap();
    private.act(ServiceAction::KillBroker).await.unwrap();
    let (code, found, _) = examine(&fleet, &[]).await;
    assert_eq!((code, found["broker.reachable"].as_str()), (2, "error"));
    assert_eq!(found["database.reachable"], "ok");
    private.act(ServiceAction::KillDatabase).await.unwrap();
    let (code, found, _) = examine(&fleet, &[]).await;
    assert_eq!((code, found["database.reachable"].as_str()), (2, "error"));
}
