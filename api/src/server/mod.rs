//! The listener: connections in, with a bound on their number, on the time that a request's head may take, and with TLS where
//! a certificate is configured.

mod certificate;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use millrace_common::config::HttpConfig;
use millrace_common::tls::TlsError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// After an error of the listener itself, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address at the other end of the connection.
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

/// How connections are served.
#[derive(Clone)]
struct Serving {
    router: Router,
    tls: Option<TlsAcceptor>,
    head_timeout: Duration,
    /// Cancelled when no further request is taken.
    ending: CancellationToken,
    /// Cancelled when open requests have had their time.
    ended: CancellationToken,
}

/// TLS as configured: `None` without a certificate. Starts to watch its files.
pub fn tls(config: &HttpConfig, shutdown: &CancellationToken) -> Result<Option<TlsAcceptor>, TlsError> {
    certificate::acceptor(config, shutdown)
}

/// Serves until `shutdown`, then lets open requests end within `http.drain_timeout_ms`.
pub async fn run(
    listener: TcpListener,
    config: &HttpConfig,
    tls: Option<TlsAcceptor>,
    router: Router,
    shutdown: &CancellationToken,
) {
    let serving = Serving {
        router,
        tls,
        head_timeout: Duration::from_millis(config.head_timeout_ms),
        ending: shutdown.child_token(),
        ended: CancellationToken::new(),
    };
    let places = Arc::new(Semaphore::new(config.connections));
    let connections = TaskTracker::new();
    loop {
        // Who comes while all places are taken waits in the queue of the system.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => break,
            },
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let serving = serving.clone();
                connections.spawn(async move {
                    serving.connection(stream, address).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    let drain = Duration::from_millis(config.drain_timeout_ms);
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!("requests were still open after {} ms", drain.as_millis());
    }
    serving.ended.cancel();
    connections.wait().await;
}

impl Serving {
    async fn connection(self, stream: TcpStream, address: SocketAddr) {
        // Small answers must not wait for the acknowledgement of earlier ones; without it they are merely slower.
        let _ = stream.set_nodelay(true);
        let peer = Peer { address: address.ip().to_canonical(), encrypted: self.tls.is_some() };
        let Some(tls) = self.tls.clone() else { return self.requests(stream, peer).await };
        match tokio::time::timeout(self.head_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.requests(stream, peer).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn requests(self, stream: impl AsyncRead + AsyncWrite + Unpin, peer: Peer) {
        let Self { router, head_timeout, ending, ended, .. } = self;
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(peer);
            let router = router.clone();
            async move {
                Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = ending.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    served = connection.as_mut() => served,
                    () = ended.cancelled() => Ok(()),
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection broke");
        }
    }
}
