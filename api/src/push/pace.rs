//! How long those that ask for much rest for the sake of those that ask for little.
//!
//! Apart from each other in groups, transactions and channels, they still share processors and disks. Whether that hurts shows in the
//! calls of the light ones themselves: while these take longer than the best of them lately, somebody is in their way, and heavy
//! ones go in small groups and rest after each, for a multiple of the difference. Rests alone would not do: what a whole flood has
//! gathered meanwhile would come at once, and be in the way on all of its way. Without light calls, or while these are as fast as ever,
//! nobody rests, and groups are as large as they can be.

use std::time::{Duration, Instant};

/// Light calls that ended longer ago say nothing any more.
const LATELY: Duration = Duration::from_millis(200);
/// Of each light call, this part goes into what they take lately.
const SMOOTHING: u32 = 8;
/// The best is looked for in this period and in the one before it.
const PERIOD: Duration = Duration::from_secs(30);
/// The rest, in terms of what light calls take longer than the best.
const FACTOR: u32 = 16;
/// The longest rest: heavy owners get on, whatever light ones meet with.
const LONGEST: Duration = Duration::from_millis(100);

/// What light calls take.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What they take lately, and when the last one ended.
    lately: Option<(Duration, Instant)>,
    /// The shortest of the period that began then, and of the one before.
    best: Option<(Duration, Instant)>,
    best_before: Option<Duration>,
}

impl Pace {
    /// A light call took so long, and ended now.
    pub(super) fn light(&mut self, took: Duration, now: Instant) {
        self.lately = match self.lately {
            Some((before, at)) if now.saturating_duration_since(at) <= LATELY => {
                Some(((before * (SMOOTHING - 1) + took) / SMOOTHING, now))
            }
            _ => Some((took, now)),
        };
        match self.best {
            Some((best, since)) if now.saturating_duration_since(since) < PERIOD => {
                self.best = Some((best.min(took), since));
            }
            Some((best, since)) => {
                self.best_before = (now.saturating_duration_since(since) < 2 * PERIOD).then_some(best);
                self.best = Some((took, now));
            }
            None => self.best = Some((took, now)),
        }
    }

    /// How long heavy ones rest now.
    pub(super) fn rest(&self, now: Instant) -> Duration {
        let (Some((lately, at)), Some((best, _))) = (self.lately, self.best) else { return Duration::ZERO };
        if now.saturating_duration_since(at) > LATELY {
            return Duration::ZERO;
        }
        let best = self.best_before.map_or(best, |before| before.min(best));
        (lately.saturating_sub(best) * FACTOR).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn heavy_ones_rest_while_light_ones_take_longer_than_before() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let mut now = began;
        let mut light = |pace: &mut Pace, took: Duration| {
            now += ms(10);
            pace.light(took, now);
            pace.rest(now)
        };
        for _ in 0..20 {
            assert_eq!(light(&mut pace, ms(4)), Duration::ZERO);
        }
        let rests: Vec<_> = (0..60).map(|_| light(&mut pace, ms(6))).collect();
        assert!(rests.is_sorted() && rests[0] > Duration::ZERO, "{rests:?}");
        assert!(ms(31) < rests[59] && rests[59] <= ms(32), "{rests:?}");
        let rests: Vec<_> = (0..60).map(|_| light(&mut pace, ms(4))).collect();
        assert!(rests[59] < ms(1), "{rests:?}");
    }

    #[test]
    fn without_light_calls_nobody_rests() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        assert_eq!(pace.rest(began), Duration::ZERO);
        pace.light(ms(1), began);
        pace.light(ms(10), began);
        assert!(pace.rest(began + LATELY) > Duration::ZERO);
        assert_eq!(pace.rest(began + LATELY + ms(1)), Duration::ZERO);
    }

    #[test]
    fn what_was_best_long_ago_does_not_count() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        pace.light(ms(1), began);
        for at in 1..1_000 {
            pace.light(ms(10), began + ms(100) * at);
        }
        assert_eq!(pace.rest(began + ms(100) * 999), Duration::ZERO);
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        /// Whatever light calls take, the rest is bounded, and nobody rests while all take the same.
        #[test]
        fn a_rest_is_bounded(calls in prop::collection::vec((0_u64..5_000, 0_u64..40_000), 1..200), same in any::<bool>()) {
            let (mut pace, mut now) = (Pace::default(), Instant::now());
            for (took, later) in calls {
                now += ms(later);
                pace.light(if same { ms(7) } else { ms(took) }, now);
                let rest = pace.rest(now);
                prop_assert!(rest <= LONGEST);
                prop_assert!(!same || rest < ms(1), "{rest:?}");
            }
        }
    }
}
