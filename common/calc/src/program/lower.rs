//! From expressions to operations: scalar and array evaluation, references, implicit intersection.

use rustc_hash::FxHashMap;

use super::compile::{Compiler, Key, Lower, Stop};
use super::error::CompileErrorKind;
use super::graph::{Array, Op, Operand, Src};
use super::varying::any_varies;
use crate::book::Range;
use crate::formula::{Binary, Expr, MAX_COLUMN, MAX_ROW, Unary};
use crate::functions::{Form, FunctionInfo, Kernel, Kind, criteria};
use crate::value::{ErrorValue, Value};

/// Cells that one array expression may have.
const ARRAY: usize = 1_000_000;

/// What an expression becomes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// A single value.
    Src(Src),
    /// A rectangle of values.
    Array(u32),
    /// A rectangle whose size the inputs decide, as a piece of a plan.
    Varying(u32),
    /// An argument left empty.
    Omitted,
}

/// How an argument is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Mode {
    /// One value: ranges give the cell of the formula's own row or column.
    Scalar,
    /// Every value of a range.
    Array,
}

/// Where an expression stands.
#[derive(Debug)]
pub(super) struct At {
    pub key: Key,
    /// The array formula, by its place in the book, and which row and column of what it fills is wanted.
    pub array: Option<(u32, usize, usize)>,
    /// Names bound by `LET`, innermost last.
    pub locals: Vec<(String, Shape)>,
    /// What the calls in the formula have become, by their address: a place in `INDEX` is looked at several times, and so would
    /// be all that is nested in it, twice as often at every level.
    calls: FxHashMap<(usize, Mode), Shape>,
}

impl At {
    /// Nothing is known of the formula yet.
    pub fn begin(&mut self) {
        self.locals.clear();
        self.calls.clear();
    }
}

impl Compiler<'_> {
    /// The source of the value that a formula cell shows; for a cell that an array formula fills, the item there.
    pub fn result(&mut self, key: Key, expr: &Expr, array: Option<u32>) -> Lower<Src> {
        let first = array.map(|array| self.book.arrays[array as usize].area);
        let own = first.map_or(key, |area| (key.0, area.first_row, area.first_column));
        let cell = array.map(|array| (array, (key.1 - own.1) as usize, (key.2 - own.2) as usize));
        let mut at = At { key: own, array: cell, locals: Vec::new(), calls: FxHashMap::default() };
        let src = self.cases(expr, &mut at)?;
        self.solid(src)
    }

    /// The value with blank as 0, unless it cannot be blank.
    fn solid(&mut self, src: Src) -> Lower<Src> {
        Ok(if self.may_be_blank(src, 16) { self.builder.add_src(Op::Solid, &[src])? } else { src })
    }

    /// Whether a value may be blank, as far as this many choices tell.
    fn may_be_blank(&self, src: Src, depth: u32) -> bool {
        let node = match src {
            Src::Const(_) => return self.builder.constant_of(src).is_none_or(|value| *value == Value::Blank),
            Src::Node(node) => self.builder.graph.nodes[node as usize],
        };
        let graph = &self.builder.graph;
        let operands = &graph.operands[node.start as usize..(node.start + node.length) as usize];
        let choices = match node.op {
            Op::If => &operands[1..],
            Op::IfError | Op::IfNa => operands,
            Op::Pick => match operands.first() {
                Some(Operand::Array(array)) => match &graph.arrays[*array as usize] {
                    Array::Constant(table) => return table.has_blanks(),
                    Array::Mixed { .. } => return true,
                },
                _ => return true,
            },
            Op::Call(index) => {
                return matches!(crate::functions::by_index(index).kind, Kind::Matrix(..));
            }
            op => return matches!(op, Op::Input(_) | Op::Vary(_)),
        };
        choices.iter().any(|choice| match choice {
            Operand::Src(src) => depth == 0 || self.may_be_blank(*src, depth - 1),
            Operand::Array(_) | Operand::Omitted => true,
        })
    }

    /// Evaluate to one value.
    pub fn scalar(&mut self, expr: &Expr, at: &mut At) -> Lower<Src> {
        let Expr::Call(..) = expr else { return self.single(expr, at) };
        let key = (std::ptr::from_ref(expr).addr(), Mode::Scalar);
        if let Some(Shape::Src(known)) = at.calls.get(&key) {
            return Ok(*known);
        }
        let src = self.single(expr, at)?;
        at.calls.insert(key, Shape::Src(src));
        Ok(src)
    }

    fn single(&mut self, expr: &Expr, at: &mut At) -> Lower<Src> {
        if let Some(range) = self.cells_of_expression(expr, at)? {
            return match intersection(range, at.key) {
                Some(key) => self.cell(key),
                None => Ok(self.builder.constant(ErrorValue::Value.into())),
            };
        }
        let shape = match expr {
            Expr::Value(value) => return Ok(self.builder.constant(value.clone())),
            Expr::Omitted => return Ok(self.builder.constant(Value::Blank)),
            Expr::Unary(op, inner) => {
                let inner = self.scalar(inner, at)?;
                return self.unary(*op, inner);
            }
            Expr::Binary(..) => self.chain(expr, at, Mode::Scalar)?,
            Expr::Call(index, function, args) => self.call(*index, function, args, at, Mode::Scalar)?,
            Expr::Areas(_) => return Ok(self.builder.constant(ErrorValue::Value.into())),
            Expr::Local(_) | Expr::Array { .. } | Expr::Reference(_) | Expr::Span(..) => {
                self.any(expr, at)?
            }
        };
        self.first(shape)
    }

    /// The single value of a shape, the first of an array.
    pub fn first(&mut self, shape: Shape) -> Lower<Src> {
        Ok(match shape {
            Shape::Src(src) => src,
            Shape::Array(array) => self.builder.item(array, 0, 0),
            Shape::Varying(piece) => return self.first_of(piece),
            Shape::Omitted => self.builder.constant(Value::Blank),
        })
    }

    /// Evaluate with every value of ranges and arrays.
    pub fn any(&mut self, expr: &Expr, at: &mut At) -> Lower<Shape> {
        let Expr::Call(..) = expr else { return self.several(expr, at) };
        let key = (std::ptr::from_ref(expr).addr(), Mode::Array);
        if let Some(known) = at.calls.get(&key) {
            return Ok(*known);
        }
        let shape = self.several(expr, at)?;
        at.calls.insert(key, shape);
        Ok(shape)
    }

    fn several(&mut self, expr: &Expr, at: &mut At) -> Lower<Shape> {
        if let Some(range) = self.cells_of_expression(expr, at)? {
            return Ok(Shape::Array(self.range(range)?));
        }
        match expr {
            Expr::Value(value) => Ok(Shape::Src(self.builder.constant(value.clone()))),
            Expr::Omitted => Ok(Shape::Omitted),
            Expr::Unary(op, inner) => {
                if *op == Unary::Intersect {
                    return Ok(Shape::Src(self.scalar(inner, at)?));
                }
                let inner = self.argument(inner, at, Mode::Array)?;
                self.lift(&[inner], &mut |compiler, args| compiler.unary(*op, args[0]))
            }
            Expr::Binary(..) => self.chain(expr, at, Mode::Array),
            Expr::Call(index, function, args) => {
                let shape = self.call(*index, function, args, at, Mode::Array)?;
                let moved = matches!(function.kind, Kind::Form(Form::Index | Form::Offset));
                match shape {
                    // What is found through a reference is a reference, of which functions count numbers only.
                    Shape::Src(src) if moved && self.refers(&args[0], at)? => {
                        Ok(Shape::Array(self.builder.array(1, 1, vec![src])?))
                    }
                    shape => Ok(shape),
                }
            }
            Expr::Areas(list) => {
                let mut items = Vec::new();
                for range in list {
                    let array = self.range(*range)?;
                    let (rows, columns) = self.builder.shape(array);
                    for place in 0..rows * columns {
                        items.push(self.builder.item(array, place / columns, place % columns));
                    }
                }
                Ok(Shape::Array(self.builder.array(items.len(), 1, items)?))
            }
            Expr::Array { rows, columns, items } => {
                let mut sources = Vec::with_capacity(items.len());
                for item in items {
                    sources.push(self.scalar(item, at)?);
                }
                Ok(Shape::Array(self.builder.array(*rows, *columns, sources)?))
            }
            Expr::Local(name) => match at.locals.iter().rev().find(|(local, _)| local == name) {
                Some((_, shape)) => Ok(*shape),
                None => Ok(Shape::Src(self.builder.constant(ErrorValue::Name.into()))),
            },
            Expr::Reference(range) => Ok(Shape::Array(self.range(*range)?)),
            Expr::Span(..) => Err(unsupported("a range with a computed end that depends on the inputs")),
        }
    }

    /// An argument: one value, or with every value where arrays are evaluated.
    pub fn argument(&mut self, expr: &Expr, at: &mut At, mode: Mode) -> Lower<Shape> {
        if matches!(expr, Expr::Omitted) {
            return Ok(Shape::Omitted);
        }
        if mode == Mode::Scalar {
            return Ok(Shape::Src(self.scalar(expr, at)?));
        }
        let shape = self.any(expr, at)?;
        Ok(match shape {
            Shape::Array(array) if self.builder.shape(array) == (1, 1) => {
                Shape::Src(self.builder.item(array, 0, 0))
            }
            other => other,
        })
    }

    /// A whole array; a single value is one of one cell.
    pub fn array_argument(&mut self, expr: &Expr, at: &mut At) -> Lower<u32> {
        match self.any(expr, at)? {
            Shape::Array(array) => Ok(array),
            Shape::Varying(_) => {
                Err(unsupported("an array whose size depends on the inputs, where it is used like this,"))
            }
            other => {
                let src = self.first(other)?;
                Ok(self.builder.array(1, 1, vec![src])?)
            }
        }
    }

    /// Apply `f` to single values, or item by item to arrays, where single rows, columns and values are repeated.
    pub fn lift(
        &mut self,
        shapes: &[Shape],
        f: &mut dyn FnMut(&mut Self, &[Src]) -> Lower<Src>,
    ) -> Lower<Shape> {
        if any_varies(shapes) {
            return self.lift_varying(shapes, f);
        }
        let mut size = None;
        for shape in shapes {
            if let Shape::Array(array) = shape {
                let (rows, columns) = self.builder.shape(*array);
                let (r, c) = size.unwrap_or((1, 1));
                size = Some((rows.max(r), columns.max(c)));
            }
        }
        let Some((rows, columns)) = size else {
            let sources: Lower<Vec<Src>> = shapes.iter().map(|shape| self.first(*shape)).collect();
            let sources = sources?;
            return Ok(Shape::Src(f(self, &sources)?));
        };
        if rows.saturating_mul(columns) > ARRAY {
            return Err(CompileErrorKind::TooLarge { limit: ARRAY, unit: "cells in one array" }.into());
        }
        let mut items = Vec::with_capacity(rows * columns);
        let mut sources = Vec::with_capacity(shapes.len());
        for row in 0..rows {
            for column in 0..columns {
                sources.clear();
                for shape in shapes {
                    sources.push(self.item_of(*shape, row, column)?);
                }
                items.push(f(self, &sources)?);
            }
        }
        Ok(Shape::Array(self.builder.array(rows, columns, items)?))
    }

    /// The item of a shape at a place of a larger rectangle; `#N/A` beyond its end.
    pub(super) fn item_of(&mut self, shape: Shape, row: usize, column: usize) -> Lower<Src> {
        let Shape::Array(array) = shape else { return self.first(shape) };
        let (rows, columns) = self.builder.shape(array);
        let (row, column) = (if rows == 1 { 0 } else { row }, if columns == 1 { 0 } else { column });
        Ok(if row < rows && column < columns {
            self.builder.item(array, row, column)
        } else {
            self.builder.constant(ErrorValue::NA.into())
        })
    }

    fn unary(&mut self, op: Unary, inner: Src) -> Lower<Src> {
        Ok(match op {
            Unary::Negate => self.builder.add_src(Op::Negate, &[inner])?,
            Unary::Percent => self.builder.add_src(Op::Percent, &[inner])?,
            Unary::Intersect => inner,
        })
    }

    /// A left-leaning chain of operators, without recursion along its spine.
    fn chain(&mut self, expr: &Expr, at: &mut At, mode: Mode) -> Lower<Shape> {
        let mut spine: Vec<(Binary, &Expr)> = Vec::new();
        let mut node = expr;
        while let Expr::Binary(op, left, right) = node {
            spine.push((*op, right));
            node = left;
        }
        let mut left = self.argument(node, at, mode)?;
        for (op, right) in spine.into_iter().rev() {
            let right = self.argument(right, at, mode)?;
            left = self.lift(&[left, right], &mut |compiler, args| {
                Ok(compiler.builder.add_src(Op::Binary(op), args)?)
            })?;
        }
        Ok(left)
    }

    fn call(
        &mut self,
        index: u16,
        function: &'static FunctionInfo,
        args: &[Expr],
        at: &mut At,
        mode: Mode,
    ) -> Lower<Shape> {
        self.functions.insert(index);
        if let Kind::Form(form) = function.kind {
            return self.form(form, args, at, mode);
        }
        if function.kernel == Kernel::Sum {
            return self.sum(index, args, at);
        }
        let mut resized = None;
        if let ("SUMIF" | "AVERAGEIF", [tested, _, Expr::Reference(summed)]) = (function.name, args)
            && let Some(tested) = self.reference_of(tested, at)?
            && (tested.rows(), tested.columns()) != (summed.rows(), summed.columns())
        {
            // What is summed begins at its own corner and has the size of what is tested.
            resized = Some(Range {
                last_row: (summed.first_row + tested.rows() - 1).min(MAX_ROW),
                last_column: (summed.first_column + tested.columns() - 1).min(MAX_COLUMN),
                ..*summed
            });
        }
        if let Kind::Matrix(size, _) = function.kind {
            return self.matrix(index, function, size, args, at, mode);
        }
        if let ("COUNTIF", [tested, Expr::Binary(Binary::Concat, operator, operand)]) = (function.name, args)
            && let Expr::Value(Value::Text(operator)) = &**operator
            && let Some(relation) = criteria::relation(operator)
        {
            let tested = self.array_argument(tested, at)?;
            let operand = self.argument(operand, at, mode)?;
            return self.lift(&[operand], &mut |compiler, sources| {
                let operands = [Operand::Array(tested), Operand::Src(sources[0])];
                Ok(compiler.builder.add(Op::CountWhere(relation), &operands)?)
            });
        }
        let mut shapes = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            shapes.push(match resized {
                Some(range) if i == 2 => Shape::Array(self.range(range)?),
                _ if function.takes_array(i) => self.any(arg, at)?,
                _ => self.argument(arg, at, mode)?,
            });
        }
        let whole = |i: &usize| function.takes_array(*i);
        if (0..shapes.len()).filter(whole).any(|i| any_varies(&shapes[i..=i])) {
            let made = self.varying_call(index, &shapes);
            let several = |(i, shape): (usize, &Shape)| {
                !function.takes_array(i) && matches!(shape, Shape::Array(_) | Shape::Varying(_))
            };
            return if shapes.iter().enumerate().any(several) {
                Ok(made)
            } else {
                Ok(Shape::Src(self.first(made)?))
            };
        }
        let mut operands = Vec::with_capacity(args.len());
        let mut lifted = Vec::new();
        let mut arrays = false;
        for (i, shape) in shapes.into_iter().enumerate() {
            operands.push(match shape {
                Shape::Src(src) => Operand::Src(src),
                Shape::Omitted => Operand::Omitted,
                Shape::Array(array) if function.takes_array(i) => Operand::Array(array),
                // Its items take this place below.
                Shape::Array(_) | Shape::Varying(_) => Operand::Omitted,
            });
            if !function.takes_array(i) {
                arrays |= matches!(shape, Shape::Array(_) | Shape::Varying(_));
                lifted.push((i, shape));
            }
        }
        if !arrays {
            return Ok(Shape::Src(self.builder.add(Op::Call(index), &operands)?));
        }
        lifted.retain(|(_, shape)| !matches!(shape, Shape::Omitted));
        let shapes: Vec<Shape> = lifted.iter().map(|(_, shape)| *shape).collect();
        self.lift(&shapes, &mut |compiler, sources| {
            for ((i, _), src) in lifted.iter().zip(sources) {
                operands[*i] = Operand::Src(*src);
            }
            Ok(compiler.builder.add(Op::Call(index), &operands)?)
        })
    }

    /// One row (`true`) or column of an array as an array of its own.
    pub fn line(&mut self, array: u32, row: bool, place: usize) -> Lower<u32> {
        let (rows, columns) = self.builder.shape(array);
        if (row && rows == 1) || (!row && columns == 1) {
            return Ok(array);
        }
        if let Some(known) = self.lines.get(&(array, row, place)) {
            return Ok(*known);
        }
        let count = if row { columns } else { rows };
        let at = |i: usize| if row { place * columns + i } else { i * columns + place };
        let items: Vec<Src> = match self.builder.graph.arrays[array as usize].clone() {
            Array::Mixed { items, .. } => (0..count).map(|i| items[at(i)]).collect(),
            Array::Constant(table) => {
                (0..count).map(|i| self.builder.constant(table.values[at(i)].clone())).collect()
            }
        };
        let line = self.builder.array(if row { 1 } else { count }, if row { count } else { 1 }, items)?;
        self.lines.insert((array, row, place), line);
        Ok(line)
    }
}

/// The cell that a range means where one value is wanted.
fn intersection(range: Range, at: Key) -> Option<Key> {
    if range.is_cell() {
        return Some((range.sheet, range.first_row, range.first_column));
    }
    let (_, row, column) = at;
    if range.first_column == range.last_column && (range.first_row..=range.last_row).contains(&row) {
        return Some((range.sheet, row, range.first_column));
    }
    if range.first_row == range.last_row && (range.first_column..=range.last_column).contains(&column) {
        return Some((range.sheet, range.first_row, column));
    }
    None
}

pub(super) fn unsupported(what: &str) -> Stop {
    Stop::Kind(CompileErrorKind::Unsupported(what.to_owned()))
}
