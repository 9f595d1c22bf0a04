//! When a call is tried again, and after how long: the one place with this policy.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Longest time that a server's `Retry-After` is followed.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// First and largest step of the waits that no header decides.
const FIRST_STEP: Duration = Duration::from_millis(100);
const LARGEST_STEP: Duration = Duration::from_secs(10);

/// For how long a call is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// While the server answers that it is full (429): a normal state of a busy batch.
    pub busy: Duration,
    /// While the server cannot be reached, or answers 500, 502, 503 or 504.
    pub broken: Duration,
}

impl Patience {
    /// For a call that can be made only once.
    pub const NONE: Self = Self { busy: Duration::ZERO, broken: Duration::ZERO };
    /// For a command that a person waits for: little more than a restart of the server.
    pub const SHORT: Self = Self { busy: Duration::from_secs(30), broken: Duration::from_secs(3) };
    /// For a batch run, which should outlive outages and full buffers.
    pub const LONG: Self = Self { busy: Duration::from_secs(24 * 3_600), broken: Duration::from_secs(300) };
}

/// What came of one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was sent: no connection.
    NotSent,
    /// The request may have arrived, the answer did not.
    NoAnswer,
    /// An answer with this status, and the wait that its headers ask for.
    Status(StatusCode, Option<Duration>),
}

/// Decides waits for one call: keeps the number of tries and the time since the first.
#[derive(Debug, Clone)]
pub struct Schedule {
    patience: Patience,
    repeatable: bool,
    step: Duration,
}

impl Schedule {
    /// A call that is not `repeatable` is only sent again when it certainly had no effect.
    pub const fn new(patience: Patience, repeatable: bool) -> Self {
        Self { patience, repeatable, step: FIRST_STEP }
    }

    /// How long to wait before the next try, or `None` when the outcome is final. `elapsed` is the time since the first
    /// try, `jitter` a random number in 0..1.
    pub fn next_wait(&mut self, outcome: Outcome, elapsed: Duration, jitter: f64) -> Option<Duration> {
        let (limit, asked) = match outcome {
            Outcome::NotSent => (self.patience.broken, None),
            Outcome::NoAnswer if self.repeatable => (self.patience.broken, None),
            Outcome::NoAnswer => return None,
            Outcome::Status(StatusCode::TOO_MANY_REQUESTS, asked) => (self.patience.busy, asked),
            // 503 is answered before anything is stored, so it may be repeated like 429.
            Outcome::Status(StatusCode::SERVICE_UNAVAILABLE, asked) => (self.patience.broken, asked),
            Outcome::Status(
                StatusCode::INTERNAL_SERVER_ERROR
                | StatusCode::BAD_GATEWAY
                | StatusCode::GATEWAY_TIMEOUT
                | StatusCode::REQUEST_TIMEOUT,
                asked,
            ) if self.repeatable => (self.patience.broken, asked),
            Outcome::Status(..) => return None,
        };
        let jitter = jitter.clamp(0.0, 1.0);
        let wait = match asked {
            // Never earlier than asked; spread over another quarter, so that many callers do not come at one instant.
            Some(asked) => asked.min(LONGEST_WAIT).mul_f64(1.0 + jitter / 4.0),
            None => {
                let step = self.step;
                self.step = (step * 2).min(LARGEST_STEP);
                step.mul_f64(0.5 + jitter / 2.0)
            }
        };
        (elapsed + wait <= limit).then_some(wait)
    }
}

/// The wait that the headers ask for: `x-retry-after` (seconds, fractions allowed), else `Retry-After` (seconds or a date).
/// Nonsense is ignored.
pub fn asked_wait(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str| text.parse::<f64>().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
    if let Some(wait) = text("x-retry-after").and_then(seconds) {
        return Some(wait);
    }
    let value = text(RETRY_AFTER.as_str())?;
    seconds(value).or_else(|| {
        let until = DateTime::parse_from_rfc2822(value).ok()?.with_timezone(&Utc);
        Some((until - now).to_std().unwrap_or(Duration::ZERO))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    const FULL: StatusCode = StatusCode::TOO_MANY_REQUESTS;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn waits_are_read_from_both_headers_in_every_form() {
        let now = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z").unwrap().with_timezone(&Utc);
        let wait = |pairs: &[(&'static str, &str)]| asked_wait(&headers(pairs), now);
        assert_eq!(wait(&[("retry-after", "3")]), Some(Duration::from_secs(3)));
        assert_eq!(
            wait(&[("retry-after", "3"), ("x-retry-after", "0.25")]),
            Some(Duration::from_millis(250)),
            "the finer one wins"
        );
        assert_eq!(wait(&[("retry-after", "Sun, 01 Mar 2026 12:00:07 GMT")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("retry-after", "Sun, 01 Mar 2026 11:00:00 GMT")]), Some(Duration::ZERO));
        for nonsense in ["-1", "soon", "", "NaN", "inf"] {
            assert_eq!(wait(&[("retry-after", nonsense), ("x-retry-after", nonsense)]), None, "{nonsense}");
        }
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_full_server_is_waited_for_and_never_asked_early() {
        let mut schedule = Schedule::new(Patience::LONG, false);
        for jitter in [0.0, 0.5, 1.0] {
            let asked = Duration::from_secs(2);
            let wait =
                schedule.next_wait(Outcome::Status(FULL, Some(asked)), Duration::ZERO, jitter).unwrap();
            assert!(wait >= asked && wait <= asked.mul_f64(1.25), "{wait:?}");
        }
        let hours = Duration::from_secs(100_000);
        let wait = schedule.next_wait(Outcome::Status(FULL, Some(hours)), Duration::ZERO, 0.0).unwrap();
        assert_eq!(wait, LONGEST_WAIT);
    }

    #[test]
    fn waits_without_a_header_double_up_to_the_largest_step() {
        let mut schedule = Schedule::new(Patience::LONG, true);
        let waits: Vec<u128> = (0..9)
            .map(|_| schedule.next_wait(Outcome::NotSent, Duration::ZERO, 1.0).unwrap().as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
    }

    #[test]
    fn what_may_have_had_an_effect_is_only_repeated_when_that_does_no_harm() {
        let error = Outcome::Status(StatusCode::INTERNAL_SERVER_ERROR, None);
        for outcome in [Outcome::NoAnswer, error] {
            assert_eq!(Schedule::new(Patience::LONG, false).next_wait(outcome, Duration::ZERO, 0.5), None);
            assert!(Schedule::new(Patience::LONG, true).next_wait(outcome, Duration::ZERO, 0.5).is_some());
        }
        let unavailable = Outcome::Status(StatusCode::SERVICE_UNAVAILABLE, None);
        for outcome in [Outcome::NotSent, unavailable] {
            assert!(Schedule::new(Patience::LONG, false).next_wait(outcome, Duration::ZERO, 0.5).is_some());
        }
    }

    #[test]
    fn refusals_are_final() {
        for status in [400_u16, 401, 403, 404, 409, 415, 422] {
            let outcome = Outcome::Status(StatusCode::from_u16(status).unwrap(), Some(Duration::ZERO));
            assert_eq!(Schedule::new(Patience::LONG, true).next_wait(outcome, Duration::ZERO, 0.5), None);
        }
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn no_wait_goes_beyond_the_patience(elapsed_ms in 0_u64..400_000, jitter in 0.0_f64..1.0, asked in proptest::option::of(0_u64..100)) {
            let elapsed = Duration::from_millis(elapsed_ms);
            let outcome = Outcome::Status(StatusCode::SERVICE_UNAVAILABLE, asked.map(Duration::from_secs));
            if let Some(wait) = Schedule::new(Patience::LONG, true).next_wait(outcome, elapsed, jitter) {
                prop_assert!(elapsed + wait <= Patience::LONG.broken);
            }
        }
    }
}
