//! Running a program over a block of records.

use super::column::{Column, lane};
use super::graph::{Graph, Op, Operand, Src};
use super::schedule::{Instruction, Rectangle, Schedule};
use super::{BLOCK, Volatile, kernels, scalar};
use crate::functions::{Arg, Env, Grid};
use crate::number;
use crate::value::Value;

/// Memory that one thread reuses from run to run.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) registers: Vec<Register>,
    pub(super) temporary: [Vec<f64>; 3],
    store: Vec<Value>,
    dynamic: bool,
}

impl Scratch {
    /// A scratch whose runs take every operation record by record with dynamic values, never over columns of numbers.
    /// The results are the same: the differential tests hold one against the other.
    pub fn record_by_record() -> Self {
        Self { dynamic: true, ..Self::default() }
    }
}

/// What the lanes of a register are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lanes {
    #[default]
    Number,
    Boolean,
    Value,
}

/// One live column.
#[derive(Debug, Default)]
pub(super) struct Register {
    pub lanes: Lanes,
    pub numbers: Vec<f64>,
    pub values: Vec<Value>,
}

/// A column as an instruction reads it.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    Number(&'a [f64]),
    Boolean(&'a [f64]),
    Values(&'a [Value]),
    Constant(&'a Value),
}

impl View<'_> {
    pub fn get(&self, i: usize) -> Value {
        match self {
            Self::Number(lanes) => number::value(lanes[i]),
            Self::Boolean(lanes) => number::boolean(lanes[i]),
            Self::Values(values) => values[i].clone(),
            Self::Constant(value) => (*value).clone(),
        }
    }

    /// Whether every lane is a number or an error.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Constant(Value::Number(_) | Value::Error(_)))
    }

    pub fn is_boolean(&self) -> bool {
        matches!(self, Self::Boolean(_) | Self::Constant(Value::Boolean(_) | Value::Error(_)))
    }
}

/// Lanes of numbers, coerced as arithmetic does.
pub(super) fn numbers<'a>(view: View<'a>, n: usize, temporary: &'a mut Vec<f64>) -> &'a [f64] {
    match view {
        View::Number(lanes) | View::Boolean(lanes) => &lanes[..n],
        View::Constant(value) => {
            temporary.clear();
            temporary.resize(n, value.to_lane());
            temporary
        }
        View::Values(values) => {
            temporary.clear();
            temporary.extend(values[..n].iter().map(Value::to_lane));
            temporary
        }
    }
}

/// What a run reads besides its registers.
pub(super) struct Run<'a> {
    pub schedule: &'a Schedule,
    graph: &'a Graph,
    inputs: &'a [Column],
    volatile: &'a Volatile,
    dynamic: bool,
    /// The first record of this part of the block.
    offset: usize,
    pub n: usize,
    first_record: u64,
}

/// Evaluate `rows` records.
#[expect(clippy::too_many_arguments, reason = "the parts of a run, passed on by one caller")]
pub(super) fn run(
    schedule: &Schedule,
    graph: &Graph,
    inputs: &[Column],
    rows: usize,
    volatile: &Volatile,
    first_record: u64,
    scratch: &mut Scratch,
    outputs: &mut Vec<Column>,
) {
    let rows = rows.min(BLOCK);
    if scratch.registers.len() < schedule.registers {
        scratch.registers.resize_with(schedule.registers, Register::default);
    }
    outputs.resize_with(schedule.outputs.len(), Column::default);
    for column in outputs.iter_mut() {
        match column {
            Column::Number(numbers) | Column::Boolean(numbers) => numbers.clear(),
            Column::Value(values) => values.clear(),
            Column::Constant(_) => {}
        }
    }
    let mut offset = 0;
    while offset < rows {
        let n = schedule.lanes.min(rows - offset);
        let run = Run {
            schedule,
            graph,
            inputs,
            volatile,
            dynamic: scratch.dynamic,
            offset,
            n,
            first_record: first_record.wrapping_add(offset as u64),
        };
        for instruction in &schedule.instructions {
            run.step(instruction, scratch);
        }
        for (src, column) in schedule.outputs.iter().zip(outputs.iter_mut()) {
            append(column, run.view(&scratch.registers, *src), offset, n);
        }
        offset += n;
    }
}

/// Append a part of a block to an output column, which keeps its memory when its type stays the same.
fn append(column: &mut Column, view: View<'_>, offset: usize, n: usize) {
    match (&mut *column, view) {
        (_, View::Constant(value)) => {
            if offset == 0 {
                *column = Column::Constant(value.clone());
            }
            return;
        }
        (Column::Number(out), View::Number(lanes)) if out.len() == offset => {
            out.extend(lanes[..n].iter().map(|x| x + 0.0));
            return;
        }
        (Column::Boolean(out), View::Boolean(lanes)) if out.len() == offset => {
            out.extend_from_slice(&lanes[..n]);
            return;
        }
        (Column::Value(out), View::Values(values)) if out.len() == offset => {
            out.extend_from_slice(&values[..n]);
            return;
        }
        _ => {}
    }
    if offset == 0 {
        *column = match view {
            View::Number(lanes) => Column::Number(lanes[..n].iter().map(|x| x + 0.0).collect()),
            View::Boolean(lanes) => Column::Boolean(lanes[..n].to_vec()),
            View::Values(values) => Column::Value(values[..n].to_vec()),
            View::Constant(value) => Column::Constant(value.clone()),
        };
        return;
    }
    let mut values: Vec<Value> = (0..offset).map(|i| column.get(i)).collect();
    values.extend((0..n).map(|i| view.get(i)));
    *column = Column::Value(values);
}

impl<'a> Run<'a> {
    pub fn view<'r>(&self, registers: &'r [Register], src: Src) -> View<'r>
    where
        'a: 'r,
    {
        match src {
            Src::Const(index) => View::Constant(&self.graph.constants[index as usize]),
            Src::Node(register) => {
                let register = &registers[register as usize];
                match register.lanes {
                    Lanes::Number => View::Number(&register.numbers),
                    Lanes::Boolean => View::Boolean(&register.numbers),
                    Lanes::Value => View::Values(&register.values),
                }
            }
        }
    }

    pub fn env(&self, i: usize) -> Env {
        Env {
            now: self.volatile.now,
            seed: self.volatile.seed,
            record: self.first_record.wrapping_add(i as u64),
        }
    }

    fn step(&self, instruction: &Instruction, scratch: &mut Scratch) {
        let target = instruction.target as usize;
        let mut out = std::mem::take(&mut scratch.registers[target]);
        let operands = &self.schedule.operands
            [instruction.start as usize..(instruction.start + instruction.length) as usize];
        if let Op::Input(input) = instruction.op {
            self.load(self.inputs.get(input as usize), &mut out);
        } else if self.dynamic || !self.columnar(instruction.op, operands, scratch, &mut out) {
            self.records(instruction.op, operands, scratch, &mut out);
        }
        scratch.registers[target] = out;
    }

    /// Read a part of an input column. A column that ends early is blank from there.
    fn load(&self, column: Option<&Column>, out: &mut Register) {
        let (from, to) = (self.offset, self.offset + self.n);
        match column {
            Some(Column::Number(lanes)) if lanes.len() >= to && !self.dynamic => {
                out.lanes = Lanes::Number;
                out.numbers.clear();
                out.numbers.extend_from_slice(&lanes[from..to]);
                if kernels::any_bad(&out.numbers) {
                    // Whatever the caller wrote, lanes are finite or one of the known NaNs.
                    for x in &mut out.numbers {
                        *x = number::decode(*x).map_or(*x, number::error);
                    }
                }
            }
            Some(Column::Boolean(lanes)) if lanes.len() >= to && !self.dynamic => {
                out.lanes = Lanes::Boolean;
                out.numbers.clear();
                out.numbers.extend_from_slice(&lanes[from..to]);
            }
            other => {
                out.values.clear();
                let blank = Column::default();
                let column = other.unwrap_or(&blank);
                out.values.extend((from..to).map(|i| match column.get(i) {
                    Value::Number(x) => number::value(x),
                    value => value,
                }));
                out.lanes = Lanes::Value;
                self.settle(out);
            }
        }
    }

    /// Turn values that are all numbers, or all booleans, into lanes.
    pub fn settle(&self, out: &mut Register) {
        if self.dynamic {
            return;
        }
        let (mut number, mut boolean, mut other) = (false, false, false);
        for value in &out.values {
            match value {
                Value::Number(_) => number = true,
                Value::Boolean(_) => boolean = true,
                Value::Error(_) => {}
                Value::Blank | Value::Text(_) => other = true,
            }
        }
        if other || (number && boolean) {
            return;
        }
        out.numbers.clear();
        out.numbers.extend(out.values.iter().map(lane));
        out.lanes = if boolean { Lanes::Boolean } else { Lanes::Number };
    }

    /// Evaluate record by record with dynamic values.
    fn records(&self, op: Op, operands: &[Operand], scratch: &mut Scratch, out: &mut Register) {
        const FEW: usize = 8;
        let Scratch { registers, store, .. } = scratch;
        let registers: &[Register] = registers;
        out.values.clear();
        for i in 0..self.n {
            store.clear();
            for operand in operands {
                match operand {
                    Operand::Src(src) => match self.view(registers, *src) {
                        View::Values(_) | View::Constant(_) => {}
                        view => store.push(view.get(i)),
                    },
                    Operand::Array(array) => {
                        if let Rectangle::Mixed { items, .. } = &self.schedule.arrays[*array as usize] {
                            store.extend(items.iter().map(|src| self.view(registers, *src).get(i)));
                        }
                    }
                    Operand::Omitted => {}
                }
            }
            let mut taken = 0;
            let mut argument = |operand: &Operand| match operand {
                Operand::Omitted => Arg::Omitted,
                Operand::Src(src) => match self.view(registers, *src) {
                    View::Values(values) => Arg::Value(&values[i]),
                    View::Constant(value) => Arg::Value(value),
                    View::Number(_) | View::Boolean(_) => {
                        taken += 1;
                        Arg::Value(&store[taken - 1])
                    }
                },
                Operand::Array(array) => Arg::Array(match &self.schedule.arrays[*array as usize] {
                    Rectangle::Constant(table) => Grid {
                        rows: table.rows,
                        columns: table.columns,
                        items: &table.values,
                        index: matches!(op, Op::Position(_)).then(|| table.index()),
                    },
                    Rectangle::Mixed { rows, columns, items } => {
                        let from = taken;
                        taken += items.len();
                        Grid { rows: *rows, columns: *columns, items: &store[from..taken], index: None }
                    }
                }),
            };
            let env = self.env(i);
            let value = if operands.len() <= FEW {
                let mut args = [Arg::Omitted; FEW];
                for (arg, operand) in args.iter_mut().zip(operands) {
                    *arg = argument(operand);
                }
                scalar::evaluate(op, &args[..operands.len()], &env)
            } else {
                let args: Vec<Arg<'_>> = operands.iter().map(argument).collect();
                scalar::evaluate(op, &args, &env)
            };
            out.values.push(value);
        }
        out.lanes = Lanes::Value;
        self.settle(out);
    }
}
