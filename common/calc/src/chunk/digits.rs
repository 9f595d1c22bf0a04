//! Numbers of JSON bytes: moved over, or read.

use super::json::{Cursor, Syntax};

/// Powers of ten as doubles, by the digits after the point.
const POWERS: [f64; 8] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
/// Powers of ten, by the digits after the point.
const TENS: [u64; 8] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];
/// Eight times `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// How many of the lowest bytes are 0 to 9.
#[inline]
const fn leading_digits(word: u64) -> usize {
    // Adding 0x76 lifts 10 and above into the high bit, without a carry into the next byte.
    let others =
        ((word & 0x7F7F_7F7F_7F7F_7F7F).wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
    (others.trailing_zeros() / 8) as usize
}

/// The number of eight digits, a byte each, the first one lowest.
#[inline]
const fn eight_digits(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF
}

impl Cursor<'_> {
    /// Moves over digits; answers how many. Eight bytes are looked at together, because the lengths of numbers are what a branch
    /// predictor cannot guess.
    #[inline]
    fn digits(&mut self) -> usize {
        let start = self.pos;
        loop {
            let Some(word) = self.word() else {
                while self.byte().is_ascii_digit() {
                    self.pos += 1;
                }
                break;
            };
            let count = leading_digits(word ^ ZEROS);
            self.pos += count;
            if count < 8 {
                break;
            }
        }
        self.pos - start
    }

    /// Moves over at most seven digits; answers how many and their value. `None` when there may be more, or near the end.
    #[inline]
    fn short_digits(&mut self) -> Option<(usize, u64)> {
        let word = self.word()? ^ ZEROS;
        let count = leading_digits(word);
        if count == 8 {
            return None;
        }
        self.pos += count;
        if count == 0 {
            return Some((0, 0));
        }
        // Moved up, the digits end in the highest byte, and zeros fill the front.
        Some((count, eight_digits(word << (64 - 8 * count))))
    }

    /// Moves over a number without computing it.
    #[inline]
    pub fn number(&mut self) -> Result<(), Syntax> {
        if self.byte() == b'-' {
            self.pos += 1;
        }
        if self.byte() == b'0' {
            self.pos += 1;
        } else if self.digits() == 0 {
            return Err(self.error("expected a digit"));
        }
        if self.byte() == b'.' {
            self.pos += 1;
            if self.digits() == 0 {
                return Err(self.error("expected a digit after the point"));
            }
        }
        if matches!(self.byte(), b'e' | b'E') {
            self.pos += 1;
            if matches!(self.byte(), b'+' | b'-') {
                self.pos += 1;
            }
            if self.digits() == 0 {
                return Err(self.error("expected a digit in the exponent"));
            }
        }
        Ok(())
    }

    /// Moves over a number and answers it, correctly rounded; infinite when it exceeds the doubles.
    ///
    /// Short numbers are exact in double arithmetic (up to 15 digits and a small power of ten, Clinger's fast path); the standard
    /// library does the rest.
    #[inline]
    pub fn number_value(&mut self) -> Result<f64, Syntax> {
        let start = self.pos;
        if let Some(value) = self.short_number() {
            return Ok(value);
        }
        self.pos = start;
        self.number()?;
        Ok(self.slow_number(start))
    }

    /// A number without sign and exponent that takes seven bytes at most, point included: one word has it, and the byte behind it.
    #[inline]
    fn word_number(&mut self) -> Option<f64> {
        let word = self.word()?;
        let before = leading_digits(word ^ ZEROS);
        if before == 0 || before > 6 || (before > 1 && word as u8 == b'0') {
            return None;
        }
        let mut digits = (word ^ ZEROS) << (64 - 8 * before);
        let (mut behind, mut length) = (0, before);
        if (word >> (8 * before)) as u8 == b'.' {
            let rest = (word ^ ZEROS) >> (8 * before + 8);
            // The zeros that were shifted in count as digits: a number that reaches them may go on.
            behind = leading_digits(rest);
            length = before + 1 + behind;
            if behind == 0 || length > 7 {
                return None;
            }
            digits = (digits >> (8 * behind)) | (rest << (64 - 8 * behind));
        }
        if matches!((word >> (8 * length)) as u8, b'e' | b'E') {
            return None;
        }
        self.pos += length;
        let mantissa = eight_digits(digits);
        #[expect(clippy::cast_precision_loss, reason = "at most 8 digits")]
        Some(mantissa as f64 / POWERS.get(behind).copied()?)
    }

    /// A number of at most seven digits before and after the point, without exponent; the cursor is anywhere after a `None`.
    #[inline]
    fn short_number(&mut self) -> Option<f64> {
        if let Some(value) = self.word_number() {
            return Some(value);
        }
        let negative = self.byte() == b'-';
        self.pos += usize::from(negative);
        let leading = self.byte();
        let (count, whole) = self.short_digits()?;
        if count == 0 || (leading == b'0' && count > 1) {
            return None;
        }
        let (mut mantissa, mut scale) = (whole, 0);
        if self.byte() == b'.' {
            self.pos += 1;
            let (places, fraction) = self.short_digits()?;
            if places == 0 {
                return None;
            }
            mantissa = whole * TENS.get(places).copied()? + fraction;
            scale = places;
        }
        if matches!(self.byte(), b'e' | b'E') {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 14 digits: below 2^53, exact")]
        let value = mantissa as f64 / POWERS.get(scale).copied()?;
        // A negative zero has no meaning in a cell.
        Some(if negative && mantissa != 0 { -value } else { value })
    }

    #[cold]
    fn slow_number(&self, start: usize) -> f64 {
        let value = std::str::from_utf8(self.since(start)).ok().and_then(|text| text.parse::<f64>().ok());
        value.unwrap_or(f64::NAN) + 0.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_round_correctly() {
        for text in [
            "0.1",
            "1430",
            "0.30000000000000004",
            "123456789012345678",
            "1e22",
            "1e23",
            "-5e-324",
            "9007199254740993",
            "1.7976931348623157e308",
        ] {
            let mut cursor = Cursor::new(text.as_bytes());
            assert_eq!(cursor.number_value().unwrap(), text.parse::<f64>().unwrap(), "{text}");
            assert!(cursor.at_end());
        }
        assert!(Cursor::new(b"1e999").number_value().unwrap().is_infinite());
        assert!(Cursor::new(b"-0").number_value().unwrap().is_sign_positive());
        assert!(Cursor::new(b"-0.0e5").number_value().unwrap().is_sign_positive());
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn reads_numbers_as_the_standard_library(number in any::<f64>(), decimals in 0_usize..20, integer in any::<i64>()) {
            prop_assume!(number.is_finite());
            for text in [format!("{number}"), format!("{number:e}"), format!("{:.decimals$}", number % 1e9), format!("{integer}")] {
                let expected = text.parse::<f64>().unwrap();
                prop_assert_eq!(Cursor::new(text.as_bytes()).number_value().unwrap(), expected);
            }
        }
    }
}
