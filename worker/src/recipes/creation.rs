//! Creation of recipes, and cancels and requeues by filter: a page at a time, by whichever workers are there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millrace_common::broker::ControlEvent;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::ahead::{self, Ahead};
use super::publish::publish;
use crate::Worker;

/// Members or recipes of a page.
pub const PAGE: usize = 1_000;

/// The most batches that are remembered as not worth looking ahead.
const REMEMBERED: usize = 1_000;

/// Creates and carries requests out until the worker stops.
pub async fn run(worker: Arc<Worker>, shutdown: CancellationToken) {
    let mut useless: BTreeSet<i64> = BTreeSet::new();
    let mut events = worker.control.subscribe();
    let mut poll = tokio::time::interval(Duration::from_millis(worker.config.clocks.poll_ms));
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut told = false;
        tokio::select! {
            _ = poll.tick() => {}
            event = events.recv() => match event {
                Ok(event) => told = event == ControlEvent::PlanChanged,
                Err(RecvError::Lagged(_)) => told = true,
                Err(RecvError::Closed) => break,
            },
            () = shutdown.cancelled() => break,
        }
        // What was let go without being published: bundles of a job type that is resumed, or that were split.
        if told && let Err(error) = super::reaper::publish_unconfirmed(&worker).await {
            tracing::debug!(%error, "the reaper publishes bundles later");
        }
        while events.try_recv().is_ok() {}
        while !shutdown.is_cancelled() {
            match worker.store.carry_out_requests(worker.counter_slot).await {
                Ok(Some(settled)) => publish(&worker, &settled.bundles, None).await,
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
                    publish(&worker, &step.settled.bundles, None).await;
                    let Some(next) = step.next else {
                        tracing::info!(batch.id = step.batch_id, "all recipes of the batch exist");
                        continue;
                    };
                    if useless.contains(&step.batch_id) {
                        continue;
                    }
                    match ahead::create(&worker, step.batch_id, next, &shutdown).await {
                        Ok(Ahead::Ended) => {}
                        Ok(Ahead::Useless) => {
                            if useless.len() >= REMEMBERED {
                                useless.clear();
                            }
                            useless.insert(step.batch_id);
                        }
                        Err(error) => tracing::warn!(%error, "recipes are created later"),
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
