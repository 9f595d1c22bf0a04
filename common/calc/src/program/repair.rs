//! The lanes that a loop could not decide, one by one, by the definition in [`scalar`].

use super::lanes::{Bank, Num};
use super::power::sure;
use super::steps::Two;
use super::{kernels, scalar};
use crate::formula::Binary;
use crate::number::{self, POWERS, Rounding};
use crate::value::ErrorValue;

#[cold]
#[inline(never)]
pub(super) fn floor(bank: &Bank, a: Num, out: &mut [f64]) {
    for (i, out) in out.iter_mut().enumerate() {
        let x = bank.lane(a, i);
        if kernels::floor_is_doubtful(x) {
            *out = if x.is_nan() { x } else { number::floor(x) };
        }
    }
}

#[cold]
#[inline(never)]
pub(super) fn two(bank: &Bank, op: Two, a: Num, b: Num, out: &mut [f64]) {
    let exact = match op {
        Two::Add => scalar::add,
        Two::Subtract => scalar::subtract,
        Two::Multiply => scalar::multiply,
        Two::Divide => scalar::divide,
        Two::Min => |a: f64, b: f64| first_error(a, b).unwrap_or(if b < a { b } else { a }),
        Two::Max => |a: f64, b: f64| first_error(a, b).unwrap_or(if b > a { b } else { a }),
    };
    for (i, out) in out.iter_mut().enumerate() {
        let (a, b) = (bank.lane(a, i), bank.lane(b, i));
        if !(out.is_finite() && a.is_finite() && b.is_finite()) {
            *out = exact(a, b);
        }
    }
}

fn first_error(a: f64, b: f64) -> Option<f64> {
    [a, b].into_iter().find(|x| x.is_nan())
}

#[cold]
#[inline(never)]
pub(super) fn compare(bank: &Bank, op: Binary, a: Num, b: Num, out: &mut [f64]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = scalar::compare(op, bank.lane(a, i), bank.lane(b, i));
    }
}

#[cold]
#[inline(never)]
pub(super) fn compare_select(bank: &Bank, op: Binary, [a, b, yes, no]: [Num; 4], out: &mut [f64]) {
    for (i, out) in out.iter_mut().enumerate() {
        let condition = scalar::compare(op, bank.lane(a, i), bank.lane(b, i));
        *out = if condition.is_nan() {
            condition
        } else {
            bank.lane(if condition != 0.0 { yes } else { no }, i)
        };
    }
}

#[cold]
#[inline(never)]
pub(super) fn select(bank: &Bank, condition: Num, out: &mut [f64]) {
    for (i, out) in out.iter_mut().enumerate() {
        let condition = bank.lane(condition, i);
        if condition.is_nan() {
            *out = condition;
        }
    }
}

#[cold]
#[inline(never)]
pub(super) fn power(x: &[f64], exponent: i32, high: &[f64], low: &[f64], out: &mut [f64]) {
    let lanes = x.iter().zip(high.iter()).zip(low.iter());
    for (((x, high), low), out) in lanes.zip(out) {
        if !sure(*high, *low) {
            *out = scalar::power(*x, f64::from(exponent));
        }
    }
}

#[cold]
#[inline(never)]
pub(super) fn round(bank: &Bank, a: Num, digits: f64, rounding: Rounding, out: &mut [f64]) {
    let exact = match rounding {
        Rounding::HalfAway => number::round,
        Rounding::Up => number::round_up,
        Rounding::Down => number::round_down,
    };
    let power = POWERS[digits.abs() as usize];
    for (i, out) in out.iter_mut().enumerate() {
        let x = bank.lane(a, i);
        let scaled = if digits < 0.0 { x.abs() / power } else { x.abs() * power };
        if kernels::round_is_doubtful(scaled, rounding) {
            *out = if x.is_nan() { x } else { exact(x, digits) };
        }
    }
}

#[cold]
#[inline(never)]
pub(super) fn sqrt(bank: &Bank, a: Num, out: &mut [f64]) {
    for (i, out) in out.iter_mut().enumerate() {
        let x = bank.lane(a, i);
        if !out.is_finite() {
            *out = if x.is_nan() { x } else { number::error(ErrorValue::Num) };
        }
    }
}
