//! API keys (control plane). A key is 256 random bits; only its SHA-256 is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::audit::Change;
use super::{Store, StoreError, TenantLimits};
use crate::config::Secret;
use crate::model::{Action, Caller, Scopes};

/// What every key begins with.
const PREFIX: &str = "mr_";
/// Characters after the prefix: 256 bits.
const CHARACTERS: usize = 43;

/// What a key is made with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyTerms {
    /// Whose it is: `created_by` of what is made with it.
    pub owner: String,
    /// Groups of its owner.
    pub groups: Vec<String>,
    /// What it may be used for. `None`: everything for the first key that a tenant ever gets (contract 4.1), and
    /// [`Scopes::DEFAULT`] for later ones.
    pub scopes: Option<Scopes>,
    /// Until when it works; `None`: until it is revoked.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateKeyError {
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    NoTenant(String),
    /// The end of its life is not in the future, by the database's clock.
    #[error("the key would have expired before it is made")]
    Expired,
    /// A key without scopes is good for nothing.
    #[error("a key needs at least one scope")]
    NoScope,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CreateKeyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A key that was just made: the only time that its secret can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id: what `revoke_key` takes, and the `client_id` of the OAuth flow.
    pub id: Uuid,
    /// The key itself, `mr_` and 43 characters.
    pub secret: Secret,
    /// What it may be used for.
    pub scopes: Scopes,
}

/// What is known about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: Uuid,
    /// The first characters of the key.
    pub hint: String,
    /// Whose it is: `created_by` of what is made with it.
    pub owner: String,
    /// Groups of its owner.
    pub groups: Vec<String>,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// Until when it works.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A valid key and who calls with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOwner {
    /// The key.
    pub key_id: Uuid,
    /// SHA-256 of the key; access tokens are signed with it.
    pub hash: [u8; 32],
    /// Who calls.
    pub caller: Caller,
    /// What the key may be used for.
    pub scopes: Scopes,
    /// The rate limits of the caller's tenant.
    pub limits: TenantLimits,
}

/// The SHA-256 of a key, as stored.
pub fn hash_key(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Whether a text has the form of a key. What has not needs no look-up.
pub fn is_key(text: &str) -> bool {
    text.strip_prefix(PREFIX).is_some_and(|rest| {
        rest.len() == CHARACTERS
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    })
}

/// The scopes of a row; none at all are those of a key that is older than scopes.
fn stored_scopes(stored: Option<&[String]>) -> Scopes {
    stored.map_or(Scopes::LEGACY, |names| Scopes::known(names.iter().map(String::as_str)))
}

/// A row of `api_keys` joined with its tenant.
struct OwnerRow {
    id: Uuid,
    hash: Vec<u8>,
    tenant_id: Uuid,
    tenant: String,
    owner: String,
    groups: Vec<String>,
    scopes: Option<Vec<String>>,
    requests_per_second: Option<i32>,
    push_bytes_per_second: Option<i64>,
    /// Whether its use was noted in the last minute.
    noted: bool,
}

impl TryFrom<OwnerRow> for KeyOwner {
    type Error = StoreError;

    fn try_from(row: OwnerRow) -> Result<Self, StoreError> {
        let hash = row
            .hash
            .try_into()
            .map_err(|_| StoreError::Corrupt(format!("the hash of key {} has not 32 bytes", row.id)))?;
        let scopes = stored_scopes(row.scopes.as_deref());
        let limits = TenantLimits {
            requests_per_second: row.requests_per_second,
            push_bytes_per_second: row.push_bytes_per_second,
        };
        let caller = Caller {
            tenant_id: row.tenant_id,
            tenant: row.tenant,
            name: row.owner,
            groups: row.groups,
            credential: format!("key {}", row.id),
        };
        Ok(Self { key_id: row.id, hash, caller, scopes, limits })
    }
}

/// Keys that work, narrowed by the given condition.
macro_rules! select_owner {
    ($condition:literal, $argument:expr) => {
        sqlx::query_as!(
            OwnerRow,
            r#"SELECT k.id, k.hash, k.tenant_id, t.name AS tenant, k.owner, k.groups, k.scopes, t.requests_per_second,
                   t.push_bytes_per_second,
                   coalesce(k.last_used_at > now() - interval '1 minute', false) AS "noted!"
               FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
               WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now()) AND "# + $condition,
            $argument
        )
    };
}

impl Store {
    /// Makes a key for a tenant.
    pub async fn create_key(&self, tenant_name: &str, terms: &KeyTerms) -> Result<NewKey, CreateKeyError> {
        let mut tx = self.control.begin().await?;
        // Of two first keys only one may become the first.
        let tenant_id = sqlx::query_scalar!(
            "SELECT id FROM tenants WHERE lower(name) = lower($1) FOR UPDATE",
            tenant_name
        )
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| CreateKeyError::NoTenant(tenant_name.to_owned()))?;
        let facts = sqlx::query!(
            r#"SELECT EXISTS (SELECT FROM api_keys WHERE tenant_id = $1) AS "later!",
                   coalesce($2::timestamptz <= clock_timestamp(), false) AS "expired!""#,
            tenant_id,
            terms.expires_at
        )
        .fetch_one(&mut *tx)
        .await?;
        if facts.expired {
            return Err(CreateKeyError::Expired);
        }
        let scopes = terms.scopes.unwrap_or(if facts.later { Scopes::DEFAULT } else { Scopes::EVERYTHING });
        if scopes.is_empty() {
            return Err(CreateKeyError::NoScope);
        }
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let hint = &secret[..PREFIX.len() + 4];
        let id = Uuid::now_v7();
        let hash = hash_key(&secret);
        sqlx::query!(
            "INSERT INTO api_keys (id, tenant_id, hash, hint, owner, groups, scopes, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            id,
            tenant_id,
            hash.as_slice(),
            hint,
            terms.owner,
            &terms.groups,
            &scopes.names(),
            terms.expires_at,
        )
        .execute(&mut *tx)
        .await?;
        let details = json!({
            "owner": terms.owner, "groups": terms.groups, "scopes": scopes, "expires_at": terms.expires_at, "hint": hint,
        });
        self.audit(&mut tx, tenant_id, Change::new(Action::KeyCreate, id, details)).await?;
        tx.commit().await?;
        Ok(NewKey { id, secret: Secret::new(secret), scopes })
    }

    /// The keys of a tenant, oldest first, revoked and expired ones included.
    pub async fn keys(&self, tenant_name: &str) -> Result<Vec<ApiKey>, StoreError> {
        let rows = sqlx::query!(
            "SELECT k.id, k.hint, k.owner, k.groups, k.scopes, k.created_at, k.last_used_at, k.expires_at, k.revoked_at
             FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
             WHERE lower(t.name) = lower($1) ORDER BY k.created_at, k.id",
            tenant_name
        )
        .fetch_all(&self.control)
        .await?;
        let keys = rows.into_iter().map(|row| ApiKey {
            id: row.id,
            hint: row.hint,
            owner: row.owner,
            groups: row.groups,
            scopes: stored_scopes(row.scopes.as_deref()),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        });
        Ok(keys.collect())
    }

    /// Makes a key useless; with a tenant, only one of its keys. False when it does not exist or was revoked before. Servers
    /// that have just seen the key forget it within seconds.
    pub async fn revoke_key(&self, tenant_id: Option<Uuid>, id: Uuid) -> Result<bool, StoreError> {
        let mut tx = self.control.begin().await?;
        let revoked = sqlx::query!(
            "UPDATE api_keys SET revoked_at = now()
             WHERE id = $1 AND revoked_at IS NULL AND ($2::uuid IS NULL OR tenant_id = $2)
             RETURNING tenant_id, owner, hint",
            id,
            tenant_id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(key) = revoked else { return Ok(false) };
        let details = json!({"owner": key.owner, "hint": key.hint});
        self.audit(&mut tx, key.tenant_id, Change::new(Action::KeyRevoke, id, details)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Who calls with the key of this hash; `None` when it is unknown, revoked or expired. Notes the use, at most once a minute.
    pub async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<KeyOwner>, StoreError> {
        let row = select_owner!("k.hash = $1", hash.as_slice()).fetch_optional(&self.control).await?;
        self.used(row).await
    }

    /// As [`Store::key_by_hash`], by the key's id: for access tokens, which name the key and are signed with its hash.
    pub async fn key_by_id(&self, id: Uuid) -> Result<Option<KeyOwner>, StoreError> {
        let row = select_owner!("k.id = $1", id).fetch_optional(&self.control).await?;
        self.used(row).await
    }

    async fn used(&self, row: Option<OwnerRow>) -> Result<Option<KeyOwner>, StoreError> {
        let Some(row) = row else { return Ok(None) };
        if !row.noted {
            sqlx::query!("UPDATE api_keys SET last_used_at = now() WHERE id = $1", row.id)
                .execute(&self.control)
                .await?;
        }
        row.try_into().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_the_form_of_a_key_is_none() {
        let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([0xFF; 32]));
        assert!(is_key(&key));
        for text in ["", "mr_", "mr_wrong", &key[1..], &format!("{key}A"), &key.replace('_', "/"), &key[..45]]
        {
            assert!(!is_key(text), "{text}");
        }
    }

    #[test]
    fn keys_older_than_scopes_keep_what_they_could_do() {
        assert_eq!(stored_scopes(None), Scopes::LEGACY);
        assert!(stored_scopes(Some(&[])).is_empty());
        assert_eq!(stored_scopes(Some(&["batch".to_owned(), "later:scope".to_owned()])).names(), ["batch"]);
    }
}
