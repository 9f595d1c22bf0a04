//! Least squares: `LINEST`, `LOGEST`, `TREND`, `GROWTH`, by Householder's reflections on centred columns. Source: Microsoft's
//! function reference: columns that depend on others get the coefficient 0 and count no degree of freedom.

use super::argument::Grid;
use super::matrix::{Extent, Known, all_numbers, place};
use super::{Answer, Arg, FunctionInfo};
use crate::value::{ErrorValue, Value};

pub(super) fn functions() -> Vec<FunctionInfo> {
    let matrix = FunctionInfo::matrix;
    vec![
        matrix(
            "GROWTH",
            1,
            4,
            trend_size,
            |_, a| trend(a, true),
            "Values on an exponential curve through points.",
        )
        .arrays(0b111),
        matrix(
            "LINEST",
            1,
            4,
            line_size,
            |_, a| line(a, false),
            "The straight line through points, with its statistics.",
        )
        .arrays(0b11)
        .note("whether statistics are wanted must be constant"),
        matrix(
            "LOGEST",
            1,
            4,
            line_size,
            |_, a| line(a, true),
            "The exponential curve through points, with its statistics.",
        )
        .arrays(0b11)
        .note("whether statistics are wanted must be constant"),
        matrix(
            "TREND",
            1,
            4,
            trend_size,
            |_, a| trend(a, false),
            "Values on the straight line through points.",
        )
        .arrays(0b111),
    ]
}

/// What a fit found.
struct Fit {
    /// One for each variable.
    slopes: Vec<f64>,
    intercept: f64,
    /// Rows of the inverse of R, for the standard errors.
    inverse: Vec<Vec<f64>>,
    means: Vec<f64>,
    residual: f64,
    total: f64,
    rank: usize,
    count: usize,
    constant: bool,
}

/// The variables of a range of known x: each is a column when the known y are a column, and so on.
fn variables(ys: &Grid<'_>, xs: &Grid<'_>) -> Result<Vec<Vec<f64>>, ErrorValue> {
    let items = all_numbers(xs)?;
    if (xs.rows, xs.columns) == (ys.rows, ys.columns) {
        return Ok(vec![items]);
    }
    if ys.columns == 1 && xs.rows == ys.rows {
        return Ok((0..xs.columns)
            .map(|c| (0..xs.rows).map(|r| items[r * xs.columns + c]).collect())
            .collect());
    }
    if ys.rows == 1 && xs.columns == ys.columns {
        return Ok(items.chunks(xs.columns).map(<[f64]>::to_vec).collect());
    }
    Err(ErrorValue::Ref)
}

fn fit(mut ys: Vec<f64>, mut columns: Vec<Vec<f64>>, constant: bool) -> Fit {
    let (n, p) = (ys.len(), columns.len());
    let mean = |list: &[f64]| list.iter().fold(0.0, |sum, x| sum + x) / list.len() as f64;
    let mut means = vec![0.0; p];
    let mut mean_y = 0.0;
    if constant {
        mean_y = mean(&ys);
        ys.iter_mut().for_each(|y| *y -= mean_y);
        for (column, middle) in columns.iter_mut().zip(&mut means) {
            *middle = mean(column);
            column.iter_mut().for_each(|x| *x -= *middle);
        }
    }
    let total = ys.iter().fold(0.0, |sum, y| sum + y * y);
    let norm = |list: &[f64]| list.iter().fold(0.0, |sum, x| sum + x * x).sqrt();
    let sizes: Vec<f64> = columns.iter().map(|column| norm(column)).collect();
    let mut pivots = Vec::new();
    for k in 0..p {
        let rank = pivots.len();
        let length = if rank < n { norm(&columns[k][rank..]) } else { 0.0 };
        // What is left of a column that depends on the others is rounding.
        if length <= sizes[k] * 1e-10 || length == 0.0 {
            continue;
        }
        let head = columns[k][rank];
        let alpha = if head > 0.0 { -length } else { length };
        let mut v = columns[k][rank..].to_vec();
        v[0] -= alpha;
        let scale = v.iter().fold(0.0, |sum, x| sum + x * x);
        let reflect = |list: &mut [f64]| {
            let dot = v.iter().zip(&list[rank..]).fold(0.0, |sum, (a, b)| sum + a * b);
            for (x, a) in list[rank..].iter_mut().zip(&v) {
                *x -= 2.0 * dot / scale * a;
            }
        };
        for column in &mut columns[k..] {
            reflect(column);
        }
        reflect(&mut ys);
        pivots.push(k);
    }
    let rank = pivots.len();
    // Solve the triangle for the slopes, and for the columns of its inverse.
    let solve = |right: &mut Vec<f64>| {
        for i in (0..rank).rev() {
            for j in i + 1..rank {
                right[i] -= columns[pivots[j]][i] * right[j];
            }
            right[i] /= columns[pivots[i]][i];
        }
    };
    let mut solution = ys[..rank].to_vec();
    solve(&mut solution);
    let mut inverse = vec![vec![0.0; rank]; p];
    for column in 0..rank {
        let mut right = vec![0.0; rank];
        right[column] = 1.0;
        solve(&mut right);
        for (row, x) in right.iter().enumerate() {
            inverse[pivots[row]][column] = *x;
        }
    }
    let mut slopes = vec![0.0; p];
    for (pivot, x) in pivots.iter().zip(&solution) {
        slopes[*pivot] = *x;
    }
    let residual = ys[rank.min(n)..].iter().fold(0.0, |sum, y| sum + y * y);
    let intercept =
        if constant { slopes.iter().zip(&means).fold(mean_y, |sum, (m, x)| sum - m * x) } else { 0.0 };
    Fit { slopes, intercept, inverse, means, residual, total, rank, count: n, constant }
}

impl Fit {
    fn degrees(&self) -> f64 {
        self.count as f64 - self.rank as f64 - f64::from(u8::from(self.constant))
    }

    /// One number of the table of statistics.
    fn statistic(&self, row: usize, column: usize) -> Answer {
        let p = self.slopes.len();
        let degrees = self.degrees();
        let variance = if degrees > 0.0 { self.residual / degrees } else { 0.0 };
        let explained = (self.total - self.residual).max(0.0);
        let x = match (row, column) {
            (0, c) if c < p => self.slopes[p - 1 - c],
            (0, _) => self.intercept,
            (1, c) if c < p => {
                let squares = self.inverse[p - 1 - c].iter().fold(0.0, |sum, x| sum + x * x);
                (variance * squares).sqrt()
            }
            (1, _) if !self.constant => return Err(ErrorValue::NA),
            (1, _) => {
                let mut sum = 1.0 / self.count as f64;
                for k in 0..self.rank {
                    let part =
                        self.inverse.iter().zip(&self.means).fold(0.0, |sum, (row, x)| sum + row[k] * x);
                    sum += part * part;
                }
                (variance * sum).sqrt()
            }
            (2, 0) => {
                if self.total == 0.0 {
                    1.0
                } else {
                    explained / self.total
                }
            }
            (2, 1) => variance.sqrt(),
            (3, 0) => {
                if variance == 0.0 {
                    return Err(ErrorValue::Num);
                }
                explained / self.rank as f64 / variance
            }
            (3, 1) => degrees,
            (4, 0) => explained,
            (4, 1) => self.residual,
            _ => return Err(ErrorValue::NA),
        };
        Ok(Value::Number(x))
    }
}

fn flag(args: &[Arg<'_>], index: usize, default: bool) -> Result<bool, ErrorValue> {
    match args.get(index) {
        None | Some(Arg::Omitted) => Ok(default),
        Some(arg) => arg.boolean(),
    }
}

/// The known points and their fit; logarithms of y for a curve.
fn fitted(args: &[Arg<'_>], constant: bool, curve: bool) -> Result<Fit, ErrorValue> {
    let grid = args[0].grid();
    let mut ys = all_numbers(&grid)?;
    if curve {
        if ys.iter().any(|y| *y <= 0.0) {
            return Err(ErrorValue::Num);
        }
        ys.iter_mut().for_each(|y| *y = libm::log(*y));
    }
    let columns = match args.get(1) {
        None | Some(Arg::Omitted) => vec![(1..=ys.len()).map(|i| i as f64).collect()],
        Some(arg) => variables(&grid, &arg.grid())?,
    };
    Ok(fit(ys, columns, constant))
}

fn line_size(args: &[Known<'_>]) -> Extent {
    let no = Value::Boolean(false);
    let (rows, columns) = args[0].size();
    let count = match args.get(1) {
        None | Some(Known::Omitted) => 1,
        Some(xs) => match xs.size() {
            size if size == (rows, columns) => 1,
            (r, c) if columns == 1 && r == rows => c,
            (r, c) if rows == 1 && c == columns => r,
            _ => return Extent::Error(ErrorValue::Ref),
        },
    };
    match Known::value_or(args, 3, &no).map(Value::to_boolean) {
        None => Extent::Unknown,
        Some(Ok(statistics)) => Extent::Of(if statistics { 5 } else { 1 }, count + 1),
        Some(Err(e)) => Extent::Error(e),
    }
}

fn line(args: &[Arg<'_>], curve: bool) -> Answer {
    let (args, row, column) = place(args)?;
    let fit = fitted(args, flag(args, 2, true)?, curve)?;
    match fit.statistic(row, column)? {
        Value::Number(x) if curve && row == 0 => Ok(Value::Number(libm::exp(x))),
        other => Ok(other),
    }
}

fn trend_size(args: &[Known<'_>]) -> Extent {
    let (rows, columns) = args[0].size();
    match args.get(2) {
        None | Some(Known::Omitted) => Extent::Of(rows, columns),
        Some(new) => {
            let (r, c) = new.size();
            let several = match args.get(1) {
                None | Some(Known::Omitted) => false,
                Some(xs) => xs.size() != (rows, columns),
            };
            match (several, columns == 1) {
                (false, _) => Extent::Of(r, c),
                (true, true) => Extent::Of(r, 1),
                (true, false) => Extent::Of(1, c),
            }
        }
    }
}

fn trend(args: &[Arg<'_>], curve: bool) -> Answer {
    let (args, row, column) = place(args)?;
    let fit = fitted(args, flag(args, 3, true)?, curve)?;
    let ys = args[0].grid();
    let count = fit.slopes.len();
    let new = match args.get(2) {
        None | Some(Arg::Omitted) => args.get(1).filter(|arg| !matches!(arg, Arg::Omitted)),
        other => other,
    };
    let point: Vec<f64> = match new {
        None => vec![(row * ys.columns + column) as f64 + 1.0],
        Some(arg) => {
            let grid = arg.grid();
            let items = all_numbers(&grid)?;
            let at = |r: usize, c: usize| items.get(r * grid.columns + c).copied().ok_or(ErrorValue::Ref);
            if count == 1 && (grid.rows == 1 || grid.columns == 1 || fit.count == ys.items.len()) {
                vec![at(row, column)?]
            } else if ys.columns == 1 {
                if grid.columns != count {
                    return Err(ErrorValue::Ref);
                }
                (0..count).map(|c| at(row, c)).collect::<Result<_, _>>()?
            } else {
                if grid.rows != count {
                    return Err(ErrorValue::Ref);
                }
                (0..count).map(|r| at(r, column)).collect::<Result<_, _>>()?
            }
        }
    };
    let y = fit.slopes.iter().zip(&point).fold(fit.intercept, |sum, (m, x)| sum + m * x);
    Ok(Value::Number(if curve { libm::exp(y) } else { y }))
}
