//! Lanes: the numbers of a column, and the memory that holds them.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use super::BLOCK;
use crate::value::Value;

/// Lanes are computed in multiples of this: a vector of AVX-512, two of AVX2, four of SSE2 or NEON.
pub(super) const WIDTH: usize = 8;

/// Where an operation over lanes takes a number from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Num {
    /// A register of lanes.
    Lanes(u32),
    /// The same number, or error, for every record.
    Constant(f64),
}

/// What a loop reads: a register, or the same number again and again.
pub(super) trait Source: Copy {
    /// The same source with exactly this many lanes.
    fn cut(self, lanes: usize) -> Self;
    /// One lane.
    fn at(&self, index: usize) -> f64;
}

impl Source for &[f64] {
    #[inline(always)]
    fn cut(self, lanes: usize) -> Self {
        &self[..lanes]
    }

    #[inline(always)]
    fn at(&self, index: usize) -> f64 {
        self[index]
    }
}

/// A number for every record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Splat(pub f64);

impl Source for Splat {
    #[inline(always)]
    fn cut(self, _: usize) -> Self {
        self
    }

    #[inline(always)]
    fn at(&self, _: usize) -> f64 {
        self.0
    }
}

/// As many lanes as a line of the processor's cache: a register begins with a line, so that no vector lies across two.
#[derive(Debug, Clone, Copy, Default, Zeroable, Pod)]
#[repr(C, align(64))]
pub(super) struct Line([f64; WIDTH]);

/// The lanes of a register while its operation writes them.
#[derive(Debug, Default)]
pub(super) struct Lanes(Box<[Line]>);

impl Deref for Lanes {
    type Target = [f64];

    #[inline(always)]
    fn deref(&self) -> &[f64] {
        bytemuck::cast_slice(&self.0)
    }
}

impl DerefMut for Lanes {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f64] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// The places of a column in tables of one line, counted from one; 0 for none.
pub(super) type Slots = [u8; BLOCK];

/// The registers of a run: lanes for numbers and booleans, values for anything else.
#[derive(Debug, Default)]
pub(super) struct Bank {
    lanes: Vec<Lanes>,
    /// Places by the register of the numbers that they were made of; whether all of them are within their table.
    pub slots: Vec<(Slots, bool)>,
    pub values: Vec<Vec<Value>>,
    /// Values of a step that may read the register which it writes.
    pub spare: Vec<Value>,
}

impl Bank {
    /// Make room for this many registers.
    pub fn reserve(&mut self, registers: usize, slots: usize) {
        if self.slots.len() < slots {
            self.slots.resize(slots, ([0; BLOCK], true));
        }
        if self.lanes.len() < registers {
            self.lanes.resize_with(registers, Lanes::default);
            self.values.resize_with(registers, Vec::new);
        }
    }

    /// Bytes of the lanes.
    pub fn bytes(&self) -> usize {
        let lanes: usize = self.lanes.iter().map(|lanes| size_of_val(&*lanes.0)).sum();
        lanes + self.slots.len() * size_of::<(Slots, bool)>()
    }

    /// A register to write, out of the bank while its operation reads others.
    #[inline(always)]
    pub fn take(&mut self, register: u32) -> Lanes {
        let lanes = std::mem::take(&mut self.lanes[register as usize]);
        if lanes.0.is_empty() {
            Lanes(vec![Line::default(); BLOCK / WIDTH].into_boxed_slice())
        } else {
            lanes
        }
    }

    /// Put a written register back.
    #[inline(always)]
    pub fn put(&mut self, register: u32, lanes: Lanes) {
        self.lanes[register as usize] = lanes;
    }

    /// The lanes of a register.
    #[inline(always)]
    pub fn lanes(&self, register: u32) -> &[f64] {
        &self.lanes[register as usize]
    }

    /// The lanes of a register to read, and slots to write.
    #[inline(always)]
    pub fn lanes_and_slots(&mut self, register: u32, slots: u32) -> (&[f64], &mut (Slots, bool)) {
        (&self.lanes[register as usize], &mut self.slots[slots as usize])
    }

    /// One lane.
    #[inline(always)]
    pub fn lane(&self, num: Num, record: usize) -> f64 {
        match num {
            Num::Lanes(register) => self.lanes(register)[record],
            Num::Constant(x) => x,
        }
    }
}
