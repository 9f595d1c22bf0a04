#![doc = include_str!("../../FORMULAS.md")]

mod field;
mod format;
mod name;

pub use format::schema;

use rustc_hash::FxHashMap;
use serde_json::{Map, Value as Json};

use crate::book::{Book, Cell, DefinedName, Range, Sheet, Table};
use crate::interface::{Place, Properties, cell_address};
use crate::limits::Limits;
use crate::load::LoadError;
use crate::program::CompileError;
use crate::source::{Source, SourceField};
use crate::value::Value;

/// The version of the format that this reader knows.
pub const FORMAT: &str = "formula-document/1";

/// Names of the sheets that a document becomes; compile errors are told by them.
const INPUTS: &str = "inputs";
const FORMULAS: &str = "formulas";
const OUTPUTS: &str = "outputs";

/// A fault at a place of the document.
fn wrong(path: impl Into<String>, message: impl Into<String>) -> LoadError {
    LoadError::Document { path: path.into(), message: message.into() }
}

/// An object of the document, whose keys are checked off as they are read.
struct Object<'a> {
    path: String,
    map: &'a Map<String, Json>,
}

impl<'a> Object<'a> {
    fn new(path: impl Into<String>, json: &'a Json, known: &[format::Key]) -> Result<Self, LoadError> {
        let path = path.into();
        let Json::Object(map) = json else { return Err(wrong(path, "must be an object")) };
        match map.keys().find(|key| !known.iter().any(|known| known.name == key.as_str())) {
            Some(key) => {
                let place = if path == "document" { key.clone() } else { format!("{path}.{key}") };
                let known: Vec<&str> = known.iter().map(|known| known.name).collect();
                Err(wrong(place, format!("unknown key; known are {}", known.join(", "))))
            }
            None => Ok(Self { path, map }),
        }
    }

    fn at(&self, key: &str) -> String {
        if self.path == "document" { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key; `null` counts as left out.
    fn get(&self, key: &str) -> Option<&'a Json> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Result<Option<String>, LoadError> {
        match self.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong(self.at(key), "must be text")),
        }
    }

    fn required(&self, key: &str) -> Result<String, LoadError> {
        self.text(key)?.ok_or_else(|| wrong(self.at(key), "is missing"))
    }

    fn list(&self, key: &str) -> Result<&'a [Json], LoadError> {
        match self.get(key) {
            None => Ok(&[]),
            Some(Json::Array(list)) => Ok(list),
            Some(_) => Err(wrong(self.at(key), "must be a list")),
        }
    }
}

/// What is read so far.
struct Reader<'l> {
    source: Source,
    /// Names in lower case → where they are given.
    names: FxHashMap<String, String>,
    limits: &'l Limits,
    cells: usize,
}

/// Reads a formula document.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Source, LoadError> {
    if bytes.len() as u64 > limits.file_bytes {
        return Err(LoadError::TooLarge {
            place: "the document".into(),
            what: "its bytes",
            limit: limits.file_bytes,
        });
    }
    let json: Json =
        serde_json::from_slice(bytes).map_err(|error| wrong("document", format!("invalid JSON: {error}")))?;
    let document = Object::new("document", &json, format::DOCUMENT)?;
    document.text("$schema")?;
    if let Some(format) = document.text("millrace")?.filter(|format| format != FORMAT) {
        return Err(wrong("millrace", format!("the format {format:?} is not known; this is {FORMAT:?}")));
    }
    let sheet = |name: &str| Sheet { name: name.to_owned(), ..Sheet::default() };
    let mut reader = Reader {
        source: Source {
            book: Book { sheets: vec![sheet(INPUTS), sheet(FORMULAS), sheet(OUTPUTS)], ..Book::default() },
            properties: Properties {
                title: document.text("name")?,
                description: document.text("description")?,
                ..Properties::default()
            },
            ..Source::default()
        },
        names: FxHashMap::default(),
        limits,
        cells: limits.cells,
    };
    for (index, input) in document.list("inputs")?.iter().enumerate() {
        reader.input(index, input)?;
    }
    for (index, table) in document.list("tables")?.iter().enumerate() {
        reader.table(index, table)?;
    }
    for (index, formula) in document.list("formulas")?.iter().enumerate() {
        reader.formula(FORMULAS, index, formula)?;
    }
    let outputs = document.list("outputs")?;
    if outputs.is_empty() {
        return Err(wrong("outputs", "is missing; a document computes at least one output"));
    }
    for (index, output) in outputs.iter().enumerate() {
        reader.formula(OUTPUTS, index, output)?;
    }
    reader.check_names()?;
    reader.source.properties.sheets =
        reader.source.book.sheets.iter().map(|sheet| sheet.name.clone()).collect();
    Ok(reader.source)
}

impl Reader<'_> {
    fn input(&mut self, index: usize, json: &Json) -> Result<(), LoadError> {
        let path = format!("inputs[{index}]");
        let object = Object::new(&path, json, format::INPUT)?;
        let name = self.name(&object)?;
        let field = field::Field::read(&object, self.limits)?;
        let row = self.row(&path, index)?;
        self.define(&name, INPUTS, row);
        self.put(&path, 0, (row, 0), Cell { value: field.default, formula: None })?;
        self.source.inputs.push(SourceField {
            declared: Some(field.kind),
            validation: field.validation,
            shown: field.shown,
            ..self.field(name, INPUTS, 0, row, object.text("description")?)
        });
        Ok(())
    }

    fn table(&mut self, index: usize, json: &Json) -> Result<(), LoadError> {
        let path = format!("tables[{index}]");
        let object = Object::new(&path, json, format::TABLE)?;
        object.text("description")?;
        let name = self.name(&object)?;
        let number = u32::try_from(self.source.book.sheets.len()).unwrap_or(u32::MAX);
        if self.source.book.sheets.len() >= self.limits.sheets {
            let limit = self.limits.sheets as u64;
            return Err(LoadError::TooLarge { place: path, what: "the tables", limit });
        }
        self.source.book.sheets.push(Sheet { name: format!("table {name}"), ..Sheet::default() });
        let mut columns: Vec<String> = Vec::new();
        for (column, heading) in object.list("columns")?.iter().enumerate() {
            let place = format!("{path}.columns[{column}]");
            let Json::String(heading) = heading else { return Err(wrong(place, "must be text")) };
            if heading.trim().is_empty() {
                return Err(wrong(place, "is empty"));
            }
            if columns.iter().any(|other| other.to_lowercase() == heading.to_lowercase()) {
                return Err(wrong(place, format!("repeats the heading {heading:?}")));
            }
            let at = (0, self.row(&place, column)?.min(16_384));
            self.put(&place, number, at, Cell { value: heading.as_str().into(), formula: None })?;
            columns.push(heading.clone());
        }
        if columns.is_empty() || columns.len() > 16_384 {
            return Err(wrong(object.at("columns"), "must list between 1 and 16384 headings"));
        }
        let rows = object.list("rows")?;
        if rows.is_empty() {
            return Err(wrong(object.at("rows"), "must list at least one row"));
        }
        for (row, values) in rows.iter().enumerate() {
            let place = format!("{path}.rows[{row}]");
            let Json::Array(values) = values else { return Err(wrong(place, "must be a list of values")) };
            if values.len() != columns.len() {
                let message = format!("has {} values for {} columns", values.len(), columns.len());
                return Err(wrong(place, message));
            }
            let line = self.row(&place, row + 1)?;
            for (column, value) in values.iter().enumerate() {
                let place = format!("{place}[{column}]");
                let value = field::constant(value, &place, self.limits)?;
                if value != Value::Blank {
                    let at = (line, u32::try_from(column).unwrap_or(u32::MAX));
                    self.put(&place, number, at, Cell { value, formula: None })?;
                }
            }
        }
        let last_row = self.row(&path, rows.len())?;
        let last_column = u32::try_from(columns.len() - 1).unwrap_or(u32::MAX);
        let range = Range { sheet: number, first_row: 0, first_column: 0, last_row, last_column };
        self.source.book.tables.push(Table { name, range, columns, header_rows: 1, totals_rows: 0 });
        Ok(())
    }

    /// A formula or an output.
    fn formula(&mut self, list: &str, index: usize, json: &Json) -> Result<(), LoadError> {
        let path = format!("{list}[{index}]");
        let output = list == OUTPUTS;
        let object = Object::new(&path, json, if output { format::OUTPUT } else { format::FORMULA })?;
        let description = object.text("description")?;
        let name = self.name(&object)?;
        let formula = object.required("formula")?;
        let formula = formula.trim();
        let formula = formula.strip_prefix('=').unwrap_or(formula).trim();
        if formula.is_empty() {
            return Err(wrong(object.at("formula"), "is empty"));
        }
        if formula.chars().count() > self.limits.formula_length {
            let limit = self.limits.formula_length as u64;
            return Err(LoadError::TooLarge { place: object.at("formula"), what: "its characters", limit });
        }
        if self.source.formulas as usize >= self.limits.formulas {
            return Err(LoadError::TooLarge {
                place: path,
                what: "the formulas",
                limit: self.limits.formulas as u64,
            });
        }
        self.source.formulas += 1;
        let row = self.row(&path, index)?;
        let sheet = if output { 2 } else { 1 };
        self.define(&name, list, row);
        self.put(&path, sheet, (row, 0), Cell { value: Value::Blank, formula: Some(formula.to_owned()) })?;
        if output {
            let field = self.field(name, OUTPUTS, sheet, row, description);
            self.source.outputs.push(field);
        }
        Ok(())
    }

    /// Refuses formulas with words that nothing is named by; Excel would compute `#NAME?`.
    fn check_names(&self) -> Result<(), LoadError> {
        for (sheet, list) in [(1, FORMULAS), (2, OUTPUTS)] {
            let Some(sheet) = self.source.book.sheets.get(sheet) else { continue };
            let rows = 0..u32::try_from(sheet.cells.len()).unwrap_or(u32::MAX);
            for row in rows {
                let formula =
                    sheet.cells.get(&(row, 0)).and_then(|cell| cell.formula.as_deref()).unwrap_or_default();
                if let Some(message) =
                    name::unknown(formula, |word| self.names.contains_key(&word.to_lowercase()))
                {
                    return Err(wrong(format!("{list}[{row}].formula"), message));
                }
            }
        }
        Ok(())
    }

    /// The name of an object, checked and taken.
    fn name(&mut self, object: &Object<'_>) -> Result<String, LoadError> {
        let name = object.required("name")?;
        name::check(&name).map_err(|message| wrong(object.at("name"), message))?;
        if let Some(other) = self.names.insert(name.to_lowercase(), object.path.clone()) {
            return Err(wrong(
                object.at("name"),
                format!("{name:?} is already the name of {other}; names compare without case"),
            ));
        }
        if self.names.len() > self.limits.names {
            return Err(LoadError::TooLarge {
                place: object.path.clone(),
                what: "the names",
                limit: self.limits.names as u64,
            });
        }
        Ok(name)
    }

    fn define(&mut self, name: &str, sheet: &str, row: u32) {
        let definition = format!("{sheet}!$A${}", u64::from(row) + 1);
        self.source.book.names.push(DefinedName {
            name: name.to_owned(),
            definition,
            ..DefinedName::default()
        });
    }

    fn put(&mut self, path: &str, sheet: u32, at: (u32, u32), cell: Cell) -> Result<(), LoadError> {
        let limit = self.limits.cells as u64;
        let place =
            || LoadError::TooLarge { place: path.to_owned(), what: "the values of the document", limit };
        self.cells = self.cells.checked_sub(1).ok_or_else(place)?;
        if let Some(sheet) =
            usize::try_from(sheet).ok().and_then(|sheet| self.source.book.sheets.get_mut(sheet))
        {
            sheet.cells.insert(at, cell);
        }
        Ok(())
    }

    fn row(&self, path: &str, index: usize) -> Result<u32, LoadError> {
        let limit = u64::from(crate::workbook::reference::MAX_ROWS);
        let row = u32::try_from(index).ok().filter(|row| u64::from(*row) < limit);
        row.ok_or_else(|| LoadError::TooLarge {
            place: path.to_owned(),
            what: "the entries of the list",
            limit,
        })
    }

    fn field(
        &self,
        name: String,
        list: &str,
        sheet: u32,
        row: u32,
        description: Option<String>,
    ) -> SourceField {
        SourceField {
            place: Place {
                name,
                sheet: list.to_owned(),
                address: cell_address(row, 0),
                description,
                rows: 1,
                columns: 1,
                ..Place::default()
            },
            cells: Range::cell(sheet, row, 0),
            declared: None,
            validation: None,
            shown: None,
        }
    }
}

/// A compile error, told by the place in the document: `outputs!A3` is `outputs[2].formula`, and cells by their names.
pub(crate) fn explain(error: &CompileError, source: &Source) -> LoadError {
    let path = error.place.rsplit_once('!').and_then(|(sheet, address)| {
        let (row, _) = crate::workbook::reference::parse_cell(address)?;
        Some(format!("{}[{row}].formula", sheet.trim_matches('\'')))
    });
    let mut message = error.kind.to_string();
    // The highest rows first, so that A1 does not match inside A12.
    for name in source.book.names.iter().rev() {
        message = message.replace(&name.definition.replace('$', ""), &name.name);
    }
    wrong(path.unwrap_or_else(|| error.place.clone()), message)
}
