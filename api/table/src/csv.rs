//! CSV: a heading, then a text for each column.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;

use super::{Cell, Columns, Place, ROW_BYTES, Record, TableError, TooLong, broken};

/// Refuses to read on when a row does not end. It gives as much at once as there is: a reader of CSV that is given a byte order
/// mark alone takes it for the end of the file.
struct Bounded {
    inner: Box<dyn Read + Send>,
    left: usize,
    /// What the file broke off with, after bytes that are still to be read.
    broken: Option<io::Error>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        if self.left == 0 {
            return Err(io::Error::other(TooLong));
        }
        let most = buffer.len().min(self.left);
        let mut filled = 0;
        while filled < most {
            match self.inner.read(&mut buffer[filled..most]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if filled == 0 => return Err(error),
                Err(error) => {
                    self.broken = Some(error);
                    break;
                }
            }
        }
        self.left -= filled;
        Ok(filled)
    }
}

/// The rows of a CSV file.
pub(super) struct Rows {
    reader: csv::Reader<Bounded>,
    record: csv::StringRecord,
    columns: Columns,
}

impl Rows {
    /// Reads the heading.
    pub(super) fn open(file: Box<dyn Read + Send>, delimiter: u8) -> Result<Self, TableError> {
        let bounded = Bounded { inner: file, left: ROW_BYTES, broken: None };
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(bounded);
        let mut rows = Self { reader, record: csv::StringRecord::new(), columns: Arc::default() };
        let Some(place) = rows.advance()? else {
            return Err(TableError::at(Place::Line(1), "the file has no heading"));
        };
        let mut seen = BTreeSet::new();
        let mut names = Vec::with_capacity(rows.record.len());
        for name in &rows.record {
            let name = name.trim_start_matches('\u{feff}').trim();
            if !seen.insert(name) {
                return Err(TableError::in_column(place, name, "the heading stands twice"));
            }
            names.push(name.to_owned());
        }
        rows.columns = names.into();
        Ok(rows)
    }

    pub(super) fn columns(&self) -> Columns {
        Arc::clone(&self.columns)
    }

    /// Reads the next row into `record`; where it stands.
    fn advance(&mut self) -> Result<Option<Place>, TableError> {
        let line = self.reader.position().line();
        match self.reader.read_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Err(refused(&error, line)),
        }
        // What is in the reader's buffer was counted already.
        self.reader.get_mut().left = ROW_BYTES;
        let place = Place::Line(self.record.position().map_or(line, csv::Position::line));
        if self.record.as_slice().len() > ROW_BYTES {
            return Err(TableError::at(place, TooLong.to_string()));
        }
        Ok(Some(place))
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, TableError> {
        let Some(place) = self.advance()? else { return Ok(None) };
        let (found, wanted) = (self.record.len(), self.columns.len());
        if found != wanted {
            let text = format!("the row has {found} values, the heading {wanted}");
            return Err(TableError::at(place, text));
        }
        let cells = self.record.iter().map(|cell| Cell::Text(cell.to_owned())).collect();
        Ok(Some(Record { place, columns: self.columns(), cells }))
    }
}

fn refused(error: &csv::Error, line: u64) -> TableError {
    match error.kind() {
        csv::ErrorKind::Io(cause) if cause.get_ref().is_some_and(|cause| cause.is::<TooLong>()) => {
            TableError::at(Place::Line(line), TooLong.to_string())
        }
        csv::ErrorKind::Io(cause) => broken(cause),
        csv::ErrorKind::Utf8 { pos, .. } => {
            let line = pos.as_ref().map_or(line, csv::Position::line);
            TableError::at(Place::Line(line), "the row is not UTF-8")
        }
        _ => TableError::at(Place::Line(line), error.to_string()),
    }
}
