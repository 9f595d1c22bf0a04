//! Conditions. `IF` and its kin are expanded by the compiler.

use super::{Answer, Arg, Env, FunctionInfo, Kernel};
use crate::value::{ErrorValue, Value};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    vec![
        general("AND", 1, 255, and, "Whether every condition is true.").all_arrays().kernel(Kernel::And),
        general("FALSE", 0, 0, |_, _| Ok(Value::Boolean(false)), "The boolean FALSE."),
        general(
            "NOT",
            1,
            1,
            |_, args| Ok(Value::Boolean(!args[0].boolean()?)),
            "The opposite of a condition.",
        )
        .kernel(Kernel::Not),
        general("OR", 1, 255, or, "Whether any condition is true.").all_arrays().kernel(Kernel::Or),
        general("TRUE", 0, 0, |_, _| Ok(Value::Boolean(true)), "The boolean TRUE."),
        general("XOR", 1, 255, xor, "Whether an odd number of conditions is true.").all_arrays(),
    ]
}

/// The conditions of the arguments: in ranges text and blanks do not count. Every error value counts, whatever comes before
/// it. Source: Excel, `OR(TRUE,1/0)` is `#DIV/0!`.
fn conditions(args: &[Arg<'_>]) -> Result<Vec<bool>, ErrorValue> {
    let mut list = Vec::new();
    for arg in args {
        match arg {
            Arg::Omitted => list.push(false),
            Arg::Value(value) => list.push(value.to_boolean()?),
            Arg::Array(grid) => {
                for item in grid.items {
                    match item {
                        Value::Number(x) => list.push(*x != 0.0),
                        Value::Boolean(b) => list.push(*b),
                        Value::Error(e) => return Err(*e),
                        Value::Blank | Value::Text(_) => {}
                    }
                }
            }
        }
    }
    if list.is_empty() { Err(ErrorValue::Value) } else { Ok(list) }
}

fn and(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(Value::Boolean(conditions(args)?.into_iter().all(|c| c)))
}

fn or(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(Value::Boolean(conditions(args)?.into_iter().any(|c| c)))
}

fn xor(_: &Env, args: &[Arg<'_>]) -> Answer {
    Ok(Value::Boolean(conditions(args)?.into_iter().filter(|c| *c).count() % 2 == 1))
}
