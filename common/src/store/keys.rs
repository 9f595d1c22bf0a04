//! API keys (control plane). A key is 256 random bits; only its SHA-256 is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::config::Secret;
use crate::model::Caller;

/// What every key begins with.
const PREFIX: &str = "mr_";

/// A key that was just made: the only time that its secret can be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id: what `revoke_key` takes, and the `client_id` of the OAuth flow.
    pub id: Uuid,
    /// The key itself, `mr_` and 43 characters.
    pub secret: Secret,
}

/// What is known about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: Uuid,
    /// The tenant that it acts for.
    pub tenant: String,
    /// The first characters of the key.
    pub hint: String,
    /// Whose it is: `created_by` of what is made with it.
    pub owner: String,
    /// Groups of its owner.
    pub groups: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
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
}

/// The SHA-256 of a key, as stored.
pub fn hash_key(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// A row of `api_keys` joined with its tenant.
struct OwnerRow {
    id: Uuid,
    hash: Vec<u8>,
    tenant_id: Uuid,
    tenant: String,
    owner: String,
    groups: Vec<String>,
}

impl TryFrom<OwnerRow> for KeyOwner {
    type Error = StoreError;

    fn try_from(row: OwnerRow) -> Result<Self, StoreError> {
        let hash = row
            .hash
            .try_into()
            .map_err(|_| StoreError::Corrupt(format!("the hash of key {} has not 32 bytes", row.id)))?;
        let caller =
            Caller { tenant_id: row.tenant_id, tenant: row.tenant, name: row.owner, groups: row.groups };
        Ok(Self { key_id: row.id, hash, caller })
    }
}

impl Store {
    /// Makes a key. [`StoreError::NotFound`] when there is no such tenant.
    pub async fn create_key(
        &self,
        tenant_name: &str,
        owner: &str,
        groups: &[String],
    ) -> Result<NewKey, StoreError> {
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let hint = &secret[..PREFIX.len() + 4];
        let id = Uuid::now_v7();
        let hash = hash_key(&secret);
        let made = sqlx::query!(
            "INSERT INTO api_keys (id, tenant_id, hash, hint, owner, groups)
             SELECT $1, id, $3, $4, $5, $6 FROM tenants WHERE lower(name) = lower($2)",
            id,
            tenant_name,
            hash.as_slice(),
            hint,
            owner,
            groups,
        )
        .execute(&self.control)
        .await?;
        if made.rows_affected() == 0 {
            return Err(StoreError::NotFound("tenant"));
        }
        Ok(NewKey { id, secret: Secret::new(secret) })
    }

    /// The keys of a tenant, oldest first, revoked ones included.
    pub async fn keys(&self, tenant_name: &str) -> Result<Vec<ApiKey>, StoreError> {
        Ok(sqlx::query_as!(
            ApiKey,
            "SELECT k.id, t.name AS tenant, k.hint, k.owner, k.groups, k.created_at, k.last_used_at, k.revoked_at
             FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
             WHERE lower(t.name) = lower($1) ORDER BY k.created_at",
            tenant_name
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// Makes a key useless. False when it does not exist or was revoked before. Servers that have just seen the key
    /// forget it within seconds.
    pub async fn revoke_key(&self, id: Uuid) -> Result<bool, StoreError> {
        let revoked =
            sqlx::query!("UPDATE api_keys SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL", id)
                .execute(&self.control)
                .await?;
        Ok(revoked.rows_affected() == 1)
    }

    /// Who calls with the key of this hash; `None` when it is unknown or revoked. Notes the use, at most once a minute.
    pub async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<KeyOwner>, StoreError> {
        let row = sqlx::query_as!(
            OwnerRow,
            "SELECT k.id, k.hash, k.tenant_id, t.name AS tenant, k.owner, k.groups
             FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
             WHERE k.hash = $1 AND k.revoked_at IS NULL",
            hash.as_slice()
        )
        .fetch_optional(&self.control)
        .await?;
        self.used(row).await
    }

    /// As [`Store::key_by_hash`], by the key's id: for access tokens, which name the key and are signed with its hash.
    pub async fn key_by_id(&self, id: Uuid) -> Result<Option<KeyOwner>, StoreError> {
        let row = sqlx::query_as!(
            OwnerRow,
            "SELECT k.id, k.hash, k.tenant_id, t.name AS tenant, k.owner, k.groups
             FROM api_keys k JOIN tenants t ON t.id = k.tenant_id
             WHERE k.id = $1 AND k.revoked_at IS NULL",
            id
        )
        .fetch_optional(&self.control)
        .await?;
        self.used(row).await
    }

    async fn used(&self, row: Option<OwnerRow>) -> Result<Option<KeyOwner>, StoreError> {
        let Some(row) = row else { return Ok(None) };
        sqlx::query!(
            "UPDATE api_keys SET last_used_at = now()
             WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
            row.id
        )
        .execute(&self.control)
        .await?;
        row.try_into().map(Some)
    }
}
