//! Settings of who may do what, and of what is noted about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::model::Scope;

/// Who callers are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Look-ups a second of credentials that were not seen before, from one address; further ones get 429. 0: no limit.
    pub lookups_per_second: u32,
    /// How far the clocks of issuers may be off, in seconds.
    pub clock_skew_seconds: u64,
    /// The keys of an issuer are read again after this long, in seconds.
    pub jwks_refresh_seconds: u64,
    /// Deadline of reading the keys of an issuer, in milliseconds.
    pub jwks_timeout_ms: u64,
    /// What tokens may be used for that carry none of Millrace's scopes, with spaces between; empty: nothing.
    pub default_scopes: String,
    /// A PEM file with the authorities that `https` addresses of key sets are checked against; empty: those of the system.
    pub tls_ca: String,
    /// Issuers of JSON Web Tokens, by names of your own.
    pub issuers: BTreeMap<String, IssuerConfig>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            lookups_per_second: 100,
            clock_skew_seconds: 60,
            jwks_refresh_seconds: 300,
            jwks_timeout_ms: 5_000,
            default_scopes: "batch execute services:read".to_owned(),
            tls_ca: String::new(),
            issuers: BTreeMap::new(),
        }
    }
}

/// An issuer of JSON Web Tokens. Claims may be paths, with dots between names: `realm_access.roles`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IssuerConfig {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The `aud` of tokens that are meant for Millrace; several with commas between.
    pub audience: String,
    /// Where its JSON Web Key Set is. Either this or `jwks_file`.
    pub jwks_url: String,
    /// The same as a file.
    pub jwks_file: String,
    /// The only tenant that its tokens are good for; empty: the one that the tenant claim names.
    pub tenant: String,
    /// The claim with the tenant.
    pub tenant_claim: String,
    /// The claim with the user's name; `sub` where a token has it not.
    pub user_claim: String,
    /// The claim with the user's groups.
    pub groups_claim: String,
    /// The claim with the scopes.
    pub scope_claim: String,
}

impl Default for IssuerConfig {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            audience: "product-factory".to_owned(),
            jwks_url: String::new(),
            jwks_file: String::new(),
            tenant: String::new(),
            tenant_claim: "realm".to_owned(),
            user_claim: "preferred_username".to_owned(),
            groups_claim: "groups".to_owned(),
            scope_claim: "scope".to_owned(),
        }
    }
}

impl AuthConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let contradiction = |text: String| Err(ConfigError::Contradiction(text));
        for scope in self.default_scopes.split_whitespace() {
            if let Err(error) = scope.parse::<Scope>() {
                return contradiction(format!("auth.default_scopes: {error}"));
            }
        }
        for (name, issuer) in &self.issuers {
            if issuer.issuer.is_empty()
                || issuer.audience.split(',').any(|audience| audience.trim().is_empty())
            {
                return contradiction(format!("auth.issuers.{name} needs an issuer and an audience"));
            }
            if issuer.jwks_url.is_empty() == issuer.jwks_file.is_empty() {
                return contradiction(format!("auth.issuers.{name} needs either jwks_url or jwks_file"));
            }
            let twice =
                self.issuers.iter().find(|(other, same)| *other != name && same.issuer == issuer.issuer);
            if let Some((other, _)) = twice {
                return contradiction(format!("auth.issuers.{name} and {other} are the same issuer"));
            }
        }
        Ok(())
    }
}

/// Rate limits of a tenant that has none of its own. Each replica of the API counts for itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitsConfig {
    /// Requests a second of one tenant; 0: no limit.
    pub requests_per_second: u32,
    /// Pushed bytes a second of one tenant, after decompression; 0: no limit.
    pub push_bytes_per_second: u32,
}

/// The audit trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Entries are removed after this many days; 0 keeps them for ever.
    pub retention_days: u32,
    /// Whether the address that a change came from is noted.
    pub source_address: bool,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { retention_days: 400, source_address: false }
    }
}
