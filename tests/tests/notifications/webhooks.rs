use millrace_tests::{Client, Fleet, FleetOptions, PATIENCE, SALES, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use super::receiver::Receiver;

/// Receivers of these tests are on loopback; whoever fails is tried again soon.
fn options(workers: usize) -> FleetOptions {
    FleetOptions::workers(workers)
        .set("webhooks.allow_private", "127.0.0.0/8")
        .set("webhooks.retry_first_ms", 100)
        .set("webhooks.poll_ms", 100)
}

async fn webhook(client: &Client, url: &str) -> (String, String) {
    let made =
        client.post("/{tenant}/api/v4/webhooks", &json!({"url": url})).await.unwrap().success().unwrap();
    (made.text("/id").unwrap().to_owned(), made.text("/secret").unwrap().to_owned())
}

/// A batch that ends at once.
async fn ended(client: &Client, more: &Value) -> String {
    let mut body = json!({"service": SALES, "max_input_in_mb": 1, "max_output_in_mb": 1});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let batch = client.open_batch(&body).await.unwrap();
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    batch
}

/// Waits until the only message of a webhook is in this state.
async fn delivery(client: &Client, webhook: &str, state: &str) -> Value {
    let path = format!("/{{tenant}}/api/v4/webhooks/{webhook}/deliveries");
    wait_until(&format!("the message is {state}"), PATIENCE, || async {
        let answer = client.get(&path).await?.success()?;
        let delivery = answer.list("/data")?.first().cloned();
        match delivery {
            Some(delivery) if delivery["state"] == state => Ok(Some(delivery)),
            other => anyhow::bail!("{other:?}"),
        }
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_batch_is_told_with_a_signature() {
    let fleet = Fleet::sales(options(2)).await.unwrap();
    let client = fleet.client();
    let (receiver, own) = (Receiver::start().await, Receiver::start().await);
    let (id, secret) = webhook(client, &receiver.url()).await;
    let tenant =
        client.post("/{tenant}/api/v4/webhooks/secret", &json!({})).await.unwrap().success().unwrap();
    let tenant = tenant.text("/secret").unwrap();
    let batch = client
        .open_batch(&json!({"service": SALES, "correlation_id": "c-7", "webhook_url": own.url()}))
        .await
        .unwrap();
    let chunk =
        json!({"id": "1", "data": {"inputs": [["price", "quantity", "tax"], [20, 65, 0.1], [1, 1, 0]]}});
    client.push(&batch, &json!({"chunks": [chunk]})).await.unwrap().success().unwrap();
    client.patch(&batch, "closed").await.unwrap().success().unwrap();
    let messages = receiver.wait_for(1).await;
    let message = &messages[0];
    let body = message.json();
    assert_eq!(
        (&body["type"], &body["data"]["batch_status"]),
        (&json!("batch.completed"), &json!("completed"))
    );
    assert_eq!((&body["data"]["batch_id"], &body["data"]["correlation_id"]), (&json!(batch), &json!("c-7")));
    assert_eq!(body["data"]["summary"]["records_completed"], 2);
    assert_eq!(message.headers["content-type"], "application/json");
    message.verify(&secret).unwrap();
    assert!(message.verify(tenant).is_err(), "another secret");
    let sent = &own.wait_for(1).await[0];
    sent.verify(tenant).unwrap();
    assert_eq!(sent.body, message.body);
    let told = delivery(client, &id, "delivered").await;
    assert_eq!(
        (&told["id"], &told["last_status"], &told["attempts"]),
        (&json!(message.id()), &json!(200), &json!(1))
    );

    // After a change of secrets both sign for a while.
    let path = format!("/{{tenant}}/api/v4/webhooks/{id}");
    let rotated = client.post(&format!("{path}/secret"), &json!({})).await.unwrap().success().unwrap();
    client.post(&format!("{path}/test"), &json!({})).await.unwrap().success().unwrap();
    let test = &receiver.wait_for(2).await[1];
    assert_eq!(test.json()["type"], "webhook.test");
    test.verify(&secret).unwrap();
    test.verify(rotated.text("/secret").unwrap()).unwrap();
    // And a message can be asked for again, with the same id.
    let again = format!("{path}/deliveries/{}/redeliver", message.id());
    client.post(&again, &json!({})).await.unwrap().success().unwrap();
    let third = receiver.wait_for(3).await.remove(2);
    assert_eq!((third.id(), &third.body), (message.id(), &message.body));
    third.verify(rotated.text("/secret").unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_is_told_when_it_is_up() {
    let fleet = Fleet::sales(options(1)).await.unwrap();
    let client = fleet.client();
    let receiver = Receiver::start().await;
    let address = receiver.address;
    let (id, secret) = webhook(client, &receiver.url()).await;
    drop(receiver);
    let batch = ended(client, &json!({})).await;
    let path = format!("/{{tenant}}/api/v4/webhooks/{id}/deliveries");
    wait_until("two attempts failed", PATIENCE, || async {
        let answer = client.get(&path).await?.success()?;
        let told = answer.list("/data")?[0].clone();
        let failed = told["attempts"].as_i64() >= Some(2) && told["last_error"].is_string();
        Ok(failed.then_some(()))
    })
    .await
    .unwrap();
    let shown = client.get(&format!("/{{tenant}}/api/v4/webhooks/{id}")).await.unwrap();
    assert!(shown.text("/failing_since").is_ok(), "{}", shown.describe());
    let receiver = Receiver::at(address).await;
    receiver.refuse(1);
    let messages = receiver.wait_for(2).await;
    assert_eq!(messages[0].id(), messages[1].id());
    messages[1].verify(&secret).unwrap();
    assert_eq!(messages[1].json()["data"]["batch_id"], json!(batch));
    let told = delivery(client, &id, "delivered").await;
    assert_eq!((&told["last_status"], &told["last_error"]), (&json!(200), &Value::Null));
    let shown = client.get(&format!("/{{tenant}}/api/v4/webhooks/{id}")).await.unwrap();
    assert_eq!(shown.body["failing_since"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_of_a_worker_in_the_middle_of_a_delivery_loses_nothing() {
    let mut fleet = Fleet::sales(options(1).set("webhooks.timeout_ms", 2_000)).await.unwrap();
    let receiver = Receiver::start().await;
    receiver.ignore(1);
    let (id, secret) = webhook(fleet.client(), &receiver.url()).await;
    ended(fleet.client(), &json!({})).await;
    // The receiver has the message, and the worker has no answer.
    receiver.wait_for(1).await;
    fleet.kill_worker(0).unwrap();
    fleet.start_worker().await.unwrap();
    let messages = receiver.wait_for(2).await;
    assert_eq!((messages[0].id(), &messages[0].body), (messages[1].id(), &messages[1].body));
    messages[1].verify(&secret).unwrap();
    let told = delivery(fleet.client(), &id, "delivered").await;
    assert_eq!(told["attempts"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_never_answers_holds_up_nobody_else() {
    let fleet = Fleet::sales(options(1).set("webhooks.per_host", 2).set("webhooks.timeout_ms", 60_000))
        .await
        .unwrap();
    let client = fleet.client();
    let (dead, alive) = (Receiver::start().await, Receiver::start().await);
    dead.ignore(1_000);
    webhook(client, &dead.url()).await;
    for _ in 0..6 {
        ended(client, &json!({})).await;
    }
    dead.wait_for(2).await;
    let (id, _) = webhook(client, &alive.url()).await;
    ended(client, &json!({})).await;
    alive.wait_for(1).await;
    delivery(client, &id, "delivered").await;
    assert_eq!(dead.messages().await.len(), 2, "no more at a time than the bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_is_refused_at_every_time() {
    let fleet = Fleet::sales(FleetOptions::workers(1).set("webhooks.retry_first_ms", 100)).await.unwrap();
    let client = fleet.client();
    let receiver = Receiver::start().await;
    for url in [receiver.url(), format!("http://localhost:{}/hook", receiver.address.port())] {
        let refused = client.post("/{tenant}/api/v4/webhooks", &json!({"url": url})).await.unwrap();
        assert_eq!((refused.status, refused.code()), (422, Some("INVALID_URL")), "{url}");
    }
    // A URL that was allowed when it was stored is refused again when it is called.
    let (id, _) = webhook(client, "https://example.org/hook").await;
    let database = fleet.database().connect().await.unwrap();
    let sql = "UPDATE webhooks SET url = $1";
    database.execute(sql, &[&receiver.url()]).await.unwrap();
    ended(client, &json!({})).await;
    let told = wait_until("an attempt was refused", PATIENCE, || async {
        let answer = client.get(&format!("/{{tenant}}/api/v4/webhooks/{id}/deliveries")).await?.success()?;
        Ok(answer.list("/data")?[0]["last_error"].as_str().map(str::to_owned))
    });
    let error = told.await.unwrap();
    assert!(error.contains("127.0.0.1") && error.contains("refused"), "{error}");
    assert!(receiver.messages().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_looks_after_webhooks() {
    let fleet = Fleet::sales(options(1)).await.unwrap();
    let receiver = Receiver::start().await;
    let run = async |line: &[&str]| {
        let output = fleet.run(&[&["webhook"], line, &["--output-format", "json"]].concat()).await.unwrap();
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let url = receiver.url();
    let made = run(&["create", &url, "--event", "batch.completed", "--description", "d"]).await;
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert_eq!(run(&["list"]).await["data"][0]["id"], made["id"]);
    let test = run(&["test", id]).await;
    let message = &receiver.wait_for(1).await[0];
    assert_eq!(message.id(), test["id"].as_str().unwrap());
    message.verify(secret).unwrap();
    delivery(fleet.client(), id, "delivered").await;
    let listed = run(&["deliveries", id]).await;
    assert_eq!(listed["data"][0]["state"], "delivered");
    run(&["redeliver", id, message.id()]).await;
    receiver.wait_for(2).await;
    let off = run(&["update", id, "--active", "false", "--event", "batch.failed"]).await;
    assert_eq!((&off["active"], &off["events"]), (&json!(false), &json!(["batch.failed"])));
    assert_ne!(run(&["rotate", id]).await["secret"].as_str().unwrap(), secret);
    assert!(run(&["tenant-secret"]).await["secret"].is_string());
    assert_eq!(run(&["delete", id]).await["deleted"], true);
    let gone = fleet
        .client()
        .send(fleet.client().request(Method::GET, &format!("/{{tenant}}/api/v4/webhooks/{id}")));
    assert_eq!(gone.await.unwrap().status, 404);
}
