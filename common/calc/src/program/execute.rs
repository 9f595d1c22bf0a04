//! Running a program over a block of records.

use super::column::{Column, lane};
use super::graph::{Graph, Op, Operand, Src};
use super::schedule::{Instruction, Rectangle, Schedule};
use super::{BLOCK, Volatile, kernels, scalar};
use crate::formula::Binary;
use crate::functions::{Arg, Env, Grid, Kernel, Kind, by_index, lookup};
use crate::number::{self, Rounding};
use crate::value::Value;

/// Memory that one thread reuses from run to run.
#[derive(Debug, Default)]
pub struct Scratch {
    registers: Vec<Register>,
    temporary: [Vec<f64>; 3],
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
enum Lanes {
    #[default]
    Number,
    Boolean,
    Value,
}

/// One live column.
#[derive(Debug, Default)]
struct Register {
    lanes: Lanes,
    numbers: Vec<f64>,
    values: Vec<Value>,
}

/// A column as an instruction reads it.
#[derive(Debug, Clone, Copy)]
enum View<'a> {
    Number(&'a [f64]),
    Boolean(&'a [f64]),
    Values(&'a [Value]),
    Constant(&'a Value),
}

impl View<'_> {
    fn get(&self, i: usize) -> Value {
        match self {
            Self::Number(lanes) => number::value(lanes[i]),
            Self::Boolean(lanes) => number::boolean(lanes[i]),
            Self::Values(values) => values[i].clone(),
            Self::Constant(value) => (*value).clone(),
        }
    }

    /// Whether every lane is a number or an error.
    fn is_number(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Constant(Value::Number(_) | Value::Error(_)))
    }

    fn is_boolean(&self) -> bool {
        matches!(self, Self::Boolean(_) | Self::Constant(Value::Boolean(_) | Value::Error(_)))
    }
}

/// Lanes of numbers, coerced as arithmetic does.
fn numbers<'a>(view: View<'a>, n: usize, temporary: &'a mut Vec<f64>) -> &'a [f64] {
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
struct Run<'a> {
    schedule: &'a Schedule,
    graph: &'a Graph,
    inputs: &'a [Column],
    volatile: &'a Volatile,
    dynamic: bool,
    /// The first record of this part of the block.
    offset: usize,
    n: usize,
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
    fn view<'r>(&self, registers: &'r [Register], src: Src) -> View<'r>
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

    fn env(&self, i: usize) -> Env {
        Env {
            now: self.volatile.now,
            seed: self.volatile.seed,
            record: self.first_record.wrapping_add(i as u64),
        }
    }

    fn step(&self, instruction: &Instruction, scratch: &mut Scratch) {
        let target = instruction.target as usize;
        let mut out = std::mem::take(&mut scratch.registers[target]);
        let operands =
            &self.schedule.operands[instruction.start as usize..(instruction.start + instruction.length) as usize];
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
    fn settle(&self, out: &mut Register) {
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

    /// Evaluate over whole columns, when there is a loop for the operation on columns of these types.
    fn columnar(&self, op: Op, operands: &[Operand], scratch: &mut Scratch, out: &mut Register) -> bool {
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
                            .map_or(number::error(crate::value::ErrorValue::NA), |place| place as f64 + 1.0)
                    };
                }
                Lanes::Number
            }
            (Op::Pick, None, Some(row)) => {
                let (Some(column), Some(Operand::Array(array))) = (source(2), operands.first()) else { return false };
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
                            out.values.extend(rows.iter().zip(columns).map(|(row, column)| {
                                match scalar::place(table.rows, table.columns, *row, *column) {
                                    Ok(place) => table.values[place].clone(),
                                    Err(e) => e.into(),
                                }
                            }));
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
                if let Some(lanes) = self.kernel(function.kernel, operands, registers, first, &mut out.numbers) {
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
    fn kernel(
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
                if count == 0 {
                    return None;
                }
                if bad {
                    out.iter_mut().for_each(|x| *x = f64::NAN);
                }
                if fits && bad {
                    // A block with errors is rare: take it record by record.
                    return None;
                }
                fits.then_some(Lanes::Number)
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
                        let both = if all { (*out != 0.0) & (*a != 0.0) } else { (*out != 0.0) | (*a != 0.0) };
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
                        .unwrap_or(number::error(crate::value::ErrorValue::Num));
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
                View::Constant(Value::Blank | Value::Text(_) | Value::Boolean(_)) => Some(View::Constant(&zero)),
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
