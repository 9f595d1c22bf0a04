//! JSON as it was written: a key that an object has twice is an error in a definition, and a parsed [`Value`] has
//! lost it.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::finding::MAX_FINDINGS;

/// A key that stands twice in one object: what leads to it, itself the last.
pub(super) type Duplicate = Vec<Segment>;

/// A step on the way into a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// The value of a key.
    Key(String),
    /// An item of a list.
    Index(usize),
}

/// Reads JSON. The last of equal keys counts, as everywhere; at most [`MAX_FINDINGS`] duplicates are told.
pub(super) fn read(text: &str) -> Result<(Value, Vec<Duplicate>), serde_json::Error> {
    let found = Found { path: RefCell::default(), duplicates: RefCell::default() };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Seed(&found).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok((value, found.duplicates.into_inner()))
}

struct Found {
    path: RefCell<Vec<Segment>>,
    duplicates: RefCell<Vec<Duplicate>>,
}

#[derive(Clone, Copy)]
struct Seed<'a>(&'a Found);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        self.0.path.borrow_mut().push(Segment::Index(0));
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
            self.step(Segment::Index(items.len()));
        }
        self.0.path.borrow_mut().pop();
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        self.0.path.borrow_mut().push(Segment::Key(String::new()));
        while let Some(key) = access.next_key::<String>()? {
            self.step(Segment::Key(key.clone()));
            if map.contains_key(&key) {
                let mut duplicates = self.0.duplicates.borrow_mut();
                if duplicates.len() < MAX_FINDINGS {
                    duplicates.push(self.0.path.borrow().clone());
                }
            }
            let value = access.next_value_seed(self)?;
            map.insert(key, value);
        }
        self.0.path.borrow_mut().pop();
        Ok(Value::Object(map))
    }
}

impl Seed<'_> {
    fn step(self, last: Segment) {
        if let Some(step) = self.0.path.borrow_mut().last_mut() {
            *step = last;
        }
    }
}
