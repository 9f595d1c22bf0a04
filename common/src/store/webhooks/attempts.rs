//! Attempts to deliver: claimed with a lease by the database's clock, and what became of them.

use serde_json::json;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::super::audit::Change;
use super::super::{Store, StoreError};
use super::deliveries::DeliveryState;
use crate::metrics::WEBHOOK_ATTEMPTS;
use crate::model::Action;
use crate::model::webhook::TEST_EVENT;

/// How much a worker takes on.
#[derive(Debug, Clone)]
pub struct ClaimLimits {
    /// The most messages of this claim.
    pub max: i64,
    /// The most messages to one host at a time.
    pub per_host: i64,
    /// The most messages of one tenant at a time.
    pub per_tenant: i64,
    /// Tenant and host of each message that this worker has under way.
    pub under_way: Vec<(Uuid, String)>,
    /// How long nobody else takes what is claimed, in seconds.
    pub lease_seconds: f64,
}

/// One attempt to deliver a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The message's id.
    pub delivery_id: Uuid,
    /// Its webhook; `None` for the own URL of a batch.
    pub webhook_id: Option<Uuid>,
    /// Its tenant.
    pub tenant_id: Uuid,
    /// Where it goes.
    pub url: String,
    /// The host and port of that.
    pub host: String,
    /// What it says.
    pub body: String,
    /// Which attempt this is, from 1.
    pub number: i32,
    /// The secret to sign with, as it is stored; `None` when it is gone.
    pub secret: Option<Vec<u8>>,
    /// The secret before the last rotation, while it still signs.
    pub previous_secret: Option<Vec<u8>>,
}

impl Attempt {
    /// Whose secrets these are: what they are sealed for.
    pub fn secret_owner(&self) -> Uuid {
        self.webhook_id.unwrap_or(self.tenant_id)
    }
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptResult {
    /// What the receiver answered, if it did.
    pub status: Option<u16>,
    /// Why it failed; `None` when it did not.
    pub error: Option<String>,
    /// The receiver says that it wants nothing more (410).
    pub gone: bool,
}

/// When a message is tried again, and when no more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryRules {
    /// Wait before the next attempt, in seconds.
    pub delay_seconds: f64,
    /// No attempt begins later than this after the message was written, in seconds.
    pub give_up_seconds: f64,
    /// A webhook to which nothing was delivered for this long is switched off, in seconds.
    pub disable_seconds: f64,
}

impl Store {
    /// Takes messages that are due. No two hosts, and no two tenants, wait for each other: what one may have under way is
    /// bounded, and of each the first message comes before the second of any other. Call it until nothing comes: only so
    /// many messages are looked at in one go, and they may all be to one host.
    pub async fn claim_deliveries(&self, limits: &ClaimLimits) -> Result<Vec<Attempt>, StoreError> {
        let (tenants, hosts): (Vec<Uuid>, Vec<String>) = limits.under_way.iter().cloned().unzip();
        // `now()`, unlike `clock_timestamp()`, lets the index of what is due end the search.
        Ok(sqlx::query_as!(
            Attempt,
            r#"WITH busy AS (
                 SELECT * FROM unnest($1::uuid[], $2::text[]) AS t (tenant_id, host)
             ), busy_hosts AS (
                 SELECT host, count(*) AS number FROM busy GROUP BY host
             ), busy_tenants AS (
                 SELECT tenant_id, count(*) AS number FROM busy GROUP BY tenant_id
             ), first AS (
                 SELECT d.id, d.tenant_id, d.host, d.next_attempt_at, coalesce(h.number, 0) AS of_host, coalesce(t.number, 0) AS of_tenant
                 FROM webhook_deliveries d
                 LEFT JOIN busy_hosts h ON h.host = d.host
                 LEFT JOIN busy_tenants t ON t.tenant_id = d.tenant_id
                 LEFT JOIN webhooks w ON w.id = d.webhook_id
                 WHERE d.state = 'pending' AND d.next_attempt_at <= now() AND w.deleted_at IS NULL
                   AND coalesce(h.number, 0) < $3 AND coalesce(t.number, 0) < $4
                 ORDER BY d.next_attempt_at LIMIT 2000
             ), placed AS (
                 SELECT *, of_host + row_number() OVER (PARTITION BY host ORDER BY next_attempt_at, id) AS place FROM first
             ), due AS (
                 SELECT id, next_attempt_at, of_tenant + row_number() OVER (PARTITION BY tenant_id ORDER BY next_attempt_at, id) AS turn
                 FROM placed WHERE place <= $3
             ), mine AS (
                 SELECT d.id FROM webhook_deliveries d JOIN due USING (id)
                 WHERE due.turn <= $4 AND d.state = 'pending' AND d.next_attempt_at <= clock_timestamp()
                 ORDER BY due.turn, due.next_attempt_at LIMIT $5
                 FOR UPDATE OF d SKIP LOCKED
             ), claimed AS (
                 UPDATE webhook_deliveries d SET attempts = attempts + 1,
                     next_attempt_at = clock_timestamp() + make_interval(secs => $6)
                 FROM mine WHERE d.id = mine.id
                 RETURNING d.id, d.webhook_id, d.tenant_id, d.batch_id, d.host, d.body, d.attempts
             )
             SELECT c.id AS "delivery_id!", c.webhook_id, c.tenant_id AS "tenant_id!",
                 coalesce(w.url, b.webhook_url, '') AS "url!", c.host AS "host!", c.body AS "body!", c.attempts AS "number!",
                 CASE WHEN c.webhook_id IS NULL THEN s.secret ELSE w.secret END AS secret,
                 CASE WHEN c.webhook_id IS NULL AND s.previous_until > clock_timestamp() THEN s.previous_secret
                     WHEN w.previous_until > clock_timestamp() THEN w.previous_secret END AS previous_secret
             FROM claimed c
             LEFT JOIN webhooks w ON w.id = c.webhook_id
             LEFT JOIN batches b ON b.id = c.batch_id AND c.webhook_id IS NULL
             LEFT JOIN tenant_webhook_secrets s ON s.tenant_id = c.tenant_id"#,
            &tenants,
            &hosts,
            limits.per_host,
            limits.per_tenant,
            limits.max,
            limits.lease_seconds
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// Records what became of an attempt; nothing when the message was claimed again meanwhile. Returns whether its webhook was
    /// switched off for it.
    pub async fn finish_attempt(
        &self,
        attempt: &Attempt,
        result: &AttemptResult,
        rules: &RetryRules,
    ) -> Result<bool, StoreError> {
        let mut tx = self.control.begin().await?;
        // Whoever needs both locks the webhook before its messages.
        let on = match attempt.webhook_id {
            None => None,
            Some(id) => {
                sqlx::query_scalar!("SELECT active FROM webhooks WHERE id = $1 FOR NO KEY UPDATE", id)
                    .fetch_optional(&mut *tx)
                    .await?
            }
        };
        let state = sqlx::query_scalar!(
            "UPDATE webhook_deliveries SET last_attempt_at = clock_timestamp(), last_status = $3, last_error = $4,
                 next_attempt_at = clock_timestamp() + make_interval(secs => $5),
                 state = CASE WHEN $4::text IS NULL THEN 'delivered'
                     WHEN clock_timestamp() + make_interval(secs => $5) > retry_from + make_interval(secs => $6) THEN 'dead'
                     ELSE 'pending' END,
                 finished_at = CASE WHEN $4 IS NULL
                     OR clock_timestamp() + make_interval(secs => $5) > retry_from + make_interval(secs => $6)
                     THEN clock_timestamp() END
             WHERE id = $1 AND attempts = $2 AND state = 'pending'
             RETURNING state",
            attempt.delivery_id,
            attempt.number,
            result.status.map(i32::from),
            result.error,
            rules.delay_seconds,
            rules.give_up_seconds
        )
        .fetch_optional(&mut *tx)
        .await?;
        let counts = state.is_some();
        let switched_off = match (attempt.webhook_id, on) {
            (Some(webhook), Some(on)) if counts => {
                self.note_health(&mut tx, attempt, webhook, on, result, rules).await?
            }
            _ => false,
        };
        tx.commit().await?;
        if let Some(state) = state {
            let outcome = match DeliveryState::read(&state) {
                Some(DeliveryState::Delivered) => "delivered",
                Some(DeliveryState::Dead) => "dead",
                Some(DeliveryState::Pending) | None => "failed",
            };
            WEBHOOK_ATTEMPTS.with(outcome).add(1);
        }
        Ok(switched_off)
    }

    /// Notes on a webhook how an attempt went. Returns whether that switched it off.
    async fn note_health(
        &self,
        tx: &mut Transaction<'_, Postgres>,
        attempt: &Attempt,
        webhook: Uuid,
        on: bool,
        result: &AttemptResult,
        rules: &RetryRules,
    ) -> Result<bool, StoreError> {
        let Some(error) = &result.error else {
            sqlx::query!(
                "UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL",
                webhook
            )
            .execute(&mut **tx)
            .await?;
            return Ok(false);
        };
        let reason = sqlx::query_scalar!(
            r#"UPDATE webhooks SET failing_since = coalesce(failing_since, clock_timestamp()) WHERE id = $1
               RETURNING CASE
                   WHEN $2 THEN 'the receiver answered 410 Gone'
                   WHEN failing_since < clock_timestamp() - make_interval(secs => $3)
                       THEN 'nothing was delivered since ' || to_char(failing_since AT TIME ZONE 'UTC',
                           'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '; the last error: ' || $4
                   END"#,
            webhook,
            result.gone,
            rules.disable_seconds,
            error
        )
        .fetch_one(&mut **tx)
        .await?;
        let Some(reason) = reason.filter(|_| on) else { return Ok(false) };
        sqlx::query!(
            "UPDATE webhooks SET active = false, disabled_reason = $2, updated_at = clock_timestamp() WHERE id = $1",
            webhook,
            reason
        )
        .execute(&mut **tx)
        .await?;
        sqlx::query!(
            "UPDATE webhook_deliveries SET state = 'dead', finished_at = clock_timestamp(),
                 last_error = coalesce(last_error, 'the webhook was switched off')
             WHERE webhook_id = $1 AND state = 'pending' AND event <> $2",
            webhook,
            TEST_EVENT
        )
        .execute(&mut **tx)
        .await?;
        let entry = Change::new(Action::WebhookDisable, webhook, json!({"reason": reason}));
        self.audit(tx, attempt.tenant_id, entry).await?;
        Ok(true)
    }
}
