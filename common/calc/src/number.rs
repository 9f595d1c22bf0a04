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
