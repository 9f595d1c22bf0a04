use millrace_tests::{Answer, Fleet, FleetOptions, PATIENCE, SALES, SalesRun, wait_until};
use serde_json::{Value, json};

use super::{chunk, chunks, refused};

async fn set(fleet: &Fleet, arguments: &[&str]) {
    let output = fleet.run(&[&["tenant", "set"], arguments].concat()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn waits(answer: &Answer) -> u64 {
    let wait = answer.header("retry-after").unwrap().to_owned();
    assert_eq!(answer.header("x-retry-after"), Some(wait.as_str()), "{}", answer.describe());
    wait.parse().unwrap()
}

#[tokio::test]
async fn a_full_tenant_output_buffer_refuses_pushes_to_all_of_its_batches_until_a_pull() {
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    set(&fleet, &["acme", "--output-capacity-mb", "0.002"]).await;
    let (first, second) = (SalesRun::open(&fleet).await.unwrap(), SalesRun::open(&fleet).await.unwrap());
    first.push_until_taken(0..20).await.unwrap();
    first.until_completed(20).await.unwrap();
    let used = first.status().await.unwrap()["output_buffer_used_bytes"].as_i64().unwrap();
    assert!(used >= 2_000, "{used}");
    // A look at the buffer is relied on for a moment.
    let full = wait_until("pushes are refused", PATIENCE, || async {
        let answer = second.push(0..1).await?;
        Ok((answer.status != 200).then_some(answer))
    })
    .await
    .unwrap();
    refused(&full, 429, "OUTPUT_BUFFER_FULL");
    let details = &full.body["error"]["details"];
    assert_eq!(details["free_bytes"], 0, "{details}");
    assert!(details["needed_bytes"].as_i64() > Some(0) && details.get("drain_bytes_per_second").is_some());
    assert!((1..=60).contains(&waits(&full)));
    let before = first.status().await.unwrap()["chunks_submitted"].clone();
    refused(&first.push(20..21).await.unwrap(), 429, "OUTPUT_BUFFER_FULL");
    assert_eq!(first.status().await.unwrap()["chunks_submitted"], before);
    // Nothing new is no push, and another tenant is not concerned.
    client.push(first.batch(), &chunks(&[])).await.unwrap().success().unwrap();
    let key = fleet.create_tenant("beta").await.unwrap();
    let beta = client.as_tenant("beta", &key);
    let (folder, service) = SALES.split_once('/').unwrap();
    beta.create_folder(folder).await.unwrap().success().unwrap();
    let workbook = millrace_tests::sales_workbook().unwrap();
    beta.upload_and_publish(folder, service, "sales.xlsx", &workbook).await.unwrap();
    let of_beta = beta.open_batch(&json!({"service": SALES})).await.unwrap();
    beta.push(&of_beta, &chunks(&[chunk("a", 1)])).await.unwrap().success().unwrap();
    // A pull helps at once.
    client.pull_all(first.batch(), 20, PATIENCE).await.unwrap();
    first.push(20..21).await.unwrap().success().unwrap();
}

#[tokio::test]
async fn waiting_times_follow_from_what_is_missing() {
    let fleet = Fleet::sales(FleetOptions::workers(0).set("clocks.cool_off_seconds", 40)).await.unwrap();
    let client = fleet.client();
    let batch = client.open_batch(&json!({"service": SALES, "max_input_in_mb": 0.004})).await.unwrap();
    client.push(&batch, &chunks(&[chunk("a", 200)])).await.unwrap().success().unwrap();
    let full = client.push(&batch, &chunks(&[chunk("b", 200)])).await.unwrap();
    refused(&full, 429, "INPUT_BUFFER_FULL");
    let details = &full.body["error"]["details"];
    assert!(details["needed_bytes"].as_i64() > details["free_bytes"].as_i64(), "{details}");
    assert!((1..=60).contains(&waits(&full)));
    // Nothing takes chunks out: whoever asks again is told to wait at least as long as nothing happened.
    let rate = |answer: &Answer| answer.body["error"]["details"]["drain_bytes_per_second"].clone();
    let still = wait_until("the rate is known", PATIENCE, || async {
        let answer = client.push(&batch, &chunks(&[chunk("b", 200)])).await?;
        Ok((rate(&answer) != Value::Null).then_some(answer))
    })
    .await
    .unwrap();
    assert_eq!(rate(&still), 0, "{}", still.describe());

    // A tenant without room: for ever, as far as anybody knows; or until a finished batch is through its cool-off.
    set(&fleet, &["acme", "--capacity-mb", "200", "--weight", "3"]).await;
    let large = json!({"service": SALES, "max_input_in_mb": 70, "max_output_in_mb": 80});
    set(&fleet, &["acme", "--capacity-mb", "250"]).await;
    let open = client.open_batch(&large).await.unwrap();
    let exhausted = client.create_batch(&large).await.unwrap();
    refused(&exhausted, 429, "TENANT_BUFFER_EXHAUSTED");
    assert_eq!(waits(&exhausted), 60);
    client.patch(&open, "closed").await.unwrap().success().unwrap();
    let exhausted = client.create_batch(&large).await.unwrap();
    refused(&exhausted, 429, "TENANT_BUFFER_EXHAUSTED");
    assert!((1..=41).contains(&waits(&exhausted)), "{}", exhausted.describe());

    let listed = fleet.run(&["tenant", "list", "--output-format", "json"]).await.unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let acme = listed.as_array().unwrap().iter().find(|tenant| tenant["name"] == "acme").unwrap();
    assert_eq!((&acme["weight"], &acme["capacity_bytes"]), (&json!(3), &json!(250_000_000)));
    let output = fleet.run(&["tenant", "set", "nobody", "--weight", "1"]).await.unwrap();
    assert!(!output.status.success());
    let output = fleet.run(&["tenant", "set", "acme"]).await.unwrap();
    assert!(!output.status.success(), "nothing to change is a mistake");
}
