//! Running a typed program over a block of records.

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

use super::column::{Column, lane};
use super::graph::{Graph, Src};
use super::lanes::{Bank, Num, Splat, WIDTH};
use super::schedule::{Rectangle, Schedule};
use super::steps::{Argument, Kind, Many, One, Step, Two, Typed, Values};
use super::watch::{STEPS, Watch};
use super::{Volatile, kernels, repair, scalar};
use crate::formula::Binary;
use crate::functions::Env;
use crate::number::{self, POWERS, Rounding};
use crate::value::{ErrorValue, Value};

/// What a run reads besides its registers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    pub typed: &'a Typed,
    pub schedule: &'a Schedule,
    pub graph: &'a Graph,
    pub inputs: &'a [Column],
    pub volatile: &'a Volatile,
    /// The first record of this part of the block.
    pub offset: usize,
    /// How many records.
    pub n: usize,
    pub first_record: u64,
}

/// What a run changes.
#[derive(Debug)]
pub(super) struct State<'a> {
    pub bank: &'a mut Bank,
    /// Values of one record, while its operation needs them.
    pub store: &'a mut Vec<Value>,
    /// The records that do not fit the kinds of the program, a bit each.
    pub odd: u128,
    pub watch: &'a mut Watch,
}

/// Loops over two sources, whatever they are.
macro_rules! two {
    ($bank:expr, $a:expr, $b:expr, |$x:ident, $y:ident| $body:expr) => {
        match ($a, $b) {
            (Num::Lanes(a), Num::Lanes(b)) => {
                let ($x, $y) = ($bank.lanes(a), $bank.lanes(b));
                $body
            }
            (Num::Lanes(a), Num::Constant(b)) => {
                let ($x, $y) = ($bank.lanes(a), Splat(b));
                $body
            }
            (Num::Constant(a), Num::Lanes(b)) => {
                let ($x, $y) = (Splat(a), $bank.lanes(b));
                $body
            }
            (Num::Constant(a), Num::Constant(b)) => {
                let ($x, $y) = (Splat(a), Splat(b));
                $body
            }
        }
    };
}

/// Loops over one source, whatever it is.
macro_rules! one {
    ($bank:expr, $a:expr, |$x:ident| $body:expr) => {
        match $a {
            Num::Lanes(a) => {
                let $x = $bank.lanes(a);
                $body
            }
            Num::Constant(a) => {
                let $x = Splat(a);
                $body
            }
        }
    };
}

/// A comparison of numbers by its operator.
macro_rules! by_operator {
    ($op:expr, |$raw:ident| $body:expr) => {
        match $op {
            Binary::Equal => {
                let $raw = |x: f64, y: f64| x == y;
                $body
            }
            Binary::NotEqual => {
                let $raw = |x: f64, y: f64| x != y;
                $body
            }
            Binary::Less => {
                let $raw = |x: f64, y: f64| x < y;
                $body
            }
            Binary::LessEqual => {
                let $raw = |x: f64, y: f64| x <= y;
                $body
            }
            Binary::Greater => {
                let $raw = |x: f64, y: f64| x > y;
                $body
            }
            _ => {
                let $raw = |x: f64, y: f64| x >= y;
                $body
            }
        }
    };
}

/// A run under wider vectors. A type of its own, since a closure's body would not be compiled for them.
#[cfg(target_arch = "x86_64")]
struct Steps<'r, 'a, 's> {
    run: &'r Run<'a>,
    state: &'r mut State<'s>,
}

#[cfg(target_arch = "x86_64")]
impl pulp::WithSimd for Steps<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        self.run.steps::<true>(self.state);
    }
}

/// Which vectors a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vectors {
    /// The widest that the processor has: AVX-512, AVX2, or those of every processor of its architecture.
    Widest,
    /// At most 256 bits.
    Narrow,
    /// Those that every processor of this architecture has.
    Portable,
}

/// AVX-512 and AVX2, where this processor has them: found once, since that takes as long as a short program.
#[cfg(target_arch = "x86_64")]
static SETS: LazyLock<(Option<pulp::x86::V4>, Option<pulp::x86::V3>)> =
    LazyLock::new(|| (pulp::x86::V4::try_new(), pulp::x86::V3::try_new()));

impl Run<'_> {
    /// Run all steps, with the widest vectors that this processor has and that are allowed. The results are the same bits.
    pub fn all(&self, vectors: Vectors, state: &mut State<'_>) {
        #[cfg(target_arch = "x86_64")]
        if vectors != Vectors::Portable {
            let (wide, narrow) = *SETS;
            if let Some(simd) = wide.filter(|_| vectors == Vectors::Widest) {
                return pulp::Simd::vectorize(simd, Steps { run: self, state });
            }
            if let Some(simd) = narrow {
                return pulp::Simd::vectorize(simd, Steps { run: self, state });
            }
        }
        let portable = vectors == Vectors::Portable;
        // A fused multiplication is one instruction of every 64-bit ARM processor, elsewhere perhaps a slow function.
        const FUSED: bool = cfg!(target_arch = "aarch64");
        if portable { self.steps::<false>(state) } else { self.steps::<FUSED>(state) }
    }

    #[inline(always)]
    fn steps<const FMA: bool>(&self, state: &mut State<'_>) {
        let width = self.n.next_multiple_of(WIDTH);
        for (place, step) in self.typed.steps.iter().enumerate() {
            if (place % STEPS == 0 && state.watch.look()) || state.watch.is_over() {
                return;
            }
            match *step {
                Step::Two { op, a, b, target } => {
                    let mut out = state.bank.take(target);
                    let lanes = &mut out[..width];
                    let bank = &*state.bank;
                    let odd = match op {
                        Two::Add => two!(bank, a, b, |x, y| kernels::arithmetic(x, y, lanes, |x, y| x + y)),
                        Two::Subtract => {
                            two!(bank, a, b, |x, y| kernels::arithmetic(x, y, lanes, |x, y| x - y))
                        }
                        Two::Multiply => {
                            two!(bank, a, b, |x, y| kernels::arithmetic(x, y, lanes, |x, y| x * y))
                        }
                        Two::Divide => {
                            two!(bank, a, b, |x, y| kernels::arithmetic(x, y, lanes, |x, y| x / y))
                        }
                        Two::Min => two!(bank, a, b, |x, y| kernels::extreme(x, y, lanes, false)),
                        Two::Max => two!(bank, a, b, |x, y| kernels::extreme(x, y, lanes, true)),
                    };
                    if odd {
                        repair::two(bank, op, a, b, lanes);
                    }
                    state.bank.put(target, out);
                }
                Step::CompareSelect { op, a, b, yes, no, target } => {
                    let mut out = state.bank.take(target);
                    let lanes = &mut out[..width];
                    let bank = &*state.bank;
                    let odd =
                        by_operator!(op, |raw| two!(bank, a, b, |x, y| two!(bank, yes, no, |yes, no| {
                            kernels::compare_select((x, y), yes, no, lanes, raw)
                        })));
                    if odd {
                        repair::compare_select(bank, op, [a, b, yes, no], lanes);
                    }
                    state.bank.put(target, out);
                }
                Step::Compare { op, a, b, target } => {
                    let mut out = state.bank.take(target);
                    let lanes = &mut out[..width];
                    let bank = &*state.bank;
                    let odd =
                        by_operator!(op, |raw| two!(bank, a, b, |x, y| kernels::compare(x, y, lanes, raw)));
                    if odd {
                        repair::compare(bank, op, a, b, lanes);
                    }
                    state.bank.put(target, out);
                }
                Step::Select { condition, yes, no, target } => {
                    let mut out = state.bank.take(target);
                    let lanes = &mut out[..width];
                    let bank = &*state.bank;
                    let odd = one!(bank, condition, |c| two!(bank, yes, no, |yes, no| kernels::select(
                        c, yes, no, lanes
                    )));
                    if odd {
                        repair::select(bank, condition, lanes);
                    }
                    state.bank.put(target, out);
                }
                Step::WholePower { base, exponent, series, next, target } => {
                    let mut out = state.bank.take(target);
                    let (mut high, mut low) = (state.bank.take(series.high), state.bank.take(series.low));
                    let x = state.bank.lanes(base);
                    let odd = if next {
                        kernels::next_power::<FMA>(x, &mut high, &mut low, &mut out[..width])
                    } else {
                        kernels::whole_power::<FMA>(x, exponent, &mut high, &mut low, &mut out[..width])
                    };
                    if odd {
                        repair::power(x, exponent, &high[..width], &low[..width], &mut out[..width]);
                    }
                    state.bank.put(series.high, high);
                    state.bank.put(series.low, low);
                    state.bank.put(target, out);
                }
                Step::Pick { table, row, column, target } => {
                    let mut out = state.bank.take(target);
                    self.pick(table, row, column, state.bank, &mut out[..width]);
                    state.bank.put(target, out);
                }
                Step::Slots { places, count, slots } => {
                    let (places, (out, inside)) = state.bank.lanes_and_slots(places, slots);
                    *inside = kernels::slots(&places[..width], f64::from(count), out);
                }
                Step::PickSlot { table, places, slots, target } => {
                    let mut out = state.bank.take(target);
                    self.pick_slot(table, places, slots, state.bank, &mut out[..width]);
                    state.bank.put(target, out);
                }
                Step::PlaceInSeries { key, first, count, target } => {
                    let mut out = state.bank.take(target);
                    let missing = number::error(ErrorValue::NA);
                    let key = state.bank.lanes(key);
                    kernels::place_in_series(key, first, count, missing, &mut out[..width]);
                    state.bank.put(target, out);
                }
                Step::Many { op, items, call, target } => {
                    let mut out = state.bank.take(target);
                    self.many(op, items.of(&self.typed.items), call, state, &mut out[..width]);
                    state.bank.put(target, out);
                }
                Step::Round { a, digits, rounding, target } => {
                    let mut out = state.bank.take(target);
                    let lanes = &mut out[..width];
                    let power = POWERS[digits.abs() as usize];
                    let behind = digits >= 0.0;
                    let bank = &*state.bank;
                    let odd = if rounding == Rounding::HalfAway {
                        one!(bank, a, |x| kernels::round_half(x, power, behind, lanes))
                    } else {
                        one!(bank, a, |x| kernels::round_down(x, power, behind, lanes))
                    };
                    if odd {
                        repair::round(bank, a, digits, rounding, lanes);
                    }
                    state.bank.put(target, out);
                }
                Step::One { op, a, target } => {
                    let mut out = state.bank.take(target);
                    let lanes = &mut out[..width];
                    let bank = &*state.bank;
                    let nothing = |_: f64, _: f64| 0;
                    match op {
                        One::Copy => one!(bank, a, |x| kernels::map1(x, lanes, |x| x, nothing)),
                        One::Negate => one!(bank, a, |x| kernels::map1(x, lanes, |x| -x, nothing)),
                        One::Abs => one!(bank, a, |x| kernels::map1(x, lanes, f64::abs, nothing)),
                        One::Sqrt => {
                            if one!(bank, a, |x| kernels::map1(x, lanes, f64::sqrt, |_, root| kernels::mark(
                                root
                            ))) {
                                repair::sqrt(bank, a, lanes);
                            }
                            false
                        }
                        One::Floor => {
                            if one!(bank, a, |x| kernels::floor(x, lanes)) {
                                repair::floor(bank, a, lanes);
                            }
                            false
                        }
                        One::Not => one!(bank, a, |x| kernels::map1(
                            x,
                            lanes,
                            |x| if x.is_nan() {
                                x
                            } else if x == 0.0 {
                                1.0
                            } else {
                                0.0
                            },
                            nothing
                        )),
                    };
                    state.bank.put(target, out);
                }
                Step::IfError { a, otherwise, only_na, target } => {
                    let mut out = state.bank.take(target);
                    let lanes = &mut out[..width];
                    let bank = &*state.bank;
                    if only_na {
                        if_na(bank, a, otherwise, lanes);
                    } else {
                        two!(bank, a, otherwise, |x, y| kernels::if_error(x, y, lanes));
                    }
                    state.bank.put(target, out);
                }
                ref other => {
                    self.rare(other, state, width);
                    state.watch.look();
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

    fn pick(&self, table: u32, row: Num, column: Num, bank: &Bank, out: &mut [f64]) {
        let Rectangle::Constant(table) = &self.schedule.arrays[table as usize] else { return };
        let Some(padded) = &table.padded else { return };
        pick_one_by_one(table.rows, table.columns, &padded[1..], bank, row, column, out);
    }

    #[inline(always)]
    fn pick_slot(&self, table: u32, places: u32, slots: u32, bank: &Bank, out: &mut [f64]) {
        let Rectangle::Constant(table) = &self.schedule.arrays[table as usize] else { return };
        let (Some(short), Some(padded)) = (&table.short, &table.padded) else { return };
        let (slots, inside) = &bank.slots[slots as usize];
        for (out, slot) in out.iter_mut().zip(slots) {
            *out = short[usize::from(*slot)];
        }
        if !inside {
            let lanes = bank.lanes(places).iter().zip(slots).zip(out);
            for ((place, _), out) in lanes.filter(|((_, slot), _)| **slot == 0) {
                let (row, column) = if table.columns == 1 { (*place, 1.0) } else { (1.0, *place) };
                *out = match scalar::place(table.rows, table.columns, row, column) {
                    Ok(place) => padded[place + 1],
                    Err(e) => number::error(e),
                };
            }
        }
    }

    #[inline(always)]
    fn many(&self, op: Many, items: &[Num], call: u32, state: &mut State<'_>, out: &mut [f64]) {
        let bank = &*state.bank;
        let Some((first, rest)) = items.split_first() else { return };
        let nothing = |_: f64, _: f64| 0;
        let mut odd = false;
        match op {
            Many::Sum => {
                odd |= one!(bank, *first, |x| kernels::arithmetic(x, Splat(0.0), out, |x, y| x + y));
                let (fours, left) = rest.as_chunks::<4>();
                for four in fours {
                    odd |= if let [Num::Lanes(a), Num::Lanes(b), Num::Lanes(c), Num::Lanes(d)] = *four {
                        kernels::accumulate_four([a, b, c, d].map(|register| bank.lanes(register)), out)
                    } else {
                        let add = |odd, item: &Num| odd | one!(bank, *item, |x| kernels::accumulate(out, x));
                        four.iter().fold(false, add)
                    };
                }
                for item in left {
                    odd |= one!(bank, *item, |x| kernels::accumulate(out, x));
                }
            }
            Many::Min | Many::Max => {
                one!(bank, *first, |x| kernels::map1(x, out, |x| x, nothing));
                odd |= kernels::any_odd(out);
                for item in rest {
                    odd |= one!(bank, *item, |x| kernels::accumulate_extreme(out, x, op == Many::Max));
                }
            }
            Many::And | Many::Or => {
                out.fill(f64::from(u8::from(op == Many::And)));
                for item in items {
                    odd |= one!(bank, *item, |x| kernels::accumulate_logic(out, x, op == Many::And));
                }
            }
            Many::Products => {
                out.fill(0.0);
                for pair in items.chunks_exact(2) {
                    odd |= two!(bank, pair[0], pair[1], |x, y| kernels::accumulate_product(out, x, y));
                }
            }
        }
        if odd {
            self.repair_many(items, call, state, out);
        }
    }

    /// Take records with an error among their arguments, or with a result that is no number, by the definition.
    #[cold]
    #[inline(never)]
    fn repair_many(&self, items: &[Num], call: u32, state: &mut State<'_>, out: &mut [f64]) {
        for i in 0..self.n {
            let lanes = &mut *out;
            let bank = &*state.bank;
            if !lanes[i].is_finite() || items.iter().any(|item| !bank.lane(*item, i).is_finite()) {
                lanes[i] = lane(&self.call(call, i, bank, state.store));
            }
        }
        let last = out[self.n - 1];
        out[self.n..].fill(last);
    }

    /// The value of an argument for one record.
    pub fn value(&self, argument: Argument, bank: &Bank, i: usize) -> Value {
        match argument {
            Argument::Lanes(register, Kind::Boolean) => number::boolean(bank.lanes(register)[i]),
            Argument::Lanes(register, _) => number::value(bank.lanes(register)[i]),
            Argument::Values(values) => self.value_of(values, bank, i).clone(),
            Argument::Constant(index) => self.graph.constants[index as usize].clone(),
            Argument::Omitted | Argument::Table(_) | Argument::Items { .. } => Value::Blank,
        }
    }

    /// One of many values, where they are.
    pub fn value_of<'v>(&'v self, values: Values, bank: &'v Bank, i: usize) -> &'v Value {
        let input = match values {
            Values::Register(register) => return &bank.values[register as usize][i],
            Values::Input(input) => self.inputs.get(input as usize),
        };
        match input {
            Some(Column::Value(values)) => values.get(self.offset + i).unwrap_or(&Value::Blank),
            Some(Column::Constant(value)) => value,
            // Columns of lanes that are too short are values before they come here.
            Some(Column::Number(_) | Column::Boolean(_)) | None => &Value::Blank,
        }
    }

    /// The constant that a source is, or blank.
    pub fn constant(&self, src: Src) -> &Value {
        match src {
            Src::Const(index) => &self.graph.constants[index as usize],
            Src::Node(_) => &Value::Blank,
        }
    }
}

fn if_na(bank: &Bank, a: Num, otherwise: Num, out: &mut [f64]) {
    for (i, out) in out.iter_mut().enumerate() {
        let x = bank.lane(a, i);
        *out = if number::decode(x) == Some(ErrorValue::NA) { bank.lane(otherwise, i) } else { x };
    }
}

#[inline(never)]
fn pick_one_by_one(
    rows: usize,
    columns: usize,
    values: &[f64],
    bank: &Bank,
    row: Num,
    column: Num,
    out: &mut [f64],
) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = match scalar::place(rows, columns, bank.lane(row, i), bank.lane(column, i)) {
            Ok(place) => values[place],
            Err(e) => number::error(e),
        };
    }
}
