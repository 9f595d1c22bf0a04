//! Chunks, records and messages that do harm; and the broker's delivery count, which must never decide.

use lapin::BasicProperties;
use millrace_tests::proxy::Proxy;
use millrace_tests::{Fleet, FleetOptions, PATIENCE, SALES, SalesRun, Services, broker, wait_until};
use serde_json::{Value, json};

use crate::lane::{Lane, attempts, until_ready};

#[tokio::test(flavor = "multi_thread")]
async fn f19_messages_that_are_no_chunks_end_without_harm() {
    const CHUNKS: usize = 10;
    let mut fleet = Fleet::sales(FleetOptions::workers(0)).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    until_ready(&fleet, 10).await;
    let lane = Lane::of(&fleet).await;
    let id_of = |properties: &BasicProperties| {
        let headers = properties.headers().as_ref().unwrap().inner();
        headers["chunk-id"].as_long_string().unwrap().to_string()
    };
    for message in lane.take().await {
        let properties = message.properties;
        match id_of(&properties).as_str() {
            // Headers of a chunk, and a body that is none.
            "c1" => lane.put(properties, b"{\"inputs\":[[\"price\"],[").await,
            "c2" => lane.put(properties.with_content_encoding("zstd".into()), b"no zstd at all").await,
            "c3" => lane.put(properties, b"").await,
            _ => lane.put(properties, &message.data).await,
        }
    }
    // No headers, headers of others, a body of nothing.
    lane.put(BasicProperties::default(), b"who am I").await;
    lane.put(BasicProperties::default().with_content_encoding("br".into()), &[0xFF; 1_000]).await;
    lane.put(BasicProperties::default().with_content_type("application/bson".into()), b"").await;
    let worker = fleet.start_worker().await.unwrap();
    run.until_completed(CHUNKS).await.unwrap();
    // Each was delivered once: the lane is empty, and nothing comes again and again.
    fleet.worker(worker).unwrap().wait_says("refused a message that is no chunk", 6, PATIENCE).await.unwrap();
    assert_eq!(fleet.worker(worker).unwrap().log().matches("refused a message that is no chunk").count(), 6);
    run.finish_with_failed(&fleet, CHUNKS, &[1, 2, 3]).await.unwrap();
    assert!(attempts(&fleet).await.iter().all(|(_, attempts)| *attempts == 0));
    assert!(fleet.worker(worker).unwrap().runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn f20_a_chunk_that_kills_its_workers_fails_alone() {
    const CHUNKS: usize = 40;
    const ATTEMPTS: u32 = 2;
    let options = FleetOptions::workers(0)
        .set("worker.max_attempts", ATTEMPTS)
        .worker_variable("MILLRACE_FAILPOINTS", "evaluate(c7)=kill");
    let mut fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    // What an orchestrator does: whenever a worker dies, there is a new one.
    let mut deaths = 0;
    let mut worker = fleet.start_worker().await.unwrap();
    while run.status().await.unwrap()["chunks_completed"] != json!(CHUNKS) {
        if !fleet.worker(worker).unwrap().runs() {
            deaths += 1;
            assert!(deaths < 10, "the chunk kills on and on");
            worker = fleet.launch_worker().unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The first start is not counted; the others are.
    assert_eq!(deaths, ATTEMPTS + 1);
    run.finish_with_failed(&fleet, CHUNKS, &[7]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_a_bad_record_is_marked_and_no_other() {
    const RECORDS: usize = 1_000;
    let fleet = Fleet::sales(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    let batch = client.open_batch(&json!({"service": SALES, "unique_record_key": "id"})).await.unwrap();
    let rows = (0..RECORDS).map(|row| json!([row, if row == 617 { json!("x") } else { json!(row) }, 1, 0]));
    let inputs: Vec<Value> = std::iter::once(json!(["id", "price", "quantity", "tax"])).chain(rows).collect();
    let chunk = json!({"id": "one", "data": {"inputs": inputs}});
    client.push(&batch, &json!({"chunks": [chunk]})).await.unwrap().success().unwrap();
    let results = client.pull_all(&batch, 1, PATIENCE).await.unwrap();
    let (result, outputs) = (&results[0], results[0]["outputs"].as_array().unwrap());
    assert_eq!(result["status"], "completed");
    for row in 0..RECORDS {
        if row == 617 {
            // Contract 2.4: an Excel error is a value and a warning.
            assert_eq!(outputs[row + 1], json!([row, "#VALUE!"]));
            assert_ne!(result["warnings"][row], Value::Null, "{row}");
        } else {
            assert_eq!(result["warnings"][row], Value::Null, "{row}");
            assert_eq!(outputs[row + 1], json!([row, f64::from(u32::try_from(row).unwrap())]));
        }
    }
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    let status = client.wait_for_status(&batch, "completed", PATIENCE).await.unwrap();
    assert_eq!(
        (status.integer("/records_failed").unwrap(), status.integer("/chunks_failed").unwrap()),
        (0, 0),
        "{}",
        status.describe()
    );
    millrace_tests::reconcile(&fleet, &batch).await.unwrap();
    millrace_tests::released(&fleet, &batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f21_one_poison_record_in_a_thousand_is_marked_kept_and_listed() {
    const RECORDS: usize = 1_000;
    const POISON: usize = 617;
    let fleet = Fleet::start(FleetOptions::workers(1)).await.unwrap();
    let client = fleet.client();
    client.create_folder("f").await.unwrap().success().unwrap();
    let workbook = millrace_tests::rates_workbook(1).unwrap();
    client.upload_and_publish("f", "rates", "rates.xlsx", &workbook).await.unwrap();
    let wanted = json!({"service": "f/rates", "unique_record_key": "id"});
    let batch = client.open_batch(&wanted).await.unwrap();
    let rows = (0..RECORDS).map(|record| {
        let table = if record == POISON { json!({"no": "table"}) } else { json!([["rate"], [record], [1]]) };
        json!([record, table])
    });
    let inputs: Vec<Value> = std::iter::once(json!(["id", "rates"])).chain(rows).collect();
    let pushed = json!({"chunks": [{"id": "thousand", "data": {"inputs": inputs}}]});
    client.push(&batch, &pushed).await.unwrap().success().unwrap();
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    let status = client.wait_for_status(&batch, "completed", PATIENCE).await.unwrap();
    assert_eq!(
        (status.integer("/records_failed").unwrap(), status.integer("/chunks_failed").unwrap()),
        (1, 0)
    );
    let results = client.pull_all(&batch, 1, PATIENCE).await.unwrap();
    let marked: Vec<usize> = (0..RECORDS).filter(|record| !results[0]["errors"][*record].is_null()).collect();
    assert_eq!(marked, [POISON]);
    assert_eq!(results[0]["outputs"][POISON], json!([POISON - 1, 617.0]));

    // The list is there after the pull as well.
    let list = async |kind: &str| {
        let path = format!("/{{tenant}}/api/v4/batch/{batch}/failures?kind={kind}");
        client.get(&path).await.unwrap().success().unwrap()
    };
    let failures = list("record").await;
    let failure = &failures.list("/data").unwrap()[0];
    assert_eq!((failures.list("/data").unwrap().len(), &failures.body["has_more"]), (1, &json!(false)));
    assert_eq!((&failure["chunk_id"], &failure["record"]), (&json!("thousand"), &json!(POISON)));
    assert_eq!(failure["unique_record_key"], json!({"id": POISON}));
    assert_eq!(failure["errors"], results[0]["errors"][POISON]);
    assert_eq!(failure["errors"][0]["error_type"], "error.TABLE");
    assert_eq!(failure["input_kept"], true);
    assert!(list("chunk").await.list("/data").unwrap().is_empty());
    millrace_tests::reconcile(&fleet, &batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f45_disconnects_alone_make_no_chunk_fail() {
    const CHUNKS: usize = 20;
    const LIMIT: u32 = 3;
    let proxy = Proxy::start(Services::from_env().unwrap().broker_address().unwrap()).await.unwrap();
    let options = FleetOptions::workers(0)
        .worker_broker_at(proxy.address())
        .set("broker.delivery_limit", LIMIT)
        .set("worker.max_attempts", 1)
        .set("worker.slots", 1);
    let mut fleet = Fleet::sales(options).await.unwrap();
    let run = SalesRun::open(&fleet).await.unwrap();
    run.push_until_taken(0..CHUNKS).await.unwrap();
    // The only thread is busy, so the rest is prefetched and not started.
    let worker = fleet.start_failing_worker("evaluate=sleep:20000@1").await.unwrap();
    fleet.worker(worker).unwrap().wait_says("a failpoint is reached", 1, PATIENCE).await.unwrap();
    let broker = broker(&fleet);
    for cut in 1..=LIMIT + 4 {
        until_ready(&fleet, 0).await;
        proxy.cut();
        let consuming = usize::try_from(cut).unwrap();
        fleet
            .worker(worker)
            .unwrap()
            .wait_says("lost the connection to the broker", consuming, PATIENCE)
            .await
            .unwrap();
        wait_until("the lane is consumed again", PATIENCE, || async {
            let depth = broker.lane_depth(millrace_common::broker::LaneId(1)).await?;
            Ok((depth.consumers > 0).then_some(()))
        })
        .await
        .unwrap();
    }
    run.finish(&fleet, CHUNKS).await.unwrap();
    assert!(attempts(&fleet).await.iter().all(|(_, attempts)| *attempts <= 1));
}
