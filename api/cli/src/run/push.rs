//! Pushes the chunks of a table, several at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::client::Client;
use super::super::error::CliError;
use super::progress::Counts;
use super::reader::{Chunk, Chunks, chunk_id};

/// What the input turned out to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Read {
    /// Chunks, wanted or not.
    pub chunks: u64,
    /// Records.
    pub records: u64,
}

/// Cuts and pushes every chunk for which `wanted` holds. Ends early, without an error, when `stop` is cancelled.
///
/// A full server makes a push wait (the client's patience); it is the same chunk that is sent again, with the same id, so
/// the server counts it once.
pub async fn push_all(
    client: &Client,
    batch: &str,
    chunks: Chunks,
    wanted: impl Fn(u64) -> bool + Send + 'static,
    in_flight: usize,
    counts: &Arc<Counts>,
    stop: &CancellationToken,
) -> Result<Option<Read>, CliError> {
    let (sender, receiver) = mpsc::channel(2);
    let reader_counts = Arc::clone(counts);
    // Reading may block for ever (standard input), so nobody waits for this thread after `stop`.
    let mut reader = tokio::task::spawn_blocking(move || read(chunks, wanted, &sender, &reader_counts));
    let pushed = push_received(client, batch, receiver, in_flight, counts, stop).await?;
    if !pushed {
        return Ok(None);
    }
    tokio::select! {
        read = &mut reader => read.map_err(|error| CliError::Failed(format!("reading failed: {error}")))?.map(Some),
        () = stop.cancelled() => Ok(None),
    }
}

/// Sends wanted chunks to the channel until the table or the receiver ends.
fn read(
    mut chunks: Chunks,
    wanted: impl Fn(u64) -> bool,
    sender: &mpsc::Sender<Chunk>,
    counts: &Counts,
) -> Result<Read, CliError> {
    let mut read = Read::default();
    loop {
        let skipped = |records: u32| {
            read.chunks += 1;
            read.records += u64::from(records);
            counts.records_read.fetch_add(u64::from(records), Ordering::Relaxed);
            counts.pushed.fetch_add(u64::from(records), Ordering::Relaxed);
        };
        let Some(chunk) = chunks.next_chunk(&wanted, skipped)? else {
            return Ok(read);
        };
        read.chunks += 1;
        read.records += u64::from(chunk.records);
        counts.records_read.fetch_add(u64::from(chunk.records), Ordering::Relaxed);
        if sender.blocking_send(chunk).is_err() {
            return Ok(read);
        }
    }
}

/// Pushes what comes out of the channel. `false` when it was stopped.
async fn push_received(
    client: &Client,
    batch: &str,
    mut receiver: mpsc::Receiver<Chunk>,
    in_flight: usize,
    counts: &Arc<Counts>,
    stop: &CancellationToken,
) -> Result<bool, CliError> {
    let mut pushes = JoinSet::new();
    let mut open = true;
    while open || !pushes.is_empty() {
        tokio::select! {
            () = stop.cancelled() => return Ok(false),
            Some(done) = pushes.join_next(), if !pushes.is_empty() => {
                let done: Result<(), CliError> =
                    done.map_err(|error| CliError::Failed(format!("a push failed: {error}")))?;
                done?;
            }
            chunk = receiver.recv(), if open && pushes.len() < in_flight => match chunk {
                Some(chunk) => {
                    let (client, batch, counts) = (client.clone(), batch.to_owned(), Arc::clone(counts));
                    pushes.spawn(async move {
                        client.push(&batch, chunk.body).await.inspect_err(|_| {
                            counts.note(&format!("chunk {} was refused", chunk_id(chunk.index)));
                        })?;
                        counts.pushed.fetch_add(u64::from(chunk.records), Ordering::Relaxed);
                        Ok(())
                    });
                }
                None => open = false,
            },
        }
    }
    Ok(true)
}
