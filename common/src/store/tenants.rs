//! Tenants and their quotas (control plane).

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
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
    /// Bytes of finished results that were not pulled, over all its batches, from which on pushes wait; `None`: `capacity_bytes`.
    pub output_capacity_bytes: Option<i64>,
}

/// Quotas to change; what is `None` stays. Amounts in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the fields are those of Tenant")]
pub struct TenantChange {
    pub capacity_bytes: Option<i64>,
    pub max_input_bytes: Option<i64>,
    pub max_output_bytes: Option<i64>,
    pub output_capacity_bytes: Option<i64>,
    pub max_workers: Option<i32>,
    pub initial_workers: Option<i32>,
    pub weight: Option<i32>,
}

impl TenantChange {
    /// What changes, for the audit trail.
    fn details(&self) -> Json {
        let mut details = json!({
            "capacity_bytes": self.capacity_bytes,
            "max_input_bytes": self.max_input_bytes,
            "max_output_bytes": self.max_output_bytes,
            "output_capacity_bytes": self.output_capacity_bytes,
            "max_workers": self.max_workers,
            "initial_workers": self.initial_workers,
            "weight": self.weight,
        });
        if let Json::Object(details) = &mut details {
            details.retain(|_, value| !value.is_null());
        }
        details
    }
}

/// The results that a tenant's batches hold for pulls, over the batches that have a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantOutput {
    /// Bytes that were not pulled.
    pub used_bytes: i64,
    /// From here on nothing new is taken.
    pub capacity_bytes: i64,
    /// Bytes that were pulled so far; falls when a batch gives its reservation back.
    pub freed_bytes: i64,
    /// The database's clock.
    pub now: DateTime<Utc>,
}

impl TenantOutput {
    /// Whether nothing new is taken for any of the tenant's batches.
    pub const fn is_full(&self) -> bool {
        self.used_bytes >= self.capacity_bytes
    }
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
         not api, auth, dashboard, health, livez, metrics, readyz or stats"
    )]
    Name(String),
    /// The store failed; [`StoreError::Conflict`] when the name is taken.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Names that begin paths of the API itself.
const RESERVED: [&str; 8] = ["api", "auth", "dashboard", "health", "livez", "metrics", "readyz", "stats"];

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
                 (id, name, capacity_bytes, max_input_bytes, max_output_bytes, max_workers, initial_workers,
                  output_capacity_bytes)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             RETURNING *",
            Uuid::now_v7(),
            name,
            quotas.capacity_bytes,
            quotas.max_input_bytes,
            quotas.max_output_bytes,
            quotas.max_workers,
            quotas.initial_workers,
            quotas.output_capacity_bytes,
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

    /// Changes quotas of the tenant of this name. Batches that run keep the buffers that they have; workers heed the rest with their
    /// next plan. `None`: there is no such tenant.
    pub async fn change_tenant(
        &self,
        name: &str,
        change: &TenantChange,
    ) -> Result<Option<Tenant>, StoreError> {
        let mut tx = self.control.begin().await?;
        let changed = sqlx::query_as!(
            Tenant,
            "UPDATE tenants SET capacity_bytes = coalesce($2, capacity_bytes),
                 max_input_bytes = coalesce($3, max_input_bytes), max_output_bytes = coalesce($4, max_output_bytes),
                 output_capacity_bytes = coalesce($5, output_capacity_bytes), max_workers = coalesce($6, max_workers),
                 initial_workers = coalesce($7, initial_workers), weight = coalesce($8, weight)
             WHERE lower(name) = lower($1) RETURNING *",
            name,
            change.capacity_bytes,
            change.max_input_bytes,
            change.max_output_bytes,
            change.output_capacity_bytes,
            change.max_workers,
            change.initial_workers,
            change.weight,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(tenant) = changed else { return Ok(None) };
        self.audit(&mut tx, tenant.id, Change::new(Action::TenantUpdate, tenant.id, change.details()))
            .await?;
        tx.commit().await?;
        Ok(Some(tenant))
    }

    /// How full the tenant's output buffer is (contract 3.6).
    pub async fn tenant_output(&self, tenant_id: Uuid) -> Result<TenantOutput, StoreError> {
        sqlx::query_as!(
            TenantOutput,
            r#"SELECT coalesce(t.output_capacity_bytes, t.capacity_bytes) AS "capacity_bytes!",
                   coalesce(sum(s.output_bytes), 0)::bigint AS "used_bytes!",
                   coalesce(sum(s.output_total - s.output_bytes), 0)::bigint AS "freed_bytes!",
                   clock_timestamp() AS "now!"
               FROM tenants t LEFT JOIN (batches b JOIN batch_sums s ON s.batch_id = b.id)
                   ON b.tenant_id = t.id AND b.released_at IS NULL
               WHERE t.id = $1 GROUP BY t.id"#,
            tenant_id
        )
        .fetch_optional(&self.control)
        .await?
        .ok_or(StoreError::NotFound("tenant"))
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
        for bad in [
            "",
            "-a",
            ".a",
            "a b",
            "a/b",
            "ä",
            "API",
            "health",
            "metrics",
            "Dashboard",
            "stats",
            &"a".repeat(65),
        ] {
            assert!(!is_tenant_name(bad), "{bad}");
        }
    }
}
