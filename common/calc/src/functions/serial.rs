//! Excel's serial dates: days since 1899-12-31 with the leap day of 1900 that never was, and the fraction of the day; in the 1904
//! date system, days since 1904-01-01.

use std::cell::Cell;

use chrono::{Datelike, NaiveDate};

use crate::book::DateSystem;

/// The serial number of 9999-12-31, the last day that Excel knows, in the 1900 date system.
pub(crate) const LAST: f64 = 2_958_465.0;

/// The serial number of 1904-01-01 in the 1900 date system.
const FROM_1904: f64 = 1_462.0;

thread_local! {
    /// Days by which the date system of the running evaluation is behind the 1900 one. It is a setting of the whole workbook
    /// that every coercion of text depends on: handed down, it would be a parameter of nearly every function of this crate.
    static BEHIND: Cell<f64> = const { Cell::new(0.0) };
}

fn behind() -> f64 {
    BEHIND.get()
}

/// The date system of a thread, until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Entered(f64);

impl Drop for Entered {
    fn drop(&mut self) {
        BEHIND.set(self.0);
    }
}

/// Serial numbers count in this date system, in this thread, while the answer lives.
pub(crate) fn enter(system: DateSystem) -> Entered {
    Entered(BEHIND.replace(match system {
        DateSystem::From1900 => 0.0,
        DateSystem::From1904 => FROM_1904,
    }))
}

/// Whether serial numbers count from 1904.
pub(crate) fn is_1904() -> bool {
    behind() != 0.0
}

/// A serial number of the 1900 date system in the present one.
pub(crate) fn from_1900(serial: f64) -> f64 {
    serial - behind()
}

/// Whether a serial number, with its time of day, lies in the calendar: from the first day of the date system to the end of 9999.
pub(crate) fn contains(serial: f64) -> bool {
    serial >= 0.0 && serial + behind() < LAST + 1.0
}

/// The weekday of a serial number, 0 for Sunday, as Excel counts (1900-01-01 is a Sunday there).
pub(crate) fn weekday(serial: f64) -> u32 {
    ((serial + behind()).floor() as i64 - 1).rem_euclid(7) as u32
}

/// A calendar day as Excel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day {
    pub year: i32,
    pub month: u32,
    pub day: u32,
}

/// Days from 0001-01-01 to 1899-12-31.
const EPOCH: i32 = 693_595;

/// The day of a serial number, or `None` outside the calendar. In the 1900 date system 0 is 1900-01-00 and 60 is 1900-02-29, as in
/// Excel.
pub(crate) fn day(serial: f64) -> Option<Day> {
    if !contains(serial) {
        return None;
    }
    let whole = (serial + behind()).floor() as i32;
    match whole {
        0 => Some(Day { year: 1900, month: 1, day: 0 }),
        60 => Some(Day { year: 1900, month: 2, day: 29 }),
        _ => {
            let days = if whole > 60 { whole - 1 } else { whole };
            let date = NaiveDate::from_num_days_from_ce_opt(EPOCH + days)?;
            Some(Day { year: date.year(), month: date.month(), day: date.day() })
        }
    }
}

/// The serial number of a valid date, or `None`.
pub(crate) fn from_date(year: i32, month: u32, day: u32) -> Option<f64> {
    if (year, month, day) == (1900, 2, 29) {
        return Some(60.0).filter(|_| !is_1904());
    }
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    let days = date.num_days_from_ce() - EPOCH;
    let serial = from_1900(f64::from(if days >= 60 { days + 1 } else { days }));
    contains(serial).then_some(serial)
}

/// `DATE` with months and days beyond their bounds, years below 1900 counted from there.
pub(crate) fn from_parts(year: f64, month: f64, day: f64) -> Option<f64> {
    let (mut year, month, day) = (year.trunc(), month.trunc(), day.trunc());
    if (0.0..1900.0).contains(&year) {
        year += 1900.0;
    }
    if !(1900.0..10000.0).contains(&year) || month.abs() > 120_000.0 || day.abs() > 4_000_000.0 {
        return None;
    }
    let months = year as i32 * 12 + month as i32 - 1;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
    let first = NaiveDate::from_ymd_opt(year, month, 1)?.num_days_from_ce() - EPOCH;
    let first = f64::from(if first >= 60 { first + 1 } else { first });
    let serial = from_1900(first + day - 1.0);
    contains(serial).then_some(serial)
}

/// Days of a month, with Excel's leap day of 1900.
pub(crate) fn days_in_month(year: i32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year == 1900 || is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Whether the year has 366 days in the Gregorian calendar.
pub(crate) const fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Text that is a date, a time or both: `2024-05-01`, `2024-05-01T12:30:00Z`, `2024/5/1`, `5/31/2024`, `1-May-2024`, `12:30:15`, `1:30 PM`.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.len() < 3 || text.len() > 40 || !text.is_ascii() || !text.bytes().any(|b| b.is_ascii_digit()) {
        return None;
    }
    if let Some(x) = date(text) {
        return Some(x);
    }
    if let Some(x) = time(text) {
        return Some(x);
    }
    // A date, a blank or a T, a time. Dates with spelled months contain blanks, so every blank is tried.
    for (i, _) in text.match_indices([' ', 'T', 't']) {
        if let (Some(d), Some(t)) = (date(text[..i].trim()), time(text[i + 1..].trim())) {
            return Some(d + t);
        }
    }
    None
}

fn date(text: &str) -> Option<f64> {
    let separator = text.find(['-', '/', ' ', ',']).map(|i| text.as_bytes()[i])?;
    if separator == b' ' || separator == b',' || text.bytes().any(|b| b.is_ascii_alphabetic()) {
        return spelled(text);
    }
    let parts: Vec<&str> = text.split(separator as char).collect();
    let number = |s: &str| if !s.is_empty() && s.len() <= 4 { s.parse::<u32>().ok() } else { None };
    match parts.as_slice() {
        [y, m, d] if y.len() == 4 => from_date(number(y)? as i32, number(m)?, number(d)?),
        [m, d, y] if y.len() == 4 || y.len() == 2 => from_date(year(y)?, number(m)?, number(d)?),
        _ => None,
    }
}

/// A year of two or four digits; two digits below 30 are in this century, as in Excel.
fn year(text: &str) -> Option<i32> {
    let year = text.parse::<u32>().ok()? as i32;
    Some(match text.len() {
        4 => year,
        2 if year < 30 => 2000 + year,
        2 => 1900 + year,
        _ => return None,
    })
}

/// English month names.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `1-May-2024`, `1 May 2024`, `May 1, 2024`.
fn spelled(text: &str) -> Option<f64> {
    let words: Vec<&str> = text.split(['-', '/', ' ', ',']).filter(|word| !word.is_empty()).collect();
    let [a, b, c] = words.as_slice() else { return None };
    let month = |word: &str| {
        MONTHS
            .iter()
            .position(|name| name.eq_ignore_ascii_case(word) || name[..3].eq_ignore_ascii_case(word))
            .map(|i| i as u32 + 1)
    };
    let day = |word: &str| if word.len() <= 2 { word.parse::<u32>().ok() } else { None };
    if let Some(m) = month(a) {
        return from_date(year(c)?, m, day(b)?);
    }
    from_date(year(c)?, month(b)?, day(a)?)
}

/// `12:30`, `12:30:15.5`, `1:30 PM`, with an optional `Z`; a fraction of the day.
fn time(text: &str) -> Option<f64> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    let (clock, half) = if let Some(rest) = lower.strip_suffix("am") {
        (rest.trim_end(), Some(0.0))
    } else if let Some(rest) = lower.strip_suffix("pm") {
        (rest.trim_end(), Some(12.0))
    } else {
        (lower.as_str(), None)
    };
    let parts: Vec<&str> = clock.split(':').collect();
    if parts.len() > 3 || (parts.len() < 2 && half.is_none()) {
        return None;
    }
    let whole = |s: &str, most: f64| {
        let fits = !s.is_empty() && s.len() <= 4 && s.bytes().all(|b| b.is_ascii_digit());
        if fits { s.parse::<f64>().ok().filter(|x| *x <= most) } else { None }
    };
    let mut hours = whole(parts.first()?, 9999.0)?;
    if let Some(half) = half {
        if !(1.0..=12.0).contains(&hours) {
            return None;
        }
        hours = hours % 12.0 + half;
    }
    let minutes = parts.get(1).map_or(Some(0.0), |s| whole(s, 59.0))?;
    let seconds = match parts.get(2) {
        None => 0.0,
        Some(s) => {
            let (w, f) = s.split_once('.').unwrap_or((s, "0"));
            if f.is_empty() || !f.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            whole(w, 59.0)? + format!("0.{f}").parse::<f64>().ok()?
        }
    };
    Some((hours * 3600.0 + minutes * 60.0 + seconds) / 86400.0)
}
