//! What a credential may be used for.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// One thing that a credential may be used for. Every route demands one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Batches: create, push, pull, close, cancel.
    Batch,
    /// Synchronous calls and validation.
    Execute,
    /// Folders, services and versions: find, describe, download.
    ServicesRead,
    /// Folders, services and versions: make, change, delete. Includes [`Scope::ServicesRead`].
    ServicesWrite,
    /// Keys of the tenant. Includes every other scope.
    TenantAdmin,
    /// The audit trail of the tenant.
    AuditRead,
}

/// A text names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no scope; there are batch, execute, services:read, services:write, tenant:admin and audit:read"
)]
pub struct UnknownScope(pub String);

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] = [
        Self::Batch,
        Self::Execute,
        Self::ServicesRead,
        Self::ServicesWrite,
        Self::TenantAdmin,
        Self::AuditRead,
    ];

    /// The scope as it is written in requests, tokens and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Execute => "execute",
            Self::ServicesRead => "services:read",
            Self::ServicesWrite => "services:write",
            Self::TenantAdmin => "tenant:admin",
            Self::AuditRead => "audit:read",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| UnknownScope(text.to_owned()))
    }
}

/// A set of scopes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// What a key may do that was made without scopes: batches, synchronous calls, reading services (contract 4.1).
    pub const DEFAULT: Self = Self(Scope::Batch.bit() | Scope::Execute.bit() | Scope::ServicesRead.bit());
    /// What keys of releases without scopes may do: everything but administer the tenant.
    pub const LEGACY: Self = Self(Self::DEFAULT.0 | Scope::ServicesWrite.bit());
    /// Everything.
    pub const EVERYTHING: Self = Self(Scope::TenantAdmin.bit());

    /// Whether what demands `scope` is permitted.
    pub const fn allow(self, scope: Scope) -> bool {
        let implied = match scope {
            Scope::ServicesRead => Scope::ServicesWrite.bit(),
            _ => 0,
        };
        self.0 & (scope.bit() | implied | Scope::TenantAdmin.bit()) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes that were given, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.0 & scope.bit() != 0)
    }

    /// The names, as stored.
    pub fn names(self) -> Vec<String> {
        self.iter().map(|scope| scope.as_str().to_owned()).collect()
    }

    /// What a text between spaces, or a stored list, names; words that are no scopes count for nothing: tokens carry
    /// others' scopes, and a newer release may know more.
    pub fn known<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        words.into_iter().filter_map(|word| word.parse().ok()).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Scope::as_str))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn names_are_read_back() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse::<Scope>().unwrap(), scope);
        }
        assert!("batches".parse::<Scope>().unwrap_err().to_string().contains("services:read"));
        let names = Scopes::LEGACY.names();
        assert_eq!(names, ["batch", "execute", "services:read", "services:write"]);
        assert_eq!(Scopes::known(names.iter().map(String::as_str)), Scopes::LEGACY);
        assert_eq!(Scopes::known("openid batch profile".split(' ')).names(), ["batch"]);
    }

    #[test]
    fn some_scopes_include_others() {
        let only = |scope: Scope| Scopes::from_iter([scope]);
        assert!(Scope::ALL.into_iter().all(|scope| Scopes::EVERYTHING.allow(scope)));
        assert!(only(Scope::ServicesWrite).allow(Scope::ServicesRead));
        assert!(!only(Scope::ServicesRead).allow(Scope::ServicesWrite));
        for given in Scope::ALL.into_iter().filter(|scope| *scope != Scope::TenantAdmin) {
            for wanted in [Scope::TenantAdmin, Scope::AuditRead, Scope::Batch] {
                assert_eq!(only(given).allow(wanted), given == wanted, "{given} for {wanted}");
            }
        }
        assert!(Scopes::default().is_empty() && !Scopes::default().allow(Scope::Batch));
    }
}
