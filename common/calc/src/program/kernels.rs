//! Loops over lanes, written so that the compiler vectorises them. Each tells whether any lane is out of the
//! ordinary (an error, an infinity, numbers too near to each other to compare); such lanes then go through the definition in
//! [`scalar`](super::scalar), so that both executions agree bit for bit.
//!
//! Every source is cut to the lanes that are written, and the loops count: so the compiler sees that no index lies outside. A
//! check that stays would keep it from using vectors, or leave it the last lanes to do one by one.

#![expect(clippy::needless_range_loop, reason = "loops that count leave no check of an index")]

use super::lanes::{Slots, Source};
use super::power;
use crate::number::{Rounding, WHOLE, near};

/// The difference of a lane to itself: zero, or a NaN when it is no finite number.
#[inline(always)]
#[expect(clippy::eq_op, reason = "the difference is not zero for an infinity or an error")]
pub(super) fn mark(x: f64) -> u64 {
    (x - x).to_bits()
}

/// `f` of each lane; marks by `odd` of the argument and the result.
#[inline(always)]
pub(super) fn map1(
    a: impl Source,
    out: &mut [f64],
    f: impl Fn(f64) -> f64,
    odd: impl Fn(f64, f64) -> u64,
) -> bool {
    let a = a.cut(out.len());
    let mut marks = 0_u64;
    for i in 0..out.len() {
        let x = a.at(i);
        let result = f(x);
        out[i] = result;
        marks |= odd(x, result);
    }
    marks != 0
}

/// `f` of each pair of lanes; marks by `odd` of both arguments and the result.
#[inline(always)]
pub(super) fn map2(
    a: impl Source,
    b: impl Source,
    out: &mut [f64],
    f: impl Fn(f64, f64) -> f64,
    odd: impl Fn(f64, f64, f64) -> u64,
) -> bool {
    let (a, b) = (a.cut(out.len()), b.cut(out.len()));
    let mut marks = 0_u64;
    for i in 0..out.len() {
        let (x, y) = (a.at(i), b.at(i));
        let result = f(x, y);
        out[i] = result;
        marks |= odd(x, y, result);
    }
    marks != 0
}

/// `+ − × ÷`: marks results that are not finite.
#[inline(always)]
pub(super) fn arithmetic(
    a: impl Source,
    b: impl Source,
    out: &mut [f64],
    f: impl Fn(f64, f64) -> f64,
) -> bool {
    map2(a, b, out, f, |_, _, result| mark(result))
}

/// The smaller or greater of two: marks arguments that are not finite.
#[inline(always)]
pub(super) fn extreme(a: impl Source, b: impl Source, out: &mut [f64], greater: bool) -> bool {
    // The difference of two finite numbers may be infinite, which costs no more than a second look.
    let odd = |x: f64, y: f64, _| mark(x - y);
    if greater {
        map2(a, b, out, |x, y| if y > x { y } else { x }, odd)
    } else {
        map2(a, b, out, |x, y| if y < x { y } else { x }, odd)
    }
}

/// A comparison: marks lanes that are too near for a plain comparison, or not two numbers.
#[inline(always)]
pub(super) fn compare(
    a: impl Source,
    b: impl Source,
    out: &mut [f64],
    raw: impl Fn(f64, f64) -> bool,
) -> bool {
    let value = |x: f64, y: f64| if raw(x, y) { 1.0 } else { 0.0 };
    map2(a, b, out, value, |x, y, _| u64::from(!far(x, y) & (x != y)))
}

/// Whether two numbers are so far apart that a plain comparison decides; false for NaN.
#[inline(always)]
fn far(x: f64, y: f64) -> bool {
    (x - y).abs() > x.abs() * 1e-14
}

/// `IF`: marks conditions that are not finite.
#[inline(always)]
pub(super) fn select(condition: impl Source, yes: impl Source, no: impl Source, out: &mut [f64]) -> bool {
    let groups = out.len();
    let (condition, yes, no) = (condition.cut(groups), yes.cut(groups), no.cut(groups));
    let mut marks = 0_u64;
    for i in 0..out.len() {
        let (c, yes, no) = (condition.at(i), yes.at(i), no.at(i));
        out[i] = if c != 0.0 { yes } else { no };
        marks |= mark(c);
    }
    marks != 0
}

/// `IF(a op b, yes, no)` in one pass: marks as [`compare`].
#[inline(always)]
pub(super) fn compare_select(
    (a, b): (impl Source, impl Source),
    yes: impl Source,
    no: impl Source,
    out: &mut [f64],
    raw: impl Fn(f64, f64) -> bool,
) -> bool {
    let groups = out.len();
    let (a, b, yes, no) = (a.cut(groups), b.cut(groups), yes.cut(groups), no.cut(groups));
    let mut marks = 0_u64;
    for i in 0..out.len() {
        let (x, y, yes, no) = (a.at(i), b.at(i), yes.at(i), no.at(i));
        out[i] = if raw(x, y) { yes } else { no };
        marks |= u64::from(!far(x, y) & (x != y));
    }
    marks != 0
}

/// Take the other column where the first is an error.
#[inline(always)]
pub(super) fn if_error(a: impl Source, otherwise: impl Source, out: &mut [f64]) {
    map2(a, otherwise, out, |x, y| if x.abs() <= f64::MAX { x } else { y }, |_, _, _| 0);
}

/// Add a column to a running sum: marks sums that are not finite.
#[inline(always)]
pub(super) fn accumulate(sum: &mut [f64], a: impl Source) -> bool {
    let a = a.cut(sum.len());
    let mut marks = 0_u64;
    for i in 0..sum.len() {
        let x = a.at(i);
        sum[i] += x;
        marks |= mark(sum[i]);
    }
    marks != 0
}

/// Add four columns to a running sum, one after the other: marks sums that are not finite.
#[inline(always)]
pub(super) fn accumulate_four([a, b, c, d]: [&[f64]; 4], sum: &mut [f64]) -> bool {
    let lanes = sum.len();
    let (a, b, c, d) = (a.cut(lanes), b.cut(lanes), c.cut(lanes), d.cut(lanes));
    let mut marks = 0_u64;
    for i in 0..sum.len() {
        sum[i] = (((sum[i] + a[i]) + b[i]) + c[i]) + d[i];
        marks |= mark(sum[i]);
    }
    marks != 0
}

/// Keep the smaller or greater of a running value and a column: marks lanes that are not finite.
#[inline(always)]
pub(super) fn accumulate_extreme(best: &mut [f64], a: impl Source, greater: bool) -> bool {
    let a = a.cut(best.len());
    let mut marks = 0_u64;
    for i in 0..best.len() {
        let x = a.at(i);
        let better = if greater { x > best[i] } else { x < best[i] };
        best[i] = if better { x } else { best[i] };
        marks |= mark(x);
    }
    marks != 0
}

/// Join a column of conditions to a running `AND` or `OR`: marks lanes that are not finite.
#[inline(always)]
pub(super) fn accumulate_logic(all: &mut [f64], a: impl Source, and: bool) -> bool {
    let a = a.cut(all.len());
    let mut marks = 0_u64;
    for i in 0..all.len() {
        let x = a.at(i);
        let (left, right) = (all[i] != 0.0, x != 0.0);
        all[i] = if if and { left & right } else { left | right } { 1.0 } else { 0.0 };
        marks |= mark(x);
    }
    marks != 0
}

/// Add the products of two columns to a running sum: marks sums that are not finite.
#[inline(always)]
pub(super) fn accumulate_product(sum: &mut [f64], a: impl Source, b: impl Source) -> bool {
    let (a, b) = (a.cut(sum.len()), b.cut(sum.len()));
    let mut marks = 0_u64;
    for i in 0..sum.len() {
        let (x, y) = (a.at(i), b.at(i));
        let product = x * y;
        sum[i] += product;
        marks |= mark(sum[i]);
    }
    marks != 0
}

/// `ROUND` to a constant number of digits, `power` being ten to that number without its sign. The same steps as
/// [`number::round`](crate::number::round) without its branches; marks what they cannot decide.
#[inline(always)]
pub(super) fn round_half(a: impl Source, power: f64, behind: bool, out: &mut [f64]) -> bool {
    let nearest = |scaled: f64| (scaled + WHOLE) - WHOLE;
    let odd = |scaled: f64| u64::from(half_is_doubtful(scaled));
    if behind {
        map1(a, out, |x| (nearest(x.abs() * power) / power).copysign(x), |x, _| odd(x.abs() * power))
    } else {
        map1(a, out, |x| (nearest(x.abs() / power) * power).copysign(x), |x, _| odd(x.abs() / power))
    }
}

/// `ROUNDDOWN` and `TRUNC` to a constant number of digits, as [`round_half`].
#[inline(always)]
pub(super) fn round_down(a: impl Source, power: f64, behind: bool, out: &mut [f64]) -> bool {
    let odd = |scaled: f64| u64::from(cut_is_doubtful(scaled));
    if behind {
        map1(a, out, |x| (whole_below(x.abs() * power) / power).copysign(x), |x, _| odd(x.abs() * power))
    } else {
        map1(a, out, |x| (whole_below(x.abs() / power) * power).copysign(x), |x, _| odd(x.abs() / power))
    }
}

/// `INT`: marks numbers so near below a whole number that only their decimal digits decide, and what is beyond all fractions.
#[inline(always)]
pub(super) fn floor(a: impl Source, out: &mut [f64]) -> bool {
    map1(a, out, signed_whole_below, |x, floor| {
        u64::from(!below(x.abs(), 1e15) | near(x.abs(), 1.0 - (x - floor)))
    })
}

/// Whether plain arithmetic cannot tell the whole number below a number.
pub(super) fn floor_is_doubtful(x: f64) -> bool {
    !below(x.abs(), 1e15) || near(x.abs(), 1.0 - (x - signed_whole_below(x)))
}

/// The whole number below a number of less than 2^51, whatever its sign.
#[inline(always)]
fn signed_whole_below(x: f64) -> f64 {
    const SHIFT: f64 = 1.5 * WHOLE;
    let nearest = (x + SHIFT) - SHIFT;
    if nearest > x { nearest - 1.0 } else { nearest }
}

/// Whether plain arithmetic cannot tell to which side a scaled number rounds.
pub(super) fn round_is_doubtful(scaled: f64, rounding: Rounding) -> bool {
    if rounding == Rounding::HalfAway { half_is_doubtful(scaled) } else { cut_is_doubtful(scaled) }
}

#[inline(always)]
fn half_is_doubtful(scaled: f64) -> bool {
    let nearest = (scaled + WHOLE) - WHOLE;
    near(scaled, 0.5 - (scaled - nearest).abs()) | !below(scaled, 1e15)
}

#[inline(always)]
fn cut_is_doubtful(scaled: f64) -> bool {
    let rest = scaled - whole_below(scaled);
    near(scaled, if rest < 1.0 - rest { rest } else { 1.0 - rest }) | !below(scaled, 1e15)
}

/// The whole number below a number from 0 to 2^52, by arithmetic that every processor vectorises.
#[inline(always)]
fn whole_below(x: f64) -> f64 {
    let nearest = (x + WHOLE) - WHOLE;
    if nearest > x { nearest - 1.0 } else { nearest }
}

/// Whether a number is below a bound; false for NaN.
#[inline(always)]
fn below(x: f64, bound: f64) -> bool {
    x < bound
}

/// Which form of a rounding fits: numbers with few digits take the plain loop.
pub(super) fn rounds_plainly(digits: f64, rounding: Rounding) -> bool {
    (-22.0..=22.0).contains(&digits) && rounding != Rounding::Up
}

/// The one-based place of a key in whole numbers that rise by one from `first`; `missing` where there is none. Errors stay.
#[inline(always)]
pub(super) fn place_in_series(key: impl Source, first: f64, count: f64, missing: f64, out: &mut [f64]) {
    let place = |x: f64| {
        let at = x - first;
        // A sum without a rest is a whole number, and adding `first` again shows that subtracting it lost nothing.
        let whole = ((at + WHOLE) - WHOLE == at) & (at + first == x);
        let found = if whole & (at >= 0.0) & (at < count) { at + 1.0 } else { missing };
        if x.is_nan() { x } else { found }
    };
    map1(key, out, place, |_, _| 0);
}

/// One-based places as slots of a short table of `count` values; 0 where a place lies outside or is no number. Tells whether
/// all lie inside.
#[inline(always)]
pub(super) fn slots(places: &[f64], count: f64, out: &mut Slots) -> bool {
    let end = count + 1.0;
    let mut outside = 0_u64;
    for (x, slot) in places.iter().zip(out) {
        let inside = (*x >= 1.0) & (*x < end);
        *slot = ((if inside { whole_below(*x) } else { 0.0 }) + WHOLE).to_bits() as u8;
        outside |= u64::from(!inside);
    }
    outside == 0
}

/// A whole power, rounded into `out`; `high + low` keeps its double length for the next of a series. Marks what is not
/// surely right.
#[inline(always)]
pub(super) fn whole_power<const FMA: bool>(
    base: impl Source,
    exponent: i32,
    high: &mut [f64],
    low: &mut [f64],
    out: &mut [f64],
) -> bool {
    let (base, high, low) = (base.cut(out.len()), &mut high[..out.len()], &mut low[..out.len()]);
    let mut marks = 0_u64;
    for i in 0..out.len() {
        let (h, l) = power::whole::<FMA>(base.at(i), exponent);
        high[i] = h;
        low[i] = l;
        out[i] = h;
        marks |= u64::from(!power::sure(h, l));
    }
    marks != 0
}

/// The next power of a series: `high + low` times the base, rounded into `out`. Marks what is not surely right.
#[inline(always)]
pub(super) fn next_power<const FMA: bool>(
    base: impl Source,
    high: &mut [f64],
    low: &mut [f64],
    out: &mut [f64],
) -> bool {
    let (base, high, low) = (base.cut(out.len()), &mut high[..out.len()], &mut low[..out.len()]);
    let mut marks = 0_u64;
    for i in 0..out.len() {
        let (h, l) = power::times::<FMA>(high[i], low[i], base.at(i));
        high[i] = h;
        low[i] = l;
        out[i] = h;
        marks |= u64::from(!power::sure(h, l));
    }
    marks != 0
}

/// Whether any lane is no finite number.
#[inline(always)]
pub(super) fn any_odd(a: &[f64]) -> bool {
    let mut marks = 0_u64;
    for x in a {
        marks |= mark(*x);
    }
    marks != 0
}
