//! What is promised of any file of rows (`crate::fuzzing`).

use std::io::{self, Cursor, Read};
use std::sync::LazyLock;

use millrace_common::model::recipe::{Data, DatasetDefinition, Place};
use millrace_table::{Format, Options, Place as Stands, ROW_BYTES, Reader, Source, TableError};
use serde_json::{Map, Value, json};

use super::members::Member;
use super::rows::read;

/// A parameter of every kind.
static DEFINITION: LazyLock<DatasetDefinition> = LazyLock::new(|| {
    let optional = |name: &str, kind: &str| json!({"name": name, "type": kind, "required": false});
    let document = json!({"parameters": {
        "files": [{"name": "f", "multiple": true, "required": false}],
        "json": [
            {"name": "i", "type": "integer"}, optional("n", "number"), optional("s", "string"),
            optional("b", "boolean"), optional("o", "object"), optional("a", "array"),
        ],
    }});
    DatasetDefinition::parse(&document, Place::root("definition")).unwrap_or_default()
});

/// Gives a file in pieces.
struct Pieces {
    file: Cursor<Vec<u8>>,
    most: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.most);
        self.file.read(&mut buffer[..most])
    }
}

fn members(file: &[u8], format: Format, most: usize) -> (Vec<Member>, Result<(), TableError>) {
    let mut members = Vec::new();
    let pieces = Pieces { file: Cursor::new(file.to_vec()), most };
    let end = Reader::open(Source::Stream(Box::new(pieces)), format, Options::default()).and_then(|reader| {
        read(reader, &DEFINITION, |member| {
            members.push(member);
            true
        })
    });
    (members, end)
}

/// The first byte chooses the format and the pieces that the file comes in. Panics when pieces make a difference, a fault names
/// a line that is not there, or a member is no member of the dataset: it must be read again from what is stored, and a line of
/// JSON with its values must be the same member.
pub(crate) fn check_rows(bytes: &[u8]) {
    let [choice, file @ ..] = bytes else { return };
    let format = if choice & 1 == 0 { Format::Csv } else { Format::JsonLines };
    let (found, end) = members(file, format, usize::MAX);
    let in_pieces = members(file, format, 1 + usize::from(choice >> 1));
    assert_eq!((&found, &end), (&in_pieces.0, &in_pieces.1), "in pieces");
    assert!(found.len() <= file.len());
    if let Err(error) = &end {
        let TableError::Row { place: Stands::Line(line), text, .. } = error else {
            panic!("nothing broke off: {error}")
        };
        let lines = file.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        assert!((1..=lines).contains(line) && !text.is_empty(), "{error} in {lines} lines");
    }
    for member in found {
        check_member(&member);
    }
}

fn check_member(member: &Member) {
    let stored = serde_json::from_str::<Value>(&member.text);
    let stored = stored.unwrap_or_else(|error| panic!("{error}: {}", member.text));
    let data = DEFINITION.member(&stored, Place::root("data"));
    let data = data.unwrap_or_else(|findings| panic!("{findings:?}: {}", member.text));
    assert_eq!(Member::of(&data).ok().as_ref(), Some(member));
    let line = line(&data);
    if line.len() <= ROW_BYTES {
        assert_eq!(members(line.as_bytes(), Format::JsonLines, usize::MAX), (vec![member.clone()], Ok(())));
    }
}

/// The values of a member as a line of JSON.
fn line(data: &Data) -> String {
    let files = data.files.iter().map(|(name, ids)| (name.clone(), json!(ids)));
    let values = data.json.iter().map(|(name, value)| (name.clone(), value.clone()));
    Value::Object(files.chain(values).collect::<Map<String, Value>>()).to_string()
}
