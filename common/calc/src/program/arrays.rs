//! Functions that only rearrange arrays, functions whose results are arrays, and the aggregations that leave out cells.

use super::arrange::{Arranged, arranged, stacked};
use super::compile::{Compiler, Lower, cells_of};
use super::graph::{Array, Op, Operand, Src};
use super::lower::{At, Mode, Shape, unsupported};
use super::varying::any_varies;
use crate::book::Range;
use crate::formula::Expr;
use crate::functions::{self, Extent, Form, FunctionInfo, Known};
use crate::value::{ErrorValue, Value};

/// Items that a function may compute one by one.
const ITEMS: usize = 100_000;

impl Compiler<'_> {
    /// A function whose result is an array: an operation for each item.
    pub(super) fn matrix(
        &mut self,
        index: u16,
        function: &'static FunctionInfo,
        size: fn(&[Known<'_>]) -> Extent,
        args: &[Expr],
        at: &mut At,
        mode: Mode,
    ) -> Lower<Shape> {
        let mut operands = Vec::with_capacity(args.len() + 2);
        let mut shapes = Vec::with_capacity(args.len());
        for (i, arg) in args.iter().enumerate() {
            shapes.push(if function.takes_array(i) {
                self.any(arg, at)?
            } else {
                self.argument(arg, at, Mode::Scalar)?
            });
        }
        for shape in &shapes {
            operands.push(match shape {
                Shape::Src(src) => Operand::Src(*src),
                Shape::Array(array) => Operand::Array(*array),
                Shape::Varying(_) => return Ok(self.varying_call(index, &shapes)),
                Shape::Omitted => Operand::Omitted,
            });
        }
        let known: Vec<Known<'_>> = operands
            .iter()
            .map(|operand| match operand {
                Operand::Omitted => Known::Omitted,
                Operand::Src(src) => Known::Value(self.builder.constant_of(*src)),
                Operand::Array(array) => match &self.builder.graph.arrays[*array as usize] {
                    Array::Constant(table) => {
                        Known::Array { rows: table.rows, columns: table.columns, items: Some(&table.values) }
                    }
                    Array::Mixed { rows, columns, .. } => {
                        Known::Array { rows: *rows, columns: *columns, items: None }
                    }
                },
            })
            .collect();
        let (rows, columns) = match size(&known) {
            Extent::Of(rows, columns) => (rows, columns),
            Extent::Error(e) => return Ok(Shape::Src(self.builder.constant(e.into()))),
            Extent::Unknown => return Ok(self.varying_call(index, &shapes)),
        };
        let (rows, columns) = if mode == Mode::Scalar { (1, 1) } else { (rows, columns) };
        if rows.saturating_mul(columns) > ITEMS {
            return Err(unsupported(&format!("{} of this size", function.name)));
        }
        let mut items = Vec::with_capacity(rows * columns);
        let count = operands.len();
        for row in 0..rows {
            for column in 0..columns {
                operands.truncate(count);
                for place in [row, column] {
                    operands.push(Operand::Src(self.builder.number(place as f64)));
                }
                items.push(self.builder.add(Op::Call(index), &operands)?);
            }
        }
        match items.as_slice() {
            [single] if mode == Mode::Scalar => Ok(Shape::Src(*single)),
            _ => Ok(Shape::Array(self.builder.array(rows, columns, items)?)),
        }
    }

    /// `HSTACK` and its kin.
    pub(super) fn rearrange(&mut self, form: Form, args: &[Expr], at: &mut At) -> Lower<Shape> {
        if matches!(form, Form::HStack | Form::VStack) {
            let shapes: Lower<Vec<Shape>> = args.iter().map(|arg| self.any(arg, at)).collect();
            return self.stack(&shapes?, form == Form::HStack);
        }
        let array = self.any(&args[0], at)?;
        let (mut told, mut numbers) = (Vec::new(), Vec::new());
        for arg in &args[1..] {
            let shape = self.argument(arg, at, Mode::Scalar)?;
            numbers.push(match shape {
                Shape::Src(src) => self.builder.constant_of(src).and_then(|value| value.to_number().ok()),
                _ => Some(f64::NAN),
            });
            told.push(shape);
        }
        if matches!(form, Form::ToColumn | Form::ToRow)
            && numbers.first().is_some_and(|x| x.is_none_or(|x| !x.is_nan() && x != 0.0))
        {
            return Err(unsupported("TOCOL or TOROW that leaves out values"));
        }
        let numbers: Option<Vec<f64>> = numbers.into_iter().collect();
        let (Some(numbers), false) = (numbers, any_varies(&[array])) else {
            return Ok(self.varying_arrangement(form, array, &told));
        };
        let array = self.array_argument(&args[0], at)?;
        match arranged(form, self.builder.shape(array), &numbers) {
            Err(e) => Ok(Shape::Src(self.builder.constant(e.into()))),
            Ok(Arranged { rows, columns, from }) => {
                let items = self.items(array);
                let missing = self.builder.constant(ErrorValue::NA.into());
                let items = from.into_iter().map(|from| from.map_or(missing, |i| items[i])).collect();
                Ok(Shape::Array(self.builder.array(rows, columns, items)?))
            }
        }
    }

    fn stack(&mut self, shapes: &[Shape], across: bool) -> Lower<Shape> {
        if any_varies(shapes) {
            return Ok(self.varying_stack(across, shapes));
        }
        let (mut sizes, mut lists) = (Vec::new(), Vec::new());
        for shape in shapes {
            match shape {
                Shape::Array(array) => {
                    sizes.push(self.builder.shape(*array));
                    lists.push(self.items(*array));
                }
                single => {
                    sizes.push((1, 1));
                    lists.push(vec![self.first(*single)?]);
                }
            }
        }
        let Some((rows, columns, from)) = stacked(&sizes, across, ITEMS) else {
            return Err(unsupported("a stack of this size"));
        };
        let missing = self.builder.constant(ErrorValue::NA.into());
        let items = from.into_iter().map(|from| from.map_or(missing, |(array, i)| lists[array][i])).collect();
        Ok(Shape::Array(self.builder.array(rows, columns, items)?))
    }

    /// `SUBTOTAL` and `AGGREGATE`. Source: Microsoft's descriptions: other subtotals in the ranges do not count, nor do hidden
    /// rows and errors, as the number of the function or the options say.
    pub(super) fn aggregate(&mut self, subtotal: bool, args: &[Expr], at: &mut At) -> Lower<Shape> {
        let computed = || unsupported("SUBTOTAL or AGGREGATE with a function that depends on the inputs");
        let code = self.known_number(args.first(), 0.0, at)?.ok_or_else(computed)?.trunc();
        let options =
            if subtotal { 0.0 } else { self.known_number(args.get(1), 0.0, at)?.ok_or_else(computed)? };
        let (code, hidden) = if subtotal && code > 100.0 { (code - 100.0, true) } else { (code, false) };
        let most = if subtotal { 11.0 } else { 19.0 };
        if !(1.0..=most).contains(&code) || !(0.0..8.0).contains(&options) {
            return Ok(Shape::Src(self.builder.constant(ErrorValue::Value.into())));
        }
        let options = options as u8;
        let skips = Skips {
            nested: subtotal || options < 4,
            hidden: hidden || (!subtotal && options % 4 % 2 == 1),
            filtered: subtotal,
            errors: !subtotal && options % 4 >= 2,
        };
        const NAMES: [&str; 19] = [
            "AVERAGE",
            "COUNT",
            "COUNTA",
            "MAX",
            "MIN",
            "PRODUCT",
            "STDEV.S",
            "STDEV.P",
            "SUM",
            "VAR.S",
            "VAR.P",
            "MEDIAN",
            "MODE.SNGL",
            "LARGE",
            "SMALL",
            "PERCENTILE.INC",
            "QUARTILE.INC",
            "PERCENTILE.EXC",
            "QUARTILE.EXC",
        ];
        let (index, _) = functions::find(NAMES[code as usize - 1]).ok_or_else(computed)?;
        let ranges = if subtotal { &args[1..] } else { &args[2..] };
        let (ranges, place) = match ranges {
            [range, k] if code >= 14.0 => (std::slice::from_ref(range), Some(k)),
            _ if code >= 14.0 => return Ok(Shape::Src(self.builder.constant(ErrorValue::Value.into()))),
            all => (all, None),
        };
        let mut items = Vec::new();
        for arg in ranges {
            let areas = match arg {
                Expr::Areas(list) => list.clone(),
                _ => self.reference_of(arg, at)?.into_iter().collect(),
            };
            if areas.is_empty() {
                if subtotal {
                    return Ok(Shape::Src(self.builder.constant(ErrorValue::Value.into())));
                }
                let array = self.array_argument(arg, at)?;
                items.extend(self.items(array));
            }
            for area in areas {
                self.counted(area, &skips, &mut items)?;
            }
        }
        let blank = self.builder.constant(Value::Blank);
        if skips.errors {
            for item in &mut items {
                *item = self.builder.add_src(Op::IfError, &[*item, blank])?;
            }
        }
        if items.is_empty() {
            items.push(blank);
        }
        let array = self.builder.array(items.len(), 1, items)?;
        let mut operands = vec![Operand::Array(array)];
        if let Some(place) = place {
            operands.push(Operand::Src(self.scalar(place, at)?));
        }
        Ok(Shape::Src(self.builder.add(Op::Call(index), &operands)?))
    }

    /// The cells of a range that count.
    fn counted(&mut self, range: Range, skips: &Skips, items: &mut Vec<Src>) -> Lower<()> {
        // This compiles the formulas in the range first.
        self.range(range)?;
        let range = self.resolver.clip(range);
        let book = self.book;
        let Some(sheet) = book.sheets.get(range.sheet as usize) else { return Ok(()) };
        for key in cells_of(&range) {
            let filtered = sheet.filter.is_some_and(|f| (f.first_row..=f.last_row).contains(&key.1));
            if sheet.hidden_rows.contains(&key.1) && (skips.hidden || (skips.filtered && filtered)) {
                continue;
            }
            let nested = || {
                let text = sheet.cells.get(&(key.1, key.2)).and_then(|cell| cell.formula.as_deref());
                text.map(str::to_ascii_uppercase)
                    .is_some_and(|text| text.contains("SUBTOTAL(") || text.contains("AGGREGATE("))
            };
            if skips.nested && nested() {
                continue;
            }
            items.push(self.cell(key)?);
        }
        Ok(())
    }
}

/// What an aggregation leaves out.
struct Skips {
    nested: bool,
    hidden: bool,
    /// Rows that a filter hides.
    filtered: bool,
    errors: bool,
}
