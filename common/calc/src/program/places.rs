//! Typing of look-ups: places of keys in tables, and values at places.

use super::graph::{Op, Operand, Src};
use super::lanes::Num;
use super::schedule::Rectangle;
use super::steps::{Kind, Step};
use super::typing::Builder;
use crate::formula::Binary;
use crate::value::Value;

impl Builder<'_> {
    pub(super) fn position(&mut self, op: Op, key: Src, operands: &[Operand], target: u32) -> Option<Kind> {
        let (Op::Position(search), Src::Node(key)) = (op, key) else { return None };
        let Some(Operand::Array(table)) = operands.get(1).copied() else { return None };
        let Rectangle::Constant(values) = &self.schedule.arrays[table as usize] else { return None };
        let step = match self.kinds[key as usize] {
            Kind::Boolean => return None,
            Kind::Value => Step::PlaceText { search, values: self.values(key), table, target },
            Kind::Number => match values.index().series() {
                Some(first) if search.is_plain() => {
                    Step::PlaceInSeries { key, first, count: values.values.len() as f64, target }
                }
                _ => Step::Place { search, key, table, target },
            },
        };
        Some(self.push(step, Kind::Number))
    }

    pub(super) fn pick(&mut self, operands: &[Operand], row: Src, column: Src, target: u32) -> Option<Kind> {
        let Some(Operand::Array(table)) = operands.first().copied() else { return None };
        let Rectangle::Constant(values) = &self.schedule.arrays[table as usize] else { return None };
        if values.padded.is_some() {
            let (row, column) = (self.num(row), self.num(column));
            let places = match (row, column) {
                (Num::Lanes(places), Num::Constant(1.0)) if values.columns == 1 => Some(places),
                (Num::Constant(1.0), Num::Lanes(places)) if values.rows == 1 => Some(places),
                _ => None,
            };
            if let Some(places) = places
                && values.short.is_some()
            {
                let count = values.values.len() as u8;
                let slots = self.slots(places, count);
                return Some(self.push(Step::PickSlot { table, places, slots, target }, Kind::Number));
            }
            return Some(self.push(Step::Pick { table, row, column, target }, Kind::Number));
        }
        // Text of a single line, by a computed place along it.
        let one = |src: Src| matches!(src, Src::Const(index) if *self.constant(index) == Value::Number(1.0));
        let places = match (row, column) {
            (places, other) if values.columns == 1 && one(other) => places,
            (other, places) if values.rows == 1 && one(other) => places,
            _ => return None,
        };
        let Num::Lanes(places) = self.num(places) else { return None };
        Some(self.push(Step::PickValues { table, places, target }, Kind::Value))
    }

    pub(super) fn count_where(
        &mut self,
        relation: Binary,
        operands: &[Operand],
        key: u32,
        target: u32,
    ) -> Option<Kind> {
        let Some(Operand::Array(table)) = operands.first().copied() else { return None };
        let Rectangle::Constant(values) = &self.schedule.arrays[table as usize] else { return None };
        let fits = values.padded.is_some() && self.kinds[key as usize] == Kind::Number;
        fits.then(|| self.push(Step::CountWhere { relation, key, table, target }, Kind::Number))
    }

    /// The slots of places: those made for an earlier look-up, while the places are the same.
    fn slots(&mut self, places: u32, count: u8) -> u32 {
        let kept = (places as usize) < self.schedule.registers;
        if let Some(slots) = self.slots.get(&(places, count)).filter(|_| kept) {
            return *slots;
        }
        let slots = self.unused_slots.pop().unwrap_or_else(|| {
            self.typed.slots += 1;
            self.typed.slots as u32 - 1
        });
        self.typed.steps.push(Step::Slots { places, count, slots });
        if kept {
            self.slots.insert((places, count), slots);
        } else {
            self.unused_slots.push(slots);
        }
        slots
    }
}
