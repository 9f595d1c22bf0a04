//! Sums without rounding: fixed point wide enough for every double, so that neither order nor grouping can change a total.

use super::codec::{Broken, Reader, put};

/// Bits of a digit.
const DIGIT: i32 = 32;
/// Additions after which the digits are carried: each adds less than 2^34 to a digit of 63 bits.
const CARRY_AFTER: u32 = 1 << 28;

/// A sum of doubles: 2^-1074 to 2^1024, and room for 2^64 addends.
pub(super) type Sum = Exact<-1074, 70>;
/// A sum of squares of doubles.
pub(super) type Squares = Exact<-2148, 137>;

/// A sum of multiples of 2^`LOW`, exact. `DIGITS` digits of 32 bits; carries are put off.
#[derive(Debug, Clone)]
pub(super) struct Exact<const LOW: i32, const DIGITS: usize> {
    digits: [i64; DIGITS],
    pending: u32,
}

impl<const LOW: i32, const DIGITS: usize> Default for Exact<LOW, DIGITS> {
    fn default() -> Self {
        Self { digits: [0; DIGITS], pending: 0 }
    }
}

/// The mantissa, exponent and sign of a finite double: `x = ±mantissa × 2^exponent`.
fn parts(x: f64) -> (u64, i32, bool) {
    let bits = x.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let exponent = ((bits >> 52) & 0x7FF) as i32;
    let negative = bits >> 63 == 1;
    if exponent == 0 {
        (fraction, -1074, negative)
    } else {
        (fraction | (1 << 52), exponent - 1075, negative)
    }
}

impl Sum {
    /// Adds a finite number.
    pub(super) fn add(&mut self, x: f64) {
        let (mantissa, exponent, negative) = parts(x);
        self.add_scaled(u128::from(mantissa), exponent, negative);
    }
}

impl Squares {
    /// Adds the square of a finite number.
    pub(super) fn add_square(&mut self, x: f64) {
        let (mantissa, exponent, _) = parts(x);
        let mantissa = u128::from(mantissa);
        self.add_scaled(mantissa * mantissa, 2 * exponent, false);
    }
}

impl<const LOW: i32, const DIGITS: usize> Exact<LOW, DIGITS> {
    fn add_scaled(&mut self, mut mantissa: u128, exponent: i32, negative: bool) {
        if mantissa == 0 {
            return;
        }
        let shift = (exponent - LOW).unsigned_abs();
        let (first, bit) = ((shift / 32) as usize, shift % 32);
        let mut at = first;
        while mantissa != 0 {
            #[expect(clippy::cast_possible_truncation, reason = "the low digit is what is wanted")]
            let piece = u64::from(mantissa as u32) << bit;
            let (low, high) = ((piece & 0xFFFF_FFFF).cast_signed(), (piece >> 32).cast_signed());
            for (place, part) in [(at, low), (at + 1, high)] {
                if let Some(digit) = self.digits.get_mut(place) {
                    *digit += if negative { -part } else { part };
                }
            }
            mantissa >>= 32;
            at += 1;
        }
        self.pending += 1;
        if self.pending >= CARRY_AFTER {
            self.carry();
        }
    }

    /// Brings every digit but the last into 0..2^32; the last one carries the sign.
    fn carry(&mut self) {
        let mut carry = 0_i64;
        let last = DIGITS - 1;
        for (place, digit) in self.digits.iter_mut().enumerate() {
            *digit += carry;
            carry = 0;
            if place < last {
                carry = *digit >> DIGIT;
                *digit &= 0xFFFF_FFFF;
            }
        }
        self.pending = 1;
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        other.carry();
        self.carry();
        for (digit, more) in self.digits.iter_mut().zip(other.digits) {
            *digit += more;
        }
        self.pending += 1;
    }

    /// The sign and the digits of the absolute value.
    pub(super) fn magnitude(&self) -> (bool, Vec<u32>) {
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.digits.last().is_some_and(|digit| *digit < 0);
        if negative {
            for digit in &mut sum.digits {
                *digit = -*digit;
            }
            sum.carry();
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "carried digits have 32 bits"
        )]
        let digits = sum.digits.iter().map(|digit| *digit as u32).collect();
        (negative, digits)
    }

    /// The nearest double; infinite when the sum is beyond the doubles.
    pub(super) fn value(&self) -> f64 {
        let (negative, digits) = self.magnitude();
        let value = nearest(&digits, LOW);
        if negative { -value } else { value }
    }

    /// The nearest double to the sum divided by `count`, which is not 0.
    pub(super) fn mean(&self, count: u64) -> f64 {
        let (negative, mut digits) = self.magnitude();
        let low = make_room(&mut digits, LOW);
        divide(&mut digits, count);
        let value = nearest(&digits, low);
        if negative { -value } else { value }
    }

    /// Appends the sum: its sign, where its digits begin, how many there are, the digits.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (negative, digits) = self.magnitude();
        let first = digits.iter().position(|digit| *digit != 0).unwrap_or(0);
        let end = digits.iter().rposition(|digit| *digit != 0).map_or(first, |last| last + 1);
        put(out, u64::from(negative));
        put(out, first as u64);
        put(out, (end - first) as u64);
        for digit in digits.get(first..end).unwrap_or_default() {
            out.extend_from_slice(&digit.to_le_bytes());
        }
    }

    /// Reads what [`Self::encode`] wrote.
    pub(super) fn decode(bytes: &mut Reader<'_>) -> Result<Self, Broken> {
        let negative = bytes.number()? != 0;
        let (first, count) = (bytes.count(DIGITS)?, bytes.count(DIGITS)?);
        let mut sum = Self::default();
        for place in first..first + count {
            let digit = i64::from(u32::from_le_bytes(bytes.take()?));
            *sum.digits.get_mut(place).ok_or(Broken)? = if negative { -digit } else { digit };
        }
        sum.carry();
        Ok(sum)
    }
}

/// The sample variance: `(n Σx² − (Σx)²) / (n (n − 1))`, computed without rounding and rounded once. `count` is at least 2.
pub(super) fn variance(sum: &Sum, squares: &Squares, count: u64) -> f64 {
    let (_, sum) = sum.magnitude();
    let (_, squares) = squares.magnitude();
    // Both products are multiples of 2^-2148.
    let mut first = multiply(&squares, &[low_digit(count), low_digit(count >> 32)]);
    let second = multiply(&sum, &sum);
    first.resize(first.len().max(second.len()), 0);
    let mut borrow = false;
    for (place, digit) in first.iter_mut().enumerate() {
        let (rest, lent) = digit.overflowing_sub(second.get(place).copied().unwrap_or(0));
        let (rest, lent_again) = rest.overflowing_sub(u32::from(borrow));
        *digit = rest;
        borrow = lent || lent_again;
    }
    let low = make_room(&mut first, -2148);
    divide(&mut first, count);
    let low = low + make_room(&mut first, 0);
    divide(&mut first, count - 1);
    nearest(&first, low)
}

#[expect(clippy::cast_possible_truncation, reason = "the low digit is what is wanted")]
const fn low_digit(number: u64) -> u32 {
    number as u32
}

/// Makes the digits finer, so that a quotient has all digits that rounding needs. Answers the new lowest exponent.
fn make_room(digits: &mut Vec<u32>, low: i32) -> i32 {
    digits.splice(0..0, [0; 5]);
    low - 5 * DIGIT
}

fn multiply(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut product = vec![0_u32; a.len() + b.len()];
    for (at, x) in a.iter().enumerate().filter(|(_, x)| **x != 0) {
        let mut carry = 0_u64;
        for (place, y) in product.iter_mut().skip(at).zip(b.iter().chain(std::iter::repeat(&0))) {
            let sum = u64::from(*place) + u64::from(*x) * u64::from(*y) + carry;
            *place = low_digit(sum);
            carry = sum >> 32;
        }
    }
    product
}

/// Divides in place; a remainder is told by the lowest bit, far below what rounding keeps.
fn divide(digits: &mut [u32], by: u64) {
    let mut rest = 0_u128;
    for digit in digits.iter_mut().rev() {
        let dividend = (rest << 32) | u128::from(*digit);
        #[expect(clippy::cast_possible_truncation, reason = "the remainder is less than the divisor")]
        let quotient = (dividend / u128::from(by)) as u32;
        *digit = quotient;
        rest = dividend % u128::from(by);
    }
    if rest != 0
        && let Some(lowest) = digits.first_mut()
    {
        *lowest |= 1;
    }
}

/// The double nearest to `digits × 2^low`, ties to even.
fn nearest(digits: &[u32], low: i32) -> f64 {
    let Some(top) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
    let bit = |at: i64| -> bool {
        usize::try_from(at / 32)
            .ok()
            .filter(|_| at >= 0)
            .and_then(|place| digits.get(place))
            .is_some_and(|digit| digit >> (at % 32) & 1 == 1)
    };
    let leading = digits.get(top).map_or(0, |digit| digit.leading_zeros());
    let highest = top as i64 * 32 + 31 - i64::from(leading);
    // The lowest bit that a double of this size keeps.
    let lowest = (highest - 52).max(-1074 - i64::from(low));
    let mut mantissa = 0_u64;
    for at in (lowest..=highest).rev() {
        mantissa = mantissa << 1 | u64::from(bit(at));
    }
    let half = bit(lowest - 1);
    let below = half && (0..lowest - 1).any(bit);
    if half && (below || mantissa & 1 == 1) {
        mantissa += 1;
    }
    let exponent = i32::try_from(lowest + i64::from(low)).unwrap_or(i32::MAX);
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53, exact")]
    let mantissa = mantissa as f64;
    // Exact: the bits were chosen so that they fit, unless the number is beyond the doubles.
    libm::ldexp(mantissa, exponent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn sum(numbers: &[f64]) -> Sum {
        let mut sum = Sum::default();
        for number in numbers {
            sum.add(*number);
        }
        sum
    }

    fn squares(numbers: &[f64]) -> Squares {
        let mut sum = Squares::default();
        for number in numbers {
            sum.add_square(*number);
        }
        sum
    }

    fn bits(sum: &Sum) -> Vec<u8> {
        let mut out = Vec::new();
        sum.encode(&mut out);
        out
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the nearest double is one number")]
    fn rounds_once_and_loses_nothing() {
        for (numbers, total) in [
            (vec![], 0.0),
            (vec![0.1, 0.2], 0.300_000_000_000_000_04),
            // Ten times 0.1 as doubles is a little more than 1, less than half a step away.
            (vec![0.1; 10], 1.0),
            (vec![1e308, 1e308, -1e308, -1e308, 1.5], 1.5),
            (vec![1e16, 1.0, -1e16], 1.0),
            (vec![1e308, 1e308], f64::INFINITY),
            (vec![f64::MAX, -f64::MAX, -5e-324], -5e-324),
            (vec![5e-324; 3], 1.5e-323),
            // A tie goes to the even neighbour; the smallest addend decides it otherwise.
            (vec![9_007_199_254_740_992.0, 1.0], 9_007_199_254_740_992.0),
            (vec![9_007_199_254_740_992.0, 1.0, 5e-324], 9_007_199_254_740_994.0),
            (vec![-1.0, -2.0], -3.0),
            (vec![f64::MIN_POSITIVE / 2.0, f64::MIN_POSITIVE / 2.0], f64::MIN_POSITIVE),
        ] {
            assert_eq!(sum(&numbers).value(), total, "{numbers:?}");
        }
        assert_eq!(sum(&[1.0, 1.0, 2.0]).mean(3), 4.0 / 3.0);
        assert_eq!(sum(&[-1.0, -1.0]).mean(3), -2.0 / 3.0);
        assert_eq!(variance(&sum(&[2.0, 4.0, 9.0]), &squares(&[2.0, 4.0, 9.0]), 3), 13.0);
        assert_eq!(variance(&sum(&[0.1; 3]), &squares(&[0.1; 3]), 3), 0.0, "equal numbers do not vary");
        let shifted = [1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0];
        assert_eq!(variance(&sum(&shifted), &squares(&shifted), 4), 30.0, "no cancellation");
        assert_eq!(variance(&sum(&[1e300, -1e300]), &squares(&[1e300, -1e300]), 2), f64::INFINITY);
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn order_and_grouping_do_not_matter(
            numbers in prop::collection::vec(prop::num::f64::ANY.prop_filter("finite", |x| x.is_finite()), 0..40),
            cut in any::<prop::sample::Index>(),
            turn in any::<prop::sample::Index>(),
        ) {
            let whole = sum(&numbers);
            let at = if numbers.is_empty() { 0 } else { cut.index(numbers.len()) };
            let (left, right) = numbers.split_at(at);
            let (mut a, mut b) = (sum(left), sum(right));
            let (a0, b0) = (a.clone(), b.clone());
            a.merge(&b0);
            b.merge(&a0);
            prop_assert_eq!(bits(&whole), bits(&a));
            prop_assert_eq!(bits(&whole), bits(&b));
            let mut turned = numbers.clone();
            if !turned.is_empty() {
                let by = turn.index(turned.len());
                turned.rotate_left(by);
            }
            prop_assert_eq!(bits(&whole), bits(&sum(&turned)));
            let encoded = bits(&whole);
            let decoded = Sum::decode(&mut Reader::new(&encoded)).unwrap();
            prop_assert_eq!(encoded, bits(&decoded));
        }

        #[test]
        #[expect(clippy::cast_precision_loss, reason = "small enough to be exact")]
        fn agrees_with_whole_numbers(numbers in prop::collection::vec(-(1_i64 << 52)..(1_i64 << 52), 1..50)) {
            let total: i128 = numbers.iter().map(|n| i128::from(*n)).sum();
            let doubles: Vec<f64> = numbers.iter().map(|n| *n as f64).collect();
            prop_assert_eq!(sum(&doubles).value(), total as f64);
            let negated: Vec<f64> = doubles.iter().map(|x| -x).collect();
            prop_assert_eq!(sum(&negated).value(), -(total as f64) + 0.0);
            let n = numbers.len() as i128;
            prop_assert!((sum(&doubles).mean(n as u64) - total as f64 / n as f64).abs() <= (total as f64 / n as f64).abs() * 1e-15);
        }

        #[test]
        #[expect(clippy::cast_precision_loss, reason = "small enough to be exact")]
        fn variance_agrees_with_whole_numbers(numbers in prop::collection::vec(-1_000_000_i64..1_000_000, 2..50)) {
            let n = numbers.len() as i128;
            let total: i128 = numbers.iter().map(|x| i128::from(*x)).sum();
            let second: i128 = numbers.iter().map(|x| i128::from(*x) * i128::from(*x)).sum();
            let doubles: Vec<f64> = numbers.iter().map(|x| *x as f64).collect();
            let computed = variance(&sum(&doubles), &squares(&doubles), n as u64);
            // Both sides are exact integers below 2^53 before the division, which rounds once.
            let expected = (n * second - total * total) as f64 / (n * (n - 1)) as f64;
            prop_assert!((computed - expected).abs() <= expected * 2.3e-16, "{} {}", computed, expected);
        }

        #[test]
        fn damaged_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(sum) = Sum::decode(&mut Reader::new(&bytes)) {
                let value = sum.value();
                prop_assert!(!value.is_nan());
            }
        }
    }
}
