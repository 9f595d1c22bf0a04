//! Who calls: API keys, access tokens, and the tenant that the request is for (contract 4.1 and 1.8).

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use lru::LruCache;
use millrace_common::model::Caller;
use millrace_common::store::{KeyOwner, Store, StoreError, hash_key};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use uuid::Uuid;

use crate::error::ApiError;
use crate::middleware::tenant_of;
use crate::state::AppState;

const X_SYNTHETIC_KEY: HeaderName = HeaderName::from_static("x-synthetic-key");
const X_TENANT_NAME: HeaderName = HeaderName::from_static("x-tenant-name");

/// What access tokens begin with; keys begin otherwise.
const TOKEN_PREFIX: &str = "mrt_";
/// How long an access token is valid.
pub const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// How long a key stays known after a look-up: a revoked key works for at most this long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Keys remembered at once.
const KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// The caller of an authenticated route. The request's tenant is the caller's own.
#[derive(Debug, Clone)]
pub struct Auth(pub Caller);

impl FromRequestParts<AppState> for Auth {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let credential = credential(&parts.headers)?;
        let owner = state.keys.identify(&state.store, &credential).await?;
        let owner =
            owner.ok_or_else(|| ApiError::unauthorized("the credential is unknown, revoked or expired"))?;
        if let Some(tenant) = requested_tenant(parts.uri.path(), &parts.headers)
            && tenant.to_lowercase() != owner.caller.tenant.to_lowercase()
        {
            return Err(ApiError::forbidden("the credential belongs to another tenant"));
        }
        Ok(Self(owner.caller.clone()))
    }
}

/// The tenant that a request is for: the one of its path, else of its header; `None` leaves it to the credential.
fn requested_tenant(path: &str, headers: &HeaderMap) -> Option<String> {
    if let Some(tenant) = tenant_of(path) {
        return Some(percent_decode_str(tenant).decode_utf8_lossy().into_owned());
    }
    let tenant = headers.get(X_TENANT_NAME)?.to_str().ok()?.trim();
    (!tenant.is_empty()).then(|| tenant.to_owned())
}

/// The key or token that a request carries.
fn credential(headers: &HeaderMap) -> Result<String, ApiError> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(key) = text(&X_SYNTHETIC_KEY).filter(|key| !key.is_empty()) {
        return Ok(key.to_owned());
    }
    let Some(authorization) = text(&header::AUTHORIZATION) else {
        return Err(ApiError::unauthorized("send x-synthetic-key, or Authorization: Bearer"));
    };
    let token = authorization.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token.map(|(_, token)| token.trim()) {
        // What the SDKs send before they have fetched a token; 401 makes them fetch one.
        None | Some("" | "None" | "undefined" | "null") => {
            Err(ApiError::unauthorized("the authorization is no bearer token"))
        }
        Some(token) => Ok(token.to_owned()),
    }
}

/// The keys seen in the last seconds, so that not every request asks the database.
#[derive(Debug, Clone)]
pub struct KeyCache {
    /// By the hash of the credential.
    known: Arc<Mutex<LruCache<[u8; 32], Seen>>>,
}

/// When a credential was looked up, and whose it is.
type Seen = (Instant, Arc<KeyOwner>);

impl Default for KeyCache {
    fn default() -> Self {
        Self { known: Arc::new(Mutex::new(LruCache::new(KEYS))) }
    }
}

impl KeyCache {
    /// Whose credential it is; `None` when it is useless.
    pub async fn identify(
        &self,
        store: &Store,
        credential: &str,
    ) -> Result<Option<Arc<KeyOwner>>, StoreError> {
        let hash = hash_key(credential);
        let known = self.known.lock().get(&hash).cloned();
        if let Some((seen, owner)) = known
            && seen.elapsed() < REMEMBERED
        {
            return Ok(Some(owner));
        }
        let owner = match credential.strip_prefix(TOKEN_PREFIX) {
            Some(token) => verify_token(store, token).await?,
            None => store.key_by_hash(&hash).await?,
        };
        let mut known = self.known.lock();
        match owner {
            Some(owner) => {
                let owner = Arc::new(owner);
                known.put(hash, (Instant::now(), owner.clone()));
                Ok(Some(owner))
            }
            None => {
                known.pop(&hash);
                Ok(None)
            }
        }
    }
}

/// An access token for the owner of a key, valid from `now` for [`TOKEN_LIFE`]. It names the key and the end of its life,
/// and is signed with the key's hash: no server keeps it, and revoking the key ends it.
pub fn issue_token(owner: &KeyOwner, now: DateTime<Utc>) -> String {
    let expires = now.timestamp() + i64::try_from(TOKEN_LIFE.as_secs()).unwrap_or(0);
    let mut token = signed_part(owner.key_id, expires).to_vec();
    let signature = blake3::keyed_hash(&owner.hash, &token);
    token.extend_from_slice(signature.as_bytes());
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(token))
}

fn signed_part(key_id: Uuid, expires: i64) -> [u8; 24] {
    let mut part = [0; 24];
    part[..16].copy_from_slice(key_id.as_bytes());
    part[16..].copy_from_slice(&expires.to_be_bytes());
    part
}

/// Key id, end of life (seconds of the epoch) and signature of a token.
fn read_token(token: &str) -> Option<(Uuid, i64, [u8; 32])> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    let (expires, signature) = rest.split_first_chunk::<8>()?;
    Some((Uuid::from_bytes(*id), i64::from_be_bytes(*expires), signature.try_into().ok()?))
}

async fn verify_token(store: &Store, token: &str) -> Result<Option<KeyOwner>, StoreError> {
    let Some((key_id, expires, signature)) = read_token(token) else { return Ok(None) };
    if expires <= Utc::now().timestamp() {
        return Ok(None);
    }
    let owner = store.key_by_id(key_id).await?;
    Ok(owner.filter(|owner| is_signed(owner, expires, signature)))
}

fn is_signed(owner: &KeyOwner, expires: i64, signature: [u8; 32]) -> bool {
    // The comparison of these hashes takes the same time wherever they differ.
    blake3::keyed_hash(&owner.hash, &signed_part(owner.key_id, expires))
        == blake3::Hash::from_bytes(signature)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn keys_come_in_either_header() {
        assert_eq!(credential(&headers(&[("x-synthetic-key", "k")])).unwrap(), "k");
        assert_eq!(credential(&headers(&[("authorization", "bearer t")])).unwrap(), "t");
        assert_eq!(
            credential(&headers(&[("x-synthetic-key", "k"), ("authorization", "Bearer t")])).unwrap(),
            "k"
        );
    }

    #[test]
    fn placeholders_of_the_sdks_are_401() {
        for value in ["Bearer None", "Bearer undefined", "Bearer ", "Basic abc", "Bearer"] {
            assert_eq!(
                credential(&headers(&[("authorization", value)])).unwrap_err().status(),
                401,
                "{value}"
            );
        }
        assert_eq!(credential(&headers(&[])).unwrap_err().status(), 401);
        assert_eq!(credential(&headers(&[("x-synthetic-key", "")])).unwrap_err().status(), 401);
    }

    #[test]
    fn the_path_names_the_tenant_and_else_the_header() {
        let acme = headers(&[("x-tenant-name", "acme")]);
        assert_eq!(requested_tenant("/other/api/v4/batch", &acme).unwrap(), "other");
        assert_eq!(requested_tenant("/api/v1/product/list", &acme).unwrap(), "acme");
        assert_eq!(requested_tenant("/api/v1/product/list", &headers(&[("x-tenant-name", "")])), None);
    }

    #[test]
    fn tokens_are_bound_to_key_and_time() {
        let caller =
            Caller { tenant_id: Uuid::nil(), tenant: "acme".into(), name: "ann".into(), groups: vec![] };
        let owner = KeyOwner { key_id: Uuid::from_u128(7), hash: [3; 32], caller };
        let token = issue_token(&owner, DateTime::UNIX_EPOCH);
        let (key_id, expires, signature) = read_token(token.strip_prefix(TOKEN_PREFIX).unwrap()).unwrap();
        assert_eq!((key_id, expires), (owner.key_id, 3600));
        assert!(is_signed(&owner, expires, signature));
        assert!(!is_signed(&owner, expires + 1, signature));
        assert!(!is_signed(&KeyOwner { hash: [4; 32], ..owner.clone() }, expires, signature));
        assert!(!is_signed(&KeyOwner { key_id: Uuid::from_u128(8), ..owner }, expires, signature));
        assert_eq!(read_token("AAAA"), None);
        assert_eq!(read_token("?"), None);
    }
}
