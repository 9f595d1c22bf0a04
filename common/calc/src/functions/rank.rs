//! Order statistics: places, percentiles and ranks.

use super::argument::{number_or, numbers};
use super::{Answer, Arg, Env, FunctionInfo};
use crate::value::{ErrorValue, Value};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let general = FunctionInfo::general;
    vec![
        general("LARGE", 2, 2, |_, a| nth(a, true), "The k-th greatest number.").arrays(1),
        general("MEDIAN", 1, 255, median, "The number in the middle.").all_arrays(),
        general("MODE", 1, 255, mode, "The most frequent number.").all_arrays(),
        general("MODE.SNGL", 1, 255, mode, "The most frequent number.").all_arrays(),
        general("PERCENTILE", 2, 2, |_, a| percentile(a, false), "The k-th percentile, ends included.")
            .arrays(1),
        general("PERCENTILE.EXC", 2, 2, |_, a| percentile(a, true), "The k-th percentile, ends excluded.")
            .arrays(1),
        general("PERCENTILE.INC", 2, 2, |_, a| percentile(a, false), "The k-th percentile, ends included.")
            .arrays(1),
        general("PERCENTRANK", 2, 3, percent_rank, "The rank of a value as a part of all.").arrays(1),
        general("PERCENTRANK.EXC", 2, 3, percent_rank_exclusive, "The rank of a value, ends excluded.")
            .arrays(1),
        general("PERCENTRANK.INC", 2, 3, percent_rank, "The rank of a value as a part of all.").arrays(1),
        general("QUARTILE", 2, 2, |_, a| quartile(a, false), "A quartile, ends included.").arrays(1),
        general("QUARTILE.EXC", 2, 2, |_, a| quartile(a, true), "A quartile, ends excluded.").arrays(1),
        general("QUARTILE.INC", 2, 2, |_, a| quartile(a, false), "A quartile, ends included.").arrays(1),
        general("RANK", 2, 3, |_, a| rank(a, false), "The place of a number among others.").arrays(0b10),
        general("RANK.AVG", 2, 3, |_, a| rank(a, true), "The mean place of a number among others.")
            .arrays(0b10),
        general("RANK.EQ", 2, 3, |_, a| rank(a, false), "The place of a number among others.").arrays(0b10),
        general("SMALL", 2, 2, |_, a| nth(a, false), "The k-th smallest number.").arrays(1),
        general("TRIMMEAN", 2, 2, trim_mean, "The mean without the extremes.").arrays(1),
    ]
}

fn sorted(args: &[Arg<'_>]) -> Result<Vec<f64>, ErrorValue> {
    let mut list = numbers(args)?;
    list.sort_by(f64::total_cmp);
    Ok(list)
}

fn nth(args: &[Arg<'_>], greatest: bool) -> Answer {
    let list = sorted(&args[..1])?;
    let k = args[1].number()?.ceil();
    if k < 1.0 || k > list.len() as f64 {
        return Err(ErrorValue::Num);
    }
    let i = k as usize - 1;
    Ok(Value::Number(if greatest { list[list.len() - 1 - i] } else { list[i] }))
}

fn median(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = sorted(args)?;
    let middle = list.len() / 2;
    match list.len() {
        0 => Err(ErrorValue::Num),
        n if n % 2 == 1 => Ok(Value::Number(list[middle])),
        _ => Ok(Value::Number((list[middle - 1] + list[middle]) / 2.0)),
    }
}

fn mode(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = numbers(args)?;
    let mut counts: rustc_hash::FxHashMap<u64, usize> = rustc_hash::FxHashMap::default();
    for x in &list {
        *counts.entry((x + 0.0).to_bits()).or_default() += 1;
    }
    // The first of the most frequent ones, in the order of the arguments.
    let most = counts.values().copied().max().unwrap_or(0);
    if most < 2 {
        return Err(ErrorValue::NA);
    }
    let found = list.iter().find(|x| counts.get(&(*x + 0.0).to_bits()) == Some(&most));
    found.map(|x| Value::Number(*x)).ok_or(ErrorValue::NA)
}

fn at_fraction(list: &[f64], k: f64, exclusive: bool) -> Answer {
    let n = list.len() as f64;
    if list.is_empty() || !(0.0..=1.0).contains(&k) {
        return Err(ErrorValue::Num);
    }
    let place = if exclusive { k * (n + 1.0) - 1.0 } else { k * (n - 1.0) };
    if place < 0.0 || place > n - 1.0 {
        return Err(ErrorValue::Num);
    }
    let low = place.floor();
    let i = low as usize;
    let next = list.get(i + 1).copied().unwrap_or(list[i]);
    Ok(Value::Number(list[i] + (place - low) * (next - list[i])))
}

fn percentile(args: &[Arg<'_>], exclusive: bool) -> Answer {
    let list = sorted(&args[..1])?;
    at_fraction(&list, args[1].number()?, exclusive)
}

fn quartile(args: &[Arg<'_>], exclusive: bool) -> Answer {
    let list = sorted(&args[..1])?;
    let quarter = args[1].number()?.trunc();
    if !(0.0..=4.0).contains(&quarter) {
        return Err(ErrorValue::Num);
    }
    at_fraction(&list, quarter / 4.0, exclusive)
}

fn percent_rank(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = sorted(&args[..1])?;
    let x = args[1].number()?;
    let digits = number_or(args, 2, 3.0)?.trunc();
    if list.is_empty() || !(1.0..=15.0).contains(&digits) {
        return Err(ErrorValue::Num);
    }
    if x < list[0] || x > list[list.len() - 1] {
        return Err(ErrorValue::NA);
    }
    let below = list.iter().filter(|y| **y < x).count();
    let n = list.len() as f64 - 1.0;
    let place = if n == 0.0 {
        return Ok(Value::Number(1.0));
    } else if list[below] == x {
        below as f64
    } else {
        below as f64 - 1.0 + (x - list[below - 1]) / (list[below] - list[below - 1])
    };
    Ok(Value::Number(crate::number::round_down(place / n, digits)))
}

fn percent_rank_exclusive(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = sorted(&args[..1])?;
    let x = args[1].number()?;
    let digits = number_or(args, 2, 3.0)?.trunc();
    if list.is_empty() || !(1.0..=15.0).contains(&digits) {
        return Err(ErrorValue::Num);
    }
    if x < list[0] || x > list[list.len() - 1] {
        return Err(ErrorValue::NA);
    }
    let below = list.iter().filter(|y| **y < x).count();
    let place = if list[below] == x {
        below as f64 + 1.0
    } else {
        below as f64 + (x - list[below - 1]) / (list[below] - list[below - 1])
    };
    Ok(Value::Number(crate::number::round_down(place / (list.len() as f64 + 1.0), digits)))
}

fn rank(args: &[Arg<'_>], mean: bool) -> Answer {
    let x = args[0].number()?;
    let list = numbers(&args[1..2])?;
    let ascending = number_or(args, 2, 0.0)? != 0.0;
    let same = list.iter().filter(|y| **y == x).count();
    if same == 0 {
        return Err(ErrorValue::NA);
    }
    let before = list.iter().filter(|y| if ascending { **y < x } else { **y > x }).count() as f64;
    Ok(Value::Number(before + 1.0 + if mean { (same as f64 - 1.0) / 2.0 } else { 0.0 }))
}

fn trim_mean(_: &Env, args: &[Arg<'_>]) -> Answer {
    let list = sorted(&args[..1])?;
    let part = args[1].number()?;
    if list.is_empty() || !(0.0..1.0).contains(&part) {
        return Err(ErrorValue::Num);
    }
    let cut = (list.len() as f64 * part / 2.0).floor() as usize;
    let kept = &list[cut..list.len() - cut];
    Ok(Value::Number(kept.iter().fold(0.0, |sum, x| sum + x) / kept.len() as f64))
}
