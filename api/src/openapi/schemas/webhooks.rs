//! Webhooks and their messages.

use utoipa::ToSchema;
use uuid::Uuid;

/// A webhook to be made. Unknown fields are refused.
#[derive(Debug, ToSchema)]
pub struct CreateWebhook {
    /// Where messages go: `http` or `https`, a public address, no credentials.
    #[schema(example = "https://receiver.example/millrace")]
    pub url: String,
    /// For people.
    pub description: Option<String>,
    /// What is told: `batch.completed`, `batch.completed_by_timeout`, `batch.failed`, `batch.cancelled` (these when absent),
    /// `batch.closed_by_timeout`.
    pub events: Option<Vec<String>>,
    /// Whether anything is told.
    #[schema(default = true)]
    pub active: Option<bool>,
}

/// What is to change of a webhook. Unknown fields are refused.
#[derive(Debug, ToSchema)]
pub struct ChangeWebhook {
    /// Where messages go.
    pub url: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// What is told, in place of what was.
    pub events: Option<Vec<String>>,
    /// Whether anything is told.
    pub active: Option<bool>,
}

/// A webhook.
#[derive(Debug, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookAnswer {
    /// `webhook`
    pub object: String,
    /// The webhook.
    pub id: Uuid,
    /// Where messages go.
    pub url: String,
    /// For people.
    pub description: String,
    /// What is told.
    pub events: Vec<String>,
    /// Whether anything is told.
    pub active: bool,
    /// Whether it is told about every batch of the tenant.
    pub all_batches: bool,
    /// Who made it.
    pub created_by: String,
    /// When.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// Since when nothing could be delivered.
    #[schema(format = DateTime)]
    pub failing_since: Option<String>,
    /// Why it was switched off, if Millrace did that.
    pub disabled_reason: Option<String>,
}

/// A new webhook.
#[derive(Debug, ToSchema)]
pub struct CreatedWebhook {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: WebhookAnswer,
    /// What its messages are signed with; it is not shown again.
    pub secret: String,
}

/// A webhook that was deleted.
#[derive(Debug, ToSchema)]
pub struct DeletedWebhook {
    /// `webhook`
    pub object: String,
    /// The webhook.
    pub id: Uuid,
    /// Always true.
    pub deleted: bool,
}

/// A new secret.
#[derive(Debug, ToSchema)]
pub struct WebhookSecret {
    /// `webhook_secret`
    pub object: String,
    /// The webhook; absent for the tenant's secret.
    pub id: Option<Uuid>,
    /// What messages are signed with; it is not shown again.
    pub secret: String,
}

/// Whether the tenant has a secret for the URLs that batches name.
#[derive(Debug, ToSchema)]
pub struct TenantSecret {
    /// `webhook_secret`
    pub object: String,
    /// Whether it has.
    pub exists: bool,
    /// Since when.
    #[schema(format = DateTime)]
    pub created_at: Option<String>,
}

/// A message.
#[derive(Debug, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryAnswer {
    /// `webhook_delivery`
    pub object: String,
    /// The message: `webhook-id` for its receiver.
    pub id: Uuid,
    /// The batch that it is about.
    pub batch_id: Option<Uuid>,
    /// What it tells.
    pub event: String,
    /// `pending`, `delivered` or `dead`.
    #[schema(pattern = "^(pending|delivered|dead)$")]
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// What the receiver answered last.
    pub last_status: Option<i64>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was last tried.
    #[schema(format = DateTime)]
    pub last_attempt_at: Option<String>,
    /// When it is tried next.
    #[schema(format = DateTime)]
    pub next_attempt_at: Option<String>,
    /// When it was delivered, or given up.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
}

/// A page of messages, newest first.
#[derive(Debug, ToSchema)]
pub struct DeliveryPage {
    /// `list`
    pub object: String,
    /// The messages.
    pub data: Vec<DeliveryAnswer>,
    /// Whether there are older ones.
    pub has_more: bool,
    /// What to give as `before` next.
    pub next_before: Option<Uuid>,
}

/// A message that says nothing, for a test.
#[derive(Debug, ToSchema)]
pub struct TestDelivery {
    /// `webhook_delivery`
    pub object: String,
    /// The message.
    pub id: Uuid,
    /// `pending`
    pub state: String,
}
