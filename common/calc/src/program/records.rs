//! Record by record: single operations within a block, and whole programs for records that do not fit a typed program.

use super::column::Column;
use super::columnar::Run;
use super::graph::{Graph, Op, Operand, Src};
use super::lanes::Bank;
use super::schedule::{Rectangle, Schedule};
use super::steps::{Argument, Kind};
use super::watch::{STEPS, Watch};
use super::{Volatile, scalar};
use crate::functions::{Arg, Env, Grid};
use crate::number;
use crate::value::{ErrorValue, Value};

/// Arguments that need no memory of their own.
const FEW: usize = 8;

impl Run<'_> {
    /// An operation of a typed program for one record.
    pub(super) fn call(&self, call: u32, i: usize, bank: &Bank, store: &mut Vec<Value>) -> Value {
        let call = self.typed.calls[call as usize];
        let arguments = call.arguments.of(&self.typed.arguments);
        if let (Op::Pick, [Argument::Items { rows, columns }, items @ ..]) = (call.op, arguments)
            && let [items @ .., row, column] = items
        {
            // Only one item is read.
            let lane = |argument: &Argument| self.value(*argument, bank, i).to_lane();
            return match scalar::place(*rows as usize, *columns as usize, lane(row), lane(column)) {
                Ok(place) => items.get(place).map_or(Value::Blank, |item| self.value(*item, bank, i)),
                Err(e) => e.into(),
            };
        }
        store.clear();
        let mut listed = 0;
        for argument in arguments {
            // Items of arrays lie side by side; other values are borrowed where they are.
            if listed > 0 {
                listed -= 1;
                store.push(self.value(*argument, bank, i));
            } else {
                match argument {
                    Argument::Lanes(..) => store.push(self.value(*argument, bank, i)),
                    Argument::Items { rows, columns } => listed = rows * columns,
                    _ => {}
                }
            }
        }
        let mut list = List::default();
        let (mut taken, mut at) = (0, 0);
        while let Some(argument) = arguments.get(at) {
            at += 1;
            list.push(match *argument {
                Argument::Omitted => Arg::Omitted,
                Argument::Lanes(..) => {
                    taken += 1;
                    Arg::Value(&store[taken - 1])
                }
                Argument::Values(values) => Arg::Value(self.value_of(values, bank, i)),
                Argument::Constant(index) => Arg::Value(&self.graph.constants[index as usize]),
                Argument::Table(array) => match &self.schedule.arrays[array as usize] {
                    Rectangle::Constant(table) => Arg::Array(table.grid(matches!(call.op, Op::Position(_)))),
                    Rectangle::Mixed { .. } => Arg::Omitted,
                },
                Argument::Items { rows, columns } => {
                    let (rows, columns) = (rows as usize, columns as usize);
                    let from = taken;
                    taken += rows * columns;
                    at += rows * columns;
                    Arg::Array(Grid { rows, columns, items: &store[from..taken], index: None })
                }
            });
        }
        self.graph.evaluate(call.op, list.as_slice(), &self.env(i))
    }
}

/// Arguments, in place while they are few.
#[derive(Default)]
struct List<'a> {
    few: [Arg<'a>; FEW],
    count: usize,
    many: Vec<Arg<'a>>,
}

impl<'a> List<'a> {
    fn push(&mut self, arg: Arg<'a>) {
        if self.count < FEW {
            self.few[self.count] = arg;
        } else {
            if self.many.is_empty() {
                self.many.extend_from_slice(&self.few);
            }
            self.many.push(arg);
        }
        self.count += 1;
    }

    fn as_slice(&self) -> &[Arg<'a>] {
        if self.count <= FEW { &self.few[..self.count] } else { &self.many }
    }
}

/// What evaluating a whole record needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub schedule: &'a Schedule,
    pub graph: &'a Graph,
    pub inputs: &'a [Column],
    pub volatile: &'a Volatile,
    /// Its place in the block.
    pub place: usize,
    /// Its number in the batch or chunk.
    pub number: u64,
}

impl Record<'_> {
    /// Evaluate every instruction, with dynamic values, unless the time is over. `seen` learns the result of each instruction.
    pub fn evaluate(
        &self,
        registers: &mut Vec<Value>,
        store: &mut Vec<Value>,
        watch: &mut Watch,
        mut seen: impl FnMut(usize, &Value),
    ) {
        registers.resize(self.schedule.registers, Value::Blank);
        let env = Env { now: self.volatile.now, seed: self.volatile.seed, record: self.number };
        for (index, instruction) in self.schedule.instructions.iter().enumerate() {
            if index % STEPS == 0 && watch.look() {
                return;
            }
            let value = if let Op::Input(input) = instruction.op {
                match self.inputs.get(input as usize).map_or(Value::Blank, |column| column.get(self.place)) {
                    Value::Number(x) => number::value(x),
                    value => value,
                }
            } else {
                self.operation(instruction.op, self.schedule.operands_of(instruction), registers, store, &env)
            };
            seen(index, &value);
            registers[instruction.target as usize] = value;
        }
    }

    /// The value of a source, once the record is evaluated.
    pub fn value<'v>(&'v self, src: Src, registers: &'v [Value]) -> &'v Value {
        match src {
            Src::Const(index) => &self.graph.constants[index as usize],
            Src::Node(register) => &registers[register as usize],
        }
    }

    fn operation(
        &self,
        op: Op,
        operands: &[Operand],
        registers: &[Value],
        store: &mut Vec<Value>,
        env: &Env,
    ) -> Value {
        store.clear();
        if let (Op::Pick, [Operand::Array(array), Operand::Src(row), Operand::Src(column)]) = (op, operands)
            && let Rectangle::Mixed { rows, columns, items } = &self.schedule.arrays[*array as usize]
        {
            let lane = |src: &Src| self.value(*src, registers).to_lane();
            return match scalar::place(*rows, *columns, lane(row), lane(column)) {
                Ok(place) => items.get(place).map_or(Value::Blank, |src| self.value(*src, registers).clone()),
                Err(e) => ErrorValue::into(e),
            };
        }
        for operand in operands {
            if let Operand::Array(array) = operand
                && let Rectangle::Mixed { items, .. } = &self.schedule.arrays[*array as usize]
            {
                store.extend(items.iter().map(|src| self.value(*src, registers).clone()));
            }
        }
        let mut list = List::default();
        let mut taken = 0;
        for operand in operands {
            list.push(match operand {
                Operand::Omitted => Arg::Omitted,
                Operand::Src(src) => Arg::Value(self.value(*src, registers)),
                Operand::Array(array) => match &self.schedule.arrays[*array as usize] {
                    Rectangle::Constant(table) => Arg::Array(table.grid(matches!(op, Op::Position(_)))),
                    Rectangle::Mixed { rows, columns, items } => {
                        let from = taken;
                        taken += items.len();
                        let items = &store[from..taken];
                        Arg::Array(Grid { rows: *rows, columns: *columns, items, index: None })
                    }
                },
            });
        }
        self.graph.evaluate(op, list.as_slice(), env)
    }
}

/// The kind that most of these values are of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Census {
    numbers: u32,
    booleans: u32,
    others: u32,
}

impl Census {
    pub fn count(&mut self, value: &Value) {
        match value {
            Value::Number(_) => self.numbers += 1,
            Value::Boolean(_) => self.booleans += 1,
            // An error fits every kind.
            Value::Error(_) => {}
            Value::Blank | Value::Text(_) => self.others += 1,
        }
    }

    /// Numbers or booleans when at least three of four are; few enough are left to the scalar execution.
    pub fn kind(self) -> Kind {
        let all = self.numbers + self.booleans + self.others;
        if self.numbers * 4 >= all * 3 {
            Kind::Number
        } else if self.booleans * 4 >= all * 3 {
            Kind::Boolean
        } else {
            Kind::Value
        }
    }
}
