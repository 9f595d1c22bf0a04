//! How fast a buffer empties, and how long to wait for room in it (contract 3.6, section 6 item 5).

use std::collections::VecDeque;

/// What is older than this says nothing of now, in milliseconds.
const WINDOW_MS: i64 = 10_000;
/// Readings closer together than this are one, in milliseconds.
const SPACING_MS: i64 = 200;
/// Readings over less time than this give no rate, in milliseconds.
const SHORTEST_MS: i64 = 500;

/// The shortest wait that is advised, in seconds.
pub const SHORTEST_WAIT: u64 = 1;
/// The longest wait that is advised, in seconds.
pub const LONGEST_WAIT: u64 = 60;

/// The rate at which a buffer was emptied lately, from readings of how many bytes were ever freed in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrainRate {
    /// Time in milliseconds and bytes freed by then, in order.
    readings: VecDeque<(i64, i64)>,
}

impl DrainRate {
    /// Notes that `freed` bytes had been freed in all at a time. Readings out of order are ignored; when the sum falls, the
    /// measurement begins anew.
    pub fn note(&mut self, at_ms: i64, freed: i64) {
        if let Some(&(last, before)) = self.readings.back() {
            if freed < before {
                self.readings.clear();
            } else if at_ms < last.saturating_add(SPACING_MS) {
                return;
            }
        }
        self.readings.push_back((at_ms, freed));
        // The newest reading that is old enough stays: it is where the window begins.
        while self.readings.get(1).is_some_and(|&(second, _)| second <= at_ms.saturating_sub(WINDOW_MS)) {
            self.readings.pop_front();
        }
    }

    /// When something was last noted, in milliseconds.
    pub fn noted_at(&self) -> Option<i64> {
        self.readings.back().map(|&(at, _)| at)
    }

    /// The time between the first and the last reading in milliseconds, and the bytes freed between them.
    fn span(&self) -> Option<(i64, i64)> {
        let (first, last) = (self.readings.front()?, self.readings.back()?);
        let time = last.0.saturating_sub(first.0);
        (time >= SHORTEST_MS).then(|| (time, last.1.saturating_sub(first.1)))
    }

    /// Bytes freed per second; `None` while too little is known.
    pub fn bytes_per_second(&self) -> Option<i64> {
        let (time, freed) = self.span()?;
        i64::try_from(i128::from(freed) * 1_000 / i128::from(time)).ok()
    }

    /// How long it takes until `missing` more bytes are free, in whole seconds from [`SHORTEST_WAIT`] to [`LONGEST_WAIT`]. While
    /// nothing is known, the shortest; while nothing is freed, as long again as nothing was.
    pub fn wait_seconds(&self, missing: i64) -> u64 {
        let seconds = match self.span() {
            None => SHORTEST_WAIT,
            Some((time, 0)) => time.unsigned_abs() / 1_000,
            Some((time, freed)) => {
                let (missing, time, freed) =
                    (i128::from(missing.max(0)), i128::from(time), i128::from(freed));
                let milliseconds = (missing * time + freed - 1) / freed;
                u64::try_from(milliseconds).unwrap_or(u64::MAX).div_ceil(1_000)
            }
        };
        seconds.clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noted(readings: &[(i64, i64)]) -> DrainRate {
        let mut rate = DrainRate::default();
        for &(at, freed) in readings {
            rate.note(at, freed);
        }
        rate
    }

    #[test]
    fn the_wait_is_what_the_missing_bytes_take_at_the_measured_rate() {
        let rate = noted(&[(0, 0), (1_000, 500_000), (2_000, 1_000_000)]);
        assert_eq!(rate.bytes_per_second(), Some(500_000));
        for (missing, wait) in [(1, 1), (500_000, 1), (500_001, 2), (5_000_000, 10), (i64::MAX, 60)] {
            assert_eq!(rate.wait_seconds(missing), wait, "{missing}");
        }
    }

    #[test]
    fn what_is_not_known_is_tried_soon_and_what_stands_still_later_and_later() {
        assert_eq!(DrainRate::default().wait_seconds(i64::MAX), 1);
        assert_eq!(noted(&[(0, 0), (300, 9)]).bytes_per_second(), None);
        assert_eq!(noted(&[(0, 7), (5_000, 7)]).wait_seconds(1), 5);
        assert_eq!(noted(&[(0, 7), (500_000, 7)]).wait_seconds(1), 60);
    }

    #[test]
    fn only_the_last_seconds_count() {
        let mut rate = noted(&[(0, 0), (60_000, 60_000_000)]);
        rate.note(65_000, 60_005_000);
        rate.note(71_000, 60_011_000);
        assert_eq!(rate.bytes_per_second(), Some(1_000));
    }

    #[test]
    fn a_sum_that_falls_begins_anew() {
        let rate = noted(&[(0, 100), (1_000, 200), (2_000, 50), (3_000, 60)]);
        assert_eq!(rate.bytes_per_second(), Some(10));
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn any_readings_give_a_wait_within_bounds_and_few_are_kept(
            readings in prop::collection::vec((any::<i64>(), any::<i64>()), 0..50),
            dense in prop::collection::vec((0_i64..100, 0_i64..1_000), 0..500),
            missing in any::<i64>(),
        ) {
            let mut rate = noted(&readings);
            prop_assert!((SHORTEST_WAIT..=LONGEST_WAIT).contains(&rate.wait_seconds(missing)));
            rate = DrainRate::default();
            let (mut at, mut freed) = (0, 0);
            for (time, bytes) in dense {
                at += time;
                freed += bytes;
                rate.note(at, freed);
                prop_assert!(rate.readings.len() <= 2 + usize::try_from(WINDOW_MS / SPACING_MS).unwrap_or(0));
                prop_assert!(rate.bytes_per_second().is_none_or(|rate| rate >= 0));
            }
        }
    }
}
