//! Steps over values, of which most are texts. What a step reads is found once for all records, so that a record costs little
//! more than the operation itself.

use super::column::{Column, lane};
use super::columnar::{Run, State};
use super::graph::Op;
use super::lanes::Bank;
use super::scalar::{self, MAX_TEXT};
use super::schedule::Rectangle;
use super::steps::{Argument, Kind, Step, Values};
use super::typing::JOINED;
use crate::functions::{Arg, Kind as Body, by_index};
use crate::number;
use crate::value::{ErrorValue, Value};

/// Arguments of an operation whose columns are found once, at most.
const FEW: usize = 3;

/// What an argument is for all records of a run.
#[derive(Debug, Clone, Copy)]
enum Source<'v> {
    Omitted,
    One(&'v Value),
    List(&'v [Value]),
    Lanes(&'v [f64], Kind),
}

impl<'v> Source<'v> {
    /// The value of a record, where it lies; lanes have to be made a value first.
    #[inline]
    fn get(self, i: usize) -> Option<&'v Value> {
        match self {
            Self::Omitted => None,
            Self::One(value) => Some(value),
            Self::List(list) => list.get(i),
            Self::Lanes(..) => None,
        }
    }

    /// The value of a record.
    #[inline]
    fn value(self, i: usize) -> Value {
        match self {
            Self::Lanes(lanes, Kind::Boolean) => number::boolean(lanes[i]),
            Self::Lanes(lanes, _) => number::value(lanes[i]),
            other => other.get(i).cloned().unwrap_or_default(),
        }
    }
}

impl Run<'_> {
    /// The steps that read or write values.
    pub(super) fn values_step(&self, step: &Step, state: &mut State<'_>, width: usize) {
        match *step {
            Step::ToNumber { values, target } => {
                self.each_value(state, values, target, width, Value::to_lane);
            }
            Step::PlaceText { search, values, table, target } => {
                let Rectangle::Constant(table) = &self.schedule.arrays[table as usize] else { return };
                let grid = table.grid(true);
                self.each_value(state, values, target, width, |value| {
                    scalar::position_in(search, value, &grid)
                });
            }
            Step::SameText { values, text, equal, target } => {
                let Value::Text(text) = &self.graph.constants[text as usize] else { return };
                let ascii = text.is_ascii();
                self.each_value(state, values, target, width, |value| same_text(value, text, ascii, equal));
            }
            Step::SelectValues { condition, yes, no, target } => {
                let mut out = std::mem::take(&mut state.bank.values[target as usize]);
                out.clear();
                let sources = [no, yes].map(|argument| self.source(argument, state.bank));
                for i in 0..self.n {
                    let condition = state.bank.lane(condition, i);
                    out.push(if condition.is_finite() {
                        sources[usize::from(condition != 0.0)].value(i)
                    } else {
                        number::value(condition)
                    });
                }
                state.bank.values[target as usize] = out;
            }
            Step::Join { items, target } => {
                let mut out = std::mem::take(&mut state.bank.spare);
                out.clear();
                let arguments = items.of(&self.typed.arguments);
                let mut sources = [Source::Omitted; JOINED];
                for (source, argument) in sources.iter_mut().zip(arguments) {
                    *source = self.source(*argument, state.bank);
                }
                let mut text = String::new();
                out.extend((0..self.n).map(|i| joined(&sources[..arguments.len()], i, &mut text)));
                state.bank.spare = std::mem::replace(&mut state.bank.values[target as usize], out);
            }
            Step::PickValues { table, places, target } => {
                let Rectangle::Constant(table) = &self.schedule.arrays[table as usize] else { return };
                let mut out = std::mem::take(&mut state.bank.values[target as usize]);
                out.clear();
                for place in &state.bank.lanes(places)[..self.n] {
                    let (row, column) = if table.columns == 1 { (*place, 1.0) } else { (1.0, *place) };
                    out.push(match scalar::place(table.rows, table.columns, row, column) {
                        Ok(place) => table.values[place].clone(),
                        Err(e) => e.into(),
                    });
                }
                state.bank.values[target as usize] = out;
            }
            Step::Record { call, kind: Kind::Value, target } => {
                let mut out = std::mem::take(&mut state.bank.values[target as usize]);
                out.clear();
                if !self.each_call(call, state.bank, |_, value| out.push(value)) {
                    for i in 0..self.n {
                        out.push(self.call(call, i, state.bank, state.store));
                    }
                }
                state.bank.values[target as usize] = out;
            }
            Step::Record { call, kind, target } => {
                let mut out = state.bank.take(target);
                let lanes = &mut out[..width];
                let odd = &mut state.odd;
                let mut take = |i: usize, value: Value| {
                    if !kind.holds(&value) {
                        *odd |= 1 << i;
                    }
                    lanes[i] = lane(&value);
                };
                if !self.each_call(call, state.bank, &mut take) {
                    for i in 0..self.n {
                        take(i, self.call(call, i, state.bank, state.store));
                    }
                }
                let last = lanes[self.n - 1];
                lanes[self.n..].fill(last);
                state.bank.put(target, out);
            }
            // The others have loops of their own.
            _ => {}
        }
    }

    /// The values of all records, where they lie; `None` for a column that ends early.
    fn list<'v>(&'v self, values: Values, bank: &'v Bank) -> Option<Source<'v>> {
        let end = self.offset + self.n;
        match values {
            Values::Register(register) => bank.values[register as usize].get(..self.n).map(Source::List),
            Values::Input(input) => match self.inputs.get(input as usize) {
                Some(Column::Value(values)) => values.get(self.offset..end).map(Source::List),
                Some(Column::Constant(value)) => Some(Source::One(value)),
                _ => None,
            },
        }
    }

    fn source<'v>(&'v self, argument: Argument, bank: &'v Bank) -> Source<'v> {
        match argument {
            Argument::Lanes(register, kind) => Source::Lanes(bank.lanes(register), kind),
            // What lies behind the end of a column reads as blank.
            Argument::Values(values) => self.list(values, bank).unwrap_or(match values {
                Values::Input(input) => match self.inputs.get(input as usize) {
                    Some(Column::Value(values)) => {
                        Source::List(values.get(self.offset..).unwrap_or_default())
                    }
                    _ => Source::Omitted,
                },
                Values::Register(_) => Source::Omitted,
            }),
            Argument::Constant(index) => Source::One(&self.graph.constants[index as usize]),
            Argument::Omitted | Argument::Table(_) | Argument::Items { .. } => Source::Omitted,
        }
    }

    /// A lane from each of the values.
    #[inline]
    fn each_value(
        &self,
        state: &mut State<'_>,
        values: Values,
        target: u32,
        width: usize,
        f: impl Fn(&Value) -> f64,
    ) {
        let mut out = state.bank.take(target);
        let (lanes, behind) = out[..width].split_at_mut(self.n);
        match self.list(values, state.bank) {
            Some(Source::List(list)) => {
                for (lane, value) in lanes.iter_mut().zip(list) {
                    *lane = f(value);
                }
            }
            Some(Source::One(value)) => lanes.fill(f(value)),
            _ => {
                for (i, lane) in lanes.iter_mut().enumerate() {
                    *lane = f(self.value_of(values, state.bank, i));
                }
            }
        }
        // The lanes behind the last record repeat it, so that they mark nothing by themselves.
        behind.fill(lanes[self.n - 1]);
        state.bank.put(target, out);
    }

    /// An operation of up to three single values for all records, as most functions of text are; false when it is another one.
    fn each_call(&self, call: u32, bank: &Bank, mut take: impl FnMut(usize, Value)) -> bool {
        let call = self.typed.calls[call as usize];
        let arguments = call.arguments.of(&self.typed.arguments);
        let wide = |argument: &Argument| matches!(argument, Argument::Items { .. } | Argument::Table(_));
        if arguments.len() > FEW || arguments.iter().any(wide) {
            return false;
        }
        let mut sources = [Source::Omitted; FEW];
        for (source, argument) in sources.iter_mut().zip(arguments) {
            *source = self.source(*argument, bank);
        }
        if let Op::Call(function) = call.op
            && let Body::General(f) = by_index(function).kind
        {
            self.each_record(arguments, sources, |i, args| {
                take(i, scalar::answered(f(&self.env(i), args)));
            });
            return true;
        }
        self.each_record(arguments, sources, |i, args| {
            take(i, self.graph.evaluate(call.op, args, &self.env(i)));
        });
        true
    }

    #[inline]
    fn each_record(
        &self,
        arguments: &[Argument],
        sources: [Source<'_>; FEW],
        mut f: impl FnMut(usize, &[Arg<'_>]),
    ) {
        let mut made = [Value::Blank, Value::Blank, Value::Blank];
        for i in 0..self.n {
            for (value, source) in made.iter_mut().zip(sources) {
                if let Source::Lanes(..) = source {
                    *value = source.value(i);
                }
            }
            let mut args = [Arg::Omitted; FEW];
            for (((arg, value), source), argument) in args.iter_mut().zip(&made).zip(sources).zip(arguments) {
                *arg = match (source, argument) {
                    (_, Argument::Omitted) => Arg::Omitted,
                    (Source::Lanes(..), _) => Arg::Value(value),
                    (source, _) => Arg::Value(source.get(i).unwrap_or(&Value::Blank)),
                };
            }
            f(i, &args[..arguments.len()]);
        }
    }
}

/// The values of a record as one text, as `&` after `&` gives it.
#[inline]
fn joined(sources: &[Source<'_>], i: usize, text: &mut String) -> Value {
    text.clear();
    for (place, source) in sources.iter().enumerate() {
        match source.get(i) {
            Some(Value::Text(part)) => text.push_str(part),
            Some(Value::Error(e)) => return Value::Error(*e),
            _ => match source.value(i).to_text() {
                Ok(part) => text.push_str(&part),
                Err(e) => return e.into(),
            },
        }
        if place > 0 && text.len() > MAX_TEXT && text.chars().count() > MAX_TEXT {
            return ErrorValue::Value.into();
        }
    }
    text.as_str().into()
}

/// `=` or `<>` of a value and a text, as a lane; `ascii` tells whether the text has no other characters.
#[inline]
fn same_text(value: &Value, text: &str, ascii: bool, equal: bool) -> f64 {
    let same = match value {
        Value::Text(value) if ascii && value.len() == text.len() && value.eq_ignore_ascii_case(text) => true,
        Value::Text(value) if ascii && value.is_ascii() => false,
        Value::Error(e) => return number::error(*e),
        value => value.compare(&text.into()).is_ok_and(std::cmp::Ordering::is_eq),
    };
    f64::from(u8::from(same == equal))
}
