//! JSON Lines: an object on each line.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::{Cell, Columns, Place, ROW_BYTES, Record, TableError, TooLong, broken};

/// The rows of a JSON Lines file.
pub(super) struct Rows {
    reader: BufReader<Box<dyn Read + Send>>,
    text: Vec<u8>,
    line: u64,
    /// Of the last record: most have the same.
    columns: Columns,
}

/// An object in the order in which it was written.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members: Vec<(String, Value)> = Vec::new();
                while let Some(member) = map.next_entry::<String, Value>()? {
                    members.push(member);
                }
                let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
                names.sort_unstable();
                if let Some(name) = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) {
                    return Err(A::Error::custom(format_args!("{name:?} stands twice")));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

impl Rows {
    pub(super) fn open(file: Box<dyn Read + Send>) -> Self {
        Self { reader: BufReader::new(file), text: Vec::new(), line: 0, columns: Arc::default() }
    }

    pub(super) fn next(&mut self) -> Result<Option<Record>, TableError> {
        loop {
            self.text.clear();
            self.line += 1;
            let place = Place::Line(self.line);
            let most = ROW_BYTES as u64 + 1;
            match self.reader.by_ref().take(most).read_until(b'\n', &mut self.text) {
                Ok(0) => return Ok(None),
                Ok(read) if read > ROW_BYTES => return Err(TableError::at(place, TooLong.to_string())),
                Ok(_) => {}
                Err(error) => return Err(broken(&error)),
            }
            let text = self.text.strip_prefix(b"\xef\xbb\xbf").filter(|_| self.line == 1);
            let text = text.unwrap_or(&self.text);
            if text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Object(members) = serde_json::from_slice(text)
                .map_err(|error| TableError::at(place, format!("is no JSON object: {error}")))?;
            if !self.columns.iter().eq(members.iter().map(|(name, _)| name)) {
                self.columns = members.iter().map(|(name, _)| name.clone()).collect();
            }
            let cells = members.into_iter().map(|(_, value)| Cell::Value(value)).collect();
            return Ok(Some(Record { place, columns: Arc::clone(&self.columns), cells }));
        }
    }
}
