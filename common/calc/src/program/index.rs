//! `INDEX` and `OFFSET`: values at computed places, and what is known of such places when compiling.

use super::compile::{Compiler, Lower, Stop};
use super::graph::{Array, Op, Operand, Src};
use super::lower::{At, Mode, Shape, unsupported};
use crate::book::Range;
use crate::formula::{Binary, Expr, MAX_COLUMN, MAX_ROW, Unary};
use crate::functions::{self, Form, Kind, by_index};
use crate::value::{ErrorValue, Value};

/// Conditions on the inputs that one formula may be compiled for, one by one.
const CASES: usize = 6;

impl Compiler<'_> {
    /// Whether an expression may have several values where arrays are evaluated. Such a place refers to no single cell or line.
    pub(super) fn may_be_array(&mut self, expr: &Expr, at: &mut At) -> Lower<bool> {
        match expr {
            Expr::Value(_) | Expr::Omitted => Ok(false),
            Expr::Reference(range) => Ok(!range.is_cell()),
            Expr::Areas(_) | Expr::Span(..) | Expr::Local(_) | Expr::Array { .. } => Ok(true),
            Expr::Unary(Unary::Intersect, _) => Ok(false),
            Expr::Unary(_, inner) => self.may_be_array(inner, at),
            Expr::Binary(..) => {
                let mut node = expr;
                while let Expr::Binary(_, left, right) = node {
                    if self.may_be_array(right, at)? {
                        return Ok(true);
                    }
                    node = left;
                }
                self.may_be_array(node, at)
            }
            Expr::Call(_, function, args) => match function.kind {
                Kind::Matrix(..) => Ok(true),
                Kind::Form(form) => match form {
                    Form::Match | Form::XMatch | Form::Lookup => self.any_array(args.iter().take(1), at),
                    Form::VLookup | Form::HLookup => self.any_array(args.iter().step_by(2), at),
                    Form::Index => {
                        if args.len() < 2 || self.any_array(&args[1..], at)? {
                            return Ok(true);
                        }
                        for place in &args[1..] {
                            // A place of 0 is a whole line, and one that the inputs decide may be.
                            if !self.known_number(Some(place), 0.0, at)?.is_some_and(|x| x.trunc() != 0.0) {
                                return Ok(true);
                            }
                        }
                        Ok(false)
                    }
                    Form::Rows
                    | Form::Columns
                    | Form::Areas
                    | Form::IsRef
                    | Form::IsFormula
                    | Form::Single
                    | Form::Aggregate
                    | Form::Subtotal
                    | Form::Rand => Ok(false),
                    Form::If
                    | Form::IfError
                    | Form::IfNa
                    | Form::Ifs
                    | Form::Switch
                    | Form::Choose
                    | Form::Row
                    | Form::Column
                    | Form::RandBetween => self.any_array(args, at),
                    _ => Ok(true),
                },
                _ => {
                    let single = args.iter().enumerate().filter(|(i, _)| !function.takes_array(*i));
                    self.any_array(single.map(|(_, arg)| arg), at)
                }
            },
        }
    }

    pub(super) fn any_array<'e>(
        &mut self,
        args: impl IntoIterator<Item = &'e Expr>,
        at: &mut At,
    ) -> Lower<bool> {
        for arg in args {
            if self.may_be_array(arg, at)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a condition holds, in the case that is being compiled. A condition that no case has yet stops the formula, which
    /// is then compiled for both (see [`Self::cases`]). The condition must never be an error value.
    pub(super) fn assume(&mut self, condition: Src) -> Lower<bool> {
        if let Some(value) = self.builder.constant_of(condition) {
            return Ok(value.to_boolean() == Ok(true));
        }
        match self.assumed.iter().find(|(known, _)| *known == condition) {
            Some((_, holds)) => Ok(*holds),
            None => Err(Stop::Assume(condition)),
        }
    }

    /// A formula, once for each case of the conditions that decide the shapes in it.
    pub(super) fn cases(&mut self, expr: &Expr, at: &mut At) -> Lower<Src> {
        at.begin();
        let first_random = self.builder.randoms;
        let found = match at.array {
            None => self.scalar(expr, at),
            Some(array) => self.filled(array, expr, at),
        };
        let condition = match found {
            Err(Stop::Assume(condition)) => condition,
            other => return other,
        };
        if self.assumed.len() >= CASES {
            return Err(unsupported("so many arrays whose size depends on the inputs"));
        }
        // A random number is the same one in every case.
        self.builder.randoms = first_random;
        self.assumed.push((condition, true));
        let yes = self.cases(expr, at);
        self.assumed.pop();
        self.builder.randoms = first_random;
        self.assumed.push((condition, false));
        let no = self.cases(expr, at);
        self.assumed.pop();
        let (yes, no) = (yes?, no?);
        Ok(self.builder.add_src(Op::If, &[condition, yes, no])?)
    }

    /// Whether a place is a number from 1 on, or an error value, whatever the inputs are.
    fn at_least_one(&self, src: Src) -> bool {
        let graph = &self.builder.graph;
        let node = match src {
            Src::Const(i) => return graph.constants[i as usize].to_number().is_ok_and(|x| x >= 1.0),
            Src::Node(i) => graph.nodes[i as usize],
        };
        let operand = |i: usize| match graph.operands
            [node.start as usize..(node.start + node.length) as usize]
            .get(i)
        {
            Some(Operand::Src(src)) => self.at_least_one(*src),
            _ => false,
        };
        match node.op {
            Op::Position(_) => true,
            Op::Binary(Binary::Add | Binary::Multiply) | Op::IfError | Op::IfNa => operand(0) && operand(1),
            Op::If => operand(1) && operand(2),
            Op::Solid => operand(0),
            Op::Call(index) => match by_index(index).name {
                "MAX" => (0..node.length as usize).any(operand),
                "MIN" => (0..node.length as usize).all(operand),
                "MONTH" | "ROUNDUP" => node.length == 1 || operand(0),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether a place never exceeds a length: places in rows or columns that are no longer.
    fn at_most(&self, src: Src, length: usize) -> bool {
        let graph = &self.builder.graph;
        match src {
            Src::Const(i) => graph.constants[i as usize].to_number().is_ok_and(|x| x < length as f64 + 1.0),
            Src::Node(i) => {
                let node = graph.nodes[i as usize];
                match (node.op, graph.operands.get(node.start as usize + 1)) {
                    (Op::Position(_), Some(Operand::Array(array))) => {
                        let (rows, columns) = graph.arrays[*array as usize].shape();
                        rows.max(columns) <= length
                    }
                    _ => false,
                }
            }
        }
    }

    /// Whether a place is 0, which means every row or column: never an error value.
    fn is_zero(&mut self, place: Src) -> Lower<Src> {
        let (trunc, _) = functions::find("TRUNC").ok_or_else(|| unsupported("INDEX"))?;
        let whole = self.builder.add_src(Op::Call(trunc), &[place])?;
        let one = self.builder.number(1.0);
        let zero = self.builder.number(0.0);
        let sure = self.builder.add_src(Op::IfError, &[whole, one])?;
        Ok(self.builder.add_src(Op::Binary(Binary::Equal), &[sure, zero])?)
    }

    /// Whether a row or column is given as 0 or left out.
    fn means_all(&mut self, shape: Shape) -> Lower<bool> {
        match shape {
            Shape::Omitted => Ok(true),
            Shape::Array(_) | Shape::Varying(_) => Ok(false),
            Shape::Src(src) if self.at_least_one(src) => Ok(false),
            Shape::Src(src) => {
                let zero = self.is_zero(src)?;
                self.assume(zero)
            }
        }
    }

    pub(super) fn index(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
        if args.len() > 3 {
            return Err(unsupported("INDEX with several areas"));
        }
        let base = self.reference_of(&args[0], at)?;
        if let Shape::Varying(piece) = self.any(&args[0], at)? {
            return self.varying_index(piece, args, at, mode);
        }
        let array = self.array_argument(&args[0], at)?;
        let (rows, columns) = self.builder.shape(array);
        // A whole column reaches beyond the cells that are in use.
        let size = base.map_or((rows, columns), |b| (b.rows() as usize, b.columns() as usize));
        let mut row = self.argument(args.get(1).unwrap_or(&Expr::Omitted), at, mode)?;
        let mut column = self.argument(args.get(2).unwrap_or(&Expr::Omitted), at, mode)?;
        if args.len() == 2 && size.0 == 1 && size.1 > 1 {
            column = row;
            row = Shape::Src(self.builder.number(1.0));
        } else if args.len() == 2 && size.1 == 1 {
            column = Shape::Src(self.builder.number(1.0));
        }
        // A row or column of 0 means all of them. Where one value is wanted, that is the one in the formula's own row or column.
        let here = |own: u32, first: u32, count: usize| match base {
            None => Some(1),
            Some(_) => own.checked_sub(first).filter(|i| (*i as usize) < count).map(|i| i as usize + 1),
        };
        let lines = base.map_or((0, 0), |b| (b.first_row, b.first_column));
        for (place, count, across, own, first) in
            [(&mut row, size.0, false, at.key.1, lines.0), (&mut column, size.1, true, at.key.2, lines.1)]
        {
            let own = here(own, first, count);
            if count == 1 || (mode == Mode::Scalar && own.is_none()) || !self.means_all(*place)? {
                continue;
            }
            *place = match (mode, own) {
                (Mode::Array, _) => self.counting(if across { columns } else { rows }, across)?,
                (Mode::Scalar, own) => Shape::Src(self.builder.number(own.unwrap_or(0) as f64)),
            };
        }
        let found = self.lift(&[row, column], &mut |c, s| c.pick_within(array, size, s[0], s[1]))?;
        match found {
            // It stays a reference, in which functions over ranges count numbers only.
            Shape::Src(src) if base.is_some() && mode == Mode::Array => {
                Ok(Shape::Array(self.builder.array(1, 1, vec![src])?))
            }
            other => Ok(other),
        }
    }

    /// The value at a one-based row and column of an area whose cells in use are an array: blank beyond these.
    fn pick_within(&mut self, array: u32, size: (usize, usize), row: Src, column: Src) -> Lower<Src> {
        let (rows, columns) = self.builder.shape(array);
        let mut found = self.pick(array, row, column)?;
        for (place, used, whole) in [(row, rows, size.0), (column, columns, size.1)] {
            if used >= whole || self.at_most(place, used) {
                continue;
            }
            let blank = self.builder.constant(Value::Blank);
            let beyond = self.builder.constant(ErrorValue::Ref.into());
            let (used, whole) =
                (self.builder.number(used as f64 + 1.0), self.builder.number(whole as f64 + 1.0));
            let inside = self.builder.add_src(Op::Binary(Binary::Less), &[place, whole])?;
            let in_use = self.builder.add_src(Op::Binary(Binary::Less), &[place, used])?;
            let rest = self.builder.add_src(Op::If, &[inside, blank, beyond])?;
            found = self.builder.add_src(Op::If, &[in_use, found, rest])?;
        }
        Ok(found)
    }

    /// 1, 2, 3 … as a row or a column.
    pub(super) fn counting(&mut self, count: usize, row: bool) -> Lower<Shape> {
        let items = (1..=count).map(|i| self.builder.number(i as f64)).collect();
        let (rows, columns) = if row { (1, count) } else { (count, 1) };
        Ok(Shape::Array(self.builder.array(rows, columns, items)?))
    }

    /// `OFFSET` by distances that depend on the inputs: picks from the used part of the row, column or sheet.
    pub(super) fn offset(&mut self, args: &[Expr], at: &mut At, mode: Mode) -> Lower<Shape> {
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
        if mode == Mode::Scalar && (height >= 2.0 || width >= 2.0) {
            // The one in the formula's own row or column, if there is one: that depends on where the cells are.
            return Err(unsupported(
                "OFFSET to several cells at a computed place, where one value is wanted,",
            ));
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
        let size = (whole.rows() as usize, whole.columns() as usize);
        let row_places = self.moved(rows.is_some(), row, base.first_row, height as u32)?;
        let column_places = self.moved(columns.is_some(), column, base.first_column, width as u32)?;
        let mut items = Vec::with_capacity(row_places.len() * column_places.len());
        for row in &row_places {
            for column in &column_places {
                items.push(self.pick_within(array, size, *row, *column)?);
            }
        }
        Ok(Shape::Array(self.builder.array(height as usize, width as usize, items)?))
    }

    /// One-based places of the lines of a moved reference: counted in the moved area itself when the distance is known, or
    /// else in the whole sheet, where places before its beginning are `#REF!`.
    fn moved(&mut self, known: bool, distance: Src, first: u32, length: u32) -> Lower<Vec<Src>> {
        let (trunc, _) = functions::find("TRUNC").ok_or_else(|| unsupported("OFFSET"))?;
        (0..length)
            .map(|i| {
                if known {
                    return Ok(self.builder.number(f64::from(i) + 1.0));
                }
                let whole = self.builder.add_src(Op::Call(trunc), &[distance])?;
                let shift = self.builder.number(f64::from(first + i) + 1.0);
                let place = self.builder.add_src(Op::Binary(Binary::Add), &[whole, shift])?;
                let one = self.builder.number(1.0);
                let before = self.builder.add_src(Op::Binary(Binary::Less), &[place, one])?;
                let beyond = self.builder.constant(ErrorValue::Ref.into());
                Ok(self.builder.add_src(Op::If, &[before, beyond, place])?)
            })
            .collect()
    }

    /// The items of an array, as sources.
    pub(super) fn items(&mut self, array: u32) -> Vec<Src> {
        match self.builder.graph.arrays[array as usize].clone() {
            Array::Mixed { items, .. } => items.to_vec(),
            Array::Constant(table) => {
                table.values.iter().map(|value| self.builder.constant(value.clone())).collect()
            }
        }
    }
}
