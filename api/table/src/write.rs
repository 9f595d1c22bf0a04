//! Records as lines of CSV or JSON Lines. Cells are JSON texts, as they are stored: numbers are written as they stand there.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Columns;

/// Turns records into lines.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// Of CSV: between cells. `None`: JSON Lines.
    delimiter: Option<u8>,
    columns: Columns,
    /// `"name":` of each column.
    names: Vec<Vec<u8>>,
}

impl Encoder {
    /// CSV with a heading.
    pub fn csv(columns: Columns, delimiter: u8) -> Self {
        Self { delimiter: Some(delimiter), columns, names: Vec::new() }
    }

    /// An object on each line.
    pub fn json_lines(columns: Columns) -> Self {
        let name = |column: &String| {
            [serde_json::Value::from(column.as_str()).to_string().as_bytes(), b":"].concat()
        };
        Self { delimiter: None, names: columns.iter().map(name).collect(), columns }
    }

    /// Appends what stands before the first record.
    pub fn heading(&self, out: &mut Vec<u8>) {
        if let Some(delimiter) = self.delimiter {
            line(out, delimiter, self.columns.iter().map(|name| Cow::Borrowed(name.as_str())));
        }
    }

    /// Appends a record; `cells` are JSON texts, as many as columns.
    pub fn record<'c>(&self, out: &mut Vec<u8>, cells: impl IntoIterator<Item = &'c str>) {
        match self.delimiter {
            Some(delimiter) => line(out, delimiter, cells.into_iter().map(text_of)),
            None => {
                out.push(b'{');
                for (at, (name, cell)) in self.names.iter().zip(cells).enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name);
                    out.extend_from_slice(cell.as_bytes());
                }
                out.extend_from_slice(b"}\n");
            }
        }
    }
}

fn line<'c>(out: &mut Vec<u8>, delimiter: u8, cells: impl Iterator<Item = Cow<'c, str>>) {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).buffer_capacity(1 << 10).from_writer(out);
    // Writing into memory cannot fail.
    for cell in cells {
        let _ = writer.write_field(cell.as_bytes());
    }
    let _ = writer.write_record(None::<&[u8]>);
}

/// The text of a JSON text: strings as they are, `null` empty, everything else as it stands there.
pub fn text_of(raw: &str) -> Cow<'_, str> {
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned),
        Some(b'n') => Cow::Borrowed(""),
        _ => Cow::Borrowed(raw),
    }
}

/// Names of columns, each once: one that is taken gets a number.
pub fn distinct(names: impl IntoIterator<Item = String>) -> Columns {
    let mut taken = HashSet::new();
    let distinct = names.into_iter().map(|name| {
        let mut own = name.clone();
        let mut number = 2;
        while !taken.insert(own.clone()) {
            own = format!("{name}_{number}");
            number += 1;
        }
        own
    });
    distinct.collect()
}
