//! Datetimes and durations, in queries and in answers (scale-v6 1.5 and 1.6).

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Timelike, Utc};

use super::INVALID;
use crate::error::ApiError;

/// Bounds of a time range, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// No earlier than this.
    pub started: Option<DateTime<Utc>>,
    /// No later than this.
    pub ended: Option<DateTime<Utc>>,
}

/// Reads `started` and `ended`: datetimes with a zone, or durations back from `now`.
///
/// # Errors
///
/// 400 for what is neither, and when both are the same or in the wrong order.
pub fn range(started: Option<&str>, ended: Option<&str>, now: DateTime<Utc>) -> Result<Range, ApiError> {
    let read = |name: &str, text: Option<&str>| {
        match text {
        None => Ok(None),
        Some(text) => moment(text, now).map(Some).ok_or_else(|| {
            let message = format!(
                "{name} must be an ISO-8601 datetime with a zone, such as 2015-01-01T00:00:00Z, or a duration back from now, \
                 such as PT3H or P1DT12H"
            );
            ApiError::bad_request(INVALID, message, None)
        }),
    }
    };
    let range = Range { started: read("started", started)?, ended: read("ended", ended)? };
    if let (Some(started), Some(ended)) = (range.started, range.ended)
        && started >= ended
    {
        return Err(ApiError::bad_request(INVALID, "started must be before ended", None));
    }
    Ok(range)
}

/// A moment, in the years of four digits.
fn moment(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let moment = match text.strip_prefix('P') {
        Some(duration) => now.checked_sub_signed(back(duration)?)?,
        None => absolute(text)?,
    };
    (1..=9999).contains(&moment.year()).then_some(moment)
}

fn absolute(text: &str) -> Option<DateTime<Utc>> {
    // A plus that was not escaped arrives as a space.
    let text = match (text.get(..11), text.get(11..)) {
        (Some(date), Some(time)) => format!("{}{}", date.replacen(' ', "T", 1), time.replacen(' ', "+", 1)),
        _ => return None,
    };
    ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z"]
        .into_iter()
        .find_map(|format| DateTime::parse_from_str(&text, format).ok())
        .map(|moment| moment.to_utc())
}

/// The length of a duration, given without its `P`: days, then after a `T` hours, minutes and seconds, each at most once, in
/// this order, and with or without a fraction.
fn back(text: &str) -> Option<TimeDelta> {
    const MICROS: f64 = 1e6;
    let (days, clock) = match text.split_once('T') {
        Some((days, clock)) => (days, Some(clock)),
        None => (text, None),
    };
    let mut seconds = 0.0;
    let mut any = false;
    for (part, units) in [
        (days, &[('D', 86_400.0)][..]),
        (clock.unwrap_or(""), &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)][..]),
    ] {
        let mut rest = part;
        for (unit, length) in units {
            let Some((number, behind)) = rest.split_once(*unit) else { continue };
            seconds += decimal(number)? * length;
            rest = behind;
            any = true;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    // Nothing at all, or nothing behind the `T`.
    if !any || clock == Some("") {
        return None;
    }
    let micros = (seconds * MICROS).round();
    // Longer than all years that are taken.
    if micros > 1e18 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number below 2^63")]
    Some(TimeDelta::microseconds(micros as i64))
}

/// Digits, with a fraction or without.
fn decimal(text: &str) -> Option<f64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then(|| text.parse().ok()).flatten()
}

/// A time in answers: UTC, with microseconds unless they are zero.
pub fn datetime(time: DateTime<Utc>) -> String {
    let micros = time.nanosecond() / 1_000 % 1_000_000;
    time.to_rfc3339_opts(if micros == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros }, true)
}

/// A duration in answers, from microseconds: days, hours and minutes where there are any, and always the seconds, with up to six
/// digits behind the point. Negative ones, which clocks may make, are zero.
pub fn duration(micros: i64) -> String {
    let micros = micros.max(0);
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let (days, hours) = (hours / 24, hours % 24);
    let part = |number: i64, unit: char| if number == 0 { String::new() } else { format!("{number}{unit}") };
    let fraction = match fraction {
        0 => String::new(),
        fraction => format!(".{fraction:06}").trim_end_matches('0').to_owned(),
    };
    format!("P{}T{}{}{seconds}{fraction}S", part(days, 'D'), part(hours, 'H'), part(minutes, 'M'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn datetimes_have_a_zone() {
        let now = at("2026-01-10T12:00:00Z");
        for (text, moment) in [
            ("2015-01-01T00:00:00Z", "2015-01-01T00:00:00Z"),
            ("2015-01-01T00:00:00.25Z", "2015-01-01T00:00:00.25Z"),
            ("2015-01-01T02:00:00+02:00", "2015-01-01T00:00:00Z"),
            ("2015-01-01T02:00:00 02:00", "2015-01-01T00:00:00Z"),
            ("2014-12-31T19:00:00-05:00", "2015-01-01T00:00:00Z"),
            ("2015-01-01T02:00:00+0200", "2015-01-01T00:00:00Z"),
            ("2015-01-01T00:00Z", "2015-01-01T00:00:00Z"),
            ("2015-01-01 00:00:00Z", "2015-01-01T00:00:00Z"),
            ("PT3H", "2026-01-10T09:00:00Z"),
            ("P1D", "2026-01-09T12:00:00Z"),
            ("P1DT12H", "2026-01-09T00:00:00Z"),
            ("PT0.5S", "2026-01-10T11:59:59.5Z"),
            ("P0.5D", "2026-01-10T00:00:00Z"),
            ("PT1H30M1S", "2026-01-10T10:29:59Z"),
        ] {
            assert_eq!(moment_of(text, now), Some(at(moment)), "{text}");
        }
        for text in [
            "",
            "2015-01-01",
            "2015-01-01T00:00:00",
            "yesterday",
            "P",
            "PT",
            "P1DT",
            "P1Y",
            "P1M",
            "P1W",
            "PT1D",
            "P1H",
            "PT1S1H",
            "PT-1H",
            "-PT1H",
            "PT1.H",
            "PT.5H",
            "PT1e3S",
            "P99999999999999999999D",
            "P9999999D",
            "PT1H1H",
            "12015-01-01T00:00:00Z",
            "-0001-01-01T00:00:00Z",
            "2015-02-30T00:00:00Z",
            "2015-01-01T00:00:00é",
        ] {
            assert_eq!(moment_of(text, now), None, "{text}");
        }
    }

    fn moment_of(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        range(Some(text), None, now).ok().and_then(|range| range.started)
    }

    #[test]
    fn a_range_begins_before_it_ends() {
        let now = at("2026-01-10T12:00:00Z");
        for (started, ended, valid) in [
            (Some("PT2H"), Some("PT1H"), true),
            (Some("PT1H"), Some("PT2H"), false),
            (Some("PT1H"), Some("PT1H"), false),
            (None, Some("P300D"), true),
            (Some("2030-01-01T00:00:00Z"), None, true),
            (None, None, true),
        ] {
            assert_eq!(range(started, ended, now).is_ok(), valid, "{started:?} {ended:?}");
        }
    }

    #[test]
    fn times_in_answers_have_no_fraction_of_zero() {
        assert_eq!(datetime(at("2026-01-10T12:00:00Z")), "2026-01-10T12:00:00Z");
        assert_eq!(datetime(at("2026-01-10T12:00:00.0000009Z")), "2026-01-10T12:00:00Z");
        assert_eq!(datetime(at("2026-01-10T12:00:00.25Z")), "2026-01-10T12:00:00.250000Z");
    }

    #[test]
    fn durations_carry() {
        for (micros, text) in [
            (0, "PT0S"),
            (-5, "PT0S"),
            (12_300, "PT0.0123S"),
            (1, "PT0.000001S"),
            (542_000_000, "PT9M2S"),
            (86_400_000_000, "P1DT0S"),
            (59_999_999, "PT59.999999S"),
            (60_000_000, "PT1M0S"),
            (90_061_500_000, "P1DT1H1M1.5S"),
        ] {
            assert_eq!(duration(micros), text);
        }
    }
}
