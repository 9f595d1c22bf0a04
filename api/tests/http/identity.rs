//! Who may do what, and what everybody gets.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use crate::server::{Server, owned_by};

const PATH: &str = "/acme/api/v3/folders/f/services/s/exists";

#[tokio::test(flavor = "multi_thread")]
async fn credentials_decide_between_401_403_and_200() {
    let Some(server) = Server::start().await else { return };
    let with = |name: &str, value: &str| {
        let request = Request::builder().uri(PATH).header(name, value).body(Body::empty()).unwrap();
        server.send(request)
    };
    for (name, value, status) in [
        ("x-nothing", "", 401),
        ("authorization", "Bearer None", 401),
        ("authorization", "Bearer undefined", 401),
        ("x-synthetic-key", "mr_wrong", 401),
        ("x-synthetic-key", server.other_key.as_str(), 403),
        ("x-synthetic-key", server.key.as_str(), 200),
    ] {
        let answer = with(name, value).await;
        assert_eq!(answer.status, status, "{name}: {value}");
        assert!(!String::from_utf8_lossy(&answer.bytes).contains(&server.key));
    }
    assert_eq!(with("authorization", &format!("Bearer {}", server.key)).await.status, 200);
    // The tenant of v1 paths is in a header.
    let request = Request::post("/api/v1/product/list")
        .header("x-tenant-name", "other")
        .header("x-synthetic-key", &server.key);
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, &answer.json()["errorCode"]), (403, &json!("FORBIDDEN")));
    // A revoked key works no more than a few seconds.
    let key = server.state.store.create_key("acme", &owned_by("bob")).await.unwrap();
    assert_eq!(with("x-synthetic-key", key.secret.expose()).await.status, 200);
    assert!(server.state.store.revoke_key(None, key.id).await.unwrap());
    assert!(!server.state.store.revoke_key(None, key.id).await.unwrap());
    let revoked = Instant::now();
    while with("x-synthetic-key", key.secret.expose()).await.status != 401 {
        assert!(revoked.elapsed() <= Duration::from_secs(6), "servers forget a key within 5 s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let keys = server.state.store.keys("ACME").await.unwrap();
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|key| key.last_used_at.is_some()));
    assert_eq!((keys[1].owner.as_str(), keys[1].revoked_at.is_some()), ("bob", true));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_buy_a_token() {
    let Some(server) = Server::start().await else { return };
    let ask = |tenant: &str, id: &str, secret: &str| {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", id)
            .append_pair("client_secret", secret)
            .append_pair("grant_type", "client_credentials")
            .finish();
        let request = Request::post(format!("/auth/realms/{tenant}/protocol/openid-connect/token"))
            .header("authorization", "Bearer None")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        server.send(request)
    };
    let id = server.key_id.to_string();
    let token = ask("acme", &id, &server.key).await.ok();
    assert_eq!((&token["token_type"], &token["refresh_expires_in"]), (&json!("Bearer"), &json!(0)));
    assert_eq!((&token["not-before-policy"], &token["not_before_policy"]), (&json!(0), &json!(0)));
    assert!(token["expires_in"].as_i64().unwrap() > 60);
    assert_eq!(token["scope"], "tenant:admin");
    let token = token["access_token"].as_str().unwrap().to_owned();
    assert_ne!(token, server.key);
    for (token, status) in [(token.clone(), 200), (format!("{token}x"), 401), ("mrt_AAAA".to_owned(), 401)] {
        let request = Request::get(PATH).header("authorization", format!("Bearer {token}"));
        assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status, status);
    }
    assert!(server.state.store.keys("acme").await.unwrap()[0].last_used_at.is_some());
    // A token buys no token: it would never end.
    assert_eq!(ask("acme", &id, &token).await.status, 400);
    // 400, never 401: the SDK would ask again and again.
    for (tenant, id, secret) in [
        ("acme", id.as_str(), "mr_wrong"),
        ("acme", "nobody", server.key.as_str()),
        ("other", id.as_str(), server.key.as_str()),
        ("acme", id.as_str(), server.other_key.as_str()),
        ("acme", "", ""),
    ] {
        let answer = ask(tenant, id, secret).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_client")));
    }
    let request = Request::post("/auth/realms/acme/protocol/openid-connect/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("grant_type=password&username=ann&password=x"))
        .unwrap();
    let answer = server.send(request).await;
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("unsupported_grant_type")));
    // A token ends with its key.
    assert!(server.state.store.revoke_key(None, server.key_id).await.unwrap());
    server.state.keys.forget();
    let request = Request::get(PATH).header("authorization", format!("Bearer {token}"));
    assert_eq!(server.send(request.body(Body::empty()).unwrap()).await.status, 401);
    assert_eq!(ask("acme", &id, &server.key).await.status, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_needs_no_key_and_nothing_is_served_before_the_schema() {
    let Some(server) = Server::start().await else { return };
    let get = |path: &str| server.send(Request::get(path).body(Body::empty()).unwrap());
    assert_eq!(get("/health").await.ok(), json!({"status": "UP"}));
    assert_eq!(get("/livez").await.status, 200);
    let answer = get("/readyz").await;
    assert_eq!(answer.status, 503, "there is no broker");
    let checks = &answer.json()["checks"];
    assert_eq!(checks, &json!({"started": true, "database": true, "broker": false}));
    server.state.set_ready(false);
    assert_eq!(get("/livez").await.status, 200);
    assert_eq!(get("/health").await.status, 503);
    let answer = server.get(PATH).await;
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (503, "1"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_a_request_id_and_unknown_routes_are_404() {
    let Some(server) = Server::start().await else { return };
    let request = server.request(Method::GET, "/acme/api/v9/x").header("x-request-id", "given-1");
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.refusal(), (404, "ROUTE_NOT_FOUND".into(), None));
    assert_eq!(answer.headers["x-request-id"], "given-1");
    assert_eq!(answer.json()["response_meta"]["request_id"], "given-1");
    let answer = server.get("/acme/api/v4/execute").await;
    assert_eq!(answer.refusal(), (404, "ROUTE_NOT_FOUND".into(), None));
    assert_eq!(answer.headers["x-request-id"].len(), 36);
    server.stop().await;
}
