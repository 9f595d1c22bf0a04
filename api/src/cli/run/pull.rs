//! Pulls results and has them written, until all are there.
//!
//! A pull takes results out of the server, so the rows of one pull are in the files before the next one is sent. Whatever happens, at
//! most one answer is at risk: one that the server sent and that never arrived. The run notices at the end that those
//! chunks are missing, and has them calculated again in another batch (calculations are pure).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::super::client::{BatchStatusAnswer, Client, PullAnswer};
use super::super::error::CliError;
use super::progress::Counts;
use super::writer::Writer;

/// Pauses between pulls that bring nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long an interrupted run waits for the answer of the pull under way.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// How pulling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server has nothing left; every chunk that it will ever give was given.
    Drained,
    /// It was stopped.
    Stopped,
}

/// Pulls until the batch is drained and `pushed` says that no more chunks will come, or until `stop`. `base` is the number of
/// records that other batches of the run finished.
pub async fn pull_all(
    client: &Client,
    batch: &str,
    writer: &Arc<Mutex<Writer>>,
    counts: &Counts,
    base: u64,
    pushed: &CancellationToken,
    stop: &CancellationToken,
) -> Result<End, CliError> {
    let mut pause = FIRST_PAUSE;
    while !stop.is_cancelled() {
        // Read before the pull: a status from after the last push counts all chunks.
        let all_pushed = pushed.is_cancelled();
        let pull = client.pull(batch);
        tokio::pin!(pull);
        let body = tokio::select! {
            body = &mut pull => body?,
            () = stop.cancelled() => match tokio::time::timeout(LAST_ANSWER, &mut pull).await {
                Ok(body) => body?,
                Err(_) => return Ok(End::Stopped),
            },
        };
        // Files may be slow: not on the threads that keep the pushes going.
        let files = Arc::clone(writer);
        let (chunks, records, status) = tokio::task::spawn_blocking(move || write(&mut files.lock(), &body))
            .await
            .map_err(|error| CliError::Failed(format!("writing failed: {error}")))??;
        counts.pulled.store(records, Ordering::Relaxed);
        counts.finished.fetch_max(records.max(base + status.records_completed), Ordering::Relaxed);
        if chunks > 0 {
            pause = FIRST_PAUSE;
            continue;
        }
        if all_pushed && status.is_drained() {
            return Ok(End::Drained);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    Ok(End::Stopped)
}

/// Writes one answer; gives the number of its chunks, all records written so far, and the status in the answer.
fn write(writer: &mut Writer, body: &[u8]) -> Result<(usize, u64, BatchStatusAnswer), CliError> {
    let answer: PullAnswer<'_> = serde_json::from_slice(body)
        .map_err(|error| CliError::Failed(format!("the answer to a pull cannot be read: {error}")))?;
    writer.accept(&answer.data)?;
    Ok((answer.data.len(), writer.totals().records, answer.status))
}
