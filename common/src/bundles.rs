//! Bundles of jobs onto lanes, by whoever committed them: workers, and the API for jobs and recipes that callers ask for.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::broker::{ChunkMessage, LaneId, Publisher, Topology};
use crate::failpoint;
use crate::store::Store;
use crate::store::recipes::BundleRef;
use crate::trace::{self, Span, TraceContext};

/// Where bundles went, as far as the fleet should hear of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// The workloads that something was tried for.
    pub workloads: Vec<Uuid>,
    /// Whether a lane was declared that nobody can know yet.
    pub is_new: bool,
}

/// Publishes bundles, and notes those that the broker confirmed. What goes wrong is mended by the reaper: the bundles are in the
/// database.
///
/// They go on in the trace of what they follow from; those that begin something begin a trace.
pub async fn publish(
    store: &Store,
    topology: &Topology,
    publisher: &Publisher,
    bundles: &[BundleRef],
    trace: Option<TraceContext>,
) -> Published {
    let mut published = Published::default();
    if bundles.is_empty() {
        return published;
    }
    let mut by_workload: BTreeMap<Uuid, Vec<i64>> = BTreeMap::new();
    for bundle in bundles {
        by_workload.entry(bundle.workload_id).or_default().push(bundle.bundle_id);
    }
    let workloads: Vec<Uuid> = by_workload.keys().copied().collect();
    let lanes = match store.workload_lanes(&workloads).await {
        Ok(lanes) => lanes,
        Err(error) => {
            tracing::warn!(%error, "bundles are published later");
            return published;
        }
    };
    for lane in lanes {
        let Some(bundles) = by_workload.get(&lane.workload_id) else { continue };
        let id = LaneId(lane.lane_id);
        if !lane.declared {
            if let Err(error) = topology.declare_lane(id).await {
                tracing::warn!(%error, "a lane cannot be declared; its bundles are published later");
                continue;
            }
            if let Err(error) = store.mark_lane_declared(lane.lane_id).await {
                tracing::debug!(%error, "the lane will be declared again");
            }
            published.is_new = true;
        }
        let mut span = trace::lane::publish(trace.as_ref(), || topology.lane_name(id), bundles.len());
        if let Some(span) = span.as_mut().filter(|span| span.is_recording()) {
            span.set("millrace.workload.id", lane.workload_id.to_string());
        }
        let carried = span.as_ref().map(Span::context).or_else(|| trace.clone());
        failpoint::reach("bundles.publish", "");
        let messages = bundles
            .iter()
            .map(|bundle| ChunkMessage {
                trace: carried.clone(),
                ..ChunkMessage::bundle(lane.workload_id, *bundle, lane.epoch)
            })
            .collect();
        match publisher.publish(id, messages).await {
            Ok(()) => {
                if let Err(error) = store.confirm_bundles(bundles).await {
                    tracing::debug!(%error, "bundles will be published again");
                }
            }
            Err(error) => {
                if let Some(span) = &mut span {
                    span.fail(error.kind());
                }
                tracing::warn!(%error, "bundles are published later");
            }
        }
        published.workloads.push(lane.workload_id);
    }
    published
}
