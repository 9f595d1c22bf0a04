//! The values of one block of records, while they are read.
//!
//! Numbers land in lanes of doubles, one lane per input cell. Everything else is put aside as an *odd* value and turns its column
//! into a column of values for this block.

use crate::number;
use crate::program::{BLOCK, Column};
use crate::value::Value;

/// No lane.
const NONE: u32 = u32::MAX;
/// A lane without a value: the base value counts.
const MISSING: u64 = 0x7FF8_0000_00AB_FFFF;
/// A lane whose value lies among the odd ones.
const ODD: u64 = 0x7FF8_0000_00AB_FFFE;
/// Lanes that a block may hold before blocks get shorter than [`BLOCK`]: 32 MB.
const LANES: usize = 4 << 20;
/// Lanes whose memory a thread keeps from chunk to chunk.
const KEPT: usize = 1024;

/// Lanes for the cells that records give; the other cells stay constants. A thread uses them again from chunk to chunk.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// The value of every input cell that a record does not give: parameter or default.
    pub base: Vec<Value>,
    lane_of: Vec<u32>,
    cell_of: Vec<usize>,
    lanes: Vec<f64>,
    /// By lane: its odd values at the places of their records. What stands at other places means nothing.
    odd: Vec<Vec<Value>>,
    has_odd: Vec<bool>,
    /// Memory of the columns of earlier chunks.
    numbers: Vec<Vec<f64>>,
    lists: Vec<Vec<Value>>,
}

impl Lanes {
    /// Begins a chunk over these base values: no lane is in use.
    pub(crate) fn reset(&mut self, base: &[Value]) {
        if self.cell_of.len() > KEPT {
            *self = Self::default();
        }
        self.base.clear();
        self.base.extend_from_slice(base);
        self.lane_of.clear();
        self.lane_of.resize(base.len(), NONE);
        self.cell_of.clear();
        self.lanes.clear();
        self.has_odd.clear();
        self.odd.iter_mut().for_each(Vec::clear);
    }

    /// The columns before the first block: constants. The memory of those of the chunk before is kept.
    pub(crate) fn constants(&mut self, columns: &mut Vec<Column>) {
        for column in columns.drain(..) {
            match column {
                Column::Number(list) if self.numbers.len() < KEPT => self.numbers.push(list),
                Column::Value(mut list) if self.lists.len() < KEPT => {
                    list.clear();
                    self.lists.push(list);
                }
                _ => {}
            }
        }
        columns.extend(self.base.iter().cloned().map(Column::Constant));
    }

    /// How many records the next block may have: fewer when very many cells are in use.
    pub(crate) fn block(&self) -> usize {
        (LANES / self.cell_of.len().max(1)).clamp(1, BLOCK)
    }

    /// Fills the lanes with the base values, for a new block.
    pub(crate) fn start(&mut self) {
        self.has_odd.fill(false);
        for (lane, cell) in self.lanes.chunks_mut(BLOCK).zip(&self.cell_of) {
            lane.fill(self.base.get(*cell).map_or(f64::from_bits(MISSING), fill));
        }
    }

    /// Puts a number (or the lane of an error value) in place.
    #[inline]
    pub(crate) fn set(&mut self, cell: usize, row: usize, lane: f64) {
        let index = self.lane(cell);
        if let Some(place) = self.lanes.get_mut(index * BLOCK + row) {
            *place = lane;
        }
    }

    /// The lane of a cell.
    #[inline]
    fn lane(&mut self, cell: usize) -> usize {
        match self.lane_of.get(cell) {
            Some(&NONE) | None => self.activate(cell),
            Some(index) => *index as usize,
        }
    }

    /// Puts any value in place.
    #[inline]
    pub(crate) fn set_odd(&mut self, cell: usize, row: usize, value: Value) {
        if let Value::Number(number) = value {
            return self.set(cell, row, number);
        }
        let index = self.lane(cell);
        if let (Some(lane), Some(list), Some(has)) =
            (self.lanes.get_mut(index * BLOCK + row), self.odd.get_mut(index), self.has_odd.get_mut(index))
        {
            *lane = f64::from_bits(ODD);
            *has = true;
            if let Some(place) = list.get_mut(row) {
                *place = value;
            } else {
                // As many values as records, so that large tables of few records take little memory.
                list.resize(row, Value::Blank);
                list.push(value);
            }
        }
    }

    /// Gives a cell its lane, when the first record supplies it.
    #[cold]
    fn activate(&mut self, cell: usize) -> usize {
        let index = self.cell_of.len();
        self.cell_of.push(cell);
        self.has_odd.push(false);
        if self.odd.len() <= index {
            self.odd.push(self.lists.pop().unwrap_or_default());
        }
        let start = self.base.get(cell).map_or(f64::from_bits(MISSING), fill);
        self.lanes.resize((index + 1) * BLOCK, start);
        if let Some(lane) = self.lane_of.get_mut(cell) {
            *lane = u32::try_from(index).unwrap_or(NONE);
        }
        index
    }

    /// Turns the lanes of the block into columns; cells that no record has ever given keep theirs.
    pub(crate) fn finish(&mut self, columns: &mut [Column], rows: usize) {
        for (index, cell) in self.cell_of.iter().enumerate() {
            let lanes = self.lanes.get(index * BLOCK..index * BLOCK + rows).unwrap_or_default();
            let Some(column) = columns.get_mut(*cell) else { continue };
            let odd = self.has_odd.get(index) == Some(&true);
            if odd || lanes.iter().any(|lane| lane.to_bits() == MISSING) {
                let base = self.base.get(*cell).cloned().unwrap_or_default();
                let mut list = self.odd.get_mut(index).map(std::mem::take).unwrap_or_default();
                list.resize(rows, Value::Blank);
                for (lane, value) in lanes.iter().zip(&mut list) {
                    match lane.to_bits() {
                        ODD => {}
                        MISSING => value.clone_from(&base),
                        _ => *value = number::value(*lane),
                    }
                }
                // The list of the block before takes the odd values of the next.
                let before = match std::mem::replace(column, Column::Value(list)) {
                    Column::Value(before) => before,
                    _ => self.lists.pop().unwrap_or_default(),
                };
                if let Some(odd) = self.odd.get_mut(index) {
                    *odd = before;
                }
            } else if let Column::Number(list) = column {
                list.clear();
                list.extend_from_slice(lanes);
            } else {
                let mut list = self.numbers.pop().unwrap_or_default();
                list.clear();
                list.extend_from_slice(lanes);
                *column = Column::Number(list);
            }
        }
    }
}

/// The lane that stands for a base value; [`MISSING`] when it is no number.
fn fill(base: &Value) -> f64 {
    match base {
        Value::Number(number) if number.is_finite() => *number,
        _ => f64::from_bits(MISSING),
    }
}
