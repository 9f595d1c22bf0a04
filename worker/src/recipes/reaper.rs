//! What the reaper does for recipes: bundles without a message, and lanes of workloads that have nothing to do.

use std::time::Duration;

use millrace_common::broker::{BrokerError, LaneId};
use millrace_common::metrics::REAPER_ACTIONS;
use millrace_common::store::StoreError;

use super::publish::publish;
use crate::Worker;

/// A workload without bundles gives its lane back after this long.
const IDLE: Duration = Duration::from_secs(10);

/// Publishes bundles that were never confirmed: whoever made them ended, or had no broker.
pub async fn publish_unconfirmed(worker: &Worker) -> Result<(), StoreError> {
    let patience = Duration::from_millis(worker.config.broker.confirm_timeout_ms).as_secs_f64();
    let bundles = worker.store.unpublished_bundles(patience).await?;
    if !bundles.is_empty() {
        REAPER_ACTIONS.with("bundle_published").add(bundles.len() as u64);
        publish(worker, &bundles, None).await;
    }
    Ok(())
}

/// Publishes bundles again whose message is gone: their lane is empty, and no worker holds any of them.
pub async fn publish_lost(worker: &Worker, seconds: f64) -> Result<(), StoreError> {
    for workload in worker.store.forsaken_workloads().await? {
        match worker.topology.lane_depth(LaneId(workload.lane_id)).await {
            Ok(depth) if depth.ready == 0 => {}
            Ok(_) => continue,
            Err(BrokerError::NotFound(_)) => {
                if worker.topology.declare_lane(LaneId(workload.lane_id)).await.is_err() {
                    continue;
                }
            }
            Err(_) => continue,
        }
        let lost = worker.store.lost_bundles(workload.id, seconds).await?;
        if !lost.is_empty() {
            tracing::warn!(workload.id = %workload.id, bundles = lost.len(), "messages are gone: publishing them again");
            REAPER_ACTIONS.with("bundle_published").add(lost.len() as u64);
            publish(worker, &lost, None).await;
        }
    }
    Ok(())
}

/// Gives the lanes of idle workloads back.
pub async fn free_lanes(worker: &Worker) -> Result<(), StoreError> {
    for (id, lane_id) in worker.store.idle_workloads(IDLE.as_secs_f64()).await? {
        let purge = async {
            match worker.topology.purge_lane(LaneId(lane_id)).await {
                Ok(_) => Ok(true),
                Err(BrokerError::NotFound(_)) => Ok(false),
                Err(error) => Err(error),
            }
        };
        match worker.store.free_workload_lane(id, lane_id, purge).await? {
            Ok(freed) => REAPER_ACTIONS.with("lane_freed").add(u64::from(freed)),
            Err(error) => {
                tracing::warn!(lane = lane_id, %error, "lanes are freed later");
                break;
            }
        }
    }
    Ok(())
}
