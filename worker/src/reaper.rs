//! The reaper's rounds. Its steps are in the store; a lease merely keeps workers from doing them twice.

use std::sync::Arc;
use std::time::Duration;

use millrace_common::broker::{ControlEvent, LaneId};
use millrace_common::store::StoreError;
use tokio_util::sync::CancellationToken;

use crate::Worker;
use crate::commit::tell;

/// Name of the lease.
const LEASE: &str = "reaper";

/// Rounds between looks at expired partitions.
const PARTITION_ROUNDS: u64 = 600;

/// Reaps until the worker stops.
pub async fn run(worker: Arc<Worker>, shutdown: CancellationToken) {
    let pause = Duration::from_millis(worker.config.clocks.reaper_ms);
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rounds = 0_u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => break,
        }
        let lease = worker.store.hold_lease(LEASE, worker.id, (pause * 5).as_secs_f64());
        match worker.store.in_time(lease).await {
            Ok(true) => {
                if let Err(error) = worker.store.in_time(round(&worker, rounds)).await {
                    tracing::warn!(%error, "the reaper's round was cut short");
                }
                rounds += 1;
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the reaper has no lease"),
        }
    }
    if let Err(error) = worker.store.in_time(worker.store.drop_lease(LEASE, worker.id)).await {
        tracing::debug!(%error, "the reaper's lease will expire");
    }
}

async fn round(worker: &Worker, rounds: u64) -> Result<(), StoreError> {
    let (store, clocks) = (&worker.store, &worker.config.clocks);
    #[expect(clippy::cast_precision_loss, reason = "clocks are far below 2^53 seconds")]
    let seconds = |seconds: u64| seconds as f64;

    for id in store.time_out_batches(seconds(clocks.inactivity_seconds)).await? {
        tracing::info!(batch.id = %id, "closed after inactivity");
        worker.control.send(ControlEvent::BatchClosed { batch_id: id });
    }
    // Looking for such chunks reads all of their day, so it is done rarely next to the time that they are given.
    let every = (clocks.accepted_seconds * 1_000 / 10 / clocks.reaper_ms.max(1)).max(1);
    if rounds.is_multiple_of(every) {
        let withdrawn = store.withdraw_accepted(seconds(clocks.accepted_seconds)).await?;
        if withdrawn > 0 {
            tracing::info!(chunks = withdrawn, "withdrew chunks that were never confirmed");
        }
    }
    for (id, consequence) in store.settle_batches().await? {
        tell(worker, id, consequence);
    }
    let (_, broken) = store.fold_totals().await?;
    for (id, error) in broken {
        tracing::error!(batch.id = %id, %error, "the batch's totals cannot be added up");
    }
    store.release_reservations(seconds(clocks.cool_off_seconds)).await?;
    let silent = Duration::from_millis(worker.config.worker.silent_after_ms).as_secs_f64();
    for id in store.remove_silent_workers(silent).await? {
        tracing::warn!(worker.id = %id, "worker is gone");
        worker.control.send(ControlEvent::PlanChanged);
    }
    for lane in store.finished_lanes().await? {
        let purge = async { worker.topology.purge_lane(LaneId(lane.lane_id)).await.map(drop) };
        if let Err(error) = store.free_lane(lane, purge).await? {
            tracing::warn!(lane = lane.lane_id, %error, "the lane is freed later");
        }
    }
    store.forget_deliveries(seconds(worker.config.webhooks.retention_seconds)).await?;
    store.purge_webhooks().await?;
    if rounds.is_multiple_of(PARTITION_ROUNDS) {
        store.ensure_partitions().await?;
        for day in store.drop_expired_partitions(seconds(clocks.results_seconds)).await? {
            tracing::info!(%day, "dropped expired results");
        }
        if worker.config.audit.retention_days > 0 {
            store.purge_audit(worker.config.audit.retention_days).await?;
        }
    }
    Ok(())
}
