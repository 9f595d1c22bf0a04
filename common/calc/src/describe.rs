//! What loading a service finds out: its interface, the results for its defaults, and whether they are those it was saved with.

use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::interface::{Counts, DataType, InputField, Interface, OutputField, cell_address};
use crate::limits::Limits;
use crate::load::LoadError;
use crate::program::{self, Column, CompileError, Volatile};
use crate::reference::FallbackError;
use crate::service::{Mismatch, Report, SourceKind};
use crate::source::{Source, SourceField, data_type, table_json, value_json};
use crate::value::Value;
use crate::{document, workbook};

/// Functions whose results depend on the date system.
pub(crate) const DATE_FUNCTIONS: [&str; 26] = [
    "DATE",
    "DATEDIF",
    "DATEVALUE",
    "DAY",
    "DAYS",
    "DAYS360",
    "EDATE",
    "EOMONTH",
    "ISOWEEKNUM",
    "MONTH",
    "NETWORKDAYS",
    "NETWORKDAYS.INTL",
    "NOW",
    "TEXT",
    "TIMEVALUE",
    "TODAY",
    "VALUE",
    "WEEKDAY",
    "WEEKNUM",
    "WORKDAY",
    "WORKDAY.INTL",
    "XIRR",
    "XNPV",
    "YEAR",
    "YEARFRAC",
    "HOUR",
];

/// A compile error in the words of the source.
pub(crate) fn explain(kind: SourceKind, error: CompileError, source: &Source) -> LoadError {
    if kind == SourceKind::FormulaDocument {
        return document::explain(&error, source);
    }
    let construct = source.refused.iter().find(|(area, _)| {
        let sheet = usize::try_from(area.sheet).ok().and_then(|sheet| source.book.sheets.get(sheet));
        sheet.zip(error.place.rsplit_once('!')).is_some_and(|(sheet, (name, address))| {
            let cell = workbook::reference::parse_cell(address);
            name.trim_matches('\'') == sheet.name
                && cell.is_some_and(|(row, column)| {
                    (area.first_row..=area.last_row).contains(&row)
                        && (area.first_column..=area.last_column).contains(&column)
                })
        })
    });
    if let Some((_, construct)) = construct {
        return LoadError::ArrayFormula { place: error.place, kind: construct };
    }
    match error.kind {
        program::CompileErrorKind::ExternalReference(formula) => {
            LoadError::ExternalLink { place: error.place, formula }
        }
        _ => LoadError::Compile(error),
    }
}

/// The default values of all input cells, flattened. A formula without a saved value is computed once.
pub(crate) fn defaults(source: &Source, limits: &Limits, report: &mut Report) -> Vec<Value> {
    let mut values = Vec::new();
    for field in &source.inputs {
        for at in cells_of(field) {
            let cell = sheet_cells(source, field).and_then(|cells| cells.get(&at));
            let value = match cell {
                Some(cell) if cell.formula.is_some() && cell.value == Value::Blank => {
                    let range = crate::book::Range::cell(field.cells.sheet, at.0, at.1);
                    match program::evaluate(&source.book, &[range], limits, &Volatile::default()) {
                        Ok(computed) => computed.into_iter().next().unwrap_or_default(),
                        Err(error) => {
                            let name = &field.place.name;
                            report
                                .warnings
                                .push(format!("the default of the input {name} cannot be computed: {error}"));
                            Value::Blank
                        }
                    }
                }
                Some(cell) => cell.value.clone(),
                None => Value::Blank,
            };
            values.push(value);
        }
    }
    values
}

/// What the service answers for the defaults.
pub(crate) fn first_results(engine: &Engine, defaults: &[Value]) -> Result<Vec<Value>, FallbackError> {
    let inputs: Vec<Column> = defaults.iter().cloned().map(Column::Constant).collect();
    let mut outputs = Vec::new();
    let mut scratch = program::Scratch::default();
    engine.run(&inputs, 1, &Volatile::default(), 0, None, &mut scratch, &mut outputs)?;
    Ok(outputs.iter().map(|column| column.get(0)).collect())
}

/// The interface: what the cells hold, or compute from the defaults.
pub(crate) fn interface(source: &Source, defaults: &[Value], results: &[Value]) -> Interface {
    let mut first = 0;
    let mut inputs = Vec::new();
    for field in &source.inputs {
        let count = (field.cells.rows() * field.cells.columns()) as usize;
        let values = defaults.get(first..first + count).unwrap_or_default();
        first += count;
        let (kind, default) = shown(field, values);
        let default = field.shown.clone().unwrap_or(default);
        inputs.push(InputField {
            place: field.place.clone(),
            data_type: kind,
            default,
            validation: field.validation.clone(),
        });
    }
    first = 0;
    let mut outputs = Vec::new();
    for field in &source.outputs {
        let count = (field.cells.rows() * field.cells.columns()) as usize;
        let computed = results.get(first..first + count).unwrap_or_default();
        first += count;
        let saved: Vec<Value> = saved(source, field);
        let values = if saved.iter().all(|value| *value == Value::Blank) { computed } else { &saved };
        let (data_type, value) = shown(field, values);
        outputs.push(OutputField { place: field.place.clone(), data_type, value });
    }
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let counts = Counts {
        sheets: count(source.book.sheets.len()),
        inputs: count(inputs.len()),
        outputs: count(outputs.len()),
        formulas: source.formulas,
        cells_with_data: count(source.book.sheets.iter().map(|sheet| sheet.cells.len()).sum()),
    };
    Interface { inputs, outputs, counts, properties: source.properties.clone() }
}

fn shown(field: &SourceField, values: &[Value]) -> (DataType, serde_json::Value) {
    if field.is_table() {
        return (DataType::Table, table_json(values, &field.place.headings, field.cells.columns() as usize));
    }
    let value = values.first().cloned().unwrap_or_default();
    (field.declared.unwrap_or_else(|| data_type(&value)), value_json(&value))
}

/// Compares what the program computes from the saved inputs with what the workbook saved.
pub(crate) fn self_test(source: &Source, results: &[Value], report: &mut Report) {
    if !report.volatile_functions.is_empty() {
        return;
    }
    let mut results = results.iter();
    for field in &source.outputs {
        for (at, saved) in cells_of(field).zip(saved(source, field)) {
            let Some(computed) = results.next() else { return };
            // A writer that does not calculate leaves no value, or text as blank: nothing to compare with.
            if saved == Value::Blank || same(&saved, computed) {
                continue;
            }
            let cell = format!("{}!{}", field.place.sheet, cell_address(at.0, at.1));
            let (saved, computed) = (value_json(&saved).to_string(), value_json(computed).to_string());
            report
                .warnings
                .push(format!("{cell} ({}): saved as {saved}, computed as {computed}", field.place.name));
            report.mismatches.push(Mismatch { output: field.place.name.clone(), cell, saved, computed });
        }
    }
}

/// Equal as far as a saved value can tell: numbers within what other engines round differently.
fn same(saved: &Value, computed: &Value) -> bool {
    match (saved, computed) {
        (Value::Number(saved), Value::Number(computed)) => {
            (saved - computed).abs() <= 1e-9 * saved.abs().max(computed.abs()).max(1e-6)
        }
        (Value::Text(saved), Value::Blank) => saved.is_empty(),
        (saved, computed) => saved == computed,
    }
}

fn cells_of(field: &SourceField) -> impl Iterator<Item = (u32, u32)> {
    let columns = field.cells.first_column..=field.cells.last_column;
    (field.cells.first_row..=field.cells.last_row)
        .flat_map(move |row| columns.clone().map(move |column| (row, column)))
}

fn sheet_cells<'s>(
    source: &'s Source,
    field: &SourceField,
) -> Option<&'s FxHashMap<(u32, u32), crate::book::Cell>> {
    usize::try_from(field.cells.sheet)
        .ok()
        .and_then(|sheet| source.book.sheets.get(sheet))
        .map(|sheet| &sheet.cells)
}

fn saved(source: &Source, field: &SourceField) -> Vec<Value> {
    let cells = sheet_cells(source, field);
    cells_of(field)
        .map(|at| cells.and_then(|cells| cells.get(&at)).map_or(Value::Blank, |cell| cell.value.clone()))
        .collect()
}
