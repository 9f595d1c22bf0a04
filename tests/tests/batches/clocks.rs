//! The clocks that a caller sees (contract 1.7, 3.3, and section 6 item 4).

use chrono::{DateTime, TimeDelta, Utc};
use millrace_tests::{Answer, Fleet, FleetOptions, PATIENCE, SALES, wait_until};
use serde_json::json;

use super::{chunk, chunks, open, refused};

fn time(answer: &Answer, pointer: &str) -> DateTime<Utc> {
    answer.text(pointer).unwrap().parse().unwrap()
}

#[tokio::test]
async fn pushes_pulls_and_changes_are_activity_and_questions_are_not() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let created = client.create_batch(&json!({"service": SALES})).await.unwrap().success().unwrap();
    let batch = created.text("/id").unwrap();
    // Half an hour after the creation, unless something happens.
    let created_at = time(&created, "/data/created_timestamp");
    let mut expires = time(&created, "/expires_at");
    assert!(
        (expires - created_at - TimeDelta::seconds(1_800)).abs() < TimeDelta::seconds(1),
        "{}",
        created.describe()
    );

    client.push(batch, &chunks(&[chunk("a", 2), chunk("b", 1)])).await.unwrap().success().unwrap();
    // A worker says once, beside its work, that it has begun: a change like others.
    let database = fleet.database().connect().await.unwrap();
    let started = || async {
        Ok(database.query_opt("SELECT 1 FROM batches WHERE started_at IS NOT NULL", &[]).await?.map(drop))
    };
    wait_until("the batch has begun", PATIENCE, started).await.unwrap();
    let done = || async {
        let status = client.status(batch).await?.success()?;
        Ok((status.integer("/chunks_available")? == 2).then_some(status))
    };
    let pushed = wait_until("both chunks are there", PATIENCE, done).await.unwrap();
    assert!(time(&pushed, "/expires_at") > expires, "a push is activity");
    expires = time(&pushed, "/expires_at");

    client.info(batch).await.unwrap().success().unwrap();
    client.overview().await.unwrap().success().unwrap();
    let asked = client.status(batch).await.unwrap().success().unwrap();
    assert_eq!(time(&asked, "/expires_at"), expires, "a question is none");

    let pulled = client.pull(batch, 1).await.unwrap().success().unwrap();
    assert!(time(&pulled, "/expires_at") > expires, "a pull is activity");
    expires = time(&pulled, "/expires_at");
    let request = client.request(reqwest::Method::PATCH, &format!("/{{tenant}}/api/v4/batch/{batch}"));
    let changed = client.send(request.json(&json!({"priority": 3}))).await.unwrap().success().unwrap();
    assert!(time(&changed, "/expires_at") > expires, "a change is activity");
}

#[tokio::test]
async fn what_ended_is_recent_for_an_hour_and_reserved_until_its_cool_off_is_over() {
    let options =
        FleetOptions::workers(1).set("clocks.reaper_ms", 100).set("tenants.capacity_bytes", 400_000_000);
    let fleet = Fleet::sales(options).await.unwrap();
    let client = fleet.client();
    let reserved = async || {
        let overview = client.overview().await.unwrap().success().unwrap();
        assert!(overview.body["environment"]["update"].is_u64(), "{}", overview.describe());
        let recent: Vec<String> = overview
            .list("/recent_batches")
            .unwrap()
            .iter()
            .map(|batch| batch["id"].as_str().unwrap().to_owned())
            .collect();
        let used = overview.integer("/tenant/status/input_buffer_used_bytes").unwrap();
        let left = overview.integer("/tenant/status/input_buffer_remaining_bytes").unwrap();
        assert_eq!(
            used + left,
            overview.integer("/tenant/configuration/input_buffer_allocated_bytes").unwrap()
        );
        (used, recent)
    };
    let (old, new) = (open(client).await, open(client).await);
    for batch in [&old, &new] {
        assert_eq!(
            client.status(batch).await.unwrap().success().unwrap().body["reserved_until"],
            json!(null)
        );
        client.push(batch, &chunks(&[chunk("a", 2)])).await.unwrap().success().unwrap();
        client.patch(batch, "closed").await.unwrap().success().unwrap();
        client.wait_for_status(batch, "completed", PATIENCE).await.unwrap();
    }
    // Two minutes after the end its reservation comes back; results are kept for a day.
    let ended = client.status(&old).await.unwrap().success().unwrap();
    let end = time(&client.info(&old).await.unwrap().success().unwrap(), "/data/updated_timestamp");
    assert!((time(&ended, "/reserved_until") - end - TimeDelta::seconds(120)).abs() < TimeDelta::seconds(1));
    assert!((time(&ended, "/expires_at") - end - TimeDelta::days(1)).abs() < TimeDelta::seconds(1));
    assert_eq!(reserved().await, (140_000_000, vec![new.clone(), old.clone()]));
    let third = client.create_batch(&json!({"service": SALES})).await.unwrap();
    refused(&third, 429, "TENANT_BUFFER_EXHAUSTED");

    let database = fleet.database().connect().await.unwrap();
    let age = "UPDATE batches SET finished_at = finished_at - $2::text::interval, updated_at = updated_at - $2::text::interval
        WHERE id::text = $1";
    database.execute(age, &[&old, &"59 minutes"]).await.unwrap();
    wait_until("the reservation is back", PATIENCE, || async {
        let status = client.status(&old).await?.success()?;
        Ok(status.body["reserved_until"].is_null().then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(reserved().await, (70_000_000, vec![new.clone(), old.clone()]));
    assert_eq!(client.pull(&old, 1).await.unwrap().success().unwrap().list("/data").unwrap().len(), 1);
    client.create_batch(&json!({"service": SALES})).await.unwrap().success().unwrap();
    // After an hour it is no longer recent; asked for by its id, it is still there.
    database.execute(age, &[&old, &"2 minutes"]).await.unwrap();
    assert_eq!(reserved().await.1, [new]);
    let status = client.status(&old).await.unwrap().success().unwrap();
    assert_eq!(
        (status.text("/batch_status").unwrap(), status.integer("/record_submitted").unwrap()),
        ("completed", 2)
    );
    let information = client.info(&old).await.unwrap().success().unwrap();
    assert_eq!(information.integer("/data/summary/records_completed").unwrap(), 2);
}
