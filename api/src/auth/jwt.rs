//! Bearer tokens of other issuers: JSON Web Tokens, signed with public keys (contract 4.1).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Validation, decode, decode_header};
use millrace_common::config::{AuthConfig, IssuerConfig};
use millrace_common::https;
use millrace_common::model::{Caller, Scopes};
use millrace_common::store::Store;
use millrace_common::tls::TlsError;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::crypto;
use super::jwks::KeySet;
use super::keys::Identity;
use crate::error::ApiError;

/// The longest token, in bytes.
const LONGEST: usize = 16_384;
/// The longest user name, and the most groups that count.
const NAME: usize = 200;
const GROUPS: usize = 500;

/// Why the keys of issuers cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum IssuersError {
    /// The authorities cannot be used.
    #[error("auth.tls_ca: {0}")]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be made.
    #[error("auth.issuers: {0}")]
    Client(#[from] reqwest::Error),
}

/// An issuer whose tokens are accepted.
#[derive(Debug)]
struct Issuer {
    /// Its name in the configuration.
    name: String,
    config: IssuerConfig,
    keys: Arc<KeySet>,
}

/// The issuers whose tokens are accepted. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Issuers {
    issuers: Arc<[Issuer]>,
    default_scopes: Scopes,
    clock_skew: Duration,
}

impl Issuers {
    /// Starts to read the keys of every issuer; to be called within a runtime.
    pub(super) fn start(config: &AuthConfig, shutdown: &CancellationToken) -> Result<Self, IssuersError> {
        crypto::install();
        let mut issuers = Vec::new();
        if !config.issuers.is_empty() {
            let authorities = (!config.tls_ca.is_empty()).then(|| Path::new(&config.tls_ca));
            let deadline = Duration::from_millis(config.jwks_timeout_ms);
            let encrypted = config.issuers.values().any(|issuer| issuer.jwks_url.starts_with("https:"));
            let client = https::client_within(authorities, encrypted, deadline)?.build()?;
            for (name, issuer) in &config.issuers {
                let keys = Arc::new(KeySet::new(issuer, config, &client));
                let pause = Duration::from_secs(config.jwks_refresh_seconds.max(1));
                tokio::spawn(Arc::clone(&keys).refresh(pause, shutdown.clone()));
                issuers.push(Issuer { name: name.clone(), config: issuer.clone(), keys });
            }
        }
        Ok(Self {
            issuers: issuers.into(),
            default_scopes: Scopes::known(config.default_scopes.split_whitespace()),
            clock_skew: Duration::from_secs(config.clock_skew_seconds),
        })
    }

    /// Whether a text may be a token of one of them.
    pub(super) fn may_be_token(&self, text: &str) -> bool {
        !self.issuers.is_empty() && text.len() <= LONGEST && text.split('.').count() == 3
    }

    /// Who calls with this token, and until when that is so; the refusal says what is wrong with the token.
    pub(super) async fn identify(
        &self,
        store: &Store,
        token: &str,
    ) -> Result<(Identity, DateTime<Utc>), ApiError> {
        let invalid = || ApiError::unauthorized("the token is not valid");
        let header = decode_header(token).map_err(|_| invalid())?;
        if !crypto::is_accepted(header.alg) {
            return Err(ApiError::unauthorized("the token is not signed with a public-key algorithm"));
        }
        let issuer = self.issuer_of(token)?;
        let key = issuer.keys.key(header.kid.as_deref(), header.alg.family()).await;
        let Some(key) = key else {
            if !issuer.keys.is_known() {
                return Err(ApiError::unavailable(
                    "ISSUER_UNAVAILABLE",
                    "the token's issuer cannot be reached",
                    1,
                ));
            }
            return Err(ApiError::unauthorized("the token is signed with an unknown key"));
        };
        if key.algorithm.is_some_and(|algorithm| algorithm != format!("{:?}", header.alg)) {
            return Err(invalid());
        }
        let mut validation = Validation::new(header.alg);
        validation.leeway = self.clock_skew.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&issuer.config.issuer]);
        let audiences: Vec<&str> = issuer.config.audience.split(',').map(str::trim).collect();
        validation.set_audience(&audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let claims: Value = decode(token, &key.key, &validation).map_err(|error| refusal(&error))?.claims;
        let until = claims["exp"].as_f64().unwrap_or_default() + self.clock_skew.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
        let until = DateTime::from_timestamp(until as i64, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        Ok((self.identity(store, issuer, &claims).await?, until))
    }

    /// The issuer that a token, not yet verified, says it is from.
    fn issuer_of(&self, token: &str) -> Result<&Issuer, ApiError> {
        #[derive(serde::Deserialize)]
        struct From {
            iss: String,
        }
        let claims = jsonwebtoken::dangerous::insecure_decode_claims::<From>(token);
        let named = claims.map_err(|_| ApiError::unauthorized("the token names no issuer"))?.iss;
        let issuer = self.issuers.iter().find(|issuer| issuer.config.issuer == named);
        issuer.ok_or_else(|| ApiError::unauthorized("the token is of an issuer that is not accepted here"))
    }

    /// Who the claims of a verified token speak of.
    async fn identity(&self, store: &Store, issuer: &Issuer, claims: &Value) -> Result<Identity, ApiError> {
        let config = &issuer.config;
        let tenant = if config.tenant.is_empty() {
            claim(claims, &config.tenant_claim).and_then(Value::as_str)
        } else {
            Some(config.tenant.as_str())
        };
        let tenant = tenant.ok_or_else(|| ApiError::forbidden("the token names no tenant"))?;
        let tenant = store.tenant(tenant).await?;
        let tenant = tenant.ok_or_else(|| ApiError::forbidden("the token's tenant does not exist here"))?;
        let name = |value: Option<&Value>| {
            let name = value?.as_str()?.trim();
            (1..=NAME).contains(&name.chars().count()).then(|| name.to_owned())
        };
        let user = name(claim(claims, &config.user_claim)).or_else(|| name(claims.get("sub")));
        let user = user.ok_or_else(|| ApiError::forbidden("the token names no user"))?;
        let scopes: Scopes = Scopes::known(words(claim(claims, &config.scope_claim)));
        let caller = Caller {
            tenant_id: tenant.id,
            tenant: tenant.name.clone(),
            name: user,
            groups: words(claim(claims, &config.groups_claim)).take(GROUPS).map(str::to_owned).collect(),
            credential: format!("issuer {}", issuer.name),
        };
        // Scopes of other systems say nothing; Millrace's own, where there are any, say all.
        let scopes = if scopes.is_empty() { self.default_scopes } else { scopes };
        Ok(Identity::new(caller, scopes, tenant.limits()))
    }
}

/// A claim by its name, or by a path of names with dots between them (`realm_access.roles`).
fn claim<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| name.split('.').try_fold(claims, |value, part| value.get(part)))
}

/// The words of a claim that is a list of texts, or a text with spaces between them.
fn words(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let (text, list) = match claim {
        Some(Value::String(text)) => (Some(text.as_str()), None),
        Some(Value::Array(list)) => (None, Some(list)),
        _ => (None, None),
    };
    let listed = list.into_iter().flatten().filter_map(Value::as_str);
    text.into_iter().flat_map(str::split_whitespace).chain(listed)
}

/// What callers are told about a token that does not hold.
fn refusal(error: &Error) -> ApiError {
    ApiError::unauthorized(match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        _ => "the token is not valid",
    })
}

/// Reads a text as the token of an issuer, as far as that goes without the issuer's keys.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn check_claims(text: &str) {
    if let Ok(header) = decode_header(text) {
        let _ = crypto::is_accepted(header.alg);
    }
    if let Ok(claims) = jsonwebtoken::dangerous::insecure_decode_claims::<Value>(text) {
        for name in ["realm", "groups", "realm_access.roles", ""] {
            assert!(words(claim(&claims, name)).all(|word| word.len() <= text.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        let claims = json!({"groups": ["a", "b c", 7], "scope": "openid batch", "realm_access": {"roles": ["r"]}, "a.b": 1});
        assert_eq!(words(claim(&claims, "groups")).collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!(words(claim(&claims, "scope")).collect::<Vec<_>>(), ["openid", "batch"]);
        assert_eq!(words(claim(&claims, "realm_access.roles")).collect::<Vec<_>>(), ["r"]);
        assert_eq!(claim(&claims, "a.b"), Some(&json!(1)));
        assert_eq!(words(claim(&claims, "x.y")).count(), 0);
    }
}
