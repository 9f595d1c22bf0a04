//! Callers of the batch calls: they push and pull at once until everything came back, and check what came.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::future::try_join_all;
use millrace_tests::{Client, SALES};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::payload::{Checker, Payload};
use crate::rate::{Rate, Times};

/// A run that makes no progress for this long has failed.
const STALLED: Duration = Duration::from_secs(60);
/// The pause after a round of pulls that gave nothing.
const PULL_PAUSE: Duration = Duration::from_millis(2);
/// Time between two status calls of the caller that watches.
const STATUS_PAUSE: Duration = Duration::from_millis(20);
/// Most bytes that are pushed and not yet pulled, over all batches: the floor's backlog.
const WINDOW_BYTES: usize = 16_000_000;

/// How many callers there are and what they do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Live batches; pushes go round them.
    pub batches: usize,
    /// Callers that push.
    pub pushers: usize,
    /// Chunks of one push.
    pub chunks_per_push: usize,
    /// Callers that pull, up to 100 chunks at a time.
    pub pullers: usize,
    /// When pushing ends.
    pub amount: Amount,
    /// Whether one more caller asks for the status all the time.
    pub watch_status: bool,
}

/// How much is pushed.
#[derive(Debug, Clone, Copy)]
pub enum Amount {
    /// As much as goes in this time.
    Time(Duration),
    /// So many chunks.
    Chunks(u64),
}

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// From the first push to the last pulled result.
    pub rate: Rate,
    /// Answers to status calls.
    pub status: Times,
    /// Pushes that were refused for now (429, 503) and sent again.
    pub refused: u64,
}

/// Sends a request as it is and reads the whole answer; compression is of no use on loopback.
pub async fn send(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<Bytes>,
) -> Result<(StatusCode, Bytes)> {
    let mut request = client.request(method, path).header("accept-encoding", "identity");
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let response = request.send().await.with_context(|| path.to_owned())?;
    let status = response.status();
    Ok((status, response.bytes().await.with_context(|| path.to_owned())?))
}

/// Whether a push was taken; `false` when it was refused for now.
///
/// # Errors
///
/// When the answer is neither, or none comes.
pub async fn push(client: &Client, batch: &str, body: Bytes) -> Result<bool> {
    let (status, answer) = send_push(client, batch, body).await?;
    match status.as_u16() {
        200..300 => Ok(true),
        429 | 503 => Ok(false),
        _ => bail!("a push was answered {status}: {}", beginning(&answer)),
    }
}

/// Pushes where there is no reason to be refused.
///
/// # Errors
///
/// When the push is not taken; the text says why.
pub async fn push_taken(client: &Client, batch: &str, body: Bytes) -> Result<()> {
    let (status, answer) = send_push(client, batch, body).await?;
    if !status.is_success() {
        bail!("a push was answered {status}: {}", beginning(&answer));
    }
    Ok(())
}

async fn send_push(client: &Client, batch: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
    send(client, Method::POST, &format!("/{{tenant}}/api/v4/batch/{batch}/chunks"), Some(body)).await
}

/// The body of a pull.
///
/// # Errors
///
/// When the answer is no success, or none comes.
pub async fn pull(client: &Client, batch: &str, max: usize) -> Result<Bytes> {
    let path = format!("/{{tenant}}/api/v4/batch/{batch}/chunkresults?max={max}");
    let (status, answer) = send(client, Method::GET, &path, None).await?;
    if !status.is_success() {
        bail!("a pull was answered {status}: {}", beginning(&answer));
    }
    Ok(answer)
}

fn beginning(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).chars().take(400).collect()
}

/// Opens batches of the sales example with buffers of this many megabytes each way.
///
/// # Errors
///
/// When one is refused.
pub async fn open_batches(client: &Client, count: usize, megabytes: usize) -> Result<Vec<String>> {
    let wanted = json!({"service": SALES, "max_input_in_mb": megabytes, "max_output_in_mb": megabytes});
    let mut batches = Vec::with_capacity(count);
    for _ in 0..count {
        batches.push(client.open_batch(&wanted).await?);
    }
    Ok(batches)
}

struct Run<'a> {
    client: &'a Client,
    payload: &'a Payload,
    load: Load,
    batches: Vec<String>,
    began: Instant,
    /// Room for chunks that are pushed and not pulled.
    window: Semaphore,
    /// The next push.
    next: AtomicU64,
    /// Chunks handed to pushers, and whether there will be more.
    sent: AtomicU64,
    pushed_all: AtomicBool,
    refused: AtomicU64,
    progress: Mutex<Progress>,
}

struct Progress {
    checker: Checker,
    last: Instant,
}

/// Runs a load against the sales example and checks every result.
///
/// # Errors
///
/// When a call fails, a result is missing, doubled or wrong, or nothing moves for a minute.
pub async fn run(client: &Client, payload: &Payload, load: Load) -> Result<Outcome> {
    let batches = open_batches(client, load.batches, (400 / load.batches).max(4)).await?;
    let window = (WINDOW_BYTES / payload.mean_bytes()).clamp(load.chunks_per_push * load.pushers, 20_000);
    let began = Instant::now();
    let run = Run {
        client,
        payload,
        load,
        batches,
        began,
        window: Semaphore::new(window),
        next: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        pushed_all: AtomicBool::new(false),
        refused: AtomicU64::new(0),
        progress: Mutex::new(Progress { checker: Checker::new(), last: began }),
    };
    let pushing = async {
        try_join_all((0..load.pushers).map(|_| run.push_all())).await?;
        run.pushed_all.store(true, Ordering::Release);
        Ok::<_, anyhow::Error>(())
    };
    let pulling = async {
        let last: Vec<Instant> = try_join_all((0..load.pullers).map(|first| run.pull_all(first))).await?;
        last.into_iter().max().context("nobody pulls")
    };
    let outcome = async {
        let (status, (), last) = tokio::try_join!(run.watch(), pushing, pulling)?;
        let chunks = run.sent.load(Ordering::Acquire);
        run.settle(chunks).await?;
        let rate = Rate { chunks, records: chunks * payload.records as u64, elapsed: last - began };
        Ok(Outcome { rate, status, refused: run.refused.load(Ordering::Relaxed) })
    };
    let outcome: Result<Outcome> = outcome.await;
    if outcome.is_err() {
        // What is left of a failed run must not disturb the next one. The first error is the one to tell.
        for batch in &run.batches {
            let _ = client.patch(batch, "cancelled").await;
        }
    }
    outcome
}

impl Run<'_> {
    /// The chunks of the next push, or `None` when enough is pushed.
    fn next_push(&self) -> Option<(u64, std::ops::Range<u64>)> {
        let push = self.next.fetch_add(1, Ordering::Relaxed);
        let size = self.load.chunks_per_push as u64;
        let (first, mut end) = (push * size, (push + 1) * size);
        match self.load.amount {
            Amount::Time(time) if self.began.elapsed() >= time => return None,
            Amount::Chunks(all) if first >= all => return None,
            Amount::Chunks(all) => end = end.min(all),
            Amount::Time(_) => {}
        }
        self.sent.fetch_max(end, Ordering::AcqRel);
        Some((push, first..end))
    }

    async fn push_all(&self) -> Result<()> {
        while let Some((push_number, chunks)) = self.next_push() {
            let count = u32::try_from(chunks.end - chunks.start)?;
            self.window.acquire_many(count).await?.forget();
            let batch = &self.batches[push_number as usize % self.batches.len()];
            let body = self.payload.push_body(chunks);
            while !push(self.client, batch, body.clone()).await? {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.check_for_stall()?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Pulls from every batch in turn until all came; gives the time of this caller's last result.
    async fn pull_all(&self, first: usize) -> Result<Instant> {
        let mut last = self.began;
        let mut at = first;
        let mut idle = 0;
        loop {
            let body = pull(self.client, &self.batches[at % self.batches.len()], 100).await?;
            at += 1;
            let taken = self.take(&body)?;
            if taken > 0 {
                (last, idle) = (Instant::now(), 0);
                self.window.add_permits(usize::try_from(taken)?);
                continue;
            }
            idle += 1;
            if idle >= self.batches.len() {
                if self.is_done()? {
                    return Ok(last);
                }
                self.check_for_stall()?;
                idle = 0;
                tokio::time::sleep(PULL_PAUSE).await;
            }
        }
    }

    fn take(&self, body: &[u8]) -> Result<u64> {
        let mut progress = self.lock()?;
        let taken = progress.checker.take(self.payload, self.sent.load(Ordering::Acquire), body)?;
        if taken > 0 {
            progress.last = Instant::now();
        }
        Ok(taken)
    }

    fn is_done(&self) -> Result<bool> {
        let pushed_all = self.pushed_all.load(Ordering::Acquire);
        Ok(pushed_all && self.lock()?.checker.chunks >= self.sent.load(Ordering::Acquire))
    }

    fn check_for_stall(&self) -> Result<()> {
        let progress = self.lock()?;
        if progress.last.elapsed() > STALLED {
            let (came, sent) = (progress.checker.chunks, self.sent.load(Ordering::Acquire));
            bail!("no result for {STALLED:?}: {came} of {sent} chunks came");
        }
        Ok(())
    }

    fn lock(&self) -> Result<std::sync::MutexGuard<'_, Progress>> {
        self.progress.lock().map_err(|_| anyhow::anyhow!("another caller failed"))
    }

    /// Asks for the status until all results came.
    async fn watch(&self) -> Result<Times> {
        let mut times = Times::default();
        if !self.load.watch_status {
            return Ok(times);
        }
        let path = format!("/{{tenant}}/api/v4/batch/{}/status", self.batches[0]);
        while !self.is_done()? {
            let asked = Instant::now();
            let (status, answer) = send(self.client, Method::GET, &path, None).await?;
            times.add(asked.elapsed());
            if !status.is_success() {
                bail!("a status call was answered {status}: {}", beginning(&answer));
            }
            tokio::time::sleep(STATUS_PAUSE).await;
        }
        Ok(times)
    }

    /// Checks the books of every batch, and closes it.
    async fn settle(&self, chunks: u64) -> Result<()> {
        if !self.lock()?.checker.is_complete(chunks) {
            bail!("not every one of {chunks} chunks came exactly once");
        }
        let (mut submitted, mut completed) = (0, 0);
        for batch in &self.batches {
            let status = self.client.status(batch).await?.success()?;
            submitted += status.integer("/record_submitted")?;
            completed += status.integer("/records_completed")?;
            for (name, expected) in
                [("chunks_available", 0), ("input_buffer_used_bytes", 0), ("output_buffer_used_bytes", 0)]
            {
                let found = status.integer(&format!("/{name}"))?;
                if found != expected {
                    bail!("a batch at rest has {name} = {found}");
                }
            }
            self.client.patch(batch, "closed").await?.success()?;
        }
        let expected = i64::try_from(chunks * self.payload.records as u64)?;
        if (submitted, completed) != (expected, expected) {
            bail!(
                "{expected} records were pushed, {submitted} counted as submitted, {completed} as completed"
            );
        }
        Ok(())
    }
}
