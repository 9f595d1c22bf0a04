//! Functions that become other operations: conditions, lookups, and sums in steps.

use super::compile::{Compiler, Lower};
use super::graph::{Array, Op, Operand, Search, Src};
use super::lower::{At, Mode, Shape, unsupported};
use crate::book::Range;
use crate::formula::{Binary, Expr, MAX_COLUMN, MAX_ROW};
use crate::functions::{self, Form};
use crate::value::{ErrorValue, Value};

/// Items that one step of a sum adds: a few columns are live at a time, and not all of a long range.
const STEP: usize = 8;

impl Compiler<'_> {
    pub(super) fn form(&mut self, form: Form, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        match form {
            Form::If => self.if_form(args, at, mode),
            Form::IfError | Form::IfNa => {
                let op = if form == Form::IfError { Op::IfError } else { Op::IfNa };
                let shapes = self.arguments(args, at, mode)?;
                self.lift(&shapes, &mut |c, s| Ok(c.builder.add_src(op, s)?))
            }
            Form::Ifs => {
                if args.len() % 2 != 0 {
                    return Err(unsupported("IFS with a condition that has no value"));
                }
                let shapes = self.arguments(args, at, mode)?;
                self.lift(&shapes, &mut |c, s| {
                    let mut rest = c.builder.constant(ErrorValue::NA.into());
                    for pair in s.chunks_exact(2).rev() {
                        rest = c.builder.add_src(Op::If, &[pair[0], pair[1], rest])?;
                    }
                    Ok(rest)
                })
            }
            Form::Switch => {
                let shapes = self.arguments(args, at, mode)?;
                self.lift(&shapes, &mut |c, s| {
                    let pairs = &s[1..];
                    let mut rest = match pairs.len() % 2 {
                        1 => pairs[pairs.len() - 1],
                        _ => c.builder.constant(ErrorValue::NA.into()),
                    };
                    for pair in pairs.chunks_exact(2).rev() {
                        let same = c.builder.add_src(Op::Binary(Binary::Equal), &[s[0], pair[0]])?;
                        rest = c.builder.add_src(Op::If, &[same, pair[1], rest])?;
                    }
                    Ok(rest)
                })
            }
            Form::Choose => self.choose(args, at, mode),
            Form::Let => self.let_form(args, at, mode),
            Form::Single => Ok(Shape::Src(self.scalar(&args[0], at)?)),
            Form::Rand => Ok(Shape::Src(self.builder.random()?)),
            Form::RandBetween => {
                let shapes = self.arguments(args, at, mode)?;
                self.lift(&shapes, &mut |c, s| {
                    let random = c.builder.random()?;
                    Ok(c.builder.add_src(Op::Between, &[s[0], s[1], random])?)
                })
            }
            Form::Row | Form::Column => self.row_or_column(form == Form::Row, args, at, mode),
            Form::Rows | Form::Columns => {
                let (rows, columns) = match self.reference_of(&args[0], at)? {
                    Some(range) => (range.rows() as usize, range.columns() as usize),
                    None => {
                        let array = self.array_argument(&args[0], at)?;
                        self.builder.shape(array)
                    }
                };
                let count = if form == Form::Rows { rows } else { columns };
                Ok(Shape::Src(self.builder.number(count as f64)))
            }
            Form::IsRef => {
                let known = matches!(args[0], Expr::Areas(_)) || self.reference_of(&args[0], at)?.is_some();
                Ok(Shape::Src(self.builder.constant(Value::Boolean(known))))
            }
            Form::IsFormula => {
                let value = match self.reference_of(&args[0], at)? {
                    Some(range) => {
                        Value::Boolean(self.has_formula((range.sheet, range.first_row, range.first_column)))
                    }
                    None => ErrorValue::Value.into(),
                };
                Ok(Shape::Src(self.builder.constant(value)))
            }
            Form::Transpose => {
                let array = self.array_argument(&args[0], at)?;
                let (rows, columns) = self.builder.shape(array);
                let mut items = Vec::with_capacity(rows * columns);
                for column in 0..columns {
                    for row in 0..rows {
                        items.push(self.builder.item(array, row, column));
                    }
                }
                Ok(Shape::Array(self.builder.array(columns, rows, items)?))
            }
            Form::Sequence => self.sequence(args, at),
            Form::Index => self.index(args, at, mode),
            Form::Offset => self.offset(args, at),
            Form::Indirect => Err(unsupported("INDIRECT with a computed target")),
            Form::Match => self.match_form(args, at, mode),
            Form::VLookup | Form::HLookup => self.table_lookup(form == Form::VLookup, args, at, mode),
            Form::Lookup => self.lookup(args, at, mode),
            Form::XMatch => {
                let search = self.search_mode(args.get(2), args.get(3), at)?;
                let array = self.array_argument(&args[1], at)?;
                let key = self.argument(&args[0], at, mode)?;
                self.lift(&[key], &mut |c, s| c.position(search, s[0], array))
            }
            Form::XLookup => self.xlookup(args, at, mode),
        }
    }

    fn arguments(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Vec<Shape>> {
        args.iter().map(|arg| self.argument(arg, at, mode)).collect()
    }

    fn if_form(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        let condition = self.argument(&args[0], at, mode)?;
        if let Shape::Src(src) = condition
            && let Some(value) = self.builder.constant_of(src)
        {
            // Only the branch that is taken goes into the program.
            return match value.to_boolean() {
                Ok(true) => self.branch(args.get(1), true, at, mode),
                Ok(false) => self.branch(args.get(2), false, at, mode),
                Err(e) => Ok(Shape::Src(self.builder.constant(e.into()))),
            };
        }
        let yes = self.branch(args.get(1), true, at, mode)?;
        let no = self.branch(args.get(2), false, at, mode)?;
        self.lift(&[condition, yes, no], &mut |c, s| Ok(c.builder.add_src(Op::If, s)?))
    }

    /// A branch of `IF`: left empty it is 0, left out it is the condition.
    fn branch(&mut self, arg: Option<&Expr>, condition: bool, at: &mut At, mode: Mode) -> Lower<Shape> {
        match arg {
            None => Ok(Shape::Src(self.builder.constant(Value::Boolean(condition)))),
            Some(Expr::Omitted) => Ok(Shape::Src(self.builder.number(0.0))),
            Some(expr) => self.argument(expr, at, mode),
        }
    }

    fn choose(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        let place = self.argument(&args[0], at, mode)?;
        if let Shape::Src(src) = place
            && let Some(value) = self.builder.constant_of(src)
        {
            return match value.to_number() {
                Ok(x) if x >= 1.0 && (x as usize) < args.len() => self.argument(&args[x as usize], at, mode),
                Ok(_) => Ok(Shape::Src(self.builder.constant(ErrorValue::Value.into()))),
                Err(e) => Ok(Shape::Src(self.builder.constant(e.into()))),
            };
        }
        let mut shapes = vec![place];
        shapes.extend(self.arguments(&args[1..], at, mode)?);
        let (trunc, _) = functions::find("TRUNC").ok_or_else(|| unsupported("CHOOSE"))?;
        self.lift(&shapes, &mut |c, s| {
            let whole = c.builder.add_src(Op::Call(trunc), &[s[0]])?;
            let mut rest = c.builder.constant(ErrorValue::Value.into());
            for (i, value) in s.iter().enumerate().skip(1).rev() {
                let number = c.builder.number(i as f64);
                let same = c.builder.add_src(Op::Binary(Binary::Equal), &[whole, number])?;
                rest = c.builder.add_src(Op::If, &[same, *value, rest])?;
            }
            Ok(rest)
        })
    }

    fn let_form(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        let outer = at.locals.len();
        let mut result = Ok(Shape::Omitted);
        for pair in args.chunks(2) {
            result = match pair {
                [Expr::Local(name), value] => self.any(value, at).inspect(|shape| at.locals.push((name.clone(), *shape))),
                [last] => self.argument(last, at, mode),
                _ => Err(unsupported("this LET")),
            };
            if result.is_err() {
                break;
            }
        }
        at.locals.truncate(outer);
        result
    }

    /// `SUM` in steps of a few items, in order, so that the columns of a long range need not be live together.
    pub(super) fn sum(&mut self, index: u16, args: &[Expr], at: &mut At) -> Lower<Shape> {
        let mut pieces = Vec::new();
        let mut run: Vec<Src> = Vec::new();
        for arg in args {
            match self.any(arg, at)? {
                Shape::Omitted => {}
                Shape::Src(src) => {
                    self.flush(&mut run, &mut pieces)?;
                    pieces.push(Operand::Src(src));
                }
                Shape::Array(array) => match self.builder.graph.arrays[array as usize].clone() {
                    Array::Constant(_) => {
                        self.flush(&mut run, &mut pieces)?;
                        pieces.push(Operand::Array(array));
                    }
                    Array::Mixed { items, .. } => {
                        for item in items.iter() {
                            let ignored = matches!(
                                self.builder.constant_of(*item),
                                Some(Value::Blank | Value::Text(_) | Value::Boolean(_))
                            );
                            if !ignored {
                                run.push(*item);
                            }
                            if run.len() == STEP {
                                self.flush(&mut run, &mut pieces)?;
                            }
                        }
                    }
                },
            }
        }
        self.flush(&mut run, &mut pieces)?;
        let mut sum = match pieces.first() {
            None => return Ok(Shape::Src(self.builder.number(0.0))),
            Some(first) => self.builder.add(Op::Call(index), &[*first])?,
        };
        for piece in &pieces[1..] {
            sum = self.builder.add(Op::Call(index), &[Operand::Src(sum), *piece])?;
        }
        Ok(Shape::Src(sum))
    }

    fn flush(&mut self, run: &mut Vec<Src>, pieces: &mut Vec<Operand>) -> Lower<()> {
        if run.is_empty() {
            return Ok(());
        }
        let items = std::mem::take(run);
        let array = match self.chunks.get(&items) {
            Some(array) => *array,
            None => {
                let array = self.builder.array(items.len(), 1, items.clone())?;
                self.chunks.insert(items, array);
                array
            }
        };
        pieces.push(Operand::Array(array));
        Ok(())
    }

    fn row_or_column(&mut self, row: bool, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        let range = match args.first() {
            None => Range::cell(at.key.0, at.key.1, at.key.2),
            Some(expr) => match self.reference_of(expr, at)? {
                Some(range) => range,
                None => return Err(unsupported("ROW or COLUMN of a computed reference")),
            },
        };
        let first = if row { range.first_row } else { range.first_column };
        if mode == Mode::Scalar {
            return Ok(Shape::Src(self.builder.number(f64::from(first) + 1.0)));
        }
        let range = self.resolver.clip(range);
        let count = if row { range.rows() } else { range.columns() };
        let items: Vec<Src> = (0..count).map(|i| self.builder.number(f64::from(first + i) + 1.0)).collect();
        let (rows, columns) = if row { (items.len(), 1) } else { (1, items.len()) };
        Ok(Shape::Array(self.builder.array(rows, columns, items)?))
    }

    fn sequence(&mut self, args: &[Expr], at: &mut At) -> Lower<Shape> {
        let rows = self.known_number(args.first(), 1.0, at)?;
        let columns = self.known_number(args.get(1), 1.0, at)?;
        let start = self.known_number(args.get(2), 1.0, at)?;
        let step = self.known_number(args.get(3), 1.0, at)?;
        let (Some(rows), Some(columns), Some(start), Some(step)) = (rows, columns, start, step) else {
            return Err(unsupported("SEQUENCE that depends on the inputs"));
        };
        if !(1.0..=1e5).contains(&rows) || !(1.0..=1e5).contains(&columns) || rows * columns > 1e6 {
            return Err(unsupported("SEQUENCE of this size"));
        }
        let (rows, columns) = (rows as usize, columns as usize);
        let items = (0..rows * columns).map(|i| self.builder.number(start + step * i as f64)).collect();
        Ok(Shape::Array(self.builder.array(rows, columns, items)?))
    }

    /// The value at a one-based row and column.
    fn pick(&mut self, array: u32, row: Src, column: Src) -> Lower<Src> {
        if let (Some(row), Some(column)) = (self.builder.constant_of(row), self.builder.constant_of(column)) {
            let (rows, columns) = self.builder.shape(array);
            return Ok(match super::scalar::place(rows, columns, row.to_lane(), column.to_lane()) {
                Ok(place) => self.builder.item(array, place / columns, place % columns),
                Err(e) => self.builder.constant(e.into()),
            });
        }
        Ok(self.builder.add(Op::Pick, &[Operand::Array(array), Operand::Src(row), Operand::Src(column)])?)
    }

    fn position(&mut self, search: Search, key: Src, array: u32) -> Lower<Src> {
        let (rows, columns) = self.builder.shape(array);
        if rows > 1 && columns > 1 {
            return Ok(self.builder.constant(ErrorValue::NA.into()));
        }
        Ok(self.builder.add(Op::Position(search), &[Operand::Src(key), Operand::Array(array)])?)
    }

    fn index(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        if args.len() > 3 {
            return Err(unsupported("INDEX with several areas"));
        }
        let array = self.array_argument(&args[0], at)?;
        let (rows, columns) = self.builder.shape(array);
        let mut row = self.argument(args.get(1).unwrap_or(&Expr::Omitted), at, mode)?;
        let mut column = self.argument(args.get(2).unwrap_or(&Expr::Omitted), at, mode)?;
        if args.len() == 2 && rows == 1 && columns > 1 {
            column = row;
            row = Shape::Src(self.builder.number(1.0));
        } else if args.len() == 2 && columns == 1 {
            column = Shape::Src(self.builder.number(1.0));
        }
        let all = |c: &Self, shape: Shape| match shape {
            Shape::Omitted => true,
            Shape::Src(src) => c.builder.constant_of(src).is_some_and(|v| v.to_number() == Ok(0.0)),
            Shape::Array(_) => false,
        };
        // A row or column of 0 means all of them.
        if all(self, row) {
            row = if rows == 1 { Shape::Src(self.builder.number(1.0)) } else { self.counting(rows, false)? };
        }
        if all(self, column) {
            column =
                if columns == 1 { Shape::Src(self.builder.number(1.0)) } else { self.counting(columns, true)? };
        }
        self.lift(&[row, column], &mut |c, s| c.pick(array, s[0], s[1]))
    }

    /// 1, 2, 3 … as a row or a column.
    fn counting(&mut self, count: usize, row: bool) -> Lower<Shape> {
        let items = (1..=count).map(|i| self.builder.number(i as f64)).collect();
        let (rows, columns) = if row { (1, count) } else { (count, 1) };
        Ok(Shape::Array(self.builder.array(rows, columns, items)?))
    }

    /// `OFFSET` by distances that depend on the inputs: picks from the used part of the row, column or sheet.
    fn offset(&mut self, args: &[Expr], at: &mut At) -> Lower<Shape> {
        let Some(base) = self.reference_of(&args[0], at)? else {
            return Err(unsupported("OFFSET from a computed reference"));
        };
        let height = self.known_number(args.get(3), f64::from(base.rows()), at)?;
        let width = self.known_number(args.get(4), f64::from(base.columns()), at)?;
        let (Some(height), Some(width)) = (height, width) else {
            return Err(unsupported("OFFSET with a size that depends on the inputs"));
        };
        if !(1.0..=10_000.0).contains(&height) || !(1.0..=1_000.0).contains(&width) {
            return Err(unsupported("OFFSET of this size"));
        }
        let zero = Expr::Value(Value::Number(0.0));
        let rows = self.known_number(args.get(1), 0.0, at)?;
        let columns = self.known_number(args.get(2), 0.0, at)?;
        let row = self.scalar(args.get(1).unwrap_or(&zero), at)?;
        let column = self.scalar(args.get(2).unwrap_or(&zero), at)?;
        let line = |known: Option<f64>, first: u32, length: f64, most: u32| match known {
            None => Some((0, most)),
            Some(shift) => {
                let start = f64::from(first) + shift.trunc();
                let inside = start >= 0.0 && start + length - 1.0 <= f64::from(most);
                inside.then(|| (start as u32, (start + length.trunc() - 1.0) as u32))
            }
        };
        let r = line(rows, base.first_row, height, MAX_ROW);
        let c = line(columns, base.first_column, width, MAX_COLUMN);
        let (Some(r), Some(c)) = (r, c) else {
            return Ok(Shape::Src(self.builder.constant(ErrorValue::Ref.into())));
        };
        let whole =
            Range { sheet: base.sheet, first_row: r.0, first_column: c.0, last_row: r.1, last_column: c.1 };
        let array = self.range(whole)?;
        let row_places = self.moved(rows.is_some(), row, base.first_row, height as u32)?;
        let column_places = self.moved(columns.is_some(), column, base.first_column, width as u32)?;
        let mut items = Vec::with_capacity(row_places.len() * column_places.len());
        for row in &row_places {
            for column in &column_places {
                items.push(self.pick(array, *row, *column)?);
            }
        }
        if let [single] = items.as_slice() {
            return Ok(Shape::Src(*single));
        }
        Ok(Shape::Array(self.builder.array(height as usize, width as usize, items)?))
    }

    /// One-based places of the lines of a moved reference: counted in the moved area itself when the distance is known, or
    /// else in the whole sheet.
    fn moved(&mut self, known: bool, distance: Src, first: u32, length: u32) -> Lower<Vec<Src>> {
        let (trunc, _) = functions::find("TRUNC").ok_or_else(|| unsupported("OFFSET"))?;
        (0..length)
            .map(|i| {
                if known {
                    return Ok(self.builder.number(f64::from(i) + 1.0));
                }
                let whole = self.builder.add_src(Op::Call(trunc), &[distance])?;
                let shift = self.builder.number(f64::from(first + i) + 1.0);
                Ok(self.builder.add_src(Op::Binary(Binary::Add), &[whole, shift])?)
            })
            .collect()
    }

    fn match_form(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
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
            let positive = c.builder.add_src(Op::Binary(Binary::Greater), &[s[1], zero])?;
            let negative = c.builder.add_src(Op::Binary(Binary::Less), &[s[1], zero])?;
            let rest = c.builder.add_src(Op::If, &[negative, down, exact])?;
            Ok(c.builder.add_src(Op::If, &[positive, up, rest])?)
        })
    }

    /// `VLOOKUP` and `HLOOKUP`: the place of the key in the first line, and the value there in another line.
    fn table_lookup(&mut self, vertical: bool, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
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

    fn lookup(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
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
    fn search_mode(&mut self, matching: Option<&Expr>, order: Option<&Expr>, at: &mut At) -> Lower<Search> {
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

    fn xlookup(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
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
