//! Lookups: places in rows and columns, and the values there.

use super::compile::{Compiler, Lower};
use super::graph::{Op, Operand, Search, Src};
use super::lower::{At, Mode, Shape, unsupported};
use crate::formula::{Binary, Expr};
use crate::functions;
use crate::value::{ErrorValue, Value};

impl Compiler<'_> {
    /// The value at a one-based row and column.
    pub(super) fn pick(&mut self, array: u32, row: Src, column: Src) -> Lower<Src> {
        if let (Some(row), Some(column)) = (self.builder.constant_of(row), self.builder.constant_of(column)) {
            let (rows, columns) = self.builder.shape(array);
            return Ok(match super::scalar::place(rows, columns, row.to_lane(), column.to_lane()) {
                Ok(place) => self.builder.item(array, place / columns, place % columns),
                Err(e) => self.builder.constant(e.into()),
            });
        }
        Ok(self.builder.add(Op::Pick, &[Operand::Array(array), Operand::Src(row), Operand::Src(column)])?)
    }

    pub(super) fn position(&mut self, search: Search, key: Src, array: u32) -> Lower<Src> {
        let (rows, columns) = self.builder.shape(array);
        if rows > 1 && columns > 1 {
            return Ok(self.builder.constant(ErrorValue::NA.into()));
        }
        Ok(self.builder.add(Op::Position(search), &[Operand::Src(key), Operand::Array(array)])?)
    }

    pub(super) fn match_form(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        let array = self.array_argument(&args[1], at)?;
        let key = self.argument(&args[0], at, mode)?;
        let kind = match args.get(2) {
            None => Shape::Src(self.builder.number(1.0)),
            Some(expr) => Shape::Src(self.scalar(expr, at)?),
        };
        self.lift(&[key, kind], &mut |c, s| {
            if let Some(value) = c.builder.constant_of(s[1]) {
                return match value.to_number() {
                    Ok(x) if x > 0.0 => c.position(Search::Ascending, s[0], array),
                    Ok(x) if x < 0.0 => c.position(Search::Descending, s[0], array),
                    Ok(_) => c.position(Search::Exact, s[0], array),
                    Err(e) => Ok(c.builder.constant(e.into())),
                };
            }
            let exact = c.position(Search::Exact, s[0], array)?;
            let up = c.position(Search::Ascending, s[0], array)?;
            let down = c.position(Search::Descending, s[0], array)?;
            let zero = c.builder.number(0.0);
            // A comparison would put a boolean above every number.
            let kind = c.builder.add_src(Op::Binary(Binary::Add), &[s[1], zero])?;
            let positive = c.builder.add_src(Op::Binary(Binary::Greater), &[kind, zero])?;
            let negative = c.builder.add_src(Op::Binary(Binary::Less), &[kind, zero])?;
            let rest = c.builder.add_src(Op::If, &[negative, down, exact])?;
            Ok(c.builder.add_src(Op::If, &[positive, up, rest])?)
        })
    }

    /// `VLOOKUP` and `HLOOKUP`: the place of the key in the first line, and the value there in another line.
    pub(super) fn table_lookup(
        &mut self,
        vertical: bool,
        args: &[Expr],
        at: &mut At,
        mode: Mode,
    ) -> Lower<Shape> {
        let table = self.array_argument(&args[1], at)?;
        let first = self.line(table, !vertical, 0)?;
        let key = self.argument(&args[0], at, mode)?;
        let line = self.argument(&args[2], at, mode)?;
        let near = match args.get(3) {
            None => Shape::Src(self.builder.constant(Value::Boolean(true))),
            Some(expr) => Shape::Src(self.scalar(expr, at)?),
        };
        self.lift(&[key, line, near], &mut |c, s| {
            let place = match c.builder.constant_of(s[2]).map(Value::to_boolean) {
                Some(Ok(true)) => c.position(Search::Ascending, s[0], first)?,
                Some(Ok(false)) => c.position(Search::Exact, s[0], first)?,
                Some(Err(e)) => c.builder.constant(e.into()),
                None => {
                    let near = c.position(Search::Ascending, s[0], first)?;
                    let exact = c.position(Search::Exact, s[0], first)?;
                    c.builder.add_src(Op::If, &[s[2], near, exact])?
                }
            };
            let count = if vertical { c.builder.shape(table).1 } else { c.builder.shape(table).0 };
            if let Some(Ok(x)) = c.builder.constant_of(s[1]).map(Value::to_number)
                && x >= 1.0
                && (x as usize) <= count
            {
                let values = c.line(table, !vertical, x as usize - 1)?;
                let one = c.builder.number(1.0);
                let (row, column) = if vertical { (place, one) } else { (one, place) };
                return c.pick(values, row, column);
            }
            let (row, column) = if vertical { (place, s[1]) } else { (s[1], place) };
            c.pick(table, row, column)
        })
    }

    pub(super) fn lookup(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        let array = self.array_argument(&args[1], at)?;
        let (rows, columns) = self.builder.shape(array);
        let (keys, values) = match args.get(2) {
            Some(expr) => (array, self.array_argument(expr, at)?),
            None if columns > rows => (self.line(array, true, 0)?, self.line(array, true, rows - 1)?),
            None => (self.line(array, false, 0)?, self.line(array, false, columns - 1)?),
        };
        let key = self.argument(&args[0], at, mode)?;
        let across = self.builder.shape(values).0 == 1;
        self.lift(&[key], &mut |c, s| {
            let place = c.position(Search::Ascending, s[0], keys)?;
            let one = c.builder.number(1.0);
            if across { c.pick(values, one, place) } else { c.pick(values, place, one) }
        })
    }

    /// The search of `XLOOKUP` and `XMATCH`, whose modes must be known.
    pub(super) fn search_mode(
        &mut self,
        matching: Option<&Expr>,
        order: Option<&Expr>,
        at: &mut At,
    ) -> Lower<Search> {
        let matching = self.known_number(matching, 0.0, at)?;
        let order = self.known_number(order, 1.0, at)?;
        let (Some(matching), Some(order)) = (matching, order) else {
            return Err(unsupported("a match mode or search mode that depends on the inputs"));
        };
        let last = order == -1.0;
        Ok(match matching as i32 {
            0 => Search::Equal { last },
            -1 => Search::NextSmaller { last },
            1 => Search::NextGreater { last },
            2 => Search::Wildcard { last },
            _ => return Err(unsupported("this match mode")),
        })
    }

    pub(super) fn xlookup(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        let search = self.search_mode(args.get(4), args.get(5), at)?;
        let keys = self.array_argument(&args[1], at)?;
        let values = self.array_argument(&args[2], at)?;
        let key = self.argument(&args[0], at, mode)?;
        let otherwise = match args.get(3) {
            None | Some(Expr::Omitted) => Shape::Src(self.builder.constant(ErrorValue::NA.into())),
            Some(expr) => self.argument(expr, at, mode)?,
        };
        let (key_rows, key_columns) = self.builder.shape(keys);
        let (rows, columns) = self.builder.shape(values);
        let across = key_rows == 1 && key_columns > 1;
        if (across && columns != key_columns) || (!across && rows != key_rows) {
            return Ok(Shape::Src(self.builder.constant(ErrorValue::Value.into())));
        }
        // The other direction of the result, all of it.
        let count = if across { rows } else { columns };
        let other =
            if count == 1 { Shape::Src(self.builder.number(1.0)) } else { self.counting(count, !across)? };
        let (is_na, _) = functions::find("ISNA").ok_or_else(|| unsupported("XLOOKUP"))?;
        self.lift(&[key, otherwise, other], &mut |c, s| {
            let place = c.position(search, s[0], keys)?;
            let (row, column) = if across { (s[2], place) } else { (place, s[2]) };
            let found = c.pick(values, row, column)?;
            let missing = c.builder.add_src(Op::Call(is_na), &[place])?;
            Ok(c.builder.add_src(Op::If, &[missing, s[1], found])?)
        })
    }
}
