//! Credentials seen in the last seconds: good ones and useless ones, so that neither costs a look-up at every request.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use lru::LruCache;
use millrace_common::config::AuthConfig;
use millrace_common::model::{Caller, Scopes};
use millrace_common::store::{KeyOwner, Store, TenantLimits, hash_key, is_key};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::jwt::{Issuers, IssuersError};
use super::limits::LookUps;
use super::tokens::{TOKEN_PREFIX, verify_token};
use crate::error::ApiError;

/// How long the result of a look-up holds: a revoked key works for at most this long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Credentials remembered at once, of each kind.
const CREDENTIALS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(8191);

/// Who calls, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who calls.
    pub caller: Caller,
    /// What the credential may be used for.
    pub scopes: Scopes,
    /// The rate limits of the tenant.
    pub limits: TenantLimits,
}

impl From<KeyOwner> for Identity {
    fn from(owner: KeyOwner) -> Self {
        let KeyOwner { caller, scopes, limits, .. } = owner;
        Self::new(caller, scopes, limits)
    }
}

impl Identity {
    /// Members of the administrators' group have every scope.
    pub(super) fn new(caller: Caller, scopes: Scopes, limits: TenantLimits) -> Self {
        let scopes = if caller.is_tenant_admin() { Scopes::EVERYTHING } else { scopes };
        Self { caller, scopes, limits }
    }
}

/// What was found out about a credential.
#[derive(Debug, Clone)]
struct Seen {
    /// Since when it is known.
    asked: Instant,
    /// Until when it is good: tokens end by themselves.
    until: Option<DateTime<Utc>>,
    /// Whose it is, or what is wrong with it.
    found: Result<Arc<Identity>, ApiError>,
}

impl Seen {
    fn holds(&self) -> bool {
        self.asked.elapsed() < REMEMBERED && self.until.is_none_or(|until| Utc::now() < until)
    }
}

/// The credentials seen lately, by their hashes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyCache {
    good: Arc<Mutex<LruCache<[u8; 32], Seen>>>,
    /// Apart from the good ones, so that a flood of useless credentials does not make them forgotten.
    useless: Arc<Mutex<LruCache<[u8; 32], Seen>>>,
    issuers: Issuers,
    look_ups: LookUps,
}

impl KeyCache {
    /// An empty cache, which starts to read the keys of the configured issuers; to be called within a runtime.
    pub fn start(config: &AuthConfig, shutdown: &CancellationToken) -> Result<Self, IssuersError> {
        let cache = || Arc::new(Mutex::new(LruCache::new(CREDENTIALS)));
        Ok(Self {
            good: cache(),
            useless: cache(),
            issuers: Issuers::start(config, shutdown)?,
            look_ups: LookUps::new(config.lookups_per_second),
        })
    }

    /// Whose credential it is. 401 (tokens: also 403) when it is useless, 429 when the caller's address has shown too many that
    /// were not seen before.
    pub async fn identify(
        &self,
        store: &Store,
        credential: &str,
        source: Option<IpAddr>,
    ) -> Result<Arc<Identity>, ApiError> {
        let hash = hash_key(credential);
        let known = self.good.lock().get(&hash).cloned();
        let trusted = known.is_some();
        let known = known.or_else(|| self.useless.lock().get(&hash).cloned());
        if let Some(seen) = known.filter(Seen::holds) {
            return seen.found;
        }
        // Who was let in before is not held up by others who guess from the same address.
        if !trusted {
            self.look_ups.take(source)?;
        }
        let asked = Instant::now();
        let found = self.look_up(store, credential, &hash).await;
        let (found, until) = match found {
            Ok((identity, until)) => (Ok(Arc::new(identity)), until),
            Err(refused) if matches!(refused.status().as_u16(), 401 | 403) => (Err(refused), None),
            // Not known: asked again at the next request.
            Err(unavailable) => return Err(unavailable),
        };
        let (right, wrong) =
            if found.is_ok() { (&self.good, &self.useless) } else { (&self.useless, &self.good) };
        wrong.lock().pop(&hash);
        right.lock().put(hash, Seen { asked, until, found: found.clone() });
        found
    }

    async fn look_up(
        &self,
        store: &Store,
        credential: &str,
        hash: &[u8; 32],
    ) -> Result<(Identity, Option<DateTime<Utc>>), ApiError> {
        if self.issuers.may_be_token(credential) {
            let (identity, until) = self.issuers.identify(store, credential).await?;
            return Ok((identity, Some(until)));
        }
        let owner = match credential.strip_prefix(TOKEN_PREFIX) {
            Some(token) => verify_token(store, token).await?,
            None if is_key(credential) => store.key_by_hash(hash).await?,
            None => None,
        };
        let owner =
            owner.ok_or_else(|| ApiError::unauthorized("the credential is unknown, revoked or expired"))?;
        Ok((owner.into(), None))
    }

    /// The owner of a key, for whom it is about to be exchanged for a token; `None` when it is useless.
    pub async fn key_owner(
        &self,
        store: &Store,
        key: &str,
        source: Option<IpAddr>,
    ) -> Result<Option<KeyOwner>, ApiError> {
        if !is_key(key) {
            return Ok(None);
        }
        match self.identify(store, key, source).await {
            Ok(_) => Ok(store.key_by_hash(&hash_key(key)).await?),
            Err(refused) if refused.status().as_u16() == 401 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets everything, so that a change made through this server holds on it at once.
    pub fn forget(&self) {
        self.good.lock().clear();
        self.useless.lock().clear();
    }
}
