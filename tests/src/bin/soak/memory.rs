//! Resident memory of the processes, sampled while they live.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;

const BETWEEN: Duration = Duration::from_millis(500);
/// What a process takes at its start says nothing.
const WARM_UP: Duration = Duration::from_secs(5);

/// The processes that live now, by name.
pub type Processes = Arc<Mutex<BTreeMap<String, u32>>>;

/// The memory of one process, in MB (10^6 bytes).
#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    pub process: String,
    pub seconds: f64,
    pub start: f64,
    pub max: f64,
    pub end: f64,
    /// Over the second half of its life, in MB a minute.
    pub growth: f64,
}

/// Samples until it is told to stop.
#[derive(Debug)]
pub struct Watch {
    processes: Processes,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Memory>>,
}

impl Watch {
    pub fn start() -> Self {
        let processes = Processes::default();
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(sample(Arc::clone(&processes), Arc::clone(&stop)));
        Self { processes, stop, task }
    }

    pub fn processes(&self) -> Processes {
        Arc::clone(&self.processes)
    }

    /// The processes that lived long enough to tell.
    pub async fn finish(self) -> Vec<Memory> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_default()
    }
}

type Samples = Vec<(f64, f64)>;

async fn sample(processes: Processes, stop: Arc<AtomicBool>) -> Vec<Memory> {
    let began = Instant::now();
    let mut all: BTreeMap<(String, u32), Samples> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let now = processes.lock().map(|processes| processes.clone()).unwrap_or_default();
        for (name, process) in now {
            if let Some(megabytes) = resident(process) {
                all.entry((name, process)).or_default().push((began.elapsed().as_secs_f64(), megabytes));
            }
        }
        tokio::time::sleep(BETWEEN).await;
    }
    all.into_iter().filter_map(|((name, _), samples)| memory(name, &samples)).collect()
}

fn memory(process: String, samples: &[(f64, f64)]) -> Option<Memory> {
    let (first, last) = (samples.first()?, samples.last()?);
    let warm: Samples =
        samples.iter().copied().filter(|(at, _)| at - first.0 >= WARM_UP.as_secs_f64()).collect();
    let max = samples.iter().map(|(_, megabytes)| *megabytes).fold(0.0, f64::max);
    let growth = slope(&warm[warm.len() / 2..]) * 60.0;
    Some(Memory { process, seconds: last.0 - first.0, start: warm.first()?.1, max, end: last.1, growth })
}

/// `VmRSS` in MB.
fn resident(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1_024.0 / 1e6)
}

/// The slope of the least-squares line; zero for a single point.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|sample| sample.0), mean(|sample| sample.1));
    let covariance: f64 = samples.iter().map(|sample| (sample.0 - x) * (sample.1 - y)).sum();
    let variance: f64 = samples.iter().map(|sample| (sample.0 - x).powi(2)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}
