//! Names become addresses here and nowhere else, so a connection can only go to an address that was checked: there is no second
//! resolution that could give another one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use millrace_common::model::webhook::AddressPolicy;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A name resolves to an address that messages may not go to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name resolves to {0}: private, local and reserved addresses are refused")]
pub struct RefusedAddress(pub IpAddr);

/// A resolver whose answers are checked.
#[derive(Clone)]
pub struct CheckedResolver {
    policy: Arc<AddressPolicy>,
    inner: Arc<dyn Resolve>,
}

impl CheckedResolver {
    /// Checks what `inner` says.
    pub fn new(policy: Arc<AddressPolicy>, inner: Arc<dyn Resolve>) -> Self {
        Self { policy, inner }
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.policy);
        let found = self.inner.resolve(name);
        Box::pin(async move {
            let checked = check(&policy, found.await?.collect())?;
            Ok(Box::new(checked.into_iter()) as Addrs)
        })
    }
}

/// The resolver of the system.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// All addresses, or none: a name with one bad address is not to be trusted with the others.
fn check(policy: &AddressPolicy, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, RefusedAddress> {
    match found.iter().find(|address| !policy.allows(address.ip())) {
        Some(bad) => Err(RefusedAddress(bad.ip())),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn one_bad_address_spoils_a_name() {
        let addresses = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect()
        };
        let policy = AddressPolicy::default();
        let good = addresses(&["1.1.1.1", "2606:4700::1111"]);
        assert_eq!(check(&policy, good.clone()).unwrap(), good);
        let mixed = addresses(&["1.1.1.1", "169.254.169.254"]);
        assert_eq!(check(&policy, mixed), Err(RefusedAddress("169.254.169.254".parse().unwrap())));
    }

    #[tokio::test]
    async fn localhost_is_refused_unless_it_is_allowed() {
        let resolve = |policy: AddressPolicy| async move {
            let resolver = CheckedResolver::new(Arc::new(policy), Arc::new(SystemResolver));
            resolver.resolve("localhost".parse().unwrap()).await.map(|found| found.count())
        };
        let error = resolve(AddressPolicy::default()).await.err().unwrap();
        assert!(error.is::<RefusedAddress>(), "{error}");
        let allowed = AddressPolicy::new(&["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(resolve(allowed).await.unwrap() > 0);
    }
}
