//! Bounds on what a service may contain, checked before anything is allocated for it.

use serde::{Deserialize, Serialize};

/// What a service may contain at most. Everything beyond is refused at upload with an error that names the place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Size of the uploaded file, in bytes.
    pub file_bytes: u64,
    /// Entries in the workbook's zip archive.
    pub archive_entries: usize,
    /// Sum of the decompressed sizes of the archive's entries, in bytes.
    pub decompressed_bytes: u64,
    /// Decompressed size divided by compressed size, for entries above 1 MB.
    pub compression_ratio: u64,
    /// Sheets in a workbook.
    pub sheets: usize,
    /// Cells that hold something, over all sheets.
    pub cells: usize,
    /// Formulas, over all sheets.
    pub formulas: usize,
    /// Characters in one formula (Excel's own limit is 8192).
    pub formula_length: usize,
    /// Nesting of one formula.
    pub formula_nesting: usize,
    /// Characters in one text value (Excel's own limit is 32767).
    pub text_length: usize,
    /// Cells of all inputs and outputs together.
    pub range_area: u64,
    /// Inputs plus outputs.
    pub fields: usize,
    /// Defined names and tables.
    pub names: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 50_000_000,
            archive_entries: 10_000,
            decompressed_bytes: 500_000_000,
            compression_ratio: 250,
            sheets: 1_000,
            cells: 2_000_000,
            formulas: 500_000,
            formula_length: 8_192,
            formula_nesting: 64,
            text_length: 32_767,
            range_area: 100_000,
            fields: 10_000,
            names: 50_000,
        }
    }
}
