//! Reading one worksheet, cell by cell.
//!
//! The reader keeps a hash of the cells that hold something and never an area, so one cell at `XFD1048576` costs one cell.
//! Library readers that allocate by counts found in the file (`uniqueCount`, `si`) are avoided for the same reason.

use std::sync::Arc;

use quick_xml::events::{BytesStart, Event};
use rustc_hash::FxHashMap;

use super::reference::{parse_area, parse_cell};
use super::xml::{Xml, attribute, flag, unescape_excel};
use crate::book::{Cell, Range, Sheet};
use crate::functions::serial;
use crate::interface::{Validation, cell_address};
use crate::limits::Limits;
use crate::load::LoadError;
use crate::value::{ErrorValue, Value};

/// What a worksheet part holds beside its cells.
#[derive(Default)]
pub(super) struct Worksheet {
    pub sheet: Sheet,
    pub formulas: u32,
    /// Cells computed by array formulas and data tables.
    pub arrays: Vec<Array>,
    pub merged: Vec<Range>,
    pub validations: Vec<(Vec<Range>, Validation)>,
}

/// An area that one formula fills.
pub(super) struct Array {
    pub area: Range,
    /// `an array formula` or `a what-if data table`.
    pub construct: &'static str,
    pub formula: String,
    /// For array formulas: whether the area follows the size of the result.
    pub dynamic: Option<bool>,
}

/// What is left of the limits on cells and formulas, over all sheets.
pub(super) struct Budget<'a> {
    pub limits: &'a Limits,
    pub cells: usize,
    pub formulas: usize,
}

/// Reads a worksheet part. `index` becomes the sheet of every range.
pub(super) fn worksheet(
    text: &str,
    name: &str,
    index: u32,
    strings: &[Arc<str>],
    budget: &mut Budget<'_>,
) -> Result<Worksheet, LoadError> {
    let mut reader = SheetReader {
        xml: Xml::new(text, name),
        name,
        index,
        strings,
        shared: FxHashMap::default(),
        sheet: Worksheet {
            sheet: Sheet { name: name.to_owned(), ..Sheet::default() },
            ..Worksheet::default()
        },
        validated: 0,
    };
    reader.read(budget)?;
    Ok(reader.sheet)
}

struct SheetReader<'a> {
    xml: Xml<'a>,
    name: &'a str,
    index: u32,
    strings: &'a [Arc<str>],
    /// Shared formulas by their index: where the template stands, and its text.
    shared: FxHashMap<u32, ((u32, u32), String)>,
    sheet: Worksheet,
    /// Areas under data validation so far.
    validated: usize,
}

/// Areas under data validation that are looked at; they only describe inputs, so the rest may go.
const MAX_VALIDATED: usize = 20_000;

impl SheetReader<'_> {
    fn read(&mut self, budget: &mut Budget<'_>) -> Result<(), LoadError> {
        let (mut row, mut column) = (0_u32, 0_u32);
        let mut filter = None;
        loop {
            match self.xml.next()? {
                Event::Start(start) => match start.local_name().as_ref() {
                    "row" => {
                        if let Some(number) = attribute(&start, "r") {
                            let number = number.trim().parse::<u32>().ok().filter(|number| *number > 0);
                            row = number.ok_or_else(|| self.xml.error("bad row number"))? - 1;
                        }
                        if flag(&start, "hidden", false) && row < super::reference::MAX_ROWS {
                            self.sheet.sheet.hidden_rows.insert(row);
                        }
                        column = 0;
                    }
                    "autoFilter" => {
                        filter = attribute(&start, "ref").and_then(|area| parse_area(&area));
                    }
                    "filterColumn" => {
                        self.sheet.sheet.filter = filter.map(|area| Range { sheet: self.index, ..area });
                    }
                    "c" => {
                        let at = match attribute(&start, "r") {
                            Some(address) => parse_cell(&address)
                                .ok_or_else(|| self.xml.error(format!("bad cell address {address:?}")))?,
                            None if row < super::reference::MAX_ROWS
                                && column < super::reference::MAX_COLUMNS =>
                            {
                                (row, column)
                            }
                            None => return Err(self.xml.error("a cell beyond the end of the sheet")),
                        };
                        column = at.1 + 1;
                        self.cell(&start, at, budget)?;
                    }
                    "mergeCell" => {
                        let area = attribute(&start, "ref").and_then(|area| parse_area(&area));
                        let area = area.ok_or_else(|| self.xml.error("bad merged area"))?;
                        self.sheet.merged.push(Range { sheet: self.index, ..area });
                    }
                    "dataValidation" => self.validation(&start)?,
                    "extLst" => self.extensions()?,
                    // These hold formulas and cells of their own, which are none of ours.
                    "conditionalFormatting" | "sheetViews" | "oddHeader" => self.xml.skip()?,
                    _ => {}
                },
                Event::End(end) if end.local_name().as_ref() == "row" => row = row.saturating_add(1),
                Event::Eof => return Ok(()),
                _ => {}
            }
        }
    }

    fn cell(
        &mut self,
        start: &BytesStart<'_>,
        at: (u32, u32),
        budget: &mut Budget<'_>,
    ) -> Result<(), LoadError> {
        let kind = attribute(start, "t");
        // Cell metadata is written for dynamic arrays only.
        let dynamic = attribute(start, "cm").is_some_and(|index| index.trim() != "0");
        let (mut saved, mut formula) = (None, None);
        loop {
            match self.xml.next()? {
                Event::Start(child) => match child.local_name().as_ref() {
                    "v" => saved = Some(self.xml.text(&[])?),
                    "is" => saved = Some(self.xml.text(&["rPh"])?),
                    "f" => formula = self.formula(&child, at, dynamic, budget.limits)?,
                    _ => self.xml.skip()?,
                },
                Event::End(_) => break,
                _ => {}
            }
        }
        let value = match saved {
            Some(text) => self.value(kind.as_deref(), text, at, budget.limits)?,
            None => Value::Blank,
        };
        if formula.is_none() && value == Value::Blank {
            return Ok(());
        }
        budget.cells = budget
            .cells
            .checked_sub(1)
            .ok_or_else(|| self.too_many(at, "the workbook's cells", budget.limits.cells))?;
        if formula.is_some() {
            self.sheet.formulas += 1;
            budget.formulas = budget
                .formulas
                .checked_sub(1)
                .ok_or_else(|| self.too_many(at, "the workbook's formulas", budget.limits.formulas))?;
        }
        if self.sheet.sheet.cells.insert(at, Cell { value, formula }).is_some() {
            return Err(LoadError::unreadable(self.place(at), "the cell occurs twice"));
        }
        Ok(())
    }

    /// The formula of a cell, shared ones expanded; moves past its end. `dynamic` tells dynamic arrays from fixed ones.
    fn formula(
        &mut self,
        start: &BytesStart<'_>,
        at: (u32, u32),
        dynamic: bool,
        limits: &Limits,
    ) -> Result<Option<String>, LoadError> {
        let kind = attribute(start, "t");
        let area = attribute(start, "ref").and_then(|area| parse_area(&area));
        let shared = attribute(start, "si").and_then(|index| index.trim().parse::<u32>().ok());
        let text = unescape_excel(self.xml.text(&[])?);
        let text = text.trim().trim_start_matches('=').to_owned();
        if text.len() > limits.formula_length.saturating_mul(4)
            || text.chars().count() > limits.formula_length
        {
            return Err(self.too_many(at, "the characters of a formula", limits.formula_length));
        }
        let array = match kind.as_deref() {
            Some("array") => Some("an array formula"),
            Some("dataTable") => Some("a what-if data table"),
            _ => None,
        };
        if let Some(construct) = array {
            let area =
                area.map_or(Range::cell(self.index, at.0, at.1), |area| Range { sheet: self.index, ..area });
            let dynamic = (kind.as_deref() == Some("array")).then_some(dynamic);
            self.sheet.arrays.push(Array { area, construct, formula: text.clone(), dynamic });
            return Ok(Some(text));
        }
        if kind.as_deref() != Some("shared") {
            return Ok(Some(text).filter(|text| !text.is_empty()));
        }
        let index = shared
            .ok_or_else(|| LoadError::unreadable(self.place(at), "a shared formula without its index"))?;
        if !text.is_empty() {
            self.shared.insert(index, (at, text.clone()));
            return Ok(Some(text));
        }
        let (origin, template) = self.shared.get(&index).ok_or_else(|| {
            LoadError::unreadable(self.place(at), "a shared formula that was not given before")
        })?;
        calamine::expand_shared_formula(template, *origin, at)
            .map(Some)
            .map_err(|error| LoadError::unreadable(self.place(at), error.to_string()))
    }

    fn value(
        &self,
        kind: Option<&str>,
        text: String,
        at: (u32, u32),
        limits: &Limits,
    ) -> Result<Value, LoadError> {
        let wrong = |what: &str| {
            let shown: String = text.chars().take(40).collect();
            LoadError::unreadable(self.place(at), format!("{shown:?} is no {what}"))
        };
        Ok(match kind {
            Some("s") => {
                let index: usize = text.trim().parse().map_err(|_| wrong("index of a shared string"))?;
                Value::Text(
                    self.strings.get(index).ok_or_else(|| wrong("known shared string"))?.clone().into(),
                )
            }
            Some("str" | "inlineStr") => {
                if text.chars().count() > limits.text_length {
                    return Err(self.too_many(at, "the characters of a text", limits.text_length));
                }
                Value::from(unescape_excel(text))
            }
            Some("b") => match text.trim() {
                "1" | "true" => Value::Boolean(true),
                "0" | "false" => Value::Boolean(false),
                _ => return Err(wrong("boolean")),
            },
            Some("e") => error_value(text.trim()).map(Value::Error).ok_or_else(|| wrong("error value"))?,
            Some("d") => iso_serial(text.trim()).map(Value::Number).ok_or_else(|| wrong("date"))?,
            Some("n") | None => {
                if text.trim().is_empty() {
                    return Ok(Value::Blank);
                }
                let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
                Value::Number(number.ok_or_else(|| wrong("number"))?)
            }
            Some(_) => return Err(wrong("value of a known type")),
        })
    }

    /// Data validations that refer to other sheets: Excel 2010 and later write them into the sheet's extensions. Everything else
    /// in there is passed over.
    fn extensions(&mut self) -> Result<(), LoadError> {
        let outer = self.xml.depth();
        while self.xml.depth() >= outer {
            match self.xml.next()? {
                Event::Start(start) if start.local_name().as_ref() == "dataValidation" => {
                    self.validation(&start)?;
                }
                Event::Eof => return Err(self.xml.error("the part ends inside an element")),
                _ => {}
            }
        }
        Ok(())
    }

    fn validation(&mut self, start: &BytesStart<'_>) -> Result<(), LoadError> {
        let mut areas = attribute(start, "sqref").unwrap_or_default();
        let text = |name: &str| attribute(start, name).map(unescape_excel).filter(|text| !text.is_empty());
        let mut validation = Validation {
            kind: attribute(start, "type").unwrap_or_else(|| "none".into()),
            operator: attribute(start, "operator"),
            ignore_blank: flag(start, "allowBlank", false),
            prompt_title: text("promptTitle"),
            prompt: text("prompt"),
            error_style: attribute(start, "errorStyle"),
            error_title: text("errorTitle"),
            error: text("error"),
            ..Validation::default()
        };
        loop {
            match self.xml.next()? {
                Event::Start(child) => {
                    let name = child.local_name().as_ref().to_owned();
                    let text = Some(self.xml.text(&[])?.trim().to_owned()).filter(|text| !text.is_empty());
                    match name.as_str() {
                        "formula1" => validation.first = text,
                        "formula2" => validation.second = text,
                        // In the extensions it is an element.
                        "sqref" => areas = text.unwrap_or_default(),
                        _ => {}
                    }
                }
                Event::End(_) => break,
                _ => {}
            }
        }
        if validation.kind == "list" {
            let listed =
                validation.first.as_deref().and_then(|text| text.strip_prefix('"')?.strip_suffix('"'));
            validation.options =
                listed.map(|text| text.split(',').map(|option| option.trim().into()).collect());
        }
        let areas = areas.split_whitespace().filter_map(parse_area);
        let areas: Vec<Range> = areas.map(|area| Range { sheet: self.index, ..area }).collect();
        self.validated += areas.len();
        if validation.kind != "none" && !areas.is_empty() && self.validated <= MAX_VALIDATED {
            self.sheet.validations.push((areas, validation));
        }
        Ok(())
    }

    fn place(&self, (row, column): (u32, u32)) -> String {
        format!("{}!{}", self.name, cell_address(row, column))
    }

    fn too_many(&self, at: (u32, u32), what: &'static str, limit: usize) -> LoadError {
        LoadError::TooLarge { place: self.place(at), what, limit: limit as u64 }
    }
}

/// The error value that a cell's text names.
pub(crate) fn error_value(text: &str) -> Option<ErrorValue> {
    Some(match text {
        "#NULL!" => ErrorValue::Null,
        "#DIV/0!" => ErrorValue::Div0,
        "#VALUE!" => ErrorValue::Value,
        "#REF!" => ErrorValue::Ref,
        "#NAME?" => ErrorValue::Name,
        "#NUM!" => ErrorValue::Num,
        // What Excel saves while it waits for data is no value of its own.
        "#N/A" | "#GETTING_DATA" => ErrorValue::NA,
        "#SPILL!" => ErrorValue::Spill,
        "#CALC!" => ErrorValue::Calc,
        "#FIELD!" => ErrorValue::Field,
        _ => return None,
    })
}

/// The serial number of an ISO date, time or date-time, in the date system of the workbook that is being read.
pub(crate) fn iso_serial(text: &str) -> Option<f64> {
    use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};
    let seconds = |time: NaiveTime| {
        (f64::from(time.num_seconds_from_midnight()) + f64::from(time.nanosecond()) / 1e9) / 86_400.0
    };
    let days = |date: NaiveDate| -> Option<f64> {
        let days = date.signed_duration_since(NaiveDate::from_ymd_opt(1899, 12, 31)?).num_days();
        // Excel counts a 29 February 1900 that never was.
        let days = i32::try_from(if days >= 60 { days + 1 } else { days }).ok()?;
        Some(serial::from_1900(f64::from(days))).filter(|days| *days >= 0.0)
    };
    let text = text.trim_end_matches('Z');
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return days(date);
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(moment) = NaiveDateTime::parse_from_str(text, format) {
            return days(moment.date()).map(|day| day + seconds(moment.time()));
        }
    }
    ["%H:%M:%S%.f", "%H:%M"]
        .iter()
        .find_map(|format| NaiveTime::parse_from_str(text, format).ok())
        .map(seconds)
}
