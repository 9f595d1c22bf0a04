//! Times as the protocols write and read them (contract 0.6).

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

/// ISO-8601 in UTC with milliseconds and `Z`.
pub fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads a time with a zone, a time without one (taken as UTC), or a date (its first instant in UTC).
/// Only years of four digits.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    read(text.trim()).filter(|time| (0..=9999).contains(&time.year()))
}

fn read(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some(time.to_utc());
        }
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn every_form_that_clients_send_is_read() {
        let read = |text| parse(text).map(timestamp);
        assert_eq!(read("2026-11-21T16:19:03.087040").unwrap(), "2026-11-21T16:19:03.087Z");
        assert_eq!(read("2026-11-21T16:19:03Z").unwrap(), "2026-11-21T16:19:03.000Z");
        assert_eq!(read("2026-11-21T16:19:03.5+02:00").unwrap(), "2026-11-21T14:19:03.500Z");
        assert_eq!(read("2026-11-21T16:19:03+0200").unwrap(), "2026-11-21T14:19:03.000Z");
        assert_eq!(read("2026-11-21 16:19:03").unwrap(), "2026-11-21T16:19:03.000Z");
        assert_eq!(read(" 2026-11-21 ").unwrap(), "2026-11-21T00:00:00.000Z");
        assert_eq!(read("2026-13-21"), None);
        assert_eq!(read("tomorrow"), None);
        assert_eq!(read("+20260-01-01"), None);
        assert_eq!(read("-0400-01-01"), None);
        assert_eq!(read(""), None);
    }
}
