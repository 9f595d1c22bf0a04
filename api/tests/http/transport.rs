//! What holds of every answer of the protocol, whatever was asked (contract 0).

use axum::body::Body;
use axum::http::{Method, Request};
use millrace_api::auth::DEMANDS;
use uuid::Uuid;

use crate::permissions::concrete;
use crate::server::{Answer, Server};

/// Statuses that make an error without a name of an SDK's (contract 0.4).
const NAMELESS: [u16; 7] = [405, 408, 410, 413, 423, 502, 507];

/// The routes of the protocol: method, and path as it is routed.
fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_spark = |path: &str| path.contains("/api/v") || path.starts_with("/auth/") || path == "/health";
    DEMANDS.iter().filter(move |(_, path, _)| of_spark(path)).map(|(method, path, _)| (*method, *path))
}

/// Status and code, which tell answers apart.
fn outcome(answer: &Answer) -> (u16, Option<String>) {
    let code = || {
        let body = answer.json();
        let code = body["errorCode"].as_str().or_else(|| body["error"]["code"].as_str());
        code.map(str::to_owned)
    };
    (answer.status, (answer.status >= 400).then(code).flatten())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_json_with_the_callers_request_id_and_a_status_that_sdks_know() {
    let Some(server) = Server::start().await else { return };
    let nobody = Uuid::new_v4().to_string();
    let mut seen = 0;
    for (method, path) in routes() {
        let known = |method: &str| DEMANDS.iter().any(|(known, at, _)| *known == method && *at == path);
        let wrong = ["PUT", "DELETE"].into_iter().find(|method| !known(method)).unwrap();
        let path = concrete(path, &nobody);
        for (method, key) in [(method, server.key.as_str()), (method, ""), (wrong, server.key.as_str())] {
            let request = Request::builder().method(method).uri(&path).header("x-request-id", "again-1");
            let request = request.header("x-tenant-name", "acme").header("x-synthetic-key", key);
            let answer = server.send(request.body(Body::empty()).unwrap()).await;
            let at = format!("{method} {path}: {answer:?}");
            assert_eq!(answer.headers["x-request-id"], "again-1", "{at}");
            assert!(!NAMELESS.contains(&answer.status) && !(300..400).contains(&answer.status), "{at}");
            let media = answer.headers["content-type"].to_str().unwrap();
            assert!(media.contains("application/json") || media == "text/event-stream", "{at}");
            if method == wrong {
                assert_eq!(answer.status, 404, "{at}");
            }
            if matches!(answer.status, 429 | 503) {
                assert_eq!(answer.headers["retry-after"], answer.headers["x-retry-after"], "{at}");
            }
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_taken_with_a_slash_more_and_v1_words_in_any_case() {
    let Some(server) = Server::start().await else { return };
    let nobody = Uuid::new_v4().to_string();
    let ask = |method: &'static str, path: String| {
        let request = server.request(Method::from_bytes(method.as_bytes()).unwrap(), &path);
        server.send(request.body(Body::empty()).unwrap())
    };
    for (method, path) in routes() {
        let usual = outcome(&ask(method, concrete(path, &nobody)).await);
        assert_ne!(usual.1.as_deref(), Some("ROUTE_NOT_FOUND"), "{method} {path}");
        let slashed = outcome(&ask(method, format!("{}/?x=1", concrete(path, &nobody))).await);
        assert_eq!(slashed, usual, "{method} {path}");
        if path.starts_with("/api/v1/") {
            // Names between the words stay as they are.
            let shouted = path.split('/').map(|segment| match segment.starts_with('{') {
                true => segment.to_owned(),
                false => segment.to_uppercase(),
            });
            let shouted = shouted.collect::<Vec<_>>().join("/");
            assert_eq!(outcome(&ask(method, concrete(&shouted, &nobody)).await), usual, "{method} {shouted}");
        }
    }
    server.stop().await;
}
