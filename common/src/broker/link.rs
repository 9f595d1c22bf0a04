//! One connection: opened under a deadline, torn down for certain, kept up by a supervisor.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::tcp::{AMQPUriTcpExt, OwnedTLSConfig};
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, Event};
use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::error::BrokerError;
use crate::config::BrokerConfig;
use crate::metrics::{BROKER_BLOCKED, BROKER_CONNECTED, BROKER_CONNECTIONS_LOST};

/// The longest pause between two attempts.
const BACKOFF_CAP: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_FACTOR: f64 = 1.6;
/// A connection or channel that lived this long makes the backoff begin anew.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How often the state of a connection is looked at: not every end of a connection is announced as an event.
const STATUS_POLL: Duration = Duration::from_millis(200);
/// How long a polite close may take before the socket is shut down.
pub(super) const CLOSE_DEADLINE: Duration = Duration::from_secs(1);
/// `frame_max` for connections that carry only small frames: the client's buffers are 32 frames each way.
pub(super) const SMALL_FRAMES: u32 = 16 * 1024;

/// Growing, jittered pauses.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    started: Option<Instant>,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: BACKOFF_FIRST, started: None }
    }

    /// Something was set up; when it holds for a while, the next pause is a short one again.
    pub(super) fn succeeded(&mut self) {
        self.started = Some(Instant::now());
    }

    /// The pause before the next attempt: between half of the current step and the whole of it.
    pub(super) fn pause(&mut self) -> Duration {
        if self.started.take().is_some_and(|at| at.elapsed() >= STABLE_AFTER) {
            self.next = BACKOFF_FIRST;
        }
        let step = self.next;
        self.next = step.mul_f64(BACKOFF_FACTOR).min(BACKOFF_CAP);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

/// A second handle on the socket. Shutting it down ends the client library's thread whatever it waits for: without it,
/// a peer that accepts and stays silent would keep a thread and a socket for ever.
#[derive(Debug, Clone, Default)]
struct Cutter(Arc<Mutex<CutterState>>);

#[derive(Debug, Default)]
struct CutterState {
    socket: Option<TcpStream>,
    cut: bool,
}

impl Cutter {
    fn hold(&self, socket: TcpStream) {
        let mut state = self.0.lock();
        if state.cut {
            // Failure means that the socket is gone already.
            let _ = socket.shutdown(Shutdown::Both);
        } else {
            state.socket = Some(socket);
        }
    }

    fn cut(&self) {
        let mut state = self.0.lock();
        state.cut = true;
        if let Some(socket) = state.socket.take() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Cuts unless disarmed, so that an attempt that is given up leaves nothing behind.
struct CutOnDrop(Option<Cutter>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        if let Some(cutter) = self.0.take() {
            cutter.cut();
        }
    }
}

/// What a connection is opened with.
#[derive(Debug, Clone)]
pub(super) struct LinkOptions {
    uri: Result<AMQPUri, BrokerError>,
    /// A file with the authorities for amqps; none: those of the system.
    authorities: Option<PathBuf>,
    name: String,
    purpose: &'static str,
    /// Deadline of every set-up: connect, channel, qos, consume.
    pub(super) setup: Duration,
}

impl LinkOptions {
    /// `purpose` is part of the connection name in RabbitMQ's management pages.
    pub(super) fn new(config: &BrokerConfig, purpose: &'static str) -> Self {
        let uri = config.url.expose().parse::<AMQPUri>().map_err(BrokerError::BadUrl).map(|mut uri| {
            uri.query.heartbeat = Some(config.heartbeat_seconds);
            uri
        });
        let program = crate::startup::program();
        let name = format!("{program} {purpose} ({}, {})", config.prefix, std::process::id());
        let authorities = (!config.tls_ca.is_empty()).then(|| PathBuf::from(&config.tls_ca));
        Self { uri, authorities, name, purpose, setup: Duration::from_millis(config.connect_timeout_ms) }
    }

    /// Where the broker is.
    pub(super) fn uri(&self) -> Result<&AMQPUri, BrokerError> {
        self.uri.as_ref().map_err(Clone::clone)
    }

    /// The file with the authorities for amqps.
    pub(super) fn authorities(&self) -> Option<&std::path::Path> {
        self.authorities.as_deref()
    }

    /// How amqps is spoken. The file is read at each connection, so that a renewed one counts.
    async fn tls(&self) -> Result<OwnedTLSConfig, BrokerError> {
        let Some(path) = &self.authorities else { return Ok(OwnedTLSConfig::default()) };
        let chain = tokio::fs::read_to_string(path).await;
        let chain =
            chain.map_err(|error| BrokerError::Authorities(format!("{}: {error}", path.display())))?;
        Ok(OwnedTLSConfig { cert_chain: Some(chain), ..OwnedTLSConfig::default() })
    }

    pub(super) fn frame_max(mut self, bytes: u32) -> Self {
        if let Ok(uri) = &mut self.uri {
            uri.query.frame_max.get_or_insert(bytes);
        }
        self
    }
}

/// Runs a piece of set-up under its deadline.
pub(super) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(deadline, work).await {
        Ok(result) => result,
        Err(_) => Err(BrokerError::Timeout(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX))),
    }
}

/// An open connection. When it is dropped, its socket is shut down for certain; [`Link::close`] waits for the goodbye.
#[derive(Debug)]
pub(super) struct Link {
    connection: Connection,
    cutter: Cutter,
    /// Cancelled when the connection has ended, however it ended.
    ended: CancellationToken,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ended.cancel();
        let cutter = self.cutter.clone();
        match tokio::runtime::Handle::try_current() {
            // The client library says goodbye when the last handle on the connection is gone.
            Ok(runtime) if self.connection.status().connected() => {
                runtime.spawn(async move {
                    tokio::time::sleep(CLOSE_DEADLINE).await;
                    cutter.cut();
                });
            }
            _ => cutter.cut(),
        }
    }
}

impl Link {
    /// Connects; gives up at the set-up deadline.
    pub(super) async fn open(options: &LinkOptions) -> Result<Arc<Self>, BrokerError> {
        let uri = options.uri.clone()?;
        let tls = options.tls().await?;
        let cutter = Cutter::default();
        let mut guard = CutOnDrop(Some(cutter.clone()));
        let deadline = options.setup;
        let held = cutter.clone();
        let properties = ConnectionProperties::default().with_connection_name(options.name.as_str().into());
        let connecting = Connection::connector(
            uri,
            lapin::runtime::default_runtime()?,
            async move |uri: AMQPUri, runtime| {
                let opening = uri.connect_with_config_async(tls.as_ref(), &runtime);
                let stream = tokio::time::timeout(deadline, opening)
                    .await
                    .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
                let socket = match &stream {
                    AsyncTcpStream::Plain(plain) => plain,
                    AsyncTcpStream::Rustls(encrypted) => encrypted.get_ref().0,
                    _ => return Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into()),
                };
                held.hold(TcpStream::from(socket.get_ref().as_fd().try_clone_to_owned()?));
                Ok(stream)
            },
            properties,
        );
        let connection = within(deadline, async { Ok(connecting.await?) }).await?;
        guard.0 = None;
        Ok(Arc::new(Self { connection, cutter, ended: CancellationToken::new() }))
    }

    pub(super) fn is_up(&self) -> bool {
        self.connection.status().connected() && !self.ended.is_cancelled()
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Opens a channel, under the set-up deadline of the caller.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        Ok(self.connection.create_channel().await?)
    }

    /// Cancelled when the connection has ended.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// Waits for the connection's end, and logs its blocking on the way. To be run by one task.
    async fn watch(&self, name: &str, purpose: &str) {
        let mut events = Box::pin(self.connection.events_listener());
        while self.connection.status().connected() {
            match tokio::time::timeout(STATUS_POLL, events.next()).await {
                Ok(Some(Event::ConnectionBlocked(reason))) => {
                    warn!(connection = name, reason, "the broker blocks this connection");
                    BROKER_BLOCKED.with(purpose).set(1.0);
                }
                Ok(Some(Event::ConnectionUnblocked)) => {
                    info!(connection = name, "the broker accepts messages again");
                    BROKER_BLOCKED.with(purpose).set(0.0);
                }
                // A channel's error is announced here too, and leaves the connection as it is.
                Ok(Some(Event::Error(error))) => {
                    debug!(connection = name, %error, "an error on a connection")
                }
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => break,
            }
        }
        BROKER_BLOCKED.with(purpose).set(0.0);
        self.ended.cancel();
    }

    /// Sends what is queued, says goodbye, and shuts the socket down after a short wait at the latest.
    pub(super) async fn close(&self) {
        let _ = tokio::time::timeout(CLOSE_DEADLINE, self.connection.close(200, "OK".into())).await;
        self.ended.cancel();
        self.cutter.cut();
    }
}

/// The current connection of a supervised part, if there is one.
pub(super) type CurrentLink = watch::Receiver<Option<Arc<Link>>>;

/// Keeps one connection up until the shutdown. The task ends after the connection is closed.
pub(super) fn supervise(options: LinkOptions, shutdown: CancellationToken) -> (CurrentLink, JoinHandle<()>) {
    supervise_beside(None, options, shutdown)
}

/// As [`supervise`]; but where there is a `first` connection, this one is only tried while that is up, so that a broker that is
/// away is not asked twice.
pub(super) fn supervise_beside(
    mut first: Option<CurrentLink>,
    options: LinkOptions,
    shutdown: CancellationToken,
) -> (CurrentLink, JoinHandle<()>) {
    let (announce, current) = watch::channel(None);
    let task = tokio::spawn(async move {
        let mut backoff = Backoff::new();
        let name = options.name.as_str();
        while !shutdown.is_cancelled() {
            let opening = async {
                if let Some(first) = &mut first {
                    // Without one its supervisor has ended, and so will this one.
                    next_link(first).await;
                }
                Link::open(&options).await
            };
            let opened = tokio::select! {
                () = shutdown.cancelled() => break,
                opened = opening => opened,
            };
            match opened {
                Ok(link) => {
                    info!(connection = name, "connected to the broker");
                    backoff.succeeded();
                    announce.send_replace(Some(Arc::clone(&link)));
                    BROKER_CONNECTED.with(options.purpose).set(1.0);
                    tokio::select! {
                        () = link.watch(name, options.purpose) => {
                            announce.send_replace(None);
                            BROKER_CONNECTED.with(options.purpose).set(0.0);
                            BROKER_CONNECTIONS_LOST.with(options.purpose).add(1);
                            warn!(connection = name, "lost the connection to the broker");
                            link.cutter.cut();
                        }
                        () = shutdown.cancelled() => {
                            announce.send_replace(None);
                            link.close().await;
                            info!(connection = name, "closed the connection to the broker");
                            break;
                        }
                    }
                }
                Err(error) => warn!(connection = name, %error, "cannot connect to the broker"),
            }
            let pause = backoff.pause();
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
    });
    (current, task)
}

/// Waits for a connection that is up. `None` when the supervisor has ended.
pub(super) async fn next_link(current: &mut CurrentLink) -> Option<Arc<Link>> {
    loop {
        if let Some(link) = current.borrow_and_update().as_ref().filter(|link| link.is_up()) {
            return Some(Arc::clone(link));
        }
        current.changed().await.ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_grows_to_its_cap_and_begins_anew_after_a_stable_time() {
        let mut backoff = Backoff::new();
        let first = backoff.pause();
        assert!(first >= BACKOFF_FIRST / 2 && first <= BACKOFF_FIRST, "{first:?}");
        for _ in 0..20 {
            backoff.succeeded();
            assert!(backoff.pause() <= BACKOFF_CAP);
        }
        assert!(backoff.pause() >= BACKOFF_CAP / 2);
        backoff.started = Instant::now().checked_sub(STABLE_AFTER);
        assert!(backoff.pause() <= BACKOFF_FIRST);
    }
}
