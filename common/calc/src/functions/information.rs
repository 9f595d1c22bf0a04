//! What a value is.

use super::{Answer, Arg, Env, FunctionInfo};
use crate::value::{ErrorValue, Value};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    vec![
        general("ERROR.TYPE", 1, 1, error_type, "The number of an error value, or #N/A."),
        general("ISBLANK", 1, 1, |_, a| is(a, |v| *v == Value::Blank), "Whether a cell is blank."),
        general(
            "ISERR",
            1,
            1,
            |_, a| is(a, |v| is_error(v) && !is_na(v)),
            "Whether a value is an error but #N/A.",
        ),
        general("ISERROR", 1, 1, |_, a| is(a, is_error), "Whether a value is an error."),
        general("ISEVEN", 1, 1, |_, a| odd(a, false), "Whether the whole part of a number is even."),
        general(
            "ISLOGICAL",
            1,
            1,
            |_, a| is(a, |v| matches!(v, Value::Boolean(_))),
            "Whether a value is a boolean.",
        ),
        general("ISNA", 1, 1, |_, a| is(a, is_na), "Whether a value is #N/A."),
        general(
            "ISNONTEXT",
            1,
            1,
            |_, a| is(a, |v| !matches!(v, Value::Text(_))),
            "Whether a value is not text.",
        ),
        general(
            "ISNUMBER",
            1,
            1,
            |_, a| is(a, |v| matches!(v, Value::Number(_))),
            "Whether a value is a number.",
        ),
        general("ISODD", 1, 1, |_, a| odd(a, true), "Whether the whole part of a number is odd."),
        general("ISTEXT", 1, 1, |_, a| is(a, |v| matches!(v, Value::Text(_))), "Whether a value is text."),
        general("N", 1, 1, number, "A value as a number: text is 0."),
        general("NA", 0, 0, |_, _| Err(ErrorValue::NA), "The error value #N/A."),
        general("TYPE", 1, 1, kind, "1 for a number, 2 text, 4 boolean, 16 error, 64 array.").all_arrays(),
    ]
}

fn is(args: &[Arg<'_>], test: fn(&Value) -> bool) -> Answer {
    Ok(Value::Boolean(test(args[0].value())))
}

fn is_error(value: &Value) -> bool {
    matches!(value, Value::Error(_))
}

fn is_na(value: &Value) -> bool {
    *value == Value::Error(ErrorValue::NA)
}

fn odd(args: &[Arg<'_>], wanted: bool) -> Answer {
    if matches!(args[0].value(), Value::Boolean(_)) {
        return Err(ErrorValue::Value);
    }
    let x = args[0].number()?.trunc().abs();
    Ok(Value::Boolean((libm::fmod(x, 2.0) == 1.0) == wanted))
}

fn number(_: &Env, args: &[Arg<'_>]) -> Answer {
    match args[0].value() {
        Value::Number(x) => Ok(Value::Number(*x)),
        Value::Boolean(b) => Ok(Value::Number(f64::from(u8::from(*b)))),
        Value::Error(e) => Err(*e),
        Value::Blank | Value::Text(_) => Ok(Value::Number(0.0)),
    }
}

fn kind(_: &Env, args: &[Arg<'_>]) -> Answer {
    let code = match &args[0] {
        Arg::Array(grid) if grid.items.len() > 1 => 64.0,
        other => match other.value() {
            Value::Number(_) | Value::Blank => 1.0,
            Value::Text(_) => 2.0,
            Value::Boolean(_) => 4.0,
            Value::Error(_) => 16.0,
        },
    };
    Ok(Value::Number(code))
}

fn error_type(_: &Env, args: &[Arg<'_>]) -> Answer {
    let Value::Error(e) = args[0].value() else { return Err(ErrorValue::NA) };
    Ok(Value::Number(match e {
        ErrorValue::Null => 1.0,
        ErrorValue::Div0 => 2.0,
        ErrorValue::Value => 3.0,
        ErrorValue::Ref => 4.0,
        ErrorValue::Name => 5.0,
        ErrorValue::Num => 6.0,
        ErrorValue::NA => 7.0,
        ErrorValue::Spill => 9.0,
        ErrorValue::Field => 13.0,
        ErrorValue::Calc => 14.0,
    }))
}
