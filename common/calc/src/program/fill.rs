//! Array formulas: what they fill their cells with.

use super::compile::{Compiler, Lower};
use super::graph::Src;
use super::lower::{At, Mode, Shape, unsupported};
use crate::formula::Expr;

impl Compiler<'_> {
    /// The value at a row and column of the area of an array formula. A fixed area takes what the formula gives as it is: single
    /// values, rows and columns are repeated, and beyond the end is `#N/A`. The area of a dynamic array follows the size of the
    /// result, so that size must be known, and be that of the area.
    pub(super) fn filled(
        &mut self,
        (array, row, column): (u32, usize, usize),
        expr: &Expr,
        at: &mut At,
    ) -> Lower<Src> {
        let shape = match self.filled.get(&array) {
            Some(known) if self.assumed.is_empty() => *known,
            _ => {
                let shape = self.argument(expr, at, Mode::Array)?;
                if self.assumed.is_empty() {
                    self.filled.insert(array, shape);
                }
                shape
            }
        };
        let formula = &self.book.arrays[array as usize];
        let area = (formula.area.rows() as usize, formula.area.columns() as usize);
        let size = match shape {
            Shape::Array(array) => Some(self.builder.shape(array)),
            Shape::Varying(_) => None,
            Shape::Src(_) | Shape::Omitted => Some((1, 1)),
        };
        if formula.dynamic && size != Some(area) {
            return Err(unsupported(
                "an array formula whose result has another size than its cells, or one that depends on the inputs,",
            ));
        }
        match shape {
            Shape::Varying(_) if area != (1, 1) => {
                Err(unsupported("an array formula over several cells whose size depends on the inputs"))
            }
            Shape::Array(_) => self.item_of(shape, row, column),
            _ => self.first(shape),
        }
    }
}
