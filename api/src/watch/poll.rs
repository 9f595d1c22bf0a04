//! Looking at what is watched.

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace_common::broker::ControlEvent;
use millrace_common::store::Store;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Inner;

/// The least time between two looks: nobody needs more than a few pictures a second.
const LEAST: Duration = Duration::from_millis(200);

/// Looks until the server ends; not at all while nobody watches.
pub async fn run(inner: Arc<Inner>, store: Store) {
    let interval = Duration::from_millis(inner.config.poll_ms).max(LEAST);
    loop {
        let (batches, tenants) = inner.registry.wanted();
        if batches.is_empty() && tenants.is_empty() {
            tokio::select! {
                // Whoever begins to watch a batch brings its picture along, so the first look has time.
                () = tokio::time::sleep(interval) => continue,
                () = inner.wake.notified() => continue,
                () = inner.ending.cancelled() => return,
            }
        }
        let began = Instant::now();
        let looked = store.watched_batches(&batches, &tenants).await;
        let failed = looked.is_err();
        match looked {
            Ok(views) => inner.registry.show(views),
            Err(error) => tracing::warn!(%error, "watched batches cannot be read; their streams wait"),
        }
        inner.away.send_if_modified(|away| std::mem::replace(away, failed) != failed);
        // Looks that take long take turns with everything else that asks the database.
        let least = LEAST.max(began.elapsed());
        tokio::select! {
            () = pause(&inner, least, interval.max(least)) => {}
            () = inner.ending.cancelled() => return,
        }
    }
}

/// Waits for the interval, or until somebody asks for a look, but not less than `least`.
async fn pause(inner: &Inner, least: Duration, interval: Duration) {
    tokio::time::sleep(least).await;
    tokio::select! {
        () = tokio::time::sleep(interval - least) => {}
        () = inner.wake.notified() => {}
    }
}

/// Asks for a look when a control event is about a watched batch.
pub async fn listen(inner: Arc<Inner>, mut events: Receiver<ControlEvent>) {
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = inner.ending.cancelled() => return,
        };
        let about = match event {
            Ok(
                ControlEvent::BatchOpened { batch_id }
                | ControlEvent::BatchClosed { batch_id }
                | ControlEvent::BatchFinished { batch_id }
                | ControlEvent::BatchCancelled { batch_id }
                | ControlEvent::BatchPaused { batch_id }
                | ControlEvent::BatchResumed { batch_id },
            ) => inner.registry.watches(batch_id),
            Ok(ControlEvent::PlanChanged) => false,
            Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => return,
        };
        if about {
            inner.wake.notify_one();
        }
    }
}
