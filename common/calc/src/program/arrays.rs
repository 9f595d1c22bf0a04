//! Functions that only rearrange arrays, functions whose results are arrays, and the aggregations that leave out cells.

use super::compile::{Compiler, Lower, cells_of};
use super::graph::{Array, Op, Operand, Src};
use super::lower::{At, Mode, Shape, unsupported};
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
        for (i, arg) in args.iter().enumerate() {
            let shape = if function.takes_array(i) {
                self.any(arg, at)?
            } else {
                self.argument(arg, at, Mode::Scalar)?
            };
            operands.push(match shape {
                Shape::Src(src) => Operand::Src(src),
                Shape::Array(array) => Operand::Array(array),
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
            Extent::Unknown => {
                return Err(unsupported(&format!(
                    "{} with a size that depends on the inputs",
                    function.name
                )));
            }
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
        if let [single] = items.as_slice() {
            return Ok(Shape::Src(*single));
        }
        Ok(Shape::Array(self.builder.array(rows, columns, items)?))
    }

    /// `HSTACK` and its kin.
    pub(super) fn rearrange(&mut self, form: Form, args: &[Expr], at: &mut At) -> Lower<Shape> {
        match form {
            Form::HStack | Form::VStack => {
                let mut arrays = Vec::with_capacity(args.len());
                for arg in args {
                    arrays.push(self.array_argument(arg, at)?);
                }
                return self.stack(&arrays, form == Form::HStack);
            }
            _ => {}
        }
        let array = self.array_argument(&args[0], at)?;
        let (rows, columns) = self.builder.shape(array);
        let mut places = Vec::new();
        for arg in &args[1..] {
            let known = self.known_number(Some(arg), f64::NAN, at)?;
            places.push(known.ok_or_else(|| unsupported("a part of an array that depends on the inputs"))?);
        }
        let all = |n: usize| (0..n).collect::<Vec<usize>>();
        let refused = |c: &mut Self, e: ErrorValue| Ok(Shape::Src(c.builder.constant(e.into())));
        match form {
            Form::ChooseColumns | Form::ChooseRows => {
                let across = form == Form::ChooseColumns;
                let count = if across { columns } else { rows };
                let chosen: Option<Vec<usize>> = places.iter().map(|x| from_either_end(*x, count)).collect();
                match chosen {
                    None => refused(self, ErrorValue::Value),
                    Some(list) if across => self.part(array, &all(rows), &list),
                    Some(list) => self.part(array, &list, &all(columns)),
                }
            }
            Form::Take | Form::Drop => {
                let take = form == Form::Take;
                let r = kept(rows, places.first().copied(), take);
                let c = kept(columns, places.get(1).copied(), take);
                if r.is_empty() || c.is_empty() {
                    return refused(self, ErrorValue::Calc);
                }
                self.part(array, &r, &c)
            }
            Form::ToColumn | Form::ToRow => {
                let number = |i: usize| places.get(i).copied().filter(|x| !x.is_nan()).unwrap_or(0.0);
                if number(0) != 0.0 {
                    return Err(unsupported("TOCOL or TOROW that leaves out values"));
                }
                let mut items = self.items(array);
                if number(1) != 0.0 {
                    let by_column = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c));
                    items = by_column.map(|i| items[i]).collect();
                }
                let n = items.len();
                let (rows, columns) = if form == Form::ToColumn { (n, 1) } else { (1, n) };
                Ok(Shape::Array(self.builder.array(rows, columns, items)?))
            }
            Form::WrapColumns | Form::WrapRows => {
                let items = self.items(array);
                let length = places[0].trunc();
                if (rows > 1 && columns > 1) || args.len() > 2 || length.is_nan() {
                    return refused(self, ErrorValue::Value);
                }
                if length < 1.0 {
                    return refused(self, ErrorValue::Num);
                }
                let length = (length as usize).min(items.len());
                let lines = items.len().div_ceil(length);
                let missing = self.builder.constant(ErrorValue::NA.into());
                let at = |line: usize, i: usize| items.get(line * length + i).copied().unwrap_or(missing);
                if form == Form::WrapRows {
                    let items = (0..lines * length).map(|k| at(k / length, k % length)).collect();
                    return Ok(Shape::Array(self.builder.array(lines, length, items)?));
                }
                let items = (0..lines * length).map(|k| at(k % lines, k / lines)).collect();
                Ok(Shape::Array(self.builder.array(length, lines, items)?))
            }
            _ => Err(unsupported("this function")),
        }
    }

    fn stack(&mut self, arrays: &[u32], across: bool) -> Lower<Shape> {
        let shapes: Vec<(usize, usize)> = arrays.iter().map(|array| self.builder.shape(*array)).collect();
        let along: usize = shapes.iter().map(|s| if across { s.1 } else { s.0 }).sum();
        let other = shapes.iter().map(|s| if across { s.0 } else { s.1 }).max().unwrap_or(0);
        let (rows, columns) = if across { (other, along) } else { (along, other) };
        if rows.saturating_mul(columns) > ITEMS {
            return Err(unsupported("a stack of this size"));
        }
        let missing = self.builder.constant(ErrorValue::NA.into());
        let mut items = vec![missing; rows * columns];
        let mut start = 0;
        for (array, (r, c)) in arrays.iter().zip(shapes) {
            for row in 0..r {
                for column in 0..c {
                    let place = if across {
                        row * columns + start + column
                    } else {
                        (start + row) * columns + column
                    };
                    items[place] = self.builder.item(*array, row, column);
                }
            }
            start += if across { c } else { r };
        }
        Ok(Shape::Array(self.builder.array(rows, columns, items)?))
    }

    fn part(&mut self, array: u32, rows: &[usize], columns: &[usize]) -> Lower<Shape> {
        let mut items = Vec::with_capacity(rows.len() * columns.len());
        for row in rows {
            for column in columns {
                items.push(self.builder.item(array, *row, *column));
            }
        }
        Ok(Shape::Array(self.builder.array(rows.len(), columns.len(), items)?))
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

/// A one-based place, counted from the end when negative, as an offset.
fn from_either_end(x: f64, count: usize) -> Option<usize> {
    let x = x.trunc();
    let place = if x < 0.0 { count as f64 + x } else { x - 1.0 };
    (x != 0.0 && place >= 0.0 && place < count as f64).then_some(place as usize)
}

/// The lines that `TAKE` keeps, or those that `DROP` leaves; negative counts start at the end.
fn kept(count: usize, wanted: Option<f64>, take: bool) -> Vec<usize> {
    let Some(wanted) = wanted.filter(|x| !x.is_nan()).map(f64::trunc) else { return (0..count).collect() };
    let n = (wanted.abs() as usize).min(count);
    match (take, wanted < 0.0) {
        (true, false) => (0..n).collect(),
        (true, true) => (count - n..count).collect(),
        (false, false) => (n..count).collect(),
        (false, true) => (0..count - n).collect(),
    }
}
