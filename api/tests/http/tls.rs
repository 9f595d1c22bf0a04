//! The listener: TLS, its renewal, and callers who hold connections.

use std::path::Path;
use std::time::{Duration, Instant};

use millrace_common::config::HttpConfig;
use millrace_common::https;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::server::Server;

/// An authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes its own certificate, and a new one for `localhost` with its key.
    fn issue(&self, folder: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        std::fs::write(folder.join("ca.pem"), self.0.pem()).unwrap();
        std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(folder.join("certificate.pem"), certificate.pem()).unwrap();
    }
}

/// A listener with a server behind it.
struct Listening {
    server: Server,
    port: u16,
    shutdown: CancellationToken,
    ended: tokio::task::JoinHandle<()>,
}

impl Listening {
    async fn start(change: impl FnOnce(&mut HttpConfig)) -> Option<Self> {
        let server = Server::start().await?;
        let mut config = server.state.config.http.clone();
        config.drain_timeout_ms = 2_000;
        change(&mut config);
        let shutdown = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = millrace_api::server::tls(&config, &shutdown).unwrap();
        let (router, token) = (server.router.clone(), shutdown.clone());
        let ended = tokio::spawn(async move {
            millrace_api::server::run(listener, &config, tls, router, &token).await;
        });
        Some(Self { server, port, shutdown, ended })
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.ended.await.unwrap();
        self.server.stop().await;
    }
}

/// GET /health as a client that trusts this authority.
async fn health(port: u16, authority: &Path) -> Result<reqwest::Response, reqwest::Error> {
    let client = https::client(Some(authority)).unwrap().no_proxy().build().unwrap();
    client.get(format!("https://localhost:{port}/health")).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_served_with_a_certificate_that_may_be_renewed() {
    let (folder, stranger) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    Authority::new().issue(folder.path());
    Authority::new().issue(stranger.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let listening = Listening::start(|config| {
        config.tls_certificate = certificate;
        config.tls_key = key;
    });
    let Some(listening) = listening.await else { return };
    let (port, authority) = (listening.port, folder.path().join("ca.pem"));
    assert_eq!(health(port, &authority).await.unwrap().status(), 200);
    assert!(health(port, &stranger.path().join("ca.pem")).await.is_err(), "another authority is not trusted");
    let by_address = https::client(Some(&authority)).unwrap().no_proxy().build().unwrap();
    assert!(by_address.get(format!("https://127.0.0.1:{port}/health")).send().await.is_err(), "another name");
    let mut plain = listening.connect().await;
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "nothing is served in the clear");
    // Half of a renewal changes nothing; the whole of it is taken up without a restart.
    let renewed = TempDir::new().unwrap();
    Authority::new().issue(renewed.path());
    std::fs::copy(renewed.path().join("key.pem"), folder.path().join("key.pem")).unwrap();
    assert_eq!(health(port, &authority).await.unwrap().status(), 200);
    std::fs::copy(renewed.path().join("certificate.pem"), folder.path().join("certificate.pem")).unwrap();
    let changed = Instant::now();
    while health(port, &renewed.path().join("ca.pem")).await.is_err() {
        assert!(changed.elapsed() < Duration::from_secs(20), "the new certificate is not served");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    listening.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_fit_its_key_is_refused_at_the_start() {
    let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    Authority::new().issue(one.path());
    Authority::new().issue(other.path());
    let mut config = HttpConfig {
        tls_certificate: one.path().join("certificate.pem").display().to_string(),
        tls_key: other.path().join("key.pem").display().to_string(),
        ..HttpConfig::default()
    };
    let shutdown = CancellationToken::new();
    assert!(millrace_api::server::tls(&config, &shutdown).is_err());
    config.tls_certificate = "/nowhere".to_owned();
    assert!(millrace_api::server::tls(&config, &shutdown).err().unwrap().to_string().contains("/nowhere"));
}

/// Reads to the end of the connection, and says how long that took.
async fn until_closed(stream: &mut TcpStream) -> (Vec<u8>, Duration) {
    let began = Instant::now();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer))
        .await
        .expect("not closed");
    (answer, began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_costs_the_connection() {
    let Some(listening) = Listening::start(|config| config.head_timeout_ms = 300).await else { return };
    let mut slow = listening.connect().await;
    slow.write_all(b"GET /health HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut idle = listening.connect().await;
    let mut used = listening.connect().await;
    used.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    for (what, stream, answered) in
        [("slow", &mut slow, false), ("idle", &mut idle, false), ("used", &mut used, true)]
    {
        let (answer, _) = until_closed(stream).await;
        assert_eq!(
            answer.starts_with(b"HTTP/1.1 200"),
            answered,
            "{what}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    listening.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let Some(listening) = Listening::start(|config| config.connections = 2).await else { return };
    let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let (first, _second) = (listening.connect().await, listening.connect().await);
    let mut third = listening.connect().await;
    third.write_all(request).await.unwrap();
    let mut byte = [0];
    let waited = tokio::time::timeout(Duration::from_millis(300), third.read(&mut byte)).await;
    assert!(waited.is_err(), "there is no place");
    drop(first);
    let (answer, _) = until_closed(&mut third).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    listening.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_requests_end_before_the_listener_does() {
    let Some(listening) = Listening::start(|_| {}).await else { return };
    let mut open = listening.connect().await;
    let key = listening.server.key.clone();
    let head = format!(
        "POST /acme/api/v4/keys HTTP/1.1\r\nhost: localhost\r\nx-synthetic-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
    );
    open.write_all(head.as_bytes()).await.unwrap();
    let mut proceed = [0; 25];
    open.read_exact(&mut proceed).await.unwrap();
    assert!(proceed.starts_with(b"HTTP/1.1 100"), "the handler waits for the body");
    listening.shutdown.cancel();
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", listening.port)).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "nobody new is let in");
    }
    open.write_all(b"{}").await.unwrap();
    let (answer, _) = until_closed(&mut open).await;
    assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer));
    listening.stop().await;
}
