//! Creation of recipes, and cancels and requeues by filter: a page at a time, by whichever workers are there.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::publish::publish;
use crate::Worker;

/// Members or recipes of a page.
const PAGE: usize = 1_000;

/// Creates and carries requests out until the worker stops.
pub async fn run(worker: Arc<Worker>, shutdown: CancellationToken) {
    let mut events = worker.control.subscribe();
    let mut poll = tokio::time::interval(Duration::from_millis(worker.config.clocks.poll_ms));
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = poll.tick() => {}
            event = events.recv() => {
                if matches!(event, Err(tokio::sync::broadcast::error::RecvError::Closed)) { break }
            }
            () = shutdown.cancelled() => break,
        }
        while events.try_recv().is_ok() {}
        while !shutdown.is_cancelled() {
            match worker.store.carry_out_requests(worker.counter_slot).await {
                Ok(Some(settled)) => publish(&worker, &settled.bundles).await,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "requests are carried out later");
                    break;
                }
            }
        }
        while !shutdown.is_cancelled() {
            match worker.store.create_recipes(worker.counter_slot, PAGE).await {
                Ok(Some(step)) => {
                    publish(&worker, &step.settled.bundles).await;
                    if step.done {
                        tracing::info!(batch.id = step.batch_id, "all recipes of the batch exist");
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "recipes are created later");
                    break;
                }
            }
        }
    }
}
