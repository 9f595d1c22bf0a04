//! From a schedule to a typed program: which loop each instruction takes, given the kinds of the columns that it reads.

use rustc_hash::FxHashMap;

use super::graph::{Graph, Op, Operand, Src};
use super::lanes::Num;
use super::scalar;
use super::schedule::{Instruction, Rectangle, Schedule};
use super::steps::{Argument, Call, Kind, Many, One, Out, Series, Span, Step, Two, Typed, Values};
use crate::formula::Binary;
use crate::functions::{Kernel, Kind as Body, by_index};
use crate::value::Value;

/// Make the typed program for inputs of these kinds. `expected` are the kinds that results are taken for where only running
/// the instruction tells, by instruction.
pub(super) fn typed(schedule: &Schedule, graph: &Graph, inputs: &[Kind], expected: &[Kind]) -> Typed {
    let mut builder = Builder {
        schedule,
        graph,
        kinds: vec![Kind::Number; schedule.registers],
        uses: schedule.uses(),
        series: FxHashMap::default(),
        unused: Vec::new(),
        loaded: FxHashMap::default(),
        slots: FxHashMap::default(),
        unused_slots: Vec::new(),
        temporary: Vec::new(),
        taken: 0,
        joined: None,
        typed: Typed {
            schedule: schedule.id,
            inputs: inputs.into(),
            expected: expected.into(),
            steps: Vec::with_capacity(schedule.instructions.len()),
            items: Vec::new(),
            arguments: Vec::new(),
            calls: Vec::new(),
            outputs: Vec::new(),
            registers: schedule.registers,
            slots: 0,
            lanes: schedule.lanes,
        },
    };
    for (index, instruction) in schedule.instructions.iter().enumerate() {
        builder.taken = 0;
        builder.forget(instruction.target);
        let kind = builder.instruction(index, instruction);
        builder.kinds[instruction.target as usize] = kind;
    }
    let mut last_places = FxHashMap::default();
    for (place, src) in schedule.outputs.iter().enumerate() {
        if let Src::Node(register) = src {
            last_places.insert(*register, place);
        }
    }
    builder.typed.outputs = schedule
        .outputs
        .iter()
        .enumerate()
        .map(|(place, src)| match src {
            Src::Node(register) => match builder.kinds[*register as usize] {
                Kind::Value => {
                    let last = last_places.get(register) == Some(&place);
                    Out::Values(builder.values(*register), last)
                }
                kind => Out::Lanes(*register, kind),
            },
            constant => Out::Constant(*constant),
        })
        .collect();
    builder.typed
}

pub(super) struct Builder<'a> {
    pub(super) schedule: &'a Schedule,
    graph: &'a Graph,
    /// What each register holds now.
    pub(super) kinds: Vec<Kind>,
    uses: Vec<u32>,
    /// The series of powers of each base register, with its last exponent.
    series: FxHashMap<u32, (Series, i32)>,
    unused: Vec<Series>,
    /// The inputs whose values are read where they are, by the register that stands for them.
    loaded: FxHashMap<u32, u32>,
    /// The slots of each register of places, by the length of the lines.
    pub(super) slots: FxHashMap<(u32, u8), u32>,
    pub(super) unused_slots: Vec<u32>,
    /// Registers that live within one instruction.
    temporary: Vec<u32>,
    taken: usize,
    /// The instruction that the last step which joins texts was made for.
    joined: Option<usize>,
    pub(super) typed: Typed,
}

impl<'a> Builder<'a> {
    /// A register holds something else from now on.
    fn forget(&mut self, register: u32) {
        self.loaded.remove(&register);
        if let Some((series, _)) = self.series.remove(&register) {
            self.unused.push(series);
        }
        let unused = &mut self.unused_slots;
        self.slots.retain(|(places, _), slots| {
            let keep = *places != register;
            if !keep {
                unused.push(*slots);
            }
            keep
        });
    }

    /// Where the values of a register are.
    pub(super) fn values(&self, register: u32) -> Values {
        self.loaded.get(&register).map_or(Values::Register(register), |input| Values::Input(*input))
    }

    fn register(&mut self) -> u32 {
        self.typed.registers += 1;
        self.typed.registers as u32 - 1
    }

    pub(super) fn constant(&self, index: u32) -> &'a Value {
        &self.graph.constants[index as usize]
    }

    pub(super) fn kind(&self, src: Src) -> Kind {
        match src {
            Src::Node(register) => self.kinds[register as usize],
            Src::Const(index) => Kind::of(self.constant(index)),
        }
    }

    /// Whether a source is of numbers, or of booleans; errors count as either.
    fn is(&self, src: Src, kind: Kind) -> bool {
        match src {
            Src::Node(register) => self.kinds[register as usize] == kind,
            Src::Const(index) => kind.holds(self.constant(index)),
        }
    }

    /// The kind of lanes that holds both sources.
    fn common(&self, a: Src, b: Src) -> Option<Kind> {
        [Kind::Number, Kind::Boolean].into_iter().find(|kind| self.is(a, *kind) && self.is(b, *kind))
    }

    /// A source as lanes, coerced as arithmetic does.
    pub(super) fn num(&mut self, src: Src) -> Num {
        match src {
            Src::Const(index) => Num::Constant(self.constant(index).to_lane()),
            Src::Node(register) if self.kinds[register as usize] != Kind::Value => Num::Lanes(register),
            Src::Node(values) => {
                if self.taken == self.temporary.len() {
                    let register = self.register();
                    self.temporary.push(register);
                }
                let target = self.temporary[self.taken];
                self.taken += 1;
                let values = self.values(values);
                self.typed.steps.push(Step::ToNumber { values, target });
                Num::Lanes(target)
            }
        }
    }

    pub(super) fn push(&mut self, step: Step, kind: Kind) -> Kind {
        self.typed.steps.push(step);
        kind
    }

    fn instruction(&mut self, index: usize, instruction: &Instruction) -> Kind {
        let target = instruction.target;
        let schedule = self.schedule;
        let operands = schedule.operands_of(instruction);
        let source = |i: usize| match operands.get(i) {
            Some(Operand::Src(src)) => Some(*src),
            _ => None,
        };
        let columnar = match (instruction.op, source(0), source(1)) {
            (Op::Input(input), ..) => {
                let place = schedule.inputs.binary_search(&input).unwrap_or(0);
                let kind = self.typed.inputs.get(place).copied().unwrap_or(Kind::Value);
                if kind == Kind::Value {
                    self.loaded.insert(target, input);
                    return kind;
                }
                Some(self.push(Step::Load { input, kind, target }, kind))
            }
            (Op::Binary(operator), Some(a), Some(b)) => self.binary(operator, a, b, target),
            (Op::Negate, Some(a), _) => {
                let a = self.num(a);
                Some(self.push(Step::One { op: One::Negate, a, target }, Kind::Number))
            }
            (Op::Percent, Some(a), _) => {
                let (a, b) = (self.num(a), Num::Constant(100.0));
                Some(self.push(Step::Two { op: Two::Divide, a, b, target }, Kind::Number))
            }
            (Op::If, Some(condition), Some(yes)) => {
                source(2).and_then(|no| self.choice(index, condition, yes, no, target))
            }
            (Op::IfError | Op::IfNa, Some(a), Some(otherwise)) => self.common(a, otherwise).map(|kind| {
                let (a, otherwise) = (self.num(a), self.num(otherwise));
                self.push(Step::IfError { a, otherwise, only_na: instruction.op == Op::IfNa, target }, kind)
            }),
            (Op::Solid, Some(a @ Src::Node(register)), _) if self.kind(a) != Kind::Value => {
                let kind = self.kind(a);
                Some(self.push(Step::One { op: One::Copy, a: Num::Lanes(register), target }, kind))
            }
            (Op::Position(_), Some(key), _) => self.position(instruction.op, key, operands, target),
            (Op::Pick, None, Some(row)) => {
                source(2).and_then(|column| self.pick(operands, row, column, target))
            }
            (Op::CountWhere(relation), _, Some(Src::Node(key))) => {
                self.count_where(relation, operands, key, target)
            }
            (Op::Random(site), ..) => Some(self.push(Step::Random { site, target }, Kind::Number)),
            (Op::Call(function), ..) => self.call(function, instruction.op, operands, target),
            _ => None,
        };
        columnar.unwrap_or_else(|| {
            if let (Op::Binary(Binary::Concat), Some(a), Some(b)) = (instruction.op, source(0), source(1)) {
                return self.join(index, a, b, target);
            }
            let call = self.record(instruction.op, operands);
            let kind = match instruction.op {
                Op::Binary(_) => Kind::Boolean,
                Op::Position(_) | Op::Between | Op::CountWhere(_) => Kind::Number,
                _ => self.typed.expected.get(index).copied().unwrap_or(Kind::Value),
            };
            self.push(Step::Record { call, kind, target }, kind)
        })
    }

    fn binary(&mut self, operator: Binary, a: Src, b: Src, target: u32) -> Option<Kind> {
        let op = match operator {
            Binary::Add => Two::Add,
            Binary::Subtract => Two::Subtract,
            Binary::Multiply => Two::Multiply,
            Binary::Divide => Two::Divide,
            Binary::Power => return Some(self.power(a, b, target)),
            Binary::Concat => return None,
            _ => return self.compare(operator, a, b, target),
        };
        let (a, b) = (self.num(a), self.num(b));
        Some(self.push(Step::Two { op, a, b, target }, Kind::Number))
    }

    fn power(&mut self, a: Src, b: Src, target: u32) -> Kind {
        let (a, b) = (self.num(a), self.num(b));
        let step = match (a, b) {
            (Num::Lanes(_), Num::Constant(1.0)) => Step::One { op: One::Copy, a, target },
            (_, Num::Constant(2.0)) => Step::Two { op: Two::Multiply, a, b: a, target },
            (Num::Lanes(base), Num::Constant(x)) if x != 0.0 && scalar::is_whole_exponent(x) => {
                let exponent = x as i32;
                let (series, next) = match self.series.get(&base) {
                    Some((series, last)) => (*series, *last + 1 == exponent),
                    None => {
                        let unused = self.unused.pop();
                        (
                            unused.unwrap_or_else(|| Series { high: self.register(), low: self.register() }),
                            false,
                        )
                    }
                };
                // A temporary register holds something else in the next instruction.
                if (base as usize) < self.schedule.registers {
                    self.series.insert(base, (series, exponent));
                } else {
                    self.unused.push(series);
                }
                Step::WholePower { base, exponent, series, next, target }
            }
            _ => Step::Power { a, b, target },
        };
        self.push(step, Kind::Number)
    }

    fn compare(&mut self, op: Binary, a: Src, b: Src, target: u32) -> Option<Kind> {
        if self.common(a, b).is_some() {
            let (a, b) = (self.num(a), self.num(b));
            return Some(self.push(Step::Compare { op, a, b, target }, Kind::Boolean));
        }
        let equal = match op {
            Binary::Equal => true,
            Binary::NotEqual => false,
            _ => return None,
        };
        let (Src::Node(values), Src::Const(text)) =
            (if matches!(a, Src::Const(_)) { (b, a) } else { (a, b) })
        else {
            return None;
        };
        let fits =
            self.kinds[values as usize] == Kind::Value && matches!(self.constant(text), Value::Text(_));
        let values = self.values(values);
        fits.then(|| self.push(Step::SameText { values, text, equal, target }, Kind::Boolean))
    }

    fn choice(&mut self, index: usize, condition: Src, yes: Src, no: Src, target: u32) -> Option<Kind> {
        let Src::Node(register) = condition else { return None };
        if self.kinds[register as usize] == Kind::Value {
            return None;
        }
        let Some(kind) = self.common(yes, no) else {
            let (yes, no) = (self.argument(yes), self.argument(no));
            let condition = Num::Lanes(register);
            return Some(self.push(Step::SelectValues { condition, yes, no, target }, Kind::Value));
        };
        let (yes, no) = (self.num(yes), self.num(no));
        // A comparison that only this instruction reads is done in the same pass.
        if let Some(Step::Compare { op, a, b, target: compared }) = self.typed.steps.last().copied()
            && compared == register
            && index.checked_sub(1).is_some_and(|before| self.uses[before] == 1)
            && a != Num::Lanes(target)
            && b != Num::Lanes(target)
        {
            self.typed.steps.pop();
            return Some(self.push(Step::CompareSelect { op, a, b, yes, no, target }, kind));
        }
        Some(self.push(Step::Select { condition: Num::Lanes(register), yes, no, target }, kind))
    }

    fn call(&mut self, function: u16, op: Op, operands: &[Operand], target: u32) -> Option<Kind> {
        let info = by_index(function);
        let source = |i: usize| match operands.get(i) {
            Some(Operand::Src(src)) => Some(*src),
            _ => None,
        };
        let one = match info.kernel {
            Kernel::None => None,
            Kernel::Abs => Some(One::Abs),
            Kernel::Sqrt => Some(One::Sqrt),
            Kernel::Int => Some(One::Floor),
            Kernel::Not => Some(One::Not),
            Kernel::Round | Kernel::RoundUp | Kernel::RoundDown => {
                if let Some(kind) = self.round(info.kernel, operands, target) {
                    return Some(kind);
                }
                None
            }
            Kernel::Sum => return self.many(Many::Sum, op, operands, target),
            Kernel::Min => return self.many(Many::Min, op, operands, target),
            Kernel::Max => return self.many(Many::Max, op, operands, target),
            Kernel::And => return self.many(Many::And, op, operands, target),
            Kernel::Or => return self.many(Many::Or, op, operands, target),
            Kernel::SumProduct => return self.products(op, operands, target),
        };
        if let Some(one) = one {
            let src = source(0)?;
            if one == One::Not && self.kind(src) == Kind::Value {
                return None;
            }
            let a = self.num(src);
            let kind = if one == One::Not { Kind::Boolean } else { Kind::Number };
            return Some(self.push(Step::One { op: one, a, target }, kind));
        }
        let step = match (info.kind, source(0), source(1)) {
            (Body::Number1(f), Some(a), _) => Step::Call1 { f, a: self.num(a), target },
            (Body::Number2(f), Some(a), Some(b)) => Step::Call2 { f, a: self.num(a), b: self.num(b), target },
            (Body::Numbers(f), ..) if operands.len() <= MOST => {
                let mut list = Vec::with_capacity(operands.len());
                for operand in operands {
                    list.push(match operand {
                        Operand::Src(src) => self.num(*src),
                        Operand::Omitted => Num::Constant(0.0),
                        Operand::Array(_) => return None,
                    });
                }
                Step::Calls { f, items: self.items(&list), target }
            }
            _ => return None,
        };
        Some(self.push(step, Kind::Number))
    }

    /// `a & b`. One that only continues the last step becomes a part of it.
    fn join(&mut self, index: usize, a: Src, b: Src, target: u32) -> Kind {
        let (last, next) = (self.typed.steps.last().copied(), self.argument(b));
        let items = match (last, a, self.joined) {
            (Some(Step::Join { items, target: before }), Src::Node(register), Some(writer))
                if before == register
                    && b != a
                    && self.uses[writer] == 1
                    && items.length < JOINED as u32
                    && (items.start + items.length) as usize == self.typed.arguments.len() =>
            {
                self.typed.steps.pop();
                self.typed.arguments.push(next);
                Span { length: items.length + 1, ..items }
            }
            _ => {
                let start = self.typed.arguments.len() as u32;
                let first = self.argument(a);
                self.typed.arguments.extend([first, next]);
                Span { start, length: 2 }
            }
        };
        self.joined = Some(index);
        self.push(Step::Join { items, target }, Kind::Value)
    }

    pub(super) fn items(&mut self, list: &[Num]) -> Span {
        let start = self.typed.items.len() as u32;
        self.typed.items.extend_from_slice(list);
        Span { start, length: list.len() as u32 }
    }

    fn argument(&self, src: Src) -> Argument {
        match src {
            Src::Const(index) => Argument::Constant(index),
            Src::Node(register) => match self.kinds[register as usize] {
                Kind::Value => Argument::Values(self.values(register)),
                kind => Argument::Lanes(register, kind),
            },
        }
    }

    /// The operation with its arguments, to go record by record.
    pub(super) fn record(&mut self, op: Op, operands: &[Operand]) -> u32 {
        let start = self.typed.arguments.len() as u32;
        for operand in operands {
            let argument = match operand {
                Operand::Omitted => Argument::Omitted,
                Operand::Src(src) => self.argument(*src),
                Operand::Array(array) => match &self.schedule.arrays[*array as usize] {
                    Rectangle::Constant(_) => Argument::Table(*array),
                    Rectangle::Mixed { rows, columns, items } => {
                        let head = Argument::Items { rows: *rows as u32, columns: *columns as u32 };
                        self.typed.arguments.push(head);
                        let items: Vec<Argument> = items.iter().map(|src| self.argument(*src)).collect();
                        self.typed.arguments.extend(items);
                        continue;
                    }
                },
            };
            self.typed.arguments.push(argument);
        }
        let length = self.typed.arguments.len() as u32 - start;
        self.typed.calls.push(Call { op, arguments: Span { start, length } });
        self.typed.calls.len() as u32 - 1
    }
}

/// Texts that one step puts together, at most.
pub(super) const JOINED: usize = 8;
/// Arguments of a function of numbers that goes over lanes, at most.
pub(super) const MOST: usize = 8;
