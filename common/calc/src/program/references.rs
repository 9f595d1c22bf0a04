//! What references lead to, as far as it is known when compiling.

use super::compile::{Compiler, Lower};
use super::lower::{At, unsupported};
use crate::book::Range;
use crate::formula::{Expr, MAX_COLUMN, MAX_ROW};
use crate::functions::{Form, Kind};
use crate::value::Value;

impl Compiler<'_> {
    /// Whether an expression is a reference, wherever it leads.
    pub(super) fn refers(&mut self, expr: &Expr, at: &mut At) -> Lower<bool> {
        Ok(match expr {
            Expr::Call(_, function, args)
                if matches!(function.kind, Kind::Form(Form::Index | Form::Offset)) =>
            {
                self.refers(&args[0], at)?
            }
            expr => self.reference_of(expr, at)?.is_some(),
        })
    }

    /// The range that an expression is evaluated as. What `CHOOSE` gives is a value whether its number is known or not, so that both
    /// count alike.
    pub(super) fn cells_of_expression(&mut self, expr: &Expr, at: &mut At) -> Lower<Option<Range>> {
        match expr {
            Expr::Call(_, function, _) if matches!(function.kind, Kind::Form(Form::Choose)) => Ok(None),
            _ => self.reference_of(expr, at),
        }
    }

    /// The range that an expression refers to, when it is known now.
    pub fn reference_of(&mut self, expr: &Expr, at: &mut At) -> Lower<Option<Range>> {
        match expr {
            Expr::Reference(range) => Ok(Some(*range)),
            Expr::Span(left, right) => {
                let (Some(a), Some(b)) = (self.reference_of(left, at)?, self.reference_of(right, at)?) else {
                    return Ok(None);
                };
                Ok((a.sheet == b.sheet).then(|| Range {
                    sheet: a.sheet,
                    first_row: a.first_row.min(b.first_row),
                    first_column: a.first_column.min(b.first_column),
                    last_row: a.last_row.max(b.last_row),
                    last_column: a.last_column.max(b.last_column),
                }))
            }
            Expr::Call(index, function, args) => match function.kind {
                Kind::Form(Form::Offset) => {
                    self.functions.insert(*index);
                    self.offset_reference(args, at)
                }
                Kind::Form(Form::Index) => self.index_reference(*index, args, at),
                // One of several references, when it is known which.
                Kind::Form(Form::Choose) if self.may_be_array(&args[0], at)? => Ok(None),
                Kind::Form(Form::Choose) => match self.known_number(args.first(), 0.0, at)? {
                    Some(x) if x >= 1.0 && (x as usize) < args.len() => {
                        self.reference_of(&args[x as usize], at)
                    }
                    _ => Ok(None),
                },
                Kind::Form(Form::Indirect) => {
                    self.functions.insert(*index);
                    self.indirect(args, at).map(Some)
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    pub(super) fn indirect(&mut self, args: &[Expr], at: &mut At) -> Lower<Range> {
        let src = self.scalar(&args[0], at)?;
        let text = match self.builder.constant_of(src) {
            Some(Value::Text(text)) => text.clone(),
            _ => return Err(unsupported("INDIRECT with a computed target")),
        };
        self.resolver.reference_text(&text, at.key.0, (at.key.1, at.key.2)).ok_or_else(|| {
            unsupported(&format!("INDIRECT to {text}, which is no reference in this workbook,"))
        })
    }

    /// A number that is known now; an omitted argument is `default`.
    pub fn known_number(&mut self, arg: Option<&Expr>, default: f64, at: &mut At) -> Lower<Option<f64>> {
        match arg {
            None | Some(Expr::Omitted) => Ok(Some(default)),
            Some(expr) => {
                let src = self.scalar(expr, at)?;
                Ok(self.builder.constant_of(src).and_then(|value| value.to_number().ok()))
            }
        }
    }

    pub(super) fn offset_reference(&mut self, args: &[Expr], at: &mut At) -> Lower<Option<Range>> {
        let Some(base) = self.reference_of(&args[0], at)? else {
            return Err(unsupported("OFFSET from a computed reference"));
        };
        let rows = self.known_number(args.get(1), 0.0, at)?;
        let columns = self.known_number(args.get(2), 0.0, at)?;
        let height = self.known_number(args.get(3), f64::from(base.rows()), at)?;
        let width = self.known_number(args.get(4), f64::from(base.columns()), at)?;
        let (Some(rows), Some(columns), Some(height), Some(width)) = (rows, columns, height, width) else {
            return Ok(None);
        };
        let line = |first: u32, shift: f64, length: f64, most: u32| {
            let start = f64::from(first) + shift.trunc();
            let length = length.trunc();
            let (low, high) =
                if length < 0.0 { (start + length + 1.0, start) } else { (start, start + length - 1.0) };
            (length != 0.0 && low >= 0.0 && high <= f64::from(most)).then_some((low as u32, high as u32))
        };
        let r = line(base.first_row, rows, height, MAX_ROW);
        let c = line(base.first_column, columns, width, MAX_COLUMN);
        let (Some((first_row, last_row)), Some((first_column, last_column))) = (r, c) else {
            return Err(unsupported("OFFSET beyond the sheet"));
        };
        Ok(Some(Range { sheet: base.sheet, first_row, first_column, last_row, last_column }))
    }

    /// `INDEX` into a reference with a known row and column.
    pub(super) fn index_reference(&mut self, index: u16, args: &[Expr], at: &mut At) -> Lower<Option<Range>> {
        let Expr::Reference(base) = &args[0] else { return Ok(None) };
        let base = *base;
        if self.any_array(&args[1..], at)? {
            return Ok(None);
        }
        let first = self.known_number(args.get(1), 0.0, at)?;
        let second = self.known_number(args.get(2), 0.0, at)?;
        let (Some(first), Some(second)) = (first, second) else { return Ok(None) };
        let (row, column) = if args.len() == 2 && base.rows() == 1 && base.columns() > 1 {
            (1.0, first)
        } else {
            (first, second)
        };
        let column = if args.len() == 2 && base.columns() == 1 { 1.0 } else { column };
        let line = |place: f64, low: u32, high: u32| {
            let place = place.trunc();
            if place == 0.0 {
                return Some((low, high));
            }
            let length = f64::from(high - low + 1);
            (place >= 1.0 && place <= length).then(|| (low + place as u32 - 1, low + place as u32 - 1))
        };
        let (Some(r), Some(c)) =
            (line(row, base.first_row, base.last_row), line(column, base.first_column, base.last_column))
        else {
            return Ok(None);
        };
        self.functions.insert(index);
        Ok(Some(Range {
            sheet: base.sheet,
            first_row: r.0,
            first_column: c.0,
            last_row: r.1,
            last_column: c.1,
        }))
    }
}
