//! The server's certificate, read again when its files change or the process gets SIGHUP.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use millrace_common::config::HttpConfig;
use millrace_common::tls::{self, TlsError};
use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The files of a certificate with its chain, and of its key.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn read(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        let chain = tls::certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|cause| TlsError::File { path: self.key.clone(), cause })?;
        Ok(Arc::new(CertifiedKey::from_der(chain, key, &tls::provider())?))
    }

    /// What tells whether the files changed.
    async fn state(&self) -> [Option<(SystemTime, u64)>; 2] {
        let of = async |path: &PathBuf| {
            let metadata = tokio::fs::metadata(path).await.ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        [of(&self.certificate).await, of(&self.key).await]
    }
}

/// The certificate in use.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

/// Accepts TLS with the configured certificate; `None` without one.
pub(super) fn acceptor(
    config: &HttpConfig,
    shutdown: &CancellationToken,
) -> Result<Option<TlsAcceptor>, TlsError> {
    if config.tls_certificate.is_empty() {
        return Ok(None);
    }
    let files =
        Files { certificate: PathBuf::from(&config.tls_certificate), key: PathBuf::from(&config.tls_key) };
    let current = Arc::new(Current(RwLock::new(files.read()?)));
    let mut server = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    tokio::spawn(watch(files, current, shutdown.clone()));
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}

/// Reads the files again when they change. Files that do not fit, such as those of a renewal that is half done, change nothing.
async fn watch(files: Files, current: Arc<Current>, shutdown: CancellationToken) {
    let mut hangup = signal(SignalKind::hangup()).ok();
    let mut seen = files.state().await;
    loop {
        let asked = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let asked = tokio::select! {
            () = tokio::time::sleep(LOOK) => false,
            _ = asked => true,
            () = shutdown.cancelled() => return,
        };
        let state = files.state().await;
        if !asked && state == seen {
            continue;
        }
        match files.read() {
            Ok(read) => {
                *current.0.write() = read;
                seen = state;
                tracing::info!("the certificate was read again");
            }
            Err(error) => {
                seen = state;
                tracing::error!(%error, "the new certificate cannot be used; the old one stays");
            }
        }
    }
}
