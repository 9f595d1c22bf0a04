//! From a book to a graph: the cone from the outputs back to the inputs, without recursion from cell to cell.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::CompileReport;
use super::error::{CompileError, CompileErrorKind};
use super::graph::{Builder, Graph, Op, Src};
use super::lower::Shape;
use super::varying::Pieces;
use crate::book::{Book, Range};
use crate::formula::{Expr, Resolver};
use crate::functions::{Form, Kind, by_index};
use crate::limits::Limits;
use crate::value::Value;

/// A cell: sheet, row, column.
pub(super) type Key = (u32, u32, u32);

/// Why lowering stopped.
pub(super) enum Stop {
    /// These formula cells must be compiled first.
    Missing(Vec<Key>),
    /// The formula cannot be compiled.
    Kind(CompileErrorKind),
    /// The formula must be compiled for this condition and for its opposite: it decides the size of an array.
    Assume(Src),
}

impl From<CompileErrorKind> for Stop {
    fn from(kind: CompileErrorKind) -> Self {
        Self::Kind(kind)
    }
}

pub(super) type Lower<T> = Result<T, Stop>;

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    Done(Src),
}

/// The state of one compilation.
#[derive(Debug)]
pub(super) struct Compiler<'b> {
    pub book: &'b Book,
    pub resolver: Resolver<'b>,
    pub builder: Builder,
    pub functions: BTreeSet<u16>,
    pub(super) pieces: Pieces,
    inputs: FxHashMap<Key, u32>,
    cells: FxHashMap<Key, State>,
    ranges: FxHashMap<Range, u32>,
    pub(super) lines: FxHashMap<(u32, bool, usize), u32>,
    pub(super) chunks: FxHashMap<Vec<Src>, u32>,
    /// The array formula that fills a cell, by its place in the book.
    array_cells: FxHashMap<Key, u32>,
    /// What array formulas have become that are the same in every case.
    pub(super) filled: FxHashMap<u32, Shape>,
    /// The conditions of the case that is being compiled.
    pub(super) assumed: Vec<(Src, bool)>,
    formulas: usize,
    limit: usize,
    /// What is in the way, by cell; the compiler goes on after each to find the others.
    obstacles: Vec<CompileError>,
}

/// Obstacles that are collected, at most.
const OBSTACLES: usize = 100;

/// A formula on its way: its cell, its expression, and the cells that it waits for.
struct Frame {
    key: Key,
    expr: Option<Expr>,
    waiting: Vec<Key>,
}

/// Compile what the outputs need.
pub(super) fn compile(
    book: &Book,
    inputs: &[Range],
    outputs: &[Range],
    limits: &Limits,
) -> Result<(Graph, Vec<Src>, usize, CompileReport), Vec<CompileError>> {
    let resolver = Resolver::new(book, inputs, limits);
    let mut input_cells = FxHashMap::default();
    let mut count = 0_u32;
    for key in inputs.iter().flat_map(cells_of) {
        input_cells.entry(key).or_insert(count);
        count += 1;
    }
    let mut compiler = Compiler {
        book,
        resolver,
        builder: Builder::default(),
        functions: BTreeSet::new(),
        pieces: Pieces::default(),
        inputs: input_cells,
        cells: FxHashMap::default(),
        ranges: FxHashMap::default(),
        lines: FxHashMap::default(),
        chunks: FxHashMap::default(),
        array_cells: array_cells(book),
        filled: FxHashMap::default(),
        assumed: Vec::new(),
        formulas: 0,
        limit: limits.formulas,
        obstacles: Vec::new(),
    };
    let mut sources = Vec::new();
    for key in outputs.iter().flat_map(cells_of) {
        match compiler.output(key) {
            Ok(src) => sources.push(src),
            // The compiler cannot go on, or has found enough.
            Err(error) => {
                compiler.obstacles.push(error);
                break;
            }
        }
    }
    if !compiler.obstacles.is_empty() {
        return Err(compiler.obstacles);
    }
    let names = |volatile: bool| {
        let all = compiler.functions.iter().map(|index| by_index(*index));
        all.filter(|f| !volatile || f.volatile).map(|f| f.name.to_owned()).collect::<Vec<_>>()
    };
    let report = CompileReport {
        functions: names(false),
        volatile_functions: names(true),
        formulas: compiler.formulas,
        cells: compiler.cells.len(),
        instructions: 0,
        live_columns: 0,
    };
    Ok((compiler.builder.graph, sources, count as usize, report))
}

/// The cells that array formulas fill. The reader has bounded how many there are.
fn array_cells(book: &Book) -> FxHashMap<Key, u32> {
    let mut found = FxHashMap::default();
    for (array, formula) in (0..).zip(&book.arrays) {
        let area = formula.area;
        let Some(sheet) = book.sheets.get(area.sheet as usize) else { continue };
        let size = u64::from(area.rows()) * u64::from(area.columns());
        if size <= sheet.cells.len() as u64 {
            found.extend(cells_of(&area).map(|key| (key, array)));
        } else {
            let keys = sheet.cells.keys().map(|(row, column)| (area.sheet, *row, *column));
            found.extend(keys.filter(|key| contains(&area, *key)).map(|key| (key, array)));
        }
    }
    found
}

/// The cells of a range, row-major.
pub(super) fn cells_of(range: &Range) -> impl Iterator<Item = Key> + use<> {
    let range = *range;
    (range.first_row..=range.last_row).flat_map(move |row| {
        (range.first_column..=range.last_column).map(move |column| (range.sheet, row, column))
    })
}

impl Compiler<'_> {
    fn error(&self, key: Key, kind: CompileErrorKind) -> CompileError {
        CompileError { place: self.resolver.place(key.0, key.1, key.2), kind }
    }

    /// The source of an output cell, with everything that it depends on. An error is one that ends the compilation.
    fn output(&mut self, root: Key) -> Result<Src, CompileError> {
        match self.cell(root) {
            Ok(src) => return Ok(src),
            Err(Stop::Kind(kind)) => return Err(self.error(root, kind)),
            Err(Stop::Missing(_) | Stop::Assume(_)) => {}
        }
        if matches!(self.cells.get(&root), Some(State::Open)) {
            // Left open below an obstacle: it cannot be computed.
            return Err(self.error(root, CompileErrorKind::Unsupported("this formula".to_owned())));
        }
        let mut stack = vec![Frame { key: root, expr: None, waiting: Vec::new() }];
        while let Some(frame) = stack.last_mut() {
            let key = frame.key;
            if frame.expr.is_none() {
                if matches!(self.cells.get(&key), Some(State::Done(_))) {
                    stack.pop();
                    continue;
                }
                match self.open(key) {
                    Ok((expr, waiting)) => {
                        frame.expr = Some(expr);
                        frame.waiting = waiting;
                    }
                    Err(error) => {
                        self.obstacle(key, error)?;
                        stack.pop();
                        continue;
                    }
                }
            }
            if let Some(next) = frame.waiting.pop() {
                match self.cells.get(&next) {
                    Some(State::Done(_)) => {}
                    Some(State::Open) => {
                        let error = self.circle(&stack, next);
                        self.obstacle(next, error)?;
                    }
                    None => stack.push(Frame { key: next, expr: None, waiting: Vec::new() }),
                }
                continue;
            }
            let Some(expr) = frame.expr.take() else { continue };
            self.builder.place = (key.1, key.2);
            match self.result(key, &expr, self.array_cells.get(&key).copied()) {
                Ok(src) => {
                    self.cells.insert(key, State::Done(src));
                    stack.pop();
                }
                Err(Stop::Missing(cells)) => {
                    if let Some(frame) = stack.last_mut() {
                        frame.expr = Some(expr);
                        frame.waiting = cells;
                    }
                }
                Err(Stop::Kind(kind)) => {
                    let error = self.error(key, kind);
                    self.obstacle(key, error)?;
                    stack.pop();
                }
                Err(Stop::Assume(_)) => {
                    let kind =
                        CompileErrorKind::Unsupported("an array whose size depends on the inputs".to_owned());
                    let error = self.error(key, kind);
                    self.obstacle(key, error)?;
                    stack.pop();
                }
            }
        }
        match self.cell(root) {
            Ok(src) => Ok(src),
            Err(_) => Err(self.error(root, CompileErrorKind::Unsupported("this formula".to_owned()))),
        }
    }

    /// Notes what is in the way of a cell, which counts as a number from here on. An error that ends everything is handed back.
    fn obstacle(&mut self, key: Key, error: CompileError) -> Result<(), CompileError> {
        let last = matches!(error.kind, CompileErrorKind::TooLarge { .. });
        if last || self.obstacles.len() + 1 >= OBSTACLES {
            return Err(error);
        }
        self.obstacles.push(error);
        self.assumed.clear();
        let src = self.builder.constant(Value::Number(1.0));
        self.cells.insert(key, State::Done(src));
        Ok(())
    }

    /// Parse the formula of a cell and list the formula cells that it surely needs.
    fn open(&mut self, key: Key) -> Result<(Expr, Vec<Key>), CompileError> {
        self.formulas += 1;
        if self.formulas > self.limit {
            return Err(self.error(key, CompileErrorKind::TooLarge { limit: self.limit, unit: "formulas" }));
        }
        self.cells.insert(key, State::Open);
        let expr = match self.array_cells.get(&key) {
            Some(array) => {
                let array = &self.book.arrays[*array as usize];
                // Its references count from its first cell.
                self.resolver.formula(key.0, array.area.first_row, array.area.first_column, &array.formula)?
            }
            None => self.resolver.formula(key.0, key.1, key.2, self.formula_text(key).unwrap_or_default())?,
        };
        let mut waiting = Vec::new();
        for range in references(&expr) {
            if !self.ranges.contains_key(&range) {
                waiting.extend(self.missing(&range));
            }
        }
        // The last one is popped first: reverse, so that cells come in their own order.
        waiting.reverse();
        Ok((expr, waiting))
    }

    fn formula_text(&self, key: Key) -> Option<&str> {
        let cell = self.book.sheets.get(key.0 as usize)?.cells.get(&(key.1, key.2))?;
        cell.formula.as_deref()
    }

    /// The formula cells of a range that are not compiled yet.
    fn missing(&self, range: &Range) -> Vec<Key> {
        let clipped = self.resolver.clip(*range);
        let Some(sheet) = self.book.sheets.get(clipped.sheet as usize) else { return Vec::new() };
        let pending = |key: &Key| {
            let formula = sheet.cells.get(&(key.1, key.2)).is_some_and(|cell| cell.formula.is_some());
            formula && !self.inputs.contains_key(key) && !matches!(self.cells.get(key), Some(State::Done(_)))
        };
        let area = u64::from(clipped.rows()) * u64::from(clipped.columns());
        if area > sheet.cells.len() as u64 {
            // A sparse sheet: look at its cells instead of the whole rectangle.
            let mut keys: Vec<Key> = sheet
                .cells
                .keys()
                .map(|(row, column)| (clipped.sheet, *row, *column))
                .filter(|key| contains(&clipped, *key) && pending(key))
                .collect();
            keys.sort_unstable();
            return keys;
        }
        cells_of(&clipped).filter(pending).collect()
    }

    /// The source of the value of a cell.
    pub fn cell(&mut self, key: Key) -> Lower<Src> {
        match self.cells.get(&key) {
            Some(State::Done(src)) => return Ok(*src),
            Some(State::Open) => return Err(Stop::Missing(vec![key])),
            None => {}
        }
        let src = if let Some(input) = self.inputs.get(&key) {
            self.builder.add(Op::Input(*input), &[])?
        } else {
            let book = self.book;
            match book.sheets.get(key.0 as usize).and_then(|sheet| sheet.cells.get(&(key.1, key.2))) {
                // Blank cells are not remembered: there are too many of them.
                None => return Ok(self.builder.constant(Value::Blank)),
                Some(cell) if cell.formula.is_some() => return Err(Stop::Missing(vec![key])),
                Some(cell) => self.builder.constant(cell.value.clone()),
            }
        };
        self.cells.insert(key, State::Done(src));
        Ok(src)
    }

    /// Whether a cell is supplied by the records.
    pub fn has_formula(&self, key: Key) -> bool {
        self.formula_text(key).is_some()
    }

    /// The array of a range, clipped to the used area.
    pub fn range(&mut self, range: Range) -> Lower<u32> {
        if let Some(array) = self.ranges.get(&range) {
            return Ok(*array);
        }
        let missing = self.missing(&range);
        if !missing.is_empty() {
            return Err(Stop::Missing(missing));
        }
        let clipped = self.resolver.clip(range);
        let area = u64::from(clipped.rows()) * u64::from(clipped.columns());
        const MOST: usize = 4_000_000;
        if area > MOST as u64 {
            return Err(Stop::Kind(CompileErrorKind::TooLarge { limit: MOST, unit: "cells in one range" }));
        }
        let mut items = Vec::with_capacity(area as usize);
        for key in cells_of(&clipped) {
            items.push(self.cell(key)?);
        }
        let array = self.builder.array(clipped.rows() as usize, clipped.columns() as usize, items)?;
        self.ranges.insert(range, array);
        Ok(array)
    }

    fn circle(&self, stack: &[Frame], key: Key) -> CompileError {
        let start = stack.iter().position(|frame| frame.key == key).unwrap_or(0);
        let names = stack[start..].iter().map(|f| self.resolver.place(f.key.0, f.key.1, f.key.2));
        let mut path: Vec<String> = names.take(8).collect();
        if stack.len() - start > path.len() {
            path.push("…".to_owned());
        }
        path.push(self.resolver.place(key.0, key.1, key.2));
        self.error(key, CompileErrorKind::Circular(path.join(" → ")))
    }
}

fn contains(range: &Range, key: Key) -> bool {
    (range.first_row..=range.last_row).contains(&key.1)
        && (range.first_column..=range.last_column).contains(&key.2)
}

/// The ranges whose values an expression surely needs. What a computed reference needs turns up while lowering.
fn references(expr: &Expr) -> Vec<Range> {
    let mut found = Vec::new();
    let mut open = vec![expr];
    while let Some(expr) = open.pop() {
        match expr {
            Expr::Reference(range) => found.push(*range),
            Expr::Areas(list) => found.extend_from_slice(list),
            Expr::Unary(_, inner) => open.push(inner),
            Expr::Binary(_, left, right) => open.extend([&**right, &**left]),
            Expr::Array { items, .. } => open.extend(items.iter().rev()),
            Expr::Call(_, function, args) => {
                let skipped = match function.kind {
                    Kind::Form(Form::Row | Form::Column | Form::Rows | Form::Columns | Form::IsRef) => {
                        args.len()
                    }
                    Kind::Form(Form::Offset | Form::Index | Form::IsFormula) => 1,
                    _ => 0,
                };
                // A reference that is only measured or moved is not read.
                let kept = args.iter().enumerate().rev();
                let kept = kept.filter(|(i, arg)| *i >= skipped || !matches!(arg, Expr::Reference(_)));
                open.extend(kept.map(|(_, arg)| arg));
            }
            Expr::Value(_) | Expr::Omitted | Expr::Span(..) | Expr::Local(_) => {}
        }
    }
    found
}
