//! Evaluation threads: chunk bytes in, result bytes out. Never on the async runtime.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use millrace_calc::chunk::{ChunkError, write_failed};
use millrace_calc::service::Scratch;
use millrace_common::broker::{ChunkMessage, MessageKind};
use millrace_common::failpoint;
use millrace_common::metrics::{EVALUATION_SECONDS, REDELIVERIES};
use millrace_common::store::{FailedWork, FinishedChunk, Outcome, StoreError};
use millrace_common::trace::Span;
use tokio::runtime::Handle;

use crate::Worker;
use crate::commit::{Finished, Sender};
use crate::dispatch::{Calculation, Task};
use crate::failed_work;
use crate::quarantine::{Presence, is_suspect};
use crate::recipes;
use crate::traced;

/// Results smaller than this are stored as they are: compressing them saves nothing.
const COMPRESS_FROM: usize = 512;

/// Level of result compression: the cheapest, since the database's time is scarcer than its space.
const LEVEL: i32 = 1;

/// Starts one thread a slot; to be called within the runtime.
pub fn start(
    worker: &Arc<Worker>,
    finished: &Sender,
    bundles: &recipes::commit::Sender,
) -> std::io::Result<Vec<JoinHandle<()>>> {
    let runtime = Handle::current();
    (0..worker.slots)
        .map(|slot| {
            let bench = Bench::new(worker)?;
            let (worker, runtime) = (Arc::clone(worker), runtime.clone());
            let (finished, bundles) = (finished.clone(), bundles.clone());
            std::thread::Builder::new()
                .name(format!("evaluate-{slot}"))
                .spawn(move || evaluate(&worker, bench, &finished, &bundles, &runtime))
        })
        .collect()
}

fn evaluate(
    worker: &Worker,
    mut bench: Bench,
    finished: &Sender,
    bundles: &recipes::commit::Sender,
    runtime: &Handle,
) {
    while let Some(turn) = worker.dispatcher.next_turn() {
        let mut took = Duration::ZERO;
        for task in turn.tasks {
            // A lost channel means that the broker delivers the chunk again: work on it would be wasted.
            if !task.receipt.is_live() {
                continue;
            }
            if task.message.kind == MessageKind::Bundle {
                let (calculation, began) = (&turn.calculation, Instant::now());
                if !recipes::evaluate::run(worker, calculation, task, &mut bench.scratch, bundles, runtime) {
                    return;
                }
                took += began.elapsed();
                continue;
            }
            let mut span = traced::evaluation(&task.message, &task.receipt, task.redelivered);
            let (chunk, presence) = match claim(worker, turn.day, &task, runtime) {
                Claimed::Start(presence) => {
                    failpoint::reach("evaluate", &task.message.chunk_id);
                    let began = Instant::now();
                    let chunk = bench.run(&turn.calculation, turn.day, &task.message);
                    let elapsed = began.elapsed();
                    took += elapsed;
                    EVALUATION_SECONDS.record(elapsed.as_secs_f64());
                    (chunk, Some(presence))
                }
                Claimed::GiveUp(reason) => (failed_chunk(worker, turn.day, &task.message, &reason), None),
                Claimed::Settled => continue,
            };
            if let Some(span) = span.as_mut().filter(|_| chunk.outcome == Outcome::Failed) {
                span.fail("failed_chunk");
            }
            let trace = span.as_ref().map(Span::context);
            drop(span);
            let done = Finished { chunk, receipt: task.receipt, presence, held: task.held, trace };
            if finished.blocking_send(done).is_err() {
                return;
            }
        }
        worker.dispatcher.end_turn(turn.batch_id, turn.advance, took);
    }
}

/// Whether a chunk is to be started.
enum Claimed {
    /// Hold the presence until the result is committed.
    Start(Presence),
    GiveUp(String),
    /// It was acknowledged or given back.
    Settled,
}

/// A chunk that the broker may have delivered before is counted in the database before it starts, so that one that kills its
/// worker ends as a failed chunk. (A chunk seen for the first time pays nothing for this.)
fn claim(worker: &Worker, day: NaiveDate, task: &Task, runtime: &Handle) -> Claimed {
    if task.redelivered {
        return runtime.block_on(claim_again(worker, day, task));
    }
    let together = worker.quarantine.try_together();
    Claimed::Start(together.unwrap_or_else(|| runtime.block_on(worker.quarantine.together())))
}

async fn claim_again(worker: &Worker, day: NaiveDate, task: &Task) -> Claimed {
    let message = &task.message;
    match count_start(worker, day, message).await {
        Ok(Some((attempts, _))) if attempts > worker.config.worker.max_attempts => {
            Claimed::GiveUp(format!("the chunk was started {attempts} times and never finished"))
        }
        Ok(Some((_, presence))) => {
            REDELIVERIES.add(1);
            Claimed::Start(presence)
        }
        // Its result is there already, it was withdrawn, or its batch has ended.
        Ok(None) => {
            worker.consumers.ack(std::slice::from_ref(&task.receipt)).await;
            Claimed::Settled
        }
        Err(error) => {
            tracing::warn!(batch.id = %message.batch_id, %error, "giving a chunk back");
            worker.consumers.requeue(std::slice::from_ref(&task.receipt)).await;
            Claimed::Settled
        }
    }
}

/// Counts one more start. A suspect is counted when it is alone, not before: what kills the worker while it waits is not its
/// doing.
async fn count_start(
    worker: &Worker,
    day: NaiveDate,
    message: &ChunkMessage,
) -> Result<Option<(u32, Presence)>, StoreError> {
    let (batch_id, chunk_id, chunk_no) = (message.batch_id, &message.chunk_id, message.chunk_no);
    let Some(before) = worker.store.attempts(day, batch_id, chunk_id, chunk_no).await? else {
        return Ok(None);
    };
    let presence = if is_suspect(before.unsigned_abs() + 1, worker.config.worker.max_attempts) {
        worker.quarantine.alone().await
    } else {
        worker.quarantine.together().await
    };
    let counted = worker.store.claim_attempt(worker.counter_slot, day, batch_id, chunk_id, chunk_no).await?;
    Ok(counted.map(|attempts| (attempts.unsigned_abs(), presence)))
}

/// What a thread reuses from chunk to chunk.
struct Bench {
    scratch: Scratch,
    compressor: zstd::bulk::Compressor<'static>,
    decompressor: zstd::bulk::Decompressor<'static>,
    json: Vec<u8>,
    chunk_bytes: usize,
    chunk_timeout: Duration,
    keep_failed_inputs: bool,
}

/// Why a chunk failed.
enum Failure {
    /// The calculation refused it.
    Chunk(ChunkError),
    /// Its body cannot be unpacked.
    Damaged,
    /// The reason lies outside of the chunk.
    Worker(Cow<'static, str>),
    /// The batch was stopped early.
    Stopped,
}

impl From<ChunkError> for Failure {
    fn from(error: ChunkError) -> Self {
        Self::Chunk(error)
    }
}

impl Failure {
    fn write_json(&self, message: &ChunkMessage, out: &mut Vec<u8>) {
        let (id, records) = (&message.chunk_id, message.records);
        match self {
            Self::Chunk(error) => error.write_json(id, records, out),
            Self::Damaged => {
                let reason = "the chunk was damaged on its way through the broker";
                write_failed(id, records, "runtime", "error.CHUNK_NOT_PROCESSED", None, reason, out)
            }
            Self::Worker(reason) => {
                write_failed(id, records, "runtime", "error.CHUNK_NOT_PROCESSED", None, reason, out)
            }
            Self::Stopped => {
                let reason =
                    "the batch was stopped early, before this chunk was evaluated: too much of it had failed";
                write_failed(id, records, "runtime", "error.BATCH_STOPPED", None, reason, out)
            }
        }
    }
}

/// How a chunk came out.
#[derive(Default)]
struct Evaluated {
    records_failed: u32,
    compute_ms: u64,
    /// What it adds to the batch's totals.
    totals: Option<Vec<u8>>,
    /// What of it failed.
    failed: Option<FailedWork>,
}

impl Bench {
    fn new(worker: &Worker) -> std::io::Result<Self> {
        Ok(Self {
            scratch: Scratch::default(),
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
            decompressor: zstd::bulk::Decompressor::new()?,
            json: Vec::new(),
            chunk_bytes: worker.config.limits.chunk_bytes,
            chunk_timeout: Duration::from_millis(worker.config.worker.chunk_timeout_ms),
            keep_failed_inputs: worker.config.results.keep_failed_inputs,
        })
    }

    /// Evaluates a chunk. Whatever goes wrong becomes a failed chunk with a readable error.
    fn run(&mut self, calculation: &Calculation, day: NaiveDate, message: &ChunkMessage) -> FinishedChunk {
        self.json.clear();
        // A panic must cost one chunk, not the process; the scratch memory is replaced because its state is unknown.
        let result = catch_unwind(AssertUnwindSafe(|| self.calculate(calculation, message))).unwrap_or_else(|_| {
            tracing::error!(batch.id = %message.batch_id, chunk.id = message.chunk_id, "the evaluation panicked");
            self.scratch = Scratch::default();
            Err(Failure::Worker("the evaluation of this chunk ended unexpectedly".into()))
        });
        match result {
            Ok(evaluated) => self.finish(day, message, Outcome::Completed, evaluated),
            Err(error) => self.failed(day, message, &error),
        }
    }

    fn failed(&mut self, day: NaiveDate, message: &ChunkMessage, failure: &Failure) -> FinishedChunk {
        tracing::debug!(batch.id = %message.batch_id, chunk.id = message.chunk_id, "chunk failed");
        self.json.clear();
        failure.write_json(message, &mut self.json);
        let keep_input = self.keep_failed_inputs && !matches!(failure, Failure::Damaged);
        self.finish(
            day,
            message,
            Outcome::Failed,
            Evaluated {
                records_failed: message.records,
                failed: Some(failed_work::whole(message, keep_input)),
                ..Evaluated::default()
            },
        )
    }

    /// Packs what is in `self.json` for the store.
    fn finish(
        &mut self,
        day: NaiveDate,
        message: &ChunkMessage,
        outcome: Outcome,
        evaluated: Evaluated,
    ) -> FinishedChunk {
        let compressed = (self.json.len() >= COMPRESS_FROM).then(|| self.compressor.compress(&self.json));
        let (compressed, body) = match compressed {
            Some(Ok(body)) => (true, body),
            _ => (false, self.json.clone()),
        };
        let output_bytes = i32::try_from(self.json.len()).unwrap_or(i32::MAX);
        FinishedChunk { compressed, output_bytes, body, ..unfilled(day, message, outcome, evaluated) }
    }

    fn calculate(&mut self, calculation: &Calculation, message: &ChunkMessage) -> Result<Evaluated, Failure> {
        let prepared = match calculation {
            Calculation::Ready(prepared) => prepared,
            Calculation::Broken(reason) => return Err(Failure::Worker(reason.to_string().into())),
            Calculation::Stopped => return Err(Failure::Stopped),
            Calculation::Jobs(_) => return Err(Failure::Worker("a workload has no chunks".into())),
            Calculation::Loading => return Err(Failure::Worker("the service was not loaded".into())),
        };
        let unpacked;
        let data: &[u8] = if message.compressed {
            unpacked = self
                .decompressor
                .decompress(&message.body, self.chunk_bytes)
                .map_err(|_| Failure::Damaged)?;
            &unpacked
        } else {
            &message.body
        };
        let deadline = Instant::now() + self.chunk_timeout;
        let result =
            prepared.evaluate_scanned(data, message.scan.as_ref(), Some(deadline), &mut self.scratch)?;
        result.write_json(&message.chunk_id, &mut self.json);
        let failed =
            failed_work::records(data, message.scan.as_ref(), &result.failed, self.keep_failed_inputs);
        Ok(Evaluated {
            records_failed: result.records_failed,
            compute_ms: result.compute_time_ms,
            totals: result.totals,
            failed,
        })
    }
}

/// A chunk that ends as failed without having been evaluated.
pub fn failed_chunk(worker: &Worker, day: NaiveDate, message: &ChunkMessage, reason: &str) -> FinishedChunk {
    let mut body = Vec::new();
    Failure::Worker(Cow::Owned(reason.to_owned())).write_json(message, &mut body);
    let evaluated = Evaluated {
        records_failed: message.records,
        failed: Some(failed_work::whole(message, worker.config.results.keep_failed_inputs)),
        ..Evaluated::default()
    };
    let output_bytes = i32::try_from(body.len()).unwrap_or(i32::MAX);
    FinishedChunk { output_bytes, body, ..unfilled(day, message, Outcome::Failed, evaluated) }
}

/// A finished chunk without its body.
fn unfilled(day: NaiveDate, message: &ChunkMessage, outcome: Outcome, evaluated: Evaluated) -> FinishedChunk {
    let saturated = |records: u32| i32::try_from(records).unwrap_or(i32::MAX);
    FinishedChunk {
        batch_id: message.batch_id,
        day,
        chunk_no: message.chunk_no,
        chunk_id: message.chunk_id.clone(),
        outcome,
        records: saturated(message.records),
        records_failed: saturated(evaluated.records_failed),
        charged_bytes: i32::try_from(message.charged_bytes).unwrap_or(i32::MAX),
        output_bytes: 0,
        compressed: false,
        body: Vec::new(),
        compute_ms: i64::try_from(evaluated.compute_ms).unwrap_or(i64::MAX),
        totals: evaluated.totals,
        failed: evaluated.failed,
    }
}
