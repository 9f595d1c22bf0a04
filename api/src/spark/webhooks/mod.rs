//! Webhooks: who is told when batches end. Routes of Millrace's own.
//!
//! A webhook is told about what its maker may see: supervisors' about every batch of the tenant, others' about those of their
//! maker. Here they are only kept; workers deliver the messages.

pub(in crate::spark) mod deliveries;
mod requests;
mod subscriptions;

use millrace_common::config::WebhooksConfig;
use millrace_common::model::Caller;
use millrace_common::model::webhook::{AddressPolicy, Sealer, SigningSecret, Target};
use millrace_common::store::WebhookScope;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::error::ApiError;
use crate::state::AppState;

/// What the routes share.
#[derive(Debug, Clone)]
pub struct Webhooks {
    policy: AddressPolicy,
    sealer: Sealer,
}

impl Webhooks {
    /// With these settings.
    pub fn new(config: &WebhooksConfig) -> Self {
        Self {
            policy: AddressPolicy::new(&config.allow_private),
            sealer: Sealer::new(config.secret_key.expose()),
        }
    }

    /// A URL that messages may go to.
    fn check_url(&self, url: &str, path: &str) -> Result<Target, ApiError> {
        self.policy.check(url).map_err(|error| {
            ApiError::unprocessable("INVALID_URL", format!("{path} {error}"), path.to_owned())
        })
    }

    /// A new secret, and how it is stored.
    fn new_secret(&self, owner: Uuid) -> Result<(SigningSecret, Vec<u8>), ApiError> {
        let secret = SigningSecret::generate();
        let stored = self.sealer.seal(&secret, owner).map_err(|error| ApiError::internal(&error))?;
        Ok((secret, stored))
    }
}

/// Checks the URL that a batch names for itself. The tenant needs a secret first, so that every message is signed.
pub(in crate::spark) async fn own_url(
    state: &AppState,
    tenant_id: Uuid,
    url: &str,
) -> Result<String, ApiError> {
    let target = state.webhooks.check_url(url, "webhook_url")?;
    if state.store.tenant_webhook_secret(tenant_id).await?.is_none() {
        return Err(ApiError::unprocessable(
            "NO_WEBHOOK_SECRET",
            "webhook_url needs a secret to sign with: let an administrator of the tenant call POST …/webhooks/secret once",
            "webhook_url".to_owned(),
        ));
    }
    Ok(target.url.into())
}

/// Which webhooks the caller may see: all for supervisors, else the own ones.
fn scope(caller: &Caller) -> WebhookScope {
    let owner = (!caller.is_supervisor()).then(|| caller.name.clone());
    WebhookScope { tenant_id: caller.tenant_id, owner }
}

fn not_found(id: &str) -> ApiError {
    ApiError::not_found("WEBHOOK_NOT_FOUND", format!("there is no webhook {id}"))
}

/// The id of a path; what is no UUID names nothing.
fn read_id(text: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text).map_err(|_| not_found(text))
}

/// The routes. `/webhooks/secret` is a literal and wins over `/webhooks/{id}`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(subscriptions::list, subscriptions::create))
        .routes(routes!(subscriptions::tenant_secret, subscriptions::rotate_tenant_secret))
        .routes(routes!(subscriptions::show, subscriptions::change, subscriptions::delete))
        .routes(routes!(subscriptions::rotate_secret))
        .routes(routes!(deliveries::test))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::redeliver))
}
