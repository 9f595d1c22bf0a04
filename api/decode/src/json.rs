//! The outer shape of a JSON push; the data of the chunks is left as it is.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{DecodeError, MAX_CHUNKS, RawChunk};

const BODY: &str = "an object with `chunks`, or an array of chunks";
const CHUNK: &str = "a chunk: an object with `id` and `data`";
/// Told apart from other errors by its text, for serde knows only texts.
const TOO_MANY: &str = "too many chunks";

/// The chunks of a JSON body.
pub(super) fn chunks(body: &Bytes) -> Result<Vec<RawChunk>, DecodeError> {
    let place = Cell::new(Place::Start);
    let mut found = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let outcome = deserializer.deserialize_any(Body { place: &place, found: &mut found }).and_then(|()| {
        place.set(Place::Start);
        deserializer.end()
    });
    if let Err(error) = outcome {
        return Err(broken_row(body, &found, place.get()).unwrap_or_else(|| refuse(&error, place.get())));
    }
    found
        .into_iter()
        .enumerate()
        .map(|(index, Found { id, data })| match data {
            Some(data) if data.get() != "null" => {
                Ok(RawChunk { id, data: body.slice_ref(data.get().as_bytes()) })
            }
            _ => Err(DecodeError::shape(
                format!("chunks[{index}].data"),
                "missing; give an object with `inputs`",
            )),
        })
        .collect()
}

/// Where the decoding is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Start,
    Chunks,
    Chunk(usize),
    Field(usize, &'static str),
}

/// The row at which a chunk's data stops being JSON: a `NaN` in one of thousands of records would be hard to find by its column.
fn broken_row(body: &[u8], found: &[Found<'_>], place: Place) -> Option<DecodeError> {
    let Place::Field(index, "data") = place else { return None };
    let start = body.as_ptr_range().start;
    let done = found.iter().filter_map(|chunk| chunk.data).next_back();
    // From the end of the last chunk's data on, the next such key is the broken chunk's.
    let after = done.map_or(0, |data| data.get().as_bytes().as_ptr_range().end.addr() - start.addr());
    let rest = body.get(after..)?;
    let key = rest.windows(KEY.len()).position(|window| window == KEY)?;
    let value = rest.get(key + KEY.len()..)?.trim_ascii_start().strip_prefix(b":")?;
    let error = millrace_calc::scan(value).err()?;
    if !error.path.starts_with("data.") {
        return None;
    }
    Some(DecodeError::Malformed {
        path: Some(format!("chunks[{index}].{}", error.path)),
        message: error.message,
    })
}

const KEY: &[u8] = b"\"data\"";

fn refuse(error: &serde_json::Error, place: Place) -> DecodeError {
    let path = match place {
        Place::Start => None,
        Place::Chunks => Some("chunks".to_owned()),
        Place::Chunk(index) => Some(format!("chunks[{index}]")),
        Place::Field(index, field) => Some(format!("chunks[{index}].{field}")),
    };
    let message = error.to_string();
    if !error.is_data() {
        return DecodeError::Malformed { path, message: format!("the body is no valid JSON: {message}") };
    }
    if message.starts_with(TOO_MANY) {
        return DecodeError::TooManyChunks;
    }
    DecodeError::shape(path.unwrap_or_else(|| "chunks".to_owned()), message)
}

struct Found<'de> {
    id: Option<String>,
    data: Option<&'de RawValue>,
}

struct Body<'s, 'de> {
    place: &'s Cell<Place>,
    found: &'s mut Vec<Found<'de>>,
}

impl<'de> Visitor<'de> for Body<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BODY)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        Chunks(self).visit_seq(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { place, found } = self;
        let mut given = false;
        while let Some(name) = map.next_key_seed(Key)? {
            if name != Name::Chunks {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            place.set(Place::Chunks);
            if given {
                return Err(A::Error::custom("given twice"));
            }
            given = true;
            map.next_value_seed(Chunks(Body { place, found }))?;
            place.set(Place::Start);
        }
        if given { Ok(()) } else { Err(A::Error::custom("missing; give an array of chunks")) }
    }
}

struct Chunks<'s, 'de>(Body<'s, 'de>);

impl<'de> DeserializeSeed<'de> for Chunks<'_, 'de> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Chunks<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of chunks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Body { place, found } = self.0;
        loop {
            place.set(Place::Chunk(found.len()));
            let Some(chunk) = seq.next_element_seed(ChunkSeed { place, index: found.len() })? else {
                place.set(Place::Chunks);
                return Ok(());
            };
            if found.len() == MAX_CHUNKS {
                return Err(A::Error::custom(TOO_MANY));
            }
            found.push(chunk);
        }
    }
}

struct ChunkSeed<'s> {
    place: &'s Cell<Place>,
    index: usize,
}

impl<'de> DeserializeSeed<'de> for ChunkSeed<'_> {
    type Value = Found<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Found<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ChunkSeed<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CHUNK)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let mut found = Found { id: None, data: None };
        let mut given = (false, false);
        while let Some(name) = map.next_key_seed(Key)? {
            match name {
                Name::Id => {
                    self.place.set(Place::Field(self.index, "id"));
                    if std::mem::replace(&mut given.0, true) {
                        return Err(A::Error::custom("given twice"));
                    }
                    found.id = map.next_value_seed(Id)?;
                }
                Name::Data => {
                    self.place.set(Place::Field(self.index, "data"));
                    if std::mem::replace(&mut given.1, true) {
                        return Err(A::Error::custom("given twice"));
                    }
                    found.data = Some(map.next_value::<&RawValue>()?);
                }
                Name::Chunks | Name::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            self.place.set(Place::Chunk(self.index));
        }
        Ok(found)
    }
}

/// A chunk id: text, or null for none.
struct Id;

impl<'de> DeserializeSeed<'de> for Id {
    type Value = Option<String>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Id {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<String>, E> {
        Ok(Some(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Option<String>, E> {
        Ok(None)
    }
}

/// The keys that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Chunks,
    Id,
    Data,
    Other,
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Name;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Name, E> {
        Ok(match key {
            "chunks" => Name::Chunks,
            "id" => Name::Id,
            "data" => Name::Data,
            _ => Name::Other,
        })
    }
}
