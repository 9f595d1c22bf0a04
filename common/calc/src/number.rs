//! Numbers as Excel sees them: 15 significant digits, and error values as NaN payloads in columns of numbers.

use crate::value::{ErrorValue, Value};

/// The bits of a quiet NaN with an empty payload; the payload is 1 + the error's place in [`ERRORS`].
const QUIET_NAN: u64 = 0x7FF8_0000_0000_0000;

/// Error values by NaN payload minus one.
const ERRORS: [ErrorValue; 10] = [
    ErrorValue::Null,
    ErrorValue::Div0,
    ErrorValue::Value,
    ErrorValue::Ref,
    ErrorValue::Name,
    ErrorValue::Num,
    ErrorValue::NA,
    ErrorValue::Spill,
    ErrorValue::Calc,
    ErrorValue::Field,
];

/// An error value as the lane of a column of numbers.
pub const fn error(error: ErrorValue) -> f64 {
    f64::from_bits(QUIET_NAN | (error as u64 + 1))
}

/// The error value of a lane, or `None` for a number. A NaN or an infinity that no error value made is `#NUM!`.
pub fn decode(lane: f64) -> Option<ErrorValue> {
    if lane.is_finite() {
        return None;
    }
    if lane.is_nan() {
        let payload = lane.to_bits() & 0xFFFF;
        if let Some(error) = payload.checked_sub(1).and_then(|i| ERRORS.get(i as usize)) {
            return Some(*error);
        }
    }
    Some(ErrorValue::Num)
}

/// The value of one lane of a column of numbers. Negative zero becomes zero, as Excel has none.
pub fn value(lane: f64) -> Value {
    match decode(lane) {
        None => Value::Number(lane + 0.0),
        Some(error) => Value::Error(error),
    }
}

/// The value of one lane of a column of booleans.
pub fn boolean(lane: f64) -> Value {
    match decode(lane) {
        None => Value::Boolean(lane != 0.0),
        Some(error) => Value::Error(error),
    }
}

/// Exact powers of ten in a double.
pub(crate) const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// A finite number as `mantissa × 10^exponent` with 15 significant digits: what Excel's rounding and comparison see.
/// Zero is `(0, 0)`.
pub(crate) fn decimal(x: f64) -> (i64, i32) {
    if x == 0.0 || !x.is_finite() {
        return (0, 0);
    }
    let (mantissa, exponent) = scaled_decimal(x.abs()).unwrap_or_else(|| printed_decimal(x.abs()));
    (if x < 0.0 { -mantissa } else { mantissa }, exponent)
}

/// The digits by one multiplication or division, when its rounding error cannot decide the last of them.
fn scaled_decimal(x: f64) -> Option<(i64, i32)> {
    const LOW: f64 = 1e14;
    const HIGH: f64 = 1e15;
    let binary = (x.to_bits() >> 52) as i32 - 1023;
    // log10(2) as a fraction: at most one too small for every exponent of a double.
    let mut power = (binary * 1233) >> 12;
    for _ in 0..2 {
        let shift = 14 - power;
        let scale = POWERS.get(shift.unsigned_abs() as usize)?;
        let scaled = if shift >= 0 { x * scale } else { x / scale };
        if scaled >= HIGH {
            power += 1;
            continue;
        }
        let whole = scaled.floor();
        // Between 1e14 and 1e15 one rounding is off by 1/16 at most.
        if scaled < LOW || (scaled - whole - 0.5).abs() < 0.07 {
            return None;
        }
        let mantissa = (scaled + 0.5).floor() as i64;
        return (mantissa < 1_000_000_000_000_000).then_some((mantissa, power - 14));
    }
    None
}

/// The digits by exact printing.
fn printed_decimal(x: f64) -> (i64, i32) {
    let text = format!("{x:.14e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = digits
        .bytes()
        .filter(u8::is_ascii_digit)
        .fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    (mantissa, exponent.parse::<i32>().unwrap_or(0) - 14)
}

/// The number that the text of a number says: 15 digits of it.
pub(crate) fn digits(x: f64) -> f64 {
    if x.fract() == 0.0 && x.abs() < 1e15 {
        return x;
    }
    let (mantissa, exponent) = decimal(x);
    from_decimal(mantissa, exponent)
}

/// The double nearest to `mantissa × 10^exponent`.
pub(crate) fn from_decimal(mantissa: i64, exponent: i32) -> f64 {
    let exact = mantissa.unsigned_abs() <= 1 << 53;
    match exponent {
        0..=22 if exact => mantissa as f64 * POWERS[exponent as usize],
        -22..=-1 if exact => mantissa as f64 / POWERS[exponent.unsigned_abs() as usize],
        _ => format!("{mantissa}e{exponent}").parse().unwrap_or(0.0),
    }
}

/// How the digits behind the place of rounding are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To the nearest, halves away from zero: `ROUND`.
    HalfAway,
    /// Away from zero: `ROUNDUP`.
    Up,
    /// Towards zero: `ROUNDDOWN`, `TRUNC`.
    Down,
}

/// Round the decimal value of 15 significant digits at `10^-digits`, exactly. Slow: the fast paths call it near ties only.
pub(crate) fn round_decimal(x: f64, digits: i32, rounding: Rounding) -> f64 {
    let (mantissa, exponent) = decimal(x);
    let drop = i64::from(-digits) - i64::from(exponent);
    if mantissa == 0 || drop <= 0 {
        return x;
    }
    let magnitude = mantissa.unsigned_abs();
    let quotient = if drop > 18 {
        u64::from(rounding == Rounding::Up)
    } else {
        let unit = 10_u64.pow(drop as u32);
        let (quotient, rest) = (magnitude / unit, magnitude % unit);
        let up = match rounding {
            Rounding::HalfAway => rest >= unit - rest,
            Rounding::Up => rest > 0,
            Rounding::Down => false,
        };
        quotient + u64::from(up)
    };
    let signed = if x < 0.0 { -(quotient as i64) } else { quotient as i64 };
    let result = from_decimal(signed, -digits);
    if result.is_finite() { result } else { error(ErrorValue::Num) }
}

/// The number of digits as Excel reads it: truncated, and far beyond any double at its bounds.
fn digits_of(digits: f64) -> i32 {
    digits.clamp(-400.0, 400.0) as i32
}

/// Whether `scaled = |x| × 10^digits` lies so near to a boundary that only the decimal digits can tell its side.
/// `distance` is the distance to the boundary.
#[inline]
pub(crate) fn near(scaled: f64, distance: f64) -> bool {
    distance <= scaled * 1e-14 + 1e-300
}

/// Adding and subtracting it rounds a smaller non-negative double to a whole number, without any special instruction.
pub(crate) const WHOLE: f64 = 4_503_599_627_370_496.0;

/// The shared body of the ROUND family for one number.
fn round_with(x: f64, digits: f64, rounding: Rounding) -> f64 {
    let digits = digits_of(digits);
    // A whole number of few digits has nothing to cut off.
    if (0..=22).contains(&digits) && x.abs() < 1e14 && x.fract() == 0.0 {
        return x;
    }
    if !(-22..=22).contains(&digits) {
        return round_decimal(x, digits, rounding);
    }
    let power = POWERS[digits.unsigned_abs() as usize];
    let scaled = if digits >= 0 { x.abs() * power } else { x.abs() / power };
    if scaled.is_nan() || scaled >= 1e15 {
        return round_decimal(x, digits, rounding);
    }
    let whole = match rounding {
        Rounding::HalfAway => {
            let whole = (scaled + WHOLE) - WHOLE;
            if near(scaled, 0.5 - (scaled - whole).abs()) {
                return round_decimal(x, digits, rounding);
            }
            whole
        }
        Rounding::Up | Rounding::Down => {
            let floor = scaled.floor();
            let rest = scaled - floor;
            if near(scaled, rest) || near(scaled, 1.0 - rest) {
                return if x == 0.0 { 0.0 } else { round_decimal(x, digits, rounding) };
            }
            if rounding == Rounding::Up { floor + 1.0 } else { floor }
        }
    };
    let result = if digits >= 0 { whole / power } else { whole * power };
    result.copysign(x)
}

/// `ROUND`: halves away from zero, on the decimal value of 15 significant digits.
pub fn round(x: f64, digits: f64) -> f64 {
    round_with(x, digits, Rounding::HalfAway)
}

/// `ROUNDUP`: away from zero, on the decimal value of 15 significant digits.
pub fn round_up(x: f64, digits: f64) -> f64 {
    round_with(x, digits, Rounding::Up)
}

/// `ROUNDDOWN`: towards zero, on the decimal value of 15 significant digits.
pub fn round_down(x: f64, digits: f64) -> f64 {
    round_with(x, digits, Rounding::Down)
}

/// `INT`: the whole number below, on the decimal value of 15 significant digits.
pub fn floor(x: f64) -> f64 {
    round_with(x, 0.0, if x < 0.0 { Rounding::Up } else { Rounding::Down })
}

/// The whole number above, on the decimal value of 15 significant digits.
pub fn ceil(x: f64) -> f64 {
    round_with(x, 0.0, if x < 0.0 { Rounding::Down } else { Rounding::Up })
}

/// Compare as Excel does: equal when 15 significant digits are equal.
#[inline]
pub fn compare(a: f64, b: f64) -> std::cmp::Ordering {
    use std::cmp::Ordering;
    if a == b {
        return Ordering::Equal;
    }
    if (a - b).abs() <= a.abs() * 1e-14 && decimal(a) == decimal(b) {
        return Ordering::Equal;
    }
    if a < b { Ordering::Less } else { Ordering::Greater }
}

/// A number as text, with 15 significant digits, as `&` shows it: plain notation from 1E-9 up to 20 digits, or else `1.5E+21`.
pub fn to_text(x: f64) -> String {
    let (mantissa, exponent) = decimal(x);
    if mantissa == 0 {
        return "0".to_owned();
    }
    let mut digits = mantissa.unsigned_abs().to_string();
    let point = digits.len() as i32 + exponent;
    digits.truncate(digits.trim_end_matches('0').len().max(1));
    let sign = if mantissa < 0 { "-" } else { "" };
    let count = digits.len() as i32;
    if !(-8..=21).contains(&point) || (point <= 0 && count - point > 18) {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let (mark, power) = if point > 0 { ('+', point - 1) } else { ('-', 1 - point) };
        return format!("{sign}{first}{dot}{rest}E{mark}{power:02}");
    }
    if point <= 0 {
        return format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize));
    }
    if count <= point {
        return format!("{sign}{digits}{}", "0".repeat((point - count) as usize));
    }
    let (whole, fraction) = digits.split_at(point as usize);
    format!("{sign}{whole}.{fraction}")
}

/// Text that looks like a number, as arithmetic coerces it: `2`, ` 2 `, `1e2`, `50%`, `1,000`, `$5`, `(5)`. Dates are not numbers here.
pub fn parse(text: &str) -> Option<f64> {
    let mut rest = text.trim_matches([' ', '\t', '\n', '\r', '\u{a0}']);
    if let Some(x) = parse_plain(rest) {
        return Some(x);
    }
    let mut negative = false;
    let mut percent = 0;
    if let Some(inner) = rest.strip_prefix('(').and_then(|r| r.strip_suffix(')')) {
        rest = inner.trim();
        if rest.starts_with(['-', '+', '(']) {
            return None;
        }
        negative = true;
    } else if let Some(after) = rest.strip_prefix('-') {
        negative = true;
        rest = after.trim_start();
    } else if let Some(after) = rest.strip_prefix('+') {
        rest = after.trim_start();
    }
    if let Some(after) = rest.strip_prefix('$') {
        rest = after.trim_start();
    }
    if let Some(before) = rest.strip_suffix('%') {
        rest = before.trim_end();
        percent = 1;
    } else if let Some(after) = rest.strip_prefix('%') {
        rest = after.trim_start();
        percent = 1;
    }
    if rest.starts_with(['-', '+']) {
        return None;
    }
    let x = if rest.contains(',') { parse_plain(&without_groups(rest)?)? } else { parse_plain(rest)? };
    let x = if percent == 1 { x / 100.0 } else { x };
    Some(if negative { -x } else { x })
}

/// Digits with an optional sign, point and exponent; nothing else.
fn parse_plain(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    // The standard parser is exact, and also reads "inf" and "nan", which start with a letter.
    let x = text.parse::<f64>().ok()?;
    x.is_finite().then_some(x)
}

/// Remove the commas of `1,234,567.8`; `None` when they do not group thousands.
fn without_groups(text: &str) -> Option<String> {
    let whole = text.split(['.', 'e', 'E']).next().unwrap_or("");
    if text[whole.len()..].contains(',') {
        return None;
    }
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or("");
    if first.is_empty() || !groups.all(|group| group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit()))
    {
        return None;
    }
    Some(text.replace(',', ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(crate::properties::config(256))]

        #[test]
        fn both_ways_to_the_digits_agree(x in prop_oneof![
            any::<f64>().prop_filter("positive", |x| x.is_normal()).prop_map(f64::abs),
            (1_u64..10_000_000_000).prop_map(|n| n as f64 / 1000.0),
            (1_u64..1_000_000, 0_u32..12).prop_map(|(n, d)| n as f64 * 0.005 * 10_f64.powi(d as i32)),
        ]) {
            if let Some(fast) = scaled_decimal(x) {
                prop_assert_eq!(fast, printed_decimal(x), "{}", x);
            }
        }

        #[test]
        fn rounding_is_that_of_the_digits(x in -1e9..1e9_f64, digits in -4..8_i32) {
            let places = f64::from(digits);
            prop_assert_eq!(round(x, places), round_decimal(x, digits, Rounding::HalfAway) + 0.0, "{}", x);
            prop_assert_eq!(round_down(x, places), round_decimal(x, digits, Rounding::Down) + 0.0, "{}", x);
            prop_assert_eq!(round_up(x, places), round_decimal(x, digits, Rounding::Up) + 0.0, "{}", x);
        }

        #[test]
        fn text_of_a_number_reads_as_its_digits(x in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            let text = to_text(x);
            let (mantissa, exponent) = decimal(x);
            prop_assert_eq!(parse(&text), Some(from_decimal(mantissa, exponent)), "{}", text);
        }
    }

    #[test]
    fn errors_survive_as_lanes() {
        for e in ERRORS {
            assert_eq!(decode(error(e)), Some(e));
            assert_eq!(value(error(e)), Value::Error(e));
        }
        assert_eq!(decode(f64::INFINITY), Some(ErrorValue::Num));
        assert_eq!(decode(-1.5), None);
    }

    #[test]
    fn ties_follow_the_decimal_value() {
        for (x, digits, expected) in [
            (1.005, 2.0, 1.01),
            (2.675, 2.0, 2.68),
            (0.285, 2.0, 0.29),
            (-2.675, 2.0, -2.68),
            (1e300, 2.0, 1e300),
        ] {
            assert_eq!(round(x, digits), expected);
        }
        assert_eq!(round_up(1.0 - 1.1, 3.0), -0.1);
    }
}
