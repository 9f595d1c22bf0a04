//! The public keys of an issuer of tokens: read from a URL or a file, refreshed in the background and when a token names a key
//! that is not among them, and kept while the issuer is away.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use millrace_common::config::{AuthConfig, IssuerConfig};
use millrace_common::startup::Backoff;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

/// The largest set of keys, in bytes.
const LARGEST: usize = 1_000_000;
/// An unknown key makes the set be read again at most this often: whoever makes up key names must not make us call the issuer.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(5);

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum JwksError {
    /// The issuer cannot be reached, or answers with an error.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    /// The issuer takes longer than `auth.jwks_timeout_ms`.
    #[error("no answer within the deadline")]
    Timeout,
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// The set is larger than a megabyte.
    #[error("the key set is larger than {LARGEST} bytes")]
    TooLarge,
    /// It is no set of keys.
    #[error("no JSON Web Key Set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// There is no key in it that could have signed a token.
    #[error("the key set has no usable public key")]
    Empty,
}

/// A public key.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    /// Its name in tokens.
    pub(super) id: Option<String>,
    /// What kind of key it is.
    pub(super) family: AlgorithmFamily,
    /// The algorithm that it is for, where the issuer says so.
    pub(super) algorithm: Option<String>,
    /// The key itself.
    pub(super) key: DecodingKey,
}

/// Where keys are read from.
#[derive(Debug)]
enum Source {
    Url { client: reqwest::Client, url: String },
    File(PathBuf),
}

/// The public keys of one issuer.
#[derive(Debug)]
pub(super) struct KeySet {
    source: Source,
    deadline: Duration,
    keys: RwLock<Arc<Vec<PublicKey>>>,
    /// When the set was last asked for; held while that goes on.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl KeySet {
    /// The keys of an issuer; none until the first refresh.
    pub(super) fn new(issuer: &IssuerConfig, auth: &AuthConfig, client: &reqwest::Client) -> Self {
        let source = if issuer.jwks_url.is_empty() {
            Source::File(PathBuf::from(&issuer.jwks_file))
        } else {
            Source::Url { client: client.clone(), url: issuer.jwks_url.clone() }
        };
        Self {
            source,
            deadline: Duration::from_millis(auth.jwks_timeout_ms),
            keys: RwLock::default(),
            asked: tokio::sync::Mutex::new(None),
        }
    }

    /// The key that signs a token with this header. A token that names none is taken for signed by the only key that fits.
    fn find(&self, id: Option<&str>, family: AlgorithmFamily) -> Option<PublicKey> {
        let keys = Arc::clone(&self.keys.read());
        let mut fitting = keys
            .iter()
            .filter(|key| key.family == family && id.is_none_or(|id| key.id.as_deref() == Some(id)));
        let found = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then(|| found.clone())
    }

    /// As [`KeySet::find`]; reads the set again when the key is not in it, unless that was done just now.
    pub(super) async fn key(&self, id: Option<&str>, family: AlgorithmFamily) -> Option<PublicKey> {
        if let Some(key) = self.find(id, family) {
            return Some(key);
        }
        let mut asked = self.asked.lock().await;
        // Somebody else may have asked while this request waited.
        let found = self.find(id, family);
        if found.is_some() || asked.is_some_and(|asked| asked.elapsed() < UNKNOWN_KEY_PAUSE) {
            return found;
        }
        *asked = Some(Instant::now());
        match self.read().await {
            Ok(()) => self.find(id, family),
            Err(error) => {
                tracing::warn!(source = %self.name(), %error, "the issuer's keys cannot be read");
                None
            }
        }
    }

    /// Whether the set was ever read.
    pub(super) fn is_known(&self) -> bool {
        !self.keys.read().is_empty()
    }

    /// Reads the set every `pause` until shutdown; sooner again when it fails.
    pub(super) async fn refresh(self: Arc<Self>, pause: Duration, shutdown: CancellationToken) {
        let backoff = || Backoff::new(Duration::from_millis(500), pause.min(Duration::from_secs(30)));
        let mut retry = backoff();
        loop {
            let read = {
                let mut asked = self.asked.lock().await;
                *asked = Some(Instant::now());
                self.read().await
            };
            let wait = match read {
                Ok(()) => {
                    retry = backoff();
                    pause
                }
                Err(error) => {
                    tracing::warn!(source = %self.name(), %error, "the issuer's keys cannot be read; those known stay valid");
                    retry.next_wait()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    fn name(&self) -> String {
        match &self.source {
            Source::Url { url, .. } => url.clone(),
            Source::File(path) => path.display().to_string(),
        }
    }

    /// Reads the set. What was known stays when that fails.
    async fn read(&self) -> Result<(), JwksError> {
        let bytes =
            tokio::time::timeout(self.deadline, self.fetch()).await.map_err(|_| JwksError::Timeout)??;
        let keys = read_keys(&bytes)?;
        tracing::debug!(source = %self.name(), keys = keys.len(), "read the issuer's keys");
        *self.keys.write() = Arc::new(keys);
        Ok(())
    }

    async fn fetch(&self) -> Result<Vec<u8>, JwksError> {
        match &self.source {
            Source::File(path) => {
                let size = tokio::fs::metadata(path).await?.len();
                if usize::try_from(size).is_ok_and(|size| size <= LARGEST) {
                    Ok(tokio::fs::read(path).await?)
                } else {
                    Err(JwksError::TooLarge)
                }
            }
            Source::Url { client, url } => {
                let response = client.get(url).send().await?.error_for_status()?;
                let mut bytes = Vec::new();
                let mut body = response.bytes_stream();
                while let Some(piece) = body.next().await {
                    bytes.extend_from_slice(&piece?);
                    if bytes.len() > LARGEST {
                        return Err(JwksError::TooLarge);
                    }
                }
                Ok(bytes)
            }
        }
    }
}

/// The public keys of a set that can sign tokens; others are passed over, because sets hold keys for encryption as well, and
/// kinds that are newer than this program.
fn read_keys(bytes: &[u8]) -> Result<Vec<PublicKey>, JwksError> {
    let set: RawSet = serde_json::from_slice(bytes)?;
    let keys: Vec<PublicKey> = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
        .filter_map(|key| public_key(&key))
        .collect();
    if keys.is_empty() { Err(JwksError::Empty) } else { Ok(keys) }
}

/// A set whose keys are read one by one, so that one strange key does not cost the others.
#[derive(serde::Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

fn public_key(key: &Jwk) -> Option<PublicKey> {
    let family = match &key.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa,
        AlgorithmParameters::EllipticCurve(_) => AlgorithmFamily::Ec,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            AlgorithmFamily::Ed
        }
        // Above all: shared secrets are no public keys.
        _ => return None,
    };
    if matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    Some(PublicKey {
        id: key.common.key_id.clone(),
        family,
        algorithm: key.common.key_algorithm.map(|algorithm| algorithm.to_string()),
        key: DecodingKey::from_jwk(key).ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn only_public_keys_for_signatures_are_taken() {
        let set = br#"{"keys": [
            {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
            {"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": "AQAB", "e": "AQAB"},
            {"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            {"kty": "new", "kid": "later", "z": 1},
            7
        ]}"#;
        let keys = read_keys(set).unwrap();
        let ids: Vec<_> = keys.iter().map(|key| key.id.as_deref().unwrap()).collect();
        assert_eq!(ids, ["rsa", "ed"]);
        assert_eq!(keys[0].algorithm.as_deref(), Some("RS256"));
        assert!(matches!(read_keys(b"{\"keys\": []}"), Err(JwksError::Empty)));
        assert!(matches!(read_keys(b"<html>"), Err(JwksError::Malformed(_))));
    }
}
