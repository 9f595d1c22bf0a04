//! Rate limits over HTTP.

use axum::body::Body;
use axum::http::Request;
use millrace_common::store::TenantLimits;
use serde_json::json;

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
