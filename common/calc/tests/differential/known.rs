//! Which differences are faults of the reference engine (`ironcalc_base` 0.9.1), and why.
//!
//! A rule never goes by the functions of a formula alone. Where the engines differ, every operation of the formula is evaluated by
//! itself, on both engines, with the values of its arguments written into it ([`blame`](super::blame)): only an operation that
//! differs on the same arguments may be excused, and only as the fault predicts it for these arguments.

use millrace_calc::value::{ErrorValue, Value};

/// An argument of an operation.
#[derive(Debug)]
pub struct Argument {
    pub value: Value,
    /// Whether it is a cell, and not a value that was computed or written into the formula.
    pub cell: bool,
}

/// The fault of the reference engine that makes an operation differ on these arguments, if there is one.
pub fn fault(
    function: &str,
    arguments: &[Argument],
    ranges: &[&Value],
    ours: &Value,
    theirs: &Value,
) -> Option<&'static str> {
    match function {
        "AND" | "OR" => {
            let and = function == "AND";
            // In Excel every argument counts. There the first that decides ends it, and texts are passed over.
            (*ours == excel_logical(arguments, and) && *theirs == early_logical(arguments, and))
                .then_some("AND and OR end early, and pass over texts")
        }
        // Excel's MOD gives up where the quotient needs more than its digits.
        "MOD" => {
            let quotient = match (arguments[0].value.to_number(), arguments[1].value.to_number()) {
                (Ok(number), Ok(divisor)) => (number / divisor).abs(),
                _ => 0.0,
            };
            let gave_up = *ours == Value::Error(ErrorValue::Num) && quotient > 1e12;
            let last_digit = matches!((ours, theirs), (Value::Number(_), Value::Number(_))) && quotient > 1e8;
            (gave_up || last_digit).then_some("MOD of a large quotient")
        }
        // For criteria the text "0" is the number 0, in `<>` as well as in `=`.
        "COUNTIF" | "SUMIF" => {
            let criterion = arguments.last().map(|argument| &argument.value);
            let zero = ranges.iter().any(|value| matches!(value, Value::Text(text) if text.trim() == "0"));
            (criterion == Some(&Value::from("<>0")) && zero).then_some("\"<>0\" and the text \"0\"")
        }
        // There a key is found that is equal to a number of the range but for the last digit; Excel's look-ups compare exactly.
        "MATCH" | "VLOOKUP" => {
            let key = arguments.first().and_then(|key| key.value.to_number().ok()).unwrap_or(f64::NAN);
            let near = |value: &&Value| matches!(value, Value::Number(x) if *x != key && (x - key).abs() <= 1e-14 * x.abs());
            ranges.iter().any(near).then_some("a key that is equal but for the last digit")
        }
        // Numbers become text with 17 digits, 15 in Excel, without exponent, and a zero below zero keeps its sign.
        "&" | "LEN" | "LEFT" | "RIGHT" | "MID" | "UPPER" | "LOWER" | "TRIM" | "SUBSTITUTE" | "REPT"
        | "EXACT" | "FIND" | "SEARCH" => {
            let odd = |argument: &Argument| matches!(argument.value, Value::Number(x) if !short(x));
            let zero = |argument: &Argument| {
                !argument.cell && matches!(argument.value, Value::Number(0.0) | Value::Blank)
            };
            if arguments.iter().any(odd) {
                return Some("digits of numbers in text");
            }
            arguments.iter().any(zero).then_some("the sign of zero in text")
        }
        _ => None,
    }
}

/// Whether a number is the same text for both engines: up to 15 digits, and no exponent.
fn short(x: f64) -> bool {
    let digits = format!("{x:e}");
    let digits = digits.split('e').next().unwrap_or("").chars().filter(char::is_ascii_digit).count();
    digits <= 15 && (x == 0.0 || (1e-5..1e15).contains(&x.abs()))
}

/// `AND` and `OR` as Excel computes them: the first error, or else what all arguments say. A cell that holds text or nothing says
/// nothing; other text than TRUE and FALSE is #VALUE!.
fn excel_logical(arguments: &[Argument], and: bool) -> Value {
    let mut said = Vec::new();
    let mut failed = None;
    for Argument { value, cell } in arguments {
        match value {
            Value::Text(_) | Value::Blank if *cell => {}
            other => match other.to_boolean() {
                Ok(b) => said.push(b),
                Err(e) => failed = failed.or(Some(e)),
            },
        }
    }
    match failed {
        Some(e) => e.into(),
        None if said.is_empty() => ErrorValue::Value.into(),
        None => Value::Boolean(if and { said.iter().all(|b| *b) } else { said.contains(&true) }),
    }
}

/// As the reference engine computes them, by its source.
fn early_logical(arguments: &[Argument], and: bool) -> Value {
    let mut result = None;
    for Argument { value, cell } in arguments {
        let said = match value {
            Value::Error(e) => return (*e).into(),
            Value::Blank => continue,
            Value::Text(_) if *cell => continue,
            other => match other.to_boolean() {
                Ok(b) => b,
                Err(_) => continue,
            },
        };
        result = Some(said);
        if said != and {
            break;
        }
    }
    result.map_or(ErrorValue::Value.into(), Value::Boolean)
}

/// Whether two results are the same.
pub fn equal(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3),
        (Value::Blank, Value::Text(text)) | (Value::Text(text), Value::Blank) => text.is_empty(),
        (a, b) => a == b,
    }
}
