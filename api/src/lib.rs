//! The Millrace HTTP server.

pub mod admin;
pub mod auth;
pub mod body;
pub mod dashboard;
pub mod docs;
pub mod error;
pub mod extract;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod health;
pub mod measure;
pub mod memory;
pub mod middleware;
pub mod openapi;
pub mod origin;
#[cfg(test)]
mod properties;
pub mod push;
pub mod redrive;
pub mod server;
pub mod spark;
pub mod state;
pub mod stats;
pub mod v6;
pub mod watch;

use axum::extract::Request;
use axum::response::IntoResponse;
use axum::{Router, middleware::from_fn_with_state};
use futures_util::future::BoxFuture;
use millrace_common::config::Config;
use millrace_common::metrics;
use millrace_common::startup::patiently;
use millrace_common::store::{Store, StoreError};
use millrace_common::tls::TlsError;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequestLayer;
use tower::{Layer, ServiceBuilder};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use utoipa_axum::router::OpenApiRouter;

use crate::error::ApiError;
use crate::middleware::{Dialect, current};
use crate::state::AppState;

/// Answers shorter than this are not worth compressing.
const COMPRESS_ABOVE: u64 = 1024;

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("http.listen {address}: {cause}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The settings of the database are useless.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate, or the authorities to trust, cannot be used.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The issuers of tokens cannot be asked.
    #[error(transparent)]
    Issuers(#[from] auth::IssuersError),
    /// The listener failed.
    #[error("the listener failed: {0}")]
    Io(#[from] std::io::Error),
}

/// The routes whose callers are asked for what `auth/demands.rs` lists.
fn guarded_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(spark::routes())
        .merge(v6::routes())
        .merge(admin::routes())
        .merge(stats::routes())
}

/// The routes that serve everybody, even before the database is ready.
fn open_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(health::routes())
        .merge(openapi::routes())
        .merge(dashboard::routes())
        .merge(docs::routes())
}

/// All routes with everything around them.
pub fn router(state: AppState) -> Router {
    let trust_forwarded_for = state.config.http.trust_forwarded_for;
    let routes = Router::from(guarded_routes())
        .route_layer(from_fn_with_state(state.clone(), auth::authenticate))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(state.clone(), middleware::when_ready))
        .merge(Router::from(open_routes()))
        .layer(from_fn_with_state(state.clone(), measure::around))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(state);
    // Paths are made tolerant before they are matched.
    let tolerant = MapRequestLayer::new(middleware::tolerate_path).layer(routes);
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(
        SizeAbove::new(COMPRESS_ABOVE).and(NotForContentType::IMAGES).and(NotForContentType::SSE),
    );
    Router::new().fallback_service(tolerant).layer(
        ServiceBuilder::new()
            .layer(from_fn_with_state(trust_forwarded_for, middleware::around))
            .layer(compression)
            .layer(CatchPanicLayer::custom(middleware::on_panic)),
    )
}

async fn no_route(request: Request) -> impl IntoResponse {
    ApiError::not_found("ROUTE_NOT_FOUND", format!("there is no {}", request.uri().path()))
}

/// 404 rather than 405, which the SDK does not know (contract 0.4); v6 has 405 (scale-v6 1.1).
async fn no_method(request: Request) -> impl IntoResponse {
    if current().dialect == Dialect::V6 {
        return ApiError::method_not_allowed(request.method());
    }
    let message = format!("there is no {} {}", request.method(), request.uri().path());
    ApiError::not_found("ROUTE_NOT_FOUND", message)
}

/// Runs the server until `shutdown`: listens at once, waits for the database and its schema (or makes it, with `migrate`)
/// while `/livez` already answers, and lets open requests end after the shutdown, for at most `http.drain_timeout_ms`.
///
/// Boxed, since a future is compiled in the crate that makes it an object: the program would else compile all of this a second time.
pub fn serve(
    config: Config,
    migrate: bool,
    shutdown: CancellationToken,
) -> BoxFuture<'static, Result<(), ServeError>> {
    Box::pin(listen(config, migrate, shutdown))
}

/// Brings the database's schema up to date as soon as the database answers.
pub fn migrate(config: Config, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), ServeError>> {
    Box::pin(async move {
        let store = Store::open(&config.database, "millrace-migrate")?;
        if patiently("the database", &shutdown, || store.ping()).await.is_some() {
            store.migrate().await?;
            tracing::info!("the schema is up to date");
        }
        Ok(())
    })
}

async fn listen(config: Config, migrate: bool, shutdown: CancellationToken) -> Result<(), ServeError> {
    let address = config.http.listen;
    let tls = server::tls(&config.http, &shutdown)?;
    let listener = TcpListener::bind(address).await.map_err(|cause| ServeError::Listen { address, cause })?;
    let address = listener.local_addr()?;
    // Requests that are open at the shutdown still need the broker.
    let broker_shutdown = CancellationToken::new();
    metrics::install(metrics::Process::Api);
    let state = AppState::start(config, &broker_shutdown)?;
    let starting = tokio::spawn(become_ready(state.clone(), migrate, shutdown.clone()));
    tracing::info!(%address, "listening on {address}");

    let end_of_streams = async {
        shutdown.cancelled().await;
        state.watch.end();
    };
    let serving = server::run(listener, &state.config.http, tls, router(state.clone()), &shutdown);
    tokio::join!(serving, end_of_streams);
    starting.abort();
    broker_shutdown.cancel();
    state.publisher.stopped().await;
    tracing::info!("stopped");
    Ok(())
}

async fn become_ready(state: AppState, migrate: bool, shutdown: CancellationToken) {
    let schema = || async {
        if migrate {
            state.store.migrate().await?;
        }
        state.store.check_schema().await
    };
    if patiently("the database and its schema", &shutdown, schema).await.is_none() {
        return;
    }
    state.set_ready(true);
    tracing::info!("the database is ready");
    let declare = || state.topology.declare_shared();
    if patiently("the broker", &shutdown, declare).await.is_some() {
        tracing::info!("the broker is ready");
        redrive::run(state, shutdown).await;
    }
}
