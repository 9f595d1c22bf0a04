//! Functions whose result is an array. The compiler must know its size: from the shapes of the arguments, or from arguments that
//! are constant. Each item is computed by itself, so that an array is as many single values. Source: Microsoft's function reference.

use super::argument::Grid;
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
    pub(super) fn items(&self) -> Option<&'a [Value]> {
        match self {
            Known::Omitted => Some(std::slice::from_ref(&Value::Blank)),
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
        matrix("FREQUENCY", 2, 2, frequency_size, frequency, "How many values lie between bounds.")
            .all_arrays(),
        FunctionInfo::general("MDETERM", 1, 1, determinant, "The determinant of a matrix.")
            .note("up to 60 rows")
            .all_arrays(),
        matrix("MINVERSE", 1, 1, inverse_size, inverse, "The inverse of a matrix.").all_arrays(),
        matrix("MMULT", 2, 2, product_size, product, "The product of two matrices.").all_arrays(),
        matrix("MUNIT", 1, 1, unit_size, unit, "The unit matrix."),
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
