//! How much of a batch may fail (contract 3.4), settled exactly.

use super::BatchProgress;

/// A share from 0 to 100 per cent, exact to 15 decimals: what a caller writes as 33.3 is 33.3, not the double next to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Percentage {
    /// In units of 10⁻¹⁵ per cent.
    units: u64,
}

/// Decimals that count.
const DECIMALS: usize = 15;
/// Units of one per cent.
const ONE: u64 = 1_000_000_000_000_000;

impl Percentage {
    /// Nothing.
    pub const ZERO: Self = Self { units: 0 };

    /// The percentage that the number's shortest decimal form names; `None` outside of 0 to 100. Decimals beyond the 15th are
    /// dropped.
    pub fn new(number: f64) -> Option<Self> {
        if !(0.0..=100.0).contains(&number) {
            return None;
        }
        // Display writes a double with as many digits as it takes to tell it from its neighbours, and never an exponent.
        let text = number.abs().to_string();
        let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
        let decimals = decimals.bytes().chain(std::iter::repeat(b'0')).take(DECIMALS);
        let decimals = decimals.fold(0, |units, digit| units * 10 + u64::from(digit - b'0'));
        Some(Self { units: whole.parse::<u64>().ok()? * ONE + decimals })
    }

    /// Whether `part` is at most this share of `total`; equal passes. Negative counts are taken as 0.
    pub fn covers(self, part: i64, total: i64) -> bool {
        let (part, total) = (part.max(0).unsigned_abs(), total.max(0).unsigned_abs());
        // At most 2⁶³ · 10¹⁷, which is below 2¹²⁸.
        u128::from(part) * 100 * u128::from(ONE) <= u128::from(self.units) * u128::from(total)
    }
}

/// What may fail before the batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tolerance {
    /// Failed chunks, in per cent of the submitted ones.
    pub chunks: Percentage,
    /// Failed records, in per cent of the submitted ones; `None` for no such limit.
    pub records: Option<Percentage>,
}

impl Tolerance {
    /// Whether what has failed is within both limits.
    pub fn permits(&self, progress: &BatchProgress) -> bool {
        self.chunks.covers(progress.chunks_failed, progress.chunks_submitted)
            && self
                .records
                .is_none_or(|records| records.covers(progress.records_failed, progress.records_submitted))
    }

    /// Whether what has failed can still come to be within both limits when more is submitted, however much.
    pub fn may_still_permit(&self, progress: &BatchProgress) -> bool {
        let hopeless = |limit: Percentage, failed: i64| limit == Percentage::ZERO && failed > 0;
        !hopeless(self.chunks, progress.chunks_failed)
            && !self.records.is_some_and(|records| hopeless(records, progress.records_failed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn percentage(number: f64) -> Percentage {
        Percentage::new(number).unwrap()
    }

    #[test]
    fn a_percentage_is_what_its_decimal_form_says() {
        assert_eq!(percentage(33.3).units, 33_300_000_000_000_000);
        assert_eq!(percentage(0.1).units, 100_000_000_000_000);
        assert_eq!(percentage(100.0).units, 100 * ONE);
        assert_eq!(percentage(-0.0), Percentage::ZERO);
        assert_eq!(percentage(1e-15).units, 1);
        assert_eq!(percentage(1e-300), Percentage::ZERO);
        for number in [-0.1, 100.000_1, f64::NAN, f64::INFINITY] {
            assert_eq!(Percentage::new(number), None, "{number}");
        }
    }

    #[test]
    fn equal_passes_and_one_more_does_not_whatever_the_size() {
        // With doubles, 33.3 % of 1000 is 332.99999999999994.
        for (number, part, total) in [
            (33.3, 333, 1_000),
            (0.1, 1, 1_000),
            (0.1, 9_007_199_254_741, 9_007_199_254_741_000),
            (33.3, 333_000_000_000_000_333, 1_000_000_000_000_001_000),
            (0.000_000_001, 92_233_720, 9_223_372_000_000_000_000),
            (100.0, i64::MAX, i64::MAX),
        ] {
            assert!(percentage(number).covers(part, total), "{number} % of {total}");
            assert!(!percentage(number).covers(part, total - 1), "{number} % of {total} less one");
        }
        assert!(percentage(0.0).covers(0, 0) && !percentage(0.0).covers(1, i64::MAX));
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn decimal_percentages_are_settled_as_integers(
            thousandths in 0_i64..=100_000,
            part in 0_i64..1_000_000_000_000,
            more in 0_i64..1_000_000_000_000,
        ) {
            #[expect(clippy::cast_precision_loss, reason = "small whole numbers")]
            let number = thousandths as f64 / 1_000.0;
            let total = part + more;
            let exact = i128::from(part) * 100_000 <= i128::from(thousandths) * i128::from(total);
            prop_assert_eq!(percentage(number).covers(part, total), exact);
        }

        #[test]
        fn covering_follows_the_order_of_percentages(one in 0.0..=100.0, other in 0.0..=100.0, part in 0_i64.., total in 0_i64..) {
            let (low, high) = if one <= other { (one, other) } else { (other, one) };
            prop_assert!(percentage(low) <= percentage(high));
            prop_assert!(!percentage(low).covers(part, total) || percentage(high).covers(part, total));
        }
    }
}
