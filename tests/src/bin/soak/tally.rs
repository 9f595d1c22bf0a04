//! What was counted, by all callers together.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A count.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted while batches run.
#[derive(Debug)]
pub struct Tally {
    pub batches: Count,
    pub cancelled_batches: Count,
    /// Chunks of batches that ran to their end, whose push was answered with success.
    pub pushed: Count,
    pub records: Count,
    /// Of these, results that came by a pull.
    pub pulled: Count,
    /// Results whose pull broke off, or was thrown away on purpose, and that were fetched again.
    pub fetched_again: Count,
    /// Results of chunks that cannot be processed, as they must be.
    pub failed: Count,
    pub lost: Count,
    pub doubled: Count,
    /// Results with other values than the independent calculation has.
    pub wrong: Count,
    /// Pushes that were sent again: 429, 503, or no answer.
    pub pushes_again: Count,
    /// Pulls without an answer, and answers that were thrown away.
    pub lost_pulls: Count,
    last_result: Mutex<(Instant, Duration)>,
    problems: Mutex<Vec<String>>,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            batches: Count::default(),
            cancelled_batches: Count::default(),
            pushed: Count::default(),
            records: Count::default(),
            pulled: Count::default(),
            fetched_again: Count::default(),
            failed: Count::default(),
            lost: Count::default(),
            doubled: Count::default(),
            wrong: Count::default(),
            pushes_again: Count::default(),
            lost_pulls: Count::default(),
            last_result: Mutex::new((Instant::now(), Duration::ZERO)),
            problems: Mutex::new(Vec::new()),
        }
    }

    /// Results came: the time since the last ones was a stall.
    pub fn results_came(&self) {
        if let Ok(mut last) = self.last_result.lock() {
            let (at, longest) = *last;
            *last = (Instant::now(), longest.max(at.elapsed()));
        }
    }

    /// The longest time without any result.
    pub fn longest_stall(&self) -> Duration {
        self.last_result.lock().map_or(Duration::ZERO, |last| last.1)
    }

    pub fn problem(&self, text: String) {
        crate::say(&format!("PROBLEM: {text}"));
        if let Ok(mut problems) = self.problems.lock() {
            problems.push(text);
        }
    }

    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().map(|problems| problems.clone()).unwrap_or_default()
    }

    /// One line for those who wait.
    pub fn line(&self) -> String {
        format!(
            "{} batches, {} chunks pushed, {} pulled, {} fetched again, {} lost, {} doubled, {} wrong, {} problems",
            self.batches.get(),
            self.pushed.get(),
            self.pulled.get(),
            self.fetched_again.get(),
            self.lost.get(),
            self.doubled.get(),
            self.wrong.get(),
            self.problems().len(),
        )
    }
}
