//! Single values as the wire has them.

use std::borrow::Cow;

use super::json::{Cursor, MAX_DEPTH, Syntax};
use super::table;
use crate::interface::DataType;
use crate::number;
use crate::value::{ErrorValue, Value};

/// A value as one cell takes it.
pub(super) enum Scalar<'a> {
    /// The lane of a number, or of an error value.
    Number(f64),
    /// A text without escapes, where it lies.
    Text(&'a str),
    Value(Value),
}

/// The number at the cursor as a lane.
#[inline]
pub(super) fn number_lane(cursor: &mut Cursor<'_>) -> Result<f64, Syntax> {
    let value = cursor.number_value()?;
    Ok(if value.is_finite() { value } else { number::error(ErrorValue::Num) })
}

/// The value at the cursor as one cell takes it (contract 2.1); an object or array is `#VALUE!`. `whole` is all that the cursor
/// moves over, where it is known to be UTF-8, so that no text has to be looked at again.
#[inline]
pub(super) fn scalar<'a>(
    cursor: &mut Cursor<'a>,
    whole: Option<&'a str>,
    declared: Option<DataType>,
) -> Result<Scalar<'a>, Syntax> {
    match cursor.peek() {
        b'"' => {
            let raw = cursor.string()?;
            if !raw.escaped
                && declared.is_none()
                && let Some(whole) = whole
            {
                let end = cursor.position() - 1;
                if let Some(text) = whole.get(end - raw.text.len()..end) {
                    return Ok(Scalar::Text(text));
                }
            }
            match (raw.decode(), declared) {
                (Cow::Borrowed(text), None) => Ok(Scalar::Text(text)),
                (Cow::Borrowed(""), _) => Ok(Scalar::Text("")),
                (text, declared) => Ok(typed(&text, declared)),
            }
        }
        b'0'..=b'9' | b'-' => number_lane(cursor).map(Scalar::Number),
        b'n' => cursor.literal(b"null").map(|()| Scalar::Value(Value::Blank)),
        b't' => cursor.literal(b"true").map(|()| Scalar::Value(Value::Boolean(true))),
        b'f' => cursor.literal(b"false").map(|()| Scalar::Value(Value::Boolean(false))),
        _ => cursor.skip(MAX_DEPTH).map(|()| Scalar::Value(Value::Error(ErrorValue::Value))),
    }
}

/// A text as an input of a declared type takes it.
fn typed(text: &str, declared: Option<DataType>) -> Scalar<'static> {
    match declared.and_then(|declared| table::declared(text, declared)) {
        Some(Value::Number(number)) => Scalar::Number(number),
        Some(value) => Scalar::Value(value),
        None => Scalar::Value(text.into()),
    }
}
