//! TLS towards others: which authorities are trusted. Everything uses rustls with ring.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: rustls::pki_types::pem::Error,
    },
    /// A file has no certificate in it.
    #[error("{}: no certificate in it", .0.display())]
    NoCertificate(PathBuf),
    /// The system has no authorities that could be trusted.
    #[error("the system has no certificate authorities ({0}): name a file")]
    NoAuthorities(String),
    /// Certificate and key do not fit each other, or are of a kind that is not supported.
    #[error("{0}")]
    Unusable(#[from] rustls::Error),
    /// The authorities cannot be used.
    #[error("{0}")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// What every connection is encrypted with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates of a PEM file; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrap = |cause| TlsError::File { path: path.to_owned(), cause };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(wrap)?.collect();
    let found = found.map_err(wrap)?;
    if found.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(found) }
}

/// The authorities of a PEM file, or without one those of the system.
fn authorities(file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = file {
        for certificate in certificates(path)? {
            store.add(certificate)?;
        }
        return Ok(store);
    }
    let found = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let causes: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoAuthorities(causes.join("; ")));
    }
    Ok(store)
}

/// What is checked about the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Its certificate is of a trusted authority and for the name that was called.
    Full,
    /// Its certificate is of a trusted authority.
    Authority,
    /// Nothing: this keeps out who only listens.
    Nothing,
}

/// How to connect to servers: which authorities are trusted (a PEM file, or those of the system), and what is checked.
pub fn client_config(file: Option<&Path>, verification: Verification) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    if verification == Verification::Full {
        return Ok(builder.with_root_certificates(authorities(file)?).with_no_client_auth());
    }
    let chain = match verification {
        Verification::Nothing => None,
        _ => {
            let roots = Arc::new(authorities(file)?);
            Some(WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?)
        }
    };
    let verifier = Arc::new(Lenient { chain, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// For clients that never use TLS: no authority is trusted, so that nothing has to be read.
pub fn untrusting_config() -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Checks less than usual: not the name, and without `chain` not the authority either. For Postgres' `sslmode`s `verify-ca`,
/// `require` and `prefer`, which mean just that.
#[derive(Debug)]
struct Lenient {
    chain: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
