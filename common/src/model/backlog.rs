//! How long the oldest unfinished chunk of a batch has waited, judged by sums alone: no row is read for it.

use std::collections::VecDeque;

/// The most readings that are kept.
const KEPT: usize = 64;

/// What was read of a batch before, as far as it says something about chunks that are unfinished.
///
/// Chunks are finished about in the order in which they came. The oldest one without an outcome is then the one that was pushed after
/// as many others as are finished, and it is at least as old as the first reading that counted it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BacklogAge {
    /// Times in milliseconds, and chunks submitted by then; both grow.
    readings: VecDeque<(i64, i64)>,
}

impl BacklogAge {
    /// Notes a reading, and returns the age of the oldest unfinished chunk at that time in milliseconds: 0 when there is none, or
    /// when it was not there at the reading before.
    pub fn note(&mut self, at_ms: i64, submitted: i64, finished: i64) -> i64 {
        // Chunks may be withdrawn.
        while self.readings.back().is_some_and(|&(_, before)| before > submitted) {
            self.readings.pop_back();
        }
        if self.readings.back().is_none_or(|&(_, before)| before < submitted) {
            self.readings.push_back((at_ms, submitted));
        }
        while self.readings.front().is_some_and(|&(_, before)| before <= finished) {
            self.readings.pop_front();
        }
        if self.readings.len() > KEPT {
            // Every other one: what is young is told less exactly. The oldest and the newest stay.
            let mut index = 0;
            self.readings.retain(|_| {
                index += 1;
                index % 2 == 1 || index > KEPT
            });
        }
        self.readings.front().map_or(0, |&(first, _)| at_ms.saturating_sub(first).max(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_oldest_chunk_is_as_old_as_the_first_reading_that_counted_it() {
        let mut age = BacklogAge::default();
        assert_eq!(age.note(0, 0, 0), 0);
        assert_eq!(age.note(1_000, 5, 0), 0);
        assert_eq!(age.note(2_000, 9, 0), 1_000);
        assert_eq!(age.note(3_000, 9, 4), 2_000);
        assert_eq!(age.note(4_000, 9, 5), 2_000, "the sixth came with the second reading");
        assert_eq!(age.note(5_000, 9, 9), 0);
        assert_eq!(age.note(9_000, 10, 9), 0);
        assert_eq!(age.note(9_500, 10, 9), 500);
        assert_eq!(age.note(9_600, 9, 9), 0, "the tenth was withdrawn");
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn it_is_never_older_than_the_chunk_and_few_readings_are_kept(
            steps in prop::collection::vec((1_i64..1_000, 0_i64..20, 0_i64..25), 1..300),
        ) {
            let mut age = BacklogAge::default();
            let (mut now, mut finished, mut pushed) = (0, 0, Vec::new());
            for (time, more, done) in steps {
                now += time;
                // Pushed somewhere between the readings: at their beginning, to be strict.
                pushed.extend(std::iter::repeat_n(now - time, more as usize));
                finished = (finished + done).min(pushed.len() as i64);
                let told = age.note(now, pushed.len() as i64, finished);
                let oldest = pushed.get(finished as usize).map_or(0, |at| now - at);
                prop_assert!((0..=oldest).contains(&told), "{told} of {oldest}");
                prop_assert!(age.readings.len() <= KEPT + 1);
            }
        }
    }
}
