//! Sums, products, extremes and counts over ranges. In a range only numbers count; a single value may also be a boolean or
//! text that is a number. Source: Excel's description of `SUM`.

use super::argument::{each_number, numbers};
use super::{Answer, Arg, Env, FunctionInfo, Kernel};
use crate::number::error;
use crate::value::{ErrorValue, Value};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    vec![
        general("AVERAGE", 1, 255, average, "The mean of the numbers; #DIV/0! when there are none.")
            .all_arrays(),
        general("AVERAGEA", 1, 255, average_a, "The mean, with text as 0 and booleans as 0 and 1.")
            .all_arrays(),
        general("COUNT", 1, 255, count, "How many numbers there are.").all_arrays(),
        general("COUNTA", 1, 255, count_a, "How many values are not blank.").all_arrays(),
        general("COUNTBLANK", 1, 1, count_blank, "How many cells are blank or empty text.").all_arrays(),
        general("MAX", 1, 255, max, "The greatest number; 0 when there is none.")
            .all_arrays()
            .kernel(Kernel::Max),
        general("MAXA", 1, 255, max_a, "The greatest, with text as 0 and booleans as 0 and 1.").all_arrays(),
        general("MIN", 1, 255, min, "The smallest number; 0 when there is none.")
            .all_arrays()
            .kernel(Kernel::Min),
        general("MINA", 1, 255, min_a, "The smallest, with text as 0 and booleans as 0 and 1.").all_arrays(),
        general("PRODUCT", 1, 255, product, "The product of the numbers.").all_arrays(),
        general("SUMPRODUCT", 1, 255, sum_product, "The sum of the products of equal places.")
            .all_arrays()
            .kernel(Kernel::SumProduct),
        general("SUMSQ", 1, 255, sum_squares, "The sum of the squares.").all_arrays(),
        general("SUMX2MY2", 2, 2, |_, a| pairs(a, |x, y| x * x - y * y), "The sum of x²−y².").all_arrays(),
        general("SUMX2PY2", 2, 2, |_, a| pairs(a, |x, y| x * x + y * y), "The sum of x²+y².").all_arrays(),
        general("SUMXMY2", 2, 2, |_, a| pairs(a, |x, y| (x - y) * (x - y)), "The sum of (x−y)².")
            .all_arrays(),
    ]
}

pub(super) fn sum(_: &Env, args: &[Arg<'_>]) -> Answer {
    let mut sum = 0.0;
    each_number(args, |x| sum += x)?;
    Ok(Value::Number(sum))
}

fn product(_: &Env, args: &[Arg<'_>]) -> Answer {
    let mut product = None;
    each_number(args, |x| product = Some(product.unwrap_or(1.0) * x))?;
    Ok(Value::Number(product.unwrap_or(0.0)))
}

fn sum_squares(_: &Env, args: &[Arg<'_>]) -> Answer {
    let mut sum = 0.0;
    each_number(args, |x| sum += x * x)?;
    Ok(Value::Number(sum))
}

fn average(_: &Env, args: &[Arg<'_>]) -> Answer {
    mean(&numbers(args)?)
}

fn mean(list: &[f64]) -> Answer {
    if list.is_empty() {
        return Err(ErrorValue::Div0);
    }
    Ok(Value::Number(list.iter().fold(0.0, |sum, x| sum + x) / list.len() as f64))
}

/// The values that the `…A` functions count: numbers, booleans as 0 and 1, text in ranges as 0.
pub(super) fn all_values(args: &[Arg<'_>]) -> Result<Vec<f64>, ErrorValue> {
    let mut list = Vec::new();
    for arg in args {
        match arg {
            Arg::Omitted => list.push(0.0),
            Arg::Value(value) => list.push(value.to_number()?),
            Arg::Array(grid) => {
                for item in grid.items {
                    match item {
                        Value::Number(x) => list.push(*x),
                        Value::Boolean(b) => list.push(f64::from(u8::from(*b))),
                        Value::Text(_) => list.push(0.0),
                        Value::Blank => {}
                        Value::Error(e) => return Err(*e),
                    }
                }
            }
        }
    }
    Ok(list)
}

fn average_a(_: &Env, args: &[Arg<'_>]) -> Answer {
    mean(&all_values(args)?)
}

fn extreme(list: impl IntoIterator<Item = f64>, greater: bool) -> Value {
    let mut best = None;
    for x in list {
        best = Some(match best {
            Some(b) if (greater && x > b) || (!greater && x < b) => x,
            Some(b) => b,
            None => x,
        });
    }
    Value::Number(best.unwrap_or(0.0))
}

fn max(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(extreme(numbers(args)?, true))
}

fn min(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(extreme(numbers(args)?, false))
}

fn max_a(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(extreme(all_values(args)?, true))
}

fn min_a(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(extreme(all_values(args)?, false))
}

fn count(_: &Env, args: &[Arg<'_>]) -> Answer {
    let mut count = 0;
    for arg in args {
        count += match arg {
            Arg::Omitted => 1,
            Arg::Value(value) => usize::from(value.to_number().is_ok() && **value != Value::Blank),
            Arg::Array(grid) => grid.items.iter().filter(|v| matches!(v, Value::Number(_))).count(),
        };
    }
    Ok(Value::Number(count as f64))
}

fn count_a(_: &Env, args: &[Arg<'_>]) -> Answer {
    let mut count = 0;
    for arg in args {
        count += match arg {
            Arg::Omitted => 1,
            Arg::Value(value) => usize::from(**value != Value::Blank),
            Arg::Array(grid) => grid.items.iter().filter(|v| **v != Value::Blank).count(),
        };
    }
    Ok(Value::Number(count as f64))
}

fn count_blank(_: &Env, args: &[Arg<'_>]) -> Answer {
    let blank = |v: &&Value| match v {
        Value::Blank => true,
        Value::Text(text) => text.is_empty(),
        _ => false,
    };
    Ok(Value::Number(args[0].grid().items.iter().filter(blank).count() as f64))
}

fn sum_product(_: &Env, args: &[Arg<'_>]) -> Answer {
    let grids: Vec<_> = args.iter().map(Arg::grid).collect();
    let first = grids[0];
    if grids.iter().any(|g| g.rows != first.rows || g.columns != first.columns) {
        return Err(ErrorValue::Value);
    }
    let lane = |value: &Value| match value {
        Value::Number(x) => Ok(*x),
        Value::Error(e) => Err(*e),
        _ => Ok(0.0),
    };
    let mut sum = 0.0;
    for i in 0..first.items.len() {
        let mut product = lane(&first.items[i])?;
        for grid in &grids[1..] {
            product *= lane(&grid.items[i])?;
        }
        sum += product;
    }
    Ok(Value::Number(sum))
}

fn pairs(args: &[Arg<'_>], f: impl Fn(f64, f64) -> f64) -> Answer {
    let (a, b) = (args[0].grid(), args[1].grid());
    if a.items.len() != b.items.len() {
        return Err(ErrorValue::NA);
    }
    let mut sum = 0.0;
    for (x, y) in a.items.iter().zip(b.items) {
        match (x, y) {
            (Value::Error(e), _) | (_, Value::Error(e)) => return Err(*e),
            (Value::Number(x), Value::Number(y)) => sum += f(*x, *y),
            _ => {}
        }
    }
    Ok(Value::Number(if sum.is_finite() { sum } else { error(ErrorValue::Num) }))
}
