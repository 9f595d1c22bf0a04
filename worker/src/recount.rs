//! Comparing counters with rows now and then. One worker of the fleet does it at a time, at the pace of the setting.

use std::sync::Arc;
use std::time::Duration;

use millrace_common::metrics::COUNTER_REPAIRS;
use millrace_common::store::StoreError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Worker;

/// Name of the lease that makes the pace: nobody renews it or gives it back, so it is free again when it is time.
const LEASE: &str = "recount";

/// How often a worker looks whether it is time, within the time between two comparisons.
const LOOKS: u32 = 4;

/// Compares until the worker stops; does nothing when `clocks.recount_seconds` is 0.
pub async fn run(worker: Arc<Worker>, shutdown: CancellationToken) {
    let every = Duration::from_secs(worker.config.clocks.recount_seconds);
    if every.is_zero() {
        return;
    }
    let mut ticks = tokio::time::interval(every / LOOKS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let lease = worker.store.hold_lease(LEASE, Uuid::new_v4(), every.as_secs_f64());
        let done = match worker.store.in_time(lease).await {
            Ok(false) => continue,
            Ok(true) => tokio::select! {
                done = recount(&worker, every) => done,
                // Nothing is half done: each repair is a transaction.
                () = shutdown.cancelled() => return,
            },
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::warn!(%error, "counters could not be compared with rows");
        }
    }
}

async fn recount(worker: &Worker, every: Duration) -> Result<(), StoreError> {
    // What ended since the last comparison is compared once more, and what the last one may have missed.
    for repair in worker.store.recount_batches(3.0 * every.as_secs_f64()).await? {
        let (counter, counted, found) = (repair.counter.as_str(), repair.counted, repair.found);
        tracing::error!(batch.id = %repair.batch_id, counter, counted, found, "a counter had drifted and was set right");
        COUNTER_REPAIRS.with(counter).add(1);
    }
    Ok(())
}
