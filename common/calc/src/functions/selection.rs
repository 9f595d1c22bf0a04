//! Functions that take some lines of an array, or all of them in another order: `FILTER`, `SORT`, `SORTBY`, `UNIQUE`. Source:
//! Microsoft's function reference.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use super::argument::number_or;
use super::matrix::{Extent, Known, place};
use super::{Answer, Arg, Env, FunctionInfo};
use crate::value::{ErrorValue, Value, fold};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let matrix = FunctionInfo::matrix;
    vec![
        matrix("FILTER", 2, 3, filter_size, filter, "The rows or columns for which a condition holds.")
            .all_arrays(),
        matrix("SORT", 1, 4, sort_size, sort, "The rows or columns of an array in order.").arrays(1),
        matrix(
            "SORTBY",
            2,
            255,
            sort_by_size,
            sort_by,
            "The rows or columns of an array in the order of others.",
        )
        .arrays(0x5555_5557),
        matrix("UNIQUE", 1, 3, unique_size, unique, "The rows or columns of an array, each once.").arrays(1),
    ]
}

/// Lines of an array, by their numbers: columns, or else rows.
struct Lines {
    list: Vec<usize>,
    across: bool,
}

/// Rows, columns and items.
type Rectangle = (usize, usize, Vec<Value>);

/// What such a function makes of its arguments, all at once; `None` for other functions, and for what
/// stands where nothing was found.
pub(crate) fn selected(function: &FunctionInfo, args: &[Arg<'_>]) -> Option<Result<Rectangle, ErrorValue>> {
    let lines = match function.name {
        "FILTER" => filter_lines(args),
        "SORT" => sort_lines(args),
        "SORTBY" => match sort_by_size(&args.iter().map(known).collect::<Vec<_>>()) {
            Extent::Error(e) => Err(e),
            _ => sort_by_lines(args),
        },
        "UNIQUE" => unique_lines(args),
        _ => return None,
    };
    let Lines { list, across } = match lines {
        Ok(lines) => lines,
        Err(e) => return Some(Err(e)),
    };
    if list.is_empty() {
        return None;
    }
    let grid = args[0].grid();
    let at = |row: usize, column: usize| grid.at(row, column).cloned().unwrap_or_default();
    let items: Vec<Value> = if across {
        (0..grid.rows).flat_map(|row| list.iter().map(move |column| at(row, *column))).collect()
    } else {
        list.iter().flat_map(|row| (0..grid.columns).map(move |column| at(*row, column))).collect()
    };
    Some(Ok(if across { (grid.rows, list.len(), items) } else { (list.len(), grid.columns, items) }))
}

/// An argument whose value is there.
pub(crate) fn known<'a>(arg: &Arg<'a>) -> Known<'a> {
    match arg {
        Arg::Omitted => Known::Omitted,
        Arg::Value(value) => Known::Value(Some(value)),
        Arg::Array(grid) => Known::Array { rows: grid.rows, columns: grid.columns, items: Some(grid.items) },
    }
}

/// The item of the lines at a place of the result.
fn item(args: &[Arg<'_>], lines: &Lines, row: usize, column: usize) -> Value {
    let grid = args[0].grid();
    let found = if lines.across {
        lines.list.get(column).and_then(|column| grid.at(row, *column))
    } else {
        lines.list.get(row).and_then(|row| grid.at(*row, column))
    };
    found.cloned().unwrap_or_default()
}

/// The order of values when sorting: numbers, text, booleans, errors; blanks last in either direction.
fn order(a: &Value, b: &Value, descending: bool) -> Ordering {
    let kind = |v: &Value| match v {
        Value::Number(_) => 0,
        Value::Text(_) => 1,
        Value::Boolean(_) => 2,
        Value::Error(_) => 3,
        Value::Blank => 4,
    };
    if matches!(a, Value::Blank) || matches!(b, Value::Blank) {
        return kind(a).cmp(&kind(b));
    }
    let natural = match (a, b) {
        (Value::Number(x), Value::Number(y)) => x.total_cmp(y),
        _ => match kind(a).cmp(&kind(b)) {
            Ordering::Equal => a.compare(b).unwrap_or(Ordering::Equal),
            other => other,
        },
    };
    if descending { natural.reverse() } else { natural }
}

fn sort_size(args: &[Known<'_>]) -> Extent {
    let (rows, columns) = args[0].size();
    Extent::Of(rows, columns)
}

fn sort(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (args, row, column) = place(args)?;
    Ok(item(args, &sort_lines(args)?, row, column))
}

fn sort_lines(args: &[Arg<'_>]) -> Result<Lines, ErrorValue> {
    let grid = args[0].grid();
    let key = number_or(args, 1, 1.0)?.trunc();
    let descending = match number_or(args, 2, 1.0)? {
        1.0 => false,
        -1.0 => true,
        _ => return Err(ErrorValue::Value),
    };
    let across = args.get(3).map_or(Ok(false), Arg::boolean)?;
    let (lines, keys) = if across { (grid.columns, grid.rows) } else { (grid.rows, grid.columns) };
    if key < 1.0 || key > keys as f64 {
        return Err(ErrorValue::Value);
    }
    let key = key as usize - 1;
    let at = |line: usize, key: usize| {
        (if across { grid.at(key, line) } else { grid.at(line, key) }).unwrap_or(&Value::Blank)
    };
    let mut list: Vec<usize> = (0..lines).collect();
    list.sort_by(|a, b| order(at(*a, key), at(*b, key), descending));
    Ok(Lines { list, across })
}

fn sort_by_size(args: &[Known<'_>]) -> Extent {
    let (rows, columns) = args[0].size();
    for key in args[1..].iter().step_by(2) {
        let fits = match key.size() {
            (n, 1) if n == rows => true,
            (1, n) if n == columns => true,
            _ => false,
        };
        if !fits {
            return Extent::Error(ErrorValue::Value);
        }
    }
    Extent::Of(rows, columns)
}

fn sort_by(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (args, row, column) = place(args)?;
    Ok(item(args, &sort_by_lines(args)?, row, column))
}

fn sort_by_lines(args: &[Arg<'_>]) -> Result<Lines, ErrorValue> {
    let grid = args[0].grid();
    let mut keys = Vec::new();
    for pair in args[1..].chunks(2) {
        let descending = match pair.get(1) {
            None | Some(Arg::Omitted) => false,
            Some(arg) => match arg.number()? {
                1.0 => false,
                -1.0 => true,
                _ => return Err(ErrorValue::Value),
            },
        };
        keys.push((pair[0].grid(), descending));
    }
    let across = keys.first().is_some_and(|(key, _)| key.rows == 1 && key.columns > 1);
    let mut list: Vec<usize> = (0..if across { grid.columns } else { grid.rows }).collect();
    list.sort_by(|a, b| {
        keys.iter()
            .map(|(key, descending)| match (key.items.get(*a), key.items.get(*b)) {
                (Some(x), Some(y)) => order(x, y, *descending),
                _ => Ordering::Equal,
            })
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    Ok(Lines { list, across })
}

/// Which lines `FILTER` keeps, and whether they are columns.
fn kept(
    condition: &[Value],
    size: (usize, usize),
    of: (usize, usize),
) -> Result<(Vec<usize>, bool), ErrorValue> {
    let across = match size {
        (n, 1) if n == of.0 => false,
        (1, n) if n == of.1 => true,
        _ => return Err(ErrorValue::Value),
    };
    let mut list = Vec::new();
    for (i, value) in condition.iter().enumerate() {
        if value.to_boolean()? {
            list.push(i);
        }
    }
    Ok((list, across))
}

fn filter_size(args: &[Known<'_>]) -> Extent {
    let Some(condition) = args[1].items() else { return Extent::Unknown };
    let of = args[0].size();
    match kept(condition, args[1].size(), of) {
        Err(e) => Extent::Error(e),
        Ok((list, _)) if list.is_empty() => match args.get(2) {
            None | Some(Known::Omitted) => Extent::Error(ErrorValue::Calc),
            Some(other) => Extent::Of(other.size().0, other.size().1),
        },
        Ok((list, true)) => Extent::Of(of.0, list.len()),
        Ok((list, false)) => Extent::Of(list.len(), of.1),
    }
}

fn filter(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (args, row, column) = place(args)?;
    let lines = filter_lines(args)?;
    if lines.list.is_empty() {
        let other = args.get(2).and_then(|arg| arg.grid().items.get(row * arg.grid().columns + column));
        return Ok(other.cloned().unwrap_or_default());
    }
    Ok(item(args, &lines, row, column))
}

fn filter_lines(args: &[Arg<'_>]) -> Result<Lines, ErrorValue> {
    let (grid, condition) = (args[0].grid(), args[1].grid());
    let (list, across) =
        kept(condition.items, (condition.rows, condition.columns), (grid.rows, grid.columns))?;
    Ok(Lines { list, across })
}

/// The first line of each kind; with `once`, only lines that occur once.
fn distinct(items: &[Value], (rows, columns): (usize, usize), across: bool, once: bool) -> Vec<usize> {
    let (lines, length) = if across { (columns, rows) } else { (rows, columns) };
    let at =
        |line: usize, k: usize| if across { &items[k * columns + line] } else { &items[line * columns + k] };
    let same = |a: usize, b: usize| {
        (0..length).all(|k| match (at(a, k), at(b, k)) {
            (Value::Error(x), Value::Error(y)) => x == y,
            (Value::Number(x), Value::Number(y)) => x == y,
            (x, y) => {
                std::mem::discriminant(x) == std::mem::discriminant(y) && x.compare(y) == Ok(Ordering::Equal)
            }
        })
    };
    let hash = |line: usize| {
        let mut hasher = FxHasher::default();
        for k in 0..length {
            match at(line, k) {
                Value::Number(x) => (x + 0.0).to_bits().hash(&mut hasher),
                Value::Text(text) => fold(text).hash(&mut hasher),
                Value::Boolean(b) => b.hash(&mut hasher),
                Value::Blank => 1_u8.hash(&mut hasher),
                Value::Error(e) => e.hash(&mut hasher),
            }
        }
        hasher.finish()
    };
    // The lines of each kind: the first one, and how many there are.
    let mut kinds: Vec<(usize, usize)> = Vec::new();
    let mut by_hash: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
    for line in 0..lines {
        let alike = by_hash.entry(hash(line)).or_default();
        match alike.iter().find(|kind| same(kinds[**kind].0, line)) {
            Some(kind) => kinds[*kind].1 += 1,
            None => {
                alike.push(kinds.len());
                kinds.push((line, 1));
            }
        }
    }
    kinds.into_iter().filter(|(_, count)| !once || *count == 1).map(|(line, _)| line).collect()
}

fn unique_flags(by_column: Option<&Value>, once: Option<&Value>) -> Result<(bool, bool), ErrorValue> {
    let flag = |value: Option<&Value>| value.map_or(Ok(false), Value::to_boolean);
    Ok((flag(by_column)?, flag(once)?))
}

fn unique_size(args: &[Known<'_>]) -> Extent {
    let no = Value::Boolean(false);
    let (Some(items), Some(across), Some(once)) =
        (args[0].items(), Known::value_or(args, 1, &no), Known::value_or(args, 2, &no))
    else {
        return Extent::Unknown;
    };
    let (rows, columns) = args[0].size();
    let (across, once) = match unique_flags(Some(across), Some(once)) {
        Ok(flags) => flags,
        Err(e) => return Extent::Error(e),
    };
    match (distinct(items, (rows, columns), across, once).len(), across) {
        (0, _) => Extent::Error(ErrorValue::Calc),
        (n, true) => Extent::Of(rows, n),
        (n, false) => Extent::Of(n, columns),
    }
}

fn unique(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (args, row, column) = place(args)?;
    Ok(item(args, &unique_lines(args)?, row, column))
}

fn unique_lines(args: &[Arg<'_>]) -> Result<Lines, ErrorValue> {
    let grid = args[0].grid();
    let (across, once) = unique_flags(args.get(1).map(Arg::value), args.get(2).map(Arg::value))?;
    Ok(Lines { list: distinct(grid.items, (grid.rows, grid.columns), across, once), across })
}
