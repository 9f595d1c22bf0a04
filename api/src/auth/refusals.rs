//! Refusals in the audit trail: a tenant's credential that was used for what it does not permit. What belongs to nobody (401) is
//! in no tenant's trail; it is counted with the requests.
//!
//! Anybody can ask a thousand times, so not every refusal is an entry: the same credential, route and reason make one in ten
//! minutes, which says how many there were since the one before, and a tenant gets no more than a few a minute.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use lru::LruCache;
use millrace_common::model::Scope;
use parking_lot::Mutex;
use serde_json::json;
use uuid::Uuid;

use super::Identity;
use crate::state::AppState;

/// Time between two entries of the same.
const AGAIN: Duration = Duration::from_secs(600);
/// Kinds of refusals remembered at once.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4_095);
/// Tenants whose pace is remembered at once.
const TENANTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);
/// Entries of a tenant at once, and in a minute.
const BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);
const A_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// Why a credential that is good was not good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    /// The request is for another tenant.
    Tenant,
    /// It lacks the scope.
    Scope(Scope),
}

/// What makes refusals the same: the credential, the route and the reason.
type Kind = (Uuid, String, String, Reason);

/// What was refused of one kind.
#[derive(Debug)]
struct Seen {
    /// When it was last written down.
    written: Option<Instant>,
    /// Refusals since then.
    times: u64,
}

/// Which refusals are written down. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Refusals {
    kinds: Arc<Mutex<LruCache<Kind, Seen>>>,
    paces: Arc<Mutex<LruCache<Uuid, Arc<DefaultDirectRateLimiter>>>>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self {
            kinds: Arc::new(Mutex::new(LruCache::new(REMEMBERED))),
            paces: Arc::new(Mutex::new(LruCache::new(TENANTS))),
        }
    }
}

impl Refusals {
    /// Takes note of a refusal. `Some` when it is to be written down: how many there were of its kind since the last entry.
    fn note(&self, tenant_id: Uuid, kind: Kind, now: Instant) -> Option<u64> {
        let mut kinds = self.kinds.lock();
        let seen = kinds.get_or_insert_mut(kind, || Seen { written: None, times: 0 });
        seen.times = seen.times.saturating_add(1);
        let due = seen.written.is_none_or(|written| now.saturating_duration_since(written) >= AGAIN);
        if !due || self.pace(tenant_id).check().is_err() {
            return None;
        }
        seen.written = Some(now);
        Some(std::mem::take(&mut seen.times))
    }

    fn pace(&self, tenant_id: Uuid) -> Arc<DefaultDirectRateLimiter> {
        let new = || Arc::new(RateLimiter::direct(Quota::per_minute(A_MINUTE).allow_burst(BURST)));
        Arc::clone(self.paces.lock().get_or_insert(tenant_id, new))
    }
}

/// Writes a refusal into the trail of the credential's tenant, in the background: neither the caller nor the database is worth
/// waiting for. `request` is the method and the route as it is declared, without anything that the caller chose.
pub(super) fn note(state: &AppState, identity: &Identity, request: &str, reason: Reason) {
    let caller = &identity.caller;
    let kind = (caller.tenant_id, caller.credential.clone(), request.to_owned(), reason);
    let Some(times) = state.refusals.note(caller.tenant_id, kind, Instant::now()) else { return };
    let details = match reason {
        Reason::Tenant => json!({"reason": "another tenant", "times": times}),
        Reason::Scope(scope) => json!({"reason": "scope", "scope": scope.as_str(), "times": times}),
    };
    let (store, tenant_id, request) = (state.acting(caller), caller.tenant_id, request.to_owned());
    tokio::spawn(async move {
        if let Err(error) = store.in_time(store.audit_refusal(tenant_id, &request, details)).await {
            tracing::warn!(%error, "a refusal is not in the audit trail");
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn kind(tenant: u128, credential: &str, route: &str) -> Kind {
        let reason = Reason::Scope(Scope::ALL[0]);
        (Uuid::from_u128(tenant), credential.to_owned(), route.to_owned(), reason)
    }

    fn note(refusals: &Refusals, kind: Kind, now: Instant) -> Option<u64> {
        refusals.note(kind.0, kind, now)
    }

    #[test]
    fn the_same_refusal_is_written_once_in_a_while_with_its_number() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        assert_eq!(note(&refusals, kind(1, "key a", "GET /x"), now), Some(1));
        for _ in 0..5 {
            assert_eq!(note(&refusals, kind(1, "key a", "GET /x"), now), None);
        }
        assert_eq!(note(&refusals, kind(1, "key b", "GET /x"), now), Some(1));
        assert_eq!(note(&refusals, kind(1, "key a", "GET /y"), now), Some(1));
        let other = (Uuid::from_u128(1), "key a".to_owned(), "GET /x".to_owned(), Reason::Tenant);
        assert_eq!(note(&refusals, other, now), Some(1));
        assert_eq!(note(&refusals, kind(1, "key a", "GET /x"), now + AGAIN), Some(6));
        assert_eq!(note(&refusals, kind(1, "key a", "GET /x"), now + AGAIN), None);
    }

    #[test]
    fn many_different_refusals_of_a_tenant_are_bounded_and_others_have_their_own_bound() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let written = |tenant: u128| {
            let routes = (0..200).map(|route| kind(tenant, "key a", &format!("GET /{route}")));
            routes.filter_map(|kind| note(&refusals, kind, now)).count()
        };
        let burst = usize::try_from(BURST.get()).unwrap();
        // A slow machine may get one more in the meantime.
        for tenant in [1, 2] {
            let written = written(tenant);
            assert!((burst..burst + 5).contains(&written), "{written} of tenant {tenant}");
        }
    }
}
