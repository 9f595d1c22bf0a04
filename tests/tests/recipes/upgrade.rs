//! A fleet in the middle of an upgrade: workers of the release before know chunks alone, and the schema is the new one.

use millrace_tests::{Fleet, FleetOptions, PATIENCE, SALES};
use serde_json::json;

use crate::setup::{Setup, job};

/// The heartbeat of the release before this one, word for word.
const OLD_HEARTBEAT: &str =
    "INSERT INTO workers (id, name, version, slots, draining, busy, held) VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET draining = excluded.draining, busy = excluded.busy, held = excluded.held,
                 seen_at = clock_timestamp()";

#[tokio::test]
async fn recipes_run_where_they_are_known_however_many_older_workers_there_are() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let database = fleet.database().connect().await.unwrap();
    // Thirty of them: whatever the plan would choose by chance is one of these.
    for n in 0..30 {
        let (id, none) = (uuid::Uuid::new_v4(), json!({}));
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&id, &format!("old:{n}"), &"0.0.9", &4_i32, &false, &none, &none];
        database.execute(OLD_HEARTBEAT, &values).await.unwrap();
    }
    // They live for as long as the test does.
    database
        .batch_execute("UPDATE workers SET seen_at = now() + interval '1 hour' WHERE name LIKE 'old:%'")
        .await
        .unwrap();

    let setup = Setup::new(&fleet).await.unwrap();
    let add = setup.job_type("add", &["x"], &[("y", "x + 1", true)]).await.unwrap();
    let definition = json!({
        "input": {"json": [{"name": "x", "type": "number"}]},
        "nodes": {
            "a": job(&add, &[], json!({"x": {"type": "recipe", "input": "x"}})),
            "b": job(&add, &["a"], json!({"x": {"type": "dependency", "node": "a", "output": "y"}})),
        }
    });
    let recipe_type = setup.recipe_type("chain", &definition).await.unwrap();
    // Few enough for one bundle at a time, which is worth one slot somewhere.
    for round in 0..3 {
        let members: Vec<_> = (0..5).map(|x| json!({"json": {"x": x + round}})).collect();
        let batch = setup.batch(recipe_type, &members, json!({})).await.unwrap();
        setup.wait_until_completed(batch, 5).await.unwrap();
    }
    setup.assert_exact().await.unwrap();

    // `millrace doctor` says why only one of 31 workers does this.
    let output = fleet.run(&["doctor", "--json"]).await.unwrap();
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let versions = findings.iter().find(|finding| finding["check"] == "fleet.versions").unwrap();
    assert_eq!(versions["status"], "warning");
    assert!(versions["seen"].as_str().unwrap().contains("30 workers do not know"), "{versions}");

    // Once they are gone a batch of chunks runs as ever.
    database.batch_execute("DELETE FROM workers WHERE name LIKE 'old:%'").await.unwrap();
    let batch = fleet.client().open_batch(&json!({"service": SALES})).await.unwrap();
    let chunk = json!({"id": "a", "data": {"inputs": [["price", "quantity", "tax"], [1, 2, 0]]}});
    fleet.client().push(&batch, &json!({"chunks": [chunk]})).await.unwrap().success().unwrap();
    assert_eq!(fleet.client().pull_all(&batch, 1, PATIENCE).await.unwrap().len(), 1);
}
