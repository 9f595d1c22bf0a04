//! Loops over columns of numbers, written so that the compiler vectorises them. Lanes that are not plain finite numbers go
//! through the definition in [`scalar`](super::scalar) afterwards, so that both executions agree bit for bit.

use super::scalar;
use crate::formula::Binary;
use crate::number::{self, POWERS, Rounding, WHOLE, near};
use crate::value::ErrorValue;

/// Whether a lane is neither a NaN nor an infinity, in a form that vectorises.
#[inline(always)]
fn finite(x: f64) -> bool {
    x.abs() <= f64::MAX
}

#[inline(always)]
fn map2(a: &[f64], b: &[f64], out: &mut [f64], raw: impl Fn(f64, f64) -> f64, exact: fn(f64, f64) -> f64) {
    let mut bad = 0_u64;
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        let result = raw(*a, *b);
        *out = result;
        bad |= u64::from(!finite(result));
    }
    if bad != 0 {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            if !finite(*out) {
                *out = exact(*a, *b);
            }
        }
    }
}

/// `+ − × ÷ ^` on lanes.
pub(super) fn arithmetic(op: Binary, a: &[f64], b: &[f64], out: &mut [f64]) {
    match op {
        Binary::Add => map2(a, b, out, |a, b| a + b, scalar::add),
        Binary::Subtract => map2(a, b, out, |a, b| a - b, scalar::subtract),
        Binary::Multiply => map2(a, b, out, |a, b| a * b, scalar::multiply),
        Binary::Divide => map2(a, b, out, |a, b| a / b, scalar::divide),
        _ => {
            for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                *out = scalar::power(*a, *b);
            }
        }
    }
}

/// Whether two numbers are so far apart that a plain comparison decides; false for NaN.
#[inline(always)]
fn far(distance: f64, a: f64) -> bool {
    distance > a.abs() * 1e-14
}

/// Whether a number is below a bound; false for NaN.
#[inline(always)]
fn below(x: f64, bound: f64) -> bool {
    x < bound
}

#[inline(always)]
fn compare_with(
    a: &[f64],
    b: &[f64],
    out: &mut [f64],
    raw: impl Fn(f64, f64) -> bool,
    test: fn(std::cmp::Ordering) -> bool,
) {
    let mut bad = 0_u64;
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        let distance = (a - b).abs();
        *out = if raw(*a, *b) { 1.0 } else { 0.0 };
        // Too near for a plain comparison, or not two numbers.
        bad |= u64::from(!far(distance, *a) & (a != b));
    }
    if bad != 0 {
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            *out = if a.is_nan() {
                *a
            } else if b.is_nan() {
                *b
            } else {
                f64::from(u8::from(test(number::compare(*a, *b))))
            };
        }
    }
}

/// `= <> < <= > >=` on lanes of numbers, as lanes of booleans.
pub(super) fn compare(op: Binary, a: &[f64], b: &[f64], out: &mut [f64]) {
    match op {
        Binary::Equal => compare_with(a, b, out, |a, b| a == b, |o| o.is_eq()),
        Binary::NotEqual => compare_with(a, b, out, |a, b| a != b, |o| o.is_ne()),
        Binary::Less => compare_with(a, b, out, |a, b| a < b, |o| o.is_lt()),
        Binary::LessEqual => compare_with(a, b, out, |a, b| a <= b, |o| o.is_le()),
        Binary::Greater => compare_with(a, b, out, |a, b| a > b, |o| o.is_gt()),
        _ => compare_with(a, b, out, |a, b| a >= b, |o| o.is_ge()),
    }
}

/// `IF` on lanes.
pub(super) fn select(condition: &[f64], yes: &[f64], no: &[f64], out: &mut [f64]) {
    let mut bad = 0_u64;
    for (((out, c), yes), no) in out.iter_mut().zip(condition).zip(yes).zip(no) {
        *out = if *c != 0.0 { *yes } else { *no };
        bad |= u64::from(!finite(*c));
    }
    if bad != 0 {
        for (out, c) in out.iter_mut().zip(condition) {
            if c.is_nan() {
                *out = *c;
            }
        }
    }
}

/// `IFERROR` on lanes.
pub(super) fn if_error(a: &[f64], otherwise: &[f64], out: &mut [f64]) {
    for ((out, a), otherwise) in out.iter_mut().zip(a).zip(otherwise) {
        *out = if finite(*a) { *a } else { *otherwise };
    }
}

/// `IFNA` on lanes.
pub(super) fn if_na(a: &[f64], otherwise: &[f64], out: &mut [f64]) {
    for ((out, a), otherwise) in out.iter_mut().zip(a).zip(otherwise) {
        *out = if number::decode(*a) == Some(ErrorValue::NA) { *otherwise } else { *a };
    }
}

/// A sign change or another map that keeps errors.
pub(super) fn negate(a: &[f64], out: &mut [f64]) {
    for (out, a) in out.iter_mut().zip(a) {
        *out = -a;
    }
}

/// `ABS` on lanes.
pub(super) fn abs(a: &[f64], out: &mut [f64]) {
    for (out, a) in out.iter_mut().zip(a) {
        *out = a.abs();
    }
}

/// `SQRT` on lanes.
pub(super) fn sqrt(a: &[f64], out: &mut [f64]) {
    let mut bad = 0_u64;
    for (out, a) in out.iter_mut().zip(a) {
        let root = a.sqrt();
        *out = root;
        bad |= u64::from(!finite(root));
    }
    if bad != 0 {
        for (out, a) in out.iter_mut().zip(a) {
            if !finite(*out) {
                *out = if a.is_nan() { *a } else { number::error(ErrorValue::Num) };
            }
        }
    }
}

/// `ROUND`, `ROUNDUP` and `ROUNDDOWN` on lanes, to a constant number of digits.
pub(super) fn round(a: &[f64], digits: f64, rounding: Rounding, out: &mut [f64]) {
    let exact = match rounding {
        Rounding::HalfAway => number::round,
        Rounding::Up => number::round_up,
        Rounding::Down => number::round_down,
    };
    let power = POWERS.get(digits.abs() as usize).copied().unwrap_or(1.0);
    if !(-22.0..23.0).contains(&digits) || (digits < 0.0 && power == 1.0) || rounding == Rounding::Up {
        for (out, a) in out.iter_mut().zip(a) {
            *out = if a.is_nan() { *a } else { exact(*a, digits) };
        }
        return;
    }
    // The same steps as `number::round`, without its branches.
    let (times, over) = if digits < 0.0 { (1.0, power) } else { (power, 1.0) };
    let mut bad = 0_u64;
    for (out, a) in out.iter_mut().zip(a) {
        let scaled = a.abs() * times / over;
        let nearest = (scaled + WHOLE) - WHOLE;
        let (whole, distance) = if rounding == Rounding::HalfAway {
            (nearest, 0.5 - (scaled - nearest).abs())
        } else {
            let floor = if nearest > scaled { nearest - 1.0 } else { nearest };
            let rest = scaled - floor;
            (floor, if rest < 1.0 - rest { rest } else { 1.0 - rest })
        };
        bad |= u64::from(near(scaled, distance) | !below(scaled, 1e15));
        *out = (whole * over / times).copysign(*a);
    }
    if bad != 0 {
        for (out, a) in out.iter_mut().zip(a) {
            let scaled = a.abs() * times / over;
            let nearest = (scaled + WHOLE) - WHOLE;
            let distance = (scaled - nearest).abs();
            let distance = if rounding == Rounding::HalfAway { 0.5 - distance } else { distance };
            if a.is_nan() {
                *out = *a;
            } else if near(scaled, distance) || scaled >= 1e15 {
                *out = exact(*a, digits);
            }
        }
    }
}

/// Add a column to a running sum.
pub(super) fn accumulate(sum: &mut [f64], a: &[f64]) {
    for (sum, a) in sum.iter_mut().zip(a) {
        *sum += a;
    }
}

/// Keep the smaller (or with `greater` the greater) of a running value and a column; tells whether any lane is no number.
pub(super) fn extreme(best: &mut [f64], a: &[f64], greater: bool) -> bool {
    let mut bad = 0_u64;
    for (best, a) in best.iter_mut().zip(a) {
        let better = if greater { *a > *best } else { *a < *best };
        *best = if better { *a } else { *best };
        bad |= u64::from(!finite(*a));
    }
    bad != 0
}

/// Whether any lane is no finite number.
pub(super) fn any_bad(a: &[f64]) -> bool {
    let mut bad = 0_u64;
    for a in a {
        bad |= u64::from(!finite(*a));
    }
    bad != 0
}
