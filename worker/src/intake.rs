//! Deliveries: where they belong, and whether they are worth starting.

use std::sync::Arc;

use crate::commit::Sender;
use crate::dispatch::{Enqueued, Task};
use crate::held::Held;
use crate::{Worker, dead_letters, fleet, recipes};
use millrace_common::broker::{Delivery, MessageKind, Queue};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Takes deliveries until the worker stops.
pub async fn run(
    worker: Arc<Worker>,
    mut deliveries: mpsc::Receiver<Delivery>,
    finished: Sender,
    shutdown: CancellationToken,
) {
    let tasks = TaskTracker::new();
    loop {
        let delivery = tokio::select! {
            delivery = deliveries.recv() => delivery,
            () = shutdown.cancelled() => None,
        };
        let Some(delivery) = delivery else { break };
        match delivery.queue {
            Queue::Dead => {
                tasks.spawn(dead_letters::handle(Arc::clone(&worker), delivery, finished.clone()));
            }
            Queue::Lane(_) => {
                if let Some(task) = offer(&worker, task(delivery)) {
                    tasks.spawn(unknown(Arc::clone(&worker), task));
                }
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

fn task(delivery: Delivery) -> Task {
    Task {
        message: delivery.message,
        receipt: delivery.receipt,
        redelivered: delivery.redelivered,
        held: Held::default(),
    }
}

/// Puts a chunk into the dispatcher. Returns it when its batch is not known here.
fn offer(worker: &Worker, task: Task) -> Option<Task> {
    match worker.dispatcher.enqueue(task) {
        Enqueued::Waiting => None,
        Enqueued::NeedsShare => {
            worker.replan.notify_one();
            None
        }
        Enqueued::Unknown(task) => Some(task),
    }
}

/// A chunk of a batch that the last snapshot did not show: asks the database. Chunks of ended batches and of older leases are
/// acknowledged and dropped.
async fn unknown(worker: Arc<Worker>, task: Task) {
    let batch_id = task.message.batch_id;
    if task.message.kind == MessageKind::Bundle {
        return unknown_bundle(&worker, task).await;
    }
    match worker.store.in_time(worker.store.live_batch(batch_id)).await {
        Ok(Some(view)) if view.batch.state.is_live() && view.batch.lane_epoch == Some(task.message.epoch) => {
            fleet::learn(&worker, &view);
            worker.replan.notify_one();
            if let Some(task) = offer(&worker, task) {
                worker.consumers.requeue(&[task.receipt]).await;
            }
        }
        Ok(_) => {
            tracing::debug!(batch.id = %batch_id, "dropping a chunk of an ended batch or lease");
            worker.consumers.ack(&[task.receipt]).await;
        }
        Err(error) => {
            tracing::warn!(batch.id = %batch_id, %error, "giving a chunk back");
            worker.consumers.requeue(&[task.receipt]).await;
        }
    }
}

/// The same for a bundle. One of an older lease is dropped: it is in the database, and was published again under the new one.
async fn unknown_bundle(worker: &Worker, task: Task) {
    let workload_id = task.message.batch_id;
    match worker.store.workload(workload_id).await {
        Ok(Some(view)) if view.lane_epoch == task.message.epoch => {
            recipes::learn(worker, &view);
            worker.replan.notify_one();
            if let Some(task) = offer(worker, task) {
                worker.consumers.requeue(&[task.receipt]).await;
            }
        }
        Ok(_) => {
            tracing::debug!(workload.id = %workload_id, "dropping a bundle of an older lease");
            worker.consumers.ack(&[task.receipt]).await;
        }
        Err(error) => {
            tracing::warn!(workload.id = %workload_id, %error, "giving a bundle back");
            worker.consumers.requeue(&[task.receipt]).await;
        }
    }
}
