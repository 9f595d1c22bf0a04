//! Workbooks that somebody broke: any edit of a real one is read or refused with a reason, in bounded time and memory.
//! `PROPTEST_CASES=50000 cargo test --release -p millrace-calc --test engine_hostile` runs longer than the suite does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "support/properties.rs"]
mod properties;

use std::io::{Cursor, Read, Write};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use millrace_calc::limits::Limits;
use millrace_calc::service::{Service, SourceKind};
use proptest::prelude::*;
use rust_xlsxwriter::{DataValidation, DataValidationRule, Formula, Table, TableColumn, Workbook};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// A small workbook with everything that the reader looks at, as its parts.
static PARTS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let mut book = Workbook::new();
    let sheet = book.add_worksheet();
    for row in 0..4_u32 {
        sheet.write(row, 0, row + 1).unwrap().write(row, 1, format!("text {row}")).unwrap();
        sheet.write_formula(row, 2, Formula::new(format!("=A{}*2", row + 1)).set_result("4")).unwrap();
    }
    sheet.write_formula(5, 0, Formula::new("=SUM(Items[b])+VLOOKUP(A1,A1:C4,3)").set_result("1")).unwrap();
    sheet.write_array_formula(6, 0, 6, 0, Formula::new("{=SUM(A1:A4*2)}")).unwrap();
    sheet
        .add_data_validation(
            0,
            0,
            0,
            0,
            &DataValidation::new().allow_whole_number(DataValidationRule::Between(1, 9)),
        )
        .unwrap();
    let columns = ["a", "b"].map(|name| TableColumn::new().set_header(name));
    sheet.add_table(8, 0, 11, 1, &Table::new().set_name("Items").set_columns(&columns)).unwrap();
    sheet.merge_range(13, 0, 13, 2, "merged", &rust_xlsxwriter::Format::new()).unwrap();
    book.add_worksheet().write(0, 0, true).unwrap();
    for (name, target) in [
        ("Xinput_a", "=Sheet1!$A$1"),
        ("Xoutput_b", "=Sheet1!$C$1"),
        ("Xoutput_c", "=Sheet1!$A$6"),
        ("constant", "=0.5"),
        ("expression", "=Sheet1!$A$1*constant"),
    ] {
        book.define_name(name, target).unwrap();
    }
    let mut archive = ZipArchive::new(Cursor::new(book.save_to_buffer().unwrap())).unwrap();
    (0..archive.len())
        .map(|i| {
            let mut part = archive.by_index(i).unwrap();
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes).unwrap();
            (part.name().unwrap().into_owned(), bytes)
        })
        .collect()
});

fn zipped(parts: &[(String, Vec<u8>)], stored: bool) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let method = if stored { CompressionMethod::Stored } else { CompressionMethod::Deflated };
    for (name, bytes) in parts {
        // Two parts of one name are a fault of their own, which the writer refuses.
        if zip.start_file(name.as_str(), SimpleFileOptions::default().compression_method(method)).is_ok() {
            zip.write_all(bytes).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

/// What people write into attributes and elements to break readers.
const TOKENS: [&str; 34] = [
    "",
    "0",
    "-1",
    "1048577",
    "4294967296",
    "18446744073709551616",
    "1e400",
    "NaN",
    "XFD1048576",
    "A1:XFD1048576",
    "A0",
    "ZZZZ1",
    "#REF!",
    "\"",
    "<",
    ">",
    "&#0;",
    "&#x110000;",
    "&unknown;",
    "]]>",
    "<![CDATA[",
    "<!DOCTYPE x [<!ENTITY a \"b\">]>",
    "<!--",
    "array",
    "shared",
    "dataTable",
    "../../../etc/passwd",
    "/",
    "si=\"4000000000\"",
    "count=\"4000000000\"",
    "(((((((((((((((((((((((((((((((((((((((",
    "A1:A1048576",
    "SUM(",
    "\u{feff}é",
];

#[derive(Debug, Clone)]
enum Edit {
    /// Exchange bytes of the archive itself.
    Bytes(Vec<(prop::sample::Index, u8)>),
    Cut(prop::sample::Index),
    /// Put a token into a part, in the place of some of its bytes.
    Part(prop::sample::Index, prop::sample::Index, usize, usize),
    /// Give an attribute another value.
    Attribute(prop::sample::Index, prop::sample::Index, usize),
    Remove(prop::sample::Index),
    Rename(prop::sample::Index, prop::sample::Index),
    /// Repeat a stretch of a part many times.
    Repeat(prop::sample::Index, prop::sample::Index, usize, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        2 => prop::collection::vec((index(), any::<u8>()), 1..6).prop_map(Edit::Bytes),
        1 => index().prop_map(Edit::Cut),
        3 => (index(), index(), 0..30_usize, 0..TOKENS.len()).prop_map(|(p, at, n, t)| Edit::Part(p, at, n, t)),
        6 => (index(), index(), 0..TOKENS.len()).prop_map(|(p, at, t)| Edit::Attribute(p, at, t)),
        1 => index().prop_map(Edit::Remove),
        1 => (index(), index()).prop_map(|(a, b)| Edit::Rename(a, b)),
        1 => (index(), index(), 1..60_usize, 2..2000_usize).prop_map(|(p, at, n, k)| Edit::Repeat(p, at, n, k)),
    ]
}

fn apply(parts: &mut Vec<(String, Vec<u8>)>, edit: &Edit) {
    if parts.is_empty() {
        return;
    }
    match edit {
        Edit::Part(part, at, length, token) => {
            let bytes = &mut part.get_mut(parts).1;
            let start = at.index(bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, TOKENS[*token].bytes());
        }
        Edit::Attribute(part, at, token) => {
            let bytes = &mut part.get_mut(parts).1;
            let starts: Vec<usize> =
                bytes.windows(2).enumerate().filter(|(_, w)| *w == b"=\"").map(|(i, _)| i + 2).collect();
            if starts.is_empty() {
                return;
            }
            let start = *at.get(&starts);
            let end = bytes[start..].iter().position(|b| *b == b'"').map_or(bytes.len(), |n| start + n);
            bytes.splice(start..end, TOKENS[*token].bytes());
        }
        Edit::Remove(part) => drop(parts.remove(part.index(parts.len()))),
        Edit::Rename(a, b) => {
            let name = b.get(parts).0.clone();
            a.get_mut(parts).0 = name;
        }
        Edit::Repeat(part, at, length, times) => {
            let bytes = &mut part.get_mut(parts).1;
            let start = at.index(bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            let stretch = bytes[start..end].repeat(*times);
            bytes.splice(end..end, stretch);
        }
        Edit::Bytes(_) | Edit::Cut(_) => {}
    }
}

/// Kilobytes that the process has held at most.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..properties::config(2500) })]

    #[test]
    fn a_broken_workbook_is_read_or_refused(edits in prop::collection::vec(edit(), 1..5), stored in any::<bool>()) {
        let mut parts = PARTS.clone();
        for edit in &edits {
            apply(&mut parts, edit);
        }
        let mut bytes = zipped(&parts, stored);
        for edit in &edits {
            match edit {
                Edit::Bytes(list) => {
                    for (at, byte) in list {
                        if !bytes.is_empty() {
                            *at.get_mut(&mut bytes) = *byte;
                        }
                    }
                }
                Edit::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
                _ => {}
            }
        }
        let (before, started) = (most_memory(), Instant::now());
        if let Err(error) = Service::load(SourceKind::Workbook, &bytes, &Limits::default()) {
            prop_assert!(!error.to_string().is_empty());
        }
        prop_assert!(started.elapsed() < Duration::from_secs(10), "it took {:?}", started.elapsed());
        let grown = most_memory().saturating_sub(before);
        prop_assert!(grown < 600_000, "it took {grown} kB for {} bytes", bytes.len());
    }
}

#[test]
fn the_workbook_that_is_broken_is_whole_at_first() {
    let service = Service::load(SourceKind::Workbook, &zipped(&PARTS, false), &Limits::default()).unwrap();
    assert_eq!(service.interface().outputs.len(), 2);
}
