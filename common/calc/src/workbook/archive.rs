//! The zip archive around a workbook, read within bounds.

use std::io::{Cursor, Read};

use rustc_hash::FxHashMap;
use zip::ZipArchive;

use crate::limits::Limits;
use crate::load::LoadError;

/// Below this size a high ratio is no danger.
const RATIO_FROM: u64 = 1_000_000;

/// An open archive; parts are decompressed on demand, and all of them together stay within the limits.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Lower-case path without a leading slash → index of the entry.
    index: FxHashMap<String, usize>,
    budget: u64,
    limits: &'a Limits,
}

impl<'a> Archive<'a> {
    /// Opens `bytes`, refusing what is no plain zip of a workbook or declares more than the limits allow.
    pub(super) fn open(bytes: &'a [u8], limits: &'a Limits) -> Result<Self, LoadError> {
        if bytes.len() as u64 > limits.file_bytes {
            return Err(LoadError::TooLarge {
                place: "the file".into(),
                what: "its bytes",
                limit: limits.file_bytes,
            });
        }
        if bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1]) {
            let marker: Vec<u8> = "EncryptedPackage".encode_utf16().flat_map(u16::to_le_bytes).collect();
            return Err(if memchr::memmem::find(bytes, &marker).is_some() {
                LoadError::Encrypted
            } else {
                LoadError::NotAWorkbook("this is the old .xls format; save it as .xlsx".into())
            });
        }
        let broken = |error: zip::result::ZipError| {
            LoadError::NotAWorkbook(format!("the zip archive is broken: {error}"))
        };
        if !bytes.starts_with(b"PK") {
            return Err(LoadError::NotAWorkbook("it does not start like a zip archive".into()));
        }
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
        if zip.len() > limits.archive_entries {
            let limit = limits.archive_entries as u64;
            return Err(LoadError::TooLarge { place: "the archive".into(), what: "its entries", limit });
        }
        if zip.has_duplicate_names() || zip.has_overlapping_files().map_err(broken)? {
            return Err(LoadError::NotAWorkbook(
                "the zip archive has overlapping or duplicate entries".into(),
            ));
        }
        let mut index = FxHashMap::default();
        let mut declared = 0_u64;
        for number in 0..zip.len() {
            let entry = zip.by_index_raw(number).map_err(broken)?;
            if entry.encrypted() {
                return Err(LoadError::Encrypted);
            }
            let name = entry.name().map_err(broken)?.into_owned();
            declared = declared.saturating_add(entry.size());
            check_ratio(&name, entry.size(), entry.compressed_size(), limits)?;
            index.insert(key(&name), number);
        }
        if declared > limits.decompressed_bytes {
            let limit = limits.decompressed_bytes;
            return Err(LoadError::TooLarge {
                place: "the archive".into(),
                what: "its decompressed bytes",
                limit,
            });
        }
        Ok(Self { zip, index, budget: limits.decompressed_bytes, limits })
    }

    /// The names of all entries, in lower case.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// The text of a part, or `None` when there is no such part. Paths compare without case.
    pub(super) fn text(&mut self, path: &str) -> Result<Option<String>, LoadError> {
        let Some(&number) = self.index.get(&key(path)) else { return Ok(None) };
        let broken = |message: String| LoadError::unreadable(path, message);
        let entry = self.zip.by_index(number).map_err(|error| broken(error.to_string()))?;
        let compressed = entry.compressed_size();
        let mut text = Vec::new();
        // The declared size may lie, so the bound is on what really comes out.
        let read = entry.take(self.budget + 1).read_to_end(&mut text);
        let size = text.len() as u64;
        check_ratio(path, size, compressed, self.limits)?;
        if size > self.budget {
            let limit = self.limits.decompressed_bytes;
            return Err(LoadError::TooLarge {
                place: path.into(),
                what: "the archive's decompressed bytes",
                limit,
            });
        }
        read.map_err(|error| broken(error.to_string()))?;
        self.budget -= size;
        let mut text = String::from_utf8(text).map_err(|_| broken("not UTF-8".into()))?;
        if text.starts_with('\u{FEFF}') {
            text.drain(..'\u{FEFF}'.len_utf8());
        }
        Ok(Some(text))
    }
}

fn key(path: &str) -> String {
    path.trim_start_matches('/').replace('\\', "/").to_lowercase()
}

fn check_ratio(name: &str, size: u64, compressed: u64, limits: &Limits) -> Result<(), LoadError> {
    if size > RATIO_FROM && size / compressed.max(1) > limits.compression_ratio {
        return Err(LoadError::ZipBomb { part: name.into(), ratio: limits.compression_ratio });
    }
    Ok(())
}
