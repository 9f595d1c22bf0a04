use std::collections::BTreeSet;

use millrace_tests::{Answer, Client, Fleet, FleetOptions, PATIENCE, SALES};
use serde_json::{Value, json};

use super::{chunk, chunks, keyless, refused};

async fn failures(client: &Client, batch: &str, query: &str) -> Answer {
    client.get(&format!("/{{tenant}}/api/v4/batch/{batch}/failures{query}")).await.unwrap()
}

/// Every failure of a batch, `max` a page.
async fn all_failures(client: &Client, batch: &str, max: usize) -> Vec<Value> {
    let mut all = Vec::new();
    let mut after = String::new();
    loop {
        let page = failures(client, batch, &format!("?max={max}&after={after}")).await.success().unwrap();
        let listed = page.list("/data").unwrap();
        assert!(listed.len() <= max && !listed.is_empty());
        all.extend_from_slice(listed);
        after = page.text("/next_cursor").unwrap().to_owned();
        if page.body["has_more"] == false {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_chunks_are_listed_page_by_page_as_long_as_results_are_kept() {
    const FAILED: usize = 120;
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let wanted = json!({"service": SALES, "unique_record_key": "sales_id"});
    let batch = client.open_batch(&wanted).await.unwrap();
    let mut pushed: Vec<Value> = (0..FAILED).map(|number| keyless(&format!("k{number}"))).collect();
    pushed.push(chunk("good", 3));
    client.push(&batch, &chunks(&pushed)).await.unwrap().success().unwrap();
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(&batch, "failed", PATIENCE).await.unwrap();

    for max in [50, 60, 120, 1_000] {
        let all = all_failures(client, &batch, max).await;
        let ids: BTreeSet<&str> = all.iter().map(|one| one["chunk_id"].as_str().unwrap()).collect();
        assert_eq!((all.len(), ids.len()), (FAILED, FAILED), "{max}");
        assert!(all.iter().all(|one| one["kind"] == "chunk" && one["input_kept"] == true), "{max}");
        assert_eq!((&all[0]["records"], &all[0]["record"]), (&json!(2), &Value::Null));
        assert!(all[0]["errors"][0]["message"].as_str().unwrap().contains("sales_id"));
    }
    // Looking changes nothing, and neither does a pull.
    let results = client.pull_all(&batch, FAILED + 1, PATIENCE).await.unwrap();
    assert_eq!(results.len(), FAILED + 1);
    assert_eq!(all_failures(client, &batch, 1_000).await.len(), FAILED);
    let none = failures(client, &batch, "?kind=record").await.success().unwrap();
    assert_eq!((&none.body["data"], &none.body["has_more"]), (&json!([]), &json!(false)));

    for (query, code, place) in [
        ("?kind=x", "INVALID_VALUE", "kind"),
        ("?max=0", "INVALID_VALUE", "max"),
        ("?after=x", "INVALID_CURSOR", "after"),
    ] {
        let refusal = failures(client, &batch, query).await;
        refused(&refusal, 400, code);
        assert_eq!(refusal.body["errors"][0]["source_path"], place);
    }
    // It is for the owner and supervisors.
    let other = fleet.create_key(fleet.tenant(), &["--owner", "somebody"]).await.unwrap();
    let stranger = client.as_tenant(fleet.tenant(), &other);
    refused(&failures(&stranger, &batch, "").await, 404, "BATCH_NOT_FOUND");
    // A cancel gives up what there is.
    client.patch(&batch, "cancelled").await.unwrap().success().unwrap();
    refused(&failures(client, &batch, "").await, 404, "RESULTS_EXPIRED");
    let cancelled = client.open_batch(&wanted).await.unwrap();
    client.patch(&cancelled, "cancelled").await.unwrap().success().unwrap();
    refused(&failures(client, &cancelled, "").await, 409, "BATCH_CANCELLED");
}

#[tokio::test]
async fn failures_are_listed_when_their_inputs_are_not_kept() {
    let options = FleetOptions::workers(1).set("results.keep_failed_inputs", false);
    let fleet = Fleet::sales(options).await.unwrap();
    let client = fleet.client();
    let wanted = json!({"service": SALES, "unique_record_key": "sales_id"});
    let batch = client.open_batch(&wanted).await.unwrap();
    client.push(&batch, &chunks(&[keyless("bad")])).await.unwrap().success().unwrap();
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    client.wait_for_status(&batch, "failed", PATIENCE).await.unwrap();
    let listed = all_failures(client, &batch, 10).await;
    assert_eq!((&listed[0]["chunk_id"], &listed[0]["input_kept"]), (&json!("bad"), &json!(false)));
    let database = fleet.database().connect().await.unwrap();
    let row = database.query_one("SELECT count(*), count(input) FROM failed_work", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 0));
}
