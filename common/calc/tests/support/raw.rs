//! Workbooks written part by part, for what no library writes.

#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The parts of a workbook with one sheet.
pub struct Parts {
    pub content_types: String,
    pub workbook_attributes: String,
    pub names: String,
    pub sheet: String,
    pub extra: Vec<(String, Vec<u8>)>,
}

impl Parts {
    /// A sheet with these rows, `Xinput_a` on A1 and `Xoutput_b` on B1.
    pub fn new(rows: &str) -> Self {
        Self {
            content_types: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml".into(),
            workbook_attributes: String::new(),
            names: r#"<definedName name="Xinput_a">S!$A$1</definedName><definedName name="Xoutput_b">S!$B$1</definedName>"#.into(),
            sheet: format!("<worksheet><sheetData>{rows}</sheetData></worksheet>"),
            extra: Vec::new(),
        }
    }

    pub fn zip(&self) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let mut put = |name: &str, bytes: &[u8]| {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        };
        let types = format!(
            r#"<?xml version="1.0"?><Types><Override PartName="/xl/workbook.xml" ContentType="{}"/></Types>"#,
            self.content_types
        );
        put("[Content_Types].xml", types.as_bytes());
        let kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
        let rels = format!(
            r#"<Relationships><Relationship Id="r1" Type="{kind}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#
        );
        put("_rels/.rels", rels.as_bytes());
        let book = format!(
            r#"<workbook xmlns:r="x"><workbookPr {}/><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets><definedNames>{}</definedNames></workbook>"#,
            self.workbook_attributes, self.names
        );
        put("xl/workbook.xml", book.as_bytes());
        let rels = format!(
            r#"<Relationships><Relationship Id="r1" Type="{kind}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" Type="{kind}/sharedStrings" Target="/xl/sharedStrings.xml"/></Relationships>"#
        );
        put("xl/_rels/workbook.xml.rels", rels.as_bytes());
        put("xl/worksheets/sheet1.xml", self.sheet.as_bytes());
        for (name, bytes) in &self.extra {
            put(name, bytes);
        }
        zip.finish().unwrap().into_inner()
    }
}
