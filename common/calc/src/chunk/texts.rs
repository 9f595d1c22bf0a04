//! Texts of records.

use std::hash::Hasher;
use std::sync::Arc;

use rustc_hash::FxHasher;

use crate::value::Value;

/// Texts that come again and again, such as codes and regions: they are kept once. A place for each of a few hashes, so that
/// neither time nor memory grows with what a caller sends.
#[derive(Default)]
pub(super) struct Texts {
    places: Vec<Option<Arc<str>>>,
}

impl Texts {
    const PLACES: usize = 256;
    /// Bytes of a text that is kept, at most.
    const LONGEST: usize = 32;

    /// The text as a value.
    pub fn value(&mut self, text: &str) -> Value {
        if text.len() > Self::LONGEST {
            return Value::Text(Arc::from(text));
        }
        if self.places.is_empty() {
            self.places.resize(Self::PLACES, None);
        }
        let mut hasher = FxHasher::default();
        hasher.write(text.as_bytes());
        let Some(place) = self.places.get_mut((hasher.finish() >> 56) as usize) else {
            return Value::Text(Arc::from(text));
        };
        match place {
            Some(known) if **known == *text => Value::Text(Arc::clone(known)),
            _ => {
                let text: Arc<str> = Arc::from(text);
                *place = Some(Arc::clone(&text));
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
        let (Value::Text(first), Value::Text(second)) = (texts.value("north"), texts.value("north")) else {
            panic!("no texts")
        };
        assert!(Arc::ptr_eq(&first, &second));
    }
}
