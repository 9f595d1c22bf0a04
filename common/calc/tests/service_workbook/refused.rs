//! Files that are refused, and what names the place.

use millrace_calc::limits::Limits;
use millrace_calc::load::LoadError;
use millrace_calc::service::{Service, SourceKind};
use proptest::prelude::*;

use super::raw::Parts;
use super::support::{self, load, sales_workbook};
use super::{CELLS, refused};

#[test]
fn macros_are_refused() {
    let mut parts = Parts::new(CELLS);
    parts.extra.push(("xl/vbaProject.bin".into(), vec![1, 2, 3]));
    assert!(matches!(refused(&parts), LoadError::Macros(_)));
    let mut parts = Parts::new(CELLS);
    parts.content_types = "application/vnd.ms-excel.sheet.macroEnabled.main+xml".into();
    assert!(matches!(refused(&parts), LoadError::Macros(_)));
}

#[test]
fn other_files_are_refused() {
    let mut encrypted = vec![0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
    assert!(matches!(load(&encrypted), Err(LoadError::NotAWorkbook(message)) if message.contains(".xls")));
    encrypted.extend("EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(load(&encrypted).unwrap_err(), LoadError::Encrypted);
    for bytes in [&b""[..], b"PK", b"hello", b"PK\x03\x04rest"] {
        assert!(matches!(load(bytes), Err(LoadError::NotAWorkbook(_))), "{bytes:?}");
    }
    let whole = sales_workbook().save_to_buffer().unwrap();
    assert!(matches!(load(&whole[..whole.len() / 2]), Err(LoadError::NotAWorkbook(_))));
}

#[test]
fn a_zip_bomb_is_refused() {
    let mut parts = Parts::new(CELLS);
    parts.extra.push(("xl/sharedStrings.xml".into(), vec![b' '; 20_000_000]));
    assert!(matches!(refused(&parts), LoadError::ZipBomb { .. }));
}

#[test]
fn limits_hold() {
    let bytes = sales_workbook().save_to_buffer().unwrap();
    let base = Limits::default();
    for limits in [
        Limits { file_bytes: 100, ..base.clone() },
        Limits { archive_entries: 2, ..base.clone() },
        Limits { decompressed_bytes: 1000, ..base.clone() },
        Limits { cells: 7, ..base.clone() },
        Limits { formulas: 0, ..base.clone() },
        Limits { sheets: 0, ..base.clone() },
        Limits { fields: 3, ..base.clone() },
        Limits { names: 3, ..base.clone() },
        Limits { range_area: 3, ..base.clone() },
        Limits { formula_length: 5, ..base },
    ] {
        let error = Service::load(SourceKind::Workbook, &bytes, &limits).unwrap_err();
        assert!(matches!(error, LoadError::TooLarge { .. }), "{limits:?}: {error}");
    }
}

#[test]
fn a_cell_in_the_last_corner_costs_one_cell() {
    let rows = format!(r#"{CELLS}<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>"#);
    assert_eq!(load(&Parts::new(&rows).zip()).unwrap().interface().counts.cells_with_data, 3);
    for bad in ["XFE1", "A0", "A1048577", "1A"] {
        let rows = format!(r#"{CELLS}<row><c r="{bad}"><v>1</v></c></row>"#);
        assert!(matches!(refused(&Parts::new(&rows)), LoadError::Unreadable { .. }), "{bad}");
    }
}

#[test]
fn broken_parts_are_named() {
    for (rows, part) in [
        (r#"<row><c r="A1"><v>NaN</v></c></row>"#, "S!A1"),
        (r#"<row><c r="A1"><v>1e999</v></c></row>"#, "S!A1"),
        (r#"<row><c r="A1" t="s"><v>5</v></c></row>"#, "S!A1"),
        (r#"<row><c r="A1"><v>1</v></c><c r="A1"><v>2</v></c></row>"#, "S!A1"),
        (r#"<row><c r="A1"><f t="shared" si="9"/></c></row>"#, "S!A1"),
        (r#"<row><c r="A1"><v>1</row>"#, "S"),
        (r#"<row><c r="A1"><v>&nope;</v></c></row>"#, "S"),
    ] {
        match refused(&Parts::new(rows)) {
            LoadError::Unreadable { part: place, .. } => assert_eq!(place, part, "{rows}"),
            other => panic!("{rows}: {other}"),
        }
    }
    let mut parts = Parts::new(CELLS);
    parts.sheet = "<!DOCTYPE x [<!ENTITY a \"b\">]><worksheet/>".into();
    assert!(refused(&parts).to_string().contains("document type"));
    let deep = "<x>".repeat(100_000);
    parts.sheet = deep;
    assert!(refused(&parts).to_string().contains("deeply"));
}

proptest! {
    #![proptest_config(support::properties::config(96))]

    #[test]
    fn damaged_workbooks_never_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = Parts::new(CELLS).zip();
        for (at, byte) in damage {
            let place = at.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = load(&bytes);
    }

    #[test]
    fn damaged_sheets_never_panic(at in any::<prop::sample::Index>(), text in "[<>/&;a-z0-9\"= ]{0,4}") {
        let mut parts = Parts::new(CELLS);
        let mut sheet: Vec<char> = parts.sheet.chars().collect();
        let place = at.index(sheet.len());
        sheet.splice(place..(place + 1).min(sheet.len()), text.chars());
        parts.sheet = sheet.into_iter().collect();
        let _ = load(&parts.zip());
    }
}
