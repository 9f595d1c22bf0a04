//! Credentials seen in the last seconds: good ones and useless ones, so that neither costs a look-up at every request.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use millrace_common::model::{Caller, Scopes};
use millrace_common::store::{KeyOwner, Store, StoreError, TenantLimits, hash_key, is_key};
use parking_lot::Mutex;

use super::tokens::{TOKEN_PREFIX, verify_token};

/// How long the result of a look-up holds: a revoked key works for at most this long.
pub(super) const REMEMBERED: Duration = Duration::from_secs(5);
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
    fn new(caller: Caller, scopes: Scopes, limits: TenantLimits) -> Self {
        let scopes = if caller.is_tenant_admin() { Scopes::EVERYTHING } else { scopes };
        Self { caller, scopes, limits }
    }
}

/// What was found out about a credential, and when that was asked. `None`: it is useless.
type Seen = (Instant, Option<Arc<Identity>>);

/// The credentials seen in the last seconds, by their hashes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeyCache {
    good: Arc<Mutex<LruCache<[u8; 32], Seen>>>,
    /// Apart from the good ones, so that a flood of useless credentials does not make them forgotten.
    useless: Arc<Mutex<LruCache<[u8; 32], Seen>>>,
}

impl Default for KeyCache {
    fn default() -> Self {
        let cache = || Arc::new(Mutex::new(LruCache::new(CREDENTIALS)));
        Self { good: cache(), useless: cache() }
    }
}

impl KeyCache {
    /// Whose credential it is; `None` when it is useless.
    pub async fn identify(
        &self,
        store: &Store,
        credential: &str,
    ) -> Result<Option<Arc<Identity>>, StoreError> {
        let hash = hash_key(credential);
        for cache in [&self.good, &self.useless] {
            if let Some((asked, found)) = cache.lock().get(&hash)
                && asked.elapsed() < REMEMBERED
            {
                return Ok(found.clone());
            }
        }
        let asked = Instant::now();
        let owner = match credential.strip_prefix(TOKEN_PREFIX) {
            Some(token) => verify_token(store, token).await?,
            None if is_key(credential) => store.key_by_hash(&hash).await?,
            None => None,
        };
        let found = owner.map(|owner| Arc::new(Identity::from(owner)));
        let (right, wrong) =
            if found.is_some() { (&self.good, &self.useless) } else { (&self.useless, &self.good) };
        wrong.lock().pop(&hash);
        right.lock().put(hash, (asked, found.clone()));
        Ok(found)
    }

    /// Forgets everything, so that a change made through this server holds on it at once.
    pub fn forget(&self) {
        self.good.lock().clear();
        self.useless.lock().clear();
    }
}
