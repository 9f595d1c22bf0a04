//! The program before it is ordered: a graph of operations where equal operations are one, and constants are folded.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use super::error::CompileErrorKind;
use super::scalar;
use super::table::Table;
use super::varying::{self, Plan};
use crate::formula::Binary;
use crate::functions::{Arg, Env, by_index};
use crate::value::Value;

/// Operations that one program may have.
const NODES: usize = 4_000_000;
/// Cells of all arrays of one program together.
const CELLS: usize = 40_000_000;

/// Cells that the operations of one program may read in arrays for one record: a bound on the time that it takes. Look-ups in
/// constant tables count nothing, since they have an index.
const READ: usize = 500_000_000;

/// Items of an array that is compared with later ones.
const REMEMBERED: usize = 10_000;

/// Where a single value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Src {
    /// The result of a node; once ordered, the number of a register.
    Node(u32),
    /// A constant.
    Const(u32),
}

/// An argument of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operand {
    Src(Src),
    Array(u32),
    Omitted,
}

/// How a lookup searches a row or column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Search {
    /// Equal; text may have wildcards.
    Exact,
    /// Equal, without wildcards; from the last place when `last`.
    Equal { last: bool },
    /// Text with wildcards; from the last place when `last`.
    Wildcard { last: bool },
    /// By halving, in ascending order: the last that is not greater.
    Ascending,
    /// By halving, in descending order: the last that is not smaller.
    Descending,
    /// Equal or else the next smaller, in any order.
    NextSmaller { last: bool },
    /// Equal or else the next greater, in any order.
    NextGreater { last: bool },
}

impl Search {
    /// Whether only an equal number is found, wherever it is when there is but one.
    pub fn is_plain(self) -> bool {
        matches!(self, Self::Exact | Self::Equal { .. })
    }
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// A column of the caller.
    Input(u32),
    Negate,
    Percent,
    Binary(Binary),
    /// Condition, value if true, value if false.
    If,
    IfError,
    IfNa,
    /// What a cell shows: 0 for blank.
    Solid,
    /// A function by its index.
    Call(u16),
    /// The one-based place of a key in a row or column.
    Position(Search),
    /// The value of an array at a one-based row and column.
    Pick,
    /// How many values of an array stand so to a value: `COUNTIF(array, ">"&value)`.
    CountWhere(Binary),
    /// A random number from 0 to 1 that depends on the seed, the record and this place in the program.
    Random(u32),
    /// A whole number between two bounds, from a random number.
    Between,
    /// A value that is computed through arrays whose size only the record decides, by its [`Plan`].
    Vary(u32),
    /// An item of such an array, in a plan that is being made. It never gets into a program.
    Item(u32),
}

impl Op {
    /// Whether the result may change though the arguments do not.
    pub fn volatile(self) -> bool {
        match self {
            Self::Input(_) | Self::Random(_) | Self::Item(_) => true,
            Self::Call(index) => by_index(index).volatile,
            _ => false,
        }
    }
}

/// One operation with its arguments in [`Graph::operands`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub op: Op,
    pub start: u32,
    pub length: u32,
}

/// A rectangle of arguments.
#[derive(Debug, Clone)]
pub(crate) enum Array {
    Constant(Arc<Table>),
    Mixed { rows: usize, columns: usize, items: Arc<[Src]> },
}

impl Array {
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Constant(table) => (table.rows, table.columns),
            Self::Mixed { rows, columns, .. } => (*rows, *columns),
        }
    }
}

/// The operations of a program.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    pub nodes: Vec<Node>,
    /// Row and column of the cell whose formula first needed each node.
    pub places: Vec<(u32, u32)>,
    pub operands: Vec<Operand>,
    pub constants: Vec<Value>,
    pub arrays: Vec<Array>,
    pub plans: Vec<Plan>,
}

impl Graph {
    /// The value of an operation for one record.
    pub fn evaluate(&self, op: Op, args: &[Arg<'_>], env: &Env) -> Value {
        match op {
            Op::Vary(plan) => varying::evaluate(&self.plans[plan as usize], args, env),
            _ => scalar::evaluate(op, args, env),
        }
    }
}

/// Builds a graph.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    pub graph: Graph,
    /// Row and column of the cell that is being compiled.
    pub place: (u32, u32),
    known: FxHashMap<(Op, Vec<Operand>), u32>,
    numbers: FxHashMap<u64, u32>,
    texts: FxHashMap<SmolStr, u32>,
    others: Vec<u32>,
    /// Arrays by their shape and items: equal ones are one.
    arrays: FxHashMap<(usize, usize, Arc<[Src]>), u32>,
    plans: FxHashMap<Plan, u32>,
    cells: usize,
    read: usize,
    /// Random numbers so far.
    pub randoms: u32,
}

impl Builder {
    /// The source of a constant.
    pub fn constant(&mut self, value: Value) -> Src {
        let next = self.graph.constants.len() as u32;
        let index = match &value {
            Value::Number(x) => *self.numbers.entry(x.to_bits()).or_insert(next),
            Value::Text(text) => *self.texts.entry(text.clone()).or_insert(next),
            other => {
                let constants = &self.graph.constants;
                let known = self.others.iter().copied().find(|i| constants[*i as usize] == *other);
                known.unwrap_or_else(|| {
                    self.others.push(next);
                    next
                })
            }
        };
        if index == next {
            self.graph.constants.push(value);
        }
        Src::Const(index)
    }

    pub fn number(&mut self, x: f64) -> Src {
        self.constant(Value::Number(x))
    }

    /// The value of a constant source.
    pub fn constant_of(&self, src: Src) -> Option<&Value> {
        match src {
            Src::Const(index) => self.graph.constants.get(index as usize),
            Src::Node(_) => None,
        }
    }

    /// A random number of its own.
    pub fn random(&mut self) -> Result<Src, CompileErrorKind> {
        self.randoms += 1;
        self.add(Op::Random(self.randoms), &[])
    }

    /// A rectangle of sources; constant when all of them are.
    pub fn array(&mut self, rows: usize, columns: usize, items: Vec<Src>) -> Result<u32, CompileErrorKind> {
        let items: Arc<[Src]> = items.into();
        if let Some(known) = self.arrays.get(&(rows, columns, Arc::clone(&items))) {
            return Ok(*known);
        }
        self.cells += items.len();
        if self.cells > CELLS {
            return Err(CompileErrorKind::TooLarge { limit: CELLS, unit: "cells in ranges" });
        }
        let constants: Option<Vec<Value>> = items.iter().map(|src| self.constant_of(*src).cloned()).collect();
        let array = match constants {
            Some(values) => Array::Constant(Arc::new(Table::new(rows, columns, values))),
            None => Array::Mixed { rows, columns, items: Arc::clone(&items) },
        };
        let index = self.graph.arrays.len() as u32;
        self.graph.arrays.push(array);
        if items.len() <= REMEMBERED {
            self.arrays.insert((rows, columns, items), index);
        }
        Ok(index)
    }

    /// The source of one item of an array.
    pub fn item(&mut self, array: u32, row: usize, column: usize) -> Src {
        let value = match &self.graph.arrays[array as usize] {
            Array::Mixed { columns, items, .. } => return items[row * columns + column],
            Array::Constant(table) => table.values[row * table.columns + column].clone(),
        };
        self.constant(value)
    }

    pub fn shape(&self, array: u32) -> (usize, usize) {
        self.graph.arrays[array as usize].shape()
    }

    /// An operation: folded when its arguments are constant, or the same as an earlier one, or else a new node.
    pub fn add(&mut self, op: Op, operands: &[Operand]) -> Result<Src, CompileErrorKind> {
        if op == Op::If
            && let Some(Operand::Src(condition)) = operands.first()
            && let Some(condition) = self.constant_of(*condition)
        {
            // Only the branch that is taken stays.
            return Ok(match (condition.to_boolean(), operands.get(1), operands.get(2)) {
                (Ok(true), Some(Operand::Src(yes)), _) => *yes,
                (Ok(false), _, Some(Operand::Src(no))) => *no,
                (Err(e), ..) => self.constant(e.into()),
                _ => self.constant(Value::Blank),
            });
        }
        self.count_read(op, operands)?;
        if !op.volatile()
            && let Some(value) = self.fold(op, operands)
        {
            return Ok(self.constant(value));
        }
        let key = (op, operands.to_vec());
        if let Some(index) = self.known.get(&key) {
            return Ok(Src::Node(*index));
        }
        if self.graph.nodes.len() >= NODES {
            return Err(CompileErrorKind::TooLarge { limit: NODES, unit: "operations" });
        }
        let index = self.graph.nodes.len() as u32;
        let start = self.graph.operands.len() as u32;
        self.graph.operands.extend_from_slice(operands);
        self.graph.places.push(self.place);
        self.graph.nodes.push(Node { op, start, length: operands.len() as u32 });
        self.known.insert(key, index);
        Ok(Src::Node(index))
    }

    pub fn add_src(&mut self, op: Op, sources: &[Src]) -> Result<Src, CompileErrorKind> {
        let operands: Vec<Operand> = sources.iter().map(|src| Operand::Src(*src)).collect();
        self.add(op, &operands)
    }

    /// Counts what an operation reads, before it is folded: that takes its time as well.
    fn count_read(&mut self, op: Op, operands: &[Operand]) -> Result<(), CompileErrorKind> {
        for operand in operands {
            if let Operand::Array(array) = operand {
                self.read += match &self.graph.arrays[*array as usize] {
                    _ if op == Op::Pick => 0,
                    Array::Constant(_) if matches!(op, Op::Position(_) | Op::CountWhere(_)) => 0,
                    Array::Constant(table) => table.values.len(),
                    Array::Mixed { items, .. } => items.len(),
                };
            }
        }
        if self.read > READ {
            return Err(CompileErrorKind::TooLarge { limit: READ, unit: "cells that its operations read" });
        }
        Ok(())
    }

    /// The value of an operation on constants.
    fn fold(&self, op: Op, operands: &[Operand]) -> Option<Value> {
        let mut args = Vec::with_capacity(operands.len());
        for operand in operands {
            args.push(match operand {
                Operand::Omitted => Arg::Omitted,
                Operand::Src(src) => Arg::Value(self.constant_of(*src)?),
                Operand::Array(array) => match &self.graph.arrays[*array as usize] {
                    Array::Constant(table) => Arg::Array(table.grid(matches!(op, Op::Position(_)))),
                    Array::Mixed { .. } => return None,
                },
            });
        }
        Some(self.graph.evaluate(op, &args, &Env::default()))
    }

    /// The number of a plan: equal ones are one.
    pub fn plan(&mut self, plan: Plan) -> u32 {
        let next = self.graph.plans.len() as u32;
        let number = *self.plans.entry(plan.clone()).or_insert(next);
        if number == next {
            self.graph.plans.push(plan);
        }
        number
    }
}
