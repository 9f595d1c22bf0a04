//! Inputs and outputs as the chunk code needs them: positions in the program's flattened columns, names ready to write.

use rustc_hash::FxHashMap;

use super::write::text;
use crate::interface::DataType;
use crate::source::SourceField;
use crate::value::Value;

/// Where an input's values go.
#[derive(Debug)]
pub(crate) struct InputSlot {
    /// The name on the wire.
    pub name: String,
    /// The subservice, if any.
    pub subservice: Option<String>,
    /// The name without its subservice.
    pub short: String,
    /// The first of its columns.
    pub first: usize,
    /// Columns of the table; 1 for a cell.
    pub width: usize,
    /// Rows of the table's body; 1 for a cell.
    pub height: usize,
    /// Whether it takes a table.
    pub table: bool,
    /// A table's headings, in lower case.
    pub headings: Vec<String>,
    /// The declared type, if any.
    pub declared: Option<DataType>,
}

/// Where an output's values come from.
#[derive(Debug)]
pub(crate) struct OutputSlot {
    /// The name on the wire.
    pub name: String,
    /// The subservice, if any.
    pub subservice: Option<String>,
    /// The name without its subservice.
    pub short: String,
    /// The first of its columns in the whole program.
    pub first: usize,
    /// Columns of the table; 1 for a cell.
    pub width: usize,
    /// Rows of the table's body; 1 for a cell.
    pub height: usize,
    /// Whether it gives a table.
    pub table: bool,
    /// `"name"`, escaped.
    pub json_name: Vec<u8>,
    /// A table's headings as `"heading":`, escaped.
    pub json_headings: Vec<Vec<u8>>,
}

impl OutputSlot {
    /// How many columns of the program it takes.
    pub(crate) const fn cells(&self) -> usize {
        self.width * self.height
    }
}

/// The slots of a service.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub inputs: Vec<InputSlot>,
    pub outputs: Vec<OutputSlot>,
    /// Default values of all input cells, flattened.
    pub defaults: Vec<Value>,
}

impl Layout {
    /// The layout of these fields, whose cells are flattened in this order.
    pub(crate) fn new(inputs: &[SourceField], outputs: &[SourceField], defaults: Vec<Value>) -> Self {
        let mut layout = Self { defaults, ..Self::default() };
        let mut first = 0;
        for field in inputs {
            let (height, width) = (field.cells.rows() as usize, field.cells.columns() as usize);
            layout.inputs.push(InputSlot {
                name: field.place.name.clone(),
                subservice: field.place.subservice.clone(),
                short: field.place.short_name().to_owned(),
                first,
                width,
                height,
                table: field.is_table(),
                headings: field.place.headings.iter().map(|heading| heading.to_lowercase()).collect(),
                declared: field.declared,
            });
            first += width * height;
        }
        first = 0;
        for field in outputs {
            let (height, width) = (field.cells.rows() as usize, field.cells.columns() as usize);
            layout.outputs.push(OutputSlot {
                name: field.place.name.clone(),
                subservice: field.place.subservice.clone(),
                short: field.place.short_name().to_owned(),
                first,
                width,
                height,
                table: field.is_table(),
                json_name: json(&field.place.name),
                json_headings: field
                    .place
                    .headings
                    .iter()
                    .map(|heading| [&json(heading)[..], b":"].concat())
                    .collect(),
            });
            first += width * height;
        }
        layout
    }

    /// Whether any name belongs to a subservice.
    pub(crate) fn has_subservices(&self) -> bool {
        self.inputs.iter().any(|slot| slot.subservice.is_some())
            || self.outputs.iter().any(|slot| slot.subservice.is_some())
    }

    /// The output of this name, with or without its subservice, among those that `allowed` accepts; compared without case.
    pub(crate) fn output(&self, name: &str, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let folded = name.to_lowercase();
        let find = |named: &dyn Fn(&OutputSlot) -> &str| {
            let mut outputs = self.outputs.iter().enumerate();
            outputs.position(|(index, slot)| allowed(index) && named(slot).to_lowercase() == folded)
        };
        find(&|slot| &slot.name).or_else(|| find(&|slot| &slot.short))
    }

    /// Names in lower case → input, for the inputs that `allowed` accepts. A name in a subservice is also known without its
    /// prefix where that is unambiguous.
    pub(crate) fn lookup(&self, allowed: impl Fn(&InputSlot) -> bool) -> FxHashMap<String, usize> {
        let mut short: FxHashMap<String, Option<usize>> = FxHashMap::default();
        let mut names = FxHashMap::default();
        for (index, slot) in self.inputs.iter().enumerate().filter(|(_, slot)| allowed(slot)) {
            names.insert(slot.name.to_lowercase(), index);
            if slot.subservice.is_some() {
                short
                    .entry(slot.short.to_lowercase())
                    .and_modify(|known| *known = None)
                    .or_insert(Some(index));
            }
        }
        for (name, index) in short {
            if let Some(index) = index {
                names.entry(name).or_insert(index);
            }
        }
        names
    }
}

/// A string as JSON bytes.
pub(crate) fn json(string: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(string.len() + 2);
    text(string, &mut out);
    out
}
