//! The calls about webhooks.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Call, Client, ClientError, segment};

impl Client {
    fn webhook_path(&self, rest: &str) -> String {
        format!("/{}/api/v4/webhooks{rest}", segment(self.tenant()))
    }

    /// Makes a webhook. Not repeated when the answer is lost: that could make two.
    pub async fn create_webhook(&self, webhook: &Value) -> Result<Value, ClientError> {
        self.send_for(&Call::json(Method::POST, self.webhook_path(""), webhook)?.once()).await
    }

    /// The webhooks that the caller may see.
    pub async fn webhooks(&self) -> Result<Value, ClientError> {
        self.send_for(&Call::get(self.webhook_path(""))).await
    }

    /// One webhook.
    pub async fn webhook(&self, id: &str) -> Result<Value, ClientError> {
        self.send_for(&Call::get(self.webhook_path(&format!("/{}", segment(id))))).await
    }

    /// Changes a webhook.
    pub async fn update_webhook(&self, id: &str, change: &Value) -> Result<Value, ClientError> {
        let path = self.webhook_path(&format!("/{}", segment(id)));
        self.send_for(&Call::json(Method::PATCH, path, change)?).await
    }

    /// Deletes a webhook.
    pub async fn delete_webhook(&self, id: &str) -> Result<Value, ClientError> {
        let path = self.webhook_path(&format!("/{}", segment(id)));
        self.send_for(&Call { method: Method::DELETE, ..Call::get(path) }.once()).await
    }

    /// Gives a webhook, or without an id the tenant, another secret.
    pub async fn rotate_webhook(&self, id: Option<&str>) -> Result<Value, ClientError> {
        let rest = id.map_or_else(|| "/secret".to_owned(), |id| format!("/{}/secret", segment(id)));
        self.send_for(&Call::json(Method::POST, self.webhook_path(&rest), &json!({}))?.once()).await
    }

    /// Sends a message that tries a webhook out.
    pub async fn test_webhook(&self, id: &str) -> Result<Value, ClientError> {
        let path = self.webhook_path(&format!("/{}/test", segment(id)));
        self.send_for(&Call::json(Method::POST, path, &json!({}))?.once()).await
    }

    /// Messages of a webhook, newest first.
    pub async fn deliveries(&self, id: &str, state: Option<&str>, max: u32) -> Result<Value, ClientError> {
        let state = state.map(|state| format!("&state={}", segment(state))).unwrap_or_default();
        let path = self.webhook_path(&format!("/{}/deliveries?max={max}{state}", segment(id)));
        self.send_for(&Call::get(path)).await
    }

    /// Delivers a message again.
    pub async fn redeliver(&self, id: &str, delivery: &str) -> Result<Value, ClientError> {
        let path = self.webhook_path(&format!("/{}/deliveries/{}/redeliver", segment(id), segment(delivery)));
        self.send_for(&Call::json(Method::POST, path, &json!({}))?).await
    }
}
