//! Which addresses messages may go to. A caller names a URL and the server calls it, so without rules a caller could reach what
//! only the server can: its own host, its network, the metadata service of its cloud.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// The longest URL, in bytes.
const LONGEST: usize = 2_048;

/// IPv4 ranges that are not the public internet.
const CLOSED_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The only IPv6 range that is the public internet, and parts of it that are not: protocol assignments (Teredo, benchmarks and
/// such) and documentation.
const OPEN_V6: (u16, u8) = (0x2000, 3);
const CLOSED_V6: [(u16, u16, u8); 3] = [(0x2001, 0, 23), (0x2001, 0x0db8, 32), (0x3fff, 0, 20)];

/// Why a URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is no URL.
    #[error("must be a URL, such as https://example.org/hook")]
    NotAUrl,
    /// It is too long.
    #[error("must have at most {LONGEST} bytes")]
    TooLong,
    /// Its scheme is another than `http` or `https`.
    #[error("must begin with https:// or http://")]
    Scheme,
    /// It holds a user name or a password.
    #[error("must not hold a user name or a password")]
    Credentials,
    /// Its host is an address that messages may not go to.
    #[error("must not name {0}: private, local and reserved addresses are refused")]
    Address(IpAddr),
}

/// A URL that messages may go to, as far as that can be told without resolving its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The URL, in its canonical form.
    pub url: Url,
    /// Its host and port, `example.org:443`.
    pub host: String,
}

/// Which private addresses are allowed after all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    allowed: Vec<IpNet>,
}

impl AddressPolicy {
    /// The public internet and these ranges.
    pub fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.to_vec() }
    }

    /// Whether a message may go to this address.
    pub fn allows(&self, address: IpAddr) -> bool {
        let embedded = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => embedded(v6),
        };
        if std::iter::once(address)
            .chain(embedded.map(IpAddr::V4))
            .any(|address| self.allowed.iter().any(|range| range.contains(&address)))
        {
            return true;
        }
        match (address, embedded) {
            (IpAddr::V4(v4), _) | (IpAddr::V6(_), Some(v4)) => is_public_v4(v4),
            (IpAddr::V6(v6), None) => is_public_v6(v6),
        }
    }

    /// Checks a URL, and its host where that is an address.
    pub fn check(&self, text: &str) -> Result<Target, UrlError> {
        if text.len() > LONGEST {
            return Err(UrlError::TooLong);
        }
        let url = Url::parse(text.trim()).map_err(|_| UrlError::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::Credentials);
        }
        let literal = match url.host().ok_or(UrlError::NotAUrl)? {
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
            // What a resolver would say, told at once.
            Host::Domain(name) if is_localhost(name) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Host::Domain(_) => None,
        };
        if let Some(address) = literal.filter(|address| !self.allows(*address)) {
            return Err(UrlError::Address(address));
        }
        let port = url.port_or_known_default().ok_or(UrlError::NotAUrl)?;
        let host = format!("{}:{port}", url.host_str().ok_or(UrlError::NotAUrl)?);
        Ok(Target { url, host })
    }
}

fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    !CLOSED_V4.iter().any(|(range, length)| {
        let shift = 32 - u32::from(*length);
        bits >> shift == u32::from(*range) >> shift
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let (open, length) = OPEN_V6;
    let shift = 16 - u32::from(length);
    first >> shift == open >> shift
        && !CLOSED_V6.iter().any(|(one, two, length)| {
            let bits = u32::from(first) << 16 | u32::from(second);
            let range = u32::from(*one) << 16 | u32::from(*two);
            bits >> (32 - u32::from(*length)) == range >> (32 - u32::from(*length))
        })
}

/// The IPv4 address that traffic to an IPv6 address ends at: mapped, compatible, translated (NAT64) and 6to4 addresses.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn private_local_and_reserved_addresses_are_refused() {
        let policy = AddressPolicy::default();
        for closed in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001:0:1::1",
            "2001:2::1",
            "2001:20::1",
            "3fff:0:1::1",
            "192.88.99.1",
            "2001:db8::1",
            "100::1",
            "::ffff:0:7f00:1",
        ] {
            assert!(!policy.allows(closed.parse().unwrap()), "{closed}");
        }
        for open in [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(policy.allows(open.parse().unwrap()), "{open}");
        }
    }

    #[test]
    fn urls_are_refused_for_what_they_are() {
        let check = |text: &str| AddressPolicy::default().check(text).map(|target| target.host);
        assert_eq!(check("https://example.org/hook?x=1").unwrap(), "example.org:443");
        assert_eq!(check(" http://EXAMPLE.org:8080 ").unwrap(), "example.org:8080");
        assert_eq!(check("https://[2606:4700::1111]/").unwrap(), "[2606:4700::1111]:443");
        assert_eq!(check("example.org"), Err(UrlError::NotAUrl));
        assert_eq!(check(""), Err(UrlError::NotAUrl));
        assert_eq!(check(&format!("https://e.org/{}", "a".repeat(LONGEST))), Err(UrlError::TooLong));
        for scheme in ["ftp://e.org", "file:///etc/passwd", "gopher://e.org", "javascript:alert(1)"] {
            assert_eq!(check(scheme), Err(UrlError::Scheme), "{scheme}");
        }
        for text in ["https://u@e.org", "https://u:p@e.org", "https://:p@e.org"] {
            assert_eq!(check(text), Err(UrlError::Credentials), "{text}");
        }
        // Every spelling of an address is the address.
        for text in [
            "http://127.0.0.1",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.1",
            "http://0177.0.0.1",
            "http://localhost:80",
            "http://LOCALHOST.",
            "http://a.localhost",
            "http://[::1]",
            "http://[::ffff:7f00:1]",
            "http://169.254.169.254/latest",
            "http://0/",
            "http://１２７.０.０.１",
        ] {
            assert!(matches!(check(text), Err(UrlError::Address(_))), "{text}: {:?}", check(text));
        }
    }

    #[test]
    fn ranges_can_be_allowed() {
        let policy = AddressPolicy::new(&["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for allowed in ["127.0.0.1", "::ffff:127.0.0.1", "fd00::7", "8.8.8.8"] {
            assert!(policy.allows(allowed.parse().unwrap()), "{allowed}");
        }
        for closed in ["10.0.0.1", "::1", "fe80::1"] {
            assert!(!policy.allows(closed.parse().unwrap()), "{closed}");
        }
        assert!(policy.check("http://localhost:9000/x").is_ok());
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn a_mapped_address_is_as_open_as_the_one_in_it(bits in any::<u32>()) {
            let policy = AddressPolicy::default();
            let v4 = Ipv4Addr::from(bits);
            let open = policy.allows(IpAddr::V4(v4));
            prop_assert_eq!(policy.allows(IpAddr::V6(v4.to_ipv6_mapped())), open);
            if v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_unspecified() || v4.is_broadcast() {
                prop_assert!(!open);
            }
        }

        #[test]
        fn no_text_makes_the_check_panic(text in "\\PC{0,80}") {
            let _ = AddressPolicy::default().check(&text);
            let _ = AddressPolicy::default().check(&format!("https://{text}"));
        }
    }
}
