//! Running a program over a block of records: the typed program for columns of these kinds, and the scalar execution for the
//! records that do not fit it.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::RwLock;

use super::column::Column;
use super::columnar::{Run, State, Vectors};
use super::graph::{Graph, Src};
use super::lanes::Bank;
use super::records::{Census, Record};
use super::schedule::Schedule;
use super::steps::{Kind, Out, Typed, Values};
use super::typing::typed;
use super::watch::Watch;
use super::{BLOCK, Volatile};
use crate::number;
use crate::value::Value;

/// Memory that one thread reuses from run to run.
#[derive(Debug, Default)]
pub struct Scratch {
    bank: Bank,
    store: Vec<Value>,
    registers: Vec<Value>,
    kinds: Vec<Kind>,
    /// The typed program of the last run: the next one mostly takes it again, and need not ask for what threads share.
    last: Option<Arc<Typed>>,
    execution: Execution,
    pub(super) watch: Watch,
}

/// Which of the executions a scratch uses. All give the same results, bit for bit: the differential tests hold them to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Execution {
    #[default]
    Columns,
    Narrow,
    Portable,
    Records,
}

impl Scratch {
    /// A scratch whose runs take every operation record by record with dynamic values, never over columns.
    pub fn record_by_record() -> Self {
        Self { execution: Execution::Records, ..Self::default() }
    }

    /// A scratch whose runs use no wider vectors than 256 bits.
    pub fn narrow() -> Self {
        Self { execution: Execution::Narrow, ..Self::default() }
    }

    /// A scratch whose runs use no instructions beyond those that every processor of this architecture has.
    pub fn portable() -> Self {
        Self { execution: Execution::Portable, ..Self::default() }
    }

    /// Lets the next runs end at a deadline, without results.
    pub(crate) fn end_at(&mut self, deadline: Option<Instant>) {
        self.watch.start(deadline);
    }

    /// Whether a run ended at its deadline since [`Self::end_at`].
    pub(crate) const fn is_over(&self) -> bool {
        self.watch.is_over()
    }

    /// Bytes that the registers take.
    pub fn bytes(&self) -> usize {
        let values = self.bank.values.iter().map(Vec::capacity).sum::<usize>();
        let values = values + self.bank.spare.capacity() + self.store.capacity() + self.registers.capacity();
        self.bank.bytes() + values * size_of::<Value>()
    }
}

/// The typed programs of a schedule, made when columns of their kinds first come along.
#[derive(Debug, Default)]
pub(super) struct Typings {
    known: RwLock<Vec<Arc<Typed>>>,
}

/// Typed programs that are kept for one schedule.
const KEPT: usize = 8;
/// Records that are looked at to tell the kinds of results.
const SAMPLE: usize = 16;

/// One call of [`Program::run`](super::Program::run).
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    pub schedule: &'a Schedule,
    pub graph: &'a Graph,
    pub inputs: &'a [Column],
    pub rows: usize,
    pub volatile: &'a Volatile,
    pub first_record: u64,
}

impl<'a> Block<'a> {
    /// Evaluate the records into the outputs.
    pub fn run(self, scratch: &mut Scratch, outputs: &mut Vec<Column>) {
        outputs.resize_with(self.schedule.outputs.len(), Column::default);
        for column in outputs.iter_mut() {
            match column {
                Column::Number(numbers) | Column::Boolean(numbers) => numbers.clear(),
                Column::Value(values) => values.clear(),
                Column::Constant(_) => {}
            }
        }
        if scratch.execution == Execution::Records {
            return self.record_by_record(scratch, outputs);
        }
        if self.schedule.inputs.iter().any(|input| self.is_short(*input)) {
            let column = |column: &Column| Column::Value((0..self.rows).map(|i| column.get(i)).collect());
            let inputs: Vec<Column> = self.inputs.iter().map(column).collect();
            return Block { inputs: &inputs, ..self }.run(scratch, outputs);
        }
        self.kinds(&mut scratch.kinds);
        let mut typed = match scratch.last.take() {
            Some(typed) if typed.schedule == self.schedule.id && *typed.inputs == *scratch.kinds => typed,
            _ => self.typing(scratch),
        };
        let mut offset = 0;
        while offset < self.rows {
            let n = typed.lanes.min(self.rows - offset);
            let odd = self.part(&typed, offset, n, scratch, outputs);
            if scratch.watch.is_over() {
                return;
            }
            if odd != 0 {
                self.patch(offset, odd, scratch, outputs);
                if scratch.watch.is_over() {
                    return;
                }
                if odd.count_ones() as usize * 4 > n {
                    typed = self.widen(&typed, offset, odd, scratch);
                }
            }
            offset += n;
        }
        scratch.last = Some(typed);
    }

    /// Whether a column of lanes ends before the block: it is blank from there.
    fn is_short(&self, input: u32) -> bool {
        match self.inputs.get(input as usize) {
            Some(Column::Number(lanes) | Column::Boolean(lanes)) => lanes.len() < self.rows,
            _ => false,
        }
    }

    fn record(&self, place: usize) -> Record<'a> {
        Record {
            schedule: self.schedule,
            graph: self.graph,
            inputs: self.inputs,
            volatile: self.volatile,
            place,
            number: self.first_record.wrapping_add(place as u64),
        }
    }

    fn record_by_record(&self, scratch: &mut Scratch, outputs: &mut [Column]) {
        let mut columns = vec![Vec::with_capacity(self.rows); outputs.len()];
        for place in 0..self.rows {
            let record = self.record(place);
            record.evaluate(&mut scratch.registers, &mut scratch.store, &mut scratch.watch, |_, _| {});
            if scratch.watch.is_over() {
                return;
            }
            for (src, column) in self.schedule.outputs.iter().zip(&mut columns) {
                column.push(record.value(*src, &scratch.registers).clone());
            }
        }
        for (column, values) in outputs.iter_mut().zip(columns) {
            *column = Column::Value(values);
        }
    }

    /// The kinds of the input columns that the schedule reads.
    fn kinds(&self, kinds: &mut Vec<Kind>) {
        kinds.clear();
        kinds.extend(self.schedule.inputs.iter().map(|input| match self.inputs.get(*input as usize) {
            Some(Column::Number(_)) => Kind::Number,
            Some(Column::Boolean(_)) => Kind::Boolean,
            Some(Column::Constant(value)) => Kind::of(value),
            None => Kind::Value,
            Some(Column::Value(values)) => {
                let mut census = Census::default();
                values.iter().take(self.rows).for_each(|value| census.count(value));
                census.kind()
            }
        }));
    }

    /// The typed program for columns of these kinds.
    fn typing(&self, scratch: &mut Scratch) -> Arc<Typed> {
        let fits = |typed: &&Arc<Typed>| *typed.inputs == *scratch.kinds;
        if let Some(typed) = self.schedule.typings.known.read().iter().find(fits) {
            return Arc::clone(typed);
        }
        let expected = self.observe(0, u128::MAX, scratch);
        self.keep(typed(self.schedule, self.graph, &scratch.kinds, &expected), scratch)
    }

    fn keep(&self, typed: Typed, scratch: &Scratch) -> Arc<Typed> {
        let typed = Arc::new(typed);
        if scratch.watch.is_over() {
            // It was made from half of what there is to see.
            return typed;
        }
        let mut known = self.schedule.typings.known.write();
        known.retain(|other| other.inputs != typed.inputs);
        if known.len() >= KEPT {
            known.remove(0);
        }
        known.push(Arc::clone(&typed));
        typed
    }

    /// The kinds of the results of each instruction in some of these records.
    fn observe(&self, offset: usize, among: u128, scratch: &mut Scratch) -> Vec<Kind> {
        let mut census = vec![Census::default(); self.schedule.instructions.len()];
        let places = (0..self.rows - offset).filter(|i| among >> i & 1 == 1);
        for place in places.take(SAMPLE) {
            let record = self.record(offset + place);
            record.evaluate(
                &mut scratch.registers,
                &mut scratch.store,
                &mut scratch.watch,
                |index, value| {
                    if let Some(census) = census.get_mut(index) {
                        census.count(value);
                    }
                },
            );
        }
        census.into_iter().map(Census::kind).collect()
    }

    /// Make the typed program anew where too many results were not of the kind they were taken for.
    fn widen(&self, before: &Arc<Typed>, offset: usize, odd: u128, scratch: &mut Scratch) -> Arc<Typed> {
        let observed = self.observe(offset, odd, scratch);
        let pairs = before.expected.iter().zip(observed);
        let expected: Vec<Kind> =
            pairs.map(|(before, now)| if *before == now { now } else { Kind::Value }).collect();
        if *expected == *before.expected {
            // The inputs are what does not fit: a new one would be the same.
            return Arc::clone(before);
        }
        self.keep(typed(self.schedule, self.graph, &before.inputs, &expected), scratch)
    }

    /// Run the typed program over a part of the block; answers which of its records do not fit.
    fn part(
        &self,
        typed: &Typed,
        offset: usize,
        n: usize,
        scratch: &mut Scratch,
        outputs: &mut [Column],
    ) -> u128 {
        scratch.bank.reserve(typed.registers, typed.slots);
        let run = Run {
            typed,
            schedule: self.schedule,
            graph: self.graph,
            inputs: self.inputs,
            volatile: self.volatile,
            offset,
            n,
            first_record: self.first_record.wrapping_add(offset as u64),
        };
        let mut state =
            State { bank: &mut scratch.bank, store: &mut scratch.store, odd: 0, watch: &mut scratch.watch };
        let vectors = match scratch.execution {
            Execution::Portable => Vectors::Portable,
            Execution::Narrow => Vectors::Narrow,
            Execution::Columns | Execution::Records => Vectors::Widest,
        };
        run.all(vectors, &mut state);
        let odd = state.odd;
        if scratch.watch.is_over() {
            // Registers are as the last step left them.
            return 0;
        }
        for (out, column) in typed.outputs.iter().zip(outputs) {
            match *out {
                Out::Constant(src) => append(column, offset, &Part::Constant(run.constant(src))),
                // A register that is an output is read by nobody else after the last step.
                Out::Values(Values::Register(register), true) if n == self.rows => {
                    let values = &mut scratch.bank.values[register as usize];
                    match column {
                        Column::Value(out) => std::mem::swap(out, values),
                        column => *column = Column::Value(std::mem::take(values)),
                    }
                }
                Out::Values(Values::Register(register), _) => {
                    append(column, offset, &Part::Values(&scratch.bank.values[register as usize][..n]));
                }
                Out::Values(values @ Values::Input(_), _) => {
                    let values: Vec<Value> =
                        (0..n).map(|i| run.value_of(values, &scratch.bank, i).clone()).collect();
                    append(column, offset, &Part::Values(&values));
                }
                Out::Lanes(register, kind) => {
                    append(column, offset, &Part::Lanes(&scratch.bank.lanes(register)[..n], kind));
                }
            }
        }
        odd
    }

    /// Put the records that did not fit right.
    fn patch(&self, offset: usize, odd: u128, scratch: &mut Scratch, outputs: &mut [Column]) {
        for place in (0..BLOCK).filter(|i| odd >> i & 1 == 1).map(|i| offset + i) {
            let record = self.record(place);
            record.evaluate(&mut scratch.registers, &mut scratch.store, &mut scratch.watch, |_, _| {});
            if scratch.watch.is_over() {
                return;
            }
            for (src, column) in self.schedule.outputs.iter().zip(outputs.iter_mut()) {
                if matches!(src, Src::Node(_)) {
                    column.set(place, record.value(*src, &scratch.registers));
                }
            }
        }
    }
}

/// A part of an output column.
enum Part<'a> {
    Lanes(&'a [f64], Kind),
    Values(&'a [Value]),
    Constant(&'a Value),
}

/// Append a part of a block to an output column, which keeps its memory when its type stays the same.
fn append(column: &mut Column, offset: usize, part: &Part<'_>) {
    match (&mut *column, part) {
        (_, Part::Constant(value)) => {
            if offset == 0 {
                *column = Column::Constant((*value).clone());
            }
        }
        (Column::Number(out), Part::Lanes(lanes, Kind::Number)) if out.len() == offset => {
            out.extend(lanes.iter().map(|x| x + 0.0));
        }
        (Column::Boolean(out), Part::Lanes(lanes, Kind::Boolean)) if out.len() == offset => {
            out.extend_from_slice(lanes);
        }
        (Column::Value(out), Part::Values(values)) if out.len() == offset => out.extend_from_slice(values),
        (_, part) if offset == 0 => {
            *column = match part {
                Part::Lanes(lanes, Kind::Boolean) => Column::Boolean(lanes.to_vec()),
                Part::Lanes(lanes, _) => Column::Number(lanes.iter().map(|x| x + 0.0).collect()),
                Part::Values(values) => Column::Value(values.to_vec()),
                Part::Constant(value) => Column::Constant((*value).clone()),
            };
        }
        (_, part) => {
            // The parts of a block differ in type.
            let mut values: Vec<Value> = (0..offset).map(|i| column.get(i)).collect();
            match part {
                Part::Lanes(lanes, Kind::Boolean) => values.extend(lanes.iter().map(|x| number::boolean(*x))),
                Part::Lanes(lanes, _) => values.extend(lanes.iter().map(|x| number::value(*x))),
                Part::Values(more) => values.extend_from_slice(more),
                Part::Constant(_) => {}
            }
            *column = Column::Value(values);
        }
    }
}
