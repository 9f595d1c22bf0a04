//! `/livez`, `/readyz`, `/health` and `/metrics` of a worker.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use millrace_common::config::{Secret, TelemetryConfig};
use millrace_common::metrics::{self, Access};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Worker;

/// Whether the worker works; unset while it waits for its dependencies.
#[derive(Debug, Clone)]
pub struct Readiness {
    worker: Arc<OnceLock<Arc<Worker>>>,
    metrics_token: Secret,
}

impl Readiness {
    /// That of a worker that waits for its dependencies.
    pub fn new(config: &TelemetryConfig) -> Self {
        Self { worker: Arc::default(), metrics_token: config.metrics_token.clone() }
    }

    /// From now on the worker's own state decides.
    pub fn set(&self, worker: &Arc<Worker>) {
        // Set once, by `serve`.
        let _ = self.worker.set(Arc::clone(worker));
    }

    async fn check(&self) -> Result<(), &'static str> {
        let worker = self.worker.get().ok_or("waiting for database and broker")?;
        if !worker.consumers.is_ready() {
            return Err("the broker is away");
        }
        worker.store.in_time(worker.store.ping()).await.map_err(|_| "the database is away")
    }
}

/// Answers health checks until shutdown.
pub async fn listen(
    address: SocketAddr,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "listening on {}", listener.local_addr()?);
    let routes = axum::Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/health", get(|| async { Json(serde_json::json!({ "status": "UP" })) }))
        .route("/metrics", get(show_metrics))
        .with_state(readiness);
    tokio::spawn(async move {
        let served = axum::serve(listener, routes).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the health listener ended");
        }
    });
    Ok(())
}

async fn show_metrics(State(readiness): State<Readiness>, headers: HeaderMap) -> Response {
    let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    if metrics::access(&readiness.metrics_token, given) == Access::Refused {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    if let Some(worker) = readiness.worker.get() {
        let load = worker.dispatcher.totals();
        metrics::SLOTS.set(worker.slots.into());
        metrics::SLOTS_PLANNED.set(load.share.into());
        metrics::SLOTS_BUSY.set(load.running.into());
        metrics::CHUNKS_WAITING.set(load.waiting.into());
        worker.store.record_pools();
    }
    ([(CONTENT_TYPE, metrics::TEXT)], metrics::render(&[])).into_response()
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    match readiness.check().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
