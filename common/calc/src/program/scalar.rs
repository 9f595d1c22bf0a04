//! One operation for one record: the definition that the columnar execution must agree with, bit for bit.

use smol_str::SmolStrBuilder;

use super::graph::{Op, Search};
use super::power::{MOST, whole_power};
use crate::formula::Binary;
use crate::functions::{Answer, Arg, Env, Grid, Kind, by_index, criteria, lookup};
use crate::number::{self, decode, error};
use crate::value::{ErrorValue, INLINE, Value};

/// `a + b` as lanes: the first error, or `#NUM!` beyond the range of numbers.
pub(crate) fn add(a: f64, b: f64) -> f64 {
    finish(a, b, a + b)
}

/// `a − b` as lanes.
pub(crate) fn subtract(a: f64, b: f64) -> f64 {
    finish(a, b, a - b)
}

/// `a × b` as lanes.
pub(crate) fn multiply(a: f64, b: f64) -> f64 {
    finish(a, b, a * b)
}

/// `a ÷ b` as lanes.
pub(crate) fn divide(a: f64, b: f64) -> f64 {
    if !a.is_nan() && b == 0.0 {
        return error(ErrorValue::Div0);
    }
    finish(a, b, a / b)
}

/// `a ^ b` as lanes. Source: Excel; `0^0` is `#NUM!`, 0 to a negative power is `#DIV/0!`.
pub(crate) fn power(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return finish(a, b, a);
    }
    if a == 0.0 && b <= 0.0 {
        return error(if b == 0.0 { ErrorValue::Num } else { ErrorValue::Div0 });
    }
    let result = if b == 2.0 {
        a * a
    } else if b == 1.0 {
        a
    } else if is_whole_exponent(b) {
        whole_power(a, b as i32)
    } else {
        libm::pow(a, b)
    };
    finish(a, b, result)
}

/// Whether powers with this exponent are correctly rounded, by their own implementation.
pub(crate) fn is_whole_exponent(b: f64) -> bool {
    b.abs() <= f64::from(MOST) && b.fract() == 0.0
}

#[inline]
fn finish(a: f64, b: f64, result: f64) -> f64 {
    if result.is_finite() {
        result
    } else if a.is_nan() {
        a
    } else if b.is_nan() {
        b
    } else {
        error(ErrorValue::Num)
    }
}

/// A function of numbers on lanes: the first error, or its result with what is not finite as `#NUM!`.
#[inline]
pub(crate) fn checked(args: &[f64], f: impl FnOnce(&[f64]) -> f64) -> f64 {
    if let Some(failed) = args.iter().find(|x| x.is_nan()) {
        return *failed;
    }
    let result = f(args);
    decode(result).map_or(result, error)
}

/// A random number from 0 to 1.
pub(crate) fn random(site: u32, env: &Env) -> f64 {
    // SplitMix64 over seed, record and place: portable, and independent of the order of evaluation.
    let mut x = env.seed
        ^ env.record.wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ u64::from(site).wrapping_mul(0xD1B5_4A32_D192_ED03);
    for _ in 0..2 {
        x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^= x >> 31;
    }
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

/// `RANDBETWEEN` from a random number.
fn between(args: &[f64]) -> f64 {
    let (low, high) = (args[0].ceil(), args[1].floor());
    if low > high { error(ErrorValue::Num) } else { (low + (args[2] * (high - low + 1.0)).floor()).min(high) }
}

/// Evaluate an operation for one record. `Input` and what takes a plan are not operations of this kind and answer blank.
pub(crate) fn evaluate(op: Op, args: &[Arg<'_>], env: &Env) -> Value {
    let value = |i: usize| args.get(i).map_or(&Value::Blank, Arg::value);
    let lane = |i: usize| value(i).to_lane();
    match op {
        Op::Input(_) => Value::Blank,
        Op::Negate => number::value(-lane(0)),
        Op::Percent => number::value(divide(lane(0), 100.0)),
        Op::Binary(operator) => binary(operator, value(0), value(1)),
        Op::If => match value(0).to_boolean() {
            Ok(true) => value(1).clone(),
            Ok(false) => value(2).clone(),
            Err(e) => e.into(),
        },
        Op::IfError => value(usize::from(matches!(value(0), Value::Error(_)))).clone(),
        Op::IfNa => value(usize::from(*value(0) == Value::Error(ErrorValue::NA))).clone(),
        Op::Solid => match value(0) {
            Value::Blank => Value::Number(0.0),
            other => other.clone(),
        },
        Op::Call(index) => match by_index(index).kind {
            Kind::Number1(f) => number::value(checked(&[lane(0)], |args| f(args[0]))),
            Kind::Number2(f) => number::value(checked(&[lane(0), lane(1)], |args| f(args[0], args[1]))),
            Kind::Numbers(f) => {
                let lanes: Vec<f64> = (0..args.len()).map(lane).collect();
                number::value(checked(&lanes, f))
            }
            Kind::General(f) | Kind::Matrix(_, f) => answered(f(env, args)),
            Kind::Form(_) => ErrorValue::Name.into(),
        },
        Op::Position(search) => number::value(position(search, value(0), args.get(1))),
        Op::Pick => {
            let Some(Arg::Array(grid)) = args.first() else { return ErrorValue::Ref.into() };
            match place(grid.rows, grid.columns, lane(1), lane(2)) {
                Ok(place) => grid.items.get(place).cloned().unwrap_or_default(),
                Err(e) => e.into(),
            }
        }
        Op::CountWhere(relation) => criteria::count_where(relation, args.first(), value(1)),
        Op::Random(site) => Value::Number(random(site, env)),
        Op::Between => number::value(checked(&[lane(0), lane(1), lane(2)], between)),
        // Plans are the graph's.
        Op::Vary(_) | Op::Item(_) => Value::Blank,
    }
}

/// What a general function answered, as a value.
#[inline]
pub(crate) fn answered(answer: Answer) -> Value {
    match answer {
        Ok(Value::Number(x)) => number::value(x),
        Ok(value) => value,
        Err(e) => e.into(),
    }
}

/// `a & b`.
pub(crate) fn concatenated(a: &Value, b: &Value) -> Value {
    binary(Binary::Concat, a, b)
}

fn binary(operator: Binary, a: &Value, b: &Value) -> Value {
    let arithmetic = |f: fn(f64, f64) -> f64| number::value(f(a.to_lane(), b.to_lane()));
    let compare = |test: fn(std::cmp::Ordering) -> bool| match a.compare(b) {
        Ok(ordering) => Value::Boolean(test(ordering)),
        Err(e) => Value::Error(e),
    };
    match operator {
        Binary::Add => arithmetic(add),
        Binary::Subtract => arithmetic(subtract),
        Binary::Multiply => arithmetic(multiply),
        Binary::Divide => arithmetic(divide),
        Binary::Power => arithmetic(power),
        Binary::Concat => match (a.to_text(), b.to_text()) {
            (Err(e), _) | (_, Err(e)) => e.into(),
            (Ok(a), Ok(b))
                if a.len() + b.len() <= MAX_TEXT || a.chars().count() + b.chars().count() <= MAX_TEXT =>
            {
                joined(&a, &b)
            }
            _ => ErrorValue::Value.into(),
        },
        Binary::Equal => compare(|o| o.is_eq()),
        Binary::NotEqual => compare(|o| o.is_ne()),
        Binary::Less => compare(|o| o.is_lt()),
        Binary::LessEqual => compare(|o| o.is_le()),
        Binary::Greater => compare(|o| o.is_gt()),
        Binary::GreaterEqual => compare(|o| o.is_ge()),
    }
}

/// Two texts as one; short ones are put together without memory of their own.
fn joined(a: &str, b: &str) -> Value {
    if a.len() + b.len() <= INLINE {
        let mut text = SmolStrBuilder::new();
        text.push_str(a);
        text.push_str(b);
        return Value::Text(text.finish());
    }
    let mut buffer = [0_u8; 128];
    let length = a.len() + b.len();
    if let Some(place) = buffer.get_mut(..length) {
        let (front, back) = place.split_at_mut(a.len());
        front.copy_from_slice(a.as_bytes());
        back.copy_from_slice(b.as_bytes());
        if let Ok(text) = std::str::from_utf8(place) {
            return Value::from(text);
        }
    }
    Value::from([a, b].concat())
}

/// Characters of one text, at most, as in Excel.
pub(crate) const MAX_TEXT: usize = 32_767;

/// The one-based place of a key, or `#N/A`.
pub(crate) fn position(search: Search, key: &Value, array: Option<&Arg<'_>>) -> f64 {
    if let Value::Error(e) = key {
        return error(*e);
    }
    match array {
        Some(array) => position_in(search, key, &array.grid()),
        None => error(ErrorValue::NA),
    }
}

/// The one-based place of a key in a row or column, or `#N/A`.
#[inline]
pub(crate) fn position_in(search: Search, key: &Value, grid: &Grid<'_>) -> f64 {
    if let Value::Error(e) = key {
        return error(*e);
    }
    lookup::find(search, key, grid).map_or(error(ErrorValue::NA), |place| place as f64 + 1.0)
}

/// A comparison of two lanes of the same kind, as a lane.
pub(crate) fn compare(op: Binary, a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() { a } else { b };
    }
    let ordering = number::compare(a, b);
    f64::from(u8::from(match op {
        Binary::Equal => ordering.is_eq(),
        Binary::NotEqual => ordering.is_ne(),
        Binary::Less => ordering.is_lt(),
        Binary::LessEqual => ordering.is_le(),
        Binary::Greater => ordering.is_gt(),
        _ => ordering.is_ge(),
    }))
}

/// The zero-based place of a one-based row and column, or the error value: `#VALUE!` below 1, `#REF!` beyond the end.
#[inline]
pub(crate) fn place(rows: usize, columns: usize, row: f64, column: f64) -> Result<usize, ErrorValue> {
    for x in [row, column] {
        if let Some(e) = decode(x) {
            return Err(e);
        }
    }
    // The only row or column may also be called 0.
    let row = if rows == 1 && row.abs() < 1.0 { 1.0 } else { row };
    let column = if columns == 1 && column.abs() < 1.0 { 1.0 } else { column };
    if row < 1.0 || column < 1.0 {
        return Err(ErrorValue::Value);
    }
    let (row, column) = (row as usize - 1, column as usize - 1);
    if row >= rows || column >= columns { Err(ErrorValue::Ref) } else { Ok(row * columns + column) }
}
