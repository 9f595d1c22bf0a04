//! Quantiles: a histogram whose buckets are fixed by the bits of a number, so that merging is adding.
//!
//! Each power of two has 128 buckets of equal width (log-linear, as in HdrHistogram). The middle of a bucket is therefore at
//! most 2^-8 (0.4 %) of its size away from any number in it, whatever the numbers, their order and their grouping into chunks.
//! Sketches with a bounded number of buckets or centroids (t-digest, KLL, a collapsing DDSketch) answer differently when chunks
//! arrive in another order; these are bounded by the doubles themselves (2^19 buckets) and are stored sparsely.

use rustc_hash::FxHashMap;

use super::codec::{Broken, Reader, put};

/// Bits of a double below those that choose the bucket: 52 − 7.
const BELOW: u32 = 45;
/// Buckets of one sign: up to the exponent of the infinities.
const BUCKETS: i64 = 2047 << 7;

/// Counts by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    buckets: FxHashMap<i64, u64>,
}

/// Buckets sort as their numbers do.
fn bucket(x: f64) -> i64 {
    let size = ((x.to_bits() & !(1 << 63)) >> BELOW).cast_signed();
    if x < 0.0 { -size - 1 } else { size }
}

/// The middle of a bucket; 0 for the one that holds 0.
fn middle(bucket: i64) -> f64 {
    let size = if bucket < 0 { -bucket - 1 } else { bucket };
    if size == 0 {
        return 0.0;
    }
    let edge = |size: i64| f64::from_bits(size.unsigned_abs() << BELOW);
    let (low, high) = (edge(size), edge(size + 1));
    let middle = if high.is_finite() { low + (high - low) / 2.0 } else { low };
    if bucket < 0 { -middle } else { middle }
}

impl Histogram {
    /// Counts a finite number.
    pub(super) fn add(&mut self, x: f64) {
        *self.buckets.entry(bucket(x)).or_default() += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            let own = self.buckets.entry(*bucket).or_default();
            *own = own.saturating_add(*count);
        }
    }

    fn sorted(&self) -> Vec<(i64, u64)> {
        let mut sorted: Vec<(i64, u64)> =
            self.buckets.iter().map(|(bucket, count)| (*bucket, *count)).collect();
        sorted.sort_unstable();
        sorted
    }

    /// For each share from 0 to 1: about the number at place `⌊share × (count − 1)⌋` of all in order, from 0.
    pub(super) fn quantiles(&self, shares: &[f64]) -> Vec<f64> {
        let sorted = self.sorted();
        let count = sorted.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        shares.iter().map(|share| quantile(&sorted, count, *share)).collect()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let sorted = self.sorted();
        put(out, sorted.len() as u64);
        let mut before = -BUCKETS - 1;
        for (bucket, count) in sorted {
            put(out, (bucket - before).unsigned_abs());
            put(out, count);
            before = bucket;
        }
    }

    pub(super) fn decode(bytes: &mut Reader<'_>) -> Result<Self, Broken> {
        let mut histogram = Self::default();
        let mut bucket = -BUCKETS - 1;
        for _ in 0..bytes.count(2 << 18)? {
            let step = i64::try_from(bytes.number()?).map_err(|_| Broken)?;
            bucket = bucket.checked_add(step).filter(|bucket| step > 0 && *bucket < BUCKETS).ok_or(Broken)?;
            histogram.buckets.insert(bucket, bytes.number()?);
        }
        Ok(histogram)
    }
}

fn quantile(sorted: &[(i64, u64)], count: u64, share: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place among fewer than 2^53 numbers"
    )]
    let place = (share * count.saturating_sub(1) as f64).floor() as u64;
    let mut seen = 0_u64;
    for (bucket, count) in sorted {
        seen = seen.saturating_add(*count);
        if seen > place {
            return middle(*bucket);
        }
    }
    sorted.last().map_or(0.0, |(bucket, _)| middle(*bucket))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn the_middle_of_a_bucket_is_near(x in prop::num::f64::NORMAL) {
            let near = middle(bucket(x));
            prop_assert!((near - x).abs() <= x.abs() / 256.0, "{} {}", x, near);
        }

        #[test]
        fn buckets_sort_as_numbers(a in prop::num::f64::ANY, b in prop::num::f64::ANY) {
            prop_assume!(a.is_finite() && b.is_finite() && a <= b);
            prop_assert!(bucket(a) <= bucket(b));
        }

        #[test]
        fn quantiles_are_near_the_ordered_numbers(
            mut numbers in prop::collection::vec(-1e9_f64..1e9, 1..200),
            share in 0.0_f64..=1.0,
        ) {
            let mut histogram = Histogram::default();
            for number in &numbers {
                histogram.add(*number);
            }
            let mut encoded = Vec::new();
            histogram.encode(&mut encoded);
            prop_assert_eq!(&histogram, &Histogram::decode(&mut Reader::new(&encoded)).unwrap());
            numbers.sort_by(f64::total_cmp);
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
            let true_one = numbers[(share * (numbers.len() - 1) as f64).floor() as usize];
            let answer = histogram.quantiles(&[share])[0];
            prop_assert!((answer - true_one).abs() <= true_one.abs() / 256.0 + 1e-300, "{} {}", answer, true_one);
        }

        #[test]
        fn damaged_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(histogram) = Histogram::decode(&mut Reader::new(&bytes)) {
                prop_assert!(histogram.quantiles(&[0.5])[0].is_finite());
            }
        }
    }
}
