//! Tenants and their quotas (control plane).

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::audit::Change;
use super::{Store, StoreError};
use crate::config::TenantsConfig;
use crate::model::Action;

/// An owner of services, batches, keys and quotas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: Uuid,
    /// The name in paths; unique without regard to case.
    pub name: String,
    /// Bytes that its live batches may reserve together, input and output.
    pub capacity_bytes: i64,
    /// Largest input buffer of one batch, in bytes.
    pub max_input_bytes: i64,
    /// Largest output buffer of one batch, in bytes.
    pub max_output_bytes: i64,
    /// Most slots that it may use.
    pub max_workers: i32,
    /// `initial_workers` of a batch that names none.
    pub initial_workers: i32,
    /// Its share against other tenants.
    pub weight: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Requests a second that one replica of the API takes; `None`: the server's setting, 0: no limit.
    pub requests_per_second: Option<i32>,
    /// Pushed bytes a second that one replica of the API takes; `None`: the server's setting, 0: no limit.
    pub push_bytes_per_second: Option<i64>,
}

/// The rate limits of a tenant, for one replica of the API each. `None`: the server's setting, 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TenantLimits {
    /// Requests a second.
    pub requests_per_second: Option<i32>,
    /// Pushed bytes a second, after decompression.
    pub push_bytes_per_second: Option<i64>,
}

impl Tenant {
    /// Its rate limits.
    pub const fn limits(&self) -> TenantLimits {
        TenantLimits {
            requests_per_second: self.requests_per_second,
            push_bytes_per_second: self.push_bytes_per_second,
        }
    }
}

/// Why a tenant could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateTenantError {
    /// The name cannot stand in a path.
    #[error(
        "{0:?} is not a tenant name: 1 to 64 letters, digits, '-', '_' and '.', beginning with a letter or digit; \
         not api, auth, health, livez or readyz"
    )]
    Name(String),
    /// The store failed; [`StoreError::Conflict`] when the name is taken.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Names that begin paths of the API itself.
const RESERVED: [&str; 5] = ["api", "auth", "health", "livez", "readyz"];

fn is_tenant_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

impl Store {
    /// Makes a tenant with the given quotas.
    pub async fn create_tenant(
        &self,
        name: &str,
        quotas: &TenantsConfig,
    ) -> Result<Tenant, CreateTenantError> {
        if !is_tenant_name(name) {
            return Err(CreateTenantError::Name(name.to_owned()));
        }
        let mut tx = self.control.begin().await.map_err(StoreError::from)?;
        let tenant = sqlx::query_as!(
            Tenant,
            "INSERT INTO tenants
                 (id, name, capacity_bytes, max_input_bytes, max_output_bytes, max_workers, initial_workers)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             RETURNING *",
            Uuid::now_v7(),
            name,
            quotas.capacity_bytes,
            quotas.max_input_bytes,
            quotas.max_output_bytes,
            quotas.max_workers,
            quotas.initial_workers,
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::from)?;
        let details = json!({"name": tenant.name, "capacity_bytes": tenant.capacity_bytes, "max_workers": tenant.max_workers});
        self.audit(&mut tx, tenant.id, Change::new(Action::TenantCreate, tenant.id, details)).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(tenant)
    }

    /// Sets the rate limits of a tenant; API replicas follow within seconds. False when there is no such tenant.
    pub async fn set_tenant_limits(&self, name: &str, limits: TenantLimits) -> Result<bool, StoreError> {
        let mut tx = self.control.begin().await?;
        let id = sqlx::query_scalar!(
            "UPDATE tenants SET requests_per_second = $2, push_bytes_per_second = $3
             WHERE lower(name) = lower($1) RETURNING id",
            name,
            limits.requests_per_second,
            limits.push_bytes_per_second
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(id) = id else { return Ok(false) };
        let details = json!({
            "requests_per_second": limits.requests_per_second, "push_bytes_per_second": limits.push_bytes_per_second,
        });
        self.audit(&mut tx, id, Change::new(Action::TenantUpdate, id, details)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// All tenants by name.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        Ok(sqlx::query_as!(Tenant, "SELECT * FROM tenants ORDER BY lower(name)")
            .fetch_all(&self.control)
            .await?)
    }

    /// The tenant of this name, without regard to case.
    pub async fn tenant(&self, name: &str) -> Result<Option<Tenant>, StoreError> {
        Ok(sqlx::query_as!(Tenant, "SELECT * FROM tenants WHERE lower(name) = lower($1)", name)
            .fetch_optional(&self.control)
            .await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_stand_in_a_path() {
        for good in ["acme", "Acme-2", "a.b_c", "7"] {
            assert!(is_tenant_name(good), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", "API", "health", &"a".repeat(65)] {
            assert!(!is_tenant_name(bad), "{bad}");
        }
    }
}
