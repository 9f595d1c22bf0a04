//! The workbook reader: whole archives, or else a worksheet part inside a sound archive, which gets behind the checksums.

#![no_main]

use std::io::{Cursor, Write};

use libfuzzer_sys::fuzz_target;
use millrace_calc::limits::Limits;
use millrace_calc::service::{Service, SourceKind};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const KIND: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

fn archive(sheet: &[u8]) -> Option<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut put = |name: &str, bytes: &[u8]| {
        zip.start_file(name, SimpleFileOptions::default()).ok()?;
        zip.write_all(bytes).ok()
    };
    put("[Content_Types].xml", b"<Types/>")?;
    let main = format!(r#"<Relationships><Relationship Id="r1" Type="{KIND}/officeDocument" Target="xl/workbook.xml"/></Relationships>"#);
    put("_rels/.rels", main.as_bytes())?;
    put(
        "xl/workbook.xml",
        br#"<workbook><sheets><sheet name="S" id="r1"/></sheets><definedNames><definedName name="Xinput_a">S!$A$1</definedName><definedName name="Xoutput_b">S!$B$1</definedName></definedNames></workbook>"#,
    )?;
    let links = format!(r#"<Relationships><Relationship Id="r1" Type="{KIND}/worksheet" Target="sheet.xml"/></Relationships>"#);
    put("xl/_rels/workbook.xml.rels", links.as_bytes())?;
    put("xl/sheet.xml", sheet)?;
    zip.finish().ok().map(Cursor::into_inner)
}

fuzz_target!(|data: &[u8]| {
    let bytes = if data.starts_with(b"PK") { Some(data.to_vec()) } else { archive(data) };
    if let Some(bytes) = bytes {
        let _ = Service::load(SourceKind::Workbook, &bytes, &Limits::default());
    }
});
