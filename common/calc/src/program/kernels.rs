//! Loops over groups of lanes, written so that the compiler vectorises them. Each tells whether any lane is out of the
//! ordinary (an error, an infinity, numbers too near to each other to compare); such lanes then go through the definition in
//! [`scalar`](super::scalar), so that both executions agree bit for bit.

use super::lanes::{Group, Source, WIDTH};
use super::power;
use crate::number::{Rounding, WHOLE, near};

/// Marks collected over the lanes of a column: not zero once a lane was out of the ordinary.
type Marks = [u64; WIDTH];

/// The difference of a lane to itself: zero, or a NaN when it is no finite number.
#[inline(always)]
fn mark(x: f64) -> u64 {
    (x - x).to_bits()
}

#[inline(always)]
fn any(marks: &Marks) -> bool {
    marks.iter().fold(0, |all, mark| all | mark) != 0
}

/// `f` of each lane; marks by `odd` of the argument and the result.
#[inline(always)]
pub(super) fn map1(
    a: impl Source,
    out: &mut [Group],
    f: impl Fn(f64) -> f64,
    odd: impl Fn(f64, f64) -> u64,
) -> bool {
    let a = a.cut(out.len());
    let mut marks = Marks::default();
    for (g, out) in out.iter_mut().enumerate() {
        let x = a.group(g);
        for l in 0..WIDTH {
            let result = f(x[l]);
            out[l] = result;
            marks[l] |= odd(x[l], result);
        }
    }
    any(&marks)
}

/// `f` of each pair of lanes; marks by `odd` of both arguments and the result.
#[inline(always)]
pub(super) fn map2(
    a: impl Source,
    b: impl Source,
    out: &mut [Group],
    f: impl Fn(f64, f64) -> f64,
    odd: impl Fn(f64, f64, f64) -> u64,
) -> bool {
    let (a, b) = (a.cut(out.len()), b.cut(out.len()));
    let mut marks = Marks::default();
    for (g, out) in out.iter_mut().enumerate() {
        let (x, y) = (a.group(g), b.group(g));
        for l in 0..WIDTH {
            let result = f(x[l], y[l]);
            out[l] = result;
            marks[l] |= odd(x[l], y[l], result);
        }
    }
    any(&marks)
}

/// `+ − × ÷`: marks results that are not finite.
#[inline(always)]
pub(super) fn arithmetic(
    a: impl Source,
    b: impl Source,
    out: &mut [Group],
    f: impl Fn(f64, f64) -> f64,
) -> bool {
    map2(a, b, out, f, |_, _, result| mark(result))
}

/// The smaller or greater of two: marks arguments that are not finite.
#[inline(always)]
pub(super) fn extreme(a: impl Source, b: impl Source, out: &mut [Group], greater: bool) -> bool {
    let odd = |x: f64, y: f64, _| mark(x) | mark(y);
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
    out: &mut [Group],
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
pub(super) fn select(condition: impl Source, yes: impl Source, no: impl Source, out: &mut [Group]) -> bool {
    let groups = out.len();
    let (condition, yes, no) = (condition.cut(groups), yes.cut(groups), no.cut(groups));
    let mut marks = Marks::default();
    for (g, out) in out.iter_mut().enumerate() {
        let (c, yes, no) = (condition.group(g), yes.group(g), no.group(g));
        for l in 0..WIDTH {
            out[l] = if c[l] != 0.0 { yes[l] } else { no[l] };
            marks[l] |= mark(c[l]);
        }
    }
    any(&marks)
}

/// `IF(a op b, yes, no)` in one pass: marks as [`compare`].
#[inline(always)]
pub(super) fn compare_select(
    (a, b): (impl Source, impl Source),
    yes: impl Source,
    no: impl Source,
    out: &mut [Group],
    raw: impl Fn(f64, f64) -> bool,
) -> bool {
    let groups = out.len();
    let (a, b, yes, no) = (a.cut(groups), b.cut(groups), yes.cut(groups), no.cut(groups));
    let mut marks = Marks::default();
    for (g, out) in out.iter_mut().enumerate() {
        let (x, y, yes, no) = (a.group(g), b.group(g), yes.group(g), no.group(g));
        for l in 0..WIDTH {
            out[l] = if raw(x[l], y[l]) { yes[l] } else { no[l] };
            marks[l] |= u64::from(!far(x[l], y[l]) & (x[l] != y[l]));
        }
    }
    any(&marks)
}

/// Take the other column where the first is an error.
#[inline(always)]
pub(super) fn if_error(a: impl Source, otherwise: impl Source, out: &mut [Group]) {
    map2(a, otherwise, out, |x, y| if x.abs() <= f64::MAX { x } else { y }, |_, _, _| 0);
}

/// Add a column to a running sum: marks sums that are not finite.
#[inline(always)]
pub(super) fn accumulate(sum: &mut [Group], a: impl Source) -> bool {
    let a = a.cut(sum.len());
    let mut marks = Marks::default();
    for (g, sum) in sum.iter_mut().enumerate() {
        let x = a.group(g);
        for l in 0..WIDTH {
            sum[l] += x[l];
            marks[l] |= mark(sum[l]);
        }
    }
    any(&marks)
}

/// Keep the smaller or greater of a running value and a column: marks lanes that are not finite.
#[inline(always)]
pub(super) fn accumulate_extreme(best: &mut [Group], a: impl Source, greater: bool) -> bool {
    let a = a.cut(best.len());
    let mut marks = Marks::default();
    for (g, best) in best.iter_mut().enumerate() {
        let x = a.group(g);
        for l in 0..WIDTH {
            let better = if greater { x[l] > best[l] } else { x[l] < best[l] };
            best[l] = if better { x[l] } else { best[l] };
            marks[l] |= mark(x[l]);
        }
    }
    any(&marks)
}

/// Join a column of conditions to a running `AND` or `OR`: marks lanes that are not finite.
#[inline(always)]
pub(super) fn accumulate_logic(all: &mut [Group], a: impl Source, and: bool) -> bool {
    let a = a.cut(all.len());
    let mut marks = Marks::default();
    for (g, all) in all.iter_mut().enumerate() {
        let x = a.group(g);
        for l in 0..WIDTH {
            let (left, right) = (all[l] != 0.0, x[l] != 0.0);
            all[l] = if if and { left & right } else { left | right } { 1.0 } else { 0.0 };
            marks[l] |= mark(x[l]);
        }
    }
    any(&marks)
}

/// Add the products of two columns to a running sum: marks sums that are not finite.
#[inline(always)]
pub(super) fn accumulate_product(sum: &mut [Group], a: impl Source, b: impl Source) -> bool {
    let (a, b) = (a.cut(sum.len()), b.cut(sum.len()));
    let mut marks = Marks::default();
    for (g, sum) in sum.iter_mut().enumerate() {
        let (x, y) = (a.group(g), b.group(g));
        for l in 0..WIDTH {
            let product = x[l] * y[l];
            sum[l] += product;
            marks[l] |= mark(sum[l]);
        }
    }
    any(&marks)
}

/// `ROUND` to a constant number of digits: the value times `times` and over `over` is rounded. The same steps as
/// [`number::round`](crate::number::round) without its branches; marks what they cannot decide.
#[inline(always)]
pub(super) fn round_half(a: impl Source, times: f64, over: f64, out: &mut [Group]) -> bool {
    let scale = |x: f64| x.abs() * times / over;
    map1(
        a,
        out,
        |x| {
            let scaled = scale(x);
            let nearest = (scaled + WHOLE) - WHOLE;
            (nearest * over / times).copysign(x)
        },
        |x, _| {
            let scaled = scale(x);
            let nearest = (scaled + WHOLE) - WHOLE;
            let distance = 0.5 - (scaled - nearest).abs();
            u64::from(near(scaled, distance) | !below(scaled, 1e15))
        },
    )
}

/// `ROUNDDOWN` and `TRUNC` to a constant number of digits, as [`round_half`].
#[inline(always)]
pub(super) fn round_down(a: impl Source, times: f64, over: f64, out: &mut [Group]) -> bool {
    let parts = |x: f64| {
        let scaled = x.abs() * times / over;
        (scaled, whole_below(scaled))
    };
    map1(
        a,
        out,
        |x| (parts(x).1 * over / times).copysign(x),
        |x, _| {
            let (scaled, floor) = parts(x);
            let rest = scaled - floor;
            let distance = if rest < 1.0 - rest { rest } else { 1.0 - rest };
            u64::from(near(scaled, distance) | !below(scaled, 1e15))
        },
    )
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
pub(super) fn place_in_series(key: impl Source, first: f64, count: f64, missing: f64, out: &mut [Group]) {
    let place = |x: f64| {
        let at = x - first;
        // A sum without a rest is a whole number, and adding `first` again shows that subtracting it lost nothing.
        let whole = ((at + WHOLE) - WHOLE == at) & (at + first == x);
        let found = if whole & (at >= 0.0) & (at < count) { at + 1.0 } else { missing };
        if x == x { found } else { x }
    };
    map1(key, out, place, |_, _| 0);
}

/// The values of a line of numbers at one-based places. `padded` has one more value, at its beginning. Marks places that
/// lie outside or are no finite number.
#[inline(always)]
pub(super) fn pick(padded: &[f64], places: impl Source, out: &mut [Group]) -> bool {
    let places = places.cut(out.len());
    let count = padded.len() as f64;
    let mut marks = 0_u64;
    for (g, out) in out.iter_mut().enumerate() {
        let x = places.group(g);
        let mut slots = [0_u64; WIDTH];
        for l in 0..WIDTH {
            let inside = (x[l] >= 1.0) & (x[l] < count);
            let slot = if inside { whole_below(x[l]) } else { 0.0 };
            slots[l] = (slot + WHOLE).to_bits() & 0xFFFF_FFFF;
            marks |= u64::from(!inside);
        }
        for l in 0..WIDTH {
            out[l] = padded.get(slots[l] as usize).copied().unwrap_or(0.0);
        }
    }
    marks != 0
}

/// A whole power, rounded into `out`; `high + low` keeps its double length for the next of a series. Marks what is not
/// surely right.
#[inline(always)]
pub(super) fn whole_power<const FMA: bool>(
    base: impl Source,
    exponent: i32,
    high: &mut [Group],
    low: &mut [Group],
    out: &mut [Group],
) -> bool {
    let groups = out.len();
    let (base, high, low) = (base.cut(groups), &mut high[..groups], &mut low[..groups]);
    let mut marks = Marks::default();
    for (g, ((high, low), out)) in high.iter_mut().zip(low.iter_mut()).zip(out).enumerate() {
        let x = base.group(g);
        for l in 0..WIDTH {
            let (h, s) = power::whole::<FMA>(x[l], exponent);
            high[l] = h;
            low[l] = s;
            out[l] = h;
            marks[l] |= u64::from(!power::sure(h, s));
        }
    }
    any(&marks)
}

/// The next power of a series: `high + low` times the base, rounded into `out`. Marks what is not surely right.
#[inline(always)]
pub(super) fn next_power<const FMA: bool>(
    base: impl Source,
    high: &mut [Group],
    low: &mut [Group],
    out: &mut [Group],
) -> bool {
    let groups = out.len();
    let (base, high, low) = (base.cut(groups), &mut high[..groups], &mut low[..groups]);
    let mut marks = Marks::default();
    for (g, ((high, low), out)) in high.iter_mut().zip(low.iter_mut()).zip(out).enumerate() {
        let x = base.group(g);
        for l in 0..WIDTH {
            let (h, s) = power::times::<FMA>(high[l], low[l], x[l]);
            high[l] = h;
            low[l] = s;
            out[l] = h;
            marks[l] |= u64::from(!power::sure(h, s));
        }
    }
    any(&marks)
}

/// Whether any lane is no finite number.
#[inline(always)]
pub(super) fn any_odd(a: &[Group]) -> bool {
    let mut marks = Marks::default();
    for x in a {
        for l in 0..WIDTH {
            marks[l] |= mark(x[l]);
        }
    }
    any(&marks)
}
