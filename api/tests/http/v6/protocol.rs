//! What all endpoints share (scale-v6 section 1).

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use super::refusal;
use crate::server::{Server, owned_by};

#[tokio::test(flavor = "multi_thread")]
async fn paths_have_a_slash_or_none_and_wrong_ones_are_404() {
    let Some(server) = Server::start().await else { return };
    let empty = json!({"count": 0, "next": null, "previous": null, "results": []});
    for path in ["/v6/datasets/", "/v6/datasets", "/v6/datasets?page=last"] {
        assert_eq!(server.get(path).await.ok(), empty, "{path}");
    }
    for path in [
        "/v6/datasets//",
        "/v6/datasets/x/",
        "/v6/datasets/-1/",
        "/v6/datasets/1.0/",
        "/v6/datasets/9223372036854775808/",
        "/v6/datasets/1/",
        "/v6/datasets/%FF/",
        "/v6/nothing/",
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.json()), (404, json!({"detail": "Not found."})), "{path}");
    }
    for path in ["/v5/datasets/", "/v7/datasets/", "/datasets/"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_methods_are_405_and_say_which_there_are() {
    let Some(server) = Server::start().await else { return };
    for (method, path, allowed) in [
        (Method::PUT, "/v6/datasets/", vec!["GET", "HEAD", "POST"]),
        (Method::DELETE, "/v6/datasets/1/", vec!["GET", "HEAD", "POST"]),
        (Method::GET, "/v6/datasets/validation/", vec!["POST"]),
        (Method::DELETE, "/v6/recipe-types/a", vec!["GET", "HEAD", "PATCH"]),
    ] {
        let answer = server.send(server.request(method.clone(), path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.json(), json!({"detail": format!("Method \"{method}\" not allowed.")}));
        let mut allow: Vec<&str> =
            answer.headers["allow"].to_str().unwrap().split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow, allowed, "{method} {path}");
    }
    let head = server.send(server.request(Method::HEAD, "/v6/datasets/").body(Body::empty()).unwrap()).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_json_objects() {
    let Some(server) = Server::start().await else { return };
    let path = "/v6/datasets/validation/";
    let send = |media: Option<&str>, body: &str| {
        let mut request = server.request(Method::POST, path);
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        server.send(request.body(Body::from(body.to_owned())).unwrap())
    };
    for body in ["{", "[]", "3", "null", "\"x\"", "{\"definition\": {}} x"] {
        assert_eq!(send(Some("application/json"), body).await.status, 400, "{body}");
    }
    let missing = "Missing required parameter: \"definition\"".to_owned();
    for (media, body) in [
        (Some("application/json"), ""),
        (None, ""),
        (Some("text/plain"), ""),
        (None, "{}"),
        (None, "{\"definition\": null}"),
    ] {
        let answer = send(media, body).await;
        assert_eq!(
            refusal(&answer),
            (400, missing.clone(), "MISSING_PARAMETER".to_owned()),
            "{media:?} {body}"
        );
    }
    for media in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let answer = send(Some(media), "{\"definition\": {}}").await;
        assert_eq!(answer.status, 415, "{media}");
        assert!(answer.json()["detail"].is_string());
    }
    // Unknown fields do no harm.
    let answer = send(None, "{\"definition\": {}, \"url\": 3}").await;
    assert_eq!(answer.ok(), json!({"is_valid": true, "errors": [], "warnings": []}));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_is_that_of_the_credential() {
    let Some(server) = Server::start().await else { return };
    let anonymous = Request::get("/v6/datasets/").body(Body::empty()).unwrap();
    let answer = server.send(anonymous).await;
    assert_eq!(answer.status, 401);
    assert!(answer.json()["detail"].is_string());
    let mut foreign = server.request(Method::GET, "/v6/datasets/").body(Body::empty()).unwrap();
    foreign.headers_mut().insert("x-tenant-name", "other".parse().unwrap());
    assert_eq!(server.send(foreign).await.status, 403);
    let made = server.post("/v6/datasets/", &json!({"definition": {}})).await;
    assert_eq!(made.status, 201);
    let path = format!("/v6/datasets/{}/", made.json()["id"]);
    let stranger = |path: &str| {
        let request = Request::get(path).header("x-synthetic-key", &server.other_key);
        server.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(stranger(&path).await.status, 404);
    assert_eq!(stranger("/v6/datasets/").await.ok()["count"], 0);
    // A key made without scopes may read types, and not change them.
    let reader = server.state.store.create_key("acme", &owned_by("bob")).await.unwrap();
    let request = Request::post("/v6/recipe-types/").header("x-synthetic-key", reader.secret.expose());
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, &answer.json()["name"]), (403, &json!("MISSING_SCOPE")));
    server.stop().await;
}
