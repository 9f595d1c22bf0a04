//! Whole powers, correctly rounded: the same bits however they are computed.
//!
//! A power is computed as an unevaluated sum of two doubles, about 100 bits. Unless the true value lies so near to the middle
//! between two doubles that those bits cannot tell its side, rounding the sum rounds the true value; if it does, whole-number
//! arithmetic decides. So a power by repeated squaring, and one that takes the previous power of a series times the base, have
//! the same bits.

use num_bigint::BigUint;

/// The greatest exponent, without its sign, that is computed this way.
pub(crate) const MOST: i32 = 1024;
/// Far more than the relative error of any sum here: less than 2^-99 for each of at most 1024 steps.
const DOUBT: f64 = 1.0 / (1_u64 << 42) as f64 / (1_u64 << 42) as f64;
/// Within these bounds neither a product nor its rest overflows or loses bits.
const SMALL: f64 = 1e-240;
const LARGE: f64 = 1e240;

/// The rest of a rounded product, exactly. Both ways give the same bits where nothing overflows or vanishes.
#[inline(always)]
fn rest<const FMA: bool>(a: f64, b: f64, product: f64) -> f64 {
    if FMA {
        return a.mul_add(b, -product);
    }
    const SPLIT: f64 = 134_217_729.0;
    let (x, y) = (a * SPLIT, b * SPLIT);
    let (a1, b1) = (x - (x - a), y - (y - b));
    let (a2, b2) = (a - a1, b - b1);
    ((a1 * b1 - product) + a1 * b2 + a2 * b1) + a2 * b2
}

/// A sum of two doubles, times a double.
#[inline(always)]
pub(super) fn times<const FMA: bool>(high: f64, low: f64, b: f64) -> (f64, f64) {
    let product = high * b;
    let tail = low * b + rest::<FMA>(high, b, product);
    let sum = product + tail;
    (sum, tail - (sum - product))
}

/// Whether `high`, the rounded sum, is surely the rounded true value.
#[inline(always)]
pub(super) fn sure(high: f64, low: f64) -> bool {
    let size = high.abs();
    let doubt = size * DOUBT;
    (high + (low + doubt) == high) & (high + (low - doubt) == high) & (size > SMALL) & (size < LARGE)
}

/// A sum of two doubles, squared.
#[inline(always)]
fn square<const FMA: bool>(high: f64, low: f64) -> (f64, f64) {
    let product = high * high;
    let tail = 2.0 * (high * low) + rest::<FMA>(high, high, product);
    let sum = product + tail;
    (sum, tail - (sum - product))
}

/// One over a sum of two doubles.
#[inline(always)]
fn inverse<const FMA: bool>(high: f64, low: f64) -> (f64, f64) {
    let first = 1.0 / high;
    let product = first * high;
    let left = ((1.0 - product) - rest::<FMA>(first, high, product)) - first * low;
    let second = left / high;
    let sum = first + second;
    (sum, second - (sum - first))
}

/// A whole power as a sum of two doubles, by repeated squaring. Where it is [`sure`], nothing on the way overflowed or
/// vanished: the powers on the way to a power lie between it and 1.
#[inline(always)]
pub(super) fn whole<const FMA: bool>(x: f64, exponent: i32) -> (f64, f64) {
    let size = exponent.unsigned_abs();
    let (mut high, mut low) = (1.0, 0.0);
    for bit in (0..32 - size.leading_zeros()).rev() {
        (high, low) = square::<FMA>(high, low);
        if size >> bit & 1 == 1 {
            (high, low) = times::<FMA>(high, low, x);
        }
    }
    if exponent < 0 { inverse::<FMA>(high, low) } else { (high, low) }
}

/// A finite number to a whole power of at most [`MOST`], correctly rounded; infinite beyond the range of numbers. Zero takes
/// no negative power.
pub(crate) fn whole_power(x: f64, exponent: i32) -> f64 {
    if x == 0.0 {
        return if exponent == 0 { 1.0 } else { 0.0 };
    }
    let (high, low) = whole::<false>(x, exponent);
    if sure(high, low) { high } else { exact_power(x, exponent) }
}

/// The same by whole numbers: slow, and right for every number.
fn exact_power(x: f64, exponent: i32) -> f64 {
    let bits = x.to_bits();
    let field = (bits >> 52 & 0x7FF) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let mantissa = if field == 0 { fraction } else { fraction | 1 << 52 };
    let zeros = mantissa.trailing_zeros();
    // |x| = mantissa × 2^scale with an odd mantissa.
    let (mantissa, scale) = (mantissa >> zeros, field.max(1) - 1075 + zeros as i32);
    let power = BigUint::from(mantissa).pow(exponent.unsigned_abs());
    let negative = x < 0.0 && exponent % 2 != 0;
    let size = if exponent >= 0 {
        rounded(&power, i64::from(scale) * i64::from(exponent), false)
    } else {
        // Enough bits of the quotient to round by, and whether anything is left.
        let shift = power.bits() + 128;
        let quotient = (BigUint::from(1_u8) << shift) / &power;
        let left = power != BigUint::from(1_u8);
        rounded(&quotient, i64::from(scale) * i64::from(exponent) - shift as i64, left)
    };
    if negative { -size } else { size }
}

/// The double nearest to `whole × 2^scale`, ties to even; `more` when the true value is a little greater.
fn rounded(whole: &BigUint, scale: i64, more: bool) -> f64 {
    let length = whole.bits() as i64;
    // The place of the last bit that a double of this size keeps.
    let last = (length - 53).max(-1074 - scale);
    if last > length {
        return 0.0;
    }
    let (kept, up) = if last <= 0 {
        (whole << last.unsigned_abs(), false)
    } else {
        let kept = whole >> last.unsigned_abs();
        let half = whole.bit(last.unsigned_abs() - 1);
        let below = more || whole.trailing_zeros().is_some_and(|zeros| (zeros as i64) < last - 1);
        (kept.clone(), half && (below || kept.bit(0)))
    };
    let kept = kept.iter_u64_digits().next().unwrap_or(0) + u64::from(up);
    // Both factors are exact, and so is each product but one that overflows.
    let mut result = kept as f64;
    let mut scale = scale + last;
    while scale > 1000 && result.is_finite() {
        result *= 2_f64.powi(1000);
        scale -= 1000;
    }
    while scale < -1000 {
        result *= 2_f64.powi(-1000);
        scale += 1000;
    }
    result * 2_f64.powi(i32::try_from(scale).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> impl Strategy<Value = f64> {
        prop_oneof![
            0.5..2.0_f64,
            -3.0..3.0_f64,
            1e-3..1e3_f64,
            (1_i32..2000).prop_map(|n| 1.0 + f64::from(n) / 12_000.0),
            (-40_i32..40).prop_map(|n| f64::from(n) / 8.0),
            any::<f64>(),
        ]
        .prop_filter("finite and not zero", |x| x.is_finite() && *x != 0.0)
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn both_ways_agree(x in base(), exponent in -1024..=1024_i32) {
            prop_assert_eq!(whole_power(x, exponent).to_bits(), exact_power(x, exponent).to_bits());
        }

        #[test]
        fn a_series_agrees(x in base()) {
            let (mut high, mut low) = (x, 0.0);
            for exponent in 2..=300 {
                (high, low) = times::<false>(high, low, x);
                let fused = times::<true>(high, low, x);
                if sure(high, low) {
                    prop_assert_eq!(high.to_bits(), exact_power(x, exponent).to_bits(), "{}^{}", x, exponent);
                    let plain = times::<false>(high, low, x);
                    if sure(plain.0, plain.1) {
                        prop_assert_eq!(fused, plain);
                    }
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_round_right() {
        assert_eq!(exact_power(2.0, -1074), f64::from_bits(1));
        assert_eq!(exact_power(2.0, 1023), 2_f64.powi(1023));
        assert_eq!(whole_power(10.0, 308), 1e308);
        assert_eq!(whole_power(10.0, 309), f64::INFINITY);
        assert_eq!(whole_power(10.0, -320), 1e-320);
        assert_eq!(whole_power(0.1, 400), 0.0);
        assert_eq!(whole_power(-3.0, 33), -5_559_060_566_555_523.0);
        // 3^34 lies exactly in the middle between two doubles.
        assert_eq!(whole_power(3.0, 34), 16_677_181_699_666_569_f64);
    }
}
