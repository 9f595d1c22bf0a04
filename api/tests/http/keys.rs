//! Keys over HTTP, and the audit trail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Method;
use millrace_common::store::AuditFilter;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::server::{Answer, Server, rectangle};

const KEYS: &str = "/acme/api/v4/keys";

/// Calls with a key of its own.
async fn with(server: &Server, key: &str, method: Method, path: &str) -> Answer {
    let mut request = server.request(method, path).body(Body::empty()).unwrap();
    request.headers_mut().insert("x-synthetic-key", key.parse().unwrap());
    server.send(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_listed_and_revoked() {
    let Some(server) = Server::start().await else { return };
    let answer =
        server.post(KEYS, &json!({"owner": "bob", "groups": ["g"], "scopes": ["batch", "audit:read"]})).await;
    assert_eq!((answer.status, answer.headers["cache-control"].to_str().unwrap()), (201, "no-store"));
    let made = answer.json();
    let (id, secret) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert_eq!((&made["owner"], &made["scopes"]), (&json!("bob"), &json!(["batch", "audit:read"])));
    assert_eq!(with(&server, secret, Method::GET, "/acme/api/v4/batch/status").await.status, 200);
    assert_eq!(with(&server, secret, Method::GET, KEYS).await.status, 403);

    let listed = server.get(KEYS).await;
    assert!(!String::from_utf8_lossy(&listed.bytes).contains(secret), "the secret is shown once");
    let listed = listed.ok();
    let key = listed["data"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap();
    assert_eq!((&key["hint"], &key["groups"]), (&json!(secret[..7]), &json!(["g"])));
    assert!(key["last_used_at"].is_string() && key["revoked_at"].is_null());

    let path = format!("{KEYS}/{id}");
    assert_eq!(server.delete(&path).await.ok()["revoked"], true);
    // On the server that revoked it, at once.
    assert_eq!(with(&server, secret, Method::GET, "/acme/api/v4/batch/status").await.status, 401);
    assert_eq!(server.delete(&path).await.refusal().1, "KEY_NOT_FOUND");
    // Keys of other tenants do not exist.
    let others = server.state.store.keys("other").await.unwrap()[0].id;
    assert_eq!(server.delete(&format!("{KEYS}/{others}")).await.refusal().0, 404);
    assert_eq!(server.delete(&format!("{KEYS}/x")).await.refusal().0, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_terms_make_no_key() {
    let Some(server) = Server::start().await else { return };
    for (body, status, path) in [
        (json!({"scopes": []}), 422, Some("scopes")),
        (json!({"scopes": ["root"]}), 422, Some("scopes[0]")),
        (json!({"owner": ""}), 422, Some("owner")),
        (json!({"expires_at": "2001-01-01"}), 422, Some("expires_at")),
        (json!({"owner": "a\u{0}b"}), 422, Some("owner")),
        (json!({"scope": ["batch"]}), 400, None),
        (json!([1]), 400, None),
    ] {
        let answer = server.post(KEYS, &body).await;
        let (refused, _, place) = answer.refusal();
        assert_eq!((refused, place.as_deref()), (status, path), "{body}");
    }
    assert_eq!(server.state.store.keys("acme").await.unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_ends_to_work() {
    let Some(server) = Server::start().await else { return };
    let made = server.post(KEYS, &json!({"expires_at": "2099-01-01T00:00:00Z"})).await.json();
    let key = made["key"].as_str().unwrap();
    let works = async || with(&server, key, Method::GET, "/acme/api/v4/batch/status").await.status == 200;
    assert!(works().await);
    server
        .sql("UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL")
        .await;
    let changed = Instant::now();
    while works().await {
        assert!(changed.elapsed() < Duration::from_secs(6), "servers forget a key within 5 s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
}

/// The trail of `acme`, oldest first, as (actor, action, outcome, request id).
async fn trail(server: &Server) -> Vec<(String, String, String, String)> {
    let body = server.get("/acme/api/v4/audit?after=0&max=1000").await.ok();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let entry = |entry: &Value| {
        (text(entry, "actor"), text(entry, "action"), text(entry, "outcome"), text(entry, "request_id"))
    };
    body["data"].as_array().unwrap().iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_leaves_an_entry() {
    let Some(server) = Server::start().await else { return };
    let folder = server.create_folder("geo").await.ok()["data"]["folderId"].as_str().unwrap().to_owned();
    server.release("geo", "rectangle", &rectangle(), json!({})).await;
    let update = format!("/api/v1/product/update/{folder}");
    server.post(&update, &json!({"description": "secret words"})).await.ok();
    let made = server.post(KEYS, &json!({"owner": "bob"})).await.json();
    server.delete(&format!("{KEYS}/{}", made["id"].as_str().unwrap())).await.ok();
    server.delete("/api/v1/product/geo/engines/delete/rectangle").await.ok();
    let request = server.request(Method::DELETE, &format!("/api/v1/product/delete/{folder}"));
    let request = request.header("x-request-id", "request-7").body(Body::empty()).unwrap();
    server.send(request).await.ok();

    let trail = trail(&server).await;
    let actions: Vec<&str> = trail.iter().map(|(_, action, _, _)| action.as_str()).collect();
    let expected = [
        "tenant.create",
        "key.create",
        "folder.create",
        "service.upload",
        "version.publish",
        "folder.update",
        "key.create",
        "key.revoke",
        "service.delete",
        "folder.delete",
    ];
    assert_eq!(actions, expected);
    assert!(trail[..2].iter().all(|(actor, ..)| actor == "system"), "what the test did itself");
    assert!(trail[2..].iter().all(|(actor, _, outcome, _)| actor == "ann" && outcome == "done"));
    assert_eq!(trail.last().unwrap().3, "request-7");
    assert!(trail[2..].iter().all(|(.., request)| !request.is_empty()));
    let whole = server.get("/acme/api/v4/audit").await;
    let whole = String::from_utf8_lossy(&whole.bytes).into_owned();
    for secret in ["secret words", made["key"].as_str().unwrap(), &server.key] {
        assert!(!whole.contains(secret), "{secret} is in the trail");
    }
    // Paging, filters, other tenants.
    let mut after = 0;
    let mut paged = Vec::new();
    loop {
        let page = server.get(&format!("/acme/api/v4/audit?after={after}&max=3")).await.ok();
        paged.extend(page["data"].as_array().unwrap().iter().map(|entry| entry["action"].clone()));
        after = page["next_after"].as_i64().unwrap();
        if page["has_more"] == false {
            break;
        }
    }
    assert_eq!(paged, expected);
    let last = server.get("/acme/api/v4/audit?max=2").await.ok();
    let last: Vec<&Value> = last["data"].as_array().unwrap().iter().map(|entry| &entry["action"]).collect();
    assert_eq!(last, ["service.delete", "folder.delete"]);
    let keys = server.get("/acme/api/v4/audit?action=key&actor=ann").await.ok();
    assert_eq!(keys["data"].as_array().unwrap().len(), 2);
    let others = with(&server, &server.other_key, Method::GET, "/other/api/v4/audit").await.ok();
    assert_eq!(others["data"].as_array().unwrap().len(), 2, "its own creation and its key's");
    assert_eq!(server.get("/acme/api/v4/audit?max=0").await.refusal().0, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_leave_entries_too() {
    let Some(server) = Server::start().await else { return };
    let batches = server.batches(&["ann", "ann"]).await;
    let (closed, cancelled) = (batches[0], batches[1]);
    let patch = async |id: Uuid, state: &str| {
        let request = server.request(Method::PATCH, &format!("/acme/api/v4/batch/{id}"));
        let body = Body::from(json!({"batch_status": state}).to_string());
        server.send(request.header("content-type", "application/json").body(body).unwrap()).await.status
    };
    assert_eq!(patch(closed, "closed").await, 200);
    assert_eq!(patch(closed, "closed").await, 200, "nothing changes, and nothing is noted");
    assert_eq!(patch(cancelled, "cancelled").await, 200);
    assert_eq!(patch(cancelled, "closed").await, 409);
    let body = server.get("/acme/api/v4/audit?action=batch").await.ok();
    let entries: Vec<Value> = body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| json!([entry["actor"], entry["action"], entry["object"], entry["outcome"]]))
        .collect();
    let expected = [
        json!(["system", "batch.create", closed, "done"]),
        json!(["system", "batch.create", cancelled, "done"]),
        json!(["ann", "batch.close", closed, "done"]),
        json!(["ann", "batch.cancel", cancelled, "done"]),
        json!(["ann", "batch.close", cancelled, "refused"]),
    ];
    assert_eq!(entries, expected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_on_after_the_last_entry_misses_none() {
    const WRITERS: usize = 6;
    const FOLDERS: usize = 15;
    let Some(server) = Server::start().await else { return };
    let server = Arc::new(server);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                for index in 0..FOLDERS {
                    server.create_folder(&format!("f-{writer}-{index}")).await.ok();
                }
            })
        })
        .collect();
    let (mut after, mut seen) = (0, Vec::new());
    let began = Instant::now();
    while seen.len() < WRITERS * FOLDERS && began.elapsed() < Duration::from_secs(60) {
        let page =
            server.get(&format!("/acme/api/v4/audit?after={after}&max=7&action=folder.create")).await.ok();
        seen.extend(page["data"].as_array().unwrap().iter().map(|entry| entry["object"].to_string()));
        after = page["next_after"].as_i64().unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), WRITERS * FOLDERS);
    Arc::into_inner(server).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_noted_is_not_made() {
    let Some(server) = Server::start().await else { return };
    server.sql("ALTER TABLE audit_log ADD CHECK (action NOT IN ('folder.create', 'key.revoke', 'key.create')) NOT VALID").await;
    assert_eq!(server.create_folder("geo").await.status, 500);
    assert_eq!(server.get("/api/v1/product/getproduct/geo").await.status, 404);
    assert_eq!(server.post(KEYS, &json!({})).await.status, 500);
    let path = format!("{KEYS}/{}", server.key_id);
    assert_eq!(server.delete(&path).await.status, 500);
    let keys = server.state.store.keys("acme").await.unwrap();
    assert!(keys.len() == 1 && keys[0].revoked_at.is_none());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_is_append_only_but_for_its_retention() {
    let Some(server) = Server::start().await else { return };
    for forbidden in [
        "UPDATE audit_log SET actor = ''",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        // Not even the retention takes what is not a day old.
        "SELECT set_config('millrace.audit_retention', 'on', false); DELETE FROM audit_log",
    ] {
        assert!(server.try_sql(forbidden).await.is_err(), "{forbidden}");
    }
    let all =
        || async { server.state.store.audit_entries(&AuditFilter::default(), 100).await.unwrap().len() };
    assert_eq!(all().await, 4, "two tenants and their keys");
    server
        .sql(
            "ALTER TABLE audit_log DISABLE TRIGGER audit_log_append_only;
              UPDATE audit_log SET at = at - interval '40 days' WHERE action = 'key.create';
              ALTER TABLE audit_log ENABLE TRIGGER audit_log_append_only",
        )
        .await;
    assert_eq!(server.state.store.purge_audit(60).await.unwrap(), 0);
    assert_eq!(server.state.store.purge_audit(30).await.unwrap(), 2);
    assert_eq!(server.state.store.purge_audit(0).await.unwrap(), 0);
    assert_eq!(all().await, 2);
    server.stop().await;
}
