//! Lanes: the numbers of a column in groups as wide as the processor's vectors, and the memory that holds them.

use super::BLOCK;
use crate::value::Value;

/// Numbers in one group: two vectors of AVX2, four of SSE2 or NEON. A single record costs one group.
pub(super) const WIDTH: usize = 8;
/// Groups of a full block.
const GROUPS: usize = BLOCK / WIDTH;

/// Numbers that are computed together.
pub(super) type Group = [f64; WIDTH];

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
    /// The same source with exactly this many groups.
    fn cut(self, groups: usize) -> Self;
    /// One group.
    fn group(&self, index: usize) -> Group;
}

impl Source for &[Group] {
    #[inline(always)]
    fn cut(self, groups: usize) -> Self {
        &self[..groups]
    }

    #[inline(always)]
    fn group(&self, index: usize) -> Group {
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
    fn group(&self, _: usize) -> Group {
        [self.0; WIDTH]
    }
}

/// The registers of a run: lanes for numbers and booleans, values for anything else.
#[derive(Debug, Default)]
pub(super) struct Bank {
    lanes: Vec<Box<[Group]>>,
    pub values: Vec<Vec<Value>>,
}

impl Bank {
    /// Make room for this many registers.
    pub fn reserve(&mut self, registers: usize) {
        if self.lanes.len() < registers {
            self.lanes.resize_with(registers, Box::default);
            self.values.resize_with(registers, Vec::new);
        }
    }

    /// Bytes of the lanes.
    pub fn bytes(&self) -> usize {
        self.lanes.iter().map(|lanes| size_of_val(&**lanes)).sum()
    }

    /// A register to write, out of the bank while its operation reads others.
    #[inline(always)]
    pub fn take(&mut self, register: u32) -> Box<[Group]> {
        let lanes = std::mem::take(&mut self.lanes[register as usize]);
        if lanes.is_empty() { vec![[0.0; WIDTH]; GROUPS].into_boxed_slice() } else { lanes }
    }

    /// Put a written register back.
    #[inline(always)]
    pub fn put(&mut self, register: u32, lanes: Box<[Group]>) {
        self.lanes[register as usize] = lanes;
    }

    /// The groups of a register.
    #[inline(always)]
    pub fn groups(&self, register: u32) -> &[Group] {
        &self.lanes[register as usize]
    }

    /// The lanes of a register, one record after the other.
    #[inline(always)]
    pub fn lanes(&self, register: u32) -> &[f64] {
        self.lanes[register as usize].as_flattened()
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
