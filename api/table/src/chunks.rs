//! Cuts the records of a file into chunks: the same file and settings always give the same chunks, byte for byte, which is what
//! makes a repeated push harmless.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Cell, Columns, Reader, Record, TableError};

/// Bytes of data with which a chunk of an upload ends.
pub const CHUNK_BYTES: usize = 1_000_000;

/// Records that are pushed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its place in the file, from 0.
    pub index: u64,
    /// Its records.
    pub records: u32,
    /// The chunk's `data` as JSON.
    pub data: Vec<u8>,
}

/// The records of a file in chunks. The columns are those of the heading; in JSON Lines those of the first object, and a record
/// that lacks one is blank there.
#[derive(Debug)]
pub struct Pieces {
    reader: Reader,
    /// Records in each chunk but the last.
    size: u32,
    /// A chunk ends when its data has so many bytes.
    bytes: usize,
    /// `"parameters"` of every chunk.
    parameters: Map<String, Value>,
    next: u64,
}

/// Appends a value as JSON; writing into memory cannot fail.
fn append<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(out, value);
}

impl Pieces {
    /// Cuts what a reader gives into chunks of `size` records, or fewer when they have more than `bytes`; at least one.
    pub fn new(reader: Reader, size: u32, bytes: usize, parameters: Map<String, Value>) -> Self {
        Self { reader, size: size.max(1), bytes, parameters, next: 0 }
    }

    /// Names of the columns.
    pub fn columns(&self) -> &Columns {
        self.reader.columns()
    }

    /// Takes the next chunk's records out of the file, handing each to `each`, which says how many bytes there are; `None` at
    /// the end.
    fn take(
        &mut self,
        mut each: impl FnMut(&Columns, &Record) -> Result<usize, TableError>,
    ) -> Result<Option<(u64, u32)>, TableError> {
        let (mut records, mut bytes) = (0, 0);
        let columns = Arc::clone(self.reader.columns());
        while records < self.size && bytes < self.bytes {
            let Some(record) = self.reader.next_record()? else { break };
            bytes = each(&columns, &record)?;
            records += 1;
        }
        if records == 0 {
            return Ok(None);
        }
        let index = self.next;
        self.next += 1;
        Ok(Some((index, records)))
    }

    /// The next chunk; `None` at the end. May block.
    ///
    /// # Errors
    ///
    /// A [`TableError`] with the place of what is wrong.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, TableError> {
        let mut data = b"{\"inputs\":[".to_vec();
        append(&mut data, &**self.reader.columns());
        let taken = self.take(|columns, record| append_record(&mut data, columns, record))?;
        let Some((index, records)) = taken else { return Ok(None) };
        data.extend_from_slice(b"],\"parameters\":");
        append(&mut data, &self.parameters);
        data.push(b'}');
        Ok(Some(Piece { index, records, data }))
    }

    /// Passes over the next chunk; its records, or `None` at the end. May block.
    ///
    /// # Errors
    ///
    /// As [`Pieces::next_piece`].
    pub fn skip_piece(&mut self) -> Result<Option<u32>, TableError> {
        let mut data = b"{\"inputs\":[".to_vec();
        append(&mut data, &**self.reader.columns());
        // Chunks end by bytes as well, so that they must be made to be passed over.
        let taken = self.take(|columns, record| append_record(&mut data, columns, record))?;
        Ok(taken.map(|(_, records)| records))
    }

    /// The place of the next chunk.
    pub const fn next_index(&self) -> u64 {
        self.next
    }
}

/// Appends `,[…]`; the bytes that there are then.
fn append_record(data: &mut Vec<u8>, columns: &Columns, record: &Record) -> Result<usize, TableError> {
    let cell = |data: &mut Vec<u8>, cell: Option<&Cell>| match cell {
        None => data.extend_from_slice(b"null"),
        Some(Cell::Text(text)) if text.is_empty() => data.extend_from_slice(b"null"),
        Some(Cell::Text(text)) => append(data, text.as_str()),
        Some(Cell::Value(value)) => append(data, value),
    };
    data.extend_from_slice(b",[");
    if Arc::ptr_eq(columns, &record.columns) || columns == &record.columns {
        for (at, own) in record.cells.iter().enumerate() {
            if at > 0 {
                data.push(b',');
            }
            cell(data, Some(own));
        }
    } else {
        if let Some(strange) = record.columns.iter().find(|name| !columns.contains(name)) {
            return Err(TableError::in_column(record.place, strange, "the first record has no such column"));
        }
        for (at, column) in columns.iter().enumerate() {
            if at > 0 {
                data.push(b',');
            }
            cell(
                data,
                record.columns.iter().position(|name| name == column).and_then(|at| record.cells.get(at)),
            );
        }
    }
    data.push(b']');
    Ok(data.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::io::Cursor;

    use serde_json::json;

    use super::*;
    use crate::{Format, Options, Source};

    fn pieces(text: &str, format: Format, size: u32) -> Pieces {
        let source = Source::Stream(Box::new(Cursor::new(text.as_bytes().to_vec())));
        Pieces::new(Reader::open(source, format, Options::default()).unwrap(), size, CHUNK_BYTES, Map::new())
    }

    fn all(mut pieces: Pieces) -> Result<Vec<(u64, u32, Value)>, TableError> {
        let mut found = Vec::new();
        while let Some(piece) = pieces.next_piece()? {
            found.push((piece.index, piece.records, serde_json::from_slice(&piece.data).unwrap()));
        }
        Ok(found)
    }

    #[test]
    fn texts_stay_texts_and_values_values() {
        let csv = all(pieces("id,price\n007,1.50\n8,\n9,x\n", Format::Csv, 2)).unwrap();
        let wanted = [
            (0, 2, json!({"inputs": [["id", "price"], ["007", "1.50"], ["8", null]], "parameters": {}})),
            (1, 1, json!({"inputs": [["id", "price"], ["9", "x"]], "parameters": {}})),
        ];
        assert_eq!(csv, wanted);
        let text = "{\"id\": \"007\", \"price\": 1.5}\n{\"price\": true, \"id\": null}\n{\"id\": [1]}\n";
        let lines = all(pieces(text, Format::JsonLines, 10)).unwrap();
        let rows = json!([["id", "price"], ["007", 1.5], [null, true], [[1], null]]);
        assert_eq!(lines, [(0, 3, json!({"inputs": rows, "parameters": {}}))]);
        let strange = all(pieces("{\"id\": 1}\n{\"id\": 1, \"b\": 2}\n", Format::JsonLines, 1)).unwrap_err();
        assert!(strange.to_string().starts_with("line 2, column \"b\": "), "{strange}");
        assert!(all(pieces("a,b\n", Format::Csv, 10)).unwrap().is_empty());
        assert!(all(pieces("", Format::JsonLines, 10)).unwrap().is_empty());
    }

    #[test]
    fn a_chunk_holds_no_more_than_its_bytes_and_one_record() {
        let text = format!("t\n{}", format!("{}\n", "x".repeat(300_000)).repeat(9));
        let sizes: Vec<u32> =
            all(pieces(&text, Format::Csv, 1_000)).unwrap().iter().map(|piece| piece.1).collect();
        assert_eq!(sizes, [4, 4, 1]);
        let mut skipping = pieces(&text, Format::Csv, 1_000);
        assert_eq!(skipping.skip_piece().unwrap(), Some(4));
        assert_eq!(skipping.next_index(), 1);
        let second = skipping.next_piece().unwrap().unwrap();
        assert_eq!((second.index, second.records), (1, 4));
        assert_eq!((skipping.skip_piece().unwrap(), skipping.skip_piece().unwrap()), (Some(1), None));
    }
}
