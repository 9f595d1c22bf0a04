//! Webhooks over HTTP: who may, what is refused, what is told of them.

use axum::body::Body;
use axum::http::{Method, Request};
use millrace_common::model::Transition;
use millrace_common::store::{AttemptResult, ClaimLimits, KeyTerms, RetryRules};
use serde_json::{Value, json};

use crate::server::{Answer, Server, owned_by};

const PATH: &str = "/acme/api/v4/webhooks";

async fn send(server: &Server, method: Method, path: &str, key: &str, body: &Value) -> Answer {
    let request = Request::builder().method(method).uri(path).header("x-synthetic-key", key);
    let request = request.header("content-type", "application/json");
    server.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn key(server: &Server, owner: &str, groups: &[&str]) -> String {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let key = server.state.store.create_key("acme", &KeyTerms { groups, ..owned_by(owner) }).await.unwrap();
    key.secret.expose().to_owned()
}

async fn make(server: &Server, key: &str, body: &Value) -> Value {
    let answer = send(server, Method::POST, PATH, key, body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.json()
}

/// Who did what, of an entry of the audit trail.
fn said(entry: &Value) -> (&str, &str) {
    (entry["actor"].as_str().unwrap(), entry["action"].as_str().unwrap())
}

async fn deliveries(server: &Server, path: &str) -> Vec<Value> {
    server.get(path).await.ok()["data"].as_array().unwrap().clone()
}

fn limits() -> ClaimLimits {
    ClaimLimits { max: 100, per_host: 100, per_tenant: 100, under_way: Vec::new(), lease_seconds: 3_600.0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_made_shown_changed_and_deleted() {
    let Some(server) = Server::start().await else { return };
    let made =
        make(&server, &server.key, &json!({"url": "https://example.org/hook", "description": "d"})).await;
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    let terminal = ["batch.completed", "batch.completed_by_timeout", "batch.failed", "batch.cancelled"];
    assert_eq!(made["events"], json!(terminal));
    assert_eq!(
        (&made["active"], &made["all_batches"], &made["created_by"]),
        (&json!(true), &json!(false), &json!("ann"))
    );
    let path = format!("{PATH}/{}", made["id"].as_str().unwrap());
    let mut shown = server.get(&path).await.ok();
    assert!(shown.get("secret").is_none(), "a secret is shown once");
    assert_eq!(server.get(PATH).await.ok()["data"], json!([shown]));

    let change =
        json!({"url": "http://example.org:8080/x", "events": ["batch.closed_by_timeout"], "active": false});
    let changed = send(&server, Method::PATCH, &path, &server.key, &change).await.ok();
    for (field, value) in change.as_object().unwrap() {
        shown[field] = value.clone();
    }
    shown["updated_at"] = changed["updated_at"].clone();
    assert_eq!(changed, shown);

    let rotated = send(&server, Method::POST, &format!("{path}/secret"), &server.key, &json!({})).await.ok();
    assert_ne!(rotated["secret"].as_str().unwrap(), secret);
    assert_eq!(server.delete(&path).await.ok()["deleted"], true);
    for (method, rest) in
        [("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/secret"), ("GET", "/deliveries")]
    {
        let gone =
            send(&server, method.parse().unwrap(), &format!("{path}{rest}"), &server.key, &json!({})).await;
        assert_eq!(gone.refusal(), (404, "WEBHOOK_NOT_FOUND".into(), None), "{method} {rest}");
    }
    let audit = server.get("/acme/api/v4/audit?action=webhook").await.ok();
    let actions: Vec<&str> =
        audit["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["webhook.create", "webhook.update", "webhook.rotate_secret", "webhook.delete"]);
    assert!(!audit.to_string().contains("/hook") && !audit.to_string().contains("whsec_"), "{audit}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_the_place_and_change_nothing() {
    let Some(server) = Server::start_with(|config| config.webhooks.per_tenant = 1).await else { return };
    for (body, status, path) in [
        (json!({}), 422, Some("url")),
        (json!({"url": "nowhere"}), 422, Some("url")),
        (json!({"url": "ftp://example.org"}), 422, Some("url")),
        (json!({"url": "https://u:p@example.org"}), 422, Some("url")),
        (json!({"url": "http://127.0.0.1/"}), 422, Some("url")),
        (json!({"url": "http://localhost:9/"}), 422, Some("url")),
        (json!({"url": "http://0x7f000001/"}), 422, Some("url")),
        (json!({"url": "http://10.0.0.1/"}), 422, Some("url")),
        (json!({"url": "http://169.254.169.254/latest/meta-data"}), 422, Some("url")),
        (json!({"url": "http://[::1]/"}), 422, Some("url")),
        (json!({"url": "http://[::ffff:192.168.0.1]/"}), 422, Some("url")),
        (json!({"url": "https://example.org", "events": ["completed"]}), 422, Some("events[0]")),
        (json!({"url": "https://example.org", "events": []}), 422, Some("events")),
        (json!({"url": "https://example.org", "secret": "mine"}), 400, None),
        (json!({"url": 7}), 400, None),
        (json!("x"), 400, None),
    ] {
        let answer = send(&server, Method::POST, PATH, &server.key, &body).await;
        let (came, _, place) = answer.refusal();
        assert_eq!((came, place.as_deref()), (status, path), "{body}");
    }
    assert_eq!(server.get(PATH).await.ok()["data"], json!([]));
    make(&server, &server.key, &json!({"url": "https://example.org"})).await;
    let answer = send(&server, Method::POST, PATH, &server.key, &json!({"url": "https://example.org"})).await;
    assert_eq!(answer.refusal(), (409, "TOO_MANY_WEBHOOKS".into(), None));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_told_what_its_maker_may_see() {
    let Some(server) = Server::start().await else { return };
    let (bob, sue) = (key(&server, "bob", &[]).await, key(&server, "sue", &["supervisor:pf"]).await);
    let url = json!({"url": "https://example.org/hook"});
    let of_ann = make(&server, &server.key, &url).await;
    let of_sue = make(&server, &sue, &url).await;
    assert_eq!(of_sue["all_batches"], true);
    let path = |webhook: &Value| format!("{PATH}/{}", webhook["id"].as_str().unwrap());
    assert_eq!(send(&server, Method::GET, &path(&of_ann), &bob, &json!({})).await.status, 404);
    assert_eq!(send(&server, Method::GET, &path(&of_ann), &sue, &json!({})).await.status, 200);
    assert_eq!(send(&server, Method::GET, PATH, &bob, &json!({})).await.ok()["data"], json!([]));
    // It tells of everybody's batches, so it is out of reach of the same name without the role.
    let plain_sue = key(&server, "sue", &[]).await;
    for (method, rest) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/secret"), ("POST", "/test")]
    {
        let path = format!("{}{rest}", path(&of_sue));
        let answer = send(&server, method.parse().unwrap(), &path, &plain_sue, &json!({})).await;
        assert_eq!(answer.refusal(), (404, "WEBHOOK_NOT_FOUND".into(), None), "{method} {rest}");
    }

    let batches = server.batches(&["ann", "bob"]).await;
    server.state.store.change_batch(batches[0], Transition::Close).await.unwrap().unwrap();
    server.state.store.change_batch(batches[1], Transition::Cancel).await.unwrap().unwrap();
    // What happens twice is told once.
    server.state.store.change_batch(batches[1], Transition::Cancel).await.unwrap().unwrap();
    let told = deliveries(&server, &format!("{}/deliveries", path(&of_ann))).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["event"], &told[0]["batch_id"]), (&json!("batch.completed"), &json!(batches[0])));
    assert_eq!((&told[0]["state"], &told[0]["attempts"]), (&json!("pending"), &json!(0)));
    let told = send(&server, Method::GET, &format!("{}/deliveries?max=1", path(&of_sue)), &sue, &json!({}))
        .await
        .ok();
    assert_eq!((&told["data"][0]["event"], &told["has_more"]), (&json!("batch.cancelled"), &json!(true)));
    let next = told["next_before"].as_str().unwrap();
    let rest = format!("{}/deliveries?before={next}", path(&of_sue));
    let rest = send(&server, Method::GET, &rest, &sue, &json!({})).await.ok();
    assert_eq!((&rest["data"][0]["event"], &rest["has_more"]), (&json!("batch.completed"), &json!(false)));

    // The body is written once, and has no record in it.
    let attempts = server.state.store.claim_deliveries(&limits()).await.unwrap();
    assert_eq!(attempts.len(), 3);
    let body: Value = serde_json::from_str(&attempts[0].body).unwrap();
    assert_eq!(body["data"]["batch_id"], json!(batches[0]));
    assert_eq!(
        (&body["type"], &body["data"]["batch_status"]),
        (&json!("batch.completed"), &json!("completed"))
    );
    assert_eq!(body["data"]["correlation_id"], "of ann");
    assert_eq!(body["data"]["summary"]["chunks_submitted"], 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_leased_retried_and_given_up() {
    let Some(server) = Server::start().await else { return };
    let webhook = make(&server, &server.key, &json!({"url": "https://example.org/hook"})).await;
    let path = format!("{PATH}/{}", webhook["id"].as_str().unwrap());
    let store = &server.state.store;
    let batches = server.batches(&["ann"; 3]).await;
    for batch in &batches {
        store.change_batch(*batch, Transition::Close).await.unwrap().unwrap();
    }
    // Never more to one host than its bound, whoever asks.
    let one = ClaimLimits { per_host: 2, ..limits() };
    let first = store.claim_deliveries(&one).await.unwrap();
    assert_eq!(first.len(), 2);
    let receiver = (first[0].tenant_id, "example.org:443".to_owned());
    let busy = ClaimLimits { under_way: vec![receiver.clone(); 2], ..one.clone() };
    assert!(store.claim_deliveries(&busy).await.unwrap().is_empty());
    let room = ClaimLimits { under_way: vec![receiver], lease_seconds: 0.0, ..one };
    let mut third = store.claim_deliveries(&room).await.unwrap();
    // A lease that is over: the message is claimed again, and the late result of the first attempt counts no more.
    let again = store.claim_deliveries(&room).await.unwrap();
    let late = third.remove(0);
    assert_eq!((again[0].delivery_id, again[0].number), (late.delivery_id, 2));
    let ok = AttemptResult { status: Some(204), error: None, gone: false };
    let failed =
        AttemptResult { status: Some(500), error: Some("the receiver answered 500".into()), gone: false };
    let rules = RetryRules { delay_seconds: 0.0, give_up_seconds: 3_600.0, disable_seconds: 3_600.0 };
    store.finish_attempt(&late, &failed, &rules).await.unwrap();
    store.finish_attempt(&again[0], &ok, &rules).await.unwrap();
    store.finish_attempt(&first[0], &failed, &rules).await.unwrap();
    store.finish_attempt(&first[1], &failed, &RetryRules { give_up_seconds: 0.0, ..rules }).await.unwrap();
    let list = format!("{path}/deliveries");
    let state = |id: uuid::Uuid, told: &[Value]| {
        let delivery = told.iter().find(|delivery| delivery["id"] == json!(id)).unwrap();
        (
            delivery["state"].as_str().unwrap().to_owned(),
            delivery["attempts"].as_i64().unwrap(),
            delivery["last_status"].clone(),
        )
    };
    let told = deliveries(&server, &list).await;
    assert_eq!(state(late.delivery_id, &told), ("delivered".into(), 2, json!(204)));
    assert_eq!(state(first[0].delivery_id, &told), ("pending".into(), 1, json!(500)));
    assert_eq!(state(first[1].delivery_id, &told), ("dead".into(), 1, json!(500)));
    assert_eq!(deliveries(&server, &format!("{list}?state=dead")).await.len(), 1);
    assert!(server.get(&path).await.ok()["failing_since"].is_string());

    // A dead one can be asked for again, with the same id.
    let redeliver = format!("{list}/{}/redeliver", first[1].delivery_id);
    let answer = send(&server, Method::POST, &redeliver, &server.key, &json!({})).await;
    assert_eq!((answer.status, &answer.json()["state"]), (202, &json!("pending")));
    let unknown = format!("{list}/{}/redeliver", uuid::Uuid::nil());
    let answer = send(&server, Method::POST, &unknown, &server.key, &json!({})).await;
    assert_eq!(answer.refusal(), (404, "DELIVERY_NOT_FOUND".into(), None));

    // Nothing for days: switched off, what waits is given up, and the reason shows.
    server.sql("UPDATE webhooks SET failing_since = now() - interval '2 hours'").await;
    let due = store.claim_deliveries(&limits()).await.unwrap();
    assert!(store.finish_attempt(&due[0], &failed, &rules).await.unwrap());
    let off = server.get(&path).await.ok();
    assert_eq!(off["active"], false);
    assert!(off["disabled_reason"].as_str().unwrap().contains("the receiver answered 500"), "{off}");
    assert!(deliveries(&server, &format!("{list}?state=pending")).await.is_empty());
    let on = send(&server, Method::PATCH, &path, &server.key, &json!({"active": true})).await.ok();
    assert_eq!(
        (&on["active"], &on["disabled_reason"], &on["failing_since"]),
        (&json!(true), &Value::Null, &Value::Null)
    );

    // Old messages are forgotten; a receiver that is gone is not asked again.
    server
        .sql("UPDATE webhook_deliveries SET finished_at = now() - interval '1 day' WHERE state = 'delivered'")
        .await;
    assert_eq!(store.forget_deliveries(3_600.0).await.unwrap(), 1);
    let answer = send(&server, Method::POST, &format!("{path}/test"), &server.key, &json!({})).await;
    assert_eq!(answer.status, 202);
    let test = store.claim_deliveries(&limits()).await.unwrap();
    assert_eq!(test.len(), 1);
    assert!(test[0].secret.is_some() && test[0].previous_secret.is_none());
    let gone =
        AttemptResult { status: Some(410), error: Some("the receiver answered 410".into()), gone: true };
    assert!(store.finish_attempt(&test[0], &gone, &rules).await.unwrap());
    assert_eq!(server.get(&path).await.ok()["disabled_reason"], "the receiver answered 410 Gone");
    let audit = server.get("/acme/api/v4/audit?action=webhook").await.ok();
    let said: Vec<(&str, &str)> = audit["data"].as_array().unwrap().iter().map(said).collect();
    let expected = [
        ("ann", "webhook.create"),
        ("ann", "webhook.redeliver"),
        ("system", "webhook.disable"),
        ("ann", "webhook.update"),
        ("ann", "webhook.test"),
        ("system", "webhook.disable"),
    ];
    assert_eq!(said, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_names_a_url_of_its_own_once_there_is_a_secret() {
    let Some(server) = Server::start().await else { return };
    let ids = server.batches(&["ann"]).await;
    let create = |url: &str| json!({"service": "f/s", "webhook_url": url});
    let answer = server.post("/acme/api/v4/batch", &create("http://127.0.0.1/")).await;
    assert_eq!(answer.refusal(), (422, "INVALID_URL".into(), Some("webhook_url".into())));
    let answer = server.post("/acme/api/v4/batch", &create("https://example.org/own")).await;
    assert_eq!(answer.refusal(), (422, "NO_WEBHOOK_SECRET".into(), Some("webhook_url".into())));
    assert_eq!(server.get(&format!("{PATH}/secret")).await.ok()["exists"], false);
    let made = send(&server, Method::POST, &format!("{PATH}/secret"), &server.key, &json!({})).await.ok();
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(server.get(&format!("{PATH}/secret")).await.ok()["exists"], true);

    server
        .sql(&format!("UPDATE batches SET webhook_url = 'https://example.org/own' WHERE id = '{}'", ids[0]))
        .await;
    let info = server.get(&format!("/acme/api/v4/batch/{}", ids[0])).await.ok();
    assert_eq!(info["data"]["configuration"]["webhook_url"], "https://example.org/own");
    server.state.store.change_batch(ids[0], Transition::Cancel).await.unwrap().unwrap();
    let list = format!("/acme/api/v4/batch/{}/deliveries", ids[0]);
    let told = deliveries(&server, &list).await;
    assert_eq!((told.len(), &told[0]["event"]), (1, &json!("batch.cancelled")));
    let attempts = server.state.store.claim_deliveries(&limits()).await.unwrap();
    assert_eq!((attempts[0].url.as_str(), attempts[0].webhook_id), ("https://example.org/own", None));
    assert!(attempts[0].secret.is_some());
    let again = format!("{list}/{}/redeliver", told[0]["id"].as_str().unwrap());
    assert_eq!(send(&server, Method::POST, &again, &server.key, &json!({})).await.status, 202);
    let bob = key(&server, "bob", &[]).await;
    for (method, path) in [(Method::GET, &list), (Method::POST, &again)] {
        assert_eq!(send(&server, method, path, &bob, &json!({})).await.status, 404, "{path}");
    }
    server.stop().await;
}
