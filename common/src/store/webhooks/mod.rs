//! Webhooks: subscriptions, their secrets, and the messages to them (control plane).

mod attempts;
mod deliveries;

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::audit::Change;
use super::{Store, StoreError};
use crate::model::Action;

pub use attempts::{Attempt, AttemptResult, ClaimLimits, RetryRules};
pub(super) use deliveries::announce;
pub use deliveries::{Deliveries, Delivery, DeliveryState};

/// Who is told when batches end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: Uuid,
    /// Where messages go.
    pub url: String,
    /// Free text.
    pub description: String,
    /// Names of the events that it is told.
    pub events: Vec<String>,
    /// Whether it is told anything.
    pub active: bool,
    /// Whether it is told about every batch of the tenant, or only about those of its creator.
    pub all_batches: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// The first failure since the last success.
    pub failing_since: Option<DateTime<Utc>>,
    /// Why it was switched off by itself.
    pub disabled_reason: Option<String>,
}

/// What a webhook is made from.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of `Webhook`")]
pub struct NewWebhook {
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub url: String,
    /// Host and port of the URL.
    pub host: String,
    pub description: String,
    pub events: Vec<String>,
    pub active: bool,
    pub all_batches: bool,
    pub created_by: String,
    /// The secret as it is stored.
    pub secret: Vec<u8>,
}

/// What is to change; `None` leaves things as they are.
#[derive(Debug, Clone, Default)]
pub struct WebhookUpdate {
    /// URL, and its host and port.
    pub url: Option<(String, String)>,
    /// Free text.
    pub description: Option<String>,
    /// Names of events.
    pub events: Option<Vec<String>>,
    /// Switching it on forgets why it was off; switching it off gives its waiting messages up.
    pub active: Option<bool>,
}

/// Whose webhooks a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookScope {
    /// The tenant.
    pub tenant_id: Uuid,
    /// Only those that this caller made for batches of its own; `None` for all. What somebody made as a supervisor is out of
    /// reach of the same name without that role: it tells of everybody's batches.
    pub owner: Option<String>,
}

impl Store {
    /// Makes a webhook; `None` when the tenant has `limit` of them already.
    pub async fn create_webhook(&self, new: &NewWebhook, limit: u32) -> Result<Option<Webhook>, StoreError> {
        let mut tx = self.control.begin().await?;
        // One creation at a time per tenant: two must not both be the last that fits.
        sqlx::query!("SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE", new.tenant_id)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(StoreError::NotFound("tenant"))?;
        let made = sqlx::query_as!(
            Webhook,
            "INSERT INTO webhooks (id, tenant_id, url, host, description, events, active, all_batches, created_by, secret)
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
             WHERE (SELECT count(*) FROM webhooks WHERE tenant_id = $2 AND deleted_at IS NULL) < $11
             RETURNING id, url, description, events, active, all_batches, created_by, created_at, updated_at,
                 failing_since, disabled_reason",
            new.id,
            new.tenant_id,
            new.url,
            new.host,
            new.description,
            &new.events,
            new.active,
            new.all_batches,
            new.created_by,
            new.secret,
            i64::from(limit)
        )
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(webhook) = &made {
            // The whole URL may hold what only its owner should know.
            let details =
                json!({"host": new.host, "events": webhook.events, "all_batches": webhook.all_batches});
            self.audit(&mut tx, new.tenant_id, Change::new(Action::WebhookCreate, webhook.id, details))
                .await?;
        }
        tx.commit().await?;
        Ok(made)
    }

    /// The webhooks in the scope, oldest first.
    pub async fn webhooks(&self, scope: &WebhookScope) -> Result<Vec<Webhook>, StoreError> {
        Ok(sqlx::query_as!(
            Webhook,
            "SELECT id, url, description, events, active, all_batches, created_by, created_at, updated_at,
                 failing_since, disabled_reason
             FROM webhooks WHERE tenant_id = $1 AND deleted_at IS NULL
               AND ($2::text IS NULL OR (created_by = $2 AND NOT all_batches)) ORDER BY created_at, id",
            scope.tenant_id,
            scope.owner
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// The webhook, if it is in the scope.
    pub async fn webhook(&self, scope: &WebhookScope, id: Uuid) -> Result<Option<Webhook>, StoreError> {
        Ok(sqlx::query_as!(
            Webhook,
            "SELECT id, url, description, events, active, all_batches, created_by, created_at, updated_at,
                 failing_since, disabled_reason
             FROM webhooks WHERE id = $3 AND tenant_id = $1 AND deleted_at IS NULL
               AND ($2::text IS NULL OR (created_by = $2 AND NOT all_batches))",
            scope.tenant_id,
            scope.owner,
            id
        )
        .fetch_optional(&self.control)
        .await?)
    }

    /// Changes a webhook, if it is in the scope.
    pub async fn update_webhook(
        &self,
        scope: &WebhookScope,
        id: Uuid,
        update: &WebhookUpdate,
    ) -> Result<Option<Webhook>, StoreError> {
        let mut tx = self.control.begin().await?;
        let (url, host) = update.url.as_ref().map(|(url, host)| (url.as_str(), host.as_str())).unzip();
        let changed = sqlx::query_as!(
            Webhook,
            "UPDATE webhooks SET url = coalesce($4, url), host = coalesce($5, host),
                 description = coalesce($6, description), events = coalesce($7, events), active = coalesce($8, active),
                 failing_since = CASE WHEN $8 THEN NULL ELSE failing_since END,
                 disabled_reason = CASE WHEN $8 IS NULL THEN disabled_reason END,
                 updated_at = clock_timestamp()
             WHERE id = $3 AND tenant_id = $1 AND deleted_at IS NULL
               AND ($2::text IS NULL OR (created_by = $2 AND NOT all_batches))
             RETURNING id, url, description, events, active, all_batches, created_by, created_at, updated_at,
                 failing_since, disabled_reason",
            scope.tenant_id,
            scope.owner,
            id,
            url,
            host,
            update.description,
            update.events.as_deref(),
            update.active
        )
        .fetch_optional(&mut *tx)
        .await?;
        if changed.is_some() {
            sqlx::query!(
                "UPDATE webhook_deliveries d SET host = w.host,
                     state = CASE WHEN w.active THEN d.state ELSE 'dead' END,
                     last_error = CASE WHEN w.active THEN d.last_error ELSE 'the webhook was switched off' END,
                     finished_at = CASE WHEN w.active THEN NULL ELSE clock_timestamp() END
                 FROM webhooks w WHERE w.id = $1 AND d.webhook_id = w.id AND d.state = 'pending' AND d.event <> 'webhook.test'",
                id
            )
            .execute(&mut *tx)
            .await?;
            let details = json!({"host": host, "events": update.events, "active": update.active});
            self.audit(&mut tx, scope.tenant_id, Change::new(Action::WebhookUpdate, id, details)).await?;
        }
        tx.commit().await?;
        Ok(changed)
    }

    /// Deletes a webhook, if it is in the scope; `false` when it is not. Nothing is sent to it any more; its messages, which may be
    /// many, are removed by [`Store::purge_webhooks`].
    pub async fn delete_webhook(&self, scope: &WebhookScope, id: Uuid) -> Result<bool, StoreError> {
        let mut tx = self.control.begin().await?;
        let deleted = sqlx::query!(
            "UPDATE webhooks SET deleted_at = clock_timestamp(), active = false, url = '', secret = '', previous_secret = NULL
             WHERE id = $3 AND tenant_id = $1 AND deleted_at IS NULL
               AND ($2::text IS NULL OR (created_by = $2 AND NOT all_batches))",
            scope.tenant_id,
            scope.owner,
            id
        )
        .execute(&mut *tx)
        .await?;
        if deleted.rows_affected() == 0 {
            return Ok(false);
        }
        self.audit(&mut tx, scope.tenant_id, Change::new(Action::WebhookDelete, id, json!({}))).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Gives a webhook another secret, if it is in the scope. The one before signs too for `keep_seconds`.
    pub async fn rotate_webhook_secret(
        &self,
        scope: &WebhookScope,
        id: Uuid,
        secret: &[u8],
        keep_seconds: f64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.control.begin().await?;
        let rotated = sqlx::query!(
            "UPDATE webhooks SET previous_secret = secret, secret = $4, updated_at = clock_timestamp(),
                 previous_until = clock_timestamp() + make_interval(secs => $5)
             WHERE id = $3 AND tenant_id = $1 AND deleted_at IS NULL
               AND ($2::text IS NULL OR (created_by = $2 AND NOT all_batches))",
            scope.tenant_id,
            scope.owner,
            id,
            secret,
            keep_seconds
        )
        .execute(&mut *tx)
        .await?;
        if rotated.rows_affected() == 0 {
            return Ok(false);
        }
        self.audit(&mut tx, scope.tenant_id, Change::new(Action::WebhookRotate, id, json!({}))).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// When the secret of the tenant was made that signs messages to batches' own URLs; `None` when there is none.
    pub async fn tenant_webhook_secret(&self, tenant_id: Uuid) -> Result<Option<DateTime<Utc>>, StoreError> {
        let made =
            sqlx::query_scalar!("SELECT made_at FROM tenant_webhook_secrets WHERE tenant_id = $1", tenant_id);
        Ok(made.fetch_optional(&self.control).await?)
    }

    /// Gives the tenant a secret, or another one. The one before signs too for `keep_seconds`.
    pub async fn rotate_tenant_webhook_secret(
        &self,
        tenant_id: Uuid,
        secret: &[u8],
        keep_seconds: f64,
    ) -> Result<(), StoreError> {
        let mut tx = self.control.begin().await?;
        sqlx::query!(
            "INSERT INTO tenant_webhook_secrets AS s (tenant_id, secret) VALUES ($1, $2)
             ON CONFLICT (tenant_id) DO UPDATE SET previous_secret = s.secret, secret = excluded.secret,
                 previous_until = clock_timestamp() + make_interval(secs => $3), made_at = clock_timestamp()",
            tenant_id,
            secret,
            keep_seconds
        )
        .execute(&mut *tx)
        .await?;
        self.audit(&mut tx, tenant_id, Change::new(Action::WebhookRotate, tenant_id, json!({}))).await?;
        tx.commit().await?;
        Ok(())
    }
}
