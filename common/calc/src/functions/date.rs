//! Dates and times, as serial numbers. Source: Excel's descriptions; [`serial`](super::serial) has the calendar.

use super::argument::number_or;
use super::serial::{self, Day};
use super::{Answer, Arg, Env, FunctionInfo};
use crate::number::error;
use crate::value::{ErrorValue, Value};

const NUM: f64 = error(ErrorValue::Num);

pub(super) fn functions() -> Vec<FunctionInfo> {
    let one = FunctionInfo::number1;
    let two = FunctionInfo::number2;
    let many = FunctionInfo::numbers;
    let general = FunctionInfo::general;
    vec![
        many(
            "DATE",
            3,
            3,
            |a| serial::from_parts(a[0], a[1], a[2]).unwrap_or(NUM),
            "The date of a year, month and day.",
        ),
        general("DATEDIF", 3, 3, date_dif, "The whole years, months or days between two dates."),
        general("DATEVALUE", 1, 1, date_value, "The date that a text names.")
            .note("ISO, US and spelled English dates, with the year"),
        one("DAY", |x| part(x, |d| d.day), "The day of the month."),
        two("DAYS", |end, start| end.floor() - start.floor(), "The days between two dates."),
        many("DAYS360", 2, 3, days_360, "The days between two dates in a year of 360 days."),
        two("EDATE", |x, months| shift(x, months, false), "The same day some months later."),
        two("EOMONTH", |x, months| shift(x, months, true), "The last day of a month some months later."),
        one("HOUR", |x| clock(x).map_or(NUM, |s| (s / 3600) as f64), "The hour of a time."),
        one("ISOWEEKNUM", iso_week, "The ISO number of the week."),
        one("MINUTE", |x| clock(x).map_or(NUM, |s| (s / 60 % 60) as f64), "The minute of a time."),
        one("MONTH", |x| part(x, |d| d.month), "The month of a date."),
        general(
            "NOW",
            0,
            0,
            |env, _| Ok(Value::Number(serial::from_1900(env.now))),
            "The date and time at which the batch was created.",
        )
        .volatile(),
        one("SECOND", |x| clock(x).map_or(NUM, |s| (s % 60) as f64), "The second of a time."),
        many("TIME", 3, 3, time, "The time of hours, minutes and seconds."),
        general("TIMEVALUE", 1, 1, time_value, "The time that a text names."),
        general(
            "TODAY",
            0,
            0,
            |env, _| Ok(Value::Number(serial::from_1900(env.now).floor())),
            "The date at which the batch was created.",
        )
        .volatile(),
        many("WEEKDAY", 1, 2, weekday, "The number of the day in its week."),
        many("WEEKNUM", 1, 2, week_number, "The number of the week in its year."),
        one("YEAR", |x| serial::day(x).map_or(NUM, |d| f64::from(d.year)), "The year of a date."),
        many("YEARFRAC", 2, 3, year_fraction, "The part of a year between two dates."),
    ]
}

fn part(x: f64, f: fn(Day) -> u32) -> f64 {
    serial::day(x).map_or(NUM, |day| f64::from(f(day)))
}

/// Seconds since midnight, rounded to the nearest as Excel shows them.
fn clock(x: f64) -> Option<i64> {
    if !serial::contains(x) {
        return None;
    }
    Some(((x - x.floor()) * 86400.0 + 0.5).floor() as i64 % 86400)
}

fn time(args: &[f64]) -> f64 {
    if args.iter().any(|x| x.abs() > 32_767.0) {
        return NUM;
    }
    let seconds = args[0].trunc() * 3600.0 + args[1].trunc() * 60.0 + args[2].trunc();
    if seconds < 0.0 { NUM } else { libm::fmod(seconds, 86400.0) / 86400.0 }
}

fn text_date(args: &[Arg<'_>]) -> Result<f64, ErrorValue> {
    match args[0].value() {
        Value::Text(text) => serial::parse(text).ok_or(ErrorValue::Value),
        Value::Error(e) => Err(*e),
        _ => Err(ErrorValue::Value),
    }
}

fn date_value(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(Value::Number(text_date(args)?.floor()))
}

fn time_value(_: &Env, args: &[Arg<'_>]) -> Answer {
    let x = text_date(args)?;
    Ok(Value::Number(x - x.floor()))
}

/// Move a date by months; to the end of the month with `end`.
pub(super) fn shift(x: f64, months: f64, end: bool) -> f64 {
    let (Some(day), months) = (serial::day(x), months.trunc()) else { return NUM };
    if months.abs() > 120_000.0 {
        return NUM;
    }
    let total = day.year * 12 + day.month as i32 - 1 + months as i32;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) as u32 + 1);
    if !(1900..10_000).contains(&year) {
        return NUM;
    }
    let last = serial::days_in_month(year, month);
    let wanted = if end { last } else { day.day.min(last) };
    if wanted == 0 {
        return serial::from_date(year, month, 1).map_or(NUM, |x| x - 1.0);
    }
    serial::from_date(year, month, wanted).unwrap_or(NUM)
}

fn weekday(args: &[f64]) -> f64 {
    let kind = args.get(1).copied().unwrap_or(1.0).trunc();
    if !serial::contains(args[0]) {
        return NUM;
    }
    let day = serial::weekday(args[0]);
    let from = |first: u32| f64::from((day + 7 - first) % 7);
    match kind as i32 {
        1 => from(0) + 1.0,
        2 => from(1) + 1.0,
        3 => from(1),
        start @ 11..=17 => from((start as u32 - 10) % 7) + 1.0,
        _ => NUM,
    }
}

fn week_number(args: &[f64]) -> f64 {
    let kind = args.get(1).copied().unwrap_or(1.0).trunc() as i32;
    let first = match kind {
        1 => 0,
        2 => 1,
        11..=17 => (kind as u32 - 10) % 7,
        21 => return iso_week(args[0]),
        _ => return NUM,
    };
    let Some(start) = serial::day(args[0]).and_then(|d| serial::from_date(d.year, 1, 1)) else { return NUM };
    let lead = (serial::weekday(start) + 7 - first) % 7;
    ((args[0].floor() - start + f64::from(lead)) / 7.0).floor() + 1.0
}

fn iso_week(x: f64) -> f64 {
    if serial::day(x).is_none() {
        return NUM;
    }
    if serial::is_1904() && x < 3.0 {
        // 1904-01-01 was a Friday: its week is the last one of 1903, before the calendar.
        return 53.0;
    }
    // The Thursday of the same week decides the year.
    let thursday = x.floor() - f64::from((serial::weekday(x) + 6) % 7) + 3.0;
    let start = serial::day(thursday).and_then(|d| serial::from_date(d.year, 1, 1));
    start.map_or(NUM, |start| ((thursday - start) / 7.0).floor() + 1.0)
}

fn date_dif(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (start, end) = (args[0].number()?.floor(), args[1].number()?.floor());
    let unit = args[2].text()?.to_ascii_uppercase();
    let (Some(a), Some(b)) = (serial::day(start), serial::day(end)) else { return Err(ErrorValue::Num) };
    if start > end {
        return Err(ErrorValue::Num);
    }
    let mut months = (b.year - a.year) * 12 + b.month as i32 - a.month as i32;
    if b.day < a.day {
        months -= 1;
    }
    let result = match unit.as_str() {
        "Y" => f64::from(months / 12),
        "M" => f64::from(months),
        "D" => end - start,
        "YM" => f64::from(months % 12),
        "MD" => {
            if b.day >= a.day {
                f64::from(b.day - a.day)
            } else {
                let (year, month) = if b.month == 1 { (b.year - 1, 12) } else { (b.year, b.month - 1) };
                let last = serial::days_in_month(year, month);
                f64::from(last) - f64::from(a.day) + f64::from(b.day)
            }
        }
        "YD" => {
            let passed = (b.month, b.day) >= (a.month, a.day);
            let year = if passed { b.year } else { b.year - 1 };
            let day = a.day.min(serial::days_in_month(year, a.month));
            end - serial::from_date(year, a.month, day).ok_or(ErrorValue::Num)?
        }
        _ => return Err(ErrorValue::Num),
    };
    Ok(Value::Number(result))
}

/// Days in a year of 360 days by the US rule, or with `european` by the other one.
pub(super) fn days_30_360(a: Day, b: Day, european: bool) -> f64 {
    let (mut d1, mut d2) = (a.day.min(31), b.day.min(31));
    if european {
        d1 = d1.min(30);
        d2 = d2.min(30);
    } else {
        let last = |d: Day| d.month == 2 && d.day == serial::days_in_month(d.year, 2);
        if last(a) && last(b) {
            d2 = 30;
        }
        if last(a) {
            d1 = 30;
        }
        if d2 == 31 && d1 >= 30 {
            d2 = 30;
        }
        d1 = d1.min(30);
    }
    f64::from(b.year - a.year) * 360.0 + (f64::from(b.month) - f64::from(a.month)) * 30.0 + f64::from(d2)
        - f64::from(d1)
}

fn days_360(args: &[f64]) -> f64 {
    let (Some(a), Some(b)) = (serial::day(args[0]), serial::day(args[1])) else { return NUM };
    if args.get(2).is_some_and(|european| *european != 0.0) {
        return days_30_360(a, b, true);
    }
    // DAYS360 moves an end on the 31st after a start before the 30th to the next month's first day.
    let last = |d: Day| d.day == serial::days_in_month(d.year, d.month);
    let d1 = if last(a) { 30 } else { a.day };
    let (mut month, mut d2) = (f64::from(b.month), b.day);
    if d2 == 31 {
        if d1 < 30 {
            month += 1.0;
            d2 = 1;
        } else {
            d2 = 30;
        }
    }
    f64::from(b.year - a.year) * 360.0 + (month - f64::from(a.month)) * 30.0 + f64::from(d2) - f64::from(d1)
}

pub(super) fn year_fraction(args: &[f64]) -> f64 {
    let basis = args.get(2).copied().unwrap_or(0.0).trunc();
    let (start, end) = (args[0].floor().min(args[1].floor()), args[0].floor().max(args[1].floor()));
    let (Some(a), Some(b)) = (serial::day(start), serial::day(end)) else { return NUM };
    match basis as i32 {
        0 => days_30_360(a, b, false) / 360.0,
        1 => (end - start) / year_length(a, b),
        2 => (end - start) / 360.0,
        3 => (end - start) / 365.0,
        4 => days_30_360(a, b, true) / 360.0,
        _ => NUM,
    }
}

/// The length of the year for the basis actual/actual: whether a leap day lies between, or the mean of the years.
fn year_length(a: Day, b: Day) -> f64 {
    let one_year = a.year == b.year || (a.year + 1 == b.year && (b.month, b.day) <= (a.month, a.day));
    if !one_year {
        let days: f64 = (a.year..=b.year).map(|year| if serial::is_leap(year) { 366.0 } else { 365.0 }).sum();
        return days / f64::from(b.year - a.year + 1);
    }
    let leap = if a.year == b.year {
        serial::is_leap(a.year)
    } else {
        (serial::is_leap(a.year) && (a.month, a.day) <= (2, 29))
            || (serial::is_leap(b.year) && (b.month, b.day) >= (2, 29))
    };
    if leap { 366.0 } else { 365.0 }
}

/// A whole date argument in its bounds.
pub(super) fn date_argument(args: &[Arg<'_>], index: usize) -> Result<f64, ErrorValue> {
    let x = number_or(args, index, 0.0)?.floor();
    if serial::contains(x) { Ok(x) } else { Err(ErrorValue::Num) }
}
