//! Bundles onto lanes.

use std::collections::BTreeMap;

use millrace_common::broker::{ChunkMessage, LaneId};
use millrace_common::failpoint;
use millrace_common::store::recipes::BundleRef;
use uuid::Uuid;

use crate::Worker;

/// Publishes bundles, and notes those that the broker confirmed. What goes wrong is mended by the reaper: the bundles are in the
/// database.
pub async fn publish(worker: &Worker, bundles: &[BundleRef]) {
    if bundles.is_empty() {
        return;
    }
    let mut by_workload: BTreeMap<Uuid, Vec<i64>> = BTreeMap::new();
    for bundle in bundles {
        by_workload.entry(bundle.workload_id).or_default().push(bundle.bundle_id);
    }
    let workloads: Vec<Uuid> = by_workload.keys().copied().collect();
    let lanes = match worker.store.workload_lanes(&workloads).await {
        Ok(lanes) => lanes,
        Err(error) => {
            tracing::warn!(%error, "bundles are published later");
            return;
        }
    };
    let mut news = false;
    for lane in lanes {
        let Some(bundles) = by_workload.get(&lane.workload_id) else { continue };
        let id = LaneId(lane.lane_id);
        if !lane.declared {
            if let Err(error) = worker.topology.declare_lane(id).await {
                tracing::warn!(%error, "a lane cannot be declared; its bundles are published later");
                continue;
            }
            if let Err(error) = worker.store.mark_lane_declared(lane.lane_id).await {
                tracing::debug!(%error, "the lane will be declared again");
            }
            news = true;
        }
        failpoint::reach("bundles.publish", "");
        let messages = bundles
            .iter()
            .map(|bundle| ChunkMessage::bundle(lane.workload_id, *bundle, lane.epoch))
            .collect();
        match worker.publisher.publish(id, messages).await {
            Ok(()) => {
                if let Err(error) = worker.store.confirm_bundles(bundles).await {
                    tracing::debug!(%error, "bundles will be published again");
                }
            }
            Err(error) => tracing::warn!(%error, "bundles are published later"),
        }
        news |= !worker.dispatcher.knows(lane.workload_id);
    }
    if news {
        worker.replan.notify_one();
        worker.control.send(millrace_common::broker::ControlEvent::PlanChanged);
    }
}
