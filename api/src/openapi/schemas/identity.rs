//! Keys, tokens, the audit trail.

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// A key to be made.
#[derive(Debug, ToSchema)]
pub struct CreateKey {
    /// Who owns what is made with it; the caller when absent.
    #[schema(min_length = 1, max_length = 200)]
    pub owner: Option<String>,
    /// Groups of the owner.
    #[schema(max_items = 50)]
    pub groups: Option<Vec<String>>,
    /// What it permits; `batch`, `execute` and `services:read` when absent.
    pub scopes: Option<Vec<String>>,
    /// When it ends; never when absent.
    pub expires_at: Option<String>,
}

/// A new key.
#[derive(Debug, ToSchema)]
pub struct CreatedKey {
    /// `key`
    pub object: String,
    /// Its id, which is no secret: `client_id` of a token request.
    pub id: Uuid,
    /// The key itself; it is not shown again.
    pub key: String,
    /// Who owns what is made with it.
    pub owner: String,
    /// Groups of the owner.
    pub groups: Vec<String>,
    /// What it permits.
    pub scopes: Vec<String>,
    /// When it ends.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
}

/// A list.
#[derive(Debug, ToSchema)]
pub struct List<T> {
    /// `list`
    pub object: String,
    /// The entries.
    pub data: Vec<T>,
}

/// A key, without the key itself.
#[derive(Debug, ToSchema)]
pub struct ListedKey {
    /// `key`
    pub object: String,
    /// Its id.
    pub id: Uuid,
    /// Its beginning.
    pub hint: String,
    /// Who owns what is made with it.
    pub owner: String,
    /// Groups of the owner.
    pub groups: Vec<String>,
    /// What it permits; null for keys of releases before scopes.
    pub scopes: Option<Vec<String>>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was last used.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    /// When it ends.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was revoked.
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
}

/// A key that was revoked.
#[derive(Debug, ToSchema)]
pub struct RevokedKey {
    /// `key`
    pub object: String,
    /// Its id.
    pub id: Uuid,
    /// Always true.
    pub revoked: bool,
}

/// A part of the audit trail.
#[derive(Debug, ToSchema)]
pub struct AuditPage {
    /// `list`
    pub object: String,
    /// The entries, in the order of their making.
    pub data: Vec<AuditRecord>,
    /// What to give as `after` next.
    pub next_after: i64,
    /// Whether there are more after these; always false without `after`.
    pub has_more: bool,
}

/// Who changed what.
#[derive(Debug, ToSchema)]
pub struct AuditRecord {
    /// Its number.
    pub id: i64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who.
    pub actor: String,
    /// With which credential.
    pub credential: String,
    /// What was done.
    #[schema(example = "batch.create")]
    pub action: String,
    /// To what.
    pub object: String,
    /// What came of it.
    pub outcome: String,
    /// What it changed.
    pub details: Option<Value>,
    /// The request that did it.
    pub request_id: Option<String>,
    /// Where that came from, where addresses are kept.
    pub source: Option<String>,
}

/// A request for a token (OAuth2 client credentials).
#[derive(Debug, ToSchema)]
pub struct TokenRequest {
    /// `client_credentials`
    #[schema(pattern = "^client_credentials$", example = "client_credentials")]
    pub grant_type: String,
    /// The id of an API key.
    pub client_id: String,
    /// The key.
    pub client_secret: String,
}

/// A token.
#[derive(Debug, ToSchema)]
pub struct Token {
    /// The token, for `Authorization: Bearer`.
    pub access_token: String,
    /// Seconds until it ends.
    pub expires_in: i64,
    /// Always 0.
    pub refresh_expires_in: i64,
    /// `Bearer`
    pub token_type: String,
    /// Always 0.
    #[schema(rename = "not-before-policy")]
    pub not_before_policy_hyphenated: i64,
    /// Always 0.
    pub not_before_policy: i64,
    /// What it permits, separated by blanks.
    pub scope: String,
}

/// Why there is no token (RFC 6749, 5.2).
#[derive(Debug, ToSchema)]
pub struct TokenRefusal {
    /// `invalid_client` or `unsupported_grant_type`.
    pub error: String,
    /// For people.
    pub error_description: String,
}

/// Whether the server is up.
#[derive(Debug, ToSchema)]
pub struct Health {
    /// `UP` or `DOWN`.
    #[schema(pattern = "^(UP|DOWN)$")]
    pub status: String,
    /// What was looked at.
    pub checks: Option<Value>,
}
