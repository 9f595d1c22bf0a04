//! Excel workbooks: `.xlsx` bytes to a [`Book`](crate::book::Book) and its marked cells.
//!
//! The file comes from a stranger. So the archive is checked before anything is decompressed, parts are decompressed within
//! a common budget, cells go into a hash (never an area), and no number found in the file decides how much is allocated.
//! Macros, encryption and the old binary formats are refused. External references and what-if tables are refused where an output
//! needs them, with the cell named.

mod archive;
mod names;
mod package;
pub(crate) mod reference;
pub(crate) mod sheet;
mod xml;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::book::ArrayFormula;
use crate::functions::serial;
use crate::limits::Limits;
use crate::load::LoadError;
use crate::source::Source;

/// The formula that stands for a construct which only matters when an output needs it: no function has this name.
const REFUSED: &str = "MILLRACE.REFUSED()";

/// Reads a workbook.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Source, LoadError> {
    // The zip and XML libraries are not ours, and a file made to break them must not take the process along. Nothing that the
    // closure touches outlives a panic, so unwinding leaves no broken state behind.
    catch_unwind(AssertUnwindSafe(|| read_parts(bytes, limits)))
        .unwrap_or_else(|_| Err(LoadError::NotAWorkbook("a part of the file breaks the reader".into())))
}

/// Cells that may be looked at to mark the areas of array formulas.
const ARRAY_WORK: u64 = 20_000_000;

/// Replaces what array formulas and data tables compute by [`REFUSED`], and hands over the array formulas by themselves.
fn refuse_arrays(
    worksheet: &mut sheet::Worksheet,
    source: &mut Source,
    work: &mut u64,
) -> Result<(), LoadError> {
    let cells = &mut worksheet.sheet.cells;
    for array in worksheet.arrays.drain(..) {
        let (area, construct) = (&array.area, array.construct);
        let size = u64::from(area.rows()) * u64::from(area.columns());
        let left = work.checked_sub(size.min(cells.len() as u64));
        *work = left.ok_or_else(|| LoadError::TooLarge {
            place: worksheet.sheet.name.clone(),
            what: "the areas of array formulas",
            limit: ARRAY_WORK,
        })?;
        let rows = area.first_row..=area.last_row;
        let columns = area.first_column..=area.last_column;
        if size <= cells.len() as u64 {
            for at in rows.flat_map(|row| columns.clone().map(move |column| (row, column))) {
                if let Some(cell) = cells.get_mut(&at) {
                    cell.formula = Some(REFUSED.to_owned());
                }
            }
        } else {
            for (at, cell) in cells.iter_mut() {
                if rows.contains(&at.0) && columns.contains(&at.1) {
                    cell.formula = Some(REFUSED.to_owned());
                }
            }
        }
        match array.dynamic {
            Some(dynamic) => {
                source.book.arrays.push(ArrayFormula { area: *area, formula: array.formula, dynamic });
            }
            None => source.refused.push((*area, construct)),
        }
    }
    Ok(())
}

fn read_parts(bytes: &[u8], limits: &Limits) -> Result<Source, LoadError> {
    let mut archive = archive::Archive::open(bytes, limits)?;
    if let Some(name) = archive.names().find(|name| name.ends_with("vbaproject.bin")) {
        return Err(LoadError::Macros(name.to_owned()));
    }
    let types = archive.text("[Content_Types].xml")?;
    let types = types.ok_or_else(|| LoadError::NotAWorkbook("[Content_Types].xml is missing".into()))?;
    if types.contains("macroEnabled") || types.contains("vbaProject") {
        return Err(LoadError::Macros("[Content_Types].xml".into()));
    }

    let main = package::relationships(&mut archive, "")?;
    let main = main.into_iter().find(|part| part.kind.ends_with("/relationships/officeDocument"));
    let main = main.map_or_else(|| "xl/workbook.xml".to_owned(), |part| part.target);
    if main.to_lowercase().ends_with(".bin") {
        return Err(LoadError::NotAWorkbook("this is the binary .xlsb format; save it as .xlsx".into()));
    }
    let text = archive.text(&main)?;
    let text = text.ok_or_else(|| LoadError::NotAWorkbook(format!("{main} is missing")))?;
    let part = package::workbook_part(&text, &main, limits)?;
    let links = package::relationships(&mut archive, &main)?;

    let strings = links.iter().find(|link| link.kind.ends_with("/sharedStrings"));
    let strings = match strings {
        Some(link) => match archive.text(&link.target)? {
            Some(text) => package::shared_strings(&text, &link.target, limits)?,
            None => Vec::new(),
        },
        None => Vec::new(),
    };

    let mut source = Source::default();
    source.book.dates = part.dates;
    let _dates = serial::enter(part.dates);
    let mut budget = sheet::Budget { limits, cells: limits.cells, formulas: limits.formulas };
    let mut marks = names::Marks::default();
    let mut marking = ARRAY_WORK;
    for (index, entry) in part.sheets.iter().enumerate() {
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let link = links.iter().find(|link| link.id == entry.relationship);
        let link =
            link.ok_or_else(|| LoadError::unreadable(&entry.name, "the sheet has no part in the file"))?;
        if !link.kind.ends_with("/worksheet") {
            // Chart sheets keep their place in the order, without cells.
            source.book.sheets.push(crate::book::Sheet { name: entry.name.clone(), ..Default::default() });
            continue;
        }
        let text = archive.text(&link.target)?;
        let text =
            text.ok_or_else(|| LoadError::unreadable(&entry.name, format!("{} is missing", link.target)))?;
        let mut worksheet = sheet::worksheet(&text, &entry.name, index, &strings, &mut budget)?;
        refuse_arrays(&mut worksheet, &mut source, &mut marking)?;
        source.formulas += worksheet.formulas;
        source.book.sheets.push(worksheet.sheet);
        marks.merged.extend(worksheet.merged.drain(..));
        marks.validations.append(&mut worksheet.validations);
        for table in package::relationships(&mut archive, &link.target)? {
            if table.kind.ends_with("/table")
                && let Some(text) = archive.text(&table.target)?
            {
                source.book.tables.push(package::table(&text, &table.target, index)?);
            }
        }
        if source.book.tables.len() > limits.names {
            let limit = limits.names as u64;
            return Err(LoadError::TooLarge {
                place: entry.name.clone(),
                what: "the workbook's tables",
                limit,
            });
        }
    }
    source.book.names = part.names;
    names::mark(&mut source, &marks, limits)?;

    for path in ["docProps/core.xml", "docProps/app.xml"] {
        if let Some(text) = archive.text(path)? {
            package::properties(&text, path, &mut source.properties)?;
        }
    }
    source.properties.sheets = source.book.sheets.iter().map(|sheet| sheet.name.clone()).collect();
    Ok(source)
}
