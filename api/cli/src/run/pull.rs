//! Reads results and has them written, until all are there.
//!
//! A page is acknowledged, and thereby taken out of the server, only once its rows are in the files. Whatever happens to an
//! answer or to this process, what was not acknowledged is still there: a run that goes on begins with it, and ignores chunks
//! that it has. Should chunks be missing in the end all the same (somebody else pulled them), the run has them calculated again
//! in another batch (calculations are pure).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::super::client::{BatchStatusAnswer, Client, ClientError, ReadAnswer};
use super::super::error::CliError;
use super::progress::Counts;
use super::writer::Writer;

/// Pauses between pages that bring nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long an interrupted run waits for the answer under way.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// How pulling ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server has nothing left; every chunk that it will ever give was given.
    Drained,
    /// It was stopped.
    Stopped,
}

/// Where the reading is.
#[derive(Debug, Clone, Default)]
struct Place {
    /// Everything up to there is in the files.
    written: Option<String>,
    /// Whether that was acknowledged.
    is_freed: bool,
}

/// Reads until the batch is drained and `pushed` says that no more chunks will come, or until `stop`. `base` is the number of
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
    let mut place = Place::default();
    while !stop.is_cancelled() {
        // Looked at before the page: a status from after the last push counts all chunks.
        let all_pushed = pushed.is_cancelled();
        let page = next_page(client, batch, place.clone());
        tokio::pin!(page);
        let body = tokio::select! {
            body = &mut page => body?,
            () = stop.cancelled() => match tokio::time::timeout(LAST_ANSWER, &mut page).await {
                Ok(body) => body?,
                Err(_) => return Ok(End::Stopped),
            },
        };
        place.is_freed = true;
        // Files may be slow: not on the threads that keep the pushes going.
        let files = Arc::clone(writer);
        let written = tokio::task::spawn_blocking(move || write(&mut files.lock(), &body))
            .await
            .map_err(|error| CliError::Failed(format!("writing failed: {error}")))??;
        let Written { chunks, records, has_more, status, cursor } = written;
        counts.pulled.store(records, Ordering::Relaxed);
        counts.finished.fetch_max(records.max(base + status.records_completed), Ordering::Relaxed);
        if chunks > 0 {
            pause = FIRST_PAUSE;
            place = Place { written: Some(cursor), is_freed: false };
            continue;
        }
        if all_pushed && !has_more && status.is_drained() {
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

/// Reads what comes behind a place; what is before it is freed meanwhile.
async fn next_page(client: &Client, batch: &str, place: Place) -> Result<Bytes, ClientError> {
    let after = place.written.as_deref();
    let free = async {
        match after.filter(|_| !place.is_freed) {
            Some(cursor) => client.acknowledge(batch, cursor).await,
            None => Ok(()),
        }
    };
    let (body, ()) = tokio::try_join!(client.results(batch, after), free)?;
    Ok(body)
}

/// What one answer came to.
struct Written {
    /// Its chunks.
    chunks: usize,
    /// All records written so far.
    records: u64,
    /// Whether there may be more, even after an empty page.
    has_more: bool,
    /// The status in the answer.
    status: BatchStatusAnswer,
    /// What to acknowledge.
    cursor: String,
}

/// Writes one answer.
fn write(writer: &mut Writer, body: &[u8]) -> Result<Written, CliError> {
    let answer: ReadAnswer<'_> = serde_json::from_slice(body)
        .map_err(|error| CliError::Failed(format!("the answer with results cannot be read: {error}")))?;
    writer.accept(&answer.data)?;
    let (chunks, records) = (answer.data.len(), writer.totals().records);
    let ReadAnswer { next_cursor: cursor, has_more, status, .. } = answer;
    Ok(Written { chunks, records, has_more, status, cursor })
}
