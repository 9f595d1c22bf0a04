//! Working days, with weekends and holidays. Source: Excel's descriptions of `NETWORKDAYS` and `WORKDAY`.

use super::date::date_argument;
use super::{Answer, Arg, FunctionInfo, serial};
use crate::value::{ErrorValue, Value};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    vec![
        general("NETWORKDAYS", 2, 3, |_, a| count(a, None, 2), "The working days from one date to another.")
            .arrays(0b100),
        general(
            "NETWORKDAYS.INTL",
            2,
            4,
            |_, a| count(a, Some(2), 3),
            "Working days, with a choice of weekends.",
        )
        .arrays(0b1000),
        general("WORKDAY", 2, 3, |_, a| step(a, None, 2), "The date some working days later.").arrays(0b100),
        general(
            "WORKDAY.INTL",
            2,
            4,
            |_, a| step(a, Some(2), 3),
            "The date some working days later, with a choice of weekends.",
        )
        .arrays(0b1000),
    ]
}

/// Which days of the week, from Sunday, are free.
type Weekend = [bool; 7];

fn weekend(args: &[Arg<'_>], index: Option<usize>) -> Result<Weekend, ErrorValue> {
    let mut free = [false; 7];
    let arg = index.and_then(|i| args.get(i)).filter(|arg| !matches!(arg, Arg::Omitted));
    let Some(arg) = arg else {
        free[0] = true;
        free[6] = true;
        return Ok(free);
    };
    if let Value::Text(text) = arg.value() {
        // Seven digits from Monday; 1 is free.
        if text.len() != 7 || !text.bytes().all(|b| b == b'0' || b == b'1') {
            return Err(ErrorValue::Value);
        }
        for (i, b) in text.bytes().enumerate() {
            free[(i + 1) % 7] = b == b'1';
        }
        return Ok(free);
    }
    match arg.number()?.trunc() as i32 {
        kind @ 1..=7 => {
            let first = (kind as usize + 5) % 7;
            free[first] = true;
            free[(first + 1) % 7] = true;
        }
        kind @ 11..=17 => free[kind as usize - 11] = true,
        _ => return Err(ErrorValue::Num),
    }
    Ok(free)
}

/// The holidays that fall on working days, sorted, each once.
fn holidays(args: &[Arg<'_>], index: usize, free: &Weekend) -> Result<Vec<f64>, ErrorValue> {
    let mut list = Vec::new();
    if let Some(arg) = args.get(index) {
        for value in arg.grid().items {
            if *value != Value::Blank {
                let day = value.to_number()?.floor();
                if !serial::contains(day) {
                    return Err(ErrorValue::Num);
                }
                list.push(day);
            }
        }
    }
    list.retain(|day| !free[serial::weekday(*day) as usize]);
    list.sort_by(f64::total_cmp);
    list.dedup();
    Ok(list)
}

/// Working days of the week from `start` to `end`, both included.
fn weekdays(start: f64, end: f64, free: &Weekend) -> f64 {
    let days = (end - start) as i64 + 1;
    let per_week = free.iter().filter(|f| !**f).count() as i64;
    let mut count = days / 7 * per_week;
    for i in 0..days % 7 {
        count += i64::from(!free[serial::weekday(start + i as f64) as usize]);
    }
    count as f64
}

fn count(args: &[Arg<'_>], weekend_at: Option<usize>, holidays_at: usize) -> Answer {
    let (a, b) = (date_argument(args, 0)?, date_argument(args, 1)?);
    let free = weekend(args, weekend_at)?;
    let holidays = holidays(args, holidays_at, &free)?;
    let (start, end) = (a.min(b), a.max(b));
    let off = holidays.iter().filter(|day| (start..=end).contains(*day)).count() as f64;
    let days = weekdays(start, end, &free) - off;
    Ok(Value::Number(if a > b { -days } else { days }))
}

fn step(args: &[Arg<'_>], weekend_at: Option<usize>, holidays_at: usize) -> Answer {
    let start = date_argument(args, 0)?;
    let days = args[1].number()?.trunc();
    let free = weekend(args, weekend_at)?;
    if free.iter().all(|f| *f) {
        return Err(ErrorValue::Value);
    }
    let holidays = holidays(args, holidays_at, &free)?;
    if days.abs() > serial::LAST {
        return Err(ErrorValue::Num);
    }
    let direction = if days < 0.0 { -1.0 } else { 1.0 };
    // Whole weeks at once, then day by day. A week's jump lands on the same weekday.
    let per_week = free.iter().filter(|f| !**f).count() as f64;
    let weeks = ((days.abs() / per_week).floor() - 1.0).max(0.0);
    let mut day = start + direction * weeks * 7.0;
    let mut left = days.abs() - weeks * per_week;
    let passed = |day: &&f64| if direction > 0.0 { **day > start } else { **day < start };
    let inside = |day: f64| move |h: &&f64| if direction > 0.0 { **h <= day } else { **h >= day };
    left += holidays.iter().filter(passed).filter(inside(day)).count() as f64;
    while left > 0.0 {
        day += direction;
        if !serial::contains(day) {
            return Err(ErrorValue::Num);
        }
        let holiday = holidays.binary_search_by(|h| h.total_cmp(&day)).is_ok();
        if !free[serial::weekday(day) as usize] && !holiday {
            left -= 1.0;
        }
    }
    Ok(Value::Number(day))
}
