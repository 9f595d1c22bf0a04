//! Securities: coupon days, prices and yields, bills, prices in fractions. Source: Microsoft's function reference, "Financial
//! functions", whose formulas these are.

use super::date::days_30_360;
use super::serial::{self, day};
use super::special::positive_root;
use super::{FunctionInfo, date};
use crate::number::error;
use crate::value::ErrorValue;

const NUM: f64 = error(ErrorValue::Num);
const DIV0: f64 = error(ErrorValue::Div0);

pub(super) fn functions() -> Vec<FunctionInfo> {
    let many = FunctionInfo::numbers;
    let two = FunctionInfo::number2;
    vec![
        many("ACCRINTM", 4, 5, accrued_at_maturity, "The interest of a security that pays at maturity."),
        many("COUPDAYBS", 3, 4, |a| coupon(a, |c| c.since), "Days from the last coupon to settlement."),
        many("COUPDAYS", 3, 4, |a| coupon(a, |c| c.period), "Days of the coupon period of settlement."),
        many("COUPDAYSNC", 3, 4, |a| coupon(a, |c| c.left), "Days from settlement to the next coupon."),
        many("COUPNCD", 3, 4, |a| coupon(a, |c| c.next), "The date of the next coupon."),
        many("COUPNUM", 3, 4, |a| coupon(a, |c| c.count), "The coupons between settlement and maturity."),
        many("COUPPCD", 3, 4, |a| coupon(a, |c| c.last), "The date of the last coupon."),
        many("DISC", 4, 5, discount_rate, "The discount rate of a security."),
        two("DOLLARDE", |x, n| fraction(x, n, true), "A price in fractions as a decimal one."),
        two("DOLLARFR", |x, n| fraction(x, n, false), "A decimal price as one in fractions."),
        many("DURATION", 5, 6, |a| duration(a, false), "The Macaulay duration of a security."),
        many("INTRATE", 4, 5, interest_rate, "The rate of a fully invested security."),
        many("MDURATION", 5, 6, |a| duration(a, true), "The modified duration of a security."),
        many("PRICE", 6, 7, price, "The price of a security with coupons, per 100."),
        many("PRICEDISC", 4, 5, discounted_price, "The price of a discounted security, per 100."),
        many("RECEIVED", 4, 5, received, "The amount received at maturity of a fully invested security."),
        many("TBILLEQ", 3, 3, bill_equivalent, "The bond-equivalent yield of a Treasury bill."),
        many("TBILLPRICE", 3, 3, bill_price, "The price of a Treasury bill, per 100."),
        many("TBILLYIELD", 3, 3, bill_yield, "The yield of a Treasury bill."),
        many("YIELD", 6, 7, yield_of, "The yield of a security with coupons."),
        many("YIELDDISC", 4, 5, discounted_yield, "The yield of a discounted security."),
    ]
}

/// A settlement before a maturity, whole days, and the basis.
fn term(a: &[f64], basis: usize) -> Option<(f64, f64, f64)> {
    let (settlement, maturity) = (a[0].trunc(), a[1].trunc());
    let basis = a.get(basis).copied().unwrap_or(0.0).trunc();
    day(settlement)?;
    day(maturity)?;
    (settlement < maturity && (0.0..=4.0).contains(&basis)).then_some((settlement, maturity, basis))
}

fn years(settlement: f64, maturity: f64, basis: f64) -> f64 {
    date::year_fraction(&[settlement, maturity, basis])
}

fn accrued_at_maturity(a: &[f64]) -> f64 {
    match term(a, 4) {
        Some((issue, maturity, basis)) if a[2] > 0.0 && a[3] > 0.0 => {
            a[3] * a[2] * years(issue, maturity, basis)
        }
        _ => NUM,
    }
}

fn discount_rate(a: &[f64]) -> f64 {
    match term(a, 4) {
        Some((s, m, basis)) if a[2] > 0.0 && a[3] > 0.0 => (a[3] - a[2]) / a[3] / years(s, m, basis),
        _ => NUM,
    }
}

fn interest_rate(a: &[f64]) -> f64 {
    match term(a, 4) {
        Some((s, m, basis)) if a[2] > 0.0 && a[3] > 0.0 => (a[3] - a[2]) / a[2] / years(s, m, basis),
        _ => NUM,
    }
}

fn discounted_price(a: &[f64]) -> f64 {
    match term(a, 4) {
        Some((s, m, basis)) if a[2] > 0.0 && a[3] > 0.0 => a[3] - a[2] * a[3] * years(s, m, basis),
        _ => NUM,
    }
}

fn discounted_yield(a: &[f64]) -> f64 {
    match term(a, 4) {
        Some((s, m, basis)) if a[2] > 0.0 && a[3] > 0.0 => (a[3] / a[2] - 1.0) / years(s, m, basis),
        _ => NUM,
    }
}

fn received(a: &[f64]) -> f64 {
    match term(a, 4) {
        Some((s, m, basis)) if a[2] > 0.0 && a[3] > 0.0 => {
            let rest = 1.0 - a[3] * years(s, m, basis);
            if rest <= 0.0 { NUM } else { a[2] / rest }
        }
        _ => NUM,
    }
}

/// Days of a bill, which runs a year at most.
fn bill(a: &[f64]) -> Option<f64> {
    let (s, m, _) = term(a, 9)?;
    (m - s <= 366.0 && a[2] > 0.0).then_some(m - s)
}

fn bill_price(a: &[f64]) -> f64 {
    match bill(a) {
        Some(days) => {
            let price = 100.0 * (1.0 - a[2] * days / 360.0);
            if price < 0.0 { NUM } else { price }
        }
        None => NUM,
    }
}

fn bill_yield(a: &[f64]) -> f64 {
    bill(a).map_or(NUM, |days| (100.0 - a[2]) / a[2] * 360.0 / days)
}

fn bill_equivalent(a: &[f64]) -> f64 {
    let Some(days) = bill(a) else { return NUM };
    if days <= 182.0 {
        return 365.0 * a[2] / (360.0 - a[2] * days);
    }
    // Beyond half a year the bond would have paid a coupon: the positive root of a quadratic.
    let price = (100.0 - a[2] * 100.0 * days / 360.0) / 100.0;
    let term = days / if days == 366.0 { 366.0 } else { 365.0 };
    let inner = term * term - (2.0 * term - 1.0) * (1.0 - 1.0 / price);
    if inner < 0.0 || term == 0.5 { NUM } else { (inner.sqrt() - term) / (term - 0.5) }
}

fn fraction(x: f64, n: f64, decimal: bool) -> f64 {
    let n = n.trunc();
    if n < 0.0 {
        return NUM;
    }
    if n == 0.0 {
        return DIV0;
    }
    let whole = x.trunc();
    let rest = x - whole;
    let scale = libm::pow(10.0, libm::log10(n).ceil());
    if decimal { whole + rest * scale / n } else { whole + rest * n / scale }
}

/// The coupons around a settlement.
struct Coupons {
    last: f64,
    next: f64,
    count: f64,
    since: f64,
    period: f64,
    left: f64,
}

fn coupons(settlement: f64, maturity: f64, frequency: f64, basis: f64) -> Option<Coupons> {
    let frequency = frequency.trunc();
    if ![1.0, 2.0, 4.0].contains(&frequency) {
        return None;
    }
    let months = 12.0 / frequency;
    let end = day(maturity)?;
    let at_end = end.day == serial::days_in_month(end.year, end.month);
    let back = |count: f64| {
        let date = date::shift(maturity, -months * count, at_end);
        (!date.is_nan()).then_some(date)
    };
    // Near the answer at once, then step by step.
    let start = day(settlement)?;
    let between = f64::from((end.year - start.year) * 12 + end.month as i32 - start.month as i32);
    let mut count = (between / months).floor().max(1.0) - 1.0;
    while back(count + 1.0)? > settlement {
        count += 1.0;
    }
    let (last, next) = (back(count + 1.0)?, back(count)?);
    let distance = |a: f64, b: f64| match basis as i32 {
        0 | 4 => match (day(a), day(b)) {
            (Some(a), Some(b)) => days_30_360(a, b, basis == 4.0),
            _ => NUM,
        },
        _ => b - a,
    };
    let since = distance(last, settlement);
    let period = match basis as i32 {
        1 => next - last,
        3 => 365.0 / frequency,
        _ => 360.0 / frequency,
    };
    let left = if basis == 0.0 { period - since } else { distance(settlement, next) };
    Some(Coupons { last, next, count: count + 1.0, since, period, left })
}

fn coupon(a: &[f64], f: fn(&Coupons) -> f64) -> f64 {
    let Some((settlement, maturity, basis)) = term(a, 3) else { return NUM };
    coupons(settlement, maturity, a[2], basis).map_or(NUM, |c| f(&c))
}

/// The price per 100 at a yield.
fn price_at(c: &Coupons, rate: f64, redemption: f64, frequency: f64, y: f64) -> f64 {
    let payment = 100.0 * rate / frequency;
    let part = c.left / c.period;
    let accrued = payment * c.since / c.period;
    if c.count == 1.0 {
        return (redemption + payment) / (1.0 + part * y / frequency) - accrued;
    }
    let growth = 1.0 + y / frequency;
    let mut sum = redemption / libm::pow(growth, c.count - 1.0 + part);
    let mut k = 0.0;
    while k < c.count {
        sum += payment / libm::pow(growth, k + part);
        k += 1.0;
    }
    sum - accrued
}

fn price(a: &[f64]) -> f64 {
    let Some((s, m, basis)) = term(a, 6) else { return NUM };
    if a[2] < 0.0 || a[3] < 0.0 || a[4] <= 0.0 {
        return NUM;
    }
    coupons(s, m, a[5], basis).map_or(NUM, |c| price_at(&c, a[2], a[4], a[5].trunc(), a[3]))
}

fn yield_of(a: &[f64]) -> f64 {
    let Some((s, m, basis)) = term(a, 6) else { return NUM };
    let (rate, wanted, redemption, frequency) = (a[2], a[3], a[4], a[5].trunc());
    if rate < 0.0 || wanted <= 0.0 || redemption <= 0.0 {
        return NUM;
    }
    let Some(c) = coupons(s, m, frequency, basis) else { return NUM };
    if c.count == 1.0 {
        let paid = wanted + 100.0 * rate / frequency * c.since / c.period;
        let gain = redemption + 100.0 * rate / frequency - paid;
        return gain / paid * frequency * c.period / c.left;
    }
    // The price falls with the growth of one period, which is positive: look for that.
    let growth = positive_root(|growth| {
        wanted - price_at(&c, rate, redemption, frequency, (growth - 1.0) * frequency)
    });
    (growth - 1.0) * frequency
}

fn duration(a: &[f64], modified: bool) -> f64 {
    let Some((s, m, basis)) = term(a, 5) else { return NUM };
    let (rate, y, frequency) = (a[2], a[3], a[4].trunc());
    if rate < 0.0 || y < 0.0 {
        return NUM;
    }
    let Some(c) = coupons(s, m, frequency, basis) else { return NUM };
    let (payment, growth, part) = (100.0 * rate / frequency, 1.0 + y / frequency, c.left / c.period);
    let (mut weighted, mut whole, mut k) = (0.0, 0.0, 0.0);
    while k < c.count {
        let paid = if k + 1.0 == c.count { payment + 100.0 } else { payment };
        let value = paid / libm::pow(growth, k + part);
        weighted += value * (k + part);
        whole += value;
        k += 1.0;
    }
    let duration = weighted / whole / frequency;
    if modified { duration / growth } else { duration }
}
