//! HTTP clients that speak TLS.

use std::path::Path;
use std::time::Duration;

use crate::tls::{self, TlsError, Verification};

/// A client for `https` as well as `http` addresses, which follows no redirects. `authorities` is a PEM file; without one those of the
/// system are trusted.
pub fn client(authorities: Option<&Path>) -> Result<reqwest::ClientBuilder, TlsError> {
    let config = tls::client_config(authorities, Verification::Full)?;
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none()))
}

/// A client for `http` addresses only, which needs no authorities.
pub fn plain_client() -> Result<reqwest::ClientBuilder, TlsError> {
    let config = tls::untrusting_config()?;
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(config)
        .redirect(reqwest::redirect::Policy::none()))
}

/// A client for a call that must end within `deadline`.
pub fn client_within(
    authorities: Option<&Path>,
    encrypted: bool,
    deadline: Duration,
) -> Result<reqwest::ClientBuilder, TlsError> {
    let builder = if encrypted { client(authorities) } else { plain_client() }?;
    Ok(builder.connect_timeout(deadline).timeout(deadline))
}
