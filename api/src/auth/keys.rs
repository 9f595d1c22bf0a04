//! Keys and tokens seen in the last seconds.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use millrace_common::store::{KeyOwner, Store, StoreError, hash_key};
use parking_lot::Mutex;

use super::tokens::{TOKEN_PREFIX, verify_token};

/// How long a key stays known after a look-up: a revoked key works for at most this long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Keys remembered at once.
const KEYS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

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
