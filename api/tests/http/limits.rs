//! Rate limits and refusals over HTTP.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request};
use millrace_common::store::TenantLimits;
use serde_json::{Value, json};

use crate::server::Server;

const PATH: &str = "/acme/api/v4/batch/status";

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_asks_too_much_is_told_to_wait_and_others_are_not() {
    let Some(server) = Server::start_with(|config| config.rate_limits.requests_per_second = 3).await else {
        return;
    };
    let mut refused = 0;
    for _ in 0..20 {
        let answer = server.get(PATH).await;
        if answer.status == 429 {
            refused += 1;
            assert_eq!(answer.refusal().1, "RATE_LIMITED");
            assert_eq!(answer.headers["retry-after"], answer.headers["x-retry-after"]);
            assert_eq!(answer.json()["error"]["details"]["per_second"], 3);
        }
    }
    assert!(refused > 0);
    let other = Request::get("/other/api/v4/batch/status").header("x-synthetic-key", &server.other_key);
    assert_eq!(server.send(other.body(Body::empty()).unwrap()).await.status, 200);
    // The tenant's own limit wins, as soon as the key is looked up again.
    let limits = TenantLimits { requests_per_second: Some(0), push_bytes_per_second: None };
    assert!(server.state.store.set_tenant_limits("ACME", limits).await.unwrap());
    server.state.keys.forget();
    for _ in 0..20 {
        assert_eq!(server.get(PATH).await.status, 200);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_credentials_is_not_looked_up() {
    let Some(server) = Server::start_with(|config| config.auth.lookups_per_second = 5).await else { return };
    assert_eq!(server.get(PATH).await.status, 200);
    let try_key = |key: String| {
        let request = Request::get(PATH).header("x-synthetic-key", key).body(Body::empty()).unwrap();
        server.send(request)
    };
    let statuses: Vec<u16> = {
        let mut statuses = Vec::new();
        for index in 0..50 {
            statuses.push(try_key(format!("mr_{index:043}")).await.status);
        }
        statuses
    };
    assert!(statuses.contains(&401) && statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().filter(|status| **status == 401).count() < 25, "{statuses:?}");
    // The same useless key costs nothing, however often.
    let known = format!("mr_{:043}", 0);
    for _ in 0..20 {
        assert_eq!(try_key(known.clone()).await.status, 401);
    }
    // Who was let in before still is.
    assert_eq!(server.get(PATH).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_tell_browsers_to_do_nothing_with_them() {
    let Some(server) = Server::start().await else { return };
    for path in [PATH, "/health", "/nothing"] {
        let answer = server.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    }
    let wrong = server.post("/acme/api/v4/keys", &json!({"owner": 7})).await;
    let text = String::from_utf8_lossy(&wrong.bytes).into_owned();
    assert!(!text.contains("src/") && !text.contains("CreateRequest"), "{text}");
    server.stop().await;
}

/// Calls with a key of its own.
async fn call(server: &Server, key: &str, method: Method, path: &str) -> u16 {
    let mut request = server.request(method, path).body(Body::empty()).unwrap();
    request.headers_mut().insert("x-synthetic-key", key.parse().unwrap());
    server.send(request).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_credential_does_not_permit_is_in_the_trail_of_its_tenant_once_in_a_while() {
    let Some(server) = Server::start().await else { return };
    let made = server.post("/acme/api/v4/keys", &json!({"owner": "bob", "scopes": ["batch"]})).await.json();
    let key = made["key"].as_str().unwrap();
    for _ in 0..20 {
        assert_eq!(call(&server, key, Method::GET, "/acme/api/v4/keys").await, 403);
        assert_eq!(call(&server, key, Method::GET, "/other/api/v4/batch/status").await, 403);
        // Nobody's: no tenant is told.
        assert_eq!(call(&server, "mrt_nobodys", Method::GET, "/acme/api/v4/keys").await, 401);
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    let trail = loop {
        let trail = server.get("/acme/api/v4/audit?action=access").await.ok();
        if trail["data"].as_array().unwrap().len() >= 2 {
            break trail;
        }
        assert!(Instant::now() < deadline, "{trail}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let mut entries: Vec<Value> = trail["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            json!([entry["actor"], entry["credential"], entry["object"], entry["outcome"], entry["details"]])
        })
        .collect();
    entries.sort_by_key(ToString::to_string);
    let credential = format!("key {}", made["id"].as_str().unwrap());
    let scope = json!({"reason": "scope", "scope": "tenant:admin", "times": 1});
    let tenant = json!({"reason": "another tenant", "times": 1});
    let expected = [
        json!(["bob", credential, "GET /{tenant}/api/v4/batch/status", "refused", tenant]),
        json!(["bob", credential, "GET /{tenant}/api/v4/keys", "refused", scope]),
    ];
    assert_eq!(entries, expected);
    let whole = server.get("/acme/api/v4/audit").await;
    assert!(!String::from_utf8_lossy(&whole.bytes).contains(key));
    let mut others =
        server.request(Method::GET, "/other/api/v4/audit?action=access").body(Body::empty()).unwrap();
    others.headers_mut().insert("x-synthetic-key", server.other_key.parse().unwrap());
    assert_eq!(server.send(others).await.ok()["data"], json!([]));
    server.stop().await;
}
