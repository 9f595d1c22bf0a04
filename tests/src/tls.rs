//! TLS for tests: an authority that lasts as long as a test, and a proxy that speaks TLS in front of servers that do not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use millrace_common::tls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What Postgres clients say before TLS: length 8, code 80877103.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A certificate authority of a test's own, with one server certificate for `localhost` and `127.0.0.1`.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
    acceptor: Arc<ServerConfig>,
}

impl Authority {
    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// When its files cannot be written.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let certificate = names.signed_by(&key, &authority)?;
        let folder = TempDir::new()?;
        std::fs::write(folder.path().join("ca.pem"), authority.pem())?;
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let acceptor = ServerConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        Ok(Self { folder, acceptor: Arc::new(acceptor) })
    }

    /// The PEM file that clients trust.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The same, as a setting.
    pub fn setting(&self) -> String {
        self.file().display().to_string()
    }
}

/// How a protocol comes to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// At once: AMQP and HTTP.
    Direct,
    /// After a question in the clear: Postgres. Clients that do not ask are turned away.
    Postgres,
}

/// A running proxy. Dropping it closes everything.
#[derive(Debug)]
pub struct TlsProxy {
    address: SocketAddr,
    handshakes: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl TlsProxy {
    /// Listens on loopback in front of `server`.
    ///
    /// # Errors
    ///
    /// When it cannot listen.
    pub async fn start(server: SocketAddr, opening: Opening, authority: &Authority) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let handshakes = Arc::new(AtomicU64::new(0));
        let (acceptor, counter) =
            (TlsAcceptor::from(Arc::clone(&authority.acceptor)), Arc::clone(&handshakes));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                // Broken connections are the clients' business, and what some tests are about.
                connections.spawn(pass(client, server, opening, acceptor.clone(), Arc::clone(&counter)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, handshakes, task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that were encrypted.
    pub fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::SeqCst)
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(
    mut client: TcpStream,
    server: SocketAddr,
    opening: Opening,
    acceptor: TlsAcceptor,
    handshakes: Arc<AtomicU64>,
) -> Result<()> {
    if opening == Opening::Postgres {
        let mut asked = [0; 8];
        client.read_exact(&mut asked).await?;
        if asked != SSL_REQUEST {
            bail!("the client does not ask for TLS");
        }
        client.write_all(b"S").await?;
    }
    let mut client = acceptor.accept(client).await?;
    handshakes.fetch_add(1, Ordering::SeqCst);
    let mut server = TcpStream::connect(server).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The address in a URL such as `amqp://user:password@127.0.0.1:5672/%2f`.
///
/// # Errors
///
/// When there is none.
pub fn address_of(url: &str) -> Result<SocketAddr> {
    let (_, rest) = url.split_once("://").context("a URL")?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(['/', '?']).next().unwrap_or(host);
    host.parse().with_context(|| format!("an address: {host}"))
}
