//! Webhooks: delivers the messages that state changes left in the database.
//!
//! Every worker does, and none is special: messages are claimed with a lease by the database's clock, so that another worker
//! takes over what a dead one had under way. A message can therefore arrive twice, always with the same id. A receiver that
//! takes long has only its own messages wait: what is under way to one host, and for one tenant, is bounded.

mod resolve;
mod send;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_common::broker::ControlEvent;
use millrace_common::config::WebhooksConfig;
use millrace_common::model::webhook::retry_delay;
use millrace_common::store::{Attempt, AttemptResult, ClaimLimits, RetryRules};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Worker;
pub use send::{Sender, SenderError};

/// What recording an attempt may take beyond the attempt itself before its message is claimed again.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// How long attempts may go on after the request to stop; what is cut off is tried again by others.
const DRAIN: Duration = Duration::from_secs(2);
/// The least time between two looks.
const LEAST: Duration = Duration::from_millis(50);

/// Delivers until the worker stops.
pub async fn run(worker: Arc<Worker>, sender: Sender, shutdown: CancellationToken) {
    let mut events = worker.control.subscribe();
    let config = &worker.config.webhooks;
    let mut ticks = tokio::time::interval(Duration::from_millis(config.poll_ms).max(LEAST));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut desk = Desk {
        worker: Arc::clone(&worker),
        sender: Arc::new(sender),
        under_way: JoinSet::new(),
        receivers: HashMap::new(),
    };
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
            Some(ended) = desk.under_way.join_next_with_id() => desk.ended(ended),
            event = events.recv() => match event {
                Ok(
                    ControlEvent::BatchFinished { .. } | ControlEvent::BatchClosed { .. } | ControlEvent::BatchCancelled { .. },
                )
                | Err(RecvError::Lagged(_)) => {}
                Ok(_) => continue,
                Err(RecvError::Closed) => break,
            },
        }
        // One look answers everything that came meanwhile.
        while let Some(ended) = desk.under_way.try_join_next_with_id() {
            desk.ended(ended);
        }
        // Messages to hosts that have as much under way as they may hide those behind them only once.
        while desk.take_more().await > 0 {}
    }
    let rest = async { while desk.under_way.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, rest).await.is_err() {
        tracing::info!("webhook messages under way are left to other workers");
    }
}

/// Attempts under way.
struct Desk {
    worker: Arc<Worker>,
    sender: Arc<Sender>,
    under_way: JoinSet<()>,
    /// Tenant and host of each.
    receivers: HashMap<Id, (Uuid, String)>,
}

impl Desk {
    /// Claims what is due and begins to deliver it. Returns how many messages that were.
    async fn take_more(&mut self) -> usize {
        let config = &self.worker.config.webhooks;
        let room = config.concurrency.saturating_sub(self.under_way.len());
        if room == 0 {
            return 0;
        }
        let most = |bound: usize| i64::try_from(bound).unwrap_or(i64::MAX);
        let lease = Duration::from_millis(config.timeout_ms) + LEASE_MARGIN;
        let limits = ClaimLimits {
            max: most(room),
            per_host: most(config.per_host),
            per_tenant: most(config.tenant_concurrency),
            under_way: self.receivers.values().cloned().collect(),
            lease_seconds: lease.as_secs_f64(),
        };
        let store = &self.worker.store;
        let attempts = match store.in_time(store.claim_deliveries(&limits)).await {
            Ok(attempts) => attempts,
            Err(error) => {
                tracing::warn!(%error, "webhook messages cannot be claimed");
                return 0;
            }
        };
        let count = attempts.len();
        for attempt in attempts {
            let receiver = (attempt.tenant_id, attempt.host.clone());
            let (worker, sender) = (Arc::clone(&self.worker), Arc::clone(&self.sender));
            let task = self.under_way.spawn(async move { deliver(&worker, &sender, &attempt).await });
            self.receivers.insert(task.id(), receiver);
        }
        count
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "an attempt to deliver panicked; its message is tried again");
                error.id()
            }
        };
        self.receivers.remove(&id);
    }
}

/// One attempt, and the record of it.
async fn deliver(worker: &Worker, sender: &Sender, attempt: &Attempt) {
    let result = sender.send(attempt).await;
    let config = &worker.config.webhooks;
    let outcome =
        AttemptResult { status: result.status, error: result.error, gone: result.status == Some(410) };
    let rules = rules(config, attempt.number.unsigned_abs(), result.retry_after);
    let store = &worker.store;
    match store.in_time(store.finish_attempt(attempt, &outcome, &rules)).await {
        Ok(switched_off) => {
            let id = attempt.delivery_id;
            match &outcome.error {
                None => {
                    tracing::debug!(delivery.id = %id, host = attempt.host, "delivered a webhook message")
                }
                Some(error) => {
                    tracing::info!(delivery.id = %id, host = attempt.host, attempt = attempt.number, error, "a webhook message was not taken");
                }
            }
            if let (true, Some(webhook)) = (switched_off, attempt.webhook_id) {
                tracing::warn!(webhook.id = %webhook, host = attempt.host, "switched a webhook off that takes nothing");
            }
        }
        // The lease ends, and the message is tried again.
        Err(error) => tracing::warn!(%error, "an attempt to deliver a webhook message cannot be recorded"),
    }
}

/// When to try again: after the wait that the receiver asks for, where that is longer than the own one.
fn rules(config: &WebhooksConfig, attempts: u32, asked: Option<Duration>) -> RetryRules {
    let (first, cap) =
        (Duration::from_millis(config.retry_first_ms), Duration::from_secs(config.retry_most_seconds));
    let delay = retry_delay(attempts, first, cap, rand::random()).max(asked.unwrap_or_default().min(cap));
    #[expect(clippy::cast_precision_loss, reason = "clocks are far below 2^53 seconds")]
    let seconds = |seconds: u64| seconds as f64;
    RetryRules {
        delay_seconds: delay.as_secs_f64(),
        give_up_seconds: seconds(config.give_up_seconds),
        disable_seconds: seconds(config.disable_seconds),
    }
}
