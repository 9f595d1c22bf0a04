//! Typing of functions with loops of their own: roundings, and what adds, compares or joins many columns.

use super::graph::{Op, Operand, Src};
use super::kernels;
use super::lanes::Num;
use super::schedule::Rectangle;
use super::steps::{Kind, Many, Step, Two};
use super::typing::Builder;
use crate::functions::Kernel;
use crate::number::Rounding;
use crate::value::Value;

impl Builder<'_> {
    pub(super) fn round(&mut self, kernel: Kernel, operands: &[Operand], target: u32) -> Option<Kind> {
        let digits = match operands.get(1) {
            None => 0.0,
            Some(Operand::Src(Src::Const(index))) => match self.constant(*index) {
                Value::Number(digits) => digits.trunc(),
                _ => return None,
            },
            Some(_) => return None,
        };
        let rounding = match kernel {
            Kernel::Round => Rounding::HalfAway,
            Kernel::RoundUp => Rounding::Up,
            _ => Rounding::Down,
        };
        let Some(Operand::Src(src)) = operands.first().copied() else { return None };
        if !kernels::rounds_plainly(digits, rounding) {
            return None;
        }
        let a = self.num(src);
        Some(self.push(Step::Round { a, digits, rounding, target }, Kind::Number))
    }

    pub(super) fn many(
        &mut self,
        op: Many,
        operation: Op,
        operands: &[Operand],
        target: u32,
    ) -> Option<Kind> {
        let logic = matches!(op, Many::And | Many::Or);
        let list = self.numbers(operands, logic)?;
        let kind = if logic { Kind::Boolean } else { Kind::Number };
        match (op, list.as_slice()) {
            (_, []) => return None,
            (Many::Min | Many::Max, [a, b]) => {
                let op = if op == Many::Min { Two::Min } else { Two::Max };
                return Some(self.push(Step::Two { op, a: *a, b: *b, target }, kind));
            }
            _ => {}
        }
        let items = self.items(&list);
        let call = self.record(operation, operands);
        Some(self.push(Step::Many { op, items, call, target }, kind))
    }

    /// The columns of a call, flattened: those given directly, and the items of arrays, where only numbers count (and, for
    /// conditions, booleans). `None` when values of other types may be among them.
    fn numbers(&mut self, operands: &[Operand], logic: bool) -> Option<Vec<Num>> {
        let mut list = Vec::new();
        let counts = |value: &Value| {
            matches!(value, Value::Number(_) | Value::Error(_))
                || (logic && matches!(value, Value::Boolean(_)))
        };
        for operand in operands {
            match operand {
                Operand::Omitted => return None,
                Operand::Src(src) => {
                    if self.kind(*src) == Kind::Value {
                        return None;
                    }
                    list.push(self.num(*src));
                }
                Operand::Array(array) => match &self.schedule.arrays[*array as usize] {
                    Rectangle::Constant(table) => {
                        let values = table.values.iter().filter(|value| counts(value));
                        list.extend(values.map(|value| Num::Constant(value.to_lane())));
                    }
                    Rectangle::Mixed { items, .. } => {
                        for src in items {
                            match src {
                                Src::Const(index) => {
                                    let value = self.constant(*index);
                                    list.extend(counts(value).then(|| Num::Constant(value.to_lane())));
                                }
                                Src::Node(register) => match self.kinds[*register as usize] {
                                    Kind::Number => list.push(Num::Lanes(*register)),
                                    Kind::Boolean if logic => list.push(Num::Lanes(*register)),
                                    _ => return None,
                                },
                            }
                        }
                    }
                },
            }
        }
        Some(list)
    }

    pub(super) fn products(&mut self, operation: Op, operands: &[Operand], target: u32) -> Option<Kind> {
        let [first, rest @ ..] = operands else { return None };
        let columns = |operand: &Operand| -> Option<((usize, usize), Vec<Num>)> {
            let Operand::Array(array) = operand else { return None };
            let of = |value: &Value| match value {
                Value::Number(x) => Some(Num::Constant(*x)),
                Value::Blank | Value::Text(_) | Value::Boolean(_) => Some(Num::Constant(0.0)),
                Value::Error(_) => None,
            };
            match &self.schedule.arrays[*array as usize] {
                Rectangle::Constant(table) => {
                    let list = table.values.iter().map(of).collect::<Option<Vec<_>>>()?;
                    Some(((table.rows, table.columns), list))
                }
                Rectangle::Mixed { rows, columns, items } => {
                    let list = items.iter().map(|src| match src {
                        Src::Const(index) => of(self.constant(*index)),
                        Src::Node(register) => {
                            let number = self.kinds[*register as usize] == Kind::Number;
                            number.then_some(Num::Lanes(*register))
                        }
                    });
                    Some(((*rows, *columns), list.collect::<Option<Vec<_>>>()?))
                }
            }
        };
        let (shape, first) = columns(first)?;
        let (op, list) = match rest {
            [] => (Many::Sum, first),
            [second] => {
                let (other, second) = columns(second)?;
                if other != shape {
                    return None;
                }
                (Many::Products, first.into_iter().zip(second).flat_map(|(a, b)| [a, b]).collect())
            }
            _ => return None,
        };
        if list.is_empty() {
            return None;
        }
        let items = self.items(&list);
        let call = self.record(operation, operands);
        Some(self.push(Step::Many { op, items, call, target }, Kind::Number))
    }
}
