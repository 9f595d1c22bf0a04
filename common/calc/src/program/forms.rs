//! Functions that become other operations: conditions, and sums in steps.

use super::arrange::sequence_size;
use super::compile::{Compiler, Lower};
use super::graph::{Array, Op, Operand, Src};
use super::lower::{At, Mode, Shape, unsupported};
use super::varying::any_varies;
use crate::book::Range;
use crate::formula::{Binary, Expr};
use crate::functions::{self, Form};
use crate::value::{ErrorValue, Value};

/// Items that one step of a sum adds: a few columns are live at a time, and not all of a long range.
const STEP: usize = 8;
/// Items of a sequence, at most.
const ITEMS: usize = 1_000_000;
/// Known values that are added one by one, in one array at most.
const KNOWN: usize = 4096;

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
                if !args.len().is_multiple_of(2) {
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
            Form::Aggregate | Form::Subtotal => self.aggregate(form == Form::Subtotal, args, at),
            Form::ChooseColumns
            | Form::ChooseRows
            | Form::Drop
            | Form::HStack
            | Form::Take
            | Form::ToColumn
            | Form::ToRow
            | Form::Transpose
            | Form::VStack
            | Form::WrapColumns
            | Form::WrapRows => self.rearrange(form, args, at),
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
            Form::Rows | Form::Columns => self.count_lines(form == Form::Rows, &args[0], at),
            Form::Areas => {
                let count = match &args[0] {
                    Expr::Areas(list) => list.len() as f64,
                    other if self.reference_of(other, at)?.is_some() => 1.0,
                    _ => return Err(unsupported("AREAS of a computed reference")),
                };
                Ok(Shape::Src(self.builder.number(count)))
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
            Form::Sequence => self.sequence(args, at),
            Form::Index => self.index(args, at, mode),
            Form::Offset => self.offset(args, at, mode),
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

    /// `ROWS` and `COLUMNS`.
    fn count_lines(&mut self, rows: bool, arg: &Expr, at: &mut At) -> Lower<Shape> {
        let (r, c) = match self.reference_of(arg, at)? {
            Some(range) => (range.rows() as usize, range.columns() as usize),
            None => match self.any(arg, at)? {
                Shape::Array(array) => self.builder.shape(array),
                Shape::Varying(piece) => return self.varying_size(rows, piece),
                // An error has no size.
                Shape::Src(src) => {
                    let (failed, _) = functions::find("ISERROR").ok_or_else(|| unsupported("ROWS"))?;
                    let failed = self.builder.add_src(Op::Call(failed), &[src])?;
                    let one = self.builder.number(1.0);
                    return Ok(Shape::Src(self.builder.add_src(Op::If, &[failed, src, one])?));
                }
                Shape::Omitted => (1, 1),
            },
        };
        Ok(Shape::Src(self.builder.number(if rows { r } else { c } as f64)))
    }

    /// Rows and columns, where they are known; a single value is one of one cell.
    fn size(&self, shape: Shape) -> Option<(usize, usize)> {
        match shape {
            Shape::Array(array) => Some(self.builder.shape(array)),
            Shape::Varying(_) => None,
            Shape::Src(_) | Shape::Omitted => Some((1, 1)),
        }
    }

    /// Whether two shapes surely have the same size.
    fn same_size(&self, a: Shape, b: Shape) -> bool {
        self.size(a).is_some_and(|size| self.size(b) == Some(size))
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
        if let Shape::Src(src) = condition
            && !self.same_size(yes, no)
        {
            // The condition decides the size of the result: compile for both. The branch that is taken keeps its error.
            let (yes_holds, not) = (self.builder.constant(true.into()), self.builder.constant(false.into()));
            let sure = self.builder.add_src(Op::If, &[src, yes_holds, not])?;
            let sure = self.builder.add_src(Op::IfError, &[sure, not])?;
            let taken = if self.assume(sure)? { yes } else { no };
            return self.lift(&[condition, taken], &mut |c, s| {
                Ok(c.builder.add_src(Op::If, &[s[0], s[1], s[1]])?)
            });
        }
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
        if let Shape::Src(src) = place
            && shapes.iter().skip(1).any(|shape| !self.same_size(*shape, shapes[1]))
        {
            // The number decides the size of the result: compile for each.
            let whole = self.builder.add_src(Op::Call(trunc), &[src])?;
            let zero = self.builder.number(0.0);
            let sure = self.builder.add_src(Op::IfError, &[whole, zero])?;
            for (i, shape) in shapes.iter().enumerate().skip(1) {
                let number = self.builder.number(i as f64);
                let same = self.builder.add_src(Op::Binary(Binary::Equal), &[sure, number])?;
                if self.assume(same)? {
                    return Ok(*shape);
                }
            }
            let failed = self.builder.constant(ErrorValue::Value.into());
            let always = self.builder.add_src(Op::If, &[whole, failed, failed])?;
            return Ok(Shape::Src(always));
        }
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
                [Expr::Local(name), value] => {
                    self.any(value, at).inspect(|shape| at.locals.push((name.clone(), *shape)))
                }
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
        let shapes: Lower<Vec<Shape>> = args.iter().map(|arg| self.any(arg, at)).collect();
        let shapes = shapes?;
        if any_varies(&shapes) {
            let sum = self.varying_call(index, &shapes);
            return Ok(Shape::Src(self.first(sum)?));
        }
        let mut pieces = Vec::new();
        let mut run: Vec<Src> = Vec::new();
        for shape in shapes {
            match shape {
                Shape::Omitted | Shape::Varying(_) => {}
                Shape::Src(src) => {
                    self.flush(&mut run, &mut pieces)?;
                    pieces.push(Operand::Src(src));
                }
                Shape::Array(array) => match self.builder.graph.arrays[array as usize].clone() {
                    Array::Constant(table) if table.values.len() > KNOWN => {
                        self.flush(&mut run, &mut pieces)?;
                        pieces.push(Operand::Array(array));
                    }
                    // The pieces are the same whether or not the values are known, and so is the first error.
                    Array::Constant(table) => {
                        for value in table.values.iter() {
                            if matches!(value, Value::Number(_) | Value::Error(_)) {
                                run.push(self.builder.constant(value.clone()));
                            }
                            if run.len() == STEP {
                                self.flush(&mut run, &mut pieces)?;
                            }
                        }
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
            let shapes: Lower<Vec<Shape>> =
                args.iter().map(|arg| self.argument(arg, at, Mode::Scalar)).collect();
            return Ok(self.varying_sequence(&shapes?));
        };
        match sequence_size(rows, columns) {
            Ok((rows, columns)) if rows * columns <= ITEMS => {
                let items =
                    (0..rows * columns).map(|i| self.builder.number(start + step * i as f64)).collect();
                Ok(Shape::Array(self.builder.array(rows, columns, items)?))
            }
            Ok(_) => Err(unsupported("SEQUENCE of this size")),
            Err(e) => Ok(Shape::Src(self.builder.constant(e.into()))),
        }
    }
}
