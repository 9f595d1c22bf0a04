//! Warnings and errors of single records, written down as they arise (contract 2.3).

use super::write::{repeat, text};

/// Notes of one kind, as JSON objects, in any order of records.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    bytes: Vec<u8>,
    entries: Vec<(u32, usize)>,
}

impl Notes {
    /// Adds an object that `write` appends.
    pub(crate) fn add(&mut self, record: u32, write: impl FnOnce(&mut Vec<u8>)) {
        self.entries.push((record, self.bytes.len()));
        write(&mut self.bytes);
    }

    /// Adds `{"source_path"?, "message"}`.
    pub(crate) fn warn(&mut self, record: u32, path: Option<&str>, message: &str) {
        self.add(record, |out| {
            out.push(b'{');
            if let Some(path) = path {
                out.extend_from_slice(b"\"source_path\":");
                text(path, out);
                out.push(b',');
            }
            out.extend_from_slice(b"\"message\":");
            text(message, out);
            out.push(b'}');
        });
    }

    /// The records that have notes, ascending.
    pub(crate) fn records(&self) -> Vec<u32> {
        let mut records: Vec<u32> = self.entries.iter().map(|(record, _)| *record).collect();
        records.sort_unstable();
        records.dedup();
        records
    }

    /// Appends the companion array: `null` or a list of objects, per record. Answers how many records have a list.
    pub(crate) fn write(&self, records: u32, out: &mut Vec<u8>) -> u32 {
        let mut order: Vec<(u32, &[u8])> = Vec::with_capacity(self.entries.len());
        for (index, (record, start)) in self.entries.iter().enumerate() {
            let end = self.entries.get(index + 1).map_or(self.bytes.len(), |next| next.1);
            order.push((*record, self.bytes.get(*start..end).unwrap_or_default()));
        }
        order.sort_by_key(|(record, _)| *record);
        out.push(b'[');
        let body = out.len();
        let (mut next, mut noted) = (0_u32, 0_u32);
        let mut open = false;
        for (record, object) in order {
            if open && record + 1 == next {
                out.push(b',');
            } else {
                if open {
                    out.extend_from_slice(b"],");
                }
                repeat(b"null,", record.saturating_sub(next) as usize, out);
                out.push(b'[');
                open = true;
                noted += 1;
                next = record + 1;
            }
            out.extend_from_slice(object);
        }
        if open {
            out.extend_from_slice(b"],");
        }
        repeat(b"null,", records.saturating_sub(next) as usize, out);
        if out.len() > body {
            out.pop();
        }
        out.push(b']');
        noted
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn every_record_has_an_entry() {
        let mut notes = Notes::default();
        let mut out = Vec::new();
        assert_eq!(notes.write(3, &mut out), 0);
        assert_eq!(out, b"[null,null,null]");
        notes.warn(3, None, "late");
        notes.warn(1, Some("inputs.a"), "x");
        notes.warn(1, None, "y");
        notes.warn(2, None, "z");
        out.clear();
        assert_eq!(notes.write(5, &mut out), 3);
        assert_eq!(notes.records(), [1, 2, 3]);
        let expected = r#"[null,[{"source_path":"inputs.a","message":"x"},{"message":"y"}],[{"message":"z"}],[{"message":"late"}],null]"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let mut out = Vec::new();
        Notes::default().write(0, &mut out);
        assert_eq!(out, b"[]");
    }
}
