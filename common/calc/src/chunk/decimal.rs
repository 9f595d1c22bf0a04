//! Printing numbers that have at most two decimals, as amounts and counts do: several times faster than printing any double.

use crate::number::WHOLE;

/// The numbers that are printed here lie below it.
const BOUND: f64 = 1e12;
/// Eight times `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Appends a number as its shortest text, with a point, when it has at most two decimals; false when it may have more.
///
/// A text of at most fifteen digits stands for a double of its own, so the one that reads as the number is the shortest.
#[inline]
pub(super) fn write(value: f64, out: &mut Vec<u8>) -> bool {
    let size = value.abs();
    let hundreds = (size * 100.0 + WHOLE) - WHOLE;
    if !(size < BOUND && hundreds / 100.0 == size) {
        return false;
    }
    if value < 0.0 {
        out.push(b'-');
    }
    // A whole number of less than 10^14. Its last two digits stand behind the point, and at least one before it.
    let hundreds = hundreds as u64;
    if hundreds < 100_000_000 {
        let digits = eight_digits(hundreds);
        let zeros = (digits.trailing_zeros() / 8).min(5);
        let whole = 8 * (6 - zeros);
        let digits = (digits | ZEROS) >> (8 * zeros);
        let before = (digits & ((1 << whole) - 1)) | u64::from(b'.') << whole;
        // All eight bytes are copied faster than as many as there are.
        let end = out.len() + whole as usize / 8 + 1;
        out.extend_from_slice(&before.to_le_bytes());
        out.truncate(end);
        let [tenths, hundredths, ..] = (digits >> whole).to_le_bytes();
        out.extend_from_slice(&[tenths, hundredths]);
    } else {
        let (high, low) = (eight_digits(hundreds / 100_000_000), eight_digits(hundreds % 100_000_000));
        let digits = u128::from(low) << 64 | u128::from(high);
        let zeros = digits.trailing_zeros() / 8;
        let [.., tenths, hundredths] = (low | ZEROS).to_le_bytes();
        let digits = (digits | u128::from(ZEROS) << 64 | u128::from(ZEROS)) >> (8 * zeros);
        let end = out.len() + 14 - zeros as usize;
        out.extend_from_slice(&digits.to_le_bytes());
        out.truncate(end);
        out.extend_from_slice(&[b'.', tenths, hundredths]);
    }
    // `.50` loses its last digit, and `.00` as well.
    if out.last() == Some(&b'0') {
        out.pop();
    }
    true
}

/// The eight digits of a number below 10^8, a byte each, the first one lowest.
#[inline]
fn eight_digits(number: u64) -> u64 {
    // Two times four digits, then four times two, then eight times one.
    let fours = (number / 10_000) | (number % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    tens | (twos - tens * 10) << 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: f64) -> Option<String> {
        let mut out = Vec::new();
        write(value, &mut out).then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn prints_amounts_and_leaves_the_rest() {
        for (value, text) in [
            (0.0, "0.0"),
            (0.07, "0.07"),
            (0.5, "0.5"),
            (10.0, "10.0"),
            (100.25, "100.25"),
            (-1430.0, "-1430.0"),
            (99_999_999.99, "99999999.99"),
            (1e11, "100000000000.0"),
            (-999_999_999_999.98, "-999999999999.98"),
        ] {
            assert_eq!(written(value).as_deref(), Some(text), "{value}");
        }
        for value in [0.001, 0.1 + 0.2, 1.0 / 3.0, 1e12, 1e300, 5e-324, f64::NAN, f64::INFINITY, f64::MAX] {
            assert_eq!(written(value), None, "{value}");
        }
        for number in (0..100_000_000).step_by(9_973).chain(0..20_000) {
            assert_eq!(
                (eight_digits(number) | ZEROS).to_le_bytes().to_vec(),
                format!("{number:08}").into_bytes()
            );
        }
    }

    proptest! {
        #![proptest_config(crate::properties::config(1000))]

        #[test]
        fn prints_what_any_double_prints(whole in -1_000_000_000_000_i64..1_000_000_000_000, digits in 0_u32..4, any in any::<f64>()) {
            for value in [whole as f64 / f64::from(10_u32.pow(digits)), any] {
                if let Some(text) = written(value) {
                    prop_assert_eq!(text, zmij::Buffer::new().format_finite(value + 0.0).to_owned());
                } else {
                    prop_assert!(digits > 2 || value == any || value.abs() >= BOUND, "{}", value);
                }
            }
        }
    }
}
