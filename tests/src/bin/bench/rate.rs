//! Rates and times, and how several of them become one.

use std::time::Duration;

/// Work done in a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Chunks that went the whole way.
    pub chunks: u64,
    /// Their records.
    pub records: u64,
    /// From the first byte sent to the last result.
    pub elapsed: Duration,
}

impl Rate {
    /// Chunks a second.
    pub fn chunks_per_second(&self) -> f64 {
        self.chunks as f64 / self.elapsed.as_secs_f64()
    }

    /// Records a second.
    pub fn records_per_second(&self) -> f64 {
        self.records as f64 / self.elapsed.as_secs_f64()
    }
}

/// The middle value; `NaN` without values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

/// Times of the same thing done many times.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest time that this share (0 to 1) of all times does not exceed, in milliseconds; `NaN` without times.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |time| time.as_secs_f64() * 1_000.0)
    }
}

impl Extend<Duration> for Times {
    fn extend<T: IntoIterator<Item = Duration>>(&mut self, times: T) {
        self.0.extend(times);
    }
}

impl IntoIterator for Times {
    type Item = Duration;
    type IntoIter = std::vec::IntoIter<Duration>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even_counts() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut times = Times::default();
        times.extend((1..=200).map(Duration::from_millis));
        assert!((times.quantile_ms(0.5) - 100.0).abs() < 1e-9);
        assert!((times.quantile_ms(0.99) - 198.0).abs() < 1e-9);
        assert!((times.quantile_ms(1.0) - 200.0).abs() < 1e-9);
        assert_eq!(times.count(), 200);
    }
}
