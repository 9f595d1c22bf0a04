//! Tenants and their quotas (control plane).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::config::TenantsConfig;

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
        .fetch_one(&self.control)
        .await
        .map_err(StoreError::from)?;
        Ok(tenant)
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
