//! Settings of the dashboard.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// The web page at `/dashboard/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DashboardConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// The client by which people sign in at an issuer of `auth.issuers` (OpenID Connect: authorization code with PKCE, a public
    /// client without a secret). Empty: by key alone.
    pub oidc_client_id: String,
    /// Where people sign in.
    pub oidc_authorization_endpoint: String,
    /// Where their browser exchanges the code for a token.
    pub oidc_token_endpoint: String,
    /// The scopes that are asked for, with spaces between.
    pub oidc_scope: String,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            oidc_client_id: String::new(),
            oidc_authorization_endpoint: String::new(),
            oidc_token_endpoint: String::new(),
            oidc_scope: "openid profile".to_owned(),
        }
    }
}

impl DashboardConfig {
    /// Whether people can sign in at an issuer.
    pub const fn has_oidc(&self) -> bool {
        !self.oidc_client_id.is_empty()
    }

    /// The origin of the token endpoint, which is all that the page may ask besides its own server.
    pub fn token_origin(&self) -> Option<&str> {
        origin(&self.oidc_token_endpoint)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let endpoints = [
            ("oidc_authorization_endpoint", &self.oidc_authorization_endpoint),
            ("oidc_token_endpoint", &self.oidc_token_endpoint),
        ];
        for (name, endpoint) in endpoints {
            if self.has_oidc() && origin(endpoint).is_none() {
                let message =
                    format!("dashboard.{name} must be an http or https URL, for dashboard.oidc_client_id");
                return Err(ConfigError::Contradiction(message));
            }
            if !self.has_oidc() && !endpoint.is_empty() {
                return Err(ConfigError::Contradiction(format!(
                    "dashboard.{name} needs dashboard.oidc_client_id"
                )));
            }
        }
        Ok(())
    }
}

/// Scheme, host and port of a URL; only what can stand in a content security policy.
fn origin(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let ok = !authority.is_empty() && authority.chars().all(plain);
    url.get(..url.len() - rest.len() + authority.len()).filter(|_| ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_a_policy_can_name() {
        assert_eq!(origin("https://login.example.com/realms/a/token?x"), Some("https://login.example.com"));
        assert_eq!(origin("http://[::1]:8080"), Some("http://[::1]:8080"));
        for bad in [
            "",
            "login.example.com",
            "ftp://a",
            "https://",
            "https:///x",
            "https://a b/",
            "https://a;b/",
            "https://u@h/",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }

    #[test]
    fn endpoints_and_the_client_go_together() {
        let config = DashboardConfig {
            oidc_client_id: "millrace".to_owned(),
            oidc_authorization_endpoint: "https://login.example.com/auth".to_owned(),
            oidc_token_endpoint: "https://login.example.com/token".to_owned(),
            ..DashboardConfig::default()
        };
        assert!(DashboardConfig::default().check().is_ok() && config.check().is_ok());
        for half in [
            DashboardConfig { oidc_client_id: String::new(), ..config.clone() },
            DashboardConfig { oidc_token_endpoint: "/token".to_owned(), ..config.clone() },
            DashboardConfig { oidc_authorization_endpoint: String::new(), ..config },
        ] {
            assert!(half.check().is_err(), "{half:?}");
        }
    }
}
