//! Writing JSON by hand into a reused buffer.
//!
//! Numbers print shortest round-trip, always with a point or an exponent: `1430.0`, `0.1`, `1e21` (contract 2.3's samples).

use super::decimal;
use super::json::specials;
use crate::number;
use crate::program::Column;
use crate::value::{ErrorValue, Value};

/// Appends a finite number; an infinity or NaN becomes `null`.
#[inline]
pub(crate) fn number(value: f64, out: &mut Vec<u8>) {
    if decimal::write(value, out) {
        return;
    }
    if value.is_finite() {
        // Adding zero turns a negative zero into zero.
        out.extend_from_slice(zmij::Buffer::new().format_finite(value + 0.0).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends a string with quotes and escapes.
pub(crate) fn text(value: &str, out: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    out.push(b'"');
    let mut rest = value.as_bytes();
    while let Some(at) = first_special(rest) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let byte = special.first().copied().unwrap_or_default();
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                out.extend_from_slice(b"\\u00");
                for digit in [control >> 4, control & 15] {
                    out.push(HEX.get(usize::from(digit)).copied().unwrap_or(b'0'));
                }
            }
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// The place of the first byte that does not stand for itself inside a string.
#[inline]
fn first_special(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return Some(index * 8 + (special.trailing_zeros() / 8) as usize);
        }
    }
    let place = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F))?;
    Some(words.len() * 8 + place)
}

/// Appends a value; answers the error value if it is one.
pub(crate) fn value(value: &Value, out: &mut Vec<u8>) -> Option<ErrorValue> {
    match value {
        Value::Blank => out.extend_from_slice(b"null"),
        Value::Number(x) => number(*x, out),
        Value::Text(string) => text(string, out),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Error(error) => {
            error_text(*error, out);
            return Some(*error);
        }
    }
    None
}

/// Appends one record's value of a column; answers the error value if it is one.
#[inline]
pub(crate) fn cell(column: &Column, record: usize, out: &mut Vec<u8>) -> Option<ErrorValue> {
    match column {
        Column::Number(lanes) => {
            let lane = lanes.get(record).copied().unwrap_or(f64::NAN);
            if lane.is_finite() {
                number(lane, out);
                return None;
            }
            lane_error(lane, out)
        }
        Column::Value(values) => value(values.get(record).unwrap_or(&Value::Blank), out),
        Column::Constant(constant) => value(constant, out),
        other => value(&other.get(record), out),
    }
}

/// Appends a lane that is no number: an error value, or an infinity or NaN that no error made as `null` (contract 2.3).
#[cold]
fn lane_error(lane: f64, out: &mut Vec<u8>) -> Option<ErrorValue> {
    let error = number::decode(lane);
    if lane.is_infinite() {
        out.extend_from_slice(b"null");
        return None;
    }
    if let Some(error) = error {
        error_text(error, out);
    }
    error
}

fn error_text(error: ErrorValue, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(error.as_str().as_bytes());
    out.push(b'"');
}

/// Appends `piece` `times` times, from a block that holds it many times over.
pub(crate) fn repeat(piece: &[u8], times: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let total = piece.len() * times;
    out.reserve(total);
    if times > 0 {
        out.extend_from_slice(piece);
    }
    while out.len() - start < total {
        let done = out.len() - start;
        out.extend_from_within(start..start + done.min(total - done));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_print_as_the_samples_of_the_contract() {
        for (number, text) in [
            (1430.0, "1430.0"),
            (0.1, "0.1"),
            (-0.0, "0.0"),
            (5942.2, "5942.2"),
            (47.123999999999995, "47.123999999999995"),
        ] {
            assert_eq!(written(|out| super::number(number, out)), text);
        }
        assert_eq!(written(|out| super::number(f64::INFINITY, out)), "null");
        assert_eq!(written(|out| super::number(f64::NAN, out)), "null");
    }

    #[test]
    fn repeats_exactly() {
        for times in [0, 1, 2, 3, 7, 200] {
            assert_eq!(written(|out| repeat(b",null", times, out)), ",null".repeat(times));
        }
    }

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn numbers_and_texts_survive(number in any::<f64>(), string in ".{0,30}") {
            let parsed: serde_json::Value = serde_json::from_str(&written(|out| super::number(number, out))).unwrap();
            if number.is_finite() {
                prop_assert_eq!(parsed.as_f64().unwrap(), number);
            } else {
                prop_assert!(parsed.is_null());
            }
            let parsed: String = serde_json::from_str(&written(|out| text(&string, out))).unwrap();
            prop_assert_eq!(parsed, string);
        }
    }
}
