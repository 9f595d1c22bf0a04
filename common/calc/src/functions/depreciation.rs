//! Depreciation. Source: Microsoft's function reference, "Financial functions".

use super::FunctionInfo;
use crate::number::error;
use crate::value::ErrorValue;

const NUM: f64 = error(ErrorValue::Num);
const DIV0: f64 = error(ErrorValue::Div0);

pub(super) fn functions() -> Vec<FunctionInfo> {
    let many = FunctionInfo::numbers;
    vec![
        many("DB", 4, 5, fixed_declining, "Depreciation by the fixed-declining balance."),
        many("DDB", 4, 5, double_declining, "Depreciation by the double-declining balance."),
        many(
            "SLN",
            3,
            3,
            |a| if a[2] == 0.0 { DIV0 } else { (a[0] - a[1]) / a[2] },
            "Straight-line depreciation.",
        ),
        many("SYD", 4, 4, years_digits, "Depreciation by the sum of the years' digits."),
        many("VDB", 5, 7, variable_declining, "Depreciation between two times by a declining balance.")
            .note("lives of up to 10,000 periods"),
    ]
}

fn years_digits(args: &[f64]) -> f64 {
    let (cost, salvage, life, period) = (args[0], args[1], args[2], args[3]);
    if life <= 0.0 || period < 1.0 || period > life {
        return NUM;
    }
    (cost - salvage) * (life - period + 1.0) * 2.0 / (life * (life + 1.0))
}

fn double_declining(args: &[f64]) -> f64 {
    let (cost, salvage, life, period) = (args[0], args[1], args[2], args[3]);
    let factor = args.get(4).copied().unwrap_or(2.0);
    if cost < 0.0 || salvage < 0.0 || life <= 0.0 || period <= 0.0 || period > life || factor <= 0.0 {
        return NUM;
    }
    let rate = (factor / life).min(1.0);
    let old = if rate >= 1.0 {
        if period == 1.0 { cost } else { 0.0 }
    } else {
        cost * libm::pow(1.0 - rate, period - 1.0)
    };
    let new = cost * libm::pow(1.0 - rate, period);
    (if new < salvage { old - salvage } else { old - new }).max(0.0)
}

fn fixed_declining(args: &[f64]) -> f64 {
    let (cost, salvage, life, period) = (args[0], args[1], args[2], args[3].trunc());
    let months = args.get(4).copied().unwrap_or(12.0).trunc();
    let bad = cost < 0.0 || salvage < 0.0 || life <= 0.0 || period < 1.0 || !(1.0..=12.0).contains(&months);
    if bad || period > life + 1.0 || life > 100_000.0 {
        return NUM;
    }
    if cost == 0.0 {
        return 0.0;
    }
    let rate = crate::number::round(1.0 - libm::pow(salvage / cost, 1.0 / life), 3.0);
    let first = cost * rate * months / 12.0;
    if period == 1.0 {
        return first;
    }
    let mut total = first;
    let mut current = first;
    let mut i = 2.0;
    while i <= period {
        current = if i == life.trunc() + 1.0 {
            (cost - total) * rate * (12.0 - months) / 12.0
        } else {
            (cost - total) * rate
        };
        total += current;
        i += 1.0;
    }
    current
}

/// Periods that a life may have here.
const PERIODS: f64 = 10_000.0;

fn variable_declining(args: &[f64]) -> f64 {
    let (cost, salvage, life, start, end) = (args[0], args[1], args[2], args[3], args[4]);
    let factor = args.get(5).copied().unwrap_or(2.0);
    let switches = args.get(6).is_none_or(|flag| *flag == 0.0);
    let valid = cost >= 0.0 && salvage >= 0.0 && life > 0.0 && start >= 0.0 && end >= start && end <= life;
    if !valid || factor <= 0.0 || life > PERIODS {
        return NUM;
    }
    let (mut book, mut sum, mut period, mut straight) = (cost, 0.0, 0.0, None);
    while period < end {
        let declining = (book * (factor / life).min(1.0)).min(book - salvage).max(0.0);
        let line = (book - salvage) / (life - period);
        let whole = match straight {
            Some(line) => line,
            None if switches && line > declining => {
                straight = Some(line);
                line
            }
            None => declining,
        };
        // A period that lies only partly between the two times counts by that part.
        let part = (end.min(period + 1.0) - start.max(period)).max(0.0);
        sum += whole * part;
        book -= whole;
        period += 1.0;
    }
    sum
}
