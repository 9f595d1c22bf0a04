//! Parquet as the output of a run: a file that cannot grow, for its description stands at its end. So rows gather in a file of
//! JSON Lines beside it, which a later run goes on with like any output, and the Parquet file is written when all are there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_table::{Cell, Columns, Format, Options, ParquetRows, Reader, RowsError, Source};

use super::super::error::CliError;
use super::files::Target;
use super::journal::Plan;

/// Where rows gather, and where they go.
#[derive(Debug)]
pub struct Conversion {
    rows: PathBuf,
    output: PathBuf,
    /// The columns where no chunk was completed.
    keys: Vec<String>,
}

impl Conversion {
    /// What an output needs; `None` for other formats.
    pub fn of(target: &Target, plan: &Plan) -> Result<Option<Self>, CliError> {
        if Format::named(&plan.output_format) != Some(Format::Parquet) {
            return Ok(None);
        }
        let (Target::File(output), Some(rows)) = (target, target.beside(".millrace.rows")) else {
            return Err(CliError::Usage(
                "Parquet is written to files only: name one with --output".to_owned(),
            ));
        };
        Ok(Some(Self { rows, output: output.clone(), keys: plan.key.clone() }))
    }

    /// The file in which rows gather.
    pub fn rows(&self) -> &Path {
        &self.rows
    }

    /// Writes the Parquet file, which is there as a whole or not at all.
    pub fn write(&self, columns: Option<Vec<String>>) -> Result<(), CliError> {
        let columns = columns.unwrap_or_else(|| self.keys.clone());
        let columns = if columns.is_empty() { vec!["record".to_owned()] } else { columns };
        let file = File::open(&self.rows).map_err(|error| CliError::file(&self.rows, error))?;
        let wrong =
            |error: &dyn std::fmt::Display| CliError::Failed(format!("{}: {error}", self.rows.display()));
        let mut reader = Reader::open(Source::File(file), Format::JsonLines, Options::default())
            .map_err(|error| wrong(&error))?;
        write(&self.output, columns.into(), |rows| {
            while let Some(record) = reader.next_record().map_err(|error| wrong(&error))? {
                let cells: Vec<String> = record.cells.iter().map(json_of).collect();
                rows.push(cells.iter().map(String::as_str)).map_err(|error| wrong(&error))?;
            }
            Ok(())
        })
    }
}

/// A cell as a JSON text.
pub fn json_of(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) if text.is_empty() => "null".to_owned(),
        Cell::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Cell::Value(value) => value.to_string(),
    }
}

/// Writes a Parquet file of the records that `fill` gives, under another name until it is whole.
pub fn write(
    path: &Path,
    columns: Columns,
    fill: impl FnOnce(&mut ParquetRows) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let part = super::files::beside(path, ".millrace.part");
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let wrong = |error: &RowsError| CliError::Failed(format!("{}: {error}", path.display()));
    let mut rows = ParquetRows::new(Arc::clone(&columns), folder, u64::MAX).map_err(|error| wrong(&error))?;
    fill(&mut rows)?;
    let file = File::create(&part).map_err(|error| CliError::file(&part, error))?;
    rows.write_to(&file).map_err(|error| wrong(&error))?;
    file.sync_all().map_err(|error| CliError::file(&part, error))?;
    std::fs::rename(&part, path).map_err(|error| CliError::file(path, error))
}
