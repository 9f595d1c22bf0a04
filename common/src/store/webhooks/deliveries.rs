//! Messages: written with the change that they tell, listed, asked for again, and forgotten.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{Postgres, Transaction};
use url::Url;
use uuid::Uuid;

use super::super::audit::Change;
use super::super::lifecycle::view_in;
use super::super::{BatchView, Store, StoreError};
use super::WebhookScope;
use crate::model::Action;
use crate::model::webhook::{BatchOutcome, OutcomeSummary, TEST_EVENT, WebhookEvent, message};

/// The most rows that one step touches.
const STEP: i64 = 500;

/// How far a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be delivered, now or later.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// Given up.
    Dead,
}

impl DeliveryState {
    /// The stored spelling, and that of the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The state of this spelling.
    pub fn read(text: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Dead].into_iter().find(|state| state.as_str() == text)
    }
}

/// A message to one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// `webhook-id`: the same at every attempt.
    pub id: Uuid,
    /// The batch; `None` for a test.
    pub batch_id: Option<Uuid>,
    /// The type of the message.
    pub event: String,
    /// How far it is.
    pub state: String,
    /// Attempts begun.
    pub attempts: i32,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// When the next attempt is due, while it is pending.
    pub next_attempt_at: DateTime<Utc>,
    /// When the last attempt ended.
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// What the receiver answered at the last attempt.
    pub last_status: Option<i32>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// When it was delivered or given up.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Which messages are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deliveries {
    /// Those to a webhook, which the caller may see.
    Webhook(Uuid),
    /// Those to the own URL of a batch, which the caller may see.
    Batch(Uuid),
}

impl Deliveries {
    const fn ids(self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Webhook(id) => (Some(id), None),
            Self::Batch(id) => (None, Some(id)),
        }
    }
}

/// Writes a message to everybody who wants to be told that a batch came into a state, in the transaction that changes it.
/// The caller holds the batch's row and all slots.
pub(in super::super) async fn announce(
    tx: &mut Transaction<'_, Postgres>,
    batch_id: Uuid,
    event: WebhookEvent,
) -> Result<(), StoreError> {
    let receivers = sqlx::query!(
        r#"SELECT w.id AS "webhook_id?", w.host AS "host_or_url!" FROM webhooks w JOIN batches b ON b.tenant_id = w.tenant_id
           WHERE b.id = $1 AND w.active AND $2 = ANY(w.events) AND (w.all_batches OR w.created_by = b.created_by)
           UNION ALL
           SELECT NULL, webhook_url FROM batches WHERE id = $1 AND webhook_url IS NOT NULL AND $3"#,
        batch_id,
        event.as_str(),
        event.is_terminal()
    )
    .fetch_all(&mut **tx)
    .await?;
    if receivers.is_empty() {
        return Ok(());
    }
    let view = view_in(tx, batch_id).await?;
    let body = message(event.as_str(), view.now, &outcome(&view))
        .map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let ids: Vec<Uuid> = receivers.iter().map(|_| Uuid::now_v7()).collect();
    let (webhooks, hosts): (Vec<Option<Uuid>>, Vec<String>) = receivers
        .into_iter()
        .map(|receiver| match receiver.webhook_id {
            None => (None, host_of(&receiver.host_or_url)),
            webhook => (webhook, receiver.host_or_url),
        })
        .unzip();
    sqlx::query!(
        "INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, batch_id, event, body, host)
         SELECT t.id, $1, t.webhook_id, $2, $3, $4, t.host
         FROM unnest($5::uuid[], $6::uuid[], $7::text[]) AS t (id, webhook_id, host)",
        view.batch.tenant_id,
        batch_id,
        event.as_str(),
        body,
        &ids,
        &webhooks as &[Option<Uuid>],
        &hosts
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Host and port of a URL that was checked when it was stored.
fn host_of(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return String::new() };
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

fn outcome(view: &BatchView) -> BatchOutcome {
    let (batch, counters) = (&view.batch, &view.counters);
    let ended = batch.finished_at.unwrap_or(view.now);
    BatchOutcome {
        batch_id: batch.id,
        service_uri: batch.service_uri.clone(),
        batch_status: view.status(),
        created_by: batch.created_by.clone(),
        correlation_id: batch.correlation_id.clone(),
        source_system: batch.source_system.clone(),
        summary: OutcomeSummary {
            chunks_submitted: counters.chunks_submitted,
            chunks_completed: counters.chunks_completed,
            chunks_failed: counters.chunks_failed,
            records_submitted: counters.records_submitted,
            records_completed: counters.records_completed - counters.records_failed,
            records_failed: counters.records_failed,
            compute_time_ms: counters.compute_ms,
            batch_time_ms: (ended - batch.created_at).num_milliseconds().max(0),
        },
    }
}

impl Store {
    /// Writes a message that tries a webhook out, active or not, and returns its id; `None` when the webhook is not in the scope.
    /// One that is still to be delivered is made due at once in place of another.
    pub async fn test_webhook(&self, scope: &WebhookScope, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        let mut tx = self.control.begin().await?;
        let host = sqlx::query_scalar!(
            "SELECT host FROM webhooks WHERE id = $3 AND tenant_id = $1 AND deleted_at IS NULL
               AND ($2::text IS NULL OR (created_by = $2 AND NOT all_batches))
             FOR NO KEY UPDATE",
            scope.tenant_id,
            scope.owner,
            id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(host) = host else { return Ok(None) };
        let waiting = sqlx::query_scalar!(
            "UPDATE webhook_deliveries SET retry_from = clock_timestamp(), next_attempt_at = clock_timestamp(), host = $3
             WHERE webhook_id = $1 AND event = $2 AND state = 'pending'
             RETURNING id",
            id,
            TEST_EVENT,
            host
        )
        .fetch_optional(&mut *tx)
        .await?;
        let test = match waiting {
            Some(test) => test,
            None => {
                let now =
                    sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut *tx).await?;
                let body = message(TEST_EVENT, now, &json!({"webhook_id": id}))
                    .map_err(|error| StoreError::Corrupt(error.to_string()))?;
                sqlx::query_scalar!(
                    "INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, event, body, host)
                     VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
                    Uuid::now_v7(),
                    scope.tenant_id,
                    id,
                    TEST_EVENT,
                    body,
                    host
                )
                .fetch_one(&mut *tx)
                .await?
            }
        };
        let entry = Change::new(Action::WebhookTest, id, json!({"delivery_id": test}));
        self.audit(&mut tx, scope.tenant_id, entry).await?;
        tx.commit().await?;
        Ok(Some(test))
    }

    /// Messages, newest first: at most `max`, those before the message `before`.
    pub async fn deliveries(
        &self,
        which: Deliveries,
        state: Option<DeliveryState>,
        before: Option<Uuid>,
        max: i64,
    ) -> Result<Vec<Delivery>, StoreError> {
        let (webhook, batch) = which.ids();
        Ok(sqlx::query_as!(
            Delivery,
            "SELECT id, batch_id, event, state, attempts, created_at, next_attempt_at, last_attempt_at, last_status, last_error,
                 finished_at
             FROM webhook_deliveries d
             WHERE (webhook_id = $1 OR ($1 IS NULL AND webhook_id IS NULL AND batch_id = $2))
               AND ($3::text IS NULL OR state = $3)
               AND ($4::uuid IS NULL OR (created_at, id) < (SELECT b.created_at, b.id FROM webhook_deliveries b
                   WHERE b.id = $4 AND b.tenant_id = d.tenant_id))
             ORDER BY created_at DESC, id DESC LIMIT $5",
            webhook,
            batch,
            state.map(DeliveryState::as_str),
            before,
            max
        )
        .fetch_all(&self.control)
        .await?)
    }

    /// Makes a message due at once, whatever became of it, and gives it a whole new time to be delivered in. `None` when there
    /// is no such message.
    pub async fn redeliver(&self, which: Deliveries, id: Uuid) -> Result<Option<Delivery>, StoreError> {
        let mut tx = self.control.begin().await?;
        let (webhook, batch) = which.ids();
        let tenant_id = sqlx::query_scalar!(
            "UPDATE webhook_deliveries SET state = 'pending', retry_from = clock_timestamp(), finished_at = NULL,
                 next_attempt_at = clock_timestamp()
             WHERE id = $3 AND (webhook_id = $1 OR ($1 IS NULL AND webhook_id IS NULL AND batch_id = $2))
             RETURNING tenant_id",
            webhook,
            batch,
            id
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(tenant_id) = tenant_id else { return Ok(None) };
        let delivery = sqlx::query_as!(
            Delivery,
            "SELECT id, batch_id, event, state, attempts, created_at, next_attempt_at, last_attempt_at, last_status, last_error,
                 finished_at
             FROM webhook_deliveries WHERE id = $1",
            id
        )
        .fetch_one(&mut *tx)
        .await?;
        let details = json!({"webhook_id": webhook, "batch_id": delivery.batch_id});
        self.audit(&mut tx, tenant_id, Change::new(Action::WebhookRedeliver, id, details)).await?;
        tx.commit().await?;
        Ok(Some(delivery))
    }

    /// Forgets messages that were delivered or given up `seconds` ago. Returns how many went; more may be left.
    pub async fn forget_deliveries(&self, seconds: f64) -> Result<u64, StoreError> {
        // `now()`, unlike `clock_timestamp()`, lets the index find them.
        let gone = sqlx::query!(
            "DELETE FROM webhook_deliveries WHERE id IN (
                 SELECT id FROM webhook_deliveries
                 WHERE state <> 'pending' AND finished_at < now() - make_interval(secs => $1)
                 LIMIT $2 FOR UPDATE SKIP LOCKED)",
            seconds,
            STEP
        )
        .execute(&self.control)
        .await?;
        Ok(gone.rows_affected())
    }

    /// Removes messages of deleted webhooks, and then these. Returns how many rows went; more may be left.
    pub async fn purge_webhooks(&self) -> Result<u64, StoreError> {
        let messages = sqlx::query!(
            "DELETE FROM webhook_deliveries WHERE id IN (
                 SELECT d.id FROM webhooks w JOIN webhook_deliveries d ON d.webhook_id = w.id
                 WHERE w.deleted_at IS NOT NULL
                 LIMIT $1 FOR UPDATE OF d SKIP LOCKED)",
            STEP
        )
        .execute(&self.control)
        .await?;
        // A batch that ends in this moment may have read the webhook before it was deleted.
        let webhooks = sqlx::query!(
            "DELETE FROM webhooks w WHERE deleted_at < now() - interval '10 minutes'
               AND NOT EXISTS (SELECT FROM webhook_deliveries d WHERE d.webhook_id = w.id)"
        )
        .execute(&self.control)
        .await?;
        Ok(messages.rows_affected() + webhooks.rows_affected())
    }
}
