//! Bundles onto lanes; the fleet hears of lanes that it may not know.

use millrace_common::broker::ControlEvent;
use millrace_common::bundles;
use millrace_common::store::recipes::BundleRef;
use millrace_common::trace::TraceContext;

use crate::Worker;

/// Publishes bundles, as [`bundles::publish`] does, in the trace of what they follow from.
pub async fn publish(worker: &Worker, bundles: &[BundleRef], trace: Option<TraceContext>) {
    let published =
        bundles::publish(&worker.store, &worker.topology, &worker.publisher, bundles, trace).await;
    let unknown = published.workloads.iter().any(|workload| !worker.dispatcher.knows(*workload));
    if published.is_new || unknown {
        worker.replan.notify_one();
        worker.control.send(ControlEvent::PlanChanged);
    }
}
