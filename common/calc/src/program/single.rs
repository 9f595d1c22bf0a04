//! Steps that compute each lane by a function of its own, where the width of vectors does not matter.

use super::column::{Column, lane};
use super::columnar::{Run, State};
use super::lanes::WIDTH;
use super::schedule::Rectangle;
use super::steps::{Kind, Step};
use super::{scalar, typing};
use crate::formula::Binary;
use crate::functions::lookup;
use crate::number;
use crate::value::{ErrorValue, Value};

impl Run<'_> {
    /// Steps whose loops call functions, so that the width of vectors does not matter.
    #[inline(never)]
    pub(super) fn rare(&self, step: &Step, state: &mut State<'_>, width: usize) {
        match *step {
            Step::Load { input, kind, target } => {
                let mut out = state.bank.take(target);
                self.load(input, kind, &mut state.odd, &mut out);
                state.bank.put(target, out);
            }
            Step::Power { a, b, target } => self.fill(state, target, width, |state, i| {
                scalar::power(state.bank.lane(a, i), state.bank.lane(b, i))
            }),
            Step::Call1 { f, a, target } => self.fill(state, target, width, |state, i| {
                scalar::checked(&[state.bank.lane(a, i)], |args| f(args[0]))
            }),
            Step::Call2 { f, a, b, target } => self.fill(state, target, width, |state, i| {
                let args = [state.bank.lane(a, i), state.bank.lane(b, i)];
                scalar::checked(&args, |args| f(args[0], args[1]))
            }),
            Step::Calls { f, items, target } => {
                let items = items.of(&self.typed.items);
                let mut args = [0.0; typing::MOST];
                self.fill(state, target, width, |state, i| {
                    for (arg, item) in args.iter_mut().zip(items) {
                        *arg = state.bank.lane(*item, i);
                    }
                    scalar::checked(&args[..items.len()], f)
                });
            }
            Step::Random { site, target } => {
                self.fill(state, target, width, |_, i| scalar::random(site, &self.env(i)));
            }
            Step::Place { search, key, table, target } => {
                let Rectangle::Constant(table) = &self.schedule.arrays[table as usize] else { return };
                let index = table.index();
                self.fill(state, target, width, |state, i| {
                    let key = state.bank.lanes(key)[i];
                    if key.is_nan() {
                        return key;
                    }
                    lookup::find_number(search, key, &table.values, Some(index))
                        .map_or(number::error(ErrorValue::NA), |place| place as f64 + 1.0)
                });
            }
            Step::CountWhere { relation, key, table, target } => {
                let Rectangle::Constant(table) = &self.schedule.arrays[table as usize] else { return };
                let index = table.index();
                self.fill(state, target, width, |state, i| {
                    let key = state.bank.lanes(key)[i];
                    match number::decode(key) {
                        Some(error) => {
                            let same = |value: &&Value| **value == Value::Error(error);
                            table.values.iter().filter(same).count() as f64
                        }
                        None => {
                            let around = index.around(number::digits(key));
                            count_where(relation, table.values.len(), index.numbers.len(), around)
                        }
                    }
                });
            }
            ref other => self.values_step(other, state, width),
        }
    }

    /// Read a part of an input column. A column that ends early is blank from there.
    fn load(&self, input: u32, kind: Kind, odd: &mut u128, out: &mut [f64]) {
        let (from, to) = (self.offset, self.offset + self.n);
        let column = self.inputs.get(input as usize);
        let lanes = match (column, kind) {
            (Some(Column::Number(lanes)), Kind::Number) | (Some(Column::Boolean(lanes)), Kind::Boolean) => {
                lanes.get(from..to)
            }
            _ => None,
        };
        let out = &mut out[..self.n.next_multiple_of(WIDTH)];
        if let Some(lanes) = lanes {
            out[..self.n].copy_from_slice(lanes);
            // Whatever the caller wrote, lanes are finite or one of the known NaNs.
            for x in out[..self.n].iter_mut().filter(|x| !x.is_finite()) {
                *x = number::decode(*x).map_or(*x, number::error);
            }
        } else {
            let blank = Column::default();
            let column = column.unwrap_or(&blank);
            for (i, out) in out[..self.n].iter_mut().enumerate() {
                let value = match column.get(from + i) {
                    Value::Number(x) => number::value(x),
                    value => value,
                };
                if !kind.holds(&value) {
                    *odd |= 1 << i;
                }
                *out = lane(&value);
            }
        }
        let last = out[self.n - 1];
        out[self.n..].fill(last);
    }

    /// Compute a register record by record. The lanes behind the last record repeat it, so that they mark nothing by themselves.
    #[inline]
    fn fill(
        &self,
        state: &mut State<'_>,
        target: u32,
        width: usize,
        mut f: impl FnMut(&mut State<'_>, usize) -> f64,
    ) {
        let mut out = state.bank.take(target);
        let lanes = &mut out[..width];
        for (i, lane) in lanes[..self.n].iter_mut().enumerate() {
            *lane = f(state, i);
        }
        let last = lanes[self.n - 1];
        lanes[self.n..].fill(last);
        state.bank.put(target, out);
    }
}

/// How many of `all` values stand so to a number, of which some lie below and some not above.
fn count_where(relation: Binary, all: usize, numbers: usize, (below, up_to): (usize, usize)) -> f64 {
    let count = match relation {
        Binary::Equal => up_to - below,
        Binary::NotEqual => all - (up_to - below),
        Binary::Less => below,
        Binary::LessEqual => up_to,
        Binary::Greater => numbers - up_to,
        _ => numbers - below,
    };
    count as f64
}
