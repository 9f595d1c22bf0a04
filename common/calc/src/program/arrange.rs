//! Which items the functions take that only rearrange arrays: `TAKE`, `HSTACK` and their kin. Source: Microsoft's descriptions.

use crate::formula::{MAX_COLUMN, MAX_ROW};
use crate::functions::Form;
use crate::value::ErrorValue;

/// An array made of the items of another one; `None` for `#N/A`.
#[derive(Debug)]
pub(super) struct Arranged {
    pub rows: usize,
    pub columns: usize,
    pub from: Vec<Option<usize>>,
}

/// What a function makes of an array of this size; `told` are its other arguments, NaN where one is left out.
pub(super) fn arranged(
    form: Form,
    (rows, columns): (usize, usize),
    told: &[f64],
) -> Result<Arranged, ErrorValue> {
    let all = |n: usize| (0..n).collect::<Vec<usize>>();
    let part = |r: &[usize], c: &[usize]| Arranged {
        rows: r.len(),
        columns: c.len(),
        from: r.iter().flat_map(|row| c.iter().map(move |column| Some(row * columns + column))).collect(),
    };
    match form {
        Form::ChooseColumns | Form::ChooseRows => {
            let across = form == Form::ChooseColumns;
            let count = if across { columns } else { rows };
            let chosen: Option<Vec<usize>> = told.iter().map(|x| from_either_end(*x, count)).collect();
            let chosen = chosen.ok_or(ErrorValue::Value)?;
            Ok(if across { part(&all(rows), &chosen) } else { part(&chosen, &all(columns)) })
        }
        Form::Take | Form::Drop => {
            let take = form == Form::Take;
            let r = kept(rows, told.first().copied(), take);
            let c = kept(columns, told.get(1).copied(), take);
            if r.is_empty() || c.is_empty() { Err(ErrorValue::Calc) } else { Ok(part(&r, &c)) }
        }
        Form::ToColumn | Form::ToRow => {
            let by_column = told.get(1).is_some_and(|x| !x.is_nan() && *x != 0.0);
            let from: Vec<Option<usize>> = if by_column {
                (0..columns).flat_map(|c| (0..rows).map(move |r| Some(r * columns + c))).collect()
            } else {
                (0..rows * columns).map(Some).collect()
            };
            let n = from.len();
            let (rows, columns) = if form == Form::ToColumn { (n, 1) } else { (1, n) };
            Ok(Arranged { rows, columns, from })
        }
        Form::WrapColumns | Form::WrapRows => {
            let length = told.first().copied().unwrap_or(f64::NAN).trunc();
            if (rows > 1 && columns > 1) || told.len() > 1 || length.is_nan() {
                return Err(ErrorValue::Value);
            }
            if length < 1.0 {
                return Err(ErrorValue::Num);
            }
            let count = rows * columns;
            let length = (length as usize).min(count);
            let lines = count.div_ceil(length);
            let at = |line: usize, i: usize| Some(line * length + i).filter(|item| *item < count);
            Ok(if form == Form::WrapRows {
                let from = (0..lines * length).map(|k| at(k / length, k % length)).collect();
                Arranged { rows: lines, columns: length, from }
            } else {
                let from = (0..lines * length).map(|k| at(k % lines, k / lines)).collect();
                Arranged { rows: length, columns: lines, from }
            })
        }
        // TRANSPOSE.
        _ => Ok(Arranged {
            rows: columns,
            columns: rows,
            from: (0..columns).flat_map(|c| (0..rows).map(move |r| Some(r * columns + c))).collect(),
        }),
    }
}

/// The rows and columns of arrays beside or below each other, and the array and item that each place comes from. `None` for more
/// items than `most`.
#[expect(clippy::type_complexity, reason = "said above")]
pub(super) fn stacked(
    sizes: &[(usize, usize)],
    across: bool,
    most: usize,
) -> Option<(usize, usize, Vec<Option<(usize, usize)>>)> {
    let along: usize = sizes.iter().map(|s| if across { s.1 } else { s.0 }).sum();
    let other = sizes.iter().map(|s| if across { s.0 } else { s.1 }).max().unwrap_or(0);
    let (rows, columns) = if across { (other, along) } else { (along, other) };
    let count = rows.checked_mul(columns).filter(|count| *count <= most)?;
    let mut from = vec![None; count];
    let mut start = 0;
    for (array, (r, c)) in sizes.iter().copied().enumerate() {
        for row in 0..r {
            for column in 0..c {
                let (down, right) = if across { (row, start + column) } else { (start + row, column) };
                from[down * columns + right] = Some((array, row * c + column));
            }
        }
        start += if across { c } else { r };
    }
    Some((rows, columns, from))
}

/// The rows and columns of a sequence. Source: Excel shows `#CALC!` for an empty array and `#VALUE!` for a size below zero or beyond
/// the sheet.
pub(super) fn sequence_size(rows: f64, columns: f64) -> Result<(usize, usize), ErrorValue> {
    let (rows, columns) = (rows.trunc(), columns.trunc());
    if rows < 0.0 || columns < 0.0 || rows > f64::from(MAX_ROW) + 1.0 || columns > f64::from(MAX_COLUMN) + 1.0
    {
        return Err(ErrorValue::Value);
    }
    if rows == 0.0 || columns == 0.0 {
        return Err(ErrorValue::Calc);
    }
    Ok((rows as usize, columns as usize))
}

/// A one-based place, counted from the end when negative, as an offset.
fn from_either_end(x: f64, count: usize) -> Option<usize> {
    let x = x.trunc();
    let place = if x < 0.0 { count as f64 + x } else { x - 1.0 };
    (x != 0.0 && place >= 0.0 && place < count as f64).then_some(place as usize)
}

/// The lines that `TAKE` keeps, or those that `DROP` leaves; negative counts start at the end.
fn kept(count: usize, wanted: Option<f64>, take: bool) -> Vec<usize> {
    let Some(wanted) = wanted.filter(|x| !x.is_nan()).map(f64::trunc) else { return (0..count).collect() };
    let n = (wanted.abs() as usize).min(count);
    match (take, wanted < 0.0) {
        (true, false) => (0..n).collect(),
        (true, true) => (count - n..count).collect(),
        (false, false) => (n..count).collect(),
        (false, true) => (0..count - n).collect(),
    }
}
