//! Which differences are faults of the reference engine (`ironcalc_base` 0.9.1), and why.

use millrace_calc::value::{ErrorValue, Value};

/// How a comparison comes out.
pub enum Verdict {
    Equal,
    /// Different by this rule.
    Known(&'static str),
    Fault,
}

/// Compares what the two engines make of a formula.
pub fn judge(formula: &str, record: &[Value], ours: &Value, theirs: &Value) -> Verdict {
    if equal(ours, theirs) {
        return Verdict::Equal;
    }
    let uses = |names: &[&str]| names.iter().any(|name| formula.contains(name));
    match (ours, theirs) {
        // Every argument of AND and OR counts in Excel: an error is the result (`AND(FALSE,1/0)` is #DIV/0!), computed text is
        // #VALUE!, a blank that comes through a function is FALSE. Here the first that decides ends it, and text and blanks
        // are passed over.
        _ if uses(&["AND(", "OR("]) => Verdict::Known("AND and OR overlook errors, texts and blanks"),
        // Excel's MOD gives up where the quotient needs more than its digits; before that, the last digit of a large number
        // decides about the first of the result.
        (Value::Error(ErrorValue::Num), _) | (Value::Number(_), Value::Number(_)) if uses(&["MOD("]) => {
            Verdict::Known("MOD of a large quotient")
        }
        // For criteria the text "0" is the number 0, in `<>` as well as in `=`.
        _ if uses(&["\"<>0\""]) => Verdict::Known("\"<>0\" and the text \"0\""),
        // Undecided, not a fault: a cell that IF, CHOOSE or INDEX picks is a reference to the one engine, whose blanks, texts and booleans an
        // aggregate passes over, and a value to the other.
        _ if uses(&["IF(", "CHOOSE(", "INDEX("])
            && uses(&["SUM(", "AVERAGE(", "COUNT(", "COUNTA(", "MIN(", "MAX(", "PRODUCT(", "MEDIAN("])
            && (uses(&["INDEX("]) || !record.iter().all(|value| matches!(value, Value::Number(_)))) =>
        {
            Verdict::Known("a picked cell in an aggregate")
        }
        // What CHOOSE picks stays a reference: it is neither coerced to a number as the cell itself would be, nor found by a
        // lookup, nor a number for ISNUMBER.
        _ if uses(&["CHOOSE("]) => Verdict::Known("CHOOSE gives a reference"),
        // Compound interest differs in the last digit, and the row next to the key is another one.
        (Value::Number(_) | Value::Text(_), _)
            if uses(&["LOOKUP(", "MATCH("]) && uses(&["FV(", "PV(", "PMT("]) =>
        {
            Verdict::Known("a key that is equal but for the last digit")
        }
        // Numbers become text with 17 digits, 15 in Excel, without exponent, and a zero below zero keeps its sign. What is cut
        // out of such text, or measured, or compared, differs as well.
        (Value::Text(a), Value::Text(b))
            if same_with_digits(a, b) || without_digits(a) == without_digits(b) && has_digits(b) =>
        {
            Verdict::Known("digits of numbers in text")
        }
        _ if uses(&["LEN(", "LEFT(", "RIGHT(", "MID("]) => Verdict::Known("digits of numbers in text"),
        _ => Verdict::Fault,
    }
}

/// Equal texts but for the digits beyond the 15th and the sign of zero of the numbers in them.
fn same_with_digits(a: &str, b: &str) -> bool {
    let split = |text: &str| {
        let (mut rest, mut numbers, mut digits) = (String::new(), Vec::new(), String::new());
        for c in text.chars().chain(['\0']) {
            if c.is_ascii_digit() || c == '.' {
                digits.push(c);
                continue;
            }
            match digits.parse::<f64>() {
                Ok(x) => {
                    if x == 0.0 && rest.ends_with('-') {
                        rest.pop();
                    }
                    rest.push('#');
                    numbers.push(x);
                }
                Err(_) => rest.push_str(&digits),
            }
            digits.clear();
            rest.push(c);
        }
        (rest, numbers)
    };
    let ((a, left), (b, right)) = (split(a), split(b));
    a == b && left.iter().zip(&right).all(|(a, b)| (a - b).abs() <= 1e-9 * a.abs().max(b.abs()))
}

/// Whether a number of too many digits, or a zero with a sign, is in a text.
fn has_digits(text: &str) -> bool {
    let mut run = 0;
    text.contains("-0")
        || text.chars().any(|c| {
            run = if c.is_ascii_digit() || c == '.' { run + 1 } else { 0 };
            run > 15
        })
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, '.' | '-' | '+' | 'E')).collect()
}

fn equal(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-3),
        (Value::Blank, Value::Text(text)) | (Value::Text(text), Value::Blank) => text.is_empty(),
        (a, b) => a == b,
    }
}
