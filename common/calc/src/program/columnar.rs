//! Operations over whole columns: which loop fits an operation on columns of these types.

use super::execute::{Lanes, Register, Run, Scratch, View, numbers};
use super::graph::{Op, Operand};
use super::schedule::Rectangle;
use super::{kernels, scalar};
use crate::formula::Binary;
use crate::functions::{Kind, by_index, lookup};
use crate::number;
use crate::value::{ErrorValue, Value};

impl Run<'_> {
    /// Evaluate over whole columns, when there is a loop for the operation on columns of these types.
    pub(super) fn columnar(
        &self,
        op: Op,
        operands: &[Operand],
        scratch: &mut Scratch,
        out: &mut Register,
    ) -> bool {
        let n = self.n;
        let Scratch { registers, temporary: [first, second, third], .. } = scratch;
        let registers: &[Register] = registers;
        let source = |i: usize| match operands.get(i) {
            Some(Operand::Src(src)) => Some(self.view(registers, *src)),
            _ => None,
        };
        out.numbers.resize(n, 0.0);
        let lanes = match (op, source(0), source(1)) {
            (Op::Binary(operator), Some(a), Some(b)) => match operator {
                Binary::Add | Binary::Subtract | Binary::Multiply | Binary::Divide | Binary::Power => {
                    let (a, b) = (numbers(a, n, first), numbers(b, n, second));
                    kernels::arithmetic(operator, a, b, &mut out.numbers);
                    Lanes::Number
                }
                Binary::Concat => return false,
                _ => {
                    let alike = (a.is_number() && b.is_number()) || (a.is_boolean() && b.is_boolean());
                    if !alike {
                        return false;
                    }
                    let (a, b) = (numbers(a, n, first), numbers(b, n, second));
                    kernels::compare(operator, a, b, &mut out.numbers);
                    Lanes::Boolean
                }
            },
            (Op::Negate, Some(a), _) => {
                kernels::negate(numbers(a, n, first), &mut out.numbers);
                Lanes::Number
            }
            (Op::Percent, Some(a), _) => {
                let hundred = numbers(View::Constant(&Value::Number(100.0)), n, second);
                kernels::arithmetic(Binary::Divide, numbers(a, n, first), hundred, &mut out.numbers);
                Lanes::Number
            }
            (Op::If, Some(condition), Some(yes)) => {
                let Some(no) = source(2) else { return false };
                let lanes = match Self::common(yes, no) {
                    Some(lanes) if !matches!(condition, View::Values(_)) => lanes,
                    _ => return false,
                };
                if matches!(condition, View::Constant(Value::Text(_))) {
                    return false;
                }
                let condition = numbers(condition, n, first);
                kernels::select(condition, numbers(yes, n, second), numbers(no, n, third), &mut out.numbers);
                lanes
            }
            (Op::IfError | Op::IfNa, Some(a), Some(otherwise)) => {
                let Some(lanes) = Self::common(a, otherwise) else { return false };
                let (a, otherwise) = (numbers(a, n, first), numbers(otherwise, n, second));
                if op == Op::IfError {
                    kernels::if_error(a, otherwise, &mut out.numbers);
                } else {
                    kernels::if_na(a, otherwise, &mut out.numbers);
                }
                lanes
            }
            (Op::Solid, Some(View::Number(a)), _) => {
                out.numbers.copy_from_slice(&a[..n]);
                Lanes::Number
            }
            (Op::Solid, Some(View::Boolean(a)), _) => {
                out.numbers.copy_from_slice(&a[..n]);
                Lanes::Boolean
            }
            (Op::Position(search), Some(View::Number(keys)), _) => {
                let Some(Operand::Array(array)) = operands.get(1) else { return false };
                let Rectangle::Constant(table) = &self.schedule.arrays[*array as usize] else { return false };
                let index = table.index();
                for (out, key) in out.numbers.iter_mut().zip(keys) {
                    *out = if key.is_nan() {
                        *key
                    } else {
                        lookup::find_number(search, *key, &table.values, Some(index))
                            .map_or(number::error(ErrorValue::NA), |place| place as f64 + 1.0)
                    };
                }
                Lanes::Number
            }
            (Op::Pick, None, Some(row)) => {
                let (Some(column), Some(Operand::Array(array))) = (source(2), operands.first()) else {
                    return false;
                };
                let (rows, columns) = (numbers(row, n, first), numbers(column, n, second));
                match &self.schedule.arrays[*array as usize] {
                    Rectangle::Constant(table) => match &table.numbers {
                        Some(values) => {
                            for ((out, row), column) in out.numbers.iter_mut().zip(rows).zip(columns) {
                                *out = match scalar::place(table.rows, table.columns, *row, *column) {
                                    Ok(place) => values[place],
                                    Err(e) => number::error(e),
                                };
                            }
                            Lanes::Number
                        }
                        None => {
                            out.values.clear();
                            out.values.extend(rows.iter().zip(columns).map(
                                |(row, column)| match scalar::place(table.rows, table.columns, *row, *column)
                                {
                                    Ok(place) => table.values[place].clone(),
                                    Err(e) => e.into(),
                                },
                            ));
                            out.lanes = Lanes::Value;
                            self.settle(out);
                            return true;
                        }
                    },
                    Rectangle::Mixed { rows: height, columns: width, items } => {
                        out.values.clear();
                        out.values.extend(rows.iter().zip(columns).enumerate().map(|(i, (row, column))| {
                            match scalar::place(*height, *width, *row, *column) {
                                Ok(place) => self.view(registers, items[place]).get(i),
                                Err(e) => e.into(),
                            }
                        }));
                        out.lanes = Lanes::Value;
                        self.settle(out);
                        return true;
                    }
                }
            }
            (Op::Random(site), _, _) => {
                for (i, out) in out.numbers.iter_mut().enumerate() {
                    *out = scalar::random(site, &self.env(i));
                }
                Lanes::Number
            }
            (Op::Call(index), a, b) => {
                let function = by_index(index);
                if let Some(lanes) =
                    self.kernel(function.kernel, operands, registers, first, &mut out.numbers)
                {
                    out.lanes = lanes;
                    return true;
                }
                match (function.kind, a, b) {
                    (Kind::Number1(f), Some(a), _) => {
                        for (out, a) in out.numbers.iter_mut().zip(numbers(a, n, first)) {
                            *out = scalar::checked(std::slice::from_ref(a), |args| f(args[0]));
                        }
                    }
                    (Kind::Number2(f), Some(a), Some(b)) => {
                        let (a, b) = (numbers(a, n, first), numbers(b, n, second));
                        for ((out, a), b) in out.numbers.iter_mut().zip(a).zip(b) {
                            *out = scalar::checked(&[*a, *b], |args| f(args[0], args[1]));
                        }
                    }
                    (Kind::Numbers(f), ..) => return self.number_calls(f, operands, registers, out),
                    _ => return false,
                }
                Lanes::Number
            }
            _ => return false,
        };
        out.lanes = lanes;
        true
    }

    /// The lanes that hold both columns.
    fn common(a: View<'_>, b: View<'_>) -> Option<Lanes> {
        if a.is_number() && b.is_number() {
            Some(Lanes::Number)
        } else if a.is_boolean() && b.is_boolean() {
            Some(Lanes::Boolean)
        } else {
            None
        }
    }

    /// A function of several numbers, record by record on lanes.
    fn number_calls(
        &self,
        f: fn(&[f64]) -> f64,
        operands: &[Operand],
        registers: &[Register],
        out: &mut Register,
    ) -> bool {
        const MOST: usize = 8;
        if operands.len() > MOST {
            return false;
        }
        let zero = Value::Number(0.0);
        let mut views = [View::Constant(&zero); MOST];
        for (view, operand) in views.iter_mut().zip(operands) {
            match operand {
                Operand::Src(src) => *view = self.view(registers, *src),
                Operand::Omitted => {}
                Operand::Array(_) => return false,
            }
        }
        let mut args = [0.0; MOST];
        for (i, out) in out.numbers.iter_mut().enumerate() {
            for (arg, view) in args.iter_mut().zip(&views[..operands.len()]) {
                *arg = match view {
                    View::Number(lanes) | View::Boolean(lanes) => lanes[i],
                    View::Values(values) => values[i].to_lane(),
                    View::Constant(value) => value.to_lane(),
                };
            }
            *out = scalar::checked(&args[..operands.len()], f);
        }
        out.lanes = Lanes::Number;
        true
    }
}
