//! The evaluation of plans, for one record.

use std::borrow::Cow;

use super::{Body, Piece, Plan, Read};
use crate::functions::{Arg, Env, Extent, Grid, Kind, Known, by_index, selection};
use crate::program::arrange::{arranged, sequence_size, stacked};
use crate::program::graph::Op;
use crate::program::scalar;
use crate::value::{ErrorValue, Value};

/// Items that all arrays of one operation may have for one record; an array beyond them is `#NUM!`.
const ITEMS: usize = 1_000_000;
/// Bytes of the texts that are made for these items, likewise.
const TEXT: usize = 32_000_000;

/// Items that functions of whole arrays may read for these, likewise.
const READ: usize = 20_000_000;

/// What one operation may still make for one record, so that no record takes memory or time without bound.
struct Budget {
    items: usize,
    text: usize,
    read: usize,
}

impl Budget {
    /// Room for an array of this size.
    fn room(&mut self, rows: usize, columns: usize) -> Result<usize, ErrorValue> {
        let count = rows.checked_mul(columns).filter(|count| *count <= self.items).ok_or(ErrorValue::Num)?;
        self.items -= count;
        Ok(count)
    }

    /// Time for a function that reads the same arrays for each of so many items.
    fn time(&mut self, times: usize, args: &[Arg<'_>]) -> Result<(), ErrorValue> {
        let size = |arg: &Arg<'_>| match arg {
            Arg::Array(grid) => grid.items.len(),
            _ => 0,
        };
        let read = args.iter().map(size).sum::<usize>().saturating_mul(times);
        self.read = self.read.checked_sub(read).ok_or(ErrorValue::Num)?;
        Ok(())
    }

    /// Room for the text of an item.
    fn text(&mut self, value: &Value) -> Result<(), ErrorValue> {
        if let Value::Text(text) = value {
            self.text = self.text.checked_sub(text.len()).ok_or(ErrorValue::Num)?;
        }
        Ok(())
    }
}

/// What a piece has become.
enum Held<'a> {
    Omitted,
    One(Cow<'a, Value>),
    Many { rows: usize, columns: usize, items: Cow<'a, [Value]> },
}

impl Held<'_> {
    fn of(value: impl Into<Value>) -> Self {
        Self::One(Cow::Owned(value.into()))
    }

    fn many(rows: usize, columns: usize, items: Vec<Value>) -> Self {
        Self::Many { rows, columns, items: Cow::Owned(items) }
    }

    /// The single value, the first one of an array.
    fn value(&self) -> &Value {
        match self {
            Self::Omitted => &Value::Blank,
            Self::One(value) => value,
            Self::Many { items, .. } => items.first().unwrap_or(&Value::Blank),
        }
    }

    fn argument(&self) -> Arg<'_> {
        match self {
            Self::Omitted => Arg::Omitted,
            Self::One(value) => Arg::Value(value),
            Self::Many { rows, columns, items } => {
                Arg::Array(Grid { rows: *rows, columns: *columns, items, index: None })
            }
        }
    }

    fn size(&self) -> (usize, usize) {
        match self {
            Self::Many { rows, columns, .. } => (*rows, *columns),
            _ => (1, 1),
        }
    }

    fn items(&self) -> &[Value] {
        match self {
            Self::Many { items, .. } => items,
            other => std::slice::from_ref(other.value()),
        }
    }

    /// The item at a place of a larger rectangle; `#N/A` beyond its end.
    fn item(&self, row: usize, column: usize) -> &Value {
        let (rows, columns) = self.size();
        let (row, column) = (if rows == 1 { 0 } else { row }, if columns == 1 { 0 } else { column });
        if row < rows && column < columns {
            self.items().get(row * columns + column).unwrap_or(&Value::Blank)
        } else {
            &Value::Error(ErrorValue::NA)
        }
    }
}

/// The value of an operation with a plan.
pub(in crate::program) fn evaluate(plan: &Plan, args: &[Arg<'_>], env: &Env) -> Value {
    let mut held: Vec<Held<'_>> = Vec::with_capacity(plan.pieces.len());
    let mut budget = Budget { items: ITEMS, text: TEXT, read: READ };
    for piece in &plan.pieces {
        let made = made(piece, &held, args, env, &mut budget).unwrap_or_else(Held::of);
        held.push(made);
    }
    held.pop().map_or(Value::Blank, |last| match last {
        Held::One(value) => value.into_owned(),
        other => other.value().clone(),
    })
}

fn made<'a>(
    piece: &Piece,
    held: &[Held<'a>],
    args: &[Arg<'a>],
    env: &Env,
    budget: &mut Budget,
) -> Result<Held<'a>, ErrorValue> {
    let of = |list: &[u32]| list.iter().map(|i| &held[*i as usize]).collect::<Vec<_>>();
    Ok(match piece {
        Piece::Argument(i) => match args.get(*i as usize) {
            None | Some(Arg::Omitted) => Held::Omitted,
            Some(Arg::Value(value)) => Held::One(Cow::Borrowed(value)),
            Some(Arg::Array(grid)) => {
                Held::Many { rows: grid.rows, columns: grid.columns, items: Cow::Borrowed(grid.items) }
            }
        },
        Piece::Call(function, list) => return call(*function, &of(list), env, budget),
        Piece::Each { over, body } => {
            return repeated(&of(over), budget, |items| done(body, items, args, env));
        }
        Piece::Size { rows, of } => match &held[*of as usize] {
            Held::Many { rows: r, columns: c, .. } => Held::of(if *rows { *r as f64 } else { *c as f64 }),
            other => match other.value() {
                Value::Error(e) => return Err(*e),
                _ => Held::of(1.0),
            },
        },
        Piece::Index(list) => return indexed(&of(list), budget),
        Piece::Sequence(list) => {
            let told = told(&of(list), 1.0)?;
            let number = |i: usize| told.get(i).copied().unwrap_or(1.0);
            let (rows, columns) = sequence_size(number(0), number(1))?;
            let count = budget.room(rows, columns)?;
            Held::many(rows, columns, (0..count).map(|i| (number(2) + number(3) * i as f64).into()).collect())
        }
        Piece::Arrange(form, list) => {
            let list = of(list);
            let (rows, columns) = list[0].size();
            let found = arranged(*form, (rows, columns), &told(&list[1..], f64::NAN)?)?;
            budget.room(found.rows, found.columns)?;
            let items = list[0].items();
            let pick = |from: &Option<usize>| from.map_or(ErrorValue::NA.into(), |i| items[i].clone());
            Held::many(found.rows, found.columns, found.from.iter().map(pick).collect())
        }
        Piece::Stack { across, of: list } => {
            let list = of(list);
            let sizes: Vec<_> = list.iter().map(|held| held.size()).collect();
            let (rows, columns, from) = stacked(&sizes, *across, budget.items).ok_or(ErrorValue::Num)?;
            budget.room(rows, columns)?;
            let pick = |from: &Option<(usize, usize)>| match from {
                Some((array, item)) => list[*array].items()[*item].clone(),
                None => ErrorValue::NA.into(),
            };
            Held::many(rows, columns, from.iter().map(pick).collect())
        }
    })
}

/// Arguments as numbers, with another one for those left empty.
fn told(list: &[&Held<'_>], omitted: f64) -> Result<Vec<f64>, ErrorValue> {
    list.iter()
        .map(|held| match held {
            Held::Omitted => Ok(omitted),
            other => other.value().to_number(),
        })
        .collect()
}

/// Something for each item of arrays of any sizes, or once where all are single.
fn repeated<'a>(
    over: &[&Held<'_>],
    budget: &mut Budget,
    mut f: impl FnMut(&[&Value]) -> Value,
) -> Result<Held<'a>, ErrorValue> {
    let (rows, columns) = over.iter().fold((1, 1), |(rows, columns), held| {
        let (r, c) = held.size();
        (rows.max(r), columns.max(c))
    });
    let count = budget.room(rows, columns)?;
    if count == 1 {
        let items: Vec<&Value> = over.iter().map(|held| held.value()).collect();
        return Ok(Held::of(f(&items)));
    }
    let mut made = Vec::with_capacity(count);
    let mut items: Vec<&Value> = Vec::with_capacity(over.len());
    for row in 0..rows {
        for column in 0..columns {
            items.clear();
            items.extend(over.iter().map(|held| held.item(row, column)));
            let value = f(&items);
            budget.text(&value)?;
            made.push(value);
        }
    }
    Ok(Held::many(rows, columns, made))
}

/// What a body makes of items.
fn done(body: &Body, items: &[&Value], args: &[Arg<'_>], env: &Env) -> Value {
    let mut results: Vec<Value> = Vec::with_capacity(body.steps.len());
    for (op, reads) in &body.steps {
        let list: Vec<Arg<'_>> = reads
            .iter()
            .map(|read| match read {
                Read::Step(i) => Arg::Value(&results[*i as usize]),
                Read::Item(i) => Arg::Value(items[*i as usize]),
                Read::Argument(i) => args.get(*i as usize).copied().unwrap_or_default(),
                Read::Omitted => Arg::Omitted,
            })
            .collect();
        let value = scalar::evaluate(*op, &list, env);
        results.push(value);
    }
    match body.result {
        Read::Step(i) => results.swap_remove(i as usize),
        Read::Item(i) => items[i as usize].clone(),
        Read::Argument(i) => args.get(i as usize).map_or(Value::Blank, |arg| arg.value().clone()),
        Read::Omitted => Value::Blank,
    }
}

fn call<'a>(index: u16, args: &[&Held<'_>], env: &Env, budget: &mut Budget) -> Result<Held<'a>, ErrorValue> {
    let function = by_index(index);
    let op = Op::Call(index);
    if let Kind::Matrix(size, _) = function.kind {
        let list: Vec<Arg<'_>> = args
            .iter()
            .enumerate()
            .map(|(i, held)| match held {
                Held::Many { .. } if !function.takes_array(i) => Arg::Value(held.value()),
                held => held.argument(),
            })
            .collect();
        if let Some(found) = selection::selected(function, &list) {
            let (rows, columns, items) = found?;
            budget.room(rows, columns)?;
            return Ok(Held::many(rows, columns, items));
        }
        let known: Vec<Known<'_>> = list.iter().map(selection::known).collect();
        let (rows, columns) = match size(&known) {
            Extent::Of(rows, columns) => (rows, columns),
            Extent::Error(e) => return Err(e),
            Extent::Unknown => return Err(ErrorValue::Num),
        };
        budget.time(rows.saturating_mul(columns), &list)?;
        let mut items = Vec::with_capacity(budget.room(rows, columns)?);
        for row in 0..rows {
            for column in 0..columns {
                let place = [Value::Number(row as f64), Value::Number(column as f64)];
                let mut list = list.clone();
                list.extend(place.iter().map(Arg::Value));
                items.push(scalar::evaluate(op, &list, env));
            }
        }
        return Ok(Held::many(rows, columns, items));
    }
    let single: Vec<usize> = (0..args.len()).filter(|i| !function.takes_array(*i)).collect();
    let over: Vec<&Held<'_>> = single.iter().map(|i| args[*i]).collect();
    let arguments: Vec<Arg<'_>> = args.iter().map(|held| held.argument()).collect();
    let longest = over.iter().map(|held| held.size()).fold((1, 1), |(r, c), s| (r.max(s.0), c.max(s.1)));
    budget.time(longest.0.saturating_mul(longest.1), &arguments)?;
    repeated(&over, budget, |items| {
        let mut list = arguments.clone();
        for (i, item) in single.iter().zip(items) {
            if !matches!(list[*i], Arg::Omitted) {
                list[*i] = Arg::Value(item);
            }
        }
        scalar::evaluate(op, &list, env)
    })
}

/// `INDEX` of an array: a row or column of 0 is all of them.
fn indexed<'a>(list: &[&Held<'_>], budget: &mut Budget) -> Result<Held<'a>, ErrorValue> {
    let (array, places) = (list[0], &list[1..]);
    let (rows, columns) = array.size();
    let mut wanted = [0.0, 0.0];
    for (wanted, place) in wanted.iter_mut().zip(places) {
        *wanted = place.value().to_number()?.trunc();
    }
    let [mut row, mut column] = wanted;
    if places.len() == 1 && rows == 1 && columns > 1 {
        (row, column) = (1.0, row);
    } else if places.len() == 1 && columns == 1 {
        column = 1.0;
    }
    if row < 0.0 || column < 0.0 {
        return Err(ErrorValue::Value);
    }
    if row > rows as f64 || column > columns as f64 {
        return Err(ErrorValue::Ref);
    }
    let line =
        |place: f64, count: usize| if place == 0.0 { 0..count } else { place as usize - 1..place as usize };
    let (r, c) = (line(row, rows), line(column, columns));
    budget.room(r.len(), c.len())?;
    let items: Vec<Value> = r
        .clone()
        .flat_map(|row| c.clone().map(move |column| (row, column)))
        .map(|(row, column)| array.items()[row * columns + column].clone())
        .collect();
    Ok(match <[Value; 1]>::try_from(items) {
        Ok([single]) => Held::of(single),
        Err(items) => Held::many(r.len(), c.len(), items),
    })
}
