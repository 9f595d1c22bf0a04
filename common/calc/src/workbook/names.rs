//! The defined names that mark inputs and outputs (contract 5.1, 5.2, 5.3).

use rustc_hash::{FxHashMap, FxHashSet};

use super::reference::resolve;
use crate::book::{Book, DefinedName, Range};
use crate::interface::{Place, Validation, cell_address, range_address};
use crate::limits::Limits;
use crate::load::LoadError;
use crate::source::{Check, Source, SourceField};
use crate::value::Value;

/// What the sheets say about single cells.
#[derive(Default)]
pub(super) struct Marks {
    pub merged: FxHashSet<Range>,
    pub validations: Vec<(Vec<Range>, Validation)>,
}

/// Markers of the original platform that this engine does not act on.
const IGNORED: [(&str, &str); 10] = [
    ("xcsvinput_", "a CSV input"),
    ("xcsvoutput_", "a CSV output"),
    ("xjinput_", "a JSON input"),
    ("xjoutput_", "a JSON output"),
    ("xrichoutput_", "a rich output"),
    ("xsolve_", "a goal seek"),
    ("xparameter_", "an externalised table"),
    ("xreport_", "a report"),
    ("xjsonforms_", "a form"),
    ("xformtable_", "a form"),
];

/// Finds the inputs and outputs among the defined names of `source.book`.
pub(super) fn mark(source: &mut Source, marks: &Marks, limits: &Limits) -> Result<(), LoadError> {
    let mut seen: FxHashMap<String, String> = FxHashMap::default();
    let names = std::mem::take(&mut source.book.names);
    let mut area_left = limits.range_area;
    for name in &names {
        let folded = name.name.to_lowercase();
        if let Some((_, what)) = IGNORED.iter().find(|(prefix, _)| folded.starts_with(prefix)) {
            source
                .warnings
                .push(format!("the name {} marks {what}, which is not supported: ignored", name.name));
        } else if folded == "xcircular_switch" {
            source
                .warnings
                .push(format!("the name {} allows circular references, which are not supported", name.name));
        }
        if folded.starts_with("xvalidate_") {
            check(source, name, limits)?;
            continue;
        }
        let (input, wire) = if folded.starts_with("xinput_") {
            (true, name.name.get("xinput_".len()..).unwrap_or_default())
        } else if folded.starts_with("xoutput_") {
            (false, name.name.get("xoutput_".len()..).unwrap_or_default())
        } else {
            continue;
        };
        if let Some(other) = seen.insert(folded, name.name.clone()) {
            return Err(LoadError::name(
                &name.name,
                format!("marked twice (as {other}); names compare without case"),
            ));
        }
        let field = field(&source.book, name, wire, input, marks, &mut source.warnings)?;
        let area = u64::from(field.place.rows) * u64::from(field.place.columns);
        area_left = area_left.checked_sub(area).ok_or_else(|| LoadError::TooLarge {
            place: name.name.clone(),
            what: "the cells of inputs and outputs",
            limit: limits.range_area,
        })?;
        let fields = if input { &mut source.inputs } else { &mut source.outputs };
        fields.push(field);
        if source.inputs.len() + source.outputs.len() > limits.fields {
            let limit = limits.fields as u64;
            return Err(LoadError::TooLarge {
                place: name.name.clone(),
                what: "the inputs and outputs",
                limit,
            });
        }
    }
    source.book.names = names;
    if source.inputs.is_empty() && source.outputs.is_empty() {
        return Err(LoadError::NoInterface);
    }
    let order = |field: &SourceField| (field.cells.sheet, field.cells.first_row, field.cells.first_column);
    source.inputs.sort_by_key(order);
    source.outputs.sort_by_key(order);
    refuse_overlap(&source.inputs, &source.book)
}

/// One `Xvalidate_` name: a cell whose formula gives a message, or nothing (contract 5.1).
fn check(source: &mut Source, name: &DefinedName, limits: &Limits) -> Result<(), LoadError> {
    let wire = name.name.get("xvalidate_".len()..).unwrap_or_default();
    let range = match resolve(&source.book, &name.definition, name.sheet) {
        Ok(range) if range.is_cell() && !wire.is_empty() => range,
        Ok(_) => {
            source.warnings.push(format!("the name {} must mark one cell: ignored", name.name));
            return Ok(());
        }
        Err(message) => {
            source.warnings.push(format!("the name {}: {message}: ignored", name.name));
            return Ok(());
        }
    };
    source.checks.push(Check { name: wire.to_owned(), cell: range });
    if source.checks.len() > limits.fields {
        let limit = limits.fields as u64;
        return Err(LoadError::TooLarge { place: name.name.clone(), what: "the validation messages", limit });
    }
    Ok(())
}

/// The validation of a cell. Its formulas are written for the first cell of its areas, and are told for this one.
fn validation_of(marks: &Marks, range: &Range) -> Option<Validation> {
    let (areas, validation) =
        marks.validations.iter().find(|(areas, _)| areas.iter().any(|area| contains(area, range)))?;
    let origin = areas.first().map(|area| (area.first_row, area.first_column))?;
    let here = (range.first_row, range.first_column);
    let mut validation = validation.clone();
    for formula in [&mut validation.first, &mut validation.second].into_iter().flatten() {
        if origin != here
            && let Ok(moved) = calamine::expand_shared_formula(formula, origin, here)
        {
            *formula = moved;
        }
    }
    Some(validation)
}

/// One marked name as a field.
fn field(
    book: &Book,
    name: &DefinedName,
    wire: &str,
    input: bool,
    marks: &Marks,
    warnings: &mut Vec<String>,
) -> Result<SourceField, LoadError> {
    let wrong = |message: &str| LoadError::name(&name.name, message);
    let subservice = match wire.split_once('.') {
        _ if wire.is_empty() => return Err(wrong("nothing follows the prefix")),
        None => None,
        Some((sub, rest)) if sub.is_empty() || rest.is_empty() || rest.contains('.') => {
            return Err(wrong("a dot separates a subservice from a name, once"));
        }
        Some((sub, _)) => Some(sub.to_owned()),
    };
    let mut range = resolve(book, &name.definition, name.sheet)
        .map_err(|message| LoadError::name(&name.name, message))?;
    if marks.merged.contains(&range) {
        range = Range::cell(range.sheet, range.first_row, range.first_column);
    }
    let sheet = usize::try_from(range.sheet).ok().and_then(|index| book.sheets.get(index));
    let sheet = sheet.ok_or_else(|| wrong("refers to a sheet that does not exist"))?;
    let mut cells = range;
    let mut headings = Vec::new();
    if !range.is_cell() {
        match read_headings(book, &range) {
            Ok(found) => {
                headings = found;
                cells.first_row += 1;
            }
            Err(message) if input => return Err(LoadError::name(&name.name, message)),
            Err(message) => {
                warnings.push(format!("the name {}: {message}; its values come as lists", name.name))
            }
        }
    }
    Ok(SourceField {
        place: Place {
            name: wire.to_owned(),
            subservice,
            sheet: sheet.name.clone(),
            address: range_address(&range),
            description: name.comment.clone(),
            rows: range.rows(),
            columns: range.columns(),
            headings,
        },
        cells,
        declared: None,
        shown: None,
        validation: if input && range.is_cell() { validation_of(marks, &range) } else { None },
    })
}

/// The heading row of a range: text in every cell, each one once.
fn read_headings(book: &Book, range: &Range) -> Result<Vec<String>, String> {
    let rule = "a range needs a heading row with unique headings, and rows below it";
    if range.rows() < 2 {
        return Err(rule.to_owned());
    }
    let cells =
        usize::try_from(range.sheet).ok().and_then(|sheet| book.sheets.get(sheet)).map(|sheet| &sheet.cells);
    let mut headings = Vec::new();
    let mut seen = FxHashSet::default();
    for column in range.first_column..=range.last_column {
        let address = cell_address(range.first_row, column);
        let heading =
            match cells.and_then(|cells| cells.get(&(range.first_row, column))).map(|cell| &cell.value) {
                Some(Value::Text(text)) if !text.trim().is_empty() => text.trim().to_owned(),
                Some(Value::Number(number)) => format!("{number}"),
                _ => return Err(format!("{rule}: {address} holds no heading")),
            };
        if !seen.insert(heading.to_lowercase()) {
            return Err(format!("{rule}: {address} repeats {heading:?}"));
        }
        headings.push(heading);
    }
    Ok(headings)
}

fn contains(outer: &Range, inner: &Range) -> bool {
    outer.sheet == inner.sheet
        && outer.first_row <= inner.first_row
        && outer.first_column <= inner.first_column
        && outer.last_row >= inner.last_row
        && outer.last_column >= inner.last_column
}

/// Two inputs that share a cell would contradict each other.
fn refuse_overlap(inputs: &[SourceField], book: &Book) -> Result<(), LoadError> {
    let mut owners: FxHashMap<(u32, u32, u32), &str> = FxHashMap::default();
    for field in inputs {
        for row in field.cells.first_row..=field.cells.last_row {
            for column in field.cells.first_column..=field.cells.last_column {
                if let Some(other) = owners.insert((field.cells.sheet, row, column), &field.place.name) {
                    let sheet =
                        usize::try_from(field.cells.sheet).ok().and_then(|sheet| book.sheets.get(sheet));
                    let sheet = sheet.map_or("", |sheet| sheet.name.as_str());
                    let message = format!(
                        "shares the cell {sheet}!{} with the input {other}",
                        cell_address(row, column)
                    );
                    return Err(LoadError::name(format!("Xinput_{}", field.place.name), message));
                }
            }
        }
    }
    Ok(())
}
