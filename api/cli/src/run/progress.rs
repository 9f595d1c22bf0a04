//! How far a run is: bars on a terminal, a line every few seconds elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::super::say;
use super::super::table::count;

/// Time between two drawings of the bars, and between two lines.
const REDRAW: Duration = Duration::from_millis(100);
const LINE: Duration = Duration::from_secs(5);
/// The time over which the shown rate is an average.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts of a run, in records; written by its tasks, read by the display.
#[derive(Debug, Default)]
pub struct Counts {
    /// Records that the server accepted, now or before.
    pub pushed: AtomicU64,
    /// Records that the server finished.
    pub finished: AtomicU64,
    /// Records whose results are written.
    pub pulled: AtomicU64,
    /// All records, once that is known; 0 before.
    pub total: AtomicU64,
    /// Bytes of the input that were read.
    pub bytes_read: Arc<AtomicU64>,
    /// Records that were read.
    pub records_read: AtomicU64,
    /// Length of the input; 0 when it is not known.
    pub bytes_total: u64,
    /// What the run waits for.
    note: Mutex<Option<(Instant, String)>>,
}

impl Counts {
    /// Nothing yet, of an input of this length (0: not known).
    pub fn new(bytes_total: u64, bytes_read: Arc<AtomicU64>) -> Self {
        Self { bytes_total, bytes_read, ..Self::default() }
    }

    /// Says what the run waits for; shown for a moment.
    pub fn note(&self, text: &str) {
        *self.note.lock() = Some((Instant::now(), text.to_owned()));
    }

    fn recent_note(&self) -> Option<String> {
        let note = self.note.lock();
        note.as_ref().filter(|(at, _)| at.elapsed() < Duration::from_secs(3)).map(|(_, text)| text.clone())
    }

    /// All records: known, or estimated from the part of the input that was read.
    fn expected(&self) -> Option<Expected> {
        let total = self.total.load(Ordering::Relaxed);
        if total > 0 {
            return Some(Expected { records: total, exact: true });
        }
        let read = self.bytes_read.load(Ordering::Relaxed);
        let records = self.records_read.load(Ordering::Relaxed);
        estimate(records, read, self.bytes_total).map(|records| Expected { records, exact: false })
    }
}

/// How many records there will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    records: u64,
    exact: bool,
}

/// The records of a whole file, if the rest is like the part that was read.
fn estimate(records: u64, bytes: u64, all_bytes: u64) -> Option<u64> {
    if records == 0 || bytes == 0 || all_bytes == 0 {
        return None;
    }
    let whole = u128::from(records) * u128::from(all_bytes.max(bytes)) / u128::from(bytes);
    u64::try_from(whole).ok()
}

/// What is done a second, over the last moments.
#[derive(Debug)]
pub struct Rate {
    samples: std::collections::VecDeque<(Duration, u64)>,
}

impl Rate {
    /// Begins at this count.
    pub fn new(start: u64) -> Self {
        Self { samples: [(Duration::ZERO, start)].into() }
    }

    /// Takes the count at a time since the start, and gives the rate over the window.
    pub fn update(&mut self, at: Duration, count: u64) -> f64 {
        self.samples.push_back((at, count));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(first, _)| at - *first > WINDOW) {
            self.samples.pop_front();
        }
        match self.samples.front() {
            Some((first, start)) if at > *first => {
                count.saturating_sub(*start) as f64 / (at - *first).as_secs_f64()
            }
            _ => 0.0,
        }
    }
}

/// A time as a person says it.
pub fn duration(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
    }
}

/// The part of the display that is the same everywhere: rate and time left.
fn pace(rate: f64, pulled: u64, expected: Option<Expected>) -> String {
    let mut text = format!("{} records/s", count(rate as u64));
    if let Some(expected) = expected
        && rate > 0.0
    {
        let left = expected.records.saturating_sub(pulled) as f64 / rate;
        if let Ok(left) = Duration::try_from_secs_f64(left) {
            text.push_str(&format!(", {} left", duration(left)));
        }
    }
    text
}

/// One line for a log.
fn line(counts: &Counts, rate: f64) -> String {
    let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let expected = counts.expected();
    let of = match expected {
        Some(Expected { records, exact: true }) => format!(" of {}", count(records)),
        Some(Expected { records, exact: false }) => format!(" of about {}", count(records)),
        None => String::new(),
    };
    format!(
        "pushed {}, finished {}, pulled {}{of} records; {}",
        count(load(&counts.pushed)),
        count(load(&counts.finished)),
        count(load(&counts.pulled)),
        pace(rate, load(&counts.pulled), expected)
    )
}

/// Shows the counts until it is stopped.
#[derive(Debug)]
pub struct Display {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Display {
    /// Begins to show. `quiet` shows nothing.
    pub fn start(counts: Arc<Counts>, quiet: bool) -> Self {
        let stop = CancellationToken::new();
        let token = stop.clone();
        let terminal = console::Term::stderr().is_term();
        let task = tokio::spawn(async move {
            if quiet {
                return;
            }
            if terminal {
                bars(&counts, &token).await;
            } else {
                lines(&counts, &token).await;
            }
        });
        Self { stop, task }
    }

    /// Shows the last state and ends.
    pub async fn finish(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

async fn lines(counts: &Counts, stop: &CancellationToken) {
    let started = Instant::now();
    let mut rate = Rate::new(counts.pulled.load(Ordering::Relaxed));
    loop {
        tokio::select! {
            () = tokio::time::sleep(LINE) => {}
            () = stop.cancelled() => return,
        }
        let rate = rate.update(started.elapsed(), counts.pulled.load(Ordering::Relaxed));
        say(&line(counts, rate));
        if let Some(note) = counts.recent_note() {
            say(&note);
        }
    }
}

async fn bars(counts: &Counts, stop: &CancellationToken) {
    let display = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix:>8} [{bar:32.cyan/blue}] {pos:>11}/{len} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ");
    let bar = |prefix: &'static str| {
        display.add(ProgressBar::no_length().with_style(style.clone()).with_prefix(prefix))
    };
    let bars = [
        (bar("pushed"), &counts.pushed),
        (bar("finished"), &counts.finished),
        (bar("pulled"), &counts.pulled),
    ];
    let note_style =
        ProgressStyle::with_template("{msg:.dim}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let note = display.add(ProgressBar::no_length().with_style(note_style));
    let started = Instant::now();
    let mut rate = Rate::new(counts.pulled.load(Ordering::Relaxed));
    loop {
        let ending = tokio::select! {
            () = tokio::time::sleep(REDRAW) => false,
            () = stop.cancelled() => true,
        };
        let expected = counts.expected();
        let pulled = counts.pulled.load(Ordering::Relaxed);
        let rate = rate.update(started.elapsed(), pulled);
        for (index, (bar, value)) in bars.iter().enumerate() {
            let value = value.load(Ordering::Relaxed);
            if let Some(expected) = expected {
                bar.set_length(expected.records.max(value));
            }
            bar.set_position(value);
            if index == 2 && !ending {
                bar.set_message(pace(rate, pulled, expected));
            }
        }
        if ending {
            note.finish_and_clear();
            for (bar, _) in &bars {
                bar.set_message("");
                bar.abandon();
            }
            return;
        }
        note.set_message(counts.recent_note().unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_estimated_from_a_part() {
        assert_eq!(estimate(1_000, 50_000, 5_000_000), Some(100_000));
        assert_eq!(estimate(1_000, 50_000, 40_000), Some(1_000), "a file that grew since");
        assert_eq!(estimate(u64::MAX, 1, u64::MAX), None);
        for unknown in [(0, 5, 5), (5, 0, 5), (5, 5, 0)] {
            assert_eq!(estimate(unknown.0, unknown.1, unknown.2), None);
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_moments() {
        let mut rate = Rate::new(500);
        assert_eq!(rate.update(Duration::ZERO, 500), 0.0);
        assert_eq!(rate.update(Duration::from_secs(2), 2_500), 1_000.0);
        for second in 3..60 {
            rate.update(Duration::from_secs(second), 2_500);
        }
        assert_eq!(rate.update(Duration::from_secs(60), 2_500), 0.0);
    }

    #[test]
    fn lines_say_how_far_and_how_long() {
        let counts = Counts::new(200, Arc::default());
        counts.pushed.store(20_000, Ordering::Relaxed);
        counts.finished.store(12_000, Ordering::Relaxed);
        counts.pulled.store(10_000, Ordering::Relaxed);
        assert_eq!(line(&counts, 0.0), "pushed 20,000, finished 12,000, pulled 10,000 records; 0 records/s");
        counts.bytes_read.store(50, Ordering::Relaxed);
        counts.records_read.store(25_000, Ordering::Relaxed);
        assert_eq!(
            line(&counts, 1_000.0),
            "pushed 20,000, finished 12,000, pulled 10,000 of about 100,000 records; 1,000 records/s, 1 min 30 s left"
        );
        counts.total.store(11_000, Ordering::Relaxed);
        assert!(line(&counts, 1_000.0).contains("of 11,000 records; 1,000 records/s, 1.0 s left"));
    }

    #[test]
    fn times_read_well() {
        let texts = [0.25, 12.9, 61.0, 7_322.0].map(|s| duration(Duration::from_secs_f64(s)));
        assert_eq!(texts, ["0.2 s", "12 s", "1 min 01 s", "2 h 02 min"]);
    }
}
