//! Money over time. Source: Excel's descriptions; iterations start and stop where Excel documents them (`RATE`: 10 %, 20 steps
//! there, more here; `IRR`: 10 %).

use super::argument::{number_or, numbers};
use super::{Answer, Arg, Env, FunctionInfo};
use crate::number::error;
use crate::value::{ErrorValue, Value};

const NUM: f64 = error(ErrorValue::Num);
const DIV0: f64 = error(ErrorValue::Div0);

pub(super) fn functions() -> Vec<FunctionInfo> {
    let many = FunctionInfo::numbers;
    let general = FunctionInfo::general;
    vec![
        many("CUMIPMT", 6, 6, |a| cumulative(a, true), "The interest paid between two periods."),
        many("CUMPRINC", 6, 6, |a| cumulative(a, false), "The principal paid between two periods."),
        FunctionInfo::number2("EFFECT", effect, "The effective yearly rate."),
        many(
            "FV",
            3,
            5,
            |a| future(a[0], a[1], a[2], at(a, 3), due(a, 4)),
            "The future value of an annuity.",
        ),
        general("FVSCHEDULE", 2, 2, schedule, "The future value under changing rates.").arrays(0b10),
        many("IPMT", 4, 6, interest, "The interest in one period of an annuity."),
        general("IRR", 1, 2, irr, "The rate at which payments are worth nothing.")
            .note("100 steps, then a search for a change of sign; Excel stops after 20")
            .arrays(1),
        many(
            "ISPMT",
            4,
            4,
            |a| if a[2] == 0.0 { DIV0 } else { a[3] * a[0] * (a[1] / a[2] - 1.0) },
            "The interest in one period of equal principal payments.",
        ),
        general("MIRR", 3, 3, mirr, "The modified internal rate of return.").arrays(1),
        FunctionInfo::number2("NOMINAL", nominal, "The nominal yearly rate."),
        many("NPER", 3, 5, periods, "The number of periods of an annuity."),
        general("NPV", 2, 255, npv, "The present value of payments at equal distances.").arrays(u32::MAX - 1),
        FunctionInfo::numbers(
            "PDURATION",
            3,
            3,
            |a| {
                if a.iter().any(|x| *x <= 0.0) {
                    NUM
                } else {
                    (libm::log(a[2]) - libm::log(a[1])) / libm::log1p(a[0])
                }
            },
            "The periods until an amount is reached.",
        ),
        many("PMT", 3, 5, |a| payment(a[0], a[1], a[2], at(a, 3), due(a, 4)), "The payment of an annuity."),
        many("PPMT", 4, 6, principal, "The principal in one period of an annuity."),
        many("PV", 3, 5, present, "The present value of an annuity."),
        many("RATE", 3, 6, rate, "The rate of an annuity.")
            .note("100 steps, then a search for a change of sign; Excel stops after 20"),
        many(
            "RRI",
            3,
            3,
            |a| if a[0] <= 0.0 || a[1] == 0.0 { NUM } else { libm::pow(a[2] / a[1], 1.0 / a[0]) - 1.0 },
            "The rate of a growth.",
        ),
        general("XIRR", 2, 3, xirr, "The rate at which payments on dates are worth nothing.")
            .note("100 steps, then a search for a change of sign")
            .arrays(0b11),
        general("XNPV", 3, 3, xnpv, "The present value of payments on dates.").arrays(0b110),
    ]
}

fn at(args: &[f64], index: usize) -> f64 {
    args.get(index).copied().unwrap_or(0.0)
}

/// Whether payments fall at the beginning of each period, as 0 or 1.
fn due(args: &[f64], index: usize) -> f64 {
    f64::from(u8::from(at(args, index) != 0.0))
}

/// `(1 + rate)^n`, and the sum of its powers below n.
fn growth(rate: f64, n: f64) -> (f64, f64) {
    let power = libm::pow(1.0 + rate, n);
    (power, (power - 1.0) / rate)
}

fn payment(rate: f64, n: f64, pv: f64, fv: f64, due: f64) -> f64 {
    if n == 0.0 {
        return NUM;
    }
    if rate == 0.0 {
        return -(pv + fv) / n;
    }
    let (power, sum) = growth(rate, n);
    -(pv * power + fv) / ((1.0 + rate * due) * sum)
}

fn future(rate: f64, n: f64, pmt: f64, pv: f64, due: f64) -> f64 {
    if rate == 0.0 {
        return -(pv + pmt * n);
    }
    let (power, sum) = growth(rate, n);
    -(pv * power + pmt * (1.0 + rate * due) * sum)
}

fn present(args: &[f64]) -> f64 {
    let (rate, n, pmt, fv, due) = (args[0], args[1], args[2], at(args, 3), due(args, 4));
    if rate == 0.0 {
        return -(fv + pmt * n);
    }
    let (power, sum) = growth(rate, n);
    if power == 0.0 { DIV0 } else { -(fv + pmt * (1.0 + rate * due) * sum) / power }
}

fn periods(args: &[f64]) -> f64 {
    let (rate, pmt, pv, fv, due) = (args[0], args[1], args[2], at(args, 3), due(args, 4));
    if rate == 0.0 {
        return if pmt == 0.0 { NUM } else { -(pv + fv) / pmt };
    }
    let per = pmt * (1.0 + rate * due) / rate;
    let ratio = (per - fv) / (per + pv);
    if ratio <= 0.0 || rate <= -1.0 { NUM } else { libm::log(ratio) / libm::log1p(rate) }
}

fn interest(args: &[f64]) -> f64 {
    let (rate, period, n, pv, fv, due) = (args[0], args[1], args[2], args[3], at(args, 4), due(args, 5));
    if period < 1.0 || period >= n + 1.0 {
        return NUM;
    }
    let pmt = payment(rate, n, pv, fv, due);
    if pmt.is_nan() {
        return pmt;
    }
    if due == 0.0 {
        return future(rate, period - 1.0, pmt, pv, 0.0) * rate;
    }
    // A payment at the beginning of the first period bears no interest yet.
    if period == 1.0 { 0.0 } else { (future(rate, period - 2.0, pmt, pv, 1.0) - pmt) * rate }
}

fn principal(args: &[f64]) -> f64 {
    let part = interest(args);
    if part.is_nan() { part } else { payment(args[0], args[2], args[3], at(args, 4), due(args, 5)) - part }
}

fn cumulative(args: &[f64], interests: bool) -> f64 {
    let (rate, n, pv, first, last, kind) =
        (args[0], args[1].trunc(), args[2], args[3].trunc(), args[4].trunc(), args[5]);
    let valid = rate > 0.0 && n > 0.0 && pv > 0.0 && first >= 1.0 && last >= first && last <= n;
    if !valid || (kind != 0.0 && kind != 1.0) || last - first > 100_000.0 {
        return NUM;
    }
    let mut sum = 0.0;
    let mut period = first;
    while period <= last {
        let args = [rate, period, n, pv, 0.0, kind];
        sum += if interests { interest(&args) } else { principal(&args) };
        period += 1.0;
    }
    sum
}

/// Newton's method with a numeric fallback by halving where it leaves the domain.
fn solve(guess: f64, lowest: f64, f: impl Fn(f64) -> f64) -> f64 {
    let mut x = guess;
    for _ in 0..100 {
        let y = f(x);
        let h = 1e-6 * (1.0 + x.abs());
        let slope = (f(x + h) - f(x - h)) / (2.0 * h);
        let next = x - y / slope;
        if !next.is_finite() || next <= lowest {
            break;
        }
        if (next - x).abs() < 1e-13 * (1.0 + next.abs()) {
            return next;
        }
        x = next;
    }
    // Look for a change of sign and halve it.
    let grid = [
        -0.99, -0.9, -0.7, -0.5, -0.3, -0.1, -0.01, 1e-9, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0,
        100.0,
    ];
    for pair in grid.windows(2) {
        let (mut a, mut b) = (pair[0], pair[1]);
        let (fa, fb) = (f(a), f(b));
        if !fa.is_finite() || !fb.is_finite() || (fa > 0.0) == (fb > 0.0) {
            continue;
        }
        for _ in 0..200 {
            let middle = (a + b) / 2.0;
            if (f(middle) > 0.0) == (fa > 0.0) { a = middle } else { b = middle }
        }
        return (a + b) / 2.0;
    }
    NUM
}

fn rate(args: &[f64]) -> f64 {
    let (n, pmt, pv, fv, due) = (args[0], args[1], args[2], at(args, 3), due(args, 4));
    let guess = args.get(5).copied().unwrap_or(0.1);
    if n <= 0.0 || guess <= -1.0 {
        return NUM;
    }
    let result = solve(guess, -1.0, |rate| {
        if rate.abs() < 1e-11 {
            pv + pmt * n + fv
        } else {
            let (power, sum) = growth(rate, n);
            pv * power + pmt * (1.0 + rate * due) * sum + fv
        }
    });
    // Excel answers a rate of nothing as 0 itself.
    if result.abs() < 1e-12 { 0.0 } else { result }
}

fn npv(_: &Env, args: &[Arg<'_>]) -> Answer {
    let rate = args[0].number()?;
    let list = numbers(&args[1..])?;
    if rate == -1.0 {
        return Err(ErrorValue::Div0);
    }
    Ok(Value::Number(discount(rate, &list)))
}

/// The present value one period before the first payment.
fn discount(rate: f64, list: &[f64]) -> f64 {
    let mut sum = 0.0;
    let mut factor = 1.0;
    for x in list {
        factor *= 1.0 + rate;
        sum += x / factor;
    }
    sum
}

fn mixed_signs(list: &[f64]) -> bool {
    list.iter().any(|x| *x > 0.0) && list.iter().any(|x| *x < 0.0)
}

fn irr(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = numbers(&args[..1])?;
    let guess = number_or(args, 1, 0.1)?;
    if !mixed_signs(&list) || guess <= -1.0 {
        return Err(ErrorValue::Num);
    }
    Ok(Value::Number(solve(guess, -1.0, |rate| discount(rate, &list))))
}

fn mirr(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = numbers(&args[..1])?;
    let (finance, reinvest) = (args[1].number()?, args[2].number()?);
    if !mixed_signs(&list) || finance == -1.0 || reinvest == -1.0 {
        return Err(ErrorValue::Div0);
    }
    let gains: Vec<f64> = list.iter().map(|x| x.max(0.0)).collect();
    let costs: Vec<f64> = list.iter().map(|x| x.min(0.0)).collect();
    let n = list.len() as f64;
    let top = -discount(reinvest, &gains) * libm::pow(1.0 + reinvest, n);
    let bottom = discount(finance, &costs) * (1.0 + finance);
    Ok(Value::Number(libm::pow(top / bottom, 1.0 / (n - 1.0)) - 1.0))
}

fn schedule(_: &Env, args: &[Arg<'_>]) -> Answer {
    let start = args[0].number()?;
    Ok(Value::Number(numbers(&args[1..])?.iter().fold(start, |sum, rate| sum * (1.0 + rate))))
}

/// Payments with their distance from the first in years of 365 days.
fn dated(values: &Arg<'_>, dates: &Arg<'_>) -> Result<Vec<(f64, f64)>, ErrorValue> {
    let lanes =
        |arg: &Arg<'_>| arg.grid().items.iter().map(Value::to_number).collect::<Result<Vec<f64>, _>>();
    let (values, dates) = (lanes(values)?, lanes(dates)?);
    let first = dates.first().map(|d| d.trunc());
    if values.len() != dates.len() || dates.iter().any(|d| Some(d.trunc()) < first) {
        return Err(ErrorValue::Num);
    }
    let first = first.unwrap_or(0.0);
    Ok(values.into_iter().zip(dates).map(|(v, d)| (v, (d.trunc() - first) / 365.0)).collect())
}

fn dated_value(rate: f64, list: &[(f64, f64)]) -> f64 {
    list.iter().fold(0.0, |sum, (value, years)| sum + value / libm::pow(1.0 + rate, *years))
}

fn xnpv(_: &Env, args: &[Arg<'_>]) -> Answer {
    let rate = args[0].number()?;
    let list = dated(&args[1], &args[2])?;
    if rate <= -1.0 { Err(ErrorValue::Num) } else { Ok(Value::Number(dated_value(rate, &list))) }
}

fn xirr(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = dated(&args[0], &args[1])?;
    let guess = number_or(args, 2, 0.1)?;
    let amounts: Vec<f64> = list.iter().map(|(value, _)| *value).collect();
    if !mixed_signs(&amounts) || guess <= -1.0 {
        return Err(ErrorValue::Num);
    }
    Ok(Value::Number(solve(guess, -1.0, |rate| dated_value(rate, &list))))
}

fn effect(nominal: f64, n: f64) -> f64 {
    let n = n.trunc();
    if nominal <= 0.0 || n < 1.0 { NUM } else { libm::pow(1.0 + nominal / n, n) - 1.0 }
}

fn nominal(effect: f64, n: f64) -> f64 {
    let n = n.trunc();
    if effect <= 0.0 || n < 1.0 { NUM } else { (libm::pow(1.0 + effect, 1.0 / n) - 1.0) * n }
}
