//! Aggregates over the records of one chunk (contract 2.6).

use serde_json::Value as Json;

use super::layout::Layout;
use super::write::{self, text};
use crate::program::Column;
use crate::value::{ErrorValue, Value};

/// What to do with the numbers of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Sum,
    Average,
    Min,
    Max,
    Count,
    CountA,
    Product,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "SUM" => Self::Sum,
            "AVERAGE" => Self::Average,
            "MIN" => Self::Min,
            "MAX" => Self::Max,
            "COUNT" => Self::Count,
            "COUNTA" => Self::CountA,
            "PRODUCT" => Self::Product,
            _ => return None,
        })
    }
}

/// One column of the summary.
#[derive(Debug)]
struct Aggregate {
    /// `total_SUM`.
    label: String,
    operator: Operator,
    /// The output, or `None` for a name that no output has.
    output: Option<usize>,
    /// Sum, product, least or greatest number so far.
    value: f64,
    numbers: u64,
    filled: u64,
    skipped: u64,
    error: Option<ErrorValue>,
}

/// A chunk's summary request, and its state while the records pass.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    aggregates: Vec<Aggregate>,
    mistakes: Vec<String>,
    ignore_error: bool,
    /// Whether the records are wanted in full beside the aggregates.
    pub return_all_records: bool,
}

impl Summary {
    /// Reads a `summary` object. Mistakes are kept for `summary_errors`; they never fail the records.
    /// `allowed` tells which outputs exist for this caller.
    pub(crate) fn parse(raw: Option<&[u8]>, layout: &Layout, allowed: impl Fn(usize) -> bool) -> Self {
        let mut summary = Self::default();
        let Some(Ok(Json::Object(request))) = raw.map(serde_json::from_slice::<Json>) else { return summary };
        for (name, flag) in [
            ("ignore_error", &mut summary.ignore_error),
            ("return_all_records", &mut summary.return_all_records),
        ] {
            match request.get(name) {
                None | Some(Json::Null) => {}
                Some(Json::Bool(value)) => *flag = *value,
                Some(_) => summary.mistakes.push(format!("summary.{name} must be true or false")),
            }
        }
        match request.get("aggregation") {
            None if request.is_empty() => {}
            None => summary.mistakes.push("summary.aggregation is missing".to_owned()),
            Some(Json::Null) => {}
            Some(Json::Array(entries)) => {
                for (index, entry) in entries.iter().enumerate() {
                    match aggregate(entry, layout, &allowed) {
                        Ok(aggregate) => summary.aggregates.push(aggregate),
                        Err(mistake) => {
                            summary.mistakes.push(format!("summary.aggregation[{index}]: {mistake}"))
                        }
                    }
                }
            }
            Some(_) => summary.mistakes.push("summary.aggregation must be a list".to_owned()),
        }
        if !summary.mistakes.is_empty() {
            summary.aggregates.clear();
        }
        summary
    }

    /// Whether there is anything to aggregate.
    pub(crate) const fn is_active(&self) -> bool {
        !self.aggregates.is_empty()
    }

    /// The outputs that are aggregated.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = usize> + '_ {
        self.aggregates.iter().filter_map(|aggregate| aggregate.output)
    }

    /// Takes a block in. `columns` answers the columns of an output.
    pub(crate) fn add<'c>(&mut self, rows: usize, columns: impl Fn(usize) -> &'c [Column]) {
        for aggregate in &mut self.aggregates {
            let Some(output) = aggregate.output else { continue };
            let columns = columns(output);
            if let ([Column::Number(lanes)], Operator::Sum, true) =
                (columns, aggregate.operator, aggregate.error.is_none())
                && lanes.iter().take(rows).all(|lane| lane.is_finite())
            {
                // The common case, with the same order of additions as below.
                for lane in lanes.iter().take(rows) {
                    aggregate.value += lane;
                }
                aggregate.numbers += rows as u64;
                aggregate.filled += rows as u64;
                continue;
            }
            for row in 0..rows {
                for column in columns {
                    aggregate.take(&column.get(row), self.ignore_error);
                }
            }
        }
    }

    /// Appends `summary_output` and `summary_errors`. `records` is how many were evaluated.
    pub(crate) fn write(&self, records: u32, output: &mut Vec<u8>, errors: &mut Vec<u8>) {
        let mut list: Vec<Vec<u8>> =
            self.mistakes.iter().map(|mistake| super::layout::json(mistake)).collect();
        output.extend_from_slice(b"[[");
        if self.is_active() && records > 0 {
            let mut values = Vec::new();
            output.push(b'[');
            for (index, aggregate) in self.aggregates.iter().enumerate() {
                if index > 0 {
                    output.push(b',');
                    values.push(b',');
                }
                text(&aggregate.label, output);
                if let Some(error) = aggregate.write(&mut values) {
                    list.push(error);
                }
            }
            output.extend_from_slice(b"],[");
            output.extend_from_slice(&values);
            output.push(b']');
        }
        output.extend_from_slice(b"]]");
        errors.extend_from_slice(b"[[");
        errors.extend_from_slice(&list.join(&b','));
        errors.extend_from_slice(b"]]");
    }
}

fn aggregate(entry: &Json, layout: &Layout, allowed: impl Fn(usize) -> bool) -> Result<Aggregate, String> {
    let Json::Object(entry) = entry else {
        return Err("must be an object with output_name and operator".to_owned());
    };
    let field = |name: &str| match entry.get(name) {
        Some(Json::String(value)) if !value.is_empty() => Ok(value.as_str()),
        None | Some(Json::Null) => Err(format!("{name} is missing")),
        Some(_) => Err(format!("{name} must be text")),
    };
    let (name, operator) = (field("output_name")?, field("operator")?);
    let known = Operator::parse(operator).ok_or_else(|| {
        format!("the operator {operator:?} is none of SUM, AVERAGE, MIN, MAX, COUNT, COUNTA, PRODUCT")
    })?;
    let output = layout.output(name, allowed);
    Ok(Aggregate {
        label: format!("{name}_{}", operator.to_ascii_uppercase()),
        operator: known,
        output,
        value: if known == Operator::Product { 1.0 } else { 0.0 },
        numbers: 0,
        filled: 0,
        skipped: 0,
        error: None,
    })
}

impl Aggregate {
    fn take(&mut self, value: &Value, ignore_error: bool) {
        match value {
            Value::Error(error) => {
                if ignore_error {
                    self.skipped += 1;
                } else {
                    self.error.get_or_insert(*error);
                }
            }
            Value::Number(number) => {
                self.value = match self.operator {
                    Operator::Product => self.value * number,
                    Operator::Min if self.numbers > 0 => self.value.min(*number),
                    Operator::Max if self.numbers > 0 => self.value.max(*number),
                    Operator::Min | Operator::Max => *number,
                    _ => self.value + number,
                };
                self.numbers += 1;
                self.filled += 1;
            }
            // As in Excel's SUM over a range, text and booleans do not count as numbers.
            Value::Text(_) | Value::Boolean(_) => self.filled += 1,
            Value::Blank => {}
        }
    }

    /// Appends the value; answers an entry for `summary_errors` if there is one.
    fn write(&self, out: &mut Vec<u8>) -> Option<Vec<u8>> {
        if self.output.is_none() {
            text(ErrorValue::NA.as_str(), out);
            let mut entry = b"{\"output_name\":".to_vec();
            text(&self.label, &mut entry);
            entry.extend_from_slice(b",\"error\":");
            text("no output of this service has this name", &mut entry);
            entry.push(b'}');
            return Some(entry);
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of records stay far below 2^53")]
        let (numbers, filled) = (self.numbers as f64, self.filled as f64);
        if let Some(error) = self.error {
            return Some(self.fault(error, &format!("a record has the error {error}"), out));
        }
        if self.skipped > 0 && self.filled == 0 {
            out.extend_from_slice(b"null");
            return None;
        }
        let value = match self.operator {
            Operator::Count => numbers,
            Operator::CountA => filled,
            Operator::Average if self.numbers == 0 => {
                return Some(self.fault(ErrorValue::Div0, "no record has a number", out));
            }
            Operator::Average => self.value / numbers,
            Operator::Product if self.numbers == 0 => 0.0,
            _ => self.value,
        };
        if !value.is_finite() {
            return Some(self.fault(ErrorValue::Num, "the result is too large for a number", out));
        }
        write::number(value, out);
        None
    }

    /// Appends an error value as the result; answers its entry for `summary_errors`.
    fn fault(&self, error: ErrorValue, why: &str, out: &mut Vec<u8>) -> Vec<u8> {
        text(error.as_str(), out);
        super::layout::json(&format!("{}: {why}", self.label))
    }
}
