//! Redrives in the background: failed inputs go the way of every push, a portion at a time.
//!
//! A portion is taken under a lease, pushed, and only then noted as done. A server that dies in between leaves its lease to
//! expire, and the next one pushes the same chunks again: the same ids with the same data count once.

use std::time::Duration;

use bytes::Bytes;
use millrace_common::broker::ControlEvent;
use millrace_common::failpoint;
use millrace_common::model::{Transition, Verdict};
use millrace_common::store::{FailedInput, Redrive, StoreError};
use millrace_decode::{Chunk, DecodedPush};
use tokio_util::sync::CancellationToken;

use crate::push::{PushError, Target};
use crate::state::AppState;

/// How long one server has for a portion, in seconds.
const LEASE: f64 = 15.0;
/// The most chunks of a portion.
const CHUNKS: i64 = 200;
/// The most bytes of a portion before compression; one chunk goes whatever its size.
const BYTES: i64 = 4_000_000;
/// When a redrive whose input buffer is full is looked at again, in seconds.
const FULL: f64 = 0.2;
/// When one that met an outage is, in seconds.
const OUTAGE: f64 = 1.0;
/// Time between two looks when nothing is known to be there.
const POLL: Duration = Duration::from_secs(1);
/// The same while redrives wait for room.
const POLL_WAITING: Duration = Duration::from_millis(200);

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// No redrive is free to be taken.
    Idle,
    /// A portion went in, or a redrive ended.
    Went,
    /// A redrive waits for room, or for the end of an outage.
    Waits,
}

/// Drives redrives until the shutdown.
pub async fn run(state: AppState, shutdown: CancellationToken) {
    let mut waiting = false;
    while !shutdown.is_cancelled() {
        match step(&state).await {
            Ok(Step::Went) => continue,
            Ok(Step::Waits) => {
                waiting = true;
                continue;
            }
            Ok(Step::Idle) => {}
            Err(error) => tracing::warn!(%error, "redrives wait"),
        }
        let pause = if std::mem::take(&mut waiting) { POLL_WAITING } else { POLL };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = state.batches.redrives.notified() => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Takes one redrive a portion further.
async fn step(state: &AppState) -> Result<Step, StoreError> {
    let Some(redrive) = state.store.in_time(state.store.claim_redrive(LEASE)).await? else {
        return Ok(Step::Idle);
    };
    let done = portion(state, &redrive).await;
    if done.is_err() {
        // At best it need not wait for the end of the lease.
        let postponed = state.store.postpone_redrive(redrive.batch_id, OUTAGE);
        let _ = state.store.in_time(postponed).await;
    }
    done
}

async fn portion(state: &AppState, redrive: &Redrive) -> Result<Step, StoreError> {
    let store = &state.store;
    // A portion leaves room for what others push into the same batch.
    let bytes = (redrive.input_allocated / 4).clamp(1, BYTES);
    let inputs = store.redrive_inputs(redrive, CHUNKS, bytes).await?;
    let Some(last) = inputs.last() else {
        finish(state, redrive).await?;
        return Ok(Step::Went);
    };
    let next_no = last.chunk_no.saturating_add(1);
    let unpacked = tokio::task::spawn_blocking(move || inputs.into_iter().filter_map(unpack).collect());
    let chunks: Vec<Chunk> = unpacked.await.map_err(|error| StoreError::Corrupt(error.to_string()))?;
    let count = i64::try_from(chunks.len()).unwrap_or(i64::MAX);
    let Redrive { batch_id, day, .. } = *redrive;
    // It takes turns with tenants, its own among them.
    let target = Target { owner_id: batch_id, batch_id, day };
    match state.batches.pushes.push(target, DecodedPush { chunks, ids: Vec::new() }).await {
        Ok(_) => {
            failpoint::reach("redrive.pushed", "");
            store.in_time(store.advance_redrive(redrive, next_no, count)).await?;
            Ok(Step::Went)
        }
        Err(PushError::InputFull { .. }) => {
            store.in_time(store.postpone_redrive(redrive.batch_id, FULL)).await?;
            Ok(Step::Waits)
        }
        Err(
            error @ (PushError::Store(_)
            | PushError::Broker(_)
            | PushError::Withdrawn { .. }
            | PushError::Abandoned),
        ) => {
            tracing::warn!(batch.id = %redrive.batch_id, %error, "a redrive waits");
            store.in_time(store.postpone_redrive(redrive.batch_id, OUTAGE)).await?;
            Ok(Step::Waits)
        }
        // Somebody closed or cancelled the batch, or pushed other data under one of the ids.
        Err(
            error @ (PushError::Decode(_)
            | PushError::NotFound
            | PushError::NotOpen(_)
            | PushError::Conflict { .. }
            | PushError::TooLarge { .. }),
        ) => {
            let reason = error.to_string();
            tracing::warn!(batch.id = %redrive.batch_id, reason, "a redrive was stopped");
            end(state, redrive, false, Some(&reason)).await?;
            Ok(Step::Went)
        }
    }
}

/// A chunk as it was pushed, or with its failed records alone; `None` when that cannot be read.
fn unpack(input: FailedInput) -> Option<Chunk> {
    let size = usize::try_from(input.bytes).unwrap_or(0);
    let data = zstd::bulk::decompress(&input.input, size).map(Bytes::from);
    let scanned = data.ok().and_then(|data| Some((millrace_calc::scan(&data).ok()?, data)));
    let Some((scan, data)) = scanned else {
        tracing::error!(chunk.id = input.chunk_id, "a kept input cannot be read");
        return None;
    };
    let records = i32::try_from(scan.records).unwrap_or(i32::MAX);
    Some(Chunk { id: input.chunk_id, digest: *blake3::hash(&data).as_bytes(), records, scan, data })
}

/// Everything is in.
async fn finish(state: &AppState, redrive: &Redrive) -> Result<(), StoreError> {
    let missing = redrive.chunks_total - redrive.chunks_done;
    let reason = (missing > 0).then(|| format!("the inputs of {missing} chunks could not be read"));
    end(state, redrive, true, reason.as_deref()).await?;
    tracing::info!(batch.id = %redrive.batch_id, chunks = redrive.chunks_done, missing, "a redrive is in");
    Ok(())
}

/// Closes the new batch, unless it is to stay open, so that it settles by itself. One that was closed or cancelled in the
/// meantime stays so.
async fn end(
    state: &AppState,
    redrive: &Redrive,
    is_done: bool,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    let (store, batch_id) = (&state.store, redrive.batch_id);
    if redrive.close
        && let Ok(Verdict::Become(_)) = store.in_time(store.change_batch(batch_id, Transition::Close)).await?
    {
        state.control.send(ControlEvent::BatchClosed { batch_id });
    }
    store.in_time(store.end_redrive(batch_id, is_done, reason)).await
}
