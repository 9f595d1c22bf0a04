//! Texts of records.

use rustc_hash::FxHasher;
use smol_str::SmolStr;
use std::hash::Hasher;

use crate::value::{INLINE, Value};

/// Texts that come again and again and are too long to lie in the value itself, such as the names of products: they are kept
/// once. A place for each of a few hashes, so that neither time nor memory grows with what a caller sends.
#[derive(Default)]
pub(super) struct Texts {
    places: Vec<Option<SmolStr>>,
}

impl Texts {
    const PLACES: usize = 256;
    /// Bytes of a text that is kept, at most.
    const LONGEST: usize = 64;

    /// The text as a value.
    #[inline]
    pub fn value(&mut self, text: &str) -> Value {
        if text.len() <= INLINE || text.len() > Self::LONGEST {
            return Value::from(text);
        }
        self.kept(text)
    }

    fn kept(&mut self, text: &str) -> Value {
        if self.places.is_empty() {
            self.places.resize(Self::PLACES, None);
        }
        let mut hasher = FxHasher::default();
        hasher.write(text.as_bytes());
        let Some(place) = self.places.get_mut((hasher.finish() >> 56) as usize) else {
            return Value::from(text);
        };
        match place {
            Some(known) if known == text => Value::Text(known.clone()),
            _ => {
                let text = SmolStr::from(text);
                *place = Some(text.clone());
                Value::Text(text)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_kept_once_and_others_stay_what_they_are() {
        let mut texts = Texts::default();
        let many: Vec<String> = (0..2000).map(|i| format!("{}{i}", "x".repeat(i % 40))).collect();
        for text in many.iter().chain(&many) {
            assert_eq!(texts.value(text), Value::from(text.as_str()));
        }
        let name = "householders, comprehensive";
        let (Value::Text(first), Value::Text(second)) = (texts.value(name), texts.value(name)) else {
            panic!("no texts")
        };
        assert!(std::ptr::eq(first.as_str(), second.as_str()));
    }
}
