//! How the two pools connect: one URL, and TLS as libpq's `sslmode` and `sslrootcert` say.

use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{DatabaseDestination, StoreError};
use crate::config::{DatabaseConfig, Secret};
use crate::tls::{self, Verification};

/// How to connect, for each plane.
pub(super) struct Connecting {
    pub(super) control: PgConnectOptions,
    pub(super) data: tokio_postgres::Config,
    pub(super) data_tls: MakeRustlsConnect,
}

/// What a URL says about TLS.
#[derive(Debug, PartialEq, Eq)]
struct TlsTerms {
    /// The URL without what it says about TLS: the data plane's driver knows fewer words.
    rest: String,
    encrypt: SslMode,
    verification: Verification,
    /// The authorities; `None`: those of the system.
    authorities: Option<PathBuf>,
}

/// Reads `sslmode` and `sslrootcert`. As with libpq, nothing said means `prefer`, and `require` with authorities means
/// `verify-ca`.
fn read(url: &str, tls_ca: &str) -> Result<TlsTerms, String> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut rest = Vec::new();
    let mut mode = "prefer".to_owned();
    let mut authorities = (!tls_ca.is_empty()).then(|| PathBuf::from(tls_ca));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        match name {
            "sslmode" | "ssl-mode" => mode = value,
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => authorities = Some(PathBuf::from(value)),
            "sslcert" | "sslkey" | "ssl-cert" | "ssl-key" => {
                return Err(format!("{name}: client certificates are not supported"));
            }
            _ => rest.push(pair),
        }
    }
    let (encrypt, verification) = match mode.as_str() {
        "disable" => (SslMode::Disable, Verification::Nothing),
        "allow" | "prefer" => (SslMode::Prefer, Verification::Nothing),
        "require" if authorities.is_none() => (SslMode::Require, Verification::Nothing),
        "require" | "verify-ca" => (SslMode::Require, Verification::Authority),
        "verify-full" => (SslMode::Require, Verification::Full),
        other => {
            return Err(format!(
                "sslmode {other:?} is none of disable, prefer, require, verify-ca and verify-full"
            ));
        }
    };
    let rest = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok(TlsTerms { rest, encrypt, verification, authorities })
}

/// How to connect as `config` says.
pub(super) fn connecting(config: &DatabaseConfig) -> Result<Connecting, StoreError> {
    let invalid = |error: String| StoreError::Unavailable(format!("database.url: {error}"));
    let terms = read(config.url.expose(), &config.tls_ca).map_err(invalid)?;
    let mode = match (terms.encrypt, terms.verification) {
        (SslMode::Disable, _) => PgSslMode::Disable,
        (_, Verification::Full) => PgSslMode::VerifyFull,
        (_, Verification::Authority) => PgSslMode::VerifyCa,
        (SslMode::Require, Verification::Nothing) => PgSslMode::Require,
        _ => PgSslMode::Prefer,
    };
    let mut control =
        PgConnectOptions::from_str(&terms.rest).map_err(|error| invalid(error.to_string()))?.ssl_mode(mode);
    if let Some(path) = &terms.authorities {
        control = control.ssl_root_cert(path);
    }
    let mut data =
        tokio_postgres::Config::from_str(&terms.rest).map_err(|error| invalid(error.to_string()))?;
    data.ssl_mode(terms.encrypt);
    let tls = tls::client_config(terms.authorities.as_deref(), terms.verification)
        .map_err(|error| StoreError::Unavailable(format!("TLS to the database: {error}")))?;
    Ok(Connecting { control, data, data_tls: MakeRustlsConnect::new(tls) })
}

/// Where `config` leads, without connecting.
pub(super) fn destination(config: &DatabaseConfig) -> Result<DatabaseDestination, StoreError> {
    let terms = read(config.url.expose(), &config.tls_ca)
        .map_err(|error| StoreError::Unavailable(format!("database.url: {error}")))?;
    let data = connecting(config)?.data;
    let hosts = data.get_hosts().iter().filter_map(|host| match host {
        Host::Tcp(name) => Some(name.clone()),
        Host::Unix(_) => None,
    });
    let password = data.get_password().map(|text| Secret::new(String::from_utf8_lossy(text)));
    Ok(DatabaseDestination {
        hosts: hosts.collect(),
        encrypted: terms.encrypt == SslMode::Require,
        verified: terms.verification != Verification::Nothing,
        password,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn modes_mean_what_they_mean_to_libpq() {
        use Verification::{Authority, Full, Nothing};
        for (query, ca, encrypt, verification) in [
            ("", "", SslMode::Prefer, Nothing),
            ("?sslmode=disable", "", SslMode::Disable, Nothing),
            ("?sslmode=require", "", SslMode::Require, Nothing),
            ("?sslmode=require", "/ca.pem", SslMode::Require, Authority),
            ("?sslmode=require&sslrootcert=%2Fca.pem", "", SslMode::Require, Authority),
            ("?sslmode=verify-ca", "", SslMode::Require, Authority),
            ("?sslmode=verify-full", "/ca.pem", SslMode::Require, Full),
        ] {
            let terms = read(&format!("postgres://u:p@h/d{query}"), ca).unwrap();
            assert_eq!((terms.encrypt, terms.verification), (encrypt, verification), "{query} {ca}");
        }
        let terms =
            read("postgres://h/d?connect_timeout=3&sslmode=require&sslrootcert=a%20b&x=1", "/ca").unwrap();
        assert_eq!(terms.rest, "postgres://h/d?connect_timeout=3&x=1");
        assert_eq!(terms.authorities, Some(PathBuf::from("a b")));
        for bad in ["?sslmode=maybe", "?sslcert=x", "?sslkey=x"] {
            assert!(read(&format!("postgres://h/d{bad}"), "").is_err(), "{bad}");
        }
    }
}
