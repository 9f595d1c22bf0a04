//! The OpenAPI document is served, and what it names is served too.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::Value;

use crate::server::{Answer, Server};

async fn document(server: &Server) -> Value {
    let request = Request::builder().uri("/openapi.json").body(Body::empty()).unwrap();
    server.send(request).await.ok()
}

fn code(answer: &Answer) -> String {
    let body = answer.json();
    body["error"]["code"].as_str().or(body["errorCode"].as_str()).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_can_read_the_document_and_every_route_in_it_is_served() {
    let Some(server) = Server::start().await else { return };
    let document = document(&server).await;
    assert_eq!(document, serde_json::to_value(millrace_api::openapi::document()).unwrap());
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
        let concrete = parts.collect::<Vec<_>>().join("/");
        for (method, operation) in item.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let request = Request::builder().method(&method).uri(&concrete);
            let answer = server.send(request.body(Body::empty()).unwrap()).await;
            let at = format!("{method} {path}");
            if operation["security"].as_array().is_some_and(|security| !security.is_empty()) {
                assert_eq!(answer.status, 401, "{at}: {answer:?}");
            } else {
                assert!(answer.status < 300 || code(&answer) != "ROUTE_NOT_FOUND", "{at}: {answer:?}");
            }
            let status = answer.status.to_string();
            assert!(
                operation["responses"][&status].is_object(),
                "{at} answers {status}, which is not described"
            );
            operations += 1;
        }
    }
    assert!(operations > 70, "{operations}");
    server.stop().await;
}

/// What axum would refuse in plain text.
#[tokio::test(flavor = "multi_thread")]
async fn paths_and_queries_that_cannot_be_read_are_refused_in_the_dialect_of_their_route() {
    let Some(server) = Server::start().await else { return };
    for path in ["/acme/api/v3/folders/%FF/services/s/exists", "/acme/api/v3/service/%C3%28/metadata"] {
        let (status, code, _) = server.get(path).await.refusal();
        assert_eq!((status, code.as_str()), (400, "INVALID_PATH"), "{path}");
    }
    for (path, code) in [
        ("/api/v1/product/getproduct/%FF", "INVALID_PATH"),
        ("/api/v1/product/f/engines/s/download?filename=a&filename=b", "INVALID_QUERY"),
    ] {
        let answer = server.get(path).await;
        let body = answer.json();
        assert_eq!((answer.status, body["errorCode"].as_str()), (400, Some(code)), "{path}: {body}");
        assert_eq!((body["status"].as_str(), &body["data"]), (Some("Error"), &Value::Null), "{path}");
    }
    server.stop().await;
}
