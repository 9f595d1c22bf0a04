//! Functions whose result is an array. The compiler must know its size: from the shapes of the arguments, or from arguments that
//! are constant. Each item is computed by itself, so that an array is as many single values. Source: Microsoft's function reference.

use std::cmp::Ordering;

use super::argument::{Grid, number_or};
use super::{Answer, Arg, Env, FunctionInfo};
use crate::value::{ErrorValue, Value};

/// What the compiler knows of an argument.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known<'a> {
    Omitted,
    /// A single value; `None` when it depends on the inputs.
    Value(Option<&'a Value>),
    /// A rectangle, with its items when all of them are constant.
    Array {
        rows: usize,
        columns: usize,
        items: Option<&'a [Value]>,
    },
}

impl<'a> Known<'a> {
    /// Rows and columns; a single value is one of one cell.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Known::Array { rows, columns, .. } => (*rows, *columns),
            _ => (1, 1),
        }
    }

    /// The items, when they are constant.
    fn items(&self) -> Option<&'a [Value]> {
        match self {
            Known::Omitted => Some(&[]),
            Known::Value(value) => value.map(std::slice::from_ref),
            Known::Array { items, .. } => *items,
        }
    }

    /// The constant value of a single argument; `default` when it is left out, `None` when it is not constant.
    pub fn value_or(list: &[Self], index: usize, default: &'a Value) -> Option<&'a Value> {
        match list.get(index) {
            None | Some(Known::Omitted) => Some(default),
            Some(other) => other.items().and_then(<[Value]>::first),
        }
    }
}

/// The size of an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Of(usize, usize),
    /// The function fails, whatever the values are.
    Error(ErrorValue),
    /// The size depends on values that are not constant.
    Unknown,
}

pub(super) fn functions() -> Vec<FunctionInfo> {
    let matrix = FunctionInfo::matrix;
    vec![
        matrix("FILTER", 2, 3, filter_size, filter, "The rows or columns for which a condition holds.")
            .all_arrays()
            .note("the condition must be constant: it decides the size of the result"),
        matrix("FREQUENCY", 2, 2, frequency_size, frequency, "How many values lie between bounds.")
            .all_arrays(),
        FunctionInfo::general("MDETERM", 1, 1, determinant, "The determinant of a matrix.")
            .note("up to 60 rows")
            .all_arrays(),
        matrix("MINVERSE", 1, 1, inverse_size, inverse, "The inverse of a matrix.").all_arrays(),
        matrix("MMULT", 2, 2, product_size, product, "The product of two matrices.").all_arrays(),
        matrix("MUNIT", 1, 1, unit_size, unit, "The unit matrix.").note("its size must be constant"),
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
        matrix("UNIQUE", 1, 3, unique_size, unique, "The rows or columns of an array, each once.")
            .arrays(1)
            .note("the array must be constant: it decides the size of the result"),
    ]
}

/// The arguments before the row and the column of the item, and these two.
pub(super) fn place<'a, 'b>(args: &'b [Arg<'a>]) -> Result<(&'b [Arg<'a>], usize, usize), ErrorValue> {
    let (rest, [row, column]) = args.split_last_chunk::<2>().ok_or(ErrorValue::Value)?;
    Ok((rest, row.number()? as usize, column.number()? as usize))
}

/// The numbers of a matrix, row-major; anything else is `#VALUE!`.
pub(super) fn all_numbers(grid: &Grid<'_>) -> Result<Vec<f64>, ErrorValue> {
    grid.items
        .iter()
        .map(|value| match value {
            Value::Number(x) => Ok(*x),
            Value::Error(e) => Err(*e),
            _ => Err(ErrorValue::Value),
        })
        .collect()
}

fn product_size(args: &[Known<'_>]) -> Extent {
    let ((rows, inner), (other, columns)) = (args[0].size(), args[1].size());
    if inner == other { Extent::Of(rows, columns) } else { Extent::Error(ErrorValue::Value) }
}

fn product(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (args, row, column) = place(args)?;
    let (a, b) = (args[0].grid(), args[1].grid());
    let (x, y) = (all_numbers(&a)?, all_numbers(&b)?);
    let terms = (0..a.columns).map(|k| x[row * a.columns + k] * y[k * b.columns + column]);
    Ok(Value::Number(terms.fold(0.0, |sum, term| sum + term)))
}

/// Rows of a matrix that is inverted, at most.
const MOST: usize = 60;

fn inverse_size(args: &[Known<'_>]) -> Extent {
    match args[0].size() {
        (rows, columns) if rows == columns && rows <= MOST => Extent::Of(rows, columns),
        _ => Extent::Error(ErrorValue::Value),
    }
}

/// Gauss' elimination with partial pivots on `n` rows of `width` numbers; the determinant of the first n columns.
fn eliminate(a: &mut [f64], n: usize, width: usize) -> f64 {
    let mut determinant = 1.0;
    for k in 0..n {
        let mut pivot = k;
        for row in k + 1..n {
            if a[row * width + k].abs() > a[pivot * width + k].abs() {
                pivot = row;
            }
        }
        if a[pivot * width + k] == 0.0 {
            return 0.0;
        }
        if pivot != k {
            for column in 0..width {
                a.swap(pivot * width + column, k * width + column);
            }
            determinant = -determinant;
        }
        let head = a[k * width + k];
        determinant *= head;
        for row in k + 1..n {
            let factor = a[row * width + k] / head;
            if factor != 0.0 {
                for column in k..width {
                    a[row * width + column] -= factor * a[k * width + column];
                }
            }
        }
    }
    determinant
}

fn determinant(_: &Env, args: &[Arg<'_>]) -> Answer {
    let grid = args[0].grid();
    if grid.rows != grid.columns || grid.rows > MOST {
        return Err(ErrorValue::Value);
    }
    let mut a = all_numbers(&grid)?;
    Ok(Value::Number(eliminate(&mut a, grid.rows, grid.rows)))
}

fn inverse(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (args, row, column) = place(args)?;
    let grid = args[0].grid();
    let (n, items) = (grid.rows, all_numbers(&grid)?);
    // One column of the inverse solves the matrix for one column of the unit matrix.
    let width = n + 1;
    let mut a = vec![0.0; n * width];
    for i in 0..n {
        a[i * width..i * width + n].copy_from_slice(&items[i * n..(i + 1) * n]);
    }
    a[column * width + n] = 1.0;
    if eliminate(&mut a, n, width) == 0.0 {
        return Err(ErrorValue::Num);
    }
    for k in (0..n).rev() {
        for j in k + 1..n {
            a[k * width + n] -= a[k * width + j] * a[j * width + n];
        }
        a[k * width + n] /= a[k * width + k];
    }
    Ok(Value::Number(a[row * width + n]))
}

fn unit_size(args: &[Known<'_>]) -> Extent {
    match Known::value_or(args, 0, &Value::Blank).map(Value::to_number) {
        None => Extent::Unknown,
        Some(Ok(n)) if (1.0..=1000.0).contains(&n) => Extent::Of(n as usize, n as usize),
        Some(Ok(_)) => Extent::Error(ErrorValue::Value),
        Some(Err(e)) => Extent::Error(e),
    }
}

fn unit(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (_, row, column) = place(args)?;
    Ok(Value::Number(f64::from(u8::from(row == column))))
}

fn frequency_size(args: &[Known<'_>]) -> Extent {
    let (rows, columns) = args[1].size();
    Extent::Of(rows * columns + 1, 1)
}

fn frequency(_: &Env, args: &[Arg<'_>]) -> Answer {
    let (args, row, _) = place(args)?;
    let values = super::argument::numbers(&args[..1])?;
    let bins = super::argument::numbers(&args[1..2])?;
    let Some(bound) = bins.get(row) else {
        // Behind the last bin stands what exceeds all of them; cells that hold no bound count nothing.
        if row > bins.len() {
            return Ok(Value::Number(0.0));
        }
        let most = bins.iter().copied().reduce(f64::max).unwrap_or(f64::NEG_INFINITY);
        return Ok(Value::Number(values.iter().filter(|x| **x > most).count() as f64));
    };
    if bins[..row].contains(bound) {
        return Ok(Value::Number(0.0));
    }
    let below = bins.iter().copied().filter(|x| x < bound).reduce(f64::max).unwrap_or(f64::NEG_INFINITY);
    Ok(Value::Number(values.iter().filter(|x| **x > below && **x <= *bound).count() as f64))
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
    let grid = args[0].grid();
    let key = number_or(args, 1, 1.0)?.trunc();
    let descending = match number_or(args, 2, 1.0)? {
        1.0 => false,
        -1.0 => true,
        _ => return Err(ErrorValue::Value),
    };
    let by_column = args.get(3).map_or(Ok(false), Arg::boolean)?;
    let (lines, keys) = if by_column { (grid.columns, grid.rows) } else { (grid.rows, grid.columns) };
    if key < 1.0 || key > keys as f64 {
        return Err(ErrorValue::Value);
    }
    let key = key as usize - 1;
    let at = |line: usize, key: usize| {
        (if by_column { grid.at(key, line) } else { grid.at(line, key) }).unwrap_or(&Value::Blank)
    };
    let mut list: Vec<usize> = (0..lines).collect();
    list.sort_by(|a, b| order(at(*a, key), at(*b, key), descending));
    Ok(if by_column { at(list[column], row) } else { at(list[row], column) }.clone())
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
    let by_column = keys.first().is_some_and(|(key, _)| key.rows == 1 && key.columns > 1);
    let mut list: Vec<usize> = (0..if by_column { grid.columns } else { grid.rows }).collect();
    list.sort_by(|a, b| {
        keys.iter()
            .map(|(key, descending)| match (key.items.get(*a), key.items.get(*b)) {
                (Some(x), Some(y)) => order(x, y, *descending),
                _ => Ordering::Equal,
            })
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    let (row, column) = if by_column { (row, list[column]) } else { (list[row], column) };
    Ok(grid.at(row, column).cloned().unwrap_or_default())
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
    let (grid, condition) = (args[0].grid(), args[1].grid());
    let (list, across) =
        kept(condition.items, (condition.rows, condition.columns), (grid.rows, grid.columns))?;
    let found = if list.is_empty() {
        args.get(2).and_then(|arg| arg.grid().items.get(row * arg.grid().columns + column))
    } else if across {
        list.get(column).and_then(|column| grid.at(row, *column))
    } else {
        list.get(row).and_then(|row| grid.at(*row, column))
    };
    Ok(found.cloned().unwrap_or_default())
}

/// The first line of each kind; with `once`, only lines that occur once.
fn distinct(items: &[Value], (rows, columns): (usize, usize), across: bool, once: bool) -> Vec<usize> {
    let (lines, length) = if across { (columns, rows) } else { (rows, columns) };
    let same = |a: usize, b: usize| {
        (0..length).all(|k| {
            let at =
                |line: usize| if across { &items[k * columns + line] } else { &items[line * columns + k] };
            match (at(a), at(b)) {
                (Value::Error(x), Value::Error(y)) => x == y,
                (Value::Number(x), Value::Number(y)) => x == y,
                (x, y) => {
                    std::mem::discriminant(x) == std::mem::discriminant(y)
                        && x.compare(y) == Ok(Ordering::Equal)
                }
            }
        })
    };
    (0..lines)
        .filter(|i| !(0..*i).any(|j| same(*i, j)))
        .filter(|i| !once || !(i + 1..lines).any(|j| same(*i, j)))
        .collect()
}

/// Lines that `UNIQUE` compares with each other, at most.
const LINES: usize = 5_000;

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
    if rows.max(columns) > LINES {
        return Extent::Unknown;
    }
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
    let grid = args[0].grid();
    let (across, once) = unique_flags(args.get(1).map(Arg::value), args.get(2).map(Arg::value))?;
    let list = distinct(grid.items, (grid.rows, grid.columns), across, once);
    let found = if across {
        list.get(column).and_then(|column| grid.at(row, *column))
    } else {
        list.get(row).and_then(|row| grid.at(*row, column))
    };
    Ok(found.cloned().unwrap_or_default())
}
