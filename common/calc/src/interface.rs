//! What a service takes and gives: the answer of `get_schema` and `metadata` (contract 4.5), and the plan of every chunk.
//!
//! An [`Interface`] is plain data, stored as JSON beside the service version.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The prefix-free subservice of names without a dot (contract 5.3).
pub const DEFAULT_SUBSERVICE: &str = "#Default#";

/// The inputs and outputs of a service, and what else its file says about it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Interface {
    /// Inputs, in the order of their cells (sheet, row, column).
    pub inputs: Vec<InputField>,
    /// Outputs, in the order of their cells: the order of the output columns.
    pub outputs: Vec<OutputField>,
    /// How large the service is.
    pub counts: Counts,
    /// What the file says about itself.
    pub properties: Properties,
}

impl Interface {
    /// The output of this name, with or without its subservice, compared without case, among those of the named subservices
    /// (contract 5.3; none named, or a service without any: all).
    pub fn output(&self, name: &str, subservices: &[String]) -> Option<&OutputField> {
        let folded = name.to_lowercase();
        let places = self.inputs.iter().map(|field| &field.place);
        let divided = places
            .chain(self.outputs.iter().map(|field| &field.place))
            .any(|place| place.subservice.is_some());
        let wanted = |place: &Place| {
            let own = place.subservice_or_default();
            subservices.is_empty()
                || !divided
                || subservices.iter().any(|name| name.eq_ignore_ascii_case(own))
        };
        let find = |named: &dyn Fn(&Place) -> &str| {
            self.outputs
                .iter()
                .find(|field| wanted(&field.place) && named(&field.place).to_lowercase() == folded)
        };
        find(&|place| &place.name).or_else(|| find(&|place| place.short_name()))
    }
}

/// The kind of value that a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// A number, or a cell that was saved blank.
    #[default]
    Number,
    /// A whole number (formula documents).
    Integer,
    /// Text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A date (formula documents).
    Date,
    /// A range with a heading row.
    Table,
}

/// Where a field lives and how it is called.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    /// The name on the wire: the text after `Xinput_` or `Xoutput_`, `sub.name` in a subservice.
    pub name: String,
    /// The subservice, when the name has a dot.
    pub subservice: Option<String>,
    /// The sheet's name.
    pub sheet: String,
    /// The cell or range, such as `B3` or `B3:D9`; a table's heading row included.
    pub address: String,
    /// The comment of the defined name.
    pub description: Option<String>,
    /// Rows of the range, a table's heading row included.
    pub rows: u32,
    /// Columns of the range.
    pub columns: u32,
    /// A table's headings; empty for a single cell.
    pub headings: Vec<String>,
}

impl Place {
    /// The name without its subservice.
    pub fn short_name(&self) -> &str {
        match &self.subservice {
            Some(sub) => self.name.get(sub.len() + 1..).unwrap_or(&self.name),
            None => &self.name,
        }
    }

    /// The subservice, `#Default#` for a name without a dot.
    pub fn subservice_or_default(&self) -> &str {
        self.subservice.as_deref().unwrap_or(DEFAULT_SUBSERVICE)
    }
}

/// An input: a cell or table that a record may fill.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct InputField {
    /// Name and cells.
    #[serde(flatten)]
    pub place: Place,
    /// The kind of value, told by the default (workbooks) or declared (formula documents).
    pub data_type: DataType,
    /// The value used when a record does not give one. A table's default is a list of objects.
    pub default: Json,
    /// What the workbook's data validation, or the document's bounds, allow. Enforced by v3 calls, never on batch
    /// records (contract 5.5).
    pub validation: Option<Validation>,
}

/// An output: a cell or table that every record answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct OutputField {
    /// Name and cells.
    #[serde(flatten)]
    pub place: Place,
    /// The kind of value, told by the value saved in the file.
    pub data_type: DataType,
    /// The value saved in the file, or computed from the defaults when the file holds none.
    pub value: Json,
}

/// What values an input allows, as its source states it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Validation {
    /// `whole`, `decimal`, `list`, `date`, `time`, `textLength` or `custom`, as Excel writes it.
    pub kind: String,
    /// `between`, `greaterThan`, …
    pub operator: Option<String>,
    /// The lower bound, the list or the formula, as written.
    pub first: Option<String>,
    /// The upper bound, as written.
    pub second: Option<String>,
    /// The allowed values of a list, for the service's defaults; `None` for very long lists.
    pub options: Option<Vec<Json>>,
    /// Whether a blank is allowed.
    pub ignore_blank: bool,
    /// Title and text of the prompt.
    pub prompt_title: Option<String>,
    /// The text of the prompt.
    pub prompt: Option<String>,
    /// `stop`, `warning` or `information`.
    pub error_style: Option<String>,
    /// The title of the refusal.
    pub error_title: Option<String>,
    /// The text of the refusal.
    pub error: Option<String>,
    /// The lower bound for the service's defaults; a date as ISO text.
    pub minimum: Option<Json>,
    /// The upper bound for the service's defaults.
    pub maximum: Option<Json>,
    /// Other inputs that bounds or options depend on.
    pub depends_on: Vec<String>,
}

/// How large a service is (contract 4.3: `no_of_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Sheets.
    pub sheets: u32,
    /// Inputs.
    pub inputs: u32,
    /// Outputs.
    pub outputs: u32,
    /// Formulas on all sheets.
    pub formulas: u32,
    /// Cells that hold something.
    pub cells_with_data: u32,
}

/// What the file says about itself (docProps of a workbook, head of a formula document). Absent parts are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Properties {
    /// Title.
    pub title: Option<String>,
    /// Subject.
    pub subject: Option<String>,
    /// Who made it.
    pub creator: Option<String>,
    /// Who saved it last.
    pub last_modified_by: Option<String>,
    /// When it was made, as written in the file.
    pub created: Option<String>,
    /// When it was saved last, as written in the file.
    pub modified: Option<String>,
    /// Description.
    pub description: Option<String>,
    /// The application that wrote it.
    pub application: Option<String>,
    /// The names of the sheets, in order.
    pub sheets: Vec<String>,
}

/// The Excel address of a cell, zero-based: (2, 1) is `B3`.
pub fn cell_address(row: u32, column: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = column + 1;
    while rest > 0 {
        letters.push(char::from(b'A' + u8::try_from((rest - 1) % 26).unwrap_or(0)));
        rest = (rest - 1) / 26;
    }
    let letters: String = letters.into_iter().rev().collect();
    format!("{letters}{}", u64::from(row) + 1)
}

/// The Excel address of a range: `B3` for one cell, else `B3:D9`.
pub fn range_address(range: &crate::book::Range) -> String {
    let first = cell_address(range.first_row, range.first_column);
    if range.is_cell() {
        first
    } else {
        format!("{first}:{}", cell_address(range.last_row, range.last_column))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::book::Range;

    #[test]
    fn addresses_are_those_of_excel() {
        assert_eq!(cell_address(2, 1), "B3");
        assert_eq!(cell_address(0, 25), "Z1");
        assert_eq!(cell_address(0, 26), "AA1");
        assert_eq!(cell_address(1_048_575, 16_383), "XFD1048576");
        let range = Range { sheet: 0, first_row: 2, first_column: 1, last_row: 8, last_column: 3 };
        assert_eq!(range_address(&range), "B3:D9");
    }

    #[test]
    fn interface_survives_storage() {
        let mut interface = Interface::default();
        interface.inputs.push(InputField {
            place: Place { name: "sub.p".into(), subservice: Some("sub".into()), ..Place::default() },
            default: serde_json::json!(20.0),
            ..InputField::default()
        });
        let text = serde_json::to_string(&interface).unwrap();
        assert_eq!(serde_json::from_str::<Interface>(&text).unwrap(), interface);
        assert_eq!(interface.inputs[0].place.short_name(), "p");
    }
}
