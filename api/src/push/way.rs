//! Admit → publish → mark as queued.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::NaiveDate;
use millrace_common::broker::{BrokerError, ChunkMessage, LaneId, MAX_MESSAGE_BYTES, Publisher, Topology};
use millrace_common::config::Config;
use millrace_common::failpoint;
use millrace_common::metrics::{LANES_REDECLARED, PUSHED_BYTES, PUSHED_CHUNKS, PUSHED_RECORDS};
use millrace_common::model::BatchState;
use millrace_common::store::{
    Admission, BatchView, Marked, Push, PushedChunk, QueuedPush, Store, StoreError,
};
use millrace_common::trace::{self, Span, SpanKind, TraceContext};
use millrace_decode::{Chunk, DecodeError, DecodedPush, Format, decode};
use thiserror::Error;
use tracing::warn;
use uuid::Uuid;

use super::admission::{Admit, MarkQueued};
use super::group::Group;
use crate::middleware;

/// Work on more bytes than this leaves the threads of the asynchronous runtime, so that small pushes do not wait for it.
const INLINE_BYTES: usize = 32_000;
/// The fastest level that still halves typical records.
const ZSTD_LEVEL: i32 = 1;

/// The batch that a push is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Who takes turns with other owners on the way: the tenant, or a redrive.
    pub owner_id: Uuid,
    /// The batch.
    pub batch_id: Uuid,
    /// Its day.
    pub day: NaiveDate,
}

/// Why a push failed. Nothing is stored, unless the variant says otherwise.
#[derive(Debug, Error)]
pub enum PushError {
    /// The body is refused.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The batch is gone.
    #[error("no such batch")]
    NotFound,
    /// The batch takes no chunks any more.
    #[error("the batch is {0}")]
    NotOpen(BatchState),
    /// Ids are taken by chunks with other data.
    #[error("chunk ids already used with other data: {}", ids.join(", "))]
    Conflict {
        /// The ids.
        ids: Vec<String>,
    },
    /// The push is larger than the whole input buffer.
    #[error("the push has {needed} bytes, the whole input buffer {allocated}")]
    TooLarge {
        /// Bytes of the push.
        needed: i64,
        /// Size of the buffer.
        allocated: i64,
    },
    /// The input buffer has not enough room now.
    #[error("the push needs {needed} bytes of the input buffer; {free} are free")]
    InputFull {
        /// Bytes of the push.
        needed: i64,
        /// Bytes that are free.
        free: i64,
    },
    /// The database failed. The chunks may be stored; pushing them again is safe.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The broker did not confirm. The chunks are stored as accepted; pushing them again publishes them again.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The confirms came so late that chunks were withdrawn before them. Pushing them again takes them anew.
    #[error("chunks were withdrawn before the broker confirmed them: {}", ids.join(", "))]
    Withdrawn {
        /// The ids.
        ids: Vec<String>,
    },
    /// A task of this process died; a bug.
    #[error("the push was abandoned")]
    Abandoned,
}

/// Takes pushes. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Pushes {
    admission: Group<Admit>,
    queued: Group<MarkQueued>,
    publisher: Publisher,
    topology: Topology,
    chunk_bytes: usize,
    transcoded_bytes: usize,
    compress_bytes: usize,
}

impl Pushes {
    /// Starts the tasks that group transactions; to be called within a runtime.
    pub fn start(config: &Config, store: &Store, publisher: Publisher, topology: Topology) -> Self {
        Self {
            admission: Group::start(Admit(store.clone())),
            queued: Group::start(MarkQueued(store.clone())),
            publisher,
            topology,
            chunk_bytes: config.limits.chunk_bytes.min(MAX_MESSAGE_BYTES),
            transcoded_bytes: config.limits.body_bytes,
            compress_bytes: config.limits.compress_bytes,
        }
    }

    /// Decodes a push, off the runtime's threads when it is large.
    ///
    /// # Errors
    ///
    /// [`PushError::Decode`].
    pub async fn decode(&self, format: Format, body: Bytes) -> Result<DecodedPush, PushError> {
        let (chunk_bytes, transcoded_bytes) = (self.chunk_bytes, self.transcoded_bytes);
        let bytes = body.len();
        off_runtime(bytes, move || decode(format, &body, chunk_bytes, transcoded_bytes))
            .await?
            .map_err(PushError::from)
    }

    /// Takes a decoded push the whole way; when it returns `Ok`, every chunk is in the batch's lane, confirmed. Gives the batch
    /// with the push in it, where that was read on the way.
    ///
    /// To be run in a task of its own: a push that was admitted should also be published when its caller goes away.
    ///
    /// # Errors
    ///
    /// See [`PushError`].
    pub async fn push(&self, target: Target, push: DecodedPush) -> Result<Option<BatchView>, PushError> {
        let (chunks, mut records, mut bytes) = (push.chunks.len(), 0, 0);
        for chunk in &push.chunks {
            records += u64::from(chunk.records.unsigned_abs());
            bytes += chunk.data.len() as u64;
        }
        let view = if chunks > 0 { self.carry(target, push).await? } else { None };
        PUSHED_CHUNKS.add(chunks as u64);
        PUSHED_RECORDS.add(records);
        PUSHED_BYTES.add(bytes);
        Ok(view)
    }

    async fn carry(&self, target: Target, push: DecodedPush) -> Result<Option<BatchView>, PushError> {
        let Target { owner_id, batch_id, day } = target;
        let trace = middleware::trace();
        let rows = push.chunks.iter().map(row).collect();
        let mut admitting = Span::child("admit", SpanKind::Internal, trace.as_ref());
        let admission = self.admission.call(owner_id, Push { batch_id, day, chunks: rows }).await;
        if let (Some(span), Err(error)) = (&mut admitting, &admission) {
            span.fail(error.kind());
        }
        drop(admitting);
        let admission = admission.map_err(PushError::Store)?;
        let (lane_id, epoch, publish) = match admission {
            Admission::Admitted { lane_id, epoch, publish } => (lane_id, epoch, publish),
            Admission::NotFound => return Err(PushError::NotFound),
            Admission::NotOpen(state) => return Err(PushError::NotOpen(state)),
            Admission::Conflict { chunk_ids } => return Err(PushError::Conflict { ids: chunk_ids }),
            Admission::TooLarge { needed, allocated } => {
                return Err(PushError::TooLarge { needed, allocated });
            }
            Admission::InputFull { needed, free } => return Err(PushError::InputFull { needed, free }),
        };
        if publish.is_empty() {
            return Ok(None);
        }
        let chunks = publish.clone();
        let lane = LaneId(lane_id);
        // Without a span of the request there is none of its publishing.
        let mut publishing = trace.as_ref().and_then(|trace| {
            trace::lane::publish(Some(trace), || self.topology.lane_name(lane), publish.len())
        });
        if let Some(span) = &mut publishing {
            span.set("millrace.batch.id", batch_id.to_string());
        }
        // Workers go on from here; of a trace that is not sampled they hear that it is not.
        let carried = publishing.as_ref().map(Span::context).or_else(|| trace.clone());
        let messages = self.messages(batch_id, epoch, push.chunks, publish, carried).await?;
        failpoint::reach("push.admitted", "");
        let published = self.publish(lane, messages).await;
        if let (Some(span), Err(error)) = (&mut publishing, &published) {
            span.fail(error.kind());
        }
        drop(publishing);
        published?;
        failpoint::reach("push.confirmed", "");
        let queued = QueuedPush { batch_id, day, chunks };
        let marking = Span::child("mark queued", SpanKind::Internal, trace.as_ref());
        let marked = self.queued.call(owner_id, queued).await.map_err(PushError::Store)?;
        drop(marking);
        failpoint::reach("push.queued", "");
        let Marked { withdrawn: ids, view } = marked;
        if ids.is_empty() { Ok(view) } else { Err(PushError::Withdrawn { ids }) }
    }

    /// Publishes with confirms. A lane that is missing on the broker is declared, and the push published once more.
    async fn publish(&self, lane: LaneId, messages: Vec<ChunkMessage>) -> Result<(), BrokerError> {
        // The bodies are shared, so this copies headers only.
        let again = messages.clone();
        match self.publisher.publish(lane, messages).await {
            Err(BrokerError::Unroutable(queue)) => {
                warn!(queue, "the lane was missing on the broker: declaring it");
                LANES_REDECLARED.add(1);
                self.topology.declare_lane(lane).await?;
                self.publisher.publish(lane, again).await
            }
            outcome => outcome,
        }
    }

    /// The messages for the chunks that are to be published, large ones compressed.
    async fn messages(
        &self,
        batch_id: Uuid,
        epoch: i64,
        chunks: Vec<Chunk>,
        publish: Vec<(String, i64)>,
        trace: Option<TraceContext>,
    ) -> Result<Vec<ChunkMessage>, PushError> {
        let compress_bytes = self.compress_bytes;
        let large =
            chunks.iter().map(|chunk| chunk.data.len()).filter(|bytes| *bytes >= compress_bytes).sum();
        off_runtime(large, move || {
            let numbers: HashMap<&str, i64> =
                publish.iter().map(|(id, number)| (id.as_str(), *number)).collect();
            let mut compressor = None;
            let mut messages = Vec::with_capacity(publish.len());
            for chunk in chunks {
                let Some(&chunk_no) = numbers.get(chunk.id.as_str()) else { continue };
                let charged_bytes = i64::try_from(chunk.data.len()).unwrap_or(i64::MAX);
                let compressed = if chunk.data.len() >= compress_bytes {
                    compress(&mut compressor, &chunk.data)
                } else {
                    None
                };
                messages.push(ChunkMessage {
                    kind: millrace_common::broker::MessageKind::Chunk,
                    batch_id,
                    chunk_no,
                    chunk_id: chunk.id,
                    epoch,
                    records: chunk.records.unsigned_abs(),
                    charged_bytes,
                    scan: Some(chunk.scan),
                    compressed: compressed.is_some(),
                    trace: trace.clone(),
                    body: compressed.unwrap_or(chunk.data),
                });
            }
            messages
        })
        .await
    }
}

/// A chunk as the store sees it.
fn row(chunk: &Chunk) -> PushedChunk {
    PushedChunk {
        chunk_id: chunk.id.clone(),
        digest: chunk.digest,
        records: chunk.records,
        bytes: i32::try_from(chunk.data.len()).unwrap_or(i32::MAX),
    }
}

/// The data compressed, when that makes it smaller. Compression is a saving only: where it fails, the data goes as it is.
fn compress(compressor: &mut Option<zstd::bulk::Compressor<'static>>, data: &[u8]) -> Option<Bytes> {
    if compressor.is_none() {
        *compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
    }
    let compressed = compressor.as_mut()?.compress(data).ok()?;
    (compressed.len() < data.len()).then(|| Bytes::from(compressed))
}

/// Runs `work` here when it is on few bytes, else on a thread for blocking work.
async fn off_runtime<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PushError> {
    if bytes <= INLINE_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|_| PushError::Abandoned)
}
