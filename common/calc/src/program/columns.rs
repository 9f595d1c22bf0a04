//! Functions over many columns, and others that have a loop of their own.

use super::execute::{Lanes, Register, Run, View, numbers};
use super::graph::Operand;
use super::schedule::Rectangle;
use super::{BLOCK, kernels};
use crate::functions::Kernel;
use crate::number::{self, Rounding};
use crate::value::{ErrorValue, Value};

impl<'a> Run<'a> {
    /// The columns of a call, flattened: those given directly, and the items of arrays, where only numbers count.
    /// Answers false as soon as `f` does, or when a column is not of numbers.
    fn columns<'r>(
        &self,
        operands: &[Operand],
        registers: &'r [Register],
        booleans: bool,
        f: &mut dyn FnMut(View<'r>) -> bool,
    ) -> bool
    where
        'a: 'r,
    {
        for operand in operands {
            match operand {
                Operand::Omitted => return false,
                Operand::Src(src) => match self.view(registers, *src) {
                    View::Values(_) | View::Constant(Value::Text(_) | Value::Blank) => return false,
                    view => {
                        if !f(view) {
                            return false;
                        }
                    }
                },
                Operand::Array(array) => match &self.schedule.arrays[*array as usize] {
                    Rectangle::Constant(table) => {
                        for value in &table.values {
                            let counts = matches!(value, Value::Number(_) | Value::Error(_))
                                || (booleans && matches!(value, Value::Boolean(_)));
                            if counts && !f(View::Constant(value)) {
                                return false;
                            }
                        }
                    }
                    Rectangle::Mixed { items, .. } => {
                        for src in items {
                            match self.view(registers, *src) {
                                View::Constant(Value::Blank | Value::Text(_)) => {}
                                View::Constant(Value::Boolean(_)) if !booleans => {}
                                View::Values(_) => return false,
                                View::Boolean(_) if !booleans => return false,
                                view => {
                                    if !f(view) {
                                        return false;
                                    }
                                }
                            }
                        }
                    }
                },
            }
        }
        true
    }

    /// The first error lane of a record among the columns of a call.
    fn first_error(
        &self,
        operands: &[Operand],
        registers: &[Register],
        booleans: bool,
        i: usize,
    ) -> Option<f64> {
        let mut found = None;
        self.columns(operands, registers, booleans, &mut |view| {
            let lane = match view {
                View::Number(lanes) | View::Boolean(lanes) => lanes[i],
                View::Constant(value) => value.to_lane(),
                View::Values(_) => 0.0,
            };
            if lane.is_nan() {
                found = Some(lane);
            }
            found.is_none()
        });
        found
    }

    /// Functions with a loop of their own.
    pub(super) fn kernel(
        &self,
        kernel: Kernel,
        operands: &[Operand],
        registers: &[Register],
        temporary: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Option<Lanes> {
        let n = self.n;
        let source = |i: usize| match operands.get(i) {
            Some(Operand::Src(src)) => Some(self.view(registers, *src)),
            _ => None,
        };
        match kernel {
            Kernel::None => None,
            Kernel::Abs => {
                kernels::abs(numbers(source(0)?, n, temporary), out);
                Some(Lanes::Number)
            }
            Kernel::Sqrt => {
                kernels::sqrt(numbers(source(0)?, n, temporary), out);
                Some(Lanes::Number)
            }
            Kernel::Round | Kernel::RoundUp | Kernel::RoundDown => {
                let digits = match operands.get(1) {
                    None => 0.0,
                    Some(Operand::Src(src)) => match self.view(registers, *src) {
                        View::Constant(Value::Number(digits)) => digits.trunc(),
                        _ => return None,
                    },
                    Some(_) => return None,
                };
                let rounding = match kernel {
                    Kernel::Round => Rounding::HalfAway,
                    Kernel::RoundUp => Rounding::Up,
                    _ => Rounding::Down,
                };
                kernels::round(numbers(source(0)?, n, temporary), digits, rounding, out);
                Some(Lanes::Number)
            }
            Kernel::Int => {
                for (out, a) in out.iter_mut().zip(numbers(source(0)?, n, temporary)) {
                    *out = if a.is_nan() { *a } else { number::floor(*a) };
                }
                Some(Lanes::Number)
            }
            Kernel::Sum => {
                out.fill(0.0);
                let fits = self.columns(operands, registers, false, &mut |view| {
                    kernels::accumulate(out, numbers(view, n, temporary));
                    true
                });
                self.finish(fits, false, operands, registers, out)
            }
            Kernel::Min | Kernel::Max => {
                let mut count = 0;
                let mut bad = false;
                let fits = self.columns(operands, registers, false, &mut |view| {
                    let lanes = numbers(view, n, temporary);
                    count += 1;
                    if count == 1 {
                        out.copy_from_slice(lanes);
                        bad |= kernels::any_bad(lanes);
                    } else {
                        bad |= kernels::extreme(out, lanes, kernel == Kernel::Max);
                    }
                    true
                });
                // A block with errors is rare: take it record by record.
                (fits && count > 0 && !bad).then_some(Lanes::Number)
            }
            Kernel::And | Kernel::Or => {
                let all = kernel == Kernel::And;
                let mut count = 0;
                let mut bad = false;
                out.fill(f64::from(u8::from(all)));
                let fits = self.columns(operands, registers, true, &mut |view| {
                    let lanes = numbers(view, n, temporary);
                    count += 1;
                    bad |= kernels::any_bad(lanes);
                    for (out, a) in out.iter_mut().zip(lanes) {
                        let both =
                            if all { (*out != 0.0) & (*a != 0.0) } else { (*out != 0.0) | (*a != 0.0) };
                        *out = if both { 1.0 } else { 0.0 };
                    }
                    true
                });
                (fits && count > 0 && !bad).then_some(Lanes::Boolean)
            }
            Kernel::Not => match source(0)? {
                View::Values(_) | View::Constant(_) => None,
                View::Number(lanes) | View::Boolean(lanes) => {
                    for (out, a) in out.iter_mut().zip(lanes) {
                        *out = if a.is_nan() {
                            *a
                        } else if *a == 0.0 {
                            1.0
                        } else {
                            0.0
                        };
                    }
                    Some(Lanes::Boolean)
                }
            },
            Kernel::SumProduct => self.sum_product(operands, registers, temporary, out),
        }
    }

    /// Settle the lanes of a sum that are no finite number: the first error, or `#NUM!`.
    fn finish(
        &self,
        fits: bool,
        booleans: bool,
        operands: &[Operand],
        registers: &[Register],
        out: &mut [f64],
    ) -> Option<Lanes> {
        if !fits {
            return None;
        }
        if kernels::any_bad(out) {
            for (i, x) in out.iter_mut().enumerate() {
                if !x.is_finite() {
                    *x = self
                        .first_error(operands, registers, booleans, i)
                        .unwrap_or(number::error(ErrorValue::Num));
                }
            }
        }
        Some(Lanes::Number)
    }

    fn sum_product(
        &self,
        operands: &[Operand],
        registers: &[Register],
        temporary: &mut Vec<f64>,
        out: &mut [f64],
    ) -> Option<Lanes> {
        let n = self.n;
        let mut count = None;
        for operand in operands {
            let Operand::Array(array) = operand else { return None };
            let shape = match &self.schedule.arrays[*array as usize] {
                Rectangle::Constant(table) => (table.rows, table.columns),
                Rectangle::Mixed { rows, columns, .. } => (*rows, *columns),
            };
            if *count.get_or_insert(shape) != shape {
                return None;
            }
        }
        let (rows, columns) = count?;
        let zero = Value::Number(0.0);
        let item = |operand: &Operand, place: usize| -> Option<View<'_>> {
            let Operand::Array(array) = operand else { return None };
            let view = match &self.schedule.arrays[*array as usize] {
                Rectangle::Constant(table) => View::Constant(&table.values[place]),
                Rectangle::Mixed { items, .. } => self.view(registers, items[place]),
            };
            match view {
                View::Number(_) | View::Constant(Value::Number(_)) => Some(view),
                View::Constant(Value::Blank | Value::Text(_) | Value::Boolean(_)) => {
                    Some(View::Constant(&zero))
                }
                _ => None,
            }
        };
        let mut product = [0.0; BLOCK];
        out.fill(0.0);
        for place in 0..rows * columns {
            let product = &mut product[..n];
            for (k, operand) in operands.iter().enumerate() {
                let lanes = numbers(item(operand, place)?, n, temporary);
                if k == 0 {
                    product.copy_from_slice(lanes);
                } else {
                    for (product, a) in product.iter_mut().zip(lanes) {
                        *product *= a;
                    }
                }
            }
            kernels::accumulate(out, product);
        }
        // A block with errors is rare: take it record by record.
        (!kernels::any_bad(out)).then_some(Lanes::Number)
    }
}
