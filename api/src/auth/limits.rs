//! Rate limits: of each tenant, and of those who try credentials. All are counted in this process, so that replicas of the API add
//! up: they are there to keep a tenant from crowding out others, not to bill.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, NotUntil, Quota, RateLimiter};
use lru::LruCache;
use millrace_common::config::Config;
use millrace_common::store::TenantLimits;
use parking_lot::Mutex;
use serde_json::json;
use uuid::Uuid;

use crate::error::ApiError;

/// Addresses remembered at once.
const ADDRESSES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// A bucket that fills at `rate` a second and holds `burst`; `None` when there is no limit.
fn bucket(rate: u32, burst: u32) -> Option<DefaultDirectRateLimiter> {
    let rate = NonZeroU32::new(rate)?;
    let burst = NonZeroU32::new(burst).unwrap_or(rate).max(rate);
    Some(RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)))
}

/// 429 with the time until there is room again.
fn refuse<P: governor::clock::Reference>(
    until: &NotUntil<P>,
    now: P,
    what: &'static str,
    rate: u32,
) -> ApiError {
    let wait = until.wait_time_from(now);
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let message = format!("more than {rate} {what}");
    ApiError::too_many("RATE_LIMITED", message, json!({"limit": what, "per_second": rate}), seconds.max(1))
}

/// The buckets of one tenant.
#[derive(Debug)]
struct Buckets {
    rates: Rates,
    requests: Option<DefaultDirectRateLimiter>,
    push_bytes: Option<DefaultDirectRateLimiter>,
}

/// Limits in force for a tenant; 0: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rates {
    requests: u32,
    push_bytes: u32,
}

/// The rate limits of all tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RateLimits {
    defaults: Rates,
    /// The largest push: a bucket for bytes holds at least this, so that none is too large to ever pass.
    largest_push: u32,
    tenants: Arc<Mutex<HashMap<Uuid, Arc<Buckets>>>>,
}

impl RateLimits {
    /// With the limits of the configuration for tenants that have none of their own.
    pub fn new(config: &Config) -> Self {
        Self {
            defaults: Rates {
                requests: config.rate_limits.requests_per_second,
                push_bytes: config.rate_limits.push_bytes_per_second,
            },
            largest_push: u32::try_from(config.limits.body_bytes).unwrap_or(u32::MAX),
            tenants: Arc::default(),
        }
    }

    /// Counts a request of the tenant; 429 when there are too many. Takes note of the tenant's own limits.
    pub(super) fn request(&self, tenant_id: Uuid, limits: TenantLimits) -> Result<(), ApiError> {
        let clamp = |number: i64| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        let rates = Rates {
            requests: limits.requests_per_second.map_or(self.defaults.requests, |rate| clamp(rate.into())),
            push_bytes: limits.push_bytes_per_second.map_or(self.defaults.push_bytes, clamp),
        };
        let unlimited = rates == Rates { requests: 0, push_bytes: 0 };
        let buckets = {
            let mut tenants = self.tenants.lock();
            match tenants.get(&tenant_id) {
                Some(buckets) if buckets.rates == rates => Arc::clone(buckets),
                None if unlimited => return Ok(()),
                _ => {
                    let buckets = Arc::new(Buckets {
                        rates,
                        requests: bucket(rates.requests, 0),
                        push_bytes: bucket(rates.push_bytes, self.largest_push),
                    });
                    tenants.insert(tenant_id, Arc::clone(&buckets));
                    buckets
                }
            }
        };
        match buckets.requests.as_ref().map(RateLimiter::check) {
            Some(Err(until)) => {
                Err(refuse(&until, DefaultClock::default().now(), "requests a second", rates.requests))
            }
            _ => Ok(()),
        }
    }

    /// Counts the bytes of a push; 429 when there are too many. Nothing of such a push was taken.
    pub fn push(&self, tenant_id: Uuid, bytes: usize) -> Result<(), ApiError> {
        let buckets = self.tenants.lock().get(&tenant_id).cloned();
        let Some(buckets) = buckets else { return Ok(()) };
        let Some(limit) = &buckets.push_bytes else { return Ok(()) };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.largest_push);
        let Some(bytes) = NonZeroU32::new(bytes) else { return Ok(()) };
        match limit.check_n(bytes) {
            Ok(Err(until)) => Err(refuse(
                &until,
                DefaultClock::default().now(),
                "pushed bytes a second",
                buckets.rates.push_bytes,
            )),
            _ => Ok(()),
        }
    }
}

/// Look-ups of credentials that were not seen before, by the address that shows them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct LookUps {
    rate: u32,
    addresses: Arc<Mutex<LruCache<IpAddr, Arc<DefaultDirectRateLimiter>>>>,
}

impl LookUps {
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, addresses: Arc::new(Mutex::new(LruCache::new(ADDRESSES))) }
    }

    /// Counts one; 429 when there are too many.
    pub(super) fn take(&self, source: Option<IpAddr>) -> Result<(), ApiError> {
        let limit = {
            let mut addresses = self.addresses.lock();
            let address = network(source.unwrap_or(IpAddr::from([0, 0, 0, 0])));
            match addresses.get(&address) {
                Some(limit) => Arc::clone(limit),
                None => {
                    let Some(limit) = bucket(self.rate, 0) else { return Ok(()) };
                    let limit = Arc::new(limit);
                    addresses.put(address, Arc::clone(&limit));
                    limit
                }
            }
        };
        limit.check().map_err(|until| {
            refuse(&until, DefaultClock::default().now(), "new credentials a second", self.rate)
        })
    }
}

/// Whoever has one IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn limits(requests: u32, push_bytes: u32) -> RateLimits {
        let mut config = Config::default();
        config.rate_limits.requests_per_second = requests;
        config.rate_limits.push_bytes_per_second = push_bytes;
        config.limits.body_bytes = 1_000;
        RateLimits::new(&config)
    }

    const TENANT: Uuid = Uuid::from_u128(1);
    const NONE: TenantLimits = TenantLimits { requests_per_second: None, push_bytes_per_second: None };

    #[test]
    fn requests_are_counted_by_tenant() {
        let limits = limits(3, 0);
        let passed = (0..10).filter(|_| limits.request(TENANT, NONE).is_ok()).count();
        assert_eq!(passed, 3);
        let refused = limits.request(TENANT, NONE).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (429, "RATE_LIMITED"));
        assert!(limits.request(Uuid::from_u128(2), NONE).is_ok(), "others are not held up");
    }

    #[test]
    fn a_tenants_own_limits_win_and_hold_from_the_next_request_on() {
        let limits = limits(1, 0);
        assert!(limits.request(TENANT, NONE).is_ok() && limits.request(TENANT, NONE).is_err());
        let own = |requests| TenantLimits { requests_per_second: Some(requests), ..NONE };
        assert!((0..50).all(|_| limits.request(TENANT, own(50)).is_ok()));
        assert!((0..1_000).all(|_| limits.request(TENANT, own(0)).is_ok()), "0 is no limit");
    }

    #[test]
    fn a_push_of_the_largest_size_passes_and_the_next_waits() {
        let limits = limits(0, 10);
        limits.request(TENANT, NONE).unwrap();
        assert!(limits.push(TENANT, 1_000).is_ok());
        assert_eq!(limits.push(TENANT, 100).unwrap_err().status().as_u16(), 429);
        assert!(limits.push(TENANT, 0).is_ok());
    }

    #[test]
    fn look_ups_are_counted_by_network() {
        let look_ups = LookUps::new(2);
        let one = |text: &str| Some(text.parse().unwrap());
        assert!(look_ups.take(one("2001:db8::1")).is_ok() && look_ups.take(one("2001:db8::2")).is_ok());
        assert!(look_ups.take(one("2001:db8::3")).is_err(), "the same /64");
        assert!(look_ups.take(one("2001:db8:0:1::3")).is_ok() && look_ups.take(one("10.0.0.1")).is_ok());
        assert!((0..1_000).all(|_| LookUps::new(0).take(None).is_ok()));
    }
}
