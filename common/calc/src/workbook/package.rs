//! The parts that tie a workbook together: relationships, the workbook part, shared strings, tables, properties.

use std::sync::Arc;

use quick_xml::events::Event;

use super::archive::Archive;
use super::reference::parse_area;
use super::xml::{Xml, attribute, flag, unescape_excel};
use crate::book::{DateSystem, DefinedName, Range, Table};
use crate::interface::Properties;
use crate::limits::Limits;
use crate::load::LoadError;

/// One relationship of a part.
pub(super) struct Relationship {
    pub id: String,
    pub kind: String,
    /// Path of the target inside the archive.
    pub target: String,
}

/// A sheet as the workbook part lists it.
pub(super) struct SheetEntry {
    pub name: String,
    pub relationship: String,
}

/// What `xl/workbook.xml` says.
#[derive(Default)]
pub(super) struct WorkbookPart {
    pub sheets: Vec<SheetEntry>,
    pub names: Vec<DefinedName>,
    pub dates: DateSystem,
}

/// The relationships of `part` (empty when it has none).
pub(super) fn relationships(archive: &mut Archive<'_>, part: &str) -> Result<Vec<Relationship>, LoadError> {
    let (folder, file) = part.rsplit_once('/').map_or(("", part), |(folder, file)| (folder, file));
    let path =
        if folder.is_empty() { format!("_rels/{file}.rels") } else { format!("{folder}/_rels/{file}.rels") };
    let Some(text) = archive.text(&path)? else { return Ok(Vec::new()) };
    let mut xml = Xml::new(&text, &path);
    let mut found = Vec::new();
    loop {
        match xml.next()? {
            Event::Start(start) if start.local_name().as_ref() == "Relationship" => {
                if attribute(&start, "TargetMode").is_some_and(|mode| mode.eq_ignore_ascii_case("external")) {
                    continue;
                }
                let target = attribute(&start, "Target").unwrap_or_default();
                found.push(Relationship {
                    id: attribute(&start, "Id").unwrap_or_default(),
                    kind: attribute(&start, "Type").unwrap_or_default(),
                    target: resolve(folder, &target),
                });
            }
            Event::Eof => return Ok(found),
            _ => {}
        }
    }
}

/// The path that `target`, written in a part of `folder`, leads to.
fn resolve(folder: &str, target: &str) -> String {
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.to_owned();
    }
    let mut path: Vec<&str> = folder.split('/').filter(|step| !step.is_empty()).collect();
    for step in target.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(path.pop()),
            step => path.push(step),
        }
    }
    path.join("/")
}

/// Reads the workbook part.
pub(super) fn workbook_part(text: &str, path: &str, limits: &Limits) -> Result<WorkbookPart, LoadError> {
    let mut xml = Xml::new(text, path);
    let mut part = WorkbookPart::default();
    loop {
        match xml.next()? {
            Event::Start(start) => match start.local_name().as_ref() {
                "workbookPr" if flag(&start, "date1904", false) => part.dates = DateSystem::From1904,
                "sheet" => {
                    part.sheets.push(SheetEntry {
                        name: attribute(&start, "name").unwrap_or_default(),
                        relationship: attribute(&start, "id").unwrap_or_default(),
                    });
                    if part.sheets.len() > limits.sheets {
                        return Err(too_many(path, "its sheets", limits.sheets));
                    }
                }
                "definedName" => {
                    let name = attribute(&start, "name").unwrap_or_default();
                    let sheet = attribute(&start, "localSheetId").and_then(|id| id.trim().parse().ok());
                    let comment =
                        attribute(&start, "comment").map(unescape_excel).filter(|text| !text.is_empty());
                    let definition = xml.text(&[])?;
                    let definition = definition.trim().trim_start_matches('=').to_owned();
                    part.names.push(DefinedName { name, sheet, definition, comment });
                    if part.names.len() > limits.names {
                        return Err(too_many(path, "its defined names", limits.names));
                    }
                }
                _ => {}
            },
            Event::Eof => return Ok(part),
            _ => {}
        }
    }
}

/// Reads the shared strings.
pub(super) fn shared_strings(text: &str, path: &str, limits: &Limits) -> Result<Vec<Arc<str>>, LoadError> {
    let mut xml = Xml::new(text, path);
    let mut strings = Vec::new();
    loop {
        match xml.next()? {
            Event::Start(start) if start.local_name().as_ref() == "si" => {
                let string = unescape_excel(xml.text(&["rPh"])?);
                if string.len() > limits.text_length.saturating_mul(4) {
                    return Err(too_many(path, "the characters of a text", limits.text_length));
                }
                strings.push(Arc::from(string));
            }
            Event::Eof => return Ok(strings),
            _ => {}
        }
    }
}

/// Reads a table part of the sheet with index `sheet`.
pub(super) fn table(text: &str, path: &str, sheet: u32) -> Result<Table, LoadError> {
    let mut xml = Xml::new(text, path);
    let mut table: Option<Table> = None;
    loop {
        match xml.next()? {
            Event::Start(start) => match (start.local_name().as_ref(), &mut table) {
                ("table", None) => {
                    let area = attribute(&start, "ref").unwrap_or_default();
                    let area = parse_area(&area)
                        .ok_or_else(|| xml.error(format!("the table's area {area:?} is none")))?;
                    let rows = |name: &str, default: u32| {
                        attribute(&start, name)
                            .map_or(Some(default), |rows| rows.trim().parse().ok())
                            .filter(|rows| *rows < 2)
                    };
                    let name = attribute(&start, "displayName")
                        .or_else(|| attribute(&start, "name"))
                        .unwrap_or_default();
                    let header_rows =
                        rows("headerRowCount", 1).ok_or_else(|| xml.error("bad headerRowCount"))?;
                    let totals_rows =
                        rows("totalsRowCount", 0).ok_or_else(|| xml.error("bad totalsRowCount"))?;
                    let range = Range { sheet, ..area };
                    if range.rows() < header_rows + totals_rows {
                        return Err(xml.error("the table has fewer rows than headings and totals"));
                    }
                    table = Some(Table { name, range, columns: Vec::new(), header_rows, totals_rows });
                }
                ("tableColumn", Some(table)) => {
                    table.columns.push(unescape_excel(attribute(&start, "name").unwrap_or_default()));
                }
                _ => {}
            },
            Event::Eof => break,
            _ => {}
        }
    }
    let table = table.ok_or_else(|| LoadError::unreadable(path, "no table in it"))?;
    if table.columns.len() as u64 != u64::from(table.range.columns()) {
        return Err(LoadError::unreadable(path, "the table's headings do not fit its area"));
    }
    Ok(table)
}

/// Reads a `docProps` part into `properties`.
pub(super) fn properties(text: &str, path: &str, properties: &mut Properties) -> Result<(), LoadError> {
    let mut xml = Xml::new(text, path);
    loop {
        match xml.next()? {
            Event::Start(start) if xml.depth() == 2 => {
                let name = start.local_name().as_ref().to_owned();
                let value = Some(xml.text(&[])?).filter(|text| !text.is_empty() && text.len() < 4096);
                match name.as_str() {
                    "title" => properties.title = value,
                    "subject" => properties.subject = value,
                    "creator" => properties.creator = value,
                    "lastModifiedBy" => properties.last_modified_by = value,
                    "created" => properties.created = value,
                    "modified" => properties.modified = value,
                    "description" => properties.description = value,
                    "Application" => properties.application = value,
                    _ => {}
                }
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
    }
}

fn too_many(place: &str, what: &'static str, limit: usize) -> LoadError {
    LoadError::TooLarge { place: place.into(), what, limit: limit as u64 }
}
