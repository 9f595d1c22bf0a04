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

/// Lanes for the cells that records give; the other cells stay constants.
pub(crate) struct Lanes {
    /// The value of every input cell that a record does not give: parameter or default.
    pub base: Vec<Value>,
    lane_of: Vec<u32>,
    cell_of: Vec<usize>,
    lanes: Vec<f64>,
    odd: Vec<(u32, u32, Value)>,
    has_odd: Vec<bool>,
}

impl Lanes {
    /// Lanes over these base values, none in use yet.
    pub(crate) fn new(base: Vec<Value>) -> Self {
        Self {
            lane_of: vec![NONE; base.len()],
            base,
            cell_of: Vec::new(),
            lanes: Vec::new(),
            odd: Vec::new(),
            has_odd: Vec::new(),
        }
    }

    /// How many records the next block may have: fewer when very many cells are in use.
    pub(crate) fn block(&self) -> usize {
        (LANES / self.cell_of.len().max(1)).clamp(1, BLOCK)
    }

    /// Fills the lanes with the base values, for a new block.
    pub(crate) fn start(&mut self) {
        self.odd.clear();
        self.has_odd.fill(false);
        for (lane, cell) in self.lanes.chunks_mut(BLOCK).zip(&self.cell_of) {
            lane.fill(self.base.get(*cell).map_or(f64::from_bits(MISSING), fill));
        }
    }

    /// Puts a number (or the lane of an error value) in place.
    #[inline]
    pub(crate) fn set(&mut self, cell: usize, row: usize, lane: f64) {
        let index = match self.lane_of.get(cell) {
            Some(&NONE) | None => self.activate(cell),
            Some(index) => *index as usize,
        };
        if let Some(place) = self.lanes.get_mut(index * BLOCK + row) {
            *place = lane;
        }
    }

    /// Puts any value in place.
    pub(crate) fn set_odd(&mut self, cell: usize, row: usize, value: Value) {
        if let Value::Number(number) = value {
            return self.set(cell, row, number);
        }
        self.set(cell, row, f64::from_bits(ODD));
        let index = self.lane_of.get(cell).copied().unwrap_or(NONE);
        if let Some(has) = self.has_odd.get_mut(index as usize) {
            *has = true;
        }
        self.odd.push((index, u32::try_from(row).unwrap_or(NONE), value));
    }

    /// Gives a cell its lane, when the first record supplies it.
    #[cold]
    fn activate(&mut self, cell: usize) -> usize {
        let index = self.cell_of.len();
        self.cell_of.push(cell);
        self.has_odd.push(false);
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
                // The list of the block before, when there is one.
                let mut list = match std::mem::take(column) {
                    Column::Value(list) => list,
                    _ => Vec::with_capacity(rows),
                };
                list.clear();
                list.extend(lanes.iter().map(|lane| match lane.to_bits() {
                    MISSING => base.clone(),
                    ODD => Value::Blank,
                    _ => number::value(*lane),
                }));
                *column = Column::Value(list);
            } else if let Column::Number(list) = column {
                list.clear();
                list.extend_from_slice(lanes);
            } else {
                *column = Column::Number(lanes.to_vec());
            }
        }
        for (lane, row, value) in self.odd.drain(..) {
            let (lane, row) = (lane as usize, row as usize);
            // A later number in the same place has overwritten the mark.
            let kept = self.lanes.get(lane * BLOCK + row).is_some_and(|place| place.to_bits() == ODD);
            let cell = self.cell_of.get(lane).filter(|_| kept);
            if let Some(Column::Value(list)) = cell.and_then(|cell| columns.get_mut(*cell))
                && let Some(place) = list.get_mut(row)
            {
                *place = value;
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
