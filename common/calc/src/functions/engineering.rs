//! Number systems, bits, Roman numerals, steps. Source: Microsoft's function reference, "Engineering functions".

use super::argument::number_or;
use super::{Answer, Arg, Env, FunctionInfo};
use crate::number::error;
use crate::value::{ErrorValue, Value};

const NUM: f64 = error(ErrorValue::Num);

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    let two = FunctionInfo::number2;
    let many = FunctionInfo::numbers;
    vec![
        general("ARABIC", 1, 1, arabic, "The number of a Roman numeral."),
        general("BASE", 2, 3, base, "A number as text in a base from 2 to 36."),
        general("BIN2DEC", 1, 1, |_, a| decimal(a, 2), "A binary number as a decimal one."),
        general("BIN2HEX", 1, 2, |_, a| between(a, 2, 16), "A binary number as a hexadecimal one."),
        general("BIN2OCT", 1, 2, |_, a| between(a, 2, 8), "A binary number as an octal one."),
        two("BITAND", |a, b| bits(a, b, |a, b| a & b), "The bits that two numbers have in common."),
        two("BITLSHIFT", shifted, "A number with its bits moved to the left."),
        two("BITOR", |a, b| bits(a, b, |a, b| a | b), "The bits that either of two numbers has."),
        two("BITRSHIFT", |a, n| shifted(a, -n), "A number with its bits moved to the right."),
        two("BITXOR", |a, b| bits(a, b, |a, b| a ^ b), "The bits that only one of two numbers has."),
        general("DEC2BIN", 1, 2, |_, a| from_decimal(a, 2), "A decimal number as a binary one."),
        general("DEC2HEX", 1, 2, |_, a| from_decimal(a, 16), "A decimal number as a hexadecimal one."),
        general("DEC2OCT", 1, 2, |_, a| from_decimal(a, 8), "A decimal number as an octal one."),
        general("DECIMAL", 2, 2, parse_base, "The number of a text in a base from 2 to 36."),
        many("DELTA", 1, 2, |a| truth(a[0] == second(a)), "1 when two numbers are equal, or else 0."),
        many("GESTEP", 1, 2, |a| truth(a[0] >= second(a)), "1 when a number reaches a step, or else 0."),
        general("HEX2BIN", 1, 2, |_, a| between(a, 16, 2), "A hexadecimal number as a binary one."),
        general("HEX2DEC", 1, 1, |_, a| decimal(a, 16), "A hexadecimal number as a decimal one."),
        general("HEX2OCT", 1, 2, |_, a| between(a, 16, 8), "A hexadecimal number as an octal one."),
        general("OCT2BIN", 1, 2, |_, a| between(a, 8, 2), "An octal number as a binary one."),
        general("OCT2DEC", 1, 1, |_, a| decimal(a, 8), "An octal number as a decimal one."),
        general("OCT2HEX", 1, 2, |_, a| between(a, 8, 16), "An octal number as a hexadecimal one."),
        general("ROMAN", 1, 2, roman, "A number as a Roman numeral.")
            .note("the concise forms 1 to 4 follow the published rule of each form"),
    ]
}

fn second(args: &[f64]) -> f64 {
    args.get(1).copied().unwrap_or(0.0)
}

fn truth(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

/// Numbers of the bit functions: whole, from 0 to 2^48 − 1.
const BITS: f64 = 281_474_976_710_655.0;

fn bits(a: f64, b: f64, f: fn(u64, u64) -> u64) -> f64 {
    let valid = |x: f64| (0.0..=BITS).contains(&x) && x.fract() == 0.0;
    if valid(a) && valid(b) { f(a as u64, b as u64) as f64 } else { NUM }
}

fn shifted(a: f64, by: f64) -> f64 {
    let by = by.trunc();
    if !(0.0..=BITS).contains(&a) || a.fract() != 0.0 || by.abs() > 53.0 {
        return NUM;
    }
    let result = if by >= 0.0 { a * libm::exp2(by) } else { (a * libm::exp2(by)).floor() };
    if result > BITS { NUM } else { result }
}

/// The value of up to ten digits of a base in two's complement, as the `…2…` functions read them.
fn read(text: &str, base: u32) -> Result<i64, ErrorValue> {
    if text.len() > 10 {
        return Err(ErrorValue::Num);
    }
    let value =
        if text.is_empty() { 0 } else { i64::from_str_radix(text, base).map_err(|_| ErrorValue::Num)? };
    if value < 0 || text.starts_with('+') {
        return Err(ErrorValue::Num);
    }
    let whole = i64::from(base).pow(10);
    Ok(if value >= whole / 2 { value - whole } else { value })
}

/// The digits of a number in a base, in two's complement below 0, padded to a count of places.
fn write(value: i64, base: u32, places: Option<f64>) -> Answer {
    let whole = i64::from(base).pow(10);
    let (low, high) = (-whole / 2, whole / 2 - 1);
    if !(low..=high).contains(&value) {
        return Err(ErrorValue::Num);
    }
    let digits = digits_of(if value < 0 { (value + whole) as u64 } else { value as u64 }, base);
    let Some(places) = places.filter(|_| value >= 0) else { return Ok(digits.into()) };
    let places = places.trunc();
    if places < digits.len() as f64 || places > 10.0 {
        return Err(ErrorValue::Num);
    }
    Ok(format!("{digits:0>width$}", width = places as usize).into())
}

fn digits_of(mut value: u64, base: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(
            char::from_digit((value % u64::from(base)) as u32, base).unwrap_or('0').to_ascii_uppercase(),
        );
        value /= u64::from(base);
        if value == 0 {
            return digits.iter().rev().collect();
        }
    }
}

fn source(arg: &Arg<'_>) -> Result<String, ErrorValue> {
    if matches!(arg.value(), Value::Boolean(_)) {
        return Err(ErrorValue::Value);
    }
    Ok(arg.text()?.into_owned())
}

fn decimal(args: &[Arg<'_>], base: u32) -> Answer {
    Ok(Value::Number(read(&source(&args[0])?, base)? as f64))
}

fn places(args: &[Arg<'_>]) -> Result<Option<f64>, ErrorValue> {
    match args.get(1) {
        None | Some(Arg::Omitted) => Ok(None),
        Some(arg) => Ok(Some(arg.number()?)),
    }
}

fn between(args: &[Arg<'_>], from: u32, to: u32) -> Answer {
    write(read(&source(&args[0])?, from)?, to, places(args)?)
}

fn from_decimal(args: &[Arg<'_>], base: u32) -> Answer {
    if matches!(args[0].value(), Value::Boolean(_)) {
        return Err(ErrorValue::Value);
    }
    let x = args[0].number()?.trunc();
    if x.abs() > 1e12 {
        return Err(ErrorValue::Num);
    }
    write(x as i64, base, places(args)?)
}

fn base(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (x, base) = (args[0].number()?.trunc(), args[1].number()?.trunc());
    let least = number_or(args, 2, 0.0)?.trunc();
    if !(0.0..9_007_199_254_740_992.0).contains(&x)
        || !(2.0..=36.0).contains(&base)
        || !(0.0..=255.0).contains(&least)
    {
        return Err(ErrorValue::Num);
    }
    Ok(format!("{:0>width$}", digits_of(x as u64, base as u32), width = least as usize).into())
}

fn parse_base(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let base = args[1].number()?.trunc();
    if !(2.0..=36.0).contains(&base) {
        return Err(ErrorValue::Num);
    }
    if text.len() > 255 {
        return Err(ErrorValue::Value);
    }
    let mut value = 0.0;
    for c in text.trim().chars() {
        let digit = c.to_digit(base as u32).ok_or(ErrorValue::Num)?;
        value = value * base + f64::from(digit);
    }
    Ok(Value::Number(value))
}

const NUMERALS: [(u32, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

/// What the concise forms may subtract, form by form.
const CONCISE: [(u32, u32, &str); 12] = [
    (1, 450, "LD"),
    (1, 950, "LM"),
    (1, 45, "VL"),
    (1, 95, "VC"),
    (2, 490, "XD"),
    (2, 990, "XM"),
    (2, 49, "IL"),
    (2, 99, "IC"),
    (3, 495, "VD"),
    (3, 995, "VM"),
    (4, 499, "ID"),
    (4, 999, "IM"),
];

fn roman(_: &Env, args: &[Arg<'_>]) -> Answer {
    let x = args[0].number()?.trunc();
    let form = match args.get(1).map(Arg::value) {
        None | Some(Value::Boolean(true)) => 0,
        Some(Value::Boolean(false)) => 4,
        Some(value) => {
            let form = value.to_number()?.trunc();
            if !(0.0..=4.0).contains(&form) {
                return Err(ErrorValue::Value);
            }
            form as u32
        }
    };
    if !(0.0..=3999.0).contains(&x) {
        return Err(ErrorValue::Value);
    }
    let mut table: Vec<(u32, &str)> = NUMERALS.to_vec();
    table.extend(CONCISE.iter().filter(|(from, ..)| *from <= form).map(|(_, value, text)| (*value, *text)));
    table.sort_by_key(|(value, _)| std::cmp::Reverse(*value));
    let mut rest = x as u32;
    let mut text = String::new();
    for (value, numeral) in table {
        while rest >= value {
            text.push_str(numeral);
            rest -= value;
        }
    }
    Ok(text.into())
}

fn arabic(_: &Env, args: &[Arg<'_>]) -> Answer {
    let text = args[0].text()?;
    let text = text.trim().to_ascii_uppercase();
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text.as_str()), |rest| (-1.0, rest));
    if text.len() > 255 {
        return Err(ErrorValue::Value);
    }
    let digits = text
        .chars()
        .map(|c| {
            Ok(match c {
                'I' => 1.0,
                'V' => 5.0,
                'X' => 10.0,
                'L' => 50.0,
                'C' => 100.0,
                'D' => 500.0,
                'M' => 1000.0,
                _ => return Err(ErrorValue::Value),
            })
        })
        .collect::<Result<Vec<f64>, _>>()?;
    let mut sum = 0.0;
    for (i, digit) in digits.iter().enumerate() {
        let smaller = digits.get(i + 1).is_some_and(|next| next > digit);
        sum += if smaller { -digit } else { *digit };
    }
    Ok(Value::Number(sign * sum))
}
