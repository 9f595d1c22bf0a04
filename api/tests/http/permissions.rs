//! Every route against every kind of caller.

use axum::body::Body;
use axum::http::Request;
use millrace_api::auth::{DEMANDS, Demand};
use millrace_common::config::{Config, Secret};
use millrace_common::model::{Scope, Scopes};
use millrace_common::store::KeyTerms;
use uuid::Uuid;

use crate::server::{Answer, Server};

/// The token of operators.
const OPERATOR: &str = "0perators";

/// A path as callers write it.
fn concrete(path: &str, id: &str) -> String {
    let path = path.replace("{tenant}", "acme").replace("{id}", id).replace("{job}", id);
    let path = path
        .replace("{folder}", "geo")
        .replace("{service}", "rectangle")
        .replace("{version}", id)
        .replace("{delivery}", id)
        .replace("{name}", "n")
        .replace("{revision}", "1")
        .replace("{upload}", "1")
        .replace("{exe_num}", "1");
    path.replace("{subservice}", "All").replace("{download}", "False")
}

async fn call(server: &Server, method: &str, path: &str, key: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("x-tenant-name", "acme");
    if let Some(key) = key {
        request = request.header("x-synthetic-key", key);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

async fn bearer(server: &Server, method: &str, path: &str, token: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).header("x-tenant-name", "acme");
    server.send(request.header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()).await
}

async fn key(
    server: &Server,
    owner: &str,
    groups: &[&str],
    scopes: impl IntoIterator<Item = Scope>,
) -> String {
    let terms = KeyTerms {
        owner: owner.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        scopes: Some(scopes.into_iter().collect::<Scopes>()),
        expires_at: None,
    };
    server.state.store.create_key("acme", &terms).await.unwrap().secret.expose().to_owned()
}

fn code(answer: &Answer) -> String {
    let body = answer.json();
    let code = body["errorCode"].as_str().or_else(|| body["error"]["code"].as_str());
    code.or_else(|| body["name"].as_str()).or_else(|| body["error"].as_str()).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_demands_what_it_states() {
    let change = |config: &mut Config| config.telemetry.metrics_token = Secret::new(OPERATOR);
    let Some(server) = Server::start_with(change).await else { return };
    let administrator = key(&server, "adam", &["tenant-admin"], [Scope::Execute]).await;
    let nobody = Uuid::new_v4().to_string();
    for (method, path, demand) in DEMANDS {
        let route = format!("{method} {path}");
        let path = concrete(path, &nobody);
        let served = |answer: &Answer| {
            assert!(!matches!(answer.status, 401 | 403 | 500), "{route}: {answer:?}");
            assert!(answer.status < 300 || code(answer) != "ROUTE_NOT_FOUND", "{route} is no route");
        };
        let open = call(&server, method, &path, None).await;
        if *demand == Demand::Nothing {
            served(&open);
            continue;
        }
        assert_eq!((open.status, code(&open)), (401, "UNAUTHORIZED".into()), "{route}: without a credential");
        let operator = bearer(&server, method, &path, OPERATOR).await;
        if *demand == Demand::Operator {
            let refused = call(&server, method, &path, Some(&administrator)).await;
            assert_eq!(refused.status, 401, "{route}: an administrator of a tenant is no operator");
            served(&operator);
            continue;
        }
        if *demand == Demand::OperatorOrCredential {
            served(&operator);
        } else {
            assert_eq!(operator.status, 401, "{route}: operators have no tenant");
        }
        let unknown = format!("mr_{}", "A".repeat(43));
        let refused = call(&server, method, &path, Some(&unknown)).await;
        assert_eq!(refused.status, 401, "{route}: with an unknown key");
        let refused = call(&server, method, &path, Some(&server.other_key)).await;
        assert_eq!((refused.status, code(&refused)), (403, "FORBIDDEN".into()), "{route}: other tenant");
        let Demand::Scope(wanted) = *demand else {
            let any = key(&server, "eve", &[], [Scope::AuditRead]).await;
            served(&call(&server, method, &path, Some(&any)).await);
            continue;
        };
        let others = Scope::ALL.into_iter().filter(|scope| !Scopes::from_iter([*scope]).allow(wanted));
        let others = key(&server, "eve", &[], others).await;
        let refused = call(&server, method, &path, Some(&others)).await;
        assert_eq!(
            (refused.status, code(&refused)),
            (403, "MISSING_SCOPE".into()),
            "{route}: every other scope"
        );
        assert!(
            String::from_utf8_lossy(&refused.bytes).contains(wanted.as_str()),
            "{route}: names the scope"
        );
        let just_this = key(&server, "eve", &[], [wanted]).await;
        served(&call(&server, method, &path, Some(&just_this)).await);
        served(&call(&server, method, &path, Some(&administrator)).await);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_batch_is_not_found_by_any_route() {
    let Some(server) = Server::start().await else { return };
    let batch = server.batches(&["bob"]).await[0];
    let stranger = key(&server, "ann", &[], [Scope::Batch]).await;
    let owner = key(&server, "bob", &[], [Scope::Batch]).await;
    let supervisor = key(&server, "sue", &["supervisor:pf"], [Scope::Batch]).await;
    let mut routes = 0;
    for (method, path, _) in DEMANDS.iter().filter(|(_, path, _)| path.contains("/batch/{id}")) {
        routes += 1;
        let path = concrete(path, &batch.to_string());
        // Neither whether it exists nor what is wrong with the request shows.
        let refused = call(&server, method, &path, Some(&stranger)).await;
        assert_eq!((refused.status, code(&refused)), (404, "BATCH_NOT_FOUND".into()), "{method} {path}");
        for key in [&owner, &supervisor] {
            let answer = call(&server, method, &path, Some(key)).await;
            assert!(answer.status < 300 || code(&answer) != "BATCH_NOT_FOUND", "{method} {path}: {answer:?}");
        }
    }
    assert!(routes >= 5);
    let seen = |key: String| {
        let server = &server;
        async move {
            let overview = call(server, "GET", "/acme/api/v4/batch/status", Some(&key)).await.ok();
            overview["in_progress_batches"].as_array().unwrap().len()
        }
    };
    assert_eq!((seen(stranger).await, seen(owner).await, seen(supervisor).await), (0, 1, 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_older_than_scopes_do_everything_but_administer() {
    let Some(server) = Server::start().await else { return };
    let old = key(&server, "ann", &[], [Scope::Batch]).await;
    server
        .sql("UPDATE api_keys SET scopes = NULL WHERE owner = 'ann' AND NOT 'tenant:admin' = ANY(scopes)")
        .await;
    for (path, status) in [
        ("/acme/api/v4/batch/status", 200),
        ("/acme/api/v3/folders/f/services/s/exists", 200),
        ("/acme/api/v4/keys", 403),
        ("/acme/api/v4/audit", 403),
    ] {
        assert_eq!(call(&server, "GET", path, Some(&old)).await.status, status, "{path}");
    }
    assert_eq!(call(&server, "POST", "/api/v1/product/create", Some(&old)).await.status, 422);
    server.stop().await;
}
