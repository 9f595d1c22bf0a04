//! Memory of processes under pressure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::future::try_join_all;
use millrace_tests::{Client, Fleet, FleetOptions};

use crate::load;
use crate::payload::{Checker, Payload};

/// Time between two looks at a process.
const BETWEEN: Duration = Duration::from_millis(50);
/// Callers that push at once.
const PUSHERS: u64 = 8;
/// Records and chunks of one push: about 8 MB.
const RECORDS: usize = 38_000;
const CHUNKS: u64 = 8;
/// Megabytes of the batch's buffers: so much waits in the lane when the workers start.
const BUFFER_MB: usize = 400;
/// How long the rest may take after the flood.
const PATIENCE: Duration = Duration::from_secs(120);

/// Resident memory of a process over time.
#[derive(Debug, Clone)]
pub struct Memory {
    /// The highest value, in MB (10^6 bytes).
    pub max: f64,
    /// Growth over the second half of the time, in MB per minute.
    pub growth: f64,
}

/// Samples resident memory until it is told to stop.
struct Sampler {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<(f64, f64)>>,
}

impl Sampler {
    fn start(process: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, began) = (Arc::clone(&stop), Instant::now());
        let task = tokio::spawn(async move {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                if let Some(megabytes) = resident(process) {
                    samples.push((began.elapsed().as_secs_f64(), megabytes));
                }
                tokio::time::sleep(BETWEEN).await;
            }
            samples
        });
        Self { stop, task }
    }

    async fn finish(self) -> Result<Memory> {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.task.await?;
        if samples.len() < 4 {
            bail!("the process ended while its memory was watched");
        }
        let max = samples.iter().map(|(_, megabytes)| *megabytes).fold(0.0, f64::max);
        Ok(Memory { max, growth: slope(&samples[samples.len() / 2..]) * 60.0 })
    }
}

/// `VmRSS` in MB.
fn resident(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1_024.0 / 1e6)
}

/// The slope of the least-squares line.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let covariance: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum();
    let variance: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    covariance / variance
}

/// What a flood did.
#[derive(Debug)]
pub struct Flood {
    /// The API, from the first push to the last result.
    pub api: Memory,
    /// The worst worker, from its start on a full lane to the last result.
    pub worker: Memory,
    /// Pushes that were taken.
    pub taken: u64,
    /// Pushes that were refused for now, and sent again.
    pub refused: u64,
    /// Bytes of one push.
    pub push_bytes: usize,
}

/// Floods an API with pushes of 8 MB, from eight callers that take next to no rest when they are refused, first without
/// workers until the lane is full, then with two workers on the full lane, while everything is pulled.
///
/// # Errors
///
/// When the fleet does not start, a call fails, or a result is missing, doubled or wrong.
pub async fn flood(seed: u64, time: Duration) -> Result<Flood> {
    let settings = FleetOptions::workers(0).set("tenants.capacity_bytes", 2_000_000_000_i64);
    let mut fleet = Fleet::sales(settings).await?;
    let client = fleet.client().clone();
    let batch = load::open_batches(&client, 1, BUFFER_MB).await?.pop().context("one batch")?;
    let api = Sampler::start(fleet.api()?.id());

    let began = Instant::now();
    let flood = Flooding {
        payload: Payload::sales(RECORDS, 4, seed),
        client,
        batch,
        until: began + 2 * time,
        pushes: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        pushed_all: AtomicBool::new(false),
    };
    let push_bytes = flood.body(0).len();
    let pushing = async {
        try_join_all((0..PUSHERS).map(|_| flood.push())).await?;
        flood.pushed_all.store(true, Ordering::Release);
        Ok::<_, anyhow::Error>(())
    };
    let working = async {
        tokio::time::sleep(time).await;
        let mut workers = Vec::new();
        for _ in 0..2 {
            let worker = fleet.start_worker().await?;
            workers.push(Sampler::start(fleet.worker(worker)?.id()));
        }
        Ok(workers)
    };
    let (workers, (), ()) = tokio::try_join!(working, pushing, flood.pull())?;

    let mut worst: Option<Memory> = None;
    for worker in workers {
        let memory = worker.finish().await?;
        if worst.as_ref().is_none_or(|worst| memory.max > worst.max) {
            worst = Some(memory);
        }
    }
    let (taken, refused) = (flood.pushes.load(Ordering::Relaxed), flood.refused.load(Ordering::Relaxed));
    Ok(Flood { api: api.finish().await?, worker: worst.context("two workers")?, taken, refused, push_bytes })
}

struct Flooding {
    payload: Payload,
    client: Client,
    batch: String,
    until: Instant,
    /// Pushes that were begun; every one of them is taken in the end.
    pushes: AtomicU64,
    refused: AtomicU64,
    pushed_all: AtomicBool,
}

impl Flooding {
    fn body(&self, push: u64) -> Bytes {
        self.payload.push_body(push * CHUNKS..(push + 1) * CHUNKS)
    }

    async fn push(&self) -> Result<()> {
        while Instant::now() < self.until {
            let body = self.body(self.pushes.fetch_add(1, Ordering::AcqRel));
            while !load::push(&self.client, &self.batch, body.clone()).await? {
                self.refused.fetch_add(1, Ordering::Relaxed);
                if Instant::now() > self.until + PATIENCE {
                    bail!("a push is still refused {PATIENCE:?} after the flood");
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Ok(())
    }

    async fn pull(&self) -> Result<()> {
        let mut checker = Checker::new();
        loop {
            let all = self.pushed_all.load(Ordering::Acquire);
            let body = load::pull(&self.client, &self.batch, 100).await?;
            // Read after the pull: what it brought was sent before.
            let sent = self.pushes.load(Ordering::Acquire) * CHUNKS;
            if checker.take(&self.payload, sent, &body)? == 0 {
                if all && checker.is_complete(sent) {
                    return Ok(());
                }
                if Instant::now() > self.until + PATIENCE {
                    bail!("{} of {sent} chunks came within {PATIENCE:?} after the flood", checker.chunks);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn the_slope_of_a_line_is_its_slope() {
        let line: Vec<(f64, f64)> = (0..10).map(|x| (f64::from(x), 3.0 + 2.0 * f64::from(x))).collect();
        assert!((slope(&line) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident(std::process::id()).unwrap() > 0.5);
        assert_eq!(resident(u32::MAX), None);
    }
}
