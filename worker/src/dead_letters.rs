//! Dead letters. The broker's delivery count is a safety net, never the truth: on RabbitMQ 3.x every lost channel is charged to
//! all prefetched messages, started or not. The database knows how often a chunk was really started.

use std::sync::Arc;

use millrace_common::broker::{Delivery, LaneId, MessageKind};
use millrace_common::failpoint;
use millrace_common::metrics::DEAD_LETTERS;
use millrace_common::store::StoreError;
use millrace_common::store::recipes::BundleRef;

use crate::Worker;
use crate::commit::{Finished, Sender};
use crate::evaluate::failed_chunk;
use crate::held::Held;
use crate::recipes::publish::publish;

/// Puts a dead letter back on its lane, or ends it as a failed chunk.
pub async fn handle(worker: Arc<Worker>, delivery: Delivery, finished: Sender) {
    if delivery.message.kind == MessageKind::Bundle {
        // Its starts were counted when it was delivered again; one that was committed is gone when somebody takes it.
        let (workload_id, bundle_id) = (delivery.message.batch_id, delivery.message.chunk_no);
        publish(&worker, &[BundleRef { workload_id, bundle_id }], delivery.message.trace).await;
        DEAD_LETTERS.with("returned").add(1);
        worker.consumers.ack(&[delivery.receipt]).await;
        return;
    }
    match worker.store.in_time(judge(&worker, &delivery)).await {
        Ok(Judgement::Drop) => {
            DEAD_LETTERS.with("dropped").add(1);
            worker.consumers.ack(&[delivery.receipt]).await;
        }
        Ok(Judgement::Return(lane)) => {
            match worker.publisher.publish(lane, vec![delivery.message.clone()]).await {
                Ok(()) => {
                    DEAD_LETTERS.with("returned").add(1);
                    failpoint::reach("dead.returned", &delivery.message.chunk_id);
                    worker.consumers.ack(&[delivery.receipt]).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "a dead letter stays where it is");
                    worker.consumers.requeue(&[delivery.receipt]).await;
                }
            }
        }
        Ok(Judgement::Fail { day, attempts }) => {
            DEAD_LETTERS.with("failed").add(1);
            let reason = format!("the chunk was started {attempts} times and never finished");
            tracing::warn!(batch.id = %delivery.message.batch_id, chunk.id = delivery.message.chunk_id, reason, "chunk failed");
            let chunk = failed_chunk(&worker, day, &delivery.message, &reason);
            // A closed channel means that the worker stops; the broker delivers the letter again.
            let receipt = delivery.receipt;
            let _ = finished
                .send(Finished { chunk, receipt, presence: None, held: Held::default(), trace: None })
                .await;
        }
        Err(error) => {
            tracing::warn!(%error, "a dead letter stays where it is");
            worker.consumers.requeue(&[delivery.receipt]).await;
        }
    }
}

enum Judgement {
    Drop,
    Return(LaneId),
    Fail { day: chrono::NaiveDate, attempts: i32 },
}

async fn judge(worker: &Worker, delivery: &Delivery) -> Result<Judgement, StoreError> {
    let message = &delivery.message;
    let Some(view) = worker.store.live_batch(message.batch_id).await? else { return Ok(Judgement::Drop) };
    let lane = match (view.batch.lane_id, view.batch.lane_epoch) {
        (Some(lane), Some(epoch)) if view.batch.state.is_live() && epoch == message.epoch => LaneId(lane),
        _ => return Ok(Judgement::Drop),
    };
    let day = view.batch.day;
    Ok(match worker.store.attempts(day, message.batch_id, &message.chunk_id, message.chunk_no).await? {
        None => Judgement::Drop,
        Some(attempts) if attempts.unsigned_abs() >= worker.config.worker.max_attempts => {
            Judgement::Fail { day, attempts }
        }
        Some(_) => Judgement::Return(lane),
    })
}
